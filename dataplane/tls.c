/* tls.c - one OpenSSL session between two memory BIOs. */
#include "dataplane/tls.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/ssl.h>
#include <string.h>

#include "dataplane/base/memory.h"

static const char label[] = "EXPORTER-petals-lane";
static const char *const purposes[TLS_PURPOSES] = {
	[TLS_FOR_LANE] = "lane", [TLS_FOR_FLOW] = "flow",
};

struct tls {
	struct identity *identity;
	SSL *ssl;
	BIO *in, *out;                  /* the session's */
	bool dialing;
	enum tls_state state;
	struct principal principal;
	uint8_t secrets[TLS_PURPOSES][2][SEAL_SECRET_BYTES];    /* the dialer's first */
};

int tls_open(struct tls **out, struct identity *id, bool dialing, struct error *e)
{
	struct tls *t = mem_calloc(1, sizeof(*t));

	*out = NULL;
	if (!t)
		return error_errno(e, -ENOMEM, "cannot begin a TLS handshake");
	t->identity = id;
	t->dialing = dialing;
	t->ssl = identity_session(id, dialing, 0);
	t->in = BIO_new(BIO_s_mem());
	t->out = BIO_new(BIO_s_mem());
	if (!t->ssl || !t->in || !t->out) {
		BIO_free(t->in);
		BIO_free(t->out);
		SSL_free(t->ssl);
		mem_free(t);
		return error_errno(e, -ENOMEM, "cannot begin a TLS handshake");
	}
	SSL_set_bio(t->ssl, t->in, t->out);
	*out = t;
	return 0;
}

void tls_close(struct tls *t)
{
	if (!t)
		return;
	SSL_free(t->ssl);
	OPENSSL_cleanse(t->secrets, sizeof(t->secrets));
	mem_free(t);
}

enum tls_state tls_state(const struct tls *t)
{
	return t->state;
}

static int fail(struct tls *t, int rc, const char **kind, struct error *e)
{
	t->state = TLS_FAILED;
	if (SSL_get_error(t->ssl, rc) == SSL_ERROR_SSL) {
		*kind = identity_fault_name(identity_fault(t->identity, t->ssl, e));
		return -EKEYREJECTED;
	}
	*kind = identity_fault_name(IDENTITY_FAULT_PROTOCOL);
	return error_set(e, -EKEYREJECTED, "the TLS session ended in the middle");
}

static int finish(struct tls *t, const char **kind, struct error *e)
{
	int rc = identity_principal(t->ssl, &t->principal, e);

	for (int i = 0; i < TLS_PURPOSES && rc == 0; i++)
		if (SSL_export_keying_material(t->ssl, t->secrets[i][0], sizeof(t->secrets[i]),
					       label, sizeof(label) - 1,
					       (const uint8_t *)purposes[i], strlen(purposes[i]),
					       1) != 1)
			rc = error_set(e, -EKEYREJECTED, "TLS exported no keys");
	t->state = rc < 0 ? TLS_FAILED : TLS_DONE;
	*kind = identity_fault_name(IDENTITY_FAULT_CERTIFICATE);
	return rc;
}

static bool wants_more(const struct tls *t, int rc)
{
	int code = SSL_get_error(t->ssl, rc);

	return code == SSL_ERROR_WANT_READ || code == SSL_ERROR_WANT_WRITE;
}

/* The side that dialed is done first; a refusal reaches it as an alert. */
static int hear_alert(struct tls *t, const char **kind, struct error *e)
{
	uint8_t byte;
	int rc = SSL_read(t->ssl, &byte, 1);

	if (rc <= 0 && wants_more(t, rc))
		return 0;
	return fail(t, rc, kind, e);
}

int tls_hear(struct tls *t, const void *in, size_t bytes, size_t *taken, const char **kind,
	     struct error *e)
{
	int rc;

	*taken = bytes;
	*kind = "memory";
	if (bytes > INT32_MAX || (bytes > 0 && BIO_write(t->in, in, (int)bytes) != (int)bytes))
		return error_errno(e, -ENOMEM, "cannot go on with a TLS handshake");
	if (t->state == TLS_DONE)
		return hear_alert(t, kind, e);
	rc = SSL_do_handshake(t->ssl);
	if (rc != 1)
		return wants_more(t, rc) ? 0 : fail(t, rc, kind, e);
	*taken = bytes - BIO_ctrl_pending(t->in);
	return finish(t, kind, e);
}

size_t tls_say(struct tls *t, void *out, size_t room)
{
	int n = room > 0 ? BIO_read(t->out, out, (int)MIN(room, (size_t)INT32_MAX)) : 0;

	return n > 0 ? (size_t)n : 0;
}

const struct principal *tls_principal(const struct tls *t)
{
	assert(t->state == TLS_DONE);
	return &t->principal;
}

void tls_secrets(const struct tls *t, enum tls_purpose purpose,
		 uint8_t sends[SEAL_SECRET_BYTES], uint8_t receives[SEAL_SECRET_BYTES])
{
	assert(t->state == TLS_DONE);
	memcpy(sends, t->secrets[purpose][t->dialing ? 0 : 1], SEAL_SECRET_BYTES);
	memcpy(receives, t->secrets[purpose][t->dialing ? 1 : 0], SEAL_SECRET_BYTES);
}
