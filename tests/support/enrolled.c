/* enrolled.c - puts the directory and its programs together. */
#include "tests/support/enrolled.h"

#include "dataplane/base/file.h"
#include "dataplane/base/memory.h"
#include "tests/support/folder.h"
#include "tests/test.h"

#define YEARS_S (10LL * 365 * 86400)

static struct identity *issue(struct enrolled *x, const char *name, uint32_t roles,
			      int64_t life_s)
{
	char *folder = file_join(x->folder, name);
	const struct ca_wish wish = { .name = name, .roles = roles, .life_s = life_s };
	struct error e = { 0 };
	struct identity *id;

	CHECK_OK(ca_issue_folder(x->ca, &wish, folder, &e), &e);
	CHECK_OK(identity_open(&id, folder, sim_clock(x->network), &e), &e);
	mem_free(folder);
	return id;
}

void enrolled_open(struct enrolled *x)
{
	struct registrar_options o;
	struct error e = { 0 };
	char *folder;

	memset(x, 0, sizeof(*x));
	x->network = test_network();
	x->folder = test_folder_open();
	folder = file_join(x->folder, "ca");
	CHECK_OK(ca_init(folder, "region-1", YEARS_S, sim_clock(x->network), &e), &e);
	CHECK_OK(ca_open(&x->ca, folder, sim_clock(x->network), &e), &e);
	mem_free(folder);
	x->identity = issue(x, "directory-1", PRINCIPAL_BIT(PRINCIPAL_DIRECTORY), YEARS_S);
	sim_program_open_as(&x->directory, x->network, ROLE_DIRECTORY, "directory-1", x->identity);
	sim_program_listen(&x->directory, "sim:1");
	o = (struct registrar_options){ x->directory.node, x->directory.rpc, x->identity, x->ca };
	CHECK_OK(registrar_open(&x->registrar, &o, &e), &e);
}

void enrolled_close(struct enrolled *x)
{
	sim_program_detach(&x->directory);
	registrar_close(x->registrar);
	sim_program_close(&x->directory);
	identity_close(x->identity);
	ca_close(x->ca);
	test_folder_close(x->folder);
	sim_network_close(x->network);
}

struct address enrolled_address(void)
{
	struct address a;
	struct error e = { 0 };

	CHECK_OK(address_parse(&a, "sim:1", &e), &e);
	return a;
}

static void open_program(struct enrolled *x, struct enrolled_program *p, enum wire_role role,
			 const char *name, struct identity *id)
{
	struct address a = enrolled_address();
	struct error e = { 0 };

	p->identity = id;
	sim_program_open_as(&p->program, x->network, role, name, id);
	CHECK_OK(node_link(p->program.node, &a, &p->peer, &e), &e);
}

void enrolled_program_open(struct enrolled *x, struct enrolled_program *p, const char *name,
			   uint32_t roles, int64_t life_s)
{
	open_program(x, p, ROLE_TOOL, name, issue(x, name, roles, life_s));
}

void enrolled_stranger_open(struct enrolled *x, struct enrolled_program *p)
{
	struct error e = { 0 };
	struct identity *id;

	CHECK_OK(identity_open_stranger(&id, ca_self(x->ca)->fingerprint, sim_clock(x->network),
					&e), &e);
	open_program(x, p, ROLE_TOOL, "stranger", id);
}

void enrolled_program_close(struct enrolled_program *p)
{
	sim_program_close(&p->program);
	identity_close(p->identity);
}
