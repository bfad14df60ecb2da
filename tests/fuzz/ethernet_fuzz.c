/* ethernet_fuzz.c - hostile frames: whatever is read lies within the frame. */
#include <stdlib.h>
#include <string.h>

#include "dataplane/ethernet.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t fuzz_seed(unsigned index, uint8_t *out, size_t capacity);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct ether_frame f;
	uint32_t sum = 0;

	ether_parse(data, size, &f);
	if (f.kind != ETHER_UDP)
		return 0;
	if (f.datagram < data || f.datagram + f.datagram_bytes > data + size)
		abort();
	for (uint32_t i = 0; i < f.datagram_bytes; i++)
		sum += f.datagram[i];
	if (sum > 255 * f.datagram_bytes)
		abort();
	return 0;
}

size_t fuzz_seed(unsigned index, uint8_t *out, size_t capacity)
{
	static const struct ether_host a[2] = {
		{ { 2, 1 }, { [10] = 0xff, 0xff, 10, 0, 0, 1 } }, { { 2, 1 }, { 0xfd, 1 } },
	};
	static const struct ether_host b[2] = {
		{ { 2, 2 }, { [10] = 0xff, 0xff, 10, 0, 0, 2 } }, { { 2, 2 }, { 0xfd, 2 } },
	};
	uint32_t family = index / 3, head;

	if (index >= 6 || capacity < 200)
		return 0;
	memset(out, 0, 200);
	head = ether_head_bytes(a[family].ip);
	switch (index % 3) {
	case 0:
		ether_write_udp(out + head, 100, &a[family], 1, &b[family], 2);
		return head + 100;
	case 1:
		return ether_write_ask(out, &a[family], b[family].ip);
	default:
		return ether_write_tell(out, &a[family], &b[family]);
	}
}
