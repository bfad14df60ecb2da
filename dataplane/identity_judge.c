/* identity_judge.c - whether a certificate is to be believed, and if not, why, in words that
 * an operator understands.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <openssl/x509v3.h>

#include "dataplane/identity_set.h"

/* What OpenSSL finds wrong with a chain; everything else is a damaged certificate. */
static const struct {
	int error;
	enum identity_fault fault;
} faults[] = {
	{ X509_V_ERR_CERT_HAS_EXPIRED, IDENTITY_FAULT_EXPIRED },
	{ X509_V_ERR_CERT_NOT_YET_VALID, IDENTITY_FAULT_NOT_YET },
	{ X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT, IDENTITY_FAULT_FOREIGN },
	{ X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY, IDENTITY_FAULT_FOREIGN },
	{ X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE, IDENTITY_FAULT_FOREIGN },
	{ X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN, IDENTITY_FAULT_FOREIGN },
	{ X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT, IDENTITY_FAULT_FOREIGN },
	{ X509_V_ERR_CERT_CHAIN_TOO_LONG, IDENTITY_FAULT_FOREIGN },
	{ X509_V_ERR_CERT_UNTRUSTED, IDENTITY_FAULT_FOREIGN },
};

void identity_describe_span(int64_t seconds, char out[32])
{
	static const struct { int64_t seconds; const char *unit; } units[] = {
		{ 86400, "day" }, { 3600, "hour" }, { 60, "minute" }, { 1, "second" },
	};
	size_t i = 0;
	int64_t count;

	while (i + 1 < ARRAY_LENGTH(units) && seconds < units[i].seconds)
		i++;
	count = MAX(seconds, 0) / units[i].seconds;
	snprintf(out, 32, "%" PRId64 " %s%s", count, units[i].unit, count == 1 ? "" : "s");
}

static int refuse(struct verdict *why, enum identity_fault fault, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

static int refuse(struct verdict *why, enum identity_fault fault, const char *format, ...)
{
	va_list args;

	why->fault = fault;
	va_start(args, format);
	vsnprintf(why->text, sizeof(why->text), format, args);
	va_end(args);
	return -EKEYREJECTED;
}

/* How far a certificate's time is from now, in words. */
static void describe_distance(const ASN1_TIME *time, int64_t now_unix_s, char out[32])
{
	struct tm parts;
	int64_t distance = 0;

	if (ASN1_TIME_to_tm(time, &parts))
		distance = timegm(&parts) - now_unix_s;
	identity_describe_span(distance < 0 ? -distance : distance, out);
}

static int refuse_chain(const struct identity_set *s, X509_STORE_CTX *c, struct verdict *why)
{
	X509 *at = X509_STORE_CTX_get_current_cert(c);
	X509 *of = at ? at : X509_STORE_CTX_get0_cert(c);
	enum identity_fault fault = IDENTITY_FAULT_CERTIFICATE;
	int error = X509_STORE_CTX_get_error(c);
	char name[PRINCIPAL_NAME_BYTES], span[32];

	for (size_t i = 0; i < ARRAY_LENGTH(faults); i++)
		if (faults[i].error == error)
			fault = faults[i].fault;
	if (fault == IDENTITY_FAULT_FOREIGN)
		of = X509_STORE_CTX_get0_cert(c);
	principal_name_of(of, name);
	switch (fault) {
	case IDENTITY_FAULT_EXPIRED:
		describe_distance(X509_get0_notAfter(of), identity_set_now_unix_s(s), span);
		return refuse(why, fault, "the certificate of %s expired %s ago", name, span);
	case IDENTITY_FAULT_NOT_YET:
		describe_distance(X509_get0_notBefore(of), identity_set_now_unix_s(s), span);
		return refuse(why, fault, "the certificate of %s is valid only in %s: compare the "
			      "clocks of both hosts", name, span);
	case IDENTITY_FAULT_FOREIGN:
		return refuse(why, fault,
			      "the certificate of %s is signed by a CA that is not ours", name);
	default:
		return refuse(why, fault, "the certificate of %s cannot be believed: %s", name,
			      X509_verify_cert_error_string(error));
	}
}

/* Among what a stranger was shown, the CA that it was told of. */
static X509 *find_pinned(const struct identity_set *s, X509_STORE_CTX *c)
{
	STACK_OF(X509) *shown = X509_STORE_CTX_get0_untrusted(c);
	uint8_t fingerprint[PRINCIPAL_FINGERPRINT_BYTES];

	for (int i = 0; i < sk_X509_num(shown); i++) {
		X509 *ca = sk_X509_value(shown, i);

		principal_fingerprint(ca, fingerprint);
		if (!memcmp(fingerprint, s->pinned, sizeof(fingerprint)))
			return ca;
	}
	return NULL;
}

static int verify_chain(const struct identity_set *s, X509_STORE_CTX *c, struct verdict *why)
{
	STACK_OF(X509) *pinned = NULL;
	int good;

	if (!s->own) {
		X509 *ca = find_pinned(s, c);

		pinned = sk_X509_new_null();
		if (ca && pinned)
			sk_X509_push(pinned, ca);
		X509_STORE_CTX_set0_trusted_stack(c, pinned);
	}
	X509_STORE_CTX_set_time(c, 0, identity_set_now_unix_s(s));
	X509_STORE_CTX_set_depth(c, 0);
	good = X509_verify_cert(c);
	sk_X509_free(pinned);
	if (good == 1 && sk_X509_num(X509_STORE_CTX_get0_chain(c)) == 2)
		return 0;
	if (good == 1)
		X509_STORE_CTX_set_error(c, X509_V_ERR_INVALID_CA);
	return refuse_chain(s, c, why);
}

static int judge_principal(const struct identity_set *s, const struct principal *p,
			   uint32_t roles, struct verdict *why)
{
	char have[PRINCIPAL_ROLES_TEXT_BYTES], want[PRINCIPAL_ROLES_TEXT_BYTES];

	if (identity_crl_revoked(s, p))
		return refuse(why, IDENTITY_FAULT_REVOKED, "the certificate of %s was revoked",
			      p->name);
	if (!roles || p->roles & roles)
		return 0;
	principal_roles_text(p->roles, have);
	principal_roles_text(roles, want);
	return refuse(why, IDENTITY_FAULT_ROLE, "%s is %s by its certificate, and not %s", p->name,
		      have, want);
}

/* What the other side is told, by way of OpenSSL's table of alerts. */
static int alert_error(enum identity_fault fault)
{
	switch (fault) {
	case IDENTITY_FAULT_REVOKED:
		return X509_V_ERR_CERT_REVOKED;
	case IDENTITY_FAULT_ROLE:
		return X509_V_ERR_INVALID_PURPOSE;
	default:
		return X509_V_ERR_CERT_REJECTED;
	}
}

int identity_judge(const struct identity_set *s, X509_STORE_CTX *c, uint32_t roles,
		   struct principal *out, struct verdict *why)
{
	X509 *leaf = X509_STORE_CTX_get0_cert(c);
	struct error e;
	int rc = verify_chain(s, c, why);

	memset(out, 0, sizeof(*out));
	if (rc < 0)
		return rc;
	rc = principal_read(out, leaf, &e);
	if (rc < 0) {
		rc = refuse(why, IDENTITY_FAULT_CERTIFICATE, "%s", e.text);
	} else {
		principal_fingerprint(sk_X509_value(X509_STORE_CTX_get0_chain(c), 1),
				      out->authority);
		rc = judge_principal(s, out, roles, why);
	}
	if (rc < 0) {
		X509_STORE_CTX_set_error(c, alert_error(why->fault));
		memset(out, 0, sizeof(*out));
	}
	return rc;
}

static bool trusts(const struct identity_set *s, const uint8_t *authority)
{
	uint8_t fingerprint[PRINCIPAL_FINGERPRINT_BYTES];

	if (!s->own)
		return !memcmp(s->pinned, authority, sizeof(fingerprint));
	for (int i = 0; i < sk_X509_num(s->authorities); i++) {
		principal_fingerprint(sk_X509_value(s->authorities, i), fingerprint);
		if (!memcmp(fingerprint, authority, sizeof(fingerprint)))
			return true;
	}
	return false;
}

int identity_judge_again(const struct identity_set *s, const struct principal *p,
			 struct verdict *why)
{
	int64_t now_unix_s = identity_set_now_unix_s(s);
	char span[32];

	if (!trusts(s, p->authority))
		return refuse(why, IDENTITY_FAULT_FOREIGN,
			      "the certificate of %s is signed by a CA "
			      "that is not ours any more",
			      p->name);
	if (now_unix_s >= p->not_after_unix_s) {         /* as OpenSSL has it */
		identity_describe_span(now_unix_s - p->not_after_unix_s, span);
		return refuse(why, IDENTITY_FAULT_EXPIRED, "the certificate of %s expired %s ago",
			      p->name, span);
	}
	return judge_principal(s, p, 0, why);
}
