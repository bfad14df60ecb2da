/* port_test.c - flows over real DPDK ports: memif between two processes, af_packet over
 * a veth pair in two network namespaces.  Covers eal.c, nic.c, port.c.
 */
#include "dataplane/port_dpdk.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

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

static bool run(const char *command)
{
	return system(command) == 0;
}

/* Goal: across a veth pair between two namespaces, the kernel's own neighbours beside
 * ours, ARP both ways.
 */
TEST(port_dpdk__af_packet_over_veth)
{
	char a[32], b[32], text[512];
	struct flow_pair p;

	need_module();
	snprintf(a, sizeof(a), "pt%da", (int)getpid());
	snprintf(b, sizeof(b), "pt%db", (int)getpid());
	snprintf(text, sizeof(text),
		 "exec >/dev/null 2>&1; ip netns add %s && ip netns add %s && "
		 "ip -n %s link add veth0 type veth peer name veth0 netns %s && "
		 "ip -n %s link set veth0 up && ip -n %s link set veth0 up && "
		 "ip -n %s addr add 10.77.0.11/24 dev veth0 && "
		 "ip -n %s addr add 10.77.0.12/24 dev veth0", a, b, a, b, a, b, a, b);
	if (!run(text)) {
		snprintf(text, sizeof(text), "exec 2>/dev/null; ip netns del %s; ip netns del %s",
			 a, b);
		(void)run(text);
		SKIP("no network namespaces here: they take root and iproute2");
	}
	p = pair_of("--no-huge -m 128 --no-pci --vdev=net_af_packet0,iface=veth0,framesz=2048,"
		    "framecnt=1024,blocksz=4096",
		    "--no-huge -m 128 --no-pci --vdev=net_af_packet0,iface=veth0,framesz=2048,"
		    "framecnt=1024,blocksz=4096");
	snprintf(text, sizeof(text), "/run/netns/%s", a);
	p.net_fds[0] = open(text, O_RDONLY | O_CLOEXEC);
	snprintf(text, sizeof(text), "/run/netns/%s", b);
	p.net_fds[1] = open(text, O_RDONLY | O_CLOEXEC);
	flow_pair_run(&p);
	close(p.net_fds[0]);
	close(p.net_fds[1]);
	snprintf(text, sizeof(text), "ip netns del %s; ip netns del %s", a, b);
	CHECK(run(text));
}

/* Goal: what cannot be opened says why. */
TEST(port_dpdk_open__sentences)
{
	static const struct { const char *args, *device, *address, *gateway, *sentence; } rows[] = {
		{ "", NULL, "10.1.1.1:7900:7", NULL, "no address for a DPDK port" },
		{ "", NULL, "10.1.1.1/24", NULL, "no address for a DPDK port" },
		{ "", NULL, NULL, NULL, "no address for a DPDK port" },
		{ "", NULL, "10.1.1.1/24:7900", "10.2.1.1", "no gateway on our link" },
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
