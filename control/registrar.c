/* registrar.c - the calls, and the list that goes to everybody when it changes.
 *
 * Leaves what a token is good for and who may be renewed to ca.c and its parts.
 */
#include "control/registrar.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include <openssl/x509.h>

#include "control/json.h"
#include "dataplane/base/file.h"
#include "dataplane/base/log.h"
#include "dataplane/base/memory.h"

enum { ENROLMENTS, RENEWALS, STRANGERS, LISTENERS, PUSHES };
static const struct counter_row rows[] = {
	[ENROLMENTS] = { COUNTER, "petals_registrar_enrolments_total",
			 "Join tokens presented, by how it went.", "outcome" },
	[RENEWALS] = { COUNTER, "petals_registrar_renewals_total",
		       "Certificates asked to be renewed, by how it went.", "outcome" },
	[STRANGERS] = { GAUGE, "petals_registrar_strangers",
			"Connections of programs without a certificate." },
	[LISTENERS] = { GAUGE, "petals_registrar_listeners",
			"Programs that are told of revocations." },
	[PUSHES] = { COUNTER, "petals_registrar_revocation_pushes_total",
		     "Revocation lists sent to programs." },
};

struct listener {
	uint32_t peer;
	bool behind;                    /* a newer list is owed */
};

struct stranger {
	uint32_t peer;
	uint64_t leave_ns;              /* time to enrol until then */
};

struct registrar {
	struct registrar_options o;
	struct counters *counters;
	uint64_t next_ns;               /* when to look again */
	struct timespec list_changed;   /* of the CA's file, as last taken */
	uint64_t generation;            /* of the identity, as last looked at */
	char *list;                     /* PEM, "" for none */
	uint32_t stranger_count;
	struct stranger strangers[REGISTRAR_STRANGERS_MAX];
	uint32_t count;
	struct listener listeners[REGISTRAR_LISTENERS_MAX];
};

static void count_outcome(struct registrar *r, uint32_t row, int rc)
{
	const char *outcome = rc == 0 ? "ok" : rc == -EPERM || rc == -EEXIST ? "refused" : "failed";

	counters_add(r->counters, row, counters_series(r->counters, row, outcome), 1);
}

/* ---- enrolling and renewing ---- */

/* "10.0.0.17" of "10.0.0.17:51234" and "fd00::1" of "[fd00::1]:51234"; "" where there is none. */
static void host_of(const struct address *a, char out[ADDRESS_TEXT_BYTES])
{
	const char *from = a ? a->text : "", *end = strrchr(from, ':');
	size_t length = end ? (size_t)(end - from) : 0;

	if (length > 2 && from[0] == '[') {
		from++;
		length -= 2;
	}
	memcpy(out, from, length);
	out[length] = '\0';
	/* Only what is an address of IP: it stands in the certificate. */
	if (strspn(out, "0123456789abcdef.:") != length || !strpbrk(out, ".:"))
		out[0] = '\0';
}

struct enrolment {
	uint8_t number[JOIN_TOKEN_NUMBER_BYTES], secret[JOIN_TOKEN_SECRET_BYTES];
	char request[CERTIFICATE_REQUEST_BYTES_MAX + 1];
};

static bool read_hex(struct json_reader *r, const json_t *params, const char *key, uint8_t *out,
		     size_t bytes)
{
	const char *text = json_string_value(json_object_get(params, key));

	if (text && strlen(text) == 2 * bytes && certificate_unhex(out, text, bytes))
		return true;
	json_read_fail(r, key, "must be %zu hexadecimal digits", 2 * bytes);
	return false;
}

/* PEM has line breaks, which json_read_text() would not take. */
static bool read_request(struct json_reader *r, const json_t *params, char *out)
{
	const json_t *text = json_object_get(params, "request");
	size_t length = json_string_length(text);

	if (!json_is_string(text) || length > CERTIFICATE_REQUEST_BYTES_MAX) {
		json_read_fail(r, "request",
			       "must be a request for a certificate in PEM, at most %d "
			       "bytes",
			       CERTIFICATE_REQUEST_BYTES_MAX);
		return false;
	}
	memcpy(out, json_string_value(text), length);
	out[length] = '\0';
	return true;
}

static int read_enrolment(struct enrolment *out, const json_t *params, struct error *e)
{
	struct json_reader r;

	json_read_open(&r, params, "params", e);
	if (json_read_result(&r) == 0 &&
	    read_hex(&r, params, "number", out->number, sizeof(out->number)) &&
	    read_hex(&r, params, "secret", out->secret, sizeof(out->secret)))
		read_request(&r, params, out->request);
	return json_read_result(&r);
}

static int no_ca(struct error *e)
{
	return error_set(e, -ENOTSUP, "this directory has no CA: start it with --ca DIR");
}

static int enrol(struct registrar *r, const struct rpc_request *q, const json_t *params,
		 char **certificate, char **authority, struct error *e)
{
	const struct address *from = node_address(r->o.node, rpc_request_peer(q));
	char host[ADDRESS_TEXT_BYTES];
	struct enrolment n;
	int rc = r->o.ca ? read_enrolment(&n, params, e) : no_ca(e);

	*certificate = *authority = NULL;
	if (rc < 0)
		return rc;
	host_of(from, host);
	rc = ca_enrol(r->o.ca, n.number, n.secret, n.request, strlen(n.request),
		      host[0] ? host : NULL, certificate, e);
	if (rc == 0)
		rc = ca_certificate_pem(r->o.ca, authority, e);
	OPENSSL_cleanse(n.secret, sizeof(n.secret));
	return rc;
}

static void log_certificate(const char *what, const char *certificate)
{
	struct principal p;
	X509 *c;

	if (certificate_from_pem(&c, certificate, NULL) < 0)
		return;
	if (principal_read(&p, c, NULL) == 0) {
		char roles[PRINCIPAL_ROLES_TEXT_BYTES], serial[CA_SERIAL_TEXT_BYTES];

		principal_roles_text(p.roles, roles);
		certificate_hex(serial, p.serial, p.serial_bytes);
		log_info("registrar", "%s %s as %s, certificate %s", what, p.name, roles, serial);
	}
	X509_free(c);
}

static void serve_enrol(void *ctx, struct rpc_request *q, const json_t *params)
{
	struct registrar *r = ctx;
	const struct address *from = node_address(r->o.node, rpc_request_peer(q));
	char *certificate, *authority;
	struct error e;
	int rc = enrol(r, q, params, &certificate, &authority, &e);

	count_outcome(r, ENROLMENTS, rc);
	if (rc < 0) {
		log_warn("registrar", "somebody at %s is not let in: %s", from ? from->text : "?",
			 e.text);
		rpc_fail(q, rc, "%s", e.text);
	} else {
		log_certificate("enrolled", certificate);
		rpc_reply(q, json_pack("{s:s, s:s, s:s}", "certificate", certificate, "authority",
				       authority, "revocations", r->list));
	}
	mem_free(certificate);
	mem_free(authority);
}

static void serve_renew(void *ctx, struct rpc_request *q, const json_t *params)
{
	struct registrar *r = ctx;
	const struct principal *p = rpc_request_principal(q);
	char request[CERTIFICATE_REQUEST_BYTES_MAX + 1], *certificate = NULL;
	struct json_reader reader;
	struct error e;
	int rc = r->o.ca ? 0 : no_ca(&e);

	if (rc == 0 && !p)
		rc = error_set(&e, -EPERM, "whoever has no certificate has none to renew");
	if (rc == 0) {
		json_read_open(&reader, params, "params", &e);
		if (json_read_result(&reader) == 0)
			read_request(&reader, params, request);
		rc = json_read_result(&reader);
	}
	if (rc == 0)
		rc = ca_renew(r->o.ca, p, request, strlen(request), &certificate, &e);
	count_outcome(r, RENEWALS, rc);
	if (rc < 0) {
		log_warn("registrar", "a certificate is not renewed: %s", e.text);
		rpc_fail(q, rc, "%s", e.text);
	} else {
		log_certificate("renewed", certificate);
		rpc_reply(q, json_pack("{s:s}", "certificate", certificate));
	}
	mem_free(certificate);
}

/* ---- revocations ---- */

static struct listener *find_listener(struct registrar *r, uint32_t peer)
{
	for (uint32_t i = 0; i < r->count; i++)
		if (r->listeners[i].peer == peer)
			return &r->listeners[i];
	return NULL;
}

static void serve_revocations(void *ctx, struct rpc_request *q, const json_t *params)
{
	struct registrar *r = ctx;
	uint32_t peer = rpc_request_peer(q);

	if (!find_listener(r, peer)) {
		if (r->count == REGISTRAR_LISTENERS_MAX) {
			rpc_fail(q, -EBUSY,
				 "as many programs as can be told of revocations are told");
			return;
		}
		r->listeners[r->count++] = (struct listener){ .peer = peer };
		counters_set(r->counters, LISTENERS, 0, r->count);
	}
	rpc_reply(q, json_pack("{s:s}", "revocations", r->list));
}

/* To those who have taken what they were sent before; the others when they have. */
static void push(struct registrar *r)
{
	for (uint32_t i = 0; i < r->count; i++) {
		struct listener *l = &r->listeners[i];

		if (!l->behind || node_queued(r->o.node, l->peer))
			continue;
		l->behind = rpc_event(r->o.rpc, l->peer, "revocations",
				      json_pack("{s:s}", "revocations", r->list)) < 0;
		counters_add(r->counters, PUSHES, 0, !l->behind);
	}
}

/* What the CA has revoked becomes what we ourselves go by. */
static void take_ca_list(struct registrar *r)
{
	char *path = file_join(ca_folder(r->o.ca), "crl.pem"), *pem = NULL;
	struct error e = { 0 };
	struct stat st;
	int rc = 0;

	if (!path || stat(path, &st) < 0 ||
	    (st.st_mtim.tv_sec == r->list_changed.tv_sec &&
	     st.st_mtim.tv_nsec == r->list_changed.tv_nsec))
		goto out;
	r->list_changed = st.st_mtim;
	rc = ca_revocations_pem(r->o.ca, &pem, &e);
	if (rc == 0)
		rc = identity_set_revocations(r->o.identity, pem, strlen(pem), &e);
	if (rc < 0)
		log_warn("registrar", "the CA's revocations are not in use: %s", e.text);
out:
	mem_free(pem);
	mem_free(path);
}

/* A new list for everybody, if ours has changed. */
static bool take_own_list(struct registrar *r)
{
	struct identity_pem pem;
	char *list;

	if (identity_generation(r->o.identity) == r->generation)
		return false;
	r->generation = identity_generation(r->o.identity);
	if (identity_export(r->o.identity, &pem, NULL) < 0)
		return false;
	list = mem_strdup(pem.crl ? pem.crl : "");
	identity_pem_release(&pem);
	if (!list || !strcmp(list, r->list)) {
		mem_free(list);
		return false;
	}
	mem_free(r->list);
	r->list = list;
	for (uint32_t i = 0; i < r->count; i++)
		r->listeners[i].behind = true;
	return true;
}

/* ---- strangers ---- */

static void forget_stranger(struct registrar *r, uint32_t peer)
{
	for (uint32_t i = 0; i < r->stranger_count; i++) {
		if (r->strangers[i].peer != peer)
			continue;
		r->strangers[i] = r->strangers[--r->stranger_count];
		counters_set(r->counters, STRANGERS, 0, r->stranger_count);
		return;
	}
}

/* Whoever has no certificate keeps nobody else out: few at a time, and not for long. */
static void on_up(void *ctx, const struct peer_info *info)
{
	struct registrar *r = ctx;

	if (!info->principal || info->principal->roles)
		return;
	if (r->stranger_count == REGISTRAR_STRANGERS_MAX) {
		node_refuse(r->o.node, info->peer, "stranger",
			    "%d programs without a certificate are "
			    "here already: try again",
			    REGISTRAR_STRANGERS_MAX);
		return;
	}
	r->strangers[r->stranger_count++] = (struct stranger){
		info->peer, node_now(r->o.node) + REGISTRAR_STRANGER_NS };
	counters_set(r->counters, STRANGERS, 0, r->stranger_count);
}

static void show_strangers_out(struct registrar *r, uint64_t now_ns)
{
	for (uint32_t i = r->stranger_count; i-- > 0;) {
		if (now_ns >= r->strangers[i].leave_ns)
			node_refuse(r->o.node, r->strangers[i].peer, "stranger",
				    "it has no certificate, and did not enrol");
		i = MIN(i, r->stranger_count);
	}
}

static int poll_registrar(void *ctx, uint64_t now_ns)
{
	struct registrar *r = ctx;

	if (now_ns < r->next_ns)
		return 0;
	r->next_ns = now_ns + REGISTRAR_POLL_NS;
	if (r->o.ca)
		take_ca_list(r);
	if (take_own_list(r))
		push(r);
	show_strangers_out(r, now_ns);
	return 1;
}

static uint64_t registrar_deadline(void *ctx)
{
	return ((struct registrar *)ctx)->next_ns;
}

static void on_lost(void *ctx, uint32_t peer, int code, const char *reason)
{
	struct registrar *r = ctx;
	struct listener *l = find_listener(r, peer);

	forget_stranger(r, peer);
	if (!l)
		return;
	*l = r->listeners[--r->count];
	counters_set(r->counters, LISTENERS, 0, r->count);
}

static void on_writable(void *ctx, uint32_t peer)
{
	struct registrar *r = ctx;
	struct listener *l = find_listener(r, peer);

	if (l && l->behind)
		push(r);
}

static const struct rpc_method methods[] = {
	{ "enrol", serve_enrol }, { "renew_certificate", serve_renew },
	{ "revocations", serve_revocations },
};

int registrar_open(struct registrar **out, const struct registrar_options *o, struct error *e)
{
	struct registrar *r = mem_calloc(1, sizeof(*r));
	int rc = -ENOMEM;

	*out = NULL;
	if (!r)
		return error_errno(e, rc, "opening the registrar");
	r->o = *o;
	r->generation = UINT64_MAX;
	r->list = mem_strdup("");
	if (r->list)
		rc = counters_open(&r->counters, rows, ARRAY_LENGTH(rows));
	if (rc == 0)
		rc = node_listener_add(o->node, &(struct node_listener){
			.ctx = r, .up = on_up, .lost = on_lost, .writable = on_writable });
	if (rc < 0) {
		counters_close(r->counters);
		mem_free(r->list);
		mem_free(r);
		return error_errno(e, rc, "opening the registrar");
	}
	/* The first list is there before anybody asks. */
	poll_registrar(r, 0);
	if (o->ca)
		identity_admit_strangers(o->identity);
	rpc_serve(o->rpc, methods, ARRAY_LENGTH(methods), r);
	core_add(node_core(o->node),
		 &(struct poller){ "registrar", r, poll_registrar, registrar_deadline });
	*out = r;
	return 0;
}

void registrar_close(struct registrar *r)
{
	if (!r)
		return;
	node_listener_remove(r->o.node, r);
	counters_close(r->counters);
	mem_free(r->list);
	mem_free(r);
}

struct counters *registrar_counters(struct registrar *r)
{
	return r->counters;
}
