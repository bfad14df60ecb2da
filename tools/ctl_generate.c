/* ctl_generate.c - petalsctl generate: asks a gateway, and streams its answer to the terminal.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <curl/curl.h>

#include "control/credentials.h"
#include "dataplane/base/buffer.h"
#include "dataplane/base/clock.h"
#include "dataplane/base/file.h"
#include "dataplane/base/memory.h"
#include "tools/ctl.h"

struct generate_flags {
	char *gateway, *prompt, *chat, *system, *stop, *ids, *credentials;
	int64_t max_tokens, top_k, seed;
	double temperature, top_p;
	bool json, ignore_eos;
};

#define AT(field) offsetof(struct generate_flags, field)

static const struct option options[] = {
	{ "gateway", OPTION_TEXT, AT(gateway), "http://127.0.0.1:8080", .metavar = "URL",
	  .help = "the gateway to ask" },
	{ "credentials", OPTION_TEXT, AT(credentials), NULL, .metavar = "DIR",
	  .help = "for a gateway at https://: a folder of ca.pem, cert.pem, key.pem; else "
		  "$PETALS_CREDENTIALS, else credentials in $PETALS_HOME or ~/.petals" },
	{ "prompt", OPTION_TEXT, AT(prompt), NULL, .metavar = "TEXT",
	  .help = "text to go on from" },
	{ "chat", OPTION_TEXT, AT(chat), NULL, .metavar = "TEXT",
	  .help = "what the user says; the model's chat template is applied" },
	{ "system", OPTION_TEXT, AT(system), NULL, .metavar = "TEXT",
	  .help = "the system message that goes before --chat" },
	{ "max-tokens", OPTION_INTEGER, AT(max_tokens), "256", 1, 1 << 20,
	  .help = "longest answer" },
	{ "temperature", OPTION_REAL, AT(temperature), "0", 0, 2,
	  .help = "0: always the likeliest token" },
	{ "top-k", OPTION_INTEGER, AT(top_k), "0", 0, 1 << 20,
	  .help = "draw from this many tokens, 0: all" },
	{ "top-p", OPTION_REAL, AT(top_p), "1", 0, 1,
	  .help = "draw from the likeliest tokens that have this probability together" },
	{ "seed", OPTION_INTEGER, AT(seed), "0", 0, 9e15,
	  .help = "the same seed draws the same text" },
	{ "stop", OPTION_TEXT, AT(stop), NULL, .metavar = "TEXT", .help = "end before this text" },
	{ "ignore-eos", OPTION_FLAG, AT(ignore_eos), NULL,
	  .help = "go on past the model's end of text" },
	{ "ids", OPTION_TEXT, AT(ids), NULL, .metavar = "FILE",
	  .help = "write the generated token ids into FILE, one a line" },
	{ "json", OPTION_FLAG, AT(json), NULL,
	  .help = "print one JSON object at the end: text, token ids, usage, seconds" },
};

struct answer {
	const struct generate_flags *flags;
	struct buffer line;             /* of the stream, incomplete */
	struct buffer text;
	struct buffer raw;              /* a body that is no stream: an error */
	json_t *tokens;
	json_t *usage;
	char finish[32];
	char error[512];
	bool done;
	uint64_t started_ns, first_ns;
};

static void take_choice(struct answer *a, const json_t *choice)
{
	const json_t *delta = json_object_get(choice, "delta");
	const char *text = json_string_value(delta ? json_object_get(delta, "content") :
					     json_object_get(choice, "text"));
	const char *finish = json_string_value(json_object_get(choice, "finish_reason"));
	json_t *ids = json_object_get(choice, "token_ids");

	if (json_is_array(ids))
		json_array_extend(a->tokens, ids);
	if (finish)
		snprintf(a->finish, sizeof(a->finish), "%s", finish);
	if (!text || !*text)
		return;
	if (!a->first_ns)
		a->first_ns = clock_ns(clock_real());
	buffer_text(&a->text, text);
	if (!a->flags->json) {
		fputs(text, stdout);
		fflush(stdout);
	}
}

static void take_event(struct answer *a, const char *data)
{
	json_t *event;
	const json_t *error;

	if (strcmp(data, "[DONE]") == 0) {
		a->done = true;
		return;
	}
	event = json_loads(data, 0, NULL);
	error = json_object_get(event, "error");
	if (error)
		snprintf(a->error, sizeof(a->error), "%s",
			 json_string_value(json_object_get(error, "message")));
	else if (event)
		take_choice(a, json_array_get(json_object_get(event, "choices"), 0));
	if (json_is_object(json_object_get(event, "usage"))) {
		json_decref(a->usage);
		a->usage = json_incref(json_object_get(event, "usage"));
	}
	json_decref(event);
}

static size_t on_body(char *data, size_t size, size_t count, void *ctx)
{
	struct answer *a = ctx;

	for (size_t i = 0; i < size * count; i++) {
		if (a->raw.length < 4096)
			buffer_char(&a->raw, data[i]);
		if (data[i] != '\n') {
			buffer_char(&a->line, data[i]);
			continue;
		}
		if (a->line.length && a->line.data[a->line.length - 1] == '\r')
			a->line.data[--a->line.length] = '\0';
		if (strncmp(buffer_string(&a->line), "data: ", 6) == 0)
			take_event(a, a->line.data + 6);
		buffer_clear(&a->line);
	}
	return buffer_failed(&a->line) ? 0 : size * count;
}

static char *request_body(const struct generate_flags *f)
{
	json_t *body = json_pack("{s:b,s:{s:b},s:i,s:f,s:f,s:i,s:I,s:b,s:b}", "stream", 1,
				 "stream_options", "include_usage", 1,
				 "max_tokens", (int)f->max_tokens, "temperature", f->temperature,
				 "top_p", f->top_p, "top_k", (int)f->top_k,
				 "seed", (json_int_t)f->seed, "ignore_eos", f->ignore_eos,
				 "return_token_ids", 1);
	char *text;

	if (f->stop)
		json_object_set_new(body, "stop", json_string(f->stop));
	if (f->prompt) {
		json_object_set_new(body, "prompt", json_string(f->prompt));
	} else {
		json_t *messages = json_array();

		if (f->system)
			json_array_append_new(messages, json_pack("{s:s,s:s}", "role", "system",
								  "content", f->system));
		json_array_append_new(messages, json_pack("{s:s,s:s}", "role", "user",
							  "content", f->chat));
		json_object_set_new(body, "messages", messages);
	}
	text = json_dumps(body, JSON_COMPACT);
	json_decref(body);
	return text;
}

/* Beyond loopback a gateway asks who we are, and is asked in turn. */
static int present_credentials(CURL *curl, const struct generate_flags *f, struct error *e)
{
	static const struct {
		CURLoption option;
		const char *file;
	} parts[] = {
		{ CURLOPT_CAINFO, "ca.pem" }, { CURLOPT_SSLCERT, "cert.pem" },
		{ CURLOPT_SSLKEY, "key.pem" },
	};
	const struct credentials_wish wish = { .given = f->credentials, .role = PRINCIPAL_TENANT };
	char *folder;
	int rc = strncmp(f->gateway, "https://", 8) ? 1 : credentials_find(&folder, &wish, e);

	if (rc)
		return MIN(rc, 0);
	for (size_t i = 0; i < ARRAY_LENGTH(parts); i++) {
		char *path = file_join(folder, parts[i].file);

		if (!path || curl_easy_setopt(curl, parts[i].option, path) != CURLE_OK)
			rc = error_errno(e, -ENOMEM, "%s", folder);
		mem_free(path);
	}
	mem_free(folder);
	return rc;
}

static int post(struct answer *a, struct error *e)
{
	const struct generate_flags *f = a->flags;
	struct curl_slist *headers = curl_slist_append(NULL, "Content-Type: application/json");
	CURL *curl = curl_easy_init();
	char *body = request_body(f), url[512], problem[CURL_ERROR_SIZE] = "";
	long status = 0;
	CURLcode rc;

	snprintf(url, sizeof(url), "%s/v1/%s", f->gateway,
		 f->prompt ? "completions" : "chat/completions");
	curl_easy_setopt(curl, CURLOPT_URL, url);
	curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
	curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body);
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, a);
	curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, problem);
	if (present_credentials(curl, f, e) < 0) {
		curl_easy_cleanup(curl);
		curl_slist_free_all(headers);
		free(body);
		return e->code;
	}
	a->started_ns = clock_ns(clock_real());
	rc = curl_easy_perform(curl);
	curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
	curl_easy_cleanup(curl);
	curl_slist_free_all(headers);
	free(body);
	if (rc != CURLE_OK)
		return error_set(e, -EIO, "%s: %s", url,
				 problem[0] ? problem : curl_easy_strerror(rc));
	if (status != 200) {
		json_t *answer = json_loads(buffer_string(&a->raw), 0, NULL);
		const char *message = json_string_value(json_object_get(
			json_object_get(answer, "error"), "message"));

		error_set(e, -EIO, "%s answered %ld: %s", url, status,
			  message ? message : buffer_string(&a->raw));
		json_decref(answer);
		return e->code;
	}
	if (a->error[0])
		return error_set(e, -EIO, "%s", a->error);
	return a->done ? 0 : error_set(e, -EIO, "%s: the answer broke off", url);
}

static void print_answer(struct answer *a)
{
	double seconds = (double)(clock_ns(clock_real()) - a->started_ns) / NS_PER_S;
	double first = a->first_ns ? (double)(a->first_ns - a->started_ns) / NS_PER_S : 0;

	if (!a->flags->json) {
		printf("\n");
		fprintf(stderr, "[%zu tokens, first after %.0f ms, %.1f tokens/s, %s]\n",
			json_array_size(a->tokens), first * 1e3,
			(double)json_array_size(a->tokens) / seconds, a->finish);
		return;
	}
	ctl_print(json_pack("{s:s,s:O,s:s,s:O*,s:f,s:f}", "text", buffer_string(&a->text),
			    "token_ids", a->tokens, "finish_reason", a->finish, "usage", a->usage,
			    "first_token_seconds", first, "seconds", seconds));
}

static int write_ids(const struct answer *a, struct error *e)
{
	FILE *f = fopen(a->flags->ids, "w");
	json_t *id;
	size_t i;

	if (!f)
		return error_errno(e, -errno, "--ids %s", a->flags->ids);
	json_array_foreach(a->tokens, i, id)
		fprintf(f, "%lld\n", (long long)json_integer_value(id));
	return fclose(f) == 0 ? 0 : error_errno(e, -errno, "--ids %s", a->flags->ids);
}

static int run(void *target, int operand_count, char **operands)
{
	struct answer a = { .flags = target, .tokens = json_array() };
	struct error e = { 0 };
	int rc;

	if (!a.flags->prompt == !a.flags->chat)
		rc = error_set(&e, -EINVAL, "give one of --prompt TEXT and --chat TEXT");
	else
		rc = post(&a, &e);
	if (rc == 0 && a.flags->ids)
		rc = write_ids(&a, &e);
	if (rc < 0)
		ctl_fail("generate", &e);
	else
		print_answer(&a);
	buffer_close(&a.line);
	buffer_close(&a.text);
	buffer_close(&a.raw);
	json_decref(a.tokens);
	json_decref(a.usage);
	return rc < 0 ? 1 : 0;
}

static const char *const examples[] = {
	"petalsctl generate --chat 'What is a petal?'",
	"petalsctl generate --prompt 'Once upon a time' --max-tokens 64 --temperature 0.8 --seed 7",
	NULL,
};

const struct program ctl_generate = {
	.name = "generate", .summary = "generates text through a gateway, streaming it",
	.options = options, .option_count = ARRAY_LENGTH(options),
	.target_bytes = sizeof(struct generate_flags), .examples = examples, .run = run,
};
