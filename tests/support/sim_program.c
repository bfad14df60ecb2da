/* sim_program.c - opens nodes on a simulated network and waits for what they do. */
#include "tests/support/sim_program.h"

#include "tests/test.h"

struct sim_network *test_network(void)
{
	struct sim_options o = {
		.seed = test_seed(), .delay_least_ns = 20 * NS_PER_US,
		.delay_most_ns = 200 * NS_PER_US,
	};
	struct sim_network *n;

	CHECK_EQ(sim_network_open(&n, &o), 0);
	return n;
}

void sim_program_open(struct sim_program *p, struct sim_network *n, enum wire_role role,
		  const char *name)
{
	sim_program_open_as(p, n, role, name, NULL);
}

void sim_program_open_as(struct sim_program *p, struct sim_network *n, enum wire_role role,
			 const char *name, struct identity *id)
{
	struct transport_options o;
	struct error e;

	transport_options_default(&o);
	o.engine = "sim";
	o.clock = sim_clock(n);
	o.network = n;
	o.role = role;
	o.name = name;
	o.identity = id;
	*p = (struct sim_program){ .network = n };
	CHECK_OK(node_open(&p->node, &o, &e), &e);
	CHECK_EQ(rpc_open(&p->rpc, p->node), 0);
	p->id = sim_attach(n, node_core(p->node), node_transport(p->node));
}

void sim_program_listen(struct sim_program *p, const char *address)
{
	struct address a, bound;
	struct error e;

	CHECK_OK(address_parse(&a, address, &e), &e);
	CHECK_OK(node_listen(p->node, &a, &bound, &e), &e);
}

void sim_program_detach(struct sim_program *p)
{
	sim_detach(p->network, p->id);
}

void sim_program_close(struct sim_program *p)
{
	sim_program_detach(p);
	rpc_close(p->rpc);
	node_close(p->node);
}

void run_for(struct sim_network *n, uint64_t ns)
{
	sim_run(n, clock_ns(sim_clock(n)) + ns, NULL, NULL);
}

bool run_until(struct sim_network *n, uint64_t ns, bool (*done)(void *ctx), void *ctx)
{
	return sim_run(n, clock_ns(sim_clock(n)) + ns, done, ctx);
}

static void on_done(void *ctx, int code, const char *message, const json_t *result)
{
	struct call_answer *a = ctx;

	CHECK(!a->done);
	a->done = true;
	a->code = code;
	snprintf(a->message, sizeof(a->message), "%s", message);
	a->result = result ? json_deep_copy(result) : NULL;
}

void call_start(struct sim_program *p, uint32_t peer, const char *method, json_t *params,
		struct call_answer *a)
{
	*a = (struct call_answer){ 0 };
	CHECK(rpc_call(p->rpc, peer, method, params, 5 * NS_PER_S, on_done, a) > 0);
}

static bool is_done(void *ctx)
{
	return ((struct call_answer *)ctx)->done;
}

struct call_answer call(struct sim_program *p, uint32_t peer, const char *method, json_t *params)
{
	struct call_answer a;

	call_start(p, peer, method, params, &a);
	CHECK(run_until(p->network, 10 * NS_PER_S, is_done, &a));
	return a;
}
