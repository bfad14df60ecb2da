/* crc32c_test.c - the checksum against known values and a slow twin. */
#include "dataplane/base/random.h"
#include "dataplane/wire.h"
#include "tests/test.h"

/* One bit at a time, straight from the polynomial. */
static uint32_t twin(uint32_t seed, const uint8_t *p, size_t bytes)
{
	uint32_t crc = ~seed;

	for (; bytes; bytes--) {
		crc ^= *p++;
		for (int bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78 : 0);
	}
	return ~crc;
}

/* Goal: the values that RFC 3720 prints. */
TEST(crc32c__published_values)
{
	uint8_t data[32] = { 0 };

	CHECK_EQ(crc32c(0, "123456789", 9), 0xe3069283);
	CHECK_EQ(crc32c(0, data, 32), 0x8a9136aa);
	memset(data, 0xff, 32);
	CHECK_EQ(crc32c(0, data, 32), 0x62a8ab43);
	for (int i = 0; i < 32; i++)
		data[i] = (uint8_t)i;
	CHECK_EQ(crc32c(0, data, 32), 0x46dd794e);
	CHECK_EQ(crc32c(0, data, 0), 0);
}

/* Goal: every length around the lanes, every alignment, equals the twin. */
TEST(crc32c__equals_slow_twin)
{
	static uint8_t data[5000];
	struct random r;

	random_seed(&r, test_seed());
	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)random_u64(&r);
	for (size_t bytes = 0; bytes < 2400; bytes += bytes > 40 ? 7 : 1)
		CHECK_EQ(crc32c(0, data + bytes % 8, bytes), twin(0, data + bytes % 8, bytes));
	for (size_t bytes = 760; bytes < 780; bytes++)
		CHECK_EQ(crc32c(77, data, bytes), twin(77, data, bytes));
	CHECK_EQ(crc32c(0, data, sizeof(data)), twin(0, data, sizeof(data)));
}

/* Goal: in pieces or at once, the same. */
TEST(crc32c__goes_on_from_a_seed)
{
	static uint8_t data[4096];
	struct random r;
	size_t cut;

	random_seed(&r, test_seed());
	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)random_u64(&r);
	for (int i = 0; i < 200; i++) {
		cut = random_below(&r, sizeof(data));
		CHECK_EQ(crc32c(crc32c(0, data, cut), data + cut, sizeof(data) - cut),
			 crc32c(0, data, sizeof(data)));
	}
}
