/* port.c - datagrams as frames of a NIC: paths, neighbours, rest.  The module's entry stands
 * at its end.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/base/log.h"
#include "dataplane/base/memory.h"
#include "dataplane/dpdk/eal.h"
#include "dataplane/dpdk/nic.h"
#include "dataplane/neighbours.h"
#include "dataplane/port_dpdk.h"

enum {
	PATHS_MAX = 256,
	BUSY_NS = 50000,                /* so long after work there is no rest */
	REST_NS_MOST = 1000000,
	REST_PART = 4,                  /* of the idle time so far */
	LOOK_EVERY = 64,                /* turns of a busy loop between looks at the clock */
};

struct path {
	bool used;
	uint8_t ip[ETHER_IP_BYTES];
	uint16_t port;
	int neighbour;                  /* the host itself, or the gateway */
};

struct dpdk_port {
	struct port port;
	const struct clock *clock;
	struct nic nic;
	struct ether_host us;
	uint16_t udp_port;
	uint32_t prefix;                /* of our link */
	bool has_gateway;
	uint8_t gateway[ETHER_IP_BYTES];
	struct neighbours neighbours;
	uint64_t neighbours_due_ns;
	uint32_t turns;
	bool worked;                    /* since rest() looked */
	uint64_t worked_ns;
	struct path paths[PATHS_MAX];
};

static struct dpdk_port *dpdk(struct port *p)
{
	return CONTAINER_OF(p, struct dpdk_port, port);
}

/* ---- options ---- */

/* "10.1.1.1/24:7900", "[fd00::1/64]:7900" */
static bool parse_address(const char *text, uint8_t ip[ETHER_IP_BYTES], uint32_t *prefix,
			  uint16_t *port)
{
	struct address a;
	char copy[ADDRESS_TEXT_BYTES], *start = copy, *colon;

	snprintf(copy, sizeof(copy), "%s", text ? text : "");
	snprintf(a.text, sizeof(a.text), "%s", copy);
	colon = strrchr(copy, ':');
	*port = address_port(&a);
	if (!colon || *port == 0)
		return false;
	*colon = '\0';
	if (*start == '[' && colon[-1] == ']') {
		start++;
		colon[-1] = '\0';
	} else if (strchr(start, ':')) {
		return false;           /* IPv6 without its brackets */
	}
	return ether_parse_ip(start, ip, prefix);
}

static int parse_ours(struct dpdk_port *d, const char *text, struct error *e)
{
	if (parse_address(text, d->us.ip, &d->prefix, &d->udp_port))
		return 0;
	return error_set(e, -EINVAL, "'%s' is no address for a DPDK port; it takes IP/PREFIX:PORT "
			 "like 10.1.1.1/24:7900 or [fd00::1/64]:7900", text ? text : "");
}

static int parse_gateway(struct dpdk_port *d, const char *text, struct error *e)
{
	uint32_t prefix;

	d->has_gateway = text != NULL;
	if (!text || (ether_parse_ip(text, d->gateway, &prefix) &&
		      ether_same_net(d->gateway, d->us.ip, d->prefix)))
		return 0;
	return error_set(e, -EINVAL, "'%s' is no gateway on our link; it takes an IP address "
			 "like 10.1.1.254", text);
}

/* ---- paths ---- */

static int next_hop(struct dpdk_port *d, const uint8_t *ip, const char *text, struct error *e)
{
	bool near = ether_same_net(ip, d->us.ip, d->prefix);
	int rc;

	if (ether_is_v4(ip) != ether_is_v4(d->us.ip))
		return error_set(e, -EHOSTUNREACH, "%s is of the other family of addresses than "
				 "the DPDK port", text);
	if (!near && !d->has_gateway)
		return error_set(e, -EHOSTUNREACH, "%s is not on the link of the DPDK port and "
				 "there is no gateway", text);
	rc = neighbours_want(&d->neighbours, near ? ip : d->gateway, clock_ns(d->clock));
	if (rc < 0)
		return error_set(e, rc, "more than %d hosts on the link of the DPDK port",
				 NEIGHBOURS_MAX);
	d->neighbours_due_ns = 0;
	d->turns = 0;
	return rc;
}

static int port_path(struct port *p, const struct address *to, uint32_t *out, struct error *e)
{
	struct dpdk_port *d = dpdk(p);
	struct path path = { .used = true };
	uint32_t prefix, at = 0;

	if (!parse_address(to->text, path.ip, &prefix, &path.port) || strchr(to->text, '/'))
		return error_set(e, -EINVAL, "'%s' is no address for datagrams; they take "
				 "IP:PORT", to->text);
	while (at < PATHS_MAX && d->paths[at].used)
		at++;
	if (at == PATHS_MAX)
		return error_set(e, -ENOSPC, "more than %d paths of a DPDK port", PATHS_MAX);
	path.neighbour = next_hop(d, path.ip, to->text, e);
	if (path.neighbour < 0)
		return path.neighbour;
	d->paths[at] = path;
	*out = at;
	return 0;
}

static void port_forget(struct port *p, uint32_t path)
{
	struct dpdk_port *d = dpdk(p);

	assert(d->paths[path].used);
	neighbours_forget(&d->neighbours, d->paths[path].neighbour);
	d->paths[path].used = false;
}

static uint32_t port_mtu(struct port *p, uint32_t path)
{
	struct dpdk_port *d = dpdk(p);

	return d->nic.mtu_bytes + ETHER_ALONE_BYTES - ether_head_bytes(d->us.ip);
}

/* ---- neighbours ---- */

static void ask(struct dpdk_port *d, const uint8_t *ip)
{
	uint8_t question[ETHER_NEIGHBOUR_BYTES_MAX], *out;
	uint32_t bytes = ether_write_ask(question, &d->us, ip);
	struct rte_mbuf *m = nic_frame(&d->nic, bytes, &out);

	if (!m)
		return;                 /* asked again later */
	memcpy(out, question, bytes);
	nic_send(&d->nic, m);
}

static void ask_neighbours(struct dpdk_port *d, uint64_t now_ns)
{
	const uint8_t *ip;

	if (now_ns < d->neighbours_due_ns)
		return;
	while ((ip = neighbours_ask(&d->neighbours, now_ns)))
		ask(d, ip);
	d->neighbours_due_ns = neighbours_due(&d->neighbours);
}

static void tell(struct dpdk_port *d, const struct ether_host *to)
{
	uint8_t answer[ETHER_NEIGHBOUR_BYTES_MAX], *out;
	uint32_t bytes = ether_write_tell(answer, &d->us, to);
	struct rte_mbuf *m = nic_frame(&d->nic, bytes, &out);

	if (!m)
		return;                 /* they will ask again */
	memcpy(out, answer, bytes);
	nic_send(&d->nic, m);
}

static void take_neighbour(struct dpdk_port *d, const struct ether_frame *f)
{
	neighbours_told(&d->neighbours, &f->from, clock_ns(d->clock));
	if (f->kind == ETHER_ASKS && memcmp(f->to_ip, d->us.ip, ETHER_IP_BYTES) == 0)
		tell(d, &f->from);
}

/* ---- datagrams ---- */

static bool port_lend(struct port *p, uint32_t path, uint32_t bytes, struct port_datagram *out)
{
	struct dpdk_port *d = dpdk(p);
	uint32_t head = ether_head_bytes(d->us.ip);
	uint8_t *frame;
	struct rte_mbuf *m;

	assert(bytes <= port_mtu(p, path));
	if (d->nic.unsent_count == NIC_UNSENT_MAX)
		return false;
	m = nic_frame(&d->nic, head + bytes, &frame);
	if (!m)
		return false;
	*out = (struct port_datagram){ .bytes = frame + head, .length = bytes,
				       .path = path, .owner = m };
	return true;
}

static void port_send(struct port *p, struct port_datagram *burst, uint32_t count)
{
	struct dpdk_port *d = dpdk(p);

	for (uint32_t i = 0; i < count; i++) {
		const struct path *path = &d->paths[burst[i].path];
		const struct ether_host *hop = neighbours_known(&d->neighbours, path->neighbour);
		struct ether_host to;

		if (!hop) {
			nic_put(burst[i].owner);
			p->statistics.dropped_sending++;
			continue;
		}
		memcpy(to.mac, hop->mac, ETHER_MAC_BYTES);
		memcpy(to.ip, path->ip, ETHER_IP_BYTES);
		ether_write_udp(burst[i].bytes, burst[i].length, &d->us, d->udp_port, &to,
				path->port);
		if (!nic_send(&d->nic, burst[i].owner)) {
			p->statistics.dropped_sending++;
			continue;
		}
		p->statistics.sent++;
		p->statistics.sent_bytes += burst[i].length;
	}
	nic_flush(&d->nic);
	d->worked = true;
}

/* true: it is a datagram for us and now out's. */
static bool take(struct dpdk_port *d, struct rte_mbuf *m, struct port_datagram *out)
{
	const uint8_t *bytes;
	uint32_t count;
	struct ether_frame f;

	if (!nic_bytes(m, &bytes, &count))
		return false;
	ether_parse(bytes, count, &f);
	if (f.kind == ETHER_ASKS || f.kind == ETHER_TELLS)
		take_neighbour(d, &f);
	if (f.kind != ETHER_UDP || f.to_port != d->udp_port ||
	    memcmp(f.to_ip, d->us.ip, ETHER_IP_BYTES) != 0)
		return false;
	*out = (struct port_datagram){ .bytes = (uint8_t *)f.datagram, .owner = m,
				       .length = f.datagram_bytes, .marked = f.marked };
	return true;
}

static uint32_t port_receive(struct port *p, struct port_datagram *burst, uint32_t most)
{
	struct rte_mbuf *mbufs[PORT_BURST];
	struct dpdk_port *d = dpdk(p);
	uint32_t got, count = 0;

	assert(most <= PORT_BURST);
	if (d->turns++ % LOOK_EVERY == 0) {
		uint64_t now_ns = clock_ns(d->clock);

		nic_revive(&d->nic, now_ns);
		ask_neighbours(d, now_ns);
	}
	nic_flush(&d->nic);
	got = nic_receive(&d->nic, mbufs, most);
	for (uint32_t i = 0; i < got; i++) {
		if (take(d, mbufs[i], &burst[count])) {
			p->statistics.received_bytes += burst[count].length;
			count++;
			continue;
		}
		nic_put(mbufs[i]);
		p->statistics.dropped_receiving++;
	}
	p->statistics.received += count;
	if (got > 0) {
		d->worked = true;
		nic_flush(&d->nic);     /* answers to neighbours */
	}
	return count;
}

static void port_release(struct port *p, struct port_datagram *burst, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		nic_put(burst[i].owner);
}

/* A polled queue wakes nobody: rest for a part of the time that was idle so far, so
 * that a busy port spins, a quiet one looks a thousand times a second, and what
 * comes after a pause waits for a quarter of that pause at most.
 */
static uint64_t port_rest(struct port *p, int *descriptor)
{
	struct dpdk_port *d = dpdk(p);
	uint64_t now_ns = clock_ns(d->clock), idle_ns, rest_ns;

	*descriptor = -1;
	if (d->worked)
		d->worked_ns = now_ns;
	d->worked = false;
	idle_ns = now_ns - MIN(now_ns, d->worked_ns);
	rest_ns = MIN(idle_ns / REST_PART, (uint64_t)REST_NS_MOST);
	if (idle_ns < BUSY_NS || d->nic.unsent_count > 0)
		return 0;
	d->turns = 0;
	return MIN(rest_ns, d->neighbours_due_ns - MIN(d->neighbours_due_ns, now_ns));
}

static void close_port(struct port *p)
{
	struct dpdk_port *d = dpdk(p);

	nic_close(&d->nic);
	eal_stop();
	mem_free(d);
}

static const struct port_ops ops = {
	.name = "dpdk", .close = close_port, .path = port_path, .forget = port_forget,
	.mtu_bytes = port_mtu, .lend = port_lend, .send = port_send, .receive = port_receive,
	.release = port_release, .rest = port_rest,
};

static int open_port(struct port **out, const struct port_dpdk_options *o, struct error *e)
{
	struct dpdk_port *d = mem_calloc(1, sizeof(*d));
	int rc;

	if (!d)
		return error_errno(e, -ENOMEM, "cannot open a DPDK port");
	d->port.ops = &ops;
	d->clock = o->clock;
	rc = parse_ours(d, o->address, e);
	if (rc == 0)
		rc = parse_gateway(d, o->gateway, e);
	if (rc == 0)
		rc = eal_start(o->args, e);
	if (rc < 0)
		goto err;
	rc = nic_open(&d->nic, o->device, e);
	if (rc < 0)
		goto err_eal;
	memcpy(d->us.mac, d->nic.mac, ETHER_MAC_BYTES);
	*out = &d->port;
	return 0;

err_eal:
	eal_stop();
err:
	mem_free(d);
	return rc;
}

extern const struct port_module petals_port_module;
__attribute__((visibility("default"))) const struct port_module petals_port_module = {
	.head = { PETALS_VERSION, sizeof(struct port_dpdk_options) + sizeof(struct port) },
	.open = open_port,
};
