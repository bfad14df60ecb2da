/* throwaway_test.c - a swarm's own CA is found under its directory's address, and is gone after
 * it.
 */
#include "control/throwaway.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "control/credentials.h"
#include "dataplane/base/file.h"
#include "dataplane/base/memory.h"
#include "tests/support/folder.h"
#include "tests/support/handshake.h"
#include "tests/test.h"

#define DIRECTORY "127.0.0.1:7700"

/* Goal: each role's program finds its own credentials, which believe each other; then nothing
 * is left.
 */
TEST(throwaway__lives_as_long_as_its_swarm)
{
	char *home = test_folder_open(), *swarm;
	struct identity *ids[2];
	static const enum principal_role roles[2] = { PRINCIPAL_SERVER, PRINCIPAL_OPERATOR };
	struct throwaway *t;
	struct handshake h;
	struct error e = { 0 };

	setenv("PETALS_HOME", home, 1);
	unsetenv("PETALS_CREDENTIALS");
	CHECK_OK(throwaway_open(&t, clock_real(), &e), &e);
	CHECK(file_exists(throwaway_ca(t)));
	CHECK_OK(throwaway_publish(t, DIRECTORY, &e), &e);
	for (int i = 0; i < 2; i++) {
		const struct credentials_wish wish = { .directory = DIRECTORY, .role = roles[i] };
		struct principal self;

		CHECK_OK(credentials_open(&ids[i], &wish, clock_real(), &e), &e);
		identity_self(ids[i], &self);
		CHECK(self.roles & PRINCIPAL_BIT(roles[i]));
	}
	handshake_open(&h, ids[1], PRINCIPAL_BIT(PRINCIPAL_SERVER), ids[0], 0);
	handshake_run(&h);
	CHECK_OK(h.acceptor.principal_rc, &h.acceptor.error);
	handshake_close(&h);
	identity_close(ids[0]);
	identity_close(ids[1]);
	swarm = file_join(home, "swarms");
	throwaway_close(t);
	CHECK_EQ(rmdir(swarm), 0);              /* nothing is in it */
	mem_free(swarm);
	unsetenv("PETALS_HOME");
	test_folder_close(home);
}

/* Goal: what a killed swarm left behind is replaced, what somebody else put there is not. */
TEST(throwaway_publish__replaces_its_own_kind)
{
	char *home = test_folder_open(), *link;
	struct throwaway *t;
	struct error e = { 0 };

	setenv("PETALS_HOME", home, 1);
	CHECK_OK(throwaway_open(&t, clock_real(), &e), &e);
	CHECK_OK(credentials_swarm_folder(&link, DIRECTORY, &e), &e);
	CHECK_EQ(symlink("up-1", link), 0);
	CHECK_OK(throwaway_publish(t, DIRECTORY, &e), &e);
	throwaway_close(t);

	CHECK_OK(throwaway_open(&t, clock_real(), &e), &e);
	CHECK_OK(file_make_folder(link, &e), &e);
	CHECK_EQ(throwaway_publish(t, DIRECTORY, &e), -EEXIST);
	CHECK(strstr(e.text, "/swarms/" DIRECTORY));
	throwaway_close(t);
	CHECK(file_exists(link));
	mem_free(link);
	unsetenv("PETALS_HOME");
	test_folder_close(home);
}
