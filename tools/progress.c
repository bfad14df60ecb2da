/* progress.c - owns the progress line on stderr.
 */
#include "tools/progress.h"

#include <stdio.h>
#include <unistd.h>

#include "dataplane/base/clock.h"

/* What is over sooner needs no line. */
#define QUIET_NS (1 * NS_PER_S)

void progress_begin(struct progress *p, const char *what, const char *unit)
{
	p->what = what;
	p->unit = unit;
	p->terminal = isatty(STDERR_FILENO);
	p->started_ns = clock_ns(clock_real());
	atomic_store(&p->shown_ns, p->started_ns);
	atomic_store(&p->open, true);
}

static void report(void *ctx, uint64_t done, uint64_t total)
{
	struct progress *p = ctx;
	uint64_t now = clock_ns(clock_real());
	uint64_t every = p->terminal ? 100 * NS_PER_MS : 5 * NS_PER_S;

	if (!atomic_load(&p->open) || now - p->started_ns < QUIET_NS ||
	    now - atomic_load(&p->shown_ns) < every)
		return;
	atomic_store(&p->shown_ns, now);
	fprintf(stderr, "%s%s: %.*f of %.*f %s (%.0f %%)%s", p->terminal ? "\r" : "", p->what,
		p->unit ? 0 : 1, p->unit ? (double)done : (double)done / 1e9,
		p->unit ? 0 : 1, p->unit ? (double)total : (double)total / 1e9,
		p->unit ? p->unit : "GB", total ? 100.0 * (double)done / (double)total : 100.0,
		p->terminal ? "  " : "\n");
}

struct load_progress progress_reporter(struct progress *p)
{
	return (struct load_progress){ .report = report, .ctx = p };
}

void progress_end(struct progress *p)
{
	if (!atomic_exchange(&p->open, false))
		return;
	if (p->terminal && atomic_load(&p->shown_ns) != p->started_ns)
		fprintf(stderr, "\n");
}
