/* folder.c - made under /tmp, removed with all that is in it. */
#include "tests/support/folder.h"

#include <dirent.h>
#include <ftw.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dataplane/base/file.h"
#include "dataplane/base/memory.h"
#include "tests/test.h"

char *test_folder_open(void)
{
	char *path = mem_strdup("/tmp/petals-test-XXXXXX");

	CHECK(mkdtemp(path) != NULL);
	return path;
}

static int remove_one(const char *path, const struct stat *st, int what, struct FTW *at)
{
	return remove(path);
}

void test_folder_close(char *folder)
{
	CHECK_EQ(nftw(folder, remove_one, 8, FTW_DEPTH | FTW_PHYS), 0);
	mem_free(folder);
}

void test_folder_write(const char *folder, const char *name, const char *text)
{
	char *path = file_join(folder, name);
	struct error e = { 0 };

	CHECK_OK(file_write(path, text, strlen(text), 0600, &e), &e);
	mem_free(path);
}

char *test_folder_read(const char *folder, const char *name)
{
	char *path = file_join(folder, name), *text;
	struct error e = { 0 };

	CHECK_OK(file_read(path, 1 << 24, &text, NULL, &e), &e);
	mem_free(path);
	return text;
}

unsigned test_folder_count(const char *folder)
{
	DIR *dir = opendir(folder);
	unsigned count = 0;

	CHECK(dir != NULL);
	while (readdir(dir))
		count++;
	closedir(dir);
	return count - 2;               /* . and .. */
}

unsigned test_folder_mode(const char *folder, const char *name)
{
	char *path = file_join(folder, name);
	struct stat st;

	CHECK_EQ(stat(path, &st), 0);
	mem_free(path);
	return st.st_mode & 0777;
}
