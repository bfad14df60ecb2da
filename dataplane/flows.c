/* flows.c - every flow of a port: bursts in and out, whose packet is whose, whose
 * turn it is, and what is counted.
 */
#include "dataplane/flow_state.h"

#include <errno.h>

#include "dataplane/base/memory.h"

enum {
	BURSTS_MAX = 4,                 /* received in a turn */
	PUBLISH_NS = 1000000,
	GAP_NOTICED_NS = 50000,         /* a shorter one spoils no round trip */
	GRANT_CHECK_NS = 10000000,      /* senders may have gone quiet */
};

/* The first five and PATH_RTT are every datagram engine's; the rest is of flows. */
static const struct counter_row rows[FLOW_COUNTERS] = {
	[SENT_DATAGRAMS] = { COUNTER, "petals_transport_sent_datagrams_total",
		"Datagrams handed to the network.", "type" },
	[RECEIVED_DATAGRAMS] = { COUNTER, "petals_transport_received_datagrams_total",
		"Datagrams that arrived and verified.", "type" },
	[REFUSED_DATAGRAMS] = { COUNTER, "petals_transport_refused_datagrams_total",
		"Datagrams that were dropped, by what was wrong with them.", "fault" },
	[SENT_DATAGRAM_BYTES] = { COUNTER, "petals_transport_sent_datagram_bytes_total",
		"Bytes of datagrams handed to the network.", NULL },
	[RECEIVED_DATAGRAM_BYTES] = { COUNTER, "petals_transport_received_datagram_bytes_total",
		"Bytes of datagrams that arrived and verified.", NULL },
	[AGAIN] = { COUNTER, "petals_transport_lost_datagrams_total",
		"Datagrams taken for lost and sent again, by how that was noticed.", "cause" },
	[SPURIOUS] = { COUNTER, "petals_transport_spurious_losses_total",
		"Datagrams taken for lost that had arrived.", NULL },
	[TIMEOUTS] = { COUNTER, "petals_transport_timeouts_total",
		"Times in which nothing was acknowledged for a whole timeout.", NULL },
	[MESSAGES_SENT] = { COUNTER, "petals_transport_flow_sent_messages_total",
		"Messages given to flows.", NULL },
	[MESSAGES_DONE] = { COUNTER, "petals_transport_flow_done_messages_total",
		"Messages that the other side handed on.", NULL },
	[MESSAGES_ARRIVED] = { COUNTER, "petals_transport_flow_received_messages_total",
		"Whole messages that flows handed on.", NULL },
	[GRANTED] = { COUNTER, "petals_transport_granted_segments_total",
		"Segments of large messages that senders were granted.", NULL },
	[DROPPED] = { COUNTER, "petals_transport_dropped_datagrams_total",
		"Datagrams that the port dropped: no room, no neighbour, not ours.", "direction" },
	[REKEYS] = { COUNTER, "petals_transport_rekeys_total",
		"Keys that were replaced.", NULL },
	[ENDS] = { COUNTER, "petals_transport_flow_ends_total",
		"Flows that broke, by why.", "cause" },
	[FLOWS] = { GAUGE, "petals_transport_flows", "Flows whose path is open.", NULL },
	[PATH_RTT] = { HISTOGRAM, "petals_transport_path_rtt_seconds",
		"Round trips of datagrams, less the time the other side held them.", NULL,
		seconds_buckets },
};

static const char *const drop_names[DROPS] = {
	[DROP_SENDING] = "sending", [DROP_RECEIVING] = "receiving",
};

static const char *const again_names[AGAIN_CAUSES] = {
	[AGAIN_ORDER] = "order", [AGAIN_TAIL] = "tail", [AGAIN_TIMEOUT] = "timeout",
};

void flows_options_default(struct flows_options *o)
{
	*o = (struct flows_options){
		.flows_max = 64, .grant_bytes = 1 << 20, .target_ns = 50 * NS_PER_US,
		.rto_least_ns = 5 * NS_PER_MS, .give_up_ns = NS_PER_S, .keepalive_ns = NS_PER_S,
		.lossy = 0.4, .window_most = 1024,
	};
}

static void name_series(struct flows *fs)
{
	for (uint32_t i = 0; i < PACKET_TYPES; i++)
		for (uint32_t row = SENT_DATAGRAMS; row <= RECEIVED_DATAGRAMS; row++)
			fs->type_series[row][i] = counters_series(fs->counters, row,
								  packet_type_name(i));
	for (uint32_t i = 0; i < PACKET_FAULT_COUNT; i++)
		fs->fault_series[i] = counters_series(fs->counters, REFUSED_DATAGRAMS,
						      packet_fault_name((enum packet_fault)i));
	for (uint32_t i = 0; i < AGAIN_CAUSES; i++)
		fs->again_series[i] = counters_series(fs->counters, AGAIN, again_names[i]);
	for (uint32_t i = 0; i < DROPS; i++)
		fs->drop_series[i] = counters_series(fs->counters, DROPPED, drop_names[i]);
	for (uint32_t i = 0; i < FLOW_ENDS; i++)
		fs->end_series[i] = counters_series(fs->counters, ENDS,
						    flow_end_name((enum flow_end)i));
}

int flows_open(struct flows **out, struct port *port, const struct flows_options *o)
{
	struct flows *fs = mem_calloc(1, sizeof(*fs));

	*out = NULL;
	if (!fs)
		return -ENOMEM;
	fs->options = *o;
	fs->options.window_most = MIN(o->window_most, (uint32_t)SENT_PACKETS / 2);
	fs->port = port;
	fs->due_ns = UINT64_MAX;
	fs->flows = mem_calloc(o->flows_max, sizeof(*fs->flows));
	if (!fs->flows || map_open(&fs->by_connection, o->flows_max) < 0 ||
	    counters_open(&fs->counters, rows, FLOW_COUNTERS) < 0) {
		flows_close(fs);
		return -ENOMEM;
	}
	name_series(fs);
	*out = fs;
	return 0;
}

void flows_close(struct flows *fs)
{
	if (!fs)
		return;
	assert(fs->count == 0);
	map_close(fs->by_connection);
	counters_close(fs->counters);
	mem_free(fs->flows);
	mem_free(fs);
}

struct counters *flows_counters(struct flows *fs)
{
	return fs->counters;
}

static void add(struct flows *fs, enum flow_counter row, uint32_t series, uint64_t n)
{
	if (n > 0)
		counters_add(fs->counters, row, series, n);
}

/* Counters are atomic, so they are told the sum of a while. */
static void publish(struct flows *fs)
{
	const struct tally *t = &fs->tally;
	const uint64_t dropped[DROPS] = {
		[DROP_SENDING] = fs->port->statistics.dropped_sending,
		[DROP_RECEIVING] = fs->port->statistics.dropped_receiving,
	};

	fs->published_ns = fs->now_ns;
	for (uint32_t i = 0; i < PACKET_TYPES; i++) {
		add(fs, SENT_DATAGRAMS, fs->type_series[SENT_DATAGRAMS][i], t->sent[i]);
		add(fs, RECEIVED_DATAGRAMS, fs->type_series[RECEIVED_DATAGRAMS][i],
		    t->received[i]);
	}
	for (uint32_t i = 0; i < PACKET_FAULT_COUNT; i++)
		add(fs, REFUSED_DATAGRAMS, fs->fault_series[i], t->refused[i]);
	for (uint32_t i = 0; i < AGAIN_CAUSES; i++)
		add(fs, AGAIN, fs->again_series[i], t->again[i]);
	add(fs, SENT_DATAGRAM_BYTES, 0, t->sent_bytes);
	add(fs, RECEIVED_DATAGRAM_BYTES, 0, t->received_bytes);
	add(fs, SPURIOUS, 0, t->spurious);
	add(fs, TIMEOUTS, 0, t->timeouts);
	add(fs, MESSAGES_SENT, 0, t->messages_sent);
	add(fs, MESSAGES_DONE, 0, t->messages_done);
	add(fs, MESSAGES_ARRIVED, 0, t->messages_arrived);
	add(fs, GRANTED, 0, t->granted);
	for (uint32_t i = 0; i < DROPS; i++) {
		add(fs, DROPPED, fs->drop_series[i], dropped[i] - fs->dropped[i]);
		fs->dropped[i] = dropped[i];
	}
	counters_set(fs->counters, FLOWS, 0, fs->open);
	fs->tally = (struct tally){ 0 };
}

void flows_flush(struct flows *fs)
{
	if (fs->burst_count > 0)
		fs->port->ops->send(fs->port, fs->burst, fs->burst_count);
	fs->burst_count = 0;
}

static void take(struct flows *fs, struct port_datagram *d)
{
	enum packet_fault fault;
	struct packet p;
	struct flow *f;

	fault = packet_decode(d->bytes, d->length, &p);
	if (fault != PACKET_FAULT_NONE) {
		fs->tally.refused[fault]++;
		return;
	}
	f = map_get(fs->by_connection, p.connection);
	if (f && flow_lives(f))
		flow_receive(f, &p, d);
	else
		fs->tally.refused[PACKET_FAULT_CONNECTION]++;
}

static void receive(struct flows *fs)
{
	struct port_datagram burst[PORT_BURST];
	uint32_t count = PORT_BURST;
	bool drained = false;

	for (int i = 0; i < BURSTS_MAX && count == PORT_BURST; i++) {
		count = fs->port->ops->receive(fs->port, burst, PORT_BURST);
		for (uint32_t k = 0; k < count; k++)
			take(fs, &burst[k]);
		drained = drained || count < PORT_BURST;
		if (count > 0)
			fs->port->ops->release(fs->port, burst, count);
		fs->work += (int)count;
	}
	if (drained)
		fs->drained_ns = fs->now_ns;
}

static void turn(struct flow *f)
{
	flow_timers(f);
	flow_probe(f);
	if (flow_lives(f) && flow_ack_due(f))
		flow_ack(f);
	flow_transmit(f);
}

/* Attentive time never runs backwards: a gap that was not known yet at an earlier turn is made
 * up for by standing still.
 */
static void set_time(struct flows *fs, uint64_t now_ns, uint64_t gap_ns)
{
	bool gap = gap_ns - fs->gap_told_ns >= GAP_NOTICED_NS;
	uint64_t past_att = attentive(fs);

	fs->now_ns = MAX(fs->now_ns, now_ns);
	fs->gap_told_ns = gap_ns;
	fs->gap_ns = MIN(gap_ns, fs->now_ns - past_att);
	if (gap)
		fs->gap_seen_att = attentive(fs);
}

int flows_poll(struct flows *fs, uint64_t now_ns, uint64_t gap_ns)
{
	set_time(fs, now_ns, gap_ns);
	fs->work = 0;
	fs->due_ns = UINT64_MAX;
	fs->in_event = true;
	receive(fs);
	if (grants_are_due(fs))
		grants_run(fs);
	for (uint32_t i = 0; i < fs->count; i++) {
		struct flow *f = fs->flows[(fs->turn + i) % fs->count];

		if (flow_lives(f))
			turn(f);
	}
	fs->turn++;
	fs->in_event = false;
	flows_flush(fs);
	if (fs->work == 0 || fs->now_ns - fs->published_ns >= PUBLISH_NS)
		publish(fs);
	return fs->work;
}

static uint64_t flow_due_ns(const struct flow *f)
{
	const struct flows *fs = f->set;
	uint64_t att = MIN(flow_timer_att(f), flow_probe_due(f));
	uint64_t ns = att == UINT64_MAX ? UINT64_MAX : att + fs->gap_ns;

	if (f->unacked > 0)
		ns = MIN(ns, f->ack_now ? 0 : f->ack_first_ns + ACK_DELAY_NS);
	return MIN(ns, flow_transmit_due(f));
}

uint64_t flows_deadline(const struct flows *fs)
{
	uint64_t due_ns = fs->due_ns;

	for (uint32_t i = 0; i < fs->count; i++)
		if (flow_lives(fs->flows[i]))
			due_ns = MIN(due_ns, flow_due_ns(fs->flows[i]));
	/* Without room in the port there is no hurry. */
	if (fs->due_ns != UINT64_MAX)
		due_ns = MAX(due_ns, fs->due_ns);
	if (fs->granting)
		due_ns = MIN(due_ns, fs->now_ns + GRANT_CHECK_NS);
	return due_ns;
}
