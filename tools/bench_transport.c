/* bench_transport.c - petals-bench transport: what the message layer carries between two
 * processes, beside what the machine could.
 *
 * Each end is a process pinned to a core of its own.  The simulated engine has both ends in
 * this process and counts in virtual time.
 */
#include <errno.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "control/certificate.h"
#include "dataplane/base/log.h"
#include "dataplane/base/memory.h"
#include "dataplane/identity.h"
#include "dataplane/transport_sim.h"
#include "tools/bench.h"
#include "tools/bench_ceiling.h"
#include "tools/bench_load.h"
#include "tools/network.h"
#include "tools/stats.h"

enum pattern { PATTERN_STREAM, PATTERN_PING, PATTERN_INCAST, PATTERN_IDLE };
enum { ENGINE_URING, ENGINE_DPDK, ENGINE_SIM };
enum { SEALED_YES, SEALED_NO };
enum { INCAST_SENDERS = 3 };

struct transport_flags {
	int engine, sealed, pattern;
	uint64_t bytes, run_ns;
	int64_t connections, peers;
	char *impair;
	bool busy_poll, no_ceilings, json;
};

#define AT(field) offsetof(struct transport_flags, field)

static const char *const engines[] = { "uring", "dpdk", "sim" };
static const char *const patterns[] = { "stream", "ping", "incast", "idle" };

static const struct option options[] = {
	{ "engine", OPTION_CHOICE, AT(engine), "uring", .choices = "uring|dpdk|sim",
	  .help = "what moves the bytes: TCP, datagrams over DPDK's memif, or a simulated "
		  "network in virtual time" },
	{ "impair", OPTION_TEXT, AT(impair), NULL, .metavar = "WORDS",
	  .help = "dpdk: what a bad network would do, \"drop=1%,delay=1ms\"" },
	{ "pattern", OPTION_CHOICE, AT(pattern), "stream", .choices = "stream|ping|incast|idle",
	  .help = "one sender; questions and answers of one byte; three senders at once; many "
		  "peers that say nothing" },
	{ "peers", OPTION_INTEGER, AT(peers), "1000", 1, 4096, .help = "of pattern idle" },
	{ "bytes", OPTION_BYTES, AT(bytes), "1M", 1, 8 << 20, .help = "payload of a message" },
	{ "sealed", OPTION_CHOICE, AT(sealed), "yes", .choices = "yes|no",
	  .help = "TLS and sealed records, or in the clear" },
	{ "seconds", OPTION_DURATION, AT(run_ns), "2s", 0.1, 600, .metavar = "TIME",
	  .help = "how long to measure" },
	{ "connections", OPTION_INTEGER, AT(connections), "1", 1, TRANSPORT_LANES_MAX,
	  .help = "to each peer" },
	{ "busy-poll", OPTION_FLAG, AT(busy_poll), .help = "both ends never sleep" },
	{ "no-ceilings", OPTION_FLAG, AT(no_ceilings),
	  .help = "leave out what the machine could do" },
	{ "json", OPTION_FLAG, AT(json), .help = "print one JSON object" },
};

/* What every end is started with. */
struct bench_run {
	const struct transport_flags *flags;
	struct load_options load;
	char folder[32];                /* of the memif's socket */
};

/* What a sender's process tells. */
struct told {
	double gbit_per_s, cpu_s_per_gb;
	double p50_us, p99_us;
	double cpu, receiver_cpu;       /* idle: of a core */
	double mb;
	uint64_t messages;
	char failure[ERROR_TEXT_BYTES];
};

/* Signed by ca's key (ca NULL: by its own); as text. */
static int make_certificate(EVP_PKEY *key, X509 *ca, EVP_PKEY *ca_key, X509 **out, char **pem,
			    struct error *e)
{
	struct certificate_spec spec = {
		.name = ca ? "bench" : "bench-ca", .authority = !ca,
		.roles = ca ? PRINCIPAL_ANY : 0, .not_after_unix_s = INT32_MAX,
	};
	int rc;

	certificate_serial(spec.serial, NULL);
	rc = certificate_issue(out, &spec, key, ca, ca_key, e);
	return rc < 0 ? rc : certificate_to_pem(pem, *out, e);
}

/* For both ends, from a CA that nobody else will ever see. */
static int make_identity(struct identity **out, struct error *e)
{
	EVP_PKEY *ca_key = NULL, *key = NULL;
	X509 *ca = NULL, *certificate = NULL;
	struct { char *ca, *cert, *key; } pem = { 0 };
	int rc = certificate_key(&ca_key, NULL, e);

	if (rc == 0)
		rc = certificate_key(&key, NULL, e);
	if (rc == 0)
		rc = make_certificate(ca_key, NULL, NULL, &ca, &pem.ca, e);
	if (rc == 0)
		rc = make_certificate(key, ca, ca_key, &certificate, &pem.cert, e);
	if (rc == 0)
		rc = certificate_key_to_pem(&pem.key, key, e);
	if (rc == 0)
		rc = identity_open_pem(out, &(struct identity_pem){ pem.ca, pem.cert, pem.key,
								    NULL }, clock_real(), e);
	X509_free(certificate);
	X509_free(ca);
	EVP_PKEY_free(key);
	EVP_PKEY_free(ca_key);
	mem_free(pem.ca);
	mem_free(pem.cert);
	mem_free(pem.key);
	return rc;
}

static void fill_options(const struct transport_flags *f, struct load_options *o)
{
	*o = (struct load_options){
		.pattern = f->pattern == PATTERN_PING ? LOAD_PING :
			   f->pattern == PATTERN_IDLE ? LOAD_IDLE : LOAD_STREAM,
		.connects = f->pattern == PATTERN_IDLE ? (uint32_t)f->peers : 0,
		.bytes = (uint32_t)f->bytes, .run_ns = f->run_ns, .warm_ns = f->run_ns / 4,
	};
	transport_options_default(&o->transport);
	o->transport.engine = f->engine == ENGINE_SIM ? "sim" : "uring";
	o->transport.clock = clock_real();
	o->transport.name = "petals-bench";
	o->transport.large_bytes = MAX(o->transport.large_bytes, o->bytes);
	o->transport.lanes = (uint32_t)f->connections;
	o->transport.peers_max = MAX(o->transport.peers_max, o->connects);
	o->transport.busy_poll = f->busy_poll;
}

/* The two ends of a shared-memory link, each in a process of its own. */
static int open_memif(struct load_options *o, const struct transport_flags *f,
		      const char *folder, struct port **port, struct error *e)
{
	char args[512], address[64];
	const struct network_flags flags = {
		.lanes = f->connections, .busy_poll = f->busy_poll, .near_ns = NS_PER_S,
		.dpdk_address = address, .dpdk_args = args, .impair = f->impair,
	};

	snprintf(args, sizeof(args), "--no-huge -m 256 --no-pci --vdev=net_memif0,role=%s,id=0,"
		 "socket=%s/s,socket-abstract=no,bsize=2048", o->to ? "client" : "server", folder);
	snprintf(address, sizeof(address), "10.99.0.%d/24:7900", o->to ? 2 : 1);
	return network_open(&o->transport, port, &flags, e);
}

static double resident_mb(void)
{
	unsigned long long size, resident = 0;
	FILE *f = fopen("/proc/self/statm", "r");

	if (f && fscanf(f, "%llu %llu", &size, &resident) != 2)
		resident = 0;
	if (f)
		fclose(f);
	return (double)resident * (double)sysconf(_SC_PAGESIZE) / 1e6;
}

static void take_results(struct load *l, enum pattern pattern, struct told *out)
{
	const struct load_tally *t = load_tally(l);
	double bytes = (double)le64_get(t->bytes), ns = (double)le64_get(t->elapsed_ns);
	uint32_t pings;
	double *us = load_pings_us(l, &pings);

	if (load_failure(l)) {
		snprintf(out->failure, sizeof(out->failure), "%s", load_failure(l));
		return;
	}
	if (pattern == PATTERN_PING) {
		stats_sort(us, pings);
		out->messages = pings;
		out->p50_us = stats_quantile(us, pings, 0.5);
		out->p99_us = stats_quantile(us, pings, 0.99);
		return;
	}
	if (pattern == PATTERN_IDLE) {
		out->cpu = (double)load_cpu_ns(l) / (double)load_run_ns(l);
		out->receiver_cpu = (double)le64_get(t->cpu_ns) / (double)load_run_ns(l);
		out->mb = resident_mb();
		return;
	}
	out->gbit_per_s = ns > 0 ? 8 * bytes / ns : 0;
	if (bytes > 0)
		out->cpu_s_per_gb = (double)(load_cpu_ns(l) + le64_get(t->cpu_ns)) / bytes;
}

/* Many peers want many descriptors. */
static void raise_descriptors(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
}

/* The process of one end; a receiver says where it listens, a sender what came of it. */
static void end_process(const struct bench_run *r, const struct address *to, int tell)
{
	struct load_options o = r->load;
	struct told told = { 0 };
	struct error e = { 0 };
	struct port *port = NULL;
	struct load *l;
	int rc = 0;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	ceiling_pin(to ? 0 : 1);
	raise_descriptors();
	o.to = to;
	if (r->flags->engine == ENGINE_DPDK)
		rc = open_memif(&o, r->flags, r->folder, &port, &e);
	if (rc < 0 || load_open(&l, &o, &e) < 0) {
		snprintf(told.failure, sizeof(told.failure), "%s", e.text);
	} else if (!to) {
		(void)!write(tell, load_address(l), sizeof(struct address));
		core_run(load_core(l));         /* until it is killed */
	} else {
		core_run(load_core(l));
		take_results(l, r->flags->pattern, &told);
	}
	(void)!write(tell, &told, sizeof(told));
	_exit(0);
}

static pid_t start_end(const struct bench_run *r, const struct address *to, int *hear,
		       struct error *e)
{
	int fds[2];
	pid_t pid;

	if (pipe(fds) < 0)
		return error_errno(e, -errno, "a pipe");
	pid = fork();
	if (pid == 0)
		end_process(r, to, fds[1]);
	close(fds[1]);
	*hear = fds[0];
	return pid < 0 ? error_errno(e, -errno, "a process for an end") : pid;
}

static int run_senders(const struct bench_run *r, const struct address *to, struct told *told,
		       struct error *e)
{
	uint32_t senders = r->flags->pattern == PATTERN_INCAST ? INCAST_SENDERS : 1;
	int hears[INCAST_SENDERS];
	int rc = 0;

	for (uint32_t i = 0; i < senders; i++) {
		pid_t pid = start_end(r, to, &hears[i], e);

		if (pid < 0)
			return pid;
	}
	for (uint32_t i = 0; i < senders; i++) {
		if (read(hears[i], &told[i], sizeof(told[i])) != sizeof(told[i]))
			rc = error_set(e, -EPIPE, "a sender ended without results");
		else if (told[i].failure[0])
			rc = error_set(e, -EIO, "a sender failed: %s", told[i].failure);
		close(hears[i]);
	}
	return rc;
}

static int check(const struct transport_flags *f, struct error *e)
{
	if (f->engine == ENGINE_DPDK && f->sealed == SEALED_NO)
		return error_set(e, -EINVAL, "--engine dpdk: datagrams are always sealed");
	if (f->engine == ENGINE_DPDK && f->pattern == PATTERN_INCAST)
		return error_set(e, -ENOTSUP, "--engine dpdk has no incast: memif joins two");
	if (f->engine != ENGINE_DPDK && f->impair)
		return error_set(e, -EINVAL, "--impair is for --engine dpdk");
	return 0;
}

static void remove_folder(const char *folder)
{
	char socket[64];

	snprintf(socket, sizeof(socket), "%s/s", folder);
	unlink(socket);
	rmdir(folder);
}

static int run_real(const struct transport_flags *f, struct told *told, struct error *e)
{
	struct bench_run r = { .flags = f, .folder = "/tmp/petals-bench-XXXXXX" };
	struct { struct address address; struct told told; } heard = { 0 };
	int hear, rc;
	pid_t receiver;

	rc = check(f, e);
	if (rc < 0)
		return rc;
	fill_options(f, &r.load);
	if (!mkdtemp(r.folder))
		return error_errno(e, -errno, "a folder in /tmp");
	rc = f->sealed == SEALED_YES ? make_identity(&r.load.transport.identity, e) : 0;
	if (rc < 0)
		return rc;
	receiver = start_end(&r, NULL, &hear, e);
	if (receiver < 0)
		return receiver;
	if (read(hear, &heard.told, sizeof(heard.told)) == sizeof(heard.told))
		rc = error_set(e, -EIO, "the receiver failed: %s", heard.told.failure);
	else if (memcpy(&heard.address, &heard.told, sizeof(heard.address)), heard.address.text[0])
		rc = run_senders(&r, &heard.address, told, e);
	else
		rc = error_set(e, -EPIPE, "the receiver did not start");
	kill(receiver, SIGKILL);
	while (wait(NULL) > 0)
		;
	close(hear);
	remove_folder(r.folder);
	identity_close(r.load.transport.identity);
	return rc;
}

static bool sender_done(void *ctx)
{
	return load_is_done(ctx);
}

/* Both ends here, on a network of 10 Gbit/s and 10 us. */
static int run_sim(const struct transport_flags *f, struct told *told, struct error *e)
{
	const struct sim_options network = { .seed = 1, .delay_least_ns = 10 * NS_PER_US,
					     .delay_most_ns = 10 * NS_PER_US,
					     .bytes_per_ns = 1.25 };
	struct load_options o;
	struct load *ends[2] = { NULL };
	struct sim_network *n;
	int ids[2], rc;

	if (f->pattern == PATTERN_INCAST)
		return error_set(e, -ENOTSUP, "--engine sim has no incast");
	fill_options(f, &o);
	if (sim_network_open(&n, &network) < 0)
		return error_errno(e, -ENOMEM, "a simulated network");
	rc = f->sealed == SEALED_YES ? make_identity(&o.transport.identity, e) : 0;
	o.transport.network = n;
	o.transport.clock = sim_clock(n);
	for (int i = 0; i < 2 && rc == 0; i++) {
		o.to = i ? load_address(ends[0]) : NULL;
		rc = load_open(&ends[i], &o, e);
		if (rc == 0)
			ids[i] = sim_attach(n, load_core(ends[i]), load_transport(ends[i]));
	}
	if (rc == 0) {
		sim_run(n, UINT64_MAX, sender_done, ends[1]);
		take_results(ends[1], f->pattern, told);
	}
	for (int i = 1; i >= 0; i--)
		if (ends[i]) {
			sim_detach(n, ids[i]);
			load_close(ends[i]);
		}
	sim_network_close(n);
	identity_close(o.transport.identity);
	return rc;
}

static json_t *results(const struct transport_flags *f, const struct told *told)
{
	json_t *out = json_pack("{s:s,s:s,s:I,s:b,s:b,s:I}", "engine", engines[f->engine],
				"pattern", patterns[f->pattern], "bytes", (json_int_t)f->bytes,
				"sealed", f->sealed == SEALED_YES, "busy_poll", f->busy_poll,
				"connections", (json_int_t)f->connections);
	double sum = 0, least = 1e9, most = 0, cpu = 0;
	uint32_t senders = f->pattern == PATTERN_INCAST ? INCAST_SENDERS : 1;

	for (uint32_t i = 0; i < senders; i++) {
		sum += told[i].gbit_per_s;
		least = MIN(least, told[i].gbit_per_s);
		most = MAX(most, told[i].gbit_per_s);
		cpu += told[i].cpu_s_per_gb / senders;
	}
	if (f->pattern == PATTERN_IDLE) {
		json_object_update_new(out, json_pack("{s:n,s:n,s:n,s:I,s:f,s:f,s:f}", "gbit_per_s",
						      "p50_us", "p99_us", "peers",
						      (json_int_t)f->peers, "dialer_cpu",
						      told->cpu, "accepter_cpu",
						      told->receiver_cpu, "dialer_mb", told->mb));
		return out;
	}
	if (f->pattern == PATTERN_PING) {
		json_object_update_new(out, json_pack("{s:n,s:f,s:f,s:I}", "gbit_per_s", "p50_us",
						      told->p50_us, "p99_us", told->p99_us,
						      "pings", (json_int_t)told->messages));
		return out;
	}
	json_object_update_new(out, json_pack("{s:f,s:f,s:n,s:n}", "gbit_per_s", sum,
					      "cpu_s_per_gb", cpu, "p50_us", "p99_us"));
	if (f->pattern == PATTERN_INCAST)
		json_object_update_new(out, json_pack("{s:f,s:f}", "least_sender_gbit_per_s", least,
						      "most_sender_gbit_per_s", most));
	return out;
}

static int run(void *target, int operand_count, char **operands)
{
	const struct transport_flags *f = target;
	const struct ceiling_options ceilings = {
		.ping_bytes = f->pattern == PATTERN_PING ? (uint32_t)f->bytes : 0,
		.busy_poll = f->busy_poll, .run_ns = f->run_ns,
	};
	struct told told[INCAST_SENDERS] = { 0 };
	struct error e = { 0 };
	json_t *out, *best;

	log_configure(LOG_WARN, false);
	if ((f->engine == ENGINE_SIM ? run_sim(f, told, &e) : run_real(f, told, &e)) < 0)
		return bench_fail("transport", &e);
	out = results(f, told);
	if (!f->no_ceilings) {
		if (ceiling_measure(&best, &ceilings, &e) < 0)
			return bench_fail("transport", &e);
		json_object_set_new(out, "ceilings", best);
	}
	return bench_print(out, f->json);
}

const struct program bench_transport = {
	.name = "transport", .summary = "what the message layer carries between two processes",
	.description =
		"Starts both ends by itself, on loopback and on cores of their own, and prints "
		"throughput, round trips and processor time beside what the machine could do in "
		"the same run: copying, AES, one TCP stream (iperf3, when it is installed), a bare "
		"io_uring ping-pong of the same bytes.",
	.options = options, .option_count = ARRAY_LENGTH(options),
	.target_bytes = sizeof(struct transport_flags), .run = run,
};
