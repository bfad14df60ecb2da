/* gguf_fuzz.c - any bytes as a GGUF file: refused with a sentence, or every
 * key, element and tensor byte of it can be read, and its config too.
 */
#include <stdlib.h>

#include "compute/model/config.h"
#include "tests/compute/model/gguf_make.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t fuzz_seed(unsigned index, uint8_t *out, size_t capacity);

static const char *const keys[] = {
	"general.architecture", "general.name", "general.alignment", "u32", "u64", "i64", "i32",
	"f32", "f64", "yes", "texts", "integers", "reals", "empty", "tokenizer.ggml.tokens",
};

static uint64_t read_keys(const struct gguf *g)
{
	uint64_t sum = 0;

	for (size_t k = 0; k < ARRAY_LENGTH(keys); k++) {
		int64_t length = gguf_array_length(g, keys[k]), integer;
		struct gguf_text text;
		double real;
		bool yes;

		sum += gguf_integer(g, keys[k], &integer) + gguf_real(g, keys[k], &real) +
		       gguf_bool(g, keys[k], &yes);
		if (gguf_string(g, keys[k], &text))
			for (uint64_t i = 0; i < text.length; i++)
				sum += (uint8_t)text.data[i];
		for (int64_t i = 0; i <= length; i++) {
			sum += gguf_array_integer(g, keys[k], (uint64_t)i, &integer) +
			       gguf_array_real(g, keys[k], (uint64_t)i, &real);
			if (gguf_array_string(g, keys[k], (uint64_t)i, &text) && text.length)
				sum += (uint8_t)text.data[text.length - 1];
		}
	}
	return sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct error e = { 0 };
	struct model_config c;
	struct gguf *g;
	volatile uint64_t sum = 0;

	if (gguf_open_bytes(&g, data, size, &e) < 0) {
		if (!e.text[0] || e.code >= 0)
			abort();
		return 0;
	}
	sum += read_keys(g);
	for (uint64_t t = 0; t < gguf_tensor_count(g); t++) {
		const struct gguf_tensor *tensor = gguf_tensor_at(g, t);

		if (gguf_tensor(g, tensor->name.data) != tensor)
			abort();
		for (uint64_t i = 0; i < tensor->bytes; i++)
			sum += tensor->data[i];
	}
	if (config_from_gguf(&c, g, &e) < 0 && !e.text[0])
		abort();
	gguf_close(g);
	return 0;
}

/* A llama with its keys and an embedding. */
static void make_llama(struct buffer *b)
{
	static const struct { const char *key; uint32_t value; } numbers[] = {
		{ "llama.block_count", 2 },           { "llama.embedding_length", 8 },
		{ "llama.attention.head_count", 2 },  { "llama.attention.head_count_kv", 1 },
		{ "llama.feed_forward_length", 16 },  { "llama.context_length", 512 },
		{ "llama.rope.dimension_count", 4 },  { "tokenizer.ggml.bos_token_id", 1 },
		{ "tokenizer.ggml.eos_token_id", 2 }, { "general.alignment", 64 },
	};

	make_header(b, 2, ARRAY_LENGTH(numbers) + 5);
	make_key_text(b, "general.architecture", "llama");
	make_key_f32(b, "llama.attention.layer_norm_rms_epsilon", 1e-5f);
	make_key_f32(b, "llama.rope.freq_base", 10000);
	make_key_text(b, "llama.rope.scaling.type", "none");
	make_array(b, "tokenizer.ggml.tokens", MAKE_TEXT, 3);
	for (int i = 0; i < 3; i++)
		make_text(b, &"abc"[i]);
	for (size_t i = 0; i < ARRAY_LENGTH(numbers); i++)
		make_key_u32(b, numbers[i].key, numbers[i].value);
	make_tensor(b, "token_embd.weight", 8, 3, 1, 0);
	make_tensor(b, "rope_freqs.weight", 2, 0, 0, 64);
	make_padding(b, 64);
	for (int i = 0; i < 64 + 8; i++)
		make_bytes(b, "?", 1);
}

size_t fuzz_seed(unsigned index, uint8_t *out, size_t capacity)
{
	struct buffer b = { 0 };
	size_t bytes = 0;

	if (index == 0)
		make_sample(&b);
	else if (index == 1)
		make_llama(&b);
	if (b.length <= capacity) {
		bytes = b.length;
		memcpy(out, buffer_string(&b), bytes);
	}
	buffer_close(&b);
	return bytes;
}
