#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <sqlite3.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "hub/store.h"

static char dir[64], file[96];

static int make_dir(void **state)
{
    snprintf(dir, sizeof dir, "/tmp/warren-store-test-XXXXXX");
    if (!mkdtemp(dir))
        return -1;
    snprintf(file, sizeof file, "%s/hub.db", dir);
    return 0;
}

static int remove_dir(void **state)
{
    static const char *const tails[] = {"", "-wal", "-shm", "-journal"};
    char path[128];
    for (size_t i = 0; i < sizeof tails / sizeof *tails; i++) {
        snprintf(path, sizeof path, "%s%s", file, tails[i]);
        unlink(path);
    }
    return rmdir(dir);
}

static void open_sqlite(struct store *s)
{
    const char *why = NULL;
    if (store_sqlite_open(s, file, &why) != 0)
        fail_msg("%s", why);
    assert_null(why);
}

static void id_of(uint8_t id[32], unsigned n)
{
    memset(id, (int)n, 32);
    id[0] = (uint8_t)(n >> 8);
}

static struct bytes entry_of(uint8_t *out, size_t n, unsigned seed)
{
    for (size_t i = 0; i < n; i++)
        out[i] = (uint8_t)(seed + i);
    return bytes_of(out, n);
}

static int count_entry(void *arg, struct bytes entry)
{
    unsigned *n = arg;
    uint8_t want[ENTRY_MAX];
    assert_true(bytes_equal(entry, entry_of(want, 200, *n)));
    (*n)++;
    return 0;
}

static int stop_at_two(void *arg, struct bytes entry)
{
    unsigned *n = arg;
    return ++*n == 2 ? 77 : 0;
}

/* Entry `seq` of party 1, made of bytes that tell its number. */
static int append(struct store *s, uint64_t seq, const struct store_invite *invite, const uint8_t *revoke,
                  const uint8_t *redeem, uint64_t now)
{
    uint8_t party[32], hash[32], body[200];
    id_of(party, 1);
    id_of(hash, 1000 + (unsigned)seq);
    struct store_append a = {.party = party,
                             .seq = seq,
                             .hash = hash,
                             .entry = entry_of(body, sizeof body, (unsigned)seq),
                             .unix_s = now,
                             .invite = invite,
                             .revoke = revoke,
                             .redeem = redeem};
    return s->ops->party_append(s->ctx, &a);
}

static void devices(struct store *s)
{
    struct sign_public a, b, got;
    uint8_t id[32], other[32];
    uint64_t n;
    id_of(id, 1);
    id_of(other, 2);
    memset(&a, 3, sizeof a);
    memset(&b, 4, sizeof b);
    assert_int_equal(s->ops->device_get(s->ctx, id, &got), -ENOENT);
    assert_int_equal(s->ops->device_put(s->ctx, id, &a, "one", 100), 0);
    assert_int_equal(s->ops->device_put(s->ctx, id, &a, "renamed'; DROP TABLE device; --", 101), 0);
    assert_int_equal(s->ops->device_put(s->ctx, id, &b, "one", 102), -EEXIST);
    assert_int_equal(s->ops->device_put(s->ctx, other, &b, "", 103), 0);
    assert_int_equal(s->ops->device_get(s->ctx, id, &got), 0);
    assert_memory_equal(&got, &a, sizeof a);
    assert_int_equal(s->ops->device_get(s->ctx, other, &got), 0);
    assert_memory_equal(&got, &b, sizeof b);
    assert_int_equal(s->ops->device_count(s->ctx, &n), 0);
    assert_int_equal(n, 2);
}

static void parties(struct store *s)
{
    uint8_t party[32], nobody[32], author[32], genesis[200];
    uint64_t n;
    unsigned seen = 0;
    id_of(party, 1);
    id_of(nobody, 99);
    entry_of(genesis, sizeof genesis, 0);
    memcpy(author, genesis + 82, 32);
    assert_int_equal(append(s, 1, NULL, NULL, NULL, 1), -ENOENT);
    assert_int_equal(s->ops->party_entries(s->ctx, party, 0, count_entry, &seen), -ENOENT);
    assert_int_equal(s->ops->party_create(s->ctx, party, bytes_of(genesis, sizeof genesis), 50), 0);
    assert_int_equal(s->ops->party_create(s->ctx, party, bytes_of(genesis, sizeof genesis), 51), -EEXIST);
    for (uint64_t seq = 1; seq < 6; seq++) {
        assert_int_equal(append(s, seq + 1, NULL, NULL, NULL, 60), -ESTALE);
        assert_int_equal(append(s, seq, NULL, NULL, NULL, 60), 0);
        assert_int_equal(append(s, seq, NULL, NULL, NULL, 60), -ESTALE);
    }
    assert_int_equal(s->ops->party_entries(s->ctx, party, 0, count_entry, &seen), 0);
    assert_int_equal(seen, 6);
    seen = 4;
    assert_int_equal(s->ops->party_entries(s->ctx, party, 4, count_entry, &seen), 0);
    assert_int_equal(seen, 6);
    seen = 0;
    assert_int_equal(s->ops->party_entries(s->ctx, party, 0, stop_at_two, &seen), 77);
    assert_int_equal(seen, 2);
    assert_int_equal(s->ops->party_entries(s->ctx, party, 900, count_entry, &seen), 0);
    assert_int_equal(s->ops->party_count(s->ctx, &n), 0);
    assert_int_equal(n, 1);
    assert_int_equal(s->ops->party_owned(s->ctx, author, &n), 0);
    assert_int_equal(n, 1);
    assert_int_equal(s->ops->party_owned(s->ctx, nobody, &n), 0);
    assert_int_equal(n, 0);
}

static void invites(struct store *s)
{
    uint8_t party[32], genesis[200], unknown[32];
    struct store_invite two = {.uses = 2, .expires = 1000}, late = {.uses = 5, .expires = 1000},
                        gone = {.uses = 5, .expires = 9999};
    id_of(party, 1);
    id_of(two.id, 20);
    id_of(late.id, 21);
    id_of(gone.id, 22);
    id_of(unknown, 23);
    assert_int_equal(s->ops->party_create(s->ctx, party, entry_of(genesis, sizeof genesis, 0), 50), 0);
    assert_int_equal(append(s, 1, &two, NULL, NULL, 100), 0);
    assert_int_equal(append(s, 2, &late, NULL, NULL, 100), 0);
    assert_int_equal(append(s, 3, &gone, NULL, NULL, 100), 0);
    assert_int_equal(append(s, 4, &gone, NULL, NULL, 100), -EEXIST);
    assert_int_equal(append(s, 4, NULL, NULL, unknown, 100), -EDQUOT);
    assert_int_equal(append(s, 4, NULL, NULL, late.id, 1001), -EDQUOT);
    assert_int_equal(append(s, 4, NULL, NULL, two.id, 100), 0);
    /* A refused append uses nothing up. */
    assert_int_equal(append(s, 9, NULL, NULL, two.id, 100), -ESTALE);
    assert_int_equal(append(s, 5, &gone, NULL, two.id, 100), -EEXIST);
    assert_int_equal(append(s, 5, NULL, NULL, two.id, 100), 0);
    assert_int_equal(append(s, 6, NULL, NULL, two.id, 100), -EDQUOT);
    assert_int_equal(append(s, 6, NULL, gone.id, NULL, 100), 0);
    assert_int_equal(append(s, 7, NULL, NULL, gone.id, 100), -EDQUOT);
    assert_int_equal(append(s, 7, NULL, NULL, late.id, 1000), 0);
}

static void blobs(struct store *s)
{
    static uint8_t big[STORE_BLOB_MAX + 1], out[STORE_BLOB_MAX + 1];
    size_t n = 7;
    assert_int_equal(s->ops->blob_get(s->ctx, "key", out, sizeof out, &n), -ENOENT);
    assert_int_equal(s->ops->blob_put(s->ctx, "key", bytes_of_str("one")), 0);
    assert_int_equal(s->ops->blob_put(s->ctx, "key", bytes_of_str("three")), 0);
    assert_int_equal(s->ops->blob_put(s->ctx, "empty", bytes_of(NULL, 0)), 0);
    assert_int_equal(s->ops->blob_put(s->ctx, "", bytes_of_str("x")), -EINVAL);
    assert_int_equal(s->ops->blob_get(s->ctx, "key", out, 4, &n), -EMSGSIZE);
    assert_int_equal(s->ops->blob_get(s->ctx, "key", out, sizeof out, &n), 0);
    assert_int_equal(n, 5);
    assert_memory_equal(out, "three", 5);
    assert_int_equal(s->ops->blob_get(s->ctx, "empty", out, sizeof out, &n), 0);
    assert_int_equal(n, 0);
    memset(big, 9, sizeof big);
    assert_int_equal(s->ops->blob_put(s->ctx, "big", bytes_of(big, sizeof big)), -EINVAL);
    assert_int_equal(s->ops->blob_put(s->ctx, "big", bytes_of(big, sizeof big - 1)), 0);
    assert_int_equal(s->ops->blob_get(s->ctx, "big", out, sizeof out, &n), 0);
    assert_int_equal(n, sizeof big - 1);
}

/* The same table against both stores: the memory one is what the SQL one is measured by. */
static void both_stores_do_the_same(void **state)
{
    void (*const rows[])(struct store *) = {devices, parties, invites, blobs};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct store s;
        assert_int_equal(store_memory_open(&s), 0);
        rows[i](&s);
        store_close(&s);
        open_sqlite(&s);
        rows[i](&s);
        store_close(&s);
        assert_int_equal(remove_dir(state), 0);
        assert_int_equal(make_dir(state), 0);
    }
}

static void what_was_stored_is_there_again(void **state)
{
    struct store s;
    uint8_t party[32], genesis[200], out[8];
    unsigned seen = 0;
    size_t n;
    struct stat st;
    id_of(party, 1);
    open_sqlite(&s);
    assert_int_equal(s.ops->party_create(s.ctx, party, entry_of(genesis, sizeof genesis, 0), 1), 0);
    assert_int_equal(append(&s, 1, NULL, NULL, NULL, 2), 0);
    assert_int_equal(s.ops->blob_put(s.ctx, "k", bytes_of_str("v")), 0);
    store_close(&s);
    assert_int_equal(stat(file, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    open_sqlite(&s);
    assert_int_equal(s.ops->party_entries(s.ctx, party, 0, count_entry, &seen), 0);
    assert_int_equal(seen, 2);
    assert_int_equal(s.ops->blob_get(s.ctx, "k", out, sizeof out, &n), 0);
    store_close(&s);
}

static void run_sql(const char *text)
{
    sqlite3 *db;
    char *error = NULL;
    assert_int_equal(sqlite3_open(file, &db), SQLITE_OK);
    if (sqlite3_exec(db, text, NULL, NULL, &error) != SQLITE_OK)
        fail_msg("%s", error);
    sqlite3_close(db);
}

/* A database as the first version made it. */
static void an_old_database_is_migrated(void **state)
{
    struct store s;
    struct buf sql;
    uint8_t party[32], genesis[200], author[32];
    char hex[401];
    unsigned seen = 0;
    uint64_t n;
    id_of(party, 1);
    entry_of(genesis, sizeof genesis, 0);
    memcpy(author, genesis + 82, 32);
    buf_init(&sql, 8192);
    buf_add_str(
        &sql,
        "CREATE TABLE device (id BLOB PRIMARY KEY, mldsa BLOB NOT NULL, ed25519 BLOB NOT NULL, name TEXT NOT "
        "NULL,"
        " created INTEGER NOT NULL, seen INTEGER NOT NULL) STRICT;"
        "CREATE TABLE party (id BLOB PRIMARY KEY, created INTEGER NOT NULL, head INTEGER NOT NULL) STRICT;"
        "CREATE TABLE entry (party BLOB NOT NULL REFERENCES party(id), seq INTEGER NOT NULL, hash BLOB NOT "
        "NULL,"
        " body BLOB NOT NULL, time INTEGER NOT NULL, UNIQUE (party, seq)) STRICT;"
        "CREATE TABLE invite (party BLOB NOT NULL REFERENCES party(id), id BLOB NOT NULL, uses INTEGER NOT "
        "NULL,"
        " used INTEGER NOT NULL DEFAULT 0, expires INTEGER NOT NULL, revoked INTEGER NOT NULL DEFAULT 0,"
        " UNIQUE (party, id)) STRICT;"
        "CREATE TABLE blob (name TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT;");
    hex_put(hex, bytes_of(party, 32));
    buf_printf(&sql, "INSERT INTO party VALUES (x'%s', 1, 0);INSERT INTO entry VALUES (x'%s', 0, x'%s',", hex,
               hex, hex);
    hex_put(hex, bytes_of(genesis, sizeof genesis));
    buf_printf(&sql, "x'%s', 1); PRAGMA user_version = 1;", hex);
    run_sql(buf_str(&sql));
    buf_done(&sql);
    open_sqlite(&s);
    assert_int_equal(s.ops->party_owned(s.ctx, author, &n), 0);
    assert_int_equal(n, 1);
    assert_int_equal(append(&s, 1, NULL, NULL, NULL, 2), 0);
    assert_int_equal(s.ops->party_entries(s.ctx, party, 0, count_entry, &seen), 0);
    assert_int_equal(seen, 2);
    store_close(&s);
    open_sqlite(&s); /* and once is enough */
    store_close(&s);
}

static void refused(int rc, const char *word)
{
    struct store s;
    const char *why = NULL;
    assert_int_equal(store_sqlite_open(&s, file, &why), rc);
    assert_non_null(why);
    if (!strstr(why, word))
        fail_msg("%s", why);
}

static void what_is_wrong_is_said(void **state)
{
    struct store s;
    open_sqlite(&s);
    refused(-EBUSY, "locked by another hub");
    store_close(&s);
    run_sql("PRAGMA user_version = 99");
    refused(-EIO, "newer version");
    assert_int_equal(truncate(file, 0), 0);
    int fd = open(file, O_WRONLY | O_CLOEXEC);
    for (int i = 0; i < 1000; i++)
        assert_int_equal(write(fd, "rubbish.", 8), 8);
    close(fd);
    refused(-EIO, "not a hub database");
    assert_int_equal(unlink(file), 0);
    assert_int_equal(mkdir(file, 0700), 0);
    refused(-EIO, "cannot be written");
    assert_int_equal(rmdir(file), 0);
    snprintf(file, sizeof file, "%s/none/hub.db", dir);
    refused(-EIO, "cannot be written");
    snprintf(file, sizeof file, "%s/hub.db", dir);
}

/* A disk that is full in the middle: the append fails, and everything before it stays readable. */
static void a_full_disk_loses_nothing(void **state)
{
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        struct store s;
        struct rlimit r = {.rlim_cur = 200000, .rlim_max = 200000};
        uint8_t party[32], genesis[200];
        const char *why;
        unsigned done = 0, seen = 0;
        id_of(party, 1);
        if (store_sqlite_open(&s, file, &why) != 0 ||
            s.ops->party_create(s.ctx, party, entry_of(genesis, sizeof genesis, 0), 1) != 0)
            _exit(10);
        signal(SIGXFSZ, SIG_IGN);
        setrlimit(RLIMIT_FSIZE, &r);
        int rc = 0;
        while (done < 5000 && (rc = append(&s, done + 1, NULL, NULL, NULL, 1)) == 0)
            done++;
        if (done == 5000 || (rc != -EIO && rc != -ENOSPC))
            _exit(11);
        if (s.ops->party_entries(s.ctx, party, 0, count_entry, &seen) != 0 || seen != done + 1)
            _exit(12);
        store_close(&s);
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(both_stores_do_the_same, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(what_was_stored_is_there_again, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(an_old_database_is_migrated, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(what_is_wrong_is_said, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(a_full_disk_loses_nothing, make_dir, remove_dir),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
