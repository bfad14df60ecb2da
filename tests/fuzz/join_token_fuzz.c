/* join_token_fuzz.c - any text as a join token: refused with a sentence, or read so that writing
 * it gives the same text again.
 */
#include <stdlib.h>
#include <string.h>

#include "control/join_token.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t fuzz_seed(unsigned index, uint8_t *out, size_t capacity);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char text[2 * JOIN_TOKEN_TEXT_BYTES], again[JOIN_TOKEN_TEXT_BYTES];
	struct error e = { 0 };
	struct join_token t;

	if (size >= sizeof(text))
		return 0;
	memcpy(text, data, size);
	text[size] = '\0';
	if (join_token_read(&t, text, &e) < 0) {
		if (!e.text[0] || e.code >= 0)
			abort();
		return 0;
	}
	join_token_write(&t, again);
	if (strcmp(text, again))
		abort();
	return 0;
}

size_t fuzz_seed(unsigned index, uint8_t *out, size_t capacity)
{
	static const char *const directories[] = { "10.0.0.5:7700", "[fd00::1]:7700", "dir:1" };
	char text[JOIN_TOKEN_TEXT_BYTES];
	struct join_token t = { .number = { 1, 2 }, .secret = { 3, 4 }, .authority = { 5 } };
	size_t length;

	if (index >= ARRAY_LENGTH(directories))
		return 0;
	memcpy(t.directory.text, directories[index], strlen(directories[index]) + 1);
	join_token_write(&t, text);
	length = strlen(text);
	if (length > capacity)
		return 0;
	memcpy(out, text, length);
	return length;
}
