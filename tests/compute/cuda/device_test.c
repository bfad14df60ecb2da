/* device_test.c - the module is opened as programs open it; hosts that will not do are told so.
 *
 * Covers device.c, driver.c, host.c, module.c.
 */
#include "compute/cuda/device.h"

#include <errno.h>
#include <stdlib.h>

#include "compute/team.h"
#include "dataplane/base/fault.h"
#include "dataplane/base/memory.h"
#include "tests/support/stand_in.h"
#include "tests/test.h"

static struct device *open_device(void)
{
	struct device_options o = { 0 };
	struct error e = { 0 };
	struct device *d;

	stand_in_use();
	CHECK_OK(cuda_device_open(&d, &o, &e), &e);
	return d;
}

/* Goal: the module has the table of this build, and what it needs of the program. */
TEST(module__opens)
{
	const struct backend *b;
	struct error e = { 0 };
	uint32_t index;

	stand_in_use();
	CHECK_OK(backend_find("cuda:3", &b, &index, &e), &e);
	CHECK_TEXT(b->name, "cuda");
	CHECK_EQ(index, 3);
	/* Another copy than the one linked into this test. */
	CHECK(b != &backend_cuda);
	/* A verb that was added to the table is here, too: all of it but the name are verbs. */
	for (size_t at = 0; at < sizeof(*b); at += sizeof(void *))
		CHECK(*(void *const *)((const uint8_t *)b + at) != NULL);
}

struct host { const char *setting; uint32_t index; int rc; const char *words; };

/* Goal: every host that will not do gets a sentence with the figures. */
TEST(device_open__says_what_is_wrong)
{
	static const struct host hosts[] = {
		{ "devices=0", 0, -ENOTSUP, "cuda:0: the NVIDIA driver finds no GPU" },
		{ "version=12040", 0, -ENOTSUP, "supports CUDA 12.4; CUDA 13.0 (driver 580" },
		{ "devices=2", 2, -ENODEV, "cuda:2: this host has 2 GPUs, cuda:0 to cuda:1" },
		{ "major=7", 0, -ENOTSUP, "compute capability 7.0; 8.0 or more" },
	};

	if (stand_in_use())
		SKIP("a real GPU cannot be another");
	for (size_t i = 0; i < ARRAY_LENGTH(hosts); i++) {
		struct device_options o = { .index = hosts[i].index };
		struct error e = { 0 };
		struct device *d;

		setenv("PETALS_CUDA_STAND_IN", hosts[i].setting, 1);
		CHECK_EQ(cuda_device_open(&d, &o, &e), hosts[i].rc);
		if (!strstr(e.text, hosts[i].words))
			fail_msg("'%s' does not say '%s'", e.text, hosts[i].words);
	}
	unsetenv("PETALS_CUDA_STAND_IN");
}

/* Goal: a host without a driver is told so. */
TEST(device_open__without_a_driver)
{
	struct device_options o = { 0 };
	struct error e = { 0 };
	struct device *d;

	if (stand_in_use())
		SKIP("this host has a driver");
	unsetenv("PETALS_CUDA_LIBRARIES");
	if (cuda_device_open(&d, &o, &e) == 0) {
		cuda_device_close(d);
		SKIP("this host has a GPU, although it is not tested on");
	}
	CHECK(strstr(e.text, "no NVIDIA driver") || strstr(e.text, "finds no GPU") ||
	      strstr(e.text, "driver 580"));
	stand_in_use();
}

/* Goal: it has the threads that were asked for, by default one per core; an absurd number is
 * refused.
 */
TEST(device_open__threads)
{
	struct device_options o = { .threads = 5000 };
	struct error e = { 0 };
	struct device *d;

	stand_in_use();
	CHECK_EQ(cuda_device_open(&d, &o, &e), -EINVAL);
	CHECK(!d && strstr(e.text, "5000 threads"));
	for (o.threads = 0; o.threads < 8; o.threads += 7) {
		CHECK_OK(cuda_device_open(&d, &o, &e), &e);
		CHECK_EQ(d->threads, o.threads ? o.threads : team_cores());
		cuda_device_close(d);
	}
}

/* Goal: devices are listed with their memory, and one that will not do with the reason. */
TEST(cuda_list__tells)
{
	struct device_info info[4];
	struct error e = { 0 };
	int count;

	if (!stand_in_use())
		setenv("PETALS_CUDA_STAND_IN", "devices=2 memory=1000000000", 1);
	count = cuda_list(info, ARRAY_LENGTH(info), &e);
	CHECK_OK(count, &e);
	CHECK(count >= 1);
	CHECK_TEXT(info[0].device, "cuda:0");
	CHECK(strstr(info[0].detail, "sm_") && strstr(info[0].detail, "driver for CUDA"));
	CHECK(info[0].free_bytes > 0 && info[0].free_bytes <= info[0].memory_bytes);
	if (stand_in_use())
		return;
	CHECK_EQ(count, 2);
	CHECK_EQ(info[0].memory_bytes, 1000000000);
	setenv("PETALS_CUDA_STAND_IN", "major=7", 1);
	CHECK_EQ(cuda_list(info, ARRAY_LENGTH(info), &e), 1);
	CHECK(info[0].free_bytes == 0 && strstr(info[0].detail, "8.0 or more"));
	unsetenv("PETALS_CUDA_STAND_IN");
}

/* Goal: addresses are given for registered memory alone, to its last byte. */
TEST(host_address__knows_what_is_registered)
{
	struct device *d = open_device();
	struct error e = { 0 };
	uint8_t *memory = mem_aligned(4096, 8192);
	void *pinned;

	CHECK(cuda_host_address(d, memory, 1) == NULL);
	CHECK_OK(cuda_host_register(d, memory, 8192, &e), &e);
	CHECK_OK(cuda_host_alloc(d, &pinned, 100, &e), &e);
	CHECK(cuda_host_address(d, memory, 8192) != NULL);
	CHECK(cuda_host_address(d, memory + 8191, 1) != NULL);
	CHECK(cuda_host_address(d, memory + 8191, 2) == NULL);
	CHECK(cuda_host_address(d, memory + 8192, 1) == NULL);
	CHECK(cuda_host_address(d, (uint8_t *)pinned + 99, 1) != NULL);
	cuda_host_unregister(d, memory);
	CHECK(cuda_host_address(d, memory, 1) == NULL);
	cuda_host_free(d, pinned);
	cuda_device_close(d);
	mem_free(memory);
}

#ifdef PETALS_FAULTS
/* Goal: whichever call fails, opening a device gives everything back. */
TEST(device_open__unwinds_every_failure)
{
	uint64_t live = mem_live_blocks();

	stand_in_use();
	for (int nth = 1; nth < 300; nth++) {
		struct device_options o = { 0 };
		struct error e = { 0 };
		struct device *d;
		int rc;

		fault_arm(nth);
		rc = cuda_device_open(&d, &o, &e);
		cuda_device_close(d);
		CHECK_EQ(mem_live_blocks(), live);
		if (!fault_fired()) {
			CHECK_EQ(rc, 0);
			break;
		}
		CHECK(rc < 0 && e.text[0]);
	}
	fault_disarm();
}
#endif
