/* arena.h - the one region that messages are landed in and sent from, cut
 * into slots of three sizes.
 *
 * A size holds as many slots as its holders may hold at once, so a holder
 * within its bound always gets one.  Slots are handed out last-in first-out
 * and memory is committed on touch, so a quiet program uses little of it.  A
 * handle carries the slot's generation: one that outlived its slot is caught.
 *
 * Threads    One thread owns an arena.
 * Ownership  arena_get() lends a slot; arena_put() takes it back.
 * Units      _bytes; slots.
 * Errors     arena_open(): -ENOMEM.  arena_get(): false when the holder is full.
 *            A stale handle is a programmer error and asserts.
 */
#ifndef PETALS_DATAPLANE_ARENA_H
#define PETALS_DATAPLANE_ARENA_H

#include "dataplane/base/types.h"

enum arena_size {
	ARENA_TINY,             /* messages that need no credit */
	ARENA_SMALL,            /* up to WIRE_SMALL_BYTES */
	ARENA_LARGE,            /* as announced in HELLO */
	ARENA_SIZES
};

enum arena_holder {
	ARENA_LANDING,          /* arriving, or lent to whoever received it */
	ARENA_SENDING,          /* reserved, queued or being sent */
	ARENA_HOLDERS
};

struct arena_plan {
	struct {
		uint32_t slot_bytes;             /* a multiple of 64 */
		uint32_t most[ARENA_HOLDERS];    /* slots each may hold at once */
	} sizes[ARENA_SIZES];
	uint32_t note_bytes;    /* kept beside each slot for the owner's own use */
};

struct arena_slot {
	uint32_t index;         /* over all sizes, from 0 */
	uint32_t generation;    /* 1 when first handed out, odd while held */
};

struct arena;

int arena_open(struct arena **out, const struct arena_plan *plan);
void arena_close(struct arena *a);              /* NULL is fine; logs what is still held */

/* A slot of which the first `bytes` are going to be used. */
bool arena_get(struct arena *a, enum arena_size size, enum arena_holder holder,
	       uint32_t bytes, struct arena_slot *out);
bool arena_room(const struct arena *a, enum arena_size size, enum arena_holder holder);
void arena_put(struct arena *a, struct arena_slot slot);
uint8_t *arena_bytes(const struct arena *a, struct arena_slot slot);     /* 64-byte aligned */

/* The slot's note: zeroed at first, then as it was left. */
void *arena_note(const struct arena *a, struct arena_slot slot);

uint32_t arena_held(const struct arena *a, enum arena_size size, enum arena_holder holder);
uint32_t arena_slots(const struct arena *a);                     /* of all sizes */
/* All slots, for pinning. */
void arena_region(const struct arena *a, void **base, size_t *bytes);
const char *arena_size_name(enum arena_size size);

#endif
