/* security.c - flags to an identity, by way of a join token if there is one.
 */
#include "tools/security.h"

#include <errno.h>
#include <stdlib.h>

#include "control/credentials.h"
#include "control/joining.h"
#include "dataplane/base/file.h"
#include "dataplane/base/memory.h"

/* Where credentials that were fetched are kept: as given, else in HOME under the role. */
static int choose_folder(const struct security_flags *f, enum principal_role role, char **out,
			 struct error *e)
{
	const char *named = getenv("PETALS_CREDENTIALS");
	char *home;
	int rc;

	if (f->credentials || (named && named[0])) {
		*out = mem_strdup(f->credentials ? f->credentials : named);
		return *out ? 0 : error_errno(e, -ENOMEM, "naming credentials");
	}
	rc = credentials_home(&home, "credentials", e);
	if (rc < 0)
		return rc;
	*out = file_join(home, principal_role_name(role));
	mem_free(home);
	return *out ? 0 : error_errno(e, -ENOMEM, "naming credentials");
}

static int replace(char **text, const char *with, struct error *e)
{
	char *copy = mem_strdup(with);

	if (!copy)
		return error_errno(e, -ENOMEM, "joining");
	mem_free(*text);
	*text = copy;
	return 0;
}

int security_join(struct security_flags *f, enum principal_role role, const char *name,
		  char **directory, struct error *e)
{
	char host[PRINCIPAL_NAME_BYTES], *folder = NULL;
	struct join_token t;
	int rc;

	if (!f->join)
		return 0;
	if (f->insecure)
		return error_set(e, -EINVAL,
				 "--join fetches a certificate and --insecure does without "
				 "one: give one of them");
	rc = join_token_read(&t, f->join, e);
	if (rc == 0)
		rc = choose_folder(f, role, &folder, e);
	joining_host_name(host);
	if (rc == 0)
		rc = joining_enrol(&t, name ? name : host, folder, e);
	if (rc == 0)
		rc = replace(&f->credentials, folder, e);
	if (rc == 0)
		rc = replace(directory, t.directory.text, e);
	mem_free(folder);
	return rc;
}

int security_open(struct identity **out, const struct security_flags *f, const char *directory,
		  enum principal_role role, struct error *e)
{
	const struct credentials_wish wish = { f->credentials, directory, role };

	*out = NULL;
	if (f->insecure && f->credentials)
		return error_set(e, -EINVAL, "--credentials and --insecure contradict each other");
	return f->insecure ? 0 : credentials_open(out, &wish, clock_real(), e);
}
