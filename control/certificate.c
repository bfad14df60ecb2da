/* certificate.c - certificates, their signatures, and revocation lists.  Requests and PEM are in
 * certificate_pem.c.
 */
#include "control/certificate.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>

#include "dataplane/base/buffer.h"
#include "dataplane/base/memory.h"
#include "dataplane/base/random.h"

/* A list's date of renewal has to stand in it; ours holds until the next one comes. */
#define REVOCATIONS_S (10LL * 365 * 86400)

static int openssl_error(struct error *e, const char *what)
{
	const char *words = ERR_reason_error_string(ERR_peek_last_error());

	ERR_clear_error();
	return error_set(e, -EINVAL, "%s: %s", what, words ? words : "OpenSSL refuses");
}

void certificate_serial(uint8_t out[CERTIFICATE_SERIAL_BYTES], struct random *seed)
{
	for (size_t i = 0; i < CERTIFICATE_SERIAL_BYTES; i += sizeof(uint64_t)) {
		uint64_t word = seed ? random_u64(seed) : random_entropy();

		memcpy(out + i, &word, sizeof(word));
	}
	/* Positive, and never shorter: certificates have one size. */
	out[0] = (out[0] & 0x3f) | 0x40;
}

int certificate_key(EVP_PKEY **out, const uint8_t seed[CERTIFICATE_SEED_BYTES], struct error *e)
{
	*out = seed ? EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, seed,
						   CERTIFICATE_SEED_BYTES) :
		      EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
	return *out ? 0 : openssl_error(e, "making a key");
}

static bool set_time(ASN1_TIME *at, int64_t unix_s)
{
	return ASN1_TIME_adj(at, (time_t)unix_s, 0, 0) != NULL;
}

static ASN1_INTEGER *integer_of(const uint8_t *data, uint32_t bytes)
{
	BIGNUM *number = BN_bin2bn(data, (int)bytes, NULL);
	ASN1_INTEGER *integer = number ? BN_to_ASN1_INTEGER(number, NULL) : NULL;

	BN_free(number);
	return integer;
}

static bool set_name(X509 *c, const char *name)
{
	X509_NAME *subject = X509_get_subject_name(c);

	return X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, (const uint8_t *)name, -1,
					  -1, 0) == 1;
}

static bool add_extension(X509 *c, X509 *ca, int nid, const char *value)
{
	X509V3_CTX ctx;
	X509_EXTENSION *extension;
	bool good;

	X509V3_set_ctx(&ctx, ca ? ca : c, c, NULL, NULL, 0);
	extension = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
	good = extension && X509_add_ext(c, extension, -1) == 1;
	X509_EXTENSION_free(extension);
	return good;
}

/* A host's name as it may stand in a certificate; also keeps what is special to OpenSSL's
 * syntax of extensions out of it.
 */
static bool host_ok(const char *host, size_t length)
{
	return length > 0 && length <= 253 && host[0] != '-' &&
	       strspn(host, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-:") >=
	       length;
}

static bool is_ip(const char *host, size_t length)
{
	char text[64];
	ASN1_OCTET_STRING *ip;

	if (length >= sizeof(text))
		return false;
	memcpy(text, host, length);
	text[length] = '\0';
	ip = a2i_IPADDRESS(text);
	ASN1_OCTET_STRING_free(ip);
	ERR_clear_error();
	return ip != NULL;
}

/* "URI:urn:petals:role:server,DNS:gpu-17,IP:10.0.0.17" */
static int describe_names(const struct certificate_spec *spec, struct buffer *out, struct error *e)
{
	for (uint32_t i = 0; i < PRINCIPAL_ROLES; i++)
		if (spec->roles & PRINCIPAL_BIT(i))
			buffer_printf(out, "%sURI:" PRINCIPAL_ROLE_URI "%s",
				      out->length ? "," : "", principal_role_name(i));
	for (const char *at = spec->hosts, *end; at && *at; at = *end ? end + 1 : end) {
		size_t length;

		end = strchrnul(at, ',');
		length = (size_t)(end - at);
		if (!host_ok(at, length) || (memchr(at, ':', length) && !is_ip(at, length)))
			return error_set(e, -EINVAL, "\"%.*s\" is no name or address of a host",
					 (int)MIN(length, 64), at);
		buffer_printf(out, "%s%s:", out->length ? "," : "",
			      is_ip(at, length) ? "IP" : "DNS");
		buffer_append(out, at, length);
	}
	return buffer_failed(out) < 0 ? error_errno(e, -ENOMEM, "naming a certificate") : 0;
}

static bool add_extensions(X509 *c, const struct certificate_spec *spec, X509 *ca,
			   const char *names)
{
	return add_extension(c, ca, NID_basic_constraints,
			     spec->authority ? "critical,CA:TRUE,pathlen:0"
					     : "critical,CA:FALSE") &&
	       add_extension(c, ca, NID_key_usage,
			     spec->authority ? "critical,keyCertSign,cRLSign"
					     : "critical,digitalSignature") &&
	       add_extension(c, ca, NID_subject_key_identifier, "hash") &&
	       add_extension(c, ca, NID_authority_key_identifier, "keyid:always") &&
	       (!names[0] || add_extension(c, ca, NID_subject_alt_name, names));
}

static int fill(X509 *c, const struct certificate_spec *spec, EVP_PKEY *subject, X509 *ca,
		struct error *e)
{
	ASN1_INTEGER *serial = integer_of(spec->serial, sizeof(spec->serial));
	struct buffer names = { 0 };
	int rc = describe_names(spec, &names, e);

	if (rc == 0 && !(serial && X509_set_version(c, X509_VERSION_3) == 1 &&
			 X509_set_serialNumber(c, serial) == 1 && set_name(c, spec->name) &&
			 X509_set_issuer_name(c, X509_get_subject_name(ca ? ca : c)) == 1 &&
			 set_time(X509_getm_notBefore(c), spec->not_before_unix_s) &&
			 set_time(X509_getm_notAfter(c), spec->not_after_unix_s) &&
			 X509_set_pubkey(c, subject) == 1 &&
			 add_extensions(c, spec, ca, buffer_string(&names))))
		rc = openssl_error(e, "making a certificate");
	buffer_close(&names);
	ASN1_INTEGER_free(serial);
	return rc;
}

int certificate_issue(X509 **out, const struct certificate_spec *spec, EVP_PKEY *subject,
		      X509 *ca, EVP_PKEY *ca_key, struct error *e)
{
	X509 *c;
	int rc;

	*out = NULL;
	if (!principal_name_ok(spec->name))
		return error_set(e, -EINVAL,
				 "\"%.64s\" is no name for a certificate: 1 to %d letters, "
				 "digits and .-_:@ make one",
				 spec->name, PRINCIPAL_NAME_BYTES - 1);
	if (spec->not_after_unix_s <= spec->not_before_unix_s)
		return error_set(e, -EINVAL, "the certificate of %s would end before it begins",
				 spec->name);
	c = X509_new();
	rc = c ? fill(c, spec, subject, ca, e) : error_errno(e, -ENOMEM, "making a certificate");
	if (rc == 0 && X509_sign(c, ca ? ca_key : subject, NULL) <= 0)
		rc = openssl_error(e, "signing a certificate");
	if (rc < 0)
		X509_free(c);
	else
		*out = c;
	return rc;
}

static bool add_revoked(X509_CRL *list, const struct certificate_revoked *r)
{
	ASN1_INTEGER *serial = integer_of(r->serial, r->serial_bytes);
	ASN1_TIME *when = ASN1_TIME_adj(NULL, (time_t)r->unix_s, 0, 0);
	X509_REVOKED *entry = X509_REVOKED_new();
	bool good = serial && when && entry && X509_REVOKED_set_serialNumber(entry, serial) &&
		    X509_REVOKED_set_revocationDate(entry, when) &&
		    X509_CRL_add0_revoked(list, entry);

	if (!good)
		X509_REVOKED_free(entry);
	ASN1_TIME_free(when);
	ASN1_INTEGER_free(serial);
	return good;
}

static bool fill_revocations(X509_CRL *list, int64_t number, int64_t now_unix_s, X509 *ca)
{
	ASN1_INTEGER *value = ASN1_INTEGER_new();
	ASN1_TIME *at = ASN1_TIME_adj(NULL, (time_t)now_unix_s, 0, 0);
	ASN1_TIME *next = ASN1_TIME_adj(NULL, (time_t)(now_unix_s + REVOCATIONS_S), 0, 0);
	bool good = value && at && next && ASN1_INTEGER_set_int64(value, number) &&
		    X509_CRL_set_version(list, X509_CRL_VERSION_2) &&
		    X509_CRL_set_issuer_name(list, X509_get_subject_name(ca)) &&
		    X509_CRL_set1_lastUpdate(list, at) && X509_CRL_set1_nextUpdate(list, next) &&
		    X509_CRL_add1_ext_i2d(list, NID_crl_number, value, 0, 0) == 1;

	ASN1_TIME_free(next);
	ASN1_TIME_free(at);
	ASN1_INTEGER_free(value);
	return good;
}

int certificate_revocations(X509_CRL **out, const struct certificate_revoked *revoked,
			    uint32_t count, int64_t number, int64_t now_unix_s, X509 *ca,
			    EVP_PKEY *ca_key, struct error *e)
{
	X509_CRL *list = X509_CRL_new();
	bool good = list && fill_revocations(list, number, now_unix_s, ca);

	*out = NULL;
	for (uint32_t i = 0; good && i < count; i++)
		good = add_revoked(list, &revoked[i]);
	if (good && X509_CRL_sort(list) && X509_CRL_sign(list, ca_key, NULL) > 0) {
		*out = list;
		return 0;
	}
	X509_CRL_free(list);
	return openssl_error(e, "making a revocation list");
}

void certificate_hex(char *out, const uint8_t *data, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++)
		snprintf(out + 2 * i, 3, "%02x", data[i]);
	out[2 * bytes] = '\0';
}

/* -1: no digit. */
static int digit_of(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool certificate_unhex(uint8_t *out, const char *text, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++) {
		int high = digit_of(text[2 * i]);
		int low = high < 0 ? -1 : digit_of(text[2 * i + 1]);

		if (low < 0)
			return false;
		out[i] = (uint8_t)(high << 4 | low);
	}
	return true;
}
