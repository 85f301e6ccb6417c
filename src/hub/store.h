/* What the hub must not forget, behind a table of functions: SQLite (store_sqlite.c) in the product, memory
 * (store_memory.c) in the simulator and as the twin in tests. A call that returned 0 is durable. Bound
 * parameters only. */
#ifndef WARREN_HUB_STORE_H
#define WARREN_HUB_STORE_H

#include "crypto/sign.h"
#include "wire/entry.h"

struct store_invite {
    uint8_t id[INVITE_ID_LEN];
    uint32_t uses;
    uint64_t expires;
};

/* One append: all of it happens or nothing. */
struct store_append {
    const uint8_t *party;
    uint64_t seq; /* of the new entry; the stored head must be seq - 1 */
    const uint8_t *hash;
    struct bytes entry;
    uint64_t unix_s;
    const struct store_invite *invite; /* the entry makes this invite; or NULL */
    const uint8_t *revoke;             /* the entry revokes this invite; or NULL */
    const uint8_t *redeem; /* the entry uses this invite up by one: one conditional update; or NULL */
};

struct store_ops {
    /* 0; -EEXIST where the id has other keys (cannot happen for honest ids: they are hashes); -EIO, -ENOSPC.
     */
    int (*device_put)(void *ctx, const uint8_t id[NODE_ID_LEN], const struct sign_public *keys,
                      const char *name, uint64_t unix_s);
    int (*device_get)(void *ctx, const uint8_t id[NODE_ID_LEN], struct sign_public *keys); /* -ENOENT */
    int (*device_count)(void *ctx, uint64_t *n);
    int (*party_create)(void *ctx, const uint8_t party[PARTY_ID_LEN], struct bytes genesis,
                        uint64_t unix_s); /* -EEXIST */
    /* -ESTALE: the head has moved; -EDQUOT: the invite has no uses left, is revoked or expired; -ENOENT;
     * -EIO; -ENOSPC. */
    int (*party_append)(void *ctx, const struct store_append *a);
    /* Calls each(arg, entry) in order; stops at its first non-zero result and returns that. -ENOENT. */
    int (*party_entries)(void *ctx, const uint8_t party[PARTY_ID_LEN], uint64_t since,
                         int (*each)(void *arg, struct bytes entry), void *arg);
    int (*party_count)(void *ctx, uint64_t *n);
    /* A secret or setting by name (the token key, the hub's certificate): at most 64 KiB. -ENOENT. */
    int (*blob_get)(void *ctx, const char *name, uint8_t *out, size_t cap, size_t *n);
    int (*blob_put)(void *ctx, const char *name, struct bytes value);
    void (*close)(void *ctx);
    /* How many parties this node has created here. */
    int (*party_owned)(void *ctx, const uint8_t author[NODE_ID_LEN], uint64_t *n);
};

struct store {
    const struct store_ops *ops;
    void *ctx;
};

#define STORE_BLOB_MAX 65536

/* A file of its own, mode 0600, in WAL mode with full sync, migrated to the newest schema. *why: one line for
 * a person. */
int store_sqlite_open(struct store *s, const char *path, const char **why);
int store_memory_open(struct store *s);
void store_close(struct store *s);

#endif
