/* real_directory.c - a small petals-directory within a test. */
#include "tests/support/real_directory.h"

#include "dataplane/base/file.h"
#include "dataplane/base/memory.h"
#include "tests/support/folder.h"
#include "tests/test.h"

static void *turn(void *ctx)
{
	core_run(node_core(((struct real_directory *)ctx)->node));
	return NULL;
}

static void serve_hello(void *ctx, struct rpc_request *q, const json_t *params)
{
	atomic_fetch_add(&((struct real_directory *)ctx)->views, 1);
	rpc_reply(q, json_pack("{s:s}", "hello", "there"));
}

static void serve_nothing(void *ctx, struct rpc_request *q, const json_t *params)
{
}

/* view: answered; watch: never. */
static const struct rpc_method methods[] = {
	{ "view", serve_hello }, { "watch", serve_nothing },
};

static void serve_lie(void *ctx, struct rpc_request *q, const json_t *params)
{
	rpc_reply(q, json_deep_copy(((struct real_directory *)ctx)->lie));
}

/* Found before the registrar's. */
static const struct rpc_method lies[] = { { "enrol", serve_lie } };

static void open_identity(struct real_directory *d, uint32_t roles)
{
	const struct ca_wish wish = { .name = "directory-1", .roles = roles, .life_s = 86400 };
	char *folder = file_join(d->folder, "ca"), *own = file_join(d->folder, "directory");
	struct error e = { 0 };

	CHECK_OK(ca_init(folder, "region-1", 864000, clock_real(), &e), &e);
	CHECK_OK(ca_open(&d->ca, folder, clock_real(), &e), &e);
	CHECK_OK(ca_issue_folder(d->ca, &wish, own, &e), &e);
	CHECK_OK(identity_open(&d->identity, own, clock_real(), &e), &e);
	mem_free(folder);
	mem_free(own);
}

static void open_directory(struct real_directory *d, uint32_t roles, bool insecure, json_t *lie)
{
	struct registrar_options registrar;
	struct transport_options o;
	struct address any = { "127.0.0.1:0" };
	struct error e = { 0 };

	memset(d, 0, sizeof(*d));
	d->lie = json_incref(lie);
	d->folder = test_folder_open();
	if (!insecure)
		open_identity(d, roles);
	transport_options_default(&o);
	o.engine = "uring";
	o.clock = clock_real();
	o.role = roles & PRINCIPAL_BIT(PRINCIPAL_DIRECTORY) ? ROLE_DIRECTORY : ROLE_TOOL;
	o.name = "directory-1";
	o.identity = d->identity;
	CHECK_OK(node_open(&d->node, &o, &e), &e);
	CHECK_EQ(rpc_open(&d->rpc, d->node), 0);
	rpc_serve(d->rpc, methods, ARRAY_LENGTH(methods), d);
	if (lie)
		rpc_serve(d->rpc, lies, ARRAY_LENGTH(lies), d);
	registrar = (struct registrar_options){ d->node, d->rpc, d->identity, d->ca };
	if (!insecure)
		CHECK_OK(registrar_open(&d->registrar, &registrar, &e), &e);
	CHECK_OK(node_listen(d->node, &any, &d->address, &e), &e);
	CHECK_EQ(pthread_create(&d->thread, NULL, turn, d), 0);
}

void real_directory_open(struct real_directory *d, uint32_t roles, bool insecure)
{
	open_directory(d, roles, insecure, NULL);
}

void real_directory_open_lying(struct real_directory *d, json_t *answer)
{
	open_directory(d, PRINCIPAL_BIT(PRINCIPAL_DIRECTORY), false, answer);
}

void real_directory_close(struct real_directory *d)
{
	core_stop(node_core(d->node));
	node_wake(d->node);
	CHECK_EQ(pthread_join(d->thread, NULL), 0);
	registrar_close(d->registrar);
	rpc_close(d->rpc);
	node_close(d->node);
	identity_close(d->identity);
	ca_close(d->ca);
	json_decref(d->lie);
	test_folder_close(d->folder);
}
