/* jinja_lex.h - cuts a template into tokens: plain text, and what stands
 * between {{ }}, {% %}; comments and raw blocks are gone by then.
 *
 * White space around tags is already taken away as transformers configures
 * Jinja: the newline after a block tag or comment goes (trim_blocks), so does
 * the indentation before one that starts its line (lstrip_blocks); "-"
 * takes all white space on its side, "+" keeps it.
 *
 * Threads    Pure functions, apart from the bag.
 * Ownership  Tokens view the source, which must outlive them.
 * Units      Lines and columns count from 1; columns are characters.
 * Errors     -EINVAL with "line 3, column 14: ..."; -ENOMEM.
 */
#ifndef PETALS_COMPUTE_TEXT_JINJA_LEX_H
#define PETALS_COMPUTE_TEXT_JINJA_LEX_H

#include "compute/text/bag.h"
#include "compute/text/jinja_value.h"
#include "dataplane/base/error.h"

enum token_kind {
	TOKEN_DATA,
	TOKEN_PRINT_BEGIN,           /* {{ */
	TOKEN_PRINT_END,
	TOKEN_BLOCK_BEGIN,           /* {% */
	TOKEN_BLOCK_END,
	TOKEN_NAME,
	TOKEN_INTEGER,               /* .integer */
	TOKEN_FLOAT,                 /* .number */
	TOKEN_STRING,                /* .text is what it stands for */
	TOKEN_OPERATOR,
	TOKEN_END,
};

struct token {
	enum token_kind kind;
	unsigned line, column;
	struct text text;
	int64_t integer;
	double number;
};

struct token_run {
	struct token *list;          /* the last is a TOKEN_END */
	size_t count, capacity;
};

int jinja_lex(struct token_run *out, struct text source, struct bag *bag, struct error *e);

/* jinja_lex_tag.c: reads one token inside a tag at source[*at]. */
struct lexer;
int jinja_lex_tag_token(struct lexer *x);

struct lexer {
	struct text source;
	size_t at;
	unsigned line, column;       /* of `counted` */
	size_t counted;
	struct bag *bag;
	struct token_run *out;
	struct error *error;
	bool at_line_start;          /* what came before ended in a newline */
	unsigned depth;              /* of open brackets inside a tag */
	char brackets[64];           /* which closing ones are due */
};

int lexer_fail(struct lexer *x, size_t at, const char *what);
struct token *lexer_push(struct lexer *x, enum token_kind kind, size_t at, size_t end);

#endif
