/* flow_window.h - how many packets may be on the way, and how fast they leave.
 *
 * After Swift: the delay of the network, which is the round trip less what the hosts
 * at both ends may have let it wait, against a target; a packet more per round trip
 * below it, a cut in proportion above it, at most once per round trip and never below
 * half.  The target is the least delay seen lately and some queueing, more of it for
 * small windows, so that many flows share a link fairly.
 *
 * On shared hosts a delay may be long, too, because a loop did not run, which no
 * smaller window mends.  So a round is judged by the least of its delays (a queue is
 * in them all), and delay alone neither makes a window smaller than a few packets nor
 * keeps it there; loss, marks and timeouts do.  A window below one packet is a pause
 * between packets.
 *
 * Threads    A window belongs to its flow's thread.
 * Ownership  Plain storage.
 * Units      _ns; packets.
 * Errors     None.
 */
#ifndef PETALS_DATAPLANE_FLOW_WINDOW_H
#define PETALS_DATAPLANE_FLOW_WINDOW_H

#include "dataplane/base/types.h"

struct flow_window {
	uint64_t target_ns;             /* of queueing, from the options */
	double most;

	double packets;
	bool slow_start;
	uint64_t srtt_ns, var_ns;       /* 0: not measured */
	uint64_t least_ns;              /* delay, of this and the last period */
	uint64_t least_before_ns, least_since_ns;
	uint64_t round_ns;              /* when this round began */
	uint64_t round_least_ns;        /* of its delays; UINT64_MAX: none yet */
	uint64_t cut_ns;                /* when it was last made smaller */
	double before_timeout;          /* for undo; 0: nothing to undo */
	uint64_t gap_ns;                /* between packets, at this window and round trip */
	uint64_t pace_ns;               /* the next packet may leave */
};

void flow_window_start(struct flow_window *w, uint64_t target_ns, uint32_t most);

/* A round trip was measured, and how much of it was the network's. */
void flow_window_rtt(struct flow_window *w, uint64_t rtt_ns, uint64_t delay_ns, uint64_t now_ns);
/* Packets were acknowledged by an ACK that measured delay_ns (0: it could not); this
 * part of them had met a congested switch.
 */
void flow_window_acked(struct flow_window *w, uint32_t packets, uint64_t delay_ns, double marked,
		       uint64_t now_ns);
void flow_window_lost(struct flow_window *w, uint64_t now_ns);
void flow_window_timeout(struct flow_window *w, uint64_t now_ns);
void flow_window_undo(struct flow_window *w);            /* the timeout was spurious */

/* When the next packet may leave; UINT64_MAX: only an acknowledgement helps. */
uint64_t flow_window_when(const struct flow_window *w, uint32_t in_flight);
void flow_window_sent(struct flow_window *w, uint64_t now_ns);
uint64_t flow_window_rto(const struct flow_window *w, uint64_t least_ns);

#endif
