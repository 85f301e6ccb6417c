/* The fast way beside the engine: which packets workers may move alone, and what the path sets learn from
 * those. Everything that is not plain (a path in doubt, a stream, a session that is being made, broadcast)
 * has no route here and so comes to the engine as before. doc/protocol/pump.md. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "node/dataplane_int.h"
#include "node/underlay_int.h"

#define NEWS_EVERY                                                                                           \
    (25 * MSEC) /* between looks at what workers sent and heard, while they do: a sixth of what puts a path  \
                   in doubt */

_Static_assert(PLANE_WAYS_MAX >= WAYS_MAX, "every way has its place");
_Static_assert(PLANE_NETS_MAX >= PARTIES_CAP, "every party has its place");

/* What a party's view in the plane was made of: made again when any of it differs. */
struct net_key {
    uint32_t ref, self_ip4;
    uint8_t head[32];
    size_t members;
    uint16_t mtu;
    bool dhcp;
};

struct bind_key {
    enum bind_state state;
    uint32_t token;
    struct net_addr to;
};

struct dataplane {
    struct plane *plane;
    struct net_key nets[PARTIES_CAP];
    size_t net_count;
    struct bind_key bind;
    usec_t at; /* the next look at the news */
    usec_t retry;
};

struct dataplane *dataplane_new(struct plane *plane)
{
    struct dataplane *d = plane ? calloc(1, sizeof *d) : NULL;
    if (!d)
        return NULL;
    d->plane = plane;
    d->at = d->retry = USEC_NEVER;
    return d;
}

void dataplane_free(struct dataplane *d)
{
    free(d);
}

/* ---- Peers. */

static bool way_fast(const struct node *n, const struct way *w)
{
    if (w->at.via == PATH_UDP)
        return w->at.number == NODE_SOCKET_MAIN4 || w->at.number == NODE_SOCKET_MAIN6;
    return w->at.via == PATH_UDP_RELAY && n->underlay->bind.state == BIND_BOUND &&
           underlay_socket(n, n->underlay->bind.to.family) != 0;
}

static void way_view_fast(const struct node *n, const struct node_peer *p, const struct way *w,
                          struct plane_way *out)
{
    const struct udp_bind *b = &n->underlay->bind;
    struct path_stats st;
    out->id = w->id;
    out->mtu = paths_stats(p->paths, w->id, &st) ? st.mtu : 0;
    out->relay = w->at.via == PATH_UDP_RELAY;
    if (!out->relay) {
        out->socket = w->at.number;
        out->addr = w->at.addr;
        return;
    }
    out->socket = underlay_socket(n, b->to.family);
    out->addr = b->to;
    out->relay_index = w->at.number;
    out->relay_token = b->token;
    if (out->mtu > UDP_RELAY_DATAGRAM_MAX)
        out->mtu = UDP_RELAY_DATAGRAM_MAX;
}

/* The way that packets take now, and the one that copies take while that is in doubt; 0: none. */
static uint32_t way_out(const struct node_peer *p, usec_t now, uint32_t *copy)
{
    uint32_t id;
    enum path_kind kind;
    const struct way *pinned = way_pinned(p);
    *copy = 0;
    if (p->wait || !paths_best(p->paths, &id, &kind) || (pinned && pinned->id != id))
        return 0;
    if (!paths_second(p->paths, 1, now, copy, &kind) || *copy == id)
        *copy = 0;
    return id;
}

static bool route_of_peer(const struct node *n, const struct node_peer *p, struct plane_route *r, usec_t now)
{
    struct session_lanes lanes;
    memset(r, 0, sizeof *r); /* padding, too: routes are compared as bytes */
    r->out = -1;
    if (p->doomed || !p->cur || !p->paths || !p->ways || !session_lanes(p->cur->s, &lanes))
        return false;
    r->tx = lanes.tx;
    r->most = lanes.most;
    memcpy(r->rx, lanes.rx, sizeof r->rx);
    uint32_t copy, out = way_out(p, now, &copy);
    for (size_t i = 0; i < WAYS_MAX; i++) {
        const struct way *w = &p->ways[i];
        if (w->id == 0 || !w->proven || !way_fast(n, w))
            continue;
        if (w->id == out)
            r->out = (int)r->way_count;
        way_view_fast(n, p, w, &r->ways[r->way_count++]);
        if (w->id == copy)
            r->copy = (unsigned)r->way_count;
    }
    r->copy_slow = r->copy == 0 ? copy : 0;
    return r->way_count > 0;
}

void dataplane_peer(struct node *n, struct node_peer *p, usec_t now)
{
    struct plane_route r;
    if (!n->data)
        return;
    bool any = route_of_peer(n, p, &r, now);
    if (plane_route_set(n->data->plane, p->ref, any ? &r : NULL) < 0) {
        n->data->retry = now + SEC;
        node_due(n, n->data->retry);
    }
}

void dataplane_peer_gone(struct node *n, uint32_t ref)
{
    if (n->data)
        plane_route_set(n->data->plane, ref, NULL);
}

static void peers_all(struct node *n, usec_t now)
{
    for (size_t i = 0; i < n->peer_slots; i++)
        if (n->peers[i] && n->peers[i]->cur)
            dataplane_peer(n, n->peers[i], now);
}

/* ---- Parties. */

static void net_key_of(const struct node *n, const struct node_party *np, struct net_key *k)
{
    memset(k, 0, sizeof *k);
    k->ref = np->ref;
    k->self_ip4 = np->switch_ip4;
    memcpy(k->head, party_head(np->log), sizeof k->head);
    k->members = np->ref_count;
    k->mtu = np->mtu ? np->mtu : (uint16_t)n->limits.mtu;
    k->dhcp = party_policy(np->log)->allow_dhcp;
}

static void member_of(const struct party_member *m, uint32_t ref, struct plane_member *out)
{
    out->ref = ref;
    out->ip4 = m->ip4;
    memcpy(out->ip6, m->ip6, sizeof out->ip6);
    memcpy(out->mac, m->mac, sizeof out->mac);
}

static size_t members_of(const struct node *n, const struct node_party *np, struct plane_member *out)
{
    size_t count = 0;
    for (size_t i = 0; i < np->ref_count; i++) {
        const struct node_peer *p = peer_by_ref(n, np->refs[i]);
        const struct party_member *m = p && !p->doomed ? party_member(np->log, p->id) : NULL;
        if (m)
            member_of(m, p->ref, &out[count++]);
    }
    return count;
}

static int net_tell(struct node *n, const struct node_party *np, const struct net_key *k)
{
    const struct party_member *self = party_member(np->log, n->id);
    struct plane_member *members = calloc(np->ref_count + 1, sizeof *members);
    if (!members || !self) {
        free(members);
        plane_net_del(n->data->plane, np->ref);
        return members ? 0 : -ENOMEM;
    }
    struct plane_net net = {.party_ref = np->ref,
                            .tag = np->tag,
                            .tap = party_mode(np->log) == MODE_TAP,
                            .dhcp_allowed = k->dhcp,
                            .mtu = k->mtu,
                            .members = members,
                            .count = members_of(n, np, members)};
    member_of(self, 0, &net.self);
    int rc = plane_net_set(n->data->plane, &net);
    free(members);
    return rc;
}

static struct net_key *key_at(struct dataplane *d, uint32_t ref)
{
    for (size_t i = 0; i < d->net_count; i++)
        if (d->nets[i].ref == ref)
            return &d->nets[i];
    return NULL;
}

static void net_sync(struct node *n, const struct node_party *np, usec_t now)
{
    struct dataplane *d = n->data;
    struct net_key k, *known = key_at(d, np->ref);
    net_key_of(n, np, &k);
    if (known && memcmp(known, &k, sizeof k) == 0)
        return;
    int rc = net_tell(n, np, &k);
    if (!known)
        known = &d->nets[d->net_count++];
    *known = k;
    if (rc == -ENOMEM) {
        memset(known->head, 0, sizeof known->head); /* so that it is tried again */
        d->retry = now + SEC;
        node_due(n, d->retry);
    }
}

static bool net_wanted(const struct node_party *np)
{
    return np && np->state == NP_ACTIVE && np->dev == DEV_OPEN && np->log && np->vnet;
}

static void bind_sync(struct node *n, usec_t now)
{
    const struct udp_bind *b = &n->underlay->bind;
    struct bind_key *k = &n->data->bind;
    if (k->state == b->state && k->token == b->token && net_addr_equal(&k->to, &b->to))
        return;
    *k = (struct bind_key){b->state, b->token, b->to};
    peers_all(n, now);
}

void dataplane_sync(struct node *n, usec_t now)
{
    struct dataplane *d = n->data;
    if (!d)
        return;
    for (size_t i = 0; i < d->net_count;) {
        if (net_wanted(np_by_ref(n, d->nets[i].ref))) {
            i++;
            continue;
        }
        plane_net_del(d->plane, d->nets[i].ref);
        d->nets[i] = d->nets[--d->net_count];
    }
    for (size_t i = 0; i < n->party_count; i++)
        if (net_wanted(n->parties[i]))
            net_sync(n, n->parties[i], now);
    bind_sync(n, now);
    if (plane_publish(d->plane) < 0) {
        d->retry = now + SEC;
        node_due(n, d->retry);
    }
}

/* ---- News. */

/* A worker's clock may be ahead of the moment that the engine lives in. */
static void news_by_now(struct plane_news *news, usec_t now)
{
    news->traffic = usec_min(news->traffic, now);
    news->seen = usec_min(news->seen, now);
    for (size_t i = 0; i < news->way_count; i++) {
        news->ways[i].received = usec_min(news->ways[i].received, now);
        news->ways[i].awaiting = usec_min(news->ways[i].awaiting, now);
    }
}

/* The first thing that waits, and the last: between them the engine may have heard something. */
static void news_sent(struct node_peer *p, const struct plane_news *news)
{
    for (size_t i = 0; p->paths && i < news->way_count; i++) {
        if (news->ways[i].awaiting == 0)
            continue;
        paths_sent(p->paths, news->ways[i].id, news->ways[i].awaiting);
        if (news->traffic > news->ways[i].awaiting)
            paths_sent(p->paths, news->ways[i].id, news->traffic);
    }
}

/* In the order of time: what came last over the best way takes back what came before it over others. */
static void news_heard(struct node_peer *p, struct plane_news *news)
{
    for (;;) {
        size_t first = news->way_count;
        for (size_t i = 0; i < news->way_count; i++)
            if (news->ways[i].received != 0 &&
                (first == news->way_count || news->ways[i].received < news->ways[first].received))
                first = i;
        if (!p->paths || first == news->way_count)
            return;
        usec_t at = news->ways[first].received;
        news->ways[first].received = 0;
        paths_received(p->paths, news->ways[first].id, at);
        paths_carried(p->paths, news->ways[first].id, at);
    }
}

static void news_of(struct node *n, struct node_peer *p, usec_t now)
{
    struct plane_news news;
    if (!plane_news(n->data->plane, p->ref, &news))
        return;
    news_by_now(&news, now);
    if (news.traffic > p->traffic)
        p->traffic = news.traffic;
    if (news.seen > p->seen)
        p->seen = news.seen;
    news_heard(p, &news);
    news_sent(p, &news);
    if (p->cur) {
        session_lanes_used(p->cur->s, now);
        peer_events(n, p->cur, now);
    }
    peer_touch(n, p);
}

static void news(struct node *n, usec_t now)
{
    struct dataplane *d = n->data;
    bool active = plane_active(d->plane);
    for (size_t i = 0; i < n->peer_slots; i++)
        if (n->peers[i])
            news_of(n, n->peers[i], now);
    d->at = active ? now + NEWS_EVERY : USEC_NEVER;
    node_due(n, d->at);
}

void node_plane_active(struct node *n, usec_t now)
{
    if (n->data)
        news(n, now);
}

usec_t dataplane_wake(const struct node *n)
{
    return n->data ? usec_min(n->data->at, n->data->retry) : USEC_NEVER;
}

void dataplane_tick(struct node *n, usec_t now)
{
    struct dataplane *d = n->data;
    if (!d)
        return;
    if (d->at <= now)
        news(n, now);
    if (d->retry <= now) {
        d->retry = USEC_NEVER;
        peers_all(n, now);
    }
}

uint64_t dataplane_drops(const struct node *n, enum session_drop d)
{
    static const enum plane_count counts[DROP_COUNT] = {[DROP_BAD_TAG] = PLANE_BAD_TAG,
                                                        [DROP_REPLAYED] = PLANE_REPLAYED,
                                                        [DROP_TOO_OLD] = PLANE_TOO_OLD,
                                                        [DROP_BAD_INNER] = PLANE_BAD_INNER};
    return n->data && counts[d] != 0 ? plane_counted(n->data->plane, counts[d]) : 0;
}

void dataplane_metrics(const struct node *n, struct buf *out)
{
    if (!n->data)
        return;
    buf_printf(out, "# HELP warren_pump_total What the worker threads did, and why they left it.\n# TYPE "
                    "warren_pump_total counter\n");
    for (int c = 0; c < PLANE_COUNTS; c++)
        buf_printf(out, "warren_pump_total{what=\"%s\"} %llu\n", plane_count_name((enum plane_count)c),
                   (unsigned long long)plane_counted(n->data->plane, (enum plane_count)c));
}

void node_peer_sealed(struct node *n, uint32_t peer_ref, uint32_t way, const uint8_t *p, size_t len,
                      usec_t now)
{
    struct node_peer *peer = peer_by_ref(n, peer_ref);
    const struct way *w = peer && !peer->doomed && peer->paths ? way_by_id(peer, way) : NULL;
    if (!w || !w->proven || !origin_send(n, &w->at, false, p, len, now))
        return;
    count(n, COUNT_TX_COPIES);
    paths_sent(peer->paths, way, now);
}

void node_peer_frame(struct node *n, uint32_t peer_ref, uint32_t tag, uint8_t kind, uint8_t *p, size_t len,
                     usec_t now)
{
    struct node_peer *peer = peer_by_ref(n, peer_ref);
    const struct session_in in = {.kind = kind, .party = tag, .p = p, .n = len};
    if (peer && !peer->doomed)
        payload_input(n, peer, &in, now);
}
