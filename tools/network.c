/* network.c - network flags into transport options, and the port they ask for. */
#include "tools/network.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "dataplane/port_dpdk.h"
#include "dataplane/port_impaired.h"

enum { IMPAIRED_HELD = 8192 };

/* "10.1.1.1/24:7900" as others dial it: "10.1.1.1:7900"; likewise "[fd00::1/64]:7900". */
static int without_prefix(const char *text, struct address *out, struct error *e)
{
	const char *slash = strchr(text, '/');
	const char *rest = slash ? strpbrk(slash, "]:") : NULL;
	char plain[ADDRESS_TEXT_BYTES];

	if (!rest)
		return error_set(e, -EINVAL, "'%s' is not ADDRESS/PREFIX:PORT, as in "
				 "10.1.1.1/24:7900 or [fd00::1/64]:7900", text);
	snprintf(plain, sizeof(plain), "%.*s%s", (int)(slash - text), text, rest);
	return address_parse(out, plain, e);
}

static int impaired(struct port **port, const char *words, const struct clock *clock,
		    struct error *e)
{
	struct impair_options o = { 0 };
	struct port *worse;
	int rc = impair_parse(&o, words, e);

	if (rc == 0 && !impair_is_none(&o)) {
		rc = port_impaired_open(&worse, *port, &o, clock, IMPAIRED_HELD);
		if (rc < 0)
			error_errno(e, rc, "a bad network");
		else
			*port = worse;
	}
	return rc < 0 ? error_wrap(e, "--impair") : 0;
}

int network_open(struct transport_options *o, struct port **port, const struct network_flags *f,
		 struct error *e)
{
	const struct port_dpdk_options dpdk = {
		.args = f->dpdk_args, .device = f->dpdk_port, .address = f->dpdk_address,
		.gateway = f->dpdk_gateway, .clock = o->clock,
	};
	int rc;

	*port = NULL;
	o->lanes = (uint32_t)f->lanes;
	o->busy_poll = f->busy_poll;
	o->near_ns = f->near_ns;
	if (!f->dpdk_address) {
		if (f->dpdk_port || f->dpdk_args || f->dpdk_gateway || f->impair)
			return error_set(e, -EINVAL, "--dpdk-port, --dpdk-args, --dpdk-gateway and "
					 "--impair want --dpdk-address, too");
		return 0;
	}
	if (!o->identity)
		return error_set(e, -EINVAL, "--dpdk-address: datagrams are always sealed, and "
				 "--insecure has no keys for them");
	rc = without_prefix(f->dpdk_address, &o->datagrams, e);
	if (rc == 0)
		rc = port_dpdk_open(port, &dpdk, e);
	if (rc < 0)
		return error_wrap(e, "--dpdk-address %s", f->dpdk_address);
	if (f->impair)
		rc = impaired(port, f->impair, o->clock, e);
	if (rc < 0) {
		port_close(*port);
		*port = NULL;
	}
	o->port = *port;
	return rc;
}
