/* weights_test.c - what was laid out reads back as what is stored. */
#include "compute/cpu/weights.h"

#include <errno.h>

#include "compute/model/model.h"
#include "dataplane/base/fault.h"
#include "dataplane/base/memory.h"
#include "tests/test.h"

static struct model *open_model(const char *name)
{
	struct error e = { 0 };
	struct model *m;

	CHECK_OK(model_open(&m, test_data(name), &e), &e);
	return m;
}

/* |a - b| <= tolerance x |b| element by element. */
static void check_row(const float *a, const float *b, uint32_t n, float tolerance)
{
	for (uint32_t i = 0; i < n; i++)
		CHECK_NEAR(a[i], b[i], tolerance * (b[i] < 0 ? -b[i] : b[i]));
}

static void check_matrix(const struct model *m, enum role role, enum panel_format format,
			 float tolerance)
{
	struct load_progress none = { NULL, NULL };
	struct error e = { 0 };
	struct weights *w;
	struct matrix matrix;
	struct weight stored;
	struct team *team;
	float *a, *b;

	CHECK_EQ(team_open(&team, 2), 0);
	CHECK(model_weight(m, role, 0, &stored));
	/* Writers keep some matrices in another type. */
	if (format > PANEL_BF16 &&
	    weights_kind(COMPUTE_INT8, WEIGHTS_KEEP, stored.dtype).format != format) {
		CHECK(role == ROLE_EMBED_W);
		team_close(team);
		return;
	}
	CHECK_OK(weights_open(&w, m, 1, &e), &e);
	weights_want_matrix(w, role, 0, (struct matrix_kind){ format, OPERAND_F32 }, &matrix);
	CHECK_OK(weights_load(w, team, none, &e), &e);
	CHECK(matrix.rows == stored.rows && matrix.columns == stored.columns);
	a = mem_calloc(stored.columns, sizeof(*a));
	b = mem_calloc(stored.columns, sizeof(*b));
	for (uint32_t r = 0; r < stored.rows; r++) {
		matrix_row(&matrix, r, a);
		weight_row(&stored, r, b);
		check_row(a, b, stored.columns, tolerance);
	}
	mem_free(a);
	mem_free(b);
	weights_close(w);
	team_close(team);
}

/* Goal: every panel format gives every row back: exactly, or rounded to bf16. */
TEST(matrix_row__reads_back_what_was_packed)
{
	static const struct { const char *checkpoint; enum panel_format format; float tolerance; }
	cases[] = {
		{ "llama-plain", PANEL_F32, 0 },
		{ "llama-plain", PANEL_BF16, 1.0f / 256 },
		{ "gpt2", PANEL_F32, 0 },
		{ "llama-gqa-tied-f16", PANEL_F16, 0 },
		{ "bloom", PANEL_BF16, 0 },
		{ "gguf/llama-q8_0.gguf", PANEL_Q8, 0 },
		{ "gguf/llama-q8_0.gguf", PANEL_F32, 0 },
		{ "gguf/llama-q8_0.gguf", PANEL_BF16, 1.0f / 256 },
		{ "gguf/llama-q4_0.gguf", PANEL_Q4_0, 0 },
		{ "gguf/llama-q4_1.gguf", PANEL_Q4_1, 0 },
	};
	static const enum role roles[] = { ROLE_EMBED_W, ROLE_Q_W, ROLE_K_W, ROLE_O_W, ROLE_UP_W,
					   ROLE_DOWN_W };

	for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
		struct model *m = open_model(cases[i].checkpoint);

		for (size_t r = 0; r < ARRAY_LENGTH(roles); r++)
			check_matrix(m, roles[r], cases[i].format, cases[i].tolerance);
		model_close(m);
	}
}

/* Goal: tables keep rows as stored; vectors are widened and padded with zeros. */
TEST(weights_load__tables_and_vectors)
{
	struct model *m = open_model("opt");
	struct load_progress none = { NULL, NULL };
	struct error e = { 0 };
	struct weight stored;
	struct table table;
	const float *bias, *absent;
	struct weights *w;
	struct team *team;
	float *a, *b;

	CHECK_EQ(team_open(&team, 2), 0);
	CHECK_OK(weights_open(&w, m, 3, &e), &e);
	weights_want_table(w, ROLE_POSITION_W, &table);
	weights_want_vector(w, ROLE_UP_B, 1, 4096, &bias);
	weights_want_vector(w, ROLE_GATE_B, 1, 0, &absent);
	CHECK_OK(weights_load(w, team, none, &e), &e);
	CHECK(!absent);
	CHECK(model_weight(m, ROLE_POSITION_W, 0, &stored));
	CHECK_EQ(table.dtype, stored.dtype);
	a = mem_calloc(8192, sizeof(*a));
	b = mem_calloc(8192, sizeof(*b));
	for (uint32_t r = 0; r < stored.rows; r++) {
		table_row(&table, r, a);
		weight_row(&stored, r, b);
		check_row(a, b, stored.columns, 0);
	}
	CHECK(model_weight(m, ROLE_UP_B, 1, &stored));
	weight_row(&stored, 0, b);
	check_row(bias, b, stored.columns, 0);
	for (uint32_t i = stored.columns; i < 4096; i++)
		CHECK(bias[i] == 0);
	mem_free(a);
	mem_free(b);
	weights_close(w);
	team_close(team);
	model_close(m);
}

/* Goal: each mode keeps each dtype as the page says; a weight format has its own panels in every
 * mode, and floats among integers go as bf16.
 */
TEST(weights_kind__by_mode_format_and_dtype)
{
	static const struct {
		enum compute_mode mode;
		enum weight_format weights;
		enum dtype dtype;
		enum panel_format format;
		enum operand_format operand;
	} cases[] = {
		{ COMPUTE_F32, WEIGHTS_KEEP, DTYPE_F32, PANEL_F32, OPERAND_F32 },
		{ COMPUTE_F32, WEIGHTS_KEEP, DTYPE_F16, PANEL_F16, OPERAND_F32 },
		{ COMPUTE_F32, WEIGHTS_KEEP, DTYPE_BF16, PANEL_BF16, OPERAND_F32 },
		{ COMPUTE_F32, WEIGHTS_KEEP, DTYPE_Q4_1, PANEL_Q4_1, OPERAND_F32 },
		{ COMPUTE_BF16, WEIGHTS_KEEP, DTYPE_F32, PANEL_BF16, OPERAND_BF16 },
		{ COMPUTE_BF16, WEIGHTS_KEEP, DTYPE_F16, PANEL_BF16, OPERAND_BF16 },
		{ COMPUTE_BF16, WEIGHTS_KEEP, DTYPE_Q8_0, PANEL_Q8, OPERAND_BF16 },
		{ COMPUTE_INT8, WEIGHTS_KEEP, DTYPE_F16, PANEL_BF16, OPERAND_BF16 },
		{ COMPUTE_INT8, WEIGHTS_KEEP, DTYPE_Q8_0, PANEL_Q8, OPERAND_INT8 },
		{ COMPUTE_INT8, WEIGHTS_KEEP, DTYPE_Q4_0, PANEL_Q4_0, OPERAND_INT8 },
		{ COMPUTE_INT8, WEIGHTS_KEEP, DTYPE_Q4_1, PANEL_Q4_1, OPERAND_INT8 },
		{ COMPUTE_F32, WEIGHTS_BF16, DTYPE_F32, PANEL_BF16, OPERAND_F32 },
		{ COMPUTE_BF16, WEIGHTS_BF16, DTYPE_Q4_1, PANEL_BF16, OPERAND_BF16 },
		{ COMPUTE_F32, WEIGHTS_INT8, DTYPE_F32, PANEL_I8, OPERAND_F32 },
		{ COMPUTE_BF16, WEIGHTS_INT8, DTYPE_Q8_0, PANEL_I8, OPERAND_BF16 },
		{ COMPUTE_INT8, WEIGHTS_INT8, DTYPE_BF16, PANEL_I8, OPERAND_INT8 },
		{ COMPUTE_F32, WEIGHTS_INT4, DTYPE_F16, PANEL_Q4_0, OPERAND_F32 },
		{ COMPUTE_BF16, WEIGHTS_INT4, DTYPE_Q4_1, PANEL_Q4_0, OPERAND_BF16 },
		{ COMPUTE_INT8, WEIGHTS_INT4, DTYPE_F32, PANEL_Q4_0, OPERAND_INT8 },
	};

	for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
		struct matrix_kind kind = weights_kind(cases[i].mode, cases[i].weights,
						       cases[i].dtype);

		CHECK_EQ(kind.format, cases[i].format);
		CHECK_EQ(kind.operand, cases[i].operand);
	}
}
