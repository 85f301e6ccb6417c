/* A small world for the tests of circuits: members with keys, neighbours' links that delay, lose, double and
 * reorder, and a spy that keeps whatever a member could see. */
#ifndef WARREN_PATH_CIRCUIT_KIT_INT_H
#define WARREN_PATH_CIRCUIT_KIT_INT_H

#include <stdlib.h>
#include <string.h>

#include "path/circuit_int.h"

#define KIT_NODES   6
#define KIT_FLIGHTS 8192
#define KIT_PARTY   0x00c0ffeeu
#define KIT_START   (1000 * SEC)

struct kit_flight {
    usec_t at;
    size_t from, to, n;
    uint8_t *p;
};

struct kit_node {
    struct kit *kit;
    struct circuits *c;
    struct sign_key *key;
    uint8_t id[NODE_ID_LEN];
    struct rng_seeded seeded;
    bool member, relays, deaf;
    uint32_t rate;
    /* Heard of. */
    size_t ups, downs, failed, incoming, datagrams, bad, cells, reliable;
    uint32_t in_id, last_id;
    char why[80];
    uint8_t failed_at[NODE_ID_LEN];
    uint8_t got[4096]; /* times that the datagram of that number came */
    /* Seen: cells as they came and went, and what its keys open. */
    uint8_t *seen;
    size_t seen_n, seen_cap;
};

struct kit {
    struct kit_node node[KIT_NODES];
    struct kit_flight flight[KIT_FLIGHTS];
    size_t flights;
    usec_t now, delay, jitter;
    unsigned loss, twice; /* of a thousand */
    bool spy;
    struct rng_seeded seeded;
    struct rng rng;
    /* Changes, reroutes (*to) or swallows (false) a cell on its way. */
    bool (*tamper)(struct kit *k, size_t from, size_t *to, uint8_t *p, size_t n);
    void *arg;
};

#define KIT_DIE() abort()

static inline struct sign_key *kit_key(size_t i)
{
    static struct sign_key *keys[KIT_NODES]; /* made once: they are the same in every world */
    struct rng_seeded rs;
    struct rng rng = rng_seeded(&rs, 100 + i);
    struct sign_seed seed;
    sign_seed_new(&seed, &rng);
    if (!keys[i])
        keys[i] = sign_key_new(&seed);
    return keys[i];
}

static inline size_t kit_index(const struct kit *k, const uint8_t *id)
{
    for (size_t i = 0; i < KIT_NODES; i++)
        if (memcmp(k->node[i].id, id, NODE_ID_LEN) == 0)
            return i;
    return KIT_NODES;
}

static inline const struct sign_public *kit_member(void *arg, uint32_t party, const uint8_t id[NODE_ID_LEN])
{
    const struct kit_node *me = arg;
    size_t i = kit_index(me->kit, id);
    return party == KIT_PARTY && i < KIT_NODES && me->kit->node[i].member
               ? sign_key_public(me->kit->node[i].key)
               : NULL;
}

static inline bool kit_relays(void *arg, uint32_t party, uint32_t *rate)
{
    const struct kit_node *me = arg;
    *rate = me->rate;
    return party == KIT_PARTY && me->relays;
}

static inline struct kit *kit_new(uint64_t seed)
{
    struct kit *k = calloc(1, sizeof *k);
    if (!k)
        KIT_DIE();
    k->now = KIT_START;
    k->delay = 10 * MSEC;
    k->rng = rng_seeded(&k->seeded, seed);
    for (size_t i = 0; i < KIT_NODES; i++) {
        struct kit_node *n = &k->node[i];
        n->kit = k;
        n->key = kit_key(i);
        n->member = n->relays = true;
        node_id_of(n->id, sign_key_public(n->key));
        struct circuits_config cfg = {.key = n->key,
                                      .rng = rng_seeded(&n->seeded, seed * 16 + i),
                                      .member = kit_member,
                                      .relays = kit_relays,
                                      .arg = n};
        memcpy(cfg.self, n->id, NODE_ID_LEN);
        n->c = circuits_new(&cfg, k->now);
        if (!n->c)
            KIT_DIE();
    }
    return k;
}

static inline void kit_free(struct kit *k)
{
    for (size_t i = 0; i < k->flights; i++)
        free(k->flight[i].p);
    for (size_t i = 0; i < KIT_NODES; i++) {
        circuits_free(k->node[i].c);
        free(k->node[i].seen);
    }
    free(k);
}

static inline void kit_see(struct kit_node *n, const uint8_t *p, size_t len)
{
    if (n->seen_n + len > n->seen_cap) {
        n->seen_cap = 2 * (n->seen_n + len);
        n->seen = realloc(n->seen, n->seen_cap);
        if (!n->seen)
            KIT_DIE();
    }
    memcpy(n->seen + n->seen_n, p, len);
    n->seen_n += len;
}

static inline bool kit_saw(const struct kit_node *n, const void *p, size_t len)
{
    return n->seen_n > 0 && memmem(n->seen, n->seen_n, p, len) != NULL;
}

/* All that this member can make of a cell: every layer to which it has the key. */
static inline void kit_peek(struct kit *k, const struct kit_flight *f)
{
    struct kit_node *n = &k->node[f->to];
    struct circuit_cell cell;
    uint8_t copy[CIRCUIT_BUILD_MAX];
    kit_see(n, f->p, f->n);
    memcpy(copy, f->p, f->n);
    if (circuit_cell_read(&cell, bytes_of(copy, f->n)) < 0 ||
        (cell.kind != CIRCUIT_FORTH && cell.kind != CIRCUIT_BACK))
        return;
    bool forth = cell.kind == CIRCUIT_FORTH;
    struct circuit *c = link_find(forth ? n->c->by_prev : n->c->by_next, k->node[f->from].id, cell.circuit);
    struct bytes sealed = cell.layer, opened;
    for (size_t i = 0; c && i < c->count && (c->role != ROLE_OURS || i < c->built); i++) {
        struct layer l = c->layer[i]; /* its window stays as it is */
        if (layer_open(&l, forth ? l.forth : l.back, sealed, &opened) < 0)
            return;
        kit_see(n, opened.p, opened.n);
        sealed = bytes_of(opened.p + 1, opened.n - 1);
    }
}

static inline void kit_post(struct kit *k, size_t from, size_t to, const uint8_t *p, size_t n)
{
    if (k->flights == KIT_FLIGHTS)
        KIT_DIE();
    struct kit_flight *f = &k->flight[k->flights++];
    *f = (struct kit_flight){.from = from, .to = to, .n = n, .p = malloc(n)};
    f->at = k->now + k->delay + (k->jitter ? rng_below(&k->rng, k->jitter) : 0);
    if (!f->p)
        KIT_DIE();
    memcpy(f->p, p, n);
}

/* Datagrams are a number and a pattern that follows from it and from their length. */
static inline size_t kit_datagram(uint8_t *p, uint32_t number, size_t n)
{
    for (size_t i = 0; i < n; i++)
        p[i] = (uint8_t)(number * 31 + i * 7);
    memcpy(p, &number, sizeof number);
    return n;
}

static inline void kit_heard(struct kit_node *n, const struct circuit_event *ev)
{
    uint8_t want[CIRCUIT_PAYLOAD_MAX];
    uint32_t number = 0;
    if (ev->n >= sizeof number)
        memcpy(&number, ev->p, sizeof number);
    kit_datagram(want, number, ev->n);
    if (ev->n < sizeof number || number >= sizeof n->got || memcmp(want, ev->p, ev->n) != 0)
        n->bad++;
    else if (++n->got[number] > 1)
        n->bad++;
    n->datagrams++;
}

static inline void kit_events(struct kit_node *n)
{
    struct circuit_event ev;
    while (circuits_event(n->c, &ev)) {
        n->ups += ev.kind == CIRCUIT_UP;
        n->downs += ev.kind == CIRCUIT_DOWN;
        n->failed += ev.kind == CIRCUIT_FAILED;
        n->incoming += ev.kind == CIRCUIT_INCOMING;
        if (ev.kind == CIRCUIT_INCOMING)
            n->in_id = ev.id;
        if (ev.kind == CIRCUIT_FAILED)
            memcpy(n->failed_at, ev.neighbour, NODE_ID_LEN);
        if (ev.why) {
            strncpy(n->why, ev.why, sizeof n->why - 1);
        }
        n->last_id = ev.id;
        if (ev.kind == CIRCUIT_DATAGRAM)
            kit_heard(n, &ev);
    }
}

static inline void kit_pull(struct kit *k, size_t i)
{
    struct kit_node *n = &k->node[i];
    struct circuit_out out;
    kit_events(n);
    while (circuits_output(n->c, k->now, &out)) {
        size_t to = kit_index(k, out.to);
        n->cells++;
        n->reliable += out.reliable;
        if (k->spy)
            kit_see(n, out.p, out.n);
        if (out.n > CIRCUIT_BUILD_MAX || (!out.reliable && out.n > CIRCUIT_CELL_MAX) || out.n == 0)
            KIT_DIE();
        if (to == KIT_NODES || (k->tamper && !k->tamper(k, i, &to, out.p, out.n)))
            continue;
        for (int copies = 0; copies < (rng_below(&k->rng, 1000) < k->twice ? 2 : 1); copies++)
            if (rng_below(&k->rng, 1000) >= k->loss)
                kit_post(k, i, to, out.p, out.n);
    }
}

static inline void kit_deliver(struct kit *k, size_t i)
{
    struct kit_flight f = k->flight[i];
    struct kit_node *n = &k->node[f.to];
    k->flight[i] = k->flight[--k->flights];
    if (!n->deaf && !k->node[f.from].deaf) {
        if (k->spy)
            kit_peek(k, &f);
        circuits_input(n->c, k->node[f.from].id, f.p, f.n, k->now);
    }
    free(f.p);
    kit_pull(k, f.to);
}

/* The world up to `until`. */
static inline void kit_run(struct kit *k, usec_t until)
{
    for (size_t i = 0; i < KIT_NODES; i++)
        kit_pull(k, i);
    for (;;) {
        usec_t next = USEC_NEVER;
        size_t flight = KIT_NODES, who = KIT_NODES;
        for (size_t i = 0; i < KIT_NODES; i++)
            if (circuits_wake(k->node[i].c) < next) {
                next = circuits_wake(k->node[i].c);
                who = i;
            }
        bool flies = false;
        for (size_t i = 0; i < k->flights; i++)
            if (k->flight[i].at < next || (flies && k->flight[i].at < k->flight[flight].at)) {
                next = k->flight[i].at;
                flight = i;
                flies = true;
            }
        if (next > until)
            break;
        k->now = next > k->now ? next : k->now;
        if (flies) {
            kit_deliver(k, flight);
        } else {
            circuits_tick(k->node[who].c, k->now);
            if (circuits_wake(k->node[who].c) <= k->now)
                KIT_DIE(); /* a timer that does not pass would spin */
            kit_pull(k, who);
        }
    }
    k->now = until;
}

static inline void kit_for(struct kit *k, usec_t time)
{
    kit_run(k, k->now + time);
}

/* From node 0 over 1 .. relays to the next; not run. */
static inline uint32_t kit_open(struct kit *k, size_t relays)
{
    uint8_t hops[CIRCUIT_HOPS_MAX + 1][NODE_ID_LEN];
    uint32_t id = 0;
    for (size_t i = 0; i <= relays; i++)
        memcpy(hops[i], k->node[i + 1].id, NODE_ID_LEN);
    if (circuit_open(k->node[0].c, KIT_PARTY, (const uint8_t(*)[NODE_ID_LEN])hops, relays + 1, k->now, &id) <
        0)
        KIT_DIE();
    return id;
}

static inline int kit_send(struct kit *k, size_t from, uint32_t id, uint32_t number, size_t n)
{
    uint8_t p[CIRCUIT_PAYLOAD_MAX];
    return circuit_send(k->node[from].c, id, bytes_of(p, kit_datagram(p, number, n)), k->now);
}

/* Nothing is left of any circuit. */
static inline bool kit_empty(const struct kit *k)
{
    for (size_t i = 0; i < KIT_NODES; i++) {
        const struct circuits *c = k->node[i].c;
        if (c->all || c->ours + c->ended + c->relayed + c->opened > 0 ||
            map_count(c->by_prev) + map_count(c->by_next) > 0 || map_count(c->ids) > 0)
            return false;
    }
    return true;
}

#endif
