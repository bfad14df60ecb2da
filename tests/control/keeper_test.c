/* keeper_test.c - certificates are renewed before they end, revocations are taken in, also
 * after the directory was away.
 */
#include "control/keeper.h"

#include <errno.h>

#include "dataplane/base/memory.h"
#include "tests/support/enrolled.h"
#include "tests/test.h"

#define SERVER PRINCIPAL_BIT(PRINCIPAL_SERVER)

struct kept {
	struct enrolled_program program;
	struct address directory;
	struct keeper *keeper;
};

static void open_kept(struct enrolled *x, struct kept *k, const char *name, int64_t life_s)
{
	struct keeper_options o;
	struct error e = { 0 };

	enrolled_program_open(x, &k->program, name, SERVER, life_s);
	k->directory = enrolled_address();
	o = (struct keeper_options){ .node = k->program.program.node,
				     .rpc = k->program.program.rpc,
				     .identity = k->program.identity,
				     .directory = &k->directory };
	CHECK_OK(keeper_open(&k->keeper, &o, &e), &e);
}

static void close_kept(struct kept *k)
{
	sim_program_detach(&k->program.program);
	keeper_close(k->keeper);
	enrolled_program_close(&k->program);
}

static int64_t ends_unix_s(struct identity *id)
{
	struct principal self;

	identity_self(id, &self);
	return self.not_after_unix_s;
}

/* Goal: a program whose certificate lives a minute is there after ten, in one piece. */
TEST(keeper__renews_in_time)
{
	struct error e = { 0 };
	struct identity *again;
	struct enrolled x;
	struct kept k;

	enrolled_open(&x);
	open_kept(&x, &k, "gpu-17", 60);
	for (int minute = 0; minute < 10; minute++) {
		run_for(x.network, 60 * NS_PER_S);
		CHECK_OK(identity_check(k.program.identity, &e), &e);
	}
	/* What is in the folder is what is in use. */
	CHECK_OK(identity_open(&again, identity_folder(k.program.identity), sim_clock(x.network),
			       &e), &e);
	CHECK_EQ(ends_unix_s(again), ends_unix_s(k.program.identity));
	identity_close(again);
	close_kept(&k);
	enrolled_close(&x);
}

/* Goal: with two thirds over and not before. */
TEST(keeper_due__at_two_thirds)
{
	struct principal p = { .not_before_unix_s = 1000, .not_after_unix_s = 1300 };

	CHECK_EQ(keeper_due_unix_s(&p), 1200);
}

/* Goal: each program hears of a revocation, the revoked one loses its connections to others. */
TEST(keeper__takes_revocations)
{
	struct principal p;
	struct error e = { 0 };
	struct enrolled x;
	struct kept a, b;

	enrolled_open(&x);
	open_kept(&x, &a, "gpu-17", 86400);
	open_kept(&x, &b, "gpu-18", 86400);
	run_for(x.network, 5 * NS_PER_S);
	identity_self(b.program.identity, &p);
	CHECK(identity_still_valid(a.program.identity, &p, &e));
	CHECK_EQ(ca_revoke(x.ca, "gpu-18", &e), 1);
	run_for(x.network, 5 * NS_PER_S);
	CHECK(!identity_still_valid(a.program.identity, &p, &e));
	CHECK_TEXT(e.text, "the certificate of gpu-18 was revoked");
	close_kept(&a);
	close_kept(&b);
	enrolled_close(&x);
}

/* Goal: what was revoked while the directory could not be reached is heard afterwards. */
TEST(keeper__asks_again_after_a_cut)
{
	struct principal p;
	struct error e = { 0 };
	struct enrolled x;
	struct kept a, b;

	enrolled_open(&x);
	open_kept(&x, &a, "gpu-17", 86400);
	open_kept(&x, &b, "gpu-18", 86400);
	run_for(x.network, 5 * NS_PER_S);
	identity_self(b.program.identity, &p);
	sim_cut(x.network, a.program.program.id, x.directory.id, true);
	run_for(x.network, 14 * NS_PER_S);
	CHECK_EQ(ca_revoke(x.ca, "gpu-18", &e), 1);
	run_for(x.network, 5 * NS_PER_S);
	CHECK(identity_still_valid(a.program.identity, &p, &e));
	sim_cut(x.network, a.program.program.id, x.directory.id, false);
	/* Long before it would ask by itself. */
	run_for(x.network, 15 * NS_PER_S);
	CHECK(!identity_still_valid(a.program.identity, &p, &e));
	close_kept(&a);
	close_kept(&b);
	enrolled_close(&x);
}

/* Goal: a revoked program is not renewed; it goes on as long as it is let. */
TEST(keeper__is_refused_when_revoked)
{
	struct error e = { 0 };
	struct enrolled x;
	struct kept k;
	int64_t ends;

	enrolled_open(&x);
	open_kept(&x, &k, "gpu-17", 60);
	run_for(x.network, 3 * NS_PER_S);
	ends = ends_unix_s(k.program.identity);
	CHECK_EQ(ca_revoke(x.ca, "gpu-17", &e), 1);
	run_for(x.network, 120 * NS_PER_S);
	CHECK_EQ(ends_unix_s(k.program.identity), ends);
	CHECK(identity_check(k.program.identity, &e) < 0);
	close_kept(&k);
	enrolled_close(&x);
}

static int refuse(void *ctx, const char *request, char **certificate, struct error *e)
{
	(*(int *)ctx)++;
	return error_set(e, -EIO, "the disk is full");
}

/* Goal: what cannot be renewed is tried again, several times before the end. */
TEST(keeper__tries_again)
{
	struct enrolled_program p;
	struct keeper_options o;
	struct error e = { 0 };
	struct keeper *keeper;
	struct enrolled x;
	int tries = 0;

	enrolled_open(&x);
	enrolled_program_open(&x, &p, "gpu-17", SERVER, 600);
	o = (struct keeper_options){ .node = p.program.node, .rpc = p.program.rpc,
				     .identity = p.identity, .renew = refuse, .ctx = &tries };
	CHECK_OK(keeper_open(&keeper, &o, &e), &e);
	run_for(x.network, 300 * NS_PER_S);
	CHECK_EQ(tries, 0);
	run_for(x.network, 250 * NS_PER_S);
	CHECK(tries >= 5 && tries < 50);
	sim_program_detach(&p.program);
	keeper_close(keeper);
	enrolled_program_close(&p);
	enrolled_close(&x);
}
