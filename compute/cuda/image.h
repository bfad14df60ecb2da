/* image.h - the compiled kernels, one image per .cu file, for every architecture we build.
 *
 * Threads    Constant.
 * Ownership  Static.
 * Units      None.
 * Errors     None.
 */
#ifndef PETALS_COMPUTE_CUDA_IMAGE_H
#define PETALS_COMPUTE_CUDA_IMAGE_H

#include "dataplane/base/types.h"

struct cuda_image {
	const char *name;               /* "norm": of norm.cu */
	const uint8_t *bytes;           /* a fatbin; says its own size */
};

extern const struct cuda_image cuda_images[];
extern const uint32_t cuda_image_count;

#endif
