/* ca_enrol_test.c - a join token is good once, in time, for what it was made for. */
#include "tests/test.h"

#include <errno.h>

#include <openssl/evp.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include "control/ca.h"
#include "dataplane/base/file.h"
#include "dataplane/base/memory.h"
#include "tests/support/folder.h"

#define DAY_S 86400
#define NOW_S (20000LL * DAY_S)
#define SERVER PRINCIPAL_BIT(PRINCIPAL_SERVER)

struct world {
	struct simulated_clock clock;
	char *home;
	struct ca *ca;
	struct join_token token;
	EVP_PKEY *key;
	char *request, *cert;           /* of gpu-17; the latest answer */
	struct error e;
};

static void make_request(struct world *w, const char *name)
{
	mem_free(w->request);
	CHECK_OK(certificate_request_make(&w->request, name, w->key, &w->e), &w->e);
}

static void make_token(struct world *w, const char *name, const char *hosts)
{
	const struct ca_wish wish = { .name = name, .roles = SERVER, .hosts = hosts,
				      .life_s = 30 * DAY_S };
	struct address directory = { "10.0.0.5:7700" };

	CHECK_OK(ca_token(w->ca, &wish, 3600, &directory, &w->token, &w->e), &w->e);
}

static void open_world(struct world *w)
{
	memset(w, 0, sizeof(*w));
	simulated_clock_init(&w->clock, NOW_S * NS_PER_S);
	w->home = test_folder_open();
	CHECK_OK(ca_init(w->home, "region-1", 3650LL * DAY_S, &w->clock.clock, &w->e), &w->e);
	CHECK_OK(ca_open(&w->ca, w->home, &w->clock.clock, &w->e), &w->e);
	CHECK_OK(certificate_key(&w->key, NULL, &w->e), &w->e);
	make_request(w, "gpu-17");
	make_token(w, NULL, NULL);
}

static void close_world(struct world *w)
{
	EVP_PKEY_free(w->key);
	mem_free(w->request);
	mem_free(w->cert);
	ca_close(w->ca);
	test_folder_close(w->home);
}

static int enrol(struct world *w)
{
	mem_free(w->cert);
	return ca_enrol(w->ca, w->token.number, w->token.secret, w->request, strlen(w->request),
			"10.0.0.17", &w->cert, &w->e);
}

static struct principal principal_of(const char *cert)
{
	struct error e = { 0 };
	struct principal p;
	X509 *c;

	CHECK_OK(certificate_from_pem(&c, cert, &e), &e);
	CHECK_OK(principal_read(&p, c, &e), &e);
	X509_free(c);
	return p;
}

/* Goal: a token becomes a certificate of its role; its own key may fetch it again, no other. */
TEST(ca_enrol__once)
{
	struct principal p;
	struct world w;
	char *first;
	X509 *c;

	open_world(&w);
	CHECK_OK(enrol(&w), &w.e);
	p = principal_of(w.cert);
	CHECK_TEXT(p.name, "gpu-17");
	CHECK_EQ(p.roles, SERVER);
	CHECK_EQ(p.not_after_unix_s, NOW_S + 30 * DAY_S);
	CHECK_OK(certificate_from_pem(&c, w.cert, &w.e), &w.e);
	CHECK_EQ(X509_check_ip_asc(c, "10.0.0.17", 0), 1);
	CHECK_EQ(X509_check_host(c, "gpu-17", 0, 0, NULL), 1);
	X509_free(c);

	first = mem_strdup(w.cert);
	CHECK_OK(enrol(&w), &w.e);
	CHECK_TEXT(w.cert, first);
	mem_free(first);

	EVP_PKEY_free(w.key);
	CHECK_OK(certificate_key(&w.key, NULL, &w.e), &w.e);
	make_request(&w, "gpu-17");
	CHECK_EQ(enrol(&w), -EPERM);
	CHECK_TEXT(w.e.text, "the join token was used before: ask for a new one");
	CHECK(!w.cert);
	close_world(&w);
}

/* Goal: also another process on the same folder knows that it is spent. */
TEST(ca_enrol__spent_for_all)
{
	struct ca *other;
	struct world w;

	open_world(&w);
	CHECK_OK(ca_open(&other, w.home, &w.clock.clock, &w.e), &w.e);
	CHECK_OK(enrol(&w), &w.e);
	ca_close(w.ca);
	w.ca = other;
	EVP_PKEY_free(w.key);
	CHECK_OK(certificate_key(&w.key, NULL, &w.e), &w.e);
	make_request(&w, "gpu-18");
	CHECK_EQ(enrol(&w), -EPERM);
	close_world(&w);
}

/* Goal: late, unknown and guessed tokens are refused alike for whoever guesses. */
TEST(ca_enrol__refuses_bad_tokens)
{
	struct world w;

	open_world(&w);
	w.token.secret[7] ^= 1;
	CHECK_EQ(enrol(&w), -EPERM);
	CHECK_TEXT(w.e.text, "this CA has given out no such join token");
	w.token.secret[7] ^= 1;
	w.token.number[7] ^= 1;
	CHECK_EQ(enrol(&w), -EPERM);
	CHECK_TEXT(w.e.text, "this CA has given out no such join token");
	w.token.number[7] ^= 1;
	simulated_clock_advance_to(&w.clock, (NOW_S + 3605) * NS_PER_S);
	CHECK_EQ(enrol(&w), -EPERM);
	CHECK_TEXT(w.e.text, "the join token expired 5 s ago: ask for a new one");
	mem_free(w.request);
	w.request = mem_strdup("nothing");
	CHECK_EQ(enrol(&w), -EBADMSG);
	close_world(&w);
}

/* Goal: names are kept apart: a token's own, and those of others. */
TEST(ca_enrol__names)
{
	struct world w;

	open_world(&w);
	CHECK_OK(enrol(&w), &w.e);
	make_token(&w, NULL, NULL);
	CHECK_EQ(enrol(&w), -EEXIST);
	CHECK(strstr(w.e.text, "gpu-17 has a valid certificate already"));
	/* It was not spent on that. */
	make_request(&w, "gpu-18");
	CHECK_OK(enrol(&w), &w.e);

	make_token(&w, "gpu-20", "gpu-20.rack.example");
	CHECK_EQ(enrol(&w), -EPERM);
	CHECK_TEXT(w.e.text, "the join token is for gpu-20, not for gpu-18");
	make_request(&w, "gpu-20");
	CHECK_OK(enrol(&w), &w.e);
	/* Whoever the operator names may come back. */
	make_token(&w, "gpu-20", NULL);
	CHECK_OK(enrol(&w), &w.e);
	/* A revoked name is free. */
	CHECK_EQ(ca_revoke(w.ca, "gpu-17", &w.e), 1);
	make_token(&w, NULL, NULL);
	make_request(&w, "gpu-17");
	CHECK_OK(enrol(&w), &w.e);
	close_world(&w);
}

/* Goal: the files hold no secret. */
TEST(ca_token__keeps_no_secret)
{
	char secret[2 * JOIN_TOKEN_SECRET_BYTES + 1], *tokens;
	struct world w;

	open_world(&w);
	certificate_hex(secret, w.token.secret, sizeof(w.token.secret));
	tokens = test_folder_read(w.home, "tokens");
	CHECK(!strstr(tokens, secret));
	CHECK_BYTES(w.token.authority, ca_self(w.ca)->fingerprint, sizeof(w.token.authority));
	CHECK_TEXT(w.token.directory.text, "10.0.0.5:7700");
	mem_free(tokens);
	close_world(&w);
}
