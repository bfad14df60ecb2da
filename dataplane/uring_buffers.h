/* uring_buffers.h - receive buffers that all connections of a ring share: the kernel takes one
 * only when bytes have arrived, so a connection that is quiet costs none.  Private to the uring
 * engine; sealed lanes decrypt out of them.
 *
 * Threads    The ring's.
 * Ownership  uring_buffers_open() registers them with the ring; uring_buffers_close() before
 *            the ring is closed.  A buffer that a completion names is ours until put.
 * Units      _bytes.
 * Errors     -ENOMEM; else this kernel has none (before Linux 5.19).
 */
#ifndef PETALS_DATAPLANE_URING_BUFFERS_H
#define PETALS_DATAPLANE_URING_BUFFERS_H

#include <liburing.h>

#include "dataplane/base/memory.h"

enum {
	URING_BUFFERS = 16,             /* a power of two; in one turn's completions at most */
	URING_BUFFER_BYTES = 128 << 10,
	URING_BUFFER_GROUP = 0,
};

struct uring_buffers {
	struct memory_region region;    /* the ring's page, then the buffers */
	struct io_uring_buf_ring *ring; /* NULL: there are none */
	uint8_t *data;
};

int uring_buffers_open(struct uring_buffers *b, struct io_uring *ring);
void uring_buffers_close(struct uring_buffers *b, struct io_uring *ring);

/* A receive into whichever is free; -ENOBUFS completes it when none is. */
void uring_buffers_receive(const struct uring_buffers *b, struct io_uring_sqe *sqe, int fd);
/* The buffer that a completion's flags name, NULL: none. */
uint8_t *uring_buffers_get(const struct uring_buffers *b, unsigned flags);
void uring_buffers_put(struct uring_buffers *b, unsigned flags);

#endif
