/* The ways to a peer: where a path's datagrams really go. A path set (path/path.h) judges them by number;
 * here the numbers get their meaning: a relay index, a socket and an address, a stream, a circuit. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/underlay_int.h"
#include "wire/eth.h"

#define WAY_DEAD_LIFE                                                                                        \
    (30 * SEC) /* a direct way that died is kept so long: the cable may be plugged in again */
#define WAY_UNPROVEN_LIFE (5 * SEC)

bool origin_equal(const struct origin *a, const struct origin *b)
{
    return a->via == b->via && a->number == b->number && net_addr_equal(&a->addr, &b->addr);
}

bool origin_reliable(const struct origin *o)
{
    return o->via == PATH_WS_RELAY || o->via == PATH_TLS || o->via == PATH_MULTI_HOP;
}

void origin_text(const struct node *n, const struct origin *o, char *out, size_t cap)
{
    char addr[NET_ADDR_TEXT];
    switch (o->via) {
    case PATH_UDP_RELAY:
        net_addr_text(addr, &n->underlay->bind.to);
        snprintf(out, cap, "%s", addr);
        break;
    case PATH_WS_RELAY:
        snprintf(out, cap, "%.*s", cap > 0 ? (int)cap - 1 : 0, n->link.label);
        break;
    case PATH_MULTI_HOP:
        snprintf(out, cap, "circuit %u", o->number);
        break;
    default:
        net_addr_text(addr, &o->addr);
        snprintf(out, cap, "%s", addr);
    }
}

enum path_kind way_kind(const struct node *n, const struct origin *o)
{
    if (o->via == PATH_UDP && underlay_on_link(n, &o->addr))
        return PATH_LAN;
    return o->via;
}

struct way *way_by_id(const struct node_peer *p, uint32_t id)
{
    for (size_t i = 0; p->ways && id != 0 && i < WAYS_MAX; i++)
        if (p->ways[i].id == id)
            return &p->ways[i];
    return NULL;
}

struct way *way_by_origin(const struct node_peer *p, const struct origin *o)
{
    for (size_t i = 0; p->ways && i < WAYS_MAX; i++)
        if (p->ways[i].id != 0 && origin_equal(&p->ways[i].at, o))
            return &p->ways[i];
    return NULL;
}

bool way_alive(const struct node_peer *p, const struct way *w)
{
    struct path_stats st;
    return w->proven && p->paths && paths_stats(p->paths, w->id, &st) && st.alive;
}

/* What may go for a new one: an unproven one that is not being asked, a dead one, and of several the oldest.
 */
static struct way *way_room(struct node *n, struct node_peer *p, usec_t now)
{
    struct way *oldest = NULL;
    for (size_t i = 0; i < WAYS_MAX; i++) {
        struct way *w = &p->ways[i];
        if (w->id == 0)
            return w;
        if (w->id < WAY_FIRST || w->asking || way_alive(p, w))
            continue;
        if (!oldest || w->since < oldest->since)
            oldest = w;
    }
    if (oldest)
        way_close(n, p, oldest, now);
    return oldest;
}

static uint32_t way_number(struct node_peer *p, const struct origin *o)
{
    if (o->via == PATH_WS_RELAY)
        return WAY_WS_RELAY;
    if (o->via == PATH_UDP_RELAY)
        return WAY_UDP_RELAY;
    if (p->next_way < WAY_FIRST || p->next_way >= PATHS_NO_ID - 1)
        p->next_way = WAY_FIRST;
    while (way_by_id(p, p->next_way))
        p->next_way++;
    return p->next_way++;
}

bool way_costs(const struct node_peer *p, const struct origin *o)
{
    uint32_t id = o->via == PATH_WS_RELAY ? WAY_WS_RELAY : o->via == PATH_UDP_RELAY ? WAY_UDP_RELAY : 0;
    const struct way *w = way_by_id(p, id);
    return w && w->at.number != o->number && way_alive(p, w);
}

struct way *way_open(struct node *n, struct node_peer *p, const struct origin *o, usec_t now)
{
    struct way *w = way_by_origin(p, o);
    if (w)
        return w;
    if (o->via == PATH_TLS && !streams_open(n, o))
        return NULL;
    if (!p->ways && !(p->ways = calloc(WAYS_MAX, sizeof *p->ways)))
        return NULL;
    uint32_t id = way_number(p, o);
    w = way_by_id(p, id);
    if (w) /* another index is another connection of the peer: the way over the old one leads nowhere */
        way_close(n, p, w, now);
    w = way_room(n, p, now);
    if (!w)
        return NULL;
    *w = (struct way){.id = id, .kind = way_kind(n, o), .at = *o, .since = now};
    p->way_at = usec_min(p->way_at, now + WAY_UNPROVEN_LIFE);
    node_due(n, p->way_at);
    return w;
}

struct bytes way_view(uint8_t view[40], const struct node *n, const struct origin *o)
{
    struct wr w = wr_of(view, 40);
    wr_u8(&w, (uint8_t)o->via);
    if (o->addr.family != 0) {
        wr_u8(&w, o->addr.family);
        wr_u16(&w, o->addr.port);
        wr_copy(&w, o->addr.ip, sizeof o->addr.ip);
    } else {
        wr_u32(&w, o->via == PATH_WS_RELAY || o->via == PATH_UDP_RELAY ? n->link.relay : 0);
        wr_u32(&w, o->number);
    }
    return wr_done(&w);
}

void way_prove(struct node *n, struct node_peer *p, struct way *w, usec_t now)
{
    uint8_t view[40];
    if (!p->cur || w->asking)
        return;
    int rc = session_resume(p->cur->s, w->id, way_view(view, n, &w->at), now);
    if (rc < 0 && rc != -EALREADY) {
        way_failed(n, p, w->id, now);
        return;
    }
    w->asking = true;
    w->asked_at = now;
    count(n, COUNT_RESUMES_BEGUN);
    peer_touch(n, p);
}

void way_close(struct node *n, struct node_peer *p, struct way *w, usec_t now)
{
    if (p->paths)
        paths_del(p->paths, w->id);
    const struct origin at = w->at;
    *w = (struct way){0};
    search_way_closed(n, &at);
    if (at.via == PATH_TLS)
        streams_way_closed(n, &at);
    if (at.via == PATH_MULTI_HOP)
        circuit_way_closed(n, p, at.number, now);
}

/* The keys that were proved over it are gone, the stream is not. */
static bool way_doubt(struct node *n, struct node_peer *p, struct way *w, usec_t now)
{
    if (w->at.via != PATH_TLS || !streams_way_doubt(n, w, now))
        return false;
    if (p->paths)
        paths_del(p->paths, w->id);
    w->proven = w->asking = false;
    return true;
}

void ways_close_all(struct node *n, struct node_peer *p, const struct origin *but, usec_t now)
{
    for (size_t i = 0; p->ways && i < WAYS_MAX; i++)
        if (p->ways[i].id != 0 && (!but || !origin_equal(&p->ways[i].at, but)) &&
            !way_doubt(n, p, &p->ways[i], now))
            way_close(n, p, &p->ways[i], now);
}

/* The path set is smaller than the table of ways: a dead one goes, else the one that is worst by its kind. */
static void path_room(struct node *n, struct node_peer *p, const struct way *fresh, usec_t now)
{
    struct way *worst = NULL;
    uint32_t best = PATHS_NO_ID;
    enum path_kind kind;
    if (paths_count(p->paths) < PATHS_MAX)
        return;
    paths_best(p->paths, &best, &kind);
    for (size_t i = 0; i < WAYS_MAX; i++) {
        struct way *w = &p->ways[i];
        if (w == fresh || !w->proven || w->id < WAY_FIRST || w->id == best)
            continue;
        if (!worst || way_alive(p, w) < way_alive(p, worst) ||
            (way_alive(p, w) == way_alive(p, worst) && w->since < worst->since))
            worst = w;
    }
    if (worst)
        way_close(n, p, worst, now);
}

void way_proven(struct node *n, struct node_peer *p, struct way *w, usec_t now)
{
    if (!p->paths)
        p->paths = paths_new(n->rng);
    if (!p->paths)
        return;
    path_room(n, p, w, now);
    bool fresh = paths_add(p->paths, w->id, w->kind, now) == 0;
    if (!fresh)
        paths_renew(p->paths, w->id, now);
    if (w->asking)
        paths_rtt(p->paths, w->id, usec_since(now, w->asked_at), now);
    if (fresh) {
        char id[NODE_ID_TEXT_CAP], at[80];
        node_id_text(id, p->id);
        origin_text(n, &w->at, at, sizeof at);
        paths_keepalive(p->paths, w->id, underlay_lifetime(n, &w->at));
        out_log(n, LOG_INFO, "path-up", "peer=%s path=%s endpoint=%s", id, path_kind_name(w->kind), at);
    }
    w->proven = true;
    w->asking = false;
    w->dead_since = 0;
    w->since = now;
    p->tries = 0;
    if (origin_reliable(&w->at)) {
        p->resuming = false;
        p->start_at = USEC_NEVER;
    }
    if (w->at.via == PATH_TLS)
        streams_way_proven(n, p, w, now);
    if (w->at.via == PATH_MULTI_HOP)
        relays_way_proven(n, p, w, now);
    offers_soon(n, now);
    peer_flush_wait(n, p, now);
    requests_go_on(n, 0, now);
    peer_touch(n, p);
}

void way_failed(struct node *n, struct node_peer *p, uint32_t id, usec_t now)
{
    struct way *w = way_by_id(p, id);
    if (!w)
        return;
    count(n, COUNT_RESUMES_FAILED);
    bool start = origin_reliable(&w->at) && p->resuming;
    bool keys_good = p->seen > w->asked_at && peer_connected(p);
    w->asking = false;
    if (!w->proven && !start)
        n->moves.failed++;
    /* A stream whose keys the peer has forgotten may be all that a new handshake has to ride on. */
    if ((!w->proven || !way_alive(p, w)) && !(start && way_doubt(n, p, w, now)) &&
        !(start && !w->proven && w->at.via == PATH_MULTI_HOP))
        way_close(n, p, w, now);
    if (!start)
        return;
    p->resuming = false;
    if (p->next)
        return;
    /* The peer does not know these keys any more: a new handshake. Unless it spoke with them meanwhile: then
     * it is only the way that is broken, for now. */
    p->tries = !keys_good;
    p->start_at = keys_good ? now + WAY_RETRY : now;
    node_due(n, p->start_at);
}

bool peer_reliable(const struct node *n, const struct node_peer *p, struct origin *o)
{
    if (p->relay != 0 && link_ready(n)) {
        *o = (struct origin){.via = PATH_WS_RELAY, .number = p->relay};
        return true;
    }
    const struct way *best = NULL;
    for (size_t i = 0; p->ways && i < WAYS_MAX; i++) {
        const struct way *w = &p->ways[i];
        if (w->id != 0 && (w->at.via == PATH_TLS || w->at.via == PATH_MULTI_HOP) &&
            (!best || (best->at.via == PATH_MULTI_HOP && w->at.via == PATH_TLS)))
            best = w;
    }
    if (best)
        *o = best->at;
    return best != NULL;
}

bool origin_send(struct node *n, const struct origin *o, bool handshake, const uint8_t *p, size_t len,
                 usec_t now)
{
    switch (o->via) {
    case PATH_WS_RELAY:
        link_relay(n, o->number, handshake, p, len);
        return true;
    case PATH_UDP_RELAY:
        return udp_relay_send(n, o->number, p, len);
    case PATH_UDP:
        out_datagram(n, o->number, &o->addr, NULL, 0, p, len);
        return true;
    case PATH_TURN:
        return turning_send(n, &o->addr, p, len, now);
    case PATH_MULTI_HOP:
        return circuit_way_send(n, o->number, p, len, now);
    case PATH_TLS:
        return streams_send(n, o, handshake, p, len);
    default:
        return false;
    }
}

void path_changed(struct node *n, struct node_peer *p, struct way *w, usec_t now)
{
    enum path_kind from = p->on, to = w ? w->kind : PATH_NONE;
    char id[NODE_ID_TEXT_CAP], at[80] = "";
    move_made(n, p, w, now);
    p->on = to;
    p->on_since = now;
    p->on_way = w ? w->id : 0;
    if (!w)
        return;
    if (from != PATH_NONE)
        count(n, path_is_direct(to) && !path_is_direct(from)   ? COUNT_MOVES_DIRECT
                 : !path_is_direct(to) && path_is_direct(from) ? COUNT_MOVES_RELAY
                                                               : COUNT_MOVES_OTHER);
    node_id_text(id, p->id);
    origin_text(n, &w->at, at, sizeof at);
    out_log(n, LOG_INFO, "path-changed", "peer=%s from=%s to=%s endpoint=%s", id, path_kind_name(from),
            path_kind_name(to), at);
}

void peer_mtu_changed(struct node *n, struct node_peer *p)
{
    struct path_stats st;
    uint32_t id;
    enum path_kind kind;
    bool any = peer_best(p, &id, &kind) && paths_stats(p->paths, id, &st);
    /* While it is being found out, large packets go by another way; the inside would remember a small figure
     * for minutes. */
    p->mtu = any && st.mtu_known ? st.mtu : 0;
    for (size_t i = 0; i < n->party_count; i++)
        if (n->parties[i]->vnet)
            vnet_member_mtu(n->parties[i]->vnet, p->ref, peer_mtu(p, n->parties[i]));
}

uint16_t peer_mtu(const struct node_peer *p, const struct node_party *np)
{
    unsigned around = DATA_OVERHEAD + (party_mode(np->log) == MODE_TAP ? ETH_HEADER_LEN : 0);
    return p->mtu > around + VNET_MTU_MIN ? (uint16_t)(p->mtu - around) : 0;
}

void ways_keepalive(struct node *n)
{
    for (size_t i = 0; i < n->peer_slots; i++) {
        struct node_peer *p = n->peers[i];
        for (size_t k = 0; p && p->ways && p->paths && k < WAYS_MAX; k++)
            if (p->ways[k].id != 0 && p->ways[k].proven)
                paths_keepalive(p->paths, p->ways[k].id, underlay_lifetime(n, &p->ways[k].at));
        if (p)
            peer_touch(n, p);
    }
}

void ways_tick(struct node *n, struct node_peer *p, usec_t now)
{
    p->way_at = USEC_NEVER;
    for (size_t i = 0; p->ways && i < WAYS_MAX; i++) {
        struct way *w = &p->ways[i];
        if (w->id == 0 || w->asking)
            continue;
        usec_t until = USEC_NEVER;
        if (!w->proven && !origin_reliable(&w->at))
            until = w->since + WAY_UNPROVEN_LIFE;
        else if (w->dead_since != 0 && w->id >= WAY_FIRST)
            until = w->dead_since + WAY_DEAD_LIFE;
        if (until <= now)
            way_close(n, p, w, now);
        else
            p->way_at = usec_min(p->way_at, until);
    }
}
