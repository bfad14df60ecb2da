/* step.c - runs batches through a span.
 *
 * A step: the batch is described in pinned memory, which the device fetches; rows come from
 * where they landed, blocks are launched, rows go to where they leave from (carry.c).
 *
 * Few rows through all blocks are one graph, recorded at load for each power of two of rows up
 * to GRAPH_ROWS_MAX: whatever differs between steps lies in memory, and rows that fill a batch
 * up to its graph's are marked as such.  Anything else is sent launch by launch.
 */
#include <string.h>

#include "compute/cuda/span.h"

static_assert(sizeof(struct cuda_row) % 16 == 0, "rows are whole units");

enum {
	SHEET_BLOCKS = 8,               /* thread blocks that fetch the description */
	GRAPH_ROWS_MAX = 1 << (CUDA_GRAPHS - 1),
	UNIT = 16,
};

/* ---- what is launched ---- */

/* For blocks [first, end) of the span; b NULL: for whichever batch of few rows. */
static void launch(struct span *s, const struct cuda_pass *p, const struct batch *b,
		   uint32_t first, uint32_t end)
{
	struct cuda_grid sheet = { SHEET_BLOCKS, 1, CUDA_ROW_THREADS };

	cuda_launch(&s->queue, CUDA_KERNEL_SHEET, sheet, &s->sheet);
	cuda_rows_enter(s, p, b);
	for (uint32_t block = first; block < end; block++)
		cuda_block_run(p, &s->blocks[block], s->pages + block * s->shape.share_bytes,
			       s->info.page_bytes);
	cuda_rows_leave(s, p, b);
}

static int record(struct span *s, uint32_t rows, struct cuda_graph *out, struct error *e)
{
	struct cuda_pass pass = s->pass;
	int rc = cuda_graph_begin(&s->queue, e);

	if (rc < 0)
		return rc;
	pass.rows = rows;
	pass.recorded = true;
	launch(s, &pass, NULL, 0, s->info.end - s->info.first);
	return cuda_graph_end(&s->queue, out, e);
}

/* Where the device finds what the host describes: fixed, so that graphs need not be told. */
static void set_segments(struct span *s)
{
	uint32_t units[CUDA_ATTENTION_SEGMENTS];

	s->sheet.segments[0] = (struct cuda_segment){ s->rows, s->pass.row };
	s->sheet.segments[1] = (struct cuda_segment){ s->tables, s->pass.pages };
	cuda_attention_segments(&s->pass.attention, s->sheet.segments + 2, units);
	for (uint32_t i = 0; i < SHEET_SEGMENTS; i++)
		s->sheet.segments[i].from =
			cuda_host_address(s->device, s->sheet.segments[i].from, UNIT);
	s->sheet.units = cuda_host_address(s->device, s->units, sizeof(*s->units));
}

int cuda_step_open(struct span *s, struct error *e)
{
	uint32_t graphs = s->device->launches == LAUNCH_GRAPHS ? CUDA_GRAPHS : 0;
	int rc = 0;

	set_segments(s);
	for (uint32_t i = 0; i < graphs && 1u << i <= s->rows_max && rc == 0; i++)
		rc = record(s, 1u << i, &s->graphs[i], e);
	return rc;
}

void cuda_step_close(struct span *s)
{
	for (uint32_t i = 0; i < CUDA_GRAPHS; i++)
		cuda_graph_close(&s->graphs[i]);
}

/* ---- a batch ---- */

/* Describes the rows of one entry; returns the page numbers it added. */
static uint32_t lay_entry(struct span *s, const struct batch_entry *entry, uint32_t first_row,
			  uint32_t first_page)
{
	uint32_t tokens = entry->position + entry->rows, unwanted = entry->rows - entry->out_rows;
	uint32_t pages = (tokens + s->info.page_tokens - 1) / s->info.page_tokens;
	uint64_t in_bytes = row_bytes(entry->in_encoding, s->info.hidden), out_bytes = 0;
	const uint8_t *in = cuda_rows_in(s, entry, first_row);
	uint8_t *out = NULL;

	assert(entry->rows > 0 && entry->out_rows <= entry->rows && tokens <= s->tokens_max);
	assert(first_page + pages <= s->table_room);
	if (entry->out_rows > 0) {
		out = cuda_rows_out(s, entry, first_row);
		out_bytes = row_bytes(entry->out_encoding, s->info.hidden);
	}
	for (uint32_t r = 0; r < entry->rows; r++)
		s->rows[first_row + r] = (struct cuda_row){
			.in = in + r * in_bytes,
			.out = r < unwanted ? NULL : out + (r - unwanted) * out_bytes,
			.in_encoding = entry->in_encoding,
			.out_encoding = entry->out_encoding,
			.position = entry->position + r,
			.first_page = first_page,
		};
	for (uint32_t i = 0; i < pages; i++) {
		assert(entry->pages[i] < s->info.pages);
		s->tables[first_page + i] = entry->pages[i];
	}
	return pages;
}

/* Page tables lie one behind the other. */
static void lay_batch(struct span *s, const struct batch *b)
{
	struct cuda_segment segments[CUDA_ATTENTION_SEGMENTS];
	uint32_t rows = 0, pages = 0;

	cuda_attention_begin(&s->pass.attention);
	for (uint32_t i = 0; i < b->count; i++) {
		const struct batch_entry *entry = &b->entries[i];

		assert(rows + entry->rows <= s->rows_max);
		pages += lay_entry(s, entry, rows, pages);
		cuda_attention_add(&s->pass.attention, rows, entry->rows, entry->position);
		rows += entry->rows;
	}
	s->pass.rows = rows;
	s->units[1] = (uint32_t)(align_up(pages * sizeof(*s->tables), UNIT) / UNIT);
	cuda_attention_segments(&s->pass.attention, segments, s->units + 2);
}

/* Which graph does the batch, once it is filled up; NULL: none. */
static const struct cuda_graph *graph_of(struct span *s, const struct batch *b)
{
	uint32_t i = 0;

	if (b->first != s->info.first || b->end != s->info.end ||
	    s->pass.rows > GRAPH_ROWS_MAX || !cuda_attention_is_few(&s->pass.attention))
		return NULL;
	while (1u << i < s->pass.rows)
		i++;
	if (!s->graphs[i].runnable)
		return NULL;
	while (s->pass.rows < 1u << i)
		s->rows[s->pass.rows++] = (struct cuda_row){ 0 };
	return &s->graphs[i];
}

int cuda_span_submit(struct span *s, const struct batch *b)
{
	const struct cuda_graph *graph;

	assert(!s->batch && b->count > 0 && b->count <= s->entries_max);
	assert(s->info.first <= b->first && b->first < b->end && b->end <= s->info.end);
	lay_batch(s, b);
	graph = graph_of(s, b);
	s->units[0] = (uint32_t)(s->pass.rows * sizeof(*s->rows) / UNIT);
	if (graph)
		cuda_graph_send(&s->queue, graph);
	else
		launch(s, &s->pass, b, b->first - s->info.first, b->end - s->info.first);
	if (s->queue.status < 0)
		return s->queue.status;
	s->batch = b;
	return 0;
}

int cuda_span_wait(struct span *s)
{
	const struct batch *b = s->batch;
	int rc = cuda_queue_wait(&s->queue);

	s->batch = NULL;
	if (rc == 0 && b)
		cuda_rows_deliver(s, b);
	return rc;
}
