/* endpoints_test.c - /live, /health, /ready tell the truth; /metrics and /version answer. */
#include "control/endpoints.h"

#include <errno.h>

#include "dataplane/base/clock.h"
#include "dataplane/base/memory.h"
#include "tests/support/sim_program.h"
#include "tests/support/web.h"
#include "tests/test.h"

static void check_page(const struct address *at, const char *path, long status,
		       const char *fragment)
{
	struct web_answer a;

	web_get(&a, at, path);
	if (a.status != status || !strstr(buffer_string(&a.body), fragment))
		fail_msg("%s: %ld, expected %ld with '%s', got: %s", path, a.status, status,
			 fragment, buffer_string(&a.body));
	web_close(&a);
}

static struct endpoints *open_both(struct http **h, struct address *at)
{
	struct endpoints *p;
	struct error e;

	CHECK_EQ(endpoints_open(&p, "petals-test", NULL, clock_real()), 0);
	CHECK_EQ(address_parse(at, "127.0.0.1:0", NULL), 0);
	CHECK_OK(endpoints_listen(p, at, NULL, h, &e), &e);
	http_bound(*h, at);
	return p;
}

/* Goal: the pages follow what the program said last. */
TEST(endpoints__tell_what_was_set)
{
	struct address at;
	struct http *h;
	struct endpoints *p = open_both(&h, &at);

	check_page(&at, "/live", 200, "live");
	check_page(&at, "/ready", 200, "ready");
	endpoints_set_ready(p, "no server has blocks [8,16)");
	check_page(&at, "/ready", 503, "no server has blocks [8,16)");
	endpoints_set_ready(p, NULL);
	check_page(&at, "/ready", 200, "ready");
	endpoints_set_health(p, "the store is \"full\"");
	check_page(&at, "/health", 503, "the store is \\\"full\\\"");
	endpoints_set_health(p, "");
	check_page(&at, "/health", 200, "ok");
	check_page(&at, "/version", 200, "\"version\":\"" PETALS_VERSION "\"");
	check_page(&at, "/nothing", 404, "unknown_url");
	http_close(h);
	endpoints_close(p);
}

/* Goal: sets of counters come and go; the server's own are among them. */
TEST(endpoints__metrics_render_what_joined)
{
	static const struct counter_row rows[] = {
		{ COUNTER, "petals_test_things_total", "Things.", NULL, NULL },
	};
	struct address at;
	struct http *h;
	struct endpoints *p = open_both(&h, &at);
	struct counters *c;
	struct web_answer a;

	CHECK_EQ(counters_open(&c, rows, 1), 0);
	counters_add(c, 0, 0, 3);
	endpoints_add_counters(p, c);
	check_page(&at, "/metrics", 200, "petals_test_things_total 3");
	check_page(&at, "/metrics", 200, "petals_http_requests_total");
	check_page(&at, "/metrics", 200, "process_resident_memory_bytes");
	endpoints_remove_counters(p, c);
	counters_close(c);
	web_get(&a, &at, "/metrics");
	CHECK(!strstr(buffer_string(&a.body), "petals_test_things_total"));
	web_close(&a);
	http_close(h);
	endpoints_close(p);
}

/* Goal: a core that stops turning is noticed, whatever the program last said. */
TEST(endpoints__notice_a_stuck_core)
{
	struct sim_network *n = test_network();
	struct sim_program program;
	struct endpoints *p;
	struct address at;
	struct http *h;
	struct error e;

	sim_program_open(&program, n, ROLE_SERVER, "server");
	CHECK_EQ(endpoints_open(&p, "petals-test", node_core(program.node), sim_clock(n)), 0);
	CHECK_EQ(address_parse(&at, "127.0.0.1:0", NULL), 0);
	CHECK_OK(endpoints_listen(p, &at, NULL, &h, &e), &e);
	http_bound(h, &at);
	run_for(n, 60 * NS_PER_S);
	check_page(&at, "/live", 200, "live");
	sim_program_detach(&program);
	run_for(n, 7 * NS_PER_S);
	check_page(&at, "/live", 503, "the core has not turned for 7 s");
	check_page(&at, "/health", 503, "the core has not turned");
	check_page(&at, "/ready", 503, "the core has not turned");
	http_close(h);
	endpoints_close(p);
	rpc_close(program.rpc);
	node_close(program.node);
	sim_network_close(n);
}

/* Goal: closing NULL is fine, and nothing is left behind. */
TEST(endpoints_close__gives_back)
{
	uint64_t live = mem_live_blocks();
	struct address at;
	struct http *h;
	struct endpoints *p = open_both(&h, &at);

	http_close(h);
	endpoints_close(p);
	endpoints_close(NULL);
	CHECK_EQ(mem_live_blocks(), live);
}
