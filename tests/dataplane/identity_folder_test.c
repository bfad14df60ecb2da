/* identity_folder_test.c - credentials folders that change, are damaged, or are open to others.
 *
 * Covers identity.c.
 */
#include "tests/test.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/evp.h>
#include <openssl/x509.h>

#include "dataplane/base/fault.h"
#include "dataplane/base/file.h"
#include "dataplane/base/memory.h"
#include "tests/support/handshake.h"
#include "tests/support/test_ca.h"

static char *make_folder(void)
{
	char *path = mem_strdup("/tmp/petals-identity-test-XXXXXX");

	CHECK(mkdtemp(path) != NULL);
	return path;
}

static void remove_folder(char *folder)
{
	static const char *const names[] = { "ca.pem", "cert.pem", "key.pem", "crl.pem" };

	for (size_t i = 0; i < ARRAY_LENGTH(names); i++) {
		char *path = file_join(folder, names[i]);

		unlink(path);
		mem_free(path);
	}
	CHECK_EQ(rmdir(folder), 0);
	mem_free(folder);
}

/* Goal: renewed files are taken in without a restart; damaged ones change nothing. */
TEST(identity__folder_changes_are_noticed)
{
	char *folder = make_folder();
	struct identity_pem first, second, mixed;
	struct principal self;
	struct error e = { 0 };
	struct identity *id;
	uint64_t now_ns = 10 * NS_PER_S;
	struct test_region w;

	test_region_open(&w);
	first = test_ca_issue(&w.ca, "server-2", PRINCIPAL_BIT(PRINCIPAL_SERVER));
	second = test_ca_issue(&w.ca, "server-3", PRINCIPAL_BIT(PRINCIPAL_SERVER));
	test_write_credentials(folder, &first);
	CHECK_OK(identity_open(&id, folder, &w.clock.clock, &e), &e);
	CHECK_EQ(identity_poll(id, now_ns, &e), 0);

	/* Not looked at before its time. */
	test_write_credentials(folder, &second);
	CHECK_EQ(identity_poll(id, now_ns + 1, &e), 0);
	CHECK_EQ(identity_poll(id, now_ns += IDENTITY_POLL_NS, &e), 1);
	identity_self(id, &self);
	CHECK_TEXT(self.name, "server-3");
	CHECK_EQ(identity_poll(id, now_ns += IDENTITY_POLL_NS, &e), 0);

	/* Half of a change: said once, and nothing happens. */
	mixed = (struct identity_pem){ first.ca, first.cert, second.key, NULL };
	test_write_credentials(folder, &mixed);
	CHECK_EQ(identity_poll(id, now_ns += IDENTITY_POLL_NS, &e), -EKEYREJECTED);
	CHECK(strstr(e.text, "key.pem is not the key of server-2's certificate in cert.pem"));
	CHECK_EQ(identity_poll(id, now_ns += IDENTITY_POLL_NS, &e), 0);
	identity_self(id, &self);
	CHECK_TEXT(self.name, "server-3");
	test_write_credentials(folder, &first);
	CHECK_EQ(identity_poll(id, now_ns += IDENTITY_POLL_NS, &e), 1);
	identity_self(id, &self);
	CHECK_TEXT(self.name, "server-2");
	identity_close(id);
	identity_pem_release(&first);
	identity_pem_release(&second);
	remove_folder(folder);
	test_region_close(&w);
}

/* The key's certificate, made anew for another name: as a CA renews it. */
static char *renewed(struct test_ca *ca, const char *key_pem, const char *name)
{
	struct certificate_spec spec = { .name = name, .roles = 1,
					 .not_after_unix_s = 2 * REGION_NOW_S };
	struct error e = { 0 };
	EVP_PKEY *key;
	char *pem;
	X509 *c;

	CHECK_OK(certificate_key_from_pem(&key, key_pem, &e), &e);
	certificate_serial(spec.serial, &ca->random);
	CHECK_OK(certificate_issue(&c, &spec, key, ca->certificate, ca->key, &e), &e);
	CHECK_OK(certificate_to_pem(&pem, c, &e), &e);
	X509_free(c);
	EVP_PKEY_free(key);
	return pem;
}

/* Goal: a renewed certificate is used at once and after a restart; another's is refused. */
TEST(identity_install__takes_our_own)
{
	char *folder = make_folder(), *cert;
	struct identity_pem pem, other;
	struct principal self;
	struct error e = { 0 };
	struct identity *id;
	uint64_t generation;
	struct test_region w;

	test_region_open(&w);
	pem = test_ca_issue(&w.ca, "server-2", PRINCIPAL_BIT(PRINCIPAL_SERVER));
	other = test_ca_issue(&w.ca, "server-3", PRINCIPAL_BIT(PRINCIPAL_SERVER));
	test_write_credentials(folder, &pem);
	CHECK_OK(identity_open(&id, folder, &w.clock.clock, &e), &e);
	CHECK_TEXT(identity_folder(id), folder);
	generation = identity_generation(id);
	CHECK_EQ(identity_install(id, other.cert, &e), -EKEYREJECTED);
	CHECK_EQ(identity_install(id, "nothing", &e), -EBADMSG);
	CHECK_TEXT(e.text, "the renewed cert.pem holds no certificate in PEM");
	CHECK_EQ(identity_generation(id), generation);
	cert = renewed(&w.ca, pem.key, "server-2b");
	CHECK_OK(identity_install(id, cert, &e), &e);
	identity_self(id, &self);
	CHECK_TEXT(self.name, "server-2b");
	CHECK_EQ(identity_poll(id, 10 * NS_PER_S, &e), 0);
	identity_close(id);
	CHECK_OK(identity_open(&id, folder, &w.clock.clock, &e), &e);
	identity_self(id, &self);
	CHECK_TEXT(self.name, "server-2b");
	identity_close(id);
	mem_free(cert);
	identity_pem_release(&pem);
	identity_pem_release(&other);
	remove_folder(folder);
	test_region_close(&w);
}

/* Goal: a received revocation list is there after a restart, too. */
TEST(identity__revocations_are_kept)
{
	char *folder = make_folder(), *list;
	struct identity_pem pem, victim;
	struct handshake h;
	struct error e = { 0 };
	struct identity *id, *revoked;
	struct test_region w;

	test_region_open(&w);
	pem = test_ca_issue(&w.ca, "server-2", PRINCIPAL_BIT(PRINCIPAL_SERVER));
	victim = test_ca_issue(&w.ca, "victim-1", PRINCIPAL_BIT(PRINCIPAL_SERVER));
	CHECK_OK(identity_open_pem(&revoked, &victim, &w.clock.clock, &e), &e);
	pem.crl = test_ca_revocations(&w.ca);
	test_ca_revoke(&w.ca, victim.cert);
	list = test_ca_revocations(&w.ca);
	test_write_credentials(folder, &pem);
	CHECK_OK(identity_open(&id, folder, &w.clock.clock, &e), &e);
	CHECK_EQ(identity_set_revocations(id, list, strlen(list), &e), 1);
	/* What we wrote ourselves is no change. */
	CHECK_EQ(identity_poll(id, 10 * NS_PER_S, &e), 0);
	identity_close(id);
	CHECK_OK(identity_open(&id, folder, &w.clock.clock, &e), &e);
	handshake_open(&h, revoked, 0, id, 0);
	handshake_run(&h);
	CHECK_EQ(h.acceptor.fault, IDENTITY_FAULT_REVOKED);
	handshake_close(&h);
	/* An older one in the folder does not take its place. */
	test_write_credentials(folder, &pem);
	CHECK_OK(identity_reload(id, &e), &e);
	CHECK_EQ(identity_set_revocations(id, list, strlen(list), &e), 0);
	mem_free(list);
	identity_close(id);
	identity_close(revoked);
	identity_pem_release(&pem);
	identity_pem_release(&victim);
	remove_folder(folder);
	test_region_close(&w);
}

/* Goal: a CA that is no longer trusted takes those it vouched for with it. */
TEST(identity__cas_may_be_dropped)
{
	char *folder = make_folder();
	struct identity_pem pem, both;
	struct buffer cas = { 0 };
	struct test_ca second;
	struct handshake h;
	struct error e = { 0 };
	struct identity *id, *other;
	struct test_region w;

	test_region_open(&w);
	test_ca_open(&second, "second-CA", test_seed() + 1);
	pem = test_ca_issue(&w.ca, "server-2", PRINCIPAL_BIT(PRINCIPAL_SERVER));
	buffer_printf(&cas, "%s%s", w.ca.pem, second.pem);
	both = (struct identity_pem){ buffer_string(&cas), pem.cert, pem.key, NULL };
	test_write_credentials(folder, &both);
	CHECK_OK(identity_open(&id, folder, &w.clock.clock, &e), &e);
	identity_pem_release(&pem);

	pem = test_ca_issue(&second, "server-3", PRINCIPAL_BIT(PRINCIPAL_SERVER));
	mem_free((char *)pem.ca);
	pem.ca = buffer_take(&cas);
	CHECK_OK(identity_open_pem(&other, &pem, &w.clock.clock, &e), &e);
	handshake_open(&h, other, 0, id, 0);
	handshake_run(&h);
	CHECK_OK(h.acceptor.principal_rc, &h.acceptor.error);
	CHECK(identity_still_valid(id, &h.acceptor.principal, &e));
	test_write_credentials(folder, &(struct identity_pem){ .ca = w.ca.pem });
	CHECK_OK(identity_reload(id, &e), &e);
	CHECK(!identity_still_valid(id, &h.acceptor.principal, &e));
	CHECK_TEXT(e.text, "the certificate of server-3 is signed by a CA that is not ours any "
			   "more");
	handshake_close(&h);
	identity_close(other);
	identity_close(id);
	identity_pem_release(&pem);
	test_ca_close(&second);
	remove_folder(folder);
	test_region_close(&w);
}

/* Goal: a key that others may read is refused, and the sentence says what to do. */
TEST(identity__open_key_files_are_refused)
{
	char *folder = make_folder(), *key = file_join(folder, "key.pem");
	static const mode_t bad[] = { 0604, 0602, 0666, 0644, 0777 };
	struct identity_pem pem;
	struct error e = { 0 };
	struct identity *id;
	struct test_region w;

	test_region_open(&w);
	pem = test_ca_issue(&w.ca, "server-2", PRINCIPAL_BIT(PRINCIPAL_SERVER));
	test_write_credentials(folder, &pem);
	for (size_t i = 0; i < ARRAY_LENGTH(bad); i++) {
		CHECK_EQ(chmod(key, bad[i]), 0);
		CHECK_EQ(identity_open(&id, folder, &w.clock.clock, &e), -EACCES);
		CHECK(strstr(e.text, "is open to others (mode "));
		CHECK(strstr(e.text, "chmod 600"));
	}
	CHECK_EQ(chmod(key, 0400), 0);
	CHECK_OK(identity_open(&id, folder, &w.clock.clock, &e), &e);
	identity_close(id);
	identity_pem_release(&pem);
	mem_free(key);
	remove_folder(folder);
	test_region_close(&w);
}

#ifdef PETALS_FAULTS
/* Goal: whatever fails, opening leaves nothing behind, and a change leaves things as they were. */
TEST(identity__unwinds_every_failure)
{
	char *folder = make_folder(), *cert, *list;
	struct identity_pem pem;
	struct principal before, self;
	struct error e = { 0 };
	struct identity *id;
	uint64_t live;
	struct test_region w;
	int nth, rc;

	test_region_open(&w);
	pem = test_ca_issue(&w.ca, "server-2", PRINCIPAL_BIT(PRINCIPAL_SERVER));
	cert = renewed(&w.ca, pem.key, "server-2b");
	list = test_ca_revocations(&w.ca);
	test_write_credentials(folder, &pem);
	live = mem_live_blocks();
	for (nth = 1;; nth++) {
		fault_arm(nth);
		rc = identity_open(&id, folder, &w.clock.clock, &e);
		if (!fault_fired())
			break;
		fault_disarm();
		CHECK(rc < 0 && e.code == rc && !id);
		CHECK_EQ(mem_live_blocks(), live);
	}
	CHECK(nth > 10);
	identity_self(id, &before);
	live = mem_live_blocks();
	for (nth = 1;; nth++) {
		fault_arm(nth);
		rc = identity_install(id, cert, &e);
		if (!fault_fired())
			break;
		fault_disarm();
		CHECK(rc < 0);
		identity_self(id, &self);
		CHECK_TEXT(self.name, before.name);
		CHECK_EQ(mem_live_blocks(), live);
	}
	fault_disarm();
	CHECK_EQ(rc, 0);
	/* A list that cannot be kept in the folder is used all the same. */
	for (nth = 1; rc <= 0; nth++) {
		fault_arm(nth);
		rc = identity_set_revocations(id, list, strlen(list), &e);
		fault_disarm();
		CHECK(rc != 0);
	}
	identity_close(id);
	mem_free(cert);
	mem_free(list);
	identity_pem_release(&pem);
	remove_folder(folder);
	test_region_close(&w);
}
#endif

enum { RELOADS = 30 };

struct racing {
	struct identity *id, *other;
	char *lists[RELOADS];
	atomic_bool stop;
};

static void *shake_hands(void *ctx)
{
	struct racing *r = ctx;

	while (!atomic_load(&r->stop)) {
		struct handshake h;

		handshake_open(&h, r->other, 0, r->id, 0);
		handshake_run(&h);
		CHECK_OK(h.acceptor.principal_rc, &h.acceptor.error);
		CHECK(identity_still_valid(r->id, &h.acceptor.principal, NULL));
		handshake_close(&h);
	}
	return NULL;
}

static void *read_lists(void *ctx)
{
	struct racing *r = ctx;

	for (int i = 0; i < RELOADS; i++)
		CHECK(identity_set_revocations(r->id, r->lists[i], strlen(r->lists[i]), NULL) >= 0);
	return NULL;
}

/* Goal: handshakes, reloads and lists at once are no race, and sessions outlive their set. */
TEST(identity__reloads_beside_handshakes)
{
	char *folder = make_folder();
	struct racing r = { 0 };
	pthread_t shaker, reader;
	struct identity_pem pem;
	struct handshake kept;
	struct error e = { 0 };
	struct test_region w;

	test_region_open(&w);
	pem = test_ca_issue(&w.ca, "server-2", PRINCIPAL_BIT(PRINCIPAL_SERVER));
	for (int i = 0; i < RELOADS; i++)
		r.lists[i] = test_ca_revocations(&w.ca);
	test_write_credentials(folder, &pem);
	CHECK_OK(identity_open(&r.id, folder, &w.clock.clock, &e), &e);
	r.other = w.server;
	handshake_open(&kept, w.server, 0, r.id, 0);
	CHECK_EQ(pthread_create(&shaker, NULL, shake_hands, &r), 0);
	CHECK_EQ(pthread_create(&reader, NULL, read_lists, &r), 0);
	for (int i = 0; i < RELOADS; i++)
		CHECK_OK(identity_reload(r.id, &e), &e);
	CHECK_EQ(pthread_join(reader, NULL), 0);
	atomic_store(&r.stop, true);
	CHECK_EQ(pthread_join(shaker, NULL), 0);
	handshake_run(&kept);
	CHECK_OK(kept.acceptor.principal_rc, &kept.acceptor.error);
	identity_close(r.id);
	handshake_close(&kept);
	for (int i = 0; i < RELOADS; i++)
		mem_free(r.lists[i]);
	identity_pem_release(&pem);
	remove_folder(folder);
	test_region_close(&w);
}
