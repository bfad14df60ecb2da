/* directory_request.c - the parameters of the directory's calls, read and checked.
 *
 * Leaves what depends on other members to directory.c.
 */
#include "control/directory_request.h"

#include <string.h>

#include "control/directory.h"
#include "control/json.h"

/* The lease length asked for, or else `otherwise`. */
static uint64_t read_ttl(struct json_reader *r, uint64_t otherwise)
{
	if (!json_read_has(r, "ttl_ms"))
		return otherwise;
	return NS_PER_MS * json_read_u64(r, "ttl_ms", DIRECTORY_TTL_LEAST_NS / NS_PER_MS,
					 DIRECTORY_TTL_MOST_NS / NS_PER_MS);
}

int join_request_read(struct join_request *j, const json_t *params, uint64_t ttl_ns,
		      struct error *e)
{
	struct json_reader r;
	int rc;

	memset(j, 0, sizeof(*j));
	json_read_open(&r, params, "params", e);
	j->ttl_ns = read_ttl(&r, ttl_ns);
	if (json_read_has(&r, "want_blocks"))
		j->want_blocks = json_read_bool(&r, "want_blocks");
	if (json_read_has(&r, "capacity"))
		j->capacity = (uint32_t)json_read_u64(&r, "capacity", 0, VIEW_BLOCKS_MAX);
	rc = json_read_result(&r);
	if (rc == 0)
		rc = member_from_json(&j->member, json_object_get(params, "member"), e);
	if (rc < 0)
		return rc;
	if (j->member.state == MEMBER_OFFLINE)
		return json_read_fail(&r, "member.state", "must not be offline in a join");
	j->want_blocks |= j->member.first == j->member.end;
	if (j->want_blocks && !j->capacity)
		return json_read_fail(&r, "capacity", "must say how many blocks a member without "
				      "blocks can host");
	return 0;
}

int renew_request_read(struct renew_request *n, const json_t *params, struct error *e)
{
	struct json_reader r;
	int rc;

	json_read_open(&r, params, "params", e);
	n->id = json_read_id(&r, "id");
	n->ttl_ns = read_ttl(&r, 0);
	rc = member_state_from_json(&n->state, &r, "state");
	if (rc < 0)
		return rc;
	if (n->state == MEMBER_OFFLINE)
		return json_read_fail(&r, "state", "must not be offline: say leave");
	return member_load_from_json(&n->load, json_object_get(params, "load"), "params.load", e);
}
