/* program.c - owns a program's signals and the order in which its common parts come and go.
 */
#include "tools/program.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "dataplane/base/log.h"
#include "dataplane/base/memory.h"

struct running {
	struct running_options options;
	struct identity *identity;      /* NULL: insecure */
	struct port *port;              /* NULL: no datagrams */
	struct address directory;
	struct node *node;
	struct rpc *rpc;
	struct keeper *keeper;
	struct endpoints *endpoints;
	struct http *http;
	struct address address;
	char metrics_url[ADDRESS_TEXT_BYTES + 24];
	int signals_seen;
};

/* Handlers have no context: the one running program of this process. */
static struct running *the_running;
static atomic_int signals;

static void on_signal(int number)
{
	int saved = errno;

	atomic_fetch_add(&signals, 1);
	if (the_running)
		node_wake(the_running->node);
	errno = saved;
}

static int poll_signals(void *ctx, uint64_t now_ns)
{
	struct running *r = ctx;
	int seen = atomic_load(&signals);

	if (seen == r->signals_seen)
		return 0;
	if (r->signals_seen == 0 && seen == 1 && r->options.stopping) {
		log_info("main", "stopping; a second signal stops at once");
		r->options.stopping(r->options.ctx);
	} else {
		running_stop(r);
	}
	r->signals_seen = seen;
	return 1;
}

static uint64_t no_deadline(void *ctx)
{
	return UINT64_MAX;
}

static void catch_signals(struct running *r)
{
	struct sigaction action = { .sa_handler = on_signal };
	const struct poller poller = { "signals", r, poll_signals, no_deadline };

	the_running = r;
	sigemptyset(&action.sa_mask);
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGINT, &action, NULL);
	signal(SIGPIPE, SIG_IGN);
	core_add(node_core(r->node), &poller);
}

/* What a program has to be by its certificate. */
static enum principal_role principal_role_of(enum wire_role role)
{
	switch (role) {
	case ROLE_SERVER:
		return PRINCIPAL_SERVER;
	case ROLE_GATEWAY:
		return PRINCIPAL_GATEWAY;
	case ROLE_DIRECTORY:
		return PRINCIPAL_DIRECTORY;
	default:
		return PRINCIPAL_OPERATOR;
	}
}

static int open_identity(struct running *r, struct error *e)
{
	const struct running_options *o = &r->options;
	enum principal_role role = principal_role_of(o->role);
	struct principal self;
	int rc = security_open(&r->identity, o->security, o->directory, role, e);

	if (rc < 0 || !r->identity)
		return rc;
	identity_self(r->identity, &self);
	if (!(self.roles & PRINCIPAL_BIT(role)))
		return error_set(e, -EKEYREJECTED,
				 "the certificate of %s in %s does not let it be a "
				 "%s: `petalsctl ca issue --role %s`",
				 self.name, identity_folder(r->identity), principal_role_name(role),
				 principal_role_name(role));
	return 0;
}

static int open_keeper(struct running *r, struct error *e)
{
	struct keeper_options o = {
		.node = r->node, .rpc = r->rpc, .identity = r->identity,
		.directory = r->options.directory ? &r->directory : NULL,
		.renew = r->options.renew, .ctx = r->options.ctx,
	};
	int rc = 0;

	if (!r->identity)
		return 0;
	if (o.directory)
		rc = address_parse(&r->directory, r->options.directory, e);
	return rc < 0 ? rc : keeper_open(&r->keeper, &o, e);
}

static int open_node(struct running *r, struct error *e)
{
	struct transport_options o;
	int rc;

	transport_options_default(&o);
	o.engine = "uring";
	o.clock = clock_real();
	o.role = r->options.role;
	o.name = r->options.name;
	o.identity = r->identity;
	if (r->options.large_bytes)
		o.large_bytes = MAX(o.large_bytes, r->options.large_bytes);
	if (r->options.peers_max)
		o.peers_max = r->options.peers_max;
	rc = r->options.network ? network_open(&o, &r->port, r->options.network, e) : 0;
	return rc < 0 ? rc : node_open(&r->node, &o, e);
}

static int listen_for_peers(struct running *r, struct error *e)
{
	struct address a;
	int rc = address_parse(&a, r->options.listen, e);

	if (rc == 0)
		rc = node_listen(r->node, &a, &r->address, e);
	return rc < 0 ? error_wrap(e, "--listen %s", r->options.listen) : 0;
}

static int listen_for_metrics(struct running *r, struct error *e)
{
	struct address a, bound;
	int rc = address_parse(&a, r->options.metrics, e);

	if (rc == 0)
		rc = endpoints_listen(r->endpoints, &a, r->identity, &r->http, e);
	if (rc < 0)
		return error_wrap(e, "--metrics %s", r->options.metrics);
	http_bound(r->http, &bound);
	snprintf(r->metrics_url, sizeof(r->metrics_url), "%s://%s/metrics", http_scheme(r->http),
		 bound.text);
	return 0;
}

int running_open(struct running **out, const struct running_options *o, struct error *e)
{
	struct running *r = mem_calloc(1, sizeof(*r));
	int rc;

	if (!r)
		return error_errno(e, -ENOMEM, "%s", o->name);
	r->options = *o;
	rc = open_identity(r, e);
	if (rc == 0)
		rc = open_node(r, e);
	if (rc == 0)
		rc = rpc_open(&r->rpc, r->node);
	if (rc == 0)
		rc = endpoints_open(&r->endpoints, o->name, node_core(r->node), clock_real());
	if (rc == 0)
		rc = open_keeper(r, e);
	if (rc == 0 && o->listen)
		rc = listen_for_peers(r, e);
	if (rc == 0 && o->metrics)
		rc = listen_for_metrics(r, e);
	if (rc < 0) {
		if (e && !e->code)
			error_errno(e, rc, "%s could not start", o->name);
		running_close(r);
		return rc;
	}
	endpoints_add_counters(r->endpoints, transport_counters(node_transport(r->node)));
	if (transport_datagram_counters(node_transport(r->node)))
		endpoints_add_counters(r->endpoints,
				       transport_datagram_counters(node_transport(r->node)));
	endpoints_add_counters(r->endpoints, node_counters(r->node));
	endpoints_add_counters(r->endpoints, rpc_counters(r->rpc));
	if (r->identity) {
		endpoints_add_counters(r->endpoints, identity_counters(r->identity));
		endpoints_add_counters(r->endpoints, keeper_counters(r->keeper));
	}
	catch_signals(r);
	*out = r;
	return 0;
}

void running_close(struct running *r)
{
	if (!r)
		return;
	the_running = NULL;
	http_close(r->http);
	endpoints_close(r->endpoints);
	keeper_close(r->keeper);
	rpc_close(r->rpc);
	node_close(r->node);
	port_close(r->port);
	identity_close(r->identity);
	mem_free(r);
}

struct identity *running_identity(struct running *r)
{
	return r->identity;
}

struct node *running_node(struct running *r)
{
	return r->node;
}

struct rpc *running_rpc(struct running *r)
{
	return r->rpc;
}

struct endpoints *running_endpoints(struct running *r)
{
	return r->endpoints;
}

const struct address *running_address(const struct running *r)
{
	return &r->address;
}

const char *running_metrics_url(const struct running *r)
{
	return r->metrics_url;
}

void running_loop(struct running *r)
{
	core_run(node_core(r->node));
}

void running_stop(struct running *r)
{
	core_stop(node_core(r->node));
}
