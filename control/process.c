/* process.c - reads /proc/self and prints what every Prometheus client library prints, under
 * the names they all use.
 */
#include "control/process.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { STAT_CPU_USER = 14, STAT_CPU_SYSTEM = 15, STAT_THREADS = 20, STAT_STARTED = 22,
       STAT_VIRTUAL = 23, STAT_RESIDENT = 24, STAT_FIELDS = 24 };

/* /proc files have no size: the first room - 1 bytes. */
static bool read_small(const char *path, char *out, size_t room)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t bytes = fd < 0 ? -1 : read(fd, out, room - 1);

	if (fd >= 0)
		close(fd);
	if (bytes <= 0)
		return false;
	out[bytes] = '\0';
	return true;
}

/* Fields of /proc/self/stat by their number in proc(5); the first two are skipped, since the
 * second, the name, may hold anything.
 */
static bool read_stat(unsigned long long fields[STAT_FIELDS + 1])
{
	char text[1024], *at;

	if (!read_small("/proc/self/stat", text, sizeof(text)))
		return false;
	at = strrchr(text, ')');
	if (!at || strlen(at) < 4)
		return false;
	at += 3;        /* past ") R", the state */
	for (int i = 4; i <= STAT_FIELDS; i++)
		fields[i] = strtoull(at, &at, 10);
	return true;
}

static unsigned count_descriptors(void)
{
	DIR *folder = opendir("/proc/self/fd");
	struct dirent *entry;
	unsigned count = 0;

	if (!folder)
		return 0;
	while ((entry = readdir(folder)))
		count += entry->d_name[0] != '.';
	closedir(folder);
	return count - 1;        /* the folder's own */
}

/* Seconds since 1970 when the machine started. */
static double boot_seconds(void)
{
	static const char key[] = "btime ";
	char line[256];
	FILE *file = fopen("/proc/stat", "re");
	double seconds = 0;

	while (file && seconds == 0 && fgets(line, sizeof(line), file))
		if (strncmp(line, key, sizeof(key) - 1) == 0)
			seconds = strtod(line + sizeof(key) - 1, NULL);
	if (file)
		fclose(file);
	return seconds;
}

static void print(struct buffer *out, const char *name, const char *kind, const char *help,
		  double value)
{
	buffer_printf(out, "# HELP %s %s\n# TYPE %s %s\n%s %.15g\n", name, help, name, kind, name,
		      value);
}

void process_print(const char *program, struct buffer *out)
{
	unsigned long long stat[STAT_FIELDS + 1] = { 0 };
	double ticks = (double)sysconf(_SC_CLK_TCK), boot = boot_seconds();

	buffer_text(out, "# HELP petals_build_info What this program is; always 1.\n"
			 "# TYPE petals_build_info gauge\n");
	buffer_printf(out, "petals_build_info{program=\"%s\",version=\"%s\"} 1\n", program,
		      PETALS_VERSION);
	if (!read_stat(stat))
		return;
	print(out, "process_cpu_seconds_total", "counter", "CPU time spent, user and system.",
	      (double)(stat[STAT_CPU_USER] + stat[STAT_CPU_SYSTEM]) / ticks);
	print(out, "process_resident_memory_bytes", "gauge", "Resident memory.",
	      (double)stat[STAT_RESIDENT] * (double)sysconf(_SC_PAGESIZE));
	print(out, "process_virtual_memory_bytes", "gauge", "Address space taken.",
	      (double)stat[STAT_VIRTUAL]);
	print(out, "process_threads", "gauge", "Threads.", (double)stat[STAT_THREADS]);
	print(out, "process_open_fds", "gauge", "Descriptors open.", count_descriptors());
	if (boot > 0)
		print(out, "process_start_time_seconds", "gauge",
		      "When the process started, in seconds since 1970.",
		      boot + (double)stat[STAT_STARTED] / ticks);
}
