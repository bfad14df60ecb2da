/* raw_peer.h - a plain socket that speaks the protocol byte by byte, so that a
 * test can say what our own sender never would.
 *
 * Threads    One thread.
 * Ownership  raw_close() closes the socket.
 * Units      _bytes.
 * Errors     A failing step fails the test.
 */
#ifndef PETALS_TESTS_RAW_PEER_H
#define PETALS_TESTS_RAW_PEER_H

#include "tests/support/transport_world.h"

struct raw_peer {
	struct world_node *node;        /* that it is connected to */
	int fd;
	uint8_t in[1 << 16];            /* heard and not looked at */
	size_t in_bytes;
	bool ended;
};

void raw_open(struct raw_peer *r, struct world_node *n);
void raw_close(struct raw_peer *r);
void raw_send(struct raw_peer *r, const void *data, size_t bytes);
/* A header of a frame, its payload behind it; returns the bytes. */
size_t raw_message(uint8_t *out, const struct frame *f, const void *payload);
size_t raw_hello(uint8_t *out);
void raw_greet(struct raw_peer *r);             /* says hello and ping, waits until up */
void raw_greet_with(struct raw_peer *r, const uint8_t *hello, size_t bytes);
/* The next message of a type, others are skipped; false when the other side
 * closed first.
 */
bool raw_hear(struct raw_peer *r, enum wire_type type, struct frame *f, uint8_t *payload);
bool raw_wait_end(struct raw_peer *r);

#endif
