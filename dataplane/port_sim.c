/* port_sim.c - simulated ports: a pool of datagrams, a heap by arrival. */
#include "dataplane/port_sim.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/base/memory.h"

enum { NO_INDEX = UINT32_MAX };

/* In flight or lent. */
struct parcel {
	uint64_t due_ns, sequence;
	uint32_t length;
	bool marked;
	uint32_t next;                  /* free list */
};

struct sim_port {
	struct port port;
	struct port_network *network;
	uint32_t node;
	uint64_t link_free_ns;          /* when its queue will be empty */
	uint32_t *heap, heap_count;     /* of parcels on their way to it, by time */
};

struct port_network {
	struct port_network_options options;
	const struct clock *clock;
	struct sim_port *ports[PORT_NETWORK_NODES];
	uint64_t cut[PORT_NETWORK_NODES];       /* bit per node that hears nothing */
	struct parcel *parcels;
	uint8_t *memory;                /* mtu_bytes for each */
	uint32_t free, in_flight;
	uint64_t sequence;
};

static struct sim_port *sim_port(struct port *p)
{
	return CONTAINER_OF(p, struct sim_port, port);
}

int port_network_open(struct port_network **out, const struct port_network_options *o,
		      const struct clock *clock)
{
	struct port_network *n = mem_calloc(1, sizeof(*n));

	*out = NULL;
	if (!n)
		return -ENOMEM;
	n->options = *o;
	n->clock = clock;
	n->parcels = mem_calloc(o->datagrams, sizeof(*n->parcels));
	n->memory = mem_alloc((size_t)o->datagrams * o->mtu_bytes);
	if (!n->parcels || !n->memory) {
		port_network_close(n);
		return -ENOMEM;
	}
	n->free = NO_INDEX;
	for (uint32_t i = o->datagrams; i-- > 0; n->free = i)
		n->parcels[i].next = n->free;
	*out = n;
	return 0;
}

void port_network_close(struct port_network *n)
{
	if (!n)
		return;
	for (uint32_t i = 0; i < PORT_NETWORK_NODES; i++)
		assert(!n->ports[i]);
	mem_free(n->parcels);
	mem_free(n->memory);
	mem_free(n);
}

static uint32_t parcel_get(struct port_network *n)
{
	uint32_t index = n->free;

	if (index != NO_INDEX)
		n->free = n->parcels[index].next;
	return index;
}

static void parcel_put(struct port_network *n, uint32_t index)
{
	n->parcels[index].next = n->free;
	n->free = index;
}

static uint8_t *parcel_bytes(struct port_network *n, uint32_t index)
{
	return n->memory + (size_t)index * n->options.mtu_bytes;
}

static bool earlier(const struct port_network *n, uint32_t a, uint32_t b)
{
	const struct parcel *pa = &n->parcels[a], *pb = &n->parcels[b];

	return pa->due_ns != pb->due_ns ? pa->due_ns < pb->due_ns : pa->sequence < pb->sequence;
}

static void heap_push(struct sim_port *s, uint32_t index)
{
	uint32_t i = s->heap_count++;

	for (; i > 0 && earlier(s->network, index, s->heap[(i - 1) / 2]); i = (i - 1) / 2)
		s->heap[i] = s->heap[(i - 1) / 2];
	s->heap[i] = index;
	s->network->in_flight++;
}

static uint32_t heap_pop(struct sim_port *s)
{
	uint32_t first = s->heap[0], last = s->heap[--s->heap_count], hole = 0, child;

	for (; (child = 2 * hole + 1) < s->heap_count; hole = child) {
		if (child + 1 < s->heap_count &&
		    earlier(s->network, s->heap[child + 1], s->heap[child]))
			child++;
		if (!earlier(s->network, s->heap[child], last))
			break;
		s->heap[hole] = s->heap[child];
	}
	s->heap[hole] = last;
	s->network->in_flight--;
	return first;
}

uint64_t port_sim_next(const struct port *p)
{
	const struct sim_port *s = CONTAINER_OF(p, const struct sim_port, port);

	return s->heap_count ? s->network->parcels[s->heap[0]].due_ns : UINT64_MAX;
}

uint32_t port_network_in_flight(const struct port_network *n)
{
	return n->in_flight;
}

void port_network_cut(struct port_network *n, uint32_t a, uint32_t b, bool cut)
{
	n->cut[a] = cut ? n->cut[a] | 1ull << b : n->cut[a] & ~(1ull << b);
}

static int sim_path(struct port *p, const struct address *to, uint32_t *path, struct error *e)
{
	long node = strncmp(to->text, "sim:", 4) == 0 ? strtol(to->text + 4, NULL, 10) : -1;

	if (node < 0 || node >= PORT_NETWORK_NODES)
		return error_set(e, -EINVAL, "'%s' is no address of the simulated network; like "
				 "sim:3", to->text);
	*path = (uint32_t)node;
	return 0;
}

static void sim_forget(struct port *p, uint32_t path)
{
}

static uint32_t sim_mtu(struct port *p, uint32_t path)
{
	return sim_port(p)->network->options.mtu_bytes;
}

static bool sim_lend(struct port *p, uint32_t path, uint32_t bytes, struct port_datagram *out)
{
	struct port_network *n = sim_port(p)->network;
	uint32_t index;

	assert(bytes <= n->options.mtu_bytes);
	index = parcel_get(n);
	if (index == NO_INDEX)
		return false;
	*out = (struct port_datagram){ .bytes = parcel_bytes(n, index), .length = bytes,
				       .path = path, .owner = &n->parcels[index] };
	return true;
}

/* Into the receiving link's queue; false: it is full. */
static bool enqueue(struct port_network *n, struct parcel *parcel, struct sim_port *to)
{
	const struct port_network_options *o = &n->options;
	uint64_t at_ns = clock_ns(n->clock) + o->delay_ns;
	double waiting;

	parcel->due_ns = at_ns;
	if (o->bytes_per_ns <= 0)
		return true;
	to->link_free_ns = MAX(to->link_free_ns, at_ns);
	waiting = (double)(to->link_free_ns - at_ns) * o->bytes_per_ns;
	if (waiting + parcel->length > o->queue_bytes)
		return false;
	parcel->marked = o->mark_bytes && waiting >= o->mark_bytes;
	to->link_free_ns += (uint64_t)(parcel->length / o->bytes_per_ns);
	parcel->due_ns = to->link_free_ns;
	return true;
}

static bool vanishes(const struct port_network *n, uint32_t length)
{
	return n->options.vanish_bytes && length > n->options.vanish_bytes;
}

static void send_one(struct sim_port *from, const struct port_datagram *d)
{
	struct port_network *n = from->network;
	struct parcel *parcel = d->owner;
	struct sim_port *to = n->ports[d->path];

	from->port.statistics.sent++;
	from->port.statistics.sent_bytes += d->length;
	parcel->length = d->length;
	parcel->marked = false;
	parcel->sequence = n->sequence++;
	if (!to || n->cut[from->node] >> d->path & 1 || vanishes(n, d->length) ||
	    !enqueue(n, parcel, to)) {
		parcel_put(n, (uint32_t)(parcel - n->parcels));
		return;
	}
	heap_push(to, (uint32_t)(parcel - n->parcels));
}

static void sim_send(struct port *p, struct port_datagram *burst, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		send_one(sim_port(p), &burst[i]);
}

static uint32_t sim_receive(struct port *p, struct port_datagram *burst, uint32_t most)
{
	struct sim_port *s = sim_port(p);
	struct port_network *n = s->network;
	uint64_t now_ns = clock_ns(n->clock);
	uint32_t count = 0, index;

	for (; count < most && port_sim_next(p) <= now_ns; count++) {
		index = heap_pop(s);
		burst[count] = (struct port_datagram){
			.bytes = parcel_bytes(n, index), .length = n->parcels[index].length,
			.marked = n->parcels[index].marked, .owner = &n->parcels[index],
		};
		p->statistics.received++;
		p->statistics.received_bytes += burst[count].length;
	}
	return count;
}

static void sim_release(struct port *p, struct port_datagram *burst, uint32_t count)
{
	struct port_network *n = sim_port(p)->network;

	for (uint32_t i = 0; i < count; i++)
		parcel_put(n, (uint32_t)((struct parcel *)burst[i].owner - n->parcels));
}

static uint64_t sim_rest(struct port *p, int *descriptor)
{
	uint64_t next_ns = port_sim_next(p);
	uint64_t now_ns = clock_ns(sim_port(p)->network->clock);

	*descriptor = -1;
	return next_ns == UINT64_MAX ? UINT64_MAX : next_ns - MIN(next_ns, now_ns);
}

/* What was on its way to it is lost. */
static void sim_close(struct port *p)
{
	struct sim_port *s = sim_port(p);
	struct port_network *n = s->network;

	while (s->heap_count > 0)
		parcel_put(n, heap_pop(s));
	n->ports[s->node] = NULL;
	mem_free(s->heap);
	mem_free(s);
}

static const struct port_ops ops = {
	.name = "sim", .close = sim_close, .path = sim_path, .forget = sim_forget,
	.mtu_bytes = sim_mtu, .lend = sim_lend, .send = sim_send, .receive = sim_receive,
	.release = sim_release, .rest = sim_rest,
};

int port_sim_open(struct port **out, struct port_network *n, uint32_t node)
{
	struct sim_port *s;

	*out = NULL;
	assert(node < PORT_NETWORK_NODES);
	if (n->ports[node])
		return -EEXIST;
	s = mem_calloc(1, sizeof(*s));
	if (!s)
		return -ENOMEM;
	s->heap = mem_calloc(n->options.datagrams, sizeof(*s->heap));
	if (!s->heap) {
		mem_free(s);
		return -ENOMEM;
	}
	s->port.ops = &ops;
	s->network = n;
	s->node = node;
	n->ports[node] = s;
	*out = &s->port;
	return 0;
}
