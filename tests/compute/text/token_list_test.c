/* token_list_test.c - tests of compute/text/token_list.c. */
#include "compute/text/token_list.h"

#include <errno.h>

#include "tests/test.h"

#ifdef PETALS_FAULTS
#include "dataplane/base/fault.h"
#endif

/* Goal: ids stay in order while the list grows, and a closed list starts anew. */
TEST(token_list__grows)
{
	struct token_list l = { 0 };

	for (uint32_t i = 0; i < 1000; i++)
		CHECK_EQ(token_list_push(&l, i * 7), 0);
	CHECK_EQ(l.count, 1000);
	for (uint32_t i = 0; i < 1000; i++)
		CHECK_EQ(l.ids[i], i * 7);
	token_list_close(&l);
	CHECK_EQ(l.count, 0);
	CHECK_EQ(token_list_push(&l, 3), 0);
	CHECK_EQ(l.ids[0], 3);
	token_list_close(&l);
}

#ifdef PETALS_FAULTS
/* Goal: what cannot grow keeps what it has. */
TEST(token_list__no_memory)
{
	struct token_list l = { 0 };

	for (uint32_t i = 0; i < 32; i++)
		CHECK_EQ(token_list_push(&l, i), 0);
	fault_arm(1);
	CHECK_EQ(token_list_push(&l, 32), -ENOMEM);
	fault_disarm();
	CHECK_EQ(l.count, 32);
	CHECK_EQ(l.ids[31], 31);
	CHECK_EQ(token_list_push(&l, 32), 0);
	token_list_close(&l);
}
#endif
