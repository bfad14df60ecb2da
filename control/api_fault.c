/* api_fault.c - owns the table from -errno to what an HTTP client is told. */
#include "control/api_fault.h"

#include <errno.h>
#include <stdio.h>

#include "control/json_print.h"

static const struct {
	int number, status;
	const char *code;
} failures[] = {
	{ EINVAL, 400, NULL },
	{ EMSGSIZE, 400, NULL },
	{ ENOSPC, 400, NULL },
	{ EBUSY, 429, "overloaded" },
	{ ENOENT, 503, "blocks_missing" },
	{ ENOMEM, 503, "out_of_memory" },
	{ ECANCELED, 503, "shutting_down" },
	{ ETIMEDOUT, 504, "deadline_exceeded" },
	{ EPROTO, 502, "bad_server" },
};

int api_fault_set(struct api_fault *f, int status, const char *param, const char *code,
		  const char *format, ...)
{
	va_list args;

	if (f->status)
		return -EINVAL;
	f->status = status;
	f->code = code;
	snprintf(f->param, sizeof(f->param), "%s", param ? param : "");
	va_start(args, format);
	vsnprintf(f->message, sizeof(f->message), format, args);
	va_end(args);
	return -EINVAL;
}

void api_fault_of_failure(struct api_fault *f, int code, const char *reason)
{
	int status = 500;
	const char *name = NULL;

	for (size_t i = 0; i < ARRAY_LENGTH(failures); i++) {
		if (failures[i].number == -code) {
			status = failures[i].status;
			name = failures[i].code;
		}
	}
	api_fault_set(f, status, NULL, name, "%s",
		      reason && reason[0] ? reason : error_describe(code));
}

const char *api_fault_type(const struct api_fault *f)
{
	if (f->status == 429)
		return "rate_limit_error";
	return f->status < 500 ? "invalid_request_error" : "server_error";
}

void api_fault_print(const struct api_fault *f, struct buffer *out)
{
	json_print_error(out, f->message, api_fault_type(f), f->param[0] ? f->param : NULL,
			 f->code);
}

void api_fault_reply(const struct api_fault *f, struct http_exchange *x)
{
	if (f->status == 429 || f->status == 503)
		http_add_header(x, "Retry-After", "1");
	http_fail(x, f->status, api_fault_type(f), f->param[0] ? f->param : NULL, f->code, "%s",
		  f->message);
}
