/* web.c - asks HTTP servers under test. */
#include "tests/support/web.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include <curl/curl.h>

enum { SECONDS_MAX = 20 };

static void start_curl(void)
{
	curl_global_init(CURL_GLOBAL_DEFAULT);
}

static size_t collect(char *data, size_t size, size_t count, void *ctx)
{
	buffer_append(ctx, data, size * count);
	return size * count;
}

void web_ask(struct web_answer *out, const struct address *to, const char *method,
	     const char *path, const char *body, const char *header)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	struct curl_slist *headers = NULL;
	char url[512];
	CURL *curl;
	CURLcode rc;

	pthread_once(&once, start_curl);
	*out = (struct web_answer){ 0 };
	curl = curl_easy_init();
	assert(curl);
	snprintf(url, sizeof(url), "http://%s%s", to->text, path);
	curl_easy_setopt(curl, CURLOPT_URL, url);
	curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(curl, CURLOPT_TIMEOUT, (long)SECONDS_MAX);
	curl_easy_setopt(curl, CURLOPT_PATH_AS_IS, 1L);
	curl_easy_setopt(curl, CURLOPT_NOPROXY, "*");
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, collect);
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, &out->body);
	curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, collect);
	curl_easy_setopt(curl, CURLOPT_HEADERDATA, &out->headers);
	if (body) {
		curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE, (long)strlen(body));
		curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body);
		headers = curl_slist_append(headers, "Content-Type: application/json");
	}
	if (method)
		curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, method);
	if (method && strcmp(method, "HEAD") == 0)
		curl_easy_setopt(curl, CURLOPT_NOBODY, 1L);
	if (header)
		headers = curl_slist_append(headers, header);
	curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
	rc = curl_easy_perform(curl);
	if (rc == CURLE_OK)
		curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &out->status);
	snprintf(out->why, sizeof(out->why), "%s", rc == CURLE_OK ? "" : curl_easy_strerror(rc));
	curl_slist_free_all(headers);
	curl_easy_cleanup(curl);
}

void web_get(struct web_answer *out, const struct address *to, const char *path)
{
	web_ask(out, to, NULL, path, NULL, NULL);
}

void web_post(struct web_answer *out, const struct address *to, const char *path,
	      const char *body)
{
	web_ask(out, to, NULL, path, body, NULL);
}

void web_close(struct web_answer *a)
{
	buffer_close(&a->headers);
	buffer_close(&a->body);
}

void web_header(const struct web_answer *a, const char *name, char *out, size_t bytes)
{
	const char *line = buffer_string(&a->headers);
	size_t length = strlen(name);

	out[0] = '\0';
	for (; line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL) {
		if (strncasecmp(line, name, length) != 0 || line[length] != ':')
			continue;
		line += length + 1 + strspn(line + length + 1, " ");
		snprintf(out, bytes, "%.*s", (int)strcspn(line, "\r\n"), line);
		return;
	}
}

json_t *web_json(const struct web_answer *a)
{
	return json_loadb(buffer_string(&a->body), a->body.length, JSON_ALLOW_NUL, NULL);
}

void web_error(const struct web_answer *a, const char *key, char *out, size_t bytes)
{
	json_t *j = web_json(a);
	const char *text = json_string_value(json_object_get(json_object_get(j, "error"), key));

	snprintf(out, bytes, "%s", text ? text : "");
	json_decref(j);
}

int web_connect(const struct address *to)
{
	struct timeval limit = { .tv_sec = SECONDS_MAX };
	struct sockaddr_storage at;
	socklen_t length;
	int rc = address_resolve(to, &at, &length, NULL), fd;

	if (rc < 0)
		return rc;
	fd = socket(at.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd >= 0)
		setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	if (fd >= 0 && connect(fd, (struct sockaddr *)&at, length) == 0)
		return fd;
	rc = -errno;
	if (fd >= 0)
		close(fd);
	return rc;
}

int web_send(int fd, const char *text)
{
	size_t left = strlen(text);

	while (left) {
		ssize_t n = send(fd, text, left, MSG_NOSIGNAL);

		if (n < 0)
			return -errno;
		text += n;
		left -= (size_t)n;
	}
	return 0;
}

int web_send_post(int fd, const char *path, const char *body)
{
	char head[256];
	int rc;

	snprintf(head, sizeof(head), "POST %s HTTP/1.1\r\nHost: a\r\nContent-Length: %zu\r\n\r\n",
		 path, strlen(body));
	rc = web_send(fd, head);
	return rc < 0 ? rc : web_send(fd, body);
}

void web_receive(int fd, const char *until, struct buffer *out)
{
	char piece[4096];
	ssize_t n;

	while (!until || !strstr(buffer_string(out), until)) {
		n = recv(fd, piece, sizeof(piece), 0);
		if (n <= 0)
			return;
		buffer_append(out, piece, (size_t)n);
	}
}
