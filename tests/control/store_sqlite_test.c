/* store_sqlite_test.c - what was written is there again; what cannot be is refused. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <sqlite3.h>

#include "control/store.h"
#include "dataplane/base/fault.h"
#include "dataplane/base/memory.h"
#include "tests/test.h"

enum { PATH_BYTES = 128 };

struct folder {
	char dir[PATH_BYTES], file[PATH_BYTES + 16];
};

static struct folder folder_open(void)
{
	struct folder f = { .dir = "/tmp/petals-store-XXXXXX" };

	assert(mkdtemp(f.dir));
	snprintf(f.file, sizeof(f.file), "%s/directory.db", f.dir);
	return f;
}

static void folder_close(struct folder *f)
{
	char path[PATH_BYTES + 32];
	const char *const ends[] = { "", "-wal", "-shm", "-journal" };

	for (size_t i = 0; i < ARRAY_LENGTH(ends); i++) {
		snprintf(path, sizeof(path), "%s%s", f->file, ends[i]);
		unlink(path);
	}
	rmdir(f->dir);
}

static struct member member(uint64_t id)
{
	struct member m = {
		.id = id, .name = "host", .kind = "cpu-f32", .model = "tiny", .fingerprint = 3,
		.blocks = 32, .first = 4, .end = 12, .state = MEMBER_SERVING, .version = "1",
	};

	snprintf(m.address.text, sizeof(m.address.text), "127.0.0.1:7701");
	return m;
}

static void execute(const char *file, const char *sql)
{
	sqlite3 *db;

	CHECK_EQ(sqlite3_open(file, &db), SQLITE_OK);
	CHECK_EQ(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(db);
}

static void write_file(const char *file, const char *bytes, size_t count)
{
	FILE *f = fopen(file, "wb");

	CHECK(f && fwrite(bytes, 1, count, f) == count);
	CHECK_EQ(fclose(f), 0);
}

/* Goal: members and epoch outlive the program. */
TEST(store_sqlite__outlives_the_program)
{
	struct folder f = folder_open();
	struct member m = member(0xfedcba9876543210ull), other = member(2);
	struct store *s;
	struct view *v;
	struct error e;

	CHECK_EQ(view_open(&v), 0);
	CHECK_OK(store_sqlite.open(&s, f.file, &e), &e);
	CHECK_OK(store_sqlite.load(s, v, &e), &e);
	CHECK_EQ(v->count, 0);
	CHECK_EQ(v->epoch, 0);
	CHECK_OK(store_sqlite.put(s, &m, &e), &e);
	CHECK_OK(store_sqlite.put(s, &other, &e), &e);
	m.first = 8;
	CHECK_OK(store_sqlite.put(s, &m, &e), &e);
	CHECK_OK(store_sqlite.remove(s, 2, &e), &e);
	CHECK_OK(store_sqlite.remove(s, 99, &e), &e);
	CHECK_OK(store_sqlite.set_epoch(s, 41, &e), &e);
	CHECK_OK(store_sqlite.set_epoch(s, 42, &e), &e);
	store_sqlite.close(s);
	CHECK_OK(store_sqlite.open(&s, f.file, &e), &e);
	CHECK_OK(store_sqlite.load(s, v, &e), &e);
	CHECK_EQ(v->epoch, 42);
	CHECK_EQ(v->count, 1);
	CHECK_BYTES(&v->members[0], &m, sizeof(m));
	store_sqlite.close(s);
	view_close(v);
	folder_close(&f);
}

/* Goal: what was answered is in the file even if the program is killed. */
TEST(store_sqlite__outlives_a_kill)
{
	struct folder f = folder_open();
	struct store *s;
	struct view *v;
	struct error e;
	pid_t pid = fork();
	int status;

	if (!pid) {
		struct member m = member(7);

		if (store_sqlite.open(&s, f.file, NULL) || store_sqlite.put(s, &m, NULL) ||
		    store_sqlite.set_epoch(s, 5, NULL))
			_exit(1);
		kill(getpid(), SIGKILL);
	}
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	CHECK(WIFSIGNALED(status));
	CHECK_EQ(view_open(&v), 0);
	CHECK_OK(store_sqlite.open(&s, f.file, &e), &e);
	CHECK_OK(store_sqlite.load(s, v, &e), &e);
	CHECK_EQ(v->count, 1);
	CHECK_EQ(v->epoch, 5);
	store_sqlite.close(s);
	view_close(v);
	folder_close(&f);
}

/* Goal: two directories never share a file. */
TEST(store_sqlite__one_writer)
{
	struct folder f = folder_open();
	struct store *s, *second;
	struct error e;

	CHECK_OK(store_sqlite.open(&s, f.file, &e), &e);
	CHECK_EQ(store_sqlite.open(&second, f.file, &e), -EBUSY);
	CHECK(strstr(e.text, f.file) && strstr(e.text, "another directory has it open"));
	store_sqlite.close(s);
	CHECK_OK(store_sqlite.open(&s, f.file, &e), &e);
	store_sqlite.close(s);
	folder_close(&f);
}

/* Goal: whatever else the file is, a sentence names it and says what to do. */
TEST(store_sqlite__refuses_other_files)
{
	struct folder f = folder_open();
	struct store *s;
	struct error e;

	write_file(f.file, "this is a letter, and it is long enough to be read by someone", 62);
	CHECK_EQ(store_sqlite.open(&s, f.file, &e), -EINVAL);
	CHECK(strstr(e.text, f.file) && strstr(e.text, "give another file name"));
	CHECK_EQ(unlink(f.file), 0);

	execute(f.file, "CREATE TABLE letters(a)");
	CHECK_EQ(store_sqlite.open(&s, f.file, &e), -EINVAL);
	CHECK(strstr(e.text, f.file) && strstr(e.text, "another program"));
	CHECK_EQ(unlink(f.file), 0);

	CHECK_EQ(store_sqlite.open(&s, "/nonexistent/folder/x.db", &e), -EIO);
	CHECK(strstr(e.text, "/nonexistent/folder/x.db") && strstr(e.text, "its folder"));
	CHECK(s == NULL);
	folder_close(&f);
}

/* Goal: a file of a later version is left alone. */
TEST(store_sqlite__refuses_later_versions)
{
	struct folder f = folder_open();
	struct store *s;
	struct error e;

	CHECK_OK(store_sqlite.open(&s, f.file, &e), &e);
	store_sqlite.close(s);
	execute(f.file, "PRAGMA user_version = 2");
	CHECK_EQ(store_sqlite.open(&s, f.file, &e), -ENOTSUP);
	CHECK(strstr(e.text, f.file) && strstr(e.text, "schema version 2"));
	folder_close(&f);
}

/* Goal: a damaged file is refused with what to do, wherever the damage is. */
TEST(store_sqlite__refuses_damage)
{
	struct folder f = folder_open();
	struct store *s;
	struct view *v;
	struct error e;
	struct stat st;
	char *bytes;
	FILE *file;

	CHECK_EQ(view_open(&v), 0);
	CHECK_OK(store_sqlite.open(&s, f.file, &e), &e);
	for (uint64_t id = 1; id <= 100; id++) {
		struct member m = member(id);

		CHECK_OK(store_sqlite.put(s, &m, &e), &e);
	}
	store_sqlite.close(s);
	CHECK_EQ(stat(f.file, &st), 0);
	bytes = mem_alloc((size_t)st.st_size);
	file = fopen(f.file, "rb");
	CHECK(file && fread(bytes, 1, (size_t)st.st_size, file) == (size_t)st.st_size);
	fclose(file);
	/* Every page of the tree but the first, whose header says whose file it is. */
	memset(bytes + 4096, 0x5a, (size_t)st.st_size - 4096);
	write_file(f.file, bytes, (size_t)st.st_size);
	CHECK_EQ(store_sqlite.open(&s, f.file, &e), -EINVAL);
	CHECK(strstr(e.text, f.file) && strstr(e.text, "move it away"));
	CHECK_EQ(truncate(f.file, 5000), 0);
	CHECK_EQ(store_sqlite.open(&s, f.file, &e), -EINVAL);
	CHECK(strstr(e.text, f.file));
	CHECK_EQ(unlink(f.file), 0);

	CHECK_OK(store_sqlite.open(&s, f.file, &e), &e);
	store_sqlite.close(s);
	execute(f.file, "INSERT INTO members VALUES('1', '{\"id\": 3}')");
	CHECK_OK(store_sqlite.open(&s, f.file, &e), &e);
	CHECK_EQ(store_sqlite.load(s, v, &e), -EINVAL);
	CHECK(strstr(e.text, f.file) && strstr(e.text, "member.id") && strstr(e.text, "move it"));
	store_sqlite.close(s);
	mem_free(bytes);
	view_close(v);
	folder_close(&f);
}

/* Goal: a full disk refuses what is asked then, and nothing before or after. */
TEST(store_sqlite__full_disk)
{
	struct rlimit before, small;
	struct folder f = folder_open();
	struct store *s;
	struct view *v;
	struct error e;
	uint32_t good = 0;
	uint64_t id;
	int rc;

	CHECK_EQ(view_open(&v), 0);
	CHECK_OK(store_sqlite.open(&s, f.file, &e), &e);
	signal(SIGXFSZ, SIG_IGN);
	CHECK_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
	small = (struct rlimit){ 200000, before.rlim_max };
	CHECK_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
	for (id = 1, rc = 0; rc == 0 && id < 1000; id++) {
		struct member m = member(id);

		rc = store_sqlite.put(s, &m, &e);
		good += rc == 0;
	}
	CHECK_EQ(setrlimit(RLIMIT_FSIZE, &before), 0);
	CHECK(rc == -ENOSPC || rc == -EIO);
	CHECK(strstr(e.text, f.file) && strstr(e.text, "disk"));
	CHECK_OK(store_sqlite.load(s, v, &e), &e);
	CHECK_EQ(v->count, good);
	CHECK_OK(store_sqlite.set_epoch(s, 9, &e), &e);
	store_sqlite.close(s);
	CHECK_OK(store_sqlite.open(&s, f.file, &e), &e);
	CHECK_OK(store_sqlite.load(s, v, &e), &e);
	CHECK_EQ(v->count, good);
	CHECK_EQ(v->epoch, 9);
	store_sqlite.close(s);
	view_close(v);
	folder_close(&f);
}

#ifdef PETALS_FAULTS
/* Goal: whichever call fails, opening and writing give everything back. */
TEST(store_sqlite__unwinds_every_failure)
{
	uint64_t live = mem_live_blocks();
	struct member m = member(7);
	struct store *s;
	struct error e;
	int nth, rc;

	for (nth = 1;; nth++) {
		fault_arm(nth);
		rc = store_sqlite.open(&s, ":memory:", &e);
		if (rc == 0) {
			rc = store_sqlite.put(s, &m, &e);
			if (rc == 0)
				rc = store_sqlite.remove(s, 7, &e);
			store_sqlite.close(s);
		}
		CHECK_EQ(mem_live_blocks(), live);
		if (!fault_fired())
			break;
		CHECK(rc < 0);
	}
	fault_disarm();
	CHECK_EQ(rc, 0);
	CHECK(nth > 4);
}
#endif
