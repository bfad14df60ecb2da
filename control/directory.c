/* directory.c - the methods, the changes they make, and when leases end.
 *
 * Owns the view and its store.  Leaves who watches to watchers.c, the arithmetic of
 * leases to lease.c, spans to placement.c.
 *
 * Life of a member, as the directory sees it:
 *   from       to         by
 *   -          JOINING    join (or SERVING: a server whom a new directory never met)
 *   JOINING    SERVING    renew
 *   SERVING    DRAINING   renew
 *   any        OFFLINE    leave, or its lease ended
 *   OFFLINE    -          DIRECTORY_OFFLINE_NS later, or another process joined at
 *                         its address, or room is needed
 */
#include "control/directory.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "control/directory_request.h"
#include "control/json.h"
#include "control/lease.h"
#include "control/owners.h"
#include "control/placement.h"
#include "control/store.h"
#include "control/watchers.h"
#include "dataplane/base/log.h"
#include "dataplane/base/memory.h"

enum { MODELS_MAX = COUNTER_SERIES_MAX };
#define STALL_NS (NS_PER_S / 2)

enum { MEMBERS, EPOCH, JOINS, RENEWALS, LEAVES, EXPIRIES, REPLACED, REPLICAS_MIN, STORE_ERRORS };
static const struct counter_row rows[] = {
	[MEMBERS] = { GAUGE, "petals_directory_members", "Members by state.", "state" },
	[EPOCH] = { GAUGE, "petals_directory_epoch", "Epoch of the view." },
	[JOINS] = { COUNTER, "petals_directory_joins_total", "Leases granted." },
	[RENEWALS] = { COUNTER, "petals_directory_renewals_total", "Leases renewed." },
	[LEAVES] = { COUNTER, "petals_directory_leaves_total", "Leases given up." },
	[EXPIRIES] = { COUNTER, "petals_directory_expiries_total",
		       "Leases that ended without being renewed." },
	[REPLACED] = { COUNTER, "petals_directory_replaced_total",
		       "Members replaced by a new process at their address." },
	[REPLICAS_MIN] = { GAUGE, "petals_directory_block_replicas_min",
			   "Serving members of the block that has the fewest.", "model" },
	[STORE_ERRORS] = { COUNTER, "petals_directory_store_errors_total",
			   "Writes that the store refused." },
};

/* A model seen since the start, for its gauge. */
struct model_seen {
	uint64_t fingerprint;
	uint32_t blocks, series;
};

struct directory {
	struct node *node;
	struct rpc *rpc;
	uint64_t ttl_ns, grace_ns;
	struct view *view;
	struct store *store;
	const struct store_ops *ops;
	struct leases *leases;
	struct owners *owners;
	struct watchers *watchers;
	struct counters *counters;
	struct model_seen models[MODELS_MAX];
	uint32_t model_count;
};

static uint64_t unix_ms(const struct directory *d)
{
	return clock_unix_ms(node_clock(d->node));
}

static void see_model(struct directory *d, const struct member *m)
{
	uint32_t i;

	for (i = 0; i < d->model_count; i++)
		if (d->models[i].fingerprint == m->fingerprint)
			return;
	if (d->model_count == MODELS_MAX)
		return;
	d->models[d->model_count++] = (struct model_seen){
		.fingerprint = m->fingerprint, .blocks = m->blocks,
		.series = counters_series(d->counters, REPLICAS_MIN, m->model),
	};
}

static void count_view(struct directory *d)
{
	uint32_t states[MEMBER_OFFLINE + 1] = { 0 };
	uint32_t counts[VIEW_BLOCKS_MAX];
	uint32_t i, b;

	for (i = 0; i < d->view->count; i++) {
		states[d->view->members[i].state]++;
		see_model(d, &d->view->members[i]);
	}
	for (i = 0; i < ARRAY_LENGTH(states); i++)
		counters_set(d->counters, MEMBERS,
			     counters_series(d->counters, MEMBERS, member_state_name(i)),
			     states[i]);
	counters_set(d->counters, EPOCH, 0, (double)d->view->epoch);
	for (i = 0; i < d->model_count; i++) {
		uint32_t least = UINT32_MAX;

		view_coverage(d->view, d->models[i].fingerprint, NULL, counts,
			      d->models[i].blocks);
		for (b = 0; b < d->models[i].blocks; b++)
			least = MIN(least, counts[b]);
		counters_set(d->counters, REPLICAS_MIN, d->models[i].series, least);
	}
}

static int stored(struct directory *d, int rc, const struct error *e)
{
	if (rc < 0) {
		counters_add(d->counters, STORE_ERRORS, 0, 1);
		log_error("directory", "%s", e->text);
	}
	return rc;
}

/* Writes a member under the next epoch; nothing changes when that fails. */
static int write_member(struct directory *d, const struct member *m, struct error *e)
{
	int rc = d->ops->set_epoch(d->store, d->view->epoch + 1, e);

	if (rc == 0)
		rc = d->ops->put(d->store, m, e);
	return stored(d, rc, e);
}

static void raise_epoch(struct directory *d)
{
	d->view->epoch++;
	count_view(d);
	watchers_push(d->watchers);
}

/* Out of the view and the store; not worth an epoch of its own. */
static void erase(struct directory *d, uint64_t id)
{
	struct error e;

	view_remove(d->view, id);
	lease_revoke(d->leases, id);
	owners_forget(d->owners, id);
	stored(d, d->ops->remove(d->store, id, &e), &e);
	watchers_later(d->watchers);
}

/* The store is asked, but nobody waits for its answer: a member that it keeps in
 * error comes back after a restart, and its lease ends again.
 */
static void go_offline(struct directory *d, struct member *m)
{
	struct error e;

	m->state = MEMBER_OFFLINE;
	m->expires_unix_ms = unix_ms(d);
	memset(&m->load, 0, sizeof(m->load));
	write_member(d, m, &e);
	lease_grant(d->leases, m->id, DIRECTORY_OFFLINE_NS, node_now(d->node));
	raise_epoch(d);
}

static int poll_leases(void *ctx, uint64_t now_ns)
{
	struct directory *d = ctx;
	struct member *m;
	uint64_t id;
	int work = 0;

	/* This program did not run when it should have (stopped, or a suspended host),
	 * so it could not hear the renewals either.
	 */
	if (now_ns > leases_deadline(d->leases) &&
	    now_ns - leases_deadline(d->leases) > STALL_NS) {
		log_warn("directory", "this program was not running for a while; no lease ends "
			 "within the grace of a start");
		leases_hold(d->leases, now_ns + d->grace_ns);
	}
	while ((id = lease_expire(d->leases, now_ns))) {
		work++;
		m = view_find(d->view, id);
		if (!m || m->state == MEMBER_OFFLINE) {
			erase(d, id);
			continue;
		}
		log_warn("directory", "the lease of %s, blocks [%u,%u), has ended", m->name,
			 m->first, m->end);
		counters_add(d->counters, EXPIRIES, 0, 1);
		go_offline(d, m);
	}
	return work;
}

static uint64_t lease_deadline(void *ctx)
{
	return leases_deadline(((struct directory *)ctx)->leases);
}

/* What one member says of a model must agree with the others. */
static int check_model(const struct directory *d, const struct member *m, struct error *e)
{
	uint32_t i;

	for (i = 0; i < d->view->count; i++) {
		const struct member *other = &d->view->members[i];

		if (other->fingerprint == m->fingerprint && other->blocks != m->blocks)
			return error_set(e, -EINVAL, "params.member.blocks is %u, but %s hosts the "
					 "same model and says %u", m->blocks, other->name,
					 other->blocks);
	}
	return 0;
}

static void choose_span(struct directory *d, const struct join_request *j, struct member *m)
{
	const struct member *known = view_find(d->view, m->id);

	if (!j->want_blocks)
		return;
	/* The answer to its first try was lost: it gets the same one. */
	if (known && known->first < known->end && known->end - known->first <= j->capacity &&
	    known->fingerprint == m->fingerprint && known->state != MEMBER_OFFLINE) {
		m->first = known->first;
		m->end = known->end;
		return;
	}
	placement_choose(d->view, m->fingerprint, m->kind, m->blocks, j->capacity, &m->first,
			 &m->end);
}

/* Room for one more, at the cost of those who are offline, the oldest first. */
static int make_room(struct directory *d, struct error *e)
{
	const struct member *oldest = NULL;
	uint32_t i;

	if (d->view->count < VIEW_MEMBERS_MAX)
		return 0;
	for (i = 0; i < d->view->count; i++) {
		const struct member *m = &d->view->members[i];

		if (m->state == MEMBER_OFFLINE &&
		    (!oldest || m->expires_unix_ms < oldest->expires_unix_ms))
			oldest = m;
	}
	if (!oldest)
		return error_set(e, -ENOSPC, "the directory is full: it holds %d members",
				 VIEW_MEMBERS_MAX);
	erase(d, oldest->id);
	return 0;
}

/* Another member at this one's address, or NULL. */
static const struct member *neighbour(const struct directory *d, const struct member *m)
{
	uint32_t i;

	for (i = 0; i < d->view->count; i++) {
		const struct member *other = &d->view->members[i];

		if (other->id != m->id && !strcmp(other->address.text, m->address.text))
			return other;
	}
	return NULL;
}

/* Neither the lease nor the address of somebody else. */
static int check_owner(const struct directory *d, const struct member *m,
		       const struct principal *p, struct error *e)
{
	const struct member *other = neighbour(d, m);
	int rc = owners_check(d->owners, m->id, p, e);

	if (rc == 0 && other && other->state != MEMBER_OFFLINE &&
	    owners_check(d->owners, other->id, p, e) < 0)
		rc = error_wrap(e, "%s serves at %s", other->name, m->address.text);
	return rc;
}

/* Other processes that were at this address are gone: their port is taken. */
static void replace_others(struct directory *d, const struct member *m)
{
	const struct member *old;

	while ((old = neighbour(d, m))) {
		if (old->state != MEMBER_OFFLINE)
			counters_add(d->counters, REPLACED, 0, 1);
		erase(d, old->id);
	}
}

static int admit(struct directory *d, struct join_request *j, const struct principal *p,
		 struct error *e)
{
	struct member *m = &j->member;
	int rc = check_model(d, m, e);

	if (rc == 0)
		rc = check_owner(d, m, p, e);
	if (rc < 0)
		return rc;
	choose_span(d, j, m);
	if (!view_find(d->view, m->id) && !neighbour(d, m))
		rc = make_room(d, e);
	if (rc < 0)
		return rc;
	m->expires_unix_ms = unix_ms(d) + j->ttl_ns / NS_PER_MS;
	rc = write_member(d, m, e);
	if (rc < 0)
		return rc;
	replace_others(d, m);
	view_put(d->view, m);
	owners_claim(d->owners, m->id, p);
	lease_grant(d->leases, m->id, j->ttl_ns, node_now(d->node));
	counters_add(d->counters, JOINS, 0, 1);
	log_info("directory", "%s joins with blocks [%u,%u) of %s, %s", m->name, m->first, m->end,
		 m->model, member_state_name(m->state));
	raise_epoch(d);
	return 0;
}

static void serve_join(void *ctx, struct rpc_request *q, const json_t *params)
{
	struct directory *d = ctx;
	struct join_request j;
	struct error e;
	int rc = join_request_read(&j, params, d->ttl_ns, &e);

	if (rc == 0)
		rc = admit(d, &j, rpc_request_principal(q), &e);
	if (rc < 0) {
		rpc_fail(q, rc, "%s", e.text);
		return;
	}
	rpc_reply(q, json_pack("{s:o, s:I, s:I, s:I, s:I}", "id", json_id(j.member.id),
			       "epoch", (json_int_t)d->view->epoch,
			       "ttl_ms", (json_int_t)(j.ttl_ns / NS_PER_MS),
			       "first", (json_int_t)j.member.first,
			       "end", (json_int_t)j.member.end));
}

static int renew(struct directory *d, struct member *m, const struct renew_request *n,
		 struct error *e)
{
	uint64_t ttl_ns = n->ttl_ns ? n->ttl_ns : lease_ttl_ns(d->leases, m->id);
	bool moved = n->state != m->state;
	struct member changed = *m;
	int rc;

	changed.load = n->load;
	changed.state = n->state;
	changed.expires_unix_ms = unix_ms(d) + ttl_ns / NS_PER_MS;
	/* Load and lease ends live in memory only: after a restart they are stale
	 * anyway, and every stored lease counts as just renewed.
	 */
	if (moved) {
		rc = write_member(d, &changed, e);
		if (rc < 0)
			return rc;
		log_info("directory", "%s, blocks [%u,%u), is %s", m->name, m->first, m->end,
			 member_state_name(n->state));
	}
	lease_grant(d->leases, m->id, ttl_ns, node_now(d->node));
	counters_add(d->counters, RENEWALS, 0, 1);
	*m = changed;
	if (moved)
		raise_epoch(d);
	else
		watchers_later(d->watchers);
	return 0;
}

static void serve_renew(void *ctx, struct rpc_request *q, const json_t *params)
{
	struct directory *d = ctx;
	struct renew_request n;
	struct member *m;
	struct error e;
	int rc = renew_request_read(&n, params, &e);

	if (rc < 0) {
		rpc_fail(q, rc, "%s", e.text);
		return;
	}
	m = view_find(d->view, n.id);
	if (!m || m->state == MEMBER_OFFLINE) {
		rpc_fail(q, -ENOENT, "there is no lease %016" PRIx64 ": join again", n.id);
		return;
	}
	rc = owners_check(d->owners, n.id, rpc_request_principal(q), &e);
	if (rc == 0) {
		owners_claim(d->owners, n.id, rpc_request_principal(q));
		rc = renew(d, m, &n, &e);
	}
	if (rc < 0)
		rpc_fail(q, rc, "%s", e.text);
	else
		rpc_reply(q, json_pack("{s:I}", "epoch", (json_int_t)d->view->epoch));
}

static void serve_leave(void *ctx, struct rpc_request *q, const json_t *params)
{
	struct directory *d = ctx;
	struct json_reader r;
	struct member *m;
	struct error e;
	uint64_t id;
	int rc;

	json_read_open(&r, params, "params", &e);
	id = json_read_id(&r, "id");
	rc = json_read_result(&r);
	if (rc == 0)
		rc = owners_check(d->owners, id, rpc_request_principal(q), &e);
	if (rc < 0) {
		rpc_fail(q, rc, "%s", e.text);
		return;
	}
	/* Whoever is gone already has left: a repeated leave is fine. */
	m = view_find(d->view, id);
	if (m && m->state != MEMBER_OFFLINE) {
		log_info("directory", "%s, blocks [%u,%u), leaves", m->name, m->first, m->end);
		counters_add(d->counters, LEAVES, 0, 1);
		go_offline(d, m);
	}
	rpc_reply(q, json_object());
}

static void serve_view(void *ctx, struct rpc_request *q, const json_t *params)
{
	struct directory *d = ctx;

	rpc_reply(q, view_to_json(d->view));
}

static void serve_watch(void *ctx, struct rpc_request *q, const json_t *params)
{
	struct directory *d = ctx;
	uint32_t peer = rpc_request_peer(q);
	bool known = watchers_has(d->watchers, peer);
	struct json_reader r;
	struct error e;
	uint64_t epoch;

	json_read_open(&r, params, "params", &e);
	epoch = json_read_u64(&r, "epoch", 0, INT64_MAX);
	if (json_read_result(&r) < 0) {
		rpc_fail(q, -EINVAL, "%s", e.text);
		return;
	}
	if (!known && watchers_add(d->watchers, peer) < 0) {
		rpc_fail(q, -EBUSY, "the directory has as many watchers as it can serve");
		return;
	}
	/* A watcher that asks whether we are still there has been sent everything. */
	if (known && epoch == d->view->epoch)
		rpc_reply(q, json_pack("{s:I}", "epoch", (json_int_t)epoch));
	else
		rpc_reply(q, view_to_json(d->view));
}

static const struct rpc_method methods[] = {
	{ "join", serve_join },   { "renew", serve_renew }, { "leave", serve_leave },
	{ "view", serve_view },   { "watch", serve_watch },
};

/* Stored leases count as just renewed, for as long as the grace. */
static int load_store(struct directory *d, struct error *e)
{
	uint64_t now_ns = node_now(d->node);
	uint32_t i;
	int rc = d->ops->load(d->store, d->view, e);

	if (rc < 0)
		return rc;
	for (i = 0; i < d->view->count; i++) {
		struct member *m = &d->view->members[i];
		bool offline = m->state == MEMBER_OFFLINE;

		rc = lease_grant(d->leases, m->id, offline ? DIRECTORY_OFFLINE_NS : d->grace_ns,
				 now_ns);
		if (rc < 0)
			return error_errno(e, rc, "loading the leases");
		if (!offline)
			m->expires_unix_ms = unix_ms(d) + d->grace_ns / NS_PER_MS;
	}
	if (d->view->count)
		log_info("directory", "%u members are in the store, epoch %" PRIu64,
			 d->view->count, d->view->epoch);
	count_view(d);
	return 0;
}

static int open_parts(struct directory *d, const struct directory_options *o, struct error *e)
{
	int rc = counters_open(&d->counters, rows, ARRAY_LENGTH(rows));

	if (rc == 0)
		rc = view_open(&d->view);
	if (rc == 0)
		rc = leases_open(&d->leases, VIEW_MEMBERS_MAX);
	if (rc == 0)
		rc = owners_open(&d->owners, VIEW_MEMBERS_MAX);
	if (rc < 0)
		return error_errno(e, rc, "opening the directory");
	rc = store_open(&d->store, &d->ops, o->store, e);
	if (rc == 0)
		rc = load_store(d, e);
	if (rc == 0)
		rc = watchers_open(&d->watchers, d->node, d->rpc, d->view, e);
	return rc;
}

int directory_open(struct directory **out, const struct directory_options *o,
		   struct error *e)
{
	struct directory *d = mem_calloc(1, sizeof(*d));
	int rc;

	*out = NULL;
	if (!d)
		return error_errno(e, -ENOMEM, "opening the directory");
	assert(o->ttl_ns && o->grace_ns);
	d->node = o->node;
	d->rpc = o->rpc;
	d->ttl_ns = o->ttl_ns;
	d->grace_ns = o->grace_ns;
	rc = open_parts(d, o, e);
	if (rc < 0) {
		directory_close(d);
		return rc;
	}
	rpc_serve(d->rpc, methods, ARRAY_LENGTH(methods), d);
	core_add(node_core(d->node),
		 &(struct poller){ "leases", d, poll_leases, lease_deadline });
	*out = d;
	return 0;
}

void directory_close(struct directory *d)
{
	if (!d)
		return;
	watchers_close(d->watchers);
	if (d->store)
		d->ops->close(d->store);
	leases_close(d->leases);
	owners_close(d->owners);
	view_close(d->view);
	counters_close(d->counters);
	mem_free(d);
}

const struct view *directory_view(const struct directory *d)
{
	return d->view;
}

struct counters *directory_counters(struct directory *d)
{
	return d->counters;
}

struct counters *directory_watch_counters(struct directory *d)
{
	return watchers_counters(d->watchers);
}
