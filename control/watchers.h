/* watchers.h - who is told of a view's changes, and how often.
 *
 * A change of the epoch is pushed at once; what is only load is pushed together,
 * at most each WATCHERS_LATER_NS.  A watcher that is slow to take what it was sent
 * gets the newest view when it is done, not every one in between.
 *
 * Threads    The node's core thread.
 * Ownership  watchers_open() / watchers_close(); node, rpc and view are borrowed.
 *            A peer that is lost is no watcher any more.
 * Units      _ns.
 * Errors     watchers_add(): -ENOSPC.
 */
#ifndef PETALS_CONTROL_WATCHERS_H
#define PETALS_CONTROL_WATCHERS_H

#include "control/rpc.h"
#include "control/view.h"
#include "dataplane/base/counters.h"

enum { WATCHERS_MAX = 4096 };
#define WATCHERS_LATER_NS (NS_PER_S / 2)

struct watchers;

int watchers_open(struct watchers **out, struct node *n, struct rpc *r, const struct view *v,
		  struct error *e);
void watchers_close(struct watchers *w);                 /* NULL is fine */

bool watchers_has(const struct watchers *w, uint32_t peer);
/* Told of the changes from now on. */
int watchers_add(struct watchers *w, uint32_t peer);
void watchers_push(struct watchers *w);                  /* the epoch has changed */
void watchers_later(struct watchers *w);                 /* only load has changed */
struct counters *watchers_counters(struct watchers *w);

#endif
