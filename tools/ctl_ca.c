/* ctl_ca.c - petalsctl ca: an operator's certificate authority, from the command line.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "control/ca.h"
#include "control/credentials.h"
#include "dataplane/base/buffer.h"
#include "dataplane/base/memory.h"
#include "dataplane/base/random.h"
#include "tools/ctl.h"

struct ca_flags {
	char *ca, *name, *role, *host, *out, *directory;
	uint64_t life_ns, ttl_ns;
	bool json;
};

#define AT(field) offsetof(struct ca_flags, field)

#define CA_OPTION \
	{ "ca", OPTION_TEXT, AT(ca), NULL, .metavar = "DIR", \
	  .help = "folder of the CA; ca in $PETALS_HOME or ~/.petals unless given" }
#define JSON_OPTION \
	{ "json", OPTION_FLAG, AT(json), NULL, .help = "print a JSON object" }
#define ROLE_HELP "what the holder may be: server, gateway, tenant, operator, directory, " \
	"joined by commas"

/* The folder that was given, or the one in HOME; mem_free() it. */
static int choose_folder(const char *given, const char *name, char **out, struct error *e)
{
	if (!given)
		return credentials_home(out, name, e);
	*out = mem_strdup(given);
	return *out ? 0 : error_errno(e, -ENOMEM, "naming %s", given);
}

static int open_ca(const struct ca_flags *f, struct ca **out, struct error *e)
{
	char *folder;
	int rc = choose_folder(f->ca, "ca", &folder, e);

	*out = NULL;
	if (rc == 0)
		rc = ca_open(out, folder, clock_real(), e);
	mem_free(folder);
	return rc;
}

/* "2026-11-27" */
static const char *day_of(int64_t unix_s, char out[32])
{
	time_t t = (time_t)unix_s;
	struct tm parts;

	gmtime_r(&t, &parts);
	strftime(out, 32, "%Y-%m-%d", &parts);
	return out;
}

static void fingerprint_of(const struct ca *ca, char out[CA_DIGEST_TEXT_BYTES])
{
	certificate_hex(out, ca_self(ca)->fingerprint, PRINCIPAL_FINGERPRINT_BYTES);
}

static int print_ca(const struct ca *ca, bool json, const char *what)
{
	const struct principal *self = ca_self(ca);
	char fingerprint[CA_DIGEST_TEXT_BYTES], day[32];

	fingerprint_of(ca, fingerprint);
	if (json)
		return ctl_print(json_pack("{s:s, s:s, s:s, s:I}", "ca", ca_folder(ca), "name",
					   self->name, "fingerprint", fingerprint, "not_after",
					   (json_int_t)self->not_after_unix_s));
	printf("%s %s in %s, valid until %s\nfingerprint %s\n", what, self->name, ca_folder(ca),
	       day_of(self->not_after_unix_s, day), fingerprint);
	return 0;
}

static int run_init(void *target, int operand_count, char **operands)
{
	const struct ca_flags *f = target;
	char name[32], *folder = NULL;
	struct ca *ca = NULL;
	struct error e;
	int status, rc = choose_folder(f->ca, "ca", &folder, &e);

	/* Two CAs should not go by one name. */
	snprintf(name, sizeof(name), "petals-ca-%08x", (unsigned)random_entropy());
	if (rc == 0)
		rc = ca_init(folder, f->name ? f->name : name, (int64_t)(f->life_ns / NS_PER_S),
			     clock_real(), &e);
	if (rc == 0)
		rc = ca_open(&ca, folder, clock_real(), &e);
	status = rc < 0 ? ctl_fail("ca init", &e) : print_ca(ca, f->json, "made the CA");
	ca_close(ca);
	mem_free(folder);
	return status;
}

static int wish_of(const struct ca_flags *f, struct ca_wish *out, struct error *e)
{
	*out = (struct ca_wish){ .name = f->name, .hosts = f->host,
				 .life_s = (int64_t)(f->life_ns / NS_PER_S) };
	return principal_roles_parse(&out->roles, f->role, e);
}

static int print_credentials(const char *folder, bool json, const char *what)
{
	char roles[PRINCIPAL_ROLES_TEXT_BYTES], day[32];
	struct identity *id;
	struct principal p;
	struct error e;

	if (identity_open(&id, folder, clock_real(), &e) < 0)
		return ctl_fail("ca", &e);
	identity_self(id, &p);
	identity_close(id);
	principal_roles_text(p.roles, roles);
	if (json)
		return ctl_print(json_pack("{s:s, s:s, s:s, s:I}", "credentials", folder, "name",
					   p.name, "roles", roles, "not_after",
					   (json_int_t)p.not_after_unix_s));
	printf("%s %s (%s) in %s, valid until %s\n", what, p.name, roles, folder,
	       day_of(p.not_after_unix_s, day));
	return 0;
}

static int run_issue(void *target, int operand_count, char **operands)
{
	const struct ca_flags *f = target;
	struct ca_wish wish;
	char *folder = NULL;
	struct ca *ca = NULL;
	struct error e;
	int status, rc = wish_of(f, &wish, &e);

	if (rc == 0)
		rc = open_ca(f, &ca, &e);
	if (rc == 0)
		rc = choose_folder(f->out, "credentials", &folder, &e);
	if (rc == 0)
		rc = ca_issue_folder(ca, &wish, folder, &e);
	status = rc < 0 ? ctl_fail("ca issue", &e) : print_credentials(folder, f->json, "issued");
	ca_close(ca);
	mem_free(folder);
	return status;
}

static int run_renew(void *target, int operand_count, char **operands)
{
	const struct ca_flags *f = target;
	char *folder = NULL;
	struct ca *ca = NULL;
	struct error e;
	int status, rc = open_ca(f, &ca, &e);

	if (rc == 0)
		rc = choose_folder(f->out, "credentials", &folder, &e);
	if (rc == 0)
		rc = ca_renew_folder(ca, folder, &e);
	status = rc < 0 ? ctl_fail("ca renew", &e) : print_credentials(folder, f->json, "renewed");
	ca_close(ca);
	mem_free(folder);
	return status;
}

static int run_revoke(void *target, int operand_count, char **operands)
{
	const struct ca_flags *f = target;
	struct ca *ca = NULL;
	struct error e;
	int all = 0, rc = open_ca(f, &ca, &e);

	if (rc == 0 && operand_count == 0)
		rc = error_set(&e, -EINVAL, "name whose certificate, or its serial number");
	for (int i = 0; rc >= 0 && i < operand_count; i++) {
		rc = ca_revoke(ca, operands[i], &e);
		all += MAX(rc, 0);
		if (rc >= 0 && !f->json)
			printf("revoked %d certificate%s of %s\n", rc, rc == 1 ? "" : "s",
			       operands[i]);
	}
	ca_close(ca);
	if (rc < 0)
		return ctl_fail("ca revoke", &e);
	return f->json ? ctl_print(json_pack("{s:i}", "revoked", all)) : 0;
}

static const char *state_of(const struct ca_certificate *c, int64_t now_unix_s)
{
	return c->revoked_unix_s		  ? "revoked"
	       : c->not_after_unix_s < now_unix_s ? "expired"
						  : "valid";
}

static json_t *certificate_to_json(const struct ca_certificate *c, int64_t now_unix_s)
{
	char roles[PRINCIPAL_ROLES_TEXT_BYTES];

	principal_roles_text(c->roles, roles);
	return json_pack("{s:s, s:s, s:s, s:s, s:I, s:s, s:s}", "serial", c->serial, "name",
			 c->name, "roles", roles, "hosts", c->hosts, "not_after",
			 (json_int_t)c->not_after_unix_s, "fingerprint", c->fingerprint, "state",
			 state_of(c, now_unix_s));
}

static bool is_wanted(const struct ca_certificate *c, int count, char **names)
{
	for (int i = 0; i < count; i++)
		if (!strcmp(c->name, names[i]) || !strcmp(c->serial, names[i]))
			return true;
	return count == 0;
}

static int show_json(const struct ca *ca, const struct ca_index *x, uint32_t open_tokens,
		     int count, char **names)
{
	int64_t now_unix_s = (int64_t)(clock_unix_ms(clock_real()) / 1000);
	char fingerprint[CA_DIGEST_TEXT_BYTES];
	json_t *all = json_array();

	for (uint32_t i = 0; i < x->certificate_count; i++)
		if (is_wanted(&x->certificates[i], count, names))
			json_array_append_new(all, certificate_to_json(&x->certificates[i],
								       now_unix_s));
	fingerprint_of(ca, fingerprint);
	return ctl_print(json_pack("{s:s, s:s, s:s, s:I, s:i, s:o}", "ca", ca_folder(ca), "name",
				   ca_self(ca)->name, "fingerprint", fingerprint, "not_after",
				   (json_int_t)ca_self(ca)->not_after_unix_s, "tokens",
				   (int)open_tokens, "certificates", all));
}

static int show(const struct ca *ca, const struct ca_index *x, uint32_t open_tokens, int count,
		char **names)
{
	int64_t now_unix_s = (int64_t)(clock_unix_ms(clock_real()) / 1000);
	char roles[PRINCIPAL_ROLES_TEXT_BYTES], day[32];

	print_ca(ca, false, "the CA");
	printf("%u join token%s can still be used\n", open_tokens, open_tokens == 1 ? "" : "s");
	if (x->certificate_count)
		printf("\n%-24s %-28s %-10s %-8s %s\n", "NAME", "ROLES", "UNTIL", "STATE",
		       "SERIAL");
	for (uint32_t i = 0; i < x->certificate_count; i++) {
		const struct ca_certificate *c = &x->certificates[i];

		if (!is_wanted(c, count, names))
			continue;
		principal_roles_text(c->roles, roles);
		printf("%-24s %-28s %-10s %-8s %s\n", c->name, roles,
		       day_of(c->not_after_unix_s, day), state_of(c, now_unix_s), c->serial);
	}
	return 0;
}

static int run_show(void *target, int operand_count, char **operands)
{
	int64_t now_unix_s = (int64_t)(clock_unix_ms(clock_real()) / 1000);
	const struct ca_flags *f = target;
	struct ca *ca = NULL;
	struct ca_index x = { 0 };
	uint32_t open_tokens = 0;
	struct error e;
	int status, rc = open_ca(f, &ca, &e);

	if (rc == 0)
		rc = ca_list(ca, &x, &e);
	for (uint32_t i = 0; i < x.token_count; i++)
		open_tokens += !x.tokens[i].spent_unix_s && x.tokens[i].until_unix_s >= now_unix_s;
	status = rc < 0  ? ctl_fail("ca show", &e) :
		 f->json ? show_json(ca, &x, open_tokens, operand_count, operands) :
			   show(ca, &x, open_tokens, operand_count, operands);
	ca_index_close(&x);
	ca_close(ca);
	return status;
}

static int run_token(void *target, int operand_count, char **operands)
{
	const struct ca_flags *f = target;
	char text[JOIN_TOKEN_TEXT_BYTES];
	struct address directory;
	struct join_token token;
	struct ca_wish wish;
	struct ca *ca = NULL;
	struct error e;
	int64_t ttl_s = (int64_t)(f->ttl_ns / NS_PER_S);
	int rc = wish_of(f, &wish, &e);

	if (rc == 0)
		rc = address_parse(&directory, f->directory, &e);
	if (rc == 0)
		rc = open_ca(f, &ca, &e);
	if (rc == 0)
		rc = ca_token(ca, &wish, ttl_s, &directory, &token, &e);
	ca_close(ca);
	if (rc < 0)
		return ctl_fail("ca token", &e);
	join_token_write(&token, text);
	if (f->json)
		return ctl_print(json_pack("{s:s, s:s, s:I}", "token", text, "roles", f->role,
					   "ttl_s", (json_int_t)ttl_s));
	printf("%s\n", text);
	return 0;
}

static const struct option init_options[] = {
	CA_OPTION,
	{ "name", OPTION_TEXT, AT(name), NULL, .metavar = "NAME",
	  .help = "what the CA is called; a random name unless given" },
	{ "life", OPTION_DURATION, AT(life_ns), "3650d", 60, 36500.0 * 86400,
	  .help = "how long the CA is valid" },
	JSON_OPTION,
};

static const struct option issue_options[] = {
	{ "name", OPTION_TEXT, AT(name), NULL, .metavar = "NAME", .required = true,
	  .help = "whose certificate it is" },
	{ "role", OPTION_TEXT, AT(role), NULL, .metavar = "ROLES", .required = true,
	  .help = ROLE_HELP },
	{ "host", OPTION_TEXT, AT(host), NULL, .metavar = "HOSTS",
	  .help = "names and addresses that HTTPS clients find it at, joined by commas" },
	{ "life", OPTION_DURATION, AT(life_ns), "90d", 5, 36500.0 * 86400,
	  .help = "how long the certificate is valid" },
	{ "out", OPTION_TEXT, AT(out), NULL, .metavar = "DIR",
	  .help = "folder for the credentials; credentials in $PETALS_HOME or ~/.petals unless "
		  "given" },
	CA_OPTION, JSON_OPTION,
};

static const struct option renew_options[] = {
	{ "credentials", OPTION_TEXT, AT(out), NULL, .metavar = "DIR",
	  .help = "whose certificate; credentials in $PETALS_HOME or ~/.petals unless given" },
	CA_OPTION, JSON_OPTION,
};

static const struct option revoke_options[] = { CA_OPTION, JSON_OPTION };
static const struct option show_options[] = { CA_OPTION, JSON_OPTION };

static const struct option token_options[] = {
	{ "role", OPTION_TEXT, AT(role), "server", .metavar = "ROLES", .help = ROLE_HELP },
	{ "directory", OPTION_ADDRESS, AT(directory), "127.0.0.1:7700",
	  .help = "the directory to enrol with, as the joining host reaches it" },
	{ "ttl", OPTION_DURATION, AT(ttl_ns), "1h", 1, 365.0 * 86400,
	  .help = "how long the token can be used" },
	{ "life", OPTION_DURATION, AT(life_ns), "30d", 5, 36500.0 * 86400,
	  .help = "how long the certificate will be valid" },
	{ "name", OPTION_TEXT, AT(name), NULL, .metavar = "NAME",
	  .help = "whom the token is for; whoever joins chooses a name unless given" },
	{ "host", OPTION_TEXT, AT(host), NULL, .metavar = "HOSTS",
	  .help = "names and addresses that HTTPS clients find it at, joined by commas" },
	CA_OPTION, JSON_OPTION,
};

static const char *const init_examples[] = { "petalsctl ca init --name region-1", NULL };
static const char *const issue_examples[] = {
	"petalsctl ca issue --role directory --name directory-1 --out /etc/petals",
	"petalsctl ca issue --role operator,tenant --name alice", NULL,
};
static const char *const revoke_examples[] = { "petalsctl ca revoke gpu-17", NULL };
static const char *const token_examples[] = {
	"petals-server --join $(petalsctl ca token --directory 10.0.0.5:7700) --model MODEL", NULL,
};

#define PROGRAM(verb, text, what, ...) \
	const struct program ctl_ca_##verb = { \
		.name = "ca " #verb, .summary = text, .description = what, \
		.options = verb##_options, .option_count = ARRAY_LENGTH(verb##_options), \
		.target_bytes = sizeof(struct ca_flags), .run = run_##verb, __VA_ARGS__ \
	}

PROGRAM(init, "makes a certificate authority",
	"Its key stays in its folder; whoever has it can issue certificates for the swarm.",
	.examples = init_examples);
PROGRAM(issue, "issues a certificate, with a new key, into a credentials folder",
	"The folder then has ca.pem, cert.pem, key.pem and crl.pem; programs take it by "
	"--credentials.", .examples = issue_examples);
PROGRAM(renew, "renews the certificate of a credentials folder",
	"Programs that use the folder notice by themselves. They also renew their certificates by "
	"themselves, from a directory that was started with --ca.");
PROGRAM(revoke, "revokes certificates, by name or serial number",
	"A directory that was started with --ca tells everybody within seconds; connections of "
	"whoever was revoked are closed.",
	.operands = "NAME|SERIAL ...", .examples = revoke_examples);
PROGRAM(show, "shows the CA and what it issued", "", .operands = "[NAME|SERIAL ...]");
PROGRAM(token, "makes a join token: one line that lets one new program in",
	"The token carries the directory's address, the CA's fingerprint and a secret that is good "
	"once. The directory must have been started with --ca.",
	.examples = token_examples);
