#include "hub/store_int.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/map.h"
#include "crypto/secret.h"

#define RECORDS_MAX   (1u << 20)
#define ENTRIES_MAX   (1u << 20)
#define BLOB_NAME_LEN 64

struct device {
    struct sign_public keys;
    char name[NAME_CAP];
    uint64_t seen;
};

struct invite {
    struct store_invite made;
    uint32_t used;
    bool revoked;
};

struct party {
    uint8_t author[NODE_ID_LEN];
    struct buf *entries; /* one each */
    size_t count, cap;
    struct map *invites;
};

struct memory {
    struct map *devices, *parties, *blobs;
};

static struct memory *of(void *ctx)
{
    return ctx;
}

static int copy_new(struct buf *out, struct bytes in, size_t max)
{
    buf_init(out, max);
    return buf_add(out, in);
}

static int device_put(void *ctx, const uint8_t id[NODE_ID_LEN], const struct sign_public *keys,
                      const char *name, uint64_t unix_s)
{
    struct device *d = map_get(of(ctx)->devices, id);
    if (d && memcmp(&d->keys, keys, sizeof *keys) != 0)
        return -EEXIST;
    if (!d) {
        d = calloc(1, sizeof *d);
        int rc = d ? map_put(of(ctx)->devices, id, d) : -ENOMEM;
        if (rc < 0) {
            free(d);
            return rc;
        }
    }
    d->keys = *keys;
    d->seen = unix_s;
    memset(d->name, 0, sizeof d->name);
    memcpy(d->name, name, strnlen(name, NAME_MAX_BYTES));
    return 0;
}

static int device_get(void *ctx, const uint8_t id[NODE_ID_LEN], struct sign_public *keys)
{
    struct device *d = map_get(of(ctx)->devices, id);
    if (!d)
        return -ENOENT;
    *keys = d->keys;
    return 0;
}

static int device_count(void *ctx, uint64_t *n)
{
    *n = map_count(of(ctx)->devices);
    return 0;
}

static void map_free_values(struct map *m)
{
    size_t pos = 0;
    void *v;
    while (m && (v = map_next(m, &pos)))
        free(v);
    map_free(m);
}

static void party_free_all(struct party *p)
{
    if (!p)
        return;
    for (size_t i = 0; i < p->count; i++)
        buf_done(&p->entries[i]);
    free(p->entries);
    map_free_values(p->invites);
    free(p);
}

static int entry_room(struct party *p)
{
    if (p->count < p->cap)
        return 0;
    size_t cap = p->cap ? p->cap * 2 : 4;
    struct buf *entries = cap <= ENTRIES_MAX ? realloc(p->entries, cap * sizeof *entries) : NULL;
    if (!entries)
        return -ENOMEM;
    p->entries = entries;
    p->cap = cap;
    return 0;
}

static int party_create(void *ctx, const uint8_t id[PARTY_ID_LEN], struct bytes genesis, uint64_t unix_s)
{
    if (map_get(of(ctx)->parties, id))
        return -EEXIST;
    struct party *p = calloc(1, sizeof *p);
    if (!p)
        return -ENOMEM;
    p->invites = map_new(INVITE_ID_LEN, RECORDS_MAX, 0);
    int rc = p->invites ? entry_room(p) : -ENOMEM;
    if (rc == 0)
        rc = copy_new(&p->entries[0], genesis, ENTRY_MAX);
    if (rc == 0)
        p->count = 1;
    if (rc == 0)
        rc = map_put(of(ctx)->parties, id, p);
    if (rc < 0) {
        party_free_all(p);
        return rc;
    }
    store_genesis_author(p->author, genesis);
    return 0;
}

/* Everything that can fail comes first, so that an append happens whole or not at all. */
static int party_append(void *ctx, const struct store_append *a)
{
    struct party *p = map_get(of(ctx)->parties, a->party);
    if (!p)
        return -ENOENT;
    if (p->count != a->seq)
        return -ESTALE;
    struct invite *redeem = a->redeem ? map_get(p->invites, a->redeem) : NULL;
    if (a->redeem &&
        (!redeem || redeem->revoked || redeem->used >= redeem->made.uses || redeem->made.expires < a->unix_s))
        return -EDQUOT;
    if (a->invite && map_get(p->invites, a->invite->id))
        return -EEXIST;
    struct buf entry;
    int rc = entry_room(p);
    if (rc == 0)
        rc = copy_new(&entry, a->entry, ENTRY_MAX);
    if (rc < 0)
        return rc;
    struct invite *made = a->invite ? calloc(1, sizeof *made) : NULL;
    if (a->invite && (!made || map_put(p->invites, a->invite->id, made) < 0)) {
        free(made);
        buf_done(&entry);
        return -ENOMEM;
    }
    if (made)
        made->made = *a->invite;
    if (redeem)
        redeem->used++;
    struct invite *revoked = a->revoke ? map_get(p->invites, a->revoke) : NULL;
    if (revoked)
        revoked->revoked = true;
    p->entries[p->count++] = entry;
    return 0;
}

static int party_entries(void *ctx, const uint8_t id[PARTY_ID_LEN], uint64_t since,
                         int (*each)(void *arg, struct bytes entry), void *arg)
{
    struct party *p = map_get(of(ctx)->parties, id);
    int rc = p ? 0 : -ENOENT;
    for (uint64_t i = since; rc == 0 && i < p->count; i++)
        rc = each(arg, buf_bytes(&p->entries[i]));
    return rc;
}

static int party_count(void *ctx, uint64_t *n)
{
    *n = map_count(of(ctx)->parties);
    return 0;
}

static int party_owned(void *ctx, const uint8_t author[NODE_ID_LEN], uint64_t *n)
{
    size_t pos = 0;
    struct party *p;
    *n = 0;
    while ((p = map_next(of(ctx)->parties, &pos)))
        *n += memcmp(p->author, author, NODE_ID_LEN) == 0;
    return 0;
}

static int blob_key(uint8_t key[BLOB_NAME_LEN], const char *name)
{
    size_t n = strlen(name);
    if (n == 0 || n > BLOB_NAME_LEN)
        return -EINVAL;
    memset(key, 0, BLOB_NAME_LEN);
    memcpy(key, name, n);
    return 0;
}

static void blob_free(struct buf *b)
{
    if (!b)
        return;
    wipe(b->p, b->n);
    buf_done(b);
    free(b);
}

static int blob_get(void *ctx, const char *name, uint8_t *out, size_t cap, size_t *n)
{
    uint8_t key[BLOB_NAME_LEN];
    if (blob_key(key, name) < 0)
        return -EINVAL;
    const struct buf *b = map_get(of(ctx)->blobs, key);
    if (!b)
        return -ENOENT;
    if (b->n > cap)
        return -EMSGSIZE;
    if (b->n > 0)
        memcpy(out, b->p, b->n);
    *n = b->n;
    return 0;
}

static int blob_put(void *ctx, const char *name, struct bytes value)
{
    uint8_t key[BLOB_NAME_LEN];
    if (blob_key(key, name) < 0 || value.n > STORE_BLOB_MAX)
        return -EINVAL;
    struct buf *b = calloc(1, sizeof *b), *old = map_get(of(ctx)->blobs, key);
    int rc = b ? copy_new(b, value, STORE_BLOB_MAX) : -ENOMEM;
    if (rc == 0)
        rc = map_put(of(ctx)->blobs, key, b);
    blob_free(rc < 0 ? b : old);
    return rc;
}

static void memory_close(void *ctx)
{
    struct memory *m = ctx;
    size_t pos = 0;
    struct party *p;
    struct buf *b;
    while (m->parties && (p = map_next(m->parties, &pos)))
        party_free_all(p);
    pos = 0;
    while (m->blobs && (b = map_next(m->blobs, &pos)))
        blob_free(b);
    map_free(m->parties);
    map_free(m->blobs);
    map_free_values(m->devices);
    free(m);
}

static const struct store_ops memory_ops = {
    .device_put = device_put,
    .device_get = device_get,
    .device_count = device_count,
    .party_create = party_create,
    .party_append = party_append,
    .party_entries = party_entries,
    .party_count = party_count,
    .blob_get = blob_get,
    .blob_put = blob_put,
    .close = memory_close,
    .party_owned = party_owned,
};

int store_memory_open(struct store *s)
{
    struct memory *m = calloc(1, sizeof *m);
    if (!m)
        return -ENOMEM;
    m->devices = map_new(NODE_ID_LEN, RECORDS_MAX, 0);
    m->parties = map_new(PARTY_ID_LEN, RECORDS_MAX, 0);
    m->blobs = map_new(BLOB_NAME_LEN, RECORDS_MAX, 0);
    if (!m->devices || !m->parties || !m->blobs) {
        memory_close(m);
        return -ENOMEM;
    }
    *s = (struct store){&memory_ops, m};
    return 0;
}
