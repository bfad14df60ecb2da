/* throwaway.h - a CA for one swarm on one machine, with credentials for each role, gone when the
 * swarm is.
 *
 *	HOME/swarms/up-PID/ca                 the CA (ca.h)
 *	HOME/swarms/up-PID/ROLE               credentials: directory, server, gateway, operator
 *	HOME/swarms/HOST:PORT -> up-PID       once the directory's address is known; that is where
 *	                                      other programs look (credentials.h)
 *
 * Threads    One at a time.
 * Ownership  throwaway_open() / throwaway_close(), which removes everything; paths handed out
 *            are the struct's.
 * Units      None.
 * Errors     -errno with a sentence.
 */
#ifndef PETALS_CONTROL_THROWAWAY_H
#define PETALS_CONTROL_THROWAWAY_H

#include "dataplane/base/clock.h"
#include "dataplane/principal.h"

struct throwaway;

int throwaway_open(struct throwaway **out, const struct clock *clock, struct error *e);
void throwaway_close(struct throwaway *t);               /* NULL is fine */
const char *throwaway_ca(const struct throwaway *t);
/* directory, server, gateway, operator */
const char *throwaway_credentials(const struct throwaway *t, enum principal_role role);
int throwaway_publish(struct throwaway *t, const char *directory, struct error *e);

#endif
