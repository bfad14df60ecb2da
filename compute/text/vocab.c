/* vocab.c - owns token texts: one arena, one entry per id, one hash table
 * (open addressing, at most half full) from text to id.
 */
#include "compute/text/vocab.h"

#include <errno.h>
#include <string.h>

#include "dataplane/base/memory.h"

struct entry {
	uint32_t offset;             /* into the arena */
	uint32_t bytes;
	uint32_t hash;
	uint32_t flags;              /* enum vocab_flag */
};

struct vocab {
	struct entry *entries;       /* by id */
	uint32_t size, capacity;
	uint32_t count;              /* ids that are present */
	uint32_t *slots;             /* id + 1, 0: free */
	uint32_t slot_count;         /* a power of two */
	char *arena;
	size_t arena_bytes, arena_capacity;
};

static uint64_t load(const char *text, size_t bytes)
{
	uint64_t word = 0;

	memcpy(&word, text, bytes);
	return word;
}

static uint32_t hash_text(const char *text, size_t bytes)
{
	const uint64_t odd = 0x9E3779B97F4A7C15ull;
	uint64_t h = bytes * odd;

	for (; bytes >= 8; text += 8, bytes -= 8) {
		h = (h ^ load(text, 8)) * odd;
		h ^= h >> 29;
	}
	h = (h ^ load(text, bytes)) * odd;
	h ^= h >> 32;
	h *= odd;
	return (uint32_t)(h >> 32);
}

static int grow_arena(struct vocab *v, size_t more)
{
	size_t needed = v->arena_bytes + more;
	size_t capacity;
	char *arena;

	if (needed > UINT32_MAX)
		return -ENOMEM;
	if (needed <= v->arena_capacity)
		return 0;
	capacity = MAX(needed, v->arena_capacity * 2);
	arena = mem_realloc(v->arena, capacity);
	if (!arena)
		return -ENOMEM;
	v->arena = arena;
	v->arena_capacity = capacity;
	return 0;
}

static int grow_entries(struct vocab *v, uint32_t size)
{
	uint32_t capacity;
	struct entry *entries;

	if (size <= v->capacity)
		return 0;
	capacity = MAX(size, MIN(v->capacity * 2, (uint32_t)VOCAB_TOKENS_MAX));
	entries = mem_realloc(v->entries, capacity * sizeof(*entries));
	if (!entries)
		return -ENOMEM;
	memset(entries + v->capacity, 0, (capacity - v->capacity) * sizeof(*entries));
	v->entries = entries;
	v->capacity = capacity;
	return 0;
}

static void place(struct vocab *v, uint32_t id)
{
	uint32_t mask = v->slot_count - 1;
	uint32_t i = v->entries[id].hash & mask;

	while (v->slots[i])
		i = (i + 1) & mask;
	v->slots[i] = id + 1;
}

static int grow_slots(struct vocab *v, uint32_t count)
{
	uint32_t slot_count = v->slot_count ? v->slot_count : 64;
	uint32_t *slots;

	while (slot_count < count * 2)
		slot_count *= 2;
	if (slot_count == v->slot_count)
		return 0;
	slots = mem_calloc(slot_count, sizeof(*slots));
	if (!slots)
		return -ENOMEM;
	mem_free(v->slots);
	v->slots = slots;
	v->slot_count = slot_count;
	for (uint32_t id = 0; id < v->size; id++)
		if (v->entries[id].flags & VOCAB_PRESENT)
			place(v, id);
	return 0;
}

int vocab_open(struct vocab **out, size_t tokens)
{
	struct vocab *v = mem_calloc(1, sizeof(*v));
	uint32_t count = (uint32_t)MIN(MAX(tokens, (size_t)16), (size_t)VOCAB_TOKENS_MAX);

	*out = NULL;
	if (!v)
		return -ENOMEM;
	if (grow_entries(v, count) < 0 || grow_slots(v, count) < 0 ||
	    grow_arena(v, (size_t)count * 12) < 0) {
		vocab_close(v);
		return -ENOMEM;
	}
	*out = v;
	return 0;
}

void vocab_close(struct vocab *v)
{
	if (!v)
		return;
	mem_free(v->entries);
	mem_free(v->slots);
	mem_free(v->arena);
	mem_free(v);
}

int vocab_add(struct vocab *v, uint32_t id, const char *text, size_t bytes)
{
	struct entry *entry;

	if (id >= VOCAB_TOKENS_MAX)
		return -ERANGE;
	if (vocab_has(v, id) || vocab_find(v, text, bytes) >= 0)
		return -EEXIST;
	if (bytes >= UINT32_MAX || grow_entries(v, id + 1) < 0 || grow_slots(v, v->count + 1) < 0 ||
	    grow_arena(v, bytes + 1) < 0)
		return -ENOMEM;
	entry = &v->entries[id];
	*entry = (struct entry){ (uint32_t)v->arena_bytes, (uint32_t)bytes,
				 hash_text(text, bytes), VOCAB_PRESENT };
	memcpy(v->arena + v->arena_bytes, text, bytes);
	v->arena[v->arena_bytes + bytes] = '\0';
	v->arena_bytes += bytes + 1;
	v->size = MAX(v->size, id + 1);
	v->count++;
	place(v, id);
	return 0;
}

void vocab_mark(struct vocab *v, uint32_t id, enum vocab_flag flag)
{
	assert(vocab_has(v, id));
	v->entries[id].flags |= flag;
}

uint32_t vocab_size(const struct vocab *v)
{
	return v->size;
}

bool vocab_has(const struct vocab *v, uint32_t id)
{
	return id < v->size && (v->entries[id].flags & VOCAB_PRESENT);
}

bool vocab_is_special(const struct vocab *v, uint32_t id)
{
	return id < v->size && (v->entries[id].flags & VOCAB_SPECIAL);
}

int64_t vocab_find(const struct vocab *v, const char *text, size_t bytes)
{
	uint32_t hash = hash_text(text, bytes);
	uint32_t mask = v->slot_count - 1;

	for (uint32_t i = hash & mask; v->slots[i]; i = (i + 1) & mask) {
		const struct entry *entry = &v->entries[v->slots[i] - 1];

		if (entry->hash == hash && entry->bytes == bytes &&
		    memcmp(v->arena + entry->offset, text, bytes) == 0)
			return (int64_t)v->slots[i] - 1;
	}
	return -1;
}

int64_t vocab_find_model(const struct vocab *v, const char *text, size_t bytes)
{
	int64_t id = vocab_find(v, text, bytes);

	return id >= 0 && (v->entries[id].flags & VOCAB_ADDED) ? -1 : id;
}

const char *vocab_text(const struct vocab *v, uint32_t id, size_t *bytes)
{
	bool present = vocab_has(v, id);

	if (bytes)
		*bytes = present ? v->entries[id].bytes : 0;
	return present ? v->arena + v->entries[id].offset : "";
}
