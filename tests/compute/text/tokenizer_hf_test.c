/* tokenizer_hf_test.c - tests of compute/text/tokenizer_hf.c. */
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "compute/text/tokenizer.h"
#include "tests/test.h"

#define MODEL "\"model\":{\"vocab\":{\"a\":0,\"<s>\":1},\"merges\":[]}"

struct folder {
	char path[64];
};

static void put(const struct folder *f, const char *name, const char *text)
{
	char path[128];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s", f->path, name);
	file = fopen(path, "w");
	CHECK(file);
	fputs(text, file);
	fclose(file);
}

static struct folder make_folder(void)
{
	struct folder f = { "/tmp/petals-tokenizer-XXXXXX" };

	CHECK(mkdtemp(f.path));
	return f;
}

static void remove_folder(const struct folder *f)
{
	static const char *const names[] = { "tokenizer.json", "tokenizer_config.json",
					     "chat_template.jinja" };
	char path[128];

	for (size_t i = 0; i < ARRAY_LENGTH(names); i++) {
		snprintf(path, sizeof(path), "%s/%s", f->path, names[i]);
		unlink(path);
	}
	rmdir(f->path);
}

/* Goal: a folder without tokenizer.json is refused by the file's name. */
TEST(tokenizer_open_hf__names_the_missing_file)
{
	struct folder f = make_folder();
	struct tokenizer *t;
	struct error e = { 0 };

	CHECK(tokenizer_open_hf(&t, f.path, &e) < 0);
	CHECK(!t);
	CHECK(strstr(e.text, "tokenizer.json"));
	put(&f, "tokenizer.json", "{}");
	CHECK(tokenizer_open_hf(&t, f.path, &e) < 0);
	CHECK(strstr(e.text, "tokenizer.json: model is missing"));
	remove_folder(&f);
}

/* Goal: bos, eos and template come from the settings in each spelling; a
 * chat_template.jinja wins.
 */
TEST(tokenizer_open_hf__settings)
{
	struct folder f = make_folder();
	struct tokenizer *t;
	struct error e = { 0 };

	put(&f, "tokenizer.json", "{" MODEL "}");
	CHECK_OK(tokenizer_open_hf(&t, f.path, &e), &e);
	CHECK_TEXT(tokenizer_bos(t), "");
	CHECK(!tokenizer_chat_template(t));
	tokenizer_close(t);

	put(&f, "tokenizer_config.json",
	    "{\"bos_token\":{\"content\":\"<s>\"},\"eos_token\":\"a\",\"chat_template\":["
	    "{\"name\":\"tool_use\",\"template\":\"T\"},"
	    "{\"name\":\"default\",\"template\":\"D\"}]}");
	CHECK_OK(tokenizer_open_hf(&t, f.path, &e), &e);
	CHECK_TEXT(tokenizer_bos(t), "<s>");
	CHECK_TEXT(tokenizer_eos(t), "a");
	CHECK_TEXT(tokenizer_chat_template(t), "D");
	tokenizer_close(t);

	put(&f, "chat_template.jinja", "{{ bos_token }}");
	CHECK_OK(tokenizer_open_hf(&t, f.path, &e), &e);
	CHECK_TEXT(tokenizer_chat_template(t), "{{ bos_token }}");
	tokenizer_close(t);
	remove_folder(&f);
}

/* Goal: broken settings are refused with the file and what is wrong. */
TEST(tokenizer_open_hf__broken_settings)
{
	struct folder f = make_folder();
	struct tokenizer *t;
	struct error e = { 0 };

	put(&f, "tokenizer.json", "{" MODEL "}");
	put(&f, "tokenizer_config.json", "{\"bos_token\": 7}");
	CHECK(tokenizer_open_hf(&t, f.path, &e) < 0);
	CHECK(strstr(e.text, "tokenizer_config.json: bos_token is an integer"));
	put(&f, "tokenizer_config.json", "{\"bos_token\": ");
	CHECK(tokenizer_open_hf(&t, f.path, &e) < 0);
	CHECK(strstr(e.text, "tokenizer_config.json: line 1"));
	put(&f, "tokenizer_config.json", "{\"chat_template\": [{}]}");
	CHECK(tokenizer_open_hf(&t, f.path, &e) < 0);
	CHECK(strstr(e.text, "chat_template[0]"));
	remove_folder(&f);
}
