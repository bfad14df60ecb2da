/* outbound_test.c - what leaves, and in which order: an engine that sends only
 * when the test says so shows each gather.
 */
#include <errno.h>

#include "dataplane/base/memory.h"
#include "dataplane/layer.h"
#include "dataplane/base/log.h"
#include "tests/support/raw_peer.h"
#include "tests/test.h"

struct engine {
	struct transport *transport;
	struct link link;
	const uint8_t *in;              /* to deliver at the next turn */
	size_t in_bytes;
	bool offered, finishing;
};

static int slow_open(struct engine **out, struct transport *t, const struct transport_options *o,
		     struct error *e)
{
	*out = mem_calloc(1, sizeof(**out));
	(*out)->transport = t;
	return 0;
}

static void slow_close(struct engine *g)
{
	mem_free(g);
}

static void slow_send(struct engine *g, struct link *link)
{
}

static void slow_finish(struct engine *g, struct link *link, bool flush)
{
	g->finishing = !flush;
}

static uint64_t slow_wait(struct engine *g, uint64_t timeout_ns)
{
	return 0;
}

static void slow_deliver(struct engine *g)
{
	if (!g->offered)
		CHECK(lane_accepted(g->transport, &g->link, &(struct address){ "slow:1" }));
	g->offered = true;
	if (g->in)
		lane_bytes(g->link.lane, g->in, g->in_bytes);
	g->in = NULL;
}

static const struct engine_ops slow = {
	.name = "slow", .open = slow_open, .close = slow_close, .send = slow_send,
	.finish = slow_finish, .wait = slow_wait, .deliver = slow_deliver,
};

struct desk {
	struct transport *transport;
	struct engine *engine;
	struct lane *lane;
	uint32_t id;
	struct message *received[8];
	int receipts;
};

static void on_up(void *ctx, const struct peer_info *info)
{
	((struct desk *)ctx)->id = info->peer;
}

static void on_lost(void *ctx, uint32_t peer, int code, const char *reason)
{
}

static void on_received(void *ctx, struct message *m)
{
	struct desk *d = ctx;

	d->received[d->receipts++] = m;
}

static void on_writable(void *ctx, uint32_t peer)
{
}

static const struct transport_events events = { on_up, on_lost, on_received, on_writable };

static void hear(struct desk *d, const uint8_t *in, size_t bytes)
{
	d->engine->in = in;
	d->engine->in_bytes = bytes;
	transport_poll(d->transport, 0);
}

/* Everything that waits, sent in gathers of at most `most` parts. */
static int send_all(struct desk *d, unsigned most, enum wire_type *types)
{
	struct iovec parts[ENGINE_IOVECS];
	struct frame f;
	size_t bytes;
	int count = 0;

	while (lane_gather(d->lane, parts, most, &bytes) > 0) {
		CHECK_EQ(wire_decode(parts[0].iov_base, &f, NULL), 0);
		types[count++] = f.type;
		lane_sent(d->lane, WIRE_HEADER_BYTES + f.payload_bytes);
	}
	return count;
}

static size_t ping(uint8_t *out)
{
	return raw_message(out, &(struct frame){ .type = WIRE_PING, .payload_bytes = 8 },
			   (const uint8_t[8]){ 1 });
}

static void desk_open(struct desk *d)
{
	struct transport_options o;
	enum wire_type types[64];
	uint8_t hello[256];
	struct error e;

	log_configure(LOG_OFF, false);
	memset(d, 0, sizeof(*d));
	transport_options_default(&o);
	o.clock = clock_real();
	o.peers_max = 1;
	o.small_per_peer = 4;
	CHECK_OK(transport_open_on(&slow, &d->transport, &o, &events, d, &e), &e);
	d->engine = transport_engine(d->transport);
	transport_poll(d->transport, 0);
	d->lane = d->engine->link.lane;
	hear(d, hello, raw_hello(hello));
	CHECK_EQ(send_all(d, ENGINE_IOVECS, types), 1);
	CHECK_EQ(types[0], WIRE_HELLO);
	hear(d, hello, ping(hello));
	CHECK_EQ(send_all(d, ENGINE_IOVECS, types), 2);
	CHECK_EQ(types[0], WIRE_PING);
	CHECK_EQ(types[1], WIRE_PONG);
}

static void desk_close(struct desk *d)
{
	for (int i = 0; i < d->receipts; i++)
		if (d->received[i])
			message_put(d->transport, d->received[i]);
	transport_close(d->transport);
}

static void say(struct desk *d, uint32_t bytes)
{
	struct message *m;

	CHECK_EQ(transport_reserve(d->transport, d->id, bytes, &m), 0);
	m->frame.type = WIRE_CALL;
	memset(m->payload, 1, bytes);
	transport_send(d->transport, m);
}

/* Goal: an answer to a ping overtakes what is queued, not what is under way; a
 * goodbye overtakes nothing.
 */
TEST(outbound__order_of_leaving)
{
	enum wire_type types[64];
	struct iovec parts[ENGINE_IOVECS];
	uint8_t in[256];
	struct desk d;
	size_t bytes;

	desk_open(&d);
	for (int i = 0; i < 4; i++)
		say(&d, 100);
	CHECK_EQ(lane_gather(d.lane, parts, 4, &bytes), 4);
	CHECK_EQ(bytes, 2 * (WIRE_HEADER_BYTES + 100));
	lane_sent(d.lane, 10);                          /* the first is under way */
	hear(&d, in, ping(in));
	transport_disconnect(d.transport, d.id, "bye");
	lane_sent(d.lane, WIRE_HEADER_BYTES + 90);
	CHECK_EQ(send_all(&d, 2, types), 5);
	CHECK_EQ(types[0], WIRE_CALL);
	CHECK_EQ(types[1], WIRE_PONG);
	CHECK_EQ(types[2], WIRE_CALL);
	CHECK_EQ(types[3], WIRE_CALL);
	CHECK_EQ(types[4], WIRE_GOODBYE);
	desk_close(&d);
}

static size_t flatten(const struct iovec *parts, unsigned count, uint8_t *out)
{
	size_t length = 0;

	for (unsigned i = 0; i < count; i++) {
		memcpy(out + length, parts[i].iov_base, parts[i].iov_len);
		length += parts[i].iov_len;
	}
	return length;
}

/* Goal: several messages leave in one gather, within its bounds; any cut of what
 * was sent, inside a part or past several, goes on where it ended.
 */
TEST(outbound__gathers_and_short_writes)
{
	struct iovec parts[ENGINE_IOVECS];
	uint8_t whole[4096], rest[4096];
	size_t bytes, length, at = 0;
	unsigned count;
	struct desk d;

	desk_open(&d);
	for (uint32_t i = 0; i < 4; i++)
		say(&d, 50 * i);
	count = lane_gather(d.lane, parts, ENGINE_IOVECS, &bytes);
	CHECK_EQ(count, 7);                             /* the first has no payload */
	length = flatten(parts, count, whole);
	CHECK_EQ(length, bytes);
	for (size_t step = 1; (count = lane_gather(d.lane, parts, ENGINE_IOVECS, &bytes)) > 0;
	     step = step * 3 % 257) {
		CHECK_EQ(flatten(parts, count, rest), bytes);
		CHECK_EQ(bytes, length - at);
		CHECK_BYTES(rest, whole + at, bytes);
		lane_sent(d.lane, MIN(step, bytes));
		at += MIN(step, bytes);
	}
	CHECK_EQ(at, length);
	desk_close(&d);
}

/* Goal: a gather of large messages stops once it is long enough. */
TEST(outbound__a_gather_is_bounded)
{
	struct iovec parts[ENGINE_IOVECS];
	enum wire_type types[64];
	struct desk d;
	size_t bytes;

	desk_open(&d);
	say(&d, 1000000);
	for (int i = 0; i < 4; i++)
		say(&d, 60000);
	CHECK_EQ(lane_gather(d.lane, parts, ENGINE_IOVECS, &bytes), 2);
	CHECK_EQ(send_all(&d, ENGINE_IOVECS, types), 5);
	desk_close(&d);
}

/* Goal: credit owed is told by the next message whatever it is, at the moment it
 * leaves; half the grant owed sends a message for it alone.
 */
TEST(outbound__credit_rides_along)
{
	struct iovec parts[ENGINE_IOVECS];
	enum wire_type types[64];
	uint8_t in[2048];
	size_t bytes = 0;
	struct frame f;
	struct desk d;

	desk_open(&d);
	for (int i = 0; i < 3; i++)
		bytes += raw_message(in + bytes, &(struct frame){ .type = WIRE_CALL }, NULL);
	hear(&d, in, bytes);
	CHECK_EQ(d.receipts, 3);
	say(&d, 10);                                    /* queued before anything is owed */
	message_put(d.transport, d.received[0]);
	d.received[0] = NULL;
	CHECK(lane_gather(d.lane, parts, ENGINE_IOVECS, &bytes) > 0);
	CHECK_EQ(wire_decode(parts[0].iov_base, &f, NULL), 0);
	CHECK_EQ(f.type, WIRE_CALL);
	CHECK_EQ(f.credit_small, 1);
	CHECK_EQ(send_all(&d, ENGINE_IOVECS, types), 1);
	for (int i = 1; i < 3; i++) {
		message_put(d.transport, d.received[i]);
		d.received[i] = NULL;
	}
	CHECK_EQ(send_all(&d, ENGINE_IOVECS, types), 1);
	CHECK_EQ(types[0], WIRE_CREDIT);
	desk_close(&d);
}

/* Goal: a sender that used up its last slot hears at once of any that is free. */
TEST(outbound__the_last_slot_used_tells_what_is_owed)
{
	enum wire_type types[64];
	uint8_t in[1024];
	size_t bytes = 0;
	struct desk d;

	desk_open(&d);
	for (int i = 0; i < 2; i++)
		bytes += raw_message(in + bytes, &(struct frame){ .type = WIRE_CALL }, NULL);
	hear(&d, in, bytes);
	message_put(d.transport, d.received[0]);
	d.received[0] = NULL;
	CHECK_EQ(send_all(&d, ENGINE_IOVECS, types), 0);        /* one of four: not worth it */
	hear(&d, in, bytes);
	CHECK_EQ(send_all(&d, ENGINE_IOVECS, types), 1);
	CHECK_EQ(types[0], WIRE_CREDIT);
	desk_close(&d);
}
