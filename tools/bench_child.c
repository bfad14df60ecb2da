/* bench_child.c - owns the processes that a measurement starts.
 */
#include "tools/bench_child.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <curl/curl.h>

#include "dataplane/base/clock.h"

#define STOP_NS (45 * NS_PER_S)
enum { LINE_BYTES_MAX = 64 << 10 };

static int beside_us(const char *program, char *out, size_t bytes)
{
	char here[512];
	ssize_t n = readlink("/proc/self/exe", here, sizeof(here) - 1);
	char *slash;

	if (n < 0)
		return -errno;
	here[n] = '\0';
	slash = strrchr(here, '/');
	if (slash)
		*slash = '\0';
	snprintf(out, bytes, "%s/%s", here, program);
	return access(out, X_OK) == 0 ? 0 : -errno;
}

int child_start(struct child *c, char *const *args, struct error *e)
{
	char path[600];
	int ends[2], rc = beside_us(args[0], path, sizeof(path));

	*c = (struct child){ .out = -1, .started_ns = clock_ns(clock_real()) };
	snprintf(c->name, sizeof(c->name), "%s", args[0]);
	if (rc < 0)
		return error_errno(e, rc, "%s, which should stand beside this program", args[0]);
	if (pipe2(ends, O_CLOEXEC) < 0)
		return error_errno(e, -errno, "a pipe to %s", args[0]);
	fflush(NULL);
	c->pid = fork();
	if (c->pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGTERM);
		setpgid(0, 0);
		dup2(ends[1], STDOUT_FILENO);
		execv(path, args);
		fprintf(stderr, "%s: %s\n", path, strerror(errno));
		_exit(127);
	}
	close(ends[1]);
	c->out = ends[0];
	if (c->pid < 0) {
		c->pid = 0;
		return error_errno(e, -errno, "starting %s", args[0]);
	}
	return 0;
}

static int read_line(struct child *c, uint64_t give_up_ns, struct buffer *line, struct error *e)
{
	for (;;) {
		struct pollfd p = { .fd = c->out, .events = POLLIN };
		uint64_t now_ns = clock_ns(clock_real());
		char byte;

		if (now_ns >= give_up_ns)
			return error_set(e, -ETIMEDOUT, "%s is not ready in time", c->name);
		if (poll(&p, 1, (int)MIN((give_up_ns - now_ns) / NS_PER_MS + 1, 1000)) <= 0)
			continue;
		if (read(c->out, &byte, 1) != 1)
			return error_set(e, -ECHILD, "%s ended before it was ready", c->name);
		if (byte == '\n')
			return 0;
		buffer_char(line, byte);
	}
}

int child_ready(struct child *c, uint64_t within_ns, json_t **out, struct error *e)
{
	struct buffer line = { .bound = LINE_BYTES_MAX };
	json_error_t problem;
	int rc = read_line(c, clock_ns(clock_real()) + within_ns, &line, e);

	if (rc == 0) {
		*out = json_loads(buffer_string(&line), 0, &problem);
		if (!*out)
			rc = error_set(e, -EPROTO, "%s said no JSON: %s", c->name, problem.text);
	}
	buffer_close(&line);
	return rc;
}

int child_stop(struct child *c)
{
	uint64_t give_up_ns = clock_ns(clock_real()) + STOP_NS;
	int status = 0;
	pid_t ended = 0;

	if (c->out >= 0)
		close(c->out);
	c->out = -1;
	if (!c->pid)
		return -1;
	kill(c->pid, SIGTERM);
	while ((ended = waitpid(c->pid, &status, WNOHANG)) == 0 &&
	       clock_ns(clock_real()) < give_up_ns)
		poll(NULL, 0, 5);
	if (ended == 0) {
		kill(c->pid, SIGKILL);
		waitpid(c->pid, &status, 0);
	}
	c->pid = 0;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int child_busy_loop(struct child *c, struct error *e)
{
	*c = (struct child){ .out = -1, .name = "busy loop" };
	fflush(NULL);
	c->pid = fork();
	if (c->pid == 0) {
		volatile uint64_t turns = 0;

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;)
			turns++;
	}
	if (c->pid < 0) {
		c->pid = 0;
		return error_errno(e, -errno, "starting a busy loop");
	}
	return 0;
}

int child_memory(pid_t pid, struct child_memory *out, struct error *e)
{
	static const struct { const char *key; size_t offset; } keys[] = {
		{ "Rss:", offsetof(struct child_memory, rss) },
		{ "Pss_Anon:", offsetof(struct child_memory, pss_anonymous) },
		{ "Pss_Shmem:", offsetof(struct child_memory, pss_shared) },
		{ "Pss_File:", offsetof(struct child_memory, pss_file) },
	};
	char path[64], line[256];
	FILE *f;

	*out = (struct child_memory){ 0 };
	snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", (int)pid);
	f = fopen(path, "r");
	if (!f)
		return error_errno(e, -errno, "%s", path);
	while (fgets(line, sizeof(line), f)) {
		for (size_t i = 0; i < ARRAY_LENGTH(keys); i++) {
			size_t length = strlen(keys[i].key);

			if (strncmp(line, keys[i].key, length) == 0)
				*(uint64_t *)((char *)out + keys[i].offset) =
					strtoull(line + length, NULL, 10) * KIB;
		}
	}
	fclose(f);
	return 0;
}

static size_t on_body(char *data, size_t size, size_t count, void *ctx)
{
	buffer_append(ctx, data, size * count);
	return buffer_failed(ctx) ? 0 : size * count;
}

int http_get(const char *url, struct buffer *body, struct error *e)
{
	CURL *curl = curl_easy_init();
	long status = 0;
	CURLcode rc;

	*body = (struct buffer){ .bound = 16 << 20 };
	if (!curl)
		return error_errno(e, -ENOMEM, "%s", url);
	curl_easy_setopt(curl, CURLOPT_URL, url);
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, body);
	curl_easy_setopt(curl, CURLOPT_TIMEOUT, 30L);
	curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	rc = curl_easy_perform(curl);
	curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
	curl_easy_cleanup(curl);
	if (rc != CURLE_OK)
		return error_set(e, -EIO, "%s: %s", url, curl_easy_strerror(rc));
	if (status != 200)
		return error_set(e, -EIO, "%s answered %ld: %.200s", url, status,
				 buffer_string(body));
	return 0;
}

double metric_sum(const char *page, const char *name)
{
	size_t length = strlen(name);
	double sum = 0;

	for (const char *line = page; line && *line; line = strchr(line, '\n')) {
		const char *value;

		if (*line == '\n' && !*++line)
			break;
		value = line + length;
		if (strncmp(line, name, length) != 0 || (*value != ' ' && *value != '{'))
			continue;
		if (*value == '{') {
			value = strchr(value, '}');
			if (!value++)
				break;
		}
		sum += strtod(value, NULL);
	}
	return sum;
}
