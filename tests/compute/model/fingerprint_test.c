/* fingerprint_test.c - what changes the fingerprint, and what does not. */
#include "tests/test.h"

#include <stdlib.h>
#include <unistd.h>

#include "compute/model/model.h"
#include "dataplane/base/file.h"
#include "dataplane/base/memory.h"
#include "tests/compute/model/gguf_make.h"

static uint64_t fingerprint_of(const char *path)
{
	struct error e;
	struct model *m;
	uint64_t f;

	CHECK_OK(model_open(&m, path, &e), &e);
	f = model_fingerprint(m);
	CHECK_EQ(model_fingerprint(m), f);
	model_close(m);
	return f;
}

static uint64_t fingerprint_of_bytes(const char *path, const char *data, size_t bytes)
{
	FILE *out = fopen(path, "wb");

	CHECK(out != NULL);
	CHECK_EQ(fwrite(data, 1, bytes, out), bytes);
	CHECK_EQ(fclose(out), 0);
	return fingerprint_of(path);
}

/* Goal: it is the same on every host and in every build: this number stays. */
TEST(model_fingerprint__is_stable)
{
	static const struct { const char *key; uint32_t value; } keys[] = {
		{ "llama.block_count", 2 },          { "llama.embedding_length", 64 },
		{ "llama.attention.head_count", 4 }, { "llama.feed_forward_length", 96 },
		{ "llama.context_length", 512 },     { "llama.vocab_size", 100 },
	};
	char path[] = "/tmp/petals-fingerprint-test-XXXXXX";
	struct buffer b = { 0 };

	CHECK(close(mkstemp(path)) == 0);
	make_header(&b, 2, ARRAY_LENGTH(keys) + 2);
	make_key_text(&b, "general.architecture", "llama");
	make_key_f32(&b, "llama.attention.layer_norm_rms_epsilon", 1e-5f);
	for (size_t i = 0; i < ARRAY_LENGTH(keys); i++)
		make_key_u32(&b, keys[i].key, keys[i].value);
	make_tensor(&b, "token_embd.weight", 64, 100, 0, 0);
	make_tensor(&b, "output_norm.weight", 64, 0, 0, 25600);
	make_padding(&b, 32);
	for (int i = 0; i < 25600 + 256; i++)
		make_bytes(&b, &(uint8_t){ (uint8_t)(i * i >> 3) }, 1);
	CHECK_EQ(fingerprint_of_bytes(path, b.data, b.length), 0xcefefbf364fbce6cull);
	buffer_close(&b);
	unlink(path);
}

/* Goal: neither spelling of the config, nor shards, nor the path matter; other
 * weights, dtypes and constants do.
 */
TEST(model_fingerprint__names_weights)
{
	static const char *const different[] = {
		"llama-plain", "llama-gqa-tied", "llama-gqa-tied-bf16", "llama-gqa-tied-f16",
		"llama3-rope", "llama-linear-rope", "mistral", "qwen2", "gpt2", "bloom",
		"bloom-bare", "opt", "opt-350m", "gguf/llama-f32.gguf", "gguf/llama-f16.gguf",
		"gguf/llama-q8_0.gguf",
	};
	uint64_t seen[ARRAY_LENGTH(different)];

	CHECK_EQ(fingerprint_of(test_data("llama-gqa-tied-f16")),
		 fingerprint_of(test_data("llama-gqa-tied-sharded")));
	CHECK_EQ(fingerprint_of(test_data("llama3-rope")),
		 fingerprint_of(test_data("llama-rope-legacy")));
	for (size_t i = 0; i < ARRAY_LENGTH(different); i++) {
		seen[i] = fingerprint_of(test_data(different[i]));
		for (size_t k = 0; k < i; k++)
			CHECK(seen[i] != seen[k]);
	}
}

/* Goal: a changed weight is noticed where it is sampled; a copy elsewhere is
 * the same model.
 */
TEST(model_fingerprint__samples)
{
	char path[] = "/tmp/petals-fingerprint-test-XXXXXX", *data;
	uint64_t original = fingerprint_of(test_data("gguf/llama-f32.gguf"));
	struct error e;
	size_t bytes;

	CHECK(close(mkstemp(path)) == 0);
	CHECK_OK(file_read(test_data("gguf/llama-f32.gguf"), 16 << 20, &data, &bytes, &e), &e);
	CHECK_EQ(fingerprint_of_bytes(path, data, bytes), original);
	data[bytes - 1] ^= 1;           /* the last byte of the last tensor */
	CHECK(fingerprint_of_bytes(path, data, bytes) != original);
	mem_free(data);
	unlink(path);
}
