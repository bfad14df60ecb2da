/* tuning_test.c - winners are remembered over processes, and a file that is not ours does no
 * harm.
 */
#include "compute/cuda/tuning.h"

#include <errno.h>
#include <stdlib.h>

#include "dataplane/base/fault.h"
#include "dataplane/base/file.h"
#include "dataplane/base/memory.h"
#include "tests/support/folder.h"
#include "tests/test.h"

static struct cuda_tuning *open_at(const char *path)
{
	struct error e = { 0 };
	struct cuda_tuning *t;

	CHECK_OK(cuda_tuning_open(&t, path, &e), &e);
	return t;
}

/* Goal: what is added is found, now and by whoever opens the file later; later wins. */
TEST(tuning__remembers)
{
	char *folder = test_folder_open(), *path = file_join(folder, "races");
	struct cuda_tuning *t = open_at(path);
	struct error e = { 0 };
	char key[32];

	CHECK(!cuda_tuning_find(t, "a b"));
	CHECK_OK(cuda_tuning_add(t, "a b", "1 2", &e), &e);
	CHECK_OK(cuda_tuning_add(t, "a b", "3", &e), &e);
	for (int i = 0; i < 200; i++) {
		snprintf(key, sizeof(key), "key %d", i);
		CHECK_OK(cuda_tuning_add(t, key, key + 4, &e), &e);
	}
	cuda_tuning_close(t);
	t = open_at(path);
	CHECK_TEXT(cuda_tuning_find(t, "a b"), "3");
	CHECK_TEXT(cuda_tuning_find(t, "key 199"), "199");
	CHECK(!cuda_tuning_find(t, "key 200"));
	cuda_tuning_close(t);
	mem_free(path);
	test_folder_close(folder);
}

/* Goal: two servers of one host keep each other's winners. */
TEST(tuning__keeps_what_others_added)
{
	char *folder = test_folder_open(), *path = file_join(folder, "races");
	struct cuda_tuning *a = open_at(path), *b = open_at(path);
	struct error e = { 0 };

	CHECK_OK(cuda_tuning_add(a, "one", "1", &e), &e);
	CHECK_OK(cuda_tuning_add(b, "two", "2", &e), &e);
	CHECK_TEXT(cuda_tuning_find(b, "one"), "1");
	cuda_tuning_close(a);
	a = open_at(path);
	CHECK_TEXT(cuda_tuning_find(a, "one"), "1");
	CHECK_TEXT(cuda_tuning_find(a, "two"), "2");
	cuda_tuning_close(a);
	cuda_tuning_close(b);
	mem_free(path);
	test_folder_close(folder);
}

/* Goal: lines that are no entries are passed over, the others are taken. */
TEST(tuning__passes_over_strange_lines)
{
	char *folder = test_folder_open(), *path = file_join(folder, "races");
	char line[CUDA_TUNING_TEXT_BYTES + 64];
	struct cuda_tuning *t;

	memset(line, 'k', sizeof(line));
	snprintf(line + CUDA_TUNING_TEXT_BYTES, 64, "\tlong\nend\t9\n# c\t1\n\t2\nx\t\n"
		 "no tab\nbad\t\x01\nlast\tone");
	test_folder_write(folder, "races", line);
	t = open_at(path);
	CHECK_TEXT(cuda_tuning_find(t, "end"), "9");
	CHECK_TEXT(cuda_tuning_find(t, "last"), "one");
	CHECK(!cuda_tuning_find(t, "# c") && !cuda_tuning_find(t, "x"));
	CHECK(!cuda_tuning_find(t, "bad") && !cuda_tuning_find(t, ""));
	cuda_tuning_close(t);
	mem_free(path);
	test_folder_close(folder);
}

/* Goal: without a path it lies where caches lie. */
TEST(tuning__usual_place)
{
	char *folder = test_folder_open(), *path = file_join(folder, "petals/cuda-tuning");
	const char *home = getenv("HOME"), *cache = getenv("XDG_CACHE_HOME");
	struct error e = { 0 };
	struct cuda_tuning *t;

	setenv("XDG_CACHE_HOME", folder, 1);
	t = open_at(NULL);
	CHECK_OK(cuda_tuning_add(t, "a", "b", &e), &e);
	cuda_tuning_close(t);
	CHECK(file_exists(path));
	unsetenv("XDG_CACHE_HOME");
	unsetenv("HOME");
	CHECK_EQ(cuda_tuning_open(&t, NULL, &e), -EINVAL);
	if (home)
		setenv("HOME", home, 1);
	if (cache)
		setenv("XDG_CACHE_HOME", cache, 1);
	mem_free(path);
	test_folder_close(folder);
}

#ifdef PETALS_FAULTS
/* Goal: whichever call fails, nothing is lost and the table stays what it was. */
TEST(tuning__unwinds_every_failure)
{
	char *folder = test_folder_open(), *path = file_join(folder, "races");
	struct error e = { 0 };
	struct cuda_tuning *t = open_at(path);
	uint64_t live;

	CHECK_OK(cuda_tuning_add(t, "first", "1", &e), &e);
	cuda_tuning_close(t);
	live = mem_live_blocks();
	for (int nth = 1; nth < 100; nth++) {
		int rc;

		fault_arm(nth);
		rc = cuda_tuning_open(&t, path, &e);
		if (rc == 0)
			rc = cuda_tuning_add(t, "second", "2", &e);
		if (rc == 0 || t)
			CHECK_TEXT(cuda_tuning_find(t, "first"), "1");
		cuda_tuning_close(t);
		CHECK_EQ(mem_live_blocks(), live);
		if (!fault_fired()) {
			CHECK_EQ(rc, 0);
			break;
		}
		CHECK(rc < 0 && e.text[0]);
	}
	fault_disarm();
	mem_free(path);
	test_folder_close(folder);
}
#endif
