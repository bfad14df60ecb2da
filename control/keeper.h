/* keeper.h - keeps a program's identity fresh while it runs: notices renewed files, renews the
 * certificate in time, and takes in what was revoked.
 *
 * A certificate is renewed once two thirds of its life are over: by the directory that was told
 * (registrar.h), or by the caller's own means (a directory with a CA).  The key stays, and those
 * we are connected with are shown the new one, so that no connection ends with the old:
 *
 *   certificate  {certificate} -> {}       PEM, for the key that the caller has proved to have
 *
 * Threads    The node's core thread.
 * Ownership  keeper_open() / keeper_close(); everything in the options is borrowed.
 * Units      _ns, _unix_s.
 * Errors     keeper_open(): -ENOMEM with a sentence.  What fails later is logged, counted and
 *            tried again.
 */
#ifndef PETALS_CONTROL_KEEPER_H
#define PETALS_CONTROL_KEEPER_H

#include "control/rpc.h"
#include "dataplane/identity.h"

struct keeper;

struct keeper_options {
	struct node *node;
	struct rpc *rpc;
	struct identity *identity;
	const struct address *directory;        /* NULL: there is none to ask */
	/* NULL: the directory renews; else this does, from a request (certificate.h). */
	int (*renew)(void *ctx, const char *request, char **certificate, struct error *e);
	void *ctx;
};

int keeper_open(struct keeper **out, const struct keeper_options *o, struct error *e);
void keeper_close(struct keeper *k);                     /* NULL is fine */
struct counters *keeper_counters(struct keeper *k);

/* When a certificate is to be renewed. */
int64_t keeper_due_unix_s(const struct principal *p);

#endif
