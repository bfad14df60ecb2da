/* replay.h - which record numbers were seen: a window over the newest
 * REPLAY_NUMBERS of them, and the source of selective acknowledgements.
 *
 * A ring of 64-bit words, as RFC 6479 describes: moving the window clears whole
 * words and shifts nothing, so one more word than the window is kept.  Numbers
 * below the window count as seen.  A number is marked only once its record
 * verified, else a forger could close the window before the true record.
 *
 * Threads    A window belongs to its connection's thread.
 * Ownership  Plain storage; zeroed is empty.
 * Units      Record numbers.
 * Errors     None.
 */
#ifndef PETALS_DATAPLANE_REPLAY_H
#define PETALS_DATAPLANE_REPLAY_H

#include "dataplane/base/types.h"

enum {
	REPLAY_NUMBERS = 8192,
	REPLAY_WORDS = 256,             /* a power of two, of 64 bits: twice the window */
};
static_assert(REPLAY_WORDS * 64 >= REPLAY_NUMBERS + 64, "a word is cleared ahead");

struct replay {
	uint64_t end;                   /* one above the largest seen; 0: none */
	uint64_t words[REPLAY_WORDS];
};

bool replay_seen(const struct replay *r, uint64_t number);
void replay_mark(struct replay *r, uint64_t number);

/* For acknowledgements: bit i says that number 64 * word + i did arrive; 0 as
 * well for what is too long ago to be remembered.
 */
uint64_t replay_word(const struct replay *r, uint64_t word);

#endif
