/* joining.h - a new program turns a join token into credentials.
 *
 * Makes a key (which never leaves the host), proves that the directory belongs to the token's CA
 * and is a directory, sends a request for a certificate and writes what it gets.  The key is
 * written first, so that a try that was cut short can be repeated with the same token.
 *
 * Threads    The caller's; blocks for at most JOINING_TIMEOUT_NS.
 * Ownership  None.
 * Units      _ns.
 * Errors     -errno with a sentence.
 */
#ifndef PETALS_CONTROL_JOINING_H
#define PETALS_CONTROL_JOINING_H

#include "control/join_token.h"
#include "dataplane/base/clock.h"

#define JOINING_TIMEOUT_NS (15 * NS_PER_S)

/* A folder that holds a certificate already is left as it is: 0. */
int joining_enrol(const struct join_token *t, const char *name, const char *folder,
		  struct error *e);
/* This host's name, for who has none of its own, with what no certificate takes left out. */
void joining_host_name(char out[PRINCIPAL_NAME_BYTES]);

#endif
