/* api_fault.h - why a request was refused or failed, as OpenAI's clients see it: a status, a
 * type, the parameter at fault, a code, a sentence.
 *
 * Threads    Plain data; api_fault_reply() as http_reply().
 * Ownership  Plain storage.
 * Units      HTTP statuses.
 * Errors     api_fault_set() returns -EINVAL, so that a reader can return it.
 */
#ifndef PETALS_CONTROL_API_FAULT_H
#define PETALS_CONTROL_API_FAULT_H

#include "control/http.h"

struct api_fault {
	int status;                     /* 0: none */
	char param[64];                 /* "": none */
	const char *code;               /* a literal, or NULL */
	char message[ERROR_TEXT_BYTES];
};

/* param and code may be NULL.  The first fault stays: later ones are dropped. */
int api_fault_set(struct api_fault *f, int status, const char *param, const char *code,
		  const char *format, ...) __attribute__((format(printf, 5, 6)));
/* What a session's or a generation's failure is to a client: missing blocks 503, deadline
 * 504, busy 429, bad input 400.
 */
void api_fault_of_failure(struct api_fault *f, int code, const char *reason);
/* "invalid_request_error", "rate_limit_error", "server_error". */
const char *api_fault_type(const struct api_fault *f);
/* Whole answer; 429 and 503 carry Retry-After. */
void api_fault_reply(const struct api_fault *f, struct http_exchange *x);
/* {"error": {...}}, for an event in a stream that has begun. */
void api_fault_print(const struct api_fault *f, struct buffer *out);

#endif
