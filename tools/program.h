/* program.h - what every long-running program does alike: signals, certificate, node, calls,
 * endpoints, and the loop.
 *
 * Threads    main()'s.  One program per process (signal handlers need a global).
 * Ownership  program_open() / program_close(); what it holds is borrowed by the parts.
 * Units      None.
 * Errors     -errno with a sentence.
 */
#ifndef PETALS_TOOLS_PROGRAM_H
#define PETALS_TOOLS_PROGRAM_H

#include "control/endpoints.h"
#include "control/keeper.h"
#include "control/rpc.h"
#include "tools/network.h"
#include "tools/security.h"

struct running;

struct running_options {
	const char *name;               /* "petals-server" */
	enum wire_role role;
	const char *listen;             /* HOST:PORT for peers, or NULL */
	const char *metrics;            /* HOST:PORT for endpoints of its own, or NULL */
	uint32_t large_bytes;           /* a landing slot must hold, 0: what JSON needs */
	uint32_t peers_max;
	const struct security_flags *security;
	const struct network_flags *network;    /* NULL: as transport_options_default() */
	const char *directory;          /* HOST:PORT that it is told of, NULL: it is one itself */
	/* How the certificate is renewed other than by that directory (keeper.h), or NULL. */
	int (*renew)(void *ctx, const char *request, char **certificate, struct error *e);
	/* The first SIGTERM or SIGINT: begin to stop, call running_stop() when done.  NULL: stop
	 * at once.  A second signal always stops at once.
	 */
	void (*stopping)(void *ctx);
	void *ctx;
};

int running_open(struct running **out, const struct running_options *o, struct error *e);
void running_close(struct running *r);                   /* NULL is fine */

struct identity *running_identity(struct running *r);   /* NULL: insecure */
struct node *running_node(struct running *r);
struct rpc *running_rpc(struct running *r);
struct endpoints *running_endpoints(struct running *r);
const struct address *running_address(const struct running *r);   /* bound; "" when none */
/* "http://127.0.0.1:7801/metrics", "" when not listening. */
const char *running_metrics_url(const struct running *r);

void running_loop(struct running *r);                    /* until running_stop() */
void running_stop(struct running *r);

#endif
