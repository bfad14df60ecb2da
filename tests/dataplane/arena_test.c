/* arena_test.c - slots, their holders and their generations. */
#include "dataplane/arena.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "dataplane/base/fault.h"
#include "dataplane/base/log.h"
#include "dataplane/base/memory.h"
#include "dataplane/base/random.h"
#include "tests/test.h"

static const struct arena_plan plan = { .sizes = {
	[ARENA_TINY] = { 512, { 4, 3 } },
	[ARENA_SMALL] = { 65536, { 5, 2 } },
	[ARENA_LARGE] = { 1 << 20, { 2, 1 } },
} };

/* Goal: each holder gets exactly what was planned for it, of each size. */
TEST(arena__holders_are_bounded_apart)
{
	struct arena_slot slots[32];
	struct arena *a;
	int count = 0;

	CHECK_EQ(arena_open(&a, &plan), 0);
	CHECK_EQ(arena_slots(a), 17);
	for (int size = 0; size < ARENA_SIZES; size++) {
		for (int holder = 0; holder < ARENA_HOLDERS; holder++) {
			uint32_t most = plan.sizes[size].most[holder];

			for (uint32_t i = 0; i < most; i++) {
				CHECK(arena_room(a, size, holder));
				CHECK(arena_get(a, size, holder, 100, &slots[count++]));
			}
			CHECK(!arena_room(a, size, holder));
			CHECK(!arena_get(a, size, holder, 100, &slots[count]));
			CHECK_EQ(arena_held(a, size, holder), most);
		}
	}
	while (count > 0)
		arena_put(a, slots[--count]);
	CHECK_EQ(arena_held(a, ARENA_LARGE, ARENA_LANDING), 0);
	arena_close(a);
}

/* Goal: slots never overlap, are aligned, lie in the region, and keep what was
 * written while others come and go.
 */
TEST(arena__slots_are_apart)
{
	struct { struct arena_slot slot; uint8_t *at; uint32_t bytes; uint8_t mark; } held[18];
	struct random r;
	struct arena *a;
	size_t region_bytes;
	void *base;
	int count = 0;

	random_seed(&r, test_seed());
	CHECK_EQ(arena_open(&a, &plan), 0);
	arena_region(a, &base, &region_bytes);
	for (int round = 0; round < 3000; round++) {
		enum arena_size size = random_below(&r, ARENA_SIZES);
		enum arena_holder holder = random_below(&r, ARENA_HOLDERS);
		uint32_t bytes = 1 + (uint32_t)random_below(&r, MIN(plan.sizes[size].slot_bytes,
								     9000u));

		if (arena_get(a, size, holder, bytes, &held[count].slot)) {
			held[count].at = arena_bytes(a, held[count].slot);
			held[count].bytes = bytes;
			held[count].mark = (uint8_t)round;
			CHECK_EQ((uintptr_t)held[count].at % 64, 0);
			CHECK(held[count].at >= (uint8_t *)base);
			CHECK(held[count].at + plan.sizes[size].slot_bytes <=
			      (uint8_t *)base + region_bytes);
			memset(held[count].at, held[count].mark, bytes);
			count++;
		}
		if (count > 0 && random_chance(&r, 0.5)) {
			int i = (int)random_below(&r, (uint64_t)count);

			for (uint32_t b = 0; b < held[i].bytes; b++)
				CHECK_EQ(held[i].at[b], held[i].mark);
			arena_put(a, held[i].slot);
			held[i] = held[--count];
		}
	}
	while (count > 0)
		arena_put(a, held[--count].slot);
	arena_close(a);
}

/* Goal: the slot put back last is handed out first, so few pages are touched. */
TEST(arena__last_in_first_out)
{
	struct arena_slot slot, again;
	struct arena *a;

	CHECK_EQ(arena_open(&a, &plan), 0);
	for (int i = 0; i < 100; i++) {
		CHECK(arena_get(a, ARENA_SMALL, ARENA_LANDING, 10, &slot));
		arena_put(a, slot);
		CHECK(arena_get(a, ARENA_SMALL, ARENA_SENDING, 10, &again));
		CHECK_EQ(slot.index, again.index);
		CHECK(slot.generation != again.generation);
		arena_put(a, again);
	}
	arena_close(a);
}

static void put_twice(struct arena *a, struct arena_slot slot)
{
	arena_put(a, slot);
	arena_put(a, slot);
}

static void use_after_put(struct arena *a, struct arena_slot slot)
{
	arena_put(a, slot);
	arena_bytes(a, slot);
}

/* Whether the misuse ends the process. */
static bool dies(void (*misuse)(struct arena *a, struct arena_slot slot))
{
	struct arena_slot slot;
	struct arena *a;
	int status;
	pid_t pid;

	CHECK_EQ(arena_open(&a, &plan), 0);
	CHECK(arena_get(a, ARENA_SMALL, ARENA_LANDING, 10, &slot));
	pid = fork();
	if (pid == 0) {
		signal(SIGABRT, SIG_DFL);
		close(STDERR_FILENO);
		misuse(a, slot);
		_exit(0);
	}
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	arena_put(a, slot);
	arena_close(a);
	/* By its signal, or by a sanitizer that turns signals into an exit status. */
	return !WIFEXITED(status) || WEXITSTATUS(status) != 0;
}

/* Goal: a handle that outlived its slot is caught at once. */
TEST(arena__stale_handles_assert)
{
	CHECK(dies(put_twice));
	CHECK(dies(use_after_put));
}

/* Goal: a note stays with its slot from one holder to the next. */
TEST(arena__notes_stay)
{
	struct arena_plan noted = plan;
	struct arena_slot slots[4];
	struct arena *a;
	uint32_t *note;

	noted.note_bytes = 100;
	CHECK_EQ(arena_open(&a, &noted), 0);
	for (uint32_t round = 0; round < 3; round++) {
		for (int i = 0; i < 4; i++) {
			CHECK(arena_get(a, ARENA_TINY, ARENA_LANDING, 512, &slots[i]));
			note = arena_note(a, slots[i]);
			CHECK_EQ((uintptr_t)note % 64, 0);
			CHECK_EQ(note[24], round ? slots[i].index * 10 + round - 1 : 0);
			note[24] = slots[i].index * 10 + round;
			memset(arena_bytes(a, slots[i]), 0xff, 512);
		}
		for (int i = 0; i < 4; i++)
			arena_put(a, slots[i]);
	}
	arena_close(a);
}

#ifdef PETALS_FAULTS
/* Goal: whichever call fails, arena_open() gives everything back. */
TEST(arena_open__unwinds_every_failure)
{
	uint64_t live = mem_live_blocks();
	struct arena *a;
	int rc, nth;

	for (nth = 1;; nth++) {
		fault_arm(nth);
		rc = arena_open(&a, &plan);
		if (!fault_fired())
			break;
		CHECK_EQ(rc, -ENOMEM);
		CHECK(a == NULL);
		CHECK_EQ(mem_live_blocks(), live);
	}
	fault_disarm();
	CHECK_EQ(nth, 3);
	arena_close(a);
	arena_close(NULL);
	CHECK_EQ(mem_live_blocks(), live);
}
#endif
