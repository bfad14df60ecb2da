/* sealed.c - a lane's bytes, sealed: the TLS handshake, then records out of messages and
 * messages out of records.  What the format is stands in record.h.
 *
 * Inbound, a record passes through
 *
 *   HEADER   32 bytes are gathered and checked
 *   BODY     decrypted as it arrives: FRAMES into memory of the lane's, PAYLOAD where it lands
 *   TAG      16 bytes are gathered; once they verify, inbound.c may look
 *
 * Outbound, records are made when the engine asks and everything made before is sent.
 */
#include <errno.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <string.h>

#include "dataplane/base/log.h"
#include "dataplane/base/memory.h"
#include "dataplane/layer.h"

int sealed_open(struct lane *l, bool dialing, struct error *e)
{
	struct sealing *s = mem_calloc(1, sizeof(*s));
	int rc = -ENOMEM;

	if (s)
		s->staging = mem_alloc(STAGING_BYTES);
	if (s && s->staging)
		rc = tls_open(&s->tls, l->transport->options.identity, dialing, e);
	if (rc < 0) {
		if (s)
			mem_free(s->staging);
		mem_free(s);
		return error_errno(e, rc, "cannot secure a connection with %s", l->address.text);
	}
	s->dialing = dialing;
	l->sealing = s;
	return 0;
}

void sealed_close(struct lane *l)
{
	struct sealing *s = l->sealing;

	if (!s)
		return;
	tls_close(s->tls);
	seal_close(s->sends);
	seal_close(s->receives);
	OPENSSL_cleanse(s->flow_sends, sizeof(s->flow_sends));
	OPENSSL_cleanse(s->flow_receives, sizeof(s->flow_receives));
	mem_free(s->staging);
	mem_free(s);
	l->sealing = NULL;
}

/* Both directions' keys, in place of the session that exported them. */
static int open_seals(struct lane *l)
{
	struct sealing *s = l->sealing;
	uint8_t sends[SEAL_SECRET_BYTES], receives[SEAL_SECRET_BYTES];
	struct seal_policy policy;
	int rc;

	seal_policy_default(&policy);
	tls_secrets(s->tls, TLS_FOR_LANE, sends, receives);
	tls_secrets(s->tls, TLS_FOR_FLOW, s->flow_sends, s->flow_receives);
	rc = seal_open(&s->sends, SEAL_SENDS, sends, &policy, l->transport->now_ns);
	if (rc == 0)
		rc = seal_open(&s->receives, SEAL_RECEIVES, receives, &policy,
			       l->transport->now_ns);
	OPENSSL_cleanse(sends, sizeof(sends));
	OPENSSL_cleanse(receives, sizeof(receives));
	return rc;
}

static void refuse(struct lane *l, const char *kind, const char *reason)
{
	char copy[ERROR_TEXT_BYTES];

	snprintf(copy, sizeof(copy), "%s", reason);
	transport_error(l->transport, kind);
	if (!l->peer)
		log_warn("transport", "refused a connection from %s: %s", l->address.text, copy);
	lane_reject(l, copy);
}

/* A program that runs without TLS begins with its HELLO. */
static bool speaks_in_the_clear(const struct lane *l, const uint8_t *data, size_t bytes)
{
	const le32 magic = le32_of(WIRE_MAGIC);

	return !l->sealing->heard && bytes >= sizeof(magic) &&
	       memcmp(data, &magic, sizeof(magic)) == 0;
}

/* Returns the bytes that were the handshake's. */
static size_t shake_hands(struct lane *l, const uint8_t *data, size_t bytes)
{
	struct sealing *s = l->sealing;
	const char *kind;
	struct error e = { 0 };
	size_t taken = bytes;

	if (speaks_in_the_clear(l, data, bytes)) {
		refuse(l, "cleartext", "it speaks in the clear (--insecure?), we demand TLS");
		return taken;
	}
	s->heard |= bytes > 0;
	if (tls_hear(s->tls, data, bytes, &taken, &kind, &e) < 0) {
		engine_send(l);
		refuse(l, kind, e.text);
		return taken;
	}
	engine_send(l);
	if (l->state != LANE_SECURING || tls_state(s->tls) != TLS_DONE)
		return taken;
	if (open_seals(l) < 0) {
		refuse(l, "memory", "out of memory for the keys of a connection");
		return taken;
	}
	lane_secured(l, tls_principal(s->tls));
	return taken;
}

void sealed_begin(struct lane *l)
{
	(void)shake_hands(l, NULL, 0);
}

static bool begin_record(struct lane *l)
{
	struct sealing *s = l->sealing;
	struct error e = { 0 };
	uint32_t left = inbound_payload_left(l);
	enum wire_fault fault = record_check(s->head, s->number, left, &s->record, &e);

	if (fault != WIRE_FAULT_NONE) {
		lane_fault(l, fault, e.text);
		return false;
	}
	s->number++;
	s->opened_bytes = s->tag_bytes = 0;
	s->into = left ? inbound_payload_at(l) : s->frames;
	seal_begin(s->receives, &s->record.ticket, s->head);
	return true;
}

static void end_record(struct lane *l)
{
	struct sealing *s = l->sealing;

	s->head_bytes = 0;
	if (!seal_verify(s->receives, s->tag, l->transport->now_ns)) {
		lane_fault(l, WIRE_FAULT_SEAL, "tag: the record was damaged or forged");
		return;
	}
	/* Whoever sends records has accepted us: there will be no alert. */
	tls_close(s->tls);
	s->tls = NULL;
	if (s->record.kind == RECORD_PAYLOAD)
		inbound_landed(l, s->record.bytes);
	else
		inbound_bytes(l, s->frames, s->record.bytes);
	if (lane_listens(l) && s->record.kind == RECORD_FRAMES && inbound_in_header(l))
		lane_fault(l, WIRE_FAULT_BOUNDS, "bytes: the record ends within a message");
}

static size_t gather_bytes(uint8_t *at, uint32_t *have, uint32_t want, const uint8_t *data,
			   size_t bytes)
{
	size_t take = MIN(bytes, want - *have);

	memcpy(at + *have, data, take);
	*have += (uint32_t)take;
	return take;
}

/* Takes the next bytes of a record; returns how many. */
static size_t take_record(struct lane *l, const uint8_t *data, size_t bytes)
{
	struct sealing *s = l->sealing;
	size_t take;

	if (s->head_bytes < RECORD_HEADER_BYTES) {
		take = gather_bytes(s->head, &s->head_bytes, RECORD_HEADER_BYTES, data, bytes);
		if (s->head_bytes == RECORD_HEADER_BYTES)
			begin_record(l);
	} else if (s->opened_bytes < s->record.bytes) {
		take = MIN(bytes, s->record.bytes - s->opened_bytes);
		seal_update(s->receives, data, take, s->into + s->opened_bytes);
		s->opened_bytes += (uint32_t)take;
	} else {
		take = gather_bytes(s->tag, &s->tag_bytes, SEAL_TAG_BYTES, data, bytes);
		if (s->tag_bytes == SEAL_TAG_BYTES)
			end_record(l);
	}
	return take;
}

/* An alert of the other side's TLS, in place of its first record. */
static bool is_alert(const struct sealing *s, uint8_t first)
{
	return s->tls && s->dialing && s->number == 0 && s->head_bytes == 0 &&
	       record_is_tls(first);
}

void sealed_bytes(struct lane *l, const uint8_t *data, size_t bytes)
{
	while (bytes > 0 && (l->state == LANE_SECURING || lane_listens(l))) {
		struct sealing *s = l->sealing;
		size_t taken;

		s->alerted |= l->state == LANE_GREETING && is_alert(s, data[0]);
		if (l->state == LANE_SECURING || s->alerted)
			taken = shake_hands(l, data, bytes);
		else
			taken = take_record(l, data, bytes);
		data += taken;
		bytes -= taken;
	}
}

/* A record whose plaintext the caller gives to seal_update(), to be written where this
 * points; NULL: there is no memory for the next keys, the lane's timer ends it.
 */
static uint8_t *start_record(struct lane *l, enum record_kind kind, uint32_t bytes)
{
	struct sealing *s = l->sealing;
	struct record r = { .kind = kind, .bytes = bytes };
	uint8_t *at = s->staging + s->staged_bytes;

	if (seal_reserve(s->sends, bytes, l->transport->now_ns, &r.ticket) < 0) {
		s->out_of_keys = true;
		transport_sooner(l->transport, 0);
		return NULL;
	}
	record_encode(&r, at);
	seal_begin(s->sends, &r.ticket, at);
	s->staged_bytes += RECORD_OVERHEAD_BYTES + bytes;
	return at + RECORD_HEADER_BYTES;
}

static bool is_inline(const struct envelope *e)
{
	return e->message.frame.payload_bytes <= RECORD_INLINE_BYTES;
}

static uint32_t frame_bytes(const struct envelope *e)
{
	return WIRE_HEADER_BYTES + (is_inline(e) ? e->message.frame.payload_bytes : 0);
}

/* Messages for one record: the last of them may have a payload that follows. */
static uint32_t collect(struct lane *l, struct envelope **batch, uint32_t *bytes)
{
	uint32_t count = 0;

	*bytes = 0;
	while (count < FLIGHT_MESSAGES &&
	       *bytes + WIRE_HEADER_BYTES + RECORD_INLINE_BYTES <= RECORD_FRAMES_BYTES) {
		struct envelope *e = outbound_next(l);

		if (!e)
			break;
		batch[count++] = e;
		*bytes += frame_bytes(e);
		if (!is_inline(e))
			break;
	}
	return count;
}

static bool seal_frames(struct lane *l)
{
	struct sealing *s = l->sealing;
	struct envelope *batch[FLIGHT_MESSAGES];
	uint32_t bytes, count = collect(l, batch, &bytes);
	uint8_t *at = count ? start_record(l, RECORD_FRAMES, bytes) : NULL;

	for (uint32_t i = 0; i < count; i++) {
		struct envelope *e = batch[i];
		uint32_t more = frame_bytes(e) - WIRE_HEADER_BYTES;

		if (at) {
			seal_update(s->sends, e->header, WIRE_HEADER_BYTES, at);
			seal_update(s->sends, e->message.payload, more, at + WIRE_HEADER_BYTES);
			at += WIRE_HEADER_BYTES + more;
		}
		if (!is_inline(e)) {
			s->payload = e;
			s->payload_offset = 0;
		} else {
			outbound_done(l, e);
		}
	}
	if (at)
		seal_end(s->sends, at);
	return at;
}

static bool seal_payload(struct lane *l)
{
	struct sealing *s = l->sealing;
	struct envelope *e = s->payload;
	uint32_t bytes = MIN(e->message.frame.payload_bytes - s->payload_offset,
			     (uint32_t)RECORD_PAYLOAD_BYTES);
	uint8_t *at = start_record(l, RECORD_PAYLOAD, bytes);

	if (!at)
		return false;
	seal_update(s->sends, e->message.payload + s->payload_offset, bytes, at);
	seal_end(s->sends, at + bytes);
	s->payload_offset += bytes;
	if (s->payload_offset == e->message.frame.payload_bytes) {
		s->payload = NULL;
		outbound_done(l, e);
	}
	return true;
}

static void stage(struct lane *l)
{
	struct sealing *s = l->sealing;
	const uint32_t most = RECORD_OVERHEAD_BYTES + RECORD_PAYLOAD_BYTES;

	s->staged_bytes = s->staged_sent = 0;
	if (s->tls)
		s->staged_bytes = (uint32_t)tls_say(s->tls, s->staging, STAGING_BYTES);
	while (s->sends && l->state != LANE_SECURING && !s->out_of_keys &&
	       s->staged_bytes + most <= STAGING_BYTES)
		if (!(s->payload ? seal_payload(l) : seal_frames(l)))
			break;
}

unsigned sealed_gather(struct lane *l, struct iovec *out, size_t *bytes)
{
	struct sealing *s = l->sealing;

	if (s->staged_sent == s->staged_bytes)
		stage(l);
	*bytes = s->staged_bytes - s->staged_sent;
	*out = (struct iovec){ s->staging + s->staged_sent, *bytes };
	return *bytes > 0;
}

void sealed_sent(struct lane *l, size_t bytes)
{
	struct sealing *s = l->sealing;

	assert(bytes <= s->staged_bytes - s->staged_sent);
	s->staged_sent += (uint32_t)bytes;
}
