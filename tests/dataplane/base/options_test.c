/* options_test.c - command line, config file, precedence, refusals. */
#include "tests/test.h"

#include <errno.h>
#include <unistd.h>

#include "dataplane/base/fault.h"
#include "dataplane/base/log.h"
#include "dataplane/base/memory.h"
#include "dataplane/base/options.h"

struct target {
	char *listen, *model;
	int64_t threads;
	int device;
	uint64_t lease_ns, arena_bytes;
	struct option_span blocks;
	double temperature;
	bool eager;
};

#define AT(field) offsetof(struct target, field)
static const struct option rows[] = {
	{ .kind = OPTION_HEADING, .help = "Network" },
	{ "listen", OPTION_ADDRESS, AT(listen), "127.0.0.1:7700", .help = "where to listen" },
	{ "lease", OPTION_DURATION, AT(lease_ns), "3s", 0.5, 60, .help = "how long a lease lasts" },
	{ .kind = OPTION_HEADING, .help = "Model" },
	{ "model", OPTION_TEXT, AT(model), .metavar = "PATH", .help = "the checkpoint",
	  .required = true },
	{ "blocks", OPTION_SPAN, AT(blocks), .help = "which blocks" },
	{ "device", OPTION_CHOICE, AT(device), "cpu", .choices = "cpu|cuda", .help = "where" },
	{ "threads", OPTION_INTEGER, AT(threads), "2", 1, 64, .help = "threads" },
	{ "arena", OPTION_BYTES, AT(arena_bytes), "16M", .help = "arena" },
	{ "temperature", OPTION_REAL, AT(temperature), "0.7", 0, 2, .help = "heat" },
	{ "eager", OPTION_FLAG, AT(eager), .help = "be eager" },
};
#undef AT

static const struct program program = {
	.name = "petals-test", .summary = "a test", .operands = "FILE ...",
	.options = rows, .option_count = ARRAY_LENGTH(rows), .target_bytes = sizeof(struct target),
};

enum { WORDS_MAX = 16 };

/* Parses a command line written with spaces. */
static int parse(const char *line, struct target *t, int *operands, char **argv, struct error *e)
{
	static char words[1024];
	char *rest = words, *word;
	int argc = 0;

	snprintf(words, sizeof(words), "petals-test %s", line);
	while ((word = strsep(&rest, " ")) && argc < WORDS_MAX)
		if (*word)
			argv[argc++] = word;
	memset(t, 0, sizeof(*t));
	return options_parse(&program, argc, argv, t, operands, e);
}

/* A config file with this text; unlink() it. */
static const char *config_file(const char *text)
{
	static char path[64];
	FILE *out;

	snprintf(path, sizeof(path), "/tmp/petals-options-%d.conf", (int)getpid());
	out = fopen(path, "w");
	CHECK(out != NULL);
	fputs(text, out);
	CHECK_EQ(fclose(out), 0);
	return path;
}

/* Goal: defaults fill what is not given; both spellings of a value are taken. */
TEST(options_parse__defaults_and_values)
{
	char *argv[WORDS_MAX];
	struct error e = { 0 };
	struct target t;
	int operands;

	CHECK_OK(parse("--model m --threads=8 --eager --blocks 3:9", &t, &operands, argv, &e), &e);
	CHECK_TEXT(t.listen, "127.0.0.1:7700");
	CHECK_TEXT(t.model, "m");
	CHECK_EQ(t.threads, 8);
	CHECK_EQ(t.lease_ns, 3 * NS_PER_S);
	CHECK_EQ(t.arena_bytes, 16 * MIB);
	CHECK(t.eager && t.blocks.given && t.blocks.first == 3 && t.blocks.end == 9);
	CHECK_EQ(operands, 0);
	options_release(&program, &t);
	CHECK_OK(parse("--model=a=b --eager=false --threads 3 --threads 4", &t, &operands, argv,
		       &e), &e);
	CHECK_TEXT(t.model, "a=b");
	CHECK(!t.eager && !t.blocks.given);
	CHECK_EQ(t.threads, 4);
	options_release(&program, &t);
}

/* Goal: operands come to the front in order; after -- everything is one. */
TEST(options_parse__operands)
{
	char *argv[WORDS_MAX];
	struct error e = { 0 };
	struct target t;
	int operands;

	CHECK_OK(parse("one --model m two - -- --threads 3", &t, &operands, argv, &e), &e);
	CHECK_EQ(operands, 5);
	CHECK_TEXT(argv[0], "one");
	CHECK_TEXT(argv[1], "two");
	CHECK_TEXT(argv[2], "-");
	CHECK_TEXT(argv[3], "--threads");
	CHECK_TEXT(argv[4], "3");
	CHECK_EQ(t.threads, 2);
	options_release(&program, &t);
}

/* Goal: each wrong command line is refused by a sentence that names the
 * option, the value and what is accepted; nothing stays allocated.
 */
TEST(options_parse__says_what_is_wrong)
{
	static const char *const cases[][2] = {
		{ "", "--model PATH is needed: the checkpoint" },
		{ "--model", "--model needs a value: PATH" },
		{ "--model m --thread 3", "unknown option --thread; did you mean --threads?" },
		{ "--model m --lisetn x", "unknown option --lisetn; did you mean --listen?" },
		{ "--model m --zzzzzz", "unknown option --zzzzzz; --help lists the options" },
		{ "--model m -t 3", "unknown option '-t'; options begin with --" },
		{ "--model m --threads 65",
		  "--threads: '65' is out of bounds: 1 to 64 is accepted" },
		{ "--model m --device gpu", "--device: 'gpu' is none of cpu|cuda" },
		{ "--model m --lease 61s",
		  "--lease: '61s' is out of bounds: 500ms to 1m is accepted" },
		{ "--model m --listen x",
		  "--listen: 'x' is not HOST:PORT: the port is missing "
		  "(such as 10.0.0.1:7700, [::1]:7700 or host:7700)" },
		{ "--model m --eager=perhaps", "--eager: 'perhaps' is neither true nor false" },
		{ "--config /nowhere/x --model m",
		  "--config: cannot open /nowhere/x: no such file or directory" },
	};
	uint64_t before = mem_live_blocks();

	for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
		char *argv[WORDS_MAX];
		struct error e = { 0 };
		struct target t;
		int operands;

		CHECK(parse(cases[i][0], &t, &operands, argv, &e) < 0);
		CHECK_TEXT(e.text, cases[i][1]);
		CHECK_EQ(mem_live_blocks(), before);
	}
}

/* Goal: a program without operands refuses one. */
TEST(options_parse__unexpected_operand)
{
	const struct program bare = { .name = "bare", .summary = "s", .target_bytes = 1 };
	char *argv[] = { "bare", "what" };
	struct error e = { 0 };
	char target[1] = { 0 };

	CHECK_EQ(options_parse(&bare, 2, argv, target, NULL, &e), -EINVAL);
	CHECK_TEXT(e.text, "unexpected argument 'what'");
}

/* Goal: the file wins over defaults and the command line over the file,
 * wherever --config stands; comments and quotes are understood.
 */
TEST(options_parse__config_file)
{
	const char *path = config_file("# a comment\n"
				       "\n"
				       "threads = 5   # trailing\n"
				       "model=a#b\n"
				       "  eager = true\r\n"
				       "listen = \"[::1]:80\" # quoted\n"
				       "temperature = 0.25\n"
				       "log-level = warn\n"
				       "device = cuda");
	char line[128], *argv[WORDS_MAX];
	struct error e = { 0 };
	struct target t;
	int operands;

	snprintf(line, sizeof(line), "--threads 7 --config %s --temperature=1", path);
	CHECK_OK(parse(line, &t, &operands, argv, &e), &e);
	CHECK_EQ(t.threads, 7);
	CHECK_TEXT(t.model, "a#b");
	CHECK(t.eager);
	CHECK_TEXT(t.listen, "[::1]:80");
	CHECK_NEAR(t.temperature, 1, 0);
	CHECK_EQ(t.device, 1);
	CHECK_EQ(log_least(), LOG_WARN);
	options_release(&program, &t);
	snprintf(line, sizeof(line), "--log-level error --config %s", path);
	CHECK_OK(parse(line, &t, &operands, argv, &e), &e);
	CHECK_EQ(log_least(), LOG_ERROR);
	options_release(&program, &t);
	unlink(path);
	log_configure(LOG_INFO, false);
}

/* Goal: a wrong line is named by file and number. */
TEST(options_parse__config_file_says_what_is_wrong)
{
	static const char *const cases[][2] = {
		{ "threads = 5\nthreads\n", ":2: 'threads' is not \"name = value\"" },
		{ "thread = 5\n", ":1: unknown option thread; did you mean threads?" },
		{ "\n\nthreads = many\n", ":3: threads: 'many' is not a whole number" },
		{ "threads = 1\nthreads = 2\n", ":2: threads is given twice" },
		{ "config = x\n", ":1: config belongs on the command line" },
		{ "model = \"x\n", ":1: model: the closing quote is missing" },
		{ "model = \"x\" y\n", ":1: model: 'y' follows the closing quote" },
	};

	for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
		const char *path = config_file(cases[i][0]);
		char line[128], *argv[WORDS_MAX];
		struct error e = { 0 };
		struct target t;
		int operands;

		snprintf(line, sizeof(line), "--model m --config %s", path);
		CHECK_EQ(parse(line, &t, &operands, argv, &e), -EINVAL);
		CHECK(strncmp(e.text, path, strlen(path)) == 0);
		CHECK_TEXT(e.text + strlen(path), cases[i][1]);
		unlink(path);
	}
}

/* Goal: a dump read as a config file gives the same values. */
TEST(options_dump__reads_back)
{
	static const char wanted[] =
		"# Network\nlisten = 127.0.0.1:7700\nlease = 1500ms\n\n# Model\n";
	char line[128], *argv[WORDS_MAX], text[4096];
	struct error e = { 0 };
	struct target a, b;
	int operands;
	size_t n;
	FILE *dump = tmpfile();

	CHECK(dump != NULL);
	CHECK_OK(parse("--model m#1 --temperature 0.1 --lease 1500ms --blocks 1:2", &a, &operands,
		       argv, &e), &e);
	mem_free(a.model);
	a.model = mem_strdup(" odd # \"path\"\t\\");
	options_dump(&program, &a, dump);
	rewind(dump);
	n = fread(text, 1, sizeof(text) - 1, dump);
	fclose(dump);
	text[n] = '\0';
	CHECK(strncmp(text, wanted, sizeof(wanted) - 1) == 0);
	snprintf(line, sizeof(line), "--config %s", config_file(text));
	CHECK_OK(parse(line, &b, &operands, argv, &e), &e);
	CHECK_TEXT(a.model, b.model);
	CHECK_TEXT(a.listen, b.listen);
	CHECK_EQ(a.lease_ns, b.lease_ns);
	CHECK_EQ(a.arena_bytes, b.arena_bytes);
	CHECK(a.temperature == b.temperature);
	CHECK_BYTES(&a.blocks, &b.blocks, sizeof(a.blocks));
	options_release(&program, &a);
	options_release(&program, &b);
	unlink(line + sizeof("--config ") - 1);
}

#ifdef PETALS_FAULTS
/* Goal: whichever call fails, the error is told and all is given back. */
TEST(options_parse__unwinds_every_failure)
{
	uint64_t before = mem_live_blocks();
	char line[128], *argv[WORDS_MAX];
	struct error e = { 0 };
	struct target t;
	int operands, nth;

	snprintf(line, sizeof(line), "--model m --config %s x", config_file("threads = 3\n"));
	for (nth = 1;; nth++) {
		int rc;

		fault_arm(nth);
		rc = parse(line, &t, &operands, argv, &e);
		if (!fault_fired())
			break;
		fault_disarm();
		CHECK(rc < 0 && e.code == rc);
		CHECK_EQ(mem_live_blocks(), before);
	}
	fault_disarm();
	CHECK(nth > 6);
	options_release(&program, &t);
	unlink(strstr(line, "/tmp"));
}
#endif
