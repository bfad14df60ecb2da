/* span_test.c - the identity promise: hidden states and logits keep their bits however
 * a sequence is chunked, batched, cut, paged, threaded, moved, and whichever kernels run.
 */
#include <errno.h>
#include <math.h>

#include "compute/cpu/device.h"
#include "compute/model/model.h"
#include "compute/reference.h"
#include "dataplane/base/fault.h"
#include "dataplane/base/memory.h"
#include "dataplane/base/random.h"
#include "tests/support/bits.h"
#include "tests/support/rig.h"
#include "tests/test.h"

enum { TOKENS = BITS_TOKENS, VARIANTS = 3 };

static const char *const checkpoints[] = {
	"llama-gqa-tied", "mistral", "qwen2", "gpt2", "bloom", "opt-350m",
	"gguf/llama-q8_0.gguf", "gguf/llama-q4_0.gguf", "gguf/llama-q4_1.gguf",
};

static struct model *open_model(const char *name)
{
	struct error e = { 0 };
	struct model *m;

	CHECK_OK(model_open(&m, test_data(name), &e), &e);
	return m;
}

static enum cpu_path some_path(struct random *r)
{
	enum cpu_path path;

	do
		path = (enum cpu_path)random_below(r, PATHS);
	while (!kernels_path(path));
	return path;
}

static void check_variants(const struct model *m, const char *name, enum compute_mode compute,
			   enum weight_format weights, enum row_encoding wire,
			   struct random *random)
{
	static const uint32_t chunks[] = { TOKENS, 1, 7, 16, 33, 0, 0 };
	uint32_t tokens[TOKENS];
	struct rig_options base, o;
	struct bits expect;

	for (int i = 0; i < TOKENS; i++)
		tokens[i] = (uint32_t)random_below(random, model_config(m)->vocabulary);
	rig_options_default(&base, m);
	base.compute = compute;
	base.weights = weights;
	base.wire = wire;
	base.threads = 1;
	base.path = PATH_PORTABLE;
	expect = bits_run(&base, random, tokens, TOKENS);
	for (int i = 0; i < VARIANTS; i++) {
		uint32_t chunk = chunks[random_below(random, ARRAY_LENGTH(chunks))];
		struct bits got;

		o = base;
		o.path = some_path(random);
		o.threads = 1 + (uint32_t)random_below(random, 3);
		o.page_tokens = 16 << random_below(random, 3);
		o.spans = 1 + (uint32_t)random_below(random, model_config(m)->blocks);
		o.halves = random_chance(random, 0.3);
		got = bits_run(&o, random, tokens, chunk);
		if (memcmp(got.numbers, expect.numbers, got.bytes) != 0)
			fail_msg("%s, %s of %s, rounded to %s: not the same bits with chunks of "
				 "%u, %u threads, pages of %u, %u spans, path %d%s", name,
				 compute_mode_name(compute), weight_format_name(weights),
				 row_encoding_name(wire), chunk, o.threads, o.page_tokens, o.spans,
				 o.path, o.halves ? ", in halves" : "");
		mem_free(got.numbers);
	}
	mem_free(expect.numbers);
}

/* Goal: the identity promise, over families, modes and encodings. */
TEST(span__same_bits_however_it_is_run)
{
	static const enum row_encoding wires[] = { ROW_BF16, ROW_F16, ROW_INT8 };
	struct random r;

	random_seed(&r, test_seed());
	for (size_t i = 0; i < ARRAY_LENGTH(checkpoints); i++) {
		struct model *m = open_model(checkpoints[i]);
		bool quantised = dtype_is_quantised(model_dtype(m));

		for (enum compute_mode c = COMPUTE_F32; c <= COMPUTE_INT8; c++) {
			if (c == COMPUTE_INT8 && !quantised)
				continue;
			check_variants(m, checkpoints[i], c, WEIGHTS_KEEP, ROW_F32, &r);
			check_variants(m, checkpoints[i], c, WEIGHTS_KEEP, wires[(i + c) % 3],
				       &r);
		}
		model_close(m);
	}
}

/* Goal: the same promise in every weight format and mode; families and encodings take turns. */
TEST(span__same_bits_in_every_weight_format)
{
	static const enum row_encoding wires[] = { ROW_F32, ROW_BF16, ROW_INT8 };
	size_t turn = 0;
	struct random r;

	random_seed(&r, test_seed() + 1);
	for (enum weight_format w = WEIGHTS_BF16; w < WEIGHT_FORMATS; w++) {
		for (enum compute_mode c = COMPUTE_F32; c <= COMPUTE_INT8; c++) {
			if (c == COMPUTE_INT8 && w == WEIGHTS_BF16)
				continue;
			for (int i = 0; i < 3; i++, turn++) {
				const char *name = checkpoints[turn % ARRAY_LENGTH(checkpoints)];
				struct model *m = open_model(name);

				check_variants(m, name, c, w, wires[turn % 3], &r);
				model_close(m);
			}
		}
	}
}

/* The last row of a prompt by the backend and by the slow twin, how far apart. */
static double distance(const struct model *m, enum compute_mode compute,
		       enum weight_format weights)
{
	uint32_t tokens[TOKENS], hidden = model_config(m)->hidden, blocks = model_config(m)->blocks;
	float *states = mem_calloc((blocks + 1) * (size_t)TOKENS * hidden, sizeof(*states));
	const float *want = states + (size_t)blocks * TOKENS * hidden;
	double difference = 0, norm = 0;
	struct rig_options o;
	struct error e = { 0 };
	struct bits got;

	for (uint32_t i = 0; i < TOKENS; i++)
		tokens[i] = (i * 31 + 7) % model_config(m)->vocabulary;
	CHECK_OK(reference_run(m, weights, tokens, TOKENS, ROW_F32, states, NULL, &e), &e);
	rig_options_default(&o, m);
	o.compute = compute;
	o.weights = weights;
	got = bits_run(&o, NULL, tokens, TOKENS);
	for (size_t i = 0; i < (size_t)TOKENS * hidden; i++) {
		difference += pow((double)got.numbers[i] - (double)want[i], 2);
		norm += pow((double)want[i], 2);
	}
	mem_free(got.numbers);
	mem_free(states);
	return sqrt(difference / norm);
}

/* Goal: whole models of quantised weights give what the slow twin gives of the same quantised
 * weights, each mode within its own tolerance; and the weights do matter.
 */
TEST(span__weight_formats_agree_with_the_reference)
{
	static const double tolerance[COMPUTE_MODES] = {
		[COMPUTE_F32] = 1e-5, [COMPUTE_BF16] = 4e-2, [COMPUTE_INT8] = 1e-1,
	};
	static const char *const names[] = { "llama-gqa-tied", "bloom", "gguf/llama-q4_1.gguf" };

	for (size_t i = 0; i < ARRAY_LENGTH(names); i++) {
		struct model *m = open_model(names[i]);

		for (enum weight_format w = WEIGHTS_BF16; w < WEIGHT_FORMATS; w++)
			for (enum compute_mode c = COMPUTE_F32; c <= COMPUTE_INT8; c++)
				if (c != COMPUTE_INT8 || w != WEIGHTS_BF16)
					CHECK_NEAR(distance(m, c, w), 0, tolerance[c]);
		model_close(m);
	}
}

/* Goal: another prompt gives other bits (the test above can fail). */
TEST(span__other_tokens_give_other_bits)
{
	struct model *m = open_model(checkpoints[0]);
	uint32_t tokens[TOKENS] = { 1, 2, 3 };
	struct bits a, b;
	struct rig_options o;

	rig_options_default(&o, m);
	a = bits_run(&o, NULL, tokens, TOKENS);
	tokens[0] = 5;
	b = bits_run(&o, NULL, tokens, TOKENS);
	CHECK(memcmp(a.numbers + (a.bytes / 4 - 1), b.numbers + (b.bytes / 4 - 1), 4) != 0);
	mem_free(a.numbers);
	mem_free(b.numbers);
	model_close(m);
}

/* Goal: pages carried to another server go on as if nothing had happened. */
TEST(span__pages_move_between_servers)
{
	struct model *m = open_model("gguf/llama-q4_1.gguf");
	uint32_t tokens[TOKENS];
	struct rig_options o;
	struct rig from, to;
	struct rig_sequence a, b, filler;
	struct bits expect, got;
	uint64_t bytes;
	uint8_t *page;

	for (uint32_t i = 0; i < TOKENS; i++)
		tokens[i] = i * 7 % model_config(m)->vocabulary;
	rig_options_default(&o, m);
	o.compute = COMPUTE_INT8;
	expect = bits_run(&o, NULL, tokens, TOKENS);
	rig_open(&from, &o);
	rig_open(&to, &o);
	got = bits_open(&from);
	rig_sequence_open(&from, &a, TOKENS);
	rig_chunks(&from, &a, tokens, 37, 37, got.numbers);
	rig_sequence_open(&to, &filler, 100);
	sequence_extend(filler.kv[0], 50);
	rig_sequence_open(&to, &b, TOKENS);
	sequence_extend(b.kv[0], 37);
	CHECK(b.kv[0]->pages[0] != a.kv[0]->pages[0]);
	bytes = backend_cpu.span_info(from.span[0])->page_bytes;
	page = mem_calloc(1, bytes);
	for (uint32_t i = 0; i < a.kv[0]->page_count; i++) {
		backend_cpu.page_export(from.span[0], a.kv[0]->pages[i], page);
		/* In through a third page, so that copying is seen too. */
		backend_cpu.page_import(to.span[0], 40, page);
		backend_cpu.page_copy(to.span[0], b.kv[0]->pages[i], 40);
	}
	b.position = 37;
	rig_chunks(&to, &b, tokens + 37, TOKENS - 37, 5, got.numbers + 37 * (size_t)to.hidden);
	bits_finish(&to, &got);
	CHECK_BYTES(got.numbers, expect.numbers, expect.bytes);
	mem_free(page);
	mem_free(got.numbers);
	mem_free(expect.numbers);
	rig_sequence_close(&from, &a);
	rig_sequence_close(&to, &b);
	rig_sequence_close(&to, &filler);
	rig_close(&to);
	rig_close(&from);
	model_close(m);
}

/* Goal: out rows are the last ones, in the encoding asked for, and nothing else is touched. */
TEST(span_submit__gives_the_last_rows)
{
	struct model *m = open_model("llama-plain");
	uint32_t hidden = model_config(m)->hidden, tokens[TOKENS] = { 3, 1, 4, 1, 5 };
	struct rig_options o;
	struct rig_sequence s;
	struct bits all;
	struct rig r;

	rig_options_default(&o, m);
	all = bits_run(&o, NULL, tokens, TOKENS);
	rig_open(&r, &o);
	for (enum row_encoding out = ROW_F32; out <= ROW_INT8; out++) {
		uint64_t bytes = row_bytes(out, hidden);
		uint8_t *got = mem_calloc(TOKENS + 2, bytes), *want = mem_calloc(TOKENS, bytes);
		float *in = mem_calloc(TOKENS, hidden * sizeof(float));
		struct batch_entry entry = { .rows = TOKENS, .in = in, .out = got + bytes,
					     .out_rows = 9, .in_encoding = ROW_F32,
					     .out_encoding = out };
		struct batch b = { &entry, 1, TOKENS, 0, model_config(m)->blocks };

		rig_sequence_open(&r, &s, TOKENS);
		sequence_extend(s.kv[0], TOKENS);
		entry.pages = s.kv[0]->pages;
		backend_cpu.edge_embed(r.edge, tokens, TOKENS, 0, in);
		memset(got, 0xaa, (TOKENS + 2) * bytes);
		CHECK_EQ(backend_cpu.span_submit(r.span[0], &b), 0);
		CHECK_EQ(backend_cpu.span_wait(r.span[0]), 0);
		row_encode(out, all.numbers + (size_t)(TOKENS - 9) * hidden, 9, hidden, want);
		CHECK_BYTES(got + bytes, want, 9 * bytes);
		for (uint64_t i = 0; i < bytes; i++)
			CHECK(got[i] == 0xaa && got[10 * bytes + i] == 0xaa);
		rig_sequence_close(&r, &s);
		mem_free(in);
		mem_free(got);
		mem_free(want);
	}
	rig_close(&r);
	mem_free(all.numbers);
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
	struct device_options d = { .threads = 1, .compute = compute };
	struct device *device;
	struct span *s = NULL;
	int rc;

	rc = backend_cpu.device_open(&device, &d, e);
	if (rc < 0)
		return rc;
	rc = backend_cpu.span_open(&s, device, o, e);
	if (rc == 0)
		backend_cpu.span_close(s);
	backend_cpu.device_close(device);
	return rc;
}

/* Goal: options that cannot work are refused with the number in the sentence. */
TEST(span_open__refuses)
{
	struct model *m = open_model("llama-plain"), *learned = open_model("gpt2");
	struct span_options o = plain_options(m);
	struct error e = { 0 };

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
	o.end = 0;
	CHECK_EQ(open_and_close(&o, COMPUTE_F32, &e), -EINVAL);
	CHECK_EQ(open_and_close(&(struct span_options){ .model = m, .end = 1, .page_tokens = 16 },
				COMPUTE_F32, &e), -EINVAL);
	o = plain_options(m);
	CHECK_EQ(open_and_close(&o, COMPUTE_INT8, &e), -EINVAL);
	CHECK(strstr(e.text, "--compute auto, bf16 or f32"));
	o = plain_options(learned);
	o.tokens_max = model_config(learned)->positions + 1;
	CHECK_EQ(open_and_close(&o, COMPUTE_F32, &e), -EINVAL);
	CHECK(strstr(e.text, "positions"));
	model_close(learned);
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
		{ "llama-plain", COMPUTE_AUTO, WEIGHTS_KEEP, "cpu/f32/bf16" },
		{ "llama-plain", COMPUTE_BF16, WEIGHTS_KEEP, "cpu/bf16/bf16" },
		{ "llama-plain", COMPUTE_AUTO, WEIGHTS_INT4, "cpu/int4/int8/bf16" },
		{ "gguf/llama-q4_1.gguf", COMPUTE_AUTO, WEIGHTS_KEEP, "cpu/int8/bf16" },
		{ "gguf/llama-q4_1.gguf", COMPUTE_F32, WEIGHTS_KEEP, "cpu/f32/bf16" },
		{ "gguf/llama-q4_1.gguf", COMPUTE_F32, WEIGHTS_INT8, "cpu/int8/f32/bf16" },
	};

	for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
		struct model *m = open_model(cases[i].checkpoint);
		struct span_options o = plain_options(m);
		struct device_options d = {
			.threads = 2, .compute = cases[i].asked, .weights = cases[i].weights,
		};
		struct seen seen = { 0 };
		struct device *device;
		struct span *s;
		const struct span_info *info;
		struct error e = { 0 };

		o.first = 1;
		o.round = ROW_BF16;
		o.progress = (struct load_progress){ see, &seen };
		CHECK_OK(backend_cpu.device_open(&device, &d, &e), &e);
		CHECK_OK(backend_cpu.span_open(&s, device, &o, &e), &e);
		info = backend_cpu.span_info(s);
		CHECK_TEXT(info->kind, cases[i].kind);
		CHECK(info->first == 1 && info->end == o.end);
		CHECK_EQ(info->hidden, model_config(m)->hidden);
		CHECK_EQ(info->pages, o.kv_bytes / info->page_bytes);
		CHECK(seen.reports > 5 && seen.last == seen.total);
		CHECK_EQ(seen.total, info->weight_bytes);
		CHECK(info->step_bytes > 0 && info->step_bytes <= info->weight_bytes);
		backend_cpu.span_close(s);
		backend_cpu.device_close(device);
		model_close(m);
	}
}

#ifdef PETALS_FAULTS
/* Goal: whichever allocation fails, opening gives everything back. */
TEST(span_open__unwinds_every_failure)
{
	struct model *m = open_model("llama-plain");
	struct span_options o = plain_options(m);
	uint64_t live = mem_live_blocks();

	for (int nth = 1; nth < 200; nth++) {
		struct error e = { 0 };
		int rc;

		fault_arm(nth);
		rc = open_and_close(&o, COMPUTE_F32, &e);
		CHECK_EQ(mem_live_blocks(), live);
		if (!fault_fired()) {
			CHECK_EQ(rc, 0);
			break;
		}
		CHECK(rc < 0 && e.text[0]);
	}
	fault_disarm();
	model_close(m);
}
#endif
