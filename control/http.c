/* http.c - owns the listening socket, the library's daemon and the thread that turns it.
 *
 * The thread sleeps on one epoll set of three kinds: the library's own set, a wake-up for
 * answers given by other threads, and the sockets of requests that wait for their answer,
 * for nothing but the client's hanging up (the library does not look at those).
 */
#include "control/http.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "control/http_private.h"
#include "control/https.h"
#include "dataplane/base/clock.h"
#include "dataplane/base/log.h"
#include "dataplane/base/memory.h"
#include "dataplane/tcp.h"

enum { EVENTS_MAX = 64, CONNECTION_BYTES = 32 << 10 };
#define CLOSE_NS (1 * NS_PER_S)

static const struct counter_row rows[HTTP_COUNTERS] = {
	[HTTP_REQUESTS] = { COUNTER, "petals_http_requests_total",
		"Requests answered, by route.", "route", NULL },
	[HTTP_RESPONSES] = { COUNTER, "petals_http_responses_total",
		"Answers given, by status.", "status", NULL },
	[HTTP_SECONDS] = { HISTOGRAM, "petals_http_request_seconds",
		"From a request's last byte to its answer's last byte, by route.", "route",
		seconds_buckets },
	[HTTP_CONNECTIONS] = { GAUGE, "petals_http_connections",
		"Connections open now.", NULL, NULL },
	[HTTP_GONE] = { COUNTER, "petals_http_clients_gone_total",
		"Clients that hung up before their answer's end.", NULL, NULL },
};

static void wake(struct http *h)
{
	const uint64_t one = 1;

	if (write(h->wake_fd, &one, sizeof(one)) < 0)
		log_debug("http", "a wake-up was dropped: %s", error_describe(-errno));
}

void http_post(struct http *h, struct http_exchange *x)
{
	bool first;

	if (x->posted)
		return;
	x->posted = true;
	pthread_mutex_lock(&h->lock);
	first = !h->posted;
	x->next_posted = h->posted;
	h->posted = x;
	pthread_mutex_unlock(&h->lock);
	if (first)
		wake(h);
}

void http_watch(struct http *h, struct http_exchange *x)
{
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(x->connection, MHD_CONNECTION_INFO_CONNECTION_FD);
	struct epoll_event event = { .events = EPOLLRDHUP, .data.ptr = x };

	if (x->watched || !info)
		return;
	x->watched = epoll_ctl(h->epoll_fd, EPOLL_CTL_ADD, info->connect_fd, &event) == 0;
}

void http_unwatch(struct http *h, struct http_exchange *x)
{
	const union MHD_ConnectionInfo *info;

	if (!x->watched)
		return;
	x->watched = false;
	info = MHD_get_connection_info(x->connection, MHD_CONNECTION_INFO_CONNECTION_FD);
	if (info)
		epoll_ctl(h->epoll_fd, EPOLL_CTL_DEL, info->connect_fd, NULL);
}

static enum MHD_Result on_request(void *cls, struct MHD_Connection *c, const char *url,
				  const char *method, const char *version, const char *data,
				  size_t *bytes, void **slot)
{
	struct http *h = cls;
	struct http_exchange *x = *slot;

	if (!x) {
		x = exchange_open(h, c, method, url);
		*slot = x;
		return x ? (x->answer == ANSWER_NONE ? MHD_YES : exchange_turn(x)) : MHD_NO;
	}
	if (*bytes) {
		exchange_body(x, data, *bytes);
		*bytes = 0;
		return MHD_YES;
	}
	return exchange_turn(x);
}

/* Takes x off the list of those another thread has answered. */
static void unpost(struct http *h, struct http_exchange *x)
{
	struct http_exchange **at;

	pthread_mutex_lock(&h->lock);
	for (at = &h->posted; *at && *at != x; at = &(*at)->next_posted)
		;
	if (*at)
		*at = x->next_posted;
	pthread_mutex_unlock(&h->lock);
}

static void on_completed(void *cls, struct MHD_Connection *c, void **slot,
			 enum MHD_RequestTerminationCode how)
{
	struct http *h = cls;
	struct http_exchange *x = *slot;
	char status[16];

	*slot = NULL;
	if (!x)
		return;
	http_unwatch(h, x);
	if (x->older)
		x->older->newer = x->newer;
	if (x->newer)
		x->newer->older = x->older;
	else
		h->newest = x->older;
	pthread_mutex_lock(&x->lock);
	snprintf(status, sizeof(status), "%d", x->answer == ANSWER_NONE ? 499 : x->status);
	if (how != MHD_REQUEST_TERMINATED_COMPLETED_OK)
		counters_add(h->counters, HTTP_GONE, 0, 1);
	pthread_mutex_unlock(&x->lock);
	counters_add(h->counters, HTTP_REQUESTS, x->series, 1);
	counters_add(h->counters, HTTP_RESPONSES,
		     counters_series(h->counters, HTTP_RESPONSES, status), 1);
	counters_observe(h->counters, HTTP_SECONDS, x->seconds_series,
			 (double)(clock_ns(clock_real()) - x->started_ns) / NS_PER_S);
	unpost(h, x);
	exchange_let_go(x);
}

static void on_connection(void *cls, struct MHD_Connection *c, void **slot,
			  enum MHD_ConnectionNotificationCode what)
{
	struct http *h = cls;

	*slot = h;                      /* https_retrieve() looks for it */
	h->clients += what == MHD_CONNECTION_NOTIFY_STARTED ? 1 : -1;
	counters_set(h->counters, HTTP_CONNECTIONS, 0, h->clients);
}

static void on_message(void *cls, const char *format, va_list args)
{
	char line[256];

	vsnprintf(line, sizeof(line), format, args);
	line[strcspn(line, "\r\n")] = '\0';
	log_debug("http", "%s", line);
}

static void look_at_posted(struct http *h)
{
	struct http_exchange *x, *next;

	pthread_mutex_lock(&h->lock);
	x = h->posted;
	h->posted = NULL;
	pthread_mutex_unlock(&h->lock);
	for (; x; x = next) {
		next = x->next_posted;
		exchange_resume(x);
	}
}

static int sleep_ms(struct http *h)
{
	MHD_UNSIGNED_LONG_LONG timeout;

	if (MHD_get_timeout(h->daemon, &timeout) == MHD_NO)
		return -1;
	return timeout < 60000 ? (int)timeout : 60000;
}

static void turn(struct http *h, int timeout_ms)
{
	struct epoll_event events[EVENTS_MAX];
	int count = epoll_wait(h->epoll_fd, events, EVENTS_MAX, timeout_ms);
	uint64_t drained;

	for (int i = 0; i < count; i++) {
		if (events[i].data.ptr == h)
			continue;
		if (events[i].data.ptr)
			exchange_hung_up(events[i].data.ptr);
		else if (read(h->wake_fd, &drained, sizeof(drained)) < 0)
			log_debug("http", "no wake-up to read: %s", error_describe(-errno));
	}
	look_at_posted(h);
	MHD_run(h->daemon);
}

/* Nothing new is taken; what is being answered has a second. */
static void wind_up(struct http *h)
{
	uint64_t until_ns = clock_ns(clock_real()) + CLOSE_NS, now_ns;

	MHD_quiesce_daemon(h->daemon);
	close(h->listen_fd);
	h->listen_fd = -1;
	while (h->newest && (now_ns = clock_ns(clock_real())) < until_ns) {
		int left_ms = (int)((until_ns - now_ns) / NS_PER_MS) + 1, wait_ms = sleep_ms(h);

		turn(h, wait_ms < 0 ? left_ms : MIN(wait_ms, left_ms));
	}
	/* The library wants nothing suspended when it stops. */
	for (struct http_exchange *x = h->newest; x; x = x->older)
		exchange_hung_up(x);
}

static void *run(void *arg)
{
	struct http *h = arg;

	while (!atomic_load(&h->stopping))
		turn(h, sleep_ms(h));
	wind_up(h);
	return NULL;
}

static int add_to_epoll(struct http *h, int fd, void *tag)
{
	struct epoll_event event = { .events = EPOLLIN, .data.ptr = tag };

	return epoll_ctl(h->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
}

static int open_daemon(struct http *h, struct error *e)
{
	unsigned idle_s = (unsigned)((h->options.idle_ns + NS_PER_S - 1) / NS_PER_S);
	const struct MHD_OptionItem sealed[] = {
		{ MHD_OPTION_HTTPS_PRIORITIES, 0, (void *)https_priorities() },
		{ MHD_OPTION_HTTPS_MEM_TRUST, 0, h->https ? (void *)https_trust(h->https) : NULL },
		{ MHD_OPTION_HTTPS_CERT_CALLBACK, 0, (void *)https_retrieve },
		{ MHD_OPTION_END, 0, NULL },
	}, plain[] = { { MHD_OPTION_END, 0, NULL } };
	const union MHD_DaemonInfo *info;
	int rc;

	h->daemon = MHD_start_daemon(
		MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG |
			(h->https ? MHD_USE_TLS : 0), 0, NULL, NULL,
		on_request, h,
		MHD_OPTION_EXTERNAL_LOGGER, on_message, NULL,   /* has to be the first */
		MHD_OPTION_ARRAY, h->https ? sealed : plain,
		MHD_OPTION_LISTEN_SOCKET, h->listen_fd,
		MHD_OPTION_CONNECTION_LIMIT, h->options.connections_max,
		MHD_OPTION_CONNECTION_TIMEOUT, idle_s,
		MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_BYTES,
		MHD_OPTION_NOTIFY_COMPLETED, on_completed, h,
		MHD_OPTION_NOTIFY_CONNECTION, on_connection, h,
		MHD_OPTION_END);
	if (!h->daemon)
		return error_set(e, -ENOMEM, "the HTTP server on %s could not start",
				 h->bound.text);
	info = MHD_get_daemon_info(h->daemon, MHD_DAEMON_INFO_EPOLL_FD);
	assert(info);
	rc = add_to_epoll(h, info->epoll_fd, h);
	if (rc == 0)
		rc = add_to_epoll(h, h->wake_fd, NULL);
	return rc < 0 ? error_errno(e, rc, "the HTTP server on %s", h->bound.text) : 0;
}

static int open_thread(struct http *h, struct error *e)
{
	int rc = -pthread_create(&h->thread, NULL, run, h);

	if (rc < 0)
		return error_errno(e, rc, "a thread for HTTP on %s", h->bound.text);
	h->started = true;
	pthread_setname_np(h->thread, "http");
	return 0;
}

/* Beyond loopback nothing travels in the clear. */
static int open_https(struct http *h, struct error *e)
{
	struct sockaddr_storage at;
	socklen_t length;
	int rc = address_resolve(&h->options.listen, &at, &length, e);

	if (rc < 0 || !h->options.identity || address_is_loopback((struct sockaddr *)&at))
		return rc;
	return https_open(&h->https, h->options.identity, e);
}

static int open_descriptors(struct http *h, struct error *e)
{
	h->listen_fd = tcp_listen(&h->options.listen, h->https != NULL, &h->bound, e);
	if (h->listen_fd < 0)
		return h->listen_fd;
	fcntl(h->listen_fd, F_SETFL, fcntl(h->listen_fd, F_GETFL) | O_NONBLOCK);
	h->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	h->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (h->epoll_fd < 0 || h->wake_fd < 0)
		return error_errno(e, -errno, "descriptors for HTTP on %s", h->bound.text);
	return 0;
}

int http_open(struct http **out, const struct http_options *o, struct error *e)
{
	struct http *h = mem_calloc(1, sizeof(*h));
	int rc;

	*out = NULL;
	if (!h)
		return error_errno(e, -ENOMEM, "the HTTP server on %s", o->listen.text);
	h->options = *o;
	h->listen_fd = h->epoll_fd = h->wake_fd = -1;
	pthread_mutex_init(&h->lock, NULL);
	rc = counters_open(&h->counters, rows, HTTP_COUNTERS);
	if (rc < 0)
		error_errno(e, rc, "counters of HTTP on %s", o->listen.text);
	if (rc == 0)
		rc = open_https(h, e);
	if (rc == 0)
		rc = open_descriptors(h, e);
	if (rc == 0)
		rc = open_daemon(h, e);
	if (rc == 0)
		rc = open_thread(h, e);
	if (rc < 0) {
		http_close(h);
		return rc;
	}
	*out = h;
	return 0;
}

void http_close(struct http *h)
{
	if (!h)
		return;
	atomic_store(&h->stopping, true);
	if (h->started) {
		wake(h);
		pthread_join(h->thread, NULL);
	}
	if (h->daemon)
		MHD_stop_daemon(h->daemon);
	else if (h->listen_fd >= 0)
		close(h->listen_fd);
	if (h->epoll_fd >= 0)
		close(h->epoll_fd);
	if (h->wake_fd >= 0)
		close(h->wake_fd);
	https_close(h->https);
	counters_close(h->counters);
	pthread_mutex_destroy(&h->lock);
	mem_free(h);
}

void http_bound(const struct http *h, struct address *out)
{
	*out = h->bound;
}

const char *http_scheme(const struct http *h)
{
	return h->https ? "https" : "http";
}

struct counters *http_counters(struct http *h)
{
	return h->counters;
}
