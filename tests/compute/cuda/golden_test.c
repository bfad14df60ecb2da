/* golden_test.c - whole blocks of every family on the CUDA backend against what transformers
 * computed.
 */
#include "compute/cuda/device.h"
#include "tests/support/golden_run.h"
#include "tests/support/stand_in.h"
#include "tests/test.h"

/* Goal: in f32 every family gives transformers' states, logits and tokens. */
TEST(golden__cuda_f32_gives_what_transformers_gives)
{
	stand_in_use();
	for (size_t i = 0; i < golden_checkpoint_count; i++)
		golden_run(i, &backend_cuda, COMPUTE_F32, 1e-4, true);
}

/* Goal: in bf16 states are as far off as bf16 is. */
TEST(golden__cuda_bf16_is_near)
{
	stand_in_use();
	for (size_t i = 0; i < golden_checkpoint_count; i++)
		golden_run(i, &backend_cuda, COMPUTE_BF16, 7e-2, false);
}
