/* join_token_test.c - tokens survive their text, and no damaged one does. */
#include "tests/test.h"

#include <errno.h>

#include "control/join_token.h"
#include "dataplane/base/memory.h"

static struct join_token token(const char *directory)
{
	struct join_token t;

	memset(&t, 0, sizeof(t));
	snprintf(t.directory.text, sizeof(t.directory.text), "%s", directory);
	memset(t.authority, 0xab, sizeof(t.authority));
	memset(t.number, 0x17, sizeof(t.number));
	memset(t.secret, 0x5e, sizeof(t.secret));
	return t;
}

/* Goal: what is written is read, IPv6 included. */
TEST(join_token__there_and_back)
{
	static const char *const directories[] = { "10.0.0.5:7700", "[fd00::5]:7700",
						   "dir.example:1" };

	for (size_t i = 0; i < ARRAY_LENGTH(directories); i++) {
		struct join_token t = token(directories[i]), read;
		char text[JOIN_TOKEN_TEXT_BYTES];
		struct error e = { 0 };

		join_token_write(&t, text);
		CHECK(!strpbrk(text, " \t\n'\"$\\"));       /* whole in any shell */
		CHECK_OK(join_token_read(&read, text, &e), &e);
		CHECK_BYTES(&read, &t, sizeof(t));
	}
}

/* Goal: whatever single character is lost or changed is noticed, and the secret not told. */
TEST(join_token_read__notices_damage)
{
	struct join_token t = token("10.0.0.5:7700"), read;
	char text[JOIN_TOKEN_TEXT_BYTES], damaged[JOIN_TOKEN_TEXT_BYTES];
	struct error e;
	size_t length;

	join_token_write(&t, text);
	length = strlen(text);
	for (size_t i = 0; i < length; i++) {
		memcpy(damaged, text, sizeof(text));
		damaged[i] = damaged[i] == '1' ? '2' : '1';
		CHECK_EQ(join_token_read(&read, damaged, &e), -EINVAL);
		CHECK(!strstr(e.text, "5e5e"));
		damaged[i] = '\0';
		CHECK_EQ(join_token_read(&read, damaged, &e), -EINVAL);
		memmove(damaged + i, text + i + 1, length - i);
		CHECK_EQ(join_token_read(&read, damaged, &e), -EINVAL);
	}
	memcpy(damaged, text, sizeof(text));
	damaged[length] = 'x';
	damaged[length + 1] = '\0';
	CHECK_EQ(join_token_read(&read, damaged, &e), -EINVAL);
	CHECK_TEXT(e.text, "the join token was cut off or mistyped: its checksum is wrong");
	CHECK_EQ(join_token_read(&read, "10.0.0.5:7700", &e), -EINVAL);
	CHECK_TEXT(e.text, "this is no join token: one begins with \"petals-join-1/\"");
	CHECK_EQ(join_token_read(&read, "petals-join-1/10.0.0.5:7700/ab", &e), -EINVAL);
	CHECK_TEXT(e.text, "the join token was cut off");
}

/* Goal: a whole token for no address says that. */
TEST(join_token_read__checks_the_address)
{
	struct join_token t = token("nowhere"), read;
	char text[JOIN_TOKEN_TEXT_BYTES];
	struct error e = { 0 };

	join_token_write(&t, text);
	CHECK_EQ(join_token_read(&read, text, &e), -EINVAL);
	CHECK(strstr(e.text, "the join token's directory: "));
}
