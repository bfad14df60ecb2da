/* linear_q4_1.cu - activations times 4-bit numbers with a scale and a minimum for each group of
 * 32: GGUF's Q4_1.
 *
 * A minimum is times the sum of the group's activations, which an mma with ones gives.
 */
#include "compute/cuda/linear_few.cuh"
#include "compute/cuda/linear_many.cuh"

LINEAR_ALL(q4_1, CUDA_Q4_1)
