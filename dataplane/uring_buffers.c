/* uring_buffers.c - a provided-buffer ring, set up by hand: liburing 2.3 has no helper. */
#include "dataplane/uring_buffers.h"

#include <errno.h>

#include "dataplane/base/fault.h"

enum { RING_BYTES = 4096 };
static_assert(URING_BUFFERS * sizeof(struct io_uring_buf) <= RING_BYTES, "the ring is a page");

static void add(struct uring_buffers *b, unsigned id, int offset)
{
	io_uring_buf_ring_add(b->ring, b->data + (size_t)id * URING_BUFFER_BYTES,
			      URING_BUFFER_BYTES, (unsigned short)id,
			      io_uring_buf_ring_mask(URING_BUFFERS), offset);
}

int uring_buffers_open(struct uring_buffers *b, struct io_uring *ring)
{
	struct io_uring_buf_reg reg = { .ring_entries = URING_BUFFERS, .bgid = URING_BUFFER_GROUP };
	const uint64_t bytes = RING_BYTES + (uint64_t)URING_BUFFERS * URING_BUFFER_BYTES;
	int rc = memory_region_open(&b->region, bytes, false);

	if (rc < 0)
		return rc;
	reg.ring_addr = (uintptr_t)b->region.base;
	rc = fault_here() ? -ENOMEM : io_uring_register_buf_ring(ring, &reg, 0);
	if (rc < 0) {
		memory_region_close(&b->region);
		return rc;
	}
	b->ring = b->region.base;
	b->data = (uint8_t *)b->region.base + RING_BYTES;
	io_uring_buf_ring_init(b->ring);
	for (unsigned id = 0; id < URING_BUFFERS; id++)
		add(b, id, (int)id);
	io_uring_buf_ring_advance(b->ring, URING_BUFFERS);
	return 0;
}

void uring_buffers_close(struct uring_buffers *b, struct io_uring *ring)
{
	if (!b->ring)
		return;
	io_uring_unregister_buf_ring(ring, URING_BUFFER_GROUP);
	memory_region_close(&b->region);
	b->ring = NULL;
}

void uring_buffers_receive(const struct uring_buffers *b, struct io_uring_sqe *sqe, int fd)
{
	io_uring_prep_recv(sqe, fd, NULL, URING_BUFFER_BYTES, 0);
	sqe->flags |= IOSQE_BUFFER_SELECT;
	sqe->buf_group = URING_BUFFER_GROUP;
}

uint8_t *uring_buffers_get(const struct uring_buffers *b, unsigned flags)
{
	if (!(flags & IORING_CQE_F_BUFFER))
		return NULL;
	return b->data + (size_t)(flags >> IORING_CQE_BUFFER_SHIFT) * URING_BUFFER_BYTES;
}

void uring_buffers_put(struct uring_buffers *b, unsigned flags)
{
	if (!(flags & IORING_CQE_F_BUFFER))
		return;
	add(b, flags >> IORING_CQE_BUFFER_SHIFT, 0);
	io_uring_buf_ring_advance(b->ring, 1);
}
