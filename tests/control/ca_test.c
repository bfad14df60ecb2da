/* ca_test.c - a CA's folder from its making to revoked and renewed certificates, and that what
 * it issues is believed by identities.
 *
 * Covers ca.c, ca_issue.c, ca_revoke.c.
 */
#include "tests/test.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/evp.h>
#include <openssl/x509.h>

#include "control/ca.h"
#include "dataplane/base/fault.h"
#include "dataplane/base/file.h"
#include "dataplane/base/memory.h"
#include "dataplane/identity.h"
#include "tests/support/folder.h"
#include "tests/support/handshake.h"

#define DAY_S 86400
#define NOW_S (20000LL * DAY_S)
#define SERVER PRINCIPAL_BIT(PRINCIPAL_SERVER)
#define OPERATOR PRINCIPAL_BIT(PRINCIPAL_OPERATOR)

struct world {
	struct simulated_clock clock;
	char *folder, *home;            /* of the CA; of everybody's credentials */
	struct ca *ca;
};

static void open_world(struct world *w)
{
	struct error e = { 0 };

	simulated_clock_init(&w->clock, NOW_S * NS_PER_S);
	w->home = test_folder_open();
	w->folder = file_join(w->home, "ca");
	CHECK_OK(ca_init(w->folder, "region-1", 3650LL * DAY_S, &w->clock.clock, &e), &e);
	CHECK_OK(ca_open(&w->ca, w->folder, &w->clock.clock, &e), &e);
}

static void close_world(struct world *w)
{
	ca_close(w->ca);
	mem_free(w->folder);
	test_folder_close(w->home);
}

static struct identity *issue(struct world *w, const char *name, uint32_t roles)
{
	char *folder = file_join(w->home, name);
	struct error e = { 0 };
	struct identity *id;

	CHECK_OK(ca_issue_folder(w->ca, &(struct ca_wish){ .name = name, .roles = roles,
							   .life_s = 30 * DAY_S }, folder, &e), &e);
	CHECK_OK(identity_open(&id, folder, &w->clock.clock, &e), &e);
	mem_free(folder);
	return id;
}

/* Goal: a new CA is there once, its key is its own, and it is what it says. */
TEST(ca_init__makes_a_ca_once)
{
	struct error e = { 0 };
	struct world w;
	char *folder;

	open_world(&w);
	CHECK_EQ(test_folder_mode(w.folder, "ca.key"), 0600);
	CHECK_EQ(test_folder_mode(w.folder, "ca.pem"), 0644);
	CHECK_TEXT(ca_self(w.ca)->name, "region-1");
	CHECK_EQ(ca_self(w.ca)->not_after_unix_s, NOW_S + 3650LL * DAY_S);
	CHECK_EQ(ca_init(w.folder, "other", DAY_S, &w.clock.clock, &e), -EEXIST);
	CHECK(strstr(e.text, "holds a CA already"));
	folder = file_join(w.home, "elsewhere");
	CHECK_EQ(ca_open(&(struct ca *){ NULL }, folder, &w.clock.clock, &e), -ENOENT);
	CHECK(strstr(e.text, "`petalsctl ca init` makes one"));
	CHECK_EQ(ca_init(folder, "a b", DAY_S, &w.clock.clock, &e), -EINVAL);
	mem_free(folder);
	close_world(&w);
}

/* Goal: an open, damaged or foreign key is refused. */
TEST(ca_open__looks_at_its_key)
{
	struct error e = { 0 };
	struct world w;
	struct ca *ca;
	char *key, *path;
	EVP_PKEY *other;

	open_world(&w);
	path = file_join(w.folder, "ca.key");
	CHECK_EQ(chmod(path, 0640), 0);
	CHECK_EQ(ca_open(&ca, w.folder, &w.clock.clock, &e), -EACCES);
	CHECK(strstr(e.text, "is open to others (mode 640): chmod 600"));
	test_folder_write(w.folder, "ca.key", "nothing");
	CHECK_EQ(ca_open(&ca, w.folder, &w.clock.clock, &e), -EBADMSG);
	CHECK(strstr(e.text, "/ca.key: it holds no readable private key in PEM"));
	CHECK_OK(certificate_key(&other, NULL, &e), &e);
	CHECK_OK(certificate_key_to_pem(&key, other, &e), &e);
	test_folder_write(w.folder, "ca.key", key);
	CHECK_EQ(ca_open(&ca, w.folder, &w.clock.clock, &e), -EBADMSG);
	CHECK(strstr(e.text, "/ca.key is not the key of the certificate in ca.pem"));
	EVP_PKEY_free(other);
	mem_free(key);
	mem_free(path);
	close_world(&w);
}

/* Goal: credentials that it issues work, stand in its list, and are not overwritten. */
TEST(ca_issue_folder__makes_credentials)
{
	char *folder;
	struct identity *a, *b;
	struct handshake h;
	struct error e = { 0 };
	struct ca_index x;
	struct world w;

	open_world(&w);
	a = issue(&w, "gpu-17", SERVER);
	b = issue(&w, "alice", OPERATOR);
	handshake_open(&h, b, SERVER, a, OPERATOR);
	handshake_run(&h);
	CHECK_OK(h.acceptor.principal_rc, &h.acceptor.error);
	CHECK_TEXT(h.acceptor.principal.name, "alice");
	CHECK_EQ(h.acceptor.principal.not_after_unix_s, NOW_S + 30 * DAY_S);
	handshake_close(&h);
	CHECK_OK(ca_list(w.ca, &x, &e), &e);
	CHECK_EQ(x.certificate_count, 2);
	CHECK_TEXT(x.certificates[0].name, "gpu-17");
	CHECK_EQ(x.certificates[1].roles, OPERATOR);
	ca_index_close(&x);
	folder = file_join(w.home, "gpu-17");
	CHECK_EQ(test_folder_mode(folder, "key.pem"), 0600);
	CHECK_EQ(ca_issue_folder(w.ca, &(struct ca_wish){ .name = "x", .roles = SERVER,
							  .life_s = DAY_S }, folder, &e), -EEXIST);
	CHECK(strstr(e.text, "holds a certificate already"));
	mem_free(folder);
	identity_close(a);
	identity_close(b);
	close_world(&w);
}

/* Goal: no certificate outlives its CA, and a dead CA issues none. */
TEST(ca_issue__within_the_life_of_the_ca)
{
	struct identity *id;
	struct principal self;
	struct error e = { 0 };
	struct world w;
	EVP_PKEY *key;
	char *cert;

	open_world(&w);
	simulated_clock_advance_to(&w.clock, (NOW_S + 3640LL * DAY_S) * NS_PER_S);
	id = issue(&w, "late", SERVER);
	identity_self(id, &self);
	CHECK_EQ(self.not_after_unix_s, NOW_S + 3650LL * DAY_S);
	identity_close(id);
	simulated_clock_advance_to(&w.clock, (NOW_S + 3651LL * DAY_S) * NS_PER_S);
	CHECK_OK(certificate_key(&key, NULL, &e), &e);
	CHECK_EQ(ca_issue(w.ca, &(struct ca_wish){ .name = "x", .roles = SERVER, .life_s = 60 },
			  key, &cert, &e),
		 -EKEYEXPIRED);
	CHECK_TEXT(e.text, "the CA region-1 has expired itself: make a new one");
	CHECK_EQ(ca_issue(w.ca, &(struct ca_wish){ .name = "x", .life_s = 60 }, key, &cert, &e),
		 -EINVAL);
	EVP_PKEY_free(key);
	close_world(&w);
}

/* Goal: what is revoked is in the list that identities take, by name and by number. */
TEST(ca_revoke__reaches_identities)
{
	struct identity *a, *b, *c;
	struct principal pa, pb;
	char serial[CA_SERIAL_TEXT_BYTES], *list;
	struct error e = { 0 };
	struct world w;

	open_world(&w);
	a = issue(&w, "gpu-17", SERVER);
	b = issue(&w, "gpu-18", SERVER);
	c = issue(&w, "gpu-19", SERVER);
	identity_self(a, &pa);
	identity_self(b, &pb);
	CHECK_EQ(ca_revoke(w.ca, "gpu-99", &e), -ENOENT);
	CHECK(strstr(e.text, "no valid certificate has the name or serial number gpu-99"));
	CHECK_EQ(ca_revoke(w.ca, "gpu-17", &e), 1);
	CHECK_EQ(ca_revoke(w.ca, "gpu-17", &e), -ENOENT);
	CHECK_OK(ca_revocations_pem(w.ca, &list, &e), &e);
	CHECK_EQ(identity_set_revocations(c, list, strlen(list), &e), 1);
	mem_free(list);
	CHECK(!identity_still_valid(c, &pa, &e));
	CHECK(identity_still_valid(c, &pb, &e));
	certificate_hex(serial, pb.serial, pb.serial_bytes);
	CHECK_EQ(ca_revoke(w.ca, serial, &e), 1);
	CHECK_OK(ca_revocations_pem(w.ca, &list, &e), &e);
	CHECK_EQ(identity_set_revocations(c, list, strlen(list), &e), 1);
	mem_free(list);
	CHECK(!identity_still_valid(c, &pb, &e));
	identity_close(a);
	identity_close(b);
	identity_close(c);
	close_world(&w);
}

/* Goal: a list that was not written when the program died is written by the next one. */
TEST(ca_open__mends_the_list)
{
	struct identity *a, *b;
	struct principal p;
	struct error e = { 0 };
	char *before, *list;
	struct world w;

	open_world(&w);
	a = issue(&w, "gpu-17", SERVER);
	b = issue(&w, "gpu-18", SERVER);
	identity_self(a, &p);
	before = test_folder_read(w.folder, "crl.pem");
	CHECK_EQ(ca_revoke(w.ca, "gpu-17", &e), 1);
	test_folder_write(w.folder, "crl.pem", before);
	ca_close(w.ca);
	CHECK_OK(ca_open(&w.ca, w.folder, &w.clock.clock, &e), &e);
	CHECK_OK(ca_revocations_pem(w.ca, &list, &e), &e);
	CHECK_EQ(identity_set_revocations(b, list, strlen(list), &e), 1);
	CHECK(!identity_still_valid(b, &p, &e));
	mem_free(list);
	mem_free(before);
	identity_close(a);
	identity_close(b);
	close_world(&w);
}

/* Goal: what ended long ago is forgotten, with its copy; lists go on rising all the same, also
 * after theirs was lost.
 */
TEST(ca__forgets_what_is_long_over)
{
	struct identity *keeper, *id;
	struct error e = { 0 };
	struct ca_index x;
	char *list, *copies;
	struct world w;

	open_world(&w);
	keeper = issue(&w, "keeper", SERVER);
	for (int i = 0; i < 5; i++) {
		char name[16];

		snprintf(name, sizeof(name), "gpu-%d", i);
		id = issue(&w, name, SERVER);
		identity_close(id);
		if (i == 3) {
			char *path = file_join(w.folder, "crl.pem");

			CHECK_EQ(unlink(path), 0);
			mem_free(path);
		}
		CHECK_EQ(ca_revoke(w.ca, name, &e), 1);
		CHECK_OK(ca_revocations_pem(w.ca, &list, &e), &e);
		CHECK_EQ(identity_set_revocations(keeper, list, strlen(list), &e), 1);
		mem_free(list);
	}
	simulated_clock_advance_to(&w.clock, (NOW_S + 59 * DAY_S) * NS_PER_S);
	CHECK_OK(ca_list(w.ca, &x, &e), &e);
	CHECK_EQ(x.certificate_count, 6);
	ca_index_close(&x);
	simulated_clock_advance_to(&w.clock, (NOW_S + 61 * DAY_S) * NS_PER_S);
	id = issue(&w, "young", SERVER);
	CHECK_OK(ca_list(w.ca, &x, &e), &e);
	CHECK_EQ(x.certificate_count, 1);
	CHECK_TEXT(x.certificates[0].name, "young");
	ca_index_close(&x);
	copies = file_join(w.folder, "issued");
	CHECK_EQ(test_folder_count(copies), 1);
	CHECK_EQ(ca_revoke(w.ca, "young", &e), 1);
	CHECK_OK(ca_revocations_pem(w.ca, &list, &e), &e);
	CHECK_EQ(identity_set_revocations(keeper, list, strlen(list), &e), 1);
	mem_free(list);
	mem_free(copies);
	identity_close(id);
	identity_close(keeper);
	close_world(&w);
}

/* Goal: a renewed certificate says the same for longer, with the same key, and no revoked or
 * foreign one is renewed.
 */
TEST(ca_renew__same_but_fresh)
{
	struct principal before, after;
	struct identity *id;
	struct error e = { 0 };
	char *folder;
	struct world w;

	open_world(&w);
	id = issue(&w, "gpu-17", SERVER | PRINCIPAL_BIT(PRINCIPAL_GATEWAY));
	identity_self(id, &before);
	folder = file_join(w.home, "gpu-17");
	simulated_clock_advance_to(&w.clock, (NOW_S + 20 * DAY_S) * NS_PER_S);
	CHECK_OK(ca_renew_folder(w.ca, folder, &e), &e);
	CHECK_EQ(identity_poll(id, NS_PER_S, &e), 1);
	identity_self(id, &after);
	CHECK_TEXT(after.name, "gpu-17");
	CHECK_EQ(after.roles, before.roles);
	CHECK_EQ(after.not_after_unix_s, NOW_S + 50 * DAY_S);
	CHECK(memcmp(after.serial, before.serial, sizeof(after.serial)));
	CHECK_EQ(ca_revoke(w.ca, "gpu-17", &e), 2);
	CHECK_EQ(ca_renew_folder(w.ca, folder, &e), -EPERM);
	CHECK_TEXT(e.text, "the certificate of gpu-17 was revoked");
	identity_close(id);
	mem_free(folder);
	close_world(&w);
}

/* Goal: only for its own name, and only if this CA issued what is renewed. */
TEST(ca_renew__checks_who_asks)
{
	struct principal p;
	struct identity *id;
	struct error e = { 0 };
	char *request, *cert;
	EVP_PKEY *key;
	struct world w;

	open_world(&w);
	id = issue(&w, "gpu-17", SERVER);
	identity_self(id, &p);
	CHECK_OK(certificate_key(&key, NULL, &e), &e);
	CHECK_OK(certificate_request_make(&request, "gpu-18", key, &e), &e);
	CHECK_EQ(ca_renew(w.ca, &p, request, strlen(request), &cert, &e), -EPERM);
	CHECK_TEXT(e.text, "gpu-17 asks for a certificate of gpu-18");
	mem_free(request);
	CHECK_OK(certificate_request_make(&request, "gpu-17", key, &e), &e);
	CHECK_OK(ca_renew(w.ca, &p, request, strlen(request), &cert, &e), &e);
	mem_free(cert);
	p.serial[3] ^= 1;
	CHECK_EQ(ca_renew(w.ca, &p, request, strlen(request), &cert, &e), -ENOENT);
	CHECK(!cert);
	mem_free(request);
	EVP_PKEY_free(key);
	identity_close(id);
	close_world(&w);
}

#ifdef PETALS_FAULTS
/* Goal: whatever fails in issuing, the list stays whole and nothing leaks. */
TEST(ca_issue__unwinds_every_failure)
{
	struct error e = { 0 };
	struct ca_index x;
	struct world w;
	EVP_PKEY *key;
	char *cert;
	int nth;

	open_world(&w);
	CHECK_OK(certificate_key(&key, NULL, &e), &e);
	for (nth = 1;; nth++) {
		uint64_t before = mem_live_blocks();
		int rc;

		fault_arm(nth);
		rc = ca_issue(w.ca, &(struct ca_wish){ .name = "gpu-17", .roles = SERVER,
						       .life_s = DAY_S }, key, &cert, &e);
		if (!fault_fired())
			break;
		fault_disarm();
		CHECK(rc < 0 && !cert);
		CHECK_EQ(mem_live_blocks(), before);
		CHECK_OK(ca_list(w.ca, &x, &e), &e);
		CHECK_EQ(x.certificate_count, 0);
		ca_index_close(&x);
	}
	fault_disarm();
	CHECK(nth > 5);
	mem_free(cert);
	EVP_PKEY_free(key);
	close_world(&w);
}
#endif
