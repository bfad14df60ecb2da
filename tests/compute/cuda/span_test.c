/* span_test.c - spans on the CUDA backend: the identity promise, pages, refusals, failures.
 *
 * Covers span.c, block.c, page.c, arena.c, queue.c, image.c.  Single steps are
 * step_test.c's.
 */
#include <errno.h>
#include <math.h>
#include <stdlib.h>

#include "compute/cuda/span.h"
#include "dataplane/base/fault.h"
#include "dataplane/base/memory.h"
#include "dataplane/base/random.h"
#include "tests/support/bits.h"
#include "tests/support/stand_in.h"
#include "tests/test.h"

enum { TOKENS = BITS_TOKENS, VARIANTS = 2 };

static const char *const checkpoints[] = {
	"llama-gqa-tied", "mistral", "qwen2", "gpt2", "bloom", "opt-350m", "gguf/llama-q4_1.gguf",
};

static struct model *open_model(const char *name)
{
	struct error e = { 0 };
	struct model *m;

	CHECK_OK(model_open(&m, test_data(name), &e), &e);
	return m;
}

static void check_variants(const struct model *m, const char *name, enum compute_mode compute,
			   enum row_encoding wire, struct random *random)
{
	static const uint32_t chunks[] = { 1, 7, 16, 33, 0, 0 };
	uint32_t tokens[TOKENS];
	struct rig_options base, o;
	struct bits expect;

	for (int i = 0; i < TOKENS; i++)
		tokens[i] = (uint32_t)random_below(random, model_config(m)->vocabulary);
	rig_options_default(&base, m);
	base.backend = &backend_cuda;
	base.compute = compute;
	base.wire = wire;
	expect = bits_run(&base, random, tokens, TOKENS);
	for (int i = 0; i < VARIANTS; i++) {
		uint32_t chunk = chunks[random_below(random, ARRAY_LENGTH(chunks))];
		struct bits got;

		o = base;
		o.page_tokens = 16 << random_below(random, 3);
		o.spans = 1 + (uint32_t)random_below(random, model_config(m)->blocks);
		o.halves = random_chance(random, 0.3);
		got = bits_run(&o, random, tokens, chunk);
		if (memcmp(got.numbers, expect.numbers, got.bytes) != 0)
			fail_msg("%s, %s, rounded to %s: not the same bits with chunks of %u, "
				 "pages of %u, %u spans%s", name, compute_mode_name(compute),
				 row_encoding_name(wire), chunk, o.page_tokens, o.spans,
				 o.halves ? ", in halves" : "");
		mem_free(got.numbers);
	}
	mem_free(expect.numbers);
}

/* Goal: the identity promise on one device, over families, modes and encodings. */
TEST(span__same_bits_however_it_is_run)
{
	static const enum row_encoding wires[] = { ROW_F32, ROW_BF16, ROW_F16, ROW_INT8 };
	struct random r;

	stand_in_use();
	random_seed(&r, test_seed());
	for (size_t i = 0; i < ARRAY_LENGTH(checkpoints); i++) {
		struct model *m = open_model(checkpoints[i]);

		check_variants(m, checkpoints[i], COMPUTE_F32, wires[i % 4], &r);
		check_variants(m, checkpoints[i], COMPUTE_BF16, wires[(i + 1) % 4], &r);
		model_close(m);
	}
}

/* Goal: pages carried to another server go on as if nothing had happened. */
TEST(page__moves_between_servers)
{
	struct model *m = open_model("gguf/llama-q4_1.gguf");
	const struct backend *b = &backend_cuda;
	uint32_t tokens[TOKENS];
	struct rig_options o;
	struct rig from, to;
	struct rig_sequence old, fresh, filler;
	struct bits expect, got;
	uint64_t bytes;
	uint8_t *page;

	stand_in_use();
	for (uint32_t i = 0; i < TOKENS; i++)
		tokens[i] = i * 7 % model_config(m)->vocabulary;
	rig_options_default(&o, m);
	o.backend = b;
	o.compute = COMPUTE_BF16;
	/* Pages go through the rows of a step: few of them take several turns. */
	o.rows_max = 40;
	expect = bits_run(&o, NULL, tokens, 40);
	rig_open(&from, &o);
	rig_open(&to, &o);
	got = bits_open(&from);
	rig_sequence_open(&from, &old, TOKENS);
	rig_chunks(&from, &old, tokens, 37, 37, got.numbers);
	rig_sequence_open(&to, &filler, 100);
	sequence_extend(filler.kv[0], 50);
	rig_sequence_open(&to, &fresh, TOKENS);
	sequence_extend(fresh.kv[0], 37);
	CHECK(fresh.kv[0]->pages[0] != old.kv[0]->pages[0]);
	bytes = b->span_info(from.span[0])->page_bytes;
	page = mem_calloc(1, bytes);
	for (uint32_t i = 0; i < old.kv[0]->page_count; i++) {
		CHECK_EQ(b->page_export(from.span[0], old.kv[0]->pages[i], page), 0);
		/* In through a third page, so that copying is seen too. */
		CHECK_EQ(b->page_import(to.span[0], 40, page), 0);
		CHECK_EQ(b->page_copy(to.span[0], fresh.kv[0]->pages[i], 40), 0);
	}
	fresh.position = 37;
	rig_chunks(&to, &fresh, tokens + 37, TOKENS - 37, 5,
		   got.numbers + 37 * (size_t)to.hidden);
	bits_finish(&to, &got);
	CHECK_BYTES(got.numbers, expect.numbers, expect.bytes);
	mem_free(page);
	mem_free(got.numbers);
	mem_free(expect.numbers);
	rig_sequence_close(&from, &old);
	rig_sequence_close(&to, &fresh);
	rig_sequence_close(&to, &filler);
	rig_close(&to);
	rig_close(&from);
	model_close(m);
}

static struct span_options plain_options(const struct model *m)
{
	return (struct span_options){
		.model = m, .first = 0, .end = model_config(m)->blocks, .page_tokens = 16,
		.kv_bytes = 1 << 20, .rows_max = 8, .entries_max = 2, .tokens_max = 32,
		.round = ROW_F32,
	};
}

static int open_and_close(const struct span_options *o, enum compute_mode compute,
			  struct error *e)
{
	struct device_options d = { .compute = compute };
	struct device *device;
	struct span *s = NULL;
	int rc;

	rc = cuda_device_open(&device, &d, e);
	if (rc < 0)
		return rc;
	rc = cuda_span_open(&s, device, o, e);
	cuda_span_close(s);
	cuda_device_close(device);
	return rc;
}

static void check_weights(const struct span_options *o, enum weight_format weights,
			  enum compute_mode compute, const char *words)
{
	struct device_options d = { .compute = compute, .weights = weights };
	struct error e = { 0 };
	struct device *device;
	struct span *s;

	CHECK_OK(cuda_device_open(&device, &d, &e), &e);
	CHECK_EQ(cuda_span_open(&s, device, o, &e), -ENOTSUP);
	CHECK(strstr(e.text, words) != NULL);
	cuda_device_close(device);
}

/* Goal: options that cannot work are refused with the number in the sentence. */
TEST(span_open__refuses)
{
	struct model *m = open_model("llama-plain"), *learned = open_model("gpt2");
	struct span_options o = plain_options(m);
	struct error e = { 0 };

	stand_in_use();
	CHECK_EQ(open_and_close(&o, COMPUTE_F32, &e), 0);
	o.page_tokens = 24;
	CHECK_EQ(open_and_close(&o, COMPUTE_F32, &e), -EINVAL);
	CHECK(strstr(e.text, "24 tokens"));
	o = plain_options(m);
	o.kv_bytes = 100;
	CHECK_EQ(open_and_close(&o, COMPUTE_F32, &e), -EINVAL);
	CHECK(strstr(e.text, "100 bytes holds no page"));
	o = plain_options(m);
	o.end = 99;
	CHECK_EQ(open_and_close(&o, COMPUTE_F32, &e), -EINVAL);
	CHECK(strstr(e.text, "99"));
	o = plain_options(m);
	CHECK_EQ(open_and_close(&o, COMPUTE_INT8, &e), -ENOTSUP);
	CHECK(strstr(e.text, "bf16 or f32"));
	check_weights(&o, WEIGHTS_INT4, COMPUTE_F32, "--weights int4 goes with --compute bf16");
	check_weights(&o, WEIGHTS_BF16, COMPUTE_F32, "--weights bf16 goes with --compute bf16");
	o = plain_options(learned);
	o.tokens_max = model_config(learned)->positions + 1;
	CHECK_EQ(open_and_close(&o, COMPUTE_F32, &e), -EINVAL);
	CHECK(strstr(e.text, "positions"));
	model_close(learned);
	model_close(m);
}

/* Goal: a device that is too small is told what is needed and what there is, untouched. */
TEST(span_open__too_large_for_the_device)
{
	struct model *m = open_model("llama-plain");
	struct span_options o = plain_options(m);
	struct error e = { 0 };
	uint64_t live = mem_live_blocks();

	if (stand_in_use())
		SKIP("a real GPU has room for a small model");
	setenv("PETALS_CUDA_STAND_IN", "memory=1100000", 1);
	CHECK_EQ(open_and_close(&o, COMPUTE_F32, &e), -ENOMEM);
	unsetenv("PETALS_CUDA_STAND_IN");
	if (!strstr(e.text, "GB of weights in f32, 0.001 GB of KV pages") ||
	    !strstr(e.text, "of 0.001 GB free: host fewer blocks (--blocks"))
		fail_msg("%s", e.text);
	CHECK_EQ(mem_live_blocks(), live);
	model_close(m);
}

struct seen { uint64_t reports, last, total; };

static void see(void *ctx, uint64_t done, uint64_t total)
{
	struct seen *s = ctx;

	CHECK(s->reports == 0 || (done > s->last && total == s->total));
	s->reports++;
	s->last = done;
	s->total = total;
}

/* Goal: info tells what was laid out, progress ends at all of it. */
TEST(span_open__info_and_progress)
{
	static const struct {
		const char *checkpoint;
		enum compute_mode asked;
		enum weight_format weights;
		const char *kind;
	} cases[] = {
		{ "llama-plain", COMPUTE_AUTO, WEIGHTS_KEEP, "/f32/bf16" },
		{ "llama-plain", COMPUTE_BF16, WEIGHTS_KEEP, "/bf16/bf16" },
		{ "gguf/llama-q4_1.gguf", COMPUTE_AUTO, WEIGHTS_KEEP, "/bf16/bf16" },
		{ "llama-plain", COMPUTE_AUTO, WEIGHTS_BF16, "/bf16/bf16/bf16" },
		{ "llama-plain", COMPUTE_AUTO, WEIGHTS_INT8, "/int8/bf16/bf16" },
		{ "llama-plain", COMPUTE_BF16, WEIGHTS_INT4, "/int4/bf16/bf16" },
	};

	stand_in_use();
	for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
		struct model *m = open_model(cases[i].checkpoint);
		struct span_options o = plain_options(m);
		struct device_options d = { .compute = cases[i].asked,
					    .weights = cases[i].weights };
		struct seen seen = { 0 };
		const struct span_info *info;
		char kind[KIND_BYTES];
		struct error e = { 0 };
		struct device *device;
		struct span *s;

		o.first = 1;
		o.round = ROW_BF16;
		o.progress = (struct load_progress){ see, &seen };
		CHECK_OK(cuda_device_open(&device, &d, &e), &e);
		CHECK_OK(cuda_span_open(&s, device, &o, &e), &e);
		info = cuda_span_info(s);
		CHECK(strncmp(info->kind, "cuda-sm", 7) == 0);
		CHECK_TEXT(strchr(info->kind, '/'), cases[i].kind);
		CHECK_EQ(backend_cuda.kind(device, &o, kind, &e), 0);
		CHECK_TEXT(kind, info->kind);
		CHECK(info->first == 1 && info->end == o.end);
		CHECK_EQ(info->hidden, model_config(m)->hidden);
		CHECK_EQ(info->pages, o.kv_bytes / info->page_bytes);
		CHECK(seen.reports > 5 && seen.last == seen.total);
		CHECK_EQ(seen.total, info->weight_bytes);
		CHECK(info->step_bytes > 0 && info->step_bytes <= info->weight_bytes);
		cuda_span_close(s);
		cuda_device_close(device);
		model_close(m);
	}
}

#ifdef PETALS_FAULTS
/* Goal: whichever call fails, opening gives everything back. */
TEST(span_open__unwinds_every_failure)
{
	struct model *m = open_model("llama-plain");
	struct span_options o = plain_options(m);
	uint64_t live = mem_live_blocks();

	stand_in_use();
	for (int nth = 1; nth < 2000; nth++) {
		struct error e = { 0 };
		int rc;

		fault_arm(nth);
		rc = open_and_close(&o, COMPUTE_F32, &e);
		CHECK_EQ(mem_live_blocks(), live);
		if (!fault_fired()) {
			CHECK_EQ(rc, 0);
			break;
		}
	}
	fault_disarm();
	model_close(m);
}
#endif
