/* web.h - an HTTP client for tests: libcurl for whole requests, bare sockets for bad ones. */
#ifndef PETALS_TESTS_WEB_H
#define PETALS_TESTS_WEB_H

#include <jansson.h>

#include "dataplane/base/address.h"
#include "dataplane/base/buffer.h"

struct web_answer {
	long status;                    /* 0: no answer came; why says what did */
	struct buffer headers, body;
	char why[256];
};

/* method NULL: GET, or POST when there is a body.  header: one more line, or NULL. */
void web_ask(struct web_answer *out, const struct address *to, const char *method,
	     const char *path, const char *body, const char *header);
void web_get(struct web_answer *out, const struct address *to, const char *path);
void web_post(struct web_answer *out, const struct address *to, const char *path,
	      const char *body);
void web_close(struct web_answer *a);
/* The value of a response header into out; "" when it is not there. */
void web_header(const struct web_answer *a, const char *name, char *out, size_t bytes);
/* The body as JSON, NULL when it is none; the caller's to json_decref(). */
json_t *web_json(const struct web_answer *a);
/* The text at error.KEY of an error body, into out; "" when it is not there. */
void web_error(const struct web_answer *a, const char *key, char *out, size_t bytes);

/* A socket connected to `to`, or -errno; web_send() writes all of a text, web_send_post() a
 * request whose answer is not waited for.
 */
int web_connect(const struct address *to);
int web_send(int fd, const char *text);
int web_send_post(int fd, const char *path, const char *body);
/* Whatever comes until the other side closes, or `until` is in it. */
void web_receive(int fd, const char *until, struct buffer *out);

#endif
