/* decoder.h - what a token's text becomes on the way back to text.
 *
 * Decoders run per token when the tokenizer opens; what depends on
 * neighbours (bytes that form a character together, the space before the
 * first word) is left as facts in the struct for detokenizer.c.
 *
 * Threads    Read-only once built.
 * Ownership  A zeroed decoder joins tokens with spaces; decoder_close() frees.
 * Units      Bytes of UTF-8.
 * Errors     -EINVAL, -ENOTSUP with the JSON path; -ENOMEM.
 */
#ifndef PETALS_COMPUTE_TEXT_DECODER_H
#define PETALS_COMPUTE_TEXT_DECODER_H

#include "compute/text/pretokenizer.h"
#include "compute/text/vocab.h"

enum { DECODER_STEPS_MAX = 16 };

enum decoder_kind {
	DECODE_BYTE_LEVEL,
	DECODE_BYTE_FALLBACK,
	DECODE_REPLACE,
	DECODE_STRIP,
	DECODE_METASPACE,
};

struct decoder_step {
	enum decoder_kind kind;
	struct pattern pattern;             /* REPLACE */
	char *content;                      /* REPLACE */
	char character[UTF8_MOST_BYTES];    /* STRIP: what goes; METASPACE: the stand-in */
	size_t character_bytes;
	unsigned start, stop;               /* STRIP: how many at most at each end */
	bool drops_first;                   /* METASPACE: the first token loses its own */
};

/* The texts of all tokens, one after another. */
struct decoded_texts {
	struct buffer texts;
	uint32_t *ends;                     /* by id */
};

struct decoder {
	struct decoder_step steps[DECODER_STEPS_MAX];
	unsigned count;
	bool joined;                        /* tokens follow each other without a space */
	bool fused;                         /* steps that follow see the whole text */
	bool byte_level;                    /* a token is bytes, not characters */
	bool byte_fallback;                 /* <0xXX> is a byte */
	bool first_differs;                 /* the first token has its own text */
	char strip_first[UTF8_MOST_BYTES];  /* one of these goes at the very start */
	size_t strip_first_bytes;
	struct decoded_texts any, first;
};

/* node may be NULL or null. */
int decoder_read(struct decoder *d, const json_t *node, const char *path, struct error *e);
void decoder_set_byte_level(struct decoder *d);
/* SentencePiece: "▁" is a space, <0xXX> a byte, one space at the start goes. */
int decoder_set_sentence_piece(struct decoder *d, bool strip_space);
/* Works out every token's text, after the steps are known. */
int decoder_prepare(struct decoder *d, const struct vocab *v, struct error *e);
void decoder_close(struct decoder *d);

const char *decoder_text(const struct decoder *d, uint32_t id, bool first, size_t *bytes);
/* The byte that "<0x41>" stands for, or -1. */
int byte_fallback_value(const char *text, size_t bytes);

#endif
