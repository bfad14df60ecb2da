/* file_test.c - reading, writing, mapping and their refusals. */
#include "tests/test.h"

#include <errno.h>
#include <dirent.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dataplane/base/fault.h"
#include "dataplane/base/file.h"
#include "dataplane/base/memory.h"

/* A file of `bytes` bytes 0, 1, 2, ... (mod 251); remove_file() it. */
static char *make_file(size_t bytes)
{
	char *path = mem_strdup("/tmp/petals-file-test-XXXXXX");
	int fd = mkstemp(path);
	FILE *out = fdopen(fd, "wb");

	CHECK(out != NULL);
	for (size_t i = 0; i < bytes; i++)
		fputc((int)(i % 251), out);
	CHECK_EQ(fclose(out), 0);
	return path;
}

static void remove_file(char *path)
{
	unlink(path);
	mem_free(path);
}

/* Goal: a read gives every byte and a terminating NUL, up to the limit. */
TEST(file_read__gives_all_up_to_the_limit)
{
	static const size_t sizes[] = { 0, 1, 4095, 4096, 4097, 100000 };

	for (size_t s = 0; s < ARRAY_LENGTH(sizes); s++) {
		char *path = make_file(sizes[s]), *data;
		struct error e = { 0 };
		size_t bytes;

		CHECK_OK(file_read(path, sizes[s], &data, &bytes, &e), &e);
		CHECK_EQ(bytes, sizes[s]);
		for (size_t i = 0; i < bytes; i++)
			CHECK_EQ((uint8_t)data[i], i % 251);
		CHECK_EQ(data[bytes], 0);
		mem_free(data);
		if (sizes[s] > 0) {
			CHECK_EQ(file_read(path, sizes[s] - 1, &data, &bytes, &e), -EFBIG);
			CHECK(strstr(e.text, path) != NULL);
			CHECK(!data);
		}
		remove_file(path);
	}
}

/* Goal: files without a size beforehand are read, and bounded, too. */
TEST(file_read__reads_what_has_no_size)
{
	struct error e = { 0 };
	size_t bytes;
	char *data;

	CHECK_OK(file_read("/proc/self/maps", 1 << 24, &data, &bytes, &e), &e);
	CHECK(bytes > 100);
	CHECK_EQ(strlen(data), bytes);
	mem_free(data);
	CHECK_EQ(file_read("/dev/zero", 10000, &data, &bytes, &e), -EFBIG);
	CHECK(!data);
}

/* Goal: the limit is exact also where only reading tells the size. */
TEST(file_read__bounds_a_pipe)
{
	for (size_t most = 99; most <= 101; most++) {
		char path[64], text[100] = { 0 }, *data;
		size_t bytes;
		int ends[2];

		CHECK_EQ(pipe(ends), 0);
		CHECK_EQ(write(ends[1], text, sizeof(text)), sizeof(text));
		close(ends[1]);
		snprintf(path, sizeof(path), "/proc/self/fd/%d", ends[0]);
		CHECK_EQ(file_read(path, most, &data, &bytes, NULL), most < 100 ? -EFBIG : 0);
		CHECK_EQ(data != NULL, most >= 100);
		mem_free(data);
		close(ends[0]);
	}
}

/* Goal: the sentence names the file and the reason. */
TEST(file_read__says_what_is_wrong)
{
	struct file_map m;
	struct error e = { 0 };
	char *data;

	CHECK_EQ(file_read("/nowhere/x", 10, &data, NULL, &e), -ENOENT);
	CHECK_TEXT(e.text, "cannot open /nowhere/x: no such file or directory");
	CHECK_EQ(file_read("/tmp", 10, &data, NULL, &e), -EISDIR);
	CHECK_TEXT(e.text, "cannot read /tmp: is a directory");
	CHECK_EQ(file_map(&m, "/nowhere/x", &e), -ENOENT);
	CHECK_EQ(file_map(&m, "/dev/null", &e), -EINVAL);
	CHECK_TEXT(e.text, "cannot map /dev/null: not a regular file");
}

/* Goal: a mapping shows the bytes; an empty file maps to nothing, safely. */
TEST(file_map__shows_the_bytes)
{
	char *path = make_file(10000), *empty = make_file(0);
	struct error e = { 0 };
	struct file_map m;

	CHECK_OK(file_map(&m, path, &e), &e);
	CHECK_EQ(m.bytes, 10000);
	for (size_t i = 0; i < m.bytes; i++)
		CHECK_EQ(m.data[i], i % 251);
	file_unmap(&m);
	file_unmap(&m);
	CHECK_OK(file_map(&m, empty, &e), &e);
	CHECK_EQ(m.bytes, 0);
	CHECK(m.data != NULL);
	file_unmap(&m);
	remove_file(path);
	remove_file(empty);
}

/* What is in a folder, less . and .. */
static int entries(const char *folder)
{
	DIR *dir = opendir(folder);
	int n = 0;

	CHECK(dir != NULL);
	while (readdir(dir))
		n++;
	closedir(dir);
	return n - 2;
}

/* Goal: a write replaces the whole file, has its permissions, leaves nothing else. */
TEST(file_write__replaces_whole_files)
{
	char folder[] = "/tmp/petals-file-test-XXXXXX", *deep, *path, *data;
	struct error e = { 0 };
	struct stat st;
	size_t bytes;

	CHECK(mkdtemp(folder) != NULL);
	deep = file_join(folder, "a/b");
	path = file_join(folder, "a/b/c");
	CHECK_EQ(file_write(path, "x", 1, 0644, &e), -ENOENT);
	CHECK_OK(file_make_folder(deep, &e), &e);
	CHECK_OK(file_make_folder(deep, &e), &e);
	CHECK_EQ(stat(deep, &st), 0);
	CHECK_EQ(st.st_mode & 0777, 0700);
	CHECK_OK(file_write(path, "first, and long", 15, 0644, &e), &e);
	CHECK_OK(file_write(path, "second", 6, 0600, &e), &e);
	CHECK_OK(file_read(path, 100, &data, &bytes, &e), &e);
	CHECK_TEXT(data, "second");
	CHECK_EQ(stat(path, &st), 0);
	CHECK_EQ(st.st_mode & 0777, 0600);
	CHECK_EQ(entries(deep), 1);
	CHECK_EQ(file_make_folder(path, &e), -EEXIST);
	mem_free(data);
#ifdef PETALS_FAULTS
	for (int nth = 1;; nth++) {
		int rc;

		fault_arm(nth);
		rc = file_write(path, "third", 5, 0600, &e);
		if (!fault_fired())
			break;
		CHECK(rc < 0);
		CHECK_EQ(entries(deep), 1);
	}
	fault_disarm();
#endif
	unlink(path);
	rmdir(deep);
	*strrchr(deep, '/') = '\0';
	rmdir(deep);
	rmdir(folder);
	mem_free(deep);
	mem_free(path);
}

/* Goal: one slash between folder and name. */
TEST(file_join__puts_one_slash)
{
	static const char *const cases[][3] = {
		{ "a", "b", "a/b" }, { "a/", "b", "a/b" }, { "", "b", "b" }, { "/", "b", "/b" },
	};

	for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
		char *path = file_join(cases[i][0], cases[i][1]);

		CHECK_TEXT(path, cases[i][2]);
		mem_free(path);
	}
	CHECK(file_exists("/tmp"));
	CHECK(!file_exists("/nowhere/x"));
}

static int open_descriptors(void)
{
	int n = 0;

	for (int fd = 0; fd < 256; fd++)
		n += lseek(fd, 0, SEEK_CUR) >= 0 || errno != EBADF;
	return n;
}

#ifdef PETALS_FAULTS
/* Goal: whatever fails, no descriptor and no block is left. */
TEST(file_read__unwinds_every_failure)
{
	uint64_t before = mem_live_blocks();
	int descriptors = open_descriptors(), nth;
	struct error e = { 0 };
	char *data;

	for (nth = 1;; nth++) {
		int rc;

		fault_arm(nth);
		rc = file_read("/proc/self/maps", 1 << 24, &data, NULL, &e);
		if (!fault_fired())
			break;
		CHECK(rc < 0 && e.code == rc && !data);
		CHECK_EQ(mem_live_blocks(), before);
		CHECK_EQ(open_descriptors(), descriptors);
	}
	fault_disarm();
	CHECK(nth > 3);
	mem_free(data);
}
#else
/* Goal: reading and mapping close what they open. */
TEST(file_read__closes)
{
	int descriptors = open_descriptors();
	char *data = NULL;

	CHECK_EQ(file_read("/proc/self/maps", 1 << 24, &data, NULL, NULL), 0);
	CHECK_EQ(open_descriptors(), descriptors);
	mem_free(data);
}
#endif
