/* tls_test.c - two handshakes joined by memory: who meets whom, what both then share, and
 * which refusals arrive where.
 */
#include "dataplane/tls.h"

#include <errno.h>

#include "dataplane/base/fault.h"
#include "dataplane/base/log.h"
#include "dataplane/base/memory.h"
#include "tests/support/test_ca.h"
#include "tests/test.h"

struct side {
	struct tls *tls;
	int rc;
	const char *kind;
	struct error e;
	size_t left;                    /* bytes that were not TLS's */
};

/* Passes what one says to the other, `piece` bytes at a time; false: nothing to pass. */
static bool pass(struct side *from, struct side *to, size_t piece)
{
	uint8_t bytes[1 << 14];
	size_t n = tls_say(from->tls, bytes, sizeof(bytes)), taken;

	for (size_t at = 0; at < n && to->rc == 0; at += piece) {
		to->rc = tls_hear(to->tls, bytes + at, MIN(piece, n - at), &taken, &to->kind,
				  &to->e);
		to->left += MIN(piece, n - at) - taken;
	}
	return n > 0;
}

static void shake(struct side *dialer, struct side *accepter, size_t piece)
{
	size_t taken;

	dialer->rc = tls_hear(dialer->tls, NULL, 0, &taken, &dialer->kind, &dialer->e);
	while (pass(dialer, accepter, piece) | pass(accepter, dialer, piece))
		;
}

static void open_sides(struct side sides[2], struct identity *dials, struct identity *accepts)
{
	struct error e;

	log_configure(LOG_OFF, false);
	memset(sides, 0, 2 * sizeof(sides[0]));
	CHECK_OK(tls_open(&sides[0].tls, dials, true, &e), &e);
	CHECK_OK(tls_open(&sides[1].tls, accepts, false, &e), &e);
}

static void close_sides(struct side sides[2])
{
	tls_close(sides[0].tls);
	tls_close(sides[1].tls);
}

/* Goal: however the bytes are cut, both know each other and share their secrets, one per
 * direction and purpose, new ones each time.
 */
TEST(tls__both_hold_the_same_secrets)
{
	static const size_t pieces[] = { 1, 7, 100, 1 << 14 };
	uint8_t sends[2][SEAL_SECRET_BYTES], receives[2][SEAL_SECRET_BYTES];
	uint8_t last[SEAL_SECRET_BYTES] = { 0 };
	struct identity *server, *gateway;
	struct test_ca ca;

	test_ca_open(&ca, "region", test_seed());
	server = test_identity(&ca, "gpu-1", PRINCIPAL_BIT(PRINCIPAL_SERVER), clock_real());
	gateway = test_identity(&ca, "front", PRINCIPAL_BIT(PRINCIPAL_GATEWAY), clock_real());
	for (size_t i = 0; i < ARRAY_LENGTH(pieces); i++) {
		struct side sides[2];

		open_sides(sides, gateway, server);
		shake(&sides[0], &sides[1], pieces[i]);
		for (int s = 0; s < 2; s++) {
			CHECK_OK(sides[s].rc, &sides[s].e);
			CHECK_EQ(tls_state(sides[s].tls), TLS_DONE);
			CHECK_EQ(sides[s].left, 0);
			tls_secrets(sides[s].tls, TLS_FOR_LANE, sends[s], receives[s]);
		}
		CHECK_TEXT(tls_principal(sides[0].tls)->name, "gpu-1");
		CHECK_TEXT(tls_principal(sides[1].tls)->name, "front");
		CHECK_BYTES(sends[0], receives[1], SEAL_SECRET_BYTES);
		CHECK_BYTES(sends[1], receives[0], SEAL_SECRET_BYTES);
		CHECK(memcmp(sends[0], sends[1], SEAL_SECRET_BYTES) != 0);
		CHECK(memcmp(sends[0], last, SEAL_SECRET_BYTES) != 0);
		memcpy(last, sends[0], sizeof(last));
		tls_secrets(sides[0].tls, TLS_FOR_FLOW, sends[1], receives[1]);
		CHECK(memcmp(sends[0], sends[1], SEAL_SECRET_BYTES) != 0);
		close_sides(sides);
	}
	identity_close(server);
	identity_close(gateway);
	test_ca_close(&ca);
}

/* Goal: what follows the handshake in the same bytes is left to the caller. */
TEST(tls__leaves_what_is_not_its_own)
{
	struct test_ca ca;
	struct identity *id;
	struct side sides[2];
	uint8_t bytes[1 << 14];
	size_t n, taken;

	test_ca_open(&ca, "region", test_seed());
	id = test_identity(&ca, "node", PRINCIPAL_ANY, clock_real());
	open_sides(sides, id, id);
	CHECK_EQ(tls_hear(sides[0].tls, NULL, 0, &taken, &sides[0].kind, &sides[0].e), 0);
	pass(&sides[0], &sides[1], 1 << 14);
	pass(&sides[1], &sides[0], 1 << 14);
	CHECK_EQ(tls_state(sides[0].tls), TLS_DONE);
	n = tls_say(sides[0].tls, bytes, sizeof(bytes));
	memcpy(bytes + n, "Precord", 7);
	CHECK_EQ(tls_hear(sides[1].tls, bytes, n + 7, &taken, &sides[1].kind, &sides[1].e), 0);
	CHECK_EQ(taken, n);
	CHECK_EQ(tls_state(sides[1].tls), TLS_DONE);
	close_sides(sides);
	identity_close(id);
	test_ca_close(&ca);
}

/* Goal: the accepting side's refusal reaches the dialer, who was done already, as a sentence;
 * the dialer's own refusal is told at once.
 */
TEST(tls__refusals_reach_both)
{
	struct test_ca ours, theirs;
	struct identity *id, *foreign, *stranger;
	uint8_t fingerprint[PRINCIPAL_FINGERPRINT_BYTES];
	struct side sides[2];
	struct error e;

	test_ca_open(&ours, "ours", test_seed());
	test_ca_open(&theirs, "theirs", test_seed() + 1);
	id = test_identity(&ours, "node", PRINCIPAL_ANY, clock_real());
	foreign = test_identity(&theirs, "intruder", PRINCIPAL_ANY, clock_real());
	test_ca_fingerprint(&ours, fingerprint);
	CHECK_OK(identity_open_stranger(&stranger, fingerprint, clock_real(), &e), &e);

	open_sides(sides, foreign, id);
	shake(&sides[0], &sides[1], 100);
	CHECK_EQ(sides[0].rc, -EKEYREJECTED);
	CHECK_TEXT(sides[0].kind, "foreign_ca");
	CHECK_EQ(tls_state(sides[1].tls), TLS_FAILED);
	close_sides(sides);

	open_sides(sides, stranger, id);
	shake(&sides[0], &sides[1], 100);
	CHECK_EQ(sides[1].rc, -EKEYREJECTED);
	CHECK(sides[1].e.text[0]);
	CHECK_EQ(sides[0].rc, -EKEYREJECTED);
	CHECK_TEXT(sides[0].kind, "refused_us");
	close_sides(sides);

	identity_close(id);
	identity_close(foreign);
	identity_close(stranger);
	test_ca_close(&ours);
	test_ca_close(&theirs);
}

/* Goal: any bytes in place of a handshake end in a sentence. */
TEST(tls__garbage_is_refused)
{
	struct random r;
	struct test_ca ca;
	struct identity *id;

	random_seed(&r, test_seed());
	test_ca_open(&ca, "region", test_seed());
	id = test_identity(&ca, "node", PRINCIPAL_ANY, clock_real());
	for (int i = 0; i < 200; i++) {
		struct side sides[2];
		uint8_t bytes[600];
		size_t taken;

		open_sides(sides, id, id);
		for (size_t b = 0; b < sizeof(bytes); b++)
			bytes[b] = (uint8_t)random_u64(&r);
		if (i % 2)
			memcpy(bytes, "\x16\x03\x01\x01\xff\x01", 6);
		for (int n = 0; n < 40 && sides[1].rc == 0; n++)
			sides[1].rc = tls_hear(sides[1].tls, bytes, sizeof(bytes), &taken,
					       &sides[1].kind, &sides[1].e);
		CHECK_EQ(sides[1].rc, -EKEYREJECTED);
		CHECK(sides[1].e.text[0] && sides[1].kind[0]);
		close_sides(sides);
	}
	identity_close(id);
	test_ca_close(&ca);
}

#ifdef PETALS_FAULTS
/* Goal: whichever allocation of ours fails, nothing is kept. */
TEST(tls__open_unwinds)
{
	struct test_ca ca;
	struct identity *id;
	struct tls *t;
	struct error e;

	test_ca_open(&ca, "region", test_seed());
	id = test_identity(&ca, "node", PRINCIPAL_ANY, clock_real());
	for (int nth = 1;; nth++) {
		fault_arm(nth);
		if (tls_open(&t, id, true, &e) == 0)
			break;
		CHECK(fault_fired());
	}
	fault_disarm();
	tls_close(t);
	identity_close(id);
	test_ca_close(&ca);
}
#endif
