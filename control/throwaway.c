/* throwaway.c - makes the folder, publishes it under the directory's address, removes it. */
#include "control/throwaway.h"

#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "control/ca.h"
#include "control/credentials.h"
#include "control/joining.h"
#include "dataplane/base/file.h"
#include "dataplane/base/log.h"
#include "dataplane/base/memory.h"

#define CA_LIFE_S (10LL * 365 * 86400)
#define LIFE_S    (365LL * 86400)

struct throwaway {
	char *folder, *ca, *link;       /* link: NULL until published */
	char *credentials[PRINCIPAL_ROLES];
};

/* Whose credentials are made; an operator may generate, too. */
static const struct {
	enum principal_role role;
	uint32_t roles;
} holders[] = {
	{ PRINCIPAL_DIRECTORY, PRINCIPAL_BIT(PRINCIPAL_DIRECTORY) },
	{ PRINCIPAL_SERVER, PRINCIPAL_BIT(PRINCIPAL_SERVER) },
	{ PRINCIPAL_GATEWAY, PRINCIPAL_BIT(PRINCIPAL_GATEWAY) },
	{ PRINCIPAL_OPERATOR, PRINCIPAL_BIT(PRINCIPAL_OPERATOR) | PRINCIPAL_BIT(PRINCIPAL_TENANT) },
};

static int remove_one(const char *path, const struct stat *st, int what, struct FTW *at)
{
	return remove(path);
}

void throwaway_close(struct throwaway *t)
{
	if (!t)
		return;
	if (t->link && unlink(t->link) < 0)
		log_warn("throwaway", "%s is left behind: %s", t->link, error_describe(-errno));
	if (t->folder && nftw(t->folder, remove_one, 8, FTW_DEPTH | FTW_PHYS) < 0 &&
	    errno != ENOENT)
		log_warn("throwaway", "%s is left behind: %s", t->folder, error_describe(-errno));
	for (int i = 0; i < PRINCIPAL_ROLES; i++)
		mem_free(t->credentials[i]);
	mem_free(t->link);
	mem_free(t->ca);
	mem_free(t->folder);
	mem_free(t);
}

static int name_folders(struct throwaway *t, struct error *e)
{
	char name[32];
	int rc;

	snprintf(name, sizeof(name), "swarms/up-%d", (int)getpid());
	rc = credentials_home(&t->folder, name, e);
	if (rc < 0)
		return rc;
	t->ca = file_join(t->folder, "ca");
	rc = t->ca ? 0 : -ENOMEM;
	for (int i = 0; rc == 0 && i < PRINCIPAL_ROLES; i++) {
		t->credentials[i] = file_join(t->folder, principal_role_name(i));
		rc = t->credentials[i] ? 0 : -ENOMEM;
	}
	return rc < 0 ? error_errno(e, rc, "naming %s", t->folder) : 0;
}

static int issue_all(struct throwaway *t, const struct clock *clock, struct error *e)
{
	char host[PRINCIPAL_NAME_BYTES], hosts[PRINCIPAL_NAME_BYTES + 32];
	struct ca *ca;
	int rc = ca_open(&ca, t->ca, clock, e);

	joining_host_name(host);
	snprintf(hosts, sizeof(hosts), "localhost,127.0.0.1,::1%s%s",
		 strpbrk(host, ":@_") ? "" : ",", strpbrk(host, ":@_") ? "" : host);
	for (size_t i = 0; rc == 0 && i < ARRAY_LENGTH(holders); i++) {
		const struct ca_wish wish = {
			.name = principal_role_name(holders[i].role), .roles = holders[i].roles,
			.hosts = hosts, .life_s = LIFE_S,
		};
		rc = ca_issue_folder(ca, &wish, t->credentials[holders[i].role], e);
	}
	ca_close(ca);
	return rc;
}

int throwaway_open(struct throwaway **out, const struct clock *clock, struct error *e)
{
	struct throwaway *t = mem_calloc(1, sizeof(*t));
	char name[32];
	int rc = t ? name_folders(t, e) : error_errno(e, -ENOMEM, "making a throw-away CA");

	*out = NULL;
	snprintf(name, sizeof(name), "up-%d", (int)getpid());
	/* A process of our number that was killed may have left its own behind. */
	if (rc == 0)
		nftw(t->folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
	if (rc == 0)
		rc = ca_init(t->ca, name, CA_LIFE_S, clock, e);
	if (rc == 0)
		rc = issue_all(t, clock, e);
	if (rc < 0)
		throwaway_close(t);
	else
		*out = t;
	return rc;
}

const char *throwaway_ca(const struct throwaway *t)
{
	return t->ca;
}

const char *throwaway_credentials(const struct throwaway *t, enum principal_role role)
{
	return t->credentials[role];
}

int throwaway_publish(struct throwaway *t, const char *directory, struct error *e)
{
	char *link;
	int rc = credentials_swarm_folder(&link, directory, e);

	if (rc < 0)
		return rc;
	/* One of a swarm that was killed; what is no link was not made by us. */
	unlink(link);
	if (symlink(strrchr(t->folder, '/') + 1, link) < 0) {
		rc = error_errno(e, -errno, "cannot make %s", link);
		mem_free(link);
		return rc;
	}
	t->link = link;
	return 0;
}
