/* ask.c - a node of its own for one call. */
#include "control/ask.h"

#include <errno.h>

#include "control/rpc.h"

struct asking {
	const struct ask_options *options;
	const char *method;
	json_t *params;
	struct node *node;
	struct rpc *rpc;
	uint32_t peer;
	bool done;
	int code;
	struct error *error;
	json_t *result;
};

static void end(struct asking *a, int code)
{
	if (!a->done)
		a->code = code;
	a->done = true;
}

static void on_done(void *ctx, int code, const char *message, const json_t *result)
{
	struct asking *a = ctx;

	if (a->done)
		return;
	if (code < 0)
		error_set(a->error, code, "%s", message);
	else
		a->result = json_deep_copy(result);
	end(a, code);
}

/* What we ask may be a secret: only for whom it is meant. */
static bool is_the_right_one(struct asking *a, const struct principal *p)
{
	char want[PRINCIPAL_ROLES_TEXT_BYTES], have[PRINCIPAL_ROLES_TEXT_BYTES];

	if (!p || !a->options->roles || p->roles & a->options->roles)
		return true;
	principal_roles_text(a->options->roles, want);
	principal_roles_text(p->roles, have);
	end(a, error_set(a->error, -EKEYREJECTED, "%s is %s by its certificate, and not %s",
			 p->name, have, want));
	return false;
}

static void on_up(void *ctx, const struct peer_info *info)
{
	struct asking *a = ctx;
	int64_t call;

	if (a->done || info->peer != a->peer || !is_the_right_one(a, info->principal))
		return;
	call = rpc_call(a->rpc, a->peer, a->method, json_incref(a->params),
			a->options->timeout_ns, on_done, a);
	if (call < 0)
		end(a, error_errno(a->error, (int)call, "asking"));
}

static void on_lost(void *ctx, uint32_t peer, int code, const char *reason)
{
	struct asking *a = ctx;

	if (!a->done && peer == a->peer)
		end(a, error_set(a->error, code, "%s", reason));
}

static int wait_for_answer(struct asking *a)
{
	const struct node_listener listener = { .ctx = a, .up = on_up, .lost = on_lost };
	uint64_t give_up_ns = node_now(a->node) + a->options->timeout_ns;
	int rc = node_listener_add(a->node, &listener);

	if (rc < 0)
		return error_errno(a->error, rc, "asking");
	rc = node_link(a->node, &a->options->to, &a->peer, a->error);
	while (rc == 0 && !a->done) {
		uint64_t now_ns = node_now(a->node);

		if (now_ns >= give_up_ns)
			end(a, error_set(a->error, -ETIMEDOUT, "no answer in %llu s",
					 (unsigned long long)(a->options->timeout_ns / NS_PER_S)));
		else
			core_turn(node_core(a->node), give_up_ns - now_ns);
	}
	return rc < 0 ? rc : a->code;
}

int ask(const struct ask_options *o, const char *method, json_t *params, json_t **result,
	struct error *e)
{
	struct asking a = { .options = o, .method = method, .params = params, .error = e };
	struct transport_options t;
	int rc;

	*result = NULL;
	transport_options_default(&t);
	t.engine = "uring";
	t.clock = clock_real();
	t.role = ROLE_TOOL;
	t.name = o->name;
	t.identity = o->identity;
	t.lanes = 1;
	rc = node_open(&a.node, &t, e);
	if (rc == 0) {
		rc = rpc_open(&a.rpc, a.node);
		if (rc < 0)
			error_errno(e, rc, "asking");
	}
	if (rc == 0)
		rc = wait_for_answer(&a);
	a.done = true;
	rpc_close(a.rpc);
	node_close(a.node);
	json_decref(params);
	if (rc == 0)
		*result = a.result;
	return rc;
}
