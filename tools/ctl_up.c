/* ctl_up.c - petalsctl up: a whole swarm of separate processes on this machine, in the
 * foreground.
 *
 * Each child prints one JSON line when it is ready, into a pipe; that is how ports that were
 * left to chance become known.  Children die with this process (PR_SET_PDEATHSIG).
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "compute/model/model.h"
#include "control/throwaway.h"
#include "dataplane/base/buffer.h"
#include "dataplane/base/clock.h"
#include "dataplane/base/memory.h"
#include "tools/ctl.h"

enum { CHILDREN_MAX = 130, ARGS_MAX = 64 };
#define STOP_NS (40 * NS_PER_S)

struct up_flags {
	char *model, *listen, *compute;
	int64_t servers, replicas, base_port, threads, gateway_threads;
	uint64_t ready_ns;
	bool json, insecure;
};

#define AT(field) offsetof(struct up_flags, field)

static const struct option options[] = {
	{ "model", OPTION_TEXT, AT(model), NULL, .metavar = "PATH", .required = true,
	  .help = "Hugging Face directory or .gguf file" },
	{ "servers", OPTION_INTEGER, AT(servers), "3", 1, 64,
	  .help = "how many spans to cut the blocks into" },
	{ "replicas", OPTION_INTEGER, AT(replicas), "1", 1, 64,
	  .help = "how many servers host each span" },
	{ "listen", OPTION_ADDRESS, AT(listen), "127.0.0.1:8080",
	  .help = "the gateway's address" },
	{ "base-port", OPTION_INTEGER, AT(base_port), "7700", 0, 65000, .metavar = "PORT",
	  .help = "the directory's port; servers take the next ones, their metrics those 100 "
		  "above; 0: any free ports" },
	{ "compute", OPTION_TEXT, AT(compute), "auto", .metavar = "MODE",
	  .help = "arithmetic of servers and gateway: auto, f32, bf16, int8" },
	{ "threads", OPTION_INTEGER, AT(threads), "0", 0, 1024,
	  .help = "compute threads of each server, 0: one per core" },
	{ "gateway-threads", OPTION_INTEGER, AT(gateway_threads), "0", 0, 1024,
	  .help = "compute threads of the gateway, 0: one per core" },
	{ "ready-within", OPTION_DURATION, AT(ready_ns), "10m", 1, 86400,
	  .help = "give up when the swarm is not ready by then" },
	{ "insecure", OPTION_FLAG, AT(insecure), NULL,
	  .help = "do without the throw-away CA: plain text between the programs" },
	{ "json", OPTION_FLAG, AT(json), NULL,
	  .help = "print one JSON line when the swarm is ready, then stay quiet" },
};

struct child {
	pid_t pid;                  /* 0: ended and reaped */
	char name[24];
	int out;                    /* its standard output, -1 once closed */
	struct buffer line;
	json_t *ready;              /* what it said when ready */
	uint32_t first, end;        /* servers */
};

struct up {
	const struct up_flags *flags;
	char **server_flags; int server_flag_count;
	char bin[512];              /* folder of the programs */
	struct child children[CHILDREN_MAX];
	uint32_t count;
	struct throwaway *throwaway;        /* NULL: insecure */
	struct error error;
};

static volatile sig_atomic_t stop_asked;

static void on_stop(int number)
{
	stop_asked = 1;
}

static void say(const struct up *u, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

static void say(const struct up *u, const char *format, ...)
{
	va_list args;

	if (u->flags->json)
		return;
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	fflush(stdout);
}

static void become(const struct up *u, const char *program, char **args, int out)
{
	char path[600];

	prctl(PR_SET_PDEATHSIG, SIGTERM);
	/* Ctrl-C reaches the whole terminal group: only `up` is to hear it. */
	setpgid(0, 0);
	dup2(out, STDOUT_FILENO);
	signal(SIGINT, SIG_DFL);
	signal(SIGTERM, SIG_DFL);
	snprintf(path, sizeof(path), "%s/%s", u->bin, program);
	execv(path, args);
	fprintf(stderr, "petalsctl up: %s: %s\n", path, strerror(errno));
	_exit(127);
}

static struct child *start(struct up *u, const char *name, const char *program, char **args)
{
	struct child *c = &u->children[u->count];
	int pipe_ends[2];

	if (pipe2(pipe_ends, O_CLOEXEC) < 0) {
		error_errno(&u->error, -errno, "pipe to %s", program);
		return NULL;
	}
	snprintf(c->name, sizeof(c->name), "%s", name);
	c->line.bound = 64 << 10;
	c->pid = fork();
	if (c->pid == 0)
		become(u, program, args, pipe_ends[1]);
	close(pipe_ends[1]);
	c->out = pipe_ends[0];
	u->count++;
	if (c->pid < 0) {
		c->pid = 0;
		error_errno(&u->error, -errno, "starting %s", program);
		return NULL;
	}
	return c;
}

/* Reaps what ended; the first one that was not asked to is the error. */
static void reap(struct up *u)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		for (uint32_t i = 0; i < u->count; i++) {
			struct child *c = &u->children[i];

			if (c->pid != pid)
				continue;
			c->pid = 0;
			if (stop_asked)
				continue;
			if (WIFSIGNALED(status))
				error_set(&u->error, -ECHILD, "%s was killed by signal %d",
					  c->name, WTERMSIG(status));
			else
				error_set(&u->error, -ECHILD, "%s ended with status %d", c->name,
					  WEXITSTATUS(status));
			if (!u->flags->json)
				fprintf(stderr, "petalsctl up: %s\n", u->error.text);
		}
	}
}

static void read_child(struct child *c)
{
	char chunk[1024], *end;
	ssize_t n = read(c->out, chunk, sizeof(chunk));

	if (n <= 0) {
		close(c->out);
		c->out = -1;
		return;
	}
	if (c->ready)
		return;
	buffer_append(&c->line, chunk, (size_t)n);
	end = c->line.length ? memchr(c->line.data, '\n', c->line.length) : NULL;
	if (end)
		c->ready = json_loadb(c->line.data, (size_t)(end - c->line.data), 0, NULL);
}

/* Serves the children's pipes for at most 200 ms. */
static void watch(struct up *u)
{
	struct pollfd fds[CHILDREN_MAX];
	struct child *of[CHILDREN_MAX];
	nfds_t count = 0;

	for (uint32_t i = 0; i < u->count; i++) {
		if (u->children[i].out < 0)
			continue;
		of[count] = &u->children[i];
		fds[count++] = (struct pollfd){ .fd = u->children[i].out, .events = POLLIN };
	}
	if (poll(fds, count, 200) > 0)
		for (nfds_t i = 0; i < count; i++)
			if (fds[i].revents)
				read_child(of[i]);
	reap(u);
}

static int wait_ready(struct up *u, struct child *c)
{
	uint64_t give_up = clock_ns(clock_real()) + u->flags->ready_ns;

	while (!c->ready) {
		watch(u);
		if (stop_asked)
			return error_set(&u->error, -EINTR, "interrupted");
		if (!c->pid)
			return u->error.code ? u->error.code :
			       error_set(&u->error, -ECHILD, "%s ended early", c->name);
		if (clock_ns(clock_real()) > give_up)
			return error_set(&u->error, -ETIMEDOUT, "%s is not ready after %llu s",
					 c->name,
					 (unsigned long long)(u->flags->ready_ns / NS_PER_S));
	}
	return 0;
}

static const char *ready_text(const struct child *c, const char *key)
{
	const char *text = json_string_value(json_object_get(c->ready, key));

	return text ? text : "";
}

static void port_text(char out[32], int64_t base, int64_t offset)
{
	snprintf(out, 32, "127.0.0.1:%lld", base ? (long long)(base + offset) : 0ll);
}

/* How a child says who it is; returns the arguments added. */
static int add_credentials(const struct up *u, enum principal_role role, char **args)
{
	if (!u->throwaway) {
		args[0] = "--insecure";
		return 1;
	}
	args[0] = "--credentials";
	args[1] = (char *)throwaway_credentials(u->throwaway, role);
	return 2;
}

static struct child *start_directory(struct up *u)
{
	char listen[32], metrics[32];
	char *args[ARGS_MAX] = { "petals-directory", "--listen", listen, "--store", ":memory:",
				 "--metrics", metrics, "--log-level", "warn", "--json" };
	int count = 10;

	count += add_credentials(u, PRINCIPAL_DIRECTORY, args + count);
	if (u->throwaway) {
		args[count++] = "--ca";
		args[count++] = (char *)throwaway_ca(u->throwaway);
	}

	port_text(listen, u->flags->base_port, 0);
	port_text(metrics, u->flags->base_port, 100);
	return start(u, "directory", args[0], args);
}

static struct child *start_server(struct up *u, const char *directory, uint32_t number,
				  uint32_t first, uint32_t end)
{
	char listen[32], metrics[32], span[32], name[24], threads[24];
	char *args[ARGS_MAX] = {
		"petals-server", "--directory", (char *)directory, "--model", u->flags->model,
		"--blocks", span, "--listen", listen, "--metrics", metrics, "--compute",
		u->flags->compute, "--threads", threads, "--log-level", "warn", "--json",
	};
	int count = 18;
	struct child *c;

	port_text(listen, u->flags->base_port, number);
	port_text(metrics, u->flags->base_port, 100 + number);
	snprintf(span, sizeof(span), "%u:%u", first, end);
	snprintf(threads, sizeof(threads), "%lld", (long long)u->flags->threads);
	snprintf(name, sizeof(name), "server %u", number);
	count += add_credentials(u, PRINCIPAL_SERVER, args + count);
	for (int i = 0; i < u->server_flag_count && count < ARGS_MAX - 1; i++)
		args[count++] = u->server_flags[i];
	c = start(u, name, args[0], args);
	if (c) {
		c->first = first;
		c->end = end;
	}
	return c;
}

static struct child *start_gateway(struct up *u, const char *directory)
{
	char threads[24];
	char *args[ARGS_MAX] = { "petals-gateway", "--directory", (char *)directory, "--model",
				 u->flags->model, "--listen", u->flags->listen, "--compute",
				 u->flags->compute, "--threads", threads, "--log-level", "warn",
				 "--json" };

	snprintf(threads, sizeof(threads), "%lld", (long long)u->flags->gateway_threads);
	add_credentials(u, PRINCIPAL_GATEWAY, args + 14);
	return start(u, "gateway", args[0], args);
}

static int start_servers(struct up *u, const char *directory, uint32_t blocks)
{
	uint32_t spans = (uint32_t)u->flags->servers, replicas = (uint32_t)u->flags->replicas;
	uint32_t from = u->count;

	for (uint32_t r = 0; r < replicas; r++)
		for (uint32_t s = 0; s < spans; s++)
			if (!start_server(u, directory, 1 + r * spans + s, s * blocks / spans,
					  (s + 1) * blocks / spans))
				return u->error.code;
	for (uint32_t i = from; i < u->count; i++) {
		struct child *c = &u->children[i];
		int rc = wait_ready(u, c);

		if (rc < 0)
			return rc;
		say(u, "%s serves blocks [%u,%u) on %s\n", c->name, c->first, c->end,
		    ready_text(c, "address"));
	}
	return 0;
}

static void print_ready(const struct up *u)
{
	const struct child *directory = &u->children[0], *gateway = &u->children[u->count - 1];
	json_t *servers = json_array();

	if (!u->flags->json) {
		say(u, "ready: %s (directory %s); Ctrl-C takes everything down\n",
		    ready_text(gateway, "gateway"), ready_text(directory, "address"));
		json_decref(servers);
		return;
	}
	for (uint32_t i = 1; i + 1 < u->count; i++) {
		const struct child *c = &u->children[i];

		json_array_append_new(servers, json_pack("{s:i,s:i,s:i,s:s,s:s}", "pid", c->pid,
							 "first", c->first, "end", c->end,
							 "address", ready_text(c, "address"),
							 "metrics", ready_text(c, "metrics")));
	}
	ctl_print(json_pack("{s:s,s:s,s:i,s:i,s:o}", "gateway", ready_text(gateway, "gateway"),
			    "directory", ready_text(directory, "address"),
			    "gateway_pid", gateway->pid, "directory_pid", directory->pid,
			    "servers", servers));
}

static int count_blocks(struct up *u, uint32_t *blocks)
{
	struct model *m = NULL;
	int rc = model_open(&m, u->flags->model, &u->error);

	if (rc == 0) {
		*blocks = model_config(m)->blocks;
		if (*blocks < u->flags->servers)
			rc = error_set(&u->error, -EINVAL, "--servers %lld: the model has only %u "
				       "blocks", (long long)u->flags->servers, *blocks);
	}
	model_close(m);
	return rc;
}

static int bring_up(struct up *u)
{
	struct child *directory, *gateway;
	uint32_t blocks = 0;
	int rc = count_blocks(u, &blocks);

	if (rc < 0)
		return rc;
	if (u->flags->servers * u->flags->replicas > CHILDREN_MAX - 2)
		return error_set(&u->error, -EINVAL, "--servers x --replicas: at most %d",
				 CHILDREN_MAX - 2);
	if (!u->flags->insecure) {
		rc = throwaway_open(&u->throwaway, clock_real(), &u->error);
		if (rc < 0)
			return rc;
	}
	directory = start_directory(u);
	if (!directory)
		return u->error.code;
	rc = wait_ready(u, directory);
	if (rc < 0)
		return rc;
	say(u, "directory listens on %s\n", ready_text(directory, "address"));
	if (u->throwaway) {
		rc = throwaway_publish(u->throwaway, ready_text(directory, "address"), &u->error);
		if (rc < 0)
			return rc;
		say(u, "an operator's credentials are in %s\n",
		    throwaway_credentials(u->throwaway, PRINCIPAL_OPERATOR));
	}
	rc = start_servers(u, ready_text(directory, "address"), blocks);
	if (rc < 0)
		return rc;
	gateway = start_gateway(u, ready_text(directory, "address"));
	return gateway ? wait_ready(u, gateway) : u->error.code;
}

/* Gateway first, so that running answers can end; then servers; the directory last. */
static void take_down(struct up *u)
{
	uint64_t give_up = clock_ns(clock_real()) + STOP_NS;

	stop_asked = 1;
	for (uint32_t i = u->count; i-- > 0;) {
		struct child *c = &u->children[i];
		bool gateway = i + 1 == u->count;

		reap(u);
		if (c->pid)
			kill(c->pid, SIGTERM);
		while ((gateway || i <= 1) && clock_ns(clock_real()) < give_up) {
			bool running = false;

			for (uint32_t j = i; j < u->count; j++)
				running = running || u->children[j].pid;
			if (!running)
				break;
			watch(u);
		}
	}
	for (uint32_t i = 0; i < u->count; i++) {
		struct child *c = &u->children[i];

		if (c->pid) {
			kill(c->pid, SIGKILL);
			waitpid(c->pid, NULL, 0);
		}
		if (c->out >= 0)
			close(c->out);
		buffer_close(&c->line);
		json_decref(c->ready);
	}
}

static int find_programs(struct up *u)
{
	ssize_t n = readlink("/proc/self/exe", u->bin, sizeof(u->bin) - 1);
	char *slash;

	if (n < 0)
		return error_errno(&u->error, -errno, "/proc/self/exe");
	u->bin[n] = '\0';
	slash = strrchr(u->bin, '/');
	if (slash)
		*slash = '\0';
	return 0;
}

static int run(void *target, int operand_count, char **operands)
{
	struct sigaction action = { .sa_handler = on_stop };
	struct up *u = mem_calloc(1, sizeof(*u));
	int rc;

	if (!u)
		return 1;
	u->flags = target;
	u->server_flags = operands;
	u->server_flag_count = operand_count;
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGHUP, &action, NULL);
	rc = find_programs(u);
	if (rc == 0)
		rc = bring_up(u);
	if (rc == 0) {
		print_ready(u);
		while (!stop_asked)
			watch(u);
	} else if (!stop_asked) {
		ctl_fail("up", &u->error);
	}
	take_down(u);
	throwaway_close(u->throwaway);
	mem_free(u);
	return rc < 0 && rc != -EINTR ? 1 : 0;
}

static const char *const examples[] = {
	"petalsctl up --model SmolLM2.gguf",
	"petalsctl up --model SmolLM2.gguf --servers 3 --replicas 2 -- --kv-bytes 64M",
	"petalsctl up --model llama/ -- --weights int8",
	NULL,
};

const struct program ctl_up = {
	.name = "up",
	.summary = "runs a whole swarm on this machine, in the foreground",
	.description = "Starts a directory, servers that share the model's blocks evenly, and a "
		       "gateway, each a process of its own, and takes everything down on Ctrl-C or "
		       "SIGTERM.  What follows -- is passed on to every server.\n\n"
		       "The programs trust each other by certificates of a throw-away CA, which "
		       "petalsctl "
		       "and further programs on this machine find by the directory's address; it "
		       "is removed "
		       "at the end.",
	.operands = "[-- SERVER FLAGS]",
	.options = options,
	.option_count = ARRAY_LENGTH(options),
	.target_bytes = sizeof(struct up_flags),
	.examples = examples,
	.run = run,
};
