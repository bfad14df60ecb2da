/* gateway_test.c - a gateway over HTTP, its core turning in a thread, with generations that
 * say one word a turn; the prompt's first token decides how they end.
 */
#include "control/gateway.h"

#include <jansson.h>
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#include "control/directory_client.h"
#include "dataplane/base/fault.h"
#include "tests/control/fake_generations.h"
#include "tests/support/text_model.h"
#include "tests/support/web.h"

enum { BLOCKS = 4, FINGERPRINT = 77 };
/* First tokens of prompts. */
enum { FAILS = 6, HANGS = 7, CANARY = 9 };

struct world {
	struct text_model model;
	struct node *node;
	struct rpc *rpc;
	struct endpoints *endpoints;
	struct directory_client *directory;
	struct sessions *sessions;
	struct gateway *gateway;
	struct address at;
	pthread_t core;
	_Atomic(void (*)(struct world *w)) order;       /* for the core's next turn */
	atomic_bool release;                            /* HANGS may end now */
	atomic_bool drained;
	atomic_uint open;
};

/* One word for each generation; those that have said enough end. */
static void speak(struct world *w)
{
	for (uint32_t i = 0; i < fake.count; i++) {
		struct generation *g = fake.open[i];

		if (g->finished || (g->o.prompt[0] == HANGS && !atomic_load(&w->release)))
			continue;
		if (g->o.prompt[0] == FAILS) {
			fake_finish(g, FINISH_ERROR, "", NULL, -EPROTO, "hop 2 speaks nonsense");
			continue;
		}
		fake_token(g, 40 + g->given, " word", false);
		if (g->given >= MIN(g->o.max_tokens, 3))
			fake_finish(g, FINISH_LENGTH, "", NULL, 0, NULL);
	}
}

static int poll_test(void *ctx, uint64_t now_ns)
{
	struct world *w = ctx;
	void (*order)(struct world *w) = atomic_exchange(&w->order, NULL);

	if (order)
		order(w);
	speak(w);
	atomic_store(&w->open, fake.count);
	return fake.count > 0;
}

static uint64_t deadline_test(void *ctx)
{
	struct world *w = ctx;

	return fake.count || atomic_load(&w->order) ? clock_ns(clock_real()) + 200000 : UINT64_MAX;
}

static void give_order(struct world *w, void (*order)(struct world *w))
{
	atomic_store(&w->order, order);
	while (atomic_load(&w->order)) {
		node_wake(w->node);
		usleep(500);
	}
}

/* The test plays the directory: one server of every block, or of none. */
static void cover(struct world *w)
{
	struct view *v = (struct view *)directory_client_view(w->directory);
	const struct member m = {
		.id = 9, .fingerprint = FINGERPRINT, .blocks = BLOCKS, .end = BLOCKS,
		.state = MEMBER_SERVING, .kind = "cpu/f32/f32", .name = "s", .model = "m",
		.address = { "127.0.0.1:1" }, .load = { .pages = 100, .pages_free = 25 },
	};

	CHECK_EQ(view_put(v, &m), 0);
	gateway_view_changed(w->gateway);
}

static void uncover(struct world *w)
{
	view_remove((struct view *)directory_client_view(w->directory), 9);
	gateway_view_changed(w->gateway);
}

static void open_node(struct world *w)
{
	struct transport_options o;
	struct error e;

	transport_options_default(&o);
	o.engine = "uring";
	o.clock = clock_real();
	o.role = ROLE_GATEWAY;
	o.name = "gateway";
	CHECK_OK(node_open(&w->node, &o, &e), &e);
	CHECK_EQ(rpc_open(&w->rpc, w->node), 0);
	CHECK_EQ(endpoints_open(&w->endpoints, "petals-gateway", node_core(w->node), clock_real()),
		 0);
}

static void open_sessions(struct world *w)
{
	struct directory_client_options d = {
		.node = w->node, .rpc = w->rpc, .ttl_ns = 3 * NS_PER_S, .watch = true,
	};
	struct sessions_options s = {
		.node = w->node, .fingerprint = FINGERPRINT, .blocks = BLOCKS, .hidden = 8,
		.sessions_max = 4, .chunk_rows = 4, .ban_ns = NS_PER_S, .seed = 1,
	};
	struct error e;

	CHECK_OK(address_parse(&d.directory, "127.0.0.1:1", &e), &e);
	CHECK_OK(directory_client_open(&w->directory, &d, &e), &e);
	s.directory = w->directory;
	CHECK_OK(sessions_open(&w->sessions, &s, &e), &e);
}

static void *run_core(void *arg)
{
	struct world *w = arg;

	core_run(node_core(w->node));
	return NULL;
}

/* All but the gateway; o is filled in for it. */
static void parts_open(struct world *w, struct gateway_options *o)
{
	struct error e;

	*w = (struct world){ .release = false };
	text_model_open(&w->model);
	open_node(w);
	open_sessions(w);
	*o = (struct gateway_options){
		.node = w->node, .sessions = w->sessions, .directory = w->directory,
		.endpoints = w->endpoints, .model = w->model.served,
		.fingerprint = FINGERPRINT, .canary_token = CANARY, .running_max = 2,
		.waiting_max = 2, .request_ns = 20 * NS_PER_S, .body_bytes_max = 4096,
		.connections_max = 64,
	};
	CHECK_OK(address_parse(&o->listen, "127.0.0.1:0", &e), &e);
}

static void world_open(struct world *w, uint32_t running, uint32_t waiting)
{
	const struct poller speaker = { "speaker", w, poll_test, deadline_test };
	struct gateway_options o;
	struct error e;

	parts_open(w, &o);
	core_add(node_core(w->node), &speaker);
	o.running_max = running;
	o.waiting_max = waiting;
	CHECK_OK(gateway_open(&w->gateway, &o, &e), &e);
	gateway_bound(w->gateway, &w->at);
	CHECK_EQ(pthread_create(&w->core, NULL, run_core, w), 0);
}

static void parts_close(struct world *w)
{
	CHECK_EQ(fake.count, 0);
	sessions_close(w->sessions);
	directory_client_close(w->directory);
	endpoints_close(w->endpoints);
	rpc_close(w->rpc);
	node_close(w->node);
	text_model_close(&w->model);
}

static void world_close(struct world *w)
{
	core_stop(node_core(w->node));
	pthread_join(w->core, NULL);
	gateway_close(w->gateway);
	parts_close(w);
}

static void wait_page(struct world *w, const char *path, const char *text)
{
	for (int i = 0;; i++) {
		struct web_answer a;
		bool found;

		web_get(&a, &w->at, path);
		found = strstr(buffer_string(&a.body), text) != NULL;
		if (i == 2000)
			fail_msg("%s never said '%s': %s", path, text, buffer_string(&a.body));
		web_close(&a);
		if (found)
			return;
		usleep(2000);
	}
}

static void check_post(struct world *w, const char *path, const char *body, long status,
		       const char *fragment)
{
	struct web_answer a;

	web_post(&a, &w->at, path, body);
	if (a.status != status || !strstr(buffer_string(&a.body), fragment))
		fail_msg("%s %s: %ld %s", path, body, a.status, buffer_string(&a.body));
	web_close(&a);
}

/* Goal: every route answers. */
TEST(gateway__routes)
{
	struct world w;

	world_open(&w, 4, 4);
	check_post(&w, "/v1/completions", "{\"prompt\": [5], \"max_tokens\": 3}", 200,
		   "\"text\":\" word word word\"");
	check_post(&w, "/v1/chat/completions", "{\"messages\": [{\"role\": \"user\", \"content\": "
		   "\"a\"}], \"stream\": true}", 200, "data: [DONE]");
	check_post(&w, "/tokenize", "{\"prompt\": \"a\"}", 200, "\"count\":1");
	check_post(&w, "/detokenize", "{\"tokens\": [5]}", 200, "prompt");
	check_post(&w, "/v1/completions", "{\"prompt\": [5], \"temperature\": 7}", 400,
		   "temperature must be between 0 and 2, got 7");
	check_post(&w, "/v1/completions", "{\"prompt\": [5], \"model\": \"x\"}", 404,
		   "model_not_found");
	check_post(&w, "/v1/nothing", "{}", 404, "unknown_url");
	wait_page(&w, "/v1/models", "test-model");
	wait_page(&w, "/v1/models/test-model", "test-model");
	wait_page(&w, "/version", PETALS_VERSION);
	wait_page(&w, "/live", "live");
	wait_page(&w, "/health", "ok");
	wait_page(&w, "/metrics", "petals_gateway_requests_total{status=\"200\"} 2");
	wait_page(&w, "/metrics", "petals_http_requests_total{route=\"POST /tokenize\"} 1");
	world_close(&w);
}

/* Goal: ready means covered and a canary went through; a failure makes it doubtful. */
TEST(gateway__ready_tells_the_truth)
{
	struct world w;

	world_open(&w, 4, 4);
	wait_page(&w, "/ready", "no server has blocks [0,4)");
	give_order(&w, cover);
	wait_page(&w, "/ready", "\"ready\"");
	wait_page(&w, "/metrics", "petals_gateway_kv_utilization_ratio 0.75");
	wait_page(&w, "/metrics", "petals_gateway_canaries_total 1");
	check_post(&w, "/v1/completions", "{\"prompt\": [6]}", 502, "hop 2 speaks nonsense");
	wait_page(&w, "/metrics", "petals_gateway_canaries_total 2");
	wait_page(&w, "/ready", "\"ready\"");
	give_order(&w, uncover);
	wait_page(&w, "/ready", "no server has blocks [0,4)");
	wait_page(&w, "/metrics", "petals_gateway_ready 0");
	world_close(&w);
}

struct asker {
	struct world *world;
	const char *body;
	pthread_t thread;
	struct web_answer answer;
};

static void *ask(void *arg)
{
	struct asker *a = arg;

	web_post(&a->answer, &a->world->at, "/v1/completions", a->body);
	return NULL;
}

static void ask_aside(struct asker *a, struct world *w, const char *body)
{
	*a = (struct asker){ .world = w, .body = body };
	CHECK_EQ(pthread_create(&a->thread, NULL, ask, a), 0);
}

static void check_answer(struct asker *a, long status)
{
	pthread_join(a->thread, NULL);
	CHECK_EQ(a->answer.status, status);
	web_close(&a->answer);
}

/* Goal: so many run, so many wait, the rest hear 429; those that waited are served. */
TEST(gateway__queues_and_refuses)
{
	struct world w;
	struct asker running, waiting;
	struct web_answer a;
	char text[64];

	world_open(&w, 2, 1);
	ask_aside(&running, &w, "{\"prompt\": [7], \"n\": 2}");
	wait_page(&w, "/metrics", "petals_gateway_running 2");
	ask_aside(&waiting, &w, "{\"prompt\": [5]}");
	wait_page(&w, "/metrics", "petals_gateway_queued 1");
	web_post(&a, &w.at, "/v1/completions", "{\"prompt\": [5]}");
	CHECK_EQ(a.status, 429);
	web_header(&a, "Retry-After", text, sizeof(text));
	CHECK_TEXT(text, "1");
	web_error(&a, "message", text, sizeof(text));
	CHECK_TEXT(text, "2 choices are running and 1 wait; try again later");
	web_close(&a);
	atomic_store(&w.release, true);
	check_answer(&running, 200);
	check_answer(&waiting, 200);
	wait_page(&w, "/metrics", "petals_gateway_running 0");
	world_close(&w);
}

/* Goal: a request with more choices than may run gets them all, some later. */
TEST(gateway__runs_many_choices)
{
	struct world w;
	struct web_answer a;
	json_t *j;

	world_open(&w, 2, 8);
	web_post(&a, &w.at, "/v1/completions", "{\"prompt\": [[5], [8]], \"n\": 4}");
	CHECK_EQ(a.status, 200);
	j = web_json(&a);
	CHECK_EQ(json_array_size(json_object_get(j, "choices")), 8);
	json_decref(j);
	web_close(&a);
	world_close(&w);
}

/* Goal: generations of a client that hangs up are closed. */
TEST(gateway__notices_hanging_up)
{
	struct world w;
	int fd;

	world_open(&w, 2, 8);
	fd = web_connect(&w.at);
	CHECK(fd >= 0);
	CHECK_EQ(web_send_post(fd, "/v1/completions", "{\"prompt\": [7], \"n\": 3}"), 0);
	wait_page(&w, "/metrics", "petals_gateway_running 2");
	close(fd);
	wait_page(&w, "/metrics", "petals_gateway_running 0");
	wait_page(&w, "/metrics", "petals_gateway_queued 0");
	wait_page(&w, "/metrics", "petals_gateway_requests_total{status=\"499\"} 1");
	while (atomic_load(&w.open)) {
		node_wake(w.node);
		usleep(500);
	}
	world_close(&w);
}

static void on_drained(void *ctx)
{
	struct world *w = ctx;

	atomic_store(&w->drained, true);
}

static void drain_long(struct world *w)
{
	gateway_drain(w->gateway, 20 * NS_PER_S, on_drained, w);
}

static void drain_short(struct world *w)
{
	gateway_drain(w->gateway, 10 * NS_PER_MS, on_drained, w);
}

/* Goal: draining finishes what runs, and takes nothing new. */
TEST(gateway_drain__finishes)
{
	struct world w;
	struct asker running;

	world_open(&w, 2, 2);
	ask_aside(&running, &w, "{\"prompt\": [7]}");
	wait_page(&w, "/metrics", "petals_gateway_running 1");
	give_order(&w, drain_long);
	check_post(&w, "/v1/completions", "{\"prompt\": [5]}", 503, "shutting_down");
	wait_page(&w, "/ready", "draining");
	CHECK(!atomic_load(&w.drained));
	atomic_store(&w.release, true);
	check_answer(&running, 200);
	while (!atomic_load(&w.drained))
		usleep(500);
	world_close(&w);
}

/* Goal: what does not end in time is ended, with an error that says so. */
TEST(gateway_drain__gives_up)
{
	struct world w;
	struct asker running;

	world_open(&w, 2, 2);
	ask_aside(&running, &w, "{\"prompt\": [7]}");
	wait_page(&w, "/metrics", "petals_gateway_running 1");
	give_order(&w, drain_short);
	while (!atomic_load(&w.drained))
		usleep(500);
	pthread_join(running.thread, NULL);
	CHECK_EQ(running.answer.status, 503);
	CHECK(strstr(buffer_string(&running.answer.body), "the gateway is stopping"));
	web_close(&running.answer);
	world_close(&w);
}

/* Goal: closing with requests in progress answers them. */
TEST(gateway_close__answers_what_is_left)
{
	struct world w;
	struct asker running;

	world_open(&w, 1, 2);
	ask_aside(&running, &w, "{\"prompt\": [7], \"n\": 2}");
	wait_page(&w, "/metrics", "petals_gateway_running 1");
	world_close(&w);
	check_answer(&running, 503);
}

/* Goal: a port that is taken is refused by name. */
TEST(gateway_open__says_why_not)
{
	struct world w, second;
	struct gateway_options o;
	struct gateway *g;
	struct error e;

	world_open(&w, 1, 1);
	parts_open(&second, &o);
	o.listen = w.at;
	CHECK_EQ(gateway_open(&g, &o, &e), -EADDRINUSE);
	CHECK(strstr(e.text, w.at.text));
	parts_close(&second);
	world_close(&w);
}

#ifdef PETALS_FAULTS
/* Goal: whichever call fails, gateway_open() gives everything back. */
TEST(gateway_open__unwinds_every_failure)
{
	struct world w;
	struct gateway_options o;
	struct error e;
	uint64_t live;
	int nth, rc;

	parts_open(&w, &o);
	live = mem_live_blocks();
	for (nth = 1;; nth++) {
		fault_arm(nth);
		rc = gateway_open(&w.gateway, &o, &e);
		if (!fault_fired())
			break;
		CHECK(rc < 0);
		CHECK(!w.gateway);
		CHECK_EQ(mem_live_blocks(), live);
	}
	fault_disarm();
	CHECK_OK(rc, &e);
	CHECK(nth > 6);
	gateway_close(w.gateway);
	CHECK_EQ(mem_live_blocks(), live);
	parts_close(&w);
}
#endif
