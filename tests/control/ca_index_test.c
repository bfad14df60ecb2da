/* ca_index_test.c - rows survive their files, damaged files are named by line. */
#include "tests/test.h"

#include <errno.h>

#include "control/ca_index.h"
#include "dataplane/base/fault.h"
#include "dataplane/base/memory.h"
#include "tests/support/folder.h"

static void add(struct ca_index *x, const char *serial, const char *name, int64_t until,
		int64_t revoked)
{
	struct ca_certificate c = { .roles = 5,
				    .life_s = 9,
				    .not_before_unix_s = 1,
				    .not_after_unix_s = until,
				    .revoked_unix_s = revoked,
				    .fingerprint = "ff" };

	snprintf(c.serial, sizeof(c.serial), "%s", serial);
	snprintf(c.name, sizeof(c.name), "%s", name);
	CHECK_EQ(ca_index_add_certificate(x, &c), 0);
}

/* Goal: many rows, with and without each text, come back as they were. */
TEST(ca_index__there_and_back)
{
	struct ca_token t = { .number = "0102", .hash = "aa", .roles = 1, .life_s = 60,
			      .until_unix_s = 70, .spent_unix_s = 65, .serial = "0a", .key = "bb" },
			u = { .number = "0304", .hash = "cc", .roles = 2, .name = "gw-1",
			      .hosts = "a,b" };
	char *folder = test_folder_open();
	struct ca_index x = { 0 }, read;
	struct error e = { 0 };

	for (int i = 0; i < 100; i++) {
		char serial[CA_SERIAL_TEXT_BYTES];

		snprintf(serial, sizeof(serial), "%04x", i);
		add(&x, serial, i % 2 ? "even" : "odd", i, i % 3);
	}
	CHECK_EQ(ca_index_add_token(&x, &t), 0);
	CHECK_EQ(ca_index_add_token(&x, &u), 0);
	CHECK_OK(ca_index_save_certificates(&x, folder, &e), &e);
	CHECK_OK(ca_index_save_tokens(&x, folder, &e), &e);
	CHECK_EQ(test_folder_mode(folder, "tokens"), 0600);
	CHECK_OK(ca_index_load(&read, folder, &e), &e);
	CHECK_EQ(read.certificate_count, 100);
	CHECK_EQ(read.token_count, 2);
	CHECK_BYTES(read.certificates, x.certificates, 100 * sizeof(*x.certificates));
	CHECK_BYTES(read.tokens, x.tokens, 2 * sizeof(*x.tokens));
	ca_index_close(&read);
	ca_index_close(&x);
	test_folder_close(folder);
}

/* Goal: a folder without files is an empty index. */
TEST(ca_index_load__nothing_is_empty)
{
	char *folder = test_folder_open();
	struct error e = { 0 };
	struct ca_index x;

	CHECK_OK(ca_index_load(&x, folder, &e), &e);
	CHECK_EQ(x.certificate_count + x.token_count, 0);
	CHECK(!ca_index_find_serial(&x, "00"));
	CHECK(!ca_index_find_valid(&x, "a", 0));
	CHECK(!ca_index_find_token(&x, "00"));
	ca_index_close(&x);
	test_folder_close(folder);
}

/* Goal: of one name the valid one that lasts longest is found. */
TEST(ca_index_find_valid__the_one_that_lasts)
{
	struct ca_index x = { 0 };

	add(&x, "01", "a", 50, 0);
	add(&x, "02", "a", 90, 0);
	add(&x, "03", "a", 99, 7);
	add(&x, "04", "b", 95, 0);
	CHECK_TEXT(ca_index_find_valid(&x, "a", 60)->serial, "02");
	CHECK(!ca_index_find_valid(&x, "a", 91));
	CHECK_TEXT(ca_index_find_serial(&x, "03")->name, "a");
	ca_index_close(&x);
}

static void count_gone(void *ctx, const char *serial)
{
	CHECK(!strcmp(serial, "01") || !strcmp(serial, "03"));
	(*(unsigned *)ctx)++;
}

/* Goal: exactly what ended before is left out, and there is room afterwards. */
TEST(ca_index_prune__what_ended_before)
{
	struct ca_token old = { .number = "01", .until_unix_s = 5 }, fresh = { .number = "02",
									       .until_unix_s = 60 };
	struct ca_index x = { 0 };
	unsigned gone = 0;

	add(&x, "01", "a", 49, 0);
	add(&x, "02", "b", 50, 0);
	add(&x, "03", "c", 10, 7);
	add(&x, "04", "d", 95, 9);
	CHECK_EQ(ca_index_add_token(&x, &old), 0);
	CHECK_EQ(ca_index_add_token(&x, &fresh), 0);
	ca_index_prune(&x, 50, count_gone, &gone);
	CHECK_EQ(gone, 2);
	CHECK_EQ(x.certificate_count, 2);
	CHECK_TEXT(x.certificates[0].serial, "02");
	CHECK_TEXT(x.certificates[1].serial, "04");
	CHECK_EQ(x.token_count, 1);
	CHECK_TEXT(x.tokens[0].number, "02");
	for (int i = 0; i < 20; i++)
		add(&x, "05", "e", 99, 0);
	CHECK_EQ(x.certificate_count, 22);
	ca_index_close(&x);
}

/* Goal: each kind of damage is told with its line. */
TEST(ca_index_load__names_the_damaged_line)
{
	static const struct { const char *text, *what;
	} cases[] = {
		{ "01\ta\tserver\t-\t7\t1\t2\tff\t0\n02\ta\tserver", "ends in the middle of line "
								     "2" },
		{ "01\ta\tserver\t-\t7\t1\t2\tff\n", "is damaged in line 1" },
		{ "01\ta\tserver\t-\t7\t1\t2\tff\t0\t9\n", "is damaged in line 1" },
		{ "01\ta\tking\t-\t7\t1\t2\tff\t0\n", "is damaged in line 1" },
		{ "01\ta\tserver\t-\t7\tx\t2\tff\t0\n", "is damaged in line 1" },
		{ "01\ta\tserver\t-\t7\t1\t2\tff\t0\n\n", "is damaged in line 2" },
		{ "0123456789012345678901234567890123456789012\ta\tserver\t-\t7\t1\t2\tff\t0\n",
		  "is damaged in line 1" },
	};
	char *folder = test_folder_open();

	for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
		struct error e = { 0 };
		struct ca_index x;

		test_folder_write(folder, "certificates", cases[i].text);
		CHECK_EQ(ca_index_load(&x, folder, &e), -EBADMSG);
		CHECK(strstr(e.text, "/certificates "));
		CHECK(strstr(e.text, cases[i].what));
		CHECK(!x.certificates && !x.certificate_count);
	}
	test_folder_close(folder);
}

#ifdef PETALS_FAULTS
/* Goal: whatever fails, the file is as before and no memory is left. */
TEST(ca_index_save__all_or_nothing)
{
	char *folder = test_folder_open();
	struct error e = { 0 };
	struct ca_index x = { 0 }, read;
	int nth;

	add(&x, "01", "a", 50, 0);
	CHECK_OK(ca_index_save_certificates(&x, folder, &e), &e);
	add(&x, "02", "a", 90, 0);
	for (nth = 1;; nth++) {
		uint64_t before = mem_live_blocks();
		int rc;

		fault_arm(nth);
		rc = ca_index_save_certificates(&x, folder, &e);
		if (!fault_fired())
			break;
		fault_disarm();
		CHECK(rc < 0);
		CHECK_EQ(mem_live_blocks(), before);
		CHECK_OK(ca_index_load(&read, folder, &e), &e);
		CHECK_EQ(read.certificate_count, 1);
		ca_index_close(&read);
	}
	fault_disarm();
	CHECK(nth > 3);
	ca_index_close(&x);
	test_folder_close(folder);
}
#endif
