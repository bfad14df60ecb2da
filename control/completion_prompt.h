/* completion_prompt.h - prompts and messages: read out of JSON, rendered, encoded.
 *
 * Threads    Any; the model's parts are read-only.
 * Ownership  What is read belongs to the request.
 * Units      Tokens, bytes.
 * Errors     -EINVAL with a fault, as completion_request.h.
 */
#ifndef PETALS_CONTROL_COMPLETION_PROMPT_H
#define PETALS_CONTROL_COMPLETION_PROMPT_H

#include "control/completion_request.h"

/* Text, a list of texts, token ids, or a list of those. */
int completion_read_prompt(struct completion_request *r, const json_t *v,
			   const struct served_model *m, struct api_fault *f);
/* [{"role", "content": text or [{"type": "text", "text"}]}] */
int completion_read_messages(struct completion_request *r, const json_t *v,
			     struct api_fault *f);

/* Texts and messages become ids. */
int completion_encode(struct completion_request *r, const struct served_model *m,
		      struct api_fault *f);
/* Gives max_tokens its value; prompts that leave no room in the context are refused with the
 * figures.
 */
int completion_fit(struct completion_request *r, const struct served_model *m,
		   struct api_fault *f);
/* Messages and template variables as one prompt's text. */
int completion_render(const struct completion_request *r, const struct served_model *m,
		      struct buffer *out, struct api_fault *f);

#endif
