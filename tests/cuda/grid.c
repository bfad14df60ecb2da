/* grid.c - owns the fibers of a thread block and who of them waits for whom. */
#include "tests/cuda/grid.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/cuda/asan.h"
#include "tests/cuda/fiber.h"

enum { READY, AT_BARRIER, IN_EXCHANGE, GONE };

struct grid_thread *grid_self;
struct grid_dim grid_block, grid_block_size, grid_size;

static struct {
	struct grid_thread threads[GRID_THREADS_MAX];
	struct fiber *fibers[GRID_THREADS_MAX];
	uint32_t count;                         /* of this thread block */
	void (*kernel)(const void *args);
	const void *args;
	const char *name;
	uint8_t shared[GRID_SHARED_MAX] __attribute__((aligned(128)));
	size_t shared_bytes;
	int early;
	uint64_t seed, random;
} grid;

/* All variables marked __shared__ lie here (device.h). */
extern uint8_t __start_cuda_shared[] __attribute__((weak, visibility("hidden")));
extern uint8_t __stop_cuda_shared[] __attribute__((weak, visibility("hidden")));

void grid_fail(const char *format, ...)
{
	va_list args;

	fprintf(stderr, "kernel %s, thread block (%u,%u,%u), thread %d: ", grid.name,
		grid_block.x, grid_block.y, grid_block.z,
		grid_self ? (int)(grid_self - grid.threads) : -1);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fprintf(stderr, "; PETALS_CUDA_SEED=%llu repeats it\n", (unsigned long long)grid.seed);
	abort();
}

/* ---- order ---- */

static void seed(void)
{
	const char *text = getenv("PETALS_CUDA_SEED");

	if (grid.random)
		return;
	grid.seed = text ? strtoull(text, NULL, 0) : 1;
	grid.random = grid.seed * 0x9e3779b97f4a7c15ull | 1;
}

static uint64_t next_random(void)
{
	grid.random ^= grid.random << 13;
	grid.random ^= grid.random >> 7;
	grid.random ^= grid.random << 17;
	return grid.random;
}

/* Visits 0..count - 1 in an order of its own: (offset + i * step) % count. */
struct order { uint64_t offset, step, count; };

static uint64_t common_divisor(uint64_t a, uint64_t b)
{
	return b ? common_divisor(b, a % b) : a;
}

static struct order new_order(uint64_t count)
{
	struct order o = { next_random() % count, 1 + next_random() % count, count };

	while (common_divisor(o.step, count) != 1)
		o.step++;
	return o;
}

static uint64_t in_order(const struct order *o, uint64_t i)
{
	return (o->offset + i * (o->step % o->count)) % o->count;
}

/* ---- waiting ---- */

static void wait_as(int state, const char *file, int line)
{
	struct grid_thread *self = grid_self;

	self->state = state;
	self->file = file;
	self->line = line;
	fiber_yield();
	grid_self = self;
}

void grid_barrier(const char *file, int line)
{
	wait_as(AT_BARRIER, file, line);
}

/* An exchange of a warp that lanes have begun to arrive at. */
struct meeting {
	const char *file;
	int line;
	unsigned mask, arrived;
	grid_exchange exchange;
	struct grid_lane lanes[GRID_WARP];
};
enum { MEETINGS_MAX = 8, WARPS_MAX = GRID_THREADS_MAX / GRID_WARP };
static struct meeting meetings[WARPS_MAX][MEETINGS_MAX];

static int is_at(const struct meeting *m, grid_exchange exchange, unsigned mask,
		 const char *file, int line)
{
	return m->arrived && m->exchange == exchange && m->mask == mask && m->line == line &&
	       (m->file == file || strcmp(m->file, file) == 0);
}

/* The meeting there, or a new one. */
static struct meeting *meet(grid_exchange exchange, unsigned mask, const char *file, int line)
{
	struct meeting *all = meetings[(grid_self - grid.threads) / GRID_WARP], *none = NULL;

	for (int i = 0; i < MEETINGS_MAX; i++) {
		if (is_at(&all[i], exchange, mask, file, line))
			return &all[i];
		if (!all[i].arrived)
			none = &all[i];
	}
	if (!none)
		grid_fail("%s:%d: its warp waits in %d exchanges already", file, line,
			  MEETINGS_MAX);
	none->file = file;
	none->line = line;
	none->mask = mask;
	none->exchange = exchange;
	for (int i = 0; i < GRID_WARP; i++)
		none->lanes[i].in = NULL;
	return none;
}

void grid_warp(grid_exchange exchange, unsigned mask, const void *in, void *out,
	       const char *file, int line)
{
	struct grid_thread *self = grid_self, *warp = self - self->lane;
	struct meeting *m;

	if (!(mask & 1u << self->lane))
		grid_fail("%s:%d exchanges with mask %08x, in which it is not", file, line, mask);
	m = meet(exchange, mask, file, line);
	m->arrived |= 1u << self->lane;
	m->lanes[self->lane].in = in;
	m->lanes[self->lane].out = out;
	if (m->arrived != mask) {
		wait_as(IN_EXCHANGE, file, line);
		return;
	}
	m->arrived = 0;
	exchange(m->lanes);
	for (uint32_t lane = 0; lane < GRID_WARP; lane++)
		if (mask & 1u << lane)
			warp[lane].state = READY;
}

/* Nobody can run: everybody at one barrier goes on, anything else is a mistake. */
static int release_barrier(void)
{
	const struct grid_thread *first = NULL;

	for (uint32_t i = 0; i < grid.count; i++) {
		const struct grid_thread *t = &grid.threads[i];

		if (t->state == GONE)
			continue;
		if (!first)
			first = t;
		if (t->state != first->state || t->line != first->line ||
		    strcmp(t->file, first->file) != 0 || t->state != AT_BARRIER) {
			grid_self = (struct grid_thread *)t;
			grid_fail("waits at %s:%d while thread %d waits at %s:%d", t->file, t->line,
				  (int)(first - grid.threads), first->file, first->line);
		}
	}
	for (uint32_t i = 0; i < grid.count; i++)
		if (grid.threads[i].state == AT_BARRIER)
			grid.threads[i].state = READY;
	return first != NULL;
}

/* ---- running ---- */

static void thread_entry(void *ctx)
{
	struct grid_thread *t = ctx;

	grid_self = t;
	grid.kernel(grid.args);
	if (grid.early && !t->waited)
		grid_fail("was started early, and left without waiting for what precedes it");
	t->state = GONE;
}

static void prepare_fibers(void)
{
	for (uint32_t i = 0; i < grid.count; i++)
		if (!grid.fibers[i] &&
		    fiber_open(&grid.fibers[i], thread_entry, &grid.threads[i]) < 0)
			grid_fail("out of memory for its fiber");
}

/* When the library goes; what is shut would stay so for whatever is mapped there next. */
__attribute__((destructor)) static void close_grid(void)
{
	memory_open(grid.shared, GRID_SHARED_MAX);
	for (uint32_t i = 0; i < GRID_THREADS_MAX; i++)
		if (grid.fibers[i])
			fiber_close(grid.fibers[i]);
}

/* All kernels' arrays, for each thread block: half the time of a test, byte by byte.  Not by
 * memset(), which would stumble over what the sanitizer keeps between them.
 */
__attribute__((no_sanitize("address"))) static void poison_shared(void)
{
	uint8_t *at = __start_cuda_shared;
	size_t bytes = (size_t)(__stop_cuda_shared - __start_cuda_shared);

#ifdef __x86_64__
	__asm__ volatile("rep stosb" : "+D"(at), "+c"(bytes) : "a"(0xff) : "memory");
#endif
	while (bytes--)
		*at++ = 0xff;
	memset(grid.shared, 0xff, grid.shared_bytes);
}

/* Now and then a warp falls asleep for a while: no warp may count on another's pace. */
static uint8_t asleep[WARPS_MAX];

static void fall_asleep(void)
{
	for (uint32_t w = 0; w * GRID_WARP < grid.count; w++) {
		if (asleep[w])
			asleep[w]--;
		else if (next_random() % 8 == 0)
			asleep[w] = (uint8_t)(next_random() % 32);
	}
}

/* Every thread that is ready and awake, once; 0: none is ready. */
static int run_ready(void)
{
	struct order order = new_order(grid.count);
	int ran = 0, ready = 0;

	fall_asleep();
	for (uint32_t i = 0; i < grid.count; i++) {
		struct grid_thread *t = &grid.threads[in_order(&order, i)];

		if (t->state != READY)
			continue;
		ready = 1;
		if (asleep[(t - grid.threads) / GRID_WARP])
			continue;
		grid_self = t;
		fiber_resume(grid.fibers[t - grid.threads]);
		ran = 1;
	}
	if (!ran)
		memset(asleep, 0, sizeof(asleep));
	return ready;
}

static void run_block(void)
{
	int any = 1;

	poison_shared();
	memset(asleep, 0, sizeof(asleep));
	memset(meetings, 0, sizeof(meetings[0]) * ((grid.count + GRID_WARP - 1) / GRID_WARP));
	for (uint32_t i = 0; i < grid.count; i++) {
		struct grid_thread *t = &grid.threads[i];

		t->index.x = i % grid_block_size.x;
		t->index.y = i / grid_block_size.x % grid_block_size.y;
		t->index.z = i / grid_block_size.x / grid_block_size.y;
		t->lane = i % GRID_WARP;
		t->state = READY;
		t->copy_count = t->copy_groups = 0;
		t->waited = 0;
	}
	while (any)
		if (!run_ready())
			any = release_barrier();
	grid_self = NULL;
}

void grid_run(void (*kernel)(const void *args), const void *args, struct grid_dim size,
	      struct grid_dim block, size_t shared_bytes, const char *name)
{
	uint64_t blocks = (uint64_t)size.x * size.y * size.z;
	struct order order;

	seed();
	grid.name = name;
	grid.kernel = kernel;
	grid.args = args;
	grid.count = block.x * block.y * block.z;
	grid.shared_bytes = shared_bytes;
	if (grid.count == 0 || grid.count > GRID_THREADS_MAX || blocks == 0 ||
	    shared_bytes > GRID_SHARED_MAX)
		grid_fail("%u threads, %llu thread blocks, %zu bytes of shared memory", grid.count,
			  (unsigned long long)blocks, shared_bytes);
	memory_open(grid.shared, shared_bytes);
	memory_shut(grid.shared + shared_bytes, GRID_SHARED_MAX - shared_bytes);
	grid_size = size;
	grid_block_size = block;
	prepare_fibers();
	order = new_order(blocks);
	for (uint64_t i = 0; i < blocks; i++) {
		uint64_t b = in_order(&order, i);

		grid_block.x = (unsigned)(b % size.x);
		grid_block.y = (unsigned)(b / size.x % size.y);
		grid_block.z = (unsigned)(b / size.x / size.y);
		run_block();
	}
}

void grid_wait_previous(void)
{
	grid_self->waited = 1;
}

void grid_expect_wait(int early)
{
	grid.early = early;
}

/* ---- memory ---- */

void *grid_shared(void)
{
	return grid.shared;
}

size_t grid_shared_bytes(void)
{
	return grid.shared_bytes;
}

int grid_is_shared(const void *at, size_t bytes)
{
	const uint8_t *p = at;

	return (p >= grid.shared && p + bytes <= grid.shared + grid.shared_bytes) ||
	       (p >= __start_cuda_shared && p + bytes <= __stop_cuda_shared);
}

void grid_copy_async(void *to, const void *from, uint32_t bytes)
{
	struct grid_thread *t = grid_self;

	if (bytes > 16 || (uintptr_t)to % 16 || (uintptr_t)from % 16 || !grid_is_shared(to, 16))
		grid_fail("copies %u bytes from %p to %p in the background: both must be 16-"
			  "aligned, the latter shared", bytes, from, to);
	if (t->copy_count == GRID_COPIES_MAX)
		grid_fail("more than %d copies in the background", GRID_COPIES_MAX);
	t->copies[t->copy_count++] = (struct grid_copy){ to, from, bytes, t->copy_groups };
}

void grid_copy_commit(void)
{
	grid_self->copy_groups++;
}

/* Nothing has been copied before it is waited for. */
void grid_copy_wait(uint32_t groups)
{
	struct grid_thread *t = grid_self;
	uint32_t kept = 0;

	for (uint32_t i = 0; i < t->copy_count; i++) {
		struct grid_copy *c = &t->copies[i];

		if (c->group + groups >= t->copy_groups) {
			t->copies[kept++] = *c;
			continue;
		}
		memcpy(c->to, c->from, c->bytes);
		memset((uint8_t *)c->to + c->bytes, 0, 16 - c->bytes);
	}
	t->copy_count = kept;
}
