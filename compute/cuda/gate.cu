/* gate.cu - the activation between the matrices of an MLP. */
#include "compute/cuda/common.cuh"

KERNEL(gate)(const struct gate_args a)
{
	uint64_t r = blockIdx.x;

	wait_for_previous();
	let_next_start();
	for (uint32_t i = column_first(); i < a.columns; i += column_step()) {
		float v = activate(a.gate[r * a.columns + i], a.act);

		if (a.up)
			v *= a.up[r * a.columns + i];
		operand_store(a.out, r * a.stride + i, v, a.bf16);
	}
	operand_pad(a.out, r, a.columns, a.stride, a.bf16);
}
