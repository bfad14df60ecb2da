/* view.h - who serves what, as of an epoch: the members and their JSON.
 *
 * Threads    Plain data; a view belongs to its holder.
 * Ownership  view_open() / view_close(); members are copied in and out.
 * Units      Blocks, tokens, _us.
 * Errors     -EINVAL with a sentence naming the JSON key; -ENOMEM; -ENOSPC.
 */
#ifndef PETALS_CONTROL_VIEW_H
#define PETALS_CONTROL_VIEW_H

#include <jansson.h>

#include "control/json.h"
#include "dataplane/base/address.h"
#include "dataplane/base/error.h"

enum {
	VIEW_MEMBERS_MAX = 1024, VIEW_BLOCKS_MAX = 4096,
	MEMBER_NAME_BYTES = 64, MEMBER_KIND_BYTES = 32,
	MEMBER_LINKS_MAX = 8,
};

/* joining: loading weights.  serving.  draining: finishes its sessions, takes
 * no new ones.  offline: left or expired (kept in the store for a while).
 */
enum member_state { MEMBER_JOINING, MEMBER_SERVING, MEMBER_DRAINING, MEMBER_OFFLINE };

/* From a server to one that comes after it in a route. */
struct member_link {
	struct address to;
	uint32_t rtt_us;                     /* smoothed */
};

struct member_load {
	uint32_t sessions, waiting;          /* open sessions; steps waiting for the device */
	uint32_t pages_free, pages;          /* unreserved; all */
	uint32_t step_us;                    /* smoothed compute time of a decode batch */
	uint32_t stalled_us;                 /* without a finished step, past what all that are
					      * in could take one row after another */
	uint32_t link_count;
	struct member_link links[MEMBER_LINKS_MAX];     /* measured ones, each address once */
};

struct member {
	uint64_t id;                         /* the process: new after each start */
	char name[MEMBER_NAME_BYTES];        /* for people: host:port by default */
	struct address address;              /* where hops dial it */
	char metrics[128];                   /* URL, "" when not exposed */
	char kind[MEMBER_KIND_BYTES];        /* identity class, span_info.kind */
	char model[96];
	uint64_t fingerprint;
	uint32_t blocks;                     /* of the whole model */
	uint32_t first, end;                 /* [first, end) hosted */
	enum member_state state;
	struct member_load load;
	uint64_t expires_unix_ms;            /* lease end */
	char version[16];
};

struct view {
	uint64_t epoch;                      /* rises with every change of membership or span */
	uint32_t count;
	struct member *members;              /* VIEW_MEMBERS_MAX of room */
};

int view_open(struct view **out);
void view_close(struct view *v);
struct member *view_find(const struct view *v, uint64_t id);
int view_put(struct view *v, const struct member *m);    /* adds or replaces; -ENOSPC */
bool view_remove(struct view *v, uint64_t id);
void view_copy(struct view *to, const struct view *from);

/* One number for a model and a kind.  An OPEN asks for it, so that a server which was started
 * again with other weights or arithmetic than the asker's view says refuses it.
 */
uint64_t view_identity(uint64_t fingerprint, const char *kind);

/* Serving members per block of one model and kind (NULL: any): counts[blocks]. */
void view_coverage(const struct view *v, uint64_t fingerprint, const char *kind,
		   uint32_t *counts, uint32_t blocks);
/* "[8,16), [24,30)" for the blocks nobody serves; "" when all are covered. */
void view_missing(const struct view *v, uint64_t fingerprint, const char *kind,
		  uint32_t blocks, char *out, size_t bytes);

json_t *member_to_json(const struct member *m);
int member_from_json(struct member *out, const json_t *j, struct error *e);
json_t *member_load_to_json(const struct member_load *l);
int member_load_from_json(struct member_load *out, const json_t *j, const char *path,
			  struct error *e);
/* Reads the state under key. */
int member_state_from_json(enum member_state *out, struct json_reader *r, const char *key);
json_t *view_to_json(const struct view *v);
/* On an error out is as before. */
int view_from_json(struct view *out, const json_t *j, struct error *e);
const char *member_state_name(enum member_state s);

#endif
