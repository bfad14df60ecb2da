/* placement.c - slides a window over the blocks and compares what it holds.
 *
 * A window is judged by how many of its blocks have 0, 1, 2, ... replicas: the more
 * of the low counts, the more it is needed.  That is the order of the sorted
 * counts, and its first place is the number of uncovered blocks.
 */
#include "control/placement.h"

#include <string.h>

enum { REPLICAS_MAX = VIEW_MEMBERS_MAX };

/* Servers that still load their weights count too, else those that start
 * together would all choose the same span.
 */
static bool will_serve(const struct member *m, uint64_t fingerprint, const char *kind)
{
	return (m->state == MEMBER_SERVING || m->state == MEMBER_JOINING) &&
	       m->fingerprint == fingerprint && (!kind || !strcmp(m->kind, kind));
}

static void count_replicas(const struct view *v, uint64_t fingerprint, const char *kind,
			   uint16_t *counts, uint32_t blocks)
{
	uint32_t i, b;

	memset(counts, 0, blocks * sizeof(*counts));
	for (i = 0; i < v->count; i++) {
		const struct member *m = &v->members[i];

		if (will_serve(m, fingerprint, kind))
			for (b = m->first; b < MIN(m->end, blocks); b++)
				counts[b]++;
	}
}

/* Whether window a is needed more than window b. */
static bool needier(const uint16_t *a, const uint16_t *b, uint32_t most)
{
	uint32_t count;

	for (count = 0; count <= most; count++)
		if (a[count] != b[count])
			return a[count] > b[count];
	return false;
}

void placement_choose(const struct view *v, uint64_t fingerprint, const char *kind,
		      uint32_t blocks, uint32_t capacity, uint32_t *first, uint32_t *end)
{
	uint16_t counts[VIEW_BLOCKS_MAX];
	uint16_t here[REPLICAS_MAX + 1] = { 0 }, best[REPLICAS_MAX + 1];
	uint32_t length = MIN(capacity, blocks), most = 0, at = 0, b;

	assert(capacity >= 1 && blocks >= 1 && blocks <= VIEW_BLOCKS_MAX);
	count_replicas(v, fingerprint, kind, counts, blocks);
	for (b = 0; b < blocks; b++)
		most = MAX(most, counts[b]);
	for (b = 0; b < length; b++)
		here[counts[b]]++;
	memcpy(best, here, sizeof(best));
	for (b = length; b < blocks; b++) {
		here[counts[b]]++;
		here[counts[b - length]]--;
		if (!needier(here, best, most))
			continue;
		memcpy(best, here, (most + 1) * sizeof(*best));
		at = b - length + 1;
	}
	*first = at;
	*end = at + length;
}
