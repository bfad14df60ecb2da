/* permission.c - the tables.  Whoever adds a message type, a call or a page adds its row. */
#include "control/permission.h"

#include <errno.h>
#include <string.h>

#define S PRINCIPAL_BIT(PRINCIPAL_SERVER)
#define G PRINCIPAL_BIT(PRINCIPAL_GATEWAY)
#define T PRINCIPAL_BIT(PRINCIPAL_TENANT)
#define O PRINCIPAL_BIT(PRINCIPAL_OPERATOR)
#define D PRINCIPAL_BIT(PRINCIPAL_DIRECTORY)

static const struct {
	const char *name;
	bool stranger;
	uint32_t roles;
} verbs[VERB_COUNT] = {
	/*                    what                          stranger  roles */
	[VERB_NONE]       = { "do this",                    false, 0 },
	[VERB_WATCH]      = { "watch the swarm",            false, S | G | O | D },
	[VERB_LEASE]      = { "hold a lease",               false, S },
	[VERB_OPEN]       = { "open sessions",              false, G },
	[VERB_PUSH]       = { "push steps",                 false, S | G },
	[VERB_ANSWER]     = { "answer for a session",       false, S },
	[VERB_CALL]       = { "call",                       true,  S | G | T | O | D },
	[VERB_TELL]       = { "send events",                false, D },
	[VERB_GENERATE]   = { "generate",                   false, T | O },
	[VERB_TUNE]       = { "fine-tune",                  false, G | T },
	[VERB_ADMINISTER] = { "administer",                 false, O },
	[VERB_ENROL]      = { "enrol",                      true,  S | G | T | O | D },
	[VERB_RENEW]      = { "renew a certificate",        false, S | G | T | O | D },
	[VERB_METRICS]    = { "read metrics",               false, O | D },
	[VERB_PROBE]      = { "ask for health",             false, S | G | T | O | D },
};

static const enum verb wire_verbs[WIRE_TYPE_COUNT] = {
	/* The message layer's own: part of having a connection at all. */
	[WIRE_HELLO] = VERB_CALL,       [WIRE_PING] = VERB_CALL,
	[WIRE_PONG] = VERB_CALL,        [WIRE_CREDIT] = VERB_CALL,
	[WIRE_GOODBYE] = VERB_CALL,     [WIRE_PATH] = VERB_CALL,

	[WIRE_OPEN] = VERB_OPEN,        [WIRE_REROUTE] = VERB_OPEN,
	[WIRE_CLOSE] = VERB_OPEN,       [WIRE_STEP] = VERB_PUSH,
	[WIRE_OPENED] = VERB_ANSWER,    [WIRE_RESULT] = VERB_ANSWER,
	[WIRE_LOST] = VERB_ANSWER,      [WIRE_REFUSED] = VERB_ANSWER,
	[WIRE_LEAVING] = VERB_ANSWER,

	[WIRE_CALL] = VERB_CALL,        [WIRE_REPLY] = VERB_CALL,
	[WIRE_EVENT] = VERB_TELL,

	[WIRE_KV_PAGES] = VERB_PUSH,
	[WIRE_FORWARD] = VERB_TUNE,     [WIRE_BACKWARD] = VERB_TUNE,
	[WIRE_GRADIENT] = VERB_ANSWER,
};
static_assert(WIRE_TYPE_COUNT <= 64, "permission_wire_mask() has a bit for each");

static const struct {
	const char *method;
	enum verb verb;
} calls[] = {
	{ "join", VERB_LEASE },         { "renew", VERB_LEASE },
	{ "leave", VERB_LEASE },        { "view", VERB_WATCH },
	{ "watch", VERB_WATCH },        { "enrol", VERB_ENROL },
	{ "renew_certificate", VERB_RENEW },
	{ "revocations", VERB_RENEW },   { "certificate", VERB_RENEW },
};

/* A path that ends in a star is a prefix. */
static const struct {
	const char *method, *path;
	enum verb verb;
} pages[] = {
	{ "POST", "/v1/completions", VERB_GENERATE },
	{ "POST", "/v1/chat/completions", VERB_GENERATE },
	{ "GET", "/v1/models", VERB_GENERATE },
	{ "GET", "/v1/models/*", VERB_GENERATE },
	{ "POST", "/tokenize", VERB_GENERATE },
	{ "POST", "/detokenize", VERB_GENERATE },
	{ "GET", "/live", VERB_PROBE },
	{ "GET", "/health", VERB_PROBE },
	{ "GET", "/ready", VERB_PROBE },
	{ "GET", "/version", VERB_PROBE },
	{ "GET", "/metrics", VERB_METRICS },
};

const char *verb_name(enum verb v)
{
	return verbs[v < VERB_COUNT ? v : VERB_NONE].name;
}

bool permission_allows(uint32_t roles, enum verb v)
{
	if (v >= VERB_COUNT)
		return false;
	return roles ? (verbs[v].roles & roles) != 0 : verbs[v].stranger;
}

int permission_check(const struct principal *p, enum verb v, struct error *e)
{
	char roles[PRINCIPAL_ROLES_TEXT_BYTES];

	if (!p || permission_allows(p->roles, v))
		return 0;
	if (!p->roles)
		return error_set(e, -EPERM, "whoever has no certificate may not %s", verb_name(v));
	principal_roles_text(p->roles, roles);
	return error_set(e, -EPERM, "%s (%s by its certificate) may not %s", p->name, roles,
			 verb_name(v));
}

enum verb permission_of_wire(enum wire_type type)
{
	return type < WIRE_TYPE_COUNT ? wire_verbs[type] : VERB_NONE;
}

enum verb permission_of_call(const char *method)
{
	for (size_t i = 0; i < ARRAY_LENGTH(calls); i++)
		if (!strcmp(calls[i].method, method))
			return calls[i].verb;
	return VERB_NONE;
}

static bool path_fits(const char *pattern, const char *path)
{
	size_t length = strlen(pattern);

	if (pattern[length - 1] == '*')
		return !strncmp(pattern, path, length - 1);
	return !strcmp(pattern, path);
}

enum verb permission_of_http(const char *method, const char *path)
{
	/* HEAD asks for what GET does, less the body. */
	const char *as = strcmp(method, "HEAD") ? method : "GET";

	for (size_t i = 0; i < ARRAY_LENGTH(pages); i++)
		if (!strcmp(pages[i].method, as) && path_fits(pages[i].path, path))
			return pages[i].verb;
	return VERB_NONE;
}

uint64_t permission_wire_mask(const struct principal *p)
{
	uint64_t mask = 0;

	for (uint32_t type = 1; type < WIRE_TYPE_COUNT; type++)
		if (permission_check(p, permission_of_wire(type), NULL) == 0)
			mask |= 1ull << type;
	return mask;
}
