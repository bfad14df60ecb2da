/* json_print.c - escapes, numbers and lists, appended to a buffer.
 *
 * Owns nothing.  Leaves reading to json.c.
 */
#include "control/json_print.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "compute/text/utf8.h"

static void print_escaped(struct buffer *out, unsigned char c)
{
	switch (c) {
	case '"':
		buffer_text(out, "\\\"");
		break;
	case '\\':
		buffer_text(out, "\\\\");
		break;
	case '\n':
		buffer_text(out, "\\n");
		break;
	case '\t':
		buffer_text(out, "\\t");
		break;
	case '\r':
		buffer_text(out, "\\r");
		break;
	default:
		buffer_printf(out, "\\u%04x", c);
	}
}

static bool is_plain(unsigned char c)
{
	return c >= 0x20 && c != '"' && c != '\\' && c != 0x7f;
}

void json_print_text(struct buffer *out, const char *text, size_t bytes)
{
	size_t at = 0, sent = 0;

	buffer_char(out, '"');
	while (at < bytes) {
		unsigned char c = (unsigned char)text[at];
		enum utf8_state state = UTF8_WHOLE;
		uint32_t character;
		size_t n = c < 0x80 ? 1 : utf8_read(text + at, bytes - at, &character, &state);

		if (state == UTF8_WHOLE && is_plain(c)) {
			at += n;
			continue;
		}
		buffer_append(out, text + sent, at - sent);
		if (state == UTF8_WHOLE)
			print_escaped(out, c);
		else
			buffer_text(out, "\xEF\xBF\xBD");
		at += n;
		sent = at;
	}
	buffer_append(out, text + sent, at - sent);
	buffer_char(out, '"');
}

void json_print_string(struct buffer *out, const char *text)
{
	if (text)
		json_print_text(out, text, strlen(text));
	else
		buffer_text(out, "null");
}

void json_print_float(struct buffer *out, float value)
{
	char text[32];

	if (isnan(value)) {
		buffer_text(out, "null");
	} else if (isinf(value)) {
		buffer_text(out, value < 0 ? "-9999.0" : "9999.0");
	} else {
		snprintf(text, sizeof(text), "%.9g", (double)value);
		buffer_text(out, text);
		if (!strpbrk(text, ".e"))
			buffer_text(out, ".0");
	}
}

void json_print_ids(struct buffer *out, const uint32_t *ids, size_t count)
{
	buffer_char(out, '[');
	for (size_t i = 0; i < count; i++)
		buffer_printf(out, i ? ",%u" : "%u", ids[i]);
	buffer_char(out, ']');
}

void json_print_error(struct buffer *out, const char *message, const char *type,
		      const char *param, const char *code)
{
	buffer_text(out, "{\"error\":{\"message\":");
	json_print_string(out, message);
	buffer_text(out, ",\"type\":");
	json_print_string(out, type);
	buffer_text(out, ",\"param\":");
	json_print_string(out, param);
	buffer_text(out, ",\"code\":");
	json_print_string(out, code);
	buffer_text(out, "}}");
}
