/* sim_wire.c - messages in flight between simulated nodes. */
#include "dataplane/sim_wire.h"

#include <errno.h>

#include "dataplane/base/memory.h"

enum { CHUNK_LEAST_BYTES = 256 };

struct connection { struct end ends[2]; };

static bool earlier(const struct arrival *a, const struct arrival *b)
{
	return a->due_ns != b->due_ns ? a->due_ns < b->due_ns : a->sequence < b->sequence;
}

static void heap_push(struct sim_network *n, struct end *end, uint64_t due_ns)
{
	struct arrival a = { due_ns, n->sequence++, end };
	uint32_t i = n->heap_count++;

	assert(n->heap_count <= n->heap_capacity);
	for (; i > 0 && earlier(&a, &n->heap[(i - 1) / 2]); i = (i - 1) / 2)
		n->heap[i] = n->heap[(i - 1) / 2];
	n->heap[i] = a;
	end->scheduled = true;
}

static struct end *heap_pop(struct sim_network *n)
{
	struct end *end = n->heap[0].end;
	struct arrival a = n->heap[--n->heap_count];
	uint32_t i = 0, child;

	for (; (child = 2 * i + 1) < n->heap_count; i = child) {
		if (child + 1 < n->heap_count && earlier(&n->heap[child + 1], &n->heap[child]))
			child++;
		if (!earlier(&n->heap[child], &a))
			break;
		n->heap[i] = n->heap[child];
	}
	n->heap[i] = a;
	end->scheduled = false;
	return end;
}

/* Room for one entry per end, so that sending never has to grow it. */
static bool heap_reserve(struct sim_network *n, uint32_t capacity)
{
	struct arrival *heap;

	if (capacity <= n->heap_capacity)
		return true;
	capacity = MAX(capacity, 2 * n->heap_capacity);
	heap = mem_realloc(n->heap, capacity * sizeof(*heap));
	if (!heap)
		return false;
	n->heap = heap;
	n->heap_capacity = capacity;
	return true;
}

uint64_t sim_next_arrival(const struct sim_network *n)
{
	return n->heap_count ? n->heap[0].due_ns : UINT64_MAX;
}

struct chunk *sim_chunk_get(struct sim_network *n, size_t bytes)
{
	uint8_t class = 0;
	size_t room = CHUNK_LEAST_BYTES;
	struct chunk *c;

	for (; class < SIM_CHUNK_CLASSES && room < bytes; class++)
		room *= 4;
	if (class < SIM_CHUNK_CLASSES && n->free[class]) {
		c = n->free[class];
		n->free[class] = c->next;
	} else {
		c = mem_alloc(sizeof(*c) + (class < SIM_CHUNK_CLASSES ? room : bytes));
	}
	if (c)
		*c = (struct chunk){ .data = (uint8_t *)(c + 1), .bytes = (uint32_t)bytes,
				     .kind = CHUNK_DATA, .class = class };
	return c;
}

void sim_chunk_put(struct sim_network *n, struct chunk *c)
{
	if (c->kind != CHUNK_DATA)
		return;                 /* part of its end */
	if (c->class == SIM_CHUNK_CLASSES) {
		mem_free(c);
		return;
	}
	c->next = n->free[c->class];
	n->free[c->class] = c;
}

static void push(struct chunks *q, struct chunk *c)
{
	c->next = NULL;
	if (q->tail)
		q->tail->next = c;
	else
		q->head = c;
	q->tail = c;
}

static struct chunk *pop(struct chunks *q)
{
	struct chunk *c = q->head;

	if (c) {
		q->head = c->next;
		if (!q->head)
			q->tail = NULL;
	}
	return c;
}

struct chunk *sim_inbox_pop(struct end *end)
{
	return pop(&end->inbox);
}

static void drop_all(struct sim_network *n, struct chunks *q)
{
	struct chunk *c;

	while ((c = pop(q)))
		sim_chunk_put(n, c);
}

static uint64_t draw_delay(struct sim_network *n)
{
	uint64_t spread = n->options.delay_most_ns - n->options.delay_least_ns;

	return n->options.delay_least_ns + (spread ? random_below(&n->random, spread + 1) : 0);
}

void sim_transmit(struct sim_network *n, struct end *to, struct chunk *c)
{
	const struct engine *from = to->other->node;
	uint64_t start_ns = n->clock.now_ns;

	if (from && from->in_turn)
		start_ns += from->extra_ns;
	start_ns = MAX(start_ns, to->busy_until_ns);
	if (n->options.bytes_per_ns > 0)
		start_ns += (uint64_t)(c->bytes / n->options.bytes_per_ns);
	to->busy_until_ns = start_ns;
	c->due_ns = MAX(start_ns + draw_delay(n), to->last_due_ns);
	to->last_due_ns = c->due_ns;
	if (!to->wire.head && !to->scheduled)
		heap_push(n, to, c->due_ns);
	push(&to->wire, c);
}

void sim_transmit_end(struct sim_network *n, struct end *to, int code, const char *reason)
{
	if (to->ended)
		return;
	to->ended = true;
	to->end = (struct chunk){ .kind = CHUNK_END, .code = code, .reason = reason };
	sim_transmit(n, to, &to->end);
}

struct end *sim_connection_open(struct sim_network *n, struct engine *from, struct engine *to)
{
	struct connection *c = mem_calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	if (!heap_reserve(n, n->ends + 2)) {
		mem_free(c);
		return NULL;
	}
	n->ends += 2;
	for (int i = 0; i < 2; i++) {
		c->ends[i].connection = c;
		c->ends[i].other = &c->ends[1 - i];
	}
	c->ends[0].serial = from->serial;
	c->ends[1].serial = to ? to->serial : from->serial;
	sim_own(from, &c->ends[0]);
	if (to)
		sim_own(to, &c->ends[1]);
	return &c->ends[0];
}

static void free_if_unused(struct sim_network *n, struct connection *c)
{
	for (int i = 0; i < 2; i++)
		if (c->ends[i].node || c->ends[i].scheduled || c->ends[i].wire.head)
			return;
	n->ends -= 2;
	mem_free(c);
}

void sim_own(struct engine *g, struct end *end)
{
	end->node = g;
	end->previous = NULL;
	end->next = g->ends;
	if (g->ends)
		g->ends->previous = end;
	g->ends = end;
}

static void unready(struct end *end)
{
	struct engine *g = end->node;
	struct end *before = NULL;

	if (!end->ready)
		return;
	for (struct end *e = g->ready_head; e != end; e = e->next_ready)
		before = e;
	if (before)
		before->next_ready = end->next_ready;
	else
		g->ready_head = end->next_ready;
	if (g->ready_tail == end)
		g->ready_tail = before;
	end->ready = false;
}

void sim_disown(struct end *end)
{
	struct engine *g = end->node;

	unready(end);
	if (end->previous)
		end->previous->next = end->next;
	else
		g->ends = end->next;
	if (end->next)
		end->next->previous = end->previous;
	end->node = NULL;
	drop_all(g->network, &end->inbox);
	if (!end->scheduled)            /* held back by a cut */
		drop_all(g->network, &end->wire);
	free_if_unused(g->network, end->connection);
}

void sim_make_ready(struct end *end)
{
	struct engine *g = end->node;

	if (!g || end->ready)
		return;
	end->ready = true;
	end->next_ready = NULL;
	if (g->ready_tail)
		g->ready_tail->next_ready = end;
	else
		g->ready_head = end;
	g->ready_tail = end;
}

struct end *sim_next_ready(struct engine *g)
{
	struct end *end = g->ready_head;

	if (end) {
		g->ready_head = end->next_ready;
		if (!g->ready_head)
			g->ready_tail = NULL;
		end->ready = false;
	}
	return end;
}

bool sim_is_cut(const struct sim_network *n, int a, int b)
{
	return n->cut[a][b / 8] & 1 << b % 8;
}

/* What the kernel of the listening host does with a connection request. */
static void arrive_syn(struct sim_network *n, struct end *end)
{
	struct engine *g = end->node;

	if (!g || g->dead || g->listeners == 0) {
		sim_transmit_end(n, end->other, -ECONNREFUSED, "connection refused");
		return;
	}
	end->other->greeting = (struct chunk){ .kind = CHUNK_CONNECTED };
	sim_transmit(n, end->other, &end->other->greeting);
	end->greeting.kind = CHUNK_ACCEPTED;
	push(&end->inbox, &end->greeting);
}

void sim_arrive(struct sim_network *n)
{
	struct end *end = heap_pop(n);
	struct chunk *c;

	if (end->node && sim_is_cut(n, end->serial, end->other->serial))
		return;                 /* sim_release_held() schedules it again */
	while (end->wire.head && end->wire.head->due_ns <= n->clock.now_ns) {
		c = pop(&end->wire);
		if (c->kind == CHUNK_SYN)
			arrive_syn(n, end);
		else if (end->node)
			push(&end->inbox, c);
		else
			sim_chunk_put(n, c);
	}
	if (end->inbox.head)
		sim_make_ready(end);
	if (end->wire.head)
		heap_push(n, end, end->wire.head->due_ns);
	else
		free_if_unused(n, end->connection);
}

void sim_release_held(struct sim_network *n, struct engine *g)
{
	for (struct end *end = g->ends; end; end = end->next) {
		if (!end->wire.head || end->scheduled)
			continue;
		heap_push(n, end, MAX(end->wire.head->due_ns, n->clock.now_ns + draw_delay(n)));
	}
}
