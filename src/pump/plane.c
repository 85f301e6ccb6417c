#include "pump/plane.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/cache.h"
#include "base/map.h"
#include "wire/eth.h"

enum {
    DHCP4_SERVER = 67,
    DHCP4_CLIENT = 68,
    DHCP6_CLIENT = 546,
    DHCP6_SERVER = 547,
    ECHO6 = 128,
    ECHO6_REPLY = 129,
    ICMP_HEADER_LEN = 8
};

/* What workers write about one peer. Made once a number and kept: a late worker may still write to it. */
struct meter {
    _Atomic uint64_t traffic, seen;
    struct {
        _Atomic uint64_t awaiting, received;
    } way[PLANE_WAYS_MAX];
};

/* Routes and nets never change; holders are counted by the engine's thread alone: the plane itself, and each
 * snapshot. */
struct route {
    unsigned holders;
    uint32_t ref;
    struct plane_route r;
    struct meter *meter;
};

struct net_view {
    unsigned holders;
    struct plane_net net;
    struct map *by_mac, *by_ip4,
        *by_ip6; /* struct plane_member; by_mac of TAP, the others of TUN and to judge sources */
    struct plane_member members[];
};

struct session_slot {
    uint32_t index; /* 0: free */
    uint8_t epoch, which;
    struct route *route;
};

struct snapshot {
    struct snapshot *next; /* retired */
    size_t net_count, route_count;
    size_t mask; /* of sessions */
    struct net_view *nets[PLANE_NETS_MAX];
    struct route **routes; /* by ref - 1, behind the sessions */
    struct session_slot sessions[];
};

/* What one user writes in every batch: cache lines of its own. */
struct user {
    _Alignas(CACHE_LINE) _Atomic(const struct snapshot *) pin;
    _Atomic uint64_t counts[PLANE_COUNTS]; /* one writer, any readers */
};

struct plane {
    uint64_t seed;
    struct net_view *nets[PLANE_NETS_MAX];
    size_t net_count;
    struct route **routes; /* by ref - 1 */
    struct meter **meters;
    size_t route_cap;
    bool changed, taken; /* since the last publish; taken: something must not be used any more */
    struct snapshot *retired, *empty;

    _Alignas(CACHE_LINE) _Atomic(struct snapshot *) current;
    _Atomic bool active, awake;
    struct user users[PLANE_USERS_MAX + 1];
};

const char *plane_count_name(enum plane_count c)
{
    static const char *const names[PLANE_COUNTS] = {
        "out_frames", "out_packets", "out_sends",      "out_copies",  "in_datagrams", "in_packets",
        "in_writes",  "slow_frames", "slow_datagrams", "slow_opened", "bad_tag",      "replayed",
        "too_old",    "bad_inner",   "unknown_party",  "seal_failed", "send_refused", "device_refused",
        "slow_full",  "gso_off",     "moves",          "bad_frame"};
    return (unsigned)c < PLANE_COUNTS ? names[c] : "unknown";
}

void plane_count(struct plane *p, unsigned user, enum plane_count c, uint64_t n)
{
    _Atomic uint64_t *at = &p->users[user].counts[c];
    atomic_store_explicit(at, atomic_load_explicit(at, memory_order_relaxed) + n, memory_order_relaxed);
}

uint64_t plane_counted(const struct plane *p, enum plane_count c)
{
    uint64_t n = 0;
    for (size_t i = 0; i <= PLANE_USERS_MAX; i++)
        n += atomic_load_explicit(&p->users[i].counts[c], memory_order_relaxed);
    return n;
}

/* ---- Nets. */

static void net_drop(struct net_view *v)
{
    if (!v || --v->holders > 0)
        return;
    map_free(v->by_mac);
    map_free(v->by_ip4);
    map_free(v->by_ip6);
    free(v);
}

static int member_add(struct net_view *v, struct plane_member *m)
{
    static const uint8_t zeros[16];
    int rc = 0;
    if (v->by_mac && memcmp(m->mac, zeros, 6) != 0 && !eth_is_group(m->mac))
        rc = map_put(v->by_mac, m->mac, m);
    if (rc == 0 && v->by_ip4 && m->ip4 != 0)
        rc = map_put(v->by_ip4, &m->ip4, m);
    if (rc == 0 && v->by_ip6 && memcmp(m->ip6, zeros, 16) != 0)
        rc = map_put(v->by_ip6, m->ip6, m);
    return rc;
}

static struct net_view *net_make(const struct plane *p, const struct plane_net *net)
{
    struct net_view *v = calloc(1, sizeof *v + net->count * sizeof v->members[0]);
    if (!v)
        return NULL;
    v->holders = 1;
    v->net = *net;
    v->net.members = NULL;
    if (net->count > 0)
        memcpy(v->members, net->members, net->count * sizeof v->members[0]);
    if (net->tap)
        v->by_mac = map_new(6, PLANE_MEMBERS_MAX, p->seed);
    else
        v->by_ip4 = map_new(4, PLANE_MEMBERS_MAX, p->seed);
    if (!net->tap)
        v->by_ip6 = map_new(16, PLANE_MEMBERS_MAX, p->seed);
    bool good = net->tap ? v->by_mac != NULL : v->by_ip4 && v->by_ip6;
    for (size_t i = 0; good && i < net->count; i++)
        good = member_add(v, &v->members[i]) == 0;
    if (good)
        return v;
    net_drop(v);
    return NULL;
}

static size_t net_slot(const struct plane *p, uint32_t party_ref)
{
    size_t i = 0;
    while (i < p->net_count && p->nets[i]->net.party_ref != party_ref)
        i++;
    return i;
}

void plane_net_del(struct plane *p, uint32_t party_ref)
{
    size_t i = net_slot(p, party_ref);
    if (i == p->net_count)
        return;
    net_drop(p->nets[i]);
    p->nets[i] = p->nets[--p->net_count];
    p->changed = p->taken = true;
}

int plane_net_set(struct plane *p, const struct plane_net *net)
{
    struct net_view *v = net->count <= PLANE_MEMBERS_MAX ? net_make(p, net) : NULL;
    plane_net_del(p, net->party_ref);
    if (!v)
        return net->count <= PLANE_MEMBERS_MAX ? -ENOMEM : -ENOSPC;
    if (p->net_count == PLANE_NETS_MAX) {
        net_drop(v);
        return -ENOSPC;
    }
    p->nets[p->net_count++] = v;
    p->changed = true;
    return 0;
}

/* ---- Routes. */

static void route_drop(struct route *r)
{
    if (!r || --r->holders > 0)
        return;
    lane_drop(r->r.tx);
    for (size_t i = 0; i < SESSION_LANES_MAX; i++)
        lane_drop(r->r.rx[i]);
    free(r);
}

static int routes_grow(struct plane *p, uint32_t ref)
{
    size_t cap = p->route_cap ? p->route_cap : 16;
    if (ref == 0 || ref > PLANE_PEERS_MAX)
        return -ENOSPC;
    while (cap < ref)
        cap *= 2;
    if (cap == p->route_cap)
        return 0;
    struct route **routes = realloc(p->routes, cap * sizeof *routes);
    if (routes)
        p->routes = routes;
    struct meter **meters = routes ? realloc(p->meters, cap * sizeof *meters) : NULL;
    if (!meters)
        return -ENOMEM;
    p->meters = meters;
    for (size_t i = p->route_cap; i < cap; i++) {
        routes[i] = NULL;
        meters[i] = NULL;
    }
    p->route_cap = cap;
    return 0;
}

static void meter_clear(struct meter *m)
{
    atomic_store_explicit(&m->traffic, 0, memory_order_relaxed);
    atomic_store_explicit(&m->seen, 0, memory_order_relaxed);
    for (size_t i = 0; i < PLANE_WAYS_MAX; i++) {
        atomic_store_explicit(&m->way[i].awaiting, 0, memory_order_relaxed);
        atomic_store_explicit(&m->way[i].received, 0, memory_order_relaxed);
    }
}

static struct route *route_make(struct plane *p, uint32_t ref, const struct plane_route *from)
{
    if (!p->meters[ref - 1] && !(p->meters[ref - 1] = calloc(1, sizeof(struct meter))))
        return NULL;
    struct route *r = calloc(1, sizeof *r);
    if (!r)
        return NULL;
    r->holders = 1;
    r->ref = ref;
    r->r = *from;
    r->meter = p->meters[ref - 1];
    if (r->r.tx)
        lane_hold(r->r.tx);
    for (size_t i = 0; i < SESSION_LANES_MAX; i++)
        if (r->r.rx[i])
            lane_hold(r->r.rx[i]);
    return r;
}

static bool same_ways(const struct plane_route *a, const struct plane_route *b)
{
    if (a->way_count != b->way_count)
        return false;
    for (size_t i = 0; i < a->way_count; i++)
        if (a->ways[i].id != b->ways[i].id)
            return false;
    return true;
}

static void route_take(struct plane *p, uint32_t ref)
{
    route_drop(p->routes[ref - 1]);
    p->routes[ref - 1] = NULL;
    p->changed = p->taken = true;
}

int plane_route_set(struct plane *p, uint32_t ref, const struct plane_route *route)
{
    struct route *old = ref > 0 && ref <= p->route_cap ? p->routes[ref - 1] : NULL;
    if (!route) {
        if (old)
            route_take(p, ref);
        return 0;
    }
    if (old && memcmp(&old->r, route, sizeof *route) == 0)
        return 0;
    int rc = routes_grow(p, ref);
    struct route *r = rc == 0 ? route_make(p, ref, route) : NULL;
    if (r && (!old || !same_ways(&old->r, &r->r)))
        meter_clear(r->meter);
    if (old)
        route_take(p, ref);
    if (!r)
        return rc < 0 ? rc : -ENOMEM;
    p->routes[ref - 1] = r;
    p->changed = true;
    return 0;
}

/* ---- Snapshots. */

static size_t slot_hash(uint32_t index, uint8_t epoch)
{
    /* Indices are random numbers of our own: nobody else chooses where they fall. */
    return (index ^ (uint32_t)epoch * 0x9e3779b1u) * 0x85ebca6bu >> 7;
}

static void session_add(struct snapshot *s, struct route *r, uint8_t which)
{
    struct lane *l = r->r.rx[which];
    if (!l)
        return;
    size_t at = slot_hash(lane_index(l), lane_epoch(l)) & s->mask;
    while (s->sessions[at].index != 0)
        at = (at + 1) & s->mask;
    s->sessions[at] = (struct session_slot){lane_index(l), lane_epoch(l), which, r};
}

static struct snapshot *snapshot_make(struct plane *p)
{
    size_t lanes = 0, routes = 0, slots = 16;
    for (size_t i = 0; i < p->route_cap; i++) {
        if (!p->routes[i])
            continue;
        routes = i + 1;
        for (size_t k = 0; k < SESSION_LANES_MAX; k++)
            lanes += p->routes[i]->r.rx[k] != NULL;
    }
    while (slots < 2 * lanes)
        slots *= 2;
    struct snapshot *s =
        calloc(1, sizeof *s + slots * sizeof s->sessions[0] + routes * sizeof(struct route *));
    if (!s)
        return NULL;
    s->mask = slots - 1;
    s->routes = (struct route **)(s->sessions + slots);
    s->route_count = routes;
    for (size_t i = 0; i < routes; i++) {
        struct route *r = p->routes[i];
        if (!r)
            continue;
        s->routes[i] = r;
        r->holders++;
        for (uint8_t k = 0; k < SESSION_LANES_MAX; k++)
            session_add(s, r, k);
    }
    for (; s->net_count < p->net_count; s->net_count++) {
        s->nets[s->net_count] = p->nets[s->net_count];
        s->nets[s->net_count]->holders++;
    }
    return s;
}

static void snapshot_free(struct snapshot *s)
{
    for (size_t i = 0; i < s->route_count; i++)
        route_drop(s->routes[i]);
    for (size_t i = 0; i < s->net_count; i++)
        net_drop(s->nets[i]);
    free(s);
}

static bool pinned(const struct plane *p, const struct snapshot *s)
{
    for (size_t i = 1; i <= PLANE_USERS_MAX; i++)
        if (atomic_load(&p->users[i].pin) == s)
            return true;
    return false;
}

static void sweep(struct plane *p)
{
    struct snapshot **at = &p->retired;
    while (*at) {
        struct snapshot *s = *at;
        if (pinned(p, s)) {
            at = &s->next;
            continue;
        }
        *at = s->next;
        snapshot_free(s);
    }
}

static void replace(struct plane *p, struct snapshot *s)
{
    struct snapshot *old = atomic_exchange(&p->current, s);
    if (old == s || old == p->empty)
        return;
    old->next = p->retired;
    p->retired = old;
}

int plane_publish(struct plane *p)
{
    if (p->retired)
        sweep(p);
    if (!p->changed)
        return 0;
    struct snapshot *s = snapshot_make(p);
    if (!s && p->taken)
        replace(p, p->empty);
    if (!s)
        return -ENOMEM;
    p->changed = p->taken = false;
    replace(p, s);
    sweep(p);
    return 0;
}

struct plane *plane_new(uint64_t seed)
{
    struct plane *p = cache_calloc(sizeof *p);
    if (!p)
        return NULL;
    p->seed = seed;
    p->empty = snapshot_make(p);
    if (!p->empty) {
        free(p);
        return NULL;
    }
    atomic_store(&p->current, p->empty);
    return p;
}

void plane_free(struct plane *p)
{
    if (!p)
        return;
    replace(p, p->empty);
    sweep(p);
    snapshot_free(p->empty);
    while (p->net_count > 0)
        net_drop(p->nets[--p->net_count]);
    for (size_t i = 0; i < p->route_cap; i++) {
        route_drop(p->routes[i]);
        free(p->meters[i]);
    }
    free(p->routes);
    free(p->meters);
    free(p);
}

const struct snapshot *plane_pin(struct plane *p, unsigned user)
{
    const struct snapshot *s;
    do {
        s = atomic_load(&p->current);
        atomic_store(&p->users[user].pin, s);
        /* It may have been replaced, and swept, before the pin could be seen. */
    } while (atomic_load(&p->current) != s);
    return s;
}

void plane_unpin(struct plane *p, unsigned user)
{
    atomic_store_explicit(&p->users[user].pin, NULL, memory_order_release);
}

/* ---- Questions. */

const struct net_view *snapshot_net(const struct snapshot *s, uint32_t party_ref)
{
    for (size_t i = 0; i < s->net_count; i++)
        if (s->nets[i]->net.party_ref == party_ref)
            return s->nets[i];
    return NULL;
}

const struct net_view *snapshot_tag(const struct snapshot *s, uint32_t tag)
{
    for (size_t i = 0; i < s->net_count; i++)
        if (s->nets[i]->net.tag == tag)
            return s->nets[i];
    return NULL;
}

const struct plane_net *net_of(const struct net_view *v)
{
    return &v->net;
}

const struct plane_route *route_of(const struct route *r)
{
    return &r->r;
}

uint32_t route_ref(const struct route *r)
{
    return r->ref;
}

static uint32_t ip4_at(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static bool is_dhcp(const struct inner_frame *f)
{
    uint16_t a = f->src_port, b = f->dst_port;
    return f->version == 4 ? a == DHCP4_SERVER || a == DHCP4_CLIENT || b == DHCP4_SERVER || b == DHCP4_CLIENT
                           : a == DHCP6_CLIENT || a == DHCP6_SERVER || b == DHCP6_CLIENT || b == DHCP6_SERVER;
}

/* Nothing in it that the switch would judge, answer or change. */
static bool plain(const struct plane_net *net, const uint8_t *frame, const struct inner_frame *f)
{
    switch (f->proto) {
    case IP_TCP:
        return !(f->tcp_flags & TCP_SYN); /* whose MSS is clamped */
    case IP_UDP:
        return net->dhcp_allowed || !is_dhcp(f);
    case IP_ICMP:
        return f->version == 4 && f->n >= f->upper + (size_t)ICMP_HEADER_LEN &&
               (frame[f->upper] == ICMP4_ECHO || frame[f->upper] == ICMP4_REPLY);
    case IP_ICMP6:
        return f->version == 6 && f->n >= f->upper + (size_t)ICMP_HEADER_LEN &&
               (frame[f->upper] == ECHO6 || frame[f->upper] == ECHO6_REPLY);
    default:
        return false;
    }
}

/* No address: nobody has it, though frames may name it. */
static bool is_zero6(const uint8_t ip6[16])
{
    static const uint8_t zeros[16];
    return memcmp(ip6, zeros, sizeof zeros) == 0;
}

static bool has_source(const struct plane_member *m, const uint8_t *frame, const struct inner_frame *f)
{
    const uint8_t *src = frame + f->ip + (f->version == 4 ? 12 : 8);
    return f->version == 4 ? m->ip4 != 0 && ip4_at(src) == m->ip4
                           : !is_zero6(m->ip6) && memcmp(src, m->ip6, 16) == 0;
}

static bool has_target(const struct plane_member *m, const uint8_t *frame, const struct inner_frame *f)
{
    const uint8_t *dst = frame + f->ip + (f->version == 4 ? 16 : 24);
    return f->version == 4 ? m->ip4 != 0 && ip4_at(dst) == m->ip4
                           : !is_zero6(m->ip6) && memcmp(dst, m->ip6, 16) == 0;
}

static const struct plane_member *member_at(const struct net_view *v, uint8_t version, const uint8_t *ip)
{
    uint32_t ip4 = version == 4 ? ip4_at(ip) : 0;
    return version == 4 ? map_get(v->by_ip4, &ip4) : map_get(v->by_ip6, ip);
}

const struct route *net_out(const struct snapshot *s, const struct net_view *v, const uint8_t *frame,
                            const struct inner_frame *f)
{
    const struct plane_net *net = &v->net;
    const struct plane_member *to;
    if (!has_source(&net->self, frame, f) || !plain(net, frame, f))
        return NULL;
    if (net->tap)
        to = memcmp(frame + ETH_MAC_LEN, net->self.mac, ETH_MAC_LEN) == 0 ? map_get(v->by_mac, frame) : NULL;
    else
        to = member_at(v, f->version, frame + f->ip + (f->version == 4 ? 16 : 24));
    return to && to->ref <= s->route_count ? s->routes[to->ref - 1] : NULL;
}

bool net_in(const struct net_view *v, uint32_t ref, const uint8_t *frame, const struct inner_frame *f)
{
    const struct plane_net *net = &v->net;
    const struct plane_member *from;
    if (net->tap) {
        from =
            memcmp(frame, net->self.mac, ETH_MAC_LEN) == 0 ? map_get(v->by_mac, frame + ETH_MAC_LEN) : NULL;
    } else {
        from = member_at(v, f->version, frame + f->ip + (f->version == 4 ? 12 : 8));
        if (!has_target(&net->self, frame, f))
            return false;
    }
    return from && from->ref == ref && has_source(from, frame, f) && plain(net, frame, f);
}

const struct route *snapshot_session(const struct snapshot *s, uint32_t index, uint8_t epoch,
                                     struct lane **lane)
{
    if (index == 0)
        return NULL;
    for (size_t at = slot_hash(index, epoch) & s->mask; s->sessions[at].index != 0; at = (at + 1) & s->mask) {
        const struct session_slot *slot = &s->sessions[at];
        if (slot->index != index || slot->epoch != epoch)
            continue;
        *lane = slot->route->r.rx[slot->which];
        return slot->route;
    }
    return NULL;
}

/* ---- News. */

/* After the meter was written, in the one order that all agree upon: whoever takes the mark away then sees
 * what the meter says, and where it stands already the line that all workers share is only read. Once for a
 * run of packets. */
static void stir(struct plane *p)
{
    if (!atomic_load(&p->active))
        atomic_store(&p->active, true);
}

void route_sent(struct plane *p, const struct route *r, size_t way, usec_t now)
{
    struct meter *m = r->meter;
    if (atomic_load_explicit(&m->way[way].awaiting, memory_order_relaxed) == 0)
        atomic_store_explicit(&m->way[way].awaiting, now, memory_order_relaxed);
    /* Last: it says that there is something to be read. */
    atomic_store(&m->traffic, now);
    stir(p);
}

void route_heard(struct plane *p, const struct route *r, size_t way, usec_t now)
{
    struct meter *m = r->meter;
    atomic_store_explicit(&m->way[way].awaiting, 0, memory_order_relaxed);
    atomic_store_explicit(&m->way[way].received, now, memory_order_relaxed);
    atomic_store(&m->seen, now);
    stir(p);
}

bool plane_stirred(struct plane *p)
{
    return atomic_load(&p->active) && !atomic_exchange(&p->awake, true);
}

bool plane_active(struct plane *p)
{
    bool was = atomic_exchange(&p->active, false);
    if (was)
        return true;
    /* Going to sleep: what stirs from now on wakes; what stirred just before is seen here. */
    atomic_store(&p->awake, false);
    was = atomic_exchange(&p->active, false);
    if (was)
        atomic_store(&p->awake, true);
    return was;
}

bool plane_news(struct plane *p, uint32_t ref, struct plane_news *news)
{
    const struct route *r = ref > 0 && ref <= p->route_cap ? p->routes[ref - 1] : NULL;
    if (!r)
        return false;
    struct meter *m = r->meter;
    /* A look first: most peers did nothing while some are busy. What is not seen yet stirs (above) and is
     * seen the next time. */
    if (atomic_load(&m->traffic) == 0 && atomic_load(&m->seen) == 0)
        return false;
    *news =
        (struct plane_news){.traffic = atomic_exchange(&m->traffic, 0), .seen = atomic_exchange(&m->seen, 0)};
    if (!news->traffic && !news->seen)
        return false;
    news->way_count = r->r.way_count;
    for (size_t i = 0; i < news->way_count; i++) {
        news->ways[i].id = r->r.ways[i].id;
        news->ways[i].received = atomic_exchange(&m->way[i].received, 0);
        /* The first since the last look: what the engine hears meanwhile (answers to its probes) must not be
         * forgotten. */
        news->ways[i].awaiting = atomic_exchange(&m->way[i].awaiting, 0);
    }
    return true;
}
