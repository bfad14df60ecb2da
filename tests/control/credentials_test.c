/* credentials_test.c - credentials are found in the promised order, and what to do is said when
 * there are none.
 */
#include "tests/test.h"

#include <errno.h>
#include <stdlib.h>

#include "control/credentials.h"
#include "dataplane/base/file.h"
#include "dataplane/base/memory.h"
#include "tests/support/folder.h"
#include "tests/support/test_ca.h"

#define DIRECTORY "10.0.0.5:7700"

struct world {
	char *home;
	struct test_ca ca;
};

static void open_world(struct world *w)
{
	w->home = test_folder_open();
	test_ca_open(&w->ca, "test-CA", test_seed());
	setenv("PETALS_HOME", w->home, 1);
	unsetenv("PETALS_CREDENTIALS");
}

static void close_world(struct world *w)
{
	unsetenv("PETALS_HOME");
	unsetenv("PETALS_CREDENTIALS");
	test_ca_close(&w->ca);
	test_folder_close(w->home);
}

/* Writes credentials of somebody with that name into HOME/place. */
static char *put(struct world *w, const char *place, const char *name)
{
	struct identity_pem pem = test_ca_issue(&w->ca, name, PRINCIPAL_BIT(PRINCIPAL_SERVER));
	char *folder = file_join(w->home, place);
	struct error e = { 0 };

	CHECK_OK(credentials_write(folder, &pem, &e), &e);
	identity_pem_release(&pem);
	return folder;
}

static void check_found(const struct credentials_wish *wish, const char *name)
{
	struct identity *id;
	struct principal self;
	struct error e = { 0 };

	CHECK_OK(credentials_open(&id, wish, clock_real(), &e), &e);
	identity_self(id, &self);
	CHECK_TEXT(self.name, name);
	identity_close(id);
}

/* Goal: whatever is nearer to the program wins. */
TEST(credentials_find__in_order)
{
	struct credentials_wish wish = { .directory = DIRECTORY, .role = PRINCIPAL_SERVER };
	char *folder;
	struct world w;

	open_world(&w);
	mem_free(put(&w, "credentials", "home"));
	check_found(&wish, "home");
	mem_free(put(&w, "credentials/server", "home-server"));
	check_found(&wish, "home-server");
	wish.role = PRINCIPAL_GATEWAY;
	check_found(&wish, "home");
	mem_free(put(&w, "swarms/" DIRECTORY, "swarm"));
	check_found(&wish, "swarm");
	mem_free(put(&w, "swarms/" DIRECTORY "/gateway", "swarm-gateway"));
	check_found(&wish, "swarm-gateway");
	wish.directory = "10.0.0.6:7700";
	check_found(&wish, "home");
	folder = put(&w, "elsewhere", "environment");
	setenv("PETALS_CREDENTIALS", folder, 1);
	wish.directory = DIRECTORY;
	check_found(&wish, "environment");
	mem_free(folder);
	folder = put(&w, "given", "given");
	wish.given = folder;
	check_found(&wish, "given");
	mem_free(folder);
	close_world(&w);
}

/* Goal: nothing found, or nothing where it was said to be: the sentence says what to do. */
TEST(credentials_find__says_what_to_run)
{
	struct credentials_wish wish = { .role = PRINCIPAL_SERVER };
	struct error e = { 0 };
	struct world w;
	char *folder;

	open_world(&w);
	CHECK_EQ(credentials_find(&folder, &wish, &e), -ENOENT);
	CHECK(strstr(e.text, "/credentials holds none"));
	CHECK(strstr(e.text, "`petalsctl ca init` and `petalsctl ca issue --role server --name "
			     "NAME`"));
	CHECK(strstr(e.text, "--insecure"));
	setenv("PETALS_CREDENTIALS", "/nowhere", 1);
	CHECK_EQ(credentials_find(&folder, &wish, &e), -ENOENT);
	CHECK_TEXT(e.text, "$PETALS_CREDENTIALS names /nowhere, which holds no cert.pem");
	CHECK_EQ(credentials_swarm_folder(&folder, "../../etc", &e), -EINVAL);
	close_world(&w);
}

/* Goal: credentials that others would refuse are refused here, with the folder. */
TEST(credentials_open__refuses_what_is_over)
{
	struct credentials_wish wish = { .role = PRINCIPAL_SERVER };
	struct identity_pem pem;
	struct error e = { 0 };
	struct identity *id;
	struct world w;
	char *folder;

	open_world(&w);
	folder = file_join(w.home, "credentials");
	pem = test_ca_issue_spec(&w.ca, (struct certificate_spec){
		.name = "old-1", .roles = 1, .not_after_unix_s = 100 });
	CHECK_OK(credentials_write(folder, &pem, &e), &e);
	CHECK_EQ(credentials_open(&id, &wish, clock_real(), &e), -EKEYEXPIRED);
	CHECK(strstr(e.text, "/credentials: the certificate of old-1 expired "));
	CHECK(!id);
	CHECK_EQ(test_folder_mode(folder, "key.pem"), 0600);
	identity_pem_release(&pem);
	mem_free(folder);
	close_world(&w);
}
