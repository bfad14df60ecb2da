/* uring_buffers_test.c - buffers that connections share: taken when bytes come, given back. */
#include "dataplane/uring_buffers.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "dataplane/base/fault.h"
#include "tests/test.h"

struct scene {
	struct io_uring ring;
	struct uring_buffers buffers;
	int fds[2];
};

static void scene_open(struct scene *s)
{
	memset(s, 0, sizeof(*s));
	CHECK_EQ(io_uring_queue_init(64, &s->ring, 0), 0);
	CHECK_EQ(uring_buffers_open(&s->buffers, &s->ring), 0);
	CHECK_EQ(socketpair(AF_UNIX, SOCK_DGRAM, 0, s->fds), 0);
}

static void scene_close(struct scene *s)
{
	uring_buffers_close(&s->buffers, &s->ring);
	io_uring_queue_exit(&s->ring);
	close(s->fds[0]);
	close(s->fds[1]);
}

/* Receives one datagram; its result, and the flags of its completion. */
static int receive(struct scene *s, unsigned *flags)
{
	struct io_uring_cqe *cqe;
	int result;

	uring_buffers_receive(&s->buffers, io_uring_get_sqe(&s->ring), s->fds[0]);
	CHECK_EQ(io_uring_submit_and_wait(&s->ring, 1), 1);
	CHECK_EQ(io_uring_peek_cqe(&s->ring, &cqe), 0);
	result = cqe->res;
	*flags = cqe->flags;
	io_uring_cqe_seen(&s->ring, cqe);
	return result;
}

/* Goal: what arrives is in the buffer that the completion names, again and again. */
TEST(uring_buffers__are_used_again)
{
	struct scene s;
	unsigned flags;

	scene_open(&s);
	for (uint32_t i = 0; i < 5 * URING_BUFFERS; i++) {
		CHECK_EQ(write(s.fds[1], &i, sizeof(i)), sizeof(i));
		CHECK_EQ(receive(&s, &flags), sizeof(i));
		CHECK(uring_buffers_get(&s.buffers, flags) != NULL);
		CHECK_BYTES(uring_buffers_get(&s.buffers, flags), &i, sizeof(i));
		uring_buffers_put(&s.buffers, flags);
	}
	CHECK(uring_buffers_get(&s.buffers, 0) == NULL);
	scene_close(&s);
}

/* Goal: when all are out a receive says so, and works again once one is back. */
TEST(uring_buffers__run_out)
{
	unsigned held[URING_BUFFERS], flags;
	struct scene s;

	scene_open(&s);
	for (int i = 0; i < URING_BUFFERS; i++) {
		CHECK_EQ(write(s.fds[1], "x", 1), 1);
		CHECK_EQ(receive(&s, &held[i]), 1);
		for (int other = 0; other < i; other++)
			CHECK(uring_buffers_get(&s.buffers, held[i]) !=
			      uring_buffers_get(&s.buffers, held[other]));
	}
	CHECK_EQ(write(s.fds[1], "y", 1), 1);
	CHECK_EQ(receive(&s, &flags), -ENOBUFS);
	CHECK(uring_buffers_get(&s.buffers, flags) == NULL);
	uring_buffers_put(&s.buffers, held[3]);
	CHECK_EQ(receive(&s, &flags), 1);
	CHECK_EQ(uring_buffers_get(&s.buffers, flags)[0], 'y');
	scene_close(&s);
}

#ifdef PETALS_FAULTS
/* Goal: a kernel without them, or no memory, leaves nothing behind. */
TEST(uring_buffers__open_unwinds)
{
	struct uring_buffers b = { 0 };
	struct io_uring ring;

	CHECK_EQ(io_uring_queue_init(8, &ring, 0), 0);
	for (int nth = 1;; nth++) {
		int rc;

		fault_arm(nth);
		rc = uring_buffers_open(&b, &ring);
		if (!fault_fired()) {
			CHECK_EQ(rc, 0);
			break;
		}
		CHECK(rc < 0 && b.ring == NULL);
	}
	fault_disarm();
	uring_buffers_close(&b, &ring);
	io_uring_queue_exit(&ring);
}
#endif
