/* arena.c - free lists over one region: first what is kept about the slots,
 * then the slots.  A slot that was never used is not on a list: each size has
 * a mark below which slots have been, so opening a large arena touches none
 * of it.
 */
#include "dataplane/arena.h"

#include <errno.h>
#include <sys/mman.h>

#include "dataplane/base/log.h"
#include "dataplane/base/memory.h"

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(base, bytes) ((void)(base), (void)(bytes))
#define ASAN_UNPOISON_MEMORY_REGION(base, bytes) ((void)(base), (void)(bytes))
#endif

enum {
	GUARD_BYTES = 64,       /* kept unreadable behind the used part, under ASan */
	COLOUR_BYTES = 4096 + 64,       /* between slots of COLOURED_LEAST and more: at a
					 * distance of a power of two their first lines
					 * would compete for a few sets of every cache */
	COLOURED_LEAST = 4096,
};

struct meta {
	uint32_t generation;    /* odd while held */
	uint32_t next_free;     /* index + 1 of the next on the list, 0: last */
	uint32_t used_bytes;
	uint8_t holder;
};

struct size_state {
	uint32_t slot_bytes;
	uint32_t stride_bytes;  /* from one slot to the next */
	uint32_t first, end;    /* slot indexes [first, end) */
	uint32_t fresh;         /* first index never handed out */
	uint32_t free;          /* index + 1 of the list's head, 0: empty */
	uint64_t offset;        /* of slot `first` in the region */
	uint32_t most[ARENA_HOLDERS], held[ARENA_HOLDERS];
};

struct arena {
	struct memory_region region;
	struct meta *metas;     /* zeroed, as all of a new region */
	uint8_t *notes;
	uint32_t note_bytes;
	uint64_t slots_offset;  /* behind the metas and notes */
	uint32_t slots;
	struct size_state sizes[ARENA_SIZES];
};

static const char *const size_names[ARENA_SIZES] = { "tiny", "small", "large" };
static const char *const holder_names[ARENA_HOLDERS] = { "landing", "sending" };

const char *arena_size_name(enum arena_size size)
{
	return size_names[size];
}

/* Lays the sizes out one behind the other; returns the bytes of all slots. */
static uint64_t lay_out(struct arena *a, const struct arena_plan *plan)
{
	uint64_t offset = 0;

	for (int i = 0; i < ARENA_SIZES; i++) {
		struct size_state *s = &a->sizes[i];

		s->slot_bytes = plan->sizes[i].slot_bytes;
		assert(s->slot_bytes % 64 == 0);
		s->stride_bytes = s->slot_bytes +
				  (s->slot_bytes >= COLOURED_LEAST ? COLOUR_BYTES : 0);
		s->first = s->fresh = s->end = a->slots;
		s->offset = offset;
		for (int h = 0; h < ARENA_HOLDERS; h++) {
			s->most[h] = plan->sizes[i].most[h];
			s->end += s->most[h];
		}
		a->slots = s->end;
		offset += (uint64_t)(s->end - s->first) * s->stride_bytes;
	}
	return offset;
}

static struct size_state *size_of(const struct arena *a, uint32_t index)
{
	for (int i = 0; i < ARENA_SIZES; i++)
		if (index < a->sizes[i].end)
			return (struct size_state *)&a->sizes[i];
	assert(!"slot index out of range");
	return NULL;
}

static uint8_t *address_of(const struct arena *a, const struct size_state *s, uint32_t index)
{
	return (uint8_t *)a->region.base + a->slots_offset + s->offset +
	       (uint64_t)(index - s->first) * s->stride_bytes;
}

int arena_open(struct arena **out, const struct arena_plan *plan)
{
	struct arena *a;
	uint64_t bytes, notes_offset;
	int rc;

	*out = NULL;
	a = mem_calloc(1, sizeof(*a));
	if (!a)
		return -ENOMEM;
	bytes = lay_out(a, plan);
	a->note_bytes = (uint32_t)align_up(plan->note_bytes, 64);
	notes_offset = align_up(a->slots * sizeof(*a->metas), 4096);
	a->slots_offset = align_up(notes_offset + (uint64_t)a->slots * a->note_bytes, 4096);
	rc = memory_region_open(&a->region, a->slots_offset + bytes, false);
	if (rc < 0) {
		mem_free(a);
		return rc;
	}
	a->metas = a->region.base;
	a->notes = (uint8_t *)a->region.base + notes_offset;
	/* A huge page under slots that are barely used would commit 2 MiB for
	 * one message; only large slots are worth it.
	 */
	(void)madvise(a->region.base,
		      MIN(a->slots_offset + a->sizes[ARENA_LARGE].offset, a->region.bytes),
		      MADV_NOHUGEPAGE);
	*out = a;
	return 0;
}

void arena_close(struct arena *a)
{
	if (!a)
		return;
	for (int i = 0; i < ARENA_SIZES; i++) {
		struct size_state *s = &a->sizes[i];

		for (int h = 0; h < ARENA_HOLDERS; h++)
			if (s->held[h])
				log_warn("arena", "%u %s slots are still held by %s", s->held[h],
					 size_names[i], holder_names[h]);
		ASAN_UNPOISON_MEMORY_REGION(address_of(a, s, s->first),
					    (uint64_t)(s->fresh - s->first) * s->stride_bytes);
	}
	memory_region_close(&a->region);
	mem_free(a);
}

bool arena_room(const struct arena *a, enum arena_size size, enum arena_holder holder)
{
	return a->sizes[size].held[holder] < a->sizes[size].most[holder];
}

bool arena_get(struct arena *a, enum arena_size size, enum arena_holder holder,
	       uint32_t bytes, struct arena_slot *out)
{
	struct size_state *s = &a->sizes[size];
	struct meta *meta;
	uint32_t index;
	uint8_t *at;

	assert(bytes <= s->slot_bytes);
	if (!arena_room(a, size, holder))
		return false;
	if (s->free) {
		index = s->free - 1;
		s->free = a->metas[index].next_free;
	} else {
		index = s->fresh++;
		assert(index < s->end);
	}
	s->held[holder]++;
	meta = &a->metas[index];
	meta->generation++;
	meta->holder = holder;
	meta->used_bytes = bytes;
	*out = (struct arena_slot){ index, meta->generation };
	at = address_of(a, s, index);
	ASAN_UNPOISON_MEMORY_REGION(at, bytes);
	ASAN_POISON_MEMORY_REGION(at + align_up(bytes, 8),
				  MIN(GUARD_BYTES, s->slot_bytes - align_up(bytes, 8)));
	return true;
}

void arena_put(struct arena *a, struct arena_slot slot)
{
	struct size_state *s = size_of(a, slot.index);
	struct meta *meta = &a->metas[slot.index];

	assert(meta->generation == slot.generation && (slot.generation & 1));
	assert(s->held[meta->holder] > 0);
	s->held[meta->holder]--;
	meta->generation++;
	meta->next_free = s->free;
	s->free = slot.index + 1;
	ASAN_POISON_MEMORY_REGION(address_of(a, s, slot.index), align_up(meta->used_bytes, 8));
}

uint8_t *arena_bytes(const struct arena *a, struct arena_slot slot)
{
	assert(a->metas[slot.index].generation == slot.generation);
	return address_of(a, size_of(a, slot.index), slot.index);
}

uint32_t arena_held(const struct arena *a, enum arena_size size, enum arena_holder holder)
{
	return a->sizes[size].held[holder];
}

void *arena_note(const struct arena *a, struct arena_slot slot)
{
	assert(a->metas[slot.index].generation == slot.generation);
	return a->notes + (uint64_t)slot.index * a->note_bytes;
}

uint32_t arena_slots(const struct arena *a)
{
	return a->slots;
}

void arena_region(const struct arena *a, void **base, size_t *bytes)
{
	*base = (uint8_t *)a->region.base + a->slots_offset;
	*bytes = a->region.bytes - a->slots_offset;
}
