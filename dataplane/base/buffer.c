/* buffer.c - grows by doubling, remembers the first failure. */
#include "dataplane/base/buffer.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "dataplane/base/memory.h"

enum { BUFFER_FIRST_BYTES = 64 };

void buffer_close(struct buffer *b)
{
	mem_free(b->data);
	*b = (struct buffer){ .bound = b->bound };
}

void buffer_clear(struct buffer *b)
{
	b->length = 0;
	b->failed = 0;
	if (b->data)
		b->data[0] = '\0';
}

/* Room for `bytes` more and the NUL. */
static bool reserve(struct buffer *b, size_t bytes)
{
	size_t needed, capacity;
	char *data;

	if (b->failed)
		return false;
	if (bytes >= SIZE_MAX / 2 - b->length || (b->bound && b->length + bytes > b->bound)) {
		b->failed = -EMSGSIZE;
		return false;
	}
	needed = b->length + bytes + 1;
	if (needed <= b->capacity)
		return true;
	capacity = MAX(MAX(needed, b->capacity * 2), (size_t)BUFFER_FIRST_BYTES);
	if (b->bound)
		capacity = MIN(capacity, MAX(needed, b->bound + 1));
	data = mem_realloc(b->data, capacity);
	if (!data) {
		b->failed = -ENOMEM;
		return false;
	}
	b->data = data;
	b->capacity = capacity;
	return true;
}

void buffer_append(struct buffer *b, const void *data, size_t bytes)
{
	if (!reserve(b, bytes))
		return;
	if (bytes)
		memcpy(b->data + b->length, data, bytes);
	b->length += bytes;
	b->data[b->length] = '\0';
}

void buffer_text(struct buffer *b, const char *text)
{
	buffer_append(b, text, strlen(text));
}

void buffer_char(struct buffer *b, char c)
{
	buffer_append(b, &c, 1);
}

void buffer_vprintf(struct buffer *b, const char *format, va_list args)
{
	va_list again;
	int n;

	va_copy(again, args);
	n = vsnprintf(NULL, 0, format, again);
	va_end(again);
	if (n < 0) {
		if (!b->failed)
			b->failed = -EMSGSIZE;
		return;
	}
	if (!reserve(b, (size_t)n))
		return;
	vsnprintf(b->data + b->length, (size_t)n + 1, format, args);
	b->length += (size_t)n;
}

void buffer_printf(struct buffer *b, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	buffer_vprintf(b, format, args);
	va_end(args);
}

const char *buffer_string(const struct buffer *b)
{
	return b->data ? b->data : "";
}

int buffer_failed(const struct buffer *b)
{
	return b->failed;
}

/* NULL after a failure: half a text is never handed out. */
char *buffer_take(struct buffer *b)
{
	char *data = NULL;

	if (reserve(b, 0)) {
		data = b->data;
		data[b->length] = '\0';
		b->data = NULL;
	}
	buffer_close(b);
	return data;
}
