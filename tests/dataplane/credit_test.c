/* credit_test.c - both sides of a grant agree, whatever happens in between. */
#include "dataplane/credit.h"

#include "dataplane/base/random.h"
#include "tests/test.h"

/* Goal: a sender can use what was granted and no more, and take one back. */
TEST(credit__sender_side)
{
	struct credit c = { 0 };

	CHECK(!credit_take(&c));
	CHECK(!credit_returned(&c, 1));
	credit_granted(&c, 2);
	CHECK(credit_take(&c));
	CHECK(credit_take(&c));
	CHECK(!credit_take(&c));
	credit_untake(&c);
	CHECK(credit_take(&c));
	CHECK(credit_returned(&c, 2));
	CHECK(!credit_returned(&c, 1));
	CHECK(!credit_returned(&c, UINT32_MAX));
}

/* Goal: a message beyond the grant is noticed; what is owed is due at half the
 * grant, or at once when the sender has nothing left.
 */
TEST(credit__receiver_side)
{
	struct credit c = { 0 };

	CHECK(!credit_arrived(&c));
	credit_grant(&c, 4);
	CHECK(credit_arrived(&c));
	credit_owe(&c);
	CHECK(!credit_is_due(&c));
	CHECK(credit_arrived(&c));
	credit_owe(&c);
	CHECK(credit_is_due(&c));
	CHECK_EQ(credit_tell(&c), 2);
	CHECK(!credit_is_due(&c));
	CHECK_EQ(credit_tell(&c), 0);
	for (int i = 0; i < 4; i++)
		CHECK(credit_arrived(&c));
	CHECK(!credit_arrived(&c));
	CHECK(!credit_is_due(&c));
	credit_owe(&c);
	CHECK(credit_is_due(&c));
}

/* Goal: a grant larger than a credit field comes back in parts. */
TEST(credit__field_holds_255)
{
	struct credit c = { 0 };

	credit_grant(&c, 300);
	for (int i = 0; i < 300; i++)
		CHECK(credit_arrived(&c));
	for (int i = 0; i < 300; i++)
		credit_owe(&c);
	CHECK_EQ(credit_tell(&c), 255);
	CHECK_EQ(credit_tell(&c), 45);
	CHECK_EQ(c.allowance, 300);
}

/* Goal: over any order of sending, arriving, putting and telling, the sides
 * never disagree and no slot is lost.
 */
TEST(credit__sides_agree)
{
	struct credit sender = { 0 }, receiver = { 0 };
	uint32_t flying = 0, lent = 0, telling = 0, grant = 7;
	struct random r;

	random_seed(&r, test_seed());
	credit_granted(&sender, grant);
	credit_grant(&receiver, grant);
	for (int i = 0; i < 20000; i++) {
		switch (random_below(&r, 5)) {
		case 0:
			flying += credit_take(&sender);
			break;
		case 1:
			if (flying) {
				CHECK(credit_arrived(&receiver));
				flying--;
				lent++;
			}
			break;
		case 2:
			if (lent) {
				credit_owe(&receiver);
				lent--;
			}
			break;
		case 3:
			telling += credit_tell(&receiver);
			break;
		default:
			CHECK(credit_returned(&sender, telling));
			telling = 0;
		}
		CHECK_EQ(sender.available + flying + lent + receiver.owed + telling, grant);
	}
}
