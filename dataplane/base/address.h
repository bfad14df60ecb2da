/* address.h - HOST:PORT, split, checked and resolved.
 *
 * Threads    address_resolve() may block on a name server; call it at start.
 * Ownership  Plain storage.
 * Units      None.
 * Errors     -EINVAL, -EHOSTUNREACH with a sentence.
 */
#ifndef PETALS_BASE_ADDRESS_H
#define PETALS_BASE_ADDRESS_H

#include <sys/socket.h>

#include "dataplane/base/error.h"
#include "dataplane/base/types.h"

enum { ADDRESS_TEXT_BYTES = 80 };

/* "10.0.0.1:7700", "[::1]:7700", "host:7700"; "sim:3" inside a simulation. */
struct address { char text[ADDRESS_TEXT_BYTES]; };

int address_parse(struct address *out, const char *text, struct error *e);
int address_resolve(const struct address *a, struct sockaddr_storage *out,
		    socklen_t *length, struct error *e);
void address_of_sockaddr(struct address *out, const struct sockaddr *sa);
bool address_is_loopback(const struct sockaddr *sa);
uint16_t address_port(const struct address *a);

#endif
