/* The hub's store when memory, the disk or SQLite's own memory fails: an error that says what it is, all of a
 * change or nothing of it, and nothing acknowledged is lost, neither at once nor after the file is opened
 * again. */
#include "torture.h"

#include <fcntl.h>
#include <sqlite3.h>
#include <unistd.h>

#include "base/buf.h"
#include "crypto/hash.h"
#include "hub/store.h"

static char dir[64], file[96], copy[96];

/* ---- SQLite's file system with writes that fail ---- */

struct shim {
    sqlite3_file base;
    sqlite3_file *real; /* behind us in the same memory */
};

static sqlite3_vfs shim_vfs;
static sqlite3_vfs *real_vfs;

static sqlite3_file *real_of(sqlite3_file *f)
{
    return ((struct shim *)(void *)f)->real;
}

static int shim_close(sqlite3_file *f)
{
    return real_of(f)->pMethods->xClose(real_of(f));
}

static int shim_read(sqlite3_file *f, void *p, int n, sqlite3_int64 at)
{
    return real_of(f)->pMethods->xRead(real_of(f), p, n, at);
}

/* A full disk takes half of what is written; every third failure is another one. */
static int shim_write(sqlite3_file *f, const void *p, int n, sqlite3_int64 at)
{
    if (!torture_fails(TORTURE_OWN))
        return real_of(f)->pMethods->xWrite(real_of(f), p, n, at);
    real_of(f)->pMethods->xWrite(real_of(f), p, n / 2, at);
    return torture_k() % 3 == 0 ? SQLITE_IOERR_WRITE : SQLITE_FULL;
}

static int shim_truncate(sqlite3_file *f, sqlite3_int64 n)
{
    return torture_fails(TORTURE_OWN) ? SQLITE_IOERR_TRUNCATE
                                      : real_of(f)->pMethods->xTruncate(real_of(f), n);
}

/* The disk itself is not waited for: no power is cut here, and it is what takes the time. */
static int shim_sync(sqlite3_file *f, int flags)
{
    return torture_fails(TORTURE_OWN) ? SQLITE_IOERR_FSYNC : SQLITE_OK;
}

static int shim_size(sqlite3_file *f, sqlite3_int64 *n)
{
    return real_of(f)->pMethods->xFileSize(real_of(f), n);
}

static int shim_lock(sqlite3_file *f, int level)
{
    return real_of(f)->pMethods->xLock(real_of(f), level);
}

static int shim_unlock(sqlite3_file *f, int level)
{
    return real_of(f)->pMethods->xUnlock(real_of(f), level);
}

static int shim_reserved(sqlite3_file *f, int *out)
{
    return real_of(f)->pMethods->xCheckReservedLock(real_of(f), out);
}

static int shim_control(sqlite3_file *f, int op, void *arg)
{
    return real_of(f)->pMethods->xFileControl(real_of(f), op, arg);
}

static int shim_sector(sqlite3_file *f)
{
    return real_of(f)->pMethods->xSectorSize(real_of(f));
}

static int shim_traits(sqlite3_file *f)
{
    return real_of(f)->pMethods->xDeviceCharacteristics(real_of(f));
}

static int shim_shm_map(sqlite3_file *f, int page, int size, int extend, void volatile **out)
{
    return real_of(f)->pMethods->xShmMap(real_of(f), page, size, extend, out);
}

static int shim_shm_lock(sqlite3_file *f, int at, int n, int flags)
{
    return real_of(f)->pMethods->xShmLock(real_of(f), at, n, flags);
}

static void shim_shm_barrier(sqlite3_file *f)
{
    real_of(f)->pMethods->xShmBarrier(real_of(f));
}

static int shim_shm_unmap(sqlite3_file *f, int delete)
{
    return real_of(f)->pMethods->xShmUnmap(real_of(f), delete);
}

static const sqlite3_io_methods shim_methods = {
    .iVersion = 2,
    .xClose = shim_close,
    .xRead = shim_read,
    .xWrite = shim_write,
    .xTruncate = shim_truncate,
    .xSync = shim_sync,
    .xFileSize = shim_size,
    .xLock = shim_lock,
    .xUnlock = shim_unlock,
    .xCheckReservedLock = shim_reserved,
    .xFileControl = shim_control,
    .xSectorSize = shim_sector,
    .xDeviceCharacteristics = shim_traits,
    .xShmMap = shim_shm_map,
    .xShmLock = shim_shm_lock,
    .xShmBarrier = shim_shm_barrier,
    .xShmUnmap = shim_shm_unmap,
};

static int shim_open(sqlite3_vfs *v, const char *name, sqlite3_file *f, int flags, int *out_flags)
{
    struct shim *s = (struct shim *)(void *)f;
    memset(s, 0, sizeof *s);
    if ((flags & SQLITE_OPEN_CREATE) && torture_fails(TORTURE_OWN))
        return SQLITE_CANTOPEN;
    s->real = (sqlite3_file *)(void *)(s + 1);
    int rc = real_vfs->xOpen(real_vfs, name, s->real, flags, out_flags);
    if (s->real->pMethods)
        s->base.pMethods = &shim_methods;
    return rc;
}

static int shim_delete(sqlite3_vfs *v, const char *name, int sync)
{
    return torture_fails(TORTURE_OWN) ? SQLITE_IOERR_DELETE : real_vfs->xDelete(real_vfs, name, 0);
}

static void shim_install(void)
{
    real_vfs = sqlite3_vfs_find(NULL);
    assert_non_null(real_vfs);
    shim_vfs = *real_vfs;
    shim_vfs.zName = "torture";
    shim_vfs.pNext = NULL;
    shim_vfs.szOsFile = (int)sizeof(struct shim) + real_vfs->szOsFile;
    shim_vfs.xOpen = shim_open;
    shim_vfs.xDelete = shim_delete;
    assert_int_equal(sqlite3_vfs_register(&shim_vfs, 1), SQLITE_OK);
}

/* ---- SQLite's memory ---- */

static sqlite3_mem_methods real_mem;

static void *sql_malloc(int n)
{
    return torture_fails(TORTURE_OTHER) ? NULL : real_mem.xMalloc(n);
}

static void *sql_realloc(void *p, int n)
{
    return torture_fails(TORTURE_OTHER) ? NULL : real_mem.xRealloc(p, n);
}

static void memory_install(void)
{
    assert_int_equal(sqlite3_config(SQLITE_CONFIG_GETMALLOC, &real_mem), SQLITE_OK);
    sqlite3_mem_methods m = real_mem;
    m.xMalloc = sql_malloc;
    m.xRealloc = sql_realloc;
    assert_int_equal(sqlite3_config(SQLITE_CONFIG_MALLOC, &m), SQLITE_OK);
    /* A pool for small pieces would hide failures. */
    assert_int_equal(sqlite3_config(SQLITE_CONFIG_LOOKASIDE, 0, 0), SQLITE_OK);
}

/* ---- what a hub does with its store ---- */

static const uint8_t device_id[32] = {1}, party_id[32] = {2}, invite_id[32] = {3}, second_invite[32] = {4};

static struct bytes entry_of(uint8_t out[5000], unsigned seed)
{
    for (size_t i = 0; i < 5000; i++)
        out[i] = (uint8_t)(seed + i);
    return bytes_of(out, 5000);
}

static int put_device(struct store *s)
{
    struct sign_public keys;
    memset(&keys, 5, sizeof keys);
    return s->ops->device_put(s->ctx, device_id, &keys, "anna", 100);
}

static int rename_device(struct store *s)
{
    struct sign_public keys;
    memset(&keys, 5, sizeof keys);
    return s->ops->device_put(s->ctx, device_id, &keys, "anna again", 200);
}

static int put_blob(struct store *s)
{
    return s->ops->blob_put(s->ctx, "token-key", bytes_of_str("first"));
}

static int replace_blob(struct store *s)
{
    return s->ops->blob_put(s->ctx, "token-key", bytes_of_str("second, longer"));
}

static int create_party(struct store *s)
{
    uint8_t body[5000];
    return s->ops->party_create(s->ctx, party_id, entry_of(body, 0), 100);
}

static int append(struct store *s, uint64_t seq, const struct store_invite *invite, const uint8_t *revoke,
                  const uint8_t *redeem)
{
    uint8_t body[5000], hash[32] = {9, (uint8_t)seq};
    struct store_append a = {.party = party_id,
                             .seq = seq,
                             .hash = hash,
                             .entry = entry_of(body, (unsigned)seq),
                             .unix_s = 100,
                             .invite = invite,
                             .revoke = revoke,
                             .redeem = redeem};
    return s->ops->party_append(s->ctx, &a);
}

static int append_invite(struct store *s)
{
    struct store_invite i = {.uses = 1, .expires = 1000};
    memcpy(i.id, invite_id, 32);
    return append(s, 1, &i, NULL, NULL);
}

static int append_redeem(struct store *s)
{
    return append(s, 2, NULL, NULL, invite_id);
}

static int append_second_invite(struct store *s)
{
    struct store_invite i = {.uses = 5, .expires = 1000};
    memcpy(i.id, second_invite, 32);
    return append(s, 3, &i, NULL, NULL);
}

static int append_revoke(struct store *s)
{
    return append(s, 4, NULL, second_invite, NULL);
}

static int append_plain(struct store *s)
{
    return append(s, 5, NULL, NULL, NULL);
}

static int (*const steps[])(struct store *s) = {
    put_device,    rename_device,        put_blob,      replace_blob, create_party, append_invite,
    append_redeem, append_second_invite, append_revoke, append_plain};
#define STEPS (sizeof steps / sizeof steps[0])

/* ---- everything that can be read, as one hash ---- */

static int add_entry(void *arg, struct bytes entry)
{
    return buf_add(arg, entry);
}

static void snapshot(uint8_t out[SHA256_LEN], struct store *s)
{
    struct sign_public keys = {.mldsa = {0}};
    uint8_t blob[64], nobody[32] = {0};
    uint64_t devices, parties, owned;
    size_t n = 0;
    struct buf b;
    buf_init(&b, 1 << 20);
    assert_int_equal(s->ops->device_count(s->ctx, &devices), 0);
    assert_int_equal(s->ops->party_count(s->ctx, &parties), 0);
    assert_int_equal(s->ops->party_owned(s->ctx, nobody, &owned), 0);
    int got_device = s->ops->device_get(s->ctx, device_id, &keys),
        got_blob = s->ops->blob_get(s->ctx, "token-key", blob, sizeof blob, &n);
    assert_true((got_device == 0 && devices == 1) || (got_device == -ENOENT && devices == 0));
    assert_true(got_blob == 0 || got_blob == -ENOENT);
    assert_int_equal(buf_printf(&b, "%llu %llu %llu %d %d ", (unsigned long long)devices,
                                (unsigned long long)parties, (unsigned long long)owned, got_device, got_blob),
                     0);
    assert_int_equal(buf_add(&b, bytes_of(&keys, sizeof keys)), 0);
    assert_int_equal(buf_add(&b, bytes_of(blob, n)), 0);
    int rc = s->ops->party_entries(s->ctx, party_id, 0, add_entry, &b);
    assert_true(rc == 0 || (rc == -ENOENT && parties == 0));
    struct bytes all = buf_bytes(&b);
    sha256(out, &all, 1);
    buf_done(&b);
}

static uint8_t final[SHA256_LEN]; /* of a store in which every step was done */

static bool documented(int rc)
{
    return rc == -EIO || rc == -ENOSPC || rc == -ENOMEM;
}

static void do_step(struct store *s, int (*step)(struct store *s))
{
    uint8_t before[SHA256_LEN], after[SHA256_LEN];
    snapshot(before, s);
    torture_on();
    int rc = step(s);
    torture_off();
    if (rc == 0)
        return;
    assert_true(documented(rc) && torture_hit());
    snapshot(after, s);
    assert_memory_equal(after, before, sizeof after);
    torture_heal();
    rc = step(s);
    assert_int_equal(rc, 0);
}

/* All is there, and what the invites remember is right as well. */
static void complete(struct store *s)
{
    uint8_t now[SHA256_LEN];
    snapshot(now, s);
    assert_memory_equal(now, final, sizeof now);
    assert_int_equal(append(s, 6, NULL, NULL, invite_id), -EDQUOT);
    assert_int_equal(append(s, 6, NULL, NULL, second_invite), -EDQUOT);
    assert_int_equal(append(s, 5, NULL, NULL, NULL), -ESTALE);
}

/* ---- memory ---- */

static void memory_story(void)
{
    struct store s;
    torture_on();
    int rc = store_memory_open(&s);
    torture_off();
    if (rc < 0) {
        assert_int_equal(rc, -ENOMEM);
        torture_heal();
        assert_int_equal(store_memory_open(&s), 0);
    }
    for (size_t i = 0; i < STEPS; i++)
        do_step(&s, steps[i]);
    torture_heal();
    complete(&s);
    store_close(&s);
}

/* ---- SQLite ---- */

static void remove_all(const char *name)
{
    static const char *const tails[] = {"", "-wal", "-shm", "-journal"};
    char path[128];
    for (size_t i = 0; i < sizeof tails / sizeof *tails; i++) {
        snprintf(path, sizeof path, "%s%s", name, tails[i]);
        unlink(path);
    }
}

static void copy_one(const char *tail)
{
    char from[128], to[128], chunk[65536];
    snprintf(from, sizeof from, "%s%s", file, tail);
    snprintf(to, sizeof to, "%s%s", copy, tail);
    int in = open(from, O_RDONLY), out = open(to, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(out >= 0);
    for (ssize_t n; in >= 0 && (n = read(in, chunk, sizeof chunk)) > 0;)
        assert_int_equal(write(out, chunk, (size_t)n), n);
    if (in >= 0)
        close(in);
    close(out);
}

static void open_clean(struct store *s, const char *name)
{
    const char *why = NULL;
    int rc = store_sqlite_open(s, name, &why);
    if (rc < 0)
        fail_msg("%s", why);
}

static void open_sick(struct store *s)
{
    const char *why = NULL;
    torture_on();
    int rc = store_sqlite_open(s, file, &why);
    torture_off();
    if (rc < 0) {
        assert_true(documented(rc) && torture_hit());
        assert_non_null(why);
        assert_true(strlen(why) > 10);
        torture_heal();
        open_clean(s, file);
    }
}

static void sqlite_story(void)
{
    struct store s, twin;
    open_sick(&s);
    for (size_t i = 0; i < STEPS; i++)
        do_step(&s, steps[i]);
    /* What lies on the disk now, as a hub that is killed leaves it. */
    copy_one("");
    copy_one("-wal");
    torture_on(); /* closing writes, too */
    store_close(&s);
    torture_off();
    torture_heal();
    open_clean(&twin, copy);
    complete(&twin);
    store_close(&twin);
    open_clean(&s, file);
    complete(&s);
    store_close(&s);
    remove_all(file);
    remove_all(copy);
}

/* ---- the tests ---- */

static void test_memory(void **state)
{
    torture("store_memory", TORTURE_MEMORY, 1, memory_story);
}

static void test_disk(void **state)
{
    torture("store_sqlite on a failing disk", TORTURE_OWN, 2, sqlite_story);
}

static void test_sqlite_memory(void **state)
{
    torture("store_sqlite without memory", TORTURE_OTHER | TORTURE_MEMORY, 31, sqlite_story);
}

static int setup(void **state)
{
    struct store s;
    memory_install();
    shim_install();
    snprintf(dir, sizeof dir, "/tmp/warren-torture-XXXXXX");
    if (!mkdtemp(dir))
        return -1;
    snprintf(file, sizeof file, "%s/hub.db", dir);
    snprintf(copy, sizeof copy, "%s/copy.db", dir);
    assert_int_equal(store_memory_open(&s), 0);
    for (size_t i = 0; i < STEPS; i++)
        assert_int_equal(steps[i](&s), 0);
    snapshot(final, &s);
    store_close(&s);
    return 0;
}

static int teardown(void **state)
{
    remove_all(file);
    remove_all(copy);
    return rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_memory, torture_report),
        cmocka_unit_test_teardown(test_disk, torture_report),
        cmocka_unit_test_teardown(test_sqlite_memory, torture_report),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
