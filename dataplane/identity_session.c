/* identity_session.c - TLS as we speak it, and what becomes of the certificate that the other
 * side shows.
 */
#include <errno.h>
#include <pthread.h>
#include <string.h>

#include <openssl/err.h>

#include "dataplane/base/memory.h"
#include "dataplane/identity_private.h"

/* AES first: hosts have instructions for it, and bulk data use it anyway. */
static const char suites[] =
	"TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256";
static const uint8_t protocols[] = "\x08" IDENTITY_ALPN;
static_assert(sizeof(IDENTITY_ALPN) - 1 == 8, "the length in front of the protocol's name");
enum { PROTOCOLS_BYTES = sizeof(protocols) - 1 };

/* The slot of ours in every SSL. */
static pthread_once_t index_once = PTHREAD_ONCE_INIT;
static int session_index;

static void free_session(void *parent, void *ptr, CRYPTO_EX_DATA *all, int index, long argl,
			 void *argp)
{
	struct session *session = ptr;

	if (session)
		identity_set_put(session->set);
	mem_free(session);
}

static void make_index(void)
{
	session_index = SSL_get_ex_new_index(0, NULL, NULL, NULL, free_session);
	assert(session_index >= 0);
}

struct session *identity_session_of(const SSL *s)
{
	return SSL_get_ex_data(s, session_index);
}

static int judge(X509_STORE_CTX *c, void *arg)
{
	SSL *s = X509_STORE_CTX_get_ex_data(c, SSL_get_ex_data_X509_STORE_CTX_idx());
	struct session *session = identity_session_of(s);

	session->judged = true;
	return identity_judge(session->set, c, session->roles, &session->principal,
			      &session->why) == 0;
}

static int choose_protocol(SSL *s, const unsigned char **out, unsigned char *out_bytes,
			   const unsigned char *offered, unsigned offered_bytes, void *arg)
{
	unsigned char *chosen;

	if (SSL_select_next_proto(&chosen, out_bytes, protocols, PROTOCOLS_BYTES, offered,
				  offered_bytes) != OPENSSL_NPN_NEGOTIATED)
		return SSL_TLSEXT_ERR_ALERT_FATAL;
	*out = chosen;
	return SSL_TLSEXT_ERR_OK;
}

/* The CA goes along, so that a stranger who knows its fingerprint sees it. */
static bool present_ourselves(SSL_CTX *ctx, const struct identity_set *s)
{
	uint8_t fingerprint[PRINCIPAL_FINGERPRINT_BYTES];
	bool good = SSL_CTX_use_certificate(ctx, s->own) == 1 &&
		    SSL_CTX_use_PrivateKey(ctx, s->key) == 1;

	for (int i = 0; good && i < sk_X509_num(s->authorities); i++) {
		X509 *ca = sk_X509_value(s->authorities, i);

		principal_fingerprint(ca, fingerprint);
		if (!memcmp(fingerprint, s->self.authority, sizeof(fingerprint)))
			good = SSL_CTX_add1_chain_cert(ctx, ca) == 1;
	}
	return good;
}

static bool set_up(SSL_CTX *ctx, const struct identity_set *s)
{
	SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET | SSL_OP_NO_COMPRESSION);
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_NO_AUTO_CHAIN |
			      SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_ENABLE_PARTIAL_WRITE);
	SSL_CTX_set_cert_verify_callback(ctx, judge, NULL);
	SSL_CTX_set_alpn_select_cb(ctx, choose_protocol, NULL);
	SSL_CTX_set1_cert_store(ctx, s->store);
	return SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION) == 1 &&
	       SSL_CTX_set_max_proto_version(ctx, TLS1_3_VERSION) == 1 &&
	       SSL_CTX_set_num_tickets(ctx, 0) == 1 &&
	       SSL_CTX_set_ciphersuites(ctx, suites) == 1 &&
	       SSL_CTX_set1_groups_list(ctx, "X25519") == 1 &&
	       SSL_CTX_set1_sigalgs_list(ctx, "ed25519") == 1 &&
	       SSL_CTX_set1_client_sigalgs_list(ctx, "ed25519") == 1 &&
	       SSL_CTX_set_alpn_protos(ctx, protocols, PROTOCOLS_BYTES) == 0 &&
	       (!s->own || present_ourselves(ctx, s));
}

int identity_context_open(struct identity_set *s, struct error *e)
{
	char text[128];

	pthread_once(&index_once, make_index);
	s->ctx = SSL_CTX_new(TLS_method());
	if (s->ctx && set_up(s->ctx, s))
		return 0;
	ERR_error_string_n(ERR_peek_last_error(), text, sizeof(text));
	ERR_clear_error();
	return error_set(e, -EKEYREJECTED, "OpenSSL does not take these credentials: %s", text);
}

SSL *identity_session(struct identity *id, bool dialing, uint32_t roles)
{
	struct identity_set *set = identity_set_in_use(id);
	struct session *session = mem_calloc(1, sizeof(*session));
	SSL *s = session ? SSL_new(set->ctx) : NULL;
	int demand = dialing || !identity_admits_strangers(id) ?
		     SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0;

	if (!s || SSL_set_ex_data(s, session_index, session) != 1) {
		SSL_free(s);
		mem_free(session);
		identity_set_put(set);
		return NULL;
	}
	*session = (struct session){ .set = set, .roles = roles, .dialing = dialing };
	SSL_set_verify(s, SSL_VERIFY_PEER | demand, NULL);
	if (dialing)
		SSL_set_connect_state(s);
	else
		SSL_set_accept_state(s);
	return s;
}

int identity_principal(const SSL *s, struct principal *out, struct error *e)
{
	const struct session *session = identity_session_of(s);
	const unsigned char *protocol;
	unsigned bytes;

	memset(out, 0, sizeof(*out));
	if (!SSL_is_init_finished(s))
		return error_set(e, -EAGAIN, "the handshake is not done yet");
	SSL_get0_alpn_selected(s, &protocol, &bytes);
	if (bytes != PROTOCOLS_BYTES - 1 || memcmp(protocol, IDENTITY_ALPN, bytes))
		return error_set(e, -EPROTO, "it speaks TLS, but not " IDENTITY_ALPN " in it");
	*out = session->principal;
	return 0;
}
