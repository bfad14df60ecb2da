/* queue_call.h - puts a function of another library into a stream's order of things.
 *
 * Threads    As cuLaunchKernelEx().
 * Ownership  args are copied.
 * Units      Bytes.
 * Errors     Arguments that are too long end the program.
 */
#ifndef PETALS_TESTS_CUDA_QUEUE_CALL_H
#define PETALS_TESTS_CUDA_QUEUE_CALL_H

#include <cuda.h>
#include <stddef.h>

__attribute__((visibility("default")))
void queue_call(CUstream stream, void (*run)(const void *args), const void *args, size_t bytes);

#endif
