/* uring_setup_test.c - a ring, or a sentence about what forbids it. */
#include "dataplane/uring_setup.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "dataplane/base/fault.h"
#include "tests/test.h"

/* Goal: as many operations fit as were asked for. */
TEST(uring_setup__is_large_enough)
{
	struct io_uring ring;
	struct error e;
	bool disabled;

	CHECK_OK(uring_setup(&ring, 200, &disabled, &e), &e);
	for (int i = 0; i < 200; i++)
		CHECK(io_uring_get_sqe(&ring) != NULL);
	io_uring_queue_exit(&ring);
}

/* Forbids io_uring_setup in this process, as a container's profile does. */
static void forbid(int code)
{
	struct sock_filter code_of[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_setup, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (unsigned)code),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { ARRAY_LENGTH(code_of), code_of };

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
	    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) < 0)
		_exit(77);
}

/* Exit status of a child in which set-up fails so: 0 when the sentence says it. */
static int child(int code, const char *says)
{
	struct io_uring ring;
	struct error e;
	bool disabled;
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		forbid(code);
		if (uring_setup(&ring, 8, &disabled, &e) != -code)
			_exit(1);
		_exit(strstr(e.text, says) ? 0 : 2);
	}
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* Goal: whoever reads the error knows what to allow. */
TEST(uring_setup__refusals_name_the_cause)
{
	int status = child(EPERM, "seccomp");

	if (status == 77)
		SKIP("this host lets no process filter its system calls");
	CHECK_EQ(status, 0);
	CHECK_EQ(child(ENOSYS, "Linux 5.19"), 0);
	CHECK_EQ(child(ENOMEM, "ulimit -l"), 0);
	CHECK_EQ(child(EFAULT, "cannot set up io_uring"), 0);
}

#ifdef PETALS_FAULTS
/* Goal: out of memory is told as such. */
TEST(uring_setup__out_of_memory)
{
	struct io_uring ring;
	struct error e;
	bool disabled;

	fault_arm(1);
	CHECK_EQ(uring_setup(&ring, 8, &disabled, &e), -ENOMEM);
	fault_disarm();
	CHECK(strstr(e.text, "out of memory"));
}
#endif
