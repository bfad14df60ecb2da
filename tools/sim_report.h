/* sim_report.h - what petals-sim says: progress, failures, the summary.
 *
 * Threads    main()'s.
 * Ownership  Plain storage; sim_report_close() frees the pauses.
 * Units      _ns of virtual time for pauses, of real time for `started_ns`.
 * Errors     sim_report_pause(): -ENOMEM with a sentence.
 */
#ifndef PETALS_TOOLS_SIM_REPORT_H
#define PETALS_TOOLS_SIM_REPORT_H

#include "dataplane/base/error.h"
#include "dataplane/base/types.h"

struct sim_report {
	uint64_t total;                 /* swarms to run */
	bool json;
	char command[1024];             /* that repeats a swarm, but for its seed */

	uint64_t swarms, generations, faults, repairs, failed;
	uint64_t first_failed;          /* seed */
	uint64_t longest_ns, longest_seed;      /* pause, and where it was */
	double *pauses_ms;
	uint32_t pause_count, pause_room;
	bool terminal;
	uint64_t started_ns, shown_ns;
};

void sim_report_begin(struct sim_report *r);
void sim_report_close(struct sim_report *r);
int sim_report_pause(struct sim_report *r, uint64_t seed, uint64_t pause_ns, struct error *e);
/* Prints it at once, with the command that repeats it. */
void sim_report_failure(struct sim_report *r, uint64_t seed, const char *what);
void sim_report_progress(struct sim_report *r);
void sim_report_print(struct sim_report *r);

#endif
