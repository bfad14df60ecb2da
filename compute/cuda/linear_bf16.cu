/* linear_bf16.cu - activations times a bf16 matrix, for few rows and for many.
 *
 * In tiles, or in rows as cuBLASLt wants them: only where a lane reads differs.
 */
#include "compute/cuda/linear_few.cuh"
#include "compute/cuda/linear_many.cuh"

LINEAR_ALL(bf16, CUDA_BF16)
