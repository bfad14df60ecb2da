/* flow_fuzz.c - a hostile other side against a flow: one that has no keys sends raw
 * datagrams, one that has them seals whatever the input says.
 *
 * The input is a script.  What our side sends must unseal under its keys and decode
 * by our own rules; places that were lent must come back; no message that arrived may
 * be longer than its place.
 */
#include <stdlib.h>
#include <string.h>

#include "dataplane/base/log.h"
#include "dataplane/base/memory.h"
#include "dataplane/flow.h"
#include "dataplane/packet.h"
#include "dataplane/replay.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t fuzz_seed(unsigned index, uint8_t *out, size_t capacity);

enum { MTU = 1472, PLACES = 24, OURS = 0x0102, THEIRS = 0x0304, SENDS_MAX = 64,
       PAYLOAD_MAX = 200000 };

enum step {
	STEP_FORGE, STEP_RAW, STEP_TIME, STEP_SEND, STEP_ACK, STEP_WHOLE, STEP_GAP, STEP_STOP,
	STEP_BEGIN, STEP_PIECE, STEP_REPEAT, STEPS
};

enum { ROW = 2, SIZE = 1408, OPEN_MESSAGES = 4 };

/* A message that the attacker is in the middle of. */
struct open_message { uint32_t id, payload_bytes, back; };

/* The attacker, and the port between. */
struct stage {
	struct port port;
	struct flows *flows;
	struct flow *flow;
	struct seal *out, *in;
	struct replay seen;                     /* of what our side sent */
	struct packet_state ack;
	struct port_datagram sent;
	uint8_t tx[MTU + 64], rx[MTU + 64];
	uint32_t rx_bytes;                      /* 0: nothing waits */
	uint8_t last[MTU + 64];                 /* what was sealed last */
	uint32_t last_bytes;
	struct open_message open[OPEN_MESSAGES];
	uint32_t places, sends, next_message;
	uint64_t now_ns, gap_ns;
	const uint8_t *script;
	size_t left;
	bool over, broken;
};

static struct stage stage;
static uint8_t payload[PAYLOAD_MAX];

static uint8_t take(void)
{
	if (stage.left == 0)
		return 0;
	stage.left--;
	return *stage.script++;
}

static uint32_t take16(void)
{
	uint32_t low = take();

	return low | (uint32_t)take() << 8;
}

/* ---- the port ---- */

static int port_path(struct port *p, const struct address *to, uint32_t *path, struct error *e)
{
	*path = 0;
	return 0;
}

static void port_forget(struct port *p, uint32_t path)
{
}

static uint32_t port_mtu(struct port *p, uint32_t path)
{
	return MTU;
}

static bool port_lend(struct port *p, uint32_t path, uint32_t bytes, struct port_datagram *out)
{
	uint8_t *memory = mem_alloc(bytes);

	if (!memory || bytes > MTU)
		abort();
	*out = (struct port_datagram){ .bytes = memory, .length = bytes, .owner = memory };
	return true;
}

/* What our side says must make sense to an honest peer. */
static void check_sent(const struct port_datagram *d)
{
	struct packet_state s;
	struct packet p;

	if (packet_decode(d->bytes, d->length, &p) != PACKET_FAULT_NONE ||
	    p.connection != THEIRS || replay_seen(&stage.seen, p.number))
		abort();
	if (!seal_decrypt(stage.in, &(struct seal_ticket){ p.number, p.flags & PACKET_PHASE },
			  d->bytes, d->bytes + PACKET_HEADER_BYTES, p.payload_bytes, stage.tx,
			  d->bytes + PACKET_HEADER_BYTES + p.payload_bytes, stage.now_ns))
		abort();
	replay_mark(&stage.seen, p.number);
	if (p.type == PACKET_ACK &&
	    packet_ack_decode(stage.tx, p.payload_bytes, &s) != PACKET_FAULT_NONE)
		abort();
}

static void port_send(struct port *p, struct port_datagram *burst, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		check_sent(&burst[i]);
		mem_free(burst[i].owner);
	}
}

static uint32_t port_receive(struct port *p, struct port_datagram *burst, uint32_t most)
{
	if (stage.rx_bytes == 0)
		return 0;
	burst[0] = (struct port_datagram){ .bytes = mem_alloc(stage.rx_bytes),
					   .length = stage.rx_bytes };
	if (!burst[0].bytes)
		abort();
	memcpy(burst[0].bytes, stage.rx, stage.rx_bytes);
	stage.rx_bytes = 0;
	return 1;
}

static void port_release(struct port *p, struct port_datagram *burst, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		mem_free(burst[i].bytes);
}

static uint64_t port_rest(struct port *p, int *descriptor)
{
	*descriptor = -1;
	return 0;
}

static void close_port(struct port *p)
{
}

static const struct port_ops port_ops = {
	.name = "fuzz", .close = close_port, .path = port_path, .forget = port_forget,
	.mtu_bytes = port_mtu, .lend = port_lend, .send = port_send, .receive = port_receive,
	.release = port_release, .rest = port_rest,
};

/* ---- our side's user ---- */

static void on_opened(void *ctx)
{
}

static bool on_land(void *ctx, uint32_t payload_bytes, const uint8_t *header,
		    struct flow_landing *out)
{
	if (stage.places == PLACES)
		return false;
	out->payload = mem_alloc(payload_bytes);
	if (!out->payload)
		abort();
	stage.places++;
	return true;
}

static void on_unland(void *ctx, const struct flow_landing *l)
{
	stage.places--;
	mem_free(l->payload);
}

static void on_arrived(void *ctx, const uint8_t header[WIRE_HEADER_BYTES],
		       const struct flow_landing *l)
{
	uint32_t bytes;
	uint8_t sum = 0;

	memcpy(&bytes, header + offsetof(struct wire_header, payload_bytes), sizeof(bytes));
	for (uint32_t i = 0; i < bytes; i++)    /* all of it can be read */
		sum ^= l->payload[i];
	stage.tx[0] ^= sum;
	on_unland(ctx, l);
}

static void on_acked(void *ctx, void *owner)
{
	if (stage.sends == 0)
		abort();
	stage.sends--;
}

static void on_broken(void *ctx, enum flow_end why)
{
	stage.broken = true;
}

static const struct flow_events events = {
	.opened = on_opened, .land = on_land, .unland = on_unland, .arrived = on_arrived,
	.acked = on_acked, .broken = on_broken,
};

/* ---- the attacker ---- */

static void poll(void)
{
	flows_poll(stage.flows, stage.now_ns, stage.gap_ns);
	/* Whatever comes, the path is looked after within a while. */
	if (flows_deadline(stage.flows) > stage.now_ns + 60 * NS_PER_S && !stage.broken)
		abort();
}

static void forge(struct packet *p, const void *body)
{
	struct seal_ticket ticket;

	if (seal_reserve(stage.out, p->payload_bytes, stage.now_ns, &ticket) < 0)
		abort();
	p->connection = OURS;
	p->number = ticket.number;
	p->flags = (uint8_t)((p->flags & ~PACKET_PHASE) | (ticket.phase ? PACKET_PHASE : 0));
	packet_encode(p, stage.rx);
	seal_encrypt(stage.out, &ticket, stage.rx, body, p->payload_bytes,
		     stage.rx + PACKET_HEADER_BYTES,
		     stage.rx + PACKET_HEADER_BYTES + p->payload_bytes);
	stage.rx_bytes = p->payload_bytes + (uint32_t)PACKET_EXTRA_BYTES;
	memcpy(stage.last, stage.rx, stage.rx_bytes);
	stage.last_bytes = stage.rx_bytes;
	poll();
}

static uint32_t segments_of(const struct open_message *m)
{
	return (m->payload_bytes + WIRE_HEADER_BYTES + SIZE - 1) / SIZE;
}

/* A message of several segments; a large one is asked for. */
static void step_begin(void)
{
	struct open_message *m = &stage.open[take() % OPEN_MESSAGES];
	struct packet_rts rts = { 0 };
	struct packet p = { .type = PACKET_RTS, .flags = ROW << PACKET_SIZE_SHIFT,
			    .payload_bytes = sizeof(rts) };

	m->id = stage.next_message++;
	m->payload_bytes = take16() * (1 + take() % 3) % PAYLOAD_MAX;
	m->back = take() % 3;
	if (m->payload_bytes <= WIRE_SMALL_BYTES)
		return;
	rts.payload_bytes = le32_of(m->payload_bytes);
	p.message = m->id;
	p.segments = segments_of(m);
	p.back = m->back;
	forge(&p, &rts);
}

/* One of its segments, mostly as it should be. */
static void send_piece(const struct open_message *m, uint32_t segment, uint8_t wrong)
{
	struct wire_header h = { .payload_bytes = le32_of(m->payload_bytes) };
	uint8_t body[MTU] = { 0 };
	struct packet p = { .type = PACKET_DATA, .message = m->id, .back = m->back,
			    .segment = segment, .segments = segments_of(m) };
	bool last = segment + 1 == p.segments;

	p.payload_bytes = (uint16_t)(last ? m->payload_bytes + WIRE_HEADER_BYTES -
					    p.segment * SIZE : SIZE);
	p.flags = (uint8_t)(ROW << PACKET_SIZE_SHIFT | (last ? PACKET_LAST : 0) |
			    (m->payload_bytes <= WIRE_SMALL_BYTES ? PACKET_EAGER : 0));
	p.back += wrong == 255;
	p.segments += wrong == 254;
	p.flags ^= wrong == 253 ? PACKET_EAGER : 0;
	h.payload_bytes.raw += wrong == 252;
	if (p.segment == 0)
		memcpy(body, &h, sizeof(h));
	forge(&p, body);
}

static void step_piece(void)
{
	const struct open_message *m = &stage.open[take() % OPEN_MESSAGES];
	uint8_t wrong = take();

	if (wrong != 251)
		send_piece(m, take() % segments_of(m), wrong);
	for (uint32_t i = 0; wrong == 251 && i < segments_of(m); i++)
		send_piece(m, i, 0);
}

static void step_repeat(bool spoilt)
{
	memcpy(stage.rx, stage.last, stage.last_bytes);
	stage.rx_bytes = stage.last_bytes;
	if (spoilt && stage.rx_bytes > 0)
		stage.rx[take16() % stage.rx_bytes] ^= (uint8_t)(1 << take() % 8);
	poll();
}

static void step_forge(void)
{
	uint8_t body[MTU] = { 0 }, kind = take();
	struct packet p = { .type = kind % PACKET_TYPES, .flags = take(), .message = take(),
			    .segment = take(), .segments = take(), .back = take() % 8 };

	p.payload_bytes = (uint16_t)(take16() % (MTU - PACKET_EXTRA_BYTES + 1));
	for (uint32_t i = 0; i < (kind & 64 ? 64u : 24u); i++)
		body[i] = take();
	if (kind & 128 && p.type == PACKET_DATA)        /* so that more checks are reached */
		p.payload_bytes = packet_segment_bytes[p.flags >> PACKET_SIZE_SHIFT] % 1409;
	forge(&p, body);
}

static void step_raw(void)
{
	stage.rx_bytes = take() % 120;
	for (uint32_t i = 0; i < stage.rx_bytes; i++)
		stage.rx[i] = take();
	poll();
}

static void step_ack(void)
{
	uint8_t body[PACKET_ACK_BYTES_MAX];
	struct packet p = { .type = PACKET_ACK };
	struct packet_state s = { .largest = stage.seen.end - 1, .hold_us = take() };

	if (stage.seen.end == 0)
		return;
	for (; s.ack_words < 4 && s.ack_words <= s.largest / 64; s.ack_words++)
		s.ack[s.ack_words] = replay_word(&stage.seen, s.largest / 64 - s.ack_words);
	if (take() % 2)                         /* some of them only */
		s.ack[0] &= take16() * 0x1000100010001ull | 1ull << s.largest % 64;
	s.done = stage.ack.done += take() % 4;
	s.messages[0] = take() & 0xf0;
	s.done_words = s.messages[0] != 0;
	p.payload_bytes = (uint16_t)packet_ack_encode(&s, body);
	forge(&p, body);
}

/* An honest message of one segment. */
static void step_whole(void)
{
	struct wire_header h = { .payload_bytes = le32_of(take()) };
	uint8_t body[WIRE_HEADER_BYTES + 256] = { 0 };
	struct packet p = {
		.type = PACKET_DATA, .flags = PACKET_LAST | PACKET_EAGER | PACKET_ACK_NOW,
		.message = stage.next_message++, .segments = 1, .back = take() % 3,
		.payload_bytes = (uint16_t)(WIRE_HEADER_BYTES + le32_get(h.payload_bytes)),
	};

	memcpy(body, &h, sizeof(h));
	forge(&p, body);
}

static void step_send(void)
{
	static const uint8_t header[WIRE_HEADER_BYTES];
	struct flow_message m = { .header = header, .payload = payload, .key = take() % 4,
				  .class = take() % 2 };

	m.payload_bytes = take16() * (take() % 4);
	if (stage.sends < SENDS_MAX && m.payload_bytes <= PAYLOAD_MAX &&
	    flow_send(stage.flow, &m) == 0)
		stage.sends++;
	poll();
}

static void on_unsent(void *ctx, void *owner)
{
	on_acked(ctx, owner);
}

static void step_stop(void)
{
	struct wire_completed theirs = { .done = le32_of(take()) };

	flow_stop(stage.flow);
	theirs.later[0].raw = take16();
	if (stage.places != 0)
		abort();
	if (flow_settle(stage.flow, &theirs, on_unsent) == 0 && stage.sends != 0)
		abort();
	stage.over = true;
}

static void step(void)
{
	switch (take() % STEPS) {
	case STEP_FORGE:
		step_forge();
		break;
	case STEP_RAW:
		step_raw();
		break;
	case STEP_TIME:
		stage.now_ns += take16() * 10 * NS_PER_US;
		poll();
		break;
	case STEP_SEND:
		step_send();
		break;
	case STEP_ACK:
		step_ack();
		break;
	case STEP_WHOLE:
		step_whole();
		break;
	case STEP_GAP:
		stage.gap_ns += 1000000;
		stage.now_ns += 1000000;
		poll();
		break;
	case STEP_STOP:
		step_stop();
		break;
	case STEP_BEGIN:
		step_begin();
		break;
	case STEP_PIECE:
		step_piece();
		break;
	case STEP_REPEAT:
		step_repeat(take() % 2);
		break;
	}
}

static void open_stage(void)
{
	struct flows_options o;
	struct flow_options mine = { .to = { "fuzz" }, .connection_in = OURS,
				     .connection_out = THEIRS, .large_in = { PAYLOAD_MAX, 2 },
				     .large_out = { PAYLOAD_MAX, 2 } };
	struct seal_policy policy;

	memset(&stage, 0, sizeof(stage));
	stage.port.ops = &port_ops;
	stage.now_ns = NS_PER_S;
	flows_options_default(&o);
	o.flows_max = 2;
	seal_policy_default(&policy);
	policy.rekey_bytes = 20000;
	mine.seal = policy;
	memset(mine.send_secret, 1, SEAL_SECRET_BYTES);
	memset(mine.receive_secret, 2, SEAL_SECRET_BYTES);
	if (seal_open(&stage.in, SEAL_RECEIVES, mine.send_secret, &policy, stage.now_ns) < 0 ||
	    seal_open(&stage.out, SEAL_SENDS, mine.receive_secret, &policy, stage.now_ns) < 0 ||
	    flows_open(&stage.flows, &stage.port, &o) < 0 ||
	    flow_open(&stage.flow, stage.flows, &mine, &events, NULL, stage.now_ns, NULL) < 0)
		abort();
	poll();
	step_ack();                             /* opens the path */
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	log_configure(LOG_OFF, false);
	open_stage();
	stage.script = data;
	stage.left = size;
	while (stage.left > 0 && !stage.over)
		step();
	flow_close(stage.flow);
	flows_close(stage.flows);
	if (stage.places != 0)
		abort();
	seal_close(stage.in);
	seal_close(stage.out);
	return 0;
}

size_t fuzz_seed(unsigned index, uint8_t *out, size_t capacity)
{
	static const uint8_t seeds[][64] = {
		{ STEP_WHOLE, 10, 0, STEP_WHOLE, 200, 1, STEP_TIME, 9, 0, STEP_STOP, 0, 0, 0 },
		{ STEP_SEND, 1, 0, 0, 1, 1, STEP_ACK, 0, 1, STEP_SEND, 2, 1, 0, 90, 3, STEP_ACK, 5,
		  0, STEP_TIME, 100, 1, STEP_ACK, 0, 1, STEP_STOP, 1, 2, 0 },
		{ STEP_FORGE, 128 | PACKET_DATA, PACKET_EAGER | 2 << 5, 0, 1, 3, 0, 0, 0 },
		{ STEP_FORGE, PACKET_RTS, 2 << 5, 0, 0, 72, 0, 8, 0, 0xa0, 0x86, 1, 0 },
		{ STEP_SEND, 0, 0, 0xff, 0xff, 2, STEP_FORGE, PACKET_GRANT, 0, 0, 40, 94, 0, 0, 0 },
		{ STEP_RAW, 60, 0x10, 4, 12, 0, 2, 1 },
		{ STEP_GAP, STEP_SEND, 1, 0, 200, 3, 1, STEP_TIME, 0, 200, STEP_TIME, 0, 200 },
		{ STEP_FORGE, PACKET_ACK, 0, 0, 0, 0, 0, 40, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0 },
		{ STEP_FORGE, PACKET_CLOSE, 0, 1, 0, 0, 0, 0, 0 },
		{ STEP_BEGIN, 0, 0xa0, 0x0f, 0, 0, STEP_PIECE, 0, 0, 1, STEP_PIECE, 0, 0, 0,
		  STEP_REPEAT, 0, STEP_PIECE, 0, 0, 2, STEP_PIECE, 0, 0, 2 },
		{ STEP_BEGIN, 1, 0xff, 0xff, 1, 0, STEP_PIECE, 1, 0, 0, STEP_PIECE, 1, 0, 93,
		  STEP_PIECE, 1, 255, 4, STEP_TIME, 9, 0 },
		{ STEP_BEGIN, 1, 0xff, 0xff, 1, 0, STEP_BEGIN, 2, 0xff, 0x7f, 2, 1, STEP_PIECE, 2,
		  251, STEP_PIECE, 1, 251, STEP_TIME, 9, 0 },
		{ STEP_BEGIN, 2, 0x40, 0x0b, 0, 0, STEP_BEGIN, 3, 0x40, 0x0b, 0, 1,
		  STEP_PIECE, 3, 0, 0, STEP_PIECE, 3, 0, 1, STEP_PIECE, 3, 0, 2,
		  STEP_PIECE, 2, 0, 0, STEP_PIECE, 2, 0, 1, STEP_PIECE, 2, 0, 2,
		  STEP_TIME, 9, 0, STEP_REPEAT, 1, 70, 0, 3 },
	};

	if (index >= ARRAY_LENGTH(seeds) || capacity < sizeof(seeds[0]))
		return 0;
	memcpy(out, seeds[index], sizeof(seeds[0]));
	return sizeof(seeds[0]);
}
