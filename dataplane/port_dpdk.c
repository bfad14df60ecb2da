/* port_dpdk.c - opens the DPDK module, and ports through it. */
#include "dataplane/port_dpdk.h"

#include <pthread.h>

static const struct module_spec spec = {
	.what = "DPDK", .file = "petals-dpdk.so", .variable = "PETALS_DPDK_MODULE",
	.symbol = "petals_port_module",
	.layout_bytes = sizeof(struct port_dpdk_options) + sizeof(struct port),
	.without = "build it where libdpdk-dev is installed, or do without --dpdk-address",
};

bool port_dpdk_is_there(void)
{
	return module_is_there(&spec);
}

int port_dpdk_open(struct port **out, const struct port_dpdk_options *o, struct error *e)
{
	static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	static const struct module_head *opened;
	int rc = 0;

	*out = NULL;
	pthread_mutex_lock(&lock);
	if (!opened)
		rc = module_open(&opened, &spec, e);
	if (rc == 0)
		rc = CONTAINER_OF(opened, struct port_module, head)->open(out, o, e);
	pthread_mutex_unlock(&lock);
	return rc;
}
