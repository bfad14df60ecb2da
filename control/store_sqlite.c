/* store_sqlite.c - leases in one SQLite file: a row per member, the epoch beside.
 *
 *	members(id TEXT PRIMARY KEY, member TEXT)    the JSON of view.h
 *	facts(name TEXT PRIMARY KEY, value INTEGER)  "epoch"
 *
 * The write-ahead log is synced at each commit: what was answered survives a power
 * cut.  The file is locked while it is open, so two directories never share one.
 * Leaves what the rows mean to the directory.
 */
#include "control/store.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <sqlite3.h>

#include "control/json.h"
#include "dataplane/base/fault.h"
#include "dataplane/base/memory.h"

enum { SCHEMA_VERSION = 1 };
/* Marks the file as ours: "PDIR". */
enum { APPLICATION_ID = 0x50444952 };

enum { PUT, REMOVE, SET_EPOCH, STATEMENTS };
static const char *const statement_texts[STATEMENTS] = {
	[PUT] = "INSERT OR REPLACE INTO members(id, member) VALUES(?1, ?2)",
	[REMOVE] = "DELETE FROM members WHERE id = ?1",
	[SET_EPOCH] = "INSERT OR REPLACE INTO facts(name, value) VALUES('epoch', ?1)",
};

static const char schema[] =
	"BEGIN;"
	"CREATE TABLE members(id TEXT PRIMARY KEY, member TEXT NOT NULL) WITHOUT ROWID;"
	"CREATE TABLE facts(name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;"
	"PRAGMA application_id = 1346652498;"
	"PRAGMA user_version = 1;"
	"COMMIT;";
static_assert(APPLICATION_ID == 1346652498 && SCHEMA_VERSION == 1, "as the schema says");

struct store {
	sqlite3 *db;
	sqlite3_stmt *statements[STATEMENTS];
	char *where;
};

/* What a result of SQLite means to us, and what its reader can do. */
static const struct { int result, code; const char *advice; } faults[] = {
	{ SQLITE_NOTADB, -EINVAL, "this is no directory store; give another file name" },
	{ SQLITE_CORRUPT, -EINVAL, "the file is damaged; move it away and start again: "
				   "members join anew within their lease" },
	{ SQLITE_BUSY, -EBUSY, "another directory has it open" },
	{ SQLITE_LOCKED, -EBUSY, "another directory has it open" },
	{ SQLITE_FULL, -ENOSPC, "there is no room; free some on that disk" },
	{ SQLITE_READONLY, -EROFS, "the file cannot be written; check its owner and mode" },
	{ SQLITE_PERM, -EACCES, "check the owner and mode of the file" },
	{ SQLITE_CANTOPEN, -EIO, "check that its folder is there and can be written" },
	{ SQLITE_NOMEM, -ENOMEM, "out of memory" },
};

static int fail(const struct store *s, const char *doing, struct error *e)
{
	int result = sqlite3_errcode(s->db) & 0xff;
	size_t i;

	for (i = 0; i < ARRAY_LENGTH(faults); i++)
		if (faults[i].result == result)
			return error_set(e, faults[i].code, "store %s: %s: %s (%s)", s->where,
					 doing, sqlite3_errmsg(s->db), faults[i].advice);
	return error_set(e, -EIO, "store %s: %s: %s (check the disk)", s->where, doing,
			 sqlite3_errmsg(s->db));
}

static int run(struct store *s, const char *sql, const char *doing, struct error *e)
{
	if (fault_here())
		return error_set(e, -EIO, "store %s: %s: an injected fault", s->where, doing);
	return sqlite3_exec(s->db, sql, NULL, NULL, NULL) == SQLITE_OK ? 0 : fail(s, doing, e);
}

/* The one number or text a query yields: text is copied when out is given. */
static int ask(struct store *s, const char *sql, int64_t *number, char *text, size_t bytes,
	       struct error *e)
{
	sqlite3_stmt *q = NULL;
	int rc = 0;

	*number = 0;
	if (sqlite3_prepare_v2(s->db, sql, -1, &q, NULL) != SQLITE_OK)
		return fail(s, "reading", e);
	switch (sqlite3_step(q)) {
	case SQLITE_ROW:
		*number = sqlite3_column_int64(q, 0);
		if (text)
			snprintf(text, bytes, "%s", (const char *)sqlite3_column_text(q, 0));
		break;
	case SQLITE_DONE:
		break;
	default:
		rc = fail(s, "reading", e);
	}
	sqlite3_finalize(q);
	return rc;
}

static int check_damage(struct store *s, struct error *e)
{
	char verdict[128] = "";
	int64_t ignored;
	int rc = ask(s, "PRAGMA quick_check(1)", &ignored, verdict, sizeof(verdict), e);

	if (rc < 0 || !strcmp(verdict, "ok"))
		return rc;
	return error_set(e, -EINVAL, "store %s: the file is damaged (%s); move it away and start "
			 "again: members join anew within their lease", s->where, verdict);
}

/* Makes a new file ours; refuses files of others and of later versions. */
static int settle_schema(struct store *s, struct error *e)
{
	int64_t application = 0, version = 0, tables = 0;
	int rc = ask(s, "PRAGMA application_id", &application, NULL, 0, e);

	if (rc == 0)
		rc = ask(s, "PRAGMA user_version", &version, NULL, 0, e);
	if (rc == 0)
		rc = ask(s, "SELECT count(*) FROM sqlite_schema", &tables, NULL, 0, e);
	if (rc < 0)
		return rc;
	if (!tables && !application && !version)
		return run(s, schema, "creating its tables", e);
	if (application != APPLICATION_ID)
		return error_set(e, -EINVAL, "store %s: this SQLite file belongs to another "
				 "program; give another file name", s->where);
	if (version != SCHEMA_VERSION)
		return error_set(e, -ENOTSUP, "store %s: it has schema version %" PRId64
				 ", this program knows %d; start the program that wrote it, or "
				 "move the file away", s->where, version, SCHEMA_VERSION);
	return check_damage(s, e);
}

static int prepare(struct store *s, struct error *e)
{
	uint32_t i;

	for (i = 0; i < STATEMENTS; i++)
		if (sqlite3_prepare_v3(s->db, statement_texts[i], -1, SQLITE_PREPARE_PERSISTENT,
				       &s->statements[i], NULL) != SQLITE_OK)
			return fail(s, "preparing", e);
	return 0;
}

static void sqlite_close(struct store *s)
{
	uint32_t i;

	if (!s)
		return;
	for (i = 0; i < STATEMENTS; i++)
		sqlite3_finalize(s->statements[i]);
	sqlite3_close(s->db);
	mem_free(s->where);
	mem_free(s);
}

static int sqlite_open(struct store **out, const char *where, struct error *e)
{
	struct store *s = mem_calloc(1, sizeof(*s));
	int rc;

	*out = NULL;
	if (!s)
		return error_errno(e, -ENOMEM, "opening the store %s", where);
	s->where = mem_strdup(where);
	if (!s->where) {
		rc = error_errno(e, -ENOMEM, "opening the store %s", where);
		goto err_store;
	}
	if (sqlite3_open_v2(where, &s->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE |
			    SQLITE_OPEN_NOMUTEX, NULL) != SQLITE_OK) {
		rc = fail(s, "opening", e);
		goto err_store;
	}
	rc = run(s, "PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL;"
		 "PRAGMA synchronous = FULL; BEGIN IMMEDIATE; COMMIT", "opening", e);
	if (rc == 0)
		rc = settle_schema(s, e);
	if (rc == 0)
		rc = prepare(s, e);
	if (rc < 0)
		goto err_store;
	*out = s;
	return 0;

err_store:
	sqlite_close(s);
	return rc;
}

/* Runs a bound statement to its end and makes it ready for the next time. */
static int finish(struct store *s, sqlite3_stmt *q, bool bound, const char *doing,
		  struct error *e)
{
	int rc = 0;

	if (fault_here())
		rc = error_set(e, -EIO, "store %s: %s: an injected fault", s->where, doing);
	else if (!bound || sqlite3_step(q) != SQLITE_DONE)
		rc = fail(s, doing, e);
	sqlite3_reset(q);
	sqlite3_clear_bindings(q);
	return rc;
}

static bool bind_id(sqlite3_stmt *q, uint64_t id)
{
	char text[24];

	snprintf(text, sizeof(text), "%016" PRIx64, id);
	return sqlite3_bind_text(q, 1, text, -1, SQLITE_TRANSIENT) == SQLITE_OK;
}

static int sqlite_put(struct store *s, const struct member *m, struct error *e)
{
	sqlite3_stmt *q = s->statements[PUT];
	json_t *j = member_to_json(m);
	struct buffer text = { 0 };
	int rc = j ? json_write(j, &text) : -ENOMEM;
	bool bound;

	json_decref(j);
	if (rc < 0) {
		buffer_close(&text);
		return error_errno(e, rc, "store %s: writing member %s", s->where, m->name);
	}
	bound = bind_id(q, m->id) && sqlite3_bind_text(q, 2, text.data, (int)text.length,
						       SQLITE_STATIC) == SQLITE_OK;
	rc = finish(s, q, bound, "writing a member", e);
	buffer_close(&text);
	return rc;
}

static int sqlite_remove(struct store *s, uint64_t id, struct error *e)
{
	sqlite3_stmt *q = s->statements[REMOVE];

	return finish(s, q, bind_id(q, id), "removing a member", e);
}

static int sqlite_set_epoch(struct store *s, uint64_t epoch, struct error *e)
{
	sqlite3_stmt *q = s->statements[SET_EPOCH];

	return finish(s, q, sqlite3_bind_int64(q, 1, (int64_t)epoch) == SQLITE_OK,
		      "writing the epoch", e);
}

static int load_row(struct store *s, sqlite3_stmt *q, struct view *out, struct error *e)
{
	const char *text = (const char *)sqlite3_column_text(q, 0);
	json_error_t fault;
	struct member m;
	json_t *j = text ? json_loads(text, JSON_REJECT_DUPLICATES, &fault) : NULL;
	int rc = j ? member_from_json(&m, j, e) : error_set(e, -EINVAL, "it is no JSON");

	json_decref(j);
	if (rc == 0 && view_put(out, &m) < 0)
		rc = error_set(e, -ENOSPC, "it holds more than %d members", VIEW_MEMBERS_MAX);
	if (rc < 0)
		error_wrap(e, "store %s is damaged (move it away and start again: members join "
			   "anew within their lease)", s->where);
	return rc;
}

static int sqlite_load(struct store *s, struct view *out, struct error *e)
{
	sqlite3_stmt *q = NULL;
	int64_t epoch;
	int step = SQLITE_DONE;
	int rc = ask(s, "SELECT value FROM facts WHERE name = 'epoch'", &epoch, NULL, 0, e);

	if (rc < 0)
		return rc;
	out->count = 0;
	out->epoch = (uint64_t)MAX(epoch, 0);
	if (sqlite3_prepare_v2(s->db, "SELECT member FROM members ORDER BY id", -1, &q, NULL) !=
	    SQLITE_OK)
		return fail(s, "reading the members", e);
	while (rc == 0 && (step = sqlite3_step(q)) == SQLITE_ROW)
		rc = load_row(s, q, out, e);
	if (rc == 0 && step != SQLITE_DONE)
		rc = fail(s, "reading the members", e);
	sqlite3_finalize(q);
	return rc;
}

const struct store_ops store_sqlite = {
	.scheme = "sqlite",
	.open = sqlite_open,
	.close = sqlite_close,
	.put = sqlite_put,
	.remove = sqlite_remove,
	.load = sqlite_load,
	.set_epoch = sqlite_set_epoch,
};
