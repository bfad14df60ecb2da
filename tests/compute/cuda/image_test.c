/* image_test.c - every kernel's image has code for every architecture, and nothing else.
 *
 * An image is a "fatbin": a header of 16 bytes (u32 magic 0xba55ed50, u16 version, u16 header
 * bytes, u64 bytes that follow), then entries, each with a header (u16 kind: 1 PTX, 2 ELF; u16
 * version, u32 header bytes, u64 payload bytes, ..., u32 architecture at 28) and its payload.
 */
#include "compute/cuda/image.h"

#include <stdlib.h>
#include <unistd.h>

#include "compute/cuda/kernels.h"
#include "tests/test.h"

enum { KIND_PTX = 1, KIND_ELF = 2, ARCH_AT = 28 };

static uint64_t number(const uint8_t *at, size_t bytes)
{
	uint64_t v = 0;

	memcpy(&v, at, bytes);
	return v;
}

/* Goal: SASS for sm_80, 86, 89 and 90, PTX for compute_80. */
TEST(image__has_all_architectures)
{
	static const uint32_t elves[] = { 80, 86, 89, 90 };

	CHECK(cuda_image_count > 0);
	for (uint32_t i = 0; i < cuda_image_count; i++) {
		const uint8_t *at = cuda_images[i].bytes, *end;
		uint32_t found = 0, ptx = 0;

		CHECK_EQ(number(at, 4), 0xba55ed50);
		end = at + number(at + 6, 2) + number(at + 8, 8);
		for (at += number(at + 6, 2); at < end;
		     at += number(at + 4, 4) + number(at + 8, 8)) {
			uint32_t arch = (uint32_t)number(at + ARCH_AT, 4);

			if (number(at, 2) == KIND_PTX) {
				CHECK_EQ(arch, 80);
				ptx++;
				continue;
			}
			CHECK_EQ(number(at, 2), KIND_ELF);
			CHECK(found < ARRAY_LENGTH(elves));
			CHECK_EQ(arch, elves[found++]);
		}
		if (found != ARRAY_LENGTH(elves) || ptx != 1)
			fail_msg("%s: %u architectures, %u PTX", cuda_images[i].name, found, ptx);
	}
}

/* Goal: cuobjdump, where there is one, says the same of sm_90a. */
TEST(image__cuobjdump_lists_sm_90a)
{
	char path[] = "/tmp/petals-image.XXXXXX", command[256], line[512];
	int file, listed = 0;
	FILE *out;

	if (system("command -v cuobjdump >/dev/null 2>&1") != 0)
		SKIP("no cuobjdump on this host");
	file = mkstemp(path);
	CHECK(file >= 0);
	CHECK(write(file, cuda_images[0].bytes, 16 + number(cuda_images[0].bytes + 8, 8)) > 0);
	close(file);
	snprintf(command, sizeof(command), "cuobjdump --list-elf %s", path);
	out = popen(command, "r");
	CHECK(out != NULL);
	while (fgets(line, sizeof(line), out))
		listed += strstr(line, "sm_90a") != NULL;
	pclose(out);
	unlink(path);
	CHECK_EQ(listed, 1);
}
