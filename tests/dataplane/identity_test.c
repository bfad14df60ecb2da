/* identity_test.c - handshakes of all kinds of identities with each other, and what is said of
 * each refusal.
 *
 * Covers identity.c, identity_session.c, identity_fault.c, identity_judge.c.
 */
#include "tests/test.h"

#include <errno.h>
#include <stdlib.h>

#include <openssl/ssl.h>
#include <openssl/x509.h>

#include "dataplane/base/memory.h"
#include "tests/support/handshake.h"
#include "tests/support/test_ca.h"

#define DAY_S 86400

static struct identity *open_spec(struct test_region *w, struct certificate_spec spec)
{
	struct identity_pem pem = test_ca_issue_spec(&w->ca, spec);
	struct error e = { 0 };
	struct identity *id;

	CHECK_OK(identity_open_pem(&id, &pem, &w->clock.clock, &e), &e);
	identity_pem_release(&pem);
	return id;
}

/* The counter of one reason, as Prometheus sees it. */
static int refused(struct identity *id, const char *reason)
{
	struct counters *set = identity_counters(id);
	struct buffer text = { 0 };
	char line[128];
	const char *at;
	int value;

	counters_render(&set, 1, &text);
	snprintf(line, sizeof(line), "petals_identity_refused_total{reason=\"%s\"} ", reason);
	at = strstr(buffer_string(&text), line);
	value = at ? (int)strtol(at + strlen(line), NULL, 10) : 0;
	buffer_close(&text);
	return value;
}

/* Goal: two programs of one CA learn each other's name and roles. */
TEST(identity__two_of_one_ca_know_each_other)
{
	struct handshake h;
	struct identity *gateway;
	struct test_region w;

	test_region_open(&w);
	gateway = test_identity(&w.ca, "gateway-1", PRINCIPAL_BIT(PRINCIPAL_GATEWAY) |
				PRINCIPAL_BIT(PRINCIPAL_TENANT), &w.clock.clock);
	handshake_open(&h, gateway, PRINCIPAL_BIT(PRINCIPAL_SERVER), w.server, 0);
	handshake_run(&h);
	CHECK_OK(h.dialer.principal_rc, &h.dialer.error);
	CHECK_OK(h.acceptor.principal_rc, &h.acceptor.error);
	CHECK_TEXT(h.dialer.principal.name, "server-1");
	CHECK_TEXT(h.acceptor.principal.name, "gateway-1");
	CHECK_EQ(h.dialer.principal.roles, PRINCIPAL_BIT(PRINCIPAL_SERVER));
	CHECK_EQ(h.acceptor.principal.roles, PRINCIPAL_BIT(PRINCIPAL_GATEWAY) |
		 PRINCIPAL_BIT(PRINCIPAL_TENANT));
	CHECK_EQ(h.acceptor.principal.not_after_unix_s, TEST_CA_UNTIL_UNIX_S);
	CHECK_EQ(h.acceptor.principal.serial_bytes, CERTIFICATE_SERIAL_BYTES);
	CHECK(SSL_version(h.dialer.session) == TLS1_3_VERSION);
	CHECK(identity_still_valid(w.server, &h.acceptor.principal, NULL));
	handshake_close(&h);
	identity_close(gateway);
	test_region_close(&w);
}

/* Goal: handshakes of one seed have one size, whatever random numbers TLS draws. */
TEST(identity__handshakes_have_one_size)
{
	uint64_t dialed = 0, accepted = 0;

	for (int i = 0; i < 8; i++) {
		struct handshake h;
		struct test_region w;

		test_region_open(&w);
		handshake_open(&h, w.server, 0, w.server, 0);
		handshake_run(&h);
		CHECK(!h.dialer.failed && !h.acceptor.failed);
		if (i > 0) {
			CHECK_EQ(h.dialer.sent_bytes, dialed);
			CHECK_EQ(h.acceptor.sent_bytes, accepted);
		}
		dialed = h.dialer.sent_bytes;
		accepted = h.acceptor.sent_bytes;
		handshake_close(&h);
		test_region_close(&w);
	}
}

/* One who dials the server and is refused. */
static void check_refused(struct test_region *w, struct identity *dialer, uint32_t roles,
			  enum identity_fault fault, const char *sentence, const char *told)
{
	const char *reason = identity_fault_name(fault);
	int before = refused(w->server, reason), told_before = refused(dialer, "refused_us");
	struct handshake h;

	handshake_open(&h, dialer, 0, w->server, roles);
	handshake_run(&h);
	CHECK(h.acceptor.failed);
	CHECK_TEXT(identity_fault_name(h.acceptor.fault), reason);
	CHECK_TEXT(h.acceptor.error.text, sentence);
	CHECK(h.acceptor.principal_rc < 0);
	CHECK_EQ(h.acceptor.principal.roles, 0);
	CHECK_EQ(refused(w->server, reason), before + 1);
	/* ... and the dialer is told why. */
	CHECK(h.dialer.failed);
	CHECK_EQ(h.dialer.fault, IDENTITY_FAULT_REFUSED);
	CHECK_TEXT(h.dialer.error.text, told);
	CHECK_EQ(refused(dialer, "refused_us"), told_before + 1);
	handshake_close(&h);
	/* Nothing else is disturbed. */
	handshake_open(&h, w->server, 0, w->server, 0);
	handshake_run(&h);
	CHECK_OK(h.acceptor.principal_rc, &h.acceptor.error);
	handshake_close(&h);
}

/* Goal: a certificate past its end, and one before its beginning, are told apart. */
TEST(identity__dates_are_refused_by_name)
{
	struct certificate_spec spec = {
		.name = "old-1", .roles = PRINCIPAL_BIT(PRINCIPAL_SERVER), .not_before_unix_s = 0,
		.not_after_unix_s = REGION_NOW_S - 3 * DAY_S - 60,
	};
	struct identity *expired, *early;
	struct error e = { 0 };
	struct test_region w;

	test_region_open(&w);
	expired = open_spec(&w, spec);
	check_refused(&w, expired, 0, IDENTITY_FAULT_EXPIRED,
		      "the certificate of old-1 expired 3 days ago",
		      "the other side refuses us: our certificate has expired by its clock");
	CHECK_EQ(identity_check(expired, &e), -EKEYEXPIRED);
	CHECK_TEXT(e.text, "the certificate of old-1 expired 3 days ago");
	identity_close(expired);
	spec.name = "early-1";
	spec.not_before_unix_s = REGION_NOW_S + 7200;
	spec.not_after_unix_s = REGION_NOW_S + DAY_S;
	early = open_spec(&w, spec);
	check_refused(&w, early, 0, IDENTITY_FAULT_NOT_YET,
		      "the certificate of early-1 is valid only in 2 hours: compare the clocks of "
		      "both hosts",
		      "the other side refuses us: it cannot believe our certificate");
	CHECK_EQ(identity_check(early, &e), -EKEYREJECTED);
	CHECK_TEXT(e.text, "the certificate of early-1 is valid only in 2 hours: look at this "
		   "host's clock");
	identity_close(early);
	CHECK_EQ(identity_check(w.server, &e), 0);
	test_region_close(&w);
}

/* Goal: another CA is foreign, also one that goes by the same name; each side says so. */
TEST(identity__foreign_ca_is_refused)
{
	static const char *const names[] = { "other-CA", "test-CA" };

	for (size_t i = 0; i < ARRAY_LENGTH(names); i++) {
		struct test_ca other;
		struct identity *stranger;
		struct identity_pem both;
		struct handshake h;
		struct error e = { 0 };
		struct test_region w;
		char *cas;

		test_region_open(&w);
		test_ca_open(&other, names[i], test_seed() + 1);
		stranger = test_identity(&other, "mallory", PRINCIPAL_ANY, &w.clock.clock);
		/* The dialer looks first. */
		handshake_open(&h, stranger, 0, w.server, 0);
		handshake_run(&h);
		CHECK(h.dialer.failed && h.acceptor.failed);
		CHECK_EQ(h.dialer.fault, IDENTITY_FAULT_FOREIGN);
		CHECK_TEXT(h.dialer.error.text,
			   "the certificate of server-1 is signed by a CA that is not ours");
		CHECK_TEXT(h.acceptor.error.text, "the other side refuses us: our certificate is "
			   "signed by a CA that is not its own");
		handshake_close(&h);
		identity_close(stranger);
		/* One that believes us does not make us believe it. */
		both = test_ca_issue(&other, "mallory", PRINCIPAL_ANY);
		cas = mem_alloc(strlen(both.ca) + strlen(w.ca.pem) + 1);
		memcpy(cas, both.ca, strlen(both.ca));
		memcpy(cas + strlen(both.ca), w.ca.pem, strlen(w.ca.pem) + 1);
		mem_free((char *)both.ca);
		both.ca = cas;
		CHECK_OK(identity_open_pem(&stranger, &both, &w.clock.clock, &e), &e);
		check_refused(&w, stranger, 0, IDENTITY_FAULT_FOREIGN,
			      "the certificate of mallory is signed by a CA that is not ours",
			      "the other side refuses us: our certificate is signed by a CA that "
			      "is "
			      "not its own");
		identity_close(stranger);
		identity_pem_release(&both);
		test_ca_close(&other);
		test_region_close(&w);
	}
}

/* Goal: a role that does not fit is refused by whoever expects another. */
TEST(identity__wrong_role_is_refused)
{
	struct identity *tenant;
	struct handshake h;
	struct test_region w;

	test_region_open(&w);
	tenant = test_identity(&w.ca, "tenant-1", PRINCIPAL_BIT(PRINCIPAL_TENANT),
			       &w.clock.clock);
	check_refused(&w, tenant, PRINCIPAL_BIT(PRINCIPAL_SERVER), IDENTITY_FAULT_ROLE,
		      "tenant-1 is tenant by its certificate, and not server",
		      "the other side refuses us: our certificate gives us no role that it would "
		      "take");
	/* A dialer likewise: a server is no directory. */
	handshake_open(&h, tenant, PRINCIPAL_BIT(PRINCIPAL_DIRECTORY), w.server, 0);
	handshake_run(&h);
	CHECK(h.dialer.failed);
	CHECK_EQ(h.dialer.fault, IDENTITY_FAULT_ROLE);
	CHECK_TEXT(h.dialer.error.text, "server-1 is server by its certificate, and not directory");
	handshake_close(&h);
	identity_close(tenant);
	test_region_close(&w);
}

/* Goal: a revoked certificate is refused once the list is here, live connections are found,
 * older and foreign lists change nothing.
 */
TEST(identity__revoked_is_refused)
{
	struct identity_pem pem;
	struct identity *gateway;
	struct test_ca other;
	struct handshake h;
	struct error e = { 0 };
	char *empty, *list, *foreign;
	uint64_t generation;
	struct test_region w;

	test_region_open(&w);
	pem = test_ca_issue(&w.ca, "gateway-1", PRINCIPAL_BIT(PRINCIPAL_GATEWAY));
	CHECK_OK(identity_open_pem(&gateway, &pem, &w.clock.clock, &e), &e);
	empty = test_ca_revocations(&w.ca);
	test_ca_revoke(&w.ca, pem.cert);
	list = test_ca_revocations(&w.ca);
	handshake_open(&h, gateway, 0, w.server, 0);
	handshake_run(&h);
	CHECK_OK(h.acceptor.principal_rc, &h.acceptor.error);

	test_ca_open(&other, "test-CA", test_seed() + 7);
	other.list_number = 99;
	foreign = test_ca_revocations(&other);
	CHECK_EQ(identity_set_revocations(w.server, foreign, strlen(foreign), &e), -EKEYREJECTED);
	CHECK_TEXT(e.text, "the received crl.pem is not signed by a CA in ca.pem");
	CHECK_EQ(identity_set_revocations(w.server, empty, strlen(empty), &e), 1);
	CHECK(identity_still_valid(w.server, &h.acceptor.principal, &e));
	generation = identity_generation(w.server);
	CHECK_EQ(identity_set_revocations(w.server, list, strlen(list), &e), 1);
	CHECK(identity_generation(w.server) > generation);
	CHECK_EQ(identity_set_revocations(w.server, list, strlen(list), &e), 0);
	CHECK_EQ(identity_set_revocations(w.server, empty, strlen(empty), &e), 0);
	CHECK(!identity_still_valid(w.server, &h.acceptor.principal, &e));
	CHECK_TEXT(e.text, "the certificate of gateway-1 was revoked");
	CHECK(identity_still_valid(w.server, &h.dialer.principal, &e));
	handshake_close(&h);

	check_refused(&w, gateway, 0, IDENTITY_FAULT_REVOKED,
		      "the certificate of gateway-1 was revoked",
		      "the other side refuses us: our certificate was revoked");
	/* It learns of it too, and says so. */
	CHECK_EQ(identity_set_revocations(gateway, list, strlen(list), &e), 1);
	CHECK_EQ(identity_check(gateway, &e), -EKEYREVOKED);
	CHECK_EQ(identity_set_revocations(w.server, "x\0y", 3, &e), -EBADMSG);
	CHECK_EQ(identity_set_revocations(w.server, "nothing", 7, &e), -EBADMSG);
	CHECK_TEXT(e.text, "the received crl.pem is damaged: it holds something else than "
		   "revocation lists in PEM");
	mem_free(empty);
	mem_free(list);
	mem_free(foreign);
	test_ca_close(&other);
	identity_pem_release(&pem);
	identity_close(gateway);
	test_region_close(&w);
}

/* Goal: whoever is live is found out when time passes, too. */
TEST(identity__live_certificates_expire)
{
	struct identity *brief;
	struct handshake h;
	struct error e = { 0 };
	struct test_region w;

	test_region_open(&w);
	brief = open_spec(&w, (struct certificate_spec){
		.name = "brief-1", .roles = PRINCIPAL_BIT(PRINCIPAL_SERVER),
		.not_after_unix_s = REGION_NOW_S + 60 });
	handshake_open(&h, brief, 0, w.server, 0);
	handshake_run(&h);
	CHECK(identity_still_valid(w.server, &h.acceptor.principal, &e));
	simulated_clock_advance_to(&w.clock, (REGION_NOW_S + 62) * NS_PER_S);
	CHECK(!identity_still_valid(w.server, &h.acceptor.principal, &e));
	CHECK_TEXT(e.text, "the certificate of brief-1 expired 2 seconds ago");
	handshake_close(&h);
	identity_close(brief);
	test_region_close(&w);
}

/* Goal: a stranger is let in on explicit wish alone, has no roles, and believes no other CA
 * than the one it was told of.
 */
TEST(identity__strangers_by_explicit_wish)
{
	uint8_t fingerprint[PRINCIPAL_FINGERPRINT_BYTES];
	struct identity *stranger, *misled;
	struct handshake h;
	struct error e = { 0 };
	struct test_region w;

	test_region_open(&w);
	test_ca_fingerprint(&w.ca, fingerprint);
	CHECK_OK(identity_open_stranger(&stranger, fingerprint, &w.clock.clock, &e), &e);
	check_refused(&w, stranger, 0, IDENTITY_FAULT_NONE, "it presented no certificate",
		      "the other side refuses us: it demands a certificate");
	identity_admit_strangers(w.server);
	handshake_open(&h, stranger, 0, w.server, 0);
	handshake_run(&h);
	CHECK_OK(h.acceptor.principal_rc, &h.acceptor.error);
	CHECK_EQ(h.acceptor.principal.roles, 0);
	CHECK_TEXT(h.acceptor.principal.name, "");
	CHECK_OK(h.dialer.principal_rc, &h.dialer.error);
	CHECK_TEXT(h.dialer.principal.name, "server-1");
	CHECK(identity_still_valid(w.server, &h.acceptor.principal, &e));
	CHECK(identity_still_valid(stranger, &h.dialer.principal, &e));
	handshake_close(&h);

	fingerprint[3] ^= 1;
	CHECK_OK(identity_open_stranger(&misled, fingerprint, &w.clock.clock, &e), &e);
	handshake_open(&h, misled, 0, w.server, 0);
	handshake_run(&h);
	CHECK(h.dialer.failed);
	CHECK_EQ(h.dialer.fault, IDENTITY_FAULT_FOREIGN);
	handshake_close(&h);
	CHECK_EQ(identity_export(misled, &(struct identity_pem){ 0 }, &e), -ENOENT);
	identity_close(misled);
	identity_close(stranger);
	test_region_close(&w);
}

/* Goal: what is no TLS at all, or ends in the middle, has a sentence. */
TEST(identity__other_protocols_are_told)
{
	static const struct { const char *bytes, *sentence; } cases[] = {
		{ "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
		  "it speaks HTTP; this port is for programs of the swarm" },
		{ "PTLS, the frame of our own protocol, in plain bytes",
		  "it does not speak TLS (was it started with --insecure?)" },
	};
	struct test_region w;

	test_region_open(&w);
	for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
		SSL *s = identity_session(w.server, false, 0);
		struct error e = { 0 };
		int rc;

		SSL_set_bio(s, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
		BIO_write(SSL_get_rbio(s), cases[i].bytes, (int)strlen(cases[i].bytes));
		rc = SSL_do_handshake(s);
		CHECK_EQ(SSL_get_error(s, rc), SSL_ERROR_SSL);
		CHECK_EQ(identity_fault(w.server, s, &e), IDENTITY_FAULT_PROTOCOL);
		CHECK_TEXT(e.text, cases[i].sentence);
		SSL_free(s);
	}
	CHECK_EQ(refused(w.server, "protocol"), ARRAY_LENGTH(cases));
	test_region_close(&w);
}

/* Goal: a chain from another TLS stack is judged by the same rules. */
TEST(identity_verify__judges_as_a_handshake_does)
{
	struct identity_pem pem;
	struct error e = { 0 };
	enum identity_fault fault;
	struct identity_der der = { NULL, 0 };
	unsigned char *bytes = NULL;
	struct principal p;
	struct test_region w;
	X509 *c;

	test_region_open(&w);
	pem = test_ca_issue(&w.ca, "tenant-1", PRINCIPAL_BIT(PRINCIPAL_TENANT));
	CHECK_OK(certificate_from_pem(&c, pem.cert, &e), &e);
	der.bytes = (size_t)i2d_X509(c, &bytes);
	der.data = bytes;
	CHECK_OK(
		identity_verify(w.server, &der, 1, PRINCIPAL_BIT(PRINCIPAL_TENANT), &p, &fault, &e),
		&e);
	CHECK_TEXT(p.name, "tenant-1");
	CHECK_EQ(
		identity_verify(w.server, &der, 1, PRINCIPAL_BIT(PRINCIPAL_SERVER), &p, &fault, &e),
		-EKEYREJECTED);
	CHECK_EQ(fault, IDENTITY_FAULT_ROLE);
	CHECK_EQ(p.roles, 0);
	CHECK_EQ(identity_verify(w.server, NULL, 0, 0, &p, &fault, &e), -EKEYREJECTED);
	CHECK_EQ(fault, IDENTITY_FAULT_NONE);
	bytes[der.bytes - 5] ^= 1;
	CHECK_EQ(identity_verify(w.server, &der, 1, 0, &p, &fault, &e), -EKEYREJECTED);
	CHECK_EQ(fault, IDENTITY_FAULT_CERTIFICATE);
	der.bytes /= 2;
	CHECK_EQ(identity_verify(w.server, &der, 1, 0, &p, &fault, &e), -EKEYREJECTED);
	CHECK_TEXT(e.text, "its certificate is damaged and cannot be read");
	OPENSSL_free(bytes);
	X509_free(c);
	identity_pem_release(&pem);
	test_region_close(&w);
}

/* Goal: whoever holds a CA's own certificate, with roles written into it, is nobody either. */
TEST(identity__a_ca_with_roles_is_nobody)
{
	struct certificate_spec spec = {
		.name = "proud-CA", .authority = true, .roles = PRINCIPAL_ANY,
		.not_after_unix_s = TEST_CA_UNTIL_UNIX_S,
	};
	struct identity *ca, *ordinary;
	struct identity_pem pem = { 0 };
	struct handshake h;
	struct test_ca proud;
	struct error e = { 0 };
	struct test_region w;

	test_region_open(&w);
	test_ca_open(&proud, "proud-CA", test_seed());
	X509_free(proud.certificate);
	mem_free(proud.pem);
	certificate_serial(spec.serial, &proud.random);
	CHECK_OK(certificate_issue(&proud.certificate, &spec, proud.key, NULL, NULL, &e), &e);
	CHECK_OK(certificate_to_pem(&proud.pem, proud.certificate, &e), &e);
	CHECK_OK(certificate_key_to_pem((char **)&pem.key, proud.key, &e), &e);
	pem.ca = mem_strdup(proud.pem);
	pem.cert = mem_strdup(proud.pem);
	CHECK_OK(identity_open_pem(&ca, &pem, &w.clock.clock, &e), &e);
	ordinary = test_identity(&proud, "server-1", 1, &w.clock.clock);
	handshake_open(&h, ca, 0, ordinary, 0);
	handshake_run(&h);
	CHECK(h.acceptor.failed);
	CHECK_EQ(h.acceptor.fault, IDENTITY_FAULT_CERTIFICATE);
	handshake_close(&h);
	identity_close(ca);
	identity_close(ordinary);
	identity_pem_release(&pem);
	test_ca_close(&proud);
	test_region_close(&w);
}

/* Goal: who speaks TLS without naming our protocol is nobody we talk to. */
TEST(identity__wants_the_protocol_named)
{
	struct handshake h;
	struct test_region w;

	test_region_open(&w);
	handshake_open(&h, w.server, 0, w.server, 0);
	SSL_set_alpn_protos(h.dialer.session, NULL, 0);
	handshake_run(&h);
	CHECK_EQ(h.acceptor.principal_rc, -EPROTO);
	CHECK_TEXT(h.acceptor.error.text, "it speaks TLS, but not petals/1 in it");
	CHECK_EQ(h.dialer.principal_rc, -EPROTO);
	handshake_close(&h);
	handshake_open(&h, w.server, 0, w.server, 0);
	SSL_set_alpn_protos(h.dialer.session, (const uint8_t *)"\x02h2", 3);
	handshake_run(&h);
	CHECK_EQ(h.acceptor.fault, IDENTITY_FAULT_PROTOCOL);
	CHECK_TEXT(h.dialer.error.text, "the other side refuses us: it does not speak petals/1");
	handshake_close(&h);
	test_region_close(&w);
}

/* A CA's certificate, its own or ours, is no program's. */
TEST(identity__a_ca_is_nobody)
{
	struct identity_pem pem = { 0 };
	struct error e = { 0 };
	struct identity *id;
	struct test_region w;
	char *key;

	test_region_open(&w);
	CHECK_OK(certificate_key_to_pem(&key, w.ca.key, &e), &e);
	pem = (struct identity_pem){ w.ca.pem, w.ca.pem, key, NULL };
	CHECK_EQ(identity_open_pem(&id, &pem, &w.clock.clock, &e), -EBADMSG);
	CHECK_TEXT(e.text, "cert.pem: the certificate of test-CA gives it no role");
	mem_free(key);
	test_region_close(&w);
}
