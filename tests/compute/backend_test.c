/* backend_test.c - device names, and what the CPU says of itself. */
#include "compute/backend.h"

#include <errno.h>
#include <stdlib.h>

#include "dataplane/base/fault.h"
#include "dataplane/base/memory.h"
#include "tests/test.h"

/* Goal: "cpu" is found; CUDA is refused where no module is; else by name. */
TEST(backend_find__names)
{
	static const struct { const char *device; int rc; const char *words; } cases[] = {
		{ "cpu", 0, "" },
		{ "cuda", -ENOTSUP, "no CUDA module" },
		{ "cuda:3", -ENOTSUP, "device cuda:3: this build has no CUDA module" },
		{ "cuda:", -EINVAL, "'cuda:' is not known" },
		{ "cuda:-1", -EINVAL, "not known" },
		{ "cuda:999", -EINVAL, "not known" },
		{ "cuda:1x", -EINVAL, "not known" },
		{ "cpu:0", -EINVAL, "not known" },
		{ "gpu", -EINVAL, "'gpu' is not known" },
		{ "", -EINVAL, "not known" },
	};

	for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
		const struct backend *b;
		struct error e = { 0 };
		uint32_t index = 9;

		CHECK_EQ(backend_find(cases[i].device, &b, &index, &e), cases[i].rc);
		CHECK(strstr(e.text, cases[i].words) != NULL);
		CHECK((b == &backend_cpu) == (cases[i].rc == 0));
		if (cases[i].rc == 0)
			CHECK_EQ(index, 0);
	}
}

/* Goal: modes have the names that --compute takes. */
TEST(compute_mode_name__all)
{
	CHECK_TEXT(compute_mode_name(COMPUTE_AUTO), "auto");
	CHECK_TEXT(compute_mode_name(COMPUTE_F32), "f32");
	CHECK_TEXT(compute_mode_name(COMPUTE_BF16), "bf16");
	CHECK_TEXT(compute_mode_name(COMPUTE_INT8), "int8");
}

/* Goal: a module that is none is refused by its path. */
TEST(backend_cuda_open__refuses_what_is_no_module)
{
	const struct backend *b;
	struct error e = { 0 };

	setenv("PETALS_CUDA_MODULE", "/dev/null", 1);
	CHECK_EQ(backend_cuda_open(&b, &e), -ENOTSUP);
	CHECK(strstr(e.text, "does not load") && strstr(e.text, "/dev/null"));
	setenv("PETALS_CUDA_MODULE", "libm.so.6", 1);
	CHECK_EQ(backend_cuda_open(&b, &e), -ENOTSUP);
	CHECK(strstr(e.text, "libm.so.6 is not of this build"));
	CHECK(b == NULL);
	unsetenv("PETALS_CUDA_MODULE");
}

/* Goal: the CPU tells what it is and how much memory it has. */
TEST(backend_cpu__lists_itself)
{
	struct device_info info;
	struct error e = { 0 };

	CHECK_EQ(backend_cpu.list(&info, 0, &e), 0);
	CHECK_EQ(backend_cpu.list(&info, 1, &e), 1);
	CHECK_TEXT(info.device, "cpu");
	CHECK(info.name[0] && !strchr(info.name, '\n'));
	CHECK(strstr(info.detail, " cores, ") && strstr(info.detail, " kernels"));
	CHECK(info.free_bytes > 0 && info.free_bytes <= info.memory_bytes);
}

/* Goal: an absurd number of threads is refused; a failed allocation unwinds. */
TEST(device_open__refuses_and_unwinds)
{
	struct device_options o = { .threads = 5000 };
	struct error e = { 0 };
	struct device *d;

	CHECK_EQ(backend_cpu.device_open(&d, &o, &e), -EINVAL);
	CHECK(strstr(e.text, "5000 threads"));
	o.threads = 2;
#ifdef PETALS_FAULTS
	uint64_t live = mem_live_blocks();

	for (int nth = 1; nth < 50; nth++) {
		int rc;

		fault_arm(nth);
		rc = backend_cpu.device_open(&d, &o, &e);
		backend_cpu.device_close(d);
		CHECK_EQ(mem_live_blocks(), live);
		if (!fault_fired())
			break;
		CHECK(rc < 0);
	}
	fault_disarm();
#endif
}
