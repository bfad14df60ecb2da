/* principal.c - the table of roles, and what a certificate's fields say.
 *
 * Leaves whether a certificate is to be believed to identity.c.
 */
#include "dataplane/principal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <openssl/asn1.h>
#include <openssl/bn.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

static const char *const role_names[PRINCIPAL_ROLES] = {
	[PRINCIPAL_SERVER] = "server",       [PRINCIPAL_GATEWAY] = "gateway",
	[PRINCIPAL_TENANT] = "tenant",       [PRINCIPAL_OPERATOR] = "operator",
	[PRINCIPAL_DIRECTORY] = "directory",
};

const char *principal_role_name(enum principal_role role)
{
	return role < PRINCIPAL_ROLES ? role_names[role] : "unknown";
}

/* The bit of a role's name, 0 when there is none. */
static uint32_t role_bit(const char *name, size_t length)
{
	for (uint32_t i = 0; i < PRINCIPAL_ROLES; i++)
		if (strlen(role_names[i]) == length && !memcmp(role_names[i], name, length))
			return PRINCIPAL_BIT(i);
	return 0;
}

int principal_roles_parse(uint32_t *out, const char *text, struct error *e)
{
	*out = 0;
	for (const char *at = text, *end; at; at = *end ? end + 1 : NULL) {
		uint32_t bit;

		end = strchrnul(at, ',');
		bit = role_bit(at, (size_t)(end - at));
		if (!bit)
			return error_set(e, -EINVAL,
					 "\"%.*s\" is no role: there are server, gateway, "
					 "tenant, operator and directory, joined by commas",
					 (int)MIN(end - at, 64), at);
		*out |= bit;
	}
	return 0;
}

void principal_roles_text(uint32_t roles, char out[PRINCIPAL_ROLES_TEXT_BYTES])
{
	size_t length = 0;

	snprintf(out, PRINCIPAL_ROLES_TEXT_BYTES, "no role");
	for (uint32_t i = 0; i < PRINCIPAL_ROLES; i++) {
		if (!(roles & PRINCIPAL_BIT(i)))
			continue;
		snprintf(out + length, PRINCIPAL_ROLES_TEXT_BYTES - length, "%s%s",
			 length ? ", " : "", role_names[i]);
		length = strlen(out);
	}
}

bool principal_name_ok(const char *name)
{
	size_t length = strlen(name);

	return length > 0 && length < PRINCIPAL_NAME_BYTES && !strchr(".-_:@", name[0]) &&
	       strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
			    "0123456789.-_:@") == length;
}

void principal_fingerprint(const X509 *certificate, uint8_t out[PRINCIPAL_FINGERPRINT_BYTES])
{
	unsigned bytes = 0;

	memset(out, 0, PRINCIPAL_FINGERPRINT_BYTES);
	X509_digest(certificate, EVP_sha256(), out, &bytes);
}

/* The common name as it stands, or NULL when there is none or it has a NUL inside. */
static const char *common_name(const X509 *certificate)
{
	const X509_NAME *subject = X509_get_subject_name(certificate);
	int at =
		subject ? X509_NAME_get_index_by_NID((X509_NAME *)subject, NID_commonName, -1) : -1;
	const ASN1_STRING *text =
		at < 0 ? NULL : X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at));
	const char *name = text ? (const char *)ASN1_STRING_get0_data(text) : NULL;

	return name && strlen(name) == (size_t)ASN1_STRING_length(text) ? name : NULL;
}

void principal_name_of(const X509 *certificate, char out[PRINCIPAL_NAME_BYTES])
{
	const char *name = common_name(certificate);

	snprintf(out, PRINCIPAL_NAME_BYTES, "%s", name ? name : "somebody without a name");
	for (; *out; out++)
		if (*out < ' ' || *out == 0x7f)
			*out = '?';
}

static uint32_t read_roles(const X509 *certificate)
{
	const size_t prefix = strlen(PRINCIPAL_ROLE_URI);
	GENERAL_NAMES *names = X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
	uint32_t roles = 0;

	for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
		const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
		const char *uri;
		size_t length;

		if (name->type != GEN_URI)
			continue;
		uri = (const char *)ASN1_STRING_get0_data(name->d.uniformResourceIdentifier);
		length = (size_t)ASN1_STRING_length(name->d.uniformResourceIdentifier);
		if (length > prefix && !memcmp(uri, PRINCIPAL_ROLE_URI, prefix))
			roles |= role_bit(uri + prefix, length - prefix);
	}
	GENERAL_NAMES_free(names);
	return roles;
}

static bool read_time(int64_t *out, const ASN1_TIME *time)
{
	struct tm parts;

	if (!time || !ASN1_TIME_to_tm(time, &parts))
		return false;
	*out = timegm(&parts);
	return true;
}

static bool read_serial(struct principal *out, const X509 *certificate)
{
	BIGNUM *number = ASN1_INTEGER_to_BN(X509_get0_serialNumber(certificate), NULL);
	bool fits = number && !BN_is_negative(number) &&
		    BN_num_bytes(number) <= PRINCIPAL_SERIAL_BYTES;

	if (fits)
		out->serial_bytes = (uint32_t)BN_bn2bin(number, out->serial);
	BN_free(number);
	return fits;
}

int principal_read_any(struct principal *out, const X509 *certificate, struct error *e)
{
	const char *name = common_name(certificate);

	memset(out, 0, sizeof(*out));
	if (!name || !principal_name_ok(name))
		return error_set(e, -EBADMSG,
				 "the certificate names nobody: its common name must be "
				 "1 to %d letters, digits and .-_:@",
				 PRINCIPAL_NAME_BYTES - 1);
	snprintf(out->name, sizeof(out->name), "%s", name);
	out->roles = read_roles(certificate);
	if (!read_time(&out->not_before_unix_s, X509_get0_notBefore(certificate)) ||
	    !read_time(&out->not_after_unix_s, X509_get0_notAfter(certificate)))
		return error_set(e, -EBADMSG, "the certificate of %s has no readable dates", name);
	if (!read_serial(out, certificate))
		return error_set(e, -EBADMSG, "the certificate of %s has no usable serial number",
				 name);
	principal_fingerprint(certificate, out->fingerprint);
	X509_pubkey_digest(certificate, EVP_sha256(), out->key, NULL);
	return 0;
}

int principal_read(struct principal *out, const X509 *certificate, struct error *e)
{
	int rc = principal_read_any(out, certificate, e);

	if (rc == 0 && !out->roles)
		rc = error_set(e, -EBADMSG, "the certificate of %s gives it no role", out->name);
	return rc;
}
