/* sheet.cu - fetches the description of a step out of host memory: all of it in one launch,
 * where copies would take one each.
 */
#include "compute/cuda/common.cuh"

KERNEL(sheet)(const struct sheet_args a)
{
	wait_for_previous();
	let_next_start();
	for (uint32_t s = 0; s < SHEET_SEGMENTS; s++)
		for (uint32_t i = blockIdx.x * blockDim.x + threadIdx.x; i < a.units[s];
		     i += gridDim.x * blockDim.x)
			((uint4 *)a.segments[s].to)[i] = ((const uint4 *)a.segments[s].from)[i];
}
