/* ctl_view.c - petalsctl status, servers, blocks: the directory's view, three ways.
 */
#include <stdio.h>
#include <string.h>

#include "tools/ctl.h"

struct view_flags {
	char *directory;
	struct security_flags security;
	bool json;
};

#define AT(field) offsetof(struct view_flags, field)

static const struct option options[] = {
	{ "directory", OPTION_ADDRESS, AT(directory), "127.0.0.1:7700",
	  .help = "the directory to ask" },
	CREDENTIALS_OPTION, INSECURE_OPTION,
	{ "json", OPTION_FLAG, AT(json), .help = "print JSON" },
};

/* A model as the view has it: its members share the fingerprint. */
struct hosted {
	uint64_t fingerprint;
	const char *model;
	uint32_t blocks, members[MEMBER_OFFLINE + 1], sessions;
	uint32_t least;                     /* replicas of the weakest block */
	char missing[256];
};

enum { MODELS_MAX = 32 };

static uint32_t least_replicas(const struct view *v, const struct hosted *h)
{
	uint32_t counts[1024] = { 0 };
	uint32_t blocks = MIN(h->blocks, ARRAY_LENGTH(counts)), least = UINT32_MAX;

	view_coverage(v, h->fingerprint, NULL, counts, blocks);
	for (uint32_t i = 0; i < blocks; i++)
		least = MIN(least, counts[i]);
	return blocks ? least : 0;
}

static uint32_t models(const struct view *v, struct hosted *out)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < v->count; i++) {
		const struct member *m = &v->members[i];
		struct hosted *h = out;

		while (h < out + count && h->fingerprint != m->fingerprint)
			h++;
		if (h == out + MODELS_MAX)
			continue;
		if (h == out + count) {
			*h = (struct hosted){ .fingerprint = m->fingerprint, .model = m->model,
					      .blocks = m->blocks };
			count++;
		}
		h->members[m->state]++;
		h->sessions += m->load.sessions;
	}
	for (uint32_t i = 0; i < count; i++) {
		view_missing(v, out[i].fingerprint, NULL, out[i].blocks, out[i].missing,
			     sizeof(out[i].missing));
		out[i].least = least_replicas(v, &out[i]);
	}
	return count;
}

static json_t *hosted_to_json(const struct hosted *h)
{
	char fingerprint[20];

	snprintf(fingerprint, sizeof(fingerprint), "%016llx", (unsigned long long)h->fingerprint);
	return json_pack("{s:s,s:s,s:i,s:i,s:i,s:i,s:i,s:s}", "model", h->model,
			 "fingerprint", fingerprint, "blocks", (int)h->blocks,
			 "serving", (int)h->members[MEMBER_SERVING],
			 "joining", (int)h->members[MEMBER_JOINING],
			 "draining", (int)h->members[MEMBER_DRAINING],
			 "replicas_min", (int)h->least, "missing", h->missing);
}

static int status(void *target, int operand_count, char **operands)
{
	const struct view_flags *f = target;
	struct hosted hosted[MODELS_MAX];
	struct view *v = NULL;
	struct error e;
	uint32_t count;

	if (ctl_view(&f->security, f->directory, &v, &e) < 0)
		return ctl_fail("status", &e);
	count = models(v, hosted);
	if (f->json) {
		json_t *list = json_array();

		for (uint32_t i = 0; i < count; i++)
			json_array_append_new(list, hosted_to_json(&hosted[i]));
		ctl_print(json_pack("{s:s,s:I,s:i,s:o}", "directory", f->directory,
				    "epoch", (json_int_t)v->epoch, "servers", (int)v->count,
				    "models", list));
	} else {
		printf("directory %s, epoch %llu, %u servers\n", f->directory,
		       (unsigned long long)v->epoch, v->count);
		for (uint32_t i = 0; i < count; i++) {
			const struct hosted *h = &hosted[i];

			printf("  %s: %u blocks, %u serving, %u joining, %u draining; ", h->model,
			       h->blocks, h->members[MEMBER_SERVING], h->members[MEMBER_JOINING],
			       h->members[MEMBER_DRAINING]);
			if (h->missing[0])
				printf("NOT SERVED: blocks %s\n", h->missing);
			else
				printf("every block on at least %u\n", h->least);
		}
	}
	view_close(v);
	return 0;
}

static int servers(void *target, int operand_count, char **operands)
{
	const struct view_flags *f = target;
	struct view *v = NULL;
	struct error e;

	if (ctl_view(&f->security, f->directory, &v, &e) < 0)
		return ctl_fail("servers", &e);
	if (f->json) {
		ctl_print(view_to_json(v));
	} else {
		printf("%-22s %-9s %-11s %-14s %8s %8s %11s %9s\n", "NAME", "STATE", "BLOCKS",
		       "KIND", "SESSIONS", "WAITING", "PAGES FREE", "STEP");
		for (uint32_t i = 0; i < v->count; i++) {
			const struct member *m = &v->members[i];
			char blocks[24], step[16], pages[28];

			snprintf(blocks, sizeof(blocks), "[%u,%u)", m->first, m->end);
			snprintf(step, sizeof(step), "%.2f ms", m->load.step_us / 1e3);
			snprintf(pages, sizeof(pages), "%u/%u", m->load.pages_free, m->load.pages);
			printf("%-22s %-9s %-11s %-14s %8u %8u %11s %9s\n", m->name,
			       member_state_name(m->state), blocks, m->kind, m->load.sessions,
			       m->load.waiting, pages, step);
		}
	}
	view_close(v);
	return 0;
}

/* One line per run of blocks that the same servers hold. */
static void print_blocks(const struct view *v, const struct hosted *h)
{
	printf("%s, %u blocks\n", h->model, h->blocks);
	for (uint32_t first = 0, end; first < h->blocks; first = end) {
		uint32_t replicas = 0;

		end = h->blocks;
		for (uint32_t i = 0; i < v->count; i++) {
			const struct member *m = &v->members[i];

			if (m->fingerprint != h->fingerprint)
				continue;
			if (m->first > first)
				end = MIN(end, m->first);
			if (m->first <= first && m->end > first)
				end = MIN(end, m->end);
		}
		printf("  [%3u,%3u)", first, end);
		for (uint32_t i = 0; i < v->count; i++) {
			const struct member *m = &v->members[i];

			if (m->fingerprint != h->fingerprint || m->first > first || m->end < end)
				continue;
			printf("  %s%s%s", m->name, m->state == MEMBER_SERVING ? "" : " ",
			       m->state == MEMBER_SERVING ? "" : member_state_name(m->state));
			replicas += m->state == MEMBER_SERVING;
		}
		printf("%s\n", replicas ? "" : "  NOBODY");
	}
}

static int blocks(void *target, int operand_count, char **operands)
{
	const struct view_flags *f = target;
	struct hosted hosted[MODELS_MAX];
	struct view *v = NULL;
	struct error e;
	uint32_t count;

	if (ctl_view(&f->security, f->directory, &v, &e) < 0)
		return ctl_fail("blocks", &e);
	count = models(v, hosted);
	if (f->json) {
		json_t *list = json_array();

		for (uint32_t i = 0; i < count; i++) {
			uint32_t replicas[1024] = { 0 };
			json_t *object = hosted_to_json(&hosted[i]), *array = json_array();
			uint32_t n = MIN(hosted[i].blocks, ARRAY_LENGTH(replicas));

			view_coverage(v, hosted[i].fingerprint, NULL, replicas, n);
			for (uint32_t b = 0; b < n; b++)
				json_array_append_new(array, json_integer(replicas[b]));
			json_object_set_new(object, "replicas", array);
			json_array_append_new(list, object);
		}
		ctl_print(json_pack("{s:o}", "models", list));
	} else if (count == 0) {
		printf("no server has joined %s\n", f->directory);
	} else {
		for (uint32_t i = 0; i < count; i++)
			print_blocks(v, &hosted[i]);
	}
	view_close(v);
	return 0;
}

#define VIEW_VERB(verb, what)                                                     \
	const struct program ctl_##verb = {                                       \
		.name = #verb, .summary = what,                                   \
		.options = options, .option_count = ARRAY_LENGTH(options),        \
		.target_bytes = sizeof(struct view_flags), .run = verb,           \
	}

VIEW_VERB(status, "says in a few lines how the swarm is");
VIEW_VERB(servers, "lists the servers: state, blocks, load");
VIEW_VERB(blocks, "shows which servers hold each block");
