/* counters.c - counted values and their Prometheus text.
 *
 * All memory is taken by counters_open(): a series can be added at any time
 * without failing.  Values are relaxed atomics; a render sees each value at
 * some moment during the call.
 */
#include "dataplane/base/counters.h"

#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/base/memory.h"

enum {
	LABEL_BYTES = 96,
	SERIES_OTHER = COUNTER_SERIES_MAX,       /* the last slot of a labelled row */
	SERIES_SLOTS = COUNTER_SERIES_MAX + 1,
};

const double seconds_buckets[] = {
	10e-6, 25e-6, 50e-6, 100e-6, 250e-6, 500e-6, 1e-3, 2.5e-3, 5e-3, 10e-3, 25e-3,
	50e-3, 100e-3, 250e-3, 500e-3, 1, 2.5, 5, 10, 30, 60, 0,
};
const double size_buckets[] = {
	1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 0,
};

struct series {
	char label[LABEL_BYTES];
	_Atomic uint64_t count;                  /* COUNTER */
	_Atomic uint64_t number;                 /* GAUGE; HISTOGRAM: sum; bits of a double */
	_Atomic uint64_t *buckets;               /* HISTOGRAM: each alone, +Inf last */
};

struct family {
	const struct counter_row *row;
	uint32_t bucket_count;                   /* without +Inf */
	struct series *series;
	_Atomic uint32_t series_count;           /* without SERIES_OTHER */
	atomic_bool other_used;
};

struct counters {
	struct family *families;
	uint32_t count;
	struct series *series;                   /* of all families */
	_Atomic uint64_t *buckets;               /* of all series */
	pthread_mutex_t lock;                    /* taken to add a series */
};

static uint64_t bits_of(double value)
{
	uint64_t bits;

	memcpy(&bits, &value, sizeof(bits));
	return bits;
}

static double number_of(uint64_t bits)
{
	double value;

	memcpy(&value, &bits, sizeof(value));
	return value;
}

static uint32_t count_buckets(const struct counter_row *row)
{
	uint32_t n = 0;

	if (row->kind != HISTOGRAM)
		return 0;
	assert(row->buckets);
	for (; row->buckets[n] != 0; n++) {
		assert(n < COUNTER_BUCKETS_MAX);
		assert(n == 0 || row->buckets[n] > row->buckets[n - 1]);
	}
	return n;
}

static uint32_t slots_of(const struct counter_row *row)
{
	return row->label ? SERIES_SLOTS : 1;
}

static void lay_out(struct counters *c, const struct counter_row *rows)
{
	struct series *series = c->series;
	_Atomic uint64_t *buckets = c->buckets;

	for (uint32_t r = 0; r < c->count; r++) {
		struct family *f = &c->families[r];

		f->row = &rows[r];
		f->bucket_count = count_buckets(&rows[r]);
		f->series = series;
		atomic_init(&f->series_count, rows[r].label ? 0 : 1);
		for (uint32_t s = 0; s < slots_of(&rows[r]); s++, series++) {
			series->buckets = buckets;
			if (rows[r].kind == HISTOGRAM)
				buckets += f->bucket_count + 1;
		}
		if (rows[r].label)
			memcpy(f->series[SERIES_OTHER].label, "other", sizeof("other"));
	}
}

int counters_open(struct counters **out, const struct counter_row *rows, uint32_t count)
{
	size_t series = 0, buckets = 0;
	struct counters *c;

	*out = NULL;
	for (uint32_t r = 0; r < count; r++) {
		assert(rows[r].name && rows[r].help);
		series += slots_of(&rows[r]);
		buckets += slots_of(&rows[r]) * (size_t)(count_buckets(&rows[r]) + 1);
	}
	c = mem_calloc(1, sizeof(*c));
	if (!c)
		return -ENOMEM;
	c->families = mem_calloc(count, sizeof(*c->families));
	c->series = mem_calloc(series, sizeof(*c->series));
	c->buckets = mem_calloc(buckets, sizeof(*c->buckets));
	if (!c->families || !c->series || !c->buckets)
		goto err;
	c->count = count;
	lay_out(c, rows);
	pthread_mutex_init(&c->lock, NULL);
	*out = c;
	return 0;

err:
	mem_free(c->buckets);
	mem_free(c->series);
	mem_free(c->families);
	mem_free(c);
	return -ENOMEM;
}

void counters_close(struct counters *c)
{
	if (!c)
		return;
	pthread_mutex_destroy(&c->lock);
	mem_free(c->buckets);
	mem_free(c->series);
	mem_free(c->families);
	mem_free(c);
}

static struct family *family_of(const struct counters *c, uint32_t row)
{
	assert(row < c->count);
	return &c->families[row];
}

static struct series *series_of(const struct counters *c, uint32_t row, uint32_t series)
{
	struct family *f = family_of(c, row);

	assert(series < slots_of(f->row));
	return &f->series[series];
}

/* A label's text as it is kept: cut to fit, and only what any reader takes. */
static void keep_label(char *out, const char *value)
{
	size_t i = 0;

	for (; value[i] && i < LABEL_BYTES - 1; i++) {
		unsigned char c = (unsigned char)value[i];

		out[i] = c >= 0x20 && c < 0x7f ? (char)c : '?';
	}
	out[i] = '\0';
}

uint32_t counters_series(struct counters *c, uint32_t row, const char *label_value)
{
	struct family *f = family_of(c, row);
	char label[LABEL_BYTES];
	uint32_t i, n;

	if (!f->row->label)
		return 0;
	keep_label(label, label_value);
	pthread_mutex_lock(&c->lock);
	n = atomic_load_explicit(&f->series_count, memory_order_relaxed);
	for (i = 0; i < n && strcmp(f->series[i].label, label) != 0; i++)
		;
	if (i == n && (n == COUNTER_SERIES_MAX || strcmp(label, "other") == 0)) {
		atomic_store_explicit(&f->other_used, true, memory_order_relaxed);
		i = SERIES_OTHER;
	} else if (i == n) {
		memcpy(f->series[n].label, label, sizeof(label));
		/* A render that sees the count also sees the label. */
		atomic_store_explicit(&f->series_count, n + 1, memory_order_release);
	}
	pthread_mutex_unlock(&c->lock);
	return i;
}

void counters_add(struct counters *c, uint32_t row, uint32_t series, uint64_t n)
{
	assert(family_of(c, row)->row->kind == COUNTER);
	atomic_fetch_add_explicit(&series_of(c, row, series)->count, n, memory_order_relaxed);
}

void counters_set(struct counters *c, uint32_t row, uint32_t series, double value)
{
	assert(family_of(c, row)->row->kind == GAUGE);
	atomic_store_explicit(&series_of(c, row, series)->number, bits_of(value),
			      memory_order_relaxed);
}

void counters_observe(struct counters *c, uint32_t row, uint32_t series, double value)
{
	const struct family *f = family_of(c, row);
	struct series *s = series_of(c, row, series);
	uint64_t bits = atomic_load_explicit(&s->number, memory_order_relaxed);
	uint32_t b = 0;

	assert(f->row->kind == HISTOGRAM);
	while (b < f->bucket_count && !(value <= f->row->buckets[b]))
		b++;
	atomic_fetch_add_explicit(&s->buckets[b], 1, memory_order_relaxed);
	while (!atomic_compare_exchange_weak_explicit(&s->number, &bits,
						      bits_of(number_of(bits) + value),
						      memory_order_relaxed,
						      memory_order_relaxed))
		;
}

/* A counter's count, a gauge's value, a histogram's number of observations. */
double counters_value(const struct counters *c, uint32_t row, uint32_t series)
{
	const struct family *f = family_of(c, row);
	const struct series *s = series_of(c, row, series);
	uint64_t sum = 0;

	if (f->row->kind == GAUGE)
		return number_of(atomic_load_explicit(&s->number, memory_order_relaxed));
	if (f->row->kind == COUNTER)
		return (double)atomic_load_explicit(&s->count, memory_order_relaxed);
	for (uint32_t b = 0; b <= f->bucket_count; b++)
		sum += atomic_load_explicit(&s->buckets[b], memory_order_relaxed);
	return (double)sum;
}

/* One series, summed over every set that has it: cores keep their own sets. */
struct total {
	double number;
	uint64_t count;
	uint64_t buckets[COUNTER_BUCKETS_MAX + 1];
};

static void total_add(struct total *t, const struct family *f, const struct series *s)
{
	t->number += number_of(atomic_load_explicit(&s->number, memory_order_relaxed));
	t->count += atomic_load_explicit(&s->count, memory_order_relaxed);
	for (uint32_t b = 0; f->row->kind == HISTOGRAM && b <= f->bucket_count; b++)
		t->buckets[b] += atomic_load_explicit(&s->buckets[b], memory_order_relaxed);
}

static void render_escaped(struct buffer *out, const char *text, const char *specials)
{
	for (; *text; text++) {
		if (*text == '\n') {
			buffer_text(out, "\\n");
			continue;
		}
		if (strchr(specials, *text))
			buffer_char(out, '\\');
		buffer_char(out, *text);
	}
}

static void render_number(struct buffer *out, double value)
{
	char text[32];
	double back;

	if (isnan(value) || isinf(value)) {
		buffer_text(out, isnan(value) ? "NaN" : value > 0 ? "+Inf" : "-Inf");
		return;
	}
	/* The shorter form wherever it reads back as the same number. */
	snprintf(text, sizeof(text), "%.15g", value);
	back = strtod(text, NULL);
	if (bits_of(back) != bits_of(value))
		snprintf(text, sizeof(text), "%.17g", value);
	buffer_text(out, text);
}

/* name_suffix{label="value",le="bound"} */
static void render_name(struct buffer *out, const struct counter_row *row, const char *suffix,
			const char *label, const double *bound)
{
	buffer_text(out, row->name);
	buffer_text(out, suffix);
	if (row->label || bound)
		buffer_char(out, '{');
	if (row->label) {
		buffer_printf(out, "%s=\"", row->label);
		render_escaped(out, label, "\\\"");
		buffer_char(out, '"');
	}
	if (bound) {
		buffer_text(out, row->label ? ",le=\"" : "le=\"");
		render_number(out, *bound);
		buffer_char(out, '"');
	}
	if (row->label || bound)
		buffer_char(out, '}');
	buffer_char(out, ' ');
}

static void render_histogram(struct buffer *out, const struct family *f, const char *label,
			     const struct total *t)
{
	uint64_t sum = 0;

	for (uint32_t b = 0; b <= f->bucket_count; b++) {
		double bound = b < f->bucket_count ? f->row->buckets[b] : INFINITY;

		sum += t->buckets[b];
		render_name(out, f->row, "_bucket", label, &bound);
		buffer_printf(out, "%ju\n", (uintmax_t)sum);
	}
	render_name(out, f->row, "_sum", label, NULL);
	render_number(out, t->number);
	buffer_char(out, '\n');
	render_name(out, f->row, "_count", label, NULL);
	buffer_printf(out, "%ju\n", (uintmax_t)sum);
}

static void render_series(struct buffer *out, const struct family *f, const char *label,
			  const struct total *t)
{
	if (f->row->kind == HISTOGRAM) {
		render_histogram(out, f, label, t);
		return;
	}
	render_name(out, f->row, "", label, NULL);
	if (f->row->kind == COUNTER)
		buffer_printf(out, "%ju", (uintmax_t)t->count);
	else
		render_number(out, t->number);
	buffer_char(out, '\n');
}

/* Visits the series in use: for (i = -1; (s = next_series(f, &i));). */
static const struct series *next_series(const struct family *f, int64_t *i)
{
	uint32_t n = atomic_load_explicit(&f->series_count, memory_order_acquire);

	if (++*i < n)
		return &f->series[*i];
	if (*i > SERIES_OTHER || !atomic_load_explicit(&f->other_used, memory_order_relaxed))
		return NULL;
	*i = SERIES_OTHER + 1;
	return &f->series[SERIES_OTHER];
}

static const struct series *find_series(const struct family *f, const char *label)
{
	const struct series *s;

	for (int64_t i = -1; (s = next_series(f, &i));)
		if (strcmp(s->label, label) == 0)
			return s;
	return NULL;
}

static const struct family *find_family(const struct counters *c, const struct counter_row *row)
{
	for (uint32_t r = 0; r < c->count; r++)
		if (strcmp(c->families[r].row->name, row->name) == 0)
			return &c->families[r];
	return NULL;
}

/* Every series of a family, each once, wherever it is first met. */
static void render_family(struct counters *const *sets, uint32_t count,
			  const struct counter_row *row, struct buffer *out)
{
	static const char *const kinds[] = { "counter", "gauge", "histogram" };

	buffer_printf(out, "# HELP %s ", row->name);
	render_escaped(out, row->help, "\\");
	buffer_printf(out, "\n# TYPE %s %s\n", row->name, kinds[row->kind]);
	for (uint32_t k = 0; k < count; k++) {
		const struct family *f = find_family(sets[k], row);
		const struct series *s;

		for (int64_t i = -1; f && (s = next_series(f, &i));) {
			struct total t = { 0 };
			bool met = false;

			for (uint32_t j = 0; j < count; j++) {
				const struct family *g = find_family(sets[j], row);
				const struct series *same = g ? find_series(g, s->label) : NULL;

				met |= same && j < k;
				if (same)
					total_add(&t, g, same);
			}
			if (!met)
				render_series(out, f, s->label, &t);
		}
	}
}

void counters_render(struct counters *const *sets, uint32_t count, struct buffer *out)
{
	for (uint32_t k = 0; k < count; k++) {
		for (uint32_t r = 0; r < sets[k]->count; r++) {
			const struct counter_row *row = sets[k]->families[r].row;
			bool met = false;

			for (uint32_t j = 0; j < k && !met; j++)
				met = find_family(sets[j], row) != NULL;
			if (!met)
				render_family(sets, count, row, out);
		}
	}
}
