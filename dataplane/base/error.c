/* error.c - stores the sentence beside an -errno, and words for each errno.
 *
 * The words are our own table, not strerror()'s: lower case so that they can
 * end a sentence, the same in every locale, and safe from any thread.
 */
#include "dataplane/base/error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const struct {
	int number;
	const char *words;
} descriptions[] = {
	{ 0, "no error" },
	{ EPERM, "operation not permitted" },
	{ ENOENT, "no such file or directory" },
	{ ESRCH, "no such process" },
	{ EINTR, "interrupted" },
	{ EIO, "input or output error" },
	{ ENXIO, "no such device or address" },
	{ E2BIG, "argument list too long" },
	{ EBADF, "bad file descriptor" },
	{ ECHILD, "no child process" },
	{ EAGAIN, "temporarily unavailable" },
	{ ENOMEM, "out of memory" },
	{ EACCES, "permission denied" },
	{ EFAULT, "bad address" },
	{ EBUSY, "device or resource busy" },
	{ EEXIST, "already exists" },
	{ ENODEV, "no such device" },
	{ ENOTDIR, "not a directory" },
	{ EISDIR, "is a directory" },
	{ EINVAL, "invalid argument" },
	{ ENFILE, "too many open files in the system" },
	{ EMFILE, "too many open files" },
	{ EFBIG, "file too large" },
	{ ENOSPC, "no space left" },
	{ ESPIPE, "cannot seek" },
	{ EROFS, "read-only file system" },
	{ EPIPE, "broken pipe" },
	{ EDOM, "outside the domain" },
	{ ERANGE, "out of range" },
	{ EDEADLK, "deadlock avoided" },
	{ ENAMETOOLONG, "name too long" },
	{ ENOSYS, "not provided by this kernel" },
	{ ELOOP, "too many symbolic links" },
	{ ENODATA, "no data" },
	{ ETIME, "timer expired" },
	{ EPROTO, "protocol error" },
	{ EBADMSG, "bad message" },
	{ EOVERFLOW, "value too large" },
	{ EILSEQ, "invalid character sequence" },
	{ ENOTSOCK, "not a socket" },
	{ EMSGSIZE, "message too long" },
	{ EPROTONOSUPPORT, "protocol not supported" },
	{ EOPNOTSUPP, "operation not supported" },
	{ EAFNOSUPPORT, "address family not supported" },
	{ EADDRINUSE, "address already in use" },
	{ EADDRNOTAVAIL, "address not available" },
	{ ENETDOWN, "network is down" },
	{ ENETUNREACH, "network unreachable" },
	{ ECONNABORTED, "connection aborted" },
	{ ECONNRESET, "connection reset" },
	{ ENOBUFS, "no buffer space" },
	{ EISCONN, "already connected" },
	{ ENOTCONN, "not connected" },
	{ ESHUTDOWN, "shut down" },
	{ ETIMEDOUT, "timed out" },
	{ ECONNREFUSED, "connection refused" },
	{ EHOSTDOWN, "host is down" },
	{ EHOSTUNREACH, "host unreachable" },
	{ EALREADY, "already in progress" },
	{ EINPROGRESS, "in progress" },
	{ ESTALE, "stale" },
	{ EDQUOT, "quota exceeded" },
	{ ECANCELED, "canceled" },
};

const char *error_describe(int code)
{
	int number = code < 0 ? -(unsigned)code : (unsigned)code;
	const char *words;

	for (size_t i = 0; i < ARRAY_LENGTH(descriptions); i++)
		if (descriptions[i].number == number)
			return descriptions[i].words;
	words = strerrordesc_np(number);
	return words ? words : "unknown error";
}

/* A sentence stays on one line, whatever a peer's text put into it. */
static void flatten(char *text)
{
	for (; *text; text++)
		if ((unsigned char)*text < 0x20 || *text == 0x7f)
			*text = ' ';
}

static void store(struct error *e, int code, const char *format, va_list args)
{
	e->code = code;
	vsnprintf(e->text, sizeof(e->text), format, args);
	flatten(e->text);
}

/* Names in parentheses: to the analyser they are macros, too (error.h). */
int (error_set)(struct error *e, int code, const char *format, ...)
{
	va_list args;

	assert(code < 0);
	if (!e)
		return code;
	va_start(args, format);
	store(e, code, format, args);
	va_end(args);
	return code;
}

int (error_wrap)(struct error *e, const char *format, ...)
{
	char before[ERROR_TEXT_BYTES];
	size_t length;
	va_list args;

	if (!e)
		return -EINVAL;      /* the code is not known here; never a success */
	memcpy(before, e->text, sizeof(before));
	va_start(args, format);
	store(e, e->code, format, args);
	va_end(args);
	length = strlen(e->text);
	snprintf(e->text + length, sizeof(e->text) - length, ": %s", before);
	return e->code;
}

int (error_errno)(struct error *e, int code, const char *format, ...)
{
	size_t length;
	va_list args;

	assert(code < 0);
	if (!e)
		return code;
	va_start(args, format);
	store(e, code, format, args);
	va_end(args);
	length = strlen(e->text);
	snprintf(e->text + length, sizeof(e->text) - length, ": %s", error_describe(code));
	return code;
}
