/* join_token.c - a join token's fields to text and back. */
#include "control/join_token.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "control/certificate.h"
#include "dataplane/wire.h"

static const char prefix[] = "petals-join-1/";

enum {
	CHECKSUM_CHARS = 8,
	TICKET_BYTES = JOIN_TOKEN_NUMBER_BYTES + JOIN_TOKEN_SECRET_BYTES,
};
static_assert(sizeof(prefix) + ADDRESS_TEXT_BYTES + 1 + 2 * PRINCIPAL_FINGERPRINT_BYTES + 1 +
	      2 * TICKET_BYTES + 1 + CHECKSUM_CHARS < JOIN_TOKEN_TEXT_BYTES, "every token fits");

void join_token_write(const struct join_token *t, char out[JOIN_TOKEN_TEXT_BYTES])
{
	char authority[2 * PRINCIPAL_FINGERPRINT_BYTES + 1], ticket[2 * TICKET_BYTES + 1];
	int length;

	certificate_hex(authority, t->authority, sizeof(t->authority));
	certificate_hex(ticket, t->number, sizeof(t->number));
	certificate_hex(ticket + 2 * sizeof(t->number), t->secret, sizeof(t->secret));
	length = snprintf(out, JOIN_TOKEN_TEXT_BYTES, "%s%s/%s/%s/", prefix, t->directory.text,
			  authority, ticket);
	snprintf(out + length, JOIN_TOKEN_TEXT_BYTES - (size_t)length, "%08x",
		 crc32c(0, out, (size_t)length));
}

/* The next field, up to a slash; NULL when it is empty or too long. */
static const char *take_field(const char **at, char *out, size_t bytes)
{
	size_t length = strcspn(*at, "/");

	if (length == 0 || length >= bytes || (*at)[length] != '/')
		return NULL;
	memcpy(out, *at, length);
	out[length] = '\0';
	*at += length + 1;
	return out;
}

int join_token_read(struct join_token *out, const char *text, struct error *e)
{
	char address[ADDRESS_TEXT_BYTES], authority[2 * PRINCIPAL_FINGERPRINT_BYTES + 1];
	char ticket[2 * TICKET_BYTES + 1], checksum[CHECKSUM_CHARS + 1];
	const char *at = text + sizeof(prefix) - 1;
	struct error inner;

	memset(out, 0, sizeof(*out));
	if (strncmp(text, prefix, sizeof(prefix) - 1))
		return error_set(e, -EINVAL, "this is no join token: one begins with \"%s\"",
				 prefix);
	if (!take_field(&at, address, sizeof(address)) ||
	    !take_field(&at, authority, sizeof(authority)) ||
	    !take_field(&at, ticket, sizeof(ticket)))
		return error_set(e, -EINVAL, "the join token was cut off");
	snprintf(checksum, sizeof(checksum), "%08x", crc32c(0, text, (size_t)(at - text)));
	if (strcmp(at, checksum) ||
	    !certificate_unhex(out->authority, authority, sizeof(out->authority)) ||
	    !certificate_unhex(out->number, ticket, sizeof(out->number)) ||
	    !certificate_unhex(out->secret, ticket + 2 * sizeof(out->number),
			       sizeof(out->secret)))
		return error_set(e, -EINVAL,
				 "the join token was cut off or mistyped: its checksum is "
				 "wrong");
	if (address_parse(&out->directory, address, &inner) < 0)
		return error_set(e, -EINVAL, "the join token's directory: %s", inner.text);
	return 0;
}
