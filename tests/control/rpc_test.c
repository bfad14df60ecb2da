/* rpc_test.c - every call ends once: with its answer, in time, or with a reason. */
#include "control/rpc.h"

#include <errno.h>

#include "dataplane/base/memory.h"
#include "tests/support/sim_program.h"
#include "tests/test.h"

/* "client" calls "server", which answers at once, later or never. */
struct pair {
	struct sim_network *network;
	struct sim_program client, server;
	uint32_t peer;
	struct rpc_request *kept;       /* a request answered later */
	uint32_t last_caller;
	char event[64];
	uint32_t events;
	int lost_code;
	char lost_reason[256];
};

static void serve_double(void *ctx, struct rpc_request *q, const json_t *params)
{
	json_int_t x = json_integer_value(json_object_get(params, "x"));

	((struct pair *)ctx)->last_caller = rpc_request_peer(q);
	rpc_reply(q, json_pack("{s:I}", "x", 2 * x));
}

static void serve_later(void *ctx, struct rpc_request *q, const json_t *params)
{
	((struct pair *)ctx)->kept = q;
}

static void serve_refusal(void *ctx, struct rpc_request *q, const json_t *params)
{
	rpc_fail(q, -EBUSY, "all %d places are taken", 7);
}

static void serve_huge(void *ctx, struct rpc_request *q, const json_t *params)
{
	size_t bytes = RPC_PAYLOAD_BYTES_MAX;
	char *text = mem_alloc(bytes);

	memset(text, 'x', bytes);
	rpc_reply(q, json_stringn(text, bytes));
	mem_free(text);
}

static void serve_bad_words(void *ctx, struct rpc_request *q, const json_t *params)
{
	rpc_fail(q, -EIO, "a path that is no UTF-8: \xff\xfe");
}

static const struct rpc_method methods[] = {
	{ "double", serve_double }, { "later", serve_later }, { "refusal", serve_refusal },
	{ "huge", serve_huge }, { "bad words", serve_bad_words },
};

static void on_event(void *ctx, uint32_t peer, const json_t *data)
{
	struct pair *p = ctx;

	p->events++;
	snprintf(p->event, sizeof(p->event), "%s", json_string_value(data));
}

static void on_lost(void *ctx, uint32_t peer, int code, const char *reason)
{
	struct pair *p = ctx;

	p->lost_code = code;
	snprintf(p->lost_reason, sizeof(p->lost_reason), "%s", reason);
}

static void pair_open(struct pair *p)
{
	struct address a;
	struct error e;

	*p = (struct pair){ .network = test_network() };
	sim_program_open(&p->client, p->network, ROLE_TOOL, "client");
	sim_program_open(&p->server, p->network, ROLE_DIRECTORY, "server");
	sim_program_listen(&p->server, "sim:1");
	rpc_serve(p->server.rpc, methods, ARRAY_LENGTH(methods), p);
	rpc_on_event(p->client.rpc, "news", on_event, p);
	CHECK_EQ(node_listener_add(p->server.node, &(struct node_listener){
		.ctx = p, .lost = on_lost }), 0);
	CHECK_OK(address_parse(&a, "sim:1", &e), &e);
	CHECK_OK(node_link(p->client.node, &a, &p->peer, &e), &e);
}

static void pair_close(struct pair *p)
{
	sim_program_close(&p->client);
	node_listener_remove(p->server.node, p);
	sim_program_close(&p->server);
	sim_network_close(p->network);
}

/* Goal: calls are answered, each with its own answer, also those made before the
 * connection is up.
 */
TEST(rpc_call__is_answered)
{
	struct call_answer answers[50];
	struct pair p;

	pair_open(&p);
	for (int i = 0; i < 50; i++)
		call_start(&p.client, p.peer, "double", json_pack("{s:i}", "x", i), &answers[i]);
	run_for(p.network, NS_PER_S);
	for (int i = 0; i < 50; i++) {
		CHECK(answers[i].done);
		CHECK_EQ(answers[i].code, 0);
		CHECK_EQ(json_integer_value(json_object_get(answers[i].result, "x")), 2 * i);
		json_decref(answers[i].result);
	}
	pair_close(&p);
}

/* Goal: an error arrives with its code and its sentence; unknown methods are errors. */
TEST(rpc_fail__arrives)
{
	struct call_answer a;
	struct pair p;

	pair_open(&p);
	a = call(&p.client, p.peer, "refusal", json_object());
	CHECK_EQ(a.code, -EBUSY);
	CHECK_TEXT(a.message, "all 7 places are taken");
	CHECK(a.result == NULL);
	a = call(&p.client, p.peer, "dance", json_object());
	CHECK_EQ(a.code, -ENOSYS);
	CHECK_TEXT(a.message, "there is no method \"dance\" here");
	a = call(&p.client, p.peer, "huge", json_object());
	CHECK_EQ(a.code, -EMSGSIZE);
	a = call(&p.client, p.peer, "bad words", json_object());
	CHECK_EQ(a.code, -EIO);
	CHECK(a.message[0]);
	pair_close(&p);
}

/* Goal: a call that nobody answers ends at its deadline, and a later answer is ignored. */
TEST(rpc_call__ends_in_time)
{
	struct call_answer a;
	struct pair p;

	pair_open(&p);
	call_start(&p.client, p.peer, "later", json_object(), &a);
	run_for(p.network, 5 * NS_PER_S - NS_PER_MS);
	CHECK(!a.done && p.kept);
	run_for(p.network, 2 * NS_PER_MS);
	CHECK(a.done);
	CHECK_EQ(a.code, -ETIMEDOUT);
	a.done = false;
	rpc_reply(p.kept, json_true());
	run_for(p.network, NS_PER_S);
	CHECK(!a.done);
	a = call(&p.client, p.peer, "double", json_pack("{s:i}", "x", 4));
	CHECK_EQ(a.code, 0);
	json_decref(a.result);
	pair_close(&p);
}

/* Goal: an answer may come later; a cancelled call is never told. */
TEST(rpc_cancel__silences)
{
	struct call_answer a;
	struct pair p;
	int64_t number;

	pair_open(&p);
	call_start(&p.client, p.peer, "later", json_object(), &a);
	run_for(p.network, NS_PER_S);
	CHECK(!a.done);
	rpc_reply(p.kept, json_integer(3));
	run_for(p.network, NS_PER_S);
	CHECK(a.done);
	CHECK_EQ(json_integer_value(a.result), 3);
	json_decref(a.result);
	number = rpc_call(p.client.rpc, p.peer, "double", json_object(), NS_PER_S, NULL, NULL);
	CHECK(number > 0);
	rpc_cancel(p.client.rpc, number);
	rpc_cancel(p.client.rpc, number);
	rpc_cancel(p.client.rpc, -1);
	run_for(p.network, 3 * NS_PER_S);
	pair_close(&p);
}

/* Goal: losing the peer ends its calls at once, and a frozen one is noticed. */
TEST(rpc_call__ends_with_its_peer)
{
	struct call_answer a, b;
	struct pair p;

	pair_open(&p);
	call_start(&p.client, p.peer, "later", json_object(), &a);
	run_for(p.network, NS_PER_S);
	sim_kill(p.network, p.server.id);
	run_for(p.network, NS_PER_S / 10);
	CHECK(a.done);
	CHECK_EQ(a.code, -ECONNRESET);
	CHECK(a.message[0]);
	CHECK_EQ(rpc_call(p.client.rpc, p.peer, "double", json_object(), NS_PER_S, NULL, NULL),
		 -ENOTCONN);
	pair_close(&p);

	pair_open(&p);
	call_start(&p.client, p.peer, "later", json_object(), &b);
	run_for(p.network, NS_PER_S);
	sim_freeze(p.network, p.server.id, true);
	run_for(p.network, NS_PER_S);
	CHECK(b.done);
	CHECK_EQ(b.code, -ECONNRESET);
	sim_freeze(p.network, p.server.id, false);
	run_for(p.network, NS_PER_S);
	pair_close(&p);
}

/* Goal: a reply to a caller that is gone goes nowhere; closing with requests is clean. */
TEST(rpc_reply__to_the_dead)
{
	struct call_answer a;
	struct pair p;

	pair_open(&p);
	call_start(&p.client, p.peer, "later", json_object(), &a);
	run_for(p.network, NS_PER_S);
	sim_kill(p.network, p.client.id);
	run_for(p.network, NS_PER_S);
	rpc_reply(p.kept, json_true());
	run_for(p.network, NS_PER_S);
	pair_close(&p);
	CHECK(a.done);                  /* by rpc_close() */
	CHECK_EQ(a.code, -ECANCELED);

	pair_open(&p);
	call_start(&p.client, p.peer, "later", json_object(), &a);
	run_for(p.network, NS_PER_S);
	pair_close(&p);
	CHECK_EQ(a.code, -ECANCELED);
}

/* Goal: events reach the handler of their name; the others are ignored. */
TEST(rpc_event__reaches_its_handler)
{
	struct call_answer a;
	struct pair p;

	pair_open(&p);
	a = call(&p.client, p.peer, "double", json_object());
	json_decref(a.result);
	CHECK_EQ(rpc_event(p.server.rpc, p.last_caller, "weather", json_string("rain")), 0);
	CHECK_EQ(rpc_event(p.server.rpc, p.last_caller, "news", json_string("none")), 0);
	run_for(p.network, NS_PER_S);
	CHECK_EQ(p.events, 1);
	CHECK_TEXT(p.event, "none");
	CHECK_EQ(rpc_event(p.server.rpc, 4711, "news", json_true()), -ENOTCONN);
	pair_close(&p);
}

/* Goal: garbage costs its sender the connection, with the reason, and nobody else. */
TEST(rpc__garbage_is_refused)
{
	static const struct { enum wire_type type; const char *text; } garbage[] = {
		{ WIRE_CALL, "" }, { WIRE_CALL, "{" }, { WIRE_CALL, "[1]" },
		{ WIRE_CALL, "{}" },
		{ WIRE_CALL, "{\"method\": 3}" },
		{ WIRE_CALL, "{\"method\": \"x\", \"params\": 1}" },
		{ WIRE_CALL, "{\"method\": \"a\", \"method\": \"b\"}" }, { WIRE_CALL, "\xff\xff" },
		{ WIRE_CALL, "{\"method\": \"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
			     "xxxxxxxxxxxxxxxxxxxxxxxx\"}" },
		{ WIRE_REPLY, "nonsense" }, { WIRE_EVENT, "7" },
	};
	struct sim_program other;
	struct pair p;
	struct address address;
	struct error e;
	uint32_t peer;
	struct call_answer a;

	pair_open(&p);
	CHECK_OK(address_parse(&address, "sim:1", &e), &e);
	sim_program_open(&other, p.network, ROLE_TOOL, "other");
	for (size_t i = 0; i < ARRAY_LENGTH(garbage); i++) {
		struct frame f = { .type = garbage[i].type,
				   .payload_bytes = (uint32_t)strlen(garbage[i].text) };

		p.lost_code = 0;
		CHECK_OK(node_link(other.node, &address, &peer, &e), &e);
		CHECK_EQ(node_send(other.node, peer, &f, garbage[i].text), 0);
		run_for(p.network, NS_PER_S);
		CHECK_EQ(p.lost_code, -EPROTO);
		CHECK(!node_is_up(other.node, peer));
	}
	CHECK(counters_value(node_counters(p.server.node), 3,
			     counters_series(node_counters(p.server.node), 3, "bad_json")) >= 6);
	a = call(&p.client, p.peer, "double", json_pack("{s:i}", "x", 4));
	CHECK_EQ(a.code, 0);
	json_decref(a.result);
	sim_program_close(&other);
	pair_close(&p);
}

/* Goal: an answer without result and error is a fault of protocol; stray ones are ignored. */
TEST(rpc__odd_replies)
{
	static const char *const odd[] = {
		"{}", "{\"error\": 3}", "{\"error\": {\"code\": \"EIO\"}}",
		"{\"result\": 1, \"error\": {\"code\": \"EIO\", \"message\": \"x\"}}",
	};
	struct call_answer a;
	struct pair p;

	pair_open(&p);
	for (size_t i = 0; i < ARRAY_LENGTH(odd); i++) {
		struct frame f = { .type = WIRE_REPLY, .session = 2 * i + 2,
				   .payload_bytes = (uint32_t)strlen(odd[i]) };

		a = call(&p.client, p.peer, "double", json_object());
		json_decref(a.result);
		call_start(&p.client, p.peer, "later", json_object(), &a);
		run_for(p.network, NS_PER_S / 10);
		f.session = 9999;
		CHECK_EQ(node_send(p.server.node, p.last_caller, &f, odd[i]), 0);
		run_for(p.network, NS_PER_S / 10);
		CHECK(!a.done);
		f.session = 2 * i + 2;
		CHECK_EQ(node_send(p.server.node, p.last_caller, &f, odd[i]), 0);
		run_for(p.network, NS_PER_S / 10);
		CHECK(a.done);
		CHECK(a.code == -EPROTO);
	}
	pair_close(&p);
}

/* Goal: a reply counts only from the peer that was called. */
TEST(rpc__replies_from_others_are_ignored)
{
	static const char text[] = "{\"result\": 1}";
	struct frame f = { .type = WIRE_REPLY, .session = 1, .payload_bytes = sizeof(text) - 1 };
	struct sim_program other;
	struct address address;
	struct error e;
	struct call_answer a;
	struct pair p;
	uint32_t peer;

	pair_open(&p);
	sim_program_open(&other, p.network, ROLE_TOOL, "other");
	sim_program_listen(&p.client, "sim:2");
	CHECK_OK(address_parse(&address, "sim:2", &e), &e);
	CHECK_OK(node_link(other.node, &address, &peer, &e), &e);
	call_start(&p.client, p.peer, "later", json_object(), &a);
	run_for(p.network, NS_PER_S);
	CHECK_EQ(node_send(other.node, peer, &f, text), 0);
	run_for(p.network, NS_PER_S);
	CHECK(!a.done);
	rpc_reply(p.kept, json_integer(2));
	run_for(p.network, NS_PER_S);
	CHECK(a.done);
	CHECK_EQ(json_integer_value(a.result), 2);
	json_decref(a.result);
	sim_program_close(&other);
	pair_close(&p);
}

/* Goal: calls and requests have bounds, and say so. */
TEST(rpc_call__bounded)
{
	struct call_answer *answers = mem_calloc(RPC_CALLS_MAX, sizeof(*answers));
	struct pair p;

	pair_open(&p);
	for (int i = 0; i < RPC_CALLS_MAX; i++)
		call_start(&p.client, p.peer, "later", json_object(), &answers[i]);
	CHECK_EQ(rpc_call(p.client.rpc, p.peer, "later", json_object(), NS_PER_S, NULL, NULL),
		 -ENOSPC);
	run_for(p.network, 6 * NS_PER_S);
	for (int i = 0; i < RPC_CALLS_MAX; i++)
		CHECK_EQ(answers[i].code, -ETIMEDOUT);
	call_start(&p.client, p.peer, "later", json_object(), &answers[0]);
	run_for(p.network, NS_PER_S);
	CHECK(answers[0].done);
	CHECK_EQ(answers[0].code, -EBUSY);
	pair_close(&p);
	mem_free(answers);
}
