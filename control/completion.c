/* completion.c - owns a request's choices and what of them the client has seen.
 *
 * Leaves shapes to completion_response.c, and which completion runs when to gateway.c.
 */
#include "control/completion.h"

#include <errno.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "control/completion_response.h"
#include "dataplane/base/clock.h"
#include "dataplane/base/log.h"
#include "dataplane/base/memory.h"
#include "dataplane/base/random.h"

enum { CLIENT_ID_BYTES = 64 };

enum completion_state {
	COMPLETION_WAITING, COMPLETION_RUNNING, COMPLETION_STREAMING, COMPLETION_ENDED
};

struct completion_choice {
	struct completion *completion;
	uint32_t index;
	const struct completion_prompt *prompt;
	struct generation *generation;
	bool finished;
	bool begun;                     /* a chunk of it went out */
	bool echoed;                    /* the prompt's text is out, or not wanted */
	enum finish finish;
	char *stop_text;
	int64_t stop_id;
	struct buffer text;             /* all of it, or what no chunk carries yet */
	struct token_list ids;          /* likewise */
	struct token_scores scores;     /* likewise */
};

struct completion {
	struct completion_shared shared;
	struct completion_request request;
	struct http_exchange *exchange; /* NULL: answered */
	enum completion_state state;
	struct completion_choice *choices;
	uint32_t count, started, running, finished;
	struct completion_head head;
	char client_id[CLIENT_ID_BYTES];
	uint64_t deadline_ns;
	struct completion_times times;
	struct completion_usage usage;
	int status;                     /* as the log says it: 200 or a fault's */
	atomic_bool gone;
	struct buffer out;
};

/* From the HTTP thread; not after the answer. */
static void on_gone(void *ctx)
{
	struct completion *c = ctx;

	atomic_store(&c->gone, true);
	c->shared.hung_up(c->shared.ctx);
}

static uint64_t now(const struct completion *c)
{
	return clock_ns(c->shared.clock);
}

static void copy_client_id(struct completion *c, const char *id)
{
	size_t used = 0;

	for (; id && *id && used + 1 < sizeof(c->client_id); id++)
		c->client_id[used++] = *id > 0x20 && *id < 0x7f ? *id : '?';
}

static int open_choices(struct completion *c)
{
	const struct completion_request *r = &c->request;

	c->count = r->prompt_count * r->n;
	c->choices = mem_calloc(c->count, sizeof(*c->choices));
	if (!c->choices)
		return -ENOMEM;
	for (uint32_t i = 0; i < c->count; i++) {
		struct completion_choice *k = &c->choices[i];

		k->completion = c;
		k->index = i;
		k->prompt = &r->prompts[i / r->n];
		k->stop_id = -1;
		k->echoed = !r->echo;
		token_scores_open(&k->scores, r->kind, c->shared.model->tokenizer,
				  !r->keep_special, r->echo);
	}
	return 0;
}

/* What names the request everywhere: its first session's id, a random one until then. */
static void take_id(struct completion *c, uint64_t session)
{
	char id[20];

	c->head.id = session;
	snprintf(id, sizeof(id), "%016" PRIx64, c->head.id);
	http_add_header(c->exchange, "X-Request-Id", id);
}

int completion_open(struct completion **out, const struct completion_shared *s,
		    struct completion_request *r, struct http_exchange *x,
		    const char *client_id, uint64_t deadline_ns)
{
	struct completion *c = mem_calloc(1, sizeof(*c));
	int rc;

	*out = NULL;
	if (!c)
		return -ENOMEM;
	c->shared = *s;
	c->request = *r;
	c->deadline_ns = deadline_ns;
	c->times.accepted_ns = now(c);
	copy_client_id(c, client_id);
	rc = open_choices(c);
	if (rc < 0) {
		mem_free(c);
		return rc;
	}
	*r = (struct completion_request){ 0 };
	c->exchange = x;
	c->head = (struct completion_head){
		.kind = c->request.kind, .model = s->model->name, .fingerprint = s->fingerprint,
		.created = clock_unix_ms(s->clock) / 1000,
	};
	for (uint32_t i = 0; i < c->request.prompt_count; i++)
		c->usage.prompt_tokens += c->request.prompts[i].ids.count;
	if (!c->request.seeded)
		c->request.sampler.seed = random_entropy();
	take_id(c, random_entropy());
	http_on_gone(x, on_gone, c);
	*out = c;
	return 0;
}

static void close_choice(struct completion_choice *k)
{
	generation_close(k->generation);
	mem_free(k->stop_text);
	buffer_close(&k->text);
	token_list_close(&k->ids);
	token_scores_close(&k->scores);
}

void completion_close(struct completion *c)
{
	if (!c)
		return;
	assert(!c->exchange);
	for (uint32_t i = 0; i < c->count; i++)
		close_choice(&c->choices[i]);
	mem_free(c->choices);
	completion_request_close(&c->request);
	buffer_close(&c->out);
	mem_free(c);
}

uint32_t completion_choices(const struct completion *c)
{
	return c->count;
}

uint32_t completion_waiting(const struct completion *c)
{
	return c->state == COMPLETION_ENDED ? 0 : c->count - c->started;
}

uint32_t completion_running(const struct completion *c)
{
	return c->running;
}

uint64_t completion_deadline(const struct completion *c)
{
	return c->deadline_ns;
}

bool completion_ended(const struct completion *c)
{
	return c->state == COMPLETION_ENDED;
}

int completion_status(const struct completion *c)
{
	return c->status;
}

struct completion_times completion_times(const struct completion *c)
{
	return c->times;
}

static void end(struct completion *c)
{
	c->state = COMPLETION_ENDED;
	c->exchange = NULL;
	c->times.ended_ns = now(c);
	log_info("gateway", "%s%s%016" PRIx64 " %s: %d, %" PRIu64 " + %" PRIu64 " tokens, %.3f s%s",
		 c->client_id, c->client_id[0] ? " " : "", c->head.id,
		 c->head.kind == COMPLETION_CHAT ? "chat" : "completion", c->status,
		 c->usage.prompt_tokens, c->usage.completion_tokens,
		 (double)(c->times.ended_ns - c->times.accepted_ns) / NS_PER_S,
		 atomic_load(&c->gone) ? ", the client hung up" : "");
	c->shared.changed(c->shared.ctx);
}

/* Of a stream that has begun. */
static void send_event(struct completion *c)
{
	int rc = buffer_failed(&c->out);

	if (rc == 0)
		rc = http_stream_write(c->exchange, c->out.data, c->out.length);
	if (rc == 0)
		return;
	/* Gone, or too slow: there is nobody to tell. */
	log_info("gateway", "%016" PRIx64 ": the stream is given up: %s", c->head.id,
		 rc == -EMSGSIZE ? "the client reads too slowly" : error_describe(rc));
	atomic_store(&c->gone, true);
	c->shared.changed(c->shared.ctx);
}

void completion_fail(struct completion *c, int code, const char *reason)
{
	struct api_fault fault = { 0 };

	if (c->state == COMPLETION_ENDED)
		return;
	api_fault_of_failure(&fault, code, reason);
	c->status = fault.status;
	if (c->state == COMPLETION_STREAMING) {
		buffer_clear(&c->out);
		buffer_text(&c->out, "data: ");
		api_fault_print(&fault, &c->out);
		buffer_text(&c->out, "\n\ndata: [DONE]\n\n");
		http_stream_write(c->exchange, c->out.data, c->out.length);
		http_stream_end(c->exchange);
	} else {
		api_fault_reply(&fault, c->exchange);
	}
	end(c);
}

/* The answer begins: the session's id is the request's. */
static void begin_stream(struct completion *c)
{
	c->state = COMPLETION_STREAMING;
	http_add_header(c->exchange, "Cache-Control", "no-cache");
	http_stream_begin(c->exchange, 200, "text/event-stream; charset=utf-8");
}

static const char *finish_name(enum finish finish)
{
	return finish == FINISH_LENGTH ? "length" : "stop";
}

static struct completion_part part_of(const struct completion_choice *k)
{
	const struct completion_request *r = &k->completion->request;

	return (struct completion_part){
		.index = k->index, .text = buffer_string(&k->text), .bytes = k->text.length,
		.begins = !k->begun, .scores = r->logprobs ? &k->scores : NULL,
		.has_ids = r->return_token_ids, .prompt_ids = &k->prompt->ids, .ids = &k->ids,
		.finish = k->finished ? finish_name(k->finish) : NULL,
		.stop_text = k->stop_text, .stop_id = k->finished ? k->stop_id : -1,
	};
}

static void check_memory(struct completion *c, struct completion_choice *k)
{
	if (buffer_failed(&k->text) < 0 || token_scores_failed(&k->scores) < 0)
		completion_fail(c, -ENOMEM, "out of memory for the answer");
}

/* Sends what no chunk carries yet. */
static void send_chunk(struct completion_choice *k)
{
	struct completion *c = k->completion;
	struct completion_part part = part_of(k);
	const struct completion_request *r = &c->request;

	if (c->state == COMPLETION_RUNNING)
		begin_stream(c);
	buffer_clear(&c->out);
	buffer_text(&c->out, "data: ");
	completion_print_head(&c->head, true, &c->out);
	completion_print_delta(&c->head, &part, &c->out);
	completion_print_tail(r->continuous_usage ? &c->usage : NULL, r->include_usage, &c->out);
	buffer_text(&c->out, "\n\n");
	k->begun = true;
	buffer_clear(&k->text);
	token_scores_clear(&k->scores);
	k->ids.count = 0;
	send_event(c);
}

/* A chunk that says nothing is worth sending only to those who count tokens. */
static bool is_worth_a_chunk(const struct completion_choice *k)
{
	const struct completion_request *r = &k->completion->request;

	return k->text.length || r->logprobs || r->return_token_ids || r->continuous_usage;
}

static void echo(struct completion_choice *k)
{
	const struct completion_prompt *p = k->prompt;

	if (k->echoed)
		return;
	k->echoed = true;
	if (p->text)
		buffer_append(&k->text, p->text, p->bytes);
	else
		tokenizer_decode(k->completion->shared.model->tokenizer, p->ids.ids, p->ids.count,
				 false, &k->text);
}

static void on_prompt(void *ctx, const struct choice *choices, uint32_t count)
{
	struct completion_choice *k = ctx;
	struct completion *c = k->completion;

	if (c->state == COMPLETION_ENDED)
		return;
	echo(k);
	for (uint32_t i = 0; i < count && c->request.logprobs; i++)
		token_scores_add(&k->scores, &choices[i], i > 0);
	check_memory(c, k);
	if (c->state != COMPLETION_ENDED && c->request.stream)
		send_chunk(k);
}

static bool is_stop_id(const struct completion_request *r, uint32_t token)
{
	for (uint32_t i = 0; i < r->sampler.stop_id_count; i++)
		if (r->stop_ids[i] == token)
			return true;
	return false;
}

static void on_token(void *ctx, const struct generation_token *t)
{
	struct completion_choice *k = ctx;
	struct completion *c = k->completion;

	if (c->state == COMPLETION_ENDED)
		return;
	c->usage.completion_tokens++;
	echo(k);
	buffer_append(&k->text, t->text, t->text_bytes);
	if (c->request.logprobs)
		token_scores_add(&k->scores, t->choice, true);
	if (c->request.return_token_ids && token_list_push(&k->ids, t->choice->token) < 0)
		completion_fail(c, -ENOMEM, "out of memory for the answer");
	if (t->hidden && is_stop_id(&c->request, t->choice->token))
		k->stop_id = t->choice->token;
	check_memory(c, k);
	/* The last token's chunk waits for finished(), which follows at once. */
	if (c->state != COMPLETION_ENDED && c->request.stream && !t->hidden && is_worth_a_chunk(k))
		send_chunk(k);
}

static void reply_whole(struct completion *c)
{
	buffer_clear(&c->out);
	completion_print_head(&c->head, false, &c->out);
	for (uint32_t i = 0; i < c->count; i++) {
		struct completion_part part = part_of(&c->choices[i]);

		if (i)
			buffer_char(&c->out, ',');
		completion_print_choice(&c->head, &part, &c->out);
	}
	completion_print_tail(&c->usage, true, &c->out);
	if (buffer_failed(&c->out)) {
		completion_fail(c, -ENOMEM, "out of memory for the answer");
		return;
	}
	http_reply(c->exchange, 200, "application/json", c->out.data, c->out.length);
	c->status = 200;
	end(c);
}

static void end_stream(struct completion *c)
{
	buffer_clear(&c->out);
	if (c->request.include_usage) {
		buffer_text(&c->out, "data: ");
		completion_print_head(&c->head, true, &c->out);
		completion_print_tail(&c->usage, true, &c->out);
		buffer_text(&c->out, "\n\n");
	}
	buffer_text(&c->out, "data: [DONE]\n\n");
	send_event(c);
	http_stream_end(c->exchange);
	c->status = 200;
	end(c);
}

static void on_finished(void *ctx, enum finish finish, const char *text, size_t text_bytes,
			const char *stop, int code, const char *reason)
{
	struct completion_choice *k = ctx;
	struct completion *c = k->completion;

	k->finished = true;
	k->finish = finish;
	c->finished++;
	c->shared.changed(c->shared.ctx);
	if (c->state == COMPLETION_ENDED)
		return;
	if (finish == FINISH_ERROR) {
		completion_fail(c, code, reason);
		return;
	}
	echo(k);
	buffer_append(&k->text, text, text_bytes);
	if (stop) {
		k->stop_text = mem_strdup(stop);
		if (!k->stop_text)
			completion_fail(c, -ENOMEM, "out of memory for the answer");
	}
	check_memory(c, k);
	if (c->state != COMPLETION_ENDED && c->request.stream)
		send_chunk(k);
	if (c->state == COMPLETION_ENDED || c->finished < c->count)
		return;
	if (c->request.stream)
		end_stream(c);
	else
		reply_whole(c);
}

static struct generation_options options_of(struct completion_choice *k)
{
	static const struct generation_events events = { on_prompt, on_token, on_finished };
	const struct completion_request *r = &k->completion->request;
	struct generation_options o = {
		.prompt = k->prompt->ids.ids, .prompt_count = (uint32_t)k->prompt->ids.count,
		.max_tokens = r->max_tokens, .sampler = r->sampler,
		.stops = (const char *const *)r->stops, .stop_count = r->stop_count,
		.ignore_eos = r->ignore_eos, .skip_special = !r->keep_special,
		.score_prompt = r->echo && (r->logprobs || r->max_tokens == 0),
		.deadline_ns = k->completion->deadline_ns, .events = events, .ctx = k,
	};

	o.sampler.logprobs = r->logprobs;
	/* Choices of one prompt differ; the first is what n = 1 would give. */
	o.sampler.seed += k->index % r->n;
	return o;
}

int completion_start(struct completion *c)
{
	struct completion_choice *k = &c->choices[c->started];
	struct generation_options o = options_of(k);
	struct error e = { 0 };
	int rc;

	assert(completion_waiting(c));
	rc = generation_open(&k->generation, c->shared.generations, &o, &e);
	if (rc == -EBUSY)
		return rc;
	if (rc < 0) {
		completion_fail(c, rc, e.text);
		return rc;
	}
	if (c->state == COMPLETION_WAITING) {
		c->state = COMPLETION_RUNNING;
		c->times.started_ns = now(c);
		take_id(c, generation_session(k->generation));
	}
	c->started++;
	c->running++;
	return 0;
}

/* A client that is not there any more is owed an end, not an answer. */
static void end_unheard(struct completion *c)
{
	c->status = 499;
	if (c->state == COMPLETION_STREAMING)
		http_stream_end(c->exchange);
	else
		http_reply(c->exchange, 499, "text/plain", "", 0);
	end(c);
}

void completion_reap(struct completion *c)
{
	if (c->state != COMPLETION_ENDED && atomic_load(&c->gone))
		end_unheard(c);
	for (uint32_t i = 0; i < c->started; i++) {
		struct completion_choice *k = &c->choices[i];

		if (!k->generation || (!k->finished && c->state != COMPLETION_ENDED))
			continue;
		generation_close(k->generation);
		k->generation = NULL;
		c->running--;
	}
}
