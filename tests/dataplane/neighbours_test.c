/* neighbours_test.c - who is asked when, and whom we believe. */
#include "dataplane/neighbours.h"

#include <errno.h>

#include "tests/test.h"

static const struct ether_host host = { { 2, 0, 0, 0, 0, 9 }, { 7 } };
static const struct ether_host liar = { { 2, 0, 0, 0, 0, 66 }, { 7 } };

static bool asks_for_host(struct neighbours *n, uint64_t now_ns)
{
	const uint8_t *ip = neighbours_ask(n, now_ns);

	if (ip)
		CHECK_BYTES(ip, host.ip, ETHER_IP_BYTES);
	return ip != NULL;
}

static int want(struct neighbours *n, uint32_t number)
{
	uint8_t ip[ETHER_IP_BYTES] = { (uint8_t)number, (uint8_t)(number >> 8) };

	return neighbours_want(n, ip, 0);
}

/* Goal: a host is asked for until it tells, again when its answer is old, and taken
 * for gone when it does not answer.
 */
TEST(neighbours__life)
{
	struct neighbours n = { 0 };
	uint64_t now_ns = 1000;
	int i = neighbours_want(&n, host.ip, now_ns);

	CHECK_EQ(i, 0);
	CHECK(!neighbours_known(&n, i));
	CHECK(asks_for_host(&n, now_ns));
	CHECK(!asks_for_host(&n, now_ns));
	CHECK_EQ(neighbours_due(&n), now_ns + NEIGHBOUR_ASK_NS);
	now_ns += NEIGHBOUR_ASK_NS;
	CHECK(asks_for_host(&n, now_ns));
	neighbours_told(&n, &host, now_ns);
	CHECK_BYTES(neighbours_known(&n, i)->mac, host.mac, ETHER_MAC_BYTES);
	CHECK(!asks_for_host(&n, now_ns + NEIGHBOUR_FRESH_NS - 1));
	now_ns += NEIGHBOUR_FRESH_NS;
	for (int tries = 0; tries < NEIGHBOUR_TRIES; tries++, now_ns += NEIGHBOUR_ASK_NS) {
		CHECK(asks_for_host(&n, now_ns));
		CHECK(neighbours_known(&n, i));
	}
	CHECK(asks_for_host(&n, now_ns));
	CHECK(!neighbours_known(&n, i));
	neighbours_told(&n, &host, now_ns);
	CHECK(neighbours_known(&n, i));
}

/* Goal: what nobody asked about is not kept, nor may it change what is known. */
TEST(neighbours__unasked_answers)
{
	struct neighbours n = { 0 };
	struct ether_host stranger = { { 1 }, { 99 } };
	int i = neighbours_want(&n, host.ip, 0);

	neighbours_told(&n, &stranger, 0);
	CHECK_EQ(neighbours_due(&n), 0);
	CHECK(asks_for_host(&n, 0));
	neighbours_told(&n, &host, 0);
	neighbours_told(&n, &liar, 0);
	CHECK_BYTES(neighbours_known(&n, i)->mac, host.mac, ETHER_MAC_BYTES);
	CHECK(asks_for_host(&n, NEIGHBOUR_FRESH_NS));
	neighbours_told(&n, &liar, NEIGHBOUR_FRESH_NS);      /* the host has a new card */
	CHECK_BYTES(neighbours_known(&n, i)->mac, liar.mac, ETHER_MAC_BYTES);
}

/* Goal: the table is bounded; paths to one host share an entry. */
TEST(neighbours__bounded)
{
	struct neighbours n = { 0 };

	for (uint32_t ip = 1; ip <= NEIGHBOURS_MAX; ip++)
		CHECK(want(&n, ip) >= 0);
	CHECK_EQ(want(&n, 5000), -ENOSPC);
	CHECK_EQ(want(&n, 3), 2);
	neighbours_forget(&n, 2);
	CHECK_EQ(want(&n, 5000), -ENOSPC);
	neighbours_forget(&n, 2);
	CHECK_EQ(want(&n, 5000), 2);
}
