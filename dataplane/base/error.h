/* error.h - an -errno with a sentence beside it.
 *
 * Functions return 0 or a count, else -errno.  Those whose failure a person
 * will read also take a struct error and leave the sentence there: what was
 * wrong, where, and what to do.  Programmer errors assert instead.
 *
 * Threads    Each struct error belongs to its caller.
 * Ownership  Plain storage, no release needed.  NULL is fine everywhere.
 * Units      None.
 * Errors     error_set() and error_wrap() return the code they stored.
 */
#ifndef PETALS_BASE_ERROR_H
#define PETALS_BASE_ERROR_H

#include "dataplane/base/types.h"

enum { ERROR_TEXT_BYTES = 512 };

struct error {
	int code;                     /* -errno, 0 when unset */
	char text[ERROR_TEXT_BYTES];  /* one sentence, no newline */
};

/* Stores code (an -errno) and the formatted sentence; returns code. */
int error_set(struct error *e, int code, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* Puts "context: " before the stored sentence; returns the stored code. */
int error_wrap(struct error *e, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* error_set() with ": <what errno means>" appended to the sentence. */
int error_errno(struct error *e, int code, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* "no such file or directory" for -ENOENT; never NULL; thread-safe. */
const char *error_describe(int code);

/* clang's analyser reads one source at a time and cannot know that what these
 * return is negative; without that it follows paths that cannot be taken.
 */
#ifdef __clang_analyzer__
static inline int error_negative(int code)
{
	return code < 0 ? code : -1;
}
#define error_set(...) error_negative((error_set)(__VA_ARGS__))
#define error_wrap(...) error_negative((error_wrap)(__VA_ARGS__))
#define error_errno(...) error_negative((error_errno)(__VA_ARGS__))
#endif

#endif
