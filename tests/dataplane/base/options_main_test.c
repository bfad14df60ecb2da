/* options_main_test.c - verbs, messages and exit statuses of a main(). */
#include "tests/test.h"

#include <unistd.h>

#include "dataplane/base/memory.h"
#include "dataplane/base/options.h"
#include "dataplane/base/options_parts.h"

struct target {
	int64_t servers;
	char *name;
};

static struct {
	int64_t servers;
	int operand_count;
	char first[32];
	int status;
} seen;

static int run(void *target, int operand_count, char **operands)
{
	const struct target *t = target;

	seen.servers = t->servers;
	seen.operand_count = operand_count;
	snprintf(seen.first, sizeof(seen.first), "%s", operand_count ? operands[0] : "");
	return seen.status;
}

static const struct option rows[] = {
	{ "servers", OPTION_INTEGER, offsetof(struct target, servers), "3", .help = "how many" },
	{ "name", OPTION_TEXT, offsetof(struct target, name), "x", .help = "a name" },
};
static const struct program up = {
	.name = "up", .summary = "run a swarm", .operands = "[-- FLAGS]", .options = rows,
	.option_count = ARRAY_LENGTH(rows), .target_bytes = sizeof(struct target), .run = run,
};
static const struct program status = {
	.name = "status", .summary = "show the swarm", .target_bytes = sizeof(struct target),
	.run = run,
};
static const struct program ca_init = {
	.name = "ca init", .summary = "make a CA", .options = rows,
	.option_count = ARRAY_LENGTH(rows), .target_bytes = sizeof(struct target), .run = run,
};
static const struct program ca_show = {
	.name = "ca show", .summary = "show a CA", .operands = "[NAME]",
	.target_bytes = sizeof(struct target), .run = run,
};
static const struct program *const verbs[] = { &up, &status, &ca_init, &ca_show };
static const struct program petalsctl = {
	.name = "petalsctl", .summary = "operate a swarm", .verbs = verbs, .verb_count = 4,
};

struct streams {
	int kept[2];
	FILE *files[2];
	char out[8192], err[2048];
};

static void redirect(struct streams *s)
{
	fflush(stdout);
	for (int i = 0; i < 2; i++) {
		s->kept[i] = dup(i + 1);
		s->files[i] = tmpfile();
		CHECK(s->files[i] != NULL);
		dup2(fileno(s->files[i]), i + 1);
	}
}

static void restore(struct streams *s)
{
	char *texts[] = { s->out, s->err };
	size_t sizes[] = { sizeof(s->out), sizeof(s->err) };

	fflush(stdout);
	for (int i = 0; i < 2; i++) {
		size_t n;

		dup2(s->kept[i], i + 1);
		close(s->kept[i]);
		rewind(s->files[i]);
		n = fread(texts[i], 1, sizes[i] - 1, s->files[i]);
		texts[i][n] = '\0';
		fclose(s->files[i]);
	}
}

/* Runs a command line written with spaces; its texts are in s. */
static int main_of(const struct program *p, const char *line, struct streams *s)
{
	char words[256], *rest = words, *word, *argv[16];
	int argc = 0, rc;

	snprintf(words, sizeof(words), "%s", line);
	while ((word = strsep(&rest, " ")))
		argv[argc++] = word;
	argv[argc] = NULL;
	redirect(s);
	rc = options_main(p, argc, argv);
	restore(s);
	return rc;
}

/* Goal: a verb gets its options and operands, its status is the exit status,
 * and nothing stays allocated.
 */
TEST(options_main__runs_the_verb)
{
	uint64_t before = mem_live_blocks();
	static struct streams s;

	seen.status = 0;
	CHECK_EQ(main_of(&petalsctl, "petalsctl up --servers 5 -- --flag", &s), 0);
	CHECK_EQ(seen.servers, 5);
	CHECK_EQ(seen.operand_count, 1);
	CHECK_TEXT(seen.first, "--flag");
	seen.status = 3;
	CHECK_EQ(main_of(&petalsctl, "petalsctl status", &s), 3);
	seen.status = -5;
	CHECK_EQ(main_of(&petalsctl, "petalsctl status", &s), 1);
	seen.status = 0;
	CHECK_EQ(main_of(&up, "up --servers 9", &s), 0);
	CHECK_EQ(seen.servers, 9);
	/* ... also one of two words. */
	CHECK_EQ(main_of(&petalsctl, "petalsctl ca init --servers 7", &s), 0);
	CHECK_EQ(seen.servers, 7);
	CHECK_EQ(main_of(&petalsctl, "petalsctl ca show init", &s), 0);
	CHECK_TEXT(seen.first, "init");
	CHECK_EQ(mem_live_blocks(), before);
}

/* Goal: what is wrong is said on stderr under the name people typed; exit 2. */
TEST(options_main__complains)
{
	static const char *const cases[][2] = {
		{ "petalsctl statsu",
		  "petalsctl: unknown command 'statsu'; did you mean status?\n" },
		{ "petalsctl hlep", "petalsctl: unknown command 'hlep'; did you mean help?\n" },
		{ "petalsctl frobnicate",
		  "petalsctl: unknown command 'frobnicate'; 'petalsctl help' lists them\n" },
		{ "petalsctl --servers 3",
		  "petalsctl: options such as '--servers' follow the command\n" },
		{ "petalsctl up --severs 3",
		  "petalsctl up: unknown option --severs; did you mean --servers?\n" },
		{ "petalsctl status now", "petalsctl status: unexpected argument 'now'\n" },
		{ "petalsctl ca", "petalsctl: 'ca' wants one of init, show\n" },
		{ "petalsctl ca inti", "petalsctl: 'ca' wants one of init, show, not 'inti'\n" },
		{ "petalsctl help ca", "petalsctl: 'ca' wants one of init, show\n" },
		{ "petalsctl ca init --severs 3",
		  "petalsctl ca init: unknown option --severs; did you mean --servers?\n" },
		{ "petalsctl help statsu",
		  "petalsctl: unknown command 'statsu'; did you mean status?\n" },
	};
	static struct streams s;

	for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
		CHECK_EQ(main_of(&petalsctl, cases[i][0], &s), 2);
		CHECK_TEXT(s.err, cases[i][1]);
		CHECK_TEXT(s.out, "");
	}
	CHECK_EQ(main_of(&petalsctl, "petalsctl", &s), 2);
	CHECK(strncmp(s.err, "petalsctl - operate a swarm\n", 28) == 0);
}

/* Goal: help, version, man and dump answer on stdout with exit 0, and the
 * verb does not run.
 */
TEST(options_main__answers)
{
	static const char *const cases[][2] = {
		{ "petalsctl help", "petalsctl - operate a swarm\n" },
		{ "petalsctl --help", "petalsctl - operate a swarm\n" },
		{ "petalsctl -h", "petalsctl - operate a swarm\n" },
		{ "petalsctl help up", "petalsctl up - run a swarm\n\nUsage: petalsctl up "
				       "[OPTION...] [-- FLAGS]\n" },
		{ "petalsctl up --help", "petalsctl up - run a swarm\n\nUsage: petalsctl up" },
		{ "petalsctl up -h", "petalsctl up - run a swarm\n" },
		{ "petalsctl help ca show", "petalsctl ca show - show a CA\n\nUsage: petalsctl ca "
					    "show [OPTION...] [NAME]\n" },
		{ "petalsctl ca init -h", "petalsctl ca init - make a CA\n" },
		{ "petalsctl ca init --man", ".TH PETALSCTL-CA-INIT 1 " },
		{ "petalsctl version", "petalsctl " PETALS_VERSION "\n" },
		{ "petalsctl --version", "petalsctl " PETALS_VERSION "\n" },
		{ "petalsctl up --version", "petalsctl " PETALS_VERSION "\n" },
		{ "petalsctl --man", ".TH PETALSCTL 1 " },
		{ "petalsctl up --man", ".TH PETALSCTL-UP 1 " },
		{ "petalsctl up --servers 4 --dump-options", "servers = 4\nname = x\n\n"
							     "# Common options\nlog-level = "
							     "info\nlog-json = false\n" },
	};
	static struct streams s;

	seen.servers = -1;
	for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
		CHECK_EQ(main_of(&petalsctl, cases[i][0], &s), 0);
		if (strncmp(s.out, cases[i][1], strlen(cases[i][1])) != 0)
			fail_msg("%s: %s", cases[i][0], s.out);
		CHECK_TEXT(s.err, "");
	}
	CHECK_EQ(seen.servers, -1);
}

/* Goal: the nearest name wins; what is nothing like any gets no suggestion. */
TEST(nearest_consider__prefers_the_nearest)
{
	struct nearest n = { 0 };

	nearest_consider(&n, "lissten", 7, "list");
	nearest_consider(&n, "lissten", 7, "listen");
	nearest_consider(&n, "lissten", 7, "lessen");
	CHECK_TEXT(n.name, "listen");
	n = (struct nearest){ 0 };
	nearest_consider(&n, "qq", 2, "up");
	nearest_consider(&n, "", 0, "x");
	CHECK(!n.name);
}
