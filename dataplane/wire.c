/* wire.c - the type table, and headers to and from bytes. */
#include "dataplane/wire.h"

#include <errno.h>
#include <string.h>

enum {
	FLAGS_KNOWN = WIRE_WANT_LAST | WIRE_WANT_ALL | WIRE_REPLAYED,
	NUMBERS_PER_BLOCK = 64,         /* of WIRE_INT8 */
	JSON_BYTES_MAX = 8 << 20,
	ROWS_BYTES_MAX = WIRE_PAYLOAD_BYTES_MAX,
};

const struct wire_type_row wire_types[WIRE_TYPE_COUNT] = {
	/*                  name       least most               rows   served free */
	[WIRE_HELLO]    = { "hello",   sizeof(struct wire_hello), sizeof(struct wire_hello),
			    false, true, true },
	[WIRE_PING]     = { "ping",     8, 8,                   false, true,  true },
	[WIRE_PONG]     = { "pong",     8, 8,                   false, true,  true },
	[WIRE_CREDIT]   = { "credit",   0, 0,                   false, true,  true },
	[WIRE_PATH]     = { "path",    sizeof(struct wire_path), sizeof(struct wire_path),
			    false, true, true },
	[WIRE_GOODBYE]  = { "goodbye",  0, WIRE_REASON_BYTES,   false, true,  true },

	[WIRE_OPEN]     = { "open",    sizeof(struct wire_open), sizeof(struct wire_open),
			    false, true, false },
	[WIRE_OPENED]   = { "opened",   0, WIRE_REASON_BYTES,   false, true,  true },
	[WIRE_STEP]     = { "step",     0, ROWS_BYTES_MAX,      true,  true,  false },
	[WIRE_RESULT]   = { "result",   0, ROWS_BYTES_MAX,      true,  true,  false },
	[WIRE_REROUTE]  = { "reroute", sizeof(struct wire_reroute), sizeof(struct wire_reroute),
			    false, true, false },
	[WIRE_CLOSE]    = { "close",    0, 0,                   false, true,  true },
	[WIRE_LOST]     = { "lost",     0, WIRE_REASON_BYTES,   false, true,  true },
	[WIRE_REFUSED]  = { "refused", sizeof(struct wire_refused), sizeof(struct wire_refused),
			    false, true, true },
	[WIRE_LEAVING]  = { "leaving",  0, WIRE_REASON_BYTES,   false, true,  true },

	[WIRE_CALL]     = { "call",     0, JSON_BYTES_MAX,      false, true,  false },
	[WIRE_REPLY]    = { "reply",    0, JSON_BYTES_MAX,      false, true,  false },
	[WIRE_EVENT]    = { "event",    0, JSON_BYTES_MAX,      false, true,  false },

	[WIRE_KV_PAGES] = { "kv_pages", 0, ROWS_BYTES_MAX,      false, false, false },
	[WIRE_FORWARD]  = { "forward",  0, ROWS_BYTES_MAX,      true,  false, false },
	[WIRE_BACKWARD] = { "backward", 0, ROWS_BYTES_MAX,      true,  false, false },
	[WIRE_GRADIENT] = { "gradient", 0, ROWS_BYTES_MAX,      true,  false, false },
};

static const char *const fault_names[WIRE_FAULT_COUNT] = {
	[WIRE_FAULT_NONE] = "none",         [WIRE_FAULT_MAGIC] = "magic",
	[WIRE_FAULT_HEADER_CRC] = "header_checksum",
	[WIRE_FAULT_VERSION] = "version",   [WIRE_FAULT_TYPE] = "type",
	[WIRE_FAULT_FLAGS] = "flags",       [WIRE_FAULT_ENCODING] = "encoding",
	[WIRE_FAULT_BOUNDS] = "bounds",     [WIRE_FAULT_ROWS] = "rows",
	[WIRE_FAULT_PAYLOAD_CRC] = "payload_checksum",
	[WIRE_FAULT_HELLO] = "hello",       [WIRE_FAULT_ORDER] = "order",
	[WIRE_FAULT_CREDIT] = "credit",     [WIRE_FAULT_FLOOD] = "flood",
	[WIRE_FAULT_REPLAY] = "replay",     [WIRE_FAULT_SEAL] = "seal",
	[WIRE_FAULT_ROLE] = "wrong_role",
};

static const char *const refusal_names[REFUSAL_COUNT] = {
	[REFUSED_BUSY] = "busy",         [REFUSED_UNKNOWN] = "unknown",
	[REFUSED_STALE] = "stale",       [REFUSED_GAP] = "gap",
	[REFUSED_MODEL] = "model",       [REFUSED_DRAINING] = "draining",
	[REFUSED_INVALID] = "invalid",   [REFUSED_INTERNAL] = "internal",
};

static const char *const role_names[ROLE_KINDS] = {
	[ROLE_ANY] = "any",              [ROLE_SERVER] = "server",
	[ROLE_GATEWAY] = "gateway",      [ROLE_DIRECTORY] = "directory",
	[ROLE_TOOL] = "tool",
};

/* How a number of each encoding is stored. */
static const struct {
	const char *name;
	uint32_t bytes;         /* of one number */
	uint32_t block_bytes;   /* extra, before each block of numbers */
} encodings[WIRE_ENCODING_COUNT] = {
	[WIRE_NONE]   = { "none",   0, 0 },
	[WIRE_F32]    = { "f32",    4, 0 },
	[WIRE_F16]    = { "f16",    2, 0 },
	[WIRE_BF16]   = { "bf16",   2, 0 },
	[WIRE_INT8]   = { "int8",   1, 4 },
	[WIRE_TOKENS] = { "tokens", 4, 0 },
};

static const char *name_in(const char *const *names, uint32_t count, uint32_t index)
{
	return index < count && names[index] ? names[index] : "unknown";
}

const char *wire_fault_name(enum wire_fault fault)
{
	return name_in(fault_names, WIRE_FAULT_COUNT, fault);
}

const char *wire_refusal_name(uint32_t refusal)
{
	return name_in(refusal_names, REFUSAL_COUNT, refusal);
}

const char *wire_role_name(uint32_t role)
{
	return name_in(role_names, ROLE_KINDS, role);
}

const char *wire_encoding_name(uint32_t encoding)
{
	return encoding < WIRE_ENCODING_COUNT ? encodings[encoding].name : "unknown";
}

uint64_t wire_rows_bytes(enum wire_encoding encoding, uint64_t rows, uint64_t width)
{
	uint64_t row, blocks;

	if ((unsigned)encoding >= WIRE_ENCODING_COUNT || width > WIRE_PAYLOAD_BYTES_MAX)
		return 0;
	blocks = (width + NUMBERS_PER_BLOCK - 1) / NUMBERS_PER_BLOCK;
	row = width * encodings[encoding].bytes + blocks * encodings[encoding].block_bytes;
	if (row == 0 || rows > WIRE_PAYLOAD_BYTES_MAX / row)
		return 0;
	return rows * row;
}

/* The header's own checksum, taken as if its field held 0. */
static uint32_t header_crc(const uint8_t header[WIRE_HEADER_BYTES])
{
	enum { AT = offsetof(struct wire_header, header_crc), AFTER = AT + 4 };
	static const uint8_t zeros[4];
	uint32_t crc = crc32c(0, header, AT);

	crc = crc32c(crc, zeros, sizeof(zeros));
	return crc32c(crc, header + AFTER, WIRE_HEADER_BYTES - AFTER);
}

void wire_encode(const struct frame *f, const void *payload, uint8_t out[WIRE_HEADER_BYTES])
{
	struct wire_header h = {
		.magic = le32_of(WIRE_MAGIC), .version = WIRE_VERSION,
		.type = (uint8_t)f->type, .flags = le16_of(f->flags),
		.payload_bytes = le32_of(f->payload_bytes),
		.session = le64_of(f->session), .step = le32_of(f->step),
		.epoch = le32_of(f->epoch), .position = le32_of(f->position),
		.rows = le32_of(f->rows), .width = le32_of(f->width),
		.encoding = (uint8_t)f->encoding, .hop = f->hop,
		.credit_small = f->credit_small, .credit_large = f->credit_large,
		.deadline_us = le32_of(f->deadline_us),
		.payload_crc = le32_of(f->payload_bytes && payload ?
				       crc32c(0, payload, f->payload_bytes) : 0),
		.queue_us = le32_of(f->queue_us), .compute_us = le32_of(f->compute_us),
	};

	/* With its field 0 the checksum is a plain one. */
	h.header_crc = le32_of(crc32c(0, &h, sizeof(h)));
	memcpy(out, &h, sizeof(h));
}

bool wire_payload_intact(const uint8_t header[WIRE_HEADER_BYTES], uint32_t payload_crc)
{
	struct wire_header h;

	memcpy(&h, header, sizeof(h));
	return le32_get(h.payload_crc) == payload_crc;
}

/* Payload size against the bounds of the type, and against rows x width. */
static enum wire_fault check_payload(const struct frame *f, struct error *e)
{
	const struct wire_type_row *row = &wire_types[f->type];
	uint64_t bytes;

	if (f->payload_bytes < row->least_bytes || f->payload_bytes > row->most_bytes) {
		error_set(e, -EPROTO, "payload_bytes: a %s message of %u bytes; %u to %u are "
			  "allowed", row->name, f->payload_bytes, row->least_bytes,
			  row->most_bytes);
		return WIRE_FAULT_BOUNDS;
	}
	if (!row->rows && f->encoding != WIRE_NONE) {
		error_set(e, -EPROTO, "encoding: a %s message carries no rows, yet claims %s",
			  row->name, wire_encoding_name(f->encoding));
		return WIRE_FAULT_ENCODING;
	}
	if (!row->rows)
		return WIRE_FAULT_NONE;
	if (f->encoding == WIRE_NONE) {
		if (f->payload_bytes == 0)
			return WIRE_FAULT_NONE;
		error_set(e, -EPROTO, "encoding: a %s message of %u bytes names no encoding",
			  row->name, f->payload_bytes);
		return WIRE_FAULT_ENCODING;
	}
	bytes = wire_rows_bytes(f->encoding, f->rows, f->width);
	if (bytes == 0 || bytes != f->payload_bytes ||
	    (f->encoding == WIRE_TOKENS && f->width != 1)) {
		error_set(e, -EPROTO, "rows: %u rows of %u numbers as %s do not make a payload of "
			  "%u bytes", f->rows, f->width, wire_encoding_name(f->encoding),
			  f->payload_bytes);
		return WIRE_FAULT_ROWS;
	}
	return WIRE_FAULT_NONE;
}

static enum wire_fault check_fields(const struct wire_header *h, struct error *e)
{
	/* HELLO is where versions are agreed on, so any version may carry it; its
	 * layout and the header's never change.
	 */
	if (h->version != WIRE_VERSION && h->type != WIRE_HELLO) {
		error_set(e, -EPROTO, "version: %u; this program speaks %d", h->version,
			  WIRE_VERSION);
		return WIRE_FAULT_VERSION;
	}
	if (h->type == 0 || h->type >= WIRE_TYPE_COUNT) {
		error_set(e, -EPROTO, "type: %u is unknown", h->type);
		return WIRE_FAULT_TYPE;
	}
	if (!wire_types[h->type].served) {
		error_set(e, -EPROTO, "type: %s is not served by this version",
			  wire_types[h->type].name);
		return WIRE_FAULT_TYPE;
	}
	if (le16_get(h->flags) & ~FLAGS_KNOWN) {
		error_set(e, -EPROTO, "flags: 0x%x holds unknown bits", le16_get(h->flags));
		return WIRE_FAULT_FLAGS;
	}
	if (h->encoding >= WIRE_ENCODING_COUNT) {
		error_set(e, -EPROTO, "encoding: %u is unknown", h->encoding);
		return WIRE_FAULT_ENCODING;
	}
	return WIRE_FAULT_NONE;
}

enum wire_fault wire_inspect(const uint8_t in[WIRE_HEADER_BYTES], struct frame *out,
			     struct error *e)
{
	struct wire_header h;
	enum wire_fault fault;

	memcpy(&h, in, sizeof(h));
	if (le32_get(h.magic) != WIRE_MAGIC) {
		error_set(e, -EPROTO, "magic: 0x%08x where every message begins with 0x%08x",
			  le32_get(h.magic), WIRE_MAGIC);
		return WIRE_FAULT_MAGIC;
	}
	if (le32_get(h.header_crc) != header_crc(in)) {
		error_set(e, -EPROTO, "header_crc: 0x%08x does not match the header",
			  le32_get(h.header_crc));
		return WIRE_FAULT_HEADER_CRC;
	}
	fault = check_fields(&h, e);
	if (fault != WIRE_FAULT_NONE)
		return fault;
	*out = (struct frame){
		.type = h.type, .flags = le16_get(h.flags),
		.payload_bytes = le32_get(h.payload_bytes),
		.session = le64_get(h.session), .step = le32_get(h.step),
		.epoch = le32_get(h.epoch), .position = le32_get(h.position),
		.rows = le32_get(h.rows), .width = le32_get(h.width),
		.encoding = h.encoding, .hop = h.hop,
		.credit_small = h.credit_small, .credit_large = h.credit_large,
		.deadline_us = le32_get(h.deadline_us),
		.queue_us = le32_get(h.queue_us), .compute_us = le32_get(h.compute_us),
	};
	return check_payload(out, e);
}

int wire_decode(const uint8_t in[WIRE_HEADER_BYTES], struct frame *out, struct error *e)
{
	return wire_inspect(in, out, e) == WIRE_FAULT_NONE ? 0 : -EPROTO;
}

void wire_text_set(char *field, size_t bytes, const char *text)
{
	size_t length = strnlen(text, bytes - 1);

	memcpy(field, text, length);
	memset(field + length, 0, bytes - length);
}

bool wire_text_ok(const char *field, size_t bytes)
{
	return memchr(field, '\0', bytes) != NULL;
}
