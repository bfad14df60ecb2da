/* https.c - our certificate as GnuTLS wants it, and the clients' as identity.c does.
 *
 * A handshake that has begun may still use the certificate that was there before: what was
 * replaced is kept for a while.
 */
#include "control/https.h"

#include <errno.h>
#include <string.h>

#include "control/http_private.h"
#include "control/permission.h"
#include "dataplane/base/clock.h"
#include "dataplane/base/log.h"
#include "dataplane/base/memory.h"

/* No handshake of a connection takes longer. */
#define RETIRED_NS (600 * NS_PER_S)

enum { CHAIN_MAX = 4 };

struct presented {
	struct presented *older;
	uint64_t retired_ns;
	gnutls_pcert_st chain[CHAIN_MAX];
	unsigned count;
	gnutls_privkey_t key;
};

struct https {
	struct identity *identity;
	char *trust;
	uint64_t generation;            /* of the identity, that `newest` is made from */
	struct presented *newest;
};

static void free_presented(struct presented *p)
{
	for (unsigned i = 0; i < p->count; i++)
		gnutls_pcert_deinit(&p->chain[i]);
	gnutls_privkey_deinit(p->key);
	mem_free(p);
}

/* Lets go of what was replaced long ago. */
static void forget_retired(struct https *s, uint64_t now_ns)
{
	struct presented **at = &s->newest->older;

	while (*at) {
		struct presented *p = *at;

		if (now_ns < p->retired_ns + RETIRED_NS) {
			at = &p->older;
			continue;
		}
		*at = p->older;
		free_presented(p);
	}
}

static int gnutls_error(struct error *e, int code)
{
	return error_set(e, -EKEYREJECTED, "GnuTLS does not take our certificate: %s",
			 gnutls_strerror(code));
}

static int import(struct presented *p, const struct identity_pem *pem, struct error *e)
{
	const gnutls_datum_t cert = { (unsigned char *)pem->cert, (unsigned)strlen(pem->cert) };
	const gnutls_datum_t key = { (unsigned char *)pem->key, (unsigned)strlen(pem->key) };
	unsigned count = CHAIN_MAX;
	int rc = gnutls_privkey_init(&p->key);

	if (rc >= 0)
		rc = gnutls_privkey_import_x509_raw(p->key, &key, GNUTLS_X509_FMT_PEM, NULL, 0);
	if (rc >= 0)
		rc = gnutls_pcert_list_import_x509_raw(p->chain, &count, &cert,
						       GNUTLS_X509_FMT_PEM, 0);
	if (rc < 0)
		return gnutls_error(e, rc);
	p->count = count;
	return 0;
}

/* Makes what we present from the identity as it is now. */
static int refresh(struct https *s, struct error *e)
{
	uint64_t generation = identity_generation(s->identity), now_ns = clock_ns(clock_real());
	struct presented *p = mem_calloc(1, sizeof(*p));
	struct identity_pem pem;
	int rc = p ? identity_export(s->identity, &pem, e) : error_errno(e, -ENOMEM, "HTTPS");

	if (rc < 0) {
		mem_free(p);
		return rc;
	}
	rc = import(p, &pem, e);
	identity_pem_release(&pem);
	s->generation = generation;
	if (rc < 0) {
		free_presented(p);
		return rc;
	}
	if (s->newest)
		s->newest->retired_ns = now_ns;
	p->older = s->newest;
	s->newest = p;
	forget_retired(s, now_ns);
	return 0;
}

int https_open(struct https **out, struct identity *id, struct error *e)
{
	struct https *s = mem_calloc(1, sizeof(*s));
	struct identity_pem pem;
	int rc = s ? identity_export(id, &pem, e) : error_errno(e, -ENOMEM, "HTTPS");

	*out = NULL;
	if (rc < 0) {
		mem_free(s);
		return rc;
	}
	s->identity = id;
	s->trust = mem_strdup(pem.ca);
	identity_pem_release(&pem);
	rc = s->trust ? refresh(s, e) : error_errno(e, -ENOMEM, "HTTPS");
	if (rc < 0)
		https_close(s);
	else
		*out = s;
	return rc;
}

void https_close(struct https *s)
{
	if (!s)
		return;
	while (s->newest) {
		struct presented *p = s->newest;

		s->newest = p->older;
		free_presented(p);
	}
	mem_free(s->trust);
	mem_free(s);
}

const char *https_priorities(void)
{
	return "NORMAL:-VERS-ALL:+VERS-TLS1.3";
}

const char *https_trust(const struct https *s)
{
	return s->trust;
}

int https_retrieve(gnutls_session_t session, const gnutls_datum_t *authorities, int count,
		   const gnutls_pk_algorithm_t *algorithms, int algorithm_count,
		   gnutls_pcert_st **certificates, unsigned *certificate_count,
		   gnutls_privkey_t *key)
{
	struct MHD_Connection *c = gnutls_session_get_ptr(session);
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(c, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
	struct https *s = ((struct http *)info->socket_context)->https;
	struct error e;

	/* On any error the certificate before it stays in use. */
	if (identity_generation(s->identity) != s->generation && refresh(s, &e) < 0)
		log_warn("https", "the renewed certificate is not in use: %s", e.text);
	*certificates = s->newest->chain;
	*certificate_count = s->newest->count;
	*key = s->newest->key;
	return 0;
}

/* Who is there; -EKEYREJECTED with a sentence: nobody we believe. */
static int judge(struct https *s, struct MHD_Connection *c, struct principal *p, struct error *e)
{
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(c, MHD_CONNECTION_INFO_GNUTLS_SESSION);
	struct identity_der chain[CHAIN_MAX];
	const gnutls_datum_t *shown = NULL;
	enum identity_fault fault;
	unsigned count = 0;

	if (info)
		shown = gnutls_certificate_get_peers(info->tls_session, &count);
	if (!shown)
		count = 0;
	count = MIN(count, (unsigned)CHAIN_MAX);
	for (unsigned i = 0; i < count; i++)
		chain[i] = (struct identity_der){ shown[i].data, shown[i].size };
	return identity_verify(s->identity, chain, count, 0, p, &fault, e);
}

int https_admit(struct https *s, struct MHD_Connection *c, const char *method, const char *path,
		struct error *e)
{
	struct principal p;
	int rc = judge(s, c, &p, e);

	if (rc == 0)
		return permission_check(&p, permission_of_http(method, path), e);
	error_wrap(e, "this address wants a client certificate of its CA");
	return -EPERM;
}
