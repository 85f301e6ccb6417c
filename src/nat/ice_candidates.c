#include "nat/ice_int.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define PREFERENCE_GUESS 0x7fff /* of a remote candidate that came without priority */

const char *ice_type_name(enum ice_type t)
{
    static const char *const names[ICE_TYPE_COUNT] = {"host", "prflx", "srflx", "relay"};
    return (unsigned)t < ICE_TYPE_COUNT ? names[t] : "unknown";
}

uint32_t ice_priority(enum ice_type type, bool mapped, uint16_t preference)
{
    static const uint32_t preferences[ICE_TYPE_COUNT] = {126, 110, 100, 0};
    uint32_t p = (unsigned)type < ICE_TYPE_COUNT ? preferences[type] : 0;
    if (type == ICE_SERVER_REFLEXIVE && mapped)
        p++;
    return p << 24 | (uint32_t)preference << 8 | 255;
}

static bool addr_ok(const struct net_addr *a)
{
    return a->port != 0 && net_addr_scope(a) != NET_NONE;
}

static bool candidate_ok(const struct ice_candidate *c)
{
    return (unsigned)c->type < ICE_TYPE_COUNT && addr_ok(&c->addr) &&
           memchr(c->foundation, 0, sizeof c->foundation) != NULL;
}

static uint32_t fnv(uint32_t h, const void *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        h = (h ^ ((const uint8_t *)p)[i]) * 16777619u;
    return h;
}

/* Equal for candidates of one type from one base address (RFC 8445 section 5.1.1.3). Servers are not told
 * apart, but port mappings are from plain reflexive ones, and allocations by their transport. */
static void foundation_make(struct ice_candidate *c)
{
    if (c->foundation[0])
        return;
    const struct net_addr *from =
        c->type == ICE_SERVER_REFLEXIVE && c->related.family ? &c->related : &c->addr;
    uint8_t head[3] = {(uint8_t)c->type, c->mapped, from->family};
    uint32_t h = fnv(2166136261u, head, sizeof head);
    h = c->type == ICE_RELAYED ? fnv(h, &c->base, sizeof c->base) : fnv(h, from->ip, sizeof from->ip);
    snprintf(c->foundation, sizeof c->foundation, "%u", h);
}

static bool local_in_use(const struct ice *a, size_t local)
{
    for (size_t i = 0; i < a->pair_count; i++)
        if (a->pairs[i].local == local && a->pairs[i].state == CHECK_SUCCEEDED)
            return true;
    return false;
}

/* A free slot, else that of a learnt one over which nothing works; -1: none. */
static int local_room(struct ice *a)
{
    int slot = -1;
    for (size_t i = 0; i < ICE_LOCAL_MAX; i++)
        if (!a->locals[i].used)
            return (int)i;
        else if (a->locals[i].c.addr.port == 0 && slot < 0 && !local_in_use(a, i))
            slot = (int)i;
    if (slot >= 0) {
        ice_pairs_drop_local(a, (size_t)slot);
        a->locals[slot].used = false;
    }
    return slot;
}

int ice_add_local(struct ice *a, const struct ice_candidate *c, usec_t now)
{
    if (!candidate_ok(c))
        return -EINVAL;
    for (size_t i = 0; i < ICE_LOCAL_MAX; i++)
        if (a->locals[i].used && a->locals[i].c.base == c->base &&
            net_addr_equal(&a->locals[i].c.addr, &c->addr))
            return -EEXIST;
    int slot = local_room(a);
    if (slot < 0)
        return -ENOSPC;
    struct ice_local *l = &a->locals[slot];
    *l = (struct ice_local){.used = true, .c = *c};
    if (!l->c.priority)
        l->c.priority = ice_priority(c->type, c->mapped, c->preference);
    foundation_make(&l->c);
    a->news = now;
    ice_pairs_for_base(a, c->base);
    ice_run(a, now);
    return 0;
}

int ice_local_learn(struct ice *a, uint32_t base, uint8_t family)
{
    int slot = local_room(a);
    if (slot < 0)
        return -1;
    struct ice_candidate *c = &a->locals[slot].c;
    *c = (struct ice_candidate){.type = ICE_PEER_REFLEXIVE, .addr = {.family = family}, .base = base};
    c->priority = ice_priority(ICE_PEER_REFLEXIVE, false, 0);
    foundation_make(c);
    a->locals[slot].used = true;
    return slot;
}

void ice_remove_base(struct ice *a, uint32_t base, usec_t now)
{
    for (size_t i = 0; i < ICE_LOCAL_MAX; i++)
        if (a->locals[i].used && a->locals[i].c.base == base)
            a->locals[i].used = false;
    size_t kept = 0;
    for (size_t i = 0; i < a->early_count; i++)
        if (a->early[i].base != base)
            a->early[kept++] = a->early[i];
    a->early_count = kept;
    size_t waiting = a->queue_count, first = a->queue_first;
    a->queue_count = 0;
    for (size_t i = 0; i < waiting; i++) {
        struct ice_job job = a->queue[(first + i) % ICE_QUEUE_MAX];
        if (job.base != base)
            ice_job_put(a, &job);
    }
    ice_pairs_drop_base(a, base);
    if (a->selected.there && a->selected.pair.base == base)
        ice_selected_lost(a, now);
    ice_run(a, now);
}

void ice_local_done(struct ice *a, usec_t now)
{
    a->local_done = true;
    ice_run(a, now);
}

void ice_remote_done(struct ice *a, usec_t now)
{
    a->remote_done = true;
    ice_run(a, now);
}

/* Link-local addresses talk among themselves, and nobody makes us talk to our own loopback by naming it. */
static bool scopes_fit(const struct ice_candidate *local, const struct net_addr *to)
{
    enum net_scope here = net_addr_scope(&local->addr), there = net_addr_scope(to);
    if ((here == NET_LINK_LOCAL) != (there == NET_LINK_LOCAL))
        return false;
    return there != NET_LOOPBACK || here == NET_LOOPBACK;
}

int ice_local_for(const struct ice *a, uint32_t base, const struct net_addr *to, bool reached)
{
    int best = -1, any = -1;
    for (size_t i = 0; i < ICE_LOCAL_MAX; i++) {
        const struct ice_candidate *c = &a->locals[i].c;
        if (!a->locals[i].used || c->base != base || c->addr.family != to->family)
            continue;
        if (any < 0 || c->priority > a->locals[any].c.priority)
            any = (int)i;
        if (c->addr.port && scopes_fit(c, to) && (best < 0 || c->priority > a->locals[best].c.priority))
            best = (int)i;
    }
    return best < 0 && reached ? any : best;
}

bool ice_local_known(const struct ice *a, uint32_t base, const struct net_addr *mapped, enum ice_type *type,
                     uint32_t *priority)
{
    for (size_t i = 0; i < ICE_LOCAL_MAX; i++) {
        const struct ice_candidate *c = &a->locals[i].c;
        if (a->locals[i].used && c->base == base && net_addr_equal(&c->addr, mapped)) {
            *type = c->type;
            *priority = c->priority;
            return true;
        }
    }
    return false;
}

int ice_remote_find(const struct ice *a, const struct net_addr *addr)
{
    for (size_t i = 0; i < ICE_REMOTE_MAX; i++)
        if (a->remotes[i].used && net_addr_equal(&a->remotes[i].c.addr, addr))
            return (int)i;
    return -1;
}

static int remote_free_slot(const struct ice *a)
{
    for (size_t i = 0; i < ICE_REMOTE_MAX; i++)
        if (!a->remotes[i].used)
            return (int)i;
    return -1;
}

static size_t remote_told_count(const struct ice *a)
{
    size_t n = 0;
    for (size_t i = 0; i < ICE_REMOTE_MAX; i++)
        n += a->remotes[i].used && a->remotes[i].c.type != ICE_PEER_REFLEXIVE;
    return n;
}

static bool remote_in_use(const struct ice *a, size_t remote)
{
    for (size_t i = 0; i < a->pair_count; i++)
        if (a->pairs[i].remote == remote && a->pairs[i].state == CHECK_SUCCEEDED)
            return true;
    return false;
}

/* Room for one more: a free slot, else that of the oldest learnt candidate over which nothing works. */
static int remote_room(struct ice *a)
{
    int slot = remote_free_slot(a);
    if (slot >= 0)
        return slot;
    for (size_t i = 0; i < ICE_REMOTE_MAX; i++)
        if (a->remotes[i].c.type == ICE_PEER_REFLEXIVE && !remote_in_use(a, i) &&
            (slot < 0 || a->remotes[i].order < a->remotes[slot].order))
            slot = (int)i;
    if (slot >= 0) {
        ice_pairs_drop_remote(a, (size_t)slot);
        a->remotes[slot].used = false;
    }
    return slot;
}

int ice_remote_learn(struct ice *a, const struct net_addr *addr, uint32_t priority, bool proven, usec_t now)
{
    int slot = ice_remote_find(a, addr);
    if (slot >= 0 || !addr_ok(addr))
        return slot;
    usec_t at = a->learn_at > now ? a->learn_at : now;
    if (proven || at <= now + (ICE_LEARN_BURST - 1) * ICE_LEARN_EVERY)
        slot = remote_room(a);
    if (slot < 0) {
        a->discarded++;
        return -1;
    }
    a->learn_at = at + ICE_LEARN_EVERY;
    struct ice_remote *r = &a->remotes[slot];
    *r = (struct ice_remote){.used = true, .order = ++a->order};
    r->c = (struct ice_candidate){.type = ICE_PEER_REFLEXIVE, .addr = *addr, .priority = priority};
    snprintf(r->c.foundation, sizeof r->c.foundation, "prflx%llu", (unsigned long long)r->order);
    return slot;
}

static void remote_set(struct ice *a, size_t slot, const struct ice_candidate *c)
{
    struct ice_candidate *to = &a->remotes[slot].c;
    *to = *c;
    if (!to->priority)
        to->priority = ice_priority(c->type, c->mapped, PREFERENCE_GUESS);
    foundation_make(to);
}

int ice_add_remote(struct ice *a, const struct ice_candidate *c, usec_t now)
{
    if (!candidate_ok(c) || c->type == ICE_PEER_REFLEXIVE)
        return -EINVAL;
    int slot = ice_remote_find(a, &c->addr);
    if (slot >= 0 && a->remotes[slot].c.type != ICE_PEER_REFLEXIVE)
        return -EEXIST;
    if (remote_told_count(a) >= ICE_REMOTE_TOLD_MAX) {
        a->discarded++;
        return -ENOSPC;
    }
    bool learnt = slot >= 0; /* its checks overtook the signaling: now it gets its name */
    if (!learnt) {
        slot = remote_room(a);
        if (slot < 0)
            return -ENOSPC;
        a->remotes[slot] = (struct ice_remote){.used = true};
    }
    remote_set(a, (size_t)slot, c);
    a->news = now;
    if (learnt)
        ice_pairs_judge(a);
    ice_pairs_for_remote(a, (size_t)slot);
    ice_run(a, now);
    return 0;
}

bool ice_local_at(const struct ice *a, size_t i, struct ice_candidate *c)
{
    for (size_t slot = 0; slot < ICE_LOCAL_MAX; slot++) {
        if (!a->locals[slot].used || a->locals[slot].c.type == ICE_PEER_REFLEXIVE || i-- > 0)
            continue;
        *c = a->locals[slot].c;
        return true;
    }
    return false;
}
