/* asan.h - closes memory to everybody, and opens it; nothing without AddressSanitizer.
 *
 * Threads    Any.
 * Ownership  None.
 * Units      Bytes.
 * Errors     None.
 */
#ifndef PETALS_TESTS_CUDA_ASAN_H
#define PETALS_TESTS_CUDA_ASAN_H

#include <stddef.h>

#ifdef __SANITIZE_ADDRESS__
void __asan_poison_memory_region(const volatile void *at, size_t bytes);
void __asan_unpoison_memory_region(const volatile void *at, size_t bytes);
#define memory_shut __asan_poison_memory_region
#define memory_open __asan_unpoison_memory_region
#else
static inline void memory_shut(const volatile void *at, size_t bytes) {}
static inline void memory_open(const volatile void *at, size_t bytes) {}
#endif

#endif
