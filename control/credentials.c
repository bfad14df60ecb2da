/* credentials.c - the places where credentials may be, in their order. */
#include "control/credentials.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/base/buffer.h"
#include "dataplane/base/file.h"
#include "dataplane/base/memory.h"

int credentials_home(char **out, const char *name, struct error *e)
{
	const char *petals = getenv("PETALS_HOME"), *home = getenv("HOME");
	struct buffer path = { 0 };

	*out = NULL;
	if (petals && petals[0])
		buffer_printf(&path, "%s/%s", petals, name);
	else if (home && home[0] == '/')
		buffer_printf(&path, "%s/.petals/%s", home, name);
	else
		return error_set(e, -ENOENT,
				 "neither $PETALS_HOME nor $HOME says where credentials "
				 "are kept");
	if (buffer_failed(&path) < 0) {
		buffer_close(&path);
		return error_errno(e, -ENOMEM, "naming %s", name);
	}
	*out = buffer_take(&path);
	return 0;
}

int credentials_swarm_folder(char **out, const char *directory, struct error *e)
{
	struct buffer name = { 0 };
	int rc;

	*out = NULL;
	if (strchr(directory, '/'))
		return error_set(e, -EINVAL, "%s is no HOST:PORT", directory);
	buffer_printf(&name, "swarms/%s", directory);
	rc = buffer_failed(&name) < 0 ? error_errno(e, -ENOMEM, "naming %s", directory) :
					credentials_home(out, buffer_string(&name), e);
	buffer_close(&name);
	return rc;
}

static bool has_credentials(const char *folder)
{
	char *path = file_join(folder, "cert.pem");
	bool there = path && file_exists(path);

	mem_free(path);
	return there;
}

/* Takes folder over if credentials are in it, or in its part for the role. */
static bool look_in(char *folder, enum principal_role role, char **out)
{
	char *part = folder ? file_join(folder, principal_role_name(role)) : NULL;

	if (part && has_credentials(part)) {
		*out = part;
		mem_free(folder);
		return true;
	}
	mem_free(part);
	if (folder && has_credentials(folder)) {
		*out = folder;
		return true;
	}
	mem_free(folder);
	return false;
}

static int nothing_found(const struct credentials_wish *w, struct error *e)
{
	const char *role = principal_role_name(w->role);
	char *home = NULL;

	credentials_home(&home, "credentials", NULL);
	error_set(e, -ENOENT,
		  "no credentials: neither --credentials nor $PETALS_CREDENTIALS names a "
		  "folder, and %s holds none. `petalsctl ca init` and `petalsctl ca issue --role "
		  "%s "
		  "--name NAME` make some, `--join TOKEN` fetches some, and --insecure does "
		  "without on "
		  "loopback",
		  home ? home : "no home folder", role);
	mem_free(home);
	return -ENOENT;
}

int credentials_find(char **folder, const struct credentials_wish *w, struct error *e)
{
	const char *named = getenv("PETALS_CREDENTIALS");
	char *place = NULL;

	*folder = NULL;
	if (w->given) {
		*folder = mem_strdup(w->given);
		return *folder ? 0 : error_errno(e, -ENOMEM, "naming %s", w->given);
	}
	if (named && named[0]) {
		if (look_in(mem_strdup(named), w->role, folder))
			return 0;
		return error_set(e, -ENOENT,
				 "$PETALS_CREDENTIALS names %s, which holds no cert.pem", named);
	}
	if (w->directory && credentials_swarm_folder(&place, w->directory, NULL) == 0 &&
	    look_in(place, w->role, folder))
		return 0;
	if (credentials_home(&place, "credentials", NULL) == 0 && look_in(place, w->role, folder))
		return 0;
	return nothing_found(w, e);
}

int credentials_open(struct identity **out, const struct credentials_wish *w,
		     const struct clock *clock, struct error *e)
{
	char *folder;
	int rc = credentials_find(&folder, w, e);

	*out = NULL;
	if (rc == 0)
		rc = identity_open(out, folder, clock, e);
	if (rc == 0) {
		rc = identity_check(*out, e);
		if (rc < 0) {
			error_wrap(e, "%s", folder);
			identity_close(*out);
			*out = NULL;
		}
	}
	mem_free(folder);
	return rc;
}

int credentials_write(const char *folder, const struct identity_pem *pem, struct error *e)
{
	const struct {
		const char *name, *text;
		unsigned mode;
	} files[] = {
		{ "key.pem", pem->key, 0600 },  { "ca.pem", pem->ca, 0644 },
		{ "crl.pem", pem->crl, 0644 },  { "cert.pem", pem->cert, 0644 },
	};
	int rc = file_make_folder(folder, e);

	for (size_t i = 0; rc == 0 && i < ARRAY_LENGTH(files); i++) {
		char *path = file_join(folder, files[i].name);

		if (!path)
			rc = error_errno(e, -ENOMEM, "writing %s", folder);
		else if (files[i].text)
			rc = file_write(path, files[i].text, strlen(files[i].text), files[i].mode,
					e);
		mem_free(path);
	}
	return rc;
}
