/* handshake.c - memory BIOs, and what goes from one to the other. */
#include "tests/support/handshake.h"

#include <openssl/ssl.h>

#include "tests/test.h"

static void open_end(struct handshake_end *h, struct identity *id, bool dialing, uint32_t roles)
{
	memset(h, 0, sizeof(*h));
	h->identity = id;
	h->session = identity_session(id, dialing, roles);
	CHECK(h->session != NULL);
	SSL_set_bio(h->session, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
}

void handshake_open(struct handshake *h, struct identity *dialer, uint32_t dialer_expects,
		    struct identity *acceptor, uint32_t acceptor_expects)
{
	open_end(&h->dialer, dialer, true, dialer_expects);
	open_end(&h->acceptor, acceptor, false, acceptor_expects);
}

/* A turn of one end: a step of the handshake, or a read once that is done. */
static void turn(struct handshake_end *h)
{
	char byte;
	int rc;

	if (h->failed)
		return;
	rc = SSL_is_init_finished(h->session) ? SSL_read(h->session, &byte, 1) :
						SSL_do_handshake(h->session);
	if (rc > 0 || SSL_get_error(h->session, rc) != SSL_ERROR_SSL)
		return;
	h->failed = true;
	h->fault = identity_fault(h->identity, h->session, &h->error);
}

static bool carry(struct handshake_end *from, struct handshake_end *to)
{
	char data[4096];
	int bytes, all = 0;

	while ((bytes = BIO_read(SSL_get_wbio(from->session), data, sizeof(data))) > 0) {
		CHECK_EQ(BIO_write(SSL_get_rbio(to->session), data, bytes), bytes);
		all += bytes;
	}
	from->sent_bytes += (uint64_t)all;
	return all > 0;
}

void handshake_run(struct handshake *h)
{
	struct handshake_end *const ends[] = { &h->dialer, &h->acceptor };
	bool moved = true;

	while (moved) {
		turn(&h->dialer);
		moved = carry(&h->dialer, &h->acceptor);
		turn(&h->acceptor);
		moved |= carry(&h->acceptor, &h->dialer);
	}
	turn(&h->dialer);
	for (size_t i = 0; i < ARRAY_LENGTH(ends); i++)
		ends[i]->principal_rc =
			identity_principal(ends[i]->session, &ends[i]->principal,
					   ends[i]->failed ? NULL : &ends[i]->error);
}

void handshake_close(struct handshake *h)
{
	SSL_free(h->dialer.session);
	SSL_free(h->acceptor.session);
}
