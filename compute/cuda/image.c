/* image.c - embeds what nvcc made: CUDA_IMAGES lists IMAGE(name, "file"), by the Makefile. */
#include "compute/cuda/image.h"

#define IMAGE(name, file)                              \
	__asm__(".section .rodata\n"                   \
		".balign 64\n"                         \
		".hidden cuda_image_" #name "\n"       \
		".globl cuda_image_" #name "\n"        \
		"cuda_image_" #name ":\n"              \
		".incbin \"" file "\"\n"               \
		".balign 64\n"                         \
		".previous\n");                        \
	extern const uint8_t cuda_image_##name[];
#include CUDA_IMAGES
#undef IMAGE

const struct cuda_image cuda_images[] = {
#define IMAGE(name, file) { #name, cuda_image_##name },
#include CUDA_IMAGES
#undef IMAGE
};
const uint32_t cuda_image_count = ARRAY_LENGTH(cuda_images);
