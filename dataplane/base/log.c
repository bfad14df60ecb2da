/* log.c - formats a line on the stack and writes it at once.
 *
 * Nothing here allocates: an operator most wants the log when memory is gone.
 * Control characters in a message are escaped, so that no peer's text can
 * forge a line.
 */
#include "dataplane/base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "dataplane/base/clock.h"

enum { LINE_BYTES = 4096, MESSAGE_BYTES = 2048 };

static const char *const level_names[] = {
	[LOG_DEBUG] = "debug", [LOG_INFO] = "info", [LOG_WARN] = "warn",
	[LOG_ERROR] = "error",
};

static atomic_int least_level = LOG_INFO;
static atomic_bool as_json;

void log_configure(enum log_level least, bool json)
{
	atomic_store_explicit(&least_level, least, memory_order_relaxed);
	atomic_store_explicit(&as_json, json, memory_order_relaxed);
}

enum log_level log_least(void)
{
	return atomic_load_explicit(&least_level, memory_order_relaxed);
}

/* One line under construction; what does not fit is cut, never the newline. */
struct line {
	char text[LINE_BYTES];
	size_t length;
};

static void add(struct line *l, const char *text, size_t bytes)
{
	size_t room = sizeof(l->text) - 1 - l->length;

	bytes = MIN(bytes, room);
	memcpy(l->text + l->length, text, bytes);
	l->length += bytes;
}

static void add_text(struct line *l, const char *text)
{
	add(l, text, strlen(text));
}

/* Bytes of the UTF-8 character at s, 0 when it is not one. */
static size_t character(const unsigned char *s)
{
	static const struct {
		unsigned char first, last, least_second, most_second, bytes;
	} forms[] = {
		{ 0x01, 0x7f, 0, 0, 1 },          { 0xc2, 0xdf, 0x80, 0xbf, 2 },
		{ 0xe0, 0xe0, 0xa0, 0xbf, 3 },    { 0xe1, 0xec, 0x80, 0xbf, 3 },
		{ 0xed, 0xed, 0x80, 0x9f, 3 },    { 0xee, 0xef, 0x80, 0xbf, 3 },
		{ 0xf0, 0xf0, 0x90, 0xbf, 4 },    { 0xf1, 0xf3, 0x80, 0xbf, 4 },
		{ 0xf4, 0xf4, 0x80, 0x8f, 4 },
	};

	for (size_t f = 0; f < ARRAY_LENGTH(forms); f++) {
		size_t n = forms[f].bytes;

		if (s[0] < forms[f].first || s[0] > forms[f].last)
			continue;
		if (n > 1 && (s[1] < forms[f].least_second || s[1] > forms[f].most_second))
			return 0;
		for (size_t i = 2; i < n; i++)
			if ((s[i] & 0xc0) != 0x80)
				return 0;
		return n;
	}
	return 0;
}

static void add_escaped(struct line *l, const char *text, bool json)
{
	const unsigned char *s = (const unsigned char *)text;
	char escape[8];

	while (*s) {
		size_t n = character(s);

		if (n == 0) {
			add_text(l, "\xef\xbf\xbd");     /* U+FFFD */
			s++;
			continue;
		}
		if (json && (*s == '"' || *s == '\\')) {
			snprintf(escape, sizeof(escape), "\\%c", *s);
			add_text(l, escape);
		} else if (*s < 0x20 || *s == 0x7f) {
			snprintf(escape, sizeof(escape), json ? "\\u%04x" : "\\x%02x", *s);
			add_text(l, *s == '\n' ? "\\n" : escape);
		} else {
			add(l, (const char *)s, n);
		}
		s += n;
	}
}

static void format_time(char *out, size_t bytes)
{
	uint64_t ms = clock_unix_ms(clock_real());
	time_t seconds = (time_t)(ms / 1000);
	struct tm tm;
	size_t n;

	gmtime_r(&seconds, &tm);
	n = strftime(out, bytes, "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(out + n, bytes - n, ".%03uZ", (unsigned)(ms % 1000));
}

static void write_line(const struct line *l)
{
	ssize_t n;

	do
		n = write(STDERR_FILENO, l->text, l->length);
	while (n < 0 && errno == EINTR);
}

void log_line(enum log_level level, const char *part, const char *format, ...)
{
	char when[40], head[128], message[MESSAGE_BYTES];
	struct line l = { .length = 0 };
	int kept_errno = errno, n;
	va_list args;

	assert(level >= LOG_DEBUG && level < LOG_OFF);
	va_start(args, format);
	n = vsnprintf(message, sizeof(message), format, args);
	va_end(args);
	if (n >= (int)sizeof(message))
		memcpy(message + sizeof(message) - 4, "...", 4);
	format_time(when, sizeof(when));
	if (atomic_load_explicit(&as_json, memory_order_relaxed)) {
		snprintf(head, sizeof(head),
			 "{\"time\":\"%s\",\"level\":\"%s\",\"part\":\"%.40s\",\"message\":\"",
			 when, level_names[level], part);
		add_text(&l, head);
		add_escaped(&l, message, true);
		l.length = MIN(l.length, sizeof(l.text) - 4);
		add_text(&l, "\"}");
	} else {
		snprintf(head, sizeof(head), "%s %-5s %-8.40s ", when, level_names[level], part);
		add_text(&l, head);
		add_escaped(&l, message, false);
	}
	l.text[l.length++] = '\n';
	write_line(&l);
	errno = kept_errno;
}
