/* flow_window.c - the delay-based window. */
#include "dataplane/flow_window.h"

#include <math.h>

enum {
	PACE_BURST = 16,                /* packets that may leave together */
	RTT_UNKNOWN_NS = 1000000,
	LEAST_PERIOD_S = 5,
};

static const double packets_at_start = 16;
static const double packets_least = 0.1;
static const double delay_least = 8;    /* packets that delay alone leaves, and allows */
static const double cut_most = 0.5;     /* of the window, at once */
static const double cut_slope = 0.8;    /* per part of the delay above target */
static const double loss_cut = 0.7;     /* what a loss leaves */
static const double pace_headroom = 1.25;

/* Extra target for small windows: from 0 at `scale_most` packets up to the whole
 * range, four targets, at `scale_least`.
 */
static const double scale_least = 0.1, scale_most = 100, scale_range = 4;

/* Whenever the window or the round trip changes: divided once, used for each packet. */
static void set_gap(struct flow_window *w)
{
	uint64_t rtt_ns = w->srtt_ns ? w->srtt_ns : RTT_UNKNOWN_NS;

	w->gap_ns = (uint64_t)((double)rtt_ns / (w->packets * pace_headroom));
}

void flow_window_start(struct flow_window *w, uint64_t target_ns, uint32_t most)
{
	*w = (struct flow_window){
		.target_ns = target_ns, .most = most, .slow_start = true,
		.packets = MIN(packets_at_start, (double)most),
		.round_least_ns = UINT64_MAX,
	};
	set_gap(w);
}

static void note_least(struct flow_window *w, uint64_t delay_ns, uint64_t now_ns)
{
	if (now_ns - w->least_since_ns > LEAST_PERIOD_S * NS_PER_S) {
		w->least_before_ns = w->least_ns;
		w->least_ns = delay_ns;
		w->least_since_ns = now_ns;
	}
	w->least_ns = MIN(w->least_ns, delay_ns);
}

void flow_window_rtt(struct flow_window *w, uint64_t rtt_ns, uint64_t delay_ns, uint64_t now_ns)
{
	uint64_t off_ns;

	if (w->srtt_ns == 0) {
		w->srtt_ns = rtt_ns;
		w->var_ns = rtt_ns / 2;
		w->least_ns = w->least_before_ns = delay_ns;
		w->least_since_ns = now_ns;
		set_gap(w);
		return;
	}
	off_ns = rtt_ns > w->srtt_ns ? rtt_ns - w->srtt_ns : w->srtt_ns - rtt_ns;
	w->var_ns = (3 * w->var_ns + off_ns) / 4;
	w->srtt_ns = MAX(1ull, (7 * w->srtt_ns + rtt_ns) / 8);
	note_least(w, delay_ns, now_ns);
	set_gap(w);
}

static double target(const struct flow_window *w)
{
	double low = 1 / sqrt(scale_most), high = 1 / sqrt(scale_least);
	double part = (1 / sqrt(MAX(w->packets, packets_least)) - low) / (high - low);

	part = MIN(MAX(part, 0.0), 1.0);
	return (double)MIN(w->least_ns, w->least_before_ns) +
	       (double)w->target_ns * (1 + scale_range * part);
}

static void set(struct flow_window *w, double packets)
{
	w->packets = MIN(MAX(packets, packets_least), w->most);
	set_gap(w);
}

/* At most once per round trip. */
static void cut(struct flow_window *w, double left, uint64_t now_ns)
{
	w->slow_start = false;
	if (w->cut_ns && now_ns - w->cut_ns < w->srtt_ns)
		return;
	w->cut_ns = now_ns;
	set(w, w->packets * MAX(left, 1 - cut_most));
}

static void end_round(struct flow_window *w, double goal, uint64_t now_ns)
{
	double least_ns = (double)w->round_least_ns, before = w->packets;

	w->round_ns = now_ns;
	if (w->round_least_ns != UINT64_MAX && least_ns > goal) {
		cut(w, 1 - cut_slope * (least_ns - goal) / least_ns, now_ns);
		set(w, MAX(w->packets, MIN(before, delay_least)));
	}
	w->round_least_ns = UINT64_MAX;
}

void flow_window_acked(struct flow_window *w, uint32_t packets, uint64_t delay_ns, double marked,
		       uint64_t now_ns)
{
	double goal = target(w);

	w->before_timeout = 0;
	if (delay_ns)
		w->round_least_ns = MIN(w->round_least_ns, delay_ns);
	if (now_ns - w->round_ns >= w->srtt_ns)
		end_round(w, goal, now_ns);
	if (marked > 0)
		cut(w, 1 - marked / 2, now_ns);
	else if ((double)delay_ns > goal && w->packets >= delay_least)
		return;
	else if (w->slow_start)
		set(w, w->packets + packets);
	else
		set(w, w->packets + packets / MAX(w->packets, 1.0));
}

void flow_window_lost(struct flow_window *w, uint64_t now_ns)
{
	cut(w, loss_cut, now_ns);
}

void flow_window_timeout(struct flow_window *w, uint64_t now_ns)
{
	if (w->before_timeout == 0)
		w->before_timeout = w->packets;
	w->slow_start = false;
	w->cut_ns = now_ns;
	set(w, MIN(w->packets, 1.0));
}

void flow_window_undo(struct flow_window *w)
{
	if (w->before_timeout > 0)
		set(w, MAX(w->packets, w->before_timeout));
	w->before_timeout = 0;
}

uint64_t flow_window_when(const struct flow_window *w, uint32_t in_flight)
{
	uint64_t burst_ns = PACE_BURST * w->gap_ns;

	if (w->packets < 1)
		return in_flight == 0 ? w->pace_ns : UINT64_MAX;
	if (in_flight >= w->packets)
		return UINT64_MAX;
	return w->pace_ns - MIN(w->pace_ns, burst_ns);
}

void flow_window_sent(struct flow_window *w, uint64_t now_ns)
{
	w->pace_ns = MAX(w->pace_ns, now_ns) + w->gap_ns;
}

uint64_t flow_window_rto(const struct flow_window *w, uint64_t least_ns)
{
	return MAX(least_ns, w->srtt_ns + 4 * w->var_ns);
}
