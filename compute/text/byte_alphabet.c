/* byte_alphabet.c - owns the mapping between bytes and their printable stand-ins. */
#include "compute/text/byte_alphabet.h"

#include "compute/text/utf8.h"

/* Bytes that are not printable in Latin-1, in order, with the character the
 * first of each run stands for.
 */
static const struct run {
	uint8_t first, last;
	uint32_t character;
} hidden[] = {
	{ 0x00, 0x20, 0x100 },
	{ 0x7F, 0xA0, 0x121 },
	{ 0xAD, 0xAD, 0x143 },
};

uint32_t byte_alphabet_character(uint8_t byte)
{
	for (size_t i = 0; i < ARRAY_LENGTH(hidden); i++)
		if (byte >= hidden[i].first && byte <= hidden[i].last)
			return hidden[i].character + (byte - hidden[i].first);
	return byte;
}

int byte_alphabet_byte(uint32_t c)
{
	for (size_t i = 0; i < ARRAY_LENGTH(hidden); i++) {
		uint32_t length = (uint32_t)(hidden[i].last - hidden[i].first) + 1;

		if (c >= hidden[i].character && c < hidden[i].character + length)
			return (int)(hidden[i].first + (c - hidden[i].character));
		if (c >= hidden[i].first && c <= hidden[i].last)
			return -1;
	}
	return c < 0x100 ? (int)c : -1;
}

void byte_alphabet_append(struct buffer *out, const char *text, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++)
		utf8_append(out, byte_alphabet_character((uint8_t)text[i]));
}

bool byte_alphabet_restore(struct buffer *out, const char *text, size_t bytes)
{
	uint32_t c;

	for (size_t at = 0; at < bytes;) {
		at += utf8_next(text + at, bytes - at, &c);
		if (byte_alphabet_byte(c) < 0)
			return false;
	}
	for (size_t at = 0; at < bytes;) {
		at += utf8_next(text + at, bytes - at, &c);
		buffer_char(out, (char)byte_alphabet_byte(c));
	}
	return true;
}
