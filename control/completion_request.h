/* completion_request.h - a JSON body of /v1/completions or /v1/chat/completions as a checked
 * request.
 *
 * Reading (completion_request_read) needs no tokenizer; completion_prompt.h turns what was
 * said into token ids.  Keys we do not know are ignored, as clients expect; those that ask
 * for what we do not have yet are refused by name.
 *
 * Threads    Plain data of its holder.
 * Ownership  completion_request_read() fills a zeroed struct, also when it fails;
 *            completion_request_close() frees what is in it.
 * Units      Tokens.
 * Errors     -EINVAL with a fault that names the parameter, its value, and what is taken.
 */
#ifndef PETALS_CONTROL_COMPLETION_REQUEST_H
#define PETALS_CONTROL_COMPLETION_REQUEST_H

#include <jansson.h>

#include "compute/sampler.h"
#include "compute/text/chat_template.h"
#include "compute/text/stop.h"
#include "compute/text/tokenizer.h"
#include "control/api_fault.h"

enum completion_kind { COMPLETION_TEXT, COMPLETION_CHAT };

enum {
	COMPLETION_BIAS_MAX = 1024,
	COMPLETION_STOP_IDS_MAX = 64,
	COMPLETION_MESSAGES_MAX = 4096,
};

/* What requests are read against. */
struct served_model {
	const char *name;
	const struct tokenizer *tokenizer;
	const struct chat_template *chat_template;      /* NULL: it has none */
	uint32_t vocabulary;
	uint32_t context;               /* tokens of a prompt and what follows it */
	uint32_t default_tokens;        /* most that follow when nobody says */
	uint32_t choices_max;           /* prompts x n */
};

/* Text until it is encoded, ids afterwards. */
struct completion_prompt {
	char *text;
	size_t bytes;
	struct token_list ids;
};

struct completion_request {
	enum completion_kind kind;
	struct completion_prompt *prompts;
	uint32_t prompt_count;
	json_t *messages;               /* chat: as the template wants them */
	json_t *template_variables;     /* chat_template_kwargs, or NULL */
	bool no_generation_prompt, no_special_tokens;

	uint32_t n, best_of;            /* best_of: 0 when not said */
	uint32_t max_tokens;            /* encoded: always set, unless the prompt is only scored */
	bool max_tokens_given;
	struct sampler_options sampler; /* its lists are ours */
	struct logit_bias *bias;
	uint32_t *stop_ids;
	bool seeded;
	char *stops[STOP_STRINGS_MAX];
	uint32_t stop_count;
	bool ignore_eos, keep_special, echo;
	bool logprobs, top_logprobs_given;
	bool stream, stream_options, include_usage, continuous_usage;
	bool return_token_ids;
};

int completion_request_read(struct completion_request *r, enum completion_kind kind,
			    const char *body, size_t bytes, const struct served_model *m,
			    struct api_fault *f);
void completion_request_close(struct completion_request *r);

/* The parsed body, or NULL and a fault that says where it is no JSON object. */
json_t *completion_body(const char *body, size_t bytes, struct api_fault *f);
/* A `model` that is not ours is a 404. */
int completion_check_model(const json_t *body, const struct served_model *m,
			   struct api_fault *f);

#endif
