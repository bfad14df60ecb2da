/* sim.c - petals-sim: runs seeded simulated swarms with faults, and says whether any token or
 * log-probability differs from an undisturbed run.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "control/simulation.h"
#include "dataplane/base/clock.h"
#include "dataplane/base/log.h"
#include "dataplane/base/memory.h"
#include "dataplane/base/options.h"
#include "tools/sim_report.h"

enum { GENERATIONS_MAX = 16, SPANS_DRAWN_MAX = 5, REPLICAS_MAX = 12 };
#define ANSWER_NS (60 * NS_PER_S)       /* virtual: what a repaired answer may take */
#define LEFT_NS (2 * NS_PER_S)          /* virtual: until hops have closed their part */

/* Rows of fault_names[] in this order; cut draws between the client's side and the next hop. */
enum fault { FAULT_KILL, FAULT_FREEZE, FAULT_CUT, FAULT_DRAIN, FAULT_SLOW, FAULT_MIXED };

struct sim_flags {
	char *model;
	int64_t seeds, seed, spans, replicas, generations, tokens, prompt_tokens;
	int fault, compute, weights;
	bool json, verbose;
};

#define AT(field) offsetof(struct sim_flags, field)

static const struct option options[] = {
	{ .kind = OPTION_HEADING, .help = "What is repeated" },
	{ "model", OPTION_TEXT, AT(model), NULL, .metavar = "PATH", .required = true,
	  .help = "Hugging Face directory or .gguf file; of a small one, hundreds of swarms run "
		  "in a minute" },
	{ "seeds", OPTION_INTEGER, AT(seeds), "100", 1, 1e9, .metavar = "N",
	  .help = "how many swarms to run, each from its own seed" },
	{ "seed", OPTION_INTEGER, AT(seed), "1", 0, 9e15, .metavar = "S",
	  .help = "the first seed" },
	{ .kind = OPTION_HEADING, .help = "A swarm; 0 draws it from the seed" },
	{ "spans", OPTION_INTEGER, AT(spans), "0", 0, 32,
	  .help = "servers that one answer passes through" },
	{ "replicas", OPTION_INTEGER, AT(replicas), "3", 2, REPLICAS_MAX,
	  .help = "servers of each span; all but one of them may be hit" },
	{ "generations", OPTION_INTEGER, AT(generations), "0", 0, GENERATIONS_MAX,
	  .help = "answers at once" },
	{ "prompt-tokens", OPTION_INTEGER, AT(prompt_tokens), "0", 0, 4096,
	  .help = "length of each prompt" },
	{ "tokens", OPTION_INTEGER, AT(tokens), "20", 2, 4096, .help = "length of each answer" },
	{ "compute", OPTION_CHOICE, AT(compute), "f32", .choices = "auto|f32|bf16|int8",
	  .help = "arithmetic of the blocks" },
	{ "weights", OPTION_CHOICE, AT(weights), "keep", .choices = "keep|bf16|int8|int4",
	  .help = "what matrices are loaded as" },
	{ .kind = OPTION_HEADING, .help = "What happens to it" },
	{ "fault", OPTION_CHOICE, AT(fault), "mixed", .choices = "kill|freeze|cut|drain|slow|mixed",
	  .help = "what hits hops in the middle of an answer; mixed also loses the directory "
		  "and corrupts messages" },
	{ "json", OPTION_FLAG, AT(json), NULL, .help = "print the summary as one JSON object" },
	{ "verbose", OPTION_FLAG, AT(verbose), NULL,
	  .help = "show the log lines of the simulated programs" },
};

/* What will happen to one answer. */
struct plan {
	struct swarm *swarm;
	enum fault fault;
	bool client_side;               /* of a cut */
	uint32_t hop, hops;             /* hops [hop, hop + hops) are hit */
	uint32_t at;                    /* before this token is taken in */
	bool directory;                 /* the directory dies, too */
	bool again;                     /* the replacement is hit three tokens later */

	bool hit;                       /* something was */
	uint64_t last_ns, gap_ns;       /* of tokens: the last one, the longest gap since the hit */
};

struct swarm {
	const struct sim_flags *flags;
	struct simulation *simulation;
	struct simulation_options options;
	uint32_t count, prompt_count;
	uint32_t *prompts;              /* count x prompt_count */
	struct answer answers[GENERATIONS_MAX], quiet[GENERATIONS_MAX];
	struct plan plans[GENERATIONS_MAX];
	uint32_t spare[SIMULATION_SERVERS_MAX];   /* per span: servers that may still be hit */
	bool touched[SIMULATION_SERVERS_MAX];
	uint32_t faults;
	char *wrong; size_t wrong_bytes;
};

/* A span keeps at least one server that nothing happened to. */
static bool may_hit(struct swarm *w, int server)
{
	uint32_t span;

	if (server < 0)
		return false;
	span = (uint32_t)server % w->options.spans;
	if (w->touched[server])
		return true;
	if (w->spare[span] == 0)
		return false;
	w->spare[span]--;
	w->touched[server] = true;
	return true;
}

static void cut(struct swarm *w, const struct plan *p, int server, int next)
{
	if (p->client_side || next < 0)
		simulation_cut_client(w->simulation, (uint32_t)server, true);
	else if (may_hit(w, next))
		simulation_cut_servers(w->simulation, (uint32_t)server, (uint32_t)next, true);
}

static void hit_hop(struct swarm *w, struct plan *p, uint64_t session, uint32_t hop)
{
	struct simulation *s = w->simulation;
	int server = simulation_hop_server(s, session, hop);

	if (!may_hit(w, server))
		return;
	w->faults++;
	p->hit = true;
	switch (p->fault) {
	case FAULT_KILL: simulation_kill(s, (uint32_t)server); break;
	case FAULT_FREEZE: simulation_freeze(s, (uint32_t)server, true); break;
	case FAULT_CUT: cut(w, p, server, simulation_hop_server(s, session, hop + 1)); break;
	case FAULT_DRAIN: simulation_drain(s, (uint32_t)server, 30 * NS_PER_S); break;
	case FAULT_SLOW: simulation_slow(s, (uint32_t)server, 5 * NS_PER_MS); break;
	case FAULT_MIXED: break;        /* a plan has one of the others */
	}
}

static void on_token(void *ctx, struct answer *a)
{
	struct plan *p = ctx;
	struct swarm *w = p->swarm;
	uint64_t now_ns = clock_ns(sim_clock(simulation_network(w->simulation)));

	if (p->hit && p->last_ns)
		p->gap_ns = MAX(p->gap_ns, now_ns - p->last_ns);
	p->last_ns = now_ns;
	if (a->count == p->at) {
		for (uint32_t h = p->hop; h < p->hop + p->hops; h++)
			hit_hop(w, p, a->session, h);
		if (p->directory)
			simulation_kill_directory(w->simulation);
	}
	if (p->again && a->count == p->at + 3)
		hit_hop(w, p, a->session, p->hop);
}

static void draw_plan(struct swarm *w, struct plan *p, struct random *r)
{
	const struct sim_flags *f = w->flags;
	bool mixed = f->fault == FAULT_MIXED;

	*p = (struct plan){
		.swarm = w,
		.fault = mixed ? (enum fault)random_below(r, FAULT_MIXED) : (enum fault)f->fault,
		.client_side = random_chance(r, 0.5),
		.hop = (uint32_t)random_below(r, w->options.spans),
		.hops = 1 + (uint32_t)random_below(r, 2),
		.at = (uint32_t)random_below(r, (uint64_t)f->tokens),
		.directory = mixed && random_chance(r, 0.2),
		.again = random_chance(r, 0.3),
	};
}

static uint32_t drawn(int64_t given, struct random *r, uint32_t least, uint32_t most)
{
	uint32_t draw = least + (uint32_t)random_below(r, most - least + 1);

	return given ? (uint32_t)given : draw;
}

static int draw_swarm(struct swarm *w, uint64_t seed, const struct model_config *config,
		      struct error *e)
{
	const struct sim_flags *f = w->flags;
	struct simulation_options *o = &w->options;
	struct random r;

	random_seed(&r, seed);
	simulation_options_default(o);
	o->seed = seed;
	o->model = f->model;
	o->compute = (enum compute_mode)f->compute;
	o->head = (enum weight_format)f->weights;
	for (size_t i = 0; i < ARRAY_LENGTH(o->weights); i++)
		o->weights[i] = o->head;
	o->spans = drawn(f->spans, &r, 1, MIN(SPANS_DRAWN_MAX, config->blocks));
	o->replicas = (uint32_t)f->replicas;
	o->rows_max = 1 + (uint32_t)random_below(&r, 20);
	o->batch_ns = (20 + random_below(&r, 2000)) * NS_PER_US;
	o->network.delay_most_ns = (30 + random_below(&r, 5000)) * NS_PER_US;
	o->network.bytes_per_ns = random_chance(&r, 0.5) ? 0.01 : 0;
	if (f->fault == FAULT_MIXED && random_chance(&r, 0.2))
		o->network.corrupt_chance = 0.0005;
	w->count = drawn(f->generations, &r, 1, 3);
	w->prompt_count = drawn(f->prompt_tokens, &r, 1, 40);
	if (o->spans > config->blocks || o->spans * o->replicas > SIMULATION_SERVERS_MAX)
		return error_set(e, -EINVAL, "--spans %u x --replicas %u: the model has %u blocks, "
				 "and a swarm at most %d servers", o->spans, o->replicas,
				 config->blocks, SIMULATION_SERVERS_MAX);
	if (w->prompt_count + f->tokens > config->positions)
		return error_set(e, -EINVAL, "--prompt-tokens and --tokens: the model knows only "
				 "%u positions", config->positions);
	w->prompts = mem_calloc(w->count * w->prompt_count, sizeof(*w->prompts));
	if (!w->prompts)
		return error_errno(e, -ENOMEM, "prompts");
	for (uint32_t i = 0; i < w->count * w->prompt_count; i++)
		w->prompts[i] = (uint32_t)random_below(&r, config->vocabulary);
	for (uint32_t i = 0; i < o->spans; i++)
		w->spare[i] = o->replicas - 1;
	for (uint32_t i = 0; i < w->count; i++)
		draw_plan(w, &w->plans[i], &r);
	return 0;
}

/* Runs all answers of the swarm on s; false: something to say is in w->wrong. */
static bool run_answers(struct swarm *w, struct simulation *s, struct answer *answers)
{
	struct answer *all[GENERATIONS_MAX];
	struct error e;

	for (uint32_t i = 0; i < w->count; i++) {
		const uint32_t *prompt = w->prompts + (size_t)i * w->prompt_count;

		all[i] = &answers[i];
		if (answer_begin(&answers[i], s, prompt, w->prompt_count,
				 (uint32_t)w->flags->tokens, ANSWER_NS, &e) < 0) {
			snprintf(w->wrong, w->wrong_bytes, "answer %u: %s", i, e.text);
			return false;
		}
	}
	if (!answers_wait(s, all, w->count, ANSWER_NS)) {
		snprintf(w->wrong, w->wrong_bytes, "no answer in 60 virtual seconds");
		return false;
	}
	for (uint32_t i = 0; i < w->count; i++) {
		if (answers[i].finish != FINISH_LENGTH) {
			snprintf(w->wrong, w->wrong_bytes, "answer %u ended: %s", i,
				 answers[i].reason);
			return false;
		}
	}
	return true;
}

/* What the swarm must say: one server, no faults, a perfect network. */
static bool run_quiet(struct swarm *w, struct error *e)
{
	struct simulation_options o = w->options;
	struct simulation *s = NULL;
	bool fine;

	o.spans = o.replicas = 1;
	o.network.corrupt_chance = 0;
	if (simulation_open(&s, &o, e) < 0) {
		snprintf(w->wrong, w->wrong_bytes, "%s", e->text);
		return false;
	}
	fine = simulation_settle(s) && run_answers(w, s, w->quiet);
	for (uint32_t i = 0; i < w->count; i++) {
		generation_close(w->quiet[i].generation);
		w->quiet[i].generation = NULL;
	}
	simulation_close(s);
	return fine;
}

static bool same(struct swarm *w)
{
	for (uint32_t i = 0; i < w->count; i++) {
		const struct answer *a = &w->answers[i], *q = &w->quiet[i];

		for (uint32_t t = 0; t < q->count; t++) {
			if (t < a->count && a->tokens[t] == q->tokens[t] &&
			    memcmp(&a->logprobs[t], &q->logprobs[t], sizeof(float)) == 0)
				continue;
			snprintf(w->wrong, w->wrong_bytes, "answer %u, token %u is %d (%.9g), "
				 "undisturbed %u (%.9g)", i, t,
				 t < a->count ? (int)a->tokens[t] : -1,
				 t < a->count ? (double)a->logprobs[t] : 0, q->tokens[t],
				 (double)q->logprobs[t]);
			return false;
		}
	}
	return true;
}

/* Once the answers are gone, a server that nothing happened to holds nothing for them. */
static bool nothing_left(struct swarm *w)
{
	for (uint32_t i = 0; i < w->count; i++) {
		generation_close(w->answers[i].generation);
		w->answers[i].generation = NULL;
	}
	simulation_run(w->simulation, LEFT_NS);
	for (uint32_t i = 0; i < w->options.spans * w->options.replicas; i++) {
		uint32_t sessions = simulation_server_sessions(w->simulation, i);
		uint32_t pages = simulation_server_pages_held(w->simulation, i);

		if (w->touched[i] || (sessions == 0 && pages == 0))
			continue;
		snprintf(w->wrong, w->wrong_bytes, "server %u still holds %u sessions and %u KV "
			 "pages", i, sessions, pages);
		return false;
	}
	return true;
}

static bool run_disturbed(struct swarm *w, struct error *e)
{
	bool fine;

	if (simulation_open(&w->simulation, &w->options, e) < 0) {
		snprintf(w->wrong, w->wrong_bytes, "%s", e->text);
		return false;
	}
	if (!simulation_settle(w->simulation)) {
		snprintf(w->wrong, w->wrong_bytes, "not every server serves after 10 virtual "
			 "seconds");
		return false;
	}
	for (uint32_t i = 0; i < w->count; i++) {
		w->answers[i].on_token = on_token;
		w->answers[i].ctx = &w->plans[i];
	}
	fine = run_answers(w, w->simulation, w->answers) && same(w);
	return nothing_left(w) && fine;
}

/* One swarm from one seed; its part of the report. */
static int run_seed(const struct sim_flags *f, uint64_t seed, const struct model_config *config,
		    struct sim_report *report, struct error *e)
{
	struct swarm *w = mem_calloc(1, sizeof(*w));
	char wrong[512] = "";
	bool fine = false;
	int rc;

	if (!w)
		return error_errno(e, -ENOMEM, "swarm");
	w->flags = f;
	w->wrong = wrong;
	w->wrong_bytes = sizeof(wrong);
	rc = draw_swarm(w, seed, config, e);
	if (rc == 0)
		fine = run_quiet(w, e) && run_disturbed(w, e);
	report->swarms++;
	report->generations += w->count;
	report->faults += w->faults;
	for (uint32_t i = 0; i < w->count; i++) {
		report->repairs += w->answers[i].repairs + w->answers[i].moves;
		if (rc == 0 && w->plans[i].gap_ns)
			rc = sim_report_pause(report, seed, w->plans[i].gap_ns, e);
	}
	if (rc == 0 && !fine)
		sim_report_failure(report, seed, wrong);
	for (uint32_t i = 0; i < w->count; i++) {
		answer_close(&w->answers[i]);
		answer_close(&w->quiet[i]);
	}
	simulation_close(w->simulation);
	mem_free(w->prompts);
	mem_free(w);
	return rc;
}

/* "petals-sim --model ... --seed S --seeds 1": the same options, one seed. */
static void repeat_command(const struct sim_flags *f, char *out, size_t bytes)
{
	static const char *const faults[] = { "kill", "freeze", "cut", "drain", "slow", "mixed" };

	snprintf(out, bytes, "petals-sim --model %s --spans %lld --replicas %lld "
		 "--generations %lld --prompt-tokens %lld --tokens %lld --compute %s --weights %s "
		 "--fault %s --verbose --seeds 1 --seed",
		 f->model, (long long)f->spans, (long long)f->replicas,
		 (long long)f->generations, (long long)f->prompt_tokens, (long long)f->tokens,
		 compute_mode_name((enum compute_mode)f->compute),
		 weight_format_name((enum weight_format)f->weights), faults[f->fault]);
}

static int run(void *target, int operand_count, char **operands)
{
	const struct sim_flags *f = target;
	struct sim_report report = { .total = (uint64_t)f->seeds, .json = f->json };
	struct model *model = NULL;
	struct error e = { 0 };
	int rc;

	if (!f->verbose)
		log_configure(LOG_OFF, false);
	repeat_command(f, report.command, sizeof(report.command));
	rc = model_open(&model, f->model, &e);
	sim_report_begin(&report);
	for (int64_t i = 0; rc == 0 && i < f->seeds; i++) {
		rc = run_seed(f, (uint64_t)(f->seed + i), model_config(model), &report, &e);
		sim_report_progress(&report);
	}
	model_close(model);
	if (rc < 0)
		fprintf(stderr, "petals-sim: %s\n", e.text);
	else
		sim_report_print(&report);
	sim_report_close(&report);
	return rc < 0 || report.failed ? 1 : 0;
}

static const char *const examples[] = {
	"petals-sim --model tests/data/llama-gqa-tied --seeds 1000",
	"petals-sim --model tests/data/llama-gqa-tied --fault kill --spans 3 --replicas 2 --json",
	NULL,
};

static const struct program program = {
	.name = "petals-sim",
	.summary = "runs seeded simulated swarms with faults",
	.description =
		"Each seed draws a swarm (how the model is cut, how slow its network is, which "
		"answers run at once) and what hits its servers in the middle of them.  The whole "
		"swarm runs in this process and in virtual time: the product's own directory, "
		"servers and client over a simulated network.  Every token and log-probability "
		"must equal, bit for bit, those of one server that nothing happens to.\n\n"
		"Exit status 1 when any swarm failed; each failure is printed with the command "
		"that repeats it.",
	.options = options, .option_count = ARRAY_LENGTH(options),
	.target_bytes = sizeof(struct sim_flags), .examples = examples, .run = run,
};

int main(int argc, char **argv)
{
	return options_main(&program, argc, argv);
}
