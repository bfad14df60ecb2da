/* regex_test.c - tests of compute/text/regex.c. */
#include "compute/text/regex.h"

#include <errno.h>

#include "dataplane/base/memory.h"
#include "tests/support/text.h"
#include "tests/test.h"

#ifdef PETALS_FAULTS
#include "dataplane/base/fault.h"
#endif

/* Goal: the expression of GPT-2 cuts as published. */
TEST(regex_find__gpt2)
{
	CHECK_TEXT(matches("'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+"
			   "|\\s+(?!\\S)|\\s+", "it's 12  ok\n\n!"),
		   "[it]['s][ 12][ ][ ok][\n][\n][!]");
}

/* Goal: an exploding pattern ends with an error, not with an hour. */
TEST(regex_find__gives_up)
{
	struct regex_scratch *s;
	struct regex_match m;
	struct regex *r;
	struct error e = { 0 };
	char text[64];

	memset(text, 'a', sizeof(text));
	memcpy(text + sizeof(text) - 2, "bc", 2);
	CHECK_OK(regex_open(&r, "(a|aa)+c", 8, &e), &e);
	CHECK_OK(regex_scratch_open(&s, &e), &e);
	CHECK_EQ(regex_find(r, s, text, sizeof(text), 0, &m, &e), -E2BIG);
	CHECK(strstr(e.text, "gave up"));
	regex_scratch_close(s);
	regex_close(r);
}

#ifdef PETALS_FAULTS
/* Goal: whichever allocation fails, nothing is left over. */
TEST(regex_open__unwinds_every_failure)
{
	uint64_t live = mem_live_blocks();

	for (int nth = 1;; nth++) {
		struct regex *r;
		struct error e = { 0 };
		bool fired;

		fault_arm(nth);
		(void)regex_open(&r, "[a-z]+\\w|b*", 11, &e);
		fired = fault_fired();
		regex_close(r);
		CHECK_EQ(mem_live_blocks(), live);
		if (!fired)
			break;
	}
	fault_disarm();
}
#endif
