/* tuning_fuzz.c - any bytes as a tuning table: what is taken is printable and found again. */
#include "compute/cuda/tuning.c"        /* it is part of a module, which fuzzers do not link */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t fuzz_seed(unsigned index, uint8_t *out, size_t capacity);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct cuda_tuning *t = mem_calloc(1, sizeof(*t));

	if (t && parse(t, (const char *)data, size) == 0)
		for (uint32_t i = 0; i < t->count; i++) {
			const char *key = t->entries[i].key, *value = t->entries[i].value;

			assert(is_plain(key, strlen(key)) && is_plain(value, strlen(value)));
			assert(cuda_tuning_find(t, key) == value);
		}
	cuda_tuning_close(t);
	return 0;
}

size_t fuzz_seed(unsigned index, uint8_t *out, size_t capacity)
{
	static const char *const seeds[] = {
		"# petals\nkey one\tvalue\n", "a\tb\na\tc\nlast\tline", "\n\n\t\nx\t\n",
	};
	size_t length;

	if (index >= ARRAY_LENGTH(seeds))
		return 0;
	length = MIN(strlen(seeds[index]), capacity);
	memcpy(out, seeds[index], length);
	return length;
}
