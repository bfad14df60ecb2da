/* directory_request.h - what a join and a renewal ask for.
 *
 * Threads    Pure functions; safe anywhere.
 * Ownership  Plain storage; the JSON is borrowed.
 * Units      _ns; capacity is blocks.
 * Errors     -EINVAL with a sentence that names the path in the JSON.
 */
#ifndef PETALS_CONTROL_DIRECTORY_REQUEST_H
#define PETALS_CONTROL_DIRECTORY_REQUEST_H

#include "control/view.h"

struct join_request {
	struct member member;
	uint64_t ttl_ns;
	uint32_t capacity;
	bool want_blocks;               /* with capacity >= 1 */
};

struct renew_request {
	uint64_t id, ttl_ns;            /* ttl_ns 0: as before */
	enum member_state state;
	struct member_load load;
};

/* ttl_ns: for members that ask for none. */
int join_request_read(struct join_request *j, const json_t *params, uint64_t ttl_ns,
		      struct error *e);
int renew_request_read(struct renew_request *n, const json_t *params, struct error *e);

#endif
