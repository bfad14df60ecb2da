/* server.h - a server's life: join, load, serve, drain, leave.
 *
 *   from      to        by                          what the directory sees
 *   -         JOINING   server_open()               a lease; weights are being laid out
 *   JOINING   SERVING   weights ready and a canary  serving
 *                       step went through
 *   JOINING   FAILED    loading or the canary failed
 *   SERVING   DRAINING  server_drain()              draining: no new sessions, the others
 *                                                   are asked to move
 *   DRAINING  OFFLINE   the last session is gone,   the lease is given up
 *                       or the deadline passed
 *   SERVING,  FAILED    a step lost the device      the lease is given up, sessions are asked
 *   DRAINING                                        to move; then events.failed
 *
 * Without blocks of its own choice it joins first, loads what the directory grants, and
 * then serves.  The part of sessions that runs here is hop.h's.
 *
 * Threads    The node's core thread; weights load in a thread of their own, blocks run in
 *            the runner's.
 * Ownership  server_open() / server_close(); everything in the options is borrowed.
 * Units      _ns, _bytes.
 * Errors     -errno with a sentence; after server_open() through events.failed.
 */
#ifndef PETALS_CONTROL_SERVER_H
#define PETALS_CONTROL_SERVER_H

#include "compute/backend.h"
#include "control/directory_client.h"
#include "control/hop.h"

struct server;

enum server_state {
	SERVER_JOINING, SERVER_SERVING, SERVER_DRAINING, SERVER_OFFLINE, SERVER_FAILED
};

struct server_events {
	void (*serving)(void *ctx, const struct span_info *info);
	void (*failed)(void *ctx, const char *reason);
	void (*offline)(void *ctx);             /* the drain is over */
};

struct server_options {
	struct node *node;
	struct rpc *rpc;
	const struct address *directory;        /* NULL: tell nobody (tests) */
	uint64_t lease_ttl_ns;
	const struct backend *backend;
	struct device *device;
	struct span_options span;               /* first == end: ask the directory */
	uint32_t capacity;                      /* most blocks to ask for */
	struct hops_options hops;               /* node, backend, span, fingerprint are filled in */
	struct member member;                   /* id, name, address, metrics as announced */
	struct server_events events;
	void *ctx;
};

int server_open(struct server **out, const struct server_options *o, struct error *e);
void server_close(struct server *s);                     /* NULL is fine */
enum server_state server_state(const struct server *s);
const char *server_state_name(enum server_state state);
const struct span_info *server_span(const struct server *s);   /* NULL until loaded */
struct hops *server_hops(struct server *s);              /* NULL until loaded */
struct directory_client *server_directory(struct server *s);

/* Leaves: events.offline fires when the last session is gone, or after within_ns. */
void server_drain(struct server *s, uint64_t within_ns);

#endif
