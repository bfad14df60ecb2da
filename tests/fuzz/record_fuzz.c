/* record_fuzz.c - a sealed lane fed by somebody who has the keys: records that verify and say
 * what they must not, and records that do not verify.
 *
 * The handshake is a real one, by tls.h.  Then the input is a script: each step makes a record
 * of some kind, length and content, perhaps with a number, phase or bit that is wrong, or bytes
 * that are no record; they are delivered in pieces.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>
#include <openssl/x509.h>

#include "control/certificate.h"
#include "dataplane/base/log.h"
#include "dataplane/base/memory.h"
#include "dataplane/engine.h"
#include "dataplane/record.h"
#include "dataplane/tls.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t fuzz_seed(unsigned index, uint8_t *out, size_t capacity);

enum { STREAM_BYTES = 1 << 17, PLAIN_BYTES = RECORD_PAYLOAD_BYTES };
enum step { STEP_FRAMES, STEP_MESSAGE, STEP_PAYLOAD, STEP_RAW, STEP_WRONG, STEP_TIME, STEPS };

struct engine {
	struct transport *transport;
	struct link link;
	bool offered, finishing;
	uint8_t stream[STREAM_BYTES];   /* to the transport */
	size_t bytes, piece;
	uint8_t said[1 << 16];          /* by it, as far as anybody looks */
	size_t said_bytes;
};

struct stage {
	struct transport *transport;
	struct engine *engine;
	struct simulated_clock clock;
	struct tls *tls;
	struct seal *seal;
	uint32_t payload_left;          /* of the message announced last */
	const uint8_t *script;
	size_t left;
};

static struct identity *identity;

static void close_identity(void)
{
	identity_close(identity);
}

static void make_certificate(bool authority, const uint8_t *seed, X509 *ca, EVP_PKEY *ca_key,
			     X509 **out, EVP_PKEY **key, char **pem)
{
	struct certificate_spec spec = { .name = authority ? "fuzz-CA" : "fuzz",
					 .authority = authority, .serial = { 64 + !authority },
					 .roles = authority ? 0 : PRINCIPAL_ANY,
					 .not_after_unix_s = 100LL * 365 * 86400 };
	struct error e;

	if (certificate_key(key, seed, &e) < 0 ||
	    certificate_issue(out, &spec, *key, ca, ca_key, &e) < 0 ||
	    certificate_to_pem(pem, *out, &e) < 0)
		abort();
}

static void make_identity(void)
{
	const uint8_t seeds[2][CERTIFICATE_SEED_BYTES] = { { 1 }, { 2 } };
	EVP_PKEY *ca_key, *key;
	X509 *ca, *certificate;
	char *ca_pem, *pem, *secret;
	struct error e;

	if (identity)
		return;
	make_certificate(true, seeds[0], NULL, NULL, &ca, &ca_key, &ca_pem);
	make_certificate(false, seeds[1], ca, ca_key, &certificate, &key, &pem);
	if (certificate_key_to_pem(&secret, key, &e) < 0 ||
	    identity_open_pem(&identity, &(struct identity_pem){ ca_pem, pem, secret, NULL },
			      clock_real(), &e) < 0)
		abort();
	X509_free(ca);
	X509_free(certificate);
	EVP_PKEY_free(ca_key);
	EVP_PKEY_free(key);
	mem_free(ca_pem);
	mem_free(pem);
	mem_free(secret);
	atexit(close_identity);
}

static int memory_open(struct engine **out, struct transport *t,
		       const struct transport_options *o, struct error *e)
{
	*out = mem_calloc(1, sizeof(**out));
	if (!*out)
		return error_errno(e, -ENOMEM, "memory");
	(*out)->transport = t;
	(*out)->piece = 1 << 14;
	return 0;
}

static void memory_close(struct engine *g)
{
	mem_free(g);
}

static void memory_send(struct engine *g, struct link *link)
{
	struct iovec parts[ENGINE_IOVECS];
	size_t bytes;

	while (!g->finishing && lane_gather(link->lane, parts, ENGINE_IOVECS, &bytes) > 0) {
		size_t take = MIN(bytes, sizeof(g->said) - g->said_bytes);

		memcpy(g->said + g->said_bytes, parts[0].iov_base, MIN(take, parts[0].iov_len));
		g->said_bytes += MIN(take, parts[0].iov_len);
		lane_sent(link->lane, bytes);
	}
}

static void memory_finish(struct engine *g, struct link *link, bool flush)
{
	if (flush)
		memory_send(g, link);
	g->finishing = true;
}

static uint64_t memory_wait(struct engine *g, uint64_t timeout_ns)
{
	return 0;
}

static void memory_deliver(struct engine *g)
{
	struct lane *lane;

	if (!g->offered && !lane_accepted(g->transport, &g->link, &(struct address){ "memory:1" }))
		abort();
	g->offered = true;
	for (size_t at = 0; at < g->bytes && g->link.lane && !g->finishing; at += g->piece)
		lane_bytes(g->link.lane, g->stream + at, MIN(g->piece, g->bytes - at));
	g->bytes = 0;
	if (!g->link.lane || !g->finishing)
		return;
	lane = g->link.lane;
	g->link.lane = NULL;
	lane_closed(lane);
}

static void memory_wake(struct engine *g)
{
}

static const struct engine_ops memory_ops = {
	.name = "memory", .open = memory_open, .close = memory_close, .send = memory_send,
	.finish = memory_finish, .wait = memory_wait, .deliver = memory_deliver,
	.wake = memory_wake,
};

static void on_up(void *ctx, const struct peer_info *info)
{
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
	message_put(s->transport, m);
}

static void on_writable(void *ctx, uint32_t peer)
{
}

static void deliver(struct stage *s, const void *data, size_t bytes)
{
	struct engine *g = s->engine;

	bytes = MIN(bytes, STREAM_BYTES);
	memcpy(g->stream, data, bytes);
	g->bytes = bytes;
	transport_poll(s->transport, 0);
}

/* The dialer's side of a real handshake. */
static void shake_hands(struct stage *s)
{
	uint8_t bytes[1 << 14], sends[SEAL_SECRET_BYTES], receives[SEAL_SECRET_BYTES];
	struct seal_policy policy;
	const char *kind;
	size_t taken, n;
	struct error e;

	if (tls_open(&s->tls, identity, true, &e) < 0 ||
	    tls_hear(s->tls, NULL, 0, &taken, &kind, &e) < 0)
		abort();
	transport_poll(s->transport, 0);        /* the lane is accepted */
	while ((n = tls_say(s->tls, bytes, sizeof(bytes))) > 0) {
		deliver(s, bytes, n);
		n = s->engine->said_bytes;
		s->engine->said_bytes = 0;
		if (n && tls_hear(s->tls, s->engine->said, n, &taken, &kind, &e) < 0)
			abort();
	}
	if (tls_state(s->tls) != TLS_DONE)
		abort();
	tls_secrets(s->tls, TLS_FOR_LANE, sends, receives);
	seal_policy_default(&policy);
	if (seal_open(&s->seal, SEAL_SENDS, sends, &policy, clock_ns(&s->clock.clock)) < 0)
		abort();
}

static uint32_t take(struct stage *s, size_t bytes)
{
	uint32_t value = 0;

	for (size_t i = 0; i < bytes && s->left; i++, s->left--)
		value = value << 8 | *s->script++;
	return value;
}

/* A record of `bytes` of plain; wrong: which thing about it. */
static void say_record(struct stage *s, enum record_kind kind, const uint8_t *plain, uint32_t bytes,
		       uint32_t wrong)
{
	static uint8_t out[PLAIN_BYTES + RECORD_OVERHEAD_BYTES];
	struct record r = { .kind = kind, .bytes = bytes };

	if (seal_reserve(s->seal, bytes, clock_ns(&s->clock.clock), &r.ticket) < 0)
		abort();
	record_encode(&r, out);
	if (wrong % 8 == 1)
		out[wrong / 8 % RECORD_HEADER_BYTES] ^= 1 << wrong % 7;
	seal_encrypt(s->seal, &r.ticket, out, plain, bytes, out + RECORD_HEADER_BYTES,
		     out + RECORD_HEADER_BYTES + bytes);
	if (wrong % 8 == 2)
		out[wrong % (bytes + RECORD_OVERHEAD_BYTES)] ^= 1 << wrong % 7;
	deliver(s, out, bytes + RECORD_OVERHEAD_BYTES - (wrong % 8 == 3 ? wrong % 40 : 0));
	if (wrong % 8 == 4)
		deliver(s, out, bytes + RECORD_OVERHEAD_BYTES);
}

/* Plaintext straight from the script. */
static void say_frames(struct stage *s)
{
	uint8_t plain[RECORD_FRAMES_BYTES] = { 0 };
	uint32_t bytes = 64 + take(s, 2) % (RECORD_FRAMES_BYTES - 63);

	for (uint32_t i = 0; i < bytes && s->left; i++)
		plain[i] = (uint8_t)take(s, 1);
	say_record(s, RECORD_FRAMES, plain, bytes, 0);
}

static uint32_t write_message(struct stage *s, uint8_t *out)
{
	struct wire_hello hello = { .role = ROLE_TOOL, .version_least = 1, .version_most = 1,
				    .lanes = 1, .credit_small = le32_of(4),
				    .credit_large = le32_of(1),
				    .slot_large_bytes = le32_of(100000), .name = "fuzz" };
	struct frame f = { .type = 1 + take(s, 1) % (WIRE_TYPE_COUNT - 1),
			   .payload_bytes = take(s, 2) * 3, .credit_small = take(s, 1) & 3 };
	uint32_t inside;

	if (wire_types[f.type].least_bytes == wire_types[f.type].most_bytes)
		f.payload_bytes = wire_types[f.type].most_bytes;
	if (wire_types[f.type].rows) {
		f.encoding = WIRE_F32;
		f.rows = 1;
		f.width = f.payload_bytes / 4;
		f.payload_bytes = 4 * f.width;
	}
	wire_encode(&f, NULL, out);
	inside = f.payload_bytes <= RECORD_INLINE_BYTES ? f.payload_bytes : 0;
	for (uint32_t i = 0; i < inside; i++)
		out[WIRE_HEADER_BYTES + i] = (uint8_t)take(s, 1);
	if (f.type == WIRE_HELLO)
		memcpy(out + WIRE_HEADER_BYTES, &hello, sizeof(hello));
	s->payload_left = f.payload_bytes - inside;
	return WIRE_HEADER_BYTES + inside;
}

static void say_messages(struct stage *s, uint32_t wrong)
{
	uint8_t plain[RECORD_FRAMES_BYTES];
	uint32_t bytes = 0, count = 1 + take(s, 1) % 4;

	for (uint32_t i = 0; i < count && s->payload_left == 0; i++)
		bytes += write_message(s, plain + bytes);
	if (bytes)
		say_record(s, RECORD_FRAMES, plain, bytes, wrong);
}

static void say_payload(struct stage *s, uint32_t wrong)
{
	static const uint8_t plain[PLAIN_BYTES];
	uint32_t bytes = 1 + take(s, 2);

	if (bytes % 4)
		bytes = MIN(bytes, MAX(s->payload_left, 1u));
	say_record(s, RECORD_PAYLOAD, plain, MIN(bytes, (uint32_t)PLAIN_BYTES), wrong);
	s->payload_left -= MIN(bytes, s->payload_left);
}

static void play(struct stage *s)
{
	uint32_t bytes;

	switch (take(s, 1) % STEPS) {
	case STEP_FRAMES:
		say_frames(s);
		break;
	case STEP_MESSAGE:
		say_messages(s, 0);
		break;
	case STEP_PAYLOAD:
		say_payload(s, 0);
		break;
	case STEP_RAW:
		bytes = take(s, 1);
		bytes = MIN(bytes, (uint32_t)s->left);
		deliver(s, s->script, bytes);
		s->script += bytes;
		s->left -= bytes;
		break;
	case STEP_WRONG:
		if (s->payload_left)
			say_payload(s, take(s, 2));
		else
			say_messages(s, take(s, 2));
		break;
	default:
		simulated_clock_advance_to(&s->clock, clock_ns(&s->clock.clock) +
					   take(s, 1) * 10 * NS_PER_MS);
		transport_poll(s->transport, 0);
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct transport_events events = { on_up, on_lost, on_received, on_writable };
	struct stage s = { .script = data, .left = size };
	struct transport_options o;
	uint64_t live;
	struct error e;

	log_configure(LOG_OFF, false);
	make_identity();
	live = mem_live_blocks();
	simulated_clock_init(&s.clock, NS_PER_S);
	transport_options_default(&o);
	o.clock = &s.clock.clock;
	o.identity = identity;
	o.peers_max = 2;
	o.small_per_peer = 4;
	o.large_per_peer = 1;
	o.large_bytes = 150000;
	if (transport_open_on(&memory_ops, &s.transport, &o, &events, &s, &e) < 0)
		return 0;
	s.engine = transport_engine(s.transport);
	shake_hands(&s);
	s.engine->piece = 1 + take(&s, 1) * 7;
	while (s.left > 0)
		play(&s);
	seal_close(s.seal);
	tls_close(s.tls);
	transport_close(s.transport);
	if (mem_live_blocks() != live)
		abort();
	return 0;
}

size_t fuzz_seed(unsigned index, uint8_t *out, size_t capacity)
{
	/* piece; then hello, ping, a call with a payload of its own, its payload in two. */
	static const uint8_t greeting[] = { 255, STEP_MESSAGE, 0, 0, 0, 0, 0,
					    STEP_MESSAGE, 0, 1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8 };
	static const uint8_t more[][12] = {
		{ STEP_MESSAGE, 0, WIRE_CALL - 1, 20, 0, 0, STEP_PAYLOAD, 7, 207, STEP_PAYLOAD, 255,
		  255 },
		{ STEP_MESSAGE, 2, WIRE_CALL - 1, 0, 9, 0, 1, 2, 3 },
		{ STEP_FRAMES, 0, 0, 1, 2, 3, 4, 5 },
		{ STEP_WRONG, 0, 1, 0, WIRE_CALL - 1, 0, 3 },
		{ STEP_WRONG, 0, 2, 0, WIRE_CALL - 1, 0, 3 },
		{ STEP_WRONG, 0, 4, 0, WIRE_CALL - 1, 0, 3 },
		{ STEP_RAW, 5, 'P', 1, 0, 0, 9, STEP_TIME, 255 },
	};

	if (index >= ARRAY_LENGTH(more) || capacity < sizeof(greeting) + sizeof(more[0]))
		return 0;
	memcpy(out, greeting, sizeof(greeting));
	memcpy(out + sizeof(greeting), more[index], sizeof(more[0]));
	return sizeof(greeting) + sizeof(more[0]);
}
