#include "nat/ice_int.h"

#include <stdio.h>
#include <string.h>

uint64_t ice_pair_priority(bool controlling, uint32_t local, uint32_t remote)
{
    uint64_t g = controlling ? local : remote, d = controlling ? remote : local;
    uint64_t low = g < d ? g : d, high = g < d ? d : g;
    return (low << 32) + 2 * high + (g > d);
}

const struct net_addr *ice_pair_remote(const struct ice *a, const struct check_pair *p)
{
    return &a->remotes[p->remote].c.addr;
}

static uint64_t fnv(uint64_t h, const char *s)
{
    for (; *s; s++)
        h = (h ^ (uint8_t)*s) * 1099511628211u;
    return (h ^ 0xff) * 1099511628211u;
}

static void pair_judge(const struct ice *a, struct check_pair *p)
{
    const struct ice_candidate *l = &a->locals[p->local].c, *r = &a->remotes[p->remote].c;
    p->priority = ice_pair_priority(a->controlling, l->priority, r->priority);
    p->foundation = fnv(fnv(14695981039346656037u, l->foundation), r->foundation);
    if (p->state == CHECK_SUCCEEDED)
        p->valid_priority = ice_pair_priority(a->controlling, p->mapped_priority, r->priority);
}

void ice_pairs_judge(struct ice *a)
{
    a->best_valid = 0;
    for (size_t i = 0; i < a->pair_count; i++) {
        struct check_pair *p = &a->pairs[i];
        pair_judge(a, p);
        if (p->state == CHECK_SUCCEEDED && p->valid_priority > a->best_valid)
            a->best_valid = p->valid_priority;
    }
    if (!a->selected.there || a->selected.old)
        return;
    const struct check_pair *p = ice_pair_find(a, a->selected.pair.base, &a->selected.pair.remote);
    if (p && p->state == CHECK_SUCCEEDED)
        a->selected.pair.priority = p->valid_priority;
}

struct check_pair *ice_pair_find(struct ice *a, uint32_t base, const struct net_addr *remote)
{
    for (size_t i = 0; i < a->pair_count; i++)
        if (a->pairs[i].base == base && net_addr_equal(ice_pair_remote(a, &a->pairs[i]), remote))
            return &a->pairs[i];
    return NULL;
}

static void pair_drop(struct ice *a, struct check_pair *p)
{
    *p = a->pairs[--a->pair_count];
}

/* Where a pair of this priority goes: behind the last one, or where the worst was that nothing is known to
 * work over. */
static struct check_pair *pair_room(struct ice *a, uint64_t priority)
{
    if (a->pair_count < ICE_PAIRS_MAX)
        return &a->pairs[a->pair_count++];
    struct check_pair *worst = NULL;
    for (size_t i = 0; i < a->pair_count; i++) {
        struct check_pair *p = &a->pairs[i];
        if (p->state != CHECK_SUCCEEDED && (!worst || p->priority < worst->priority))
            worst = p;
    }
    a->discarded++;
    return worst && (worst->priority < priority || worst->state == CHECK_FAILED) ? worst : NULL;
}

struct check_pair *ice_pair_make(struct ice *a, uint32_t base, size_t remote, bool reached)
{
    const struct net_addr *to = &a->remotes[remote].c.addr;
    struct check_pair *p = ice_pair_find(a, base, to);
    int local = ice_local_for(a, base, to, reached);
    if (local < 0 && reached && !p)
        local = ice_local_learn(a, base, to->family);
    if (local < 0)
        return p;
    struct check_pair fresh = {.base = base, .local = (size_t)local, .remote = remote};
    if (p) {
        p->local = (size_t)local; /* a better candidate of the same base */
        pair_judge(a, p);
        return p;
    }
    pair_judge(a, &fresh);
    p = pair_room(a, fresh.priority);
    if (p)
        *p = fresh;
    return p;
}

void ice_pairs_for_remote(struct ice *a, size_t remote)
{
    for (size_t i = 0; i < ICE_LOCAL_MAX; i++)
        if (a->locals[i].used)
            ice_pair_make(a, a->locals[i].c.base, remote, false);
}

/* Learnt candidates are paired only where they were learnt (RFC 8445 section 7.3.1.4). */
void ice_pairs_for_base(struct ice *a, uint32_t base)
{
    for (size_t i = 0; i < ICE_REMOTE_MAX; i++)
        if (a->remotes[i].used &&
            (a->remotes[i].c.type != ICE_PEER_REFLEXIVE || ice_pair_find(a, base, &a->remotes[i].c.addr)))
            ice_pair_make(a, base, i, false);
}

void ice_pairs_drop_local(struct ice *a, size_t local)
{
    for (size_t i = a->pair_count; i-- > 0;)
        if (a->pairs[i].local == local)
            pair_drop(a, &a->pairs[i]);
}

void ice_pairs_drop_remote(struct ice *a, size_t remote)
{
    for (size_t i = a->pair_count; i-- > 0;)
        if (a->pairs[i].remote == remote)
            pair_drop(a, &a->pairs[i]);
}

void ice_pairs_drop_base(struct ice *a, uint32_t base)
{
    for (size_t i = a->pair_count; i-- > 0;)
        if (a->pairs[i].base == base)
            pair_drop(a, &a->pairs[i]);
    ice_pairs_judge(a);
}

/* ---- What is checked next. */

void ice_pair_trigger(struct ice *a, struct check_pair *p)
{
    size_t waiting = 0;
    if (p->state == CHECK_SUCCEEDED || p->triggered)
        return;
    p->active = false; /* its answer is still taken: RFC 8445 section 7.3.1.4 */
    p->state = CHECK_WAITING;
    for (size_t i = 0; i < a->pair_count; i++)
        waiting += a->pairs[i].triggered != 0;
    if (waiting < ICE_TRIGGERED_MAX)
        p->triggered = ++a->order;
}

struct check_pair *ice_pair_next_triggered(struct ice *a)
{
    struct check_pair *next = NULL;
    for (size_t i = 0; i < a->pair_count; i++) {
        struct check_pair *p = &a->pairs[i];
        if (p->triggered && (!next || p->triggered < next->triggered))
            next = p;
    }
    return next;
}

/* Whether another pair of this foundation holds a frozen one back (RFC 8445 section 6.1.4.2). Where the first
 * of a foundation stays unanswered the others do not wait until it fails: nobody would, whose game begins in
 * a second. */
static bool held_back(const struct ice *a, const struct check_pair *p)
{
    bool held = false;
    for (size_t i = 0; i < a->pair_count; i++) {
        const struct check_pair *o = &a->pairs[i];
        if (o == p || o->foundation != p->foundation)
            continue;
        if (o->state == CHECK_SUCCEEDED)
            return false;
        held |= o->state == CHECK_WAITING || (o->state == CHECK_IN_PROGRESS && o->tries < ICE_HOLD_TRIES) ||
                (o->state == CHECK_FROZEN &&
                 (o->priority > p->priority || (o->priority == p->priority && o < p)));
    }
    return held;
}

struct check_pair *ice_pair_next(struct ice *a)
{
    struct check_pair *next = NULL;
    uint64_t floor = a->selected.there && !a->selected.old ? a->selected.pair.priority : 0;
    for (size_t i = 0; i < a->pair_count; i++) {
        struct check_pair *p = &a->pairs[i];
        if (p->priority <= floor || (next && p->priority <= next->priority))
            continue;
        if (p->state == CHECK_WAITING || (p->state == CHECK_FROZEN && !held_back(a, p)))
            next = p;
    }
    return next;
}

struct check_pair *ice_pair_best_valid(struct ice *a)
{
    struct check_pair *best = NULL;
    for (size_t i = 0; i < a->pair_count; i++) {
        struct check_pair *p = &a->pairs[i];
        if (p->state == CHECK_SUCCEEDED && (!best || p->valid_priority > best->valid_priority))
            best = p;
    }
    return best;
}

/* ---- For events and people. */

void ice_pair_describe(const struct ice *a, const struct check_pair *p, struct ice_pair *out)
{
    const struct ice_candidate *l = &a->locals[p->local].c, *r = &a->remotes[p->remote].c;
    bool valid = p->state == CHECK_SUCCEEDED;
    *out = (struct ice_pair){.base = p->base,
                             .remote = r->addr,
                             .local = valid ? p->mapped : l->addr,
                             .local_type = valid ? p->mapped_type : l->type,
                             .remote_type = r->type,
                             .rtt = p->rtt,
                             .priority = valid ? p->valid_priority : p->priority};
}

bool ice_pair_text(const struct ice *a, size_t i, char *out, size_t cap)
{
    static const char *const states[] = {"frozen", "waiting", "in progress", "succeeded", "failed"};
    struct ice_pair d;
    char local[NET_ADDR_TEXT], remote[NET_ADDR_TEXT];
    if (i >= a->pair_count)
        return false;
    const struct check_pair *p = &a->pairs[i];
    ice_pair_describe(a, p, &d);
    net_addr_text(local, &d.local);
    net_addr_text(remote, &d.remote);
    bool chosen = a->selected.there && a->selected.pair.base == d.base &&
                  net_addr_equal(&a->selected.pair.remote, &d.remote);
    snprintf(out, cap, "%s %s > %s %s %s%s", ice_type_name(d.local_type), local, ice_type_name(d.remote_type),
             remote, states[p->state], chosen ? " selected" : "");
    return true;
}
