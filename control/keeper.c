/* keeper.c - one poller, a link to the directory, and two calls.
 *
 * Life of a renewal:
 *   from      to        by                                     then
 *   FRESH     DUE       two thirds of the life are over
 *   DUE       ASKED     the directory is there                 renew_certificate
 *   ASKED     FRESH     the answer fits our key                in use, in the folder
 *   ASKED     DUE       refused, lost, or it does not fit      again after a while
 */
#include "control/keeper.h"

#include <errno.h>
#include <string.h>

#include <openssl/evp.h>
#include <openssl/x509.h>

#include "control/certificate.h"
#include "dataplane/base/log.h"
#include "dataplane/base/memory.h"

#define POLL_NS          NS_PER_S
#define DIAL_AGAIN_NS    (2 * NS_PER_S)
#define LISTEN_AGAIN_NS  (60 * NS_PER_S)
#define CALL_TIMEOUT_NS  (10 * NS_PER_S)
#define RETRY_MOST_S     600

enum { PEERS_TOLD_MAX = RPC_CALLS_MAX };

enum { RENEWALS, LISTS, SHOWN };
static const struct counter_row rows[] = {
	[RENEWALS] = { COUNTER, "petals_keeper_renewals_total",
		       "Times our certificate was to be renewed, by how it went.", "outcome" },
	[LISTS] = { COUNTER, "petals_keeper_revocation_lists_total",
		    "Revocation lists received, by what became of them.", "outcome" },
	[SHOWN] = { COUNTER, "petals_keeper_certificates_shown_total",
		    "Renewed certificates shown to us by peers, by what became of them.",
		    "outcome" },
};

struct keeper {
	struct keeper_options o;
	struct counters *counters;
	uint64_t next_ns;               /* when to look again */

	uint32_t peer;                  /* 0: not linked */
	uint64_t dial_ns;

	int64_t list_call;              /* 0: none */
	uint64_t list_ns;               /* when to ask again */

	int64_t renew_call;
	uint64_t renew_ns;              /* not before */
	bool nobody_told;               /* that nobody renews it */
	uint8_t shown[PRINCIPAL_FINGERPRINT_BYTES];     /* the certificate that peers know */
};

static void count(struct keeper *k, uint32_t row, const char *outcome)
{
	counters_add(k->counters, row, counters_series(k->counters, row, outcome), 1);
}

int64_t keeper_due_unix_s(const struct principal *p)
{
	return p->not_before_unix_s + (p->not_after_unix_s - p->not_before_unix_s) * 2 / 3;
}

static int64_t unix_s(const struct keeper *k)
{
	return (int64_t)(clock_unix_ms(node_clock(k->o.node)) / 1000);
}

/* ---- revocations ---- */

static void take_list(struct keeper *k, const json_t *data)
{
	const json_t *text = json_object_get(data, "revocations");
	size_t bytes = json_string_length(text);
	struct error e;
	int rc;

	if (json_is_string(text) && bytes == 0)         /* nobody was ever revoked */
		return;
	rc = json_is_string(text) ?
	     identity_set_revocations(k->o.identity, json_string_value(text), bytes, &e) :
	     error_set(&e, -EPROTO, "the directory sent no text");
	count(k, LISTS, rc < 0 ? "refused" : rc ? "taken" : "known");
	if (rc < 0)
		log_warn("keeper", "a revocation list is not taken: %s", e.text);
}

static void on_event(void *ctx, uint32_t peer, const json_t *data)
{
	struct keeper *k = ctx;

	if (peer == k->peer)
		take_list(k, data);
}

static void on_list(void *ctx, int code, const char *message, const json_t *result)
{
	struct keeper *k = ctx;

	k->list_call = 0;
	k->list_ns = node_now(k->o.node) + LISTEN_AGAIN_NS;
	if (code == 0)
		take_list(k, result);
	else if (code != -ECONNRESET && code != -ECANCELED)
		log_warn("keeper", "asking %s what is revoked: %s", k->o.directory->text, message);
}

static void ask_list(struct keeper *k, uint64_t now_ns)
{
	int64_t call = rpc_call(k->o.rpc, k->peer, "revocations", json_object(), CALL_TIMEOUT_NS,
				on_list, k);

	k->list_call = MAX(call, 0);
	k->list_ns = now_ns + DIAL_AGAIN_NS;
}

/* ---- renewing ---- */

/* Again soon enough for several tries before the end. */
static void renew_later(struct keeper *k, int code, const char *message)
{
	struct principal self;
	int64_t left_s;

	identity_self(k->o.identity, &self);
	left_s = self.not_after_unix_s - unix_s(k);
	count(k, RENEWALS, "failed");
	if (code != -ECANCELED)
		log_warn("keeper",
			 "the certificate of %s, which ends in %lld s, is not renewed: %s",
			 self.name, (long long)left_s, message);
	k->renew_ns = node_now(k->o.node) +
		      NS_PER_S * (uint64_t)MIN(MAX(left_s / 10, 1), RETRY_MOST_S);
}

static void take_certificate(struct keeper *k, const char *certificate)
{
	struct principal self;
	struct error e;
	int rc = certificate ? identity_install(k->o.identity, certificate, &e) :
			       error_set(&e, -EPROTO, "the answer has no certificate");

	if (rc < 0) {
		renew_later(k, rc, e.text);
		return;
	}
	identity_self(k->o.identity, &self);
	count(k, RENEWALS, "ok");
	log_info("keeper", "the certificate of %s was renewed for %lld s", self.name,
		 (long long)(self.not_after_unix_s - unix_s(k)));
}

static void on_renewed(void *ctx, int code, const char *message, const json_t *result)
{
	struct keeper *k = ctx;

	k->renew_call = 0;
	if (code < 0)
		renew_later(k, code, message);
	else
		take_certificate(k, json_string_value(json_object_get(result, "certificate")));
}

/* For our own name and key; mem_free() it. */
static int make_request(struct keeper *k, char **request, struct error *e)
{
	struct identity_pem pem;
	struct principal self;
	EVP_PKEY *key = NULL;
	int rc = identity_export(k->o.identity, &pem, e);

	*request = NULL;
	if (rc < 0)
		return rc;
	identity_self(k->o.identity, &self);
	rc = certificate_key_from_pem(&key, pem.key, e);
	if (rc == 0)
		rc = certificate_request_make(request, self.name, key, e);
	EVP_PKEY_free(key);
	identity_pem_release(&pem);
	return rc;
}

static void renew(struct keeper *k)
{
	char *request, *certificate = NULL;
	struct error e;
	int64_t call;
	int rc = make_request(k, &request, &e);

	if (rc == 0 && k->o.renew) {
		rc = k->o.renew(k->o.ctx, request, &certificate, &e);
		if (rc == 0)
			take_certificate(k, certificate);
	} else if (rc == 0) {
		call = rpc_call(k->o.rpc, k->peer, "renew_certificate",
				json_pack("{s:s}", "request", request), CALL_TIMEOUT_NS, on_renewed,
				k);
		k->renew_call = MAX(call, 0);
		if (call < 0)
			rc = error_errno(&e, (int)call, "asking for it");
	}
	if (rc < 0)
		renew_later(k, rc, e.text);
	mem_free(certificate);
	mem_free(request);
}

static bool renewal_is_due(const struct keeper *k, uint64_t now_ns)
{
	struct principal self;

	if (k->renew_call || now_ns < k->renew_ns)
		return false;
	identity_self(k->o.identity, &self);
	return self.roles && unix_s(k) >= keeper_due_unix_s(&self);
}

static void renew_if_possible(struct keeper *k)
{
	if (k->o.renew || (k->peer && node_is_up(k->o.node, k->peer)))
		renew(k);
	else if (!k->o.directory && !k->nobody_told)
		log_warn("keeper",
			 "two thirds of our certificate's life are over, and nobody renews "
			 "it: `petalsctl ca renew --credentials %s`",
			 identity_folder(k->o.identity) ? identity_folder(k->o.identity) : "DIR");
	k->nobody_told |= !k->o.renew && !k->o.directory;
}

/* ---- showing it ---- */

/* Whoever does not take it closes the connection when the old one ends. */
static void on_shown(void *ctx, int code, const char *message, const json_t *result)
{
	if (code < 0 && code != -ECONNRESET && code != -ECANCELED)
		log_warn("keeper", "our renewed certificate is not taken: %s", message);
}

static void show(struct keeper *k)
{
	uint32_t peers[PEERS_TOLD_MAX], count;
	struct identity_pem pem;
	struct principal self;

	identity_self(k->o.identity, &self);
	if (!memcmp(self.fingerprint, k->shown, sizeof(k->shown)) ||
	    identity_export(k->o.identity, &pem, NULL) < 0)
		return;
	memcpy(k->shown, self.fingerprint, sizeof(k->shown));
	count = node_certified_peers(k->o.node, peers, PEERS_TOLD_MAX);
	for (uint32_t i = 0; i < count; i++)
		rpc_call(k->o.rpc, peers[i], "certificate",
			 json_pack("{s:s}", "certificate", pem.cert), CALL_TIMEOUT_NS, on_shown,
			 NULL);
	identity_pem_release(&pem);
}

/* A certificate for the name and key that the peer has proved to have; in p. */
static int look_at(struct keeper *k, const struct principal *old, const char *pem,
		   struct principal *p, struct error *e)
{
	struct identity_der der = { NULL, 0 };
	enum identity_fault fault;
	unsigned char *bytes = NULL;
	X509 *c;
	int length, rc = certificate_from_pem(&c, pem ? pem : "", e);

	if (rc < 0)
		return rc;
	length = i2d_X509(c, &bytes);
	X509_free(c);
	if (length < 0)
		return error_errno(e, -ENOMEM, "looking at a certificate");
	der = (struct identity_der){ bytes, (size_t)length };
	rc = identity_verify(k->o.identity, &der, 1, 0, p, &fault, e);
	OPENSSL_free(bytes);
	if (rc == 0 && (strcmp(p->name, old->name) || memcmp(p->key, old->key, sizeof(p->key))))
		rc = error_set(e, -EPERM, "it is not for %s's name and key", old->name);
	return rc;
}

static void serve_certificate(void *ctx, struct rpc_request *q, const json_t *params)
{
	const char *pem = json_string_value(json_object_get(params, "certificate"));
	const struct principal *old = rpc_request_principal(q);
	struct keeper *k = ctx;
	struct principal p;
	struct error e;
	int rc = old ? look_at(k, old, pem, &p, &e) :
		       error_set(&e, -EPERM, "this connection has no certificates");

	count(k, SHOWN, rc < 0 ? "refused" : "taken");
	if (rc < 0) {
		log_warn("keeper", "a renewed certificate is not taken: %s", e.text);
		rpc_fail(q, rc, "%s", e.text);
		return;
	}
	node_renew_principal(k->o.node, rpc_request_peer(q), &p);
	rpc_reply(q, json_object());
}

static const struct rpc_method methods[] = { { "certificate", serve_certificate } };

/* ---- the link and the poller ---- */

static void on_lost(void *ctx, uint32_t peer, int code, const char *reason)
{
	struct keeper *k = ctx;

	if (!k->peer || peer != k->peer)
		return;
	k->peer = 0;
	k->list_ns = 0;                 /* whoever comes back may have news */
	k->dial_ns = node_now(k->o.node) + DIAL_AGAIN_NS;
}

static void dial(struct keeper *k, uint64_t now_ns)
{
	struct error e;

	k->dial_ns = now_ns + DIAL_AGAIN_NS;
	if (node_link(k->o.node, k->o.directory, &k->peer, &e) < 0)
		k->peer = 0;            /* the directory's client says why */
}

static int poll_keeper(void *ctx, uint64_t now_ns)
{
	struct keeper *k = ctx;
	struct error e;

	if (now_ns < k->next_ns)
		return 0;
	k->next_ns = now_ns + POLL_NS;
	if (identity_poll(k->o.identity, now_ns, &e) < 0)
		log_warn("keeper", "the changed credentials are not taken: %s", e.text);
	if (k->o.directory && !k->peer && now_ns >= k->dial_ns)
		dial(k, now_ns);
	if (k->peer && node_is_up(k->o.node, k->peer) && !k->list_call && now_ns >= k->list_ns)
		ask_list(k, now_ns);
	if (renewal_is_due(k, now_ns))
		renew_if_possible(k);
	show(k);
	return 1;
}

static uint64_t keeper_deadline(void *ctx)
{
	return ((struct keeper *)ctx)->next_ns;
}

int keeper_open(struct keeper **out, const struct keeper_options *o, struct error *e)
{
	struct keeper *k = mem_calloc(1, sizeof(*k));
	struct principal self;
	int rc = k ? counters_open(&k->counters, rows, ARRAY_LENGTH(rows)) : -ENOMEM;

	*out = NULL;
	if (rc == 0)
		rc = node_listener_add(o->node,
				       &(struct node_listener){ .ctx = k, .lost = on_lost });
	if (rc < 0) {
		if (k)
			counters_close(k->counters);
		mem_free(k);
		return error_errno(e, rc, "opening the keeper of our certificate");
	}
	k->o = *o;
	identity_self(o->identity, &self);
	memcpy(k->shown, self.fingerprint, sizeof(k->shown));
	rpc_serve(o->rpc, methods, ARRAY_LENGTH(methods), k);
	if (o->directory)
		rpc_on_event(o->rpc, "revocations", on_event, k);
	core_add(node_core(o->node), &(struct poller){ "keeper", k, poll_keeper, keeper_deadline });
	*out = k;
	return 0;
}

void keeper_close(struct keeper *k)
{
	if (!k)
		return;
	if (k->list_call)
		rpc_cancel(k->o.rpc, k->list_call);
	if (k->renew_call)
		rpc_cancel(k->o.rpc, k->renew_call);
	node_listener_remove(k->o.node, k);
	if (k->peer)
		node_unlink(k->o.node, k->peer);
	counters_close(k->counters);
	mem_free(k);
}

struct counters *keeper_counters(struct keeper *k)
{
	return k->counters;
}
