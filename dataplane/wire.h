/* wire.h - every byte that crosses between programs: one header, one type
 * table, the fixed payloads.  The single home of the format.
 *
 *   0        4    5     6       8          12         16            24       28
 *   | magic  | v  | type| flags | payload  | header   | session     | step   | epoch |
 *   |        |    |     |       | bytes    | crc32c   |             |        |       |
 *   32         36      40       44    45    46      47      48          52
 *   | position | rows  | width  | enc | hop | small | large | deadline  | payload |
 *   |          |       |        |     |     | credit| credit| us        | crc32c  |
 *   56         60         64
 *   | queue us | compute us | payload ...
 *
 * Adding a message type: a number here, a row in wire_types[] (wire.c) with its
 * payload bounds and who may send it, a case in the receiver, a seed in
 * tests/fuzz/wire_fuzz.c.
 *
 * Threads    Pure functions; safe anywhere.
 * Ownership  None.
 * Units      *_us microseconds, *_bytes; positions and rows are tokens.
 * Errors     wire_decode(): -EPROTO with a sentence naming the field.
 */
#ifndef PETALS_DATAPLANE_WIRE_H
#define PETALS_DATAPLANE_WIRE_H

#include "dataplane/base/address.h"
#include "dataplane/base/error.h"
#include "dataplane/base/types.h"

enum {
	WIRE_MAGIC = 0x534c5450,            /* "PTLS" */
	WIRE_VERSION = 1,
	WIRE_HEADER_BYTES = 64,
	WIRE_PAYLOAD_BYTES_MAX = 256 << 20, /* nothing larger is ever accepted */
	WIRE_SMALL_BYTES = 64 << 10,        /* a payload up to this is small */
	WIRE_NAME_BYTES = 64,
	WIRE_REASON_BYTES = 256,
};

enum wire_type {
	WIRE_HELLO = 1,     /* first on every connection, both ways */
	WIRE_PING,          /* answer at once, from the network thread */
	WIRE_PONG,
	WIRE_CREDIT,        /* only its credit fields matter */
	WIRE_PATH,          /* of the datagram path beside the connection */
	WIRE_GOODBYE,       /* closing on purpose; payload is a reason */

	WIRE_OPEN,          /* client to hop: hold blocks for a session */
	WIRE_OPENED,        /* hop to client: ready */
	WIRE_STEP,          /* rows for [position, position + rows) */
	WIRE_RESULT,        /* last hop to client: wanted rows of a step */
	WIRE_REROUTE,       /* client to hop: new next hop, replay to it */
	WIRE_CLOSE,         /* client to hop: forget the session */
	WIRE_LOST,          /* hop to client: my next hop is gone */
	WIRE_REFUSED,       /* an answer to OPEN, STEP, REROUTE: why not */
	WIRE_LEAVING,       /* hop to client: draining, move this session away */

	WIRE_CALL,          /* control plane, JSON: request */
	WIRE_REPLY,         /* ... its answer */
	WIRE_EVENT,         /* ... something a watcher asked for */

	/* Numbers kept for what design.md promises; refused until served. */
	WIRE_KV_PAGES,      /* pages of a sequence, for a planned move */
	WIRE_FORWARD,       /* fine-tuning: rows through a span, nothing cached */
	WIRE_BACKWARD,      /* ... gradients back through it */
	WIRE_GRADIENT,
	WIRE_TYPE_COUNT
};

enum wire_flag {
	WIRE_WANT_LAST  = 1 << 0,   /* STEP: answer with the last row */
	WIRE_WANT_ALL   = 1 << 1,   /* STEP: answer with every row */
	WIRE_REPLAYED   = 1 << 2,   /* STEP: rebuild the cache, do not answer */
};

/* How rows are encoded: width numbers each, row by row. */
enum wire_encoding {
	WIRE_NONE,          /* no rows */
	WIRE_F32, WIRE_F16, WIRE_BF16,
	WIRE_INT8,          /* blocks of 64: f32 scale, then 64 int8; see row.h */
	WIRE_TOKENS,        /* le32 token ids, width 1 */
	WIRE_ENCODING_COUNT
};

struct wire_header {
	le32 magic;
	uint8_t version, type;
	le16 flags;
	le32 payload_bytes;
	le32 header_crc;            /* crc32c of the header with this field 0 */
	le64 session;
	le32 step, epoch;
	le32 position, rows, width;
	uint8_t encoding, hop;
	uint8_t credit_small, credit_large;   /* slots handed back to the sender */
	le32 deadline_us;           /* left for this request, 0: none */
	le32 payload_crc;           /* 0 where something else vouches for the payload */
	le32 queue_us, compute_us;  /* summed over the hops a step went through */
};
static_assert(sizeof(struct wire_header) == WIRE_HEADER_BYTES, "the wire format is frozen");

/* The header as the rest of the program sees it. */
struct frame {
	enum wire_type type;
	uint16_t flags;
	uint32_t payload_bytes;
	uint64_t session;           /* control plane: the call's number */
	uint32_t step;              /* numbered by the client from 1; makes a retry harmless */
	uint32_t epoch;             /* of the boundary this crosses; only rises */
	uint32_t position;          /* of the first row */
	uint32_t rows, width;
	enum wire_encoding encoding;
	uint8_t hop;                /* of the receiver, counted from the client's first */
	uint8_t credit_small, credit_large;
	uint32_t deadline_us;
	uint32_t queue_us, compute_us;
};

struct wire_type_row {
	const char *name;
	uint32_t least_bytes, most_bytes;   /* of the payload */
	bool rows;                          /* carries encoded rows: bytes must agree */
	bool served;
	bool free;                          /* needs no credit: tiny and always landed */
};
extern const struct wire_type_row wire_types[WIRE_TYPE_COUNT];

/* Roles a program may announce. */
enum wire_role { ROLE_ANY, ROLE_SERVER, ROLE_GATEWAY, ROLE_DIRECTORY, ROLE_TOOL, ROLE_KINDS };

struct wire_hello {
	le64 node;                  /* random at start: tells restarts apart */
	le64 bond;                  /* the dialer's, the same on all lanes of one peer */
	uint8_t role;
	uint8_t version_least, version_most;
	uint8_t lane, lanes;        /* this connection, of how many (the dialer's word) */
	uint8_t reserved[7];
	le32 credit_small, credit_large;    /* slots the sender holds ready for us */
	le32 slot_large_bytes;              /* largest payload it can land */
	char name[WIRE_NAME_BYTES];         /* NUL-terminated */
};
static_assert(sizeof(struct wire_hello) == 40 + WIRE_NAME_BYTES, "the wire format is frozen");

enum wire_path_verb {
	WIRE_PATH_OFFER,            /* send datagrams to this address; from whoever dialed */
	WIRE_PATH_ANSWER,           /* ... and the other way; connection 0: no */
	WIRE_PATH_SWITCH,           /* the last on a lane before messages go by datagrams */
	WIRE_PATH_STOP,             /* no more datagrams; `completed` came that way */
	WIRE_PATH_VERBS
};

/* Which messages of a flow were handed on. */
struct wire_completed {
	le32 done;                  /* every one below */
	le32 reserved;
	le64 later[4];              /* bit b of word i: message done + 64 i + b */
};

struct wire_path {
	le32 epoch;                 /* of the path: counts offers from 1 */
	uint8_t verb, reserved[3];
	le32 connection;            /* receiver-chosen, of packets to it */
	char address[ADDRESS_TEXT_BYTES];   /* of its port */
	uint8_t reserved2[4];
	struct wire_completed completed;
};
static_assert(sizeof(struct wire_path) == 56 + ADDRESS_TEXT_BYTES, "the wire format is frozen");

enum wire_open_flag {
	WIRE_OPEN_PASS_REPLAY = 1 << 0,  /* forward replayed rows: my next hop is new too */
};

struct wire_open {
	le64 identity;              /* of model and kind; a mismatch is refused */
	le32 first, end;            /* blocks of this hop, within the server's span */
	le32 tokens_max;            /* the session's longest sequence, reserved now */
	le32 flags;                 /* enum wire_open_flag */
	le32 next_epoch;            /* epoch of the boundary to the next hop */
	uint8_t hops;               /* in the route; the last one answers the client */
	uint8_t encoding;           /* of the rows this hop sends on */
	uint8_t reserved[2];
	char next[ADDRESS_TEXT_BYTES];   /* next hop, "" for the last */
};
static_assert(sizeof(struct wire_open) == 32 + ADDRESS_TEXT_BYTES, "the wire format is frozen");

struct wire_reroute {
	le32 next_epoch;
	le32 replay_end;            /* send [0, replay_end) as REPLAYED, the rest as steps */
	char next[ADDRESS_TEXT_BYTES];
};
static_assert(sizeof(struct wire_reroute) == 8 + ADDRESS_TEXT_BYTES, "the wire format is frozen");

enum wire_refusal {
	REFUSED_BUSY = 1,       /* no pages or slots within the deadline; try another */
	REFUSED_UNKNOWN,        /* no such session here (restarted?) */
	REFUSED_STALE,          /* epoch is behind */
	REFUSED_GAP,            /* position is ahead of the cache */
	REFUSED_MODEL,          /* other weights, other blocks, other encoding */
	REFUSED_DRAINING,
	REFUSED_INVALID,        /* the request makes no sense */
	REFUSED_INTERNAL,       /* the server failed; its log says how */
	REFUSAL_COUNT
};

struct wire_refused {
	le32 refusal;
	le32 type;              /* of the refused message */
	le32 expected;          /* position or epoch, where it helps */
	char reason[WIRE_REASON_BYTES];
};
static_assert(sizeof(struct wire_refused) == 12 + WIRE_REASON_BYTES, "the wire format is frozen");

const char *wire_refusal_name(uint32_t refusal);        /* "busy"; never NULL */
const char *wire_role_name(uint32_t role);
const char *wire_encoding_name(uint32_t encoding);

/* Header to and from bytes.  Encoding fills both checksums (payload is NULL when there is
 * none, or when it has better protection than a checksum).  Decoding checks magic,
 * version, type, flags, encoding, bounds of the type's row, and that rows x width fits the
 * payload.
 */
void wire_encode(const struct frame *f, const void *payload, uint8_t out[WIRE_HEADER_BYTES]);
int wire_decode(const uint8_t in[WIRE_HEADER_BYTES], struct frame *out, struct error *e);
bool wire_payload_intact(const uint8_t header[WIRE_HEADER_BYTES], uint32_t payload_crc);

/* wire_decode() that also says which check failed, for counting; the message
 * layer adds the kinds from PAYLOAD_CRC on.
 */
enum wire_fault {
	WIRE_FAULT_NONE, WIRE_FAULT_MAGIC, WIRE_FAULT_HEADER_CRC, WIRE_FAULT_VERSION,
	WIRE_FAULT_TYPE, WIRE_FAULT_FLAGS, WIRE_FAULT_ENCODING, WIRE_FAULT_BOUNDS,
	WIRE_FAULT_ROWS,
	WIRE_FAULT_PAYLOAD_CRC,     /* wire_payload_intact() said no */
	WIRE_FAULT_HELLO,           /* its payload makes no sense */
	WIRE_FAULT_ORDER,           /* the right message at the wrong time */
	WIRE_FAULT_CREDIT,          /* sent or returned more than was granted */
	WIRE_FAULT_FLOOD,           /* too many free messages at once */
	WIRE_FAULT_REPLAY,          /* a record came again */
	WIRE_FAULT_SEAL,            /* a record does not verify */
	WIRE_FAULT_ROLE,            /* announced a role that its certificate lacks */
	WIRE_FAULT_COUNT
};
enum wire_fault wire_inspect(const uint8_t in[WIRE_HEADER_BYTES], struct frame *out,
			     struct error *e);
const char *wire_fault_name(enum wire_fault fault);       /* never NULL */

/* Bytes of `rows` rows of `width` numbers; 0 if that overflows the maximum. */
uint64_t wire_rows_bytes(enum wire_encoding encoding, uint64_t rows, uint64_t width);

/* CRC-32C (Castagnoli), in hardware where the host can. */
uint32_t crc32c(uint32_t seed, const void *data, size_t bytes);

/* Copies text into a fixed field, always NUL-terminated; and back: false when
 * the field has no NUL.
 */
void wire_text_set(char *field, size_t bytes, const char *text);
bool wire_text_ok(const char *field, size_t bytes);

#endif
