/* bench_load.c - a sender's three phases (warm, measured, tallied) and a receiver's counts. */
#include "tools/bench_load.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include "dataplane/base/memory.h"

enum { STEP_DATA, STEP_TALLY, STEP_PING };
enum { BURST = 16 };                    /* messages per turn */

struct counted {                        /* what a receiver knows of one sender */
	uint32_t peer;
	uint64_t bytes, first_ns, last_ns, cpu_ns;
};

struct load {
	struct load_options options;
	struct transport *transport;
	struct core *core;
	struct address address;
	uint32_t peer;
	bool up, done, waiting;         /* ... for a reply */
	bool blocked;                   /* until there is credit again */
	bool ready;                     /* datagrams carry what is said */
	uint32_t ups;
	enum { WARMING, MEASURING, TALLYING } phase;
	uint64_t began_ns, asked_ns, cpu_ns;
	struct load_tally tally;
	double *pings_us;
	uint32_t pings;
	char failure[ERROR_TEXT_BYTES];
	struct counted counted[LOAD_SENDERS_MAX];
	uint32_t senders;
};

static uint64_t now(const struct load *l)
{
	return clock_ns(l->options.transport.clock);
}

static uint64_t cpu_now(void)
{
	struct rusage u;

	getrusage(RUSAGE_SELF, &u);
	return (uint64_t)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) * NS_PER_S +
	       (uint64_t)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) * NS_PER_US;
}

static void end(struct load *l)
{
	l->done = true;
	core_stop(l->core);
}

static void on_up(void *ctx, const struct peer_info *info)
{
	struct load *l = ctx;

	l->up = ++l->ups >= MAX(l->options.connects, 1u);
	l->began_ns = now(l);
}

static void on_lost(void *ctx, uint32_t peer, int code, const char *reason)
{
	struct load *l = ctx;

	if (!l->options.to || l->done)
		return;
	snprintf(l->failure, sizeof(l->failure), "%s", reason);
	end(l);
}

static void on_writable(void *ctx, uint32_t peer)
{
	((struct load *)ctx)->blocked = false;
}

/* NULL: there are more than a bench starts. */
static struct counted *find_sender(struct load *l, uint32_t peer)
{
	for (uint32_t i = 0; i < l->senders; i++)
		if (l->counted[i].peer == peer)
			return &l->counted[i];
	if (l->senders == LOAD_SENDERS_MAX)
		return NULL;
	l->counted[l->senders] = (struct counted){ .peer = peer };
	return &l->counted[l->senders++];
}

static void reply(struct load *l, uint32_t peer, const void *data, uint32_t bytes)
{
	struct message *m;

	if (transport_reserve(l->transport, peer, bytes, &m) < 0)
		return;                 /* the sender would wait, and say so */
	memcpy(m->payload, data, bytes);
	m->frame.type = WIRE_REPLY;
	transport_send(l->transport, m);
}

static void count(struct load *l, const struct message *m)
{
	struct counted *c = find_sender(l, m->peer);
	struct load_tally t;

	if (!c)
		return;
	if (m->frame.step == STEP_PING) {
		reply(l, m->peer, "", 1);
		return;
	}
	if (m->frame.step == STEP_DATA) {
		if (c->first_ns == 0) {
			c->first_ns = m->arrived_ns;
			c->cpu_ns = cpu_now();
		} else {
			c->bytes += m->frame.payload_bytes;
		}
		c->last_ns = m->arrived_ns;
		return;
	}
	t = (struct load_tally){ le64_of(c->bytes), le64_of(c->last_ns - c->first_ns),
				 le64_of(cpu_now() - c->cpu_ns) };
	reply(l, m->peer, &t, sizeof(t));
	*c = (struct counted){ .peer = m->peer, .cpu_ns = cpu_now() };
}

static void take_reply(struct load *l, const struct message *m)
{
	l->waiting = false;
	if (l->options.pattern == LOAD_PING) {
		if (l->phase == MEASURING && l->pings < LOAD_PINGS_MAX)
			l->pings_us[l->pings++] = (double)(now(l) - l->asked_ns) / NS_PER_US;
		return;
	}
	if (m->frame.payload_bytes != sizeof(l->tally))
		return;
	memcpy(&l->tally, m->payload, sizeof(l->tally));
	if (l->phase == TALLYING) {
		l->cpu_ns = cpu_now() - l->cpu_ns;
		end(l);
	} else {
		l->phase = MEASURING;
		l->began_ns = now(l);
		l->cpu_ns = cpu_now();
	}
}

static void on_received(void *ctx, struct message *m)
{
	struct load *l = ctx;

	if (l->options.to)
		take_reply(l, m);
	else
		count(l, m);
	message_put(l->transport, m);
}

static bool say(struct load *l, uint32_t step, uint32_t bytes)
{
	struct message *m;

	if (transport_reserve(l->transport, l->peer, bytes, &m) < 0) {
		l->blocked = true;
		return false;
	}
	m->frame.type = WIRE_CALL;
	m->frame.step = step;
	transport_send(l->transport, m);
	l->waiting = step != STEP_DATA;
	l->asked_ns = now(l);
	return true;
}

static int push_stream(struct load *l)
{
	uint64_t length_ns = l->phase == WARMING ? l->options.warm_ns : l->options.run_ns;
	int said = 0;

	while (!l->blocked && said < BURST) {
		if (now(l) - l->began_ns >= length_ns) {
			if (say(l, STEP_TALLY, 0) && l->phase == MEASURING)
				l->phase = TALLYING;
			return said;
		}
		said += say(l, STEP_DATA, l->options.bytes);
	}
	return said;
}

static int push_ping(struct load *l)
{
	uint64_t length_ns = l->options.warm_ns + l->options.run_ns;

	if (now(l) - l->began_ns >= l->options.warm_ns && l->phase == WARMING) {
		l->phase = MEASURING;
		l->cpu_ns = cpu_now();
	}
	if (now(l) - l->began_ns >= length_ns) {
		l->cpu_ns = cpu_now() - l->cpu_ns;
		end(l);
		return 1;
	}
	return say(l, STEP_PING, l->options.bytes);
}

/* The receiver is asked at both ends of the wait, for the time it spent. */
static int stay_idle(struct load *l)
{
	if (l->phase == WARMING)
		return say(l, STEP_TALLY, 0);
	if (now(l) - l->began_ns < l->options.run_ns)
		return 0;
	l->phase = TALLYING;
	return say(l, STEP_TALLY, 0);
}

static bool may_push(const struct load *l)
{
	return l->options.to && l->up && !l->done && !l->waiting && !l->blocked;
}

/* With a port, what is measured goes by datagrams. */
static bool on_its_way(struct load *l)
{
	if (l->ready || !l->options.transport.port)
		return true;
	l->ready = transport_by_datagrams(l->transport, l->peer);
	l->began_ns = now(l);
	return l->ready;
}

static int push(void *ctx, uint64_t now_ns)
{
	struct load *l = ctx;

	if (!may_push(l) || !on_its_way(l))
		return 0;
	switch (l->options.pattern) {
	case LOAD_PING:
		return push_ping(l);
	case LOAD_IDLE:
		return stay_idle(l);
	default:
		return push_stream(l);
	}
}

static uint64_t deadline(void *ctx)
{
	const struct load *l = ctx;

	if (!may_push(l))
		return UINT64_MAX;
	return l->options.pattern == LOAD_IDLE && l->phase == MEASURING ?
		       l->began_ns + l->options.run_ns : 0;
}

static int open_transport(struct load *l, struct error *e)
{
	static const struct transport_events events = { on_up, on_lost, on_received, on_writable };
	const struct load_options *o = &l->options;
	struct address any;
	int rc = transport_open(&l->transport, &o->transport, &events, l, e);

	if (rc == 0)
		rc = core_open(&l->core, l->transport, o->transport.clock);
	if (rc < 0)
		return rc;
	core_add(l->core, &(struct poller){ "load", l, push, deadline });
	for (uint32_t i = 0; o->to && rc == 0 && i < MAX(o->connects, 1u); i++)
		rc = transport_connect(l->transport, o->to, &l->peer, e);
	if (o->to)
		return rc;
	rc = address_parse(&any, o->transport.network ? "sim:0" : "127.0.0.1:0", e);
	return rc < 0 ? rc : transport_listen(l->transport, &any, &l->address, e);
}

int load_open(struct load **out, const struct load_options *o, struct error *e)
{
	struct load *l = mem_calloc(1, sizeof(*l));
	int rc;

	*out = NULL;
	if (!l)
		return error_errno(e, -ENOMEM, "a load");
	l->options = *o;
	l->pings_us = mem_calloc(LOAD_PINGS_MAX, sizeof(*l->pings_us));
	rc = l->pings_us ? open_transport(l, e) : error_errno(e, -ENOMEM, "a load");
	if (rc < 0) {
		load_close(l);
		return rc;
	}
	*out = l;
	return 0;
}

void load_close(struct load *l)
{
	core_close(l->core);
	transport_close(l->transport);
	mem_free(l->pings_us);
	mem_free(l);
}

struct core *load_core(struct load *l)
{
	return l->core;
}

struct transport *load_transport(struct load *l)
{
	return l->transport;
}

const struct address *load_address(const struct load *l)
{
	return &l->address;
}

bool load_is_done(const struct load *l)
{
	return l->done;
}

const char *load_failure(const struct load *l)
{
	return l->failure[0] ? l->failure : NULL;
}

const struct load_tally *load_tally(const struct load *l)
{
	return &l->tally;
}

uint64_t load_cpu_ns(const struct load *l)
{
	return l->cpu_ns;
}

uint64_t load_run_ns(const struct load *l)
{
	return l->options.run_ns;
}

double *load_pings_us(struct load *l, uint32_t *count_out)
{
	*count_out = l->pings;
	return l->pings_us;
}
