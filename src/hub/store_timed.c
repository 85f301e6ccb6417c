#include "hub/store_timed_int.h"

#include <errno.h>
#include <stdbool.h>

static int note(struct store_timed *t, enum store_call call, usec_t start, int rc)
{
    usec_t took = usec_since(t->now(), start);
    t->calls[call]++;
    t->sum[call] += took;
    if (took > t->longest[call])
        t->longest[call] = took;
    /* These are answers, not failures. */
    bool answer = rc >= 0 || rc == -ENOENT || rc == -EEXIST || rc == -ESTALE || rc == -EDQUOT;
    t->failed[call] += !answer;
    return rc;
}

static int device_put(void *ctx, const uint8_t id[NODE_ID_LEN], const struct sign_public *keys,
                      const char *name, uint64_t unix_s)
{
    struct store_timed *t = ctx;
    usec_t start = t->now();
    return note(t, CALL_DEVICE, start, t->inner.ops->device_put(t->inner.ctx, id, keys, name, unix_s));
}

static int device_get(void *ctx, const uint8_t id[NODE_ID_LEN], struct sign_public *keys)
{
    struct store_timed *t = ctx;
    usec_t start = t->now();
    return note(t, CALL_DEVICE, start, t->inner.ops->device_get(t->inner.ctx, id, keys));
}

static int device_count(void *ctx, uint64_t *n)
{
    struct store_timed *t = ctx;
    usec_t start = t->now();
    return note(t, CALL_DEVICE, start, t->inner.ops->device_count(t->inner.ctx, n));
}

static int party_create(void *ctx, const uint8_t party[PARTY_ID_LEN], struct bytes genesis, uint64_t unix_s)
{
    struct store_timed *t = ctx;
    usec_t start = t->now();
    return note(t, CALL_CREATE, start, t->inner.ops->party_create(t->inner.ctx, party, genesis, unix_s));
}

static int party_append(void *ctx, const struct store_append *a)
{
    struct store_timed *t = ctx;
    usec_t start = t->now();
    return note(t, CALL_APPEND, start, t->inner.ops->party_append(t->inner.ctx, a));
}

static int party_entries(void *ctx, const uint8_t party[PARTY_ID_LEN], uint64_t since,
                         int (*each)(void *arg, struct bytes entry), void *arg)
{
    struct store_timed *t = ctx;
    usec_t start = t->now();
    return note(t, CALL_ENTRIES, start, t->inner.ops->party_entries(t->inner.ctx, party, since, each, arg));
}

static int party_count(void *ctx, uint64_t *n)
{
    struct store_timed *t = ctx;
    usec_t start = t->now();
    return note(t, CALL_ENTRIES, start, t->inner.ops->party_count(t->inner.ctx, n));
}

static int party_owned(void *ctx, const uint8_t author[NODE_ID_LEN], uint64_t *n)
{
    struct store_timed *t = ctx;
    usec_t start = t->now();
    return note(t, CALL_ENTRIES, start, t->inner.ops->party_owned(t->inner.ctx, author, n));
}

static int blob_get(void *ctx, const char *name, uint8_t *out, size_t cap, size_t *n)
{
    struct store_timed *t = ctx;
    usec_t start = t->now();
    return note(t, CALL_BLOB, start, t->inner.ops->blob_get(t->inner.ctx, name, out, cap, n));
}

static int blob_put(void *ctx, const char *name, struct bytes value)
{
    struct store_timed *t = ctx;
    usec_t start = t->now();
    return note(t, CALL_BLOB, start, t->inner.ops->blob_put(t->inner.ctx, name, value));
}

static void timed_close(void *ctx)
{
    (void)ctx;
}

static const struct store_ops timed_ops = {
    .device_put = device_put,
    .device_get = device_get,
    .device_count = device_count,
    .party_create = party_create,
    .party_append = party_append,
    .party_entries = party_entries,
    .party_count = party_count,
    .blob_get = blob_get,
    .blob_put = blob_put,
    .close = timed_close,
    .party_owned = party_owned,
};

struct store store_timed(struct store_timed *t, struct store inner, usec_t (*now)(void))
{
    *t = (struct store_timed){.inner = inner, .now = now};
    return (struct store){&timed_ops, t};
}

void store_timed_metrics(const struct store_timed *t, struct buf *out)
{
    static const char *const names[CALL_COUNT] = {"device", "create", "append", "entries", "blob"};
    buf_add_str(out, "# HELP warren_hub_store_seconds Time spent in the store, by kind of call.\n"
                     "# TYPE warren_hub_store_seconds summary\n");
    for (int i = 0; i < CALL_COUNT; i++) {
        buf_printf(out, "warren_hub_store_seconds_sum{call=\"%s\"} %.6f\n", names[i],
                   (double)t->sum[i] / SEC);
        buf_printf(out, "warren_hub_store_seconds_count{call=\"%s\"} %llu\n", names[i],
                   (unsigned long long)t->calls[i]);
    }
    buf_add_str(out, "# HELP warren_hub_store_longest_seconds The longest call to the store.\n"
                     "# TYPE warren_hub_store_longest_seconds gauge\n");
    for (int i = 0; i < CALL_COUNT; i++)
        buf_printf(out, "warren_hub_store_longest_seconds{call=\"%s\"} %.6f\n", names[i],
                   (double)t->longest[i] / SEC);
    buf_add_str(out, "# HELP warren_hub_store_failed_total Calls that failed.\n"
                     "# TYPE warren_hub_store_failed_total counter\n");
    for (int i = 0; i < CALL_COUNT; i++)
        buf_printf(out, "warren_hub_store_failed_total{call=\"%s\"} %llu\n", names[i],
                   (unsigned long long)t->failed[i]);
}
