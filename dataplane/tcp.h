/* tcp.h - sockets as the engines want them: checked, tuned.
 *
 * Threads    Independent calls.  tcp_listen() and tcp_socket() may block on a
 *            name server if the address names a host.
 * Ownership  Descriptors are the caller's to close().
 * Units      None.
 * Errors     -errno with a sentence that names the address.
 */
#ifndef PETALS_DATAPLANE_TCP_H
#define PETALS_DATAPLANE_TCP_H

#include "dataplane/base/address.h"
#include "dataplane/base/error.h"

/* Unless `anywhere`, addresses beyond loopback are refused: what is not sealed must not leave
 * the machine.
 *
 * Both return a blocking, close-on-exec descriptor: one that listens (bound
 * says where), or one not yet connected to `to`.
 */
int tcp_listen(const struct address *a, bool anywhere, struct address *bound, struct error *e);
int tcp_socket(const struct address *a, bool anywhere, struct sockaddr_storage *to,
	       socklen_t *length, struct error *e);
/* Of an accepted or connecting socket: no delay, steady congestion control. */
void tcp_tune(int fd);

#endif
