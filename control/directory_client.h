/* directory_client.h - a program's side of the directory: the watched view, and
 * for servers the lease.
 *
 * Dials, watches, re-dials with backoff.  When the directory is away the last view
 * stays in use; members do not expire from it until the directory is back.  A lease
 * is joined, renewed each third of its length, joined again when the directory has
 * forgotten it, and given up by directory_client_leave().
 *
 * Threads    The node's core thread.
 * Ownership  directory_client_open() / _close(); node and rpc are borrowed.
 * Units      _ns.
 * Errors     -errno with a sentence.  Losing the directory is not an error; it is
 *            logged and counted.
 */
#ifndef PETALS_CONTROL_DIRECTORY_CLIENT_H
#define PETALS_CONTROL_DIRECTORY_CLIENT_H

#include "control/rpc.h"
#include "control/view.h"
#include "dataplane/base/counters.h"

struct directory_client;

struct directory_client_options {
	struct node *node;
	struct rpc *rpc;
	struct address directory;
	uint64_t ttl_ns;
	uint64_t seed;                            /* of the backoff's jitter; 0: entropy,
						   * a constant on a simulated clock */
	bool watch;                               /* wants the view */
	void (*changed)(void *ctx, const struct view *v);   /* a newer view, may be NULL */
	/* Servers: joined (or joined again); first/end as granted. */
	void (*joined)(void *ctx, uint32_t first, uint32_t end);
	void (*refused)(void *ctx, const char *reason);     /* join was refused for good */
	void *ctx;
};

int directory_client_open(struct directory_client **out,
			  const struct directory_client_options *o, struct error *e);
void directory_client_close(struct directory_client *c); /* NULL is fine */

const struct view *directory_client_view(const struct directory_client *c);
bool directory_client_connected(const struct directory_client *c);
struct counters *directory_client_counters(struct directory_client *c);

/* Asks to join; member.first == end asks for a span of at most `capacity` blocks. */
void directory_client_join(struct directory_client *c, const struct member *m,
			   uint32_t capacity);
/* What the next renewals say; a changed state or span is sent at once. */
void directory_client_update(struct directory_client *c, const struct member *m);
/* done(ctx) when the directory knows, or the timeout passed, never before this
 * returns.  The callbacks of a close()d client do not fire.
 */
void directory_client_leave(struct directory_client *c, uint64_t timeout_ns,
			    void (*done)(void *ctx), void *ctx);

#endif
