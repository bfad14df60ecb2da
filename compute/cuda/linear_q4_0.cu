/* linear_q4_0.cu - activations times 4-bit numbers with a scale for each group of 32: GGUF's
 * Q4_0, and --weights int4.
 */
#include "compute/cuda/linear_few.cuh"
#include "compute/cuda/linear_many.cuh"

LINEAR_ALL(q4_0, CUDA_Q4_0)
