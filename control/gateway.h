/* gateway.h - petals-gateway's object: the routes of the OpenAI API, the queue of requests,
 * and whether the swarm can answer at all.
 *
 * A request is read and encoded in the HTTP thread, then handed to the core's through a
 * ring.  Its choices run as generations, first come first served, running_max at a time;
 * what waits beyond waiting_max is refused with 429.
 *
 *   from         to           by
 *   -            UNCOVERED    gateway_open()
 *   UNCOVERED    TRYING       every block has a server: a canary of one token starts
 *   TRYING       READY        it came back
 *   TRYING       UNCOVERED    a block lost its last server; a canary that fails is repeated
 *   READY        TRYING       a request failed for the swarm's sake
 *   READY        UNCOVERED    a block lost its last server
 *
 * Threads    The node's core thread; handlers run in the HTTP server's.
 * Ownership  gateway_open() / gateway_close(); everything in the options is borrowed, and
 *            outlives the gateway.  gateway_close() comes after the core's last turn.
 * Units      Choices, _ns, _bytes.
 * Errors     -errno with a sentence; afterwards they go to clients and to /ready.
 */
#ifndef PETALS_CONTROL_GATEWAY_H
#define PETALS_CONTROL_GATEWAY_H

#include "control/completion.h"
#include "control/endpoints.h"

struct gateway;

struct gateway_options {
	struct node *node;
	struct sessions *sessions;
	struct directory_client *directory;     /* for the pages in use; NULL is fine */
	struct generations *generations;        /* room for running_max and the canary */
	struct endpoints *endpoints;
	struct served_model model;
	uint64_t fingerprint;
	uint32_t canary_token;                  /* any id that the model knows */
	struct address listen;
	struct identity *identity;              /* for HTTPS; NULL: loopback alone */
	uint32_t running_max, waiting_max;      /* choices */
	uint64_t request_ns;                    /* from taking a request to its last token */
	size_t body_bytes_max;
	uint32_t connections_max;
};

int gateway_open(struct gateway **out, const struct gateway_options *o, struct error *e);
void gateway_close(struct gateway *g);                   /* NULL is fine */
void gateway_bound(const struct gateway *g, struct address *out);
const char *gateway_scheme(const struct gateway *g);     /* "http", "https" */
struct counters *gateway_counters(struct gateway *g);
/* Looks at the coverage at once, rather than within a second. */
void gateway_view_changed(struct gateway *g);
bool gateway_ready(const struct gateway *g);
/* Takes no new requests; done(ctx) when the others ended, or were ended after within_ns. */
void gateway_drain(struct gateway *g, uint64_t within_ns, void (*done)(void *ctx), void *ctx);

#endif
