/* seal_test.c - known answers of the framing; phases; what must be refused. */
#include "dataplane/seal.h"

#include <errno.h>

#include "dataplane/base/fault.h"
#include "dataplane/base/memory.h"
#include "dataplane/base/random.h"
#include "tests/test.h"

enum { TEXT_BYTES = 80 };

/* Made with Python's hmac and its cryptography package: secret 00 01 .. 1f,
 * header a0 a1 .. bf, text (7 i) mod 256; sealed text, then tag.
 */
static const struct {
	uint64_t number;
	bool phase;
	const char *sealed;
} known[] = {
	{ 0, 0, "874c11dddb11668ea5551c0000fff62dbf06d7625a1fea42895467254a5b3c2c"
		"96b1db5af3ac525c2f778b74948488bd73650949da97d5fb51a2c722b8bc9230"
		"247d9cbb98e2dea0c7d73e9207c7a47085e1680f29c3faaf9293992ab2f93ab1" },
	{ 0x0123456789abcdef, 0,
		"6d5c013aa590642f7ebc0c03781b471e5141f3c4e00a32dd95d26c67cd873a39"
		"914068ec9d2ae96fc356c6974bdc3513b162843762f4d84da1553f6963998bc9"
		"3106921492b8f6ac9c272f83efd0c325036f0160e93d305105da97db0ff9c66a" },
	{ 1, 1, "cc645ca89655eb0194eced3e49cf39e5573329e843ce6fdac5f0f421554d4b81"
		"099f0c12df7e1f9ff5b0d7780ca548d8d500594c7d6cdcb1a621d3557b00171b"
		"30c16321fdda53e6970babc5a77f7f487e0a7314ca9e7d6d21d5d843de727d10" },
};

static uint8_t secret[SEAL_SECRET_BYTES], header[SEAL_HEADER_BYTES], text[TEXT_BYTES];

static void fill_known(void)
{
	for (size_t i = 0; i < sizeof(secret); i++)
		secret[i] = (uint8_t)i;
	for (size_t i = 0; i < sizeof(header); i++)
		header[i] = (uint8_t)(0xa0 + i);
	for (size_t i = 0; i < sizeof(text); i++)
		text[i] = (uint8_t)(7 * i);
}

static void unhex(const char *in, uint8_t *out)
{
	for (; *in; in += 2) {
		unsigned value;

		CHECK_EQ(sscanf(in, "%2x", &value), 1);
		*out++ = (uint8_t)value;
	}
}

static struct seal *opened(enum seal_side side, const struct seal_policy *p)
{
	struct seal *s;

	CHECK_EQ(seal_open(&s, side, secret, p, 0), 0);
	return s;
}

struct pair {
	struct seal_policy policy;
	struct seal *out, *in;
};

static struct pair pair_open(uint64_t rekey_bytes)
{
	struct pair p;

	fill_known();
	seal_policy_default(&p.policy);
	p.policy.rekey_bytes = rekey_bytes;
	p.out = opened(SEAL_SENDS, &p.policy);
	p.in = opened(SEAL_RECEIVES, &p.policy);
	return p;
}

static void pair_close(struct pair *p)
{
	seal_close(p->out);
	seal_close(p->in);
}

struct record {
	struct seal_ticket ticket;
	uint8_t bytes[TEXT_BYTES], tag[SEAL_TAG_BYTES];
};

static struct record sealed(struct seal *s, uint64_t now_ns)
{
	struct record r;

	CHECK_EQ(seal_reserve(s, TEXT_BYTES, now_ns, &r.ticket), 0);
	seal_encrypt(s, &r.ticket, header, text, TEXT_BYTES, r.bytes, r.tag);
	return r;
}

static bool opens(struct seal *s, const struct record *r, uint64_t now_ns)
{
	uint8_t out[TEXT_BYTES];
	bool ok = seal_decrypt(s, &r->ticket, header, r->bytes, TEXT_BYTES, out, r->tag, now_ns);

	if (ok)
		CHECK_BYTES(out, text, TEXT_BYTES);
	return ok;
}

/* Goal: labels, nonces, phases and what is authenticated stay as they are. */
TEST(seal__known_answers)
{
	for (const struct gcm_ops *const *b = gcm_backends; *b; b++) {
		struct record made[2], expected;
		struct pair p;

		if (!(*b)->usable())
			continue;
		p = pair_open(TEXT_BYTES);
		pair_close(&p);
		p.policy.gcm = *b;
		p.out = opened(SEAL_SENDS, &p.policy);
		p.in = opened(SEAL_RECEIVES, &p.policy);
		made[0] = sealed(p.out, 0);
		made[1] = sealed(p.out, 0);              /* steps: the first key is worn */
		CHECK_EQ(seal_phase(p.out), 1);
		for (size_t i = 0; i < ARRAY_LENGTH(known); i++) {
			expected.ticket = (struct seal_ticket){ known[i].number, known[i].phase };
			unhex(known[i].sealed, expected.bytes);
			CHECK(opens(p.in, &expected, 0));
			if (known[i].number > 1)
				continue;
			CHECK_EQ(made[known[i].number].ticket.phase, known[i].phase);
			CHECK_BYTES(made[known[i].number].bytes, expected.bytes, TEXT_BYTES);
			CHECK_BYTES(made[known[i].number].tag, expected.tag, SEAL_TAG_BYTES);
		}
		pair_close(&p);
	}
}

/* Goal: in pieces of any size the same as whole, at both ends. */
TEST(seal__pieces)
{
	struct pair p = pair_open(GIB);

	for (size_t cut = 0; cut <= TEXT_BYTES; cut++) {
		uint8_t out[TEXT_BYTES];
		struct record r;

		CHECK_EQ(seal_reserve(p.out, TEXT_BYTES, 0, &r.ticket), 0);
		seal_begin(p.out, &r.ticket, header);
		seal_update(p.out, text, cut, r.bytes);
		seal_update(p.out, text + cut, TEXT_BYTES - cut, r.bytes + cut);
		seal_end(p.out, r.tag);
		CHECK(opens(p.in, &r, 0));
		seal_begin(p.in, &r.ticket, header);
		seal_update(p.in, r.bytes, cut, out);
		seal_update(p.in, r.bytes + cut, TEXT_BYTES - cut, out + cut);
		CHECK(seal_verify(p.in, r.tag, 0));
		CHECK_BYTES(out, text, TEXT_BYTES);
		r.tag[cut % SEAL_TAG_BYTES] ^= 1;
		seal_begin(p.in, &r.ticket, header);
		seal_update(p.in, r.bytes, TEXT_BYTES, out);
		CHECK(!seal_verify(p.in, r.tag, 0));
	}
	pair_close(&p);
}

/* Goal: another tag, header, number, phase or secret opens nothing, and what is
 * refused leaves no trace.
 */
TEST(seal__refuses_what_was_not_sealed)
{
	struct pair p = pair_open(GIB);
	struct seal *other;
	struct record r = sealed(p.out, 0), bad;

	bad = r;
	bad.tag[15] ^= 0x80;
	CHECK(!opens(p.in, &bad, 0));
	bad = r;
	bad.bytes[3] ^= 1;
	CHECK(!opens(p.in, &bad, 0));
	bad = r;
	bad.ticket.number++;
	CHECK(!opens(p.in, &bad, 0));
	bad = r;
	bad.ticket.phase = !bad.ticket.phase;
	CHECK(!opens(p.in, &bad, 0));
	header[31] ^= 1;
	CHECK(!opens(p.in, &r, 0));
	header[31] ^= 1;
	secret[0] ^= 1;
	other = opened(SEAL_RECEIVES, &p.policy);
	CHECK(!opens(other, &r, 0));
	seal_close(other);
	CHECK_EQ(seal_phase(p.in), 0);
	CHECK(opens(p.in, &r, 0));
	pair_close(&p);
}

/* Goal: records of two phases may cross; the old key serves for a while, then
 * not, and is never mistaken for the next.
 */
TEST(seal__receiver_follows_phases)
{
	struct pair p = pair_open(2 * TEXT_BYTES);
	struct record r[8];

	p.policy.keep_ns = 0;
	for (size_t i = 0; i < ARRAY_LENGTH(r); i++)
		r[i] = sealed(p.out, 0);
	CHECK_EQ(seal_phase(p.out), 3);
	CHECK(opens(p.in, &r[0], 0));
	CHECK(opens(p.in, &r[3], 10));
	CHECK_EQ(seal_phase(p.in), 1);
	CHECK(opens(p.in, &r[1], 20));           /* of the phase before */
	CHECK(opens(p.in, &r[2], 30));           /* first of this one, late */
	CHECK(opens(p.in, &r[5], 40));
	CHECK(!opens(p.in, &r[1], 50));          /* two phases ago */
	CHECK(opens(p.in, &r[2], 60));
	CHECK(opens(p.in, &r[4], 3 * NS_PER_S + 40));    /* and the old key has had its time */
	CHECK(!opens(p.in, &r[3], 3 * NS_PER_S + 50));
	CHECK(opens(p.in, &r[7], 3 * NS_PER_S + 60));
	CHECK_EQ(seal_phase(p.in), 3);
	pair_close(&p);
}

/* Goal: a key that is gone refuses records in pieces, too. */
TEST(seal__pieces_under_a_key_that_is_gone)
{
	struct pair p = pair_open(TEXT_BYTES);
	struct record r[2] = { sealed(p.out, 0), sealed(p.out, 0) };
	uint8_t out[TEXT_BYTES] = { 0 };

	CHECK(opens(p.in, &r[1], 0));
	CHECK(opens(p.in, &r[1], 4 * NS_PER_S));
	seal_begin(p.in, &r[0].ticket, header);
	seal_update(p.in, r[0].bytes, TEXT_BYTES, out);
	CHECK(!seal_verify(p.in, r[0].tag, 4 * NS_PER_S));
	for (size_t i = 0; i < sizeof(out); i++)
		CHECK_EQ(out[i], 0);
	pair_close(&p);
}

/* Goal: time alone wears a key out; numbers go on over phases. */
TEST(seal__rekeys_by_time)
{
	struct pair p = pair_open(GIB);
	struct record r;

	for (uint64_t hour = 0; hour < 5; hour++)
		for (int i = 0; i < 3; i++) {
			r = sealed(p.out, hour * 3600 * NS_PER_S);
			CHECK_EQ(r.ticket.number, 3 * hour + (unsigned)i);
			CHECK_EQ(r.ticket.phase, hour & 1);
			CHECK(opens(p.in, &r, hour * 3600 * NS_PER_S));
			CHECK_EQ(seal_phase(p.in), hour);
		}
	pair_close(&p);
}

/* Goal: where records may be lost, a worn key serves on until the receiver is known to
 * have it.
 */
TEST(seal__lossy_sender_waits_for_the_receiver)
{
	struct pair p = pair_open(TEXT_BYTES);

	seal_close(p.out);
	p.policy.lossy = true;
	p.out = opened(SEAL_SENDS, &p.policy);
	for (int i = 0; i < 5; i++)
		sealed(p.out, 0);
	CHECK_EQ(seal_phase(p.out), 0);
	seal_acknowledged(p.out, 2);
	sealed(p.out, 0);
	CHECK_EQ(seal_phase(p.out), 1);
	seal_acknowledged(p.out, 4);             /* of the phase before */
	sealed(p.out, 0);
	CHECK_EQ(seal_phase(p.out), 1);
	seal_acknowledged(p.out, 5);
	sealed(p.out, 0);
	CHECK_EQ(seal_phase(p.out), 2);
	pair_close(&p);
}

#ifdef PETALS_FAULTS
/* Goal: whichever call fails, open gives everything back; a step that could not
 * make the key after next is no failure until that key is needed.
 */
TEST(seal__unwinds_every_failure)
{
	struct pair p = pair_open(TEXT_BYTES);
	uint64_t before = mem_live_blocks();
	struct seal_ticket t;
	struct record r;

	for (const struct gcm_ops *const *b = gcm_backends; *b; b++) {
		p.policy.gcm = *b;
		for (int nth = 1; (*b)->usable(); nth++) {
			struct seal *s;
			int rc;

			fault_arm(nth);
			rc = seal_open(&s, SEAL_SENDS, secret, &p.policy, 0);
			fault_disarm();
			seal_close(s);
			CHECK_EQ(mem_live_blocks(), before);
			if (!fault_fired())
				break;
			CHECK_EQ(rc, -ENOMEM);
		}
	}
	sealed(p.out, 0);
	fault_arm(1);
	r = sealed(p.out, 0);
	CHECK(fault_fired());
	CHECK(opens(p.in, &r, 0));
	fault_arm(1);
	CHECK_EQ(seal_reserve(p.out, TEXT_BYTES, 0, &t), -ENOMEM);
	fault_disarm();
	r = sealed(p.out, 0);
	CHECK_EQ(seal_phase(p.out), 2);
	CHECK(opens(p.in, &r, 0));
	pair_close(&p);
}
#endif
