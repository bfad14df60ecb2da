/* main.c - runs the tests that a file registered, and finds their data.
 *
 *	thing_test [--list] [--seed N] [NAME...]
 *
 * A NAME runs the tests whose names begin with it.  Exit status 0 when all
 * passed or were skipped, 1 when one failed, 2 on a bad command line.
 */
#include "tests/test.h"

#include <limits.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SEED_DEFAULT = 1, PATHS_MAX = 64, TESTS_MAX = 512 };

/* The linker puts these around the section that TEST() fills. */
extern const struct test_case __start_petals_tests[];
extern const struct test_case __stop_petals_tests[];

static uint64_t seed = SEED_DEFAULT;

uint64_t test_seed(void)
{
	return seed;
}

/* "dir/name"; out has PATH_MAX bytes. */
static void join(char *out, const char *dir, const char *name)
{
	if (snprintf(out, PATH_MAX, "%s/%s", dir, name) < PATH_MAX)
		return;
	fprintf(stderr, "the path %s/%s is too long\n", dir, name);
	exit(2);
}

static bool is_root(const char *dir)
{
	char probe[PATH_MAX];

	join(probe, dir, "tests/test.h");
	return access(probe, R_OK) == 0;
}

/* Shortens path to its nearest parent that is the repository's root. */
static bool climb(char *path)
{
	while (path[0] && !is_root(path)) {
		char *slash = strrchr(path, '/');

		if (!slash)
			return false;
		*slash = '\0';
	}
	return path[0] != '\0';
}

/* Where the sources were when this was built; else above the program, else
 * above the working directory.
 */
static const char *root(void)
{
	static char found[PATH_MAX];

	if (found[0])
		return found;
	snprintf(found, sizeof(found), "%s", PETALS_ROOT);
	if (is_root(found))
		return found;
	memset(found, 0, sizeof(found));
	if (readlink("/proc/self/exe", found, sizeof(found) - 1) > 0 && climb(found))
		return found;
	if (getcwd(found, sizeof(found)) && climb(found))
		return found;
	fprintf(stderr, "cannot find the sources this test was built from; looked in %s and above "
			"the program and the working directory\n", PETALS_ROOT);
	exit(2);
}

/* Paths live as long as the program: tests keep several at a time. */
static const char *keep(const char *dir, const char *name)
{
	static char paths[PATHS_MAX][PATH_MAX];
	static unsigned used;
	char *path = paths[used++ % PATHS_MAX];

	join(path, dir, name);
	return path;
}

const char *test_shared(const char *name)
{
	const char *dir = getenv("PETALS_SHARED");
	char beside[PATH_MAX], real[PATH_MAX];
	struct stat st;

	if (!dir || !*dir) {
		join(beside, root(), "../shared");
		dir = beside;
	}
	if (!realpath(dir, real) || stat(real, &st) < 0 || !S_ISDIR(st.st_mode))
		return NULL;
	return keep(real, name);
}

const char *test_data(const char *name)
{
	char dir[PATH_MAX];

	join(dir, root(), "tests/data");
	return keep(dir, name);
}

static bool wanted(const struct test_case *t, int count, char **names)
{
	for (int i = 0; i < count; i++)
		if (strncmp(t->name, names[i], strlen(names[i])) == 0)
			return true;
	return count == 0;
}

static int run(const char *group, int count, char **names)
{
	static struct CMUnitTest tests[TESTS_MAX];
	size_t chosen = 0;
	int failed;

	assert(__stop_petals_tests - __start_petals_tests <= TESTS_MAX);
	for (const struct test_case *t = __start_petals_tests; t < __stop_petals_tests; t++)
		if (wanted(t, count, names))
			tests[chosen++] = (struct CMUnitTest){ t->name, t->run, NULL, NULL, NULL };
	if (chosen == 0) {
		fprintf(stderr, "%s: no such test; --list shows them\n", group);
		return 2;
	}
	failed = _cmocka_run_group_tests(group, tests, chosen, NULL, NULL);
	if (failed)
		printf("# seed %ju; again: %s --seed %ju NAME\n", (uintmax_t)seed, group,
		       (uintmax_t)seed);
	return failed ? 1 : 0;
}

static void list(void)
{
	for (const struct test_case *t = __start_petals_tests; t < __stop_petals_tests; t++)
		puts(t->name);
}

int main(int argc, char **argv)
{
	const char *slash = strrchr(argv[0], '/'), *group = slash ? slash + 1 : argv[0];
	int first = 1;
	char *end;

	/* A test that crashes must have its name on record. */
	setvbuf(stdout, NULL, _IOLBF, 0);
	for (; first < argc && argv[first][0] == '-'; first++) {
		if (strcmp(argv[first], "--list") == 0) {
			list();
			return 0;
		}
		if (strcmp(argv[first], "--seed") == 0 && first + 1 < argc) {
			seed = strtoull(argv[++first], &end, 0);
			if (*argv[first] && !*end)
				continue;
		}
		fprintf(stderr, "usage: %s [--list] [--seed N] [NAME...]\n", group);
		return 2;
	}
	return run(group, argc - first, argv + first);
}
