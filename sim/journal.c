#include "sim/journal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "sim/clock.h"

enum change_kind { CHANGE_DEVICE, CHANGE_PARTY, CHANGE_APPEND, CHANGE_BLOB };

struct change {
    enum change_kind kind;
    uint8_t id[32], hash[32], revoke[32], redeem[32]; /* id: device, party */
    bool has_invite, has_revoke, has_redeem;
    struct sign_public *keys;
    char name[NAME_CAP];
    uint64_t seq, unix_s;
    struct store_invite invite;
    struct bytes data; /* owned */
};

struct journal {
    struct store under;
    struct change *changes;
    size_t n, cap;
    unsigned failing;
};

static struct bytes copy_of(struct bytes b)
{
    uint8_t *p = sim_alloc(b.n);
    if (b.n)
        memcpy(p, b.p, b.n);
    return bytes_of(p, b.n);
}

static void change_done(struct change *c)
{
    free(c->keys);
    free((void *)(uintptr_t)c->data.p);
}

static int apply(struct store *s, const struct change *c)
{
    struct store_append a = {c->id,
                             c->seq,
                             c->hash,
                             c->data,
                             c->unix_s,
                             c->has_invite ? &c->invite : NULL,
                             c->has_revoke ? c->revoke : NULL,
                             c->has_redeem ? c->redeem : NULL};
    switch (c->kind) {
    case CHANGE_DEVICE:
        return s->ops->device_put(s->ctx, c->id, c->keys, c->name, c->unix_s);
    case CHANGE_PARTY:
        return s->ops->party_create(s->ctx, c->id, c->data, c->unix_s);
    case CHANGE_APPEND:
        return s->ops->party_append(s->ctx, &a);
    case CHANGE_BLOB:
        return s->ops->blob_put(s->ctx, c->name, c->data);
    }
    return -EINVAL;
}

/* Takes c over; remembered only where the store took it. */
static int record(struct journal *j, struct change c)
{
    int result = -EIO;
    if (j->failing > 0)
        j->failing--;
    else
        result = apply(&j->under, &c);
    if (result != 0) {
        change_done(&c);
        return result;
    }
    if (j->n == j->cap) {
        j->cap = j->cap ? 2 * j->cap : 64;
        struct change *more = sim_alloc(j->cap * sizeof *more);
        if (j->n)
            memcpy(more, j->changes, j->n * sizeof *more);
        free(j->changes);
        j->changes = more;
    }
    j->changes[j->n++] = c;
    return 0;
}

static int device_put(void *ctx, const uint8_t id[NODE_ID_LEN], const struct sign_public *keys,
                      const char *name, uint64_t unix_s)
{
    struct change c = {.kind = CHANGE_DEVICE, .unix_s = unix_s, .keys = sim_alloc(sizeof *keys)};
    memcpy(c.id, id, sizeof c.id);
    *c.keys = *keys;
    strncpy(c.name, name, sizeof c.name - 1);
    return record(ctx, c);
}

static int device_get(void *ctx, const uint8_t id[NODE_ID_LEN], struct sign_public *keys)
{
    struct journal *j = ctx;
    return j->under.ops->device_get(j->under.ctx, id, keys);
}

static int device_count(void *ctx, uint64_t *n)
{
    struct journal *j = ctx;
    return j->under.ops->device_count(j->under.ctx, n);
}

static int party_create(void *ctx, const uint8_t party[PARTY_ID_LEN], struct bytes genesis, uint64_t unix_s)
{
    struct change c = {.kind = CHANGE_PARTY, .unix_s = unix_s, .data = copy_of(genesis)};
    memcpy(c.id, party, sizeof c.id);
    return record(ctx, c);
}

static int party_append(void *ctx, const struct store_append *a)
{
    struct change c = {.kind = CHANGE_APPEND, .seq = a->seq, .unix_s = a->unix_s, .data = copy_of(a->entry)};
    memcpy(c.id, a->party, sizeof c.id);
    memcpy(c.hash, a->hash, sizeof c.hash);
    if ((c.has_invite = a->invite != NULL))
        c.invite = *a->invite;
    if ((c.has_revoke = a->revoke != NULL))
        memcpy(c.revoke, a->revoke, sizeof c.revoke);
    if ((c.has_redeem = a->redeem != NULL))
        memcpy(c.redeem, a->redeem, sizeof c.redeem);
    return record(ctx, c);
}

static int party_entries(void *ctx, const uint8_t party[PARTY_ID_LEN], uint64_t since,
                         int (*each)(void *arg, struct bytes entry), void *arg)
{
    struct journal *j = ctx;
    return j->under.ops->party_entries(j->under.ctx, party, since, each, arg);
}

static int party_count(void *ctx, uint64_t *n)
{
    struct journal *j = ctx;
    return j->under.ops->party_count(j->under.ctx, n);
}

static int blob_get(void *ctx, const char *name, uint8_t *out, size_t cap, size_t *n)
{
    struct journal *j = ctx;
    return j->under.ops->blob_get(j->under.ctx, name, out, cap, n);
}

static int blob_put(void *ctx, const char *name, struct bytes value)
{
    struct change c = {.kind = CHANGE_BLOB, .data = copy_of(value)};
    strncpy(c.name, name, sizeof c.name - 1);
    return record(ctx, c);
}

static void close_nothing(void *ctx)
{
}

static int party_owned(void *ctx, const uint8_t author[NODE_ID_LEN], uint64_t *n)
{
    struct journal *j = ctx;
    return j->under.ops->party_owned(j->under.ctx, author, n);
}

static const struct store_ops journal_ops = {
    .device_put = device_put,
    .device_get = device_get,
    .device_count = device_count,
    .party_create = party_create,
    .party_append = party_append,
    .party_entries = party_entries,
    .party_count = party_count,
    .blob_get = blob_get,
    .blob_put = blob_put,
    .close = close_nothing,
    .party_owned = party_owned,
};

struct journal *journal_new(void)
{
    struct journal *j = sim_alloc(sizeof *j);
    if (store_memory_open(&j->under) != 0)
        abort();
    return j;
}

void journal_free(struct journal *j)
{
    if (!j)
        return;
    for (size_t i = 0; i < j->n; i++)
        change_done(&j->changes[i]);
    free(j->changes);
    store_close(&j->under);
    free(j);
}

struct store journal_store(struct journal *j)
{
    return (struct store){&journal_ops, j};
}

size_t journal_mark(const struct journal *j)
{
    return j->n;
}

void journal_rollback(struct journal *j, size_t mark)
{
    while (j->n > mark)
        change_done(&j->changes[--j->n]);
    store_close(&j->under);
    if (store_memory_open(&j->under) != 0)
        abort();
    for (size_t i = 0; i < j->n; i++)
        if (apply(&j->under, &j->changes[i]) != 0)
            abort();
}

void journal_fail(struct journal *j, unsigned n)
{
    j->failing = n;
}
