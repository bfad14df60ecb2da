/* handshake.h - two TLS sessions that talk through memory, to their agreement or its failure.
 *
 * Threads    The test's.
 * Ownership  handshake_open() / handshake_close(); the sessions are its own.
 * Units      Bytes.
 * Errors     A session that fails is told in its end; no memory fails the test.
 */
#ifndef PETALS_TESTS_HANDSHAKE_H
#define PETALS_TESTS_HANDSHAKE_H

#include "dataplane/identity.h"

struct handshake_end {
	struct identity *identity;
	SSL *session;
	bool failed;
	enum identity_fault fault;
	struct error error;
	struct principal principal;     /* the other side, when it is done */
	int principal_rc;               /* of identity_principal() */
	uint64_t sent_bytes;
};

struct handshake {
	struct handshake_end dialer, acceptor;
};

/* Which roles each one expects of the other. */
void handshake_open(struct handshake *h, struct identity *dialer, uint32_t dialer_expects,
		    struct identity *acceptor, uint32_t acceptor_expects);
/* Carries bytes to and fro until nothing moves. */
void handshake_run(struct handshake *h);
void handshake_close(struct handshake *h);

#endif
