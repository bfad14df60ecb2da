/* config_rope_test.c - both spellings of rotary settings. */
#include "tests/test.h"

#include <errno.h>

#include "compute/model/config_source.h"

static int read_rope(const char *json, struct rope_config *out, struct error *e)
{
	json_t *root = json_loads(json, 0, NULL);
	struct source s = { root, "config.json", "", e };
	int rc;

	CHECK(root != NULL);
	*e = (struct error){ 0 };
	rc = source_rope(&s, out);
	json_decref(root);
	return rc;
}

/* Goal: each spelling of a setting gives that setting. */
TEST(source_rope__spellings)
{
#define THREE "\"factor\":8.0,\"low_freq_factor\":1.0,\"high_freq_factor\":4.0," \
	      "\"original_max_position_embeddings\":8192"
	static const struct {
		const char *json;
		float theta;
		enum rope_scaling scaling;
		float factor;
	} cases[] = {
		{ "{}", 10000, ROPE_PLAIN, 0 },
		{ "{\"rope_theta\":500000,\"rope_scaling\":null}", 500000, ROPE_PLAIN, 0 },
		{ "{\"rope_parameters\":{\"rope_theta\":1e6,\"rope_type\":\"default\"}}", 1e6f,
		  ROPE_PLAIN, 0 },
		{ "{\"rope_theta\":1e6,\"rope_parameters\":{\"rope_type\":\"default\"}}", 1e6f,
		  ROPE_PLAIN, 0 },
		{ "{\"rope_scaling\":{\"type\":\"linear\",\"factor\":2}}", 10000, ROPE_LINEAR, 2 },
		{ "{\"rope_scaling\":{\"rope_type\":\"linear\",\"factor\":2.5}}", 10000,
		  ROPE_LINEAR, 2.5f },
		{ "{\"rope_parameters\":{\"rope_theta\":1e6,\"rope_type\":\"linear\","
		  "\"factor\":2}}", 1e6f, ROPE_LINEAR, 2 },
		{ "{\"rope_theta\":5e5,\"rope_scaling\":{\"rope_type\":\"llama3\"," THREE "}}",
		  5e5f, ROPE_LLAMA3, 8 },
		{ "{\"rope_parameters\":{\"rope_theta\":5e5,\"rope_type\":\"llama3\"," THREE "}}",
		  5e5f, ROPE_LLAMA3, 8 },
		{ "{\"rope_theta\":5e5,\"rope_scaling\":{\"rope_type\":\"llama3\"," THREE "},"
		  "\"rope_parameters\":{\"rope_theta\":5e5,\"rope_type\":\"llama3\"," THREE "}}",
		  5e5f, ROPE_LLAMA3, 8 },
	};

	for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
		struct rope_config r;
		struct error e;

		CHECK_OK(read_rope(cases[i].json, &r, &e), &e);
		CHECK(r.theta == cases[i].theta);
		CHECK_EQ(r.scaling, cases[i].scaling);
		CHECK(r.factor == cases[i].factor);
		if (r.scaling == ROPE_LLAMA3)
			CHECK(r.low_freq_factor == 1 && r.high_freq_factor == 4 &&
			      r.original_positions == 8192);
	}
}

/* Goal: unknown, missing, absurd and contradicting settings are refused. */
TEST(source_rope__refusals)
{
	static const struct { const char *json; int code; const char *words; } cases[] = {
		{ "{\"rope_scaling\":{\"type\":\"yarn\",\"factor\":4}}", -ENOTSUP,
		  "rope_scaling.rope_type is 'yarn', accepted are default, linear and llama3" },
		{ "{\"rope_scaling\":{\"type\":\"dynamic\",\"factor\":4}}", -ENOTSUP, "'dynamic'" },
		{ "{\"rope_scaling\":{\"type\":\"linear\"}}", -EINVAL,
		  "rope_scaling.factor is missing" },
		{ "{\"rope_scaling\":{\"type\":\"linear\",\"factor\":-2}}", -EINVAL,
		  "rope_scaling.factor is -2, expected 1 to 1e+06" },
		{ "{\"rope_scaling\":{\"type\":\"linear\",\"factor\":\"2\"}}", -EINVAL,
		  "rope_scaling.factor is \"2\", expected a number" },
		{ "{\"rope_scaling\":[]}", -EINVAL, "rope_scaling is [], expected an object" },
		{ "{\"rope_parameters\":7}", -EINVAL, "rope_parameters is 7, expected an object" },
		{ "{\"rope_parameters\":{\"full_attention\":{\"rope_theta\":1}}}", -ENOTSUP,
		  "rope_parameters.full_attention is {\"rope_theta\":1}, expected one setting" },
		{ "{\"rope_theta\":0}", -EINVAL, "rope_theta is 0" },
		{ "{\"rope_theta\":\"big\"}", -EINVAL, "rope_theta is \"big\"" },
		{ "{\"partial_rotary_factor\":0.5}", -EINVAL, "partial_rotary_factor is 0.5" },
		{ "{\"rope_parameters\":{\"rope_type\":\"llama3\",\"factor\":8}}", -EINVAL,
		  "rope_parameters.low_freq_factor is missing" },
		{ "{\"rope_parameters\":{\"rope_type\":\"llama3\",\"factor\":8,"
		  "\"low_freq_factor\":1,\"high_freq_factor\":4}}", -EINVAL,
		  "rope_parameters.original_max_position_embeddings is missing" },
		{ "{\"rope_parameters\":{\"rope_type\":\"llama3\",\"factor\":8,"
		  "\"low_freq_factor\":4,\"high_freq_factor\":4}}", -EINVAL,
		  "high_freq_factor is 4, expected more than low_freq_factor, 4" },
		{ "{\"rope_parameters\":{\"rope_type\":\"llama3\",\"factor\":8,"
		  "\"low_freq_factor\":1,\"high_freq_factor\":4,"
		  "\"original_max_position_embeddings\":0}}", -EINVAL,
		  "original_max_position_embeddings is 0" },
		{ "{\"rope_scaling\":{\"type\":\"linear\",\"factor\":2},"
		  "\"rope_parameters\":{\"rope_type\":\"linear\",\"factor\":3}}", -EINVAL,
		  "rope_parameters and rope_scaling contradict each other" },
	};

	for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
		struct rope_config r;
		struct error e;
		int rc = read_rope(cases[i].json, &r, &e);

		if (rc != cases[i].code || !strstr(e.text, cases[i].words))
			fail_msg("%s: %d, '%s'; expected %d, '...%s...'", cases[i].json, rc, e.text,
				 cases[i].code, cases[i].words);
	}
}
