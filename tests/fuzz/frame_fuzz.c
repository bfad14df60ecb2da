/* frame_fuzz.c - hostile frames: whatever is read lies within the frame. */
#include <stdlib.h>
#include <string.h>

#include "dataplane/frame.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t fuzz_seed(unsigned index, uint8_t *out, size_t capacity);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct frame f;
	uint32_t sum = 0;

	frame_parse(data, size, &f);
	if (f.kind != FRAME_UDP)
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
	static const struct frame_host a = { { 2, 1 }, 0x0a000001 }, b = { { 2, 2 }, 0x0a000002 };

	if (index > 2 || capacity < 200)
		return 0;
	memset(out, 0, 200);
	if (index == 0)
		frame_write_udp(out, &a, 1, &b, 2, 100);
	else
		frame_write_arp(out, index == 1 ? FRAME_ARP_REQUEST : FRAME_ARP_REPLY, &a, &b);
	return index == 0 ? FRAME_UDP_BYTES + 100 : FRAME_LEAST_BYTES;
}
