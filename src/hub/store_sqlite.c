#include "hub/store_int.h"

#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define BUSY_MS    1500
#define SEEN_EVERY 3600 /* seconds between two notes of when a device was seen: each one is a write to disk  \
                         */

/* Step n brings the schema from version n to n + 1. A step that was released is never changed: add another.
 */
static const char *const migrations[] = {
    ("CREATE TABLE device (id BLOB PRIMARY KEY, mldsa BLOB NOT NULL, ed25519 BLOB NOT NULL, name TEXT NOT "
     "NULL,"
     "  created INTEGER NOT NULL, seen INTEGER NOT NULL) STRICT;"
     "CREATE TABLE party (id BLOB PRIMARY KEY, created INTEGER NOT NULL, head INTEGER NOT NULL) STRICT;"
     "CREATE TABLE entry (party BLOB NOT NULL REFERENCES party(id), seq INTEGER NOT NULL, hash BLOB NOT NULL,"
     "  body BLOB NOT NULL, time INTEGER NOT NULL, UNIQUE (party, seq)) STRICT;"
     "CREATE TABLE invite (party BLOB NOT NULL REFERENCES party(id), id BLOB NOT NULL, uses INTEGER NOT NULL,"
     "  used INTEGER NOT NULL DEFAULT 0, expires INTEGER NOT NULL, revoked INTEGER NOT NULL DEFAULT 0,"
     "  UNIQUE (party, id)) STRICT;"
     "CREATE TABLE blob (name TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT;"),
    /* Who made a party, for the quota: bytes 83 to 114 of its first entry (doc/protocol/party.md section 2).
     */
    ("ALTER TABLE party ADD COLUMN author BLOB;"
     "UPDATE party SET author = (SELECT substr(body, 83, 32) FROM entry WHERE entry.party = party.id AND seq "
     "= 0);"
     "CREATE INDEX party_author ON party (author);"),
};
#define SCHEMA_VERSION ((int)(sizeof migrations / sizeof *migrations))

enum statement {
    BEGIN,
    COMMIT,
    ROLLBACK,
    DEVICE_PUT,
    DEVICE_GET,
    DEVICE_COUNT,
    PARTY_CREATE,
    PARTY_MOVE_HEAD,
    PARTY_EXISTS,
    PARTY_COUNT,
    PARTY_OWNED,
    ENTRY_PUT,
    ENTRIES,
    INVITE_PUT,
    INVITE_REVOKE,
    INVITE_REDEEM,
    BLOB_GET,
    BLOB_PUT,
    STATEMENT_COUNT
};

static const char *const sql[STATEMENT_COUNT] = {
    [BEGIN] = "BEGIN IMMEDIATE",
    [COMMIT] = "COMMIT",
    [ROLLBACK] = "ROLLBACK",
    [DEVICE_PUT] =
        ("INSERT INTO device (id, mldsa, ed25519, name, created, seen) VALUES (?1, ?2, ?3, ?4, ?5, ?5)"
         " ON CONFLICT (id) DO UPDATE SET name = excluded.name, seen = excluded.seen"
         " WHERE name <> excluded.name OR seen + ?6 <= excluded.seen"),
    [DEVICE_GET] = "SELECT mldsa, ed25519 FROM device WHERE id = ?1",
    [DEVICE_COUNT] = "SELECT count(*) FROM device",
    [PARTY_CREATE] = "INSERT INTO party (id, created, head, author) VALUES (?1, ?2, 0, ?3)",
    [PARTY_MOVE_HEAD] = "UPDATE party SET head = ?2 WHERE id = ?1 AND head = ?2 - 1",
    [PARTY_EXISTS] = "SELECT 1 FROM party WHERE id = ?1",
    [PARTY_COUNT] = "SELECT count(*) FROM party",
    [PARTY_OWNED] = "SELECT count(*) FROM party WHERE author = ?1",
    [ENTRY_PUT] = "INSERT INTO entry (party, seq, hash, body, time) VALUES (?1, ?2, ?3, ?4, ?5)",
    [ENTRIES] = "SELECT body FROM entry WHERE party = ?1 AND seq >= ?2 ORDER BY seq",
    [INVITE_PUT] = "INSERT INTO invite (party, id, uses, expires) VALUES (?1, ?2, ?3, ?4)",
    [INVITE_REVOKE] = "UPDATE invite SET revoked = 1 WHERE party = ?1 AND id = ?2",
    [INVITE_REDEEM] = ("UPDATE invite SET used = used + 1 WHERE party = ?1 AND id = ?2 AND used < uses"
                       " AND revoked = 0 AND expires >= ?3"),
    [BLOB_GET] = "SELECT value FROM blob WHERE name = ?1",
    [BLOB_PUT] = ("INSERT INTO blob (name, value) VALUES (?1, ?2)"
                  " ON CONFLICT (name) DO UPDATE SET value = excluded.value"),
};

struct sqlite {
    sqlite3 *db;
    sqlite3_stmt *st[STATEMENT_COUNT];
};

static int errno_of(int rc)
{
    switch (rc & 0xff) {
    case SQLITE_OK:
    case SQLITE_ROW:
    case SQLITE_DONE:
        return 0;
    case SQLITE_FULL:
        return -ENOSPC;
    case SQLITE_NOMEM:
        return -ENOMEM;
    case SQLITE_CONSTRAINT:
        return -EEXIST;
    default:
        return -EIO;
    }
}

static void bind_bytes(sqlite3_stmt *st, int at, struct bytes b)
{
    sqlite3_bind_blob(st, at, b.n ? (const void *)b.p : "", (int)b.n, SQLITE_STATIC);
}

static void bind_id(sqlite3_stmt *st, int at, const uint8_t id[32])
{
    sqlite3_bind_blob(st, at, id, 32, SQLITE_STATIC);
}

static void bind_u64(sqlite3_stmt *st, int at, uint64_t v)
{
    sqlite3_bind_int64(st, at, v > INT64_MAX ? INT64_MAX : (sqlite3_int64)v);
}

static void finish(sqlite3_stmt *st)
{
    sqlite3_reset(st);
    sqlite3_clear_bindings(st);
}

/* Runs a statement that gives no rows. */
static int run(struct sqlite *q, enum statement s)
{
    int rc = errno_of(sqlite3_step(q->st[s]));
    finish(q->st[s]);
    return rc;
}

static int run_count(struct sqlite *q, enum statement s, uint64_t *n)
{
    int rc = errno_of(sqlite3_step(q->st[s]));
    if (rc == 0)
        *n = (uint64_t)sqlite3_column_int64(q->st[s], 0);
    finish(q->st[s]);
    return rc;
}

/* Ends a transaction: commits where all went well. */
static int settle(struct sqlite *q, int rc)
{
    if (rc == 0)
        rc = run(q, COMMIT);
    /* After some failures SQLite has rolled back already. */
    if (rc < 0 && !sqlite3_get_autocommit(q->db))
        run(q, ROLLBACK);
    return rc;
}

static bool column_into(sqlite3_stmt *st, int col, uint8_t *out, size_t len)
{
    bool fits = (size_t)sqlite3_column_bytes(st, col) == len;
    if (fits)
        memcpy(out, sqlite3_column_blob(st, col), len);
    return fits;
}

static int device_get(void *ctx, const uint8_t id[NODE_ID_LEN], struct sign_public *keys)
{
    struct sqlite *q = ctx;
    sqlite3_stmt *st = q->st[DEVICE_GET];
    struct sign_public k;
    bind_id(st, 1, id);
    int step = sqlite3_step(st), rc = step == SQLITE_DONE ? -ENOENT : errno_of(step);
    if (rc == 0 && (!column_into(st, 0, k.mldsa, MLDSA_PUBLIC_LEN) ||
                    !column_into(st, 1, k.ed25519, ED25519_PUBLIC_LEN)))
        rc = -EIO;
    finish(st);
    if (rc == 0)
        *keys = k;
    return rc;
}

static int device_put(void *ctx, const uint8_t id[NODE_ID_LEN], const struct sign_public *keys,
                      const char *name, uint64_t unix_s)
{
    struct sqlite *q = ctx;
    struct sign_public there;
    int rc = device_get(ctx, id, &there);
    if (rc == 0 && memcmp(&there, keys, sizeof there) != 0)
        return -EEXIST;
    if (rc < 0 && rc != -ENOENT)
        return rc;
    sqlite3_stmt *st = q->st[DEVICE_PUT];
    bind_id(st, 1, id);
    bind_bytes(st, 2, bytes_of(keys->mldsa, MLDSA_PUBLIC_LEN));
    bind_bytes(st, 3, bytes_of(keys->ed25519, ED25519_PUBLIC_LEN));
    sqlite3_bind_text(st, 4, name, -1, SQLITE_STATIC);
    bind_u64(st, 5, unix_s);
    bind_u64(st, 6, SEEN_EVERY);
    return run(q, DEVICE_PUT);
}

static int device_count(void *ctx, uint64_t *n)
{
    return run_count(ctx, DEVICE_COUNT, n);
}

static int party_exists(struct sqlite *q, const uint8_t id[PARTY_ID_LEN])
{
    bind_id(q->st[PARTY_EXISTS], 1, id);
    int step = sqlite3_step(q->st[PARTY_EXISTS]);
    finish(q->st[PARTY_EXISTS]);
    return step == SQLITE_ROW ? 0 : step == SQLITE_DONE ? -ENOENT : errno_of(step);
}

static int entry_put(struct sqlite *q, const struct store_append *a)
{
    sqlite3_stmt *st = q->st[ENTRY_PUT];
    bind_id(st, 1, a->party);
    bind_u64(st, 2, a->seq);
    bind_id(st, 3, a->hash);
    bind_bytes(st, 4, a->entry);
    bind_u64(st, 5, a->unix_s);
    return run(q, ENTRY_PUT);
}

static int party_create(void *ctx, const uint8_t id[PARTY_ID_LEN], struct bytes genesis, uint64_t unix_s)
{
    struct sqlite *q = ctx;
    uint8_t author[NODE_ID_LEN];
    store_genesis_author(author, genesis);
    int rc = run(q, BEGIN);
    if (rc < 0)
        return rc;
    bind_id(q->st[PARTY_CREATE], 1, id);
    bind_u64(q->st[PARTY_CREATE], 2, unix_s);
    bind_id(q->st[PARTY_CREATE], 3, author);
    rc = run(q, PARTY_CREATE);
    struct store_append first = {.party = id, .hash = id, .entry = genesis, .unix_s = unix_s};
    if (rc == 0)
        rc = entry_put(q, &first);
    return settle(q, rc);
}

static int move_head(struct sqlite *q, const struct store_append *a)
{
    bind_id(q->st[PARTY_MOVE_HEAD], 1, a->party);
    bind_u64(q->st[PARTY_MOVE_HEAD], 2, a->seq);
    int rc = run(q, PARTY_MOVE_HEAD);
    if (rc == 0 && sqlite3_changes(q->db) == 0)
        rc = party_exists(q, a->party) == -ENOENT ? -ENOENT : -ESTALE;
    return rc;
}

static int invite_put(struct sqlite *q, const struct store_append *a)
{
    sqlite3_stmt *st = q->st[INVITE_PUT];
    bind_id(st, 1, a->party);
    bind_id(st, 2, a->invite->id);
    bind_u64(st, 3, a->invite->uses);
    bind_u64(st, 4, a->invite->expires);
    return run(q, INVITE_PUT);
}

static int invite_revoke(struct sqlite *q, const struct store_append *a)
{
    bind_id(q->st[INVITE_REVOKE], 1, a->party);
    bind_id(q->st[INVITE_REVOKE], 2, a->revoke);
    return run(q, INVITE_REVOKE);
}

static int invite_redeem(struct sqlite *q, const struct store_append *a)
{
    bind_id(q->st[INVITE_REDEEM], 1, a->party);
    bind_id(q->st[INVITE_REDEEM], 2, a->redeem);
    bind_u64(q->st[INVITE_REDEEM], 3, a->unix_s);
    int rc = run(q, INVITE_REDEEM);
    return rc == 0 && sqlite3_changes(q->db) == 0 ? -EDQUOT : rc;
}

static int party_append(void *ctx, const struct store_append *a)
{
    struct sqlite *q = ctx;
    int rc = run(q, BEGIN);
    if (rc < 0)
        return rc;
    rc = move_head(q, a);
    if (rc == 0 && a->redeem)
        rc = invite_redeem(q, a);
    if (rc == 0)
        rc = entry_put(q, a);
    if (rc == 0 && a->invite)
        rc = invite_put(q, a);
    if (rc == 0 && a->revoke)
        rc = invite_revoke(q, a);
    return settle(q, rc);
}

static int party_entries(void *ctx, const uint8_t id[PARTY_ID_LEN], uint64_t since,
                         int (*each)(void *arg, struct bytes entry), void *arg)
{
    struct sqlite *q = ctx;
    sqlite3_stmt *st = q->st[ENTRIES];
    int step = SQLITE_DONE, rc = party_exists(q, id);
    if (rc < 0)
        return rc;
    bind_id(st, 1, id);
    bind_u64(st, 2, since);
    while (rc == 0 && (step = sqlite3_step(st)) == SQLITE_ROW)
        rc = each(arg, bytes_of(sqlite3_column_blob(st, 0), (size_t)sqlite3_column_bytes(st, 0)));
    if (rc == 0)
        rc = errno_of(step);
    finish(st);
    return rc;
}

static int party_count(void *ctx, uint64_t *n)
{
    return run_count(ctx, PARTY_COUNT, n);
}

static int party_owned(void *ctx, const uint8_t author[NODE_ID_LEN], uint64_t *n)
{
    struct sqlite *q = ctx;
    bind_id(q->st[PARTY_OWNED], 1, author);
    return run_count(q, PARTY_OWNED, n);
}

static int blob_get(void *ctx, const char *name, uint8_t *out, size_t cap, size_t *n)
{
    struct sqlite *q = ctx;
    sqlite3_stmt *st = q->st[BLOB_GET];
    sqlite3_bind_text(st, 1, name, -1, SQLITE_STATIC);
    int step = sqlite3_step(st), rc = step == SQLITE_DONE ? -ENOENT : errno_of(step);
    size_t got = rc == 0 ? (size_t)sqlite3_column_bytes(st, 0) : 0;
    if (rc == 0 && got > cap)
        rc = -EMSGSIZE;
    if (rc == 0) {
        if (got > 0)
            memcpy(out, sqlite3_column_blob(st, 0), got);
        *n = got;
    }
    finish(st);
    return rc;
}

static int blob_put(void *ctx, const char *name, struct bytes value)
{
    struct sqlite *q = ctx;
    if (name[0] == 0 || value.n > STORE_BLOB_MAX)
        return -EINVAL;
    sqlite3_bind_text(q->st[BLOB_PUT], 1, name, -1, SQLITE_STATIC);
    bind_bytes(q->st[BLOB_PUT], 2, value);
    return run(q, BLOB_PUT);
}

static void sqlite_close_all(void *ctx)
{
    struct sqlite *q = ctx;
    for (int i = 0; i < STATEMENT_COUNT; i++)
        sqlite3_finalize(q->st[i]);
    sqlite3_close(q->db);
    free(q);
}

static const struct store_ops sqlite_ops = {
    .device_put = device_put,
    .device_get = device_get,
    .device_count = device_count,
    .party_create = party_create,
    .party_append = party_append,
    .party_entries = party_entries,
    .party_count = party_count,
    .blob_get = blob_get,
    .blob_put = blob_put,
    .close = sqlite_close_all,
    .party_owned = party_owned,
};

static int schema_version(struct sqlite *q, int *version)
{
    sqlite3_stmt *st = NULL;
    int rc = sqlite3_prepare_v2(q->db, "PRAGMA user_version", -1, &st, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_step(st);
    if (rc == SQLITE_ROW)
        *version = sqlite3_column_int(st, 0);
    sqlite3_finalize(st);
    return rc == SQLITE_ROW ? SQLITE_OK : rc;
}

static int migrate(struct sqlite *q, const char **why)
{
    int version = 0;
    /* In exclusive mode the first transaction takes the lock for good: from here on the file is ours alone.
     */
    int rc = sqlite3_exec(q->db, "BEGIN IMMEDIATE", NULL, NULL, NULL);
    if (rc == SQLITE_OK)
        rc = schema_version(q, &version);
    if (rc == SQLITE_OK && version > SCHEMA_VERSION) {
        *why = "the database was written by a newer version of warren; install that one";
        sqlite3_exec(q->db, "ROLLBACK", NULL, NULL, NULL);
        return SQLITE_MISMATCH;
    }
    for (int i = version; rc == SQLITE_OK && i < SCHEMA_VERSION; i++)
        rc = sqlite3_exec(q->db, migrations[i], NULL, NULL, NULL);
    char set[64];
    snprintf(set, sizeof set, "PRAGMA user_version = %d", SCHEMA_VERSION);
    if (rc == SQLITE_OK && version < SCHEMA_VERSION)
        rc = sqlite3_exec(q->db, set, NULL, NULL, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_exec(q->db, "COMMIT", NULL, NULL, NULL);
    if (rc != SQLITE_OK)
        sqlite3_exec(q->db, "ROLLBACK", NULL, NULL, NULL);
    return rc;
}

static const char *reason(int rc)
{
    switch (rc & 0xff) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return "the database is locked by another hub; stop that one or give this one its own --state";
    case SQLITE_FULL:
        return "the disk is full; make room for the database";
    case SQLITE_READONLY:
    case SQLITE_PERM:
    case SQLITE_CANTOPEN:
        return "the database cannot be written; check the owner of the file and of its directory";
    case SQLITE_NOTADB:
    case SQLITE_CORRUPT:
        return "the file is not a hub database or is damaged; restore a copy or move it away";
    case SQLITE_NOMEM:
        return "out of memory";
    default:
        return "the database cannot be opened; the disk reports an error";
    }
}

/* SQLite would make the file with the umask's mode, and gives its journals the mode of the file. */
static int make_private(const char *path)
{
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return errno == ENOSPC || errno == EDQUOT ? SQLITE_FULL : SQLITE_CANTOPEN;
    struct stat st;
    int rc = fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) ? SQLITE_CANTOPEN : SQLITE_OK;
    if (rc == SQLITE_OK && (st.st_mode & 0777) != 0600 && fchmod(fd, 0600) < 0)
        rc = SQLITE_PERM;
    close(fd);
    return rc;
}

static int prepare_all(struct sqlite *q)
{
    int rc = SQLITE_OK;
    for (int i = 0; rc == SQLITE_OK && i < STATEMENT_COUNT; i++)
        rc = sqlite3_prepare_v3(q->db, sql[i], -1, SQLITE_PREPARE_PERSISTENT, &q->st[i], NULL);
    return rc;
}

static int open_all(struct sqlite *q, const char *path, const char **why)
{
    int rc = make_private(path);
    if (rc == SQLITE_OK)
        rc = sqlite3_open_v2(path, &q->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_busy_timeout(q->db, BUSY_MS);
    if (rc == SQLITE_OK)
        rc = sqlite3_exec(
            q->db,
            "PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
            "PRAGMA foreign_keys = ON; PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON;",
            NULL, NULL, NULL);
    if (rc == SQLITE_OK)
        rc = migrate(q, why);
    return rc == SQLITE_OK ? prepare_all(q) : rc;
}

int store_sqlite_open(struct store *s, const char *path, const char **why)
{
    struct sqlite *q = calloc(1, sizeof *q);
    *why = NULL;
    if (!q) {
        *why = reason(SQLITE_NOMEM);
        return -ENOMEM;
    }
    int rc = open_all(q, path, why);
    if (rc != SQLITE_OK) {
        if (!*why)
            *why = reason(rc);
        sqlite_close_all(q);
        return (rc & 0xff) == SQLITE_BUSY ? -EBUSY : (rc & 0xff) == SQLITE_FULL ? -ENOSPC : -EIO;
    }
    *s = (struct store){&sqlite_ops, q};
    return 0;
}
