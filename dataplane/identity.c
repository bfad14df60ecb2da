/* identity.c - the set in use, the folder it comes from, and sessions made from it.
 *
 * Owns when a set takes another's place.  Leaves what a set is to identity_set.c, whom it
 * believes to identity_judge.c, what is said of a failed session to identity_fault.c.
 */
#include "dataplane/identity.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dataplane/base/file.h"
#include "dataplane/base/log.h"
#include "dataplane/base/memory.h"
#include "dataplane/identity_private.h"

static const struct counter_row rows[] = {
	[IDENTITY_REFUSED] = { COUNTER, "petals_identity_refused_total",
			       "Sessions that did not come to be, by why.", "reason" },
	[IDENTITY_RELOADS] = { COUNTER, "petals_identity_reloads_total",
			       "Times credentials were read anew, by how it went.", "outcome" },
	[IDENTITY_NOT_AFTER] = { GAUGE, "petals_identity_not_after_timestamp_seconds",
				 "When this program's certificate expires, 0: it has none." },
	[IDENTITY_REVOCATIONS] = { GAUGE, "petals_identity_revocations_number",
				   "Number of the revocation list in use, -1: none." },
};

enum { FILE_CA, FILE_CERT, FILE_KEY, FILE_CRL, FILES };
static const char *const file_names[FILES] = { "ca.pem", "cert.pem", "key.pem", "crl.pem" };

/* What tells a file from its successor. */
struct stamp {
	ino_t inode;
	off_t bytes;
	struct timespec changed;
};

struct identity {
	const struct clock *clock;
	struct counters *counters;
	char *folder;                   /* NULL: from memory */
	atomic_bool strangers;
	_Atomic uint64_t generation, next_poll_ns;

	pthread_mutex_t changing;       /* one change at a time; the stamps */
	struct stamp stamps[FILES];

	pthread_mutex_t lock;           /* the set in use */
	struct identity_set *set;
};

struct identity_set *identity_set_in_use(struct identity *id)
{
	struct identity_set *s;

	pthread_mutex_lock(&id->lock);
	s = identity_set_get(id->set);
	pthread_mutex_unlock(&id->lock);
	return s;
}

void identity_count_fault(struct identity *id, enum identity_fault f)
{
	counters_add(id->counters, IDENTITY_REFUSED,
		     counters_series(id->counters, IDENTITY_REFUSED, identity_fault_name(f)), 1);
}

/* Takes over the set. */
static int put_in_use(struct identity *id, struct identity_set *s, struct error *e)
{
	struct identity_set *before;
	int rc = identity_context_open(s, e);

	if (rc < 0) {
		identity_set_put(s);
		return rc;
	}
	counters_set(id->counters, IDENTITY_NOT_AFTER, 0, (double)s->self.not_after_unix_s);
	counters_set(id->counters, IDENTITY_REVOCATIONS, 0, (double)s->revocations_number);
	pthread_mutex_lock(&id->lock);
	before = id->set;
	id->set = s;
	pthread_mutex_unlock(&id->lock);
	identity_set_put(before);
	atomic_fetch_add(&id->generation, 1);
	return 0;
}

static int new_identity(struct identity **out, const struct clock *clock, struct error *e)
{
	struct identity *id = mem_calloc(1, sizeof(*id));
	int rc = id ? counters_open(&id->counters, rows, ARRAY_LENGTH(rows)) : -ENOMEM;

	*out = NULL;
	if (rc < 0) {
		mem_free(id);
		return error_errno(e, rc, "opening an identity");
	}
	id->clock = clock;
	pthread_mutex_init(&id->changing, NULL);
	pthread_mutex_init(&id->lock, NULL);
	*out = id;
	return 0;
}

void identity_close(struct identity *id)
{
	if (!id)
		return;
	identity_set_put(id->set);
	pthread_mutex_destroy(&id->lock);
	pthread_mutex_destroy(&id->changing);
	counters_close(id->counters);
	mem_free(id->folder);
	mem_free(id);
}

int identity_open_pem(struct identity **out, const struct identity_pem *pem,
		      const struct clock *clock, struct error *e)
{
	struct identity_set *s;
	int rc = new_identity(out, clock, e);

	assert(pem->ca && pem->cert && pem->key);
	if (rc < 0)
		return rc;
	rc = identity_set_build(&s, pem, "", clock, e);
	if (rc == 0)
		rc = put_in_use(*out, s, e);
	if (rc < 0) {
		identity_close(*out);
		*out = NULL;
	}
	return rc;
}

int identity_open_stranger(struct identity **out,
			   const uint8_t ca_fingerprint[PRINCIPAL_FINGERPRINT_BYTES],
			   const struct clock *clock, struct error *e)
{
	struct identity_set *s;
	int rc = new_identity(out, clock, e);

	if (rc < 0)
		return rc;
	rc = identity_set_build_stranger(&s, ca_fingerprint, clock, e);
	if (rc == 0)
		rc = put_in_use(*out, s, e);
	if (rc < 0) {
		identity_close(*out);
		*out = NULL;
	}
	return rc;
}

/* Zeros for a file that is not there. */
static void take_stamp(struct stamp *out, const char *path)
{
	struct stat st;

	memset(out, 0, sizeof(*out));
	if (stat(path, &st) == 0)
		*out = (struct stamp){ st.st_ino, st.st_size, st.st_mtim };
}

/* The rule of PostgreSQL's server key: ours and nobody else's, or root's and our group's. */
static int check_key_mode(const char *path, struct error *e)
{
	struct stat st;

	if (stat(path, &st) < 0)
		return error_errno(e, -errno, "cannot open %s", path);
	if (st.st_mode & (st.st_uid == 0 ? S_IWGRP | S_IXGRP | S_IRWXO : S_IRWXG | S_IRWXO))
		return error_set(e, -EACCES, "%s is open to others (mode %03o): chmod 600 %s, and "
				 "think about whether it is still a secret", path,
				 st.st_mode & 0777u, path);
	return 0;
}

static int read_file(struct identity *id, int file, const char **out, struct error *e)
{
	char *path = file_join(id->folder, file_names[file]), *text = NULL;
	size_t bytes;
	int rc = path ? 0 : error_errno(e, -ENOMEM, "reading %s", id->folder);

	*out = NULL;
	if (rc == 0)
		take_stamp(&id->stamps[file], path);
	if (rc == 0 && file == FILE_KEY)
		rc = check_key_mode(path, e);
	if (rc == 0 && (file != FILE_CRL || file_exists(path)))
		rc = file_read(path, IDENTITY_FILE_BYTES_MAX, &text, &bytes, e);
	if (rc == 0 && text && strlen(text) != bytes)
		rc = error_set(e, -EBADMSG, "%s is damaged: it has a NUL inside", path);
	mem_free(path);
	if (rc < 0)
		mem_free(text);
	else
		*out = text;
	return rc;
}

/* A list that we were given, and could not write into the folder, is not forgotten for the
 * older one there.
 */
static int keep_newer_revocations(struct identity *id, struct identity_set **s,
				  struct identity_pem pem, struct error *e)
{
	struct identity_set *old = id->set, *s2;
	STACK_OF(X509_CRL) *lists;
	int64_t number;
	int rc;

	if (!old || old->revocations_number <= (*s)->revocations_number ||
	    identity_crl_read(*s, old->pem.crl, "", &lists, &number, NULL) < 0)
		return 0;
	sk_X509_CRL_pop_free(lists, X509_CRL_free);
	pem.crl = old->pem.crl;
	rc = identity_set_build(&s2, &pem, "", id->clock, e);
	identity_set_put(*s);
	*s = s2;
	return rc;
}

/* With `changing` held, or before anybody else knows the identity. */
static int take_folder(struct identity *id, struct error *e)
{
	struct identity_pem pem = { 0 };
	struct identity_set *s = NULL;
	char where[ERROR_TEXT_BYTES];
	int rc = read_file(id, FILE_CA, &pem.ca, e);

	if (rc == 0)
		rc = read_file(id, FILE_CERT, &pem.cert, e);
	if (rc == 0)
		rc = read_file(id, FILE_KEY, &pem.key, e);
	if (rc == 0)
		rc = read_file(id, FILE_CRL, &pem.crl, e);
	if (rc == 0) {
		snprintf(where, sizeof(where), "%s/", id->folder);
		rc = identity_set_build(&s, &pem, where, id->clock, e);
	}
	if (rc == 0)
		rc = keep_newer_revocations(id, &s, pem, e);
	if (rc == 0)
		rc = put_in_use(id, s, e);
	identity_pem_release(&pem);
	return rc;
}

int identity_open(struct identity **out, const char *folder, const struct clock *clock,
		  struct error *e)
{
	int rc = new_identity(out, clock, e);

	if (rc < 0)
		return rc;
	(*out)->folder = mem_strdup(folder);
	rc = (*out)->folder ? take_folder(*out, e) : error_errno(e, -ENOMEM, "%s", folder);
	if (rc < 0) {
		identity_close(*out);
		*out = NULL;
	}
	return rc;
}

static int reload(struct identity *id, struct error *e)
{
	struct principal self;
	int rc = take_folder(id, e);

	counters_add(id->counters, IDENTITY_RELOADS,
		     counters_series(id->counters, IDENTITY_RELOADS, rc < 0 ? "failed" : "ok"), 1);
	if (rc < 0)
		return rc;
	identity_self(id, &self);
	log_info("identity", "%s: credentials of %s were read anew", id->folder, self.name);
	return 0;
}

int identity_reload(struct identity *id, struct error *e)
{
	int rc = 0;

	pthread_mutex_lock(&id->changing);
	if (id->folder)
		rc = reload(id, e);
	pthread_mutex_unlock(&id->changing);
	return rc;
}

static bool folder_changed(const struct identity *id)
{
	bool changed = false;

	for (int i = 0; i < FILES && !changed; i++) {
		char *path = file_join(id->folder, file_names[i]);
		struct stamp now;

		if (!path)
			return false;
		take_stamp(&now, path);
		mem_free(path);
		changed = now.inode != id->stamps[i].inode || now.bytes != id->stamps[i].bytes ||
			  now.changed.tv_sec != id->stamps[i].changed.tv_sec ||
			  now.changed.tv_nsec != id->stamps[i].changed.tv_nsec;
	}
	return changed;
}

int identity_poll(struct identity *id, uint64_t now_ns, struct error *e)
{
	uint64_t due_ns = atomic_load(&id->next_poll_ns);
	int rc = 0;

	if (!id->folder || now_ns < due_ns ||
	    !atomic_compare_exchange_strong(&id->next_poll_ns, &due_ns,
					    now_ns + IDENTITY_POLL_NS))
		return 0;
	pthread_mutex_lock(&id->changing);
	if (folder_changed(id)) {
		rc = reload(id, e);
		rc = rc < 0 ? rc : 1;
	}
	pthread_mutex_unlock(&id->changing);
	return rc;
}

/* With `changing` held.  A folder that cannot be written holds nothing up. */
static void keep_revocations(struct identity *id, const char *pem)
{
	char *path = id->folder ? file_join(id->folder, file_names[FILE_CRL]) : NULL;
	struct error e;

	if (!path)
		return;
	if (file_write(path, pem, strlen(pem), 0644, &e) < 0)
		log_warn("identity", "revocations hold until this program ends: %s", e.text);
	take_stamp(&id->stamps[FILE_CRL], path);
	mem_free(path);
}

/* With `changing` held. */
static int take_revocations(struct identity *id, const char *text, struct error *e)
{
	struct identity_set *old = identity_set_in_use(id), *s = NULL;
	struct identity_pem pem = old->pem;
	STACK_OF(X509_CRL) *lists;
	int64_t number;
	int rc = identity_crl_read(old, text, "the received ", &lists, &number, e);

	if (rc == 0)
		sk_X509_CRL_pop_free(lists, X509_CRL_free);
	if (rc == 0 && number > old->revocations_number) {
		pem.crl = text;
		rc = identity_set_build(&s, &pem, "", id->clock, e);
		if (rc == 0)
			rc = put_in_use(id, s, e);
		if (rc == 0) {
			log_info("identity", "revocation list %lld is in use", (long long)number);
			keep_revocations(id, text);
			rc = 1;
		}
	}
	identity_set_put(old);
	return rc;
}

int identity_set_revocations(struct identity *id, const char *pem, size_t bytes, struct error *e)
{
	char *text;
	int rc;

	if (bytes > IDENTITY_FILE_BYTES_MAX || memchr(pem, '\0', bytes))
		return error_set(e, -EBADMSG,
				 "a revocation list of %zu bytes is no text, or too long", bytes);
	text = mem_strndup(pem, bytes);
	if (!text)
		return error_errno(e, -ENOMEM, "taking a revocation list");
	pthread_mutex_lock(&id->changing);
	rc = take_revocations(id, text, e);
	pthread_mutex_unlock(&id->changing);
	mem_free(text);
	return rc;
}

/* With `changing` held. */
static int install(struct identity *id, const char *cert, struct error *e)
{
	struct identity_set *old = identity_set_in_use(id), *s = NULL;
	struct identity_pem pem = old->pem;
	char *path = id->folder ? file_join(id->folder, file_names[FILE_CERT]) : NULL;
	int rc = id->folder && !path ? error_errno(e, -ENOMEM, "%s", id->folder) : 0;

	pem.cert = cert;
	if (rc == 0)
		rc = identity_set_build(&s, &pem, "the renewed ", id->clock, e);
	/* Nothing is used that would be gone after a restart. */
	if (rc == 0 && path)
		rc = file_write(path, cert, strlen(cert), 0644, e);
	if (rc == 0 && path)
		take_stamp(&id->stamps[FILE_CERT], path);
	if (rc == 0)
		rc = put_in_use(id, s, e);
	else
		identity_set_put(s);
	identity_set_put(old);
	mem_free(path);
	return rc;
}

int identity_install(struct identity *id, const char *cert, struct error *e)
{
	int rc;

	pthread_mutex_lock(&id->changing);
	rc = install(id, cert, e);
	pthread_mutex_unlock(&id->changing);
	return rc;
}

const char *identity_folder(const struct identity *id)
{
	return id->folder;
}

void identity_admit_strangers(struct identity *id)
{
	atomic_store(&id->strangers, true);
}

bool identity_admits_strangers(const struct identity *id)
{
	return atomic_load(&id->strangers);
}

void identity_self(struct identity *id, struct principal *out)
{
	struct identity_set *s = identity_set_in_use(id);

	*out = s->self;
	identity_set_put(s);
}

uint64_t identity_generation(const struct identity *id)
{
	return atomic_load(&id->generation);
}

struct counters *identity_counters(struct identity *id)
{
	return id->counters;
}

int identity_check(struct identity *id, struct error *e)
{
	struct identity_set *s = identity_set_in_use(id);
	int64_t now_unix_s = identity_set_now_unix_s(s);
	struct verdict why;
	char span[32];
	int rc = 0;

	if (s->own && now_unix_s < s->self.not_before_unix_s) {
		identity_describe_span(s->self.not_before_unix_s - now_unix_s, span);
		rc = error_set(e, -EKEYREJECTED,
			       "the certificate of %s is valid only in %s: look at "
			       "this host's clock",
			       s->self.name, span);
	} else if (s->own && identity_judge_again(s, &s->self, &why) < 0) {
		rc = error_set(e, why.fault == IDENTITY_FAULT_EXPIRED ? -EKEYEXPIRED : -EKEYREVOKED,
			       "%s", why.text);
	}
	identity_set_put(s);
	return rc;
}

bool identity_still_valid(struct identity *id, const struct principal *p, struct error *e)
{
	struct identity_set *s;
	struct verdict why;
	int rc;

	if (!p->roles)
		return true;
	s = identity_set_in_use(id);
	rc = identity_judge_again(s, p, &why);
	identity_set_put(s);
	if (rc < 0)
		error_set(e, rc, "%s", why.text);
	return rc == 0;
}

int identity_export(struct identity *id, struct identity_pem *out, struct error *e)
{
	struct identity_set *s = identity_set_in_use(id);
	int rc = s->own ? 0 : error_set(e, -ENOENT, "this program has no certificate");

	*out = (struct identity_pem){ 0 };
	if (rc == 0)
		rc = identity_pem_copy(out, &s->pem, e);
	identity_set_put(s);
	return rc;
}
