/* ask.h - one call to another program from one that has nothing else to do: dial, ask, wait.
 *
 * Threads    The caller's; blocks until the answer, or the time is up.
 * Ownership  params are consumed; json_decref() the result.  Everything in the options is
 *            borrowed.
 * Units      _ns.
 * Errors     -errno with a sentence: what the other side said, or why it could not be asked.
 */
#ifndef PETALS_CONTROL_ASK_H
#define PETALS_CONTROL_ASK_H

#include <jansson.h>

#include "dataplane/base/address.h"
#include "dataplane/identity.h"

struct ask_options {
	const char *name;               /* of this program, for the other's log */
	struct identity *identity;      /* NULL: in the clear */
	uint32_t roles;                 /* one of which the other must have (bits); 0: any */
	struct address to;
	uint64_t timeout_ns;
};

int ask(const struct ask_options *o, const char *method, json_t *params, json_t **result,
	struct error *e);

#endif
