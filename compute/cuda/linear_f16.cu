/* linear_f16.cu - activations times an f16 matrix, for few rows and for many.
 *
 * Exactly: bf16 activations could be no f16 (they end at 65504), and weights no bf16 without
 * rounding, so a weight is multiplied as the sum of two bf16.
 */
#include "compute/cuda/linear_few.cuh"
#include "compute/cuda/linear_many.cuh"

LINEAR_ALL(f16, CUDA_F16)
