/* boundary.c - owns the kept rows of one hop boundary and the cursor over them.
 *
 * Rows live in segments, so that memory lent for one step is contiguous and never
 * moves.  Leaves choosing the receiver to session.c (client) and hop.c (server).
 */
#include "control/boundary.h"

#include <errno.h>
#include <string.h>

#include "dataplane/base/memory.h"

enum { SEGMENT_BYTES = 128 << 10 };

struct segment {
	struct segment *next;
	uint32_t first, rows, room;     /* row numbers [first, first + rows) of at most room */
	uint8_t data[] __attribute__((aligned(64)));
};

struct record {
	struct boundary_step step;
	uint32_t row;                   /* number of its first kept row */
};

struct boundary {
	struct boundary_options options;
	uint32_t row_bytes;
	struct segment *first, *last;
	uint64_t bytes;
	uint32_t rows_reserved, rows_end;

	struct record *records;
	uint32_t record_count, record_room;

	struct boundary_target target;  /* peer 0: none */
	uint32_t cursor;                /* position sent up to while replaying */
	uint32_t next_record;           /* first record not passed by the cursor */
};

int boundary_open(struct boundary **out, const struct boundary_options *o)
{
	struct boundary *b = mem_calloc(1, sizeof(*b));

	if (!b)
		return -ENOMEM;
	b->options = *o;
	b->row_bytes = (uint32_t)wire_rows_bytes(o->encoding, 1, o->width);
	assert(b->row_bytes > 0 && o->chunk_rows > 0);
	*out = b;
	return 0;
}

void boundary_close(struct boundary *b)
{
	if (!b)
		return;
	for (struct segment *s = b->first, *next; s; s = next) {
		next = s->next;
		mem_free(s);
	}
	mem_free(b->records);
	mem_free(b);
}

static struct segment *segment_add(struct boundary *b, uint32_t rows)
{
	uint32_t room = MAX(rows, SEGMENT_BYTES / b->row_bytes);
	uint64_t bytes = sizeof(struct segment) + (uint64_t)room * b->row_bytes;
	struct segment *s = mem_aligned(64, align_up(bytes, 64));

	if (!s)
		return NULL;
	*s = (struct segment){ .first = b->rows_reserved, .room = room };
	if (b->last)
		b->last->next = s;
	else
		b->first = s;
	b->last = s;
	b->bytes += bytes;
	return s;
}

void *boundary_reserve(struct boundary *b, uint32_t rows)
{
	struct segment *s = b->last;
	void *room;

	if (!s || s->room - s->rows < rows)
		s = segment_add(b, rows);
	if (!s)
		return NULL;
	room = s->data + (uint64_t)s->rows * b->row_bytes;
	s->rows += rows;
	b->rows_reserved += rows;
	return room;
}

int boundary_append(struct boundary *b, const struct boundary_step *step)
{
	assert(b->rows_end + step->kept <= b->rows_reserved);
	assert(b->options.answers || step->kept == step->rows);
	assert(step->position == boundary_end(b));

	if (b->record_count == b->record_room) {
		uint32_t room = MAX(64u, b->record_room * 2);
		struct record *grown = mem_realloc(b->records, room * sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		b->bytes += (uint64_t)(room - b->record_room) * sizeof(*grown);
		b->records = grown;
		b->record_room = room;
	}
	b->records[b->record_count++] = (struct record){ *step, b->rows_end };
	b->rows_end += step->kept;
	return 0;
}

enum wire_encoding boundary_encoding(const struct boundary *b)
{
	return b->options.encoding;
}

uint32_t boundary_end(const struct boundary *b)
{
	const struct record *last = b->record_count ? &b->records[b->record_count - 1] : NULL;

	return last ? last->step.position + last->step.rows : 0;
}

uint64_t boundary_bytes(const struct boundary *b)
{
	return b->bytes;
}

void boundary_target(struct boundary *b, const struct boundary_target *t)
{
	assert(t->peer != 0);
	b->target = *t;
	b->cursor = 0;
	b->next_record = 0;
}

void boundary_untarget(struct boundary *b)
{
	b->target.peer = 0;
}

uint32_t boundary_peer(const struct boundary *b)
{
	return b->target.peer;
}

void boundary_repeat(struct boundary *b, uint32_t step)
{
	for (uint32_t i = b->record_count; i-- > 0;) {
		if (b->records[i].step.step != step)
			continue;
		b->next_record = MIN(b->next_record, i);
		b->cursor = MIN(b->cursor, b->records[i].step.position);
		return;
	}
}

/* Copies kept rows [row, row + rows) into a message. */
static void copy_rows(const struct boundary *b, uint32_t row, uint32_t rows, uint8_t *out)
{
	/* Almost always the newest rows are wanted: begin there when they are. */
	const struct segment *from = row >= b->last->first ? b->last : b->first;

	for (const struct segment *s = from; s && rows; s = s->next) {
		uint32_t skip, take;

		if (row >= s->first + s->rows)
			continue;
		skip = row - s->first;
		take = MIN(rows, s->rows - skip);
		memcpy(out, s->data + (uint64_t)skip * b->row_bytes,
		       (uint64_t)take * b->row_bytes);
		out += (uint64_t)take * b->row_bytes;
		row += take;
		rows -= take;
	}
	assert(rows == 0);
}

static int send_rows(struct boundary *b, enum wire_type type, const struct boundary_step *step,
		     uint32_t row)
{
	struct transport *t = node_transport(b->options.node);
	uint32_t bytes = step->kept * b->row_bytes;
	struct message *m;
	int rc = transport_reserve(t, b->target.peer, bytes, &m);

	if (rc < 0)
		return rc;
	m->frame.type = type;
	m->frame.flags = step->flags;
	m->frame.session = b->options.session;
	m->frame.step = step->step;
	m->frame.epoch = b->target.epoch;
	m->frame.position = step->position;
	m->frame.rows = step->kept;
	m->frame.width = b->options.width;
	m->frame.encoding = b->options.encoding;
	m->frame.hop = b->target.hop;
	m->frame.deadline_us = step->deadline_us;
	m->frame.queue_us = step->queue_us;
	m->frame.compute_us = step->compute_us;
	copy_rows(b, row, step->kept, m->payload);
	transport_send(t, m);
	return 0;
}

/* One large REPLAYED message from the cursor on; 0 when the rows are not there yet. */
static int replay_some(struct boundary *b)
{
	uint32_t end = MIN(b->target.replay_end, boundary_end(b));
	struct boundary_step chunk = { .flags = WIRE_REPLAYED, .position = b->cursor };
	int rc;

	if (b->cursor >= end)
		return 0;
	chunk.rows = chunk.kept = MIN(end - b->cursor, b->options.chunk_rows);
	rc = send_rows(b, WIRE_STEP, &chunk, b->cursor);
	if (rc < 0)
		return rc;
	b->cursor += chunk.rows;
	return 1;
}

/* The record at next_record, what of it lies past the cursor. */
static int send_record(struct boundary *b)
{
	const struct record *r = &b->records[b->next_record];
	struct boundary_step step = r->step;
	bool replayed = step.flags & WIRE_REPLAYED;
	uint32_t row = r->row;
	int rc = 0;

	if (b->options.answers) {
		/* A result says where its last row ends. */
		step.position = step.position + step.rows - step.kept;
		if (step.kept && !replayed)
			rc = send_rows(b, WIRE_RESULT, &step, row);
	} else if (step.position + step.rows > b->cursor && (!replayed || b->target.pass_replay)) {
		uint32_t passed = b->cursor > step.position ? b->cursor - step.position : 0;

		step.position += passed;
		step.rows = step.kept = step.rows - passed;
		rc = send_rows(b, WIRE_STEP, &step, row + passed);
	}
	if (rc < 0)
		return rc;
	b->cursor = MAX(b->cursor, r->step.position + r->step.rows);
	b->next_record++;
	return 1;
}

int boundary_pump(struct boundary *b)
{
	int rc = 1;

	while (rc > 0 && b->target.peer) {
		if (!b->options.answers && b->cursor < b->target.replay_end)
			rc = replay_some(b);
		else if (b->next_record < b->record_count)
			rc = send_record(b);
		else
			rc = 0;
	}
	/* No credit, or a peer whose loss will be told: both go on later. */
	return rc == -EAGAIN || rc == -ENOTCONN ? 0 : rc;
}

bool boundary_idle(const struct boundary *b)
{
	return b->next_record == b->record_count;
}
