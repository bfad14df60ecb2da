/* bpe_test.c - tests of compute/text/bpe.c. */
#include "compute/text/bpe.h"

#include "tests/test.h"

static const char *const tokens[] = { "<unk>", "a", "b", "c", "ab", "bc", "abc", "<0xC3>",
				      "<0xA4>" };

struct fixture {
	struct vocab *vocab;
	struct bpe *bpe;
};

static struct fixture open_bpe(const struct bpe_options *o)
{
	struct fixture f;

	CHECK_EQ(vocab_open(&f.vocab, 16), 0);
	for (uint32_t id = 0; id < ARRAY_LENGTH(tokens); id++)
		CHECK_EQ(vocab_add(f.vocab, id, tokens[id], strlen(tokens[id])), 0);
	CHECK_EQ(bpe_open(&f.bpe, f.vocab, o, 3), 0);
	return f;
}

static void close_bpe(struct fixture *f)
{
	bpe_close(f->bpe);
	vocab_close(f->vocab);
}

/* The tokens of a word, joined by spaces. */
static const char *encoded(const struct fixture *f, const char *word)
{
	static char result[256];
	struct bpe_scratch s = { 0 };
	struct token_list l = { 0 };
	size_t n = 0;

	CHECK_EQ(bpe_encode(f->bpe, &s, word, strlen(word), &l), 0);
	result[0] = '\0';
	for (size_t i = 0; i < l.count; i++)
		n += (size_t)snprintf(result + n, sizeof(result) - n, "%s%s", i ? " " : "",
				      tokens[l.ids[i]]);
	token_list_close(&l);
	bpe_scratch_close(&s);
	return result;
}

/* Goal: the best rank goes first, wherever it is; equals from the left. */
TEST(bpe_encode__merges_by_rank)
{
	struct fixture f = open_bpe(&(struct bpe_options){ .unknown = -1 });

	bpe_add_merge(f.bpe, 2, 3, 0, 5);    /* b c */
	bpe_add_merge(f.bpe, 1, 2, 1, 4);    /* a b */
	CHECK_TEXT(encoded(&f, "abc"), "a bc");
	CHECK_TEXT(encoded(&f, "abab"), "ab ab");
	CHECK_TEXT(encoded(&f, ""), "");
	bpe_add_merge(f.bpe, 1, 5, 2, 6);    /* a bc */
	CHECK_TEXT(encoded(&f, "abcabc"), "abc abc");
	bpe_add_merge(f.bpe, 1, 2, 0, 4);    /* now it comes before b c, on its left */
	CHECK_TEXT(encoded(&f, "abc"), "ab c");
	close_bpe(&f);
}

/* Goal: unknown characters vanish, become <unk> one by one, or fused. */
TEST(bpe_encode__unknown)
{
	struct fixture f = open_bpe(&(struct bpe_options){ .unknown = -1 });

	CHECK_TEXT(encoded(&f, "axyb"), "a b");
	close_bpe(&f);
	f = open_bpe(&(struct bpe_options){ .unknown = 0 });
	CHECK_TEXT(encoded(&f, "axyb"), "a <unk> <unk> b");
	close_bpe(&f);
	f = open_bpe(&(struct bpe_options){ .unknown = 0, .fuse_unknown = true });
	CHECK_TEXT(encoded(&f, "axybx"), "a <unk> b <unk>");
	close_bpe(&f);
}

/* Goal: bytes stand in for a character when there is a token for each. */
TEST(bpe_encode__byte_fallback)
{
	struct fixture f = open_bpe(&(struct bpe_options){ .unknown = 0, .byte_fallback = true });

	CHECK_TEXT(encoded(&f, "a\xC3\xA4"), "a <0xC3> <0xA4>");
	CHECK_TEXT(encoded(&f, "a\xC3\xA5"), "a <unk>");
	close_bpe(&f);
}

/* Goal: a word that is a token is taken whole, when the model says so. */
TEST(bpe_encode__ignore_merges)
{
	struct fixture f = open_bpe(&(struct bpe_options){ .unknown = -1,
							   .ignore_merges = true });

	CHECK_TEXT(encoded(&f, "abc"), "abc");
	CHECK_TEXT(encoded(&f, "abca"), "a b c a");
	close_bpe(&f);
}
