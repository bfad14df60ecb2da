/* backend_test.c - device names, and what the CPU says of itself. */
#include "compute/backend.h"

#include <errno.h>
#include <jansson.h>

#include "dataplane/base/fault.h"
#include "dataplane/base/memory.h"
#include "tests/test.h"

/* Goal: "cpu" is found; CUDA is refused by what this build lacks; else by name. */
TEST(backend_find__names)
{
	static const struct { const char *device; int rc; const char *words; } cases[] = {
		{ "cpu", 0, "" },
		{ "cuda", -ENOTSUP, "no CUDA backend" },
		{ "cuda:3", -ENOTSUP, "cuda:3: this build has no CUDA backend" },
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

/* Goal: the list is one line for people and valid JSON for programs. */
TEST(backend_cpu__lists_itself)
{
	struct buffer text = { 0 }, json = { 0 };
	json_t *parsed;

	CHECK_EQ(backend_cpu.list(&text, false), 1);
	CHECK(strncmp(buffer_string(&text), "cpu ", 4) == 0);
	CHECK(strchr(buffer_string(&text), '\n') == text.data + text.length - 1);
	CHECK_EQ(backend_cpu.list(&json, true), 1);
	parsed = json_loads(buffer_string(&json), 0, NULL);
	CHECK(parsed != NULL);
	CHECK_TEXT(json_string_value(json_object_get(parsed, "device")), "cpu");
	CHECK(json_integer_value(json_object_get(parsed, "cores")) > 0);
	json_decref(parsed);
	buffer_close(&text);
	buffer_close(&json);
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
