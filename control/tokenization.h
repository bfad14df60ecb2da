/* tokenization.h - /tokenize and /detokenize, in vLLM's shapes.
 *
 * Threads    The HTTP server's; the model's parts are read-only.
 * Ownership  Each call answers the exchange it is given.
 * Units      Tokens.
 * Errors     Go to the client.
 */
#ifndef PETALS_CONTROL_TOKENIZATION_H
#define PETALS_CONTROL_TOKENIZATION_H

#include "control/completion_request.h"

/* {"prompt"} or {"messages"} to {"count", "max_model_len", "tokens", "token_strs"}. */
void tokenization_encode(const struct served_model *m, struct http_exchange *x);
/* {"tokens"} to {"prompt"}. */
void tokenization_decode(const struct served_model *m, struct http_exchange *x);

#endif
