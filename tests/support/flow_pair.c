/* flow_pair.c - the two processes of flow_pair.h. */
#include "tests/support/flow_pair.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

#include "dataplane/base/memory.h"
#include "dataplane/flow.h"
#include "dataplane/port_impaired.h"
#include "tests/test.h"

enum { LARGE_BYTES = 1 << 20, HELD = 2048 };

enum role { SERVER, CLIENT };

struct side {
	const struct flow_pair *pair;
	enum role role;
	struct port *port;
	struct flows *flows;
	struct flow *flow;
	bool broken;
	enum flow_end why;
	uint32_t arrived, acked, wrong;
	uint8_t *bytes;                 /* what messages are cut from */
};

static uint32_t size_of(uint32_t index)
{
	static const uint32_t sizes[] = { 600, 28672, 0, 65536, 1152, 300000, 1 << 20, 5000 };

	return sizes[index % ARRAY_LENGTH(sizes)];
}

static void on_opened(void *ctx)
{
}

static bool on_land(void *ctx, uint32_t payload_bytes, const uint8_t *header,
		    struct flow_landing *out)
{
	out->payload = mem_aligned(64, payload_bytes + 1);
	return out->payload;
}

static void on_unland(void *ctx, const struct flow_landing *l)
{
	mem_free(l->payload);
}

static int send_one(struct side *s, uint32_t index, uint32_t bytes)
{
	struct wire_header h = { .payload_bytes = le32_of(bytes), .step = le32_of(index) };
	struct flow_message m = {
		.header = (const uint8_t *)&h, .payload = s->bytes + index % 64,
		.payload_bytes = bytes, .key = index % 4,
	};

	return flow_send(s->flow, &m);
}

/* The server sends small ones back. */
static void on_arrived(void *ctx, const uint8_t header[WIRE_HEADER_BYTES],
		       const struct flow_landing *l)
{
	struct side *s = ctx;
	struct wire_header h;
	uint32_t index, bytes;

	memcpy(&h, header, sizeof(h));
	index = le32_get(h.step);
	bytes = le32_get(h.payload_bytes);
	s->wrong += memcmp(l->payload, s->bytes + index % 64, bytes) != 0;
	s->arrived++;
	if (s->role == SERVER && index >= s->pair->messages)
		s->wrong += send_one(s, index, bytes) < 0;
	on_unland(ctx, l);
}

static void on_acked(void *ctx, void *owner)
{
	struct side *s = ctx;

	s->acked++;
}

static void on_broken(void *ctx, enum flow_end why)
{
	struct side *s = ctx;

	s->broken = true;
	s->why = why;
}

static const struct flow_events events = {
	.opened = on_opened, .land = on_land, .unland = on_unland, .arrived = on_arrived,
	.acked = on_acked, .broken = on_broken,
};

static const char *open_side(struct side *s, struct error *e)
{
	struct flow_options o = {
		.to = s->pair->to[s->role], .large_in = { LARGE_BYTES, 4 },
		.large_out = { LARGE_BYTES, 4 },
		.connection_in = 10u + s->role, .connection_out = 11u - s->role,
	};
	struct flows_options fo;
	struct port *inner;
	struct random r;

	random_seed(&r, 5);
	s->bytes = mem_alloc(LARGE_BYTES + 64);
	for (uint32_t i = 0; i < LARGE_BYTES + 64; i++)
		s->bytes[i] = (uint8_t)random_u64(&r);
	if (s->pair->net_fds[s->role] >= 0 && setns(s->pair->net_fds[s->role], CLONE_NEWNET) < 0)
		return "cannot enter the network namespace";
	if (port_dpdk_open(&s->port, &s->pair->ports[s->role], e) < 0)
		return e->text;
	inner = s->port;
	if (s->role == CLIENT && !impair_is_none(&s->pair->bad) &&
	    port_impaired_open(&s->port, inner, &s->pair->bad, clock_real(), HELD) < 0)
		return "no memory for the impairment";
	flows_options_default(&fo);
	fo.give_up_ns = 5 * NS_PER_S;
	if (flows_open(&s->flows, s->port, &fo) < 0)
		return "no memory for flows";
	seal_policy_default(&o.seal);
	memset(o.send_secret, 1 + s->role, SEAL_SECRET_BYTES);
	memset(o.receive_secret, 2 - s->role, SEAL_SECRET_BYTES);
	if (flow_open(&s->flow, s->flows, &o, &events, s, clock_ns(clock_real()), e) < 0)
		return e->text;
	return NULL;
}

/* One turn, and a rest when there is nothing to do. */
static void turn(struct side *s)
{
	uint64_t now_ns = clock_ns(clock_real()), rest_ns, due_ns;
	int descriptor;

	if (flows_poll(s->flows, now_ns, 0) > 0)
		return;
	rest_ns = s->port->ops->rest(s->port, &descriptor);
	due_ns = flows_deadline(s->flows);
	rest_ns = MIN(rest_ns, due_ns - MIN(due_ns, now_ns));
	if (rest_ns > 0)
		nanosleep(&(struct timespec){ .tv_nsec = (long)MIN(rest_ns, NS_PER_S - 1) }, NULL);
}

static const char *work_as_client(struct side *s, uint64_t end_ns)
{
	uint32_t sent = 0, pinged = 0;

	while (clock_ns(clock_real()) < end_ns && !s->broken) {
		while (sent < s->pair->messages && send_one(s, sent, size_of(sent)) == 0)
			sent++;
		if (s->acked >= s->pair->messages && pinged == s->arrived &&
		    pinged < s->pair->pings &&
		    send_one(s, s->pair->messages + pinged, 1152) == 0)
			pinged++;
		if (s->acked == s->pair->messages + s->pair->pings &&
		    s->arrived == s->pair->pings)
			return s->wrong ? "an answer is wrong" : NULL;
		turn(s);
	}
	fprintf(stderr, "client: %u acknowledged, %u answered, %s\n", s->acked, s->arrived,
		s->broken ? flow_end_name(s->why) : "out of time");
	return "not all arrived";
}

static const char *work_as_server(struct side *s, uint64_t end_ns)
{
	while (clock_ns(clock_real()) < end_ns && !s->broken)
		turn(s);
	if (s->wrong)
		return "a message is wrong";
	/* A bad network may lose the goodbye. */
	if (!s->broken ||
	    (s->why != FLOW_CLOSED && (s->why != FLOW_SILENT || impair_is_none(&s->pair->bad))))
		return "the client did not say goodbye";
	return s->arrived == s->pair->messages + s->pair->pings ? NULL : "messages are missing";
}

static void close_side(struct side *s)
{
	flow_close(s->flow);
	flows_close(s->flows);
	port_close(s->port);
	mem_free(s->bytes);
}

/* memif may break a process that polls, or closes, while the other side closes: a thread of its
 * own then takes down what both shared.  So the client says goodbye, waits without polling until
 * the server has closed, and ends as it is.
 */
static int run_client(struct side *s, uint64_t end_ns, int server_gone)
{
	struct error e = { 0 };
	const char *wrong = open_side(s, &e);
	char byte;

	if (!wrong)
		wrong = work_as_client(s, end_ns);
	if (wrong)
		fprintf(stderr, "client: %s\n", wrong);
	flow_close(s->flow);
	s->flow = NULL;
	if (read(server_gone, &byte, 1) < 0)
		wrong = "cannot wait";
	return wrong ? 1 : 0;
}

void flow_pair_run(const struct flow_pair *p)
{
	uint64_t end_ns = clock_ns(clock_real()) + p->limit_ns;
	struct side s = { .pair = p, .role = CLIENT };
	struct error e = { 0 };
	const char *wrong;
	int gone[2], status;
	pid_t server;

	/* Both run in children, since DPDK starts once in a process. */
	CHECK_EQ(pipe(gone), 0);
	fflush(NULL);
	server = fork();
	CHECK(server >= 0);
	if (server == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(gone[0]);
		s.role = SERVER;
		wrong = open_side(&s, &e);
		if (!wrong)
			wrong = work_as_server(&s, end_ns);
		if (wrong)
			fprintf(stderr, "server: %s\n", wrong);
		close_side(&s);
		_exit(wrong ? 1 : 0);
	}
	close(gone[1]);
	if (fork() == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		_exit(run_client(&s, end_ns, gone[0]));
	}
	close(gone[0]);
	for (int i = 0; i < 2; i++) {
		CHECK(wait(&status) > 0);
		CHECK(WIFEXITED(status));
		CHECK_EQ(WEXITSTATUS(status), 0);
	}
}
