/* tcp_test.c - sockets, and why there is none. */
#include "dataplane/tcp.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <unistd.h>

#include "dataplane/base/fault.h"
#include "tests/test.h"

static struct address address(const char *text)
{
	struct address a;

	CHECK_EQ(address_parse(&a, text, NULL), 0);
	return a;
}

/* Goal: port 0 becomes a real one; a second listener there is told so. */
TEST(tcp_listen__port_zero_and_port_taken)
{
	struct address any = address("127.0.0.1:0"), bound, again;
	struct error e;
	int fd, other;

	fd = tcp_listen(&any, false, &bound, &e);
	CHECK_OK(fd, &e);
	CHECK(address_port(&bound) != 0);
	CHECK(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	CHECK_EQ(tcp_listen(&bound, false, &again, &e), -EADDRINUSE);
	CHECK(strstr(e.text, bound.text));
	CHECK(strstr(e.text, "another program has the port"));
	close(fd);
	other = tcp_listen(&bound, false, &again, &e);         /* at once, as after a restart */
	CHECK_OK(other, &e);
	close(other);
}

/* Goal: nothing but loopback, either way. */
TEST(tcp__loopback_only)
{
	static const char *const outside[] = { "0.0.0.0:0", "192.0.2.7:7700", "[::]:0" };
	struct sockaddr_storage to;
	struct address a, bound;
	socklen_t length;
	struct error e;

	for (size_t i = 0; i < ARRAY_LENGTH(outside); i++) {
		a = address(outside[i]);
		CHECK_EQ(tcp_listen(&a, false, &bound, &e), -EPERM);
		CHECK(strstr(e.text, outside[i]) && strstr(e.text, "loopback"));
		CHECK_EQ(tcp_socket(&a, false, &to, &length, &e), -EPERM);
		CHECK(strstr(e.text, "connect to"));
	}
}

/* Goal: a socket to connect is blocking, closes on exec, and is tuned. */
TEST(tcp_socket__is_ready_for_a_ring)
{
	struct address a = address("127.0.0.1:9");
	struct sockaddr_storage to;
	socklen_t length, size = sizeof(int);
	struct error e;
	int fd, value = 0;

	fd = tcp_socket(&a, false, &to, &length, &e);
	CHECK_OK(fd, &e);
	CHECK_EQ(((struct sockaddr_in *)&to)->sin_port, htons(9));
	CHECK(!(fcntl(fd, F_GETFL) & O_NONBLOCK));
	CHECK(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	tcp_tune(fd);
	CHECK_EQ(getsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &value, &size), 0);
	CHECK_EQ(value, 1);
	close(fd);
}

#ifdef PETALS_FAULTS
/* Goal: each failure has a sentence and leaves nothing open. */
TEST(tcp__faults_have_sentences)
{
	struct address any = address("127.0.0.1:0"), bound;
	struct error e;
	int nth, fd = -1, probe = dup(0);

	close(probe);
	for (nth = 1;; nth++) {
		fault_arm(nth);
		fd = tcp_listen(&any, false, &bound, &e);
		if (!fault_fired())
			break;
		CHECK(fd < 0);
		CHECK(strstr(e.text, "127.0.0.1"));
	}
	fault_disarm();
	CHECK(nth >= 3);
	CHECK_EQ(fd, probe);                            /* the lowest one free, as before */
	close(fd);
}
#endif
