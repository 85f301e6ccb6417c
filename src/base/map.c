#include "base/map.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define KEY_MAX   64
#define FIRST_CAP 16 /* a power of two */

/* Open addressing with linear probing. A deleted slot stays as a tombstone until the next rehash, so deletion
 * moves nothing, and a walk that deletes what it was just given misses and repeats nobody. */
enum slot { SLOT_FREE, SLOT_LIVE, SLOT_TOMB };

struct map {
    size_t key_len, limit;
    size_t count; /* live slots */
    size_t used;  /* live slots and tombstones */
    size_t cap;   /* a power of two */
    uint64_t k0, k1;
    uint8_t *state; /* enum slot of each */
    void **values;
    uint8_t *keys;
};

#define NOT_FOUND SIZE_MAX

static uint64_t rotl(uint64_t v, int n)
{
    return v << n | v >> (64 - n);
}

static void sip_round(uint64_t v[4])
{
    v[0] += v[1];
    v[1] = rotl(v[1], 13) ^ v[0];
    v[0] = rotl(v[0], 32);
    v[2] += v[3];
    v[3] = rotl(v[3], 16) ^ v[2];
    v[0] += v[3];
    v[3] = rotl(v[3], 21) ^ v[0];
    v[2] += v[1];
    v[1] = rotl(v[1], 17) ^ v[2];
    v[2] = rotl(v[2], 32);
}

/* SipHash-1-3 (Aumasson, Bernstein): keyed, and cheap for short keys. */
static uint64_t hash(const struct map *m, const uint8_t *key)
{
    uint64_t v[4] = {m->k0 ^ 0x736f6d6570736575u, m->k1 ^ 0x646f72616e646f6du, m->k0 ^ 0x6c7967656e657261u,
                     m->k1 ^ 0x7465646279746573u};
    size_t left = m->key_len;
    for (bool last = false; !last;) {
        last = left < 8;
        size_t take = last ? left : 8;
        uint64_t word = last ? (uint64_t)m->key_len << 56 : 0;
        for (size_t i = 0; i < take; i++)
            word |= (uint64_t)key[i] << 8 * i;
        v[3] ^= word;
        sip_round(v);
        v[0] ^= word;
        key += take;
        left -= take;
    }
    v[2] ^= 0xff;
    for (int i = 0; i < 3; i++)
        sip_round(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

static uint8_t *key_at(const struct map *m, size_t i)
{
    return m->keys + i * m->key_len;
}

static size_t find(const struct map *m, const void *key)
{
    if (m->count == 0)
        return NOT_FOUND;
    size_t mask = m->cap - 1;
    for (size_t i = hash(m, key) & mask; m->state[i] != SLOT_FREE; i = (i + 1) & mask)
        if (m->state[i] == SLOT_LIVE && memcmp(key_at(m, i), key, m->key_len) == 0)
            return i;
    return NOT_FOUND;
}

/* Into the first slot that is not live; there is one. */
static void insert(struct map *m, const void *key, void *value)
{
    size_t mask = m->cap - 1;
    size_t i = hash(m, key) & mask;
    while (m->state[i] == SLOT_LIVE)
        i = (i + 1) & mask;
    m->used += m->state[i] == SLOT_FREE;
    m->count++;
    m->state[i] = SLOT_LIVE;
    m->values[i] = value;
    memcpy(key_at(m, i), key, m->key_len);
}

static void slots_free(struct map *m)
{
    free(m->state);
    free(m->values);
    free(m->keys);
}

/* Moves everything into cap fresh slots; nothing changes where memory fails. */
static int rehash(struct map *m, size_t cap)
{
    struct map to = *m;
    to.cap = cap;
    to.count = to.used = 0;
    to.state = calloc(cap, 1);
    to.values = calloc(cap, sizeof *to.values);
    to.keys = calloc(cap, m->key_len);
    if (!to.state || !to.values || !to.keys) {
        slots_free(&to);
        return -ENOMEM;
    }
    for (size_t i = 0; i < m->cap; i++)
        if (m->state[i] == SLOT_LIVE)
            insert(&to, key_at(m, i), m->values[i]);
    slots_free(m);
    *m = to;
    return 0;
}

struct map *map_new(size_t key_len, size_t limit, uint64_t seed)
{
    if (key_len == 0 || key_len > KEY_MAX)
        return NULL;
    struct map *m = calloc(1, sizeof *m);
    if (!m)
        return NULL;
    m->key_len = key_len;
    m->limit = limit;
    m->k0 = seed;
    m->k1 = rotl(seed, 32) * 0x9e3779b97f4a7c15u;
    if (rehash(m, FIRST_CAP) < 0) {
        free(m);
        return NULL;
    }
    return m;
}

void map_free(struct map *m)
{
    if (!m)
        return;
    slots_free(m);
    free(m);
}

int map_put(struct map *m, const void *key, void *value)
{
    size_t i = find(m, key);
    if (i != NOT_FOUND) {
        m->values[i] = value;
        return 0;
    }
    if (m->count >= m->limit)
        return -ENOSPC;
    /* A quarter stays free, so that every probe ends. Where it is tombstones that fill it, the size can stay.
     */
    if (m->used + 1 > m->cap / 4 * 3) {
        int rc = rehash(m, m->count >= m->cap / 2 ? m->cap * 2 : m->cap);
        if (rc < 0)
            return rc;
    }
    insert(m, key, value);
    return 0;
}

void *map_get(const struct map *m, const void *key)
{
    size_t i = find(m, key);
    return i == NOT_FOUND ? NULL : m->values[i];
}

void *map_del(struct map *m, const void *key)
{
    size_t i = find(m, key);
    if (i == NOT_FOUND)
        return NULL;
    void *value = m->values[i];
    m->state[i] = SLOT_TOMB;
    m->values[i] = NULL;
    m->count--;
    return value;
}

size_t map_count(const struct map *m)
{
    return m->count;
}

void *map_next(const struct map *m, size_t *pos)
{
    while (*pos < m->cap) {
        size_t i = (*pos)++;
        if (m->state[i] == SLOT_LIVE)
            return m->values[i];
    }
    return NULL;
}
