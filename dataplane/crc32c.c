/* crc32c.c - CRC-32C (Castagnoli polynomial, reflected), the checksum of
 * headers and payloads.
 *
 * Two ways to the same number.  The portable one takes half a byte at a time
 * from a table of sixteen.  On x86-64 with SSE4.2 and carry-less multiplication
 * three neighbouring lanes are summed at once (a crc32 instruction takes three
 * cycles, but one can start in each) and then joined: moving a lane's sum past
 * n bytes is a multiplication by x^(8n), done as a carry-less product with
 * x^(8n - 33) and one more crc32.
 */
#include "dataplane/wire.h"

#include <string.h>

static uint32_t crc32c_portable(uint32_t crc, const uint8_t *p, size_t bytes)
{
	/* Remainders of the sixteen values of four bits. */
	static const uint32_t table[16] = {
		0x00000000, 0x105ec76f, 0x20bd8ede, 0x30e349b1,
		0x417b1dbc, 0x5125dad3, 0x61c69362, 0x7198540d,
		0x82f63b78, 0x92a8fc17, 0xa24bb5a6, 0xb21572c9,
		0xc38d26c4, 0xd3d3e1ab, 0xe330a81a, 0xf36e6f75,
	};

	for (; bytes; bytes--) {
		crc ^= *p++;
		crc = crc >> 4 ^ table[crc & 15];
		crc = crc >> 4 ^ table[crc & 15];
	}
	return crc;
}

#ifdef __x86_64__
#include <immintrin.h>

enum { LANE_BYTES = 256 };

static const uint32_t past_one_lane = 0xb9e02b86;    /* x^(8 * 256 - 33) mod P */
static const uint32_t past_two_lanes = 0xdd7e3b0c;   /* x^(8 * 512 - 33) mod P */

static inline uint64_t word_at(const uint8_t *p)
{
	uint64_t word;

	memcpy(&word, p, sizeof(word));
	return word;
}

__attribute__((target("sse4.2,pclmul")))
static uint64_t lane_past(uint64_t crc, uint32_t factor)
{
	__m128i product = _mm_clmulepi64_si128(_mm_cvtsi64_si128((int64_t)crc),
					       _mm_cvtsi32_si128((int)factor), 0);

	return _mm_crc32_u64(0, (uint64_t)_mm_cvtsi128_si64(product));
}

__attribute__((target("sse4.2,pclmul")))
static uint32_t crc32c_x86(uint32_t seed, const uint8_t *p, size_t bytes)
{
	uint64_t a = seed, b, c;

	for (; bytes >= 3 * LANE_BYTES; bytes -= 3 * LANE_BYTES) {
		b = c = 0;
		for (int i = 0; i < LANE_BYTES; i += 8) {
			a = _mm_crc32_u64(a, word_at(p + i));
			b = _mm_crc32_u64(b, word_at(p + LANE_BYTES + i));
			c = _mm_crc32_u64(c, word_at(p + 2 * LANE_BYTES + i));
		}
		a = lane_past(a, past_two_lanes) ^ lane_past(b, past_one_lane) ^ c;
		p += 3 * LANE_BYTES;
	}
	for (; bytes >= 8; bytes -= 8, p += 8)
		a = _mm_crc32_u64(a, word_at(p));
	for (; bytes; bytes--)
		a = _mm_crc32_u8((uint32_t)a, *p++);
	return (uint32_t)a;
}
#endif

uint32_t crc32c(uint32_t seed, const void *data, size_t bytes)
{
#ifdef __x86_64__
	if (__builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("pclmul"))
		return ~crc32c_x86(~seed, data, bytes);
#endif
	return ~crc32c_portable(~seed, data, bytes);
}
