/* uring_setup.c - a ring with the best flags that this kernel has, or a
 * sentence that says why there is none.
 */
#include "dataplane/uring_setup.h"

#include <errno.h>

#include "dataplane/base/fault.h"
#include "dataplane/base/file.h"
#include "dataplane/base/log.h"
#include "dataplane/base/memory.h"

/* Ring flags from the best to what every supported kernel has. */
static const struct {
	unsigned flags;
	const char *lacks;
} setups[] = {
	{ IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_R_DISABLED |
	  IORING_SETUP_SUBMIT_ALL, NULL },
	{ IORING_SETUP_COOP_TASKRUN | IORING_SETUP_SUBMIT_ALL,
	  "DEFER_TASKRUN (Linux 6.1)" },
	{ 0, "DEFER_TASKRUN (Linux 6.1) and COOP_TASKRUN (Linux 5.19)" },
};

static int explain_setup(int code, struct error *e)
{
	char *setting = NULL;
	char disabled = '0';
	size_t bytes;

	if (code == -EPERM && file_read("/proc/sys/kernel/io_uring_disabled", 64, &setting, &bytes,
					NULL) == 0) {
		disabled = setting[0];
		mem_free(setting);
	}
	if (disabled != '0')
		return error_set(e, code, "io_uring is disabled on this host "
				 "(kernel.io_uring_disabled = %c); allow it with "
				 "sysctl kernel.io_uring_disabled=0", disabled);
	if (code == -EPERM)
		return error_set(e, code, "io_uring is not permitted here; a container's seccomp "
				 "profile must allow io_uring_setup, io_uring_enter and "
				 "io_uring_register");
	if (code == -ENOSYS)
		return error_set(e, code, "this kernel has no io_uring, or a seccomp profile hides "
				 "it; Linux 5.19 or later is needed");
	if (code == -ENOMEM)
		return error_set(e, code, "cannot set up io_uring: out of memory; "
				 "before Linux 5.12 rings count against ulimit -l");
	return error_errno(e, code, "cannot set up io_uring");
}

int uring_setup(struct io_uring *ring, unsigned operations, bool *starts_disabled,
		struct error *e)
{
	const unsigned needed = IORING_FEAT_EXT_ARG | IORING_FEAT_NODROP | IORING_FEAT_FAST_POLL;
	unsigned entries = 64;
	int rc = -EINVAL;

	while (entries < operations)
		entries *= 2;
	for (size_t i = 0; i < ARRAY_LENGTH(setups) && rc == -EINVAL; i++) {
		struct io_uring_params p = { .flags = setups[i].flags | IORING_SETUP_CQSIZE |
						      IORING_SETUP_CLAMP,
					     .cq_entries = 4 * entries };

		rc = fault_here() ? -ENOMEM : io_uring_queue_init_params(entries, ring, &p);
		if (rc < 0)
			continue;
		*starts_disabled = setups[i].flags & IORING_SETUP_R_DISABLED;
		if (setups[i].lacks)
			log_info("transport", "this kernel's io_uring lacks %s; "
				 "each turn costs more", setups[i].lacks);
		if ((p.features & needed) == needed)
			return 0;
		io_uring_queue_exit(ring);
		return error_set(e, -ENOSYS, "this kernel's io_uring is too old; Linux 5.19 or "
				 "later is needed");
	}
	return explain_setup(rc, e);
}
