/* ca_index.c - a CA's two files, read and written by one table of fields each. */
#include "control/ca_index.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/base/buffer.h"
#include "dataplane/base/file.h"
#include "dataplane/base/memory.h"

enum { FILE_BYTES_MAX = 256 << 20 };

enum field_kind { FIELD_TEXT, FIELD_ROLES, FIELD_TIME };

struct field {
	enum field_kind kind;
	size_t offset, bytes;
};

#define TEXT_OF(type, member) \
	{ FIELD_TEXT, offsetof(struct type, member), sizeof(((struct type *)0)->member) }
#define ROLES_OF(type, member) { FIELD_ROLES, offsetof(struct type, member), 0 }
#define TIME_OF(type, member) { FIELD_TIME, offsetof(struct type, member), 0 }

static const struct field certificate_fields[] = {
	TEXT_OF(ca_certificate, serial), TEXT_OF(ca_certificate, name),
	ROLES_OF(ca_certificate, roles), TEXT_OF(ca_certificate, hosts),
	TIME_OF(ca_certificate, life_s),
	TIME_OF(ca_certificate, not_before_unix_s), TIME_OF(ca_certificate, not_after_unix_s),
	TEXT_OF(ca_certificate, fingerprint), TIME_OF(ca_certificate, revoked_unix_s),
};

static const struct field token_fields[] = {
	TEXT_OF(ca_token, number), TEXT_OF(ca_token, hash), ROLES_OF(ca_token, roles),
	TEXT_OF(ca_token, name), TEXT_OF(ca_token, hosts), TIME_OF(ca_token, life_s),
	TIME_OF(ca_token, until_unix_s), TIME_OF(ca_token, spent_unix_s),
	TEXT_OF(ca_token, serial), TEXT_OF(ca_token, key),
};

/* A file: rows of one struct. */
static const struct table {
	const char *file;
	const struct field *fields;
	uint32_t field_count;
	size_t row_bytes;
} certificates_table = { "certificates", certificate_fields, ARRAY_LENGTH(certificate_fields),
			 sizeof(struct ca_certificate) },
  tokens_table = { "tokens", token_fields, ARRAY_LENGTH(token_fields), sizeof(struct ca_token) };

static bool read_field(const struct field *f, char *row, const char *text)
{
	char *end;

	switch (f->kind) {
	case FIELD_TEXT:
		if (strlen(text) >= f->bytes)
			return false;
		snprintf(row + f->offset, f->bytes, "%s", strcmp(text, "-") ? text : "");
		return true;
	case FIELD_ROLES:
		return principal_roles_parse((uint32_t *)(row + f->offset), text, NULL) == 0;
	case FIELD_TIME:
		*(int64_t *)(row + f->offset) = strtoll(text, &end, 10);
		return *text && !*end;
	}
	return false;
}

/* Cuts the line into its fields. */
static bool read_row(const struct table *t, char *line, char *row)
{
	for (uint32_t i = 0; i < t->field_count; i++) {
		char *end = strchrnul(line, '\t');
		bool last = i + 1 == t->field_count;

		if ((*end == '\0') != last)
			return false;
		*end = '\0';
		if (!read_field(&t->fields[i], row, line))
			return false;
		line = end + 1;
	}
	return true;
}

/* Room for one more row, zeroed. */
static char *add_row(const struct table *t, void **rows, uint32_t *count)
{
	char *grown = *rows;

	if ((*count & (*count - 1)) == 0) {             /* 0, 1, 2, 4, ... */
		grown = mem_realloc(*rows, MAX(2 * (size_t)*count, (size_t)1) * t->row_bytes);
		if (!grown)
			return NULL;
		*rows = grown;
	}
	grown += (*count)++ * t->row_bytes;
	memset(grown, 0, t->row_bytes);
	return grown;
}

static int read_rows(const struct table *t, const char *path, char *text, void **rows,
		     uint32_t *count, struct error *e)
{
	unsigned line = 0;

	for (char *at = text, *end; *at; at = end + 1) {
		char *row;

		line++;
		end = strchr(at, '\n');
		if (!end)
			return error_set(e, -EBADMSG, "%s ends in the middle of line %u", path,
					 line);
		*end = '\0';
		row = add_row(t, rows, count);
		if (!row)
			return error_errno(e, -ENOMEM, "reading %s", path);
		if (!read_row(t, at, row))
			return error_set(e, -EBADMSG, "%s is damaged in line %u", path, line);
	}
	return 0;
}

static int load(const struct table *t, const char *folder, void **rows, uint32_t *count,
		struct error *e)
{
	char *path = file_join(folder, t->file), *text = NULL;
	int rc = path ? 0 : error_errno(e, -ENOMEM, "reading %s", folder);

	*rows = NULL;
	*count = 0;
	if (rc == 0 && file_exists(path))
		rc = file_read(path, FILE_BYTES_MAX, &text, NULL, e);
	if (rc == 0 && text)
		rc = read_rows(t, path, text, rows, count, e);
	mem_free(text);
	mem_free(path);
	return rc;
}

static void write_roles(uint32_t roles, struct buffer *out)
{
	bool first = true;

	for (uint32_t i = 0; i < PRINCIPAL_ROLES; i++) {
		if (!(roles & PRINCIPAL_BIT(i)))
			continue;
		buffer_printf(out, "%s%s", first ? "" : ",", principal_role_name(i));
		first = false;
	}
}

static int save(const struct table *t, const char *folder, const void *rows, uint32_t count,
		struct error *e)
{
	char *path = file_join(folder, t->file);
	struct buffer out = { 0 };
	int rc;

	for (uint32_t i = 0; i < count; i++) {
		const char *row = (const char *)rows + i * t->row_bytes;

		for (uint32_t k = 0; k < t->field_count; k++) {
			const struct field *f = &t->fields[k];
			const char *at = row + f->offset;

			if (f->kind == FIELD_TEXT)
				buffer_text(&out, *at ? at : "-");
			else if (f->kind == FIELD_ROLES)
				write_roles(*(const uint32_t *)at, &out);
			else
				buffer_printf(&out, "%" PRId64, *(const int64_t *)at);
			buffer_char(&out, k + 1 < t->field_count ? '\t' : '\n');
		}
	}
	rc = path && buffer_failed(&out) == 0 ? 0 : error_errno(e, -ENOMEM, "writing %s", folder);
	if (rc == 0)
		rc = file_write(path, buffer_string(&out), out.length, 0600, e);
	buffer_close(&out);
	mem_free(path);
	return rc;
}

int ca_index_load(struct ca_index *out, const char *folder, struct error *e)
{
	void *certificates, *tokens = NULL;
	int rc = load(&certificates_table, folder, &certificates, &out->certificate_count, e);

	out->token_count = 0;
	if (rc == 0)
		rc = load(&tokens_table, folder, &tokens, &out->token_count, e);
	out->certificates = certificates;
	out->tokens = tokens;
	if (rc < 0)
		ca_index_close(out);
	return rc;
}

void ca_index_close(struct ca_index *x)
{
	mem_free(x->certificates);
	mem_free(x->tokens);
	*x = (struct ca_index){ 0 };
}

int ca_index_save_certificates(const struct ca_index *x, const char *folder, struct error *e)
{
	return save(&certificates_table, folder, x->certificates, x->certificate_count, e);
}

int ca_index_save_tokens(const struct ca_index *x, const char *folder, struct error *e)
{
	return save(&tokens_table, folder, x->tokens, x->token_count, e);
}

int ca_index_add_certificate(struct ca_index *x, const struct ca_certificate *c)
{
	void *rows = x->certificates;
	char *row = add_row(&certificates_table, &rows, &x->certificate_count);

	x->certificates = rows;
	if (row)
		memcpy(row, c, sizeof(*c));
	return row ? 0 : -ENOMEM;
}

int ca_index_add_token(struct ca_index *x, const struct ca_token *t)
{
	void *rows = x->tokens;
	char *row = add_row(&tokens_table, &rows, &x->token_count);

	x->tokens = rows;
	if (row)
		memcpy(row, t, sizeof(*t));
	return row ? 0 : -ENOMEM;
}

void ca_index_prune(struct ca_index *x, int64_t before_unix_s,
		    void (*gone)(void *ctx, const char *serial), void *ctx)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < x->certificate_count; i++) {
		if (x->certificates[i].not_after_unix_s < before_unix_s)
			gone(ctx, x->certificates[i].serial);
		else
			x->certificates[kept++] = x->certificates[i];
	}
	x->certificate_count = kept;
	kept = 0;
	for (uint32_t i = 0; i < x->token_count; i++)
		if (x->tokens[i].until_unix_s >= before_unix_s)
			x->tokens[kept++] = x->tokens[i];
	x->token_count = kept;
}

struct ca_certificate *ca_index_find_serial(struct ca_index *x, const char *serial)
{
	for (uint32_t i = 0; i < x->certificate_count; i++)
		if (!strcmp(x->certificates[i].serial, serial))
			return &x->certificates[i];
	return NULL;
}

struct ca_certificate *ca_index_find_valid(struct ca_index *x, const char *name,
					   int64_t now_unix_s)
{
	struct ca_certificate *found = NULL;

	for (uint32_t i = 0; i < x->certificate_count; i++) {
		struct ca_certificate *c = &x->certificates[i];

		if (!strcmp(c->name, name) && !c->revoked_unix_s &&
		    c->not_after_unix_s >= now_unix_s &&
		    (!found || c->not_after_unix_s >= found->not_after_unix_s))
			found = c;
	}
	return found;
}

struct ca_token *ca_index_find_token(struct ca_index *x, const char *number)
{
	for (uint32_t i = 0; i < x->token_count; i++)
		if (!strcmp(x->tokens[i].number, number))
			return &x->tokens[i];
	return NULL;
}
