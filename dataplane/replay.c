/* replay.c - the window of record numbers. */
#include "dataplane/replay.h"

#include <string.h>

bool replay_seen(const struct replay *r, uint64_t number)
{
	if (number >= r->end)
		return false;
	if (r->end - number > REPLAY_NUMBERS)
		return true;
	return r->words[number / 64 % REPLAY_WORDS] >> number % 64 & 1;
}

/* Words that the window enters hold what it was a whole ring ago. */
static void move(struct replay *r, uint64_t end)
{
	uint64_t from = r->end ? (r->end - 1) / 64 + 1 : 0, to = (end - 1) / 64;

	if (to - from >= REPLAY_WORDS && to >= from)
		memset(r->words, 0, sizeof(r->words));
	else
		for (; from <= to; from++)
			r->words[from % REPLAY_WORDS] = 0;
	r->end = end;
}

void replay_mark(struct replay *r, uint64_t number)
{
	assert(number != UINT64_MAX && !replay_seen(r, number));
	if (number >= r->end)
		move(r, number + 1);
	r->words[number / 64 % REPLAY_WORDS] |= 1ull << number % 64;
}

uint64_t replay_word(const struct replay *r, uint64_t word)
{
	uint64_t newest = (r->end - 1) / 64;

	if (r->end == 0 || word > newest || newest - word >= REPLAY_WORDS)
		return 0;
	return r->words[word % REPLAY_WORDS];
}
