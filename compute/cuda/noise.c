/* noise.c - a little noise, copied over and over; and much memory, read once. */
#include "compute/cuda/noise.h"

#include "dataplane/base/random.h"

enum { PART_BYTES = 2 << 20, PIECE_BYTES = 16, THREADS = 256 };

static void fill(void *host, uint64_t bytes, enum noise kind)
{
	struct random r;

	random_seed(&r, 1);
	for (uint64_t i = 0; kind == NOISE_F32 && i < bytes / 4; i++)
		((float *)host)[i] = (float)(2 * random_unit(&r) - 1);
	for (uint64_t i = 0; kind == NOISE_BF16 && i < bytes / 2; i++)
		((uint16_t *)host)[i] = bf16_of_f32((float)(2 * random_unit(&r) - 1));
	/* Any sign and mantissa, exponents below 2. */
	for (uint64_t i = 0; kind == NOISE_FP8 && i < bytes; i++)
		((uint8_t *)host)[i] = (uint8_t)random_u64(&r) & 0xbf;
}

int cuda_noise(struct cuda_queue *q, void *to, uint64_t bytes, enum noise kind, struct error *e)
{
	uint64_t part = MIN(bytes, (uint64_t)PART_BYTES);
	void *host;
	int rc = cuda_host_alloc(q->device, &host, part, e);

	if (rc < 0)
		return rc;
	fill(host, part, kind);
	for (uint64_t at = 0; at < bytes; at += part)
		cuda_copy_in(q, (uint8_t *)to + at, host, MIN(part, bytes - at));
	rc = cuda_queue_wait(q);
	cuda_host_free(q->device, host);
	return rc < 0 ? error_set(e, rc, "cuda:%u: random numbers could not be copied over",
				  q->device->index) : 0;
}

void cuda_pass_over(struct cuda_queue *q, const void *memory, uint64_t bytes, uint32_t *sums)
{
	struct measure_read_args a = { memory, sums, bytes / PIECE_BYTES };
	uint64_t blocks = MIN(MAX(a.count / THREADS, 1), CUDA_PASS_THREADS / THREADS);

	if (bytes > 0)
		cuda_launch(q, CUDA_KERNEL_MEASURE_READ,
			    (struct cuda_grid){ (uint32_t)blocks, 1, THREADS }, &a);
}
