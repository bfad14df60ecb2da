/* boundary.h - the sender's side of one hop boundary: keeps what it sent, sends what
 * is due, replays to whoever takes the receiver's place.
 *
 * The client has one (to the first hop) and every hop has one: to the next hop or, for
 * the last hop, back to the client.  Rows are kept in the wire's encoding together with
 * the steps they came in, until the session closes.
 *
 *     0                cursor        replay_end            end           reserved
 *     |==================|...............|....................|..............|
 *      sent to the target  due, REPLAYED   due, step by step    being computed
 *
 * A boundary that answers (the last hop's) keeps wanted rows only and sends RESULTs.
 *
 * Threads    The node's core thread; memory lent by boundary_reserve() may be written
 *            by another thread until boundary_append().
 * Ownership  boundary_open() / boundary_close().
 * Units      Positions and rows are tokens; _bytes.
 * Errors     -ENOMEM.  boundary_reserve(): NULL.
 */
#ifndef PETALS_CONTROL_BOUNDARY_H
#define PETALS_CONTROL_BOUNDARY_H

#include "control/node.h"

struct boundary;

struct boundary_options {
	struct node *node;
	uint64_t session;
	uint32_t width;
	enum wire_encoding encoding;
	uint32_t chunk_rows;            /* most rows of a replayed message */
	bool answers;                   /* the last hop's */
};

/* One step as it passes the boundary. */
struct boundary_step {
	uint32_t step;                  /* the client's number */
	uint32_t position, rows;        /* what it covers */
	uint32_t kept;                  /* rows stored here: all, or the wanted ones */
	uint16_t flags;                 /* WIRE_WANT_*, WIRE_REPLAYED */
	uint32_t deadline_us, queue_us, compute_us;
};

int boundary_open(struct boundary **out, const struct boundary_options *o);
void boundary_close(struct boundary *b);                 /* NULL is fine */

/* Contiguous memory for the next `rows` rows.  Steps are reserved and appended in the
 * same order; several may be reserved at once.  rows may be 0.
 */
void *boundary_reserve(struct boundary *b, uint32_t rows);
/* The rows of the oldest reservation are written: they may be sent. */
int boundary_append(struct boundary *b, const struct boundary_step *step);

enum wire_encoding boundary_encoding(const struct boundary *b);
uint32_t boundary_end(const struct boundary *b);         /* position after the last step */
uint64_t boundary_bytes(const struct boundary *b);       /* host memory held */

/* Who receives from now on; sending starts over at position 0: what lies before
 * replay_end goes as REPLAYED in large messages, the rest step by step.  Steps that
 * arrived REPLAYED themselves go on only if pass_replay (the receiver is as new as
 * we are).
 */
struct boundary_target {
	uint32_t peer;
	uint8_t hop;
	uint32_t epoch;
	uint32_t replay_end;
	bool pass_replay;
};
void boundary_target(struct boundary *b, const struct boundary_target *t);
void boundary_untarget(struct boundary *b);              /* receiver is gone: only keep */
uint32_t boundary_peer(const struct boundary *b);        /* 0: none */

/* A step that had been answered came again: answer it again. */
void boundary_repeat(struct boundary *b, uint32_t step);
/* Sends what credit allows.  0, or -EMSGSIZE when the receiver cannot land a row, or the
 * transport's error.
 */
int boundary_pump(struct boundary *b);
bool boundary_idle(const struct boundary *b);            /* nothing due */

#endif
