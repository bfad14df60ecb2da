/* identity_fault.c - what went wrong with a session, in a word for counters and a sentence for
 * people.
 */
#include <errno.h>
#include <string.h>

#include <openssl/err.h>

#include "dataplane/base/memory.h"
#include "dataplane/identity_private.h"

static const char *const fault_names[IDENTITY_FAULTS] = {
	[IDENTITY_FAULT_NONE] = "none",
	[IDENTITY_FAULT_FOREIGN] = "foreign_ca",
	[IDENTITY_FAULT_EXPIRED] = "expired",
	[IDENTITY_FAULT_NOT_YET] = "not_yet",
	[IDENTITY_FAULT_REVOKED] = "revoked",
	[IDENTITY_FAULT_ROLE] = "wrong_role",
	[IDENTITY_FAULT_CERTIFICATE] = "bad_certificate",
	[IDENTITY_FAULT_REFUSED] = "refused_us",
	[IDENTITY_FAULT_PROTOCOL] = "protocol",
};

const char *identity_fault_name(enum identity_fault f)
{
	return f < IDENTITY_FAULTS ? fault_names[f] : "unknown";
}

/* What the other side's alerts mean between programs of ours. */
static const struct {
	int alert;
	const char *meaning;
} alerts[] = {
	{ SSL_AD_BAD_CERTIFICATE, "it cannot believe our certificate" },
	{ SSL_AD_UNSUPPORTED_CERTIFICATE, "our certificate gives us no role that it would take" },
	{ SSL_AD_CERTIFICATE_REVOKED, "our certificate was revoked" },
	{ SSL_AD_CERTIFICATE_EXPIRED, "our certificate has expired by its clock" },
	{ SSL_AD_UNKNOWN_CA, "our certificate is signed by a CA that is not its own" },
	{ SSL_AD_CERTIFICATE_REQUIRED, "it demands a certificate" },
	{ SSL_AD_PROTOCOL_VERSION, "it does not speak TLS 1.3" },
	{ SSL_AD_NO_APPLICATION_PROTOCOL, "it does not speak " IDENTITY_ALPN },
	{ SSL_AD_DECRYPT_ERROR, "it could not verify our signature" },
};

/* What OpenSSL itself finds wrong with the bytes. */
static const struct {
	int reason;
	const char *meaning;
} reasons[] = {
	{ SSL_R_WRONG_VERSION_NUMBER, "it does not speak TLS (was it started with --insecure?)" },
	{ SSL_R_HTTP_REQUEST, "it speaks HTTP; this port is for programs of the swarm" },
	{ SSL_R_HTTPS_PROXY_REQUEST, "it speaks HTTP; this port is for programs of the swarm" },
	{ SSL_R_UNSUPPORTED_PROTOCOL, "it does not speak TLS 1.3" },
	{ SSL_R_NO_APPLICATION_PROTOCOL, "it speaks TLS, but not " IDENTITY_ALPN " in it" },
	{ SSL_R_NO_SUITABLE_SIGNATURE_ALGORITHM, "its certificate's key is not Ed25519" },
	{ SSL_R_NO_SUITABLE_GROUPS, "it does not speak X25519" },
	{ SSL_R_NO_SHARED_CIPHER, "it knows none of our ciphers" },
	{ SSL_R_UNEXPECTED_EOF_WHILE_READING, "it ended the connection in the handshake" },
	{ SSL_R_DECRYPTION_FAILED_OR_BAD_RECORD_MAC, "a record was damaged on its way" },
	{ SSL_R_BAD_SIGNATURE, "its signature is wrong" },
};

/* An alert received becomes the reason SSL_AD_REASON_OFFSET + alert. */
static int alert_of(int reason)
{
	return reason > SSL_AD_REASON_OFFSET ? reason - SSL_AD_REASON_OFFSET : -1;
}

static enum identity_fault describe_alert(int alert, struct error *e)
{
	for (size_t i = 0; i < ARRAY_LENGTH(alerts); i++) {
		if (alerts[i].alert == alert) {
			error_set(e, -EACCES, "the other side refuses us: %s", alerts[i].meaning);
			return IDENTITY_FAULT_REFUSED;
		}
	}
	error_set(e, -EACCES, "the other side refuses us: %s", SSL_alert_desc_string_long(alert));
	return IDENTITY_FAULT_REFUSED;
}

static enum identity_fault describe(const struct session *session, unsigned long code,
				    struct error *e)
{
	int reason = ERR_GET_REASON(code);
	const char *words;

	if (ERR_GET_LIB(code) == ERR_LIB_SSL && reason == SSL_R_CERTIFICATE_VERIFY_FAILED &&
	    session->judged) {
		error_set(e, -EKEYREJECTED, "%s", session->why.text);
		return session->why.fault;
	}
	if (ERR_GET_LIB(code) == ERR_LIB_SSL && reason == SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE) {
		error_set(e, -EKEYREJECTED, "it presented no certificate");
		return IDENTITY_FAULT_NONE;
	}
	if (ERR_GET_LIB(code) == ERR_LIB_SSL && alert_of(reason) >= 0)
		return describe_alert(alert_of(reason), e);
	for (size_t i = 0; ERR_GET_LIB(code) == ERR_LIB_SSL && i < ARRAY_LENGTH(reasons); i++) {
		if (reasons[i].reason == reason) {
			error_set(e, -EPROTO, "%s", reasons[i].meaning);
			return IDENTITY_FAULT_PROTOCOL;
		}
	}
	words = code ? ERR_reason_error_string(code) : NULL;
	error_set(e, -EPROTO, "it does not speak TLS as we do: %s",
		  words ? words : "the handshake failed");
	return IDENTITY_FAULT_PROTOCOL;
}

enum identity_fault identity_fault(struct identity *id, SSL *s, struct error *e)
{
	/* The first error is the cause, those above it say who was told. */
	enum identity_fault fault = describe(identity_session_of(s), ERR_get_error(), e);

	ERR_clear_error();
	identity_count_fault(id, fault);
	return fault;
}

/* DER of strangers to certificates; NULL when one cannot be read. */
static STACK_OF(X509) *read_chain(const struct identity_der *chain, uint32_t count)
{
	STACK_OF(X509) *all = sk_X509_new_null();

	for (uint32_t i = 0; all && i < count; i++) {
		const unsigned char *at = chain[i].data;
		X509 *one = d2i_X509(NULL, &at, (long)MIN(chain[i].bytes, INT32_MAX));

		if (one && sk_X509_push(all, one))
			continue;
		X509_free(one);
		sk_X509_pop_free(all, X509_free);
		all = NULL;
	}
	ERR_clear_error();
	return all;
}

static int judge_chain(const struct identity_set *set, STACK_OF(X509) *chain, uint32_t roles,
		       struct principal *out, struct verdict *why)
{
	X509_STORE_CTX *c = X509_STORE_CTX_new();
	int rc = -ENOMEM;

	if (c && X509_STORE_CTX_init(c, set->store, sk_X509_value(chain, 0), chain) &&
	    X509_STORE_CTX_set_default(c, "ssl_client"))
		rc = identity_judge(set, c, roles, out, why);
	X509_STORE_CTX_free(c);
	ERR_clear_error();
	return rc;
}

int identity_verify(struct identity *id, const struct identity_der *chain, uint32_t count,
		    uint32_t roles, struct principal *out, enum identity_fault *fault,
		    struct error *e)
{
	struct verdict why = { IDENTITY_FAULT_NONE, "it presented no certificate" };
	STACK_OF(X509) *certificates = count ? read_chain(chain, count) : NULL;
	struct identity_set *set = identity_set_in_use(id);
	int rc = -EKEYREJECTED;

	memset(out, 0, sizeof(*out));
	if (certificates)
		rc = judge_chain(set, certificates, roles, out, &why);
	else if (count)
		why = (struct verdict){ IDENTITY_FAULT_CERTIFICATE,
					"its certificate is damaged and cannot be read" };
	identity_set_put(set);
	sk_X509_pop_free(certificates, X509_free);
	if (rc == -ENOMEM)
		return error_errno(e, rc, "verifying a certificate");
	if (rc < 0) {
		*fault = why.fault;
		identity_count_fault(id, why.fault);
		return error_set(e, rc, "%s", why.text);
	}
	return 0;
}
