/* port_impaired.c - holds datagrams until their time.
 *
 * What is lent is memory of this file, copied into a buffer of the inner port when
 * its time has come: a bad network need not be a fast one.
 */
#include "dataplane/port_impaired.h"

#include <errno.h>
#include <string.h>

#include "dataplane/base/memory.h"

enum { LONGEST_BYTES = 9216 };

struct held {
	uint64_t due_ns, sequence;
	uint32_t path, length;
	struct held *next;
	uint8_t *bytes;                 /* LONGEST_BYTES */
};

struct impaired {
	struct port port;
	struct port *inner;
	const struct clock *clock;
	struct impair impair;
	struct held *all, *free;
	uint8_t *memory;                /* of all */
	uint32_t count;                 /* of all */
	struct held *waiting;           /* by time */
	uint64_t sequence;
};

static struct impaired *impaired(struct port *p)
{
	return CONTAINER_OF(p, struct impaired, port);
}

static bool later(const struct held *a, const struct held *b)
{
	return a->due_ns != b->due_ns ? a->due_ns > b->due_ns : a->sequence > b->sequence;
}

static void wait_until(struct impaired *i, struct held *h, uint64_t due_ns)
{
	struct held **at = &i->waiting;

	h->due_ns = due_ns;
	h->sequence = i->sequence++;
	while (*at && later(h, *at))
		at = &(*at)->next;
	h->next = *at;
	*at = h;
}

static void give_back(struct impaired *i, struct held *h)
{
	h->next = i->free;
	i->free = h;
}

static struct held *take(struct impaired *i)
{
	struct held *h = i->free;

	if (h)
		i->free = h->next;
	return h;
}

static void pass_on(struct impaired *i)
{
	uint64_t now_ns = clock_ns(i->clock);
	struct port_datagram d;
	struct held *h;

	while ((h = i->waiting) && h->due_ns <= now_ns) {
		if (!i->inner->ops->lend(i->inner, h->path, h->length, &d))
			return;
		i->waiting = h->next;
		memcpy(d.bytes, h->bytes, h->length);
		i->inner->ops->send(i->inner, &d, 1);
		give_back(i, h);
	}
}

static void send_one(struct impaired *i, struct held *h, uint32_t length)
{
	struct impair_fate fate = impair_fate(&i->impair, length, clock_ns(i->clock));
	struct held *copy = fate.copies > 1 ? take(i) : NULL;

	i->port.statistics.sent++;
	i->port.statistics.sent_bytes += length;
	h->length = length;
	if (fate.copies == 0) {
		give_back(i, h);
		return;
	}
	if (copy) {
		copy->path = h->path;
		copy->length = h->length;
		memcpy(copy->bytes, h->bytes, length);
		wait_until(i, copy, fate.due_ns[1]);
	}
	if (fate.corrupt)
		h->bytes[fate.bit / 8] ^= (uint8_t)(1 << fate.bit % 8);
	wait_until(i, h, fate.due_ns[0]);
}

static void impaired_send(struct port *p, struct port_datagram *burst, uint32_t count)
{
	for (uint32_t k = 0; k < count; k++)
		send_one(impaired(p), burst[k].owner, burst[k].length);
	pass_on(impaired(p));
}

static bool impaired_lend(struct port *p, uint32_t path, uint32_t bytes, struct port_datagram *out)
{
	struct held *h = take(impaired(p));

	assert(bytes <= LONGEST_BYTES);
	if (!h)
		return false;
	h->path = path;
	*out = (struct port_datagram){ .bytes = h->bytes, .length = bytes, .path = path,
				       .owner = h };
	return true;
}

static uint32_t impaired_receive(struct port *p, struct port_datagram *burst, uint32_t most)
{
	struct impaired *i = impaired(p);
	uint32_t count;

	pass_on(i);
	count = i->inner->ops->receive(i->inner, burst, most);
	p->statistics.received = i->inner->statistics.received;
	p->statistics.received_bytes = i->inner->statistics.received_bytes;
	p->statistics.dropped_receiving = i->inner->statistics.dropped_receiving;
	return count;
}

/* Lent ones are ours, received ones the inner port's. */
static void impaired_release(struct port *p, struct port_datagram *burst, uint32_t count)
{
	struct impaired *i = impaired(p);

	for (uint32_t k = 0; k < count; k++) {
		struct held *h = burst[k].owner;

		if (h >= i->all && h < i->all + i->count)
			give_back(i, h);
		else
			i->inner->ops->release(i->inner, &burst[k], 1);
	}
}

static int impaired_path(struct port *p, const struct address *to, uint32_t *path,
			 struct error *e)
{
	struct port *inner = impaired(p)->inner;

	return inner->ops->path(inner, to, path, e);
}

static void impaired_forget(struct port *p, uint32_t path)
{
	struct port *inner = impaired(p)->inner;

	inner->ops->forget(inner, path);
}

static uint32_t impaired_mtu(struct port *p, uint32_t path)
{
	struct port *inner = impaired(p)->inner;

	return MIN(inner->ops->mtu_bytes(inner, path), LONGEST_BYTES);
}

uint64_t port_impaired_next(const struct port *p)
{
	const struct impaired *i = CONTAINER_OF(p, const struct impaired, port);

	return i->waiting ? i->waiting->due_ns : UINT64_MAX;
}

static uint64_t impaired_rest(struct port *p, int *descriptor)
{
	struct impaired *i = impaired(p);
	uint64_t rest_ns = i->inner->ops->rest(i->inner, descriptor);
	uint64_t now_ns = clock_ns(i->clock), next_ns = port_impaired_next(p);

	return next_ns == UINT64_MAX ? rest_ns : MIN(rest_ns, next_ns - MIN(next_ns, now_ns));
}

static void impaired_close(struct port *p)
{
	struct impaired *i = impaired(p);

	port_close(i->inner);
	mem_free(i->all);
	mem_free(i->memory);
	mem_free(i);
}

static const struct port_ops ops = {
	.name = "impaired", .close = impaired_close, .path = impaired_path,
	.forget = impaired_forget, .mtu_bytes = impaired_mtu, .lend = impaired_lend,
	.send = impaired_send, .receive = impaired_receive, .release = impaired_release,
	.rest = impaired_rest,
};

int port_impaired_open(struct port **out, struct port *inner, const struct impair_options *o,
		       const struct clock *clock, uint32_t held)
{
	struct impaired *i = mem_calloc(1, sizeof(*i));

	*out = NULL;
	if (!i)
		return -ENOMEM;
	i->all = mem_calloc(held, sizeof(*i->all));
	i->memory = mem_alloc((size_t)held * LONGEST_BYTES);
	if (!i->all || !i->memory) {
		mem_free(i->all);
		mem_free(i->memory);
		mem_free(i);
		return -ENOMEM;
	}
	i->port.ops = &ops;
	i->inner = inner;
	i->clock = clock;
	i->count = held;
	impair_start(&i->impair, o);
	for (uint32_t k = 0; k < held; k++) {
		i->all[k].bytes = i->memory + (size_t)k * LONGEST_BYTES;
		give_back(i, &i->all[k]);
	}
	*out = &i->port;
	return 0;
}
