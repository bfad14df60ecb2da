/* safetensors_fuzz.c - any bytes as a safetensors file: refused with a
 * sentence, or every tensor's bytes can be read.
 */
#include <stdlib.h>

#include "compute/model/safetensors.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t fuzz_seed(unsigned index, uint8_t *out, size_t capacity);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct error e = { 0 };
	struct safetensors *s;
	volatile uint64_t sum = 0;

	if (safetensors_open_bytes(&s, data, size, &e) < 0) {
		if (!e.text[0] || e.code >= 0)
			abort();
		return 0;
	}
	for (uint64_t i = 0; i < safetensors_count(s); i++) {
		const struct safetensors_tensor *t = safetensors_at(s, i);

		if (safetensors_tensor(s, t->name) != t || safetensors_unreadable(s, t->name))
			abort();
		for (uint64_t k = 0; k < t->bytes; k++)
			sum += t->data[k];
	}
	safetensors_close(s);
	return 0;
}

size_t fuzz_seed(unsigned index, uint8_t *out, size_t capacity)
{
	static const struct { const char *header; size_t data_bytes; } seeds[] = {
		{ "{\"a\":{\"dtype\":\"F32\",\"shape\":[2,2],\"data_offsets\":[0,16]}}", 16 },
		{ "{\"__metadata__\":{\"format\":\"pt\"},"
		  "\"b\":{\"dtype\":\"BF16\",\"shape\":[2,3],\"data_offsets\":[8,20]},"
		  "\"mask\":{\"dtype\":\"I64\",\"shape\":[1],\"data_offsets\":[0,8]},"
		  "\"none\":{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[20,20]},"
		  "\"scalar\":{\"dtype\":\"F16\",\"shape\":[],\"data_offsets\":[20,22]}}  ", 22 },
		{ "{}", 0 },
	};
	uint64_t length;

	if (index >= ARRAY_LENGTH(seeds))
		return 0;
	length = strlen(seeds[index].header);
	if (sizeof(length) + length + seeds[index].data_bytes > capacity)
		return 0;
	memcpy(out, &length, sizeof(length));
	memcpy(out + sizeof(length), seeds[index].header, length);
	memset(out + sizeof(length) + length, 'x', seeds[index].data_bytes);
	return sizeof(length) + length + seeds[index].data_bytes;
}
