/* sealed_test.c - sealed lanes seen from the middle: nothing readable crosses, and whatever is
 * changed on the way is found, counted, and costs that connection alone.
 */
#include <errno.h>
#include <stdio.h>

#include "dataplane/base/memory.h"
#include "dataplane/record.h"
#include "tests/support/relay.h"
#include "tests/support/transport_world.h"
#include "tests/test.h"

struct scene {
	struct world world;
	struct world_node *a, *b, *c;
	struct relay relay;
	uint32_t peer;                  /* a's, of b, through the relay */
	/* What the one in the middle does, and has seen. */
	int wrong_at;                   /* bytes after the handshake; -1: nowhere */
	enum { FLIP, REPEAT, CUT } how;
	uint64_t begun[RELAY_CONNECTIONS_MAX];  /* where records begin, from the dialer */
	uint8_t last[RELAY_BYTES];
	size_t last_bytes;
	bool readable;
	uint64_t seen_bytes;
};

static bool contains(const uint8_t *data, size_t bytes, const void *what, size_t length)
{
	return memmem(data, bytes, what, length) != NULL;
}

static bool turn(void *ctx)
{
	relay_turn(&((struct scene *)ctx)->relay);
	return false;
}

static bool is_up(void *ctx)
{
	struct scene *s = ctx;

	relay_turn(&s->relay);
	return transport_is_up(s->a->transport, s->peer) && s->b->ups == 1;
}

static bool heard_or_lost(void *ctx)
{
	struct scene *s = ctx;

	relay_turn(&s->relay);
	return s->b->receipts >= 3 || (s->a->losses && s->b->losses);
}

static const char secret[] = "the hidden state of somebody's letter";

static long middle(void *ctx, int index, bool from_dialer, uint64_t before, uint8_t *data,
		   size_t bytes)
{
	struct scene *s = ctx;
	const le32 magic = le32_of(WIRE_MAGIC);

	s->seen_bytes += bytes;
	s->readable |= contains(data, bytes, secret, sizeof(secret) - 1) ||
		       contains(data, bytes, &magic, sizeof(magic)) ||
		       contains(data, bytes, "a name of ours", 14);
	if (!from_dialer || s->wrong_at < 0 || !transport_is_up(s->a->transport, s->peer))
		return (long)bytes;
	if (s->how == CUT)
		return -1;
	if (s->how == REPEAT) {         /* what was sent comes again */
		memmove(data + bytes, data, bytes);
		s->wrong_at = -1;
		return (long)(2 * bytes);
	}
	if ((size_t)s->wrong_at < bytes) {
		data[s->wrong_at] ^= 0x10;
		s->wrong_at = -1;
	} else {
		s->wrong_at -= (int)bytes;
	}
	return (long)bytes;
}

static struct scene *scene_open(void)
{
	struct scene *s = test_calloc(1, sizeof(*s));
	struct transport_options o;
	struct error e;

	s->wrong_at = -1;
	world_open(&s->world, "uring sealed", NULL);
	world_options(&s->world, &o);
	o.name = "a name of ours";
	o.lanes = 1;
	s->a = world_add(&s->world, &o);
	s->b = world_add(&s->world, &o);
	s->c = world_add(&s->world, &o);
	world_join(s->c, s->b);
	s->b->ups = 0;
	relay_open(&s->relay, &s->b->address);
	s->relay.tamper = middle;
	s->relay.ctx = s;
	CHECK_OK(transport_connect(s->a->transport, &s->relay.address, &s->peer, &e), &e);
	CHECK(world_run(&s->world, 5 * NS_PER_S, is_up, s));
	world_run(&s->world, 5 * NS_PER_MS, turn, s);
	return s;
}

static void scene_close(struct scene *s)
{
	relay_close(&s->relay);
	world_close(&s->world);
	test_free(s);
}

static void say_secret(struct scene *s, uint32_t bytes)
{
	struct message *m;

	CHECK_EQ(transport_reserve(s->a->transport, s->peer, bytes, &m), 0);
	for (uint32_t i = 0; i < bytes; i++)
		m->payload[i] = (uint8_t)secret[i % (sizeof(secret) - 1)];
	m->frame.type = WIRE_CALL;
	transport_send(s->a->transport, m);
}

static void say_three(struct scene *s)
{
	say_secret(s, 200);
	say_secret(s, 5000);
	say_secret(s, 300000);
}

/* Goal: names, headers and payloads of every size cross, and none of it can be read. */
TEST(sealed__nothing_readable_crosses)
{
	struct scene *s = scene_open();

	say_three(s);
	CHECK(world_run(&s->world, 5 * NS_PER_S, heard_or_lost, s));
	CHECK_EQ(s->b->receipts, 3);
	for (int i = 0; i < 3; i++)
		CHECK(contains(s->b->received[i]->payload, 200, secret, sizeof(secret) - 1));
	CHECK(s->seen_bytes > 305200);
	CHECK(!s->readable);
	scene_close(s);
}

/* Goal: one bit turned anywhere, in a header, a body or a tag, is found; the connection ends
 * with a reason, nothing wrong is delivered, and nobody else notices.
 */
TEST(sealed__a_flipped_bit_is_found)
{
	static const int places[] = {
		0, 1, 2, 4, 7, 8, 15, 20, 31,           /* header of the first record */
		32, 40, 90, 300, 327, 328, 335, 343,    /* its body and tag */
		344, 345, 377, 440, 455, 456, 5000, 5600, 7000, 100000, 200000, 300000,
	};

	for (size_t i = 0; i < ARRAY_LENGTH(places); i++) {
		struct scene *s = scene_open();
		double counted;

		s->how = FLIP;
		s->wrong_at = places[i];
		say_three(s);
		CHECK(world_run(&s->world, 5 * NS_PER_S, heard_or_lost, s));
		CHECK_EQ(s->b->losses, 1);
		CHECK_EQ(s->b->lost[0].code, -EPROTO);
		CHECK(s->b->receipts < 3);
		for (int m = 0; m < s->b->kept; m++)
			CHECK(contains(s->b->received[m]->payload, 200, secret,
				       sizeof(secret) - 1));
		counted = world_errors(s->b, "seal") + world_errors(s->b, "magic") +
			  world_errors(s->b, "flags") + world_errors(s->b, "bounds") +
			  world_errors(s->b, "order") + world_errors(s->b, "replay");
		CHECK_EQ((int)counted, 1);
		CHECK_EQ(s->c->losses, 0);
		CHECK_EQ(world_say(s->c, world_peer(s->c), 100, 1), 0);
		scene_close(s);
	}
}

/* Goal: records that come again are refused by their number. */
TEST(sealed__a_repeated_record_is_found)
{
	struct scene *s = scene_open();

	s->how = REPEAT;
	s->wrong_at = 0;
	say_secret(s, 200);
	CHECK(world_run(&s->world, 5 * NS_PER_S, heard_or_lost, s));
	CHECK_EQ(s->b->receipts, 1);
	CHECK_EQ(s->b->losses, 1);
	CHECK_EQ((int)world_errors(s->b, "replay"), 1);
	CHECK(strstr(s->b->lost[0].reason, "came again"));
	scene_close(s);
}

/* Goal: a stream cut within a record ends the peer, and no half message is heard. */
TEST(sealed__a_cut_stream_ends_the_peer)
{
	struct scene *s = scene_open();

	s->how = CUT;
	s->wrong_at = 0;
	say_secret(s, 100000);
	CHECK(world_run(&s->world, 5 * NS_PER_S, heard_or_lost, s));
	CHECK_EQ(s->b->receipts, 0);
	CHECK_EQ(s->a->losses, 1);
	CHECK_EQ(s->a->lost[0].code, -ECONNRESET);
	CHECK_EQ(s->c->losses, 0);
	scene_close(s);
}

static bool lost_and_counted(void *ctx)
{
	struct scene *s = ctx;

	return s->a->losses > 0;
}

/* Dials b from a node with another identity; what a then was told. */
static const char *refusal(struct identity *id, const char *kind, enum wire_role role,
			   const char **told, double *counted)
{
	static char reason[ERROR_TEXT_BYTES];
	struct scene *s = test_calloc(1, sizeof(*s));
	struct transport_options o;
	struct error e;

	world_open(&s->world, "uring sealed", NULL);
	s->b = world_add(&s->world, NULL);
	world_options(&s->world, &o);
	o.identity = id;
	o.role = role;
	s->a = world_add(&s->world, &o);
	CHECK_OK(transport_connect(s->a->transport, &s->b->address, &s->peer, &e), &e);
	CHECK(world_run(&s->world, 5 * NS_PER_S, lost_and_counted, s));
	CHECK_EQ(s->a->losses, 1);
	CHECK_EQ(s->b->ups, 0);
	world_run(&s->world, 10 * NS_PER_MS, NULL, NULL);
	*counted = world_errors(s->b, kind);
	snprintf(reason, sizeof(reason), "%s", s->a->lost[0].reason);
	*told = reason;
	world_close(&s->world);
	test_free(s);
	return reason;
}

/* Goal: who does not belong here is told so in a sentence, and counted by kind. */
TEST(sealed__strangers_are_refused)
{
	struct test_ca ours, theirs;
	struct identity *foreign, *gateway;
	const char *told;
	double counted;

	test_ca_open(&ours, "region", test_seed());     /* the world's own CA, again */
	test_ca_open(&theirs, "elsewhere", test_seed() + 1);
	foreign = test_identity(&theirs, "intruder", PRINCIPAL_ANY, clock_real());
	gateway = test_identity(&ours, "front", PRINCIPAL_BIT(PRINCIPAL_GATEWAY), clock_real());

	refusal(foreign, "refused_us", ROLE_SERVER, &told, &counted);
	CHECK(strstr(told, "CA"));
	CHECK(counted >= 1);
	refusal(NULL, "cleartext", ROLE_SERVER, &told, &counted);
	CHECK(counted >= 1);
	refusal(gateway, "wrong_role", ROLE_SERVER, &told, &counted);
	CHECK(strstr(told, "certificate of front says gateway"));
	CHECK(counted >= 1);

	identity_close(foreign);
	identity_close(gateway);
	test_ca_close(&ours);
	test_ca_close(&theirs);
}

static bool c_lost(void *ctx)
{
	struct scene *s = ctx;

	return s->c->losses > 0;
}

/* Goal: a certificate revoked while its holder is connected ends that connection at once, and
 * no other.
 */
TEST(sealed__revocation_reaches_live_connections)
{
	struct scene *s = scene_open();
	struct transport_options o;
	struct identity_pem pem = test_ca_issue(&s->world.ca, "leaver", PRINCIPAL_ANY);
	struct identity *id;
	struct world_node *d;
	struct error e;
	char *list;

	CHECK_OK(identity_open_pem(&id, &pem, clock_real(), &e), &e);
	world_options(&s->world, &o);
	o.identity = id;
	d = world_add(&s->world, &o);
	world_join(d, s->b);
	test_ca_revoke(&s->world.ca, pem.cert);
	list = test_ca_revocations(&s->world.ca);
	CHECK_EQ(identity_set_revocations(s->world.identity, list, strlen(list), &e), 1);
	s->c = d;
	CHECK(world_run(&s->world, 5 * NS_PER_S, c_lost, s));
	CHECK(strstr(d->lost[0].reason, "revoked"));
	CHECK_EQ((int)world_errors(s->b, "no_longer_valid"), 1);
	CHECK_EQ(s->a->losses, 0);
	world_remove(d);
	identity_close(id);
	identity_pem_release(&pem);
	mem_free(list);
	scene_close(s);
}
