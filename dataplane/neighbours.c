/* neighbours.c - the table of hosts on our link. */
#include "dataplane/neighbours.h"

#include <errno.h>
#include <string.h>

static struct neighbour *find(struct neighbours *n, const uint8_t *ip)
{
	for (int i = 0; i < NEIGHBOURS_MAX; i++)
		if (n->all[i].state != NEIGHBOUR_FREE &&
		    memcmp(n->all[i].host.ip, ip, ETHER_IP_BYTES) == 0)
			return &n->all[i];
	return NULL;
}

int neighbours_want(struct neighbours *n, const uint8_t ip[ETHER_IP_BYTES], uint64_t now_ns)
{
	struct neighbour *at = find(n, ip);

	if (!at)
		for (int i = NEIGHBOURS_MAX - 1; i >= 0; i--)
			if (n->all[i].state == NEIGHBOUR_FREE)
				at = &n->all[i];
	if (!at)
		return -ENOSPC;
	if (at->state == NEIGHBOUR_FREE) {
		*at = (struct neighbour){ .state = NEIGHBOUR_ASKING, .due_ns = now_ns };
		memcpy(at->host.ip, ip, ETHER_IP_BYTES);
	}
	at->wanted++;
	return (int)(at - n->all);
}

void neighbours_forget(struct neighbours *n, int index)
{
	struct neighbour *at = &n->all[index];

	assert(at->state != NEIGHBOUR_FREE && at->wanted > 0);
	if (--at->wanted == 0)
		at->state = NEIGHBOUR_FREE;
}

const struct ether_host *neighbours_known(const struct neighbours *n, int index)
{
	return n->all[index].state == NEIGHBOUR_KNOWN ? &n->all[index].host : NULL;
}

const uint8_t *neighbours_ask(struct neighbours *n, uint64_t now_ns)
{
	for (int i = 0; i < NEIGHBOURS_MAX; i++) {
		struct neighbour *at = &n->all[i];

		if (at->state == NEIGHBOUR_FREE || now_ns < at->due_ns)
			continue;
		if (at->state == NEIGHBOUR_KNOWN && at->tries >= NEIGHBOUR_TRIES)
			at->state = NEIGHBOUR_ASKING;
		at->tries++;
		at->due_ns = now_ns + NEIGHBOUR_ASK_NS;
		return at->host.ip;
	}
	return NULL;
}

uint64_t neighbours_due(const struct neighbours *n)
{
	uint64_t due_ns = UINT64_MAX;

	for (int i = 0; i < NEIGHBOURS_MAX; i++)
		if (n->all[i].state != NEIGHBOUR_FREE)
			due_ns = MIN(due_ns, n->all[i].due_ns);
	return due_ns;
}

/* While it is known, only an answer to our question may change what is known. */
void neighbours_told(struct neighbours *n, const struct ether_host *host, uint64_t now_ns)
{
	struct neighbour *at = find(n, host->ip);

	if (!at || (at->tries == 0 && memcmp(at->host.mac, host->mac, ETHER_MAC_BYTES) != 0))
		return;
	memcpy(at->host.mac, host->mac, ETHER_MAC_BYTES);
	at->state = NEIGHBOUR_KNOWN;
	at->tries = 0;
	at->due_ns = now_ns + NEIGHBOUR_FRESH_NS;
}
