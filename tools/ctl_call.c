/* ctl_call.c - owns petalsctl's conversation with a directory, and how its verbs end.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "control/ask.h"
#include "tools/ctl.h"

#define CALL_TIMEOUT_NS (5 * NS_PER_S)

int ctl_call(const struct security_flags *f, const char *directory, const char *method,
	     json_t *params, json_t **result, struct error *e)
{
	struct ask_options o = {
		.name = "petalsctl", .roles = PRINCIPAL_BIT(PRINCIPAL_DIRECTORY),
		.timeout_ns = CALL_TIMEOUT_NS,
	};
	int rc = address_parse(&o.to, directory, e);

	if (rc == 0)
		rc = security_open(&o.identity, f, directory, PRINCIPAL_OPERATOR, e);
	if (rc < 0) {
		json_decref(params);
		return rc;
	}
	rc = ask(&o, method, params, result, e);
	identity_close(o.identity);
	return rc < 0 ? error_wrap(e, "directory %s", directory) : 0;
}

int ctl_view(const struct security_flags *f, const char *directory, struct view **out,
	     struct error *e)
{
	json_t *result = NULL;
	int rc = ctl_call(f, directory, "view", json_object(), &result, e);

	if (rc == 0)
		rc = view_open(out);
	if (rc == 0)
		rc = view_from_json(*out, result, e);
	json_decref(result);
	return rc;
}

int ctl_fail(const char *verb, const struct error *e)
{
	fprintf(stderr, "petalsctl %s: %s\n", verb, e->text);
	return 1;
}

int ctl_print(json_t *object)
{
	char *text = json_dumps(object, JSON_COMPACT | JSON_PRESERVE_ORDER);

	if (text)
		puts(text);
	free(text);
	json_decref(object);
	fflush(stdout);
	return text ? 0 : 1;
}
