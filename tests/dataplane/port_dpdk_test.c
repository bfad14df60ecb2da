/* port_dpdk_test.c - a host without the module is told what to do.  With it:
 * tests/dataplane/dpdk/port_test.c.
 */
#include "dataplane/port_dpdk.h"

#include <errno.h>
#include <stdlib.h>

#include "tests/test.h"

/* Goal: no module, no crash: a sentence. */
TEST(port_dpdk_open__without_module)
{
	const struct port_dpdk_options o = { .address = "10.1.1.1/24:7900",
					     .clock = clock_real() };
	struct error e = { 0 };
	struct port *port;

	setenv("PETALS_DPDK_MODULE", "/nowhere/petals-dpdk.so", 1);
	CHECK(!port_dpdk_is_there());
	CHECK_EQ(port_dpdk_open(&port, &o, &e), -ENOTSUP);
	CHECK(strstr(e.text, "libdpdk-dev"));
	CHECK(port == NULL);
}

/* Goal: a file that is no module is refused, not run. */
TEST(port_dpdk_open__not_a_module)
{
	const struct port_dpdk_options o = { .address = "10.1.1.1/24:7900",
					     .clock = clock_real() };
	struct error e = { 0 };
	struct port *port;

	setenv("PETALS_DPDK_MODULE", "/etc/passwd", 1);
	CHECK_EQ(port_dpdk_open(&port, &o, &e), -ENOTSUP);
	CHECK(strstr(e.text, "does not load"));
}
