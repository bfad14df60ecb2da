/* completion_response.h - the shapes of answers: completion, chat.completion, their chunks.
 *
 * An answer is printed from the outside in: head, choices, tail.  A chunk is an answer with
 * one choice, or with none and the usage.
 *
 * Threads    Pure functions over the caller's buffer.
 * Ownership  Everything is borrowed for the call.
 * Units      Tokens; created is in seconds since 1970.
 * Errors     Kept by the buffer: buffer_failed().
 */
#ifndef PETALS_CONTROL_COMPLETION_RESPONSE_H
#define PETALS_CONTROL_COMPLETION_RESPONSE_H

#include "control/completion_request.h"
#include "control/token_scores.h"

/* What all parts of one answer have in common. */
struct completion_head {
	enum completion_kind kind;
	uint64_t id;                    /* of the request: X-Request-Id */
	uint64_t created;
	const char *model;
	uint64_t fingerprint;           /* of the weights */
};

struct completion_usage {
	uint64_t prompt_tokens, completion_tokens;
};

/* A whole choice, or the part of one that a chunk carries. */
struct completion_part {
	uint32_t index;
	const char *text;
	size_t bytes;
	bool begins;                    /* the first chunk of a chat's choice says who speaks */
	const struct token_scores *scores;      /* NULL: not asked for */
	bool has_ids;                   /* return_token_ids */
	const struct token_list *prompt_ids, *ids;
	const char *finish;             /* "stop", "length"; NULL: goes on */
	const char *stop_text;          /* what stopped it: a text, */
	int64_t stop_id;                /* or a token id, -1: neither */
};

void completion_print_head(const struct completion_head *h, bool chunk, struct buffer *out);
/* Choices after the first are told apart by a comma, which is the caller's. */
void completion_print_choice(const struct completion_head *h, const struct completion_part *p,
			     struct buffer *out);
void completion_print_delta(const struct completion_head *h, const struct completion_part *p,
			    struct buffer *out);
/* usage NULL: left out, or null where `expected` says that a later chunk has it. */
void completion_print_tail(const struct completion_usage *usage, bool expected,
			   struct buffer *out);

#endif
