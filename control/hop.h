/* hop.h - the part of sessions that runs on one server: for each, its sequence in the KV
 * cache, the steps it has taken in, and the boundary to the next hop.
 *
 *   from      to        by                       hop_check() asserts
 *   -         WAITING   OPEN without room yet    no sequence, no boundary
 *   WAITING   DIALING   pages and history fit    sequence, boundary, no target; OPENED was said
 *   -         DIALING   OPEN
 *   DIALING   READY     next hop is up           boundary has a target
 *   READY     SEVERED   next hop lost            LOST was said, no target
 *   SEVERED   DIALING   REROUTE
 *   READY     DIALING   REROUTE
 *   any       CLOSED    CLOSE, client lost, deadline, failure; freed once no step is running
 *
 * Steps are taken in by position: what was had already is not run again but answered again,
 * what lies ahead is refused, what overlaps is trimmed.  An epoch behind the boundary's is
 * refused; one ahead is adopted.
 *
 * Threads    The node's core thread; blocks run in the runner's.
 * Ownership  hops_open() / hops_close(); everything in the options is borrowed.
 * Units      Tokens, _ns, _bytes.
 * Errors     Refusals travel to the client as REFUSED with a reason.
 */
#ifndef PETALS_CONTROL_HOP_H
#define PETALS_CONTROL_HOP_H

#include "compute/runner.h"
#include "compute/scheduler.h"
#include "control/node.h"
#include "control/view.h"
#include "dataplane/base/counters.h"

struct hops;

struct hops_options {
	struct node *node;
	const struct backend *backend;
	struct span *span;
	uint64_t fingerprint;
	enum wire_encoding round;       /* the encoding rows leave in */
	uint32_t sessions_max;
	uint32_t works_max;             /* steps in the runner at once; a power of two */
	uint64_t history_bytes;
	uint32_t tokens_max;            /* longest sequence the span was opened for */
	uint32_t rows_max, entries_max, prefill_rows;
	bool threaded;
	uint64_t cost_ns;
};

int hops_open(struct hops **out, const struct hops_options *o, struct error *e);
void hops_close(struct hops *h);                         /* NULL is fine */
struct counters *hops_counters(struct hops *h);
void hops_load(const struct hops *h, struct member_load *out);

/* Whether a step told that the device is lost (backend.h): nothing runs here any more. */
bool hops_lost(const struct hops *h);

/* Refuses OPENs from now on and tells every client to move its session. */
void hops_drain(struct hops *h);

/* Runs one step of one zero row through all blocks on a page of its own; done(ctx, 0)
 * when it went through.
 */
int hops_canary(struct hops *h, void (*done)(void *ctx, int status), void *ctx);

/* Simulations: what a batch costs from now on. */
void hops_set_cost(struct hops *h, uint64_t cost_ns);

#endif
