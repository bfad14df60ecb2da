/* port_test.c - flows over real DPDK ports: memif between two processes, af_packet over
 * a veth pair in two network namespaces.  Covers eal.c, nic.c, port.c.
 */
#include "dataplane/port_dpdk.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "dataplane/flow.h"
#include "dataplane/packet.h"
#include "tests/support/flow_pair.h"
#include "tests/test.h"

#if defined(__SANITIZE_THREAD__)
#define UNDER_TSAN 1
#else
#define UNDER_TSAN 0
#endif

/* The one that the programs of this build use. */
static void need_module(void)
{
	const char *build = getenv("BUILD");
	char path[4096];

	build = build ? build : "build";
	snprintf(path, sizeof(path), "%s/%s/lib/petals-dpdk.so",
		 build[0] == '/' ? "" : test_data("../.."), build);
	setenv("PETALS_DPDK_MODULE", path, 0);
	if (UNDER_TSAN)
		SKIP("DPDK's threads are not built for ThreadSanitizer");
	if (!port_dpdk_is_there())
		SKIP("no DPDK module: lib/petals-dpdk.so was not built (tools/setup.sh dpdk)");
}

static struct flow_pair pair_of(const char *server_args, const char *client_args)
{
	struct flow_pair p = {
		.ports = {
			{ .args = server_args, .address = "10.77.0.1/24:7900" },
			{ .args = client_args, .address = "10.77.0.2/24:7901" },
		},
		.to = { { "10.77.0.2:7901" }, { "10.77.0.1:7900" } },
		.net_fds = { -1, -1 },
		.messages = 60, .pings = 20, .limit_ns = 60 * NS_PER_S,
	};

	p.ports[0].clock = p.ports[1].clock = clock_real();
	return p;
}

static void over_memif(const struct impair_options *bad)
{
	char server[256], client[256], folder[] = "/tmp/petals-memif-XXXXXX", path[64];
	static const char args[] = "--no-huge -m 128 --no-pci "
		"--vdev=net_memif0,role=%s,id=0,socket=%s/s,socket-abstract=no,bsize=2048";
	struct flow_pair p;

	need_module();
	assert_non_null(mkdtemp(folder));
	snprintf(server, sizeof(server), args, "server", folder);
	snprintf(client, sizeof(client), args, "client", folder);
	p = pair_of(server, client);
	if (bad)
		p.bad = *bad;
	flow_pair_run(&p);
	snprintf(path, sizeof(path), "%s/s", folder);
	unlink(path);
	rmdir(folder);
}

/* Goal: two processes exchange messages of all sizes over shared memory, without huge
 * pages.
 */
TEST(port_dpdk__memif)
{
	over_memif(NULL);
}

/* Goal: and with a bad network between them. */
TEST(port_dpdk__memif_impaired)
{
	const struct impair_options bad = { .drop = 0.05, .reorder = 0.05, .duplicate = 0.02,
					    .corrupt = 0.02, .reorder_ns = 300000, .seed = 3 };

	over_memif(&bad);
}

/* ---- af_packet ---- */

#define VETH_ARGS "--no-huge -m 128 --no-pci --vdev=net_af_packet0,iface=veth0,framesz=2048," \
	"framecnt=1024,blocksz=4096"

/* Two namespaces joined by a veth pair; the kernel has an address at both ends, too. */
struct spaces {
	char names[2][32];
	int fds[2];
};

static bool run(const char *command)
{
	return system(command) == 0;
}

static void close_spaces(const struct spaces *s)
{
	char text[256];

	for (int i = 0; i < 2; i++)
		if (s->fds[i] >= 0)
			close(s->fds[i]);
	snprintf(text, sizeof(text), "exec 2>/dev/null; ip netns del %s; ip netns del %s",
		 s->names[0], s->names[1]);
	(void)run(text);
}

static bool open_spaces(struct spaces *s)
{
	const char *a = s->names[0], *b = s->names[1];
	char text[1024];

	s->fds[0] = s->fds[1] = -1;
	snprintf(s->names[0], sizeof(s->names[0]), "petals%da", (int)getpid());
	snprintf(s->names[1], sizeof(s->names[1]), "petals%db", (int)getpid());
	snprintf(text, sizeof(text),
		 "exec >/dev/null 2>&1; ip netns add %s && ip netns add %s && "
		 "ip -n %s link add veth0 type veth peer name veth0 netns %s && "
		 "ip -n %s link set veth0 up && ip -n %s link set veth0 up && "
		 "ip -n %s addr add 10.77.0.11/24 dev veth0 && "
		 "ip -n %s addr add 10.77.0.12/24 dev veth0 && "
		 "ip -n %s addr add fd77::11/64 dev veth0 nodad && "
		 "ip -n %s addr add fd77::12/64 dev veth0 nodad", a, b, a, b, a, b, a, b, a, b);
	if (!run(text)) {
		close_spaces(s);
		return false;
	}
	for (int i = 0; i < 2; i++) {
		snprintf(text, sizeof(text), "/run/netns/%s", s->names[i]);
		s->fds[i] = open(text, O_RDONLY | O_CLOEXEC);
		CHECK(s->fds[i] >= 0);
	}
	return true;
}

static void over_veth(const struct address *server, const struct address *client)
{
	char addresses[2][96];
	struct spaces s;
	struct flow_pair p;

	need_module();
	if (!open_spaces(&s))
		SKIP("no network namespaces here: they take root and iproute2");
	p = pair_of(VETH_ARGS, VETH_ARGS);
	if (server) {
		snprintf(addresses[0], sizeof(addresses[0]), "[fd77::1/64]:7900");
		snprintf(addresses[1], sizeof(addresses[1]), "[fd77::2/64]:7901");
		p.ports[0].address = addresses[0];
		p.ports[1].address = addresses[1];
		p.to[0] = *client;
		p.to[1] = *server;
	}
	memcpy(p.net_fds, s.fds, sizeof(s.fds));
	flow_pair_run(&p);
	close_spaces(&s);
}

/* Goal: flows across a veth pair between two namespaces, by IPv4 and by IPv6. */
TEST(port_dpdk__af_packet_over_veth)
{
	over_veth(NULL, NULL);
}

TEST(port_dpdk__af_packet_over_veth_v6)
{
	const struct address server = { "[fd77::1]:7900" }, client = { "[fd77::2]:7901" };

	over_veth(&server, &client);
}

static bool is_ours(const struct sockaddr_in6 *from, bool v4)
{
	char text[INET6_ADDRSTRLEN];

	inet_ntop(AF_INET6, &from->sin6_addr, text, sizeof(text));
	return from->sin6_port == htons(7900) &&
	       strcmp(text, v4 ? "::ffff:10.77.0.1" : "fd77::1") == 0;
}

/* The kernel's end: a probe arrives at an ordinary socket, which answers. */
static const char *be_kernel(int net_fd, bool v4)
{
	const struct sockaddr_in6 us = { .sin6_family = AF_INET6, .sin6_port = htons(9999) };
	const struct timeval patience = { .tv_sec = 10 };
	struct sockaddr_in6 from;
	socklen_t length = sizeof(from);
	uint8_t bytes[2048];
	struct packet p;
	int fd, count;

	if (setns(net_fd, CLONE_NEWNET) < 0)
		return "cannot enter the network namespace";
	fd = socket(AF_INET6, SOCK_DGRAM, 0);
	if (fd < 0 || bind(fd, (const struct sockaddr *)&us, sizeof(us)) < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) < 0)
		return "cannot open a socket";
	count = (int)recvfrom(fd, bytes, sizeof(bytes), 0, (struct sockaddr *)&from, &length);
	if (count < 0)
		return "nothing arrived at the socket";
	if (packet_decode(bytes, (size_t)count, &p) != PACKET_FAULT_NONE ||
	    p.type != PACKET_PROBE || !is_ours(&from, v4))
		return "what arrived is no probe of ours";
	if (sendto(fd, "hello", 5, 0, (struct sockaddr *)&from, length) != 5)
		return "cannot answer";
	close(fd);
	return NULL;
}

static const char *be_nic(int net_fd, bool v4, struct error *e)
{
	static const struct flow_events events;
	const struct port_dpdk_options po = {
		.args = VETH_ARGS, .clock = clock_real(),
		.address = v4 ? "10.77.0.1/24:7900" : "[fd77::1/64]:7900",
	};
	struct flow_options fo = { .connection_in = 1 };
	uint64_t end_ns = clock_ns(clock_real()) + 10 * NS_PER_S;
	struct flows_options o;
	struct flows *flows;
	struct flow *flow;
	struct port *port;

	if (setns(net_fd, CLONE_NEWNET) < 0)
		return "cannot enter the network namespace";
	snprintf(fo.to.text, sizeof(fo.to.text), "%s",
		 v4 ? "10.77.0.12:9999" : "[fd77::12]:9999");
	flows_options_default(&o);
	o.give_up_ns = 60 * NS_PER_S;
	seal_policy_default(&fo.seal);
	if (port_dpdk_open(&port, &po, e) < 0 || flows_open(&flows, port, &o) < 0 ||
	    flow_open(&flow, flows, &fo, &events, NULL, clock_ns(clock_real()), e) < 0)
		return e->text;
	while (port->statistics.received == 0 && clock_ns(clock_real()) < end_ns)
		flows_poll(flows, clock_ns(clock_real()), 0);
	if (port->statistics.received_bytes != 5)
		return "the socket's answer did not arrive";
	flow_close(flow);
	flows_close(flows);
	port_close(port);
	return NULL;
}

static void talk_to_the_kernel(bool v4)
{
	struct error e = { 0 };
	struct spaces s;
	int status;

	need_module();
	if (!open_spaces(&s))
		SKIP("no network namespaces here: they take root and iproute2");
	fflush(NULL);
	for (int i = 0; i < 2; i++) {
		pid_t child = fork();
		const char *wrong;

		CHECK(child >= 0);
		if (child > 0)
			continue;
		wrong = i == 0 ? be_nic(s.fds[0], v4, &e) : be_kernel(s.fds[1], v4);
		if (wrong)
			fprintf(stderr, "%s: %s\n", i == 0 ? "nic" : "kernel", wrong);
		_exit(wrong ? 1 : 0);
	}
	for (int i = 0; i < 2; i++) {
		CHECK(wait(&status) > 0);
		CHECK(WIFEXITED(status));
		CHECK_EQ(WEXITSTATUS(status), 0);
	}
	close_spaces(&s);
}

/* Goal: the kernel takes our frames and we take its: ARP both ways, checksums. */
TEST(port_dpdk__talks_to_the_kernel)
{
	talk_to_the_kernel(true);
}

/* Goal: the same of IPv6 and its neighbour discovery. */
TEST(port_dpdk__talks_to_the_kernel_v6)
{
	talk_to_the_kernel(false);
}

/* Goal: what cannot be opened says why. */
TEST(port_dpdk_open__sentences)
{
	static const struct { const char *args, *device, *address, *gateway, *sentence; } rows[] = {
		{ "", NULL, "10.1.1.1:7900:7", NULL, "no address for a DPDK port" },
		{ "", NULL, "10.1.1.1/24", NULL, "no address for a DPDK port" },
		{ "", NULL, NULL, NULL, "no address for a DPDK port" },
		{ "", NULL, "fd00::1/64:7900", NULL, "no address for a DPDK port" },
		{ "", NULL, "10.1.1.1/24:7900", "10.2.1.1", "no gateway on our link" },
		{ "", NULL, "[fd00::1/64]:7900", "10.1.1.1", "no gateway on our link" },
	};
	struct error e = { 0 };
	struct port *port;

	need_module();
	for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
		struct port_dpdk_options o = {
			.args = rows[i].args, .device = rows[i].device, .address = rows[i].address,
			.gateway = rows[i].gateway, .clock = clock_real(),
		};

		CHECK_EQ(port_dpdk_open(&port, &o, &e), -EINVAL);
		CHECK(strstr(e.text, rows[i].sentence));
	}
}
