/* gcm_test.c - both back ends against published values and each other.
 * Covers gcm.c, gcm_mb.c, gcm_evp.c.
 */
#include "dataplane/gcm.h"

#include "dataplane/base/fault.h"
#include "dataplane/base/memory.h"
#include "dataplane/base/random.h"
#include "tests/test.h"

enum { TEXT_BYTES_MAX = 6000 };

/* Test cases 1 to 4 of "The Galois/Counter Mode of Operation" (McGrew, Viega),
 * which NIST publishes with SP 800-38D.
 */
static const struct {
	const char *key, *iv, *aad, *text, *sealed, *tag;
} published[] = {
	{ "00000000000000000000000000000000", "000000000000000000000000", "", "", "",
	  "58e2fccefa7e3061367f1d57a4e7455a" },
	{ "00000000000000000000000000000000", "000000000000000000000000", "",
	  "00000000000000000000000000000000", "0388dace60b6a392f328c2b971b2fe78",
	  "ab6e47d42cec13bdf53a67b21257bddf" },
	{ "feffe9928665731c6d6a8f9467308308", "cafebabefacedbaddecaf888", "",
	  "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72"
	  "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b391aafd255",
	  "42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e"
	  "21d514b25466931c7d8f6a5aac84aa051ba30b396a0aac973d58e091473f5985",
	  "4d5c2af327cd64a62cf35abd2ba6fab4" },
	{ "feffe9928665731c6d6a8f9467308308", "cafebabefacedbaddecaf888",
	  "feedfacedeadbeeffeedfacedeadbeefabaddad2",
	  "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72"
	  "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39",
	  "42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e"
	  "21d514b25466931c7d8f6a5aac84aa051ba30b396a0aac973d58e091",
	  "5bc94fbc3221a5db94fae95ae7121a47" },
};

static size_t unhex(const char *text, uint8_t *out)
{
	size_t bytes = strlen(text) / 2;

	for (size_t i = 0; i < bytes; i++) {
		unsigned value;

		CHECK_EQ(sscanf(text + 2 * i, "%2x", &value), 1);
		out[i] = (uint8_t)value;
	}
	return bytes;
}

static void fill(struct random *r, uint8_t *out, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++)
		out[i] = (uint8_t)random_u64(r);
}

static struct gcm *keyed(const struct gcm_ops *ops, const uint8_t *key)
{
	struct gcm *g;

	CHECK_EQ(ops->open(&g), 0);
	CHECK_EQ(ops->set(g, key), 0);
	return g;
}

/* Goal: each usable back end gives the published bytes and takes them back. */
TEST(gcm__published_values)
{
	uint8_t key[16], iv[12], aad[32], text[64], sealed[64], tag[16], out[64], got[16];

	for (const struct gcm_ops *const *b = gcm_backends; *b; b++)
	for (size_t i = 0; i < ARRAY_LENGTH(published) && (*b)->usable(); i++) {
		size_t aad_bytes = unhex(published[i].aad, aad);
		size_t bytes = unhex(published[i].text, text);
		struct gcm *g;

		unhex(published[i].key, key);
		unhex(published[i].iv, iv);
		unhex(published[i].sealed, sealed);
		unhex(published[i].tag, tag);
		g = keyed(*b, key);
		(*b)->encrypt(g, iv, aad, aad_bytes, text, bytes, out, got);
		CHECK_BYTES(out, sealed, bytes);
		CHECK_BYTES(got, tag, 16);
		CHECK((*b)->decrypt(g, iv, aad, aad_bytes, sealed, bytes, out, tag));
		CHECK_BYTES(out, text, bytes);
		(*b)->close(g);
	}
}

/* Goal: the back ends agree for every length around their inner loops. */
TEST(gcm__backends_agree)
{
	static uint8_t text[TEXT_BYTES_MAX], a[TEXT_BYTES_MAX], b[TEXT_BYTES_MAX];
	uint8_t key[16], iv[12], aad[32], tag_a[16], tag_b[16];
	struct gcm *mb, *evp;
	struct random r;

	if (!gcm_mb.usable())
		SKIP("libipsec-mb has no path for this CPU");
	random_seed(&r, test_seed());
	fill(&r, text, sizeof(text));
	fill(&r, key, 16);
	fill(&r, aad, 32);
	mb = keyed(&gcm_mb, key);
	evp = keyed(&gcm_evp, key);
	for (size_t bytes = 0; bytes < sizeof(text); bytes += bytes < 1100 ? 1 : 97) {
		fill(&r, iv, 12);
		gcm_mb.encrypt(mb, iv, aad, 32, text, bytes, a, tag_a);
		gcm_evp.encrypt(evp, iv, aad, 32, text, bytes, b, tag_b);
		CHECK_BYTES(a, b, bytes);
		CHECK_BYTES(tag_a, tag_b, 16);
		CHECK(gcm_mb.decrypt(mb, iv, aad, 32, b, bytes, b, tag_b));
		CHECK(gcm_evp.decrypt(evp, iv, aad, 32, a, bytes, a, tag_a));
		CHECK_BYTES(a, text, bytes);
		CHECK_BYTES(b, text, bytes);
	}
	gcm_mb.close(mb);
	gcm_evp.close(evp);
}

static void in_pieces(const struct gcm_ops *ops, struct gcm *g, const uint8_t *in, size_t bytes,
		      uint8_t *out, struct random *r)
{
	for (size_t at = 0, take; at < bytes; at += take) {
		take = random_below(r, random_chance(r, 0.5) ? 40 : 700);
		take = MIN(bytes - at, take);
		ops->update(g, in + at, take, out + at);
	}
}

/* Goal: however a message is cut, the result is that of one call. */
TEST(gcm__pieces_equal_whole)
{
	static uint8_t text[2048], whole[2048], out[2048];
	uint8_t key[16], iv[12] = { 9 }, aad[32] = { 7 }, tag[16], got[16];
	struct random r;

	random_seed(&r, test_seed());
	fill(&r, text, sizeof(text));
	fill(&r, key, 16);
	for (const struct gcm_ops *const *b = gcm_backends; *b; b++) {
		struct gcm *g;

		if (!(*b)->usable())
			continue;
		g = keyed(*b, key);
		for (int round = 0; round < 400; round++) {
			size_t bytes = random_below(&r, sizeof(text) + 1);

			(*b)->encrypt(g, iv, aad, 32, text, bytes, whole, tag);
			(*b)->begin(g, iv, aad, 32, true);
			in_pieces(*b, g, text, bytes, out, &r);
			CHECK((*b)->end(g, got));
			CHECK_BYTES(out, whole, bytes);
			CHECK_BYTES(got, tag, 16);
			(*b)->begin(g, iv, aad, 32, false);
			in_pieces(*b, g, whole, bytes, out, &r);
			CHECK((*b)->end(g, tag));
			CHECK_BYTES(out, text, bytes);
		}
		(*b)->close(g);
	}
}

/* Goal: each split of a short message in two, both ways. */
TEST(gcm__every_split)
{
	uint8_t text[160], whole[160], out[160], key[16] = { 3 }, iv[12] = { 9 }, aad[32] = { 7 };
	uint8_t tag[16], got[16];

	memset(text, 0x5a, sizeof(text));
	for (const struct gcm_ops *const *b = gcm_backends; *b; b++) {
		struct gcm *g;

		if (!(*b)->usable())
			continue;
		g = keyed(*b, key);
		(*b)->encrypt(g, iv, aad, 32, text, sizeof(text), whole, tag);
		for (size_t cut = 0; cut <= sizeof(text); cut++) {
			(*b)->begin(g, iv, aad, 32, true);
			(*b)->update(g, text, cut, out);
			(*b)->update(g, text + cut, sizeof(text) - cut, out + cut);
			CHECK((*b)->end(g, got));
			CHECK_BYTES(out, whole, sizeof(text));
			CHECK_BYTES(got, tag, 16);
			(*b)->begin(g, iv, aad, 32, false);
			(*b)->update(g, whole, cut, out);
			(*b)->update(g, whole + cut, sizeof(text) - cut, out + cut);
			CHECK((*b)->end(g, tag));
			CHECK_BYTES(out, text, sizeof(text));
		}
		(*b)->close(g);
	}
}

/* Goal: one flipped bit anywhere is noticed, whole and in pieces. */
TEST(gcm__forgeries_are_refused)
{
	uint8_t text[100] = { 1 }, sealed[100], out[100], key[16] = { 3 }, iv[12] = { 9 };
	uint8_t aad[32] = { 7 }, tag[16];
	struct { uint8_t *at; size_t bytes; } parts[] = {
		{ sealed, 100 }, { iv, 12 }, { aad, 32 }, { tag, 16 },
	};

	for (const struct gcm_ops *const *b = gcm_backends; *b; b++) {
		struct gcm *g;

		if (!(*b)->usable())
			continue;
		g = keyed(*b, key);
		(*b)->encrypt(g, iv, aad, 32, text, 100, sealed, tag);
		for (size_t p = 0; p < ARRAY_LENGTH(parts); p++)
		for (size_t bit = 0; bit < 8 * parts[p].bytes; bit++) {
			parts[p].at[bit / 8] ^= (uint8_t)(1 << bit % 8);
			CHECK(!(*b)->decrypt(g, iv, aad, 32, sealed, 100, out, tag));
			(*b)->begin(g, iv, aad, 32, false);
			(*b)->update(g, sealed, 100, out);
			CHECK(!(*b)->end(g, tag));
			parts[p].at[bit / 8] ^= (uint8_t)(1 << bit % 8);
		}
		CHECK((*b)->decrypt(g, iv, aad, 32, sealed, 100, out, tag));
		(*b)->close(g);
	}
}

/* Goal: a wiped key can be set again; whichever call fails, nothing leaks. */
TEST(gcm__open_and_set_unwind)
{
	uint8_t key[16] = { 3 }, iv[12] = { 9 }, aad[32] = { 7 }, text[20] = { 1 }, out[20];
	uint8_t tag[16], got[16];
	uint64_t before = mem_live_blocks();

	for (const struct gcm_ops *const *b = gcm_backends; *b; b++) {
		struct gcm *g;

		if (!(*b)->usable())
			continue;
		g = keyed(*b, key);
		(*b)->encrypt(g, iv, aad, 32, text, 20, out, tag);
		(*b)->wipe(g);
		CHECK_EQ((*b)->set(g, key), 0);
		(*b)->encrypt(g, iv, aad, 32, text, 20, out, got);
		CHECK_BYTES(got, tag, 16);
		(*b)->close(g);
		(*b)->close(NULL);
#ifdef PETALS_FAULTS
		for (int nth = 1; ; nth++) {
			int rc;

			fault_arm(nth);
			rc = (*b)->open(&g);
			if (rc == 0)
				rc = (*b)->set(g, key);
			fault_disarm();
			(*b)->close(g);
			CHECK_EQ(mem_live_blocks(), before);
			if (!fault_fired())
				break;
			CHECK_EQ(rc, -12);
		}
#endif
	}
	CHECK(gcm_best()->usable());
	CHECK_EQ(mem_live_blocks(), before);
}
