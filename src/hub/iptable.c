#include "hub/iptable_int.h"

#include <stdlib.h>
#include <string.h>

#include "base/map.h"

/* Buckets count whole tokens a second: a minute's worth is 60 times finer. */
#define PER_MINUTE 60u

struct iptable {
    struct map *map;
    struct list idle;
    size_t idle_count, idle_max;
    struct ip_rates rates;
};

static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

void ip_canonical(struct net_addr *a)
{
    if (a->family != 6 || memcmp(a->ip, mapped, sizeof mapped) != 0)
        return;
    memmove(a->ip, a->ip + 12, 4);
    memset(a->ip + 4, 0, 12);
    a->family = 4;
}

static void key_of(uint8_t key[IP_KEY_LEN], const struct net_addr *a)
{
    struct net_addr c = *a;
    ip_canonical(&c);
    memset(key, 0, IP_KEY_LEN);
    if (c.family == 6) {
        memcpy(key, c.ip, 8);
    } else {
        memcpy(key, mapped, sizeof mapped);
        memcpy(key + 12, c.ip, 4);
    }
}

struct iptable *iptable_new(size_t idle_max, const struct ip_rates *rates, uint64_t seed)
{
    struct iptable *t = calloc(1, sizeof *t);
    if (!t)
        return NULL;
    list_init(&t->idle);
    t->idle_max = idle_max;
    t->rates = *rates;
    t->map = map_new(IP_KEY_LEN, SIZE_MAX / 4, seed);
    if (!t->map) {
        free(t);
        return NULL;
    }
    return t;
}

void iptable_free(struct iptable *t)
{
    if (!t)
        return;
    size_t pos = 0;
    struct ip_entry *e;
    while ((e = map_next(t->map, &pos)))
        free(e);
    map_free(t->map);
    free(t);
}

static void park(struct iptable *t, struct ip_entry *e)
{
    if (list_empty(&e->idle))
        t->idle_count++;
    list_append(&t->idle, &e->idle);
    while (t->idle_count > t->idle_max) {
        struct ip_entry *oldest = LIST_OWNER(list_first(&t->idle), struct ip_entry, idle);
        if (oldest == e)
            break; /* the caller is about to use it */
        list_leave(&oldest->idle);
        t->idle_count--;
        map_del(t->map, oldest->key);
        free(oldest);
    }
}

static void per_minute(struct ratelimit *r, uint32_t n, usec_t now)
{
    ratelimit_init(r, n, (uint64_t)n * PER_MINUTE, now);
}

struct ip_entry *iptable_get(struct iptable *t, const struct net_addr *a, usec_t now)
{
    uint8_t key[IP_KEY_LEN];
    key_of(key, a);
    struct ip_entry *e = map_get(t->map, key);
    if (!e) {
        e = calloc(1, sizeof *e);
        if (!e || map_put(t->map, key, e) < 0) {
            free(e);
            return NULL;
        }
        memcpy(e->key, key, sizeof key);
        list_init(&e->idle);
        per_minute(&e->logins, t->rates.logins, now);
        per_minute(&e->http, t->rates.http, now);
        per_minute(&e->changes, t->rates.changes, now);
    }
    if (e->conns == 0)
        park(t, e);
    return e;
}

void iptable_hold(struct iptable *t, struct ip_entry *e)
{
    if (e->conns++ == 0 && !list_empty(&e->idle)) {
        list_leave(&e->idle);
        t->idle_count--;
    }
}

void iptable_release(struct iptable *t, struct ip_entry *e)
{
    if (e->conns > 0 && --e->conns == 0)
        park(t, e);
}

size_t iptable_count(const struct iptable *t)
{
    return map_count(t->map);
}

bool ip_take(struct ratelimit *per_minute, usec_t now)
{
    return ratelimit_take(per_minute, PER_MINUTE, now);
}
