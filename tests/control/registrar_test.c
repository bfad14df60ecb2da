/* registrar_test.c - strangers become programs with certificates, certificates are renewed, and
 * whoever is revoked loses its connections everywhere.
 */
#include "control/registrar.h"

#include <errno.h>

#include <openssl/evp.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include "dataplane/base/memory.h"
#include "tests/support/enrolled.h"
#include "tests/test.h"

#define DAY_S 86400
#define SERVER PRINCIPAL_BIT(PRINCIPAL_SERVER)

static struct join_token token(struct enrolled *x)
{
	const struct ca_wish wish = { .roles = SERVER, .life_s = 30 * DAY_S };
	struct address a = enrolled_address();
	struct error e = { 0 };
	struct join_token t;

	CHECK_OK(ca_token(x->ca, &wish, 3600, &a, &t, &e), &e);
	return t;
}

static json_t *enrol_params(const struct join_token *t, const char *request)
{
	char number[2 * JOIN_TOKEN_NUMBER_BYTES + 1], secret[2 * JOIN_TOKEN_SECRET_BYTES + 1];

	certificate_hex(number, t->number, sizeof(t->number));
	certificate_hex(secret, t->secret, sizeof(t->secret));
	return json_pack("{s:s, s:s, s:s}", "number", number, "secret", secret, "request", request);
}

static const char *text_of(const json_t *result, const char *key)
{
	return json_string_value(json_object_get(result, key));
}

/* Goal: a stranger with a token gets all that makes an identity; that identity is let in. */
TEST(registrar__enrols_a_stranger)
{
	struct enrolled_program stranger;
	struct identity_pem pem = { 0 };
	struct identity *id;
	struct call_answer a;
	struct join_token t;
	struct enrolled x;
	struct principal self;
	struct error e = { 0 };
	EVP_PKEY *key;
	char *request, *key_pem;

	enrolled_open(&x);
	enrolled_stranger_open(&x, &stranger);
	t = token(&x);
	CHECK_OK(certificate_key(&key, NULL, &e), &e);
	CHECK_OK(certificate_key_to_pem(&key_pem, key, &e), &e);
	CHECK_OK(certificate_request_make(&request, "gpu-17", key, &e), &e);
	a = call(&stranger.program, stranger.peer, "enrol", enrol_params(&t, request));
	CHECK_EQ(a.code, 0);
	pem = (struct identity_pem){ text_of(a.result, "authority"),
				     text_of(a.result, "certificate"), key_pem,
				     text_of(a.result, "revocations") };
	CHECK_OK(identity_open_pem(&id, &pem, sim_clock(x.network), &e), &e);
	identity_self(id, &self);
	CHECK_TEXT(self.name, "gpu-17");
	CHECK_EQ(self.roles, SERVER);
	CHECK_BYTES(self.authority, t.authority, sizeof(t.authority));
	identity_close(id);
	json_decref(a.result);
	/* Not twice, and nothing else as a stranger. */
	mem_free(request);
	EVP_PKEY_free(key);
	CHECK_OK(certificate_key(&key, NULL, &e), &e);
	CHECK_OK(certificate_request_make(&request, "gpu-18", key, &e), &e);
	a = call(&stranger.program, stranger.peer, "enrol", enrol_params(&t, request));
	CHECK_EQ(a.code, -EPERM);
	CHECK_TEXT(a.message, "the join token was used before: ask for a new one");
	a = call(&stranger.program, stranger.peer, "renew_certificate",
		 json_pack("{s:s}", "request", request));
	CHECK_EQ(a.code, -EPERM);
	a = call(&stranger.program, stranger.peer, "revocations", json_object());
	CHECK_EQ(a.code, -EPERM);
	EVP_PKEY_free(key);
	mem_free(request);
	mem_free(key_pem);
	enrolled_program_close(&stranger);
	enrolled_close(&x);
}

/* Goal: what is no enrolment is refused with the key that is wrong. */
TEST(registrar__refuses_nonsense)
{
	static const struct { const char *json, *sentence; } cases[] = {
		{ "{}", "params.number must be 16 hexadecimal digits" },
		{ "{\"number\": \"0011223344556677\", \"secret\": 7}",
		  "params.secret must be 48 hexadecimal digits" },
		{ "{\"number\": \"0011223344556677\", \"secret\": "
		  "\"001122334455667700112233445566770011223344556677\"}",
		  "params.request must be a request for a certificate in PEM, at most 8192 bytes" },
		{ "{\"number\": \"0011223344556677\", \"secret\": "
		  "\"001122334455667700112233445566770011223344556677\", \"request\": \"x\"}",
		  "it is no readable request for a certificate in PEM" },
	};
	struct enrolled_program stranger;
	struct enrolled x;

	enrolled_open(&x);
	enrolled_stranger_open(&x, &stranger);
	for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
		struct call_answer a = call(&stranger.program, stranger.peer, "enrol",
					    json_loads(cases[i].json, 0, NULL));

		CHECK(a.code < 0);
		CHECK_TEXT(a.message, cases[i].sentence);
	}
	enrolled_program_close(&stranger);
	enrolled_close(&x);
}

struct watched {
	bool lost;
	char reason[WIRE_REASON_BYTES];
};

static void on_lost(void *ctx, uint32_t peer, int code, const char *reason)
{
	struct watched *w = ctx;

	w->lost = true;
	snprintf(w->reason, sizeof(w->reason), "%s", reason);
}

/* Goal: a stranger who does not enrol is shown out, so that strangers cannot fill the house. */
TEST(registrar__shows_strangers_out)
{
	struct watched watched = { 0 };
	struct enrolled_program stranger;
	struct enrolled x;

	enrolled_open(&x);
	enrolled_stranger_open(&x, &stranger);
	CHECK_EQ(node_listener_add(stranger.program.node, &(struct node_listener){
		.ctx = &watched, .lost = on_lost }), 0);
	run_for(x.network, REGISTRAR_STRANGER_NS - NS_PER_S);
	CHECK(!watched.lost);
	run_for(x.network, 4 * NS_PER_S);
	CHECK(watched.lost);
	CHECK_TEXT(watched.reason, "it has no certificate, and did not enrol");
	node_listener_remove(stranger.program.node, &watched);
	enrolled_program_close(&stranger);
	enrolled_close(&x);
}

struct news {
	unsigned count;
	char list[4096];
};

static void on_news(void *ctx, uint32_t peer, const json_t *data)
{
	struct news *n = ctx;

	n->count++;
	snprintf(n->list, sizeof(n->list), "%s", text_of(data, "revocations"));
}

/* Goal: a revocation by another process on the CA's folder reaches whoever asked once, and ends
 * the connection of the revoked.
 */
TEST(registrar__tells_of_revocations)
{
	struct enrolled_program good, bad;
	struct watched watched = { 0 };
	struct news news = { 0 };
	struct call_answer a;
	struct error e = { 0 };
	struct ca *elsewhere;
	struct enrolled x;

	enrolled_open(&x);
	enrolled_program_open(&x, &good, "good-1", SERVER, DAY_S);
	enrolled_program_open(&x, &bad, "bad-1", SERVER, DAY_S);
	rpc_on_event(good.program.rpc, "revocations", on_news, &news);
	CHECK_EQ(node_listener_add(bad.program.node, &(struct node_listener){
		.ctx = &watched, .lost = on_lost }), 0);
	a = call(&good.program, good.peer, "revocations", json_object());
	CHECK_EQ(a.code, 0);
	CHECK(strstr(text_of(a.result, "revocations"), "BEGIN X509 CRL"));
	json_decref(a.result);
	run_for(x.network, 3 * NS_PER_S);
	CHECK(!watched.lost);
	CHECK_EQ(news.count, 0);

	CHECK_OK(ca_open(&elsewhere, ca_folder(x.ca), sim_clock(x.network), &e), &e);
	CHECK_EQ(ca_revoke(elsewhere, "bad-1", &e), 1);
	ca_close(elsewhere);
	run_for(x.network, 3 * NS_PER_S);
	CHECK_EQ(news.count, 1);
	CHECK_EQ(identity_set_revocations(good.identity, news.list, strlen(news.list), &e), 1);
	CHECK(watched.lost);
	CHECK(strstr(watched.reason, "the certificate of bad-1 was revoked"));
	node_listener_remove(bad.program.node, &watched);
	enrolled_program_close(&good);
	enrolled_program_close(&bad);
	enrolled_close(&x);
}
