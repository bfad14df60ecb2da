/* options_text_test.c - help and man page say what the table says. */
#include "tests/test.h"

#include <stdlib.h>

#include "dataplane/base/options.h"

struct target {
	char *listen;
	int64_t pages;
	int device;
	bool eager;
};

#define AT(field) offsetof(struct target, field)
static const struct option rows[] = {
	{ .kind = OPTION_HEADING, .help = "Network" },
	{ "listen", OPTION_ADDRESS, AT(listen), .help = "where peers connect", .required = true },
	{ .kind = OPTION_HEADING, .help = "Memory" },
	{ "kv-pages", OPTION_INTEGER, AT(pages), "512", 1, 65536,
	  .help = "pages of the KV cache, which are shared by every session that this "
		  "server holds" },
	{ "a-very-long-option-name-for-a-device", OPTION_CHOICE, AT(device), "cpu",
	  .choices = "cpu|cuda", .help = "where to compute" },
	{ "eager", OPTION_FLAG, AT(eager), .help = "be eager" },
};
#undef AT

static const char *const examples[] = { "petals-test --listen 127.0.0.1:1", NULL };

static const struct program program = {
	.name = "petals-test", .summary = "shows texts",
	.description = "One paragraph, long enough that it has to be broken over two lines or more "
		       "of a terminal.\n\nAnother one.\n.dot at the start of a line",
	.operands = "FILE ...", .options = rows, .option_count = ARRAY_LENGTH(rows),
	.target_bytes = sizeof(struct target), .examples = examples,
};

/* What a function prints about a program. */
static char *printed(void (*print)(const struct program *p, FILE *out), const struct program *p)
{
	static char text[1 << 14];
	FILE *out = fmemopen(text, sizeof(text), "w");

	CHECK(out != NULL);
	print(p, out);
	fclose(out);
	return text;
}

/* Goal: the whole help, to the last column. */
TEST(options_help__is_grouped_and_aligned)
{
	static const char wanted[] =
		"petals-test - shows texts\n"
		"\n"
		"Usage: petals-test --listen HOST:PORT [OPTION...] FILE ...\n"
		"\n"
		"One paragraph, long enough that it has to be broken over two lines or more of a\n"
		"terminal.\n"
		"\n"
		"Another one. .dot at the start of a line\n"
		"\n"
		"Network\n"
		"  --listen HOST:PORT  where peers connect (required)\n"
		"\n"
		"Memory\n"
		"  --kv-pages N        pages of the KV cache, which are shared by every session\n"
		"                      that this server holds (1 to 65536, default 512)\n"
		"  --a-very-long-option-name-for-a-device cpu|cuda\n"
		"                      where to compute (default cpu)\n"
		"  --eager             be eager\n"
		"\n"
		"Common options\n"
		"  --help              show this help\n";

	CHECK(strncmp(printed(options_help, &program), wanted, sizeof(wanted) - 1) == 0);
}

/* Goal: no line of help fills a terminal's 80th column, however the words
 * fall, and each line takes what fits.
 */
TEST(options_help__fits_80_columns)
{
	for (size_t first = 1; first < 60; first++) {
		struct program p = program;
		char description[400], *rest, *line;
		size_t longest = 0;

		memset(description, 'w', first);
		for (size_t i = first; i < sizeof(description) - 1; i++)
			description[i] = (i - first) % 4 ? 'x' : ' ';
		description[sizeof(description) - 1] = '\0';
		p.description = description;
		rest = printed(options_help, &p);
		while ((line = strsep(&rest, "\n"))) {
			CHECK(strlen(line) < 80);
			longest = MAX(longest, strlen(line));
		}
		CHECK(longest > 75);
	}
}

/* Goal: a program with verbs lists them, and the two it has by itself. */
TEST(options_help__lists_verbs)
{
	static const struct program up = { .name = "up", .summary = "run a swarm" };
	static const struct program *const verbs[] = { &up };
	const struct program many = { .name = "petalsctl", .summary = "operate", .verbs = verbs,
				      .verb_count = 1 };
	const char *text = printed(options_help, &many);

	CHECK(strstr(text, "Usage: petalsctl COMMAND [OPTION...]\n") != NULL);
	CHECK(strstr(text, "  up       run a swarm\n  help     show") != NULL);
	CHECK(strstr(text, "  version  print the version\n") != NULL);
	text = printed(options_man, &many);
	CHECK(strstr(text, ".SH COMMANDS\n.SS petalsctl up [OPTION...]\nrun a swarm.\n") != NULL);
}

/* Goal: the man page has its sections and every option, and roff reads none
 * of our characters as its own.
 */
TEST(options_man__is_roff)
{
	static const char *const wanted[] = {
		".TH PETALS-TEST 1 ", ".SH NAME\npetals\\-test \\- shows texts\n",
		".SH SYNOPSIS\npetals\\-test \\-\\-listen HOST:PORT", ".SH DESCRIPTION\n.PP\nOne",
		"\n\\&.dot at", ".SS Network\n", ".TP\n\\fB\\-\\-kv\\-pages\\fR \\fIN\\fR\n",
		"(1 to 65536, default 512).\n", ".SH EXAMPLES\n", ".SH EXIT STATUS\n",
		"\\fB\\-\\-dump\\-options\\fR",
	};
	const char *text = printed(options_man, &program);

	for (size_t i = 0; i < ARRAY_LENGTH(wanted); i++)
		if (!strstr(text, wanted[i]))
			fail_msg("'%s' is missing in\n%s", wanted[i], text);
}

/* Goal: a man page reader has nothing to complain about. */
TEST(options_man__is_clean_under_groff)
{
	FILE *groff;

	if (system("command -v groff >/dev/null 2>&1") != 0)
		SKIP("groff is not installed");
	groff = popen("groff -man -Tascii -ww -z 2>&1 | grep . && exit 1 || exit 0", "w");
	CHECK(groff != NULL);
	options_man(&program, groff);
	CHECK_EQ(pclose(groff), 0);
}
