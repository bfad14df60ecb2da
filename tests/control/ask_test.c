/* ask_test.c - one call and its ends: answered, refused, nobody there, the wrong one there, no
 * answer.
 */
#include "control/ask.h"

#include <errno.h>

#include "dataplane/base/file.h"
#include "dataplane/base/memory.h"
#include "tests/support/real_directory.h"
#include "tests/support/test_ca.h"
#include "tests/test.h"

#define DIRECTORY PRINCIPAL_BIT(PRINCIPAL_DIRECTORY)
#define SERVER    PRINCIPAL_BIT(PRINCIPAL_SERVER)

static struct identity *operator_of(struct real_directory *d, uint32_t roles)
{
	char *folder = file_join(d->folder, "operator"),
	     *ca_folder_name = file_join(d->folder, "ca");
	const struct ca_wish wish = { .name = "alice", .roles = roles, .life_s = 86400 };
	struct error e = { 0 };
	struct identity *id;
	struct ca *ca;

	CHECK_OK(ca_open(&ca, ca_folder_name, clock_real(), &e), &e);
	CHECK_OK(ca_issue_folder(ca, &wish, folder, &e), &e);
	CHECK_OK(identity_open(&id, folder, clock_real(), &e), &e);
	ca_close(ca);
	mem_free(folder);
	mem_free(ca_folder_name);
	return id;
}

static int ask_one(struct real_directory *d, struct identity *id, uint32_t roles,
		   const char *method, uint64_t timeout_ns, json_t **result, struct error *e)
{
	const struct ask_options o = { .name = "alice", .identity = id, .roles = roles,
				       .to = d->address, .timeout_ns = timeout_ns };

	return ask(&o, method, json_object(), result, e);
}

/* Goal: an answer comes, in the clear and sealed; an error comes as it was said. */
TEST(ask__is_answered)
{
	for (int insecure = 0; insecure < 2; insecure++) {
		struct identity *id = NULL;
		struct real_directory d;
		struct error e = { 0 };
		json_t *result;

		real_directory_open(&d, DIRECTORY, insecure);
		if (!insecure)
			id = operator_of(&d, PRINCIPAL_BIT(PRINCIPAL_OPERATOR));
		CHECK_OK(ask_one(&d, id, DIRECTORY, "view", 5 * NS_PER_S, &result, &e), &e);
		CHECK_TEXT(json_string_value(json_object_get(result, "hello")), "there");
		json_decref(result);
		CHECK(ask_one(&d, id, 0, "dance", 5 * NS_PER_S, &result, &e) < 0);
		CHECK_TEXT(e.text, "there is no method \"dance\" here");
		CHECK(!result);
		identity_close(id);
		real_directory_close(&d);
	}
}

/* Goal: what cannot be asked has a sentence: nobody, no answer, the wrong one, another CA. */
TEST(ask__says_why_not)
{
	struct identity *alice, *mallory;
	struct real_directory d;
	struct error e = { 0 };
	struct test_ca other;
	json_t *result;

	real_directory_open(&d, SERVER, false);
	alice = operator_of(&d, PRINCIPAL_BIT(PRINCIPAL_OPERATOR));
	CHECK_EQ(ask_one(&d, alice, DIRECTORY, "view", 5 * NS_PER_S, &result, &e), -EKEYREJECTED);
	CHECK_TEXT(e.text, "directory-1 is server by its certificate, and not directory");
	/* ... and what we would have said was not said. */
	CHECK_EQ(ask_one(&d, alice, SERVER, "view", 5 * NS_PER_S, &result, &e), 0);
	json_decref(result);
	CHECK_EQ(atomic_load(&d.views), 1);
	CHECK_EQ(ask_one(&d, alice, 0, "watch", NS_PER_S / 4, &result, &e), -ETIMEDOUT);
	test_ca_open(&other, "other", test_seed());
	mallory = test_identity(&other, "mallory", PRINCIPAL_ANY, clock_real());
	CHECK(ask_one(&d, mallory, 0, "view", 5 * NS_PER_S, &result, &e) < 0);
	CHECK(strstr(e.text, "signed by a CA that is not"));
	real_directory_close(&d);
	CHECK(ask_one(&d, alice, 0, "view", 5 * NS_PER_S, &result, &e) < 0);
	identity_close(alice);
	identity_close(mallory);
	test_ca_close(&other);
}
