/* identity.h - who this program is, whom it believes, and TLS sessions that prove both.
 *
 * Made from a credentials folder
 *
 *	ca.pem     the CAs it trusts, at least one
 *	cert.pem   its certificate, its own first, then those between it and the CA
 *	key.pem    its Ed25519 key, readable by nobody else
 *	crl.pem    what these CAs have revoked; may be missing: nothing is
 *
 * or from the same in memory.  Sessions speak TLS 1.3 alone, with Ed25519 certificates on both
 * sides, without tickets or resumption, ALPN IDENTITY_ALPN; handshakes have the same size
 * each time, so that simulations can be repeated.
 *
 * A connection, in the hands of whoever owns its bytes:
 *
 *	s = identity_session(id, dialing, PRINCIPAL_BIT(PRINCIPAL_DIRECTORY));
 *	SSL_set_bio(s, in, out);
 *	rc = SSL_do_handshake(s);                   // ... and SSL_read() afterwards
 *	if (SSL_get_error(s, rc) == SSL_ERROR_SSL)
 *		fault = identity_fault(id, s, &e);  // counted; e has the sentence
 *	if (SSL_is_init_finished(s))
 *		rc = identity_principal(s, &principal, &e);
 *
 * A dialer has finished before the other side has looked at its certificate: a refusal comes
 * out of its first SSL_read().
 *
 * Life of what an identity holds: a set (CAs, chain, key, revocations, SSL_CTX) is built
 * whole, checked, and then takes the place of the one before; sessions keep the set they were
 * made from until they are freed.
 *
 * Threads    Any thread may call anything but identity_close().  An SSL belongs to one thread.
 * Ownership  identity_open*() / identity_close(); the clock is borrowed.  SSL_free() the
 *            session; sessions may outlive the identity.
 * Units      _ns of the clock, _unix_s.
 * Errors     -errno with a sentence: -ENOENT, -EACCES, -EBADMSG (damaged), -EKEYREJECTED (does
 *            not fit together), -ENOMEM.
 */
#ifndef PETALS_DATAPLANE_IDENTITY_H
#define PETALS_DATAPLANE_IDENTITY_H

#include <openssl/types.h>

#include "dataplane/base/clock.h"
#include "dataplane/base/counters.h"
#include "dataplane/principal.h"

#define IDENTITY_ALPN "petals/1"
#define IDENTITY_POLL_NS NS_PER_S          /* between two looks at the folder */

enum { IDENTITY_FILE_BYTES_MAX = 1 << 20 };

struct identity;

/* NUL-terminated PEM; crl may be NULL. */
struct identity_pem {
	const char *ca, *cert, *key, *crl;
};

int identity_open(struct identity **out, const char *folder, const struct clock *clock,
		  struct error *e);
int identity_open_pem(struct identity **out, const struct identity_pem *pem,
		      const struct clock *clock, struct error *e);
/* One without a certificate, to enrol with: dials as a stranger, believes whoever's chain
 * ends in the CA with this fingerprint, and accepts nobody.
 */
int identity_open_stranger(struct identity **out,
			   const uint8_t ca_fingerprint[PRINCIPAL_FINGERPRINT_BYTES],
			   const struct clock *clock, struct error *e);
void identity_close(struct identity *id);                /* NULL is fine */
/* Lets dialers without a certificate in; their principal has no roles. */
void identity_admit_strangers(struct identity *id);

/* This program as others see it; all zero for a stranger. */
void identity_self(struct identity *id, struct principal *out);
/* -EKEYEXPIRED, -EKEYREVOKED (-EKEYREJECTED: not valid yet) with a sentence when others will
 * refuse our certificate now.
 */
int identity_check(struct identity *id, struct error *e);

/* Takes the folder's files anew; on any error everything is as before. */
int identity_reload(struct identity *id, struct error *e);
/* Cheap: looks at the folder at most each IDENTITY_POLL_NS, and reloads when a file has
 * changed.  1: reloaded; 0: nothing to do; else as identity_reload(), once per change.
 */
int identity_poll(struct identity *id, uint64_t now_ns, struct error *e);
/* A revocation list that came from elsewhere.  Must be signed by one of our CAs; one that is
 * not newer than ours changes nothing.  Kept in the folder's crl.pem, too.  1: taken, 0: known.
 */
int identity_set_revocations(struct identity *id, const char *pem, size_t bytes,
			     struct error *e);
/* A renewed certificate for our key takes the place of ours, also in the folder.  One that does
 * not fit changes nothing.
 */
int identity_install(struct identity *id, const char *cert, struct error *e);
const char *identity_folder(const struct identity *id);         /* NULL: from memory */
/* Rises whenever identity_still_valid() may have changed for a reason other than time. */
uint64_t identity_generation(const struct identity *id);

/* A session whose other side must have one of these roles (bits; 0: any).  NULL: no memory. */
SSL *identity_session(struct identity *id, bool dialing, uint32_t roles);
/* Who is there, once the handshake is done. */
int identity_principal(const SSL *s, struct principal *out, struct error *e);
/* Whether somebody who was let in would be let in again.  False with a sentence. */
bool identity_still_valid(struct identity *id, const struct principal *p, struct error *e);

/* Why a session failed. */
enum identity_fault {
	IDENTITY_FAULT_NONE,        /* presented no certificate */
	IDENTITY_FAULT_FOREIGN,     /* signed by a CA that is not ours */
	IDENTITY_FAULT_EXPIRED, IDENTITY_FAULT_NOT_YET, IDENTITY_FAULT_REVOKED,
	IDENTITY_FAULT_ROLE,        /* is not what it has to be */
	IDENTITY_FAULT_CERTIFICATE, /* damaged, or names nobody */
	IDENTITY_FAULT_REFUSED,     /* the other side refused us */
	IDENTITY_FAULT_PROTOCOL,    /* not TLS 1.3 as we speak it */
	IDENTITY_FAULTS
};

const char *identity_fault_name(enum identity_fault f);         /* "foreign_ca" */
/* After SSL_ERROR_SSL.  Takes this thread's OpenSSL errors; counts. */
enum identity_fault identity_fault(struct identity *id, SSL *s, struct error *e);

/* For a TLS stack that is not OpenSSL: the chain it was shown, DER, the holder's first (count
 * 0: none was shown).  0 and the principal, or -EKEYREJECTED, *fault and a sentence; counts.
 */
struct identity_der {
	const uint8_t *data;
	size_t bytes;
};

int identity_verify(struct identity *id, const struct identity_der *chain, uint32_t count,
		    uint32_t roles, struct principal *out, enum identity_fault *fault,
		    struct error *e);
/* ... and what it has to present itself with.  Copies; identity_pem_release() them.  -ENOENT
 * for a stranger.
 */
int identity_export(struct identity *id, struct identity_pem *out, struct error *e);
void identity_pem_release(struct identity_pem *pem);

struct counters *identity_counters(struct identity *id);

#endif
