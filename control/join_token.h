/* join_token.h - the one line that lets a new program in: where the directory is, which CA it
 * must prove, and a secret that is good once.
 *
 *	petals-join-1/10.0.0.5:7700/CA FINGERPRINT/NUMBER AND SECRET/CHECKSUM
 *
 * What the secret is good for (roles, a name, how long) only the CA knows.
 *
 * Threads    Pure functions; safe anywhere.
 * Ownership  Plain storage.
 * Units      Bytes.
 * Errors     join_token_read(): -EINVAL with a sentence that does not repeat the secret.
 */
#ifndef PETALS_CONTROL_JOIN_TOKEN_H
#define PETALS_CONTROL_JOIN_TOKEN_H

#include "dataplane/base/address.h"
#include "dataplane/principal.h"

enum {
	JOIN_TOKEN_NUMBER_BYTES = 8,
	JOIN_TOKEN_SECRET_BYTES = 24,
	JOIN_TOKEN_TEXT_BYTES = 256,
};

struct join_token {
	struct address directory;
	uint8_t authority[PRINCIPAL_FINGERPRINT_BYTES];
	uint8_t number[JOIN_TOKEN_NUMBER_BYTES];        /* which one; no secret */
	uint8_t secret[JOIN_TOKEN_SECRET_BYTES];
};

void join_token_write(const struct join_token *t, char out[JOIN_TOKEN_TEXT_BYTES]);
int join_token_read(struct join_token *out, const char *text, struct error *e);

#endif
