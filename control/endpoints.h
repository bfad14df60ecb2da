/* endpoints.h - what every program tells about itself over HTTP: /metrics, /live, /health,
 * /ready, /version.
 *
 *   /live     200 while the core's loop turns (it stamps a heartbeat)
 *   /health   200 unless something is wrong, with the sentence that says what
 *   /ready    200 when work can be done: a server whose canary step went through, a gateway
 *             whose model is covered, a directory with its store open; else 503 and why
 *
 * Threads    Counters render in the HTTP thread; the state is copied under a lock.
 * Ownership  endpoints_open() / endpoints_close().
 * Units      None.
 * Errors     As http.h.
 */
#ifndef PETALS_CONTROL_ENDPOINTS_H
#define PETALS_CONTROL_ENDPOINTS_H

#include "control/http.h"
#include "dataplane/core.h"

enum { ENDPOINTS_COUNTERS_MAX = 16 };

struct endpoints;

int endpoints_open(struct endpoints **out, const char *program, struct core *core,
		   const struct clock *clock);
void endpoints_close(struct endpoints *p);               /* NULL is fine */
/* Sets join and leave as parts of the program do; any thread. */
void endpoints_add_counters(struct endpoints *p, struct counters *c);
void endpoints_remove_counters(struct endpoints *p, struct counters *c);
/* NULL or "": ready; else why not.  Any thread. */
void endpoints_set_ready(struct endpoints *p, const char *why_not);
void endpoints_set_health(struct endpoints *p, const char *problem);

/* Routes to put into an http_options table; their serve() wants the endpoints as ctx of
 * endpoints_serve(), which a program with routes of its own calls from its handler.
 */
extern const struct http_route endpoints_routes[];
extern const uint32_t endpoints_route_count;
/* Serves one of endpoints_routes; false: the path is not one of them. */
bool endpoints_serve(struct endpoints *p, struct http_exchange *x);

/* A server with nothing but these, for programs without an HTTP side of their own. */
int endpoints_listen(struct endpoints *p, const struct address *a, struct identity *id,
		     struct http **out, struct error *e);

#endif
