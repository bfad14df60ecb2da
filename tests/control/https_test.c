/* https_test.c - beyond loopback pages are for whose certificate has their verb, and for nobody
 * else; the server's own certificate may change under way.
 *
 * The server listens on every address; the test dials it over loopback.
 */
#include "control/https.h"

#include <curl/curl.h>
#include <errno.h>
#include <stdlib.h>

#include "control/http.h"
#include "control/permission.h"
#include "dataplane/base/buffer.h"
#include "dataplane/base/file.h"
#include "dataplane/base/memory.h"
#include "tests/support/folder.h"
#include "tests/support/test_ca.h"
#include "tests/support/web.h"
#include "tests/test.h"

static void serve(void *ctx, struct http_exchange *x)
{
	http_reply(x, 200, "text/plain", "served", 6);
}

static const struct http_route routes[] = {
	{ "POST", "/v1/completions", serve }, { "GET", "/v1/models", serve },
	{ "GET", "/metrics", serve },         { "GET", "/live", serve },
	{ "GET", "/unlisted", serve },
};

struct world {
	char *folder;
	struct test_ca ca;
	struct identity *identity;
	struct http *http;
	int port;
};

static struct identity_pem issue(struct world *w, const char *name, uint32_t roles)
{
	return test_ca_issue_spec(&w->ca, (struct certificate_spec){
		.name = name, .roles = roles, .hosts = "localhost,127.0.0.1",
		.not_after_unix_s = TEST_CA_UNTIL_UNIX_S });
}

/* Credentials in folder/name. */
static char *put(struct world *w, const char *name, const struct identity_pem *pem)
{
	char *folder = file_join(w->folder, name);
	struct error e = { 0 };

	CHECK_OK(file_make_folder(folder, &e), &e);
	test_write_credentials(folder, pem);
	return folder;
}

static void open_world(struct world *w)
{
	struct http_options o = {
		.routes = routes, .route_count = ARRAY_LENGTH(routes), .body_bytes_max = 1000,
		.connections_max = 8, .idle_ns = 10 * NS_PER_S,
	};
	struct identity_pem pem;
	struct address bound;
	struct error e = { 0 };
	char *own;

	w->folder = test_folder_open();
	test_ca_open(&w->ca, "test-CA", test_seed());
	pem = issue(w, "gateway-1", PRINCIPAL_BIT(PRINCIPAL_GATEWAY));
	own = put(w, "own", &pem);
	CHECK_OK(identity_open(&w->identity, own, clock_real(), &e), &e);
	CHECK_OK(address_parse(&o.listen, "0.0.0.0:0", &e), &e);
	CHECK_EQ(http_open(&w->http, &o, &e), -EPERM);
	o.identity = w->identity;
	CHECK_OK(http_open(&w->http, &o, &e), &e);
	CHECK_TEXT(http_scheme(w->http), "https");
	http_bound(w->http, &bound);
	w->port = address_port(&bound);
	identity_pem_release(&pem);
	mem_free(own);
}

static void close_world(struct world *w)
{
	http_close(w->http);
	identity_close(w->identity);
	test_ca_close(&w->ca);
	test_folder_close(w->folder);
}

static size_t take(char *data, size_t one, size_t bytes, void *ctx)
{
	buffer_append(ctx, data, bytes);
	return bytes;
}

/* A request over HTTPS with a credentials folder, or without (NULL); 0: no answer. */
static long ask(struct world *w, const char *folder, const char *method, const char *path,
		struct buffer *body, char *serial)
{
	char url[128], file[3][256];
	struct curl_certinfo *chain;
	CURL *curl = curl_easy_init();
	long status = 0;

	buffer_clear(body);
	snprintf(url, sizeof(url), "https://localhost:%d%s", w->port, path);
	snprintf(file[0], sizeof(file[0]), "%s/own/ca.pem", w->folder);
	snprintf(file[1], sizeof(file[1]), "%s/cert.pem", folder ? folder : "");
	snprintf(file[2], sizeof(file[2]), "%s/key.pem", folder ? folder : "");
	curl_easy_setopt(curl, CURLOPT_URL, url);
	curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, method);
	curl_easy_setopt(curl, CURLOPT_CAINFO, file[0]);
	curl_easy_setopt(curl, CURLOPT_CERTINFO, 1L);
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take);
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, body);
	curl_easy_setopt(curl, CURLOPT_TIMEOUT, 20L);
	if (folder) {
		curl_easy_setopt(curl, CURLOPT_SSLCERT, file[1]);
		curl_easy_setopt(curl, CURLOPT_SSLKEY, file[2]);
	}
	if (curl_easy_perform(curl) == CURLE_OK)
		curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
	if (serial && curl_easy_getinfo(curl, CURLINFO_CERTINFO, &chain) == CURLE_OK && chain)
		for (struct curl_slist *l = chain->num_of_certs ? chain->certinfo[0] : NULL; l;
		     l = l->next)
			if (!strncmp(l->data, "Serial Number:", 14))
				snprintf(serial, 64, "%s", l->data + 14);
	curl_easy_cleanup(curl);
	return status;
}

/* Goal: each role gets the pages of its verbs, the others a sentence; unlisted pages are
 * nobody's.
 */
TEST(https__pages_by_role)
{
	struct buffer body = { 0 };
	struct world w;

	open_world(&w);
	for (uint32_t r = 0; r < PRINCIPAL_ROLES; r++) {
		struct identity_pem pem = issue(&w, "somebody", PRINCIPAL_BIT(r));
		char *folder = put(&w, principal_role_name(r), &pem);

		for (size_t i = 0; i < ARRAY_LENGTH(routes); i++) {
			bool allowed = permission_allows(PRINCIPAL_BIT(r),
							 permission_of_http(routes[i].method,
									    routes[i].path));

			CHECK_EQ(ask(&w, folder, routes[i].method, routes[i].path, &body, NULL),
				 allowed ? 200 : 403);
			if (allowed)
				CHECK_TEXT(buffer_string(&body), "served");
			else
				CHECK(strstr(buffer_string(&body), "by its certificate) may not "));
		}
		CHECK_EQ(ask(&w, folder, "GET", "/nowhere", &body, NULL), 404);
		identity_pem_release(&pem);
		mem_free(folder);
	}
	buffer_close(&body);
	close_world(&w);
}

/* Goal: no certificate, another CA's, a revoked and an expired one open no page at all. */
TEST(https__refuses_whom_we_do_not_believe)
{
	struct buffer body = { 0 };
	struct identity_pem pem;
	struct test_ca other;
	struct error e = { 0 };
	struct world w;
	char *folder, *list;

	open_world(&w);
	CHECK_EQ(ask(&w, NULL, "GET", "/live", &body, NULL), 403);
	CHECK(strstr(buffer_string(&body), "this address wants a client certificate of its CA: it "
		     "presented no certificate"));
	CHECK(strstr(buffer_string(&body), "permission_error"));

	test_ca_open(&other, "test-CA", test_seed() + 1);
	pem = test_ca_issue(&other, "mallory", PRINCIPAL_ANY);
	folder = put(&w, "mallory", &pem);
	CHECK_EQ(ask(&w, folder, "GET", "/live", &body, NULL), 403);
	CHECK(strstr(buffer_string(&body), "signed by a CA that is not ours"));
	identity_pem_release(&pem);
	mem_free(folder);

	pem = issue(&w, "alice", PRINCIPAL_BIT(PRINCIPAL_OPERATOR));
	folder = put(&w, "alice", &pem);
	CHECK_EQ(ask(&w, folder, "GET", "/live", &body, NULL), 200);
	test_ca_revoke(&w.ca, pem.cert);
	list = test_ca_revocations(&w.ca);
	CHECK_EQ(identity_set_revocations(w.identity, list, strlen(list), &e), 1);
	CHECK_EQ(ask(&w, folder, "GET", "/live", &body, NULL), 403);
	CHECK(strstr(buffer_string(&body), "the certificate of alice was revoked"));
	identity_pem_release(&pem);
	mem_free(folder);
	mem_free(list);

	pem = test_ca_issue_spec(&w.ca, (struct certificate_spec){
		.name = "old", .roles = PRINCIPAL_ANY, .not_after_unix_s = 1000000 });
	folder = put(&w, "old", &pem);
	CHECK_EQ(ask(&w, folder, "GET", "/live", &body, NULL), 403);
	CHECK(strstr(buffer_string(&body), "the certificate of old expired "));
	identity_pem_release(&pem);
	mem_free(folder);
	buffer_close(&body);
	test_ca_close(&other);
	close_world(&w);
}

/* Goal: plain HTTP gets no answer there, and disturbs nobody. */
TEST(https__speaks_no_plain_http)
{
	struct buffer body = { 0 };
	struct web_answer a;
	struct address at;
	struct world w;

	open_world(&w);
	snprintf(at.text, sizeof(at.text), "127.0.0.1:%d", w.port);
	web_get(&a, &at, "/live");
	CHECK_EQ(a.status, 0);
	web_close(&a);
	CHECK_EQ(ask(&w, NULL, "GET", "/live", &body, NULL), 403);
	buffer_close(&body);
	close_world(&w);
}

/* Goal: after a renewal new connections see the new certificate. */
TEST(https__presents_the_renewed_certificate)
{
	char before[64] = "", after[64] = "", again[64] = "";
	struct buffer body = { 0 };
	struct identity_pem pem;
	struct error e = { 0 };
	struct world w;
	char *folder;

	open_world(&w);
	ask(&w, NULL, "GET", "/live", &body, before);
	ask(&w, NULL, "GET", "/live", &body, again);
	CHECK(before[0]);
	CHECK_TEXT(before, again);
	for (int i = 0; i < 3; i++) {
		pem = issue(&w, "gateway-1", PRINCIPAL_BIT(PRINCIPAL_GATEWAY));
		folder = put(&w, "own", &pem);
		CHECK_OK(identity_reload(w.identity, &e), &e);
		ask(&w, NULL, "GET", "/live", &body, after);
		CHECK(strcmp(before, after));
		memcpy(before, after, sizeof(before));
		identity_pem_release(&pem);
		mem_free(folder);
	}
	buffer_close(&body);
	close_world(&w);
}
