/* transport_uring_test.c - the engine as a whole: accepting, limits of the
 * process, what it costs.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "dataplane/base/file.h"
#include "dataplane/base/log.h"
#include "dataplane/base/memory.h"
#include "tests/support/raw_peer.h"
#include "tests/test.h"

/* Goal: many connections at once are all accepted. */
TEST(uring__a_burst_of_connections)
{
	struct world *w = test_calloc(1, sizeof(*w));
	struct raw_peer *raws = test_calloc(40, sizeof(*raws));
	struct transport_options o;
	struct world_node *n;

	world_open(w, "uring", NULL);
	world_options(w, &o);
	o.peers_max = 40;
	n = world_add(w, &o);
	for (int i = 0; i < 40; i++)
		raw_open(&raws[i], n);
	for (int i = 0; i < 40; i++)
		raw_greet(&raws[i]);
	CHECK_EQ(n->ups, 40);
	for (int i = 0; i < 40; i++)
		raw_close(&raws[i]);
	CHECK(world_wait_lost(n, 40));
	world_close(w);
	test_free(raws);
	test_free(w);
}

/* Goal: out of descriptors, newcomers wait and those inside are served; with
 * descriptors again, the newcomers are let in.
 */
TEST(uring__out_of_descriptors)
{
	struct world *w = test_calloc(1, sizeof(*w));
	struct raw_peer *raw = test_calloc(1, sizeof(*raw));
	struct rlimit before, none;
	struct world_node *a, *b;
	uint32_t peer;

	world_open(w, "uring", NULL);
	a = world_add(w, NULL);
	b = world_add(w, NULL);
	peer = world_join(a, b);
	raw_open(raw, b);
	CHECK_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
	none = (struct rlimit){ 3, before.rlim_max };
	CHECK_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
	world_pass(w, 30 * NS_PER_MS);
	CHECK_EQ(world_say(a, peer, 100, 1), 0);
	CHECK(world_wait_received(b, 1));
	CHECK_EQ(b->ups, 1);
	CHECK_EQ(setrlimit(RLIMIT_NOFILE, &before), 0);
	raw_greet(raw);
	CHECK_EQ(b->ups, 2);
	raw_close(raw);
	world_close(w);
	test_free(raw);
	test_free(w);
}

/* Goal: more listeners than there is room for are refused with a sentence. */
TEST(uring__listeners_are_bounded)
{
	struct world *w = test_calloc(1, sizeof(*w));
	struct address any, bound;
	struct world_node *n;
	struct error e;
	int rc = 0;

	world_open(w, "uring", NULL);
	n = world_add(w, NULL);
	CHECK_OK(address_parse(&any, "127.0.0.1:0", &e), &e);
	for (int i = 0; i < 4 && rc == 0; i++)
		rc = transport_listen(n->transport, &any, &bound, &e);
	CHECK_EQ(rc, -ENFILE);
	CHECK(strstr(e.text, "at most 4"));
	world_close(w);
	test_free(w);
}

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
static long resident_bytes(void)
{
	char *text;
	size_t bytes;
	long pages;
	struct error e;

	CHECK_OK(file_read("/proc/self/statm", 256, &text, &bytes, &e), &e);
	pages = strtol(strchr(text, ' '), NULL, 10);
	mem_free(text);
	return pages * sysconf(_SC_PAGESIZE);
}

/* Goal: a transport of the default size, with a peer and some traffic, commits
 * little of what it reserves.
 */
TEST(uring__memory_is_committed_on_touch)
{
	struct world *w = test_calloc(1, sizeof(*w));
	struct transport_options o, given;
	struct world_node *a, *b;
	long before = resident_bytes();
	size_t arena_bytes;
	uint32_t peer;
	void *base;

	world_open(w, "uring", NULL);
	world_options(w, &o);
	transport_options_default(&given);
	given.engine = o.engine;
	given.clock = o.clock;
	a = world_add(w, &given);
	b = world_add(w, &given);
	a->put_at_once = b->put_at_once = true;
	peer = world_join(a, b);
	for (int i = 1; i <= 200; i++) {
		CHECK_EQ(world_say(a, peer, 2304, 1), 0);
		CHECK(world_wait_received(b, i));
	}
	transport_arena(a->transport, &base, &arena_bytes);
	CHECK(arena_bytes > 1 << 30);
	CHECK(resident_bytes() - before < 8 << 20);
	world_close(w);
	test_free(w);
}
#endif
