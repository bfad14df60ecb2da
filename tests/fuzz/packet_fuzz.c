/* packet_fuzz.c - hostile bytes against the packet header and the ACK: what
 * decodes must encode to the same bytes.
 */
#include <stdlib.h>
#include <string.h>

#include "dataplane/packet.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t fuzz_seed(unsigned index, uint8_t *out, size_t capacity);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t again[PACKET_HEADER_BYTES], ack[PACKET_ACK_BYTES_MAX];
	struct packet_state s;
	struct packet p;
	size_t bytes;

	if (packet_decode(data, size, &p) != PACKET_FAULT_NONE)
		return 0;
	packet_encode(&p, again);
	if (memcmp(again, data, sizeof(again)) != 0)
		abort();
	if (p.type != PACKET_ACK ||
	    packet_ack_decode(data + PACKET_HEADER_BYTES, p.payload_bytes, &s) != PACKET_FAULT_NONE)
		return 0;
	bytes = packet_ack_encode(&s, ack);
	if (bytes != p.payload_bytes || memcmp(ack, data + PACKET_HEADER_BYTES, bytes) != 0)
		abort();
	return 0;
}

size_t fuzz_seed(unsigned index, uint8_t *out, size_t capacity)
{
	static const struct packet rows[] = {
		{ .type = PACKET_DATA, .flags = PACKET_LAST, .payload_bytes = 80, .segments = 1 },
		{ .type = PACKET_ACK, .payload_bytes = 48 },
		{ .type = PACKET_RTS, .payload_bytes = 8, .segments = 60 },
		{ .type = PACKET_GRANT, .segment = 5, .segments = 60 },
		{ .type = PACKET_PROBE, .segment = 1, .payload_bytes = 1344 },
		{ .type = PACKET_CLOSE, .message = 1 },
	};
	struct packet_state s = { .largest = 70, .ack_words = 1, .done_words = 1, .ack = { 64 } };
	size_t bytes;

	if (index >= ARRAY_LENGTH(rows))
		return 0;
	bytes = rows[index].payload_bytes + PACKET_EXTRA_BYTES;
	if (bytes > capacity)
		return 0;
	memset(out, 0, bytes);
	packet_encode(&rows[index], out);
	if (rows[index].type == PACKET_ACK)
		packet_ack_encode(&s, out + PACKET_HEADER_BYTES);
	return bytes;
}
