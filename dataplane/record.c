/* record.c - record headers to and from bytes. */
#include "dataplane/record.h"

#include <errno.h>
#include <string.h>

void record_encode(const struct record *r, uint8_t out[RECORD_HEADER_BYTES])
{
	const struct record_header h = {
		.magic = RECORD_MAGIC, .kind = (uint8_t)r->kind,
		.phase = le16_of(r->ticket.phase), .bytes = le32_of(r->bytes),
		.number = le64_of(r->ticket.number),
	};

	memcpy(out, &h, sizeof(h));
}

static enum wire_fault check_bytes(uint32_t bytes, uint32_t least, uint32_t most,
				   struct error *e)
{
	if (bytes >= least && bytes <= most)
		return WIRE_FAULT_NONE;
	error_set(e, -EPROTO, "bytes: a record of %u where %u to %u are possible", bytes, least,
		  most);
	return WIRE_FAULT_BOUNDS;
}

enum wire_fault record_check(const uint8_t in[RECORD_HEADER_BYTES], uint64_t expected,
			     uint32_t payload_left, struct record *out, struct error *e)
{
	static const uint8_t zero[16];
	struct record_header h;

	memcpy(&h, in, sizeof(h));
	*out = (struct record){
		.kind = h.kind, .bytes = le32_get(h.bytes),
		.ticket = { le64_get(h.number), le16_get(h.phase) },
	};
	if (h.magic != RECORD_MAGIC) {
		error_set(e, -EPROTO, "magic: what follows the last record is not one");
		return WIRE_FAULT_MAGIC;
	}
	if (le16_get(h.phase) > 1 || memcmp(h.zero, zero, sizeof(zero)) != 0) {
		error_set(e, -EPROTO, "flags: unknown bits in a record's header");
		return WIRE_FAULT_FLAGS;
	}
	if (out->ticket.number != expected) {
		error_set(e, -EPROTO, "number: record %llu came again or too early; %llu is next",
			  (unsigned long long)out->ticket.number, (unsigned long long)expected);
		return WIRE_FAULT_REPLAY;
	}
	if (h.kind != (payload_left ? RECORD_PAYLOAD : RECORD_FRAMES)) {
		error_set(e, -EPROTO, "kind: %u where %s", h.kind, payload_left ?
			  "the rest of a payload must follow" : "messages must follow");
		return WIRE_FAULT_ORDER;
	}
	return payload_left ? check_bytes(out->bytes, 1, MIN(payload_left,
				(uint32_t)RECORD_PAYLOAD_BYTES), e) :
			      check_bytes(out->bytes, WIRE_HEADER_BYTES, RECORD_FRAMES_BYTES, e);
}
