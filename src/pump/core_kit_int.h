/* For the tests of this folder: ends of a small virtual LAN, each a plane and a core between a fake device
 * and a fake socket. What the core does to its world is written down in order; letters are carried by whoever
 * tests. */
#ifndef WARREN_PUMP_CORE_KIT_INT_H
#define WARREN_PUMP_CORE_KIT_INT_H

#include "pump/core.h"
#include "pump/offload_kit_int.h"
#include "wire/udp_relay.h"

#define KIT_ENDS   4
#define KIT_SOCKET 7u
#define KIT_TAG    0xabcd0000u /* and the party */
#define KIT_MOST   ((uint64_t)1 << 48)

enum kit_kind { KIT_SEND, KIT_WRITE, KIT_SLOW_FRAME, KIT_SLOW_DATAGRAM, KIT_OPENED, KIT_SEALED };
struct kit_item {
    enum kit_kind kind;
    uint32_t a, b; /* socket, party or peer; tag */
    uint8_t inner;
    struct net_addr addr;
    struct vnet_hdr h;
    size_t n, segment, pieces;
    uint8_t *p; /* a block of exactly n bytes */
};
struct kit_log {
    struct kit_item *at;
    size_t n, cap;
};

struct kit_end {
    struct kit *kit;
    uint32_t id; /* from 1 on: its number as a peer and in addresses */
    struct plane *plane;
    struct core *core;
    struct kit_log log;
    struct lane *lane[KIT_ENDS + 1]; /* by peer */
    struct plane_route route[KIT_ENDS + 1];
    bool slow_waits; /* what the core is told */
};

struct kit {
    bool tap, relay;
    uint8_t family; /* of the sockets */
    uint16_t net_mtu, way_mtu;
    unsigned parties, ends;
    struct kit_end end[KIT_ENDS + 1]; /* from 1 on */
    usec_t now;
};

/* ---- The log. */

static inline struct kit_item *kit_note(struct kit_log *l, enum kit_kind kind, size_t n)
{
    if (l->n == l->cap) {
        l->cap = l->cap ? 2 * l->cap : 64;
        l->at = realloc(l->at, l->cap * sizeof *l->at);
        kit_need(l->at != NULL);
    }
    struct kit_item *i = &l->at[l->n++];
    *i = (struct kit_item){.kind = kind, .n = n, .p = malloc(n ? n : 1)};
    kit_need(i->p != NULL);
    return i;
}

static inline void kit_log_clear(struct kit_log *l)
{
    for (size_t i = 0; i < l->n; i++)
        free(l->at[i].p);
    l->n = 0;
}

static inline size_t kit_count(const struct kit_log *l, enum kit_kind kind)
{
    size_t n = 0;
    for (size_t i = 0; i < l->n; i++)
        n += l->at[i].kind == kind;
    return n;
}

/* The k-th of a kind; NULL: there is none. */
static inline struct kit_item *kit_nth(const struct kit_log *l, enum kit_kind kind, size_t k)
{
    for (size_t i = 0; i < l->n; i++)
        if (l->at[i].kind == kind && k-- == 0)
            return &l->at[i];
    return NULL;
}

/* What holds for every send, whatever was in it. */
static inline void kit_send(void *arg, uint32_t socket, const struct net_addr *to, const uint8_t *p, size_t n,
                            size_t segment)
{
    struct kit_end *e = arg;
    kit_need(n > 0 && n <= CORE_RUN_BYTES && segment > 0 && segment <= n);
    kit_need((n + segment - 1) / segment <= CORE_RUN_SEGMENTS);
    struct kit_item *i = kit_note(&e->log, KIT_SEND, n);
    i->a = socket;
    i->addr = *to;
    i->segment = segment;
    memcpy(i->p, p, n);
}

static inline void kit_write(void *arg, uint32_t party, const struct vnet_hdr *h, const struct iovec *pieces,
                             size_t count, size_t bytes)
{
    struct kit_end *e = arg;
    kit_need(count > 0 && count <= COALESCE_SEGMENTS && bytes > 0);
    struct kit_item *i = kit_note(&e->log, KIT_WRITE, bytes);
    size_t at = 0;
    for (size_t k = 0; k < count; k++) {
        kit_need(at + pieces[k].iov_len <= bytes);
        memcpy(i->p + at, pieces[k].iov_base, pieces[k].iov_len);
        at += pieces[k].iov_len;
    }
    kit_need(at == bytes);
    i->a = party;
    i->h = *h;
    i->pieces = count;
}

static inline void kit_slow_frame(void *arg, uint32_t party, const uint8_t *p, size_t n)
{
    struct kit_end *e = arg;
    struct kit_item *i = kit_note(&e->log, KIT_SLOW_FRAME, n);
    i->a = party;
    memcpy(i->p, p, n);
}

static inline void kit_slow_datagram(void *arg, uint32_t socket, const struct net_addr *from,
                                     const uint8_t *p, size_t n)
{
    struct kit_end *e = arg;
    struct kit_item *i = kit_note(&e->log, KIT_SLOW_DATAGRAM, n);
    i->a = socket;
    i->addr = *from;
    memcpy(i->p, p, n);
}

static inline void kit_slow_opened(void *arg, uint32_t peer, uint32_t tag, uint8_t kind, const uint8_t *p,
                                   size_t n)
{
    struct kit_end *e = arg;
    struct kit_item *i = kit_note(&e->log, KIT_OPENED, n);
    i->a = peer;
    i->b = tag;
    i->inner = kind;
    if (n > 0)
        memcpy(i->p, p, n);
}

/* For a way that is none of the route's: a is the peer, b the way. */
static inline void kit_slow_sealed(void *arg, uint32_t peer, uint32_t way, const uint8_t *p, size_t n)
{
    struct kit_end *e = arg;
    struct kit_item *i = kit_note(&e->log, KIT_SEALED, n);
    i->a = peer;
    i->b = way;
    memcpy(i->p, p, n);
}

static inline bool kit_slow_waits(void *arg)
{
    const struct kit_end *e = arg;
    return e->slow_waits;
}

static const struct core_io kit_io = {.send = kit_send,
                                      .device = kit_write,
                                      .slow_frame = kit_slow_frame,
                                      .slow_datagram = kit_slow_datagram,
                                      .slow_opened = kit_slow_opened,
                                      .slow_sealed = kit_slow_sealed,
                                      .slow_waits = kit_slow_waits};

/* ---- Addresses: the last byte says whose. */

static inline struct net_addr kit_addr(const struct kit *k, uint32_t id)
{
    uint8_t ip6[16] = {0x20, 1, 0xd, 0xb8, [15] = (uint8_t)id};
    return k->family == 6 ? net_addr6(ip6, (uint16_t)(4000 + id))
                          : net_addr4(0xc0000200u + id, (uint16_t)(4000 + id));
}

#define KIT_RELAY_ID 200u

static inline struct plane_member kit_member(uint32_t id)
{
    return (struct plane_member){.ref = id,
                                 .ip4 = 0x0a070000u + id,
                                 .ip6 = {0xfd, 7, [15] = (uint8_t)id},
                                 .mac = {2, 0, 0, 0, 0, (uint8_t)id}};
}

static inline uint32_t kit_index(uint32_t id, uint32_t peer)
{
    return 0x10000000u + id * 0x100u + peer;
}

static inline struct lane *kit_lane(uint32_t id, uint32_t peer, uint8_t epoch)
{
    uint8_t tx[AEAD_KEY_LEN] = {(uint8_t)id, (uint8_t)peer, epoch},
            rx[AEAD_KEY_LEN] = {(uint8_t)peer, (uint8_t)id, epoch};
    struct lane *l = lane_new(&(struct lane_config){.alg = AEAD_AES256GCM,
                                                    .tx_key = tx,
                                                    .rx_key = rx,
                                                    .epoch = epoch,
                                                    .index = kit_index(id, peer),
                                                    .peer_index = kit_index(peer, id)});
    kit_need(l != NULL);
    return l;
}

static inline struct plane_way kit_way(const struct kit *k, uint32_t id, uint32_t peer)
{
    struct plane_way w = {.id = 50 + peer,
                          .socket = KIT_SOCKET,
                          .addr = kit_addr(k, k->relay ? KIT_RELAY_ID : peer),
                          .mtu = k->way_mtu};
    if (k->relay) {
        w.relay = true;
        w.relay_index = 0x900u + peer;
        w.relay_token = 0x70000000u + id;
    }
    return w;
}

/* ---- Ends. */

static inline void kit_net(struct kit_end *e, uint32_t party)
{
    struct plane_member others[KIT_ENDS];
    struct plane_net net = {.party_ref = party,
                            .tag = KIT_TAG + party,
                            .tap = e->kit->tap,
                            .mtu = e->kit->net_mtu,
                            .self = kit_member(e->id),
                            .members = others};
    for (uint32_t i = 1; i <= e->kit->ends; i++)
        if (i != e->id)
            others[net.count++] = kit_member(i);
    kit_need(plane_net_set(e->plane, &net) == 0);
}

static inline void kit_end_open(struct kit *k, uint32_t id)
{
    struct kit_end *e = &k->end[id];
    e->kit = k;
    e->id = id;
    e->plane = plane_new(id);
    kit_need(e->plane != NULL);
    e->core = core_new(&(struct core_config){
        .plane = e->plane, .user = 1, .tso = true, .uso = true, .io = &kit_io, .arg = e});
    kit_need(e->core != NULL);
    for (uint32_t i = 1; i <= k->parties; i++)
        kit_net(e, i);
    for (uint32_t i = 1; i <= k->ends; i++) {
        if (i == id)
            continue;
        struct plane_route *r = &e->route[i];
        e->lane[i] = kit_lane(id, i, 0);
        r->most = KIT_MOST;
        r->tx = r->rx[1] = e->lane[i];
        r->ways[r->way_count++] = kit_way(k, id, i);
        kit_need(plane_route_set(e->plane, i, r) == 0);
    }
    kit_need(plane_publish(e->plane) == 0);
}

/* *k says tap, relay and what else differs from the rule; zeros are the rule. */
static inline void kit_open(struct kit *k)
{
    k->family = k->family ? k->family : 4;
    k->net_mtu = k->net_mtu ? k->net_mtu : 1420;
    k->way_mtu = k->way_mtu ? k->way_mtu : 1480;
    k->parties = k->parties ? k->parties : 1;
    k->ends = k->ends ? k->ends : 2;
    k->now = 1000;
    for (uint32_t i = 1; i <= k->ends; i++)
        kit_end_open(k, i);
}

static inline void kit_close(struct kit *k)
{
    for (uint32_t i = 1; i <= k->ends; i++) {
        struct kit_end *e = &k->end[i];
        core_free(e->core);
        plane_free(e->plane);
        for (uint32_t peer = 1; peer <= KIT_ENDS; peer++)
            lane_drop(e->lane[peer]);
        kit_log_clear(&e->log);
        free(e->log.at);
    }
    *k = (struct kit){0};
}

/* The route as it stands in e->route. */
static inline void kit_reroute(struct kit_end *e, uint32_t peer)
{
    kit_need(plane_route_set(e->plane, peer, &e->route[peer]) == 0 && plane_publish(e->plane) == 0);
}

/* ---- Frames. */

/* From one member to another, as r says for the rest; a block of exactly its size, the caller's. */
static inline uint8_t *kit_frame(const struct recipe *r, uint32_t from, uint32_t to, size_t *n)
{
    uint8_t *p = recipe_make(r, n);
    struct naive_frame f = naive_find(p, *n, r->tap);
    uint8_t *ip = p + f.ip;
    if (r->tap) {
        p[5] = (uint8_t)to;
        p[11] = (uint8_t)from;
    }
    ip[f.version == 4 ? 15 : 23] = (uint8_t)from;
    ip[f.version == 4 ? 19 : 39] = (uint8_t)to;
    naive_finish(p, *n, r->tap, r->partial);
    if (r->no_sum)
        naive_put16(p + f.upper + 6, 0);
    return p;
}

/* Into the core, within a batch. */
static inline void kit_put(struct kit_end *e, uint32_t party, const struct vnet_hdr *h, const uint8_t *p,
                           size_t n)
{
    kit_need(n <= OFFLOAD_FRAME_MAX);
    memcpy(core_room(e->core), p, n);
    core_frame(e->core, party, e->kit->tap, h, n);
}

static inline struct vnet_hdr kit_plain_hdr(const struct recipe *r)
{
    struct vnet_hdr h = {0};
    if (r->partial) {
        h = recipe_hdr(r, 0);
        h.gso = OFFLOAD_NONE;
        h.gso_size = 0;
        h.ecn = false;
    }
    return h;
}

/* size 0: plain. Makes the frame and puts it; what its packets must be in the end is what the caller makes of
 * r. */
static inline void kit_send_frame(struct kit_end *e, uint32_t party, uint32_t to, const struct recipe *r,
                                  uint16_t size)
{
    size_t n;
    uint8_t *p = kit_frame(r, e->id, to, &n);
    struct vnet_hdr h = size ? recipe_hdr(r, size) : kit_plain_hdr(r);
    kit_put(e, party, &h, p, n);
    free(p);
}

static inline void kit_begin(struct kit_end *e)
{
    core_begin(e->core, ++e->kit->now);
}

/* ---- Carrying. */

/* What the relay makes of a datagram's header. */
static inline void kit_relayed(uint32_t sender, uint8_t *p, size_t n)
{
    if (n >= UDP_RELAY_HEADER_LEN)
        udp_relay_header(p, 0x900u + sender, 0);
}

/* Who is meant by where it was sent to; 0: nobody. */
static inline uint32_t kit_receiver(const struct kit *k, const struct kit_item *i)
{
    if (k->relay)
        return i->n < UDP_RELAY_HEADER_LEN ? 0 : (uint32_t)(i->p[6] << 8 | i->p[7]) - 0x900u;
    for (uint32_t id = 1; id <= k->ends; id++) {
        struct net_addr a = kit_addr(k, id);
        if (net_addr_equal(&a, &i->addr))
            return id;
    }
    return 0;
}

static inline struct net_addr kit_from(const struct kit *k, uint32_t sender)
{
    return kit_addr(k, k->relay ? KIT_RELAY_ID : sender);
}

/* Everything that e has sent, run by run, to whom it is meant for: within batches of all, which the caller
 * has begun. */
static inline void kit_carry(struct kit_end *e)
{
    struct kit *k = e->kit;
    struct net_addr from = kit_from(k, e->id);
    for (size_t i = 0; i < e->log.n; i++) {
        struct kit_item *it = &e->log.at[i];
        uint32_t to = it->kind == KIT_SEND ? kit_receiver(k, it) : 0;
        if (to == 0 || to > k->ends)
            continue;
        for (size_t at = 0; k->relay && at < it->n; at += it->segment)
            kit_relayed(e->id, it->p + at, it->n - at);
        core_datagrams(k->end[to].core, KIT_SOCKET, &from, it->p, it->n, it->segment);
    }
}

/* One batch out of e, one into each of the others. */
static inline void kit_deliver(struct kit_end *e)
{
    struct kit *k = e->kit;
    for (uint32_t i = 1; i <= k->ends; i++)
        if (i != e->id)
            kit_begin(&k->end[i]);
    kit_carry(e);
    for (uint32_t i = 1; i <= k->ends; i++)
        if (i != e->id)
            core_end(k->end[i].core);
}

/* The k-th packet of a write to the device, its checksum whole, in out (of 70000 bytes); 0: there is none. */
static inline size_t kit_packet(const struct kit_item *w, bool tap, size_t k, uint8_t *out)
{
    if (w->h.gso == OFFLOAD_NONE && !w->h.partial) {
        memcpy(out, w->p, w->n);
        return k == 0 ? w->n : 0;
    }
    return naive_segment(w->p, w->n, tap, w->h.gso == OFFLOAD_NONE ? 0 : w->h.gso_size, false, false, k, out);
}

/* All packets that the log's writes to the device stand for, one after the other. */
struct expect {
    const struct kit_log *log;
    size_t write, packet;
    bool tap;
};

/* The next one in out (of 70000 bytes); 0: there is none. */
static inline size_t next_packet(struct expect *e, uint8_t *out)
{
    for (;;) {
        const struct kit_item *w = kit_nth(e->log, KIT_WRITE, e->write);
        size_t n = w ? kit_packet(w, e->tap, e->packet, out) : 0;
        if (n > 0 || !w) {
            e->packet++;
            return n;
        }
        e->write++;
        e->packet = 0;
    }
}

#endif
