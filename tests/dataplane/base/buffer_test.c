/* buffer_test.c - growth, the bound, the first failure. */
#include "tests/test.h"

#include <errno.h>

#include "dataplane/base/buffer.h"
#include "dataplane/base/fault.h"
#include "dataplane/base/memory.h"

/* Goal: what is appended is there, terminated at each step. */
TEST(buffer__collects_text)
{
	struct buffer b = { 0 };

	CHECK_TEXT(buffer_string(&b), "");
	buffer_text(&b, "a");
	buffer_char(&b, 'b');
	buffer_printf(&b, "%d-%s", 42, "c");
	buffer_append(&b, "xyz", 2);
	buffer_append(&b, NULL, 0);
	CHECK_TEXT(buffer_string(&b), "ab42-cxy");
	CHECK_EQ(b.length, 8);
	CHECK_EQ(buffer_failed(&b), 0);
	buffer_clear(&b);
	CHECK_TEXT(buffer_string(&b), "");
	buffer_close(&b);
	buffer_close(&b);
}

/* Goal: it grows past any first size, by bytes and by format. */
TEST(buffer__grows)
{
	struct buffer b = { 0 };

	for (int i = 0; i < 10000; i++)
		buffer_printf(&b, "%05d", i);
	CHECK_EQ(b.length, 50000);
	CHECK_BYTES(b.data + 49995, "09999", 6);
	buffer_close(&b);
}

/* Goal: exactly the bound fits; one more byte fails and changes nothing, and
 * so does everything after it.
 */
TEST(buffer__bound_is_kept)
{
	struct buffer b = { .bound = 10 };

	buffer_text(&b, "0123456789");
	CHECK_EQ(buffer_failed(&b), 0);
	CHECK(b.capacity <= 11);
	buffer_char(&b, 'x');
	CHECK_EQ(buffer_failed(&b), -EMSGSIZE);
	CHECK_TEXT(buffer_string(&b), "0123456789");
	buffer_clear(&b);
	CHECK_EQ(buffer_failed(&b), 0);
	buffer_printf(&b, "%011d", 1);
	CHECK_EQ(buffer_failed(&b), -EMSGSIZE);
	buffer_text(&b, "fits, but comes after a failure");
	CHECK_TEXT(buffer_string(&b), "");
	buffer_close(&b);
	CHECK_EQ(b.bound, 10);
}

/* Goal: taking hands the text over and leaves an empty buffer. */
TEST(buffer_take__hands_over)
{
	struct buffer b = { 0 };
	char *text;

	buffer_text(&b, "mine");
	text = buffer_take(&b);
	CHECK_TEXT(text, "mine");
	CHECK_TEXT(buffer_string(&b), "");
	mem_free(text);
	text = buffer_take(&b);
	CHECK_TEXT(text, "");
	mem_free(text);
	b.bound = 1;
	buffer_text(&b, "no");
	CHECK(!buffer_take(&b));
	CHECK_EQ(buffer_failed(&b), 0);
}

#ifdef PETALS_FAULTS
/* Goal: out of memory is remembered, and what was there stays. */
TEST(buffer__out_of_memory_is_remembered)
{
	struct buffer b = { 0 };

	buffer_text(&b, "kept");
	fault_arm(1);
	for (int i = 0; i < 100; i++)
		buffer_text(&b, "0123456789");
	CHECK(fault_fired());
	CHECK_EQ(buffer_failed(&b), -ENOMEM);
	CHECK(strncmp(buffer_string(&b), "kept", 4) == 0);
	CHECK(b.length < 100);
	buffer_close(&b);
}
#endif
