/* directory_owner_test.c - one server's lease is nobody else's: over sealed connections none is
 * renewed, ended or replaced by another certificate's holder.
 *
 * Covers directory.c, owners.c.
 */
#include "control/directory.h"

#include <errno.h>

#include "control/json.h"
#include "tests/support/enrolled.h"
#include "tests/test.h"

#define SERVER PRINCIPAL_BIT(PRINCIPAL_SERVER)

struct world {
	struct enrolled enrolled;
	struct directory *directory;
	struct enrolled_program a, b;
};

static void open_world(struct world *w)
{
	struct directory_options o = { .store = ":memory:", .ttl_ns = 60 * NS_PER_S,
				       .grace_ns = 10 * NS_PER_S };
	struct error e = { 0 };

	enrolled_open(&w->enrolled);
	o.node = w->enrolled.directory.node;
	o.rpc = w->enrolled.directory.rpc;
	CHECK_OK(directory_open(&w->directory, &o, &e), &e);
	enrolled_program_open(&w->enrolled, &w->a, "gpu-17", SERVER, 86400);
	enrolled_program_open(&w->enrolled, &w->b, "gpu-18", SERVER, 86400);
}

static void close_world(struct world *w)
{
	enrolled_program_close(&w->a);
	enrolled_program_close(&w->b);
	sim_program_detach(&w->enrolled.directory);
	directory_close(w->directory);
	enrolled_close(&w->enrolled);
}

static json_t *member_of(uint64_t id, const char *address)
{
	struct member m = { .id = id, .kind = "cpu-f32", .model = "tiny", .fingerprint = 0xf1,
			    .blocks = 24, .end = 8, .state = MEMBER_SERVING };

	snprintf(m.name, sizeof(m.name), "host-%u", (unsigned)id);
	snprintf(m.address.text, sizeof(m.address.text), "%s", address);
	return member_to_json(&m);
}

static int ask(struct enrolled_program *p, const char *method, json_t *params, const char *says)
{
	struct call_answer a = call(&p->program, p->peer, method, params);

	if (says)
		CHECK(strstr(a.message, says));
	json_decref(a.result);
	return a.code;
}

static json_t *renewal(uint64_t id)
{
	const struct member_load load = { 0 };

	return json_pack("{s:o, s:s, s:o}", "id", json_id(id), "state", "serving", "load",
			 member_load_to_json(&load));
}

/* Goal: the owner does all with its lease, another server nothing, and neither takes the
 * other's address while it is in use.
 */
TEST(directory__leases_have_owners)
{
	struct world w;

	open_world(&w);
	CHECK_EQ(ask(&w.a, "join", json_pack("{s:o}", "member", member_of(1, "sim:101")), NULL), 0);
	CHECK_EQ(ask(&w.a, "renew", renewal(1), NULL), 0);
	CHECK_EQ(ask(&w.b, "renew", renewal(1), "that lease is gpu-17's, not gpu-18's"), -EPERM);
	CHECK_EQ(ask(&w.b, "leave", json_pack("{s:o}", "id", json_id(1)), "gpu-17's"), -EPERM);
	CHECK_EQ(ask(&w.b, "join", json_pack("{s:o}", "member", member_of(1, "sim:102")),
		     "gpu-17's"), -EPERM);
	CHECK_EQ(ask(&w.b, "join", json_pack("{s:o}", "member", member_of(2, "sim:101")),
		     "host-1 serves at sim:101: that lease is gpu-17's, not gpu-18's"), -EPERM);
	CHECK_EQ(ask(&w.b, "join", json_pack("{s:o}", "member", member_of(2, "sim:102")), NULL), 0);
	CHECK_EQ(ask(&w.a, "leave", json_pack("{s:o}", "id", json_id(1)), NULL), 0);
	/* The address is free again. */
	CHECK_EQ(ask(&w.b, "join", json_pack("{s:o}", "member", member_of(3, "sim:101")), NULL), 0);
	CHECK_EQ(directory_view(w.directory)->epoch, 4);
	close_world(&w);
}
