/* driver.c - runs a fuzz harness without libFuzzer: its seeds, then mutations
 * of them, each one named by a seed and a number so that it can be run again.
 *
 *	thing_fuzz [--runs N] [--seed S] [--only K] [--write FOLDER] [FILE...]
 *
 * FILEs are replayed instead of anything else; --write only writes the seeds.
 * A crash, a leak or a run of more than RUN_SECONDS_MAX says which run it was.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dataplane/base/buffer.h"
#include "dataplane/base/clock.h"
#include "dataplane/base/file.h"
#include "dataplane/base/memory.h"
#include "dataplane/base/random.h"

enum {
	SEEDS_MAX = 256,
	INPUT_BYTES_MAX = 1 << 17,
	SEED_BYTES_MAX = INPUT_BYTES_MAX / 2,
	MUTATIONS_MAX = 6,
	RUN_SECONDS_MAX = 20,
	RUNS_DEFAULT = 4000,
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t fuzz_seed(unsigned index, uint8_t *out, size_t capacity);

/* The sanitizers' own hook, there when one is linked in. */
extern void __sanitizer_set_death_callback(void (*callback)(void)) __attribute__((weak));

struct input {
	uint8_t *data;
	size_t bytes;
};

static struct input seeds[SEEDS_MAX];
static unsigned seed_count;

/* For the message of a run that does not come back. */
static struct {
	const char *program;
	const char *file;         /* NULL: a numbered run */
	uint64_t seed, run;
} now;

static void say_where(void)
{
	char line[512];
	int n;

	if (now.file)
		n = snprintf(line, sizeof(line), "# fuzz: again with: %s %s\n", now.program,
			     now.file);
	else
		n = snprintf(line, sizeof(line), "# fuzz: again with: %s --seed %ju --only %ju\n",
			     now.program, (uintmax_t)now.seed, (uintmax_t)now.run);
	if (n > 0 && write(STDERR_FILENO, line, MIN((size_t)n, sizeof(line) - 1)) < 0)
		_exit(1);
}

static void on_signal(int number)
{
	static const char late[] = "# fuzz: the run took too long\n";

	if (number == SIGALRM && write(STDERR_FILENO, late, sizeof(late) - 1) < 0)
		_exit(1);
	say_where();
	_exit(1);
}

static void collect_seeds(void)
{
	while (seed_count < SEEDS_MAX) {
		uint8_t *data = mem_alloc(SEED_BYTES_MAX);
		size_t bytes;

		assert(data);
		bytes = fuzz_seed(seed_count, data, SEED_BYTES_MAX);
		if (bytes == 0) {
			mem_free(data);
			return;
		}
		assert(bytes <= SEED_BYTES_MAX);
		seeds[seed_count++] = (struct input){ data, bytes };
	}
}

static uint8_t odd_byte(struct random *r)
{
	static const char likely[] = "\0\x01\x7f\x80\xff\"{}[]:,\\/\n\r -+.019eEunx<>%|";

	if (random_chance(r, 0.5))
		return (uint8_t)likely[random_below(r, sizeof(likely) - 1)];
	return (uint8_t)random_u64(r);
}

/* An integer at the edge of some type, over 1, 2, 4 or 8 bytes. */
static void put_edge(struct random *r, struct input *in)
{
	size_t width = (size_t)1 << random_below(r, 4);
	uint64_t value = (uint64_t)1 << random_below(r, 64);

	if (in->bytes < width)
		return;
	value += random_below(r, 3) - 1;
	memcpy(in->data + random_below(r, in->bytes - width + 1), &value, width);
}

static void insert(struct random *r, struct input *in, const uint8_t *from, size_t bytes)
{
	size_t at = random_below(r, in->bytes + 1);

	bytes = MIN(bytes, INPUT_BYTES_MAX - in->bytes);
	memmove(in->data + at + bytes, in->data + at, in->bytes - at);
	for (size_t i = 0; i < bytes; i++)
		in->data[at + i] = from ? from[i] : odd_byte(r);
	in->bytes += bytes;
}

static void delete(struct random *r, struct input *in)
{
	size_t at, bytes;

	if (in->bytes == 0)
		return;
	at = random_below(r, in->bytes);
	bytes = 1 + random_below(r, MIN(in->bytes - at, (size_t)32));
	memmove(in->data + at, in->data + at + bytes, in->bytes - at - bytes);
	in->bytes -= bytes;
}

/* A piece of this input or of another seed, put somewhere else. */
static void graft(struct random *r, struct input *in)
{
	const struct input *from = seed_count ? &seeds[random_below(r, seed_count)] : in;
	uint8_t piece[256];
	size_t at, bytes;

	if (from->bytes == 0)
		return;
	at = random_below(r, from->bytes);
	bytes = 1 + random_below(r, MIN(from->bytes - at, sizeof(piece)));
	memcpy(piece, from->data + at, bytes);
	insert(r, in, piece, bytes);
}

static void mutate(struct random *r, struct input *in)
{
	size_t at = in->bytes ? random_below(r, in->bytes) : 0;

	switch (random_below(r, 8)) {
	case 0:
		if (in->bytes)
			in->data[at] ^= (uint8_t)(1u << random_below(r, 8));
		break;
	case 1:
	case 2:
		if (in->bytes)
			in->data[at] = odd_byte(r);
		break;
	case 3:
		put_edge(r, in);
		break;
	case 4:
		insert(r, in, NULL, 1 + random_below(r, 8));
		break;
	case 5:
		delete(r, in);
		break;
	case 6:
		graft(r, in);
		break;
	case 7:
		if (random_chance(r, 0.3))
			in->bytes = at;
		break;
	}
}

/* Runs 0 .. seed_count-1 are the seeds; each later one depends only on the
 * seed and its number.
 */
static void make_input(struct input *in)
{
	struct random r;
	uint64_t count;

	in->bytes = 0;
	if (seed_count) {
		random_seed(&r, now.seed ^ (now.run * 0x9e3779b97f4a7c15ull));
		count = now.run < seed_count ? now.run : random_below(&r, seed_count);
		memcpy(in->data, seeds[count].data, seeds[count].bytes);
		in->bytes = seeds[count].bytes;
	} else {
		random_seed(&r, now.seed + now.run);
	}
	if (now.run < seed_count)
		return;
	for (count = 1 + random_below(&r, MUTATIONS_MAX); count > 0; count--)
		mutate(&r, in);
}

/* On a block of exactly its size, so that reading past its end is seen. */
static void call(const struct input *in)
{
	uint8_t *copy = mem_alloc(in->bytes);

	assert(copy);
	if (in->bytes)
		memcpy(copy, in->data, in->bytes);
	LLVMFuzzerTestOneInput(copy, in->bytes);
	mem_free(copy);
}

static void run_one(const struct input *in)
{
	uint64_t before = mem_live_blocks(), once, twice;

	alarm(RUN_SECONDS_MAX);
	call(in);
	once = mem_live_blocks();
	if (once == before)
		return;
	/* A harness may keep something on first use, but not each time. */
	call(in);
	twice = mem_live_blocks();
	if (twice == once)
		return;
	fprintf(stderr, "# fuzz: the run leaks %ju blocks\n", (uintmax_t)(twice - once));
	say_where();
	_exit(1);
}

static int replay(int count, char **files)
{
	for (int i = 0; i < count; i++) {
		struct error e = { 0 };
		struct input in;
		char *data;

		if (file_read(files[i], INPUT_BYTES_MAX, &data, &in.bytes, &e) < 0) {
			fprintf(stderr, "%s: %s\n", now.program, e.text);
			return 2;
		}
		now.file = files[i];
		in.data = (uint8_t *)data;
		run_one(&in);
		mem_free(data);
	}
	printf("%s: %d files\n", now.program, count);
	return 0;
}

static void fuzz(uint64_t runs, bool only)
{
	struct input in = { mem_alloc(INPUT_BYTES_MAX), 0 };
	uint64_t end = only ? now.run + 1 : runs + seed_count;
	uint64_t said_ns = clock_ns(clock_real());

	assert(in.data);
	for (; now.run < end; now.run++) {
		make_input(&in);
		run_one(&in);
		if (clock_ns(clock_real()) - said_ns < 10 * NS_PER_S)
			continue;
		said_ns = clock_ns(clock_real());
		printf("%s: %ju of %ju runs\n", now.program, (uintmax_t)now.run, (uintmax_t)end);
		fflush(stdout);
	}
	alarm(0);
	printf("%s: %ju runs from %u seeds\n", now.program, (uintmax_t)(only ? 1 : end),
	       seed_count);
	mem_free(in.data);
}

static int write_seeds(const char *folder)
{
	for (unsigned i = 0; i < seed_count; i++) {
		char path[4096];
		FILE *out;

		snprintf(path, sizeof(path), "%s/seed-%03u", folder, i);
		out = fopen(path, "wb");
		if (!out || fwrite(seeds[i].data, 1, seeds[i].bytes, out) != seeds[i].bytes ||
		    fclose(out) != 0) {
			perror(path);
			return 2;
		}
	}
	return 0;
}

static bool number(const char *text, uint64_t *out)
{
	char *end;

	*out = text ? strtoull(text, &end, 0) : 0;
	return text && *text && !*end;
}

int main(int argc, char **argv)
{
	uint64_t runs = RUNS_DEFAULT;
	const char *folder = NULL;
	bool only = false, ok = true;
	int i, status = 0;

	now.program = argv[0];
	now.seed = 1;
	for (i = 1; i < argc && argv[i][0] == '-' && ok; i += 2) {
		if (strcmp(argv[i], "--runs") == 0)
			ok = number(argv[i + 1], &runs);
		else if (strcmp(argv[i], "--seed") == 0)
			ok = number(argv[i + 1], &now.seed);
		else if (strcmp(argv[i], "--only") == 0)
			ok = only = number(argv[i + 1], &now.run);
		else if (strcmp(argv[i], "--write") == 0)
			ok = (folder = argv[i + 1]) != NULL;
		else
			ok = false;
	}
	if (!ok) {
		fprintf(stderr, "usage: %s [--runs N] [--seed S] [--only K] [--write FOLDER] "
				"[FILE...]\n", argv[0]);
		return 2;
	}
	signal(SIGALRM, on_signal);
	if (__sanitizer_set_death_callback)
		__sanitizer_set_death_callback(say_where);
	else
		signal(SIGABRT, on_signal);
	if (i < argc)
		return replay(argc - i, argv + i);
	collect_seeds();
	if (folder)
		status = write_seeds(folder);
	else
		fuzz(runs, only);
	while (seed_count)
		mem_free(seeds[--seed_count].data);
	return status;
}
