/* handshake_fuzz.c - any bytes where a TLS handshake should be: no session comes to be with
 * anybody but the one who has the key, and each failure has a sentence.
 *
 * The first byte says how the rest is used:
 *	0  as what a dialer sends, to one who accepts
 *	1  as what one who accepts answers, to a dialer
 *	2  as changes, three bytes each (place, value), of what the dialer sends in a real handshake
 *	3  ... of what the accepting side sends
 *	4  as the DER of a client's certificate, shown by another TLS stack
 */
#include <openssl/ssl.h>
#include <stdlib.h>
#include <string.h>

#include "control/certificate.h"
#include "dataplane/base/memory.h"
#include "dataplane/base/random.h"
#include "dataplane/identity.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t fuzz_seed(unsigned index, uint8_t *out, size_t capacity);

enum mode { TO_ACCEPTOR, TO_DIALER, CHANGE_DIALER, CHANGE_ACCEPTOR, DER, MODES };

/* One CA, a server and a gateway, from fixed seeds. */
static struct identity *server, *gateway;

static struct identity *make(X509 *ca, EVP_PKEY *ca_key, const char *name, uint8_t seed,
			     uint32_t roles)
{
	const uint8_t bytes[CERTIFICATE_SEED_BYTES] = { seed };
	struct certificate_spec spec = { .name = name, .roles = roles,
					 .not_after_unix_s = 100LL * 365 * 86400 };
	struct identity_pem pem = { 0 };
	struct identity *id;
	struct random random;
	struct error e;
	EVP_PKEY *key;
	X509 *c;

	random_seed(&random, seed);
	certificate_serial(spec.serial, &random);
	if (certificate_key(&key, bytes, &e) < 0 ||
	    certificate_issue(&c, &spec, key, ca, ca_key, &e) < 0 ||
	    certificate_to_pem((char **)&pem.cert, c, &e) < 0 ||
	    certificate_to_pem((char **)&pem.ca, ca, &e) < 0 ||
	    certificate_key_to_pem((char **)&pem.key, key, &e) < 0 ||
	    identity_open_pem(&id, &pem, clock_real(), &e) < 0)
		abort();
	identity_pem_release(&pem);
	EVP_PKEY_free(key);
	X509_free(c);
	return id;
}

static void close_all(void)
{
	identity_close(server);
	identity_close(gateway);
}

static void make_all(void)
{
	const uint8_t seed[CERTIFICATE_SEED_BYTES] = { 1 };
	struct certificate_spec spec = { .name = "fuzz-CA", .authority = true, .serial = { 64 },
					 .not_after_unix_s = 100LL * 365 * 86400 };
	struct error e;
	EVP_PKEY *key;
	X509 *ca;

	if (server)
		return;
	if (certificate_key(&key, seed, &e) < 0 ||
	    certificate_issue(&ca, &spec, key, NULL, NULL, &e) < 0)
		abort();
	server = make(ca, key, "server-1", 2, PRINCIPAL_BIT(PRINCIPAL_SERVER));
	gateway = make(ca, key, "gateway-1", 3, PRINCIPAL_BIT(PRINCIPAL_GATEWAY));
	X509_free(ca);
	EVP_PKEY_free(key);
	atexit(close_all);
}

struct end {
	struct identity *identity;
	const char *other;              /* the only one it may find there */
	SSL *ssl;
	bool failed;
};

static struct end open_end(struct identity *id, const char *other, bool dialing)
{
	struct end end = { id, other, identity_session(id, dialing, 0), false };

	if (!end.ssl)
		abort();
	SSL_set_bio(end.ssl, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
	return end;
}

static void turn(struct end *end)
{
	struct error e = { 0 };
	char byte;
	int rc;

	if (end->failed)
		return;
	rc = SSL_is_init_finished(end->ssl) ? SSL_read(end->ssl, &byte, 1) :
					      SSL_do_handshake(end->ssl);
	if (rc > 0 || SSL_get_error(end->ssl, rc) != SSL_ERROR_SSL)
		return;
	end->failed = true;
	if (identity_fault(end->identity, end->ssl, &e) >= IDENTITY_FAULTS || !e.text[0])
		abort();
}

static void close_end(struct end *end)
{
	struct principal p;

	if (identity_principal(end->ssl, &p, NULL) == 0 && strcmp(p.name, end->other))
		abort();
	SSL_free(end->ssl);
}

static void feed(struct end *end, const uint8_t *data, size_t size)
{
	turn(end);
	BIO_write(SSL_get_rbio(end->ssl), data, (int)size);
	turn(end);
	turn(end);
	close_end(end);
}

/* Bytes of one end to the other, changed where they are to be. */
static bool carry(struct end *from, struct end *to, size_t *sent, const uint8_t *changes,
		  size_t bytes)
{
	uint8_t data[8192];
	int n = BIO_read(SSL_get_wbio(from->ssl), data, sizeof(data));

	if (n <= 0)
		return false;
	for (size_t i = 0; i + 3 <= bytes; i += 3) {
		size_t place = changes[i] | (size_t)changes[i + 1] << 8;

		if (place >= *sent && place < *sent + (size_t)n)
			data[place - *sent] = changes[i + 2];
	}
	*sent += (size_t)n;
	BIO_write(SSL_get_rbio(to->ssl), data, n);
	return true;
}

static void shake(enum mode mode, const uint8_t *changes, size_t bytes)
{
	struct end dialer = open_end(gateway, "server-1", true);
	struct end acceptor = open_end(server, "gateway-1", false);
	size_t dialed = 0, answered = 0;
	bool moved = true;

	while (moved) {
		turn(&dialer);
		moved = carry(&dialer, &acceptor, &dialed, changes,
			      mode == CHANGE_DIALER ? bytes : 0);
		turn(&acceptor);
		moved |= carry(&acceptor, &dialer, &answered, changes,
			       mode == CHANGE_ACCEPTOR ? bytes : 0);
	}
	if (bytes < 3 && (dialer.failed || acceptor.failed || !SSL_is_init_finished(acceptor.ssl)))
		abort();
	close_end(&dialer);
	close_end(&acceptor);
}

static void verify(const uint8_t *data, size_t size)
{
	const struct identity_der der = { data, size };
	enum identity_fault fault = IDENTITY_FAULTS;
	struct error e = { 0 };
	struct principal p;

	if (identity_verify(server, &der, 1, 0, &p, &fault, &e) == 0) {
		if (strcmp(p.name, "gateway-1") && strcmp(p.name, "server-1"))
			abort();
	} else if (fault >= IDENTITY_FAULTS || !e.text[0] || p.roles) {
		abort();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct end end;

	make_all();
	if (size < 1)
		return 0;
	switch (data[0] % MODES) {
	case TO_ACCEPTOR:
		end = open_end(server, "gateway-1", false);
		feed(&end, data + 1, size - 1);
		break;
	case TO_DIALER:
		end = open_end(gateway, "server-1", true);
		feed(&end, data + 1, size - 1);
		break;
	case DER:
		verify(data + 1, size - 1);
		break;
	default:
		shake(data[0] % MODES, data + 1, size - 1);
		break;
	}
	return 0;
}

/* What a dialer says first, what it is answered, changes here and there, a certificate. */
size_t fuzz_seed(unsigned index, uint8_t *out, size_t capacity)
{
	struct identity_pem pem;
	unsigned char *der = NULL;
	struct end dialer, acceptor;
	struct error e;
	size_t bytes = 0;
	X509 *c;
	int n;

	make_all();
	if (index >= MODES || capacity < 16384)
		return 0;
	out[0] = (uint8_t)index;
	if (index == CHANGE_DIALER || index == CHANGE_ACCEPTOR) {
		memcpy(out + 1, "\x20\x00\x01\x90\x01\xff", 6);
		return 7;
	}
	if (index == DER) {
		if (identity_export(gateway, &pem, &e) < 0 ||
		    certificate_from_pem(&c, pem.cert, &e) < 0)
			abort();
		n = i2d_X509(c, &der);
		memcpy(out + 1, der, (size_t)n);
		OPENSSL_free(der);
		X509_free(c);
		identity_pem_release(&pem);
		return (size_t)n + 1;
	}
	dialer = open_end(gateway, "server-1", true);
	acceptor = open_end(server, "gateway-1", false);
	turn(&dialer);
	if (index == TO_ACCEPTOR) {
		n = BIO_read(SSL_get_wbio(dialer.ssl), out + 1, 16000);
	} else {
		carry(&dialer, &acceptor, &bytes, NULL, 0);
		turn(&acceptor);
		n = BIO_read(SSL_get_wbio(acceptor.ssl), out + 1, 16000);
	}
	SSL_free(dialer.ssl);
	SSL_free(acceptor.ssl);
	return n > 0 ? (size_t)n + 1 : 0;
}
