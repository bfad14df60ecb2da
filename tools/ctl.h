/* ctl.h - the verbs of petalsctl, one program table each, and what they share.
 *
 * Threads    main()'s.
 * Ownership  As noted.
 * Units      None.
 * Errors     Verbs return the exit status; they print their own errors.
 */
#ifndef PETALS_TOOLS_CTL_H
#define PETALS_TOOLS_CTL_H

#include <jansson.h>

#include "control/view.h"
#include "dataplane/base/options.h"
#include "tools/security.h"

extern const struct program ctl_up, ctl_status, ctl_servers, ctl_blocks, ctl_devices, ctl_generate,
	ctl_version;
extern const struct program ctl_ca_init, ctl_ca_issue, ctl_ca_renew, ctl_ca_revoke, ctl_ca_show,
	ctl_ca_token;

/* Asks a directory and waits for its answer; json_decref() the result. */
int ctl_call(const struct security_flags *f, const char *directory, const char *method,
	     json_t *params, json_t **result, struct error *e);
/* The directory's view; view_close() it. */
int ctl_view(const struct security_flags *f, const char *directory, struct view **out,
	     struct error *e);

/* Prints "petalsctl VERB: sentence"; returns 1. */
int ctl_fail(const char *verb, const struct error *e);
/* Prints one JSON object on one line and releases it; returns 0. */
int ctl_print(json_t *object);

#endif
