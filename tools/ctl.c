/* ctl.c - petalsctl: the table of verbs.
 */
#include "tools/ctl.h"

#include <stdio.h>

static const struct program *const verbs[] = {
	&ctl_up, &ctl_status, &ctl_servers, &ctl_blocks, &ctl_devices, &ctl_generate, &ctl_ca_init,
	&ctl_ca_issue, &ctl_ca_renew, &ctl_ca_revoke, &ctl_ca_show, &ctl_ca_token, &ctl_version,
};

static const struct program program = {
	.name = "petalsctl",
	.summary = "runs and inspects a swarm",
	.description =
		"Starts a whole swarm on one machine, asks a directory who serves what, tells what "
		"fits a host's devices, generates text through a gateway, keeps the certificate "
		"authority that lets programs in.  Every verb prints for people, and takes "
		"--json to print for scripts.",
	.verbs = verbs, .verb_count = ARRAY_LENGTH(verbs),
};

struct version_flags { bool json; };

static const struct option version_options[] = {
	{ "json", OPTION_FLAG, offsetof(struct version_flags, json),
	  .help = "print a JSON object" },
};

static int run_version(void *target, int operand_count, char **operands)
{
	const struct version_flags *f = target;

	if (f->json)
		return ctl_print(json_pack("{s:s}", "version", PETALS_VERSION));
	printf("petalsctl %s\n", PETALS_VERSION);
	return 0;
}

const struct program ctl_version = {
	.name = "version", .summary = "prints the version",
	.options = version_options, .option_count = ARRAY_LENGTH(version_options),
	.target_bytes = sizeof(struct version_flags), .run = run_version,
};

int main(int argc, char **argv)
{
	return options_main(&program, argc, argv);
}
