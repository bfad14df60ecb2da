/* joining_test.c - a token becomes a credentials folder, over a real connection. */
#include "control/joining.h"

#include <errno.h>

#include "dataplane/base/file.h"
#include "dataplane/base/memory.h"
#include "tests/support/folder.h"
#include "tests/support/real_directory.h"
#include "tests/support/test_ca.h"
#include "tests/test.h"

#define DIRECTORY PRINCIPAL_BIT(PRINCIPAL_DIRECTORY)
#define SERVER    PRINCIPAL_BIT(PRINCIPAL_SERVER)

static struct join_token token(struct real_directory *d)
{
	const struct ca_wish wish = { .roles = SERVER, .life_s = 86400 };
	char *folder = file_join(d->folder, "ca");
	struct error e = { 0 };
	struct join_token t;
	struct ca *ca;

	CHECK_OK(ca_open(&ca, folder, clock_real(), &e), &e);
	CHECK_OK(ca_token(ca, &wish, 3600, &d->address, &t, &e), &e);
	ca_close(ca);
	mem_free(folder);
	return t;
}

/* Goal: after it the folder makes an identity; a second start needs no token; another host with
 * the spent one is refused.
 */
TEST(joining_enrol__makes_credentials)
{
	struct real_directory d;
	struct principal self;
	struct identity *id;
	struct join_token t;
	struct error e = { 0 };
	char *folder, *other;

	real_directory_open(&d, DIRECTORY, false);
	folder = file_join(d.folder, "new/server");
	other = file_join(d.folder, "other");
	t = token(&d);
	CHECK_OK(joining_enrol(&t, "gpu-17", folder, &e), &e);
	CHECK_EQ(test_folder_mode(folder, "key.pem"), 0600);
	CHECK_OK(identity_open(&id, folder, clock_real(), &e), &e);
	identity_self(id, &self);
	CHECK_TEXT(self.name, "gpu-17");
	CHECK_EQ(self.roles, SERVER);
	identity_close(id);
	CHECK_OK(joining_enrol(&t, "gpu-17", folder, &e), &e);
	CHECK_EQ(joining_enrol(&t, "gpu-18", other, &e), -EPERM);
	CHECK(strstr(e.text, "joining through 127.0.0.1:"));
	CHECK(strstr(e.text, "the join token was used before: ask for a new one"));
	mem_free(folder);
	mem_free(other);
	real_directory_close(&d);
}

/* Goal: an answer that was lost can be had again with the key that was written first. */
TEST(joining_enrol__can_be_repeated)
{
	struct real_directory d;
	struct join_token t;
	struct error e = { 0 };
	char *folder, *cert, *first, *second;

	real_directory_open(&d, DIRECTORY, false);
	folder = file_join(d.folder, "new");
	t = token(&d);
	CHECK_OK(joining_enrol(&t, "gpu-17", folder, &e), &e);
	first = test_folder_read(folder, "cert.pem");
	cert = file_join(folder, "cert.pem");
	CHECK_EQ(remove(cert), 0);
	CHECK_OK(joining_enrol(&t, "gpu-17", folder, &e), &e);
	second = test_folder_read(folder, "cert.pem");
	CHECK_TEXT(first, second);
	mem_free(first);
	mem_free(second);
	mem_free(cert);
	mem_free(folder);
	real_directory_close(&d);
}

/* Goal: the secret goes to no directory but the one that the token's CA vouches for. */
TEST(joining_enrol__proves_the_directory)
{
	struct real_directory d;
	struct join_token t;
	struct error e = { 0 };
	char *folder;

	real_directory_open(&d, DIRECTORY, false);
	folder = file_join(d.folder, "new");
	t = token(&d);
	t.authority[0] ^= 1;
	CHECK(joining_enrol(&t, "gpu-17", folder, &e) < 0);
	CHECK(strstr(e.text, "the certificate of directory-1 is signed by a CA that is not ours"));
	mem_free(folder);
	real_directory_close(&d);

	/* One of the same CA, which is a server. */
	real_directory_open(&d, SERVER, false);
	folder = file_join(d.folder, "new");
	t = token(&d);
	CHECK_EQ(joining_enrol(&t, "gpu-17", folder, &e), -EKEYREJECTED);
	CHECK(strstr(e.text, "directory-1 is server by its certificate, and not directory"));
	mem_free(folder);
	real_directory_close(&d);
}

/* Goal: an answer that is none, or of another CA, or for another key, makes no credentials. */
TEST(joining_enrol__checks_what_it_gets)
{
	struct identity_pem pem;
	struct test_ca other;
	struct error e = { 0 };

	test_ca_open(&other, "other", test_seed());
	pem = test_ca_issue(&other, "gpu-17", SERVER);
	for (int i = 0; i < 3; i++) {
		json_t *lie = i == 0 ? json_object()
				     : json_pack("{s:s, s:s, s:s}", "certificate", pem.cert,
						 "authority", pem.ca, "revocations", "");
		struct real_directory d;
		struct join_token t;
		char *folder, *cert;

		real_directory_open_lying(&d, lie);
		folder = file_join(d.folder, "new");
		cert = file_join(folder, "cert.pem");
		/* With the very key of the lie, only its CA is wrong. */
		CHECK_OK(file_make_folder(folder, &e), &e);
		if (i == 2)
			test_folder_write(folder, "key.pem", pem.key);
		t = token(&d);
		CHECK_EQ(joining_enrol(&t, "gpu-17", folder, &e), i == 0 ? -EPROTO : -EKEYREJECTED);
		CHECK(strstr(e.text, i == 0 ? "the answer has no certificate" :
				     i == 1 ? "is not the key of" :
					      "the certificate is of another CA than the token"));
		CHECK(!file_exists(cert));
		mem_free(cert);
		mem_free(folder);
		real_directory_close(&d);
		json_decref(lie);
	}
	identity_pem_release(&pem);
	test_ca_close(&other);
}

/* Goal: whatever this host is called, it makes a name for a certificate. */
TEST(joining_host_name__is_a_name)
{
	char name[PRINCIPAL_NAME_BYTES];

	joining_host_name(name);
	CHECK(principal_name_ok(name));
}
