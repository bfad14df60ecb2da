/* watchers.c - pushes the view as "view" events, to each watcher at its own pace. */
#include "control/watchers.h"

#include <errno.h>

#include "dataplane/base/log.h"
#include "dataplane/base/memory.h"

enum { WATCHERS, PUSHES };
static const struct counter_row rows[] = {
	[WATCHERS] = { GAUGE, "petals_directory_watchers", "Programs that watch the view." },
	[PUSHES] = { COUNTER, "petals_directory_view_pushes_total", "Views sent to watchers." },
};

struct watcher {
	uint32_t peer;
	bool behind;                    /* a newer view is owed */
};

struct watchers {
	struct node *node;
	struct rpc *rpc;
	const struct view *view;
	struct counters *counters;
	uint64_t pushed_ns;             /* last push to all */
	bool later;                     /* load has changed since */
	uint32_t count;
	struct watcher entries[WATCHERS_MAX];
};

static struct watcher *find(const struct watchers *w, uint32_t peer)
{
	uint32_t i;

	for (i = 0; i < w->count; i++)
		if (w->entries[i].peer == peer)
			return (struct watcher *)&w->entries[i];
	return NULL;
}

/* Returns the JSON, made on first use; the caller drops it at its end. */
static bool send_view(struct watchers *w, struct watcher *entry, json_t **json)
{
	int rc;

	if (!*json)
		*json = view_to_json(w->view);
	rc = *json ? rpc_event(w->rpc, entry->peer, "view", json_incref(*json)) : -ENOMEM;
	if (rc < 0) {
		log_warn("directory", "a watcher could not be sent the view: %s",
			 error_describe(rc));
		return false;
	}
	counters_add(w->counters, PUSHES, 0, 1);
	return true;
}

/* Sends to those who are behind and have taken what they were sent before. */
static int catch_up(struct watchers *w)
{
	json_t *json = NULL;
	uint32_t i;
	int work = 0;

	for (i = 0; i < w->count; i++) {
		struct watcher *entry = &w->entries[i];

		if (!entry->behind || node_queued(w->node, entry->peer))
			continue;
		entry->behind = !send_view(w, entry, &json);
		work++;
	}
	json_decref(json);
	return work;
}

void watchers_push(struct watchers *w)
{
	uint32_t i;

	w->later = false;
	w->pushed_ns = node_now(w->node);
	for (i = 0; i < w->count; i++)
		w->entries[i].behind = true;
	catch_up(w);
}

void watchers_later(struct watchers *w)
{
	w->later = true;
}

static int poll_later(void *ctx, uint64_t now_ns)
{
	struct watchers *w = ctx;

	if (!w->later || now_ns < w->pushed_ns + WATCHERS_LATER_NS)
		return 0;
	watchers_push(w);
	return 1;
}

static uint64_t later_deadline(void *ctx)
{
	const struct watchers *w = ctx;

	return w->later ? w->pushed_ns + WATCHERS_LATER_NS : UINT64_MAX;
}

static void on_lost(void *ctx, uint32_t peer, int code, const char *reason)
{
	struct watchers *w = ctx;
	struct watcher *entry = find(w, peer);

	if (!entry)
		return;
	*entry = w->entries[--w->count];
	counters_set(w->counters, WATCHERS, 0, w->count);
}

static void on_writable(void *ctx, uint32_t peer)
{
	struct watchers *w = ctx;
	struct watcher *entry = find(w, peer);

	if (entry && entry->behind)
		catch_up(w);
}

bool watchers_has(const struct watchers *w, uint32_t peer)
{
	return find(w, peer);
}

int watchers_add(struct watchers *w, uint32_t peer)
{
	if (w->count == WATCHERS_MAX)
		return -ENOSPC;
	w->entries[w->count++] = (struct watcher){ .peer = peer };
	counters_set(w->counters, WATCHERS, 0, w->count);
	return 0;
}

int watchers_open(struct watchers **out, struct node *n, struct rpc *r, const struct view *v,
		  struct error *e)
{
	struct watchers *w = mem_calloc(1, sizeof(*w));
	int rc;

	*out = NULL;
	if (!w)
		return error_errno(e, -ENOMEM, "opening the list of watchers");
	w->node = n;
	w->rpc = r;
	w->view = v;
	rc = counters_open(&w->counters, rows, ARRAY_LENGTH(rows));
	if (rc < 0)
		goto err_watchers;
	rc = node_listener_add(n, &(struct node_listener){
		.ctx = w, .lost = on_lost, .writable = on_writable });
	if (rc < 0)
		goto err_counters;
	core_add(node_core(n), &(struct poller){ "watchers", w, poll_later, later_deadline });
	*out = w;
	return 0;

err_counters:
	counters_close(w->counters);
err_watchers:
	mem_free(w);
	return error_errno(e, rc, "opening the list of watchers");
}

void watchers_close(struct watchers *w)
{
	if (!w)
		return;
	node_listener_remove(w->node, w);
	counters_close(w->counters);
	mem_free(w);
}

struct counters *watchers_counters(struct watchers *w)
{
	return w->counters;
}
