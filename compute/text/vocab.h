/* vocab.h - the tokens of one vocabulary: text by id, id by text.
 *
 * Threads    Read-only once it is built.
 * Ownership  vocab_open() / vocab_close(); texts are copied in and live until
 *            vocab_close().
 * Units      Ids are below vocab_size(); bytes.
 * Errors     vocab_add(): -EEXIST when id or text is taken, -ERANGE for an id of
 *            VOCAB_TOKENS_MAX or more, -ENOMEM.
 */
#ifndef PETALS_COMPUTE_TEXT_VOCAB_H
#define PETALS_COMPUTE_TEXT_VOCAB_H

#include "dataplane/base/types.h"

enum { VOCAB_TOKENS_MAX = 1 << 22 };

enum vocab_flag {
	VOCAB_PRESENT = 1 << 0,
	VOCAB_SPECIAL = 1 << 1,
	VOCAB_ADDED = 1 << 2,        /* unknown to the model: only found in texts */
};

struct vocab;

/* Room for `tokens` before anything has to grow. */
int vocab_open(struct vocab **out, size_t tokens);
void vocab_close(struct vocab *v);                    /* NULL is fine */

int vocab_add(struct vocab *v, uint32_t id, const char *text, size_t bytes);
void vocab_mark(struct vocab *v, uint32_t id, enum vocab_flag flag);

uint32_t vocab_size(const struct vocab *v);           /* highest id + 1 */
bool vocab_has(const struct vocab *v, uint32_t id);
bool vocab_is_special(const struct vocab *v, uint32_t id);
int64_t vocab_find(const struct vocab *v, const char *text, size_t bytes);  /* or -1 */
/* The same among the model's own tokens. */
int64_t vocab_find_model(const struct vocab *v, const char *text, size_t bytes);
/* NUL-terminated as well; "" for an id that is not there. */
const char *vocab_text(const struct vocab *v, uint32_t id, size_t *bytes);

#endif
