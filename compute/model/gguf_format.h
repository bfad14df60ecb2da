/* gguf_format.h - the numbers of the published GGUF format, shared by the
 * two halves of its reader: gguf_parse.c checks a file, gguf.c answers.
 *
 * Threads    Constant tables; a struct gguf is written while it is opened only.
 * Ownership  gguf_open() fills what gguf_close() frees, also after a failure.
 * Units      _bytes.
 * Errors     As gguf.h says.
 */
#ifndef PETALS_COMPUTE_MODEL_GGUF_FORMAT_H
#define PETALS_COMPUTE_MODEL_GGUF_FORMAT_H

#include "compute/model/gguf.h"
#include "compute/model/names.h"
#include "dataplane/base/file.h"

enum gguf_type {
	GGUF_U8, GGUF_I8, GGUF_U16, GGUF_I16, GGUF_U32, GGUF_I32, GGUF_F32, GGUF_BOOL,
	GGUF_STRING, GGUF_ARRAY, GGUF_U64, GGUF_I64, GGUF_F64,
	GGUF_TYPE_COUNT
};

struct gguf_type_row {
	const char *name;
	uint32_t bytes;           /* 0: the length stands in the file */
};
extern const struct gguf_type_row gguf_types[GGUF_TYPE_COUNT];

/* Every GGUF_MARK_STRIDEth string of an array is marked, so that any string is
 * found by walking over at most GGUF_MARK_STRIDE - 1 others.
 */
enum { GGUF_MARK_STRIDE = 16 };

struct gguf_value {
	struct gguf_text key;
	enum gguf_type type;
	enum gguf_type element;   /* of an array */
	uint64_t count;           /* elements of an array, bytes of a string, else 1 */
	const uint8_t *data;      /* the first element, byte or the value */
	const uint8_t **marks;    /* arrays of strings */
};

struct gguf {
	char *path;
	struct file_map map;
	const uint8_t *data;
	size_t bytes;
	struct gguf_value *values;
	uint32_t value_count;
	struct names keys;
	struct gguf_tensor *tensors;
	uint32_t tensor_count;
	struct names tensor_names;
	char *name_block;         /* the tensors' names, each with a NUL behind it */
};

/* NULL when absent. */
const struct gguf_value *gguf_value(const struct gguf *g, const char *key);

#endif
