/* linear_q8_0.cu - activations times int8 numbers with a scale for each group of 32: GGUF's Q8_0.
 */
#include "compute/cuda/linear_few.cuh"
#include "compute/cuda/linear_many.cuh"

LINEAR_ALL(q8_0, CUDA_Q8_0)
