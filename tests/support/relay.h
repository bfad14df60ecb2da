/* relay.h - somebody in the middle: passes TCP connections on, looks at what crosses, and may
 * change, repeat or cut it.
 *
 * Threads    One thread; relay_turn() does what can be done without waiting.
 * Ownership  relay_open() / relay_close().
 * Units      _bytes.
 * Errors     A failing step fails the test.
 */
#ifndef PETALS_TESTS_RELAY_H
#define PETALS_TESTS_RELAY_H

#include "dataplane/base/address.h"

enum { RELAY_CONNECTIONS_MAX = 8, RELAY_BYTES = 1 << 16 };

struct relay {
	/* Sees `bytes` that cross in connection `index`, from the dialer or to it, after `before`
	 * others; returns how many of them (perhaps more: up to RELAY_BYTES) go on; a negative
	 * number cuts the connection.
	 */
	long (*tamper)(void *ctx, int index, bool from_dialer, uint64_t before, uint8_t *data,
		       size_t bytes);
	void *ctx;
	struct address address;                 /* dial this */

	struct address target;
	int listen_fd, count;
	struct { int fds[2]; uint64_t passed[2]; } connections[RELAY_CONNECTIONS_MAX];
};

void relay_open(struct relay *r, const struct address *target);
void relay_close(struct relay *r);
void relay_turn(struct relay *r);

#endif
