/* options_main.c - a program's main(): verbs, messages, exit statuses, and the
 * nearest name for one that was mistyped.
 */
#include <errno.h>
#include <string.h>

#include "dataplane/base/memory.h"
#include "dataplane/base/options_parts.h"

enum { NAME_BYTES_MAX = 64 };

/* Edits (insert, delete, replace) from one name to the other. */
static size_t distance(const char *a, size_t a_length, const char *b)
{
	size_t b_length = strlen(b), cost[NAME_BYTES_MAX + 1];

	if (a_length > NAME_BYTES_MAX || b_length > NAME_BYTES_MAX)
		return NAME_BYTES_MAX;
	for (size_t j = 0; j <= b_length; j++)
		cost[j] = j;
	for (size_t i = 1; i <= a_length; i++) {
		size_t diagonal = cost[0];

		cost[0] = i;
		for (size_t j = 1; j <= b_length; j++) {
			size_t replaced = diagonal + (a[i - 1] != b[j - 1]);

			diagonal = cost[j];
			cost[j] = MIN(replaced, MIN(cost[j - 1], cost[j]) + 1);
		}
	}
	return cost[b_length];
}

void nearest_consider(struct nearest *n, const char *typed, size_t length,
		      const char *candidate)
{
	size_t d = distance(typed, length, candidate);

	if (d <= 1 + length / 4 && d < strlen(candidate) && (!n->name || d < n->distance))
		*n = (struct nearest){ candidate, d };
}

static int complain(const struct program *p, const struct program *parent, const char *sentence)
{
	struct buffer name = { 0 };

	program_print_name(p, parent, &name);
	fprintf(stderr, "%s: %s\n", buffer_string(&name), sentence);
	buffer_close(&name);
	return 2;
}

/* One program, or one verb of parent, from its command line to its end. */
static int run(const struct program *p, const struct program *parent, int argc, char **argv)
{
	int operands = 0, outcome, status = 0;
	struct error e = { 0 };
	void *target = mem_calloc(1, p->target_bytes);

	if (!target)
		return complain(p, parent, "out of memory");
	outcome = program_parse(p, parent, argc, argv, target, &operands, &e);
	if (outcome < 0)
		status = complain(p, parent, e.text);
	else if (outcome == OPTIONS_RUN)
		status = p->run(target, operands, argv);
	options_release(p, target);
	mem_free(target);
	/* A full disk behind a redirected stdout is a failure, too. */
	if (fflush(stdout) != 0 && status == 0)
		status = complain(p, parent, error_describe(errno));
	return status < 0 ? 1 : status;
}

/* How many words of the command line are the verb's name ("up", "ca init"); 0: it is not. */
static int verb_words(const char *name, int argc, char **argv)
{
	int words = 0;

	for (const char *at = name, *end; at; at = *end ? end + 1 : NULL, words++) {
		end = strchrnul(at, ' ');
		if (words >= argc || strlen(argv[words]) != (size_t)(end - at) ||
		    memcmp(argv[words], at, (size_t)(end - at)))
			return 0;
	}
	return words;
}

static const struct program *find_verb(const struct program *p, int argc, char **argv,
				       int *words)
{
	for (uint32_t i = 0; i < p->verb_count; i++) {
		*words = verb_words(p->verbs[i]->name, argc, argv);
		if (*words)
			return p->verbs[i];
	}
	return NULL;
}

bool program_has_verb(const struct program *p, const char *name)
{
	int words;

	return find_verb(p, 1, (char **)&name, &words) != NULL;
}

/* "ca" alone, or with a second word that is none: says which there are. */
static bool complain_second_word(const struct program *p, int argc, char **argv)
{
	size_t length = strlen(argv[0]);
	struct buffer sentence = { 0 };
	bool any = false;

	buffer_printf(&sentence, "'%.60s' wants one of", argv[0]);
	for (uint32_t i = 0; i < p->verb_count; i++) {
		const char *name = p->verbs[i]->name;

		if (strncmp(name, argv[0], length) || name[length] != ' ')
			continue;
		buffer_printf(&sentence, "%s %s", any ? "," : "", name + length + 1);
		any = true;
	}
	if (argc > 1)
		buffer_printf(&sentence, ", not '%.60s'", argv[1]);
	if (any)
		complain(p, NULL, buffer_string(&sentence));
	buffer_close(&sentence);
	return any;
}

static int unknown_verb(const struct program *p, int argc, char **argv)
{
	const char *name = argv[0];
	size_t length = strlen(name);
	struct nearest n = { 0 };
	char sentence[256];

	if (complain_second_word(p, argc, argv))
		return 2;
	for (uint32_t i = 0; i < p->verb_count; i++)
		nearest_consider(&n, name, length, p->verbs[i]->name);
	nearest_consider(&n, name, length, "help");
	nearest_consider(&n, name, length, "version");
	if (name[0] == '-')
		snprintf(sentence, sizeof(sentence), "options such as '%.60s' follow the command",
			 name);
	else if (n.name)
		snprintf(sentence, sizeof(sentence), "unknown command '%.60s'; did you mean %s?",
			 name, n.name);
	else
		snprintf(sentence, sizeof(sentence),
			 "unknown command '%.60s'; '%s help' lists them", name, p->name);
	return complain(p, NULL, sentence);
}

/* argv: what is to be explained; nothing: the program. */
static int help_verb(const struct program *p, int argc, char **argv)
{
	int words;
	const struct program *verb = argc > 0 ? find_verb(p, argc, argv, &words) : NULL;

	if (argc > 0 && !verb && strcmp(argv[0], "help") != 0 && strcmp(argv[0], "version") != 0)
		return unknown_verb(p, argc, argv);
	if (verb)
		program_help(verb, p, stdout);
	else
		program_help(p, NULL, stdout);
	return 0;
}

/* help and version are verbs of every program that has verbs. */
static int dispatch(const struct program *p, int argc, char **argv)
{
	const char *name = argc > 1 ? argv[1] : NULL;
	const struct program *verb;
	int words;

	if (!name) {
		program_help(p, NULL, stderr);
		return 2;
	}
	verb = find_verb(p, argc - 1, argv + 1, &words);
	if (verb)
		return run(verb, p, argc - words, argv + words);
	if (strcmp(name, "help") == 0)
		return help_verb(p, argc - 2, argv + 2);
	if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0)
		return help_verb(p, 0, NULL);
	if (strcmp(name, "version") == 0 || strcmp(name, "--version") == 0) {
		program_print_version(p, NULL);
		return 0;
	}
	if (strcmp(name, "--man") == 0) {
		program_man(p, NULL, stdout);
		return 0;
	}
	return unknown_verb(p, argc - 1, argv + 1);
}

int options_main(const struct program *p, int argc, char **argv)
{
	return p->verb_count ? dispatch(p, argc, argv) : run(p, NULL, argc, argv);
}
