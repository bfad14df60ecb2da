/* keeper_test.c - certificates are renewed before they end, revocations are taken in, also
 * after the directory was away.
 */
#include "control/keeper.h"

#include <errno.h>

#include <openssl/evp.h>

#include "dataplane/base/memory.h"
#include "tests/support/enrolled.h"
#include "tests/support/test_ca.h"
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

static void count_lost(void *ctx, uint32_t peer, int code, const char *reason)
{
	(*(unsigned *)ctx)++;
}

/* Goal: a renewed certificate takes the old one's place on connections that are there: none ends
 * for it.
 */
TEST(keeper__renewals_keep_connections)
{
	unsigned lost = 0;
	struct keeper_options o;
	struct keeper *theirs;
	struct error e = { 0 };
	struct enrolled x;
	struct kept k;

	enrolled_open(&x);
	o = (struct keeper_options){ .node = x.directory.node, .rpc = x.directory.rpc,
				     .identity = x.identity };
	CHECK_OK(keeper_open(&theirs, &o, &e), &e);
	open_kept(&x, &k, "gpu-17", 60);
	CHECK_EQ(node_listener_add(k.program.program.node, &(struct node_listener){
		.ctx = &lost, .lost = count_lost }), 0);
	run_for(x.network, 600 * NS_PER_S);
	CHECK_EQ(lost, 0);
	CHECK_OK(identity_check(k.program.identity, &e), &e);
	node_listener_remove(k.program.program.node, &lost);
	close_kept(&k);
	sim_program_detach(&x.directory);
	keeper_close(theirs);
	enrolled_close(&x);
}

/* The CA issues it and p shows it; what becomes of that. */
static int show_issued(struct enrolled *x, struct enrolled_program *p, const char *name,
		       EVP_PKEY *key)
{
	const struct ca_wish wish = { .name = name, .roles = SERVER, .life_s = 3600 };
	struct call_answer a;
	struct error e = { 0 };
	char *cert;

	CHECK_OK(ca_issue(x->ca, &wish, key, &cert, &e), &e);
	a = call(&p->program, p->peer, "certificate", json_pack("{s:s}", "certificate", cert));
	json_decref(a.result);
	mem_free(cert);
	return a.code;
}

/* Goal: nobody takes another's certificate for its own, nor one of another CA's. */
TEST(keeper__takes_renewed_certificates_only)
{
	struct identity_pem other, self;
	struct keeper_options o;
	struct keeper *theirs;
	struct call_answer a;
	struct test_ca ca;
	struct error e = { 0 };
	struct enrolled x;
	struct enrolled_program p, q;
	EVP_PKEY *key;

	enrolled_open(&x);
	o = (struct keeper_options){ .node = x.directory.node, .rpc = x.directory.rpc,
				     .identity = x.identity };
	CHECK_OK(keeper_open(&theirs, &o, &e), &e);
	enrolled_program_open(&x, &p, "gpu-17", SERVER, 86400);
	enrolled_program_open(&x, &q, "gpu-18", SERVER | PRINCIPAL_BIT(PRINCIPAL_OPERATOR), 86400);
	CHECK_OK(identity_export(p.identity, &self, &e), &e);
	a = call(&p.program, p.peer, "certificate", json_pack("{s:s}", "certificate", self.cert));
	CHECK_EQ(a.code, 0);
	json_decref(a.result);
	/* Its key under another name, its name for another key. */
	CHECK_OK(certificate_key_from_pem(&key, self.key, &e), &e);
	CHECK_EQ(show_issued(&x, &p, "gpu-99", key), -EPERM);
	EVP_PKEY_free(key);
	CHECK_OK(certificate_key(&key, NULL, &e), &e);
	CHECK_EQ(show_issued(&x, &p, "gpu-17", key), -EPERM);
	EVP_PKEY_free(key);
	identity_pem_release(&self);
	CHECK_OK(identity_export(q.identity, &other, &e), &e);
	a = call(&p.program, p.peer, "certificate", json_pack("{s:s}", "certificate", other.cert));
	CHECK_EQ(a.code, -EPERM);
	CHECK_TEXT(a.message, "it is not for gpu-17's name and key");
	identity_pem_release(&other);
	test_ca_open(&ca, "other", test_seed());
	other = test_ca_issue(&ca, "gpu-17", PRINCIPAL_ANY);
	a = call(&p.program, p.peer, "certificate", json_pack("{s:s}", "certificate", other.cert));
	CHECK(a.code < 0);
	CHECK(strstr(a.message, "signed by a CA that is not ours"));
	a = call(&p.program, p.peer, "certificate", json_object());
	CHECK(a.code < 0);
	identity_pem_release(&other);
	test_ca_close(&ca);
	enrolled_program_close(&p);
	enrolled_program_close(&q);
	sim_program_detach(&x.directory);
	keeper_close(theirs);
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
