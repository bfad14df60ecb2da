/* impair.h - what a bad network does to what crosses it, from a seed: drop,
 * duplicate, reorder, delay, corrupt, limit the rate.
 *
 * Only decides; port_impaired.h does it to datagrams.  Streams ask for their bytes,
 * too, and take the delay, the rate and the corruption of the answer; their loss
 * is their transport's affair.
 *
 *   --impair "drop=5%,reorder=2%,duplicate=1%,corrupt=0.1%,delay=2ms,rate=1G"
 *
 * Threads    An impairment belongs to one thread.
 * Ownership  Plain storage.
 * Units      Chances are 0 to 1 (text: per cent); _ns; bits a second in the text
 *            of `rate`, bytes a nanosecond inside.
 * Errors     impair_parse(): -EINVAL with a sentence that names the word.
 */
#ifndef PETALS_DATAPLANE_IMPAIR_H
#define PETALS_DATAPLANE_IMPAIR_H

#include "dataplane/base/error.h"
#include "dataplane/base/random.h"

struct impair_options {
	double drop, duplicate, reorder, corrupt;       /* chance per piece */
	uint64_t delay_ns;              /* of every piece */
	uint64_t jitter_ns;             /* more, uniform: reorders by itself */
	uint64_t reorder_ns;            /* how long a reordered piece is held back */
	double bytes_per_ns;            /* 0: no limit */
	uint64_t seed;
};

struct impair {
	struct impair_options options;
	struct random random;
	uint64_t busy_until_ns;
};

struct impair_fate {
	uint32_t copies;                /* 0: dropped */
	uint64_t due_ns[2];             /* of each copy */
	bool corrupt;
	uint64_t bit;                   /* to flip, of the piece's bits */
};

/* "drop=5%,delay=1ms"; every word is a row of one table.  Others keep what they
 * have, so zero the options first.
 */
int impair_parse(struct impair_options *o, const char *text, struct error *e);
/* What the words may be, for help texts: "drop=CHANCE% ...". */
void impair_words(char *out, size_t bytes);
bool impair_is_none(const struct impair_options *o);

void impair_start(struct impair *i, const struct impair_options *o);
struct impair_fate impair_fate(struct impair *i, uint32_t bytes, uint64_t now_ns);

#endif
