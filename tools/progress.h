/* progress.h - how far a long load or run is, on a terminal as one line that moves, otherwise as
 * a line every few seconds.
 *
 * Threads    report may come from any one thread; begin and end from main().
 * Ownership  Plain storage.
 * Units      Bytes, or what `unit` says.
 * Errors     None.
 */
#ifndef PETALS_TOOLS_PROGRESS_H
#define PETALS_TOOLS_PROGRESS_H

#include <stdatomic.h>

#include "compute/backend.h"

struct progress {
	const char *what;
	const char *unit;               /* of what is counted; NULL: bytes, shown as GB */
	bool terminal;
	uint64_t started_ns;
	_Atomic uint64_t shown_ns;
	atomic_bool open;
};

void progress_begin(struct progress *p, const char *what, const char *unit);
struct load_progress progress_reporter(struct progress *p);
void progress_end(struct progress *p);

#endif
