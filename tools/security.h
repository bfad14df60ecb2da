/* security.h - the flags by which every program says who it is, and what follows from them.
 *
 * Threads    main()'s.
 * Ownership  The flags belong to their option table; identities: identity_close().
 * Units      None.
 * Errors     -errno with a sentence.
 */
#ifndef PETALS_TOOLS_SECURITY_H
#define PETALS_TOOLS_SECURITY_H

#include "dataplane/base/options.h"
#include "dataplane/identity.h"

struct security_flags {
	char *credentials, *join;
	bool insecure;
};

/* Rows of an option table, AT() of whose target names a struct security_flags `security`. */
#define SECURITY_HEADING { .kind = OPTION_HEADING, .help = "Certificates" }
#define CREDENTIALS_OPTION \
	{ "credentials", OPTION_TEXT, AT(security.credentials), NULL, .metavar = "DIR", \
	  .help = "folder of ca.pem, cert.pem, key.pem; else $PETALS_CREDENTIALS, else what " \
		  "petalsctl up wrote for that directory, else credentials in $PETALS_HOME or " \
		  "~/.petals" }
#define INSECURE_OPTION \
	{ "insecure", OPTION_FLAG, AT(security.insecure), NULL, \
	  .help = "do without certificates, in plain text, over loopback alone" }
#define JOIN_OPTION \
	{ "join", OPTION_TEXT, AT(security.join), NULL, .metavar = "TOKEN", \
	  .help = "turn a token of `petalsctl ca token` into credentials first; the directory is " \
		  "the token's" }

/* With --join: enrols unless there are credentials already, then says in the flags where they
 * are, and in *directory (an option's text) which directory.  name NULL: this host's.
 */
int security_join(struct security_flags *f, enum principal_role role, const char *name,
		  char **directory, struct error *e);
/* NULL with --insecure. */
int security_open(struct identity **out, const struct security_flags *f, const char *directory,
		  enum principal_role role, struct error *e);

#endif
