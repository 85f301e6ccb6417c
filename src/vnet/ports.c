#include "vnet/ports_int.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define SWEEP_INTERVAL (1 * SEC) /* a full port is looked through for old addresses no more often than this  \
                                  */

enum key { KEY_REF, KEY_MAC, KEY_IP4, KEY_IP6, KEY_COUNT };
static const size_t key_len[KEY_COUNT] = {4, 6, 4, 16};

static struct map *key_map(const struct ports *t, enum key k)
{
    struct map *maps[KEY_COUNT] = {t->by_ref, t->by_mac, t->by_ip4, t->by_ip6};
    return maps[k];
}

static const void *key_of(const struct vnet_member *m, enum key k)
{
    const void *keys[KEY_COUNT] = {&m->ref, m->mac, &m->ip4, m->ip6};
    return keys[k];
}

/* All zeros is no address: a member without a lease yet, or without a MAC in TUN mode. */
static bool key_is_set(const struct vnet_member *m, enum key k)
{
    static const uint8_t zeros[16];
    return memcmp(key_of(m, k), zeros, key_len[k]) != 0;
}

static bool key_same(const struct vnet_member *a, const struct vnet_member *b, enum key k)
{
    return memcmp(key_of(a, k), key_of(b, k), key_len[k]) == 0;
}

static void storm_init(struct ratelimit *r, uint64_t pps, usec_t now)
{
    ratelimit_init(r, pps, pps * 2, now);
}

/* ---- Members. */

/* Takes away the keys of m that point to p, except those that `keep` (may be NULL) has, too. */
static void keys_del(struct ports *t, const struct port *p, const struct vnet_member *m,
                     const struct vnet_member *keep, enum key end)
{
    for (enum key k = KEY_REF; k < end; k++) {
        if (!key_is_set(m, k) || (keep && key_same(m, keep, k)))
            continue;
        if (map_get(key_map(t, k), key_of(m, k)) == p)
            map_del(key_map(t, k), key_of(m, k));
    }
}

/* Adds the keys of m that `old` (may be NULL) has not; all or none. */
static int keys_add(struct ports *t, struct port *p, const struct vnet_member *m,
                    const struct vnet_member *old)
{
    for (enum key k = KEY_REF; k < KEY_COUNT; k++) {
        if (!key_is_set(m, k) || (old && key_same(m, old, k)))
            continue;
        int e = map_put(key_map(t, k), key_of(m, k), p);
        if (e != 0) {
            keys_del(t, p, m, old, k);
            return e;
        }
    }
    return 0;
}

static bool keys_conflict(const struct ports *t, const struct vnet_member *m)
{
    for (enum key k = KEY_MAC; k < KEY_COUNT; k++) {
        const struct port *there = key_is_set(m, k) ? map_get(key_map(t, k), key_of(m, k)) : NULL;
        if (there && there->m.ref != m->ref)
            return true;
    }
    return false;
}

static void learned_drop(struct ports *t, struct learned *l)
{
    map_del(t->learned, l->mac);
    l->port->learned--;
    l->port = NULL;
}

int ports_init(struct ports *t, const struct vnet_config *c, usec_t now)
{
    memset(t, 0, sizeof *t);
    /* One more than members: the device's port; and one more while a member's address is being replaced. */
    size_t limit = VNET_MEMBERS_MAX + 2;
    t->by_ref = map_new(key_len[KEY_REF], limit, c->seed);
    t->by_mac = map_new(key_len[KEY_MAC], limit, c->seed);
    t->by_ip4 = map_new(key_len[KEY_IP4], limit, c->seed);
    t->by_ip6 = map_new(key_len[KEY_IP6], limit, c->seed);
    t->learned = map_new(6, VNET_LEARNED_MAX, c->seed);
    t->pps = c->broadcast_pps;
    t->self.m = c->self;
    t->self.m.ref = 0;
    storm_init(&t->self.storm, t->pps, now);
    if (!t->by_ref || !t->by_mac || !t->by_ip4 || !t->by_ip6 || !t->learned)
        return -ENOMEM;
    return keys_add(t, &t->self, &t->self.m, NULL);
}

void ports_done(struct ports *t)
{
    size_t pos = 0;
    struct port *p;
    while (t->by_ref && (p = map_next(t->by_ref, &pos)))
        free(p);
    map_free(t->by_ref);
    map_free(t->by_mac);
    map_free(t->by_ip4);
    map_free(t->by_ip6);
    map_free(t->learned);
}

static int port_add(struct ports *t, const struct vnet_member *m, usec_t now)
{
    if (map_count(t->by_ref) >= VNET_MEMBERS_MAX)
        return -ENOSPC;
    struct port *p = calloc(1, sizeof *p);
    if (!p)
        return -ENOMEM;
    p->m = *m;
    storm_init(&p->storm, t->pps, now);
    int e = keys_add(t, p, m, NULL);
    if (e != 0)
        free(p);
    return e;
}

int ports_set(struct ports *t, const struct vnet_member *m, usec_t now)
{
    if (m->ref == 0)
        return -EINVAL;
    if (keys_conflict(t, m))
        return -EEXIST;
    struct port *p = port_by_ref(t, m->ref);
    int e = p ? keys_add(t, p, m, &p->m) : port_add(t, m, now);
    if (e != 0)
        return e;
    if (p) {
        keys_del(t, p, &p->m, m, KEY_COUNT);
        p->m = *m;
    }
    struct learned *l = map_get(t->learned, m->mac);
    if (l)
        learned_drop(t, l);
    return 0;
}

static void learned_drop_all(struct ports *t, const struct port *p)
{
    for (size_t i = 0; i < VNET_LEARNED_MAX; i++)
        if (t->slots[i].port == p)
            learned_drop(t, &t->slots[i]);
}

void ports_del(struct ports *t, uint32_t ref)
{
    struct port *p = port_by_ref(t, ref);
    if (!p)
        return;
    learned_drop_all(t, p);
    keys_del(t, p, &p->m, NULL, KEY_COUNT);
    free(p);
}

void ports_set_storm(struct ports *t, uint64_t pps, usec_t now)
{
    if (pps == t->pps)
        return; /* every entry of the log brings the policy again: that must not fill the buckets */
    t->pps = pps;
    storm_init(&t->self.storm, pps, now);
    size_t pos = 0;
    struct port *p;
    while ((p = map_next(t->by_ref, &pos)))
        storm_init(&p->storm, pps, now);
}

struct port *port_by_ref(const struct ports *t, uint32_t ref)
{
    return map_get(t->by_ref, &ref);
}

struct port *port_by_mac(const struct ports *t, const uint8_t mac[6])
{
    return map_get(t->by_mac, mac);
}

struct port *port_by_ip4(const struct ports *t, uint32_t ip4)
{
    return map_get(t->by_ip4, &ip4);
}

struct port *port_by_ip6(const struct ports *t, const uint8_t ip6[16])
{
    return map_get(t->by_ip6, ip6);
}

/* ---- Learned addresses. */

static bool is_old(const struct learned *l, usec_t now)
{
    return usec_since(now, l->seen) > VNET_LEARN_LIFE;
}

bool ports_may_speak(const struct ports *t, const struct port *p, const uint8_t mac[6], usec_t now)
{
    const struct learned *l = map_get(t->learned, mac);
    return !l || l->port == p || usec_since(now, l->seen) >= VNET_MOVE_QUIET;
}

/* Old addresses of a port that has its share, or of all when the table is full. */
static void sweep(struct ports *t, struct port *p, usec_t now)
{
    if (p->swept != 0 && usec_since(now, p->swept) < SWEEP_INTERVAL)
        return;
    p->swept = now;
    for (size_t i = 0; i < VNET_LEARNED_MAX; i++)
        if (t->slots[i].port && is_old(&t->slots[i], now))
            learned_drop(t, &t->slots[i]);
}

static bool is_full(const struct ports *t, const struct port *p)
{
    return p->learned >= VNET_LEARNED_PER_PEER || map_count(t->learned) >= VNET_LEARNED_MAX;
}

static struct learned *free_slot(struct ports *t)
{
    for (size_t i = 0; i < VNET_LEARNED_MAX; i++)
        if (!t->slots[i].port)
            return &t->slots[i];
    return NULL;
}

static void learn_new(struct ports *t, struct port *p, const uint8_t mac[6], usec_t now)
{
    if (is_full(t, p))
        sweep(t, p, now);
    struct learned *l = is_full(t, p) ? NULL : free_slot(t);
    if (!l || map_put(t->learned, mac, l) != 0)
        return;
    memcpy(l->mac, mac, sizeof l->mac);
    l->port = p;
    l->seen = now;
    p->learned++;
}

void ports_learn(struct ports *t, struct port *p, const uint8_t mac[6], usec_t now)
{
    struct learned *l = map_get(t->learned, mac);
    if (l && l->port != p) {
        learned_drop(t, l);
        l = NULL;
    }
    if (l)
        l->seen = now;
    else
        learn_new(t, p, mac, now);
}

struct port *ports_find(const struct ports *t, const uint8_t mac[6], usec_t now)
{
    const struct learned *l = map_get(t->learned, mac);
    return l && !is_old(l, now) ? l->port : NULL;
}
