/* page.c - KV pages within the device, and out of and into host memory, by way of the span's
 * pinned rows.
 */
#include <string.h>

#include "compute/cuda/span.h"

int cuda_page_copy(struct span *s, uint32_t to, uint32_t from)
{
	cuda_copy_within(&s->queue, cuda_span_page(s, to), cuda_span_page(s, from),
			 s->info.page_bytes);
	return cuda_queue_wait(&s->queue);
}

/* Both stages together. */
static uint64_t stage_bytes(const struct span *s)
{
	return 2 * s->rows_max * s->stage_row_bytes;
}

int cuda_page_export(struct span *s, uint32_t page, void *out)
{
	const uint8_t *from = cuda_span_page(s, page);
	int rc = 0;

	assert(!s->batch);
	for (uint64_t at = 0, take; at < s->info.page_bytes && rc == 0; at += take) {
		take = MIN(s->info.page_bytes - at, stage_bytes(s));
		cuda_copy_out(&s->queue, s->in_stage, from + at, take);
		rc = cuda_queue_wait(&s->queue);
		if (rc == 0)
			memcpy((uint8_t *)out + at, s->in_stage, take);
	}
	return rc;
}

int cuda_page_import(struct span *s, uint32_t page, const void *in)
{
	uint8_t *to = cuda_span_page(s, page);
	int rc = 0;

	assert(!s->batch);
	for (uint64_t at = 0, take; at < s->info.page_bytes && rc == 0; at += take) {
		take = MIN(s->info.page_bytes - at, stage_bytes(s));
		memcpy(s->in_stage, (const uint8_t *)in + at, take);
		cuda_copy_in(&s->queue, to + at, s->in_stage, take);
		rc = cuda_queue_wait(&s->queue);
	}
	return rc;
}
