/* synthetic.c - owns the numbers and the mapping that repeats them. */
#include "compute/model/synthetic.h"

#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#include "dataplane/base/fault.h"
#include "dataplane/base/memory.h"
#include "dataplane/base/random.h"

/* A period holds whole groups of every dtype and whole pages, and so may begin again anywhere;
 * a tensor begins at a multiple of STAGGER_BYTES, which holds whole groups, too.
 */
enum {
	GROUP_BYTES = 3060,             /* of 34, 18, 20 and 4 */
	PERIOD_BYTES = 1024 * GROUP_BYTES,
	STAGGER_BYTES = 16 * GROUP_BYTES,
	VECTOR_STAGGER = 256,
	VECTORS = 8,                    /* beginnings that differ */
};
static_assert(PERIOD_BYTES % 4096 == 0 && PERIOD_BYTES % STAGGER_BYTES == 0,
	      "pages and groups begin again together");

struct synthetic {
	enum dtype dtype;
	uint8_t *base;                  /* repeats every PERIOD_BYTES */
	uint64_t bytes;
	float *biases, *norms;          /* vector_max + VECTORS x VECTOR_STAGGER */
};

static float even(struct random *r, float range)
{
	return (float)(2 * random_unit(r) - 1) * range;
}

/* One group of any dtype; random bits where a format takes any. */
static void fill_group(enum dtype dtype, struct random *r, uint8_t *out)
{
	float f = even(r, SYNTHETIC_RANGE);
	uint16_t half = dtype == DTYPE_BF16 ? bf16_of_f32(f) : f16_of_f32(f);
	uint32_t bytes = dtypes[dtype].group_bytes;
	uint64_t bits;

	if (!dtype_is_quantised(dtype)) {
		memcpy(out, dtype == DTYPE_F32 ? (void *)&f : (void *)&half, bytes);
		return;
	}
	for (uint32_t i = 0; i < bytes; i += sizeof(bits)) {
		bits = random_u64(r);
		memcpy(out + i, &bits, MIN(sizeof(bits), bytes - i));
	}
	half = f16_of_f32(SYNTHETIC_RANGE / (dtype == DTYPE_Q8_0 ? 127 : 8));
	memcpy(out, &half, sizeof(half));
	half = f16_of_f32(-SYNTHETIC_RANGE);
	if (dtype == DTYPE_Q4_1)
		memcpy(out + sizeof(half), &half, sizeof(half));
}

static int map(struct synthetic *s, int file)
{
	uint64_t at;

	if (ftruncate(file, PERIOD_BYTES) < 0)
		return -errno;
	s->base = mmap(NULL, s->bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (s->base == MAP_FAILED) {
		s->base = NULL;
		return -ENOMEM;
	}
	for (at = 0; at < s->bytes; at += PERIOD_BYTES)
		if (mmap(s->base + at, PERIOD_BYTES, PROT_READ | PROT_WRITE,
			 MAP_SHARED | MAP_FIXED, file, 0) == MAP_FAILED)
			return -errno;
	return 0;
}

static int fill(struct synthetic *s, uint32_t vector_max, uint64_t seed)
{
	uint32_t count = vector_max + VECTORS * VECTOR_STAGGER;
	uint32_t group = dtypes[s->dtype].group_bytes;
	struct random r;
	int rc, file;

	s->biases = mem_calloc(count, sizeof(*s->biases));
	s->norms = mem_calloc(count, sizeof(*s->norms));
	if (!s->biases || !s->norms || fault_here())
		return -ENOMEM;
	file = memfd_create("petals-synthetic", MFD_CLOEXEC);
	if (file < 0)
		return -errno;
	rc = map(s, file);
	close(file);
	if (rc < 0)
		return rc;
	random_seed(&r, seed);
	for (uint32_t at = 0; at < PERIOD_BYTES; at += group)
		fill_group(s->dtype, &r, s->base + at);
	for (uint32_t i = 0; i < count; i++) {
		s->biases[i] = even(&r, SYNTHETIC_RANGE);
		s->norms[i] = 1 + even(&r, SYNTHETIC_NORM_RANGE);
	}
	return 0;
}

int synthetic_open(struct synthetic **out, enum dtype dtype, uint64_t tensor_bytes_max,
		   uint32_t vector_max, uint64_t seed, struct error *e)
{
	struct synthetic *s = mem_calloc(1, sizeof(*s));
	int rc = -ENOMEM;

	*out = NULL;
	if (s) {
		s->dtype = dtype;
		/* A beginning may be anywhere in the first period. */
		s->bytes = (tensor_bytes_max / PERIOD_BYTES + 2) * PERIOD_BYTES;
		rc = fill(s, vector_max, seed);
	}
	if (rc < 0) {
		synthetic_close(s);
		return error_errno(e, rc, "random weights of %llu MB",
				   (unsigned long long)tensor_bytes_max / 1000000);
	}
	*out = s;
	return 0;
}

void synthetic_close(struct synthetic *s)
{
	if (!s)
		return;
	if (s->base)
		munmap(s->base, s->bytes);
	mem_free(s->norms);
	mem_free(s->biases);
	mem_free(s);
}

const uint8_t *synthetic_matrix(const struct synthetic *s, uint32_t index)
{
	return s->base + (uint64_t)index * STAGGER_BYTES % PERIOD_BYTES;
}

const float *synthetic_bias(const struct synthetic *s, uint32_t index)
{
	return s->biases + index % VECTORS * VECTOR_STAGGER;
}

const float *synthetic_norm(const struct synthetic *s, uint32_t index)
{
	return s->norms + index % VECTORS * VECTOR_STAGGER;
}

enum dtype synthetic_dtype(const struct synthetic *s)
{
	return s->dtype;
}
