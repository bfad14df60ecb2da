/* eal.c - the EAL's command line, start and end.
 *
 * The EAL would pin the calling thread to a core and start one thread for each other;
 * unless the operator chose cores, it gets one logical core that floats over all that
 * we may run on, since our own loop is the only user.
 */
#include "dataplane/dpdk/eal.h"

#include <errno.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_log.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "dataplane/base/memory.h"

enum { WORDS_MAX = 64, CORES_TEXT_BYTES = 4096, PREFIX_TEXT_BYTES = 64 };

static atomic_int users;
static bool ended;              /* it cannot be started again after its end */

struct command_line {
	char *text;             /* the operator's words, cut by zeros */
	char cores[CORES_TEXT_BYTES], prefix[PREFIX_TEXT_BYTES];
	char *words[WORDS_MAX];
	int count;
};

static bool has_word(const struct command_line *c, const char *start)
{
	for (int i = 1; i < c->count; i++)
		if (strncmp(c->words[i], start, strlen(start)) == 0)
			return true;
	return false;
}

/* "--lcores=0@(0,1,5)": every core we may run on. */
static void floating_core(char out[CORES_TEXT_BYTES])
{
	size_t at = (size_t)snprintf(out, CORES_TEXT_BYTES, "--lcores=0@(");
	const char *comma = "";
	cpu_set_t set;

	CPU_ZERO(&set);
	if (sched_getaffinity(0, sizeof(set), &set) < 0)
		CPU_SET(0, &set);
	for (int cpu = 0; cpu < CPU_SETSIZE && at < CORES_TEXT_BYTES - 8; cpu++) {
		if (!CPU_ISSET(cpu, &set))
			continue;
		at += (size_t)snprintf(out + at, CORES_TEXT_BYTES - at, "%s%d", comma, cpu);
		comma = ",";
	}
	snprintf(out + at, CORES_TEXT_BYTES - at, ")");
}

static int build(struct command_line *c, const char *args, struct error *e)
{
	static char name[] = "petals", no_telemetry[] = "--no-telemetry";
	char *word, *rest;

	c->text = mem_strdup(args ? args : "");
	if (!c->text)
		return error_errno(e, -ENOMEM, "cannot start DPDK");
	c->words[c->count++] = name;
	for (word = strtok_r(c->text, " \t", &rest); word; word = strtok_r(NULL, " \t", &rest)) {
		if (c->count == WORDS_MAX - 4)
			return error_set(e, -EINVAL, "--dpdk-args has more than %d words",
					 WORDS_MAX - 5);
		c->words[c->count++] = word;
	}
	floating_core(c->cores);
	if (!has_word(c, "-l") && !has_word(c, "-c") && !has_word(c, "--lcores"))
		c->words[c->count++] = c->cores;
	/* Several programs of ours on a host must not share DPDK's files. */
	snprintf(c->prefix, sizeof(c->prefix), "--file-prefix=petals-%d", (int)getpid());
	if (!has_word(c, "--file-prefix") && !has_word(c, "--in-memory"))
		c->words[c->count++] = c->prefix;
	/* Our counters are on /metrics; its thread and socket would be nobody's. */
	if (!has_word(c, "--telemetry"))
		c->words[c->count++] = no_telemetry;
	return 0;
}

static int start(const char *args, struct error *e)
{
	struct command_line c = { 0 };
	int rc = build(&c, args, e);

	if (rc == 0 && !has_word(&c, "--log-level"))
		rte_log_set_global_level(RTE_LOG_WARNING);
	if (rc == 0 && rte_eal_init(c.count, c.words) < 0)
		rc = error_set(e, -ENOTSUP, "DPDK does not start with '%s': %s; its own message "
			       "stands above. Without huge pages try --dpdk-args '--no-huge -m "
			       "256'", args ? args : "", rte_strerror(rte_errno));
	mem_free(c.text);
	return rc;
}

int eal_start(const char *args, struct error *e)
{
	int rc = 0;

	if (ended)
		return error_set(e, -EBUSY, "DPDK was stopped in this process and cannot be "
				 "started again; restart the program");
	if (users == 0)
		rc = start(args, e);
	if (rc == 0)
		users++;
	return rc;
}

void eal_stop(void)
{
	if (--users > 0)
		return;
	ended = true;
	rte_eal_cleanup();
}
