/* bench_ceiling.c - ceilings, each by the shortest code that reaches it. */
#include "tools/bench_ceiling.h"

#include <errno.h>
#include <liburing.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "dataplane/base/buffer.h"
#include "dataplane/base/clock.h"
#include "dataplane/base/memory.h"
#include "dataplane/gcm.h"
#include "tools/stats.h"

enum { AES_BYTES = 16 << 10, PINGS_MAX = 1 << 18 };
#define COPY_BYTES (256 * MIB)

void ceiling_pin(uint32_t n)
{
	cpu_set_t may, one;
	uint32_t seen = 0;

	if (sched_getaffinity(0, sizeof(may), &may) < 0)
		return;
	n %= (uint32_t)CPU_COUNT(&may);
	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
		if (!CPU_ISSET(cpu, &may) || seen++ != n)
			continue;
		CPU_ZERO(&one);
		CPU_SET(cpu, &one);
		sched_setaffinity(0, sizeof(one), &one);
		return;
	}
}

static uint64_t now(void)
{
	return clock_ns(clock_real());
}

static int measure_memcpy(double *gb_per_s, struct error *e)
{
	struct memory_region m;
	uint64_t best_ns = UINT64_MAX;
	int rc = memory_region_open(&m, COPY_BYTES, false);

	if (rc < 0)
		return error_errno(e, rc, "memory to copy");
	memset(m.base, 1, COPY_BYTES);
	for (int i = 0; i < 5; i++) {
		uint64_t start_ns = now();

		memcpy((uint8_t *)m.base + COPY_BYTES / 2, m.base, COPY_BYTES / 2);
		best_ns = MIN(best_ns, now() - start_ns);
	}
	memory_region_close(&m);
	*gb_per_s = (double)(COPY_BYTES / 2) / (double)best_ns;
	return 0;
}

static int measure_aes(double *gbit_per_s, struct error *e)
{
	static const uint8_t key[GCM_KEY_BYTES], iv[GCM_IV_BYTES];
	static uint8_t in[AES_BYTES], out[AES_BYTES], tag[GCM_TAG_BYTES];
	const struct gcm_ops *ops = gcm_best();
	uint64_t best_ns = UINT64_MAX;
	struct gcm *g;
	int rc = ops->open(&g);

	if (rc == 0)
		rc = ops->set(g, key);
	if (rc < 0)
		return error_errno(e, rc, "a key to measure AES with");
	for (int i = 0; i < 7; i++) {
		uint64_t start_ns = now();

		for (int n = 0; n < 2000; n++)
			ops->encrypt(g, iv, NULL, 0, in, AES_BYTES, out, tag);
		best_ns = MIN(best_ns, now() - start_ns);
	}
	ops->close(g);
	*gbit_per_s = 8.0 * 2000 * AES_BYTES / (double)best_ns;
	return 0;
}

/* One stream over loopback, the ends on cores of their own; null without iperf3. */
static json_t *measure_iperf3(uint64_t run_ns)
{
	char command[256];
	struct buffer text = { 0 };
	json_t *report, *result = NULL;
	char part[4096];
	size_t n;
	FILE *p;

	if (system("command -v iperf3 >/dev/null 2>&1") != 0)
		return json_null();
	snprintf(command, sizeof(command),
		 "iperf3 -s -1 -p 57701 -B 127.0.0.1 -A 1 >/dev/null 2>&1 & sleep 0.3; "
		 "iperf3 -c 127.0.0.1 -p 57701 -C cubic -A 0 -l 1M -t %.1f -J 2>/dev/null",
		 MAX((double)run_ns / NS_PER_S, 1.0));
	p = popen(command, "r");
	if (!p)
		return json_null();
	while ((n = fread(part, 1, sizeof(part), p)) > 0)
		buffer_append(&text, part, n);
	pclose(p);
	report = json_loads(buffer_string(&text), 0, NULL);
	buffer_close(&text);
	if (report)
		result = json_object_get(json_object_get(json_object_get(report, "end"),
							 "sum_received"), "bits_per_second");
	result = result ? json_real(json_number_value(result) / 1e9) : json_null();
	json_decref(report);
	return result;
}

static int tcp_pair(int fds[2])
{
	struct sockaddr_in a = { .sin_family = AF_INET,
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t length = sizeof(a);
	int one = 1, listener = socket(AF_INET, SOCK_STREAM, 0);

	fds[0] = socket(AF_INET, SOCK_STREAM, 0);
	if (listener < 0 || fds[0] < 0 || bind(listener, (struct sockaddr *)&a, length) < 0 ||
	    listen(listener, 1) < 0 || getsockname(listener, (struct sockaddr *)&a, &length) < 0 ||
	    connect(fds[0], (struct sockaddr *)&a, length) < 0 ||
	    (fds[1] = accept(listener, NULL, NULL)) < 0)
		return -errno;
	for (int i = 0; i < 2; i++)
		setsockopt(fds[i], IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	close(listener);
	return 0;
}

/* Whole messages through one ring, busy or asleep until they complete. */
static int move(struct io_uring *ring, int fd, uint8_t *data, size_t bytes, bool send, bool busy)
{
	struct io_uring_cqe *cqe;

	for (size_t at = 0; at < bytes;) {
		struct io_uring_sqe *sqe = io_uring_get_sqe(ring);
		int rc = 0;

		if (send)
			io_uring_prep_send(sqe, fd, data + at, bytes - at, MSG_NOSIGNAL);
		else
			io_uring_prep_recv(sqe, fd, data + at, bytes - at, 0);
		if (busy)
			while (io_uring_submit_and_get_events(ring), io_uring_peek_cqe(ring, &cqe))
				;
		else
			rc = io_uring_submit_and_wait(ring, 1);
		if (rc < 0 || io_uring_peek_cqe(ring, &cqe) < 0 || cqe->res <= 0)
			return -ECONNRESET;
		at += (size_t)cqe->res;
		io_uring_cqe_seen(ring, cqe);
	}
	return 0;
}

static int open_ring(struct io_uring *ring)
{
	struct io_uring_params p = { .flags = IORING_SETUP_SINGLE_ISSUER |
					      IORING_SETUP_DEFER_TASKRUN };

	return io_uring_queue_init_params(8, ring, &p);
}

static void answer_pings(int fd, const struct ceiling_options *o)
{
	uint8_t *data = mem_alloc(o->ping_bytes);
	struct io_uring ring;

	ceiling_pin(1);
	if (open_ring(&ring) == 0)
		while (move(&ring, fd, data, o->ping_bytes, false, o->busy_poll) == 0 &&
		       move(&ring, fd, data, 1, true, o->busy_poll) == 0)
			;
	_exit(0);
}

static uint32_t ask_pings(int fd, const struct ceiling_options *o, double *us)
{
	uint8_t *data = mem_calloc(1, o->ping_bytes);
	uint64_t end_ns = now() + o->run_ns + o->run_ns / 4, start_ns;
	struct io_uring ring;
	uint32_t count = 0;

	if (!data || open_ring(&ring) < 0)
		return 0;
	while ((start_ns = now()) < end_ns && count < PINGS_MAX) {
		if (move(&ring, fd, data, o->ping_bytes, true, o->busy_poll) < 0 ||
		    move(&ring, fd, data, 1, false, o->busy_poll) < 0)
			break;
		if (start_ns >= end_ns - o->run_ns)
			us[count++] = (double)(now() - start_ns) / NS_PER_US;
	}
	io_uring_queue_exit(&ring);
	mem_free(data);
	return count;
}

static int measure_ping(json_t *out, const struct ceiling_options *o, struct error *e)
{
	double *us = mem_calloc(PINGS_MAX, sizeof(*us));
	cpu_set_t before;
	uint32_t count;
	int fds[2] = { -1, -1 }, rc;
	pid_t child;

	if (!us)
		return error_errno(e, -ENOMEM, "pings");
	rc = tcp_pair(fds);
	child = rc == 0 ? fork() : -1;
	if (child == 0) {
		close(fds[0]);          /* or its end would never be seen */
		answer_pings(fds[1], o);
	}
	if (child < 0) {
		mem_free(us);
		return error_errno(e, rc ? rc : -errno, "a bare ping-pong");
	}
	close(fds[1]);
	sched_getaffinity(0, sizeof(before), &before);
	ceiling_pin(0);
	count = ask_pings(fds[0], o, us);
	sched_setaffinity(0, sizeof(before), &before);
	close(fds[0]);
	waitpid(child, NULL, 0);
	stats_sort(us, count);
	json_object_set_new(out, "bare_ping_p50_us", json_real(stats_quantile(us, count, 0.5)));
	json_object_set_new(out, "bare_ping_p99_us", json_real(stats_quantile(us, count, 0.99)));
	mem_free(us);
	return 0;
}

int ceiling_measure(json_t **out, const struct ceiling_options *o, struct error *e)
{
	double copy = 0, aes = 0;
	int rc = measure_memcpy(&copy, e);

	if (rc == 0)
		rc = measure_aes(&aes, e);
	if (rc < 0)
		return rc;
	*out = json_pack("{s:f,s:f,s:s,s:o}", "memcpy_gb_per_s", copy, "aes_gbit_per_s", aes,
			 "aes_by", gcm_best()->name, "iperf3_gbit_per_s",
			 measure_iperf3(o->run_ns));
	return o->ping_bytes ? measure_ping(*out, o, e) : 0;
}
