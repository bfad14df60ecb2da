/* nic.c - an ethdev by way of DPDK's calls. */
#include "dataplane/dpdk/nic.h"

#include <errno.h>
#include <rte_ethdev.h>
#include <rte_lcore.h>
#include <rte_mbuf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/base/log.h"

enum {
	DESCRIPTORS = 1024,
	SPARE_BUFFERS = 1024,           /* lent, unsent, in caches */
	CACHED_BUFFERS = 128,
	FRAME_EXTRA_BYTES = 18,         /* Ethernet's header, a tag */
	ROOM_LEAST_BYTES = 2048,
	REVIVE_NS = 500000000,
};

static int failed(struct error *e, int rc, const char *what)
{
	return error_set(e, rc < 0 ? rc : -EIO, "%s: %s", what, rte_strerror(rc < 0 ? -rc : EIO));
}

static int find(const char *device, uint16_t *id, struct error *e)
{
	char *end;
	unsigned long number;

	if (rte_eth_dev_count_avail() == 0)
		return error_set(e, -ENODEV, "DPDK sees no NIC; bind one to vfio-pci, or name a "
				 "virtual one like --dpdk-args '--vdev=net_af_packet0,iface=eth1'");
	if (!device) {
		*id = (uint16_t)rte_eth_find_next(0);
		return 0;
	}
	number = strtoul(device, &end, 10);
	if (*device && !*end && number < RTE_MAX_ETHPORTS &&
	    rte_eth_dev_is_valid_port((uint16_t)number)) {
		*id = (uint16_t)number;
		return 0;
	}
	if (rte_eth_dev_get_port_by_name(device, id) == 0)
		return 0;
	return error_set(e, -ENODEV, "DPDK knows no NIC '%s'; --dpdk-port takes a number, a PCI "
			 "address or the name of a --vdev", device);
}

static int open_pool(struct nic *n, uint16_t rx, uint16_t tx, struct error *e)
{
	uint32_t room = RTE_PKTMBUF_HEADROOM +
			MAX(n->mtu_bytes + FRAME_EXTRA_BYTES, (uint32_t)ROOM_LEAST_BYTES);
	char name[32];

	snprintf(name, sizeof(name), "petals-%u", n->id);
	n->pool = rte_pktmbuf_pool_create(name, rx + tx + SPARE_BUFFERS, CACHED_BUFFERS, 0,
					  (uint16_t)MIN(room, (uint32_t)UINT16_MAX), SOCKET_ID_ANY);
	if (!n->pool)
		return error_set(e, -ENOMEM, "no memory for the buffers of NIC %u: %s; give DPDK "
				 "more with -m", n->id, rte_strerror(rte_errno));
	return 0;
}

static int configure(struct nic *n, struct error *e)
{
	const struct rte_eth_conf conf = { 0 };
	uint16_t rx = DESCRIPTORS, tx = DESCRIPTORS, mtu;
	int rc = rte_eth_dev_configure(n->id, 1, 1, &conf);

	if (rc < 0)
		return failed(e, rc, "the NIC cannot be configured");
	rc = rte_eth_dev_adjust_nb_rx_tx_desc(n->id, &rx, &tx);
	if (rc < 0)
		return failed(e, rc, "the NIC has no queues for us");
	if (rte_eth_dev_get_mtu(n->id, &mtu) < 0)
		mtu = RTE_ETHER_MTU;
	n->mtu_bytes = mtu;
	rc = open_pool(n, rx, tx, e);
	if (rc < 0)
		return rc;
	rc = rte_eth_rx_queue_setup(n->id, 0, rx, SOCKET_ID_ANY, NULL, n->pool);
	if (rc == 0)
		rc = rte_eth_tx_queue_setup(n->id, 0, tx, SOCKET_ID_ANY, NULL);
	if (rc < 0)
		return failed(e, rc, "the NIC's queues cannot be set up");
	rc = rte_eth_dev_start(n->id);
	n->started = rc == 0;
	return n->started || n->connects ? 0 : failed(e, rc, "the NIC does not start");
}

int nic_open(struct nic *n, const char *device, struct error *e)
{
	struct rte_eth_dev_info info;
	struct rte_ether_addr mac;
	int rc;

	*n = (struct nic){ 0 };
	rc = find(device, &n->id, e);
	if (rc < 0)
		return rc;
	n->connects = rte_eth_dev_info_get(n->id, &info) == 0 &&
		      strcmp(info.driver_name, "net_memif") == 0;
	rc = configure(n, e);
	if (rc < 0) {
		rte_mempool_free(n->pool);
		return rc;
	}
	/* Questions of IPv6 come to a group; a NIC that cannot hear groups has IPv4. */
	if (rte_eth_allmulticast_enable(n->id) < 0)
		log_debug("dpdk", "NIC %u does not hear groups: IPv4 only", n->id);
	rte_eth_macaddr_get(n->id, &mac);
	memcpy(n->mac, mac.addr_bytes, ETHER_MAC_BYTES);
	log_info("dpdk", "NIC %u, MTU %u, address %02x:%02x:%02x:%02x:%02x:%02x", n->id,
		 n->mtu_bytes, n->mac[0], n->mac[1], n->mac[2], n->mac[3], n->mac[4], n->mac[5]);
	return 0;
}

void nic_close(struct nic *n)
{
	nic_flush(n);
	rte_pktmbuf_free_bulk(n->unsent, n->unsent_count);
	if (n->started)
		rte_eth_dev_stop(n->id);
	rte_eth_dev_close(n->id);
	rte_mempool_free(n->pool);
}

struct rte_mbuf *nic_frame(struct nic *n, uint32_t bytes, uint8_t **out)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(n->pool);

	if (!m)
		return NULL;
	*out = (uint8_t *)rte_pktmbuf_append(m, (uint16_t)bytes);
	assert(*out);                   /* frames fit: open_pool() */
	return m;
}

void nic_put(struct rte_mbuf *m)
{
	rte_pktmbuf_free(m);
}

bool nic_send(struct nic *n, struct rte_mbuf *m)
{
	if (n->unsent_count == NIC_UNSENT_MAX)
		nic_flush(n);
	if (n->unsent_count == NIC_UNSENT_MAX) {
		rte_pktmbuf_free(m);
		return false;
	}
	n->unsent[n->unsent_count++] = m;
	return true;
}

/* What the queue has no room for waits for the next time. */
void nic_flush(struct nic *n)
{
	uint32_t sent;

	if (n->unsent_count == 0 || !n->started)
		return;
	sent = rte_eth_tx_burst(n->id, 0, n->unsent, (uint16_t)n->unsent_count);
	n->unsent_count -= sent;
	memmove(n->unsent, n->unsent + sent, n->unsent_count * sizeof(n->unsent[0]));
}

void nic_revive(struct nic *n, uint64_t now_ns)
{
	struct rte_eth_link link;

	if (!n->connects || now_ns - n->looked_ns < REVIVE_NS)
		return;
	if (n->looked_ns && (!n->started || (rte_eth_link_get_nowait(n->id, &link) == 0 &&
					     link.link_status == RTE_ETH_LINK_DOWN))) {
		if (n->started)
			rte_eth_dev_stop(n->id);
		n->started = rte_eth_dev_start(n->id) == 0;
	}
	n->looked_ns = now_ns;
}

uint32_t nic_receive(struct nic *n, struct rte_mbuf **out, uint32_t most)
{
	if (!n->started)
		return 0;
	/* Buffers are cached per logical core: a thread of ours needs one. */
	if (rte_lcore_id() == LCORE_ID_ANY)
		rte_thread_register();
	return rte_eth_rx_burst(n->id, 0, out, (uint16_t)most);
}

bool nic_bytes(const struct rte_mbuf *m, const uint8_t **bytes, uint32_t *count)
{
	*bytes = rte_pktmbuf_mtod(m, const uint8_t *);
	*count = rte_pktmbuf_data_len(m);
	return m->nb_segs == 1;
}
