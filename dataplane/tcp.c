/* tcp.c - opens sockets and explains why one cannot be had. */
#include "dataplane/tcp.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <unistd.h>

#include "dataplane/base/fault.h"

enum { BACKLOG = 128 };

static int resolve(const struct address *a, bool anywhere, const char *verb,
		   struct sockaddr_storage *out, socklen_t *length, struct error *e)
{
	int rc = address_resolve(a, out, length, e);

	if (rc < 0 || anywhere || address_is_loopback((struct sockaddr *)out))
		return rc;
	return error_set(e, -EPERM, "refusing to %s %s: without certificates (--insecure) only "
			 "loopback addresses (127.0.0.1, ::1) are allowed", verb, a->text);
}

static int explain_listen(int code, const struct address *a, struct error *e)
{
	if (code == -EADDRINUSE)
		return error_set(e, code, "cannot listen on %s: another program has the port; "
				 "choose another or stop that one", a->text);
	if (code == -EACCES)
		return error_set(e, code, "cannot listen on %s: ports below 1024 need privileges",
				 a->text);
	return error_errno(e, code, "cannot listen on %s", a->text);
}

static int open_socket(const struct address *a, int family, const char *verb, struct error *e)
{
	int fd = -1;

	errno = EMFILE;
	if (!fault_here())
		fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	return fd < 0 ? error_errno(e, -errno, "cannot %s %s", verb, a->text) : fd;
}

int tcp_listen(const struct address *a, bool anywhere, struct address *bound, struct error *e)
{
	struct sockaddr_storage at;
	socklen_t length;
	int one = 1, fd, rc;

	rc = resolve(a, anywhere, "listen on", &at, &length, e);
	if (rc < 0)
		return rc;
	fd = open_socket(a, at.ss_family, "listen on", e);
	if (fd < 0)
		return fd;
	/* A restart must not wait for the last one's connections to be forgotten. */
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(fd, (struct sockaddr *)&at, length) < 0 || listen(fd, BACKLOG) < 0 ||
	    getsockname(fd, (struct sockaddr *)&at, &length) < 0) {
		rc = explain_listen(-errno, a, e);
		close(fd);
		return rc;
	}
	address_of_sockaddr(bound, (struct sockaddr *)&at);
	return fd;
}

int tcp_socket(const struct address *a, bool anywhere, struct sockaddr_storage *to,
	       socklen_t *length, struct error *e)
{
	int rc = resolve(a, anywhere, "connect to", to, length, e);

	return rc < 0 ? rc : open_socket(a, to->ss_family, "connect to", e);
}

void tcp_tune(int fd)
{
	int one = 1;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	/* Within a region cubic is steadier than a host's default may be: BBR
	 * collapses when the CPUs of a virtual machine are contended.
	 */
	setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "cubic", 5);
}
