/* ca_private.h - a CA as its parts see it.  Private to ca.c, ca_issue.c, ca_revoke.c and
 * ca_enrol.c.
 *
 * Threads    As ca.h.
 * Ownership  ca_change_begin() takes the lock and the index; ca_change_end() drops both.
 * Units      _unix_s.
 * Errors     As ca.h.
 */
#ifndef PETALS_CONTROL_CA_PRIVATE_H
#define PETALS_CONTROL_CA_PRIVATE_H

#include <openssl/x509.h>

#include "control/ca.h"

struct ca {
	const struct clock *clock;
	char *folder;
	X509 *certificate;
	EVP_PKEY *key;
	struct principal self;
};

struct ca_change {
	int lock_fd;
	struct ca_index index;
};

int64_t ca_now_unix_s(const struct ca *ca);
int ca_change_begin(struct ca *ca, struct ca_change *c, struct error *e);
void ca_change_end(struct ca_change *c);
/* Within a change: crl.pem says what the index does. */
int ca_write_revocations(struct ca *ca, const struct ca_index *x, struct error *e);
/* "FOLDER/issued/SERIAL.pem"; NULL: no memory. */
char *ca_issued_path(const struct ca *ca, const char *serial);
/* Within a change: signs, keeps a copy, adds to the index and saves it. */
int ca_issue_within(struct ca *ca, struct ca_change *c, const struct ca_wish *wish,
		    EVP_PKEY *subject, char **cert, struct ca_certificate *entry,
		    struct error *e);

#endif
