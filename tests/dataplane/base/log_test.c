/* log_test.c - lines as operators read them, and nothing forged in them. */
#include "tests/test.h"

#include <fcntl.h>
#include <pthread.h>
#include <unistd.h>

#include "dataplane/base/log.h"

/* Standard error goes into a pipe between begin and end. */
struct capture {
	int kept, pipe[2];
	char text[1 << 16];
};

static void capture_begin(struct capture *c)
{
	fflush(stderr);
	c->kept = dup(STDERR_FILENO);
	CHECK_EQ(pipe(c->pipe), 0);
	CHECK(fcntl(c->pipe[1], F_SETPIPE_SZ, (int)sizeof(c->text)) >= 0);
	dup2(c->pipe[1], STDERR_FILENO);
	close(c->pipe[1]);
}

static void capture_end(struct capture *c)
{
	size_t length = 0;
	ssize_t n;

	dup2(c->kept, STDERR_FILENO);
	close(c->kept);
	while ((n = read(c->pipe[0], c->text + length, sizeof(c->text) - 1 - length)) > 0)
		length += (size_t)n;
	c->text[length] = '\0';
	close(c->pipe[0]);
	log_configure(LOG_INFO, false);
}

/* Goal: time, level and part stand in columns; the time is UTC to the millisecond. */
TEST(log_line__is_aligned)
{
	static struct capture c;
	int y, mo, d, h, mi, s, ms, n = 0;

	capture_begin(&c);
	log_info("session", "hop %d of %x lost: %s", 2, 0x3a91, "connection reset");
	log_warn("kv", "full");
	capture_end(&c);
	CHECK_EQ(sscanf(c.text, "%4d-%2d-%2dT%2d:%2d:%2d.%3dZ %n", &y, &mo, &d, &h, &mi, &s, &ms,
			&n), 7);
	CHECK_EQ(n, 25);
	CHECK(y > 2023 && mo <= 12 && d <= 31 && h < 24 && mi < 60 && s <= 60);
	CHECK_BYTES(c.text + n, "info  session  hop 2 of 3a91 lost: connection reset\n", 52);
	CHECK_TEXT(strchr(c.text, '\n') + 1 + n, "warn  kv       full\n");
}

/* Goal: what is below the level costs and prints nothing; off is off. */
TEST(log_configure__sets_the_least_level)
{
	static struct capture c;
	int evaluated = 0;

	capture_begin(&c);
	log_configure(LOG_WARN, false);
	CHECK_EQ(log_least(), LOG_WARN);
	log_info("t", "%d", ++evaluated);
	log_debug("t", "%d", ++evaluated);
	log_error("t", "seen");
	log_configure(LOG_OFF, false);
	log_error("t", "%d", ++evaluated);
	log_configure(LOG_DEBUG, false);
	log_debug("t", "last");
	capture_end(&c);
	CHECK_EQ(evaluated, 0);
	CHECK(strstr(c.text, "error t        seen\n") != NULL);
	CHECK(strstr(c.text, "debug t        last\n") != NULL);
}

/* Goal: a message cannot start a line of its own or drive a terminal. */
TEST(log_line__escapes_control_characters)
{
	static struct capture c;

	capture_begin(&c);
	log_info("t", "a\nb\x1b[31m\x7f \xc3\xa9 \xff");
	capture_end(&c);
	CHECK_TEXT(strstr(c.text, " a"), " a\\nb\\x1b[31m\\x7f \xc3\xa9 \xef\xbf\xbd\n");
}

/* Goal: JSON lines are JSON whatever the message holds. */
TEST(log_line__json)
{
	static struct capture c;
	char wanted[] = "\",\"level\":\"error\",\"part\":\"wire\",\"message\":"
			"\"say \\\"hi\\\" \\\\ \\n\\u0007 \xef\xbf\xbd\xef\xbf\xbd\"}\n";

	capture_begin(&c);
	log_configure(LOG_INFO, true);
	log_error("wire", "say \"hi\" \\ \n\a \xed\xa0");
	capture_end(&c);
	CHECK(strncmp(c.text, "{\"time\":\"20", 11) == 0);
	CHECK_TEXT(strstr(c.text, "\",\"level"), wanted);
}

/* Goal: a line too long is cut and still ends as a line, in both forms. */
TEST(log_line__cuts_long_messages)
{
	static struct capture c;
	static char longer[5000];

	memset(longer, '\n', sizeof(longer) - 1);
	for (int json = 0; json < 2; json++) {
		size_t length;

		capture_begin(&c);
		log_configure(LOG_INFO, json);
		log_info("t", "%s", longer);
		capture_end(&c);
		length = strlen(c.text);
		CHECK(length > 2000 && length <= 4096);
		CHECK_TEXT(c.text + length - (json ? 3 : 1), json ? "\"}\n" : "\n");
		CHECK_EQ(strchr(c.text, '\n') - c.text, length - 1);
	}
}

static void *log_many(void *arg)
{
	for (int i = 0; i < 50; i++)
		log_info("t", "<%s>", (const char *)arg);
	return NULL;
}

/* Goal: lines of several threads never mix. */
TEST(log_line__threads_do_not_mix)
{
	static struct capture c;
	pthread_t a, b;
	int lines = 0;
	char *rest = c.text, *line;

	capture_begin(&c);
	pthread_create(&a, NULL, log_many, "aaaaaaaaaaaaaaaaaaaaaaaa");
	pthread_create(&b, NULL, log_many, "bbbbbbbbbbbbbbbbbbbbbbbb");
	pthread_join(a, NULL);
	pthread_join(b, NULL);
	capture_end(&c);
	while ((line = strsep(&rest, "\n")) && *line) {
		CHECK(strstr(line, "<aaaaaaaaaaaaaaaaaaaaaaaa>") ||
		      strstr(line, "<bbbbbbbbbbbbbbbbbbbbbbbb>"));
		CHECK_EQ(strlen(line), 25 + 15 + 26);
		lines++;
	}
	CHECK_EQ(lines, 100);
}
