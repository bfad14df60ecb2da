/* embed.cu - rows of the embedding, and learned positions. */
#include "compute/cuda/layout.cuh"

KERNEL(embed)(const struct embed_args a)
{
	struct table table = { (const uint8_t *)a.table, a.rows, a.stride, a.format };
	uint64_t to = (uint64_t)blockIdx.x * a.columns;

	wait_for_previous();
	let_next_start();
	for (uint32_t i = column_first(); i < a.columns; i += column_step())
		a.out[to + i] = table_value(&table, a.tokens[blockIdx.x], i) * a.scale;
}

KERNEL(add_positions)(const struct add_positions_args a)
{
	uint64_t r = blockIdx.x;

	wait_for_previous();
	let_next_start();
	for (uint32_t i = column_first(); i < a.columns; i += column_step())
		a.x[r * a.columns + i] += a.table[(a.first + r) * a.columns + i];
}
