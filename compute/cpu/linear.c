/* linear.c - cuts matrix products into tasks and tiles, the same for every path.
 *
 * A task is a block of row tiles by a run of neighbouring panels.  Few rows (one tile,
 * decode): the run is long, so that memory is read in sequence and fetched well ahead, and
 * the runs are equal up to a panel.  Many rows: BLOCK_TILES row tiles pass over a panel
 * while it is in the cache, in blocks of k if it is large, which changes nothing:
 * sums go to memory and come back as they are.  A format that is not the operand's own is
 * widened EXPAND_STEPS steps at a time, for all the tiles of the block, or in registers when
 * there are NARROW_ROWS rows or fewer.
 */
#include "compute/cpu/path.h"

enum {
	BLOCK_TILES = 8,
	BLOCK_ROWS = BLOCK_TILES * TILE_ROWS,
	SUMS_PANELS = 4,                /* panels of sums that a task keeps at a time */
	RUN_BYTES = 256 << 10,          /* weights of a decode task, at most */
	RUNS_PER_THREAD = 4,
	ALONE_BYTES = 24 << 10,         /* weights not worth sharing out for a row */
	K_BLOCK_BYTES = 4096,           /* of one operand row */
	EXPAND_STEPS = 128,             /* of the operand: stay in the nearest cache; a multiple of
					 * every panel step */
	AHEAD_BYTES = 4096,             /* fetched ahead of weights that are passed over once: as
					 * much as memory has on its way to one core */
};

struct job {
	const struct kernels *kernels;
	const struct matrix *const *matrices;
	const struct linear_out *outs;
	uint32_t count;
	const struct matrix *up;        /* gated: the partner of the one matrix */
	enum activation_kind gate;
	const uint8_t *operand;
	uint32_t rows, columns;

	uint32_t blocks, runs;          /* tasks = blocks x runs */
	uint32_t panels;                /* of all matrices */
};

static uint32_t panels_of(const struct matrix *m)
{
	return (m->rows + PANEL - 1) / PANEL;
}

/* Item i's first of `total` when cut into `parts` as evenly as can be. */
static uint32_t even_first(uint32_t total, uint32_t parts, uint32_t i)
{
	return i * (total / parts) + MIN(i, total % parts);
}

/* A block of row tiles and up to SUMS_PANELS panels of one matrix. */
struct piece {
	uint32_t first_tile, end_tile;
	uint32_t first_row, end_row;
	uint32_t first_panel, panels;
};

static const uint8_t *panel_of(const struct matrix *m, uint32_t i)
{
	return (const uint8_t *)m->panels + i * panel_bytes(m->format, m->columns);
}

static expand_fn *expand_of(const struct job *j, const struct matrix *m)
{
	return j->kernels->expand[m->operand][m->format];
}

/* What runs over steps [step, end) of a panel that begin at w. */
struct pass {
	tile_fn *const *tiles;          /* by rows - 1 */
	const uint8_t *w;
	size_t step_bytes;
	size_t panel_bytes;             /* to the next panel; 0: w is in the cache */
	uint32_t step, end;             /* of the operand */
};

/* What the pass of tile t fetches: the last of several brings the next panel. */
static const uint8_t *ahead_of(const struct pass *s, const struct piece *p, uint32_t t)
{
	if (s->panel_bytes == 0)
		return NULL;
	if (p->end_tile - p->first_tile == 1)
		return s->w + AHEAD_BYTES;
	return t + 1 == p->end_tile ? s->w + s->panel_bytes : NULL;
}

/* For every tile of the block: sums is [row of block][PANEL]. */
static void run_tiles(const struct job *j, const struct pass *s, const struct piece *p,
		      float *sums)
{
	enum operand_format o = j->matrices[0]->operand;
	uint32_t steps = operand_steps(o, j->columns);

	for (uint32_t t = p->first_tile; t < p->end_tile; t++) {
		uint32_t first = row_tile_first(j->rows, t);
		uint32_t rows = row_tile_first(j->rows, t + 1) - first;
		uint64_t at = (uint64_t)first * steps + (uint64_t)s->step * rows;
		const uint8_t *ahead = ahead_of(s, p, t);
		struct tile tile = {
			.w = { s->w, s->w + s->step_bytes / 2 },
			.w_bytes = s->step_bytes,
			.x = j->operand + at * operand_step_bytes(o),
			.sums = sums + (size_t)(first - p->first_row) * PANEL,
			.sums_stride = PANEL,
			.steps = s->end - s->step,
			.first = s->step == 0,
			.ahead = { ahead, ahead ? ahead + s->step_bytes / 2 : NULL },
		};

		s->tiles[rows - 1](&tile);
	}
}

/* Few rows: the weights are widened where they are used. */
static bool is_narrow(const struct piece *p)
{
	return p->end_row - p->first_row <= NARROW_ROWS;
}

/* Widens the steps that p's pass is to run over, and runs. */
static void run_widened(const struct job *j, const struct matrix *m, struct pass *s,
			const struct piece *p, float *sums)
{
	alignas(64) uint8_t wide[EXPAND_STEPS * WIDE_STEP_BYTES];
	uint32_t columns = operand_step_columns(m->operand), each = panel_step_columns(m->format);

	expand_of(j, m)(s->w, ((s->end - s->step) * columns + each - 1) / each, wide);
	s->tiles = j->kernels->tile[m->operand == OPERAND_F32 ? PANEL_F32 : PANEL_BF16];
	s->w = wide;
	s->step_bytes = WIDE_STEP_BYTES;
	s->panel_bytes = 0;
	run_tiles(j, s, p, sums);
}

/* Panel i of a piece over steps [step, end) of the operand. */
static void run_panel(const struct job *j, const struct matrix *m, const struct piece *p,
		      uint32_t i, uint32_t step, uint32_t end, float *sums)
{
	uint32_t columns = operand_step_columns(m->operand), each = panel_step_columns(m->format);
	uint32_t whole = (end - step) * columns / each;         /* panel steps */
	struct pass s = {
		.w = panel_of(m, p->first_panel + i) + panel_head_bytes(m->format) +
		     (size_t)(step * columns / each) * panel_step_bytes(m->format),
		.step_bytes = panel_step_bytes(m->format),
		.panel_bytes = panel_bytes(m->format, j->columns),
		.step = step, .end = end,
	};

	if (!expand_of(j, m)) {
		s.tiles = j->kernels->tile[m->format];
		run_tiles(j, &s, p, sums);
		return;
	}
	if (is_narrow(p) && whole > 0) {
		s.tiles = j->kernels->narrow[m->operand][m->format];
		s.end = step + whole * each / columns;
		run_tiles(j, &s, p, sums);
		s.w += (size_t)whole * s.step_bytes;
		s.step = s.end;
		s.end = end;
	}
	if (s.step < end)
		run_widened(j, m, &s, p, sums);
}

/* sums is [panel][row of block][PANEL]. */
static void run_matrix(const struct job *j, const struct matrix *m, const struct piece *p,
		       float *sums)
{
	uint32_t steps = operand_steps(m->operand, j->columns), block = steps;

	if (expand_of(j, m) && !is_narrow(p))
		block = EXPAND_STEPS;
	else if (p->end_tile - p->first_tile > 1)
		block = MAX(K_BLOCK_BYTES / operand_step_bytes(m->operand), 1);
	for (uint32_t step = 0; step < steps; step += block)
		for (uint32_t i = 0; i < p->panels; i++)
			run_panel(j, m, p, i, step, MIN(steps, step + block),
				  sums + (size_t)i * BLOCK_ROWS * PANEL);
}

/* What multiplies the sums of a panel: PANEL_I8's scales are the panel's head. */
static const float *scales_of(const struct matrix *m, uint32_t panel)
{
	return panel_head_bytes(m->format) > 0 ? (const float *)panel_of(m, panel) : NULL;
}

static void finish_piece(const struct job *j, const struct matrix *m, const struct linear_out *o,
			 const struct piece *p, const float *sums, const float *up_sums)
{
	for (uint32_t i = 0; i < p->panels; i++) {
		uint32_t n = (p->first_panel + i) * PANEL;
		struct finish f = {
			.sums = sums + (size_t)i * BLOCK_ROWS * PANEL,
			.up_sums = up_sums ? up_sums + (size_t)i * BLOCK_ROWS * PANEL : NULL,
			.scales = scales_of(m, p->first_panel + i),
			.up_scales = j->up ? scales_of(j->up, p->first_panel + i) : NULL,
			.bias = m->bias ? m->bias + n : NULL,
			.up_bias = j->up && j->up->bias ? j->up->bias + n : NULL,
			.rows = p->end_row - p->first_row,
			.n = MIN(m->rows - n, PANEL),
			.out = o->out + (size_t)p->first_row * o->out_stride + n,
			.out_stride = o->out_stride,
			.add = o->add ? o->add + (size_t)p->first_row * o->add_stride + n : NULL,
			.add_stride = o->add_stride,
			.act = o->act,
			.gate = j->gate,
		};

		j->kernels->finish(&f);
	}
}

/* Panels [first, end) of matrix i for one block of rows. */
static void run_panels(const struct job *j, uint32_t i, uint32_t first, uint32_t end,
		       struct piece *p)
{
	alignas(64) float sums[SUMS_PANELS * BLOCK_ROWS * PANEL];
	uint32_t most = j->up ? SUMS_PANELS / 2 : SUMS_PANELS;
	float *up_sums = j->up ? sums + (SUMS_PANELS / 2) * BLOCK_ROWS * PANEL : NULL;

	if (p->end_tile - p->first_tile == 1)
		most = 1;               /* nothing to keep in a cache */
	for (; first < end; first += p->panels) {
		p->first_panel = first;
		p->panels = MIN(end - first, most);
		run_matrix(j, j->matrices[i], p, sums);
		if (j->up)
			run_matrix(j, j->up, p, up_sums);
		finish_piece(j, j->matrices[i], &j->outs[i], p, sums, up_sums);
	}
}

static void run_task(void *ctx, uint32_t index, uint32_t worker)
{
	const struct job *j = ctx;
	uint32_t block = index / j->runs, run = index % j->runs, tiles = row_tiles(j->rows);
	uint32_t first = even_first(j->panels, j->runs, run);
	uint32_t end = even_first(j->panels, j->runs, run + 1), before = 0;
	struct piece p = {
		.first_tile = even_first(tiles, j->blocks, block),
		.end_tile = even_first(tiles, j->blocks, block + 1),
	};

	p.first_row = row_tile_first(j->rows, p.first_tile);
	p.end_row = row_tile_first(j->rows, p.end_tile);
	for (uint32_t i = 0; i < j->count; i++) {
		uint32_t panels = panels_of(j->matrices[i]);
		uint32_t from = MAX(first, before), to = MIN(end, before + panels);

		if (from < to)
			run_panels(j, i, from - before, to - before, &p);
		before += panels;
	}
}

/* How many runs of panels: enough to share evenly, none too long. */
static uint32_t choose_runs(const struct job *j, uint32_t threads, uint64_t bytes)
{
	uint32_t tasks = threads * RUNS_PER_THREAD, runs;

	if (threads == 1 && j->blocks == 1)
		return 1;
	if (j->blocks > 1)              /* sums of a run stay in the cache */
		return MIN(j->panels, MAX((j->panels + SUMS_PANELS - 1) / SUMS_PANELS,
					  (tasks + j->blocks - 1) / j->blocks));
	if (bytes * j->rows <= ALONE_BYTES)
		return 1;
	runs = (uint32_t)MIN(bytes / RUN_BYTES, UINT32_MAX / 2);
	return MIN(j->panels, MAX(runs / threads * threads, tasks));
}

static void run_job(struct job *j, struct team *t)
{
	uint64_t bytes = 0;

	if (j->rows == 0)
		return;
	j->columns = j->matrices[0]->columns;
	for (uint32_t i = 0; i < j->count; i++) {
		const struct matrix *m = j->matrices[i];

		assert(m->columns == j->columns && m->operand == j->matrices[0]->operand);
		assert(expand_of(j, m) || panel_step_columns(m->format) ==
						  operand_step_columns(m->operand));
		j->panels += panels_of(m);
		bytes += matrix_bytes(m->format, m->rows, m->columns) * (j->up ? 2 : 1);
	}
	j->blocks = (row_tiles(j->rows) + BLOCK_TILES - 1) / BLOCK_TILES;
	j->runs = choose_runs(j, team_threads(t), bytes);
	team_run(t, j->blocks * j->runs, run_task, j);
}

void linear_many(const struct kernels *k, struct team *t, const struct matrix *const *m,
		 const struct linear_out *o, uint32_t count, const void *operand, uint32_t rows)
{
	struct job j = {
		.kernels = k, .matrices = m, .outs = o, .count = count,
		.operand = operand, .rows = rows,
	};

	assert(count > 0);
	run_job(&j, t);
}

void linear(const struct kernels *k, struct team *t, const struct matrix *m,
	    const void *operand, uint32_t rows, const struct linear_out *o)
{
	linear_many(k, t, &m, o, 1, operand, rows);
}

void linear_gated(const struct kernels *k, struct team *t, const struct matrix *gate,
		  const struct matrix *up, const void *operand, uint32_t rows,
		  enum activation_kind act, float *out, uint32_t out_stride)
{
	const struct linear_out o = { .out = out, .out_stride = out_stride };
	struct job j = {
		.kernels = k, .matrices = &gate, .outs = &o, .count = 1, .up = up,
		.gate = act, .operand = operand, .rows = rows,
	};

	assert(gate->rows == up->rows && gate->columns == up->columns);
	assert(gate->operand == up->operand);
	run_job(&j, t);
}
