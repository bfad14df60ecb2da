/* carry.c - rows of a batch between host memory and the device.
 *
 * Few rows stay where they landed: the kernels that decode and encode them reach over the
 * bus.  Entries of CARRY_ROWS or more are moved by copy engines, which get more out of the
 * bus, in chunks: while one is decoded the next is on its way, and while one is encoded the
 * one before it leaves.  On the device they wait in the pass's q, which holds nothing
 * before the first block's queries and after the last block's.
 *
 * Rows in memory that the device does not reach go through the span's pinned rows.
 */
#include <string.h>

#include "compute/cuda/span.h"

enum { CARRY_ROWS = 128 };              /* of a chunk */

static bool is_carried(uint32_t rows)
{
	return rows >= CARRY_ROWS;
}

/* Where the rows of an entry wait on the device. */
static uint8_t *carried_at(const struct span *s, uint32_t first_row)
{
	return (uint8_t *)s->pass.q + first_row * s->stage_row_bytes;
}

static uint64_t bytes_of(const struct span *s, uint32_t rows, enum row_encoding encoding)
{
	return rows * row_bytes(encoding, s->info.hidden);
}

static bool in_place(const struct span *s, const void *at, uint32_t rows,
		     enum row_encoding encoding)
{
	uintptr_t number = encoding == ROW_F32 ? 4 : encoding == ROW_INT8 ? 1 : 2;

	return (uintptr_t)at % number == 0 &&
	       cuda_host_address(s->device, at, bytes_of(s, rows, encoding));
}

static const void *host_in(const struct span *s, const struct batch_entry *entry,
			   uint32_t first_row)
{
	return in_place(s, entry->in, entry->rows, entry->in_encoding) ?
	       entry->in : s->in_stage + first_row * s->stage_row_bytes;
}

static void *host_out(const struct span *s, const struct batch_entry *entry, uint32_t first_row)
{
	return in_place(s, entry->out, entry->out_rows, entry->out_encoding) ?
	       entry->out : s->out_stage + first_row * s->stage_row_bytes;
}

const uint8_t *cuda_rows_in(struct span *s, const struct batch_entry *entry, uint32_t first_row)
{
	uint64_t bytes = bytes_of(s, entry->rows, entry->in_encoding);
	const void *host = host_in(s, entry, first_row);

	if (host != entry->in)
		memcpy(s->in_stage + first_row * s->stage_row_bytes, entry->in, bytes);
	return is_carried(entry->rows) ? carried_at(s, first_row) :
					 cuda_host_address(s->device, host, bytes);
}

uint8_t *cuda_rows_out(struct span *s, const struct batch_entry *entry, uint32_t first_row)
{
	return is_carried(entry->out_rows) ? carried_at(s, first_row) :
	       cuda_host_address(s->device, host_out(s, entry, first_row),
				 bytes_of(s, entry->out_rows, entry->out_encoding));
}

/* ---- in ---- */

static void decode(struct span *s, const struct cuda_pass *p, uint32_t first, uint32_t rows)
{
	uint32_t half = s->shape.rope_dims / 2, hidden = s->info.hidden;
	struct row_in_args a = {
		.row = p->row + first, .frequencies = s->frequencies,
		.x = p->x + (uint64_t)first * hidden,
		.cosines = p->cosines + (uint64_t)first * half,
		.sines = p->sines + (uint64_t)first * half, .hidden = hidden, .half = half,
	};

	if (rows > 0)
		cuda_launch(&s->queue, CUDA_KERNEL_ROW_IN, cuda_by_row(rows, hidden), &a);
}

static void carry_in(struct span *s, const struct cuda_pass *p, const struct batch_entry *entry,
		     uint32_t first_row)
{
	uint64_t each = row_bytes(entry->in_encoding, s->info.hidden);
	const uint8_t *from = host_in(s, entry, first_row);

	for (uint32_t r = 0, take; r < entry->rows; r += take) {
		take = MIN(entry->rows - r, CARRY_ROWS);
		cuda_copy_in(&s->copies, carried_at(s, first_row) + r * each, from + r * each,
			     take * each);
		cuda_follow(&s->queue, &s->copies);
		decode(s, p, first_row + r, take);
	}
}

void cuda_rows_enter(struct span *s, const struct cuda_pass *p, const struct batch *b)
{
	uint32_t row = 0, left = 0;     /* rows from `left` on are not decoded yet */

	for (uint32_t i = 0; b && i < b->count; row += b->entries[i].rows, i++) {
		const struct batch_entry *entry = &b->entries[i];

		if (!is_carried(entry->rows))
			continue;
		decode(s, p, left, row - left);
		carry_in(s, p, entry, row);
		left = row + entry->rows;
	}
	decode(s, p, left, p->rows - left);
}

/* ---- out ---- */

static void encode(struct span *s, const struct cuda_pass *p, uint32_t first, uint32_t rows)
{
	uint32_t hidden = s->info.hidden;
	struct row_out_args a = { p->row + first, p->x + (uint64_t)first * hidden, hidden };

	if (rows > 0)
		cuda_launch(&s->queue, CUDA_KERNEL_ROW_OUT, cuda_by_row(rows, hidden), &a);
}

static void carry_out(struct span *s, const struct cuda_pass *p, const struct batch_entry *entry,
		      uint32_t first_row)
{
	uint64_t each = row_bytes(entry->out_encoding, s->info.hidden);
	uint32_t wanted = first_row + entry->rows - entry->out_rows;
	uint8_t *to = host_out(s, entry, first_row);

	for (uint32_t r = 0, take; r < entry->out_rows; r += take) {
		take = MIN(entry->out_rows - r, CARRY_ROWS);
		encode(s, p, wanted + r, take);
		cuda_follow(&s->copies, &s->queue);
		cuda_copy_out(&s->copies, to + r * each, carried_at(s, first_row) + r * each,
			      take * each);
	}
	/* Who waits for one queue has waited for both. */
	cuda_follow(&s->queue, &s->copies);
}

void cuda_rows_leave(struct span *s, const struct cuda_pass *p, const struct batch *b)
{
	uint32_t row = 0, left = 0;

	for (uint32_t i = 0; b && i < b->count; row += b->entries[i].rows, i++) {
		const struct batch_entry *entry = &b->entries[i];

		if (!is_carried(entry->out_rows))
			continue;
		encode(s, p, left, row - left);
		carry_out(s, p, entry, row);
		left = row + entry->rows;
	}
	encode(s, p, left, p->rows - left);
}

void cuda_rows_deliver(struct span *s, const struct batch *b)
{
	uint32_t row = 0;

	for (uint32_t i = 0; i < b->count; row += b->entries[i].rows, i++) {
		const struct batch_entry *entry = &b->entries[i];
		const void *from;

		if (entry->out_rows == 0)
			continue;
		from = host_out(s, entry, row);
		if (from != entry->out)
			memcpy(entry->out, from,
			       bytes_of(s, entry->out_rows, entry->out_encoding));
	}
}
