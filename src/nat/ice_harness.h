/* For the tests of the ICE agent: hosts, NAT boxes and agents on a network with delay, loss, reordering and
 * duplicates, in virtual time. */
#ifndef WARREN_NAT_ICE_HARNESS_H
#define WARREN_NAT_ICE_HARNESS_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "nat/ice.h"

#define KIT_PEERS    2
#define KIT_BASES    8
#define KIT_MAPPINGS 512
#define KIT_CONTACTS 64
#define KIT_FLIGHT   4096
#define KIT_EVENTS   256
#define KIT_STUN     net_addr4(0xcb007101u, 3478) /* 203.0.113.1: where srflx candidates are learnt */

enum kit_map { MAP_NONE, MAP_EI, MAP_AD, MAP_APD };   /* RFC 4787 section 4.1; none: no NAT */
enum kit_filter { FILTER_EI, FILTER_AD, FILTER_APD }; /* section 5 */

struct kit_mapping {
    struct net_addr inside, key; /* key: the part of the destination that the mapping depends on */
    uint16_t port;
    struct net_addr contacts[KIT_CONTACTS];
    size_t contact_count;
};

struct kit_nat {
    enum kit_map map;
    enum kit_filter filter;
    uint32_t ip;
    struct kit_mapping mappings[KIT_MAPPINGS];
    size_t count;
};

struct kit_seen {
    struct ice_event e;
    usec_t at;
};

struct kit_peer {
    struct ice *a;
    struct ice_credentials credentials;
    int lan; /* private addresses are reached within one LAN only */
    struct kit_nat nat;
    struct net_addr bases[KIT_BASES];
    size_t base_count;
    bool deaf; /* what is sent to it is lost */
    struct kit_seen seen[KIT_EVENTS];
    size_t seen_count;
    uint64_t sent, sent_bytes;
    struct rng_seeded rng;
};

enum kit_kind { KIT_PACKET, KIT_CANDIDATE, KIT_CREDENTIALS, KIT_DONE };
struct kit_flight {
    bool used;
    enum kit_kind kind;
    usec_t at;
    uint64_t order;
    size_t peer; /* signaling: to whom */
    struct net_addr from, to;
    struct ice_candidate candidate;
    struct ice_credentials credentials;
    uint8_t data[256];
    size_t n;
};

struct kit {
    struct kit_peer peers[KIT_PEERS];
    struct kit_flight flight[KIT_FLIGHT];
    usec_t now, delay, jitter; /* one way */
    unsigned loss, duplicates; /* per cent */
    uint64_t order, lost;
    struct rng_seeded chance_state;
    struct rng chance;
};

static inline void kit_need(bool ok, const char *what)
{
    if (!ok) {
        fprintf(stderr, "kit: %s\n", what);
        abort();
    }
}
#define KIT_NEED(x) kit_need((x), #x)

static inline struct kit *kit_new(uint64_t seed)
{
    struct kit *k = calloc(1, sizeof *k);
    KIT_NEED(k);
    k->now = SEC;
    k->delay = 20 * MSEC;
    k->chance = rng_seeded(&k->chance_state, seed);
    for (size_t i = 0; i < KIT_PEERS; i++) {
        struct kit_peer *p = &k->peers[i];
        p->lan = (int)i;
        p->nat.ip = 0xc6336401u + (uint32_t)i; /* 198.51.100.1, .2 */
        snprintf(p->credentials.ufrag, sizeof p->credentials.ufrag, "ufrag%zu", i);
        snprintf(p->credentials.pwd, sizeof p->credentials.pwd, "password-of-peer-number-%zu", i);
    }
    return k;
}

static inline void kit_agent(struct kit *k, size_t i, bool controlling, bool consent)
{
    struct kit_peer *p = &k->peers[i];
    struct ice_config c = {.controlling = controlling, .local = p->credentials, .consent = consent};
    c.rng = rng_seeded(&p->rng, 77 + i);
    p->a = ice_new(&c, k->now);
    KIT_NEED(p->a);
}

static inline void kit_free(struct kit *k)
{
    for (size_t i = 0; i < KIT_PEERS; i++)
        ice_free(k->peers[i].a);
    free(k);
}

static inline struct kit_flight *kit_fly(struct kit *k, enum kit_kind kind, usec_t at)
{
    for (size_t i = 0; i < KIT_FLIGHT; i++)
        if (!k->flight[i].used) {
            k->flight[i] = (struct kit_flight){.used = true, .kind = kind, .at = at, .order = ++k->order};
            return &k->flight[i];
        }
    KIT_NEED(!"too much in flight");
    return NULL;
}

/* ---- NAT */

static inline struct net_addr kit_key(enum kit_map map, const struct net_addr *to)
{
    struct net_addr key = {0};
    if (map == MAP_AD || map == MAP_APD)
        key = *to;
    if (map == MAP_AD)
        key.port = 0;
    return key;
}

static inline struct net_addr kit_nat_out(struct kit_nat *n, const struct net_addr *inside,
                                          const struct net_addr *to)
{
    struct net_addr key = kit_key(n->map, to);
    struct kit_mapping *m = NULL;
    for (size_t i = 0; i < n->count && !m; i++)
        if (net_addr_equal(&n->mappings[i].inside, inside) && net_addr_equal(&n->mappings[i].key, &key))
            m = &n->mappings[i];
    if (!m) {
        KIT_NEED(n->count < KIT_MAPPINGS);
        m = &n->mappings[n->count];
        *m = (struct kit_mapping){.inside = *inside, .key = key, .port = (uint16_t)(40000 + 7 * n->count++)};
    }
    bool known = false;
    for (size_t i = 0; i < m->contact_count; i++)
        known |= net_addr_equal(&m->contacts[i], to);
    if (!known && m->contact_count < KIT_CONTACTS)
        m->contacts[m->contact_count++] = *to;
    return net_addr4(n->ip, m->port);
}

static inline bool kit_nat_in(const struct kit_nat *n, const struct net_addr *from, struct net_addr *to)
{
    for (size_t i = 0; i < n->count; i++) {
        const struct kit_mapping *m = &n->mappings[i];
        if (m->port != to->port)
            continue;
        bool pass = n->filter == FILTER_EI;
        for (size_t c = 0; c < m->contact_count; c++)
            pass |= net_ip_equal(&m->contacts[c], from) &&
                    (n->filter == FILTER_AD || m->contacts[c].port == from->port);
        *to = m->inside;
        return pass;
    }
    return false;
}

/* ---- Packets */

static inline bool kit_private(const struct net_addr *a)
{
    return net_addr_scope(a) == NET_PRIVATE || net_addr_scope(a) == NET_LINK_LOCAL;
}

static inline void kit_send(struct kit *k, size_t from, const struct ice_out *o)
{
    struct kit_peer *p = &k->peers[from];
    KIT_NEED(o->base < p->base_count && o->data.n <= 256);
    KIT_NEED(p->bases[o->base].family == o->to.family);
    p->sent++;
    p->sent_bytes += o->data.n;
    struct net_addr source = p->bases[o->base];
    if (p->nat.map != MAP_NONE && o->to.family == 4 && !kit_private(&o->to))
        source = kit_nat_out(&p->nat, &source, &o->to);
    unsigned copies = rng_below(&k->chance, 100) < k->duplicates ? 2 : 1;
    while (copies-- > 0) {
        if (rng_below(&k->chance, 100) < k->loss) {
            k->lost++;
            continue;
        }
        usec_t at = k->now + k->delay + (k->jitter ? rng_below(&k->chance, k->jitter) : 0);
        struct kit_flight *f = kit_fly(k, KIT_PACKET, at);
        f->peer = from;
        f->from = source;
        f->to = o->to;
        f->n = o->data.n;
        memcpy(f->data, o->data.p, o->data.n);
    }
}

static inline void kit_deliver(struct kit *k, const struct kit_flight *f)
{
    bool private = kit_private(&f->to);
    for (size_t i = 0; i < KIT_PEERS; i++) {
        struct kit_peer *p = &k->peers[i];
        struct net_addr to = f->to;
        if (p->deaf || !p->a || (private && p->lan != k->peers[f->peer].lan))
            continue;
        bool translated = p->nat.map != MAP_NONE && to.family == 4 && !private;
        if (translated && (net_addr_ip4(&to) != p->nat.ip || !kit_nat_in(&p->nat, &f->from, &to)))
            continue;
        for (size_t b = 0; b < p->base_count; b++)
            if (net_addr_equal(&p->bases[b], &to)) {
                ice_input(p->a, (uint32_t)b, &f->from, bytes_of(f->data, f->n), k->now);
                return;
            }
    }
}

/* ---- Candidates and signaling */

static inline uint32_t kit_base(struct kit *k, size_t i, struct net_addr addr)
{
    struct kit_peer *p = &k->peers[i];
    KIT_NEED(p->base_count < KIT_BASES);
    p->bases[p->base_count] = addr;
    return (uint32_t)p->base_count++;
}

static inline struct ice_candidate kit_host(struct kit *k, size_t i, uint32_t base)
{
    return (struct ice_candidate){.type = ICE_HOST,
                                  .addr = k->peers[i].bases[base],
                                  .base = base,
                                  .preference = (uint16_t)(65535 - base)};
}

static inline struct ice_candidate kit_srflx(struct kit *k, size_t i, uint32_t base)
{
    struct kit_peer *p = &k->peers[i];
    struct net_addr stun = KIT_STUN, inside = p->bases[base];
    return (struct ice_candidate){.type = ICE_SERVER_REFLEXIVE,
                                  .addr = kit_nat_out(&p->nat, &inside, &stun),
                                  .related = inside,
                                  .base = base,
                                  .preference = 65535};
}

static inline void kit_tell_credentials(struct kit *k, size_t to, usec_t after)
{
    struct kit_flight *f = kit_fly(k, KIT_CREDENTIALS, k->now + after);
    f->peer = to;
    f->credentials = k->peers[1 - to].credentials;
}

static inline void kit_tell_done(struct kit *k, size_t to, usec_t after)
{
    kit_fly(k, KIT_DONE, k->now + after)->peer = to;
}

/* What ice_local_at gives of the other one. */
static inline void kit_tell_candidates(struct kit *k, size_t to, usec_t after)
{
    struct ice_candidate c;
    for (size_t i = 0; ice_local_at(k->peers[1 - to].a, i, &c); i++) {
        struct kit_flight *f = kit_fly(k, KIT_CANDIDATE, k->now + after);
        f->peer = to;
        f->candidate = c;
    }
}

static inline void kit_tell_all(struct kit *k, usec_t after)
{
    for (size_t i = 0; i < KIT_PEERS; i++) {
        kit_tell_credentials(k, i, after);
        kit_tell_candidates(k, i, after);
    }
}

/* A host with one socket, and its NAT box if it has one: agent, local candidates. */
static inline void kit_simple(struct kit *k, size_t i, enum kit_map map, enum kit_filter filter,
                              bool controlling)
{
    struct kit_peer *p = &k->peers[i];
    p->nat.map = map;
    p->nat.filter = filter;
    uint32_t base = kit_base(
        k, i, map == MAP_NONE ? net_addr4(p->nat.ip, 5000) : net_addr4(0x0a000002u + (uint32_t)i, 5000));
    kit_agent(k, i, controlling, false);
    struct ice_candidate c = kit_host(k, i, base);
    KIT_NEED(ice_add_local(p->a, &c, k->now) == 0);
    if (map == MAP_NONE)
        return;
    c = kit_srflx(k, i, base);
    KIT_NEED(ice_add_local(p->a, &c, k->now) == 0);
}

/* ---- Time */

static inline void kit_drain(struct kit *k, size_t i)
{
    struct kit_peer *p = &k->peers[i];
    struct ice_out o;
    struct ice_event e;
    while (p->a && ice_output(p->a, k->now, &o))
        kit_send(k, i, &o);
    while (p->a && ice_event(p->a, &e)) {
        KIT_NEED(p->seen_count < KIT_EVENTS);
        p->seen[p->seen_count++] = (struct kit_seen){e, k->now};
    }
}

static inline void kit_arrive(struct kit *k, const struct kit_flight *f)
{
    struct ice *a = k->peers[f->peer].a;
    if (f->kind == KIT_PACKET)
        kit_deliver(k, f);
    else if (f->kind == KIT_CANDIDATE)
        ice_add_remote(a, &f->candidate, k->now);
    else if (f->kind == KIT_CREDENTIALS)
        KIT_NEED(ice_remote_credentials(a, &f->credentials, k->now) == 0);
    else
        ice_remote_done(a, k->now);
}

static inline struct kit_flight *kit_next(struct kit *k)
{
    struct kit_flight *next = NULL;
    for (size_t i = 0; i < KIT_FLIGHT; i++) {
        struct kit_flight *f = &k->flight[i];
        if (f->used && (!next || f->at < next->at || (f->at == next->at && f->order < next->order)))
            next = f;
    }
    return next;
}

/* Runs until the deadline, or until done (if there is one) says so. */
static inline void kit_run(struct kit *k, usec_t until, bool (*done)(struct kit *))
{
    for (;;) {
        for (size_t i = 0; i < KIT_PEERS; i++)
            kit_drain(k, i);
        if (done && done(k))
            return;
        struct kit_flight *f = kit_next(k);
        usec_t at = f ? f->at : USEC_NEVER;
        for (size_t i = 0; i < KIT_PEERS; i++)
            if (k->peers[i].a)
                at = usec_min(at, ice_wake(k->peers[i].a));
        if (at > until) {
            k->now = until;
            return;
        }
        k->now = at > k->now ? at : k->now;
        if (f && f->at <= k->now) {
            struct kit_flight now = *f;
            f->used = false;
            kit_arrive(k, &now);
        }
        for (size_t i = 0; i < KIT_PEERS; i++) {
            struct ice *a = k->peers[i].a;
            if (!a || ice_wake(a) > k->now)
                continue;
            ice_tick(a, k->now);
            kit_drain(k, i);
            KIT_NEED(ice_wake(a) > k->now); /* an agent that was served does not ask to be served at once */
        }
    }
}

static inline bool kit_both_selected(struct kit *k)
{
    return ice_state(k->peers[0].a) == ICE_COMPLETED && ice_state(k->peers[1].a) == ICE_COMPLETED;
}

/* When peer i first had such an event; 0: never. */
static inline usec_t kit_when(const struct kit *k, size_t i, enum ice_event_kind kind)
{
    for (size_t e = 0; e < k->peers[i].seen_count; e++)
        if (k->peers[i].seen[e].e.kind == kind)
            return k->peers[i].seen[e].at;
    return 0;
}

static inline size_t kit_count(const struct kit *k, size_t i, enum ice_event_kind kind)
{
    size_t n = 0;
    for (size_t e = 0; e < k->peers[i].seen_count; e++)
        n += k->peers[i].seen[e].e.kind == kind;
    return n;
}

#endif
