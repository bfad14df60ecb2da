/* neighbours.h - which hardware address the hosts of our link have.
 *
 * Only hosts that somebody asked for are kept, so that nobody fills the table by
 * telling; an answer that was not asked for may only confirm what is known.
 *
 *   from     to       when
 *   FREE     ASKING   neighbours_want()
 *   ASKING   KNOWN    it told; asked again each NEIGHBOUR_ASK_NS until then
 *   KNOWN    KNOWN    asked again after NEIGHBOUR_FRESH_NS, used meanwhile
 *   KNOWN    ASKING   it did not answer NEIGHBOUR_TRIES times
 *   any      FREE     neighbours_forget()
 *
 * Threads    A table belongs to its port's thread.
 * Ownership  Plain storage; zeroed is empty.
 * Units      _ns; addresses as in ethernet.h.
 * Errors     -ENOSPC: NEIGHBOURS_MAX are wanted already.
 */
#ifndef PETALS_DATAPLANE_NEIGHBOURS_H
#define PETALS_DATAPLANE_NEIGHBOURS_H

#include "dataplane/ethernet.h"

#define NEIGHBOUR_ASK_NS   (50 * NS_PER_MS)
#define NEIGHBOUR_FRESH_NS (30 * NS_PER_S)

enum { NEIGHBOURS_MAX = 128, NEIGHBOUR_TRIES = 3 };

enum neighbour_state { NEIGHBOUR_FREE, NEIGHBOUR_ASKING, NEIGHBOUR_KNOWN };

struct neighbour {
	enum neighbour_state state;
	uint32_t wanted;                /* by so many paths */
	uint32_t tries;                 /* questions since it last told */
	uint64_t due_ns;                /* of the next question */
	struct ether_host host;
};

struct neighbours { struct neighbour all[NEIGHBOURS_MAX]; };

/* The index of a host, which is asked for from now on. */
int neighbours_want(struct neighbours *n, const uint8_t ip[ETHER_IP_BYTES], uint64_t now_ns);
void neighbours_forget(struct neighbours *n, int index);
/* NULL while it is not known. */
const struct ether_host *neighbours_known(const struct neighbours *n, int index);

/* The address of the next host to be asked about, or NULL; it counts as asked. */
const uint8_t *neighbours_ask(struct neighbours *n, uint64_t now_ns);
uint64_t neighbours_due(const struct neighbours *n);     /* UINT64_MAX: no question */
void neighbours_told(struct neighbours *n, const struct ether_host *host, uint64_t now_ns);

#endif
