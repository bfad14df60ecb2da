/* ctl_call.c - owns petalsctl's conversation with a directory: dial, ask, wait.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "control/rpc.h"
#include "dataplane/base/memory.h"
#include "tools/ctl.h"

#define CALL_TIMEOUT_NS (5 * NS_PER_S)

struct call {
	bool done;
	int code;
	struct error *error;
	json_t *result;
};

static void on_done(void *ctx, int code, const char *message, const json_t *result)
{
	struct call *c = ctx;

	c->done = true;
	c->code = code;
	if (code < 0)
		error_set(c->error, code, "%s", message);
	else
		c->result = json_deep_copy(result);
}

static void on_lost(void *ctx, uint32_t peer, int code, const char *reason)
{
	struct call *c = ctx;

	if (c->done)
		return;
	c->done = true;
	c->code = error_set(c->error, code, "%s", reason);
}

static int ask(struct node *n, struct rpc *r, const struct address *a, const char *method,
	       json_t *params, struct call *c)
{
	const struct node_listener listener = { .ctx = c, .lost = on_lost };
	uint64_t give_up = node_now(n) + CALL_TIMEOUT_NS;
	uint32_t peer;
	int64_t call = 0;
	int rc = node_listener_add(n, &listener);

	if (rc == 0)
		rc = node_link(n, a, &peer, c->error);
	while (rc == 0 && !c->done) {
		core_turn(node_core(n), 50 * NS_PER_MS);
		if (!call && !c->done && node_is_up(n, peer)) {
			call = rpc_call(r, peer, method, json_incref(params), CALL_TIMEOUT_NS,
					on_done, c);
			rc = call < 0 ? (int)call : 0;
		}
		if (node_now(n) > give_up && !c->done)
			return error_set(c->error, -ETIMEDOUT, "no answer in %d s",
					 (int)(CALL_TIMEOUT_NS / NS_PER_S));
	}
	return rc < 0 ? rc : c->code;
}

int ctl_call(const char *directory, const char *method, json_t *params, json_t **result,
	     struct error *e)
{
	struct transport_options o;
	struct call c = { .error = e };
	struct node *n = NULL;
	struct rpc *r = NULL;
	struct address a;
	int rc = address_parse(&a, directory, e);

	transport_options_default(&o);
	o.engine = "uring";
	o.clock = clock_real();
	o.role = ROLE_TOOL;
	o.name = "petalsctl";
	if (rc == 0)
		rc = node_open(&n, &o, e);
	if (rc == 0)
		rc = rpc_open(&r, n);
	if (rc == 0)
		rc = ask(n, r, &a, method, params, &c);
	rpc_close(r);
	node_close(n);
	json_decref(params);
	if (rc < 0)
		return error_wrap(e, "directory %s", directory);
	*result = c.result;
	return 0;
}

int ctl_view(const char *directory, struct view **out, struct error *e)
{
	json_t *result = NULL;
	int rc = ctl_call(directory, "view", json_object(), &result, e);

	if (rc == 0)
		rc = view_open(out);
	if (rc == 0)
		rc = view_from_json(*out, result, e);
	json_decref(result);
	return rc;
}

int ctl_fail(const char *verb, const struct error *e)
{
	fprintf(stderr, "petalsctl %s: %s\n", verb, e->text);
	return 1;
}

int ctl_print(json_t *object)
{
	char *text = json_dumps(object, JSON_COMPACT | JSON_PRESERVE_ORDER);

	if (text)
		puts(text);
	free(text);
	json_decref(object);
	fflush(stdout);
	return text ? 0 : 1;
}
