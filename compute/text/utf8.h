/* utf8.h - characters inside bytes: decoding, encoding, repair, and the few
 * Unicode classes that tokenizers ask for.
 *
 * Threads    Pure functions.
 * Ownership  None; texts are borrowed for the call.
 * Units      Bytes; a character is a Unicode scalar value.
 * Errors     None: bad input reads as U+FFFD, one per maximal subpart.
 */
#ifndef PETALS_COMPUTE_TEXT_UTF8_H
#define PETALS_COMPUTE_TEXT_UTF8_H

#include "dataplane/base/buffer.h"

enum { UTF8_REPLACEMENT = 0xFFFD, UTF8_MOST_BYTES = 4 };

enum utf8_state { UTF8_WHOLE, UTF8_BROKEN, UTF8_CUT };

/* Reads the character at text[0]; bytes > 0.  Returns how many bytes it took.
 * BROKEN: those bytes can never become a character.  CUT: the text ended
 * inside one.  Both leave U+FFFD in *out.
 */
size_t utf8_read(const char *text, size_t bytes, uint32_t *out, enum utf8_state *state);
/* The same where the text is known to be valid. */
size_t utf8_next(const char *text, size_t bytes, uint32_t *out);
/* Where the character that ends at `end` begins; end > 0. */
size_t utf8_before(const char *text, size_t end);
size_t utf8_write(uint32_t character, char out[UTF8_MOST_BYTES]);
bool utf8_valid(const char *text, size_t bytes);
void utf8_append(struct buffer *out, uint32_t character);
void utf8_append_repaired(struct buffer *out, const char *text, size_t bytes);

bool character_is_space(uint32_t c);         /* White_Space */
bool character_is_numeric(uint32_t c);       /* Nd, Nl, No */
bool character_is_punctuation(uint32_t c);   /* P*, and ASCII's symbols */
bool character_is_word(uint32_t c);          /* letters, marks, digits, _ */

#endif
