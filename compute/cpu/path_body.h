/* path_body.h - fills a path's struct kernels with the functions of the other bodies.
 *
 * Threads    Constant data.
 * Ownership  None.
 * Units      None.
 * Errors     None.
 */
#ifndef PETALS_COMPUTE_CPU_PATH_BODY_H
#define PETALS_COMPUTE_CPU_PATH_BODY_H

#include "compute/cpu/expand_body.h"
#include "compute/cpu/narrow_body.h"
#include "compute/cpu/pointwise_body.h"
#include "compute/cpu/tile_body.h"

#define PATH_TABLE(path_name)                            \
	{                                                \
		.name = path_name,                       \
		.tile = {                                \
			[PANEL_F32] = tiles_f32,         \
			[PANEL_BF16] = tiles_bf16,       \
			[PANEL_Q8] = tiles_q8,           \
			[PANEL_Q4_0] = tiles_q4_0,       \
			[PANEL_Q4_1] = tiles_q4_1,       \
			[PANEL_I8] = tiles_i8,           \
		},                                       \
		.expand = {                              \
			[OPERAND_F32] = expand_f32,      \
			[OPERAND_BF16] = expand_bf16,    \
			[OPERAND_INT8] = expand_int8,    \
		},                                       \
		.narrow = {                              \
			[OPERAND_F32] = narrow_f32,      \
			[OPERAND_BF16] = narrow_bf16,    \
			[OPERAND_INT8] = narrow_int8,    \
		},                                       \
		.values_f32 = values_f32,                \
		.values_bf16 = values_bf16,              \
		.operand_bf16 = operand_bf16_row,        \
		.operand_int8 = operand_int8_row,        \
		.finish = finish_rows,                   \
		.norm_rms = norm_rms_row,                \
		.norm_layer = norm_layer_row,            \
		.rope_row = rope_row_heads,              \
		.to_bf16 = to_bf16_row,                  \
		.softmax_f32 = softmax_f32_row,          \
		.softmax_bf16 = softmax_bf16_row,        \
		.softmax_finish = softmax_finish_row,    \
	}

#endif
