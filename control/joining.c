/* joining.c - the stranger's side of enrolment. */
#include "control/joining.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <openssl/evp.h>
#include <openssl/x509.h>

#include "control/ask.h"
#include "control/certificate.h"
#include "control/credentials.h"
#include "dataplane/base/file.h"
#include "dataplane/base/log.h"
#include "dataplane/base/memory.h"

void joining_host_name(char out[PRINCIPAL_NAME_BYTES])
{
	char host[256] = "";
	size_t length = 0;

	if (gethostname(host, sizeof(host) - 1) < 0)
		host[0] = '\0';
	for (const char *at = host; *at && length + 1 < PRINCIPAL_NAME_BYTES; at++) {
		out[length++] = *at;
		out[length] = '\0';
		if (!principal_name_ok(out))
			length--;
	}
	out[length] = '\0';
	if (!length)
		snprintf(out, PRINCIPAL_NAME_BYTES, "host");
}

/* The key of a try before, or a new one, which is on the disk before anybody hears of it. */
static int prepare_key(const char *folder, EVP_PKEY **key, char **pem, struct error *e)
{
	char *path = file_join(folder, "key.pem");
	int rc = path ? file_make_folder(folder, e) : error_errno(e, -ENOMEM, "%s", folder);

	*pem = NULL;
	*key = NULL;
	if (rc == 0 && file_exists(path)) {
		rc = file_read(path, 1 << 16, pem, NULL, e);
		if (rc == 0 && certificate_key_from_pem(key, *pem, e) < 0)
			rc = error_wrap(e, "%s", path);
	} else if (rc == 0) {
		rc = certificate_key(key, NULL, e);
		if (rc == 0)
			rc = certificate_key_to_pem(pem, *key, e);
		if (rc == 0)
			rc = file_write(path, *pem, strlen(*pem), 0600, e);
	}
	mem_free(path);
	return rc;
}

static int ask_for(const struct join_token *t, const char *name, EVP_PKEY *key, json_t **answer,
		   struct error *e)
{
	char number[2 * JOIN_TOKEN_NUMBER_BYTES + 1], secret[2 * JOIN_TOKEN_SECRET_BYTES + 1];
	struct ask_options o = {
		.name = name, .roles = PRINCIPAL_BIT(PRINCIPAL_DIRECTORY), .to = t->directory,
		.timeout_ns = JOINING_TIMEOUT_NS,
	};
	char *request = NULL;
	int rc = identity_open_stranger(&o.identity, t->authority, clock_real(), e);

	if (rc == 0)
		rc = certificate_request_make(&request, name, key, e);
	certificate_hex(number, t->number, sizeof(t->number));
	certificate_hex(secret, t->secret, sizeof(t->secret));
	if (rc == 0)
		rc = ask(&o, "enrol",
			 json_pack("{s:s, s:s, s:s}", "number", number, "secret", secret, "request",
				   request),
			 answer, e);
	OPENSSL_cleanse(secret, sizeof(secret));
	mem_free(request);
	identity_close(o.identity);
	return rc;
}

/* What came must make an identity, of the CA that the token named. */
static int check_answer(const struct join_token *t, const struct identity_pem *pem,
			struct error *e)
{
	struct principal self;
	struct identity *id;
	int rc;

	if (!pem->ca || !pem->cert)
		return error_set(e, -EPROTO, "the answer has no certificate");
	rc = identity_open_pem(&id, pem, clock_real(), e);
	if (rc < 0)
		return rc;
	identity_self(id, &self);
	rc = identity_check(id, e);
	identity_close(id);
	if (rc == 0 && memcmp(self.authority, t->authority, sizeof(self.authority)))
		rc = error_set(e, -EKEYREJECTED, "the certificate is of another CA than the token");
	return rc;
}

int joining_enrol(const struct join_token *t, const char *name, const char *folder,
		  struct error *e)
{
	char *there = file_join(folder, "cert.pem"), *key_pem = NULL;
	json_t *answer = NULL;
	EVP_PKEY *key = NULL;
	int rc = there ? 0 : error_errno(e, -ENOMEM, "joining");

	if (rc == 0 && file_exists(there)) {
		log_info("joining", "%s holds a certificate already: the join token is not needed",
			 folder);
		mem_free(there);
		return 0;
	}
	if (rc == 0)
		rc = prepare_key(folder, &key, &key_pem, e);
	if (rc == 0)
		rc = ask_for(t, name, key, &answer, e);
	if (rc == 0) {
		const char *list = json_string_value(json_object_get(answer, "revocations"));
		const struct identity_pem pem = {
			.ca = json_string_value(json_object_get(answer, "authority")),
			.cert = json_string_value(json_object_get(answer, "certificate")),
			.key = key_pem, .crl = list && list[0] ? list : NULL,
		};
		rc = check_answer(t, &pem, e);
		if (rc == 0)
			rc = credentials_write(folder, &pem, e);
	}
	if (rc == 0)
		log_info("joining", "enrolled as %s; credentials are in %s", name, folder);
	if (key_pem)
		OPENSSL_cleanse(key_pem, strlen(key_pem));
	EVP_PKEY_free(key);
	json_decref(answer);
	mem_free(key_pem);
	mem_free(there);
	return rc < 0 ? error_wrap(e, "joining through %s", t->directory.text) : 0;
}
