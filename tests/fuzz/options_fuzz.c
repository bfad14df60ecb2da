/* options_fuzz.c - any bytes as a config file: refused with a sentence, or
 * taken, and then a dump of the values is taken again and dumps the same.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "dataplane/base/memory.h"
#include "dataplane/base/options.h"
#include "tests/fuzz/seeds.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t fuzz_seed(unsigned index, uint8_t *out, size_t capacity);

struct target {
	char *text, *address;
	int64_t integer;
	double real;
	int choice;
	uint64_t duration_ns, bytes;
	struct option_span span;
	bool flag;
};

#define AT(field) offsetof(struct target, field)
static const struct option rows[] = {
	{ "text", OPTION_TEXT, AT(text), .help = "t" },
	{ "address", OPTION_ADDRESS, AT(address), "127.0.0.1:1", .help = "a" },
	{ "integer", OPTION_INTEGER, AT(integer), "3", -10, 1e9, .help = "i" },
	{ "real", OPTION_REAL, AT(real), .help = "r" },
	{ "choice", OPTION_CHOICE, AT(choice), "cpu", .choices = "cpu|cuda", .help = "c" },
	{ "duration", OPTION_DURATION, AT(duration_ns), "3s", .help = "d" },
	{ "bytes", OPTION_BYTES, AT(bytes), "64k", .help = "b" },
	{ "span", OPTION_SPAN, AT(span), .help = "s" },
	{ "flag", OPTION_FLAG, AT(flag), .help = "f" },
};
#undef AT

static const struct program program = {
	.name = "fuzz", .summary = "s", .options = rows, .option_count = ARRAY_LENGTH(rows),
	.target_bytes = sizeof(struct target),
};

static const char *const seeds[] = {
	"# comment\ntext = \"a # \\\"b\\\" \\n\" # more\naddress = [::1]:7700\n",
	"integer = -5\nreal=1e-3\nchoice = cuda\nduration = 1.5h\nbytes=0.5GiB\nspan = 3:9\n",
	"flag = yes\nlog-level = warn\nlog-json = true\nduration = 0\nbytes = 99999999999\n",
	"text = a#b\r\n\r\n  span = 0:4294967295 # x\nreal = -0.1\n",
};

size_t fuzz_seed(unsigned index, uint8_t *out, size_t capacity)
{
	return text_seed(seeds, ARRAY_LENGTH(seeds), index, out, capacity);
}

/* Parses bytes as a config file; what it dumps, or NULL when refused. */
static char *dump_of(const void *data, size_t size)
{
	char path[64], *argv[] = { "fuzz", "--config", path }, *text = NULL;
	struct target t = { 0 };
	struct error e = { 0 };
	int fd = memfd_create("config", 0);
	size_t length;
	FILE *out;

	assert(fd >= 0 && write(fd, data, size) == (ssize_t)size);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	if (options_parse(&program, 3, argv, &t, NULL, &e) < 0) {
		assert(e.code < 0 && e.text[0]);
	} else {
		out = open_memstream(&text, &length);
		assert(out);
		options_dump(&program, &t, out);
		fclose(out);
	}
	options_release(&program, &t);
	close(fd);
	return text;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *first = dump_of(data, size), *second;

	if (!first)
		return 0;
	second = dump_of(first, strlen(first));
	assert(second && strcmp(first, second) == 0);
	free(first);
	free(second);
	return 0;
}
