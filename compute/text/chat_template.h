/* chat_template.h - evaluates the Jinja subset that published chat templates
 * use.
 *
 * Compiled once at start; anything unknown (tag, filter, test, method, operator)
 * is refused then, with line and column.  Rendering is bounded in output
 * bytes and in steps, so a hostile template cannot run away.  Whitespace
 * behaves as transformers configures it: trim_blocks and lstrip_blocks on.
 *
 * Threads    A compiled template may be rendered by any thread at once.
 * Ownership  chat_template_open() / chat_template_close().
 * Units      Bytes.
 * Errors     -EINVAL with "line 3, column 14: ..." ; rendering also -EMSGSIZE,
 *            -ENOMEM, and -EINVAL for the template's own raise_exception(), whose text
 *            becomes the sentence.
 */
#ifndef PETALS_COMPUTE_TEXT_CHAT_TEMPLATE_H
#define PETALS_COMPUTE_TEXT_CHAT_TEMPLATE_H

#include <jansson.h>

#include "dataplane/base/buffer.h"
#include "dataplane/base/error.h"

struct chat_template;

int chat_template_open(struct chat_template **out, const char *text, size_t bytes,
		       struct error *e);
void chat_template_close(struct chat_template *t);            /* NULL is fine */

/* variables: an object with messages, add_generation_prompt, bos_token,
 * eos_token, tools and whatever else the caller offers.
 */
int chat_template_render(const struct chat_template *t, const json_t *variables,
			 struct buffer *out, struct error *e);

#endif
