/* record.h - the sealed stream of one lane: what crosses a connection once its TLS
 * handshake is done.  Each record is a header in clear, authenticated with what
 * follows it; then ciphertext of `bytes`; then the tag.
 *
 *   0      1      2       4         8         16                       32
 *   | 'P'  | kind | phase | bytes   | number  | zero                   | ... | tag 16 |
 *
 *   FRAMES   messages, one behind the other: header (wire.h) and payload, if that is
 *            INLINE bytes or less; a longer payload follows in records of its own, so a
 *            message with one ends its record
 *   PAYLOAD  the next bytes of the payload announced last, decrypted straight into
 *            the slot where it lands
 *
 * So nothing is looked at before it verified, and a payload is written once.  Numbers
 * count from 0 in each direction; the tag is seal.h's.
 *
 * The first byte differs from every TLS record's, since the side that dialed may
 * still hear a TLS alert in place of the first record.
 *
 * Threads    Pure functions; safe anywhere.
 * Ownership  None.
 * Units      _bytes.
 * Errors     record_check(): a fault and a sentence that names the field.
 */
#ifndef PETALS_DATAPLANE_RECORD_H
#define PETALS_DATAPLANE_RECORD_H

#include "dataplane/base/error.h"
#include "dataplane/base/types.h"
#include "dataplane/seal.h"
#include "dataplane/wire.h"

enum {
	RECORD_MAGIC = 'P',
	RECORD_HEADER_BYTES = SEAL_HEADER_BYTES,
	RECORD_OVERHEAD_BYTES = RECORD_HEADER_BYTES + SEAL_TAG_BYTES,
	RECORD_INLINE_BYTES = 1 << 10,
	RECORD_FRAMES_BYTES = 8 << 10,          /* at most */
	RECORD_PAYLOAD_BYTES = 64 << 10,        /* at most */
};

enum record_kind { RECORD_FRAMES = 1, RECORD_PAYLOAD, RECORD_KINDS };

struct record_header {
	uint8_t magic, kind;
	le16 phase;                     /* 0 or 1: seal.h */
	le32 bytes;                     /* of ciphertext */
	le64 number;
	uint8_t zero[16];
};
static_assert(sizeof(struct record_header) == RECORD_HEADER_BYTES, "the record format is frozen");

struct record {
	enum record_kind kind;
	uint32_t bytes;
	struct seal_ticket ticket;
};

void record_encode(const struct record *r, uint8_t out[RECORD_HEADER_BYTES]);
/* `expected` is the number that comes next, `payload_left` what is missing of the payload
 * under way: 0 wants FRAMES.  WIRE_FAULT_NONE, or what is wrong.
 */
enum wire_fault record_check(const uint8_t in[RECORD_HEADER_BYTES], uint64_t expected,
			     uint32_t payload_left, struct record *out, struct error *e);

/* Whether a stream that should carry records goes on with a TLS record (its alert). */
static inline bool record_is_tls(uint8_t first)
{
	return first >= 0x14 && first <= 0x17;
}

#endif
