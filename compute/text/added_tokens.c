/* added_tokens.c - owns the tries of added tokens and the walk over a text. */
#include "compute/text/added_tokens.h"

#include <errno.h>

#include "compute/text/utf8.h"
#include "dataplane/base/memory.h"

static int grow(struct trie *t)
{
	uint32_t capacity = MAX(t->capacity * 2, 64u);
	struct trie_node *nodes;

	if (t->count < t->capacity)
		return 0;
	nodes = mem_realloc(t->nodes, capacity * sizeof(*nodes));
	if (!nodes)
		return -ENOMEM;
	t->nodes = nodes;
	t->capacity = capacity;
	return 0;
}

static uint32_t find_child(const struct trie *t, uint32_t node, uint8_t byte)
{
	uint32_t child;

	if (node == 0)
		return t->roots[byte];
	for (child = t->nodes[node].child; child; child = t->nodes[child].sibling)
		if (t->nodes[child].byte == byte)
			break;
	return child;
}

/* The child, made if need be; 0 when out of memory. */
static uint32_t make_child(struct trie *t, uint32_t node, uint8_t byte)
{
	uint32_t child = find_child(t, node, byte);

	if (child)
		return child;
	if (grow(t) < 0)
		return 0;
	child = t->count++;
	t->nodes[child] = (struct trie_node){ .byte = byte };
	if (node == 0) {
		t->roots[byte] = child;
	} else {
		t->nodes[child].sibling = t->nodes[node].child;
		t->nodes[node].child = child;
	}
	return child;
}

static int insert(struct trie *t, const char *text, size_t bytes, uint32_t token)
{
	uint32_t node = 0;

	if (t->count == 0) {
		if (grow(t) < 0)
			return -ENOMEM;
		t->nodes[t->count++] = (struct trie_node){ 0 };
	}
	for (size_t i = 0; i < bytes; i++) {
		node = make_child(t, node, (uint8_t)text[i]);
		if (!node)
			return -ENOMEM;
	}
	if (t->nodes[node].token == 0)
		t->nodes[node].token = token + 1;
	return 0;
}

int added_tokens_add(struct added_tokens *a, const struct added_token *token, const char *text,
		     size_t bytes)
{
	if (bytes == 0)
		return 0;
	if (a->count == a->capacity) {
		size_t capacity = MAX(a->capacity * 2, (size_t)16);
		void *grown = mem_realloc(a->list, capacity * sizeof(*a->list));

		if (!grown)
			return -ENOMEM;
		a->list = grown;
		a->capacity = capacity;
	}
	a->list[a->count] = *token;
	return insert(token->normalized ? &a->normalized : &a->raw, text, bytes,
		      (uint32_t)a->count++);
}

void added_tokens_close(struct added_tokens *a)
{
	mem_free(a->list);
	mem_free(a->raw.nodes);
	mem_free(a->normalized.nodes);
	*a = (struct added_tokens){ 0 };
}

void added_walk_start(struct added_walk *w, const struct added_tokens *a, bool normalized,
		      bool skip_special, const char *text, size_t bytes)
{
	*w = (struct added_walk){ .tokens = a,
				  .trie = normalized ? &a->normalized : &a->raw,
				  .text = text,
				  .bytes = bytes,
				  .skip_special = skip_special };
}

/* The longest token at `at`: its end, or 0. */
static size_t match_at(const struct added_walk *w, size_t at, uint32_t *token)
{
	size_t end = 0;
	uint32_t node = 0;

	for (size_t i = at; i < w->bytes; i++) {
		node = find_child(w->trie, node, (uint8_t)w->text[i]);
		if (!node)
			break;
		if (w->trie->nodes[node].token) {
			*token = w->trie->nodes[node].token - 1;
			end = i + 1;
		}
	}
	return end;
}

static bool touches_word(const struct added_walk *w, size_t start, size_t end)
{
	uint32_t c;

	if (start > 0) {
		size_t before = utf8_before(w->text, start);

		utf8_next(w->text + before, start - before, &c);
		if (character_is_word(c))
			return true;
	}
	if (end == w->bytes)
		return false;
	utf8_next(w->text + end, w->bytes - end, &c);
	return character_is_word(c);
}

static size_t spaces_before(const struct added_walk *w, size_t start)
{
	uint32_t c;

	while (start > 0) {
		size_t before = utf8_before(w->text, start);

		utf8_next(w->text + before, start - before, &c);
		if (!character_is_space(c))
			break;
		start = before;
	}
	return start;
}

static size_t spaces_after(const struct added_walk *w, size_t end)
{
	uint32_t c;

	while (end < w->bytes) {
		size_t n = utf8_next(w->text + end, w->bytes - end, &c);

		if (!character_is_space(c))
			break;
		end += n;
	}
	return end;
}

/* The next token that counts, with the white space that goes with it. */
static bool find_token(struct added_walk *w)
{
	while (w->scanned < w->bytes) {
		size_t start = w->scanned, end;
		const struct added_token *token;
		uint32_t index;

		end = w->trie->roots[(uint8_t)w->text[start]] ? match_at(w, start, &index) : 0;
		if (end == 0) {
			w->scanned++;
			continue;
		}
		w->scanned = end;
		token = &w->tokens->list[index];
		if ((w->skip_special && token->special) ||
		    (token->single_word && touches_word(w, start, end)))
			continue;
		if (token->left_strip)
			start = MAX(spaces_before(w, start), w->done);
		if (token->right_strip)
			end = spaces_after(w, end);
		w->held_start = start;
		w->held_end = end;
		w->held = token->id;
		return true;
	}
	return false;
}

bool added_walk_next(struct added_walk *w, struct added_part *out)
{
	if (!w->holding && w->trie->count > 0)
		w->holding = find_token(w);
	if (!w->holding) {
		*out = (struct added_part){ w->done, w->bytes, -1 };
		w->done = w->bytes;
		return out->end > out->start;
	}
	if (w->done < w->held_start) {
		*out = (struct added_part){ w->done, w->held_start, -1 };
		w->done = w->held_start;
		return true;
	}
	*out = (struct added_part){ w->held_start, w->held_end, w->held };
	w->done = w->held_end;
	w->holding = false;
	return true;
}
