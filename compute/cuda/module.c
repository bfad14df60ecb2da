/* module.c - what the rest of the program sees of petals-cuda.so: one symbol. */
#include "compute/cuda/device.h"

__attribute__((visibility("default")))
const struct backend_module petals_backend_module = {
	.head = { PETALS_VERSION, sizeof(struct backend) }, .backend = &backend_cuda,
};
