/* permission_node_test.c - the tables of permission.c hold where messages and calls arrive, over
 * sealed connections: every role with every message and every call.
 *
 * Covers node.c, rpc.c.
 */
#include "tests/test.h"

#include <errno.h>

#include "control/permission.h"
#include "dataplane/base/memory.h"
#include "tests/support/sim_program.h"
#include "tests/support/test_ca.h"

struct world {
	struct sim_network *network;
	struct test_ca ca;
	struct identity *ours, *theirs;
	struct sim_program here, there;         /* there dials here */
	uint32_t peer;                          /* as there knows it */
	bool lost;
	char reason[WIRE_REASON_BYTES];
	unsigned heard[WIRE_TYPE_COUNT];
};

static void on_lost(void *ctx, uint32_t peer, int code, const char *reason)
{
	struct world *w = ctx;

	w->lost = true;
	snprintf(w->reason, sizeof(w->reason), "%s", reason);
}

static void take(void *ctx, struct message *m)
{
	struct world *w = ctx;

	w->heard[m->frame.type]++;
	node_put(w->here.node, m);
}

static void serve(void *ctx, struct rpc_request *q, const json_t *params)
{
	rpc_reply(q, json_object());
}

static const struct rpc_method methods[] = {
	{ "join", serve }, { "leave", serve }, { "view", serve }, { "enrol", serve },
	{ "renew_certificate", serve }, { "dance", serve },
};

/* stranger: without a certificate; else of these roles. */
static void open_world(struct world *w, bool stranger, uint32_t roles)
{
	uint8_t fingerprint[PRINCIPAL_FINGERPRINT_BYTES];
	struct address a;
	struct error e = { 0 };

	*w = (struct world){ .network = test_network() };
	test_ca_open(&w->ca, "test-CA", test_seed());
	w->ours = test_identity(&w->ca, "here", PRINCIPAL_ANY, sim_clock(w->network));
	identity_admit_strangers(w->ours);
	test_ca_fingerprint(&w->ca, fingerprint);
	if (stranger)
		CHECK_OK(identity_open_stranger(&w->theirs, fingerprint, sim_clock(w->network), &e),
			 &e);
	else
		w->theirs = test_identity(&w->ca, "there", roles, sim_clock(w->network));
	sim_program_open_as(&w->here, w->network, ROLE_DIRECTORY, "here", w->ours);
	sim_program_open_as(&w->there, w->network, ROLE_TOOL, "there", w->theirs);
	sim_program_listen(&w->here, "sim:1");
	rpc_serve(w->here.rpc, methods, ARRAY_LENGTH(methods), w);
	for (enum wire_type t = WIRE_OPEN; t <= WIRE_LEAVING; t++)
		node_handle(w->here.node, t, take, w);
	CHECK_EQ(node_listener_add(w->there.node, &(struct node_listener){
		.ctx = w, .lost = on_lost }), 0);
	CHECK_OK(address_parse(&a, "sim:1", &e), &e);
	CHECK_OK(node_link(w->there.node, &a, &w->peer, &e), &e);
}

static void close_world(struct world *w)
{
	node_listener_remove(w->there.node, w);
	sim_program_close(&w->there);
	sim_program_close(&w->here);
	identity_close(w->ours);
	identity_close(w->theirs);
	test_ca_close(&w->ca);
	sim_network_close(w->network);
}

/* A message of the type, as short as it may be. */
static void send_one(struct world *w, enum wire_type type)
{
	uint32_t bytes = wire_types[type].least_bytes;
	void *payload = mem_calloc(1, MAX(bytes, 1u));
	struct frame f = { .type = type, .session = 7, .payload_bytes = bytes };

	CHECK_EQ(node_send(w->there.node, w->peer, &f, payload), 0);
	mem_free(payload);
}

/* Goal: a role's messages arrive; the first other one ends the connection, with a sentence, and
 * is not handled.
 */
TEST(node__takes_what_a_role_may_send)
{
	for (uint32_t r = 0; r <= PRINCIPAL_ROLES; r++) {
		bool stranger = r == PRINCIPAL_ROLES;
		uint32_t roles = stranger ? 0 : PRINCIPAL_BIT(r);

		for (enum wire_type t = WIRE_OPEN; t <= WIRE_LEAVING; t++) {
			bool allowed = permission_allows(roles, permission_of_wire(t));
			struct world w;

			open_world(&w, stranger, roles);
			send_one(&w, t);
			run_for(w.network, NS_PER_S);
			CHECK_EQ(w.heard[t], allowed);
			CHECK_EQ(w.lost, !allowed);
			if (!allowed)
				CHECK(strstr(w.reason, "may not "));
			close_world(&w);
		}
	}
}

/* Goal: a call that a role may not make is answered so, and the connection stays. */
TEST(rpc__serves_what_a_role_may_call)
{
	for (uint32_t r = 0; r <= PRINCIPAL_ROLES; r++) {
		bool stranger = r == PRINCIPAL_ROLES;
		uint32_t roles = stranger ? 0 : PRINCIPAL_BIT(r);
		struct world w;

		open_world(&w, stranger, roles);
		for (size_t i = 0; i < ARRAY_LENGTH(methods); i++) {
			enum verb verb = permission_of_call(methods[i].name);
			bool allowed = permission_allows(roles, verb);
			struct call_answer a =
				call(&w.there, w.peer, methods[i].name, json_object());

			CHECK_EQ(a.code, allowed ? 0 : -EPERM);
			if (!allowed)
				CHECK(strstr(a.message, verb_name(verb)));
			json_decref(a.result);
		}
		CHECK(!w.lost);
		close_world(&w);
	}
}

/* Goal: both sides know each other's name, the caller's to be asked for by a method. */
TEST(node_principal__is_the_certificates)
{
	struct world w;

	open_world(&w, false, PRINCIPAL_BIT(PRINCIPAL_TENANT));
	CHECK(!node_principal(w.there.node, w.peer));
	run_for(w.network, NS_PER_S);
	CHECK_TEXT(node_principal(w.there.node, w.peer)->name, "here");
	CHECK_TEXT(node_address(w.there.node, w.peer)->text, "sim:1");
	CHECK(!node_principal(w.there.node, 999));
	CHECK(!node_address(w.there.node, 999));
	close_world(&w);
}
