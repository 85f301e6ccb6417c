#include "node/state.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "crypto/hash.h"
#include "crypto/secret.h"
#include "io/file.h"

#define NAME_MAX_LEN 79
#define FILES_MAX    64
#define MAGIC        "warrenid"
#define CHECK_LEN    8

static int copy_path(char *out, size_t cap, const char *a, const char *b)
{
    return (size_t)snprintf(out, cap, "%s%s", a, b) < cap ? 0 : -ENAMETOOLONG;
}

static const char *set(const char *name)
{
    const char *v = getenv(name);
    return v && *v ? v : NULL;
}

int state_default_dir(char *out, size_t cap)
{
    if (set("WARREN_STATE"))
        return copy_path(out, cap, set("WARREN_STATE"), "");
    if (geteuid() == 0)
        return copy_path(out, cap, "/var/lib/warren", "");
    if (set("XDG_STATE_HOME"))
        return copy_path(out, cap, set("XDG_STATE_HOME"), "/warren");
    if (set("HOME"))
        return copy_path(out, cap, set("HOME"), "/.local/state/warren");
    return -ENOENT;
}

int state_socket_path(char *out, size_t cap, const char *dir, const char *socket)
{
    char own[PATH_MAX];
    if (socket)
        return copy_path(out, cap, socket, "");
    if (!dir && !set("WARREN_STATE") && geteuid() == 0)
        return copy_path(out, cap, STATE_SYSTEM_SOCKET, "");
    int rc = dir ? copy_path(own, sizeof own, dir, "") : state_default_dir(own, sizeof own);
    return rc ? rc : copy_path(out, cap, own, "/control.sock");
}

static int path_of(const struct state *s, const char *name, char out[PATH_MAX])
{
    size_t n = strlen(name);
    if (!n || n > NAME_MAX_LEN)
        return -EINVAL;
    for (const char *p = name; *p; p++)
        if (!isalnum((unsigned char)*p) && *p != '-')
            return -EINVAL;
    return (size_t)snprintf(out, PATH_MAX, "%s/%s", s->dir, name) < PATH_MAX ? 0 : -ENAMETOOLONG;
}

static int open_failed(int rc, const char *dir, char why[STATE_WHY_CAP])
{
    if (rc == -EPERM)
        snprintf(why, STATE_WHY_CAP,
                 "%s belongs to another user or may be written by others: run as its owner, chmod go-w it, "
                 "or give another --state",
                 dir);
    else if (rc == -EACCES)
        snprintf(why, STATE_WHY_CAP, "no permission for %s: give another directory by --state", dir);
    else
        snprintf(why, STATE_WHY_CAP, "cannot use %s as state directory: %s", dir, strerror(-rc));
    return rc;
}

int state_open(struct state *s, const char *dir, char why[STATE_WHY_CAP])
{
    char lock[PATH_MAX];
    long holder = 0;
    s->lock = -1;
    int rc = dir ? copy_path(s->dir, sizeof s->dir, dir, "") : state_default_dir(s->dir, sizeof s->dir);
    if (rc == -ENOENT) {
        snprintf(why, STATE_WHY_CAP, "no home directory to keep state in: name one by --state DIR");
        return rc;
    }
    if (!rc)
        rc = dir_make_private(s->dir);
    if (!rc)
        rc = path_of(s, "lock", lock);
    if (rc)
        return open_failed(rc, s->dir, why);
    s->lock = file_lock(lock, &holder);
    if (s->lock >= 0)
        return 0;
    rc = s->lock;
    if (rc != -EWOULDBLOCK)
        return open_failed(rc, s->dir, why);
    if (holder)
        snprintf(why, STATE_WHY_CAP, "another daemon (pid %ld) uses %s", holder, s->dir);
    else
        snprintf(why, STATE_WHY_CAP, "another daemon uses %s", s->dir);
    return rc;
}

void state_close(struct state *s)
{
    if (s->lock >= 0)
        close(s->lock);
    s->lock = -1;
}

static void identity_check(const uint8_t file[STATE_IDENTITY_LEN], uint8_t check[CHECK_LEN])
{
    uint8_t hash[SHA256_LEN];
    struct bytes part = bytes_of(file, STATE_IDENTITY_LEN - CHECK_LEN);
    sha256(hash, &part, 1);
    memcpy(check, hash, CHECK_LEN);
}

static void identity_write(uint8_t file[STATE_IDENTITY_LEN], const struct sign_seed *seed)
{
    static const uint8_t reserved[7];
    struct wr w = wr_of(file, STATE_IDENTITY_LEN - CHECK_LEN);
    wr_copy(&w, MAGIC, 8);
    wr_u8(&w, 1);
    wr_copy(&w, reserved, sizeof reserved);
    wr_copy(&w, seed->mldsa, sizeof seed->mldsa);
    wr_copy(&w, seed->ed25519, sizeof seed->ed25519);
    identity_check(file, file + STATE_IDENTITY_LEN - CHECK_LEN);
}

/* 0, -EBADMSG: damaged, -ENOTSUP: of a later version. */
static int identity_read(struct sign_seed *seed, struct bytes file)
{
    uint8_t check[CHECK_LEN];
    struct rd r = rd_of(file);
    struct bytes magic = rd_bytes(&r, 8);
    uint8_t version = rd_u8(&r);
    if (!rd_ok(&r) || memcmp(magic.p, MAGIC, 8))
        return -EBADMSG;
    if (version != 1)
        return -ENOTSUP;
    if (file.n != STATE_IDENTITY_LEN)
        return -EBADMSG;
    identity_check(file.p, check);
    if (memcmp(check, file.p + file.n - CHECK_LEN, CHECK_LEN))
        return -EBADMSG;
    rd_bytes(&r, 7);
    rd_copy(&r, seed->mldsa, sizeof seed->mldsa);
    rd_copy(&r, seed->ed25519, sizeof seed->ed25519);
    return 0;
}

static int identity_new(const struct state *s, const struct rng *rng, struct sign_seed *seed,
                        const char *path, char why[STATE_WHY_CAP])
{
    uint8_t file[STATE_IDENTITY_LEN];
    sign_seed_new(seed, rng);
    identity_write(file, seed);
    int rc = state_save(s, "identity", bytes_of(file, sizeof file));
    wipe(file, sizeof file);
    if (rc) {
        wipe(seed, sizeof *seed);
        snprintf(why, STATE_WHY_CAP, "cannot write %s: %s", path, strerror(-rc));
    }
    return rc;
}

/* Who may have read or changed the key is not a question to ask later. */
static int identity_private(const char *path, char why[STATE_WHY_CAP])
{
    struct stat st;
    if (lstat(path, &st))
        return -errno;
    if (!S_ISREG(st.st_mode))
        snprintf(why, STATE_WHY_CAP, "%s is not a plain file", path);
    else if (st.st_uid != geteuid())
        snprintf(why, STATE_WHY_CAP, "%s belongs to another user: run as that user, or give another --state",
                 path);
    else if (st.st_mode & 077)
        snprintf(why, STATE_WHY_CAP,
                 "%s may be read by others: run chmod 600 on it, and think of it as known", path);
    else
        return 0;
    return -EPERM;
}

int state_identity(const struct state *s, const struct rng *rng, struct sign_seed *seed,
                   char why[STATE_WHY_CAP])
{
    char path[PATH_MAX];
    int rc = path_of(s, "identity", path);
    if (!rc)
        rc = identity_private(path, why);
    if (rc == -ENOENT)
        return identity_new(s, rng, seed, path, why);
    if (rc == -EPERM)
        return rc;
    struct buf file;
    buf_init(&file, 256);
    if (!rc)
        rc = file_read(path, 256, &file);
    if (!rc)
        rc = identity_read(seed, buf_bytes(&file));
    if (rc == -ENOTSUP)
        snprintf(why, STATE_WHY_CAP, "%s was written by a later version of warren", path);
    else if (rc == -EBADMSG || rc == -EFBIG)
        snprintf(why, STATE_WHY_CAP,
                 "%s is damaged: put it back from a copy, or remove it to become a new node", path);
    else if (rc)
        snprintf(why, STATE_WHY_CAP, "cannot read %s: %s", path, strerror(-rc));
    if (file.p)
        wipe(file.p, file.n);
    buf_done(&file);
    return rc;
}

int state_save(const struct state *s, const char *name, struct bytes data)
{
    char path[PATH_MAX];
    int rc = path_of(s, name, path);
    return rc ? rc : file_write_atomic(path, data, 0600);
}

int state_append(const struct state *s, const char *name, uint64_t at, struct bytes data)
{
    char path[PATH_MAX];
    int rc = path_of(s, name, path);
    return rc ? rc : file_append(path, at, data);
}

ssize_t state_read_at(const struct state *s, const char *name, uint64_t at, uint8_t *p, size_t n)
{
    char path[PATH_MAX];
    int rc = path_of(s, name, path);
    return rc ? rc : file_read_at(path, at, p, n);
}

int state_delete(const struct state *s, const char *name)
{
    char path[PATH_MAX];
    int rc = path_of(s, name, path);
    if (rc)
        return rc;
    return unlink(path) && errno != ENOENT ? -errno : 0;
}

int state_read(const struct state *s, const char *name, struct buf *out)
{
    char path[PATH_MAX];
    int rc = path_of(s, name, path);
    return rc ? rc : file_read(path, STATE_FILE_MAX, out);
}

int state_each(const struct state *s, const char *prefix, int (*each)(void *arg, const char *name), void *arg)
{
    struct dirent **list;
    char path[PATH_MAX];
    size_t calls = 0;
    int rc = 0, n = scandir(s->dir, &list, NULL, alphasort);
    if (n < 0)
        return -errno;
    for (int i = 0; i < n; i++) {
        const char *name = list[i]->d_name;
        /* Names with a dot are what a write left behind that the power cut short. */
        if (!rc && calls < FILES_MAX && !strncmp(name, prefix, strlen(prefix)) && !path_of(s, name, path)) {
            calls++;
            rc = each(arg, name);
        }
        free(list[i]);
    }
    free(list);
    return rc;
}
