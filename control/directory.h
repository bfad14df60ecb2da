/* directory.h - grants leases, keeps the view, tells watchers.  Never on the path of
 * a token.
 *
 * Methods (JSON over rpc.h):
 *   join   {member, ttl_ms, want_blocks, capacity} -> {id, epoch, ttl_ms, first, end}
 *          a member without blocks (or with want_blocks: true) is told what to host
 *          (placement.h), at most `capacity`; a known id is written anew, so a join
 *          may be repeated; another process at the same address is replaced
 *   renew  {id, state, load, ttl_ms} -> {epoch}; ENOENT: join again; ttl_ms may be
 *          left out
 *   leave  {id}                     -> {}
 *   view   {}                       -> view
 *   watch  {epoch}                  -> view, or {epoch} when a known watcher asks
 *          again and nothing has changed; then events "view" at each change, load
 *          changes at most twice a second
 * Ids are text of 16 hexadecimal digits.  Who left or expired stays in the view as
 * offline for DIRECTORY_OFFLINE_NS.
 * Every change raises the epoch and is in the store before it is answered.
 *
 * Threads    The node's core thread.
 * Ownership  directory_open() / directory_close(); node and rpc are borrowed.
 * Units      _ns.
 * Errors     -errno with a sentence.
 */
#ifndef PETALS_CONTROL_DIRECTORY_H
#define PETALS_CONTROL_DIRECTORY_H

#include "control/rpc.h"
#include "control/view.h"
#include "dataplane/base/counters.h"

#define DIRECTORY_OFFLINE_NS   (60 * NS_PER_S)
#define DIRECTORY_TTL_LEAST_NS (200 * NS_PER_MS)
#define DIRECTORY_TTL_MOST_NS  (600 * NS_PER_S)

struct directory;

struct directory_options {
	struct node *node;
	struct rpc *rpc;
	const char *store;              /* FILE, ":memory:" */
	uint64_t ttl_ns;                /* lease length granted when the member asks for none */
	uint64_t grace_ns;              /* after a start: stored leases count as just renewed */
};

int directory_open(struct directory **out, const struct directory_options *o,
		   struct error *e);
void directory_close(struct directory *d);               /* NULL is fine */
const struct view *directory_view(const struct directory *d);
struct counters *directory_counters(struct directory *d);
struct counters *directory_watch_counters(struct directory *d);

#endif
