/* simulation.c - owns a simulated swarm's nodes and puts faults between them.
 */
#include "control/simulation.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "control/directory.h"
#include "control/server.h"
#include "control/session_private.h"
#include "dataplane/base/memory.h"

enum { DIRECTORY_NUMBER = 1, CLIENT_NUMBER = 2, SERVER_NUMBER = 100 };
#define LEASE_NS (3 * NS_PER_S)

struct place {
	struct node *node;              /* NULL: not running */
	struct rpc *rpc;
	int number;                     /* on the network */
};

struct sim_server {
	struct place place;
	struct device *device;
	struct server *server;
	uint32_t first, end;
	uint64_t id;
};

struct simulation {
	struct simulation_options options;
	struct sim_network *network;
	struct model *model;
	const struct backend *backend;
	struct device_options device_options;

	struct place directory_place;
	struct directory *directory;

	struct place client_place;
	struct directory_client *watch;
	struct device *device;
	struct edge *edge;
	struct sessions *sessions;
	struct generations *generations;

	struct sim_server servers[SIMULATION_SERVERS_MAX];
	uint32_t server_count;
};

void simulation_options_default(struct simulation_options *o)
{
	*o = (struct simulation_options){
		.spans = 3, .replicas = 2, .device = "cpu", .compute = COMPUTE_F32,
		.round = ROW_F32,
		.page_tokens = 16, .kv_bytes = 2 * MIB, .rows_max = 16,
		.batch_ns = 200 * NS_PER_US,
		.network = { .delay_least_ns = 20 * NS_PER_US, .delay_most_ns = 200 * NS_PER_US },
	};
}

static int place_open(struct simulation *s, struct place *p, enum wire_role role,
		      const char *name, int number, struct error *e)
{
	struct transport_options o;
	struct address address, bound;
	int rc;

	transport_options_default(&o);
	o.engine = "sim";
	o.clock = sim_clock(s->network);
	o.network = s->network;
	o.role = role;
	o.name = name;
	o.peers_max = 128;
	o.large_bytes = s->options.rows_max * model_config(s->model)->hidden * 4;
	snprintf(address.text, sizeof(address.text), "sim:%d", number);
	rc = node_open(&p->node, &o, e);
	if (rc < 0)
		return rc;
	rc = rpc_open(&p->rpc, p->node);
	if (rc == 0)
		rc = node_listen(p->node, &address, &bound, e);
	if (rc == 0)
		rc = sim_attach(s->network, node_core(p->node), node_transport(p->node));
	p->number = rc;
	return rc < 0 ? rc : 0;
}

static void place_close(struct simulation *s, struct place *p)
{
	if (p->node && p->number >= 0)
		sim_detach(s->network, p->number);
	rpc_close(p->rpc);
	node_close(p->node);
	*p = (struct place){ .number = -1 };
}

int simulation_start_directory(struct simulation *s, struct error *e)
{
	struct directory_options o = {
		.store = ":memory:", .ttl_ns = LEASE_NS, .grace_ns = LEASE_NS,
	};
	int rc = place_open(s, &s->directory_place, ROLE_DIRECTORY, "directory",
			    DIRECTORY_NUMBER, e);

	if (rc < 0)
		return rc;
	o.node = s->directory_place.node;
	o.rpc = s->directory_place.rpc;
	return directory_open(&s->directory, &o, e);
}

void simulation_kill_directory(struct simulation *s)
{
	if (!s->directory_place.node)
		return;
	sim_kill(s->network, s->directory_place.number);
	directory_close(s->directory);
	s->directory = NULL;
	place_close(s, &s->directory_place);
}

static void server_options_fill(const struct simulation *s, struct sim_server *v,
				struct server_options *o, const struct address *directory)
{
	const struct simulation_options *so = &s->options;
	uint32_t tokens = model_config(s->model)->positions;

	*o = (struct server_options){
		.node = v->place.node, .rpc = v->place.rpc, .directory = directory,
		.lease_ttl_ns = LEASE_NS, .backend = s->backend, .device = v->device,
		.span = {
			.model = s->model, .first = v->first, .end = v->end,
			.page_tokens = so->page_tokens, .kv_bytes = so->kv_bytes,
			.rows_max = so->rows_max, .entries_max = so->rows_max,
			.tokens_max = tokens, .round = so->round,
		},
		.hops = {
			.round = (enum wire_encoding)so->round, .sessions_max = 64,
			.works_max = 256, .history_bytes = 64 * MIB, .tokens_max = tokens,
			.rows_max = so->rows_max, .entries_max = so->rows_max,
			.prefill_rows = so->rows_max, .threaded = false,
			.cost_ns = so->batch_ns,
		},
	};
	o->member.id = v->id;
	snprintf(o->member.address.text, sizeof(o->member.address.text), "sim:%d",
		 SERVER_NUMBER + (int)(v - s->servers));
	snprintf(o->member.name, sizeof(o->member.name), "server %d", (int)(v - s->servers));
}

int simulation_start(struct simulation *s, uint32_t server, struct error *e)
{
	struct sim_server *v = &s->servers[server];
	uint32_t replica = server / s->options.spans;
	struct device_options device = s->device_options;
	const struct address directory = { "sim:1" };
	struct server_options o;
	int rc = place_open(s, &v->place, ROLE_SERVER, "server", SERVER_NUMBER + (int)server, e);

	device.weights = s->options.weights[replica % SIMULATION_WEIGHTS];
	v->id = random_u64(sim_random(s->network)) | 1;
	if (rc == 0)
		rc = s->backend->device_open(&v->device, &device, e);
	if (rc < 0)
		return rc;
	server_options_fill(s, v, &o, &directory);
	return server_open(&v->server, &o, e);
}

static void server_stop(struct simulation *s, struct sim_server *v)
{
	server_close(v->server);
	v->server = NULL;
	if (v->device)
		s->backend->device_close(v->device);
	v->device = NULL;
	place_close(s, &v->place);
}

void simulation_kill(struct simulation *s, uint32_t server)
{
	struct sim_server *v = &s->servers[server];

	if (!v->place.node)
		return;
	sim_kill(s->network, v->place.number);
	server_stop(s, v);
}

static void view_changed(void *ctx, const struct view *v)
{
	struct simulation *s = ctx;

	if (s->sessions)
		sessions_view_changed(s->sessions);
}

static int open_client(struct simulation *s, struct error *e)
{
	struct device_options device = s->device_options;
	const struct model_config *config = model_config(s->model);
	struct directory_client_options watch = {
		.directory = { "sim:1" }, .ttl_ns = LEASE_NS, .watch = true,
		.changed = view_changed, .ctx = s,
	};
	struct sessions_options sessions = {
		.fingerprint = model_fingerprint(s->model), .blocks = config->blocks,
		.hidden = config->hidden, .sessions_max = 64, .chunk_rows = s->options.rows_max,
		.ban_ns = 2 * NS_PER_S, .seed = s->options.seed + 1,
	};
	struct generations_options generations = {
		.config = config, .backend = s->backend, .generations_max = 64,
		.logit_rows_max = 8, .threaded = false, .cost_ns = 50 * NS_PER_US,
	};
	int rc = place_open(s, &s->client_place, ROLE_GATEWAY, "client", CLIENT_NUMBER, e);

	watch.node = sessions.node = generations.node = s->client_place.node;
	watch.rpc = s->client_place.rpc;
	if (rc == 0)
		rc = directory_client_open(&s->watch, &watch, e);
	sessions.directory = s->watch;
	if (rc == 0)
		rc = sessions_open(&s->sessions, &sessions, e);
	device.weights = s->options.head;
	if (rc == 0)
		rc = s->backend->device_open(&s->device, &device, e);
	if (rc == 0)
		rc = s->backend->edge_open(&s->edge, s->device, s->model, 8,
					   (struct load_progress){ 0 }, e);
	generations.sessions = s->sessions;
	generations.edge = s->edge;
	return rc < 0 ? rc : generations_open(&s->generations, &generations, e);
}

int simulation_open(struct simulation **out, const struct simulation_options *o,
		    struct error *e)
{
	struct simulation *s = mem_calloc(1, sizeof(*s));
	struct sim_options network = o->network;
	uint32_t blocks;
	int rc;

	if (!s)
		return error_errno(e, -ENOMEM, "simulation");
	assert(o->spans * o->replicas <= SIMULATION_SERVERS_MAX);
	s->options = *o;
	network.seed = o->seed;
	s->directory_place.number = s->client_place.number = -1;
	s->device_options = (struct device_options){ .threads = 1, .compute = o->compute };
	rc = backend_find(o->device, &s->backend, &s->device_options.index, e);
	if (rc == 0)
		rc = model_open(&s->model, o->model, e);
	if (rc == 0)
		rc = sim_network_open(&s->network, &network);
	if (rc == 0)
		rc = simulation_start_directory(s, e);
	if (rc == 0)
		rc = open_client(s, e);
	blocks = rc == 0 ? model_config(s->model)->blocks : 0;
	for (uint32_t i = 0; rc == 0 && i < o->spans * o->replicas; i++) {
		struct sim_server *v = &s->servers[i];

		v->first = i % o->spans * blocks / o->spans;
		v->end = (i % o->spans + 1) * blocks / o->spans;
		v->place.number = -1;
		s->server_count++;
		rc = simulation_start(s, i, e);
	}
	if (rc < 0) {
		simulation_close(s);
		return rc;
	}
	*out = s;
	return 0;
}

void simulation_close(struct simulation *s)
{
	if (!s)
		return;
	generations_close(s->generations);
	sessions_close(s->sessions);
	if (s->edge)
		s->backend->edge_close(s->edge);
	if (s->device)
		s->backend->device_close(s->device);
	directory_client_close(s->watch);
	place_close(s, &s->client_place);
	for (uint32_t i = 0; i < s->server_count; i++)
		server_stop(s, &s->servers[i]);
	directory_close(s->directory);
	place_close(s, &s->directory_place);
	if (s->network)
		sim_network_close(s->network);
	model_close(s->model);
	mem_free(s);
}

struct sim_network *simulation_network(struct simulation *s)
{
	return s->network;
}

struct sessions *simulation_sessions(struct simulation *s)
{
	return s->sessions;
}

struct generations *simulation_generations(struct simulation *s)
{
	return s->generations;
}

const struct view *simulation_view(const struct simulation *s)
{
	return directory_client_view(s->watch);
}

const struct model_config *simulation_config(const struct simulation *s)
{
	return model_config(s->model);
}

static bool settled(void *ctx)
{
	const struct simulation *s = ctx;
	const struct view *v = simulation_view(s);
	uint32_t serving = 0, running = 0;

	for (uint32_t i = 0; i < v->count; i++)
		serving += v->members[i].state == MEMBER_SERVING;
	for (uint32_t i = 0; i < s->server_count; i++)
		running += s->servers[i].place.node != NULL;
	return serving == running;
}

bool simulation_settle(struct simulation *s)
{
	return sim_run(s->network, clock_ns(sim_clock(s->network)) + 10 * NS_PER_S, settled, s);
}

void simulation_run(struct simulation *s, uint64_t for_ns)
{
	sim_run(s->network, clock_ns(sim_clock(s->network)) + for_ns, NULL, NULL);
}

void simulation_freeze(struct simulation *s, uint32_t server, bool frozen)
{
	if (s->servers[server].place.node)
		sim_freeze(s->network, s->servers[server].place.number, frozen);
}

void simulation_drain(struct simulation *s, uint32_t server, uint64_t within_ns)
{
	if (s->servers[server].server)
		server_drain(s->servers[server].server, within_ns);
}

void simulation_cut_servers(struct simulation *s, uint32_t a, uint32_t b, bool cut)
{
	if (s->servers[a].place.node && s->servers[b].place.node)
		sim_cut(s->network, s->servers[a].place.number, s->servers[b].place.number, cut);
}

void simulation_cut_client(struct simulation *s, uint32_t server, bool cut)
{
	if (s->servers[server].place.node)
		sim_cut(s->network, s->client_place.number, s->servers[server].place.number, cut);
}

void simulation_slow(struct simulation *s, uint32_t server, uint64_t extra_ns)
{
	if (s->servers[server].place.node)
		sim_delay(s->network, s->servers[server].place.number, extra_ns);
}

void simulation_slow_device(struct simulation *s, uint32_t server, uint64_t batch_ns)
{
	if (s->servers[server].server && server_hops(s->servers[server].server))
		hops_set_cost(server_hops(s->servers[server].server), batch_ns);
}

bool simulation_alive(const struct simulation *s, uint32_t server)
{
	return s->servers[server].place.node != NULL;
}

static struct session *find_session(struct simulation *s, uint64_t id)
{
	return map_get(s->sessions->by_id, id);
}

static int server_number(const struct simulation *s, uint64_t id)
{
	for (uint32_t i = 0; i < s->server_count; i++)
		if (s->servers[i].place.node && s->servers[i].id == id)
			return (int)i;
	return -1;
}

int simulation_hop_server(struct simulation *s, uint64_t session, uint32_t hop)
{
	const struct session *found = find_session(s, session);

	return found && hop < found->slot_count ?
	       server_number(s, found->slots[hop].hop.server) : -1;
}

int simulation_move_server(struct simulation *s, uint64_t session)
{
	const struct session *found = find_session(s, session);

	return found && found->move.slot_count ?
	       server_number(s, found->move.slots[0].hop.server) : -1;
}

uint32_t simulation_hops(struct simulation *s, uint64_t session)
{
	const struct session *found = find_session(s, session);

	return found ? found->slot_count : 0;
}

uint32_t simulation_server_sessions(const struct simulation *s, uint32_t server)
{
	struct member_load load = { 0 };

	if (s->servers[server].server && server_hops(s->servers[server].server))
		hops_load(server_hops(s->servers[server].server), &load);
	return load.sessions;
}

uint32_t simulation_server_pages_held(const struct simulation *s, uint32_t server)
{
	struct member_load load = { 0 };

	if (s->servers[server].server && server_hops(s->servers[server].server))
		hops_load(server_hops(s->servers[server].server), &load);
	return load.pages - load.pages_free;
}

static void on_token(void *ctx, const struct generation_token *t)
{
	struct answer *a = ctx;
	const struct session_stats *stats = generation_stats(a->generation);

	if (stats) {
		a->repairs = stats->repairs;
		a->moves = stats->moves;
	}
	if (a->on_token)
		a->on_token(a->ctx, a);
	assert(a->count < a->room);
	a->tokens[a->count] = t->choice->token;
	a->logprobs[a->count++] = t->choice->logprob;
}

static void on_finished(void *ctx, enum finish finish, const char *text, size_t text_bytes,
			const char *stop, int code, const char *reason)
{
	struct answer *a = ctx;

	a->finished = true;
	a->finish = finish;
	a->code = code;
	snprintf(a->reason, sizeof(a->reason), "%s", reason ? reason : "");
}

static void on_prompt(void *ctx, const struct choice *choices, uint32_t count)
{
}

int answer_begin(struct answer *a, struct simulation *s, const uint32_t *prompt,
		 uint32_t prompt_count, uint32_t tokens, uint64_t within_ns, struct error *e)
{
	struct generation_options o = {
		.prompt = prompt, .prompt_count = prompt_count, .max_tokens = tokens,
		.ignore_eos = true, .deadline_ns = clock_ns(sim_clock(s->network)) + within_ns,
		.events = { on_prompt, on_token, on_finished }, .ctx = a,
	};
	int rc;

	sampler_options_default(&o.sampler);
	o.sampler.temperature = 0;
	a->simulation = s;
	a->room = tokens;
	a->tokens = mem_calloc(tokens, sizeof(*a->tokens));
	a->logprobs = mem_calloc(tokens, sizeof(*a->logprobs));
	if (!a->tokens || !a->logprobs)
		return error_errno(e, -ENOMEM, "answer of %u tokens", tokens);
	rc = generation_open(&a->generation, s->generations, &o, e);
	if (rc == 0)
		a->session = generation_session(a->generation);
	return rc;
}

struct waiting {
	struct answer *const *answers;
	uint32_t count;
};

static bool all_finished(void *ctx)
{
	const struct waiting *w = ctx;

	for (uint32_t i = 0; i < w->count; i++)
		if (!w->answers[i]->finished)
			return false;
	return true;
}

bool answers_wait(struct simulation *s, struct answer *const *answers, uint32_t count,
		  uint64_t for_ns)
{
	struct waiting w = { answers, count };

	return sim_run(s->network, clock_ns(sim_clock(s->network)) + for_ns, all_finished, &w);
}

void answer_close(struct answer *a)
{
	generation_close(a->generation);
	a->generation = NULL;
	mem_free(a->tokens);
	mem_free(a->logprobs);
	a->tokens = NULL;
	a->logprobs = NULL;
}
