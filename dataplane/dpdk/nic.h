/* nic.h - one ethdev with one queue each way, and the buffers of both.
 *
 * Frames are single buffers, each as long as the longest frame: the memif driver of
 * DPDK 22.11 mixes up chained ones, and af_packet trusts that a frame fits.  What is
 * sealed is written straight into them, so memory of the arena never meets the NIC.
 *
 * Threads    As port.h.
 * Ownership  nic_open() / nic_close().  Buffers are DPDK's mbufs.
 * Units      _bytes.
 * Errors     -errno with a sentence.
 */
#ifndef PETALS_DATAPLANE_DPDK_NIC_H
#define PETALS_DATAPLANE_DPDK_NIC_H

#include "dataplane/base/error.h"
#include "dataplane/ethernet.h"

enum { NIC_UNSENT_MAX = 256 };

struct rte_mbuf;
struct rte_mempool;

struct nic {
	uint16_t id;
	struct rte_mempool *pool;
	uint8_t mac[ETHER_MAC_BYTES];
	uint32_t mtu_bytes;             /* of what stands behind the Ethernet header */
	struct rte_mbuf *unsent[NIC_UNSENT_MAX];        /* the queue had no room */
	uint32_t unsent_count;
	bool started;
	bool connects;                  /* starting it connects it, once, or fails: memif */
	uint64_t looked_ns;             /* at its link, while that is down */
};

int nic_open(struct nic *n, const char *device, struct error *e);
void nic_close(struct nic *n);

/* A buffer with a frame of so many bytes; NULL: none is free. */
struct rte_mbuf *nic_frame(struct nic *n, uint32_t bytes, uint8_t **out);
void nic_put(struct rte_mbuf *m);
/* Takes it; false: dropped, too many wait. */
bool nic_send(struct nic *n, struct rte_mbuf *m);
void nic_flush(struct nic *n);
/* What connects when it starts is started anew while its link is down. */
void nic_revive(struct nic *n, uint64_t now_ns);
uint32_t nic_receive(struct nic *n, struct rte_mbuf **out, uint32_t most);
/* The frame's bytes; false: it stands in several buffers. */
bool nic_bytes(const struct rte_mbuf *m, const uint8_t **bytes, uint32_t *count);

#endif
