/* byte_alphabet.h - the 256 printable characters that stand for bytes in
 * byte-level vocabularies.
 *
 * Printable Latin-1 bytes stand for themselves; the others, in order, are
 * U+0100, U+0101, ...  A space is U+0120, a newline U+010A.
 *
 * Threads    Pure functions.
 * Ownership  None.
 * Units      Bytes and characters.
 * Errors     byte_alphabet_byte(): -1 for a character outside the alphabet.
 */
#ifndef PETALS_COMPUTE_TEXT_BYTE_ALPHABET_H
#define PETALS_COMPUTE_TEXT_BYTE_ALPHABET_H

#include "dataplane/base/buffer.h"

uint32_t byte_alphabet_character(uint8_t byte);
int byte_alphabet_byte(uint32_t character);

/* Every byte of text as its character. */
void byte_alphabet_append(struct buffer *out, const char *text, size_t bytes);
/* Back to bytes; false, and nothing appended, when a character is foreign. */
bool byte_alphabet_restore(struct buffer *out, const char *text, size_t bytes);

#endif
