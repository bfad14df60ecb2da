/* bench.c - petals-bench: the table of verbs.
 */
#include "tools/bench.h"

static const struct program *const verbs[] = {
	&bench_machine, &bench_decode, &bench_prefill, &bench_block, &bench_product,
	&bench_agree, &bench_quality, &bench_serve, &bench_swarm, &bench_transport, &bench_diary,
};

static const struct program program = {
	.name = "petals-bench",
	.summary = "measures how fast and how well this machine serves a model",
	.description =
		"Every figure stands beside what the same machine could do in the same minute: "
		"hosts drift, so quote ratios from one run.\n\n"
		"decode, prefill, block, product, agree and quality compute in this process; serve "
		"drives a gateway that is already there; swarm starts one and takes it down again; "
		"transport carries messages between two processes; diary measures what concerns a "
		"model, but for quality, and prints Markdown.",
	.verbs = verbs, .verb_count = ARRAY_LENGTH(verbs),
};

int main(int argc, char **argv)
{
	return options_main(&program, argc, argv);
}
