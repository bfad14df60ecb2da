/* credentials.h - where a program's certificate and key are, when nobody says it outright.
 *
 *	1. --credentials DIR
 *	2. $PETALS_CREDENTIALS
 *	3. HOME/swarms/HOST:PORT       of the directory it is told of; `petalsctl up` writes it
 *	4. HOME/credentials
 *
 * HOME is $PETALS_HOME, or .petals in $HOME.  In each of 2 to 4 a folder named like the
 * program's role ("server") goes before the folder itself, so that one host may hold several.
 *
 * Threads    Pure functions of the environment; safe while nobody changes that.
 * Ownership  Paths: mem_free(); identities: identity_close().
 * Units      None.
 * Errors     -ENOENT with a sentence that says what to run; as identity_open().
 */
#ifndef PETALS_CONTROL_CREDENTIALS_H
#define PETALS_CONTROL_CREDENTIALS_H

#include "dataplane/identity.h"

/* "HOME/name". */
int credentials_home(char **out, const char *name, struct error *e);
/* "HOME/swarms/HOST:PORT" */
int credentials_swarm_folder(char **out, const char *directory, struct error *e);

struct credentials_wish {
	const char *given;              /* --credentials, or NULL */
	const char *directory;          /* HOST:PORT, or NULL */
	enum principal_role role;       /* what the program is */
};

int credentials_find(char **folder, const struct credentials_wish *w, struct error *e);
/* Finds and opens them, and refuses those that nobody would believe now. */
int credentials_open(struct identity **out, const struct credentials_wish *w,
		     const struct clock *clock, struct error *e);

/* What enrolment yields, as a folder; the key's PEM goes first, the certificate last. */
int credentials_write(const char *folder, const struct identity_pem *pem, struct error *e);

#endif
