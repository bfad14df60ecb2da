/* linear_int8.cu - activations times int8 numbers with a scale for each row.
 *
 * The scale is the last but the bias: within a sum, numbers are whole.
 */
#include "compute/cuda/linear_few.cuh"
#include "compute/cuda/linear_many.cuh"

LINEAR_ALL(int8, CUDA_INT8)
