/* rpc.h - JSON calls, replies and events between programs, over the node.
 *
 * CALL   {"method": "join", "params": {...}}     frame.session numbers the call
 * REPLY  {"result": ...} or {"error": {"code": "EBUSY", "message": "..."}}
 * EVENT  {"event": "view", "data": {...}}
 *
 * Threads    The node's core thread.
 * Ownership  rpc_open() / rpc_close().  json_t parameters are borrowed by handlers;
 *            those passed to rpc_call(), rpc_reply(), rpc_event() are consumed.
 * Units      _ns.
 * Errors     A call that fails ends in done() with a negative code and a sentence:
 *            -ETIMEDOUT, -ECONNRESET, -EPROTO, or what the other side said.
 */
#ifndef PETALS_CONTROL_RPC_H
#define PETALS_CONTROL_RPC_H

#include <jansson.h>

#include "control/node.h"

enum {
	RPC_PAYLOAD_BYTES_MAX = 1 << 20,
	RPC_CALLS_MAX = 1024,          /* waiting for their replies; -ENOSPC beyond */
	RPC_REQUESTS_MAX = 1024,       /* waiting for our replies; EBUSY beyond */
};

struct rpc;
struct rpc_request;                    /* a call that waits for our reply */

int rpc_open(struct rpc **out, struct node *n);
/* After the core's last turn.  NULL is fine; pending calls end with -ECANCELED, and
 * must not be followed by others; unanswered requests go.
 */
void rpc_close(struct rpc *r);
struct counters *rpc_counters(struct rpc *r);

/* Caller. */
typedef void rpc_done(void *ctx, int code, const char *message, const json_t *result);
/* A call to a peer that is still being dialed waits for it, within its timeout; a
 * peer that owes a reply is watched for silence.
 * Returns the call's number, or -errno when it could not even be sent; then
 * done() is not called.
 */
int64_t rpc_call(struct rpc *r, uint32_t peer, const char *method, json_t *params,
		 uint64_t timeout_ns, rpc_done *done, void *ctx);
void rpc_cancel(struct rpc *r, int64_t call);            /* done() will not fire */

/* Called, by whoever may (permission.h has a row for each name). */
struct rpc_method {
	const char *name;
	/* Replies now or later, exactly once, with rpc_reply() or rpc_fail(). */
	void (*serve)(void *ctx, struct rpc_request *q, const json_t *params);
};
void rpc_serve(struct rpc *r, const struct rpc_method *methods, uint32_t count, void *ctx);
uint32_t rpc_request_peer(const struct rpc_request *q);
/* As node_principal(). */
const struct principal *rpc_request_principal(const struct rpc_request *q);
void rpc_reply(struct rpc_request *q, json_t *result);
void rpc_fail(struct rpc_request *q, int code, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* Events. */
int rpc_event(struct rpc *r, uint32_t peer, const char *event, json_t *data);
void rpc_on_event(struct rpc *r, const char *event,
		  void (*handler)(void *ctx, uint32_t peer, const json_t *data), void *ctx);

#endif
