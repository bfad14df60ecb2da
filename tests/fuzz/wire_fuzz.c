/* wire_fuzz.c - hostile bytes against the wire format and the whole message
 * layer: an engine in memory feeds it a stream, in pieces of any size, while
 * time passes and the user puts, sends and leaves.
 *
 * The first byte chooses: an even one takes the rest as one header and checks
 * decoding against encoding; an odd one takes it as a script of steps, which can
 * make frames with sound checksums, so that the checks behind them are reached.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/base/log.h"
#include "dataplane/base/memory.h"
#include "dataplane/engine.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t fuzz_seed(unsigned index, uint8_t *out, size_t capacity);

enum { STREAM_BYTES = 1 << 17, HELD_MAX = 16, AHEAD_BYTES = 4096 };

enum step {
	STEP_RAW, STEP_FRAME, STEP_SPOILT, STEP_HELLO, STEP_PUT, STEP_SAY, STEP_FREE, STEP_TIME,
	STEP_EXPECT, STEP_LEAVE, STEP_END, STEPS
};

struct engine {
	struct transport *transport;
	struct link link;
	bool offered, finishing, flushing, ended;
	uint8_t stream[STREAM_BYTES];
	size_t bytes, fed;
	size_t piece;                   /* bytes delivered at once */
	uint8_t ahead[AHEAD_BYTES];
	uint8_t out_head[WIRE_HEADER_BYTES];
	uint32_t out_head_bytes, out_payload_left;
};

/* What the script plays with. */
struct stage {
	struct transport *transport;
	struct simulated_clock clock;
	struct message *held[HELD_MAX];
	uint32_t held_count, peer;
	const uint8_t *script;
	size_t left;
};

/* What our side sends must be readable by our own rules. */
static void check_part(struct engine *g, const uint8_t *data, size_t bytes)
{
	struct frame f;
	size_t take;

	for (; bytes > 0; data += take, bytes -= take) {
		take = MIN(bytes, g->out_payload_left);
		g->out_payload_left -= (uint32_t)take;
		if (take > 0)
			continue;
		take = MIN(bytes, WIRE_HEADER_BYTES - g->out_head_bytes);
		memcpy(g->out_head + g->out_head_bytes, data, take);
		g->out_head_bytes += (uint32_t)take;
		if (g->out_head_bytes < WIRE_HEADER_BYTES)
			continue;
		if (wire_decode(g->out_head, &f, NULL) < 0)
			abort();
		g->out_head_bytes = 0;
		g->out_payload_left = f.payload_bytes;
	}
}

static void check_sent(struct engine *g, const struct iovec *parts, size_t bytes)
{
	for (size_t take; bytes > 0; bytes -= take, parts++) {
		take = MIN(bytes, parts->iov_len);
		check_part(g, parts->iov_base, take);
	}
}

static void memory_send(struct engine *g, struct link *link)
{
	struct iovec parts[ENGINE_IOVECS];
	unsigned count;
	size_t bytes;

	while (!g->finishing &&
	       (count = lane_gather(link->lane, parts, ENGINE_IOVECS, &bytes)) > 0) {
		if (bytes > 1 && g->piece % 2)
			bytes /= 2;             /* a short write */
		check_sent(g, parts, bytes);
		lane_sent(link->lane, bytes);
	}
}

static void memory_finish(struct engine *g, struct link *link, bool flush)
{
	if (flush)
		memory_send(g, link);
	g->flushing = flush;
	g->finishing = !flush;
}

static int memory_open(struct engine **out, struct transport *t,
		       const struct transport_options *o, struct error *e)
{
	*out = mem_calloc(1, sizeof(**out));
	if (!*out)
		return error_errno(e, -ENOMEM, "memory");
	(*out)->transport = t;
	(*out)->piece = 1;
	return 0;
}

static void memory_close(struct engine *g)
{
	mem_free(g);
}

static int memory_listen(struct engine *g, const struct address *a, struct address *bound,
			 struct error *e)
{
	return error_set(e, -EINVAL, "nobody listens in memory");
}

static int memory_connect(struct engine *g, const struct address *a, struct lane *owner,
			  struct link **out, struct error *e)
{
	return error_set(e, -EINVAL, "nobody connects in memory");
}

static uint64_t memory_wait(struct engine *g, uint64_t timeout_ns)
{
	return 0;
}

/* As a receive with two targets does: the arena first, the rest ahead. */
static void feed(struct engine *g)
{
	size_t take = MIN(g->piece, g->bytes - g->fed), direct = 0;
	uint8_t *at;
	size_t room = lane_room(g->link.lane, &at);

	direct = MIN(room, take);
	take = MIN(take, direct + AHEAD_BYTES);
	if (direct) {
		memcpy(at, g->stream + g->fed, direct);
		lane_landed(g->link.lane, direct);
	}
	if (take > direct) {
		memcpy(g->ahead, g->stream + g->fed + direct, take - direct);
		lane_bytes(g->link.lane, g->ahead, take - direct);
	}
	g->fed += take;
}

static void memory_deliver(struct engine *g)
{
	const struct address from = { "memory:1" };

	if (!g->offered) {
		g->offered = true;
		if (!lane_accepted(g->transport, &g->link, &from))
			abort();
	}
	for (unsigned i = 1; g->link.lane && !g->finishing && g->fed < g->bytes; i++) {
		feed(g);
		if (i % 32 == 0)
			g->piece *= 2;          /* small pieces at first: a run stays quick */
	}
	g->bytes = g->fed = 0;
	if (g->link.lane && g->ended && !g->finishing)
		lane_broken(g->link.lane, -ECONNRESET, "the end");
	if (g->link.lane && g->finishing) {
		struct lane *lane = g->link.lane;

		g->link.lane = NULL;
		lane_closed(lane);
	}
}

static void memory_wake(struct engine *g)
{
}

static const struct engine_ops memory_ops = {
	.name = "memory", .open = memory_open, .close = memory_close,
	.listen = memory_listen, .connect = memory_connect, .send = memory_send,
	.finish = memory_finish, .wait = memory_wait, .deliver = memory_deliver,
	.wake = memory_wake,
};

static void on_up(void *ctx, const struct peer_info *info)
{
	struct stage *s = ctx;

	s->peer = info->peer;
}

static void on_lost(void *ctx, uint32_t peer, int code, const char *reason)
{
	if (code >= 0 || !reason[0])
		abort();
}

static void on_received(void *ctx, struct message *m)
{
	struct stage *s = ctx;
	volatile uint8_t sum = 0;

	for (uint32_t i = 0; i < m->frame.payload_bytes; i++)
		sum = (uint8_t)(sum + m->payload[i]);
	if (s->held_count == HELD_MAX)
		message_put(s->transport, m);
	else
		s->held[s->held_count++] = m;
}

static void on_writable(void *ctx, uint32_t peer)
{
}

static uint32_t take(struct stage *s, size_t bytes)
{
	uint32_t value = 0;

	for (size_t i = 0; i < bytes && s->left; i++, s->left--)
		value = value << 8 | *s->script++;
	return value;
}

static void add(struct engine *g, const void *data, size_t bytes)
{
	bytes = MIN(bytes, STREAM_BYTES - g->bytes);
	memcpy(g->stream + g->bytes, data, bytes);
	g->bytes += bytes;
}

static void add_raw(struct stage *s, struct engine *g)
{
	size_t bytes = take(s, 1);

	bytes = MIN(bytes, s->left);
	add(g, s->script, bytes);
	s->script += bytes;
	s->left -= bytes;
}

/* A frame of any fields with sound checksums, or with one bit turned over. */
static void add_frame(struct stage *s, struct engine *g, bool spoil)
{
	static uint8_t payload[1 << 18], header[WIRE_HEADER_BYTES];
	struct frame f = { .type = take(s, 1), .flags = (uint16_t)take(s, 1),
			   .encoding = take(s, 1), .rows = take(s, 1), .width = take(s, 2),
			   .payload_bytes = take(s, 2) * 3, .credit_small = (uint8_t)take(s, 1) };
	uint64_t fitting = wire_rows_bytes(f.encoding, f.rows, f.width);
	uint32_t bit;

	if (f.payload_bytes % 2 && fitting && fitting < sizeof(payload))
		f.payload_bytes = (uint32_t)fitting;
	if (f.type < WIRE_TYPE_COUNT && f.payload_bytes % 4 == 0 &&
	    wire_types[f.type].least_bytes == wire_types[f.type].most_bytes)
		f.payload_bytes = wire_types[f.type].most_bytes;
	for (uint32_t i = 0; i < f.payload_bytes && i < 64; i++)
		payload[i] = (uint8_t)take(s, 1);
	f.credit_large = f.credit_small >> 6;
	f.credit_small &= 15;
	wire_encode(&f, payload, header);
	if (spoil) {
		bit = take(s, 1);
		header[bit / 8 % WIRE_HEADER_BYTES] ^= (uint8_t)(1 << bit % 8);
	}
	add(g, header, sizeof(header));
	add(g, payload, f.payload_bytes);
}

static void add_hello(struct stage *s, struct engine *g)
{
	struct wire_hello hello = { .role = ROLE_TOOL, .version_least = 1, .version_most = 1,
				    .lanes = 1,
				    .credit_small = le32_of(4), .credit_large = le32_of(1),
				    .slot_large_bytes = le32_of(100000), .name = "fuzz" };
	struct frame f = { .type = WIRE_HELLO, .payload_bytes = sizeof(hello) };
	uint8_t header[WIRE_HEADER_BYTES];
	uint32_t at = take(s, 1);

	if (at < sizeof(hello))
		((uint8_t *)&hello)[at] ^= (uint8_t)take(s, 1);
	wire_encode(&f, &hello, header);
	add(g, header, sizeof(header));
	add(g, &hello, sizeof(hello));
}

static void say(struct stage *s, bool free)
{
	uint32_t bytes = free ? 0 : take(s, 1) * 300;
	struct message *m;

	if ((free ? transport_reserve_free : transport_reserve)(s->transport, s->peer, bytes,
								&m) < 0)
		return;
	m->frame.type = free ? WIRE_CLOSE : WIRE_CALL;
	memset(m->payload, 7, bytes);
	transport_send(s->transport, m);
}

static void put_one(struct stage *s)
{
	uint32_t i = take(s, 1);

	if (s->held_count == 0)
		return;
	i %= s->held_count;
	message_put(s->transport, s->held[i]);
	s->held[i] = s->held[--s->held_count];
}

static void play(struct stage *s, struct engine *g)
{
	switch (take(s, 1) % STEPS) {
	case STEP_RAW:
		add_raw(s, g);
		break;
	case STEP_FRAME:
		add_frame(s, g, false);
		break;
	case STEP_SPOILT:
		add_frame(s, g, true);
		break;
	case STEP_HELLO:
		add_hello(s, g);
		break;
	case STEP_PUT:
		put_one(s);
		break;
	case STEP_SAY:
		say(s, false);
		break;
	case STEP_FREE:
		say(s, true);
		break;
	case STEP_TIME:
		simulated_clock_advance_to(&s->clock, s->clock.now_ns + take(s, 1) * NS_PER_MS);
		break;
	case STEP_EXPECT:
		transport_expect(s->transport, s->peer, 1);
		break;
	case STEP_LEAVE:
		transport_disconnect(s->transport, s->peer, "leaving");
		break;
	default:
		g->ended = true;
	}
	g->piece = 1 + take(s, 1) * 17;
	transport_poll(s->transport, 0);
}

static void run_script(const uint8_t *data, size_t size)
{
	static const struct transport_events events = { on_up, on_lost, on_received, on_writable };
	struct stage s = { .script = data, .left = size };
	struct transport_options o;
	uint64_t live = mem_live_blocks();

	simulated_clock_init(&s.clock, NS_PER_S);
	transport_options_default(&o);
	o.clock = &s.clock.clock;
	o.peers_max = 1;
	o.small_per_peer = 3;
	o.large_per_peer = 1;
	o.large_bytes = 100000;
	o.send_queue_messages = 4;
	if (transport_open_on(&memory_ops, &s.transport, &o, &events, &s, NULL) < 0)
		return;
	transport_poll(s.transport, 0);
	while (s.left > 0)
		play(&s, transport_engine(s.transport));
	while (s.held_count)
		message_put(s.transport, s.held[--s.held_count]);
	transport_close(s.transport);
	if (mem_live_blocks() != live)
		abort();
}

static void run_header(const uint8_t *data, size_t size)
{
	static const uint8_t zeros[4096];
	uint8_t header[WIRE_HEADER_BYTES] = { 0 }, again[WIRE_HEADER_BYTES];
	le32 crc = le32_of(0);
	struct frame f, g;
	struct error e;

	memcpy(header, data, MIN(size, sizeof(header)));
	(void)wire_decode(header, &f, &e);
	memcpy(header + offsetof(struct wire_header, header_crc), &crc, 4);
	crc = le32_of(crc32c(0, header, sizeof(header)));
	memcpy(header + offsetof(struct wire_header, header_crc), &crc, 4);
	if (wire_decode(header, &f, &e) < 0 || f.payload_bytes > sizeof(zeros))
		return;
	/* What decodes once decodes again after encoding, to the same. */
	wire_encode(&f, zeros, header);
	if (wire_decode(header, &g, &e) < 0)
		abort();
	wire_encode(&g, zeros, again);
	if (memcmp(header, again, sizeof(header)) != 0)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	log_configure(LOG_OFF, false);
	if (size == 0)
		return 0;
	if (data[0] % 2)
		run_script(data + 1, size - 1);
	else
		run_header(data + 1, size - 1);
	return 0;
}

/* Scripts that reach far: greeted, then every kind of step. */
static const uint8_t scripts[][64] = {
	{ 1, STEP_HELLO, 200, 9, STEP_FRAME, WIRE_CALL, 0, 0, 0, 0, 0, 0, 20, 0, 1, 2, 3 },
	{ 1, STEP_HELLO, 200, 255, STEP_FRAME, WIRE_STEP, 1, WIRE_F32, 2, 0, 9, 0, 1, 0, 5, 6 },
	{ 1, STEP_HELLO, 200, 255, STEP_SAY, 3, 1, STEP_SAY, 220, 1, STEP_FREE, 1, STEP_PUT, 0, 1 },
	{ 1, STEP_HELLO, 200, 1, STEP_EXPECT, 1, STEP_TIME, 60, 1, STEP_TIME, 255, 1 },
	{ 1, STEP_HELLO, 200, 3, STEP_FRAME, WIRE_CALL, 0, 0, 0, 0, 0, 90, 0, 0, 1 },
	{ 1, STEP_HELLO, 200, 3, STEP_LEAVE, 1, STEP_RAW, 4, 'j', 'u', 'n', 'k', 1 },
	{ 1, STEP_HELLO, 200, 3, STEP_SPOILT, WIRE_CALL, 0, 0, 0, 0, 0, 0, 20, 0, 1, 2, 3 },
	{ 1, STEP_HELLO, 10, 3, 1, STEP_END, 1 },
	{ 1, STEP_RAW, 20, 'G', 'E', 'T', ' ', '/', ' ', 'H', 'T', 'T', 'P' },
};

size_t fuzz_seed(unsigned index, uint8_t *out, size_t capacity)
{
	struct frame f = { .type = index + 1, .rows = 2, .width = 8, .encoding = WIRE_NONE };

	if (index < ARRAY_LENGTH(scripts)) {
		memcpy(out, scripts[index], sizeof(scripts[index]));
		return sizeof(scripts[index]);
	}
	index -= ARRAY_LENGTH(scripts);
	f.type = index + 1;
	if (f.type >= WIRE_TYPE_COUNT)
		return 0;
	f.payload_bytes = wire_types[f.type].least_bytes;
	if (wire_types[f.type].rows) {
		f.encoding = WIRE_BF16;
		f.payload_bytes = 32;
	}
	out[0] = 0;
	wire_encode(&f, (const uint8_t[512]){ 0 }, out + 1);
	return 1 + WIRE_HEADER_BYTES;
}
