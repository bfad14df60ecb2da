/* view.c - members by id, what they cover, and their JSON.
 *
 * Owns the members' room.  Leaves leases and epochs to the directory.
 */
#include "control/view.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "control/json.h"
#include "dataplane/base/memory.h"

static const char *const state_names[] = {
	[MEMBER_JOINING] = "joining",   [MEMBER_SERVING] = "serving",
	[MEMBER_DRAINING] = "draining", [MEMBER_OFFLINE] = "offline",
};

const char *member_state_name(enum member_state s)
{
	return s < ARRAY_LENGTH(state_names) ? state_names[s] : "unknown";
}

int view_open(struct view **out)
{
	struct view *v = mem_calloc(1, sizeof(*v));

	*out = NULL;
	if (!v)
		return -ENOMEM;
	v->members = mem_calloc(VIEW_MEMBERS_MAX, sizeof(*v->members));
	if (!v->members) {
		mem_free(v);
		return -ENOMEM;
	}
	*out = v;
	return 0;
}

void view_close(struct view *v)
{
	if (!v)
		return;
	mem_free(v->members);
	mem_free(v);
}

struct member *view_find(const struct view *v, uint64_t id)
{
	uint32_t i;

	for (i = 0; i < v->count; i++)
		if (v->members[i].id == id)
			return &v->members[i];
	return NULL;
}

int view_put(struct view *v, const struct member *m)
{
	struct member *old = view_find(v, m->id);

	if (!old && v->count == VIEW_MEMBERS_MAX)
		return -ENOSPC;
	if (!old)
		old = &v->members[v->count++];
	if (old != m)
		*old = *m;
	return 0;
}

bool view_remove(struct view *v, uint64_t id)
{
	struct member *m = view_find(v, id);
	struct member *end = v->members + v->count;

	if (!m)
		return false;
	/* The rest keeps its order, so that equal histories give equal views. */
	memmove(m, m + 1, (size_t)(end - m - 1) * sizeof(*m));
	v->count--;
	return true;
}

void view_copy(struct view *to, const struct view *from)
{
	if (to == from)
		return;
	to->epoch = from->epoch;
	to->count = from->count;
	memcpy(to->members, from->members, from->count * sizeof(*from->members));
}

/* FNV-1a over the kind, begun with the fingerprint. */
uint64_t view_identity(uint64_t fingerprint, const char *kind)
{
	uint64_t hash = fingerprint ^ 0xcbf29ce484222325u;

	for (; *kind; kind++)
		hash = (hash ^ (uint8_t)*kind) * 0x100000001b3u;
	return hash;
}

static bool serves(const struct member *m, uint64_t fingerprint, const char *kind)
{
	return m->state == MEMBER_SERVING && m->fingerprint == fingerprint &&
	       (!kind || !strcmp(m->kind, kind));
}

void view_coverage(const struct view *v, uint64_t fingerprint, const char *kind,
		   uint32_t *counts, uint32_t blocks)
{
	uint32_t i, b;

	memset(counts, 0, blocks * sizeof(*counts));
	for (i = 0; i < v->count; i++)
		if (serves(&v->members[i], fingerprint, kind))
			for (b = v->members[i].first; b < MIN(v->members[i].end, blocks); b++)
				counts[b]++;
}

/* The end of what is served from block `at` on; at itself when nobody has it. */
static uint32_t served_until(const struct view *v, uint64_t fingerprint, const char *kind,
			     uint32_t at)
{
	uint32_t i, end = at;

	for (i = 0; i < v->count; i++) {
		const struct member *m = &v->members[i];

		if (serves(m, fingerprint, kind) && m->first <= at && m->end > end)
			end = m->end;
	}
	return end;
}

static uint32_t next_served(const struct view *v, uint64_t fingerprint, const char *kind,
			    uint32_t at, uint32_t blocks)
{
	uint32_t i, first = blocks;

	for (i = 0; i < v->count; i++) {
		const struct member *m = &v->members[i];

		if (serves(m, fingerprint, kind) && m->first >= at && m->first < m->end)
			first = MIN(first, m->first);
	}
	return first;
}

void view_missing(const struct view *v, uint64_t fingerprint, const char *kind,
		  uint32_t blocks, char *out, size_t bytes)
{
	uint32_t at = 0;
	size_t used = 0;

	assert(bytes > 0);
	out[0] = '\0';
	while (at < blocks) {
		uint32_t end = served_until(v, fingerprint, kind, at);

		if (end == at) {
			end = next_served(v, fingerprint, kind, at, blocks);
			if (used < bytes)
				used += (size_t)snprintf(out + used, bytes - used, "%s[%u,%u)",
							 used ? ", " : "", at, end);
		}
		at = end;
	}
}

json_t *member_load_to_json(const struct member_load *l)
{
	json_t *links = json_array();

	for (uint32_t i = 0; i < l->link_count; i++)
		json_array_append_new(links, json_pack("{s:s, s:I}", "to", l->links[i].to.text,
						       "rtt_us",
						       (json_int_t)l->links[i].rtt_us));
	return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:o}",
			 "sessions", (json_int_t)l->sessions,
			 "waiting", (json_int_t)l->waiting,
			 "pages_free", (json_int_t)l->pages_free, "pages", (json_int_t)l->pages,
			 "step_us", (json_int_t)l->step_us,
			 "stalled_us", (json_int_t)l->stalled_us, "links", links);
}

json_t *member_to_json(const struct member *m)
{
	return json_pack("{s:o, s:s, s:s, s:s, s:s, s:s, s:o, s:I, s:I, s:I, s:s, "
			 "s:o, s:I, s:s}",
			 "id", json_id(m->id), "name", m->name, "address", m->address.text,
			 "metrics", m->metrics, "kind", m->kind, "model", m->model,
			 "fingerprint", json_id(m->fingerprint),
			 "blocks", (json_int_t)m->blocks, "first", (json_int_t)m->first,
			 "end", (json_int_t)m->end, "state", member_state_name(m->state),
			 "load", member_load_to_json(&m->load),
			 "expires_unix_ms", (json_int_t)m->expires_unix_ms,
			 "version", m->version);
}

static void read_address(struct json_reader *r, const char *key, struct address *out)
{
	char text[ADDRESS_TEXT_BYTES];
	struct error fault;

	json_read_text(r, key, false, text, sizeof(text));
	if (json_read_result(r) == 0 && address_parse(out, text, &fault) < 0)
		json_read_fail(r, key, "is no address: %s", fault.text);
}

static int read_links(struct json_reader *r, struct member_load *out)
{
	uint32_t count = json_read_length(r, "links", MEMBER_LINKS_MAX);

	for (uint32_t i = 0; i < count; i++) {
		struct json_reader item = json_read_element(r, "links", i);

		read_address(&item, "to", &out->links[i].to);
		out->links[i].rtt_us = (uint32_t)json_read_u64(&item, "rtt_us", 1, UINT32_MAX);
		if (json_read_result(&item) < 0)
			return json_read_result(&item);
	}
	out->link_count = count;
	return json_read_result(r);
}

int member_load_from_json(struct member_load *out, const json_t *j, const char *path,
			  struct error *e)
{
	struct json_reader r;

	memset(out, 0, sizeof(*out));
	json_read_open(&r, j, path, e);
	out->sessions = (uint32_t)json_read_u64(&r, "sessions", 0, UINT32_MAX);
	out->waiting = (uint32_t)json_read_u64(&r, "waiting", 0, UINT32_MAX);
	out->pages = (uint32_t)json_read_u64(&r, "pages", 0, UINT32_MAX);
	out->pages_free = (uint32_t)json_read_u64(&r, "pages_free", 0, out->pages);
	out->step_us = (uint32_t)json_read_u64(&r, "step_us", 0, UINT32_MAX);
	out->stalled_us = (uint32_t)json_read_u64(&r, "stalled_us", 0, UINT32_MAX);
	return json_read_result(&r) < 0 ? json_read_result(&r) : read_links(&r, out);
}

int member_state_from_json(enum member_state *out, struct json_reader *r, const char *key)
{
	*out = (enum member_state)json_read_choice(r, key, state_names,
						   ARRAY_LENGTH(state_names));
	return json_read_result(r);
}

static int read_member(struct json_reader *r, struct member *m)
{
	memset(m, 0, sizeof(*m));
	m->id = json_read_id(r, "id");
	json_read_text(r, "name", false, m->name, sizeof(m->name));
	read_address(r, "address", &m->address);
	json_read_text(r, "metrics", true, m->metrics, sizeof(m->metrics));
	json_read_text(r, "kind", true, m->kind, sizeof(m->kind));
	json_read_text(r, "model", true, m->model, sizeof(m->model));
	m->fingerprint = json_read_id(r, "fingerprint");
	m->blocks = (uint32_t)json_read_u64(r, "blocks", 1, VIEW_BLOCKS_MAX);
	m->end = (uint32_t)json_read_u64(r, "end", 0, m->blocks);
	m->first = (uint32_t)json_read_u64(r, "first", 0, m->end);
	member_state_from_json(&m->state, r, "state");
	m->expires_unix_ms = json_read_u64(r, "expires_unix_ms", 0, INT64_MAX);
	json_read_text(r, "version", true, m->version, sizeof(m->version));
	if (json_read_result(r) == 0) {
		struct json_reader load = json_read_object(r, "load");

		return load.rc < 0 ? load.rc :
		       member_load_from_json(&m->load, load.object, load.path, r->error);
	}
	return json_read_result(r);
}

int member_from_json(struct member *out, const json_t *j, struct error *e)
{
	struct json_reader r;

	json_read_open(&r, j, "member", e);
	return read_member(&r, out);
}

json_t *view_to_json(const struct view *v)
{
	json_t *members = json_array();
	uint32_t i;

	for (i = 0; i < v->count; i++) {
		if (json_array_append_new(members, member_to_json(&v->members[i])) < 0) {
			json_decref(members);
			return NULL;
		}
	}
	return json_pack("{s:I, s:o}", "epoch", (json_int_t)v->epoch, "members", members);
}

static int read_view(struct view *v, const json_t *j, struct error *e)
{
	struct json_reader r;
	uint32_t i, count;
	int rc;

	json_read_open(&r, j, "view", e);
	v->epoch = json_read_u64(&r, "epoch", 0, INT64_MAX);
	count = json_read_length(&r, "members", VIEW_MEMBERS_MAX);
	for (i = 0; i < count; i++) {
		struct json_reader item = json_read_element(&r, "members", i);
		struct member m;

		rc = item.rc < 0 ? item.rc : read_member(&item, &m);
		if (rc < 0)
			return rc;
		if (view_find(v, m.id))
			return json_read_fail(&item, "id", "stands in the view twice");
		view_put(v, &m);
	}
	return json_read_result(&r);
}

int view_from_json(struct view *out, const json_t *j, struct error *e)
{
	struct view *fresh;
	int rc = view_open(&fresh);

	if (rc < 0)
		return error_errno(e, rc, "reading a view");
	rc = read_view(fresh, j, e);
	if (rc == 0)
		view_copy(out, fresh);
	view_close(fresh);
	return rc;
}
