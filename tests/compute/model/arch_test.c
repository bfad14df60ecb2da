/* arch_test.c - the tables are whole. */
#include "tests/test.h"

#include "compute/model/arch.h"
#include "dataplane/base/buffer.h"

/* Goal: families are found by both names, others are not. */
TEST(arch_by_name__rows)
{
	for (uint32_t i = 0; i < arch_count; i++) {
		CHECK(arch_by_name(archs[i].name) == &archs[i]);
		CHECK_EQ(archs[i].gguf_name != NULL, archs[i].gguf != NULL);
		if (archs[i].gguf_name)
			CHECK(arch_by_gguf_name(archs[i].gguf_name) == &archs[i]);
	}
	CHECK(arch_by_name("mixtral") == NULL);
	CHECK(arch_by_name("") == NULL);
	CHECK(arch_by_gguf_name("opt") == NULL);
}

/* Goal: the lists in refusals are those of the table. */
TEST(arch_list__names_every_row)
{
	struct buffer list = { 0 };

	for (uint32_t i = 0; i < arch_count; i++) {
		buffer_printf(&list, "%s%s", i ? ", " : "", archs[i].name);
		if (archs[i].gguf_name)
			CHECK(strstr(arch_gguf_list(), archs[i].gguf_name) != NULL);
	}
	CHECK_TEXT(arch_list(), list.data);
	buffer_close(&list);
}

/* Goal: every row has the names its parts need; block names have one %u. */
TEST(arch_names__complete)
{
	for (uint32_t i = 0; i < arch_count; i++) {
		const struct arch *a = &archs[i];
		const struct arch_names *both[] = { a->hf, a->gguf };

		for (size_t k = 0; k < ARRAY_LENGTH(both) && both[k]; k++) {
			const struct arch_names *n = both[k];
			bool fused = a->qkv != QKV_SPLIT, norm_bias = a->norm == NORM_LAYER;

			CHECK(n->prefixes[0] != NULL);
			CHECK(n->name[ROLE_EMBED_W] && n->name[ROLE_HEAD_W]);
			CHECK(n->name[ROLE_O_W] && n->name[ROLE_UP_W] && n->name[ROLE_DOWN_W]);
			CHECK_EQ(fused, n->qkv_w && n->qkv_b);
			CHECK_EQ(!fused, n->name[ROLE_Q_W] && n->name[ROLE_V_B]);
			CHECK(!norm_bias || (n->name[ROLE_NORM1_B] && n->name[ROLE_FINAL_NORM_B]));
			CHECK(!a->gated_mlp || n->name[ROLE_GATE_W]);
			CHECK(!a->embed_norm || n->name[ROLE_EMBED_NORM_W]);
			CHECK(a->position != POSITION_LEARNED || n->name[ROLE_POSITION_W]);
			for (int r = 0; r < ROLE_COUNT; r++)
				if (n->name[r])
					CHECK_EQ(strstr(n->name[r], "%u") != NULL,
						 r >= ROLE_EDGE_COUNT);
		}
	}
}

/* Goal: every role has words of its own. */
TEST(role_name__all_differ)
{
	for (int r = 0; r < ROLE_COUNT; r++)
		for (int other = 0; other < r; other++)
			CHECK(strcmp(role_name(r), role_name(other)) != 0);
}
