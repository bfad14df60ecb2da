/* directory.c - petals-directory: knows who serves which blocks.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "control/directory.h"
#include "control/registrar.h"
#include "dataplane/base/buffer.h"
#include "dataplane/base/file.h"
#include "dataplane/base/log.h"
#include "dataplane/base/memory.h"
#include "dataplane/base/options.h"
#include "tools/program.h"

struct directory_flags {
	char *listen, *store, *metrics, *ca;
	struct security_flags security;
	uint64_t lease_ns, grace_ns;
	int64_t peers;
	bool json;
};

#define AT(field) offsetof(struct directory_flags, field)

static const struct option options[] = {
	{ .kind = OPTION_HEADING, .help = "Where" },
	{ "listen", OPTION_ADDRESS, AT(listen), "127.0.0.1:7700",
	  .help = "address for servers, gateways and tools" },
	{ "metrics", OPTION_ADDRESS, AT(metrics), NULL,
	  .help = "address for /metrics, /live, /health, /ready, /version" },
	{ "store", OPTION_TEXT, AT(store), NULL, .metavar = "FILE",
	  .help = "where leases are kept; petals/directory.db in $XDG_STATE_HOME or "
		  "~/.local/state unless given, :memory: keeps nothing" },
	SECURITY_HEADING, CREDENTIALS_OPTION,
	{ "ca", OPTION_TEXT, AT(ca), NULL, .metavar = "DIR",
	  .help = "folder of the CA (petalsctl ca): enrol programs by join tokens, renew "
		  "certificates, tell everybody what is revoked" },
	INSECURE_OPTION,
	{ .kind = OPTION_HEADING, .help = "Leases" },
	{ "lease", OPTION_DURATION, AT(lease_ns), "3s", 0.2, 600,
	  .help = "length of a lease for members that ask for none" },
	{ "grace", OPTION_DURATION, AT(grace_ns), "10s", 0.2, 3600,
	  .help = "how long stored leases hold after a start" },
	{ .kind = OPTION_HEADING, .help = "Room" },
	{ "peers", OPTION_INTEGER, AT(peers), "512", 1, 4096,
	  .help = "most connections at once" },
	{ "json", OPTION_FLAG, AT(json), NULL, .help = "print one JSON object when listening" },
};

static const char *const examples[] = {
	"petals-directory --listen 127.0.0.1:7700 --store /var/lib/petals/directory.db",
	"petals-directory --store :memory: --metrics 127.0.0.1:7800",
	NULL,
};

/* Makes every folder above path; one that is there is fine. */
static int make_folders(char *path, struct error *e)
{
	char *slash;

	for (slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		int rc;

		*slash = '\0';
		rc = mkdir(path, 0700) < 0 && errno != EEXIST ? -errno : 0;
		if (rc < 0)
			rc = error_errno(e, rc, "cannot make the folder %s for the store (give "
					 "--store FILE)", path);
		*slash = '/';
		if (rc < 0)
			return rc;
	}
	return 0;
}

/* The store's name: as given, else where the user's programs keep their state. */
static int choose_store(const char *given, char **out, struct error *e)
{
	const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
	struct buffer path = { 0 };
	int rc;

	if (given)
		buffer_text(&path, given);
	else if (state && state[0] == '/')
		buffer_printf(&path, "%s/petals/directory.db", state);
	else if (home && home[0] == '/')
		buffer_printf(&path, "%s/.local/state/petals/directory.db", home);
	else
		return error_set(e, -EINVAL, "neither $XDG_STATE_HOME nor $HOME says where to keep "
				 "leases: give --store FILE");
	rc = buffer_failed(&path);
	*out = rc < 0 ? NULL : buffer_take(&path);
	if (rc == 0 && !*out)
		rc = -ENOMEM;
	if (rc < 0) {
		buffer_close(&path);
		return error_errno(e, rc, "naming the store");
	}
	return given ? 0 : make_folders(*out, e);
}

struct serving {
	const struct directory_flags *flags;
	char *store;
	struct running *running;
	struct ca *ca;
	struct registrar *registrar;
	struct directory *directory;
};

/* The directory's own certificate, by its own CA. */
static int renew(void *ctx, const char *request, char **certificate, struct error *e)
{
	struct serving *s = ctx;
	struct principal self;

	identity_self(running_identity(s->running), &self);
	return ca_renew(s->ca, &self, request, strlen(request), certificate, e);
}

static int open_registrar(struct serving *s, struct error *e)
{
	const struct registrar_options o = {
		.node = running_node(s->running), .rpc = running_rpc(s->running),
		.identity = running_identity(s->running), .ca = s->ca,
	};
	struct principal self;

	if (!o.identity)
		return 0;
	identity_self(o.identity, &self);
	if (s->ca && memcmp(self.authority, ca_self(s->ca)->fingerprint, sizeof(self.authority)))
		return error_set(e, -EKEYREJECTED,
				 "--ca %s: this directory's own certificate was not "
				 "issued by it",
				 s->flags->ca);
	return registrar_open(&s->registrar, &o, e);
}

/* What /metrics shows beside what every program counts. */
static void show_counters(struct serving *s, bool shown)
{
	struct endpoints *p = running_endpoints(s->running);
	struct counters *const sets[] = {
		directory_counters(s->directory), directory_watch_counters(s->directory),
		s->registrar ? registrar_counters(s->registrar) : NULL,
	};

	for (size_t i = 0; i < ARRAY_LENGTH(sets); i++) {
		if (shown && sets[i])
			endpoints_add_counters(p, sets[i]);
		else if (sets[i])
			endpoints_remove_counters(p, sets[i]);
	}
}

static int print_listening(const struct serving *s, struct error *e)
{
	const char *address = running_address(s->running)->text;
	const char *metrics = running_metrics_url(s->running);
	json_t *line;
	int rc;

	if (!s->flags->json) {
		printf("listening on %s, leases in %s\n", address, s->store);
		fflush(stdout);
		return 0;
	}
	/* A file's name need not be UTF-8; then it cannot stand in JSON. */
	line = json_pack("{s:s, s:s, s:s}", "address", address, "store", s->store,
			 "metrics", metrics);
	if (!line)
		line = json_pack("{s:s, s:s}", "address", address, "metrics", metrics);
	rc = line ? json_dumpf(line, stdout, JSON_COMPACT) : -1;
	json_decref(line);
	printf("\n");
	fflush(stdout);
	return rc < 0 ? error_errno(e, -ENOMEM, "printing the address") : 0;
}

static int serve(struct serving *s, struct error *e)
{
	const struct directory_flags *f = s->flags;
	struct running_options running = {
		.name = "petals-directory", .role = ROLE_DIRECTORY, .listen = f->listen,
		.metrics = f->metrics, .peers_max = (uint32_t)f->peers,
		.large_bytes = RPC_PAYLOAD_BYTES_MAX,
		.security = &f->security, .ctx = s,
	};
	struct directory_options o = { .ttl_ns = f->lease_ns, .grace_ns = f->grace_ns };
	int rc = choose_store(f->store, &s->store, e);

	if (rc == 0 && f->ca && f->security.insecure)
		rc = error_set(e, -EINVAL,
			       "--ca issues certificates and --insecure does without: give "
			       "one of them");
	if (rc == 0 && f->ca) {
		rc = ca_open(&s->ca, f->ca, clock_real(), e);
		running.renew = renew;
	}
	if (rc == 0)
		rc = running_open(&s->running, &running, e);
	if (rc == 0)
		rc = open_registrar(s, e);
	if (rc < 0)
		return rc;
	o.node = running_node(s->running);
	o.rpc = running_rpc(s->running);
	o.store = s->store;
	rc = directory_open(&s->directory, &o, e);
	if (rc < 0)
		return rc;
	show_counters(s, true);
	rc = print_listening(s, e);
	if (rc == 0)
		running_loop(s->running);
	show_counters(s, false);
	return rc;
}

static int run(void *target, int operand_count, char **operands)
{
	struct serving s = { .flags = target };
	struct error e = { 0 };
	int rc = serve(&s, &e);

	if (rc < 0)
		fprintf(stderr, "petals-directory: %s\n", e.text);
	directory_close(s.directory);
	registrar_close(s.registrar);
	running_close(s.running);
	ca_close(s.ca);
	mem_free(s.store);
	return rc < 0 ? 1 : 0;
}

static const struct program program = {
	.name = "petals-directory",
	.summary = "knows which server serves which blocks",
	.description =
		"Servers join it, renew their leases and leave; gateways and tools watch its view. "
		"It is never on the path of a token: while it is away, running sessions go on and "
		"new ones use the last view.\n\n"
		"Every change is in the store before it is answered. After a restart the stored "
		"leases hold for the grace, in which the members renew them. On SIGTERM or SIGINT "
		"it exits 0.",
	.options = options, .option_count = ARRAY_LENGTH(options),
	.target_bytes = sizeof(struct directory_flags),
	.examples = examples, .run = run,
};

int main(int argc, char **argv)
{
	return options_main(&program, argc, argv);
}
