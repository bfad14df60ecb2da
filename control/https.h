/* https.h - TLS beneath the HTTP server (libmicrohttpd's, by GnuTLS), with the program's own
 * identity: presents its certificate, asks clients for theirs, and judges those as on every
 * other connection (identity.h), anew with each request.
 *
 * GnuTLS makes sure that a client has the key of the certificate it shows; whether that is
 * believed, and what its holder may do (permission.h), is decided here.
 *
 * Threads    The HTTP server's.
 * Ownership  https_open() / https_close(), after the server has stopped; the identity is
 *            borrowed.
 * Units      None.
 * Errors     -errno with a sentence.
 */
#ifndef PETALS_CONTROL_HTTPS_H
#define PETALS_CONTROL_HTTPS_H

#include <gnutls/abstract.h>
#include <microhttpd.h>

#include "dataplane/identity.h"

struct https;

int https_open(struct https **out, struct identity *id, struct error *e);
void https_close(struct https *s);                       /* NULL is fine */
/* What MHD_start_daemon() wants beside MHD_USE_TLS. */
const char *https_priorities(void);
const char *https_trust(const struct https *s);          /* PEM */
/* For MHD_OPTION_HTTPS_CERT_CALLBACK; finds its https by the connection's socket context,
 * which is a struct http (http_private.h).
 */
int https_retrieve(gnutls_session_t session, const gnutls_datum_t *authorities, int count,
		   const gnutls_pk_algorithm_t *algorithms, int algorithm_count,
		   gnutls_pcert_st **certificates, unsigned *certificate_count,
		   gnutls_privkey_t *key);
/* 0, or -EPERM with a sentence: whoever is at the other end may not ask for this. */
int https_admit(struct https *s, struct MHD_Connection *c, const char *method, const char *path,
		struct error *e);

#endif
