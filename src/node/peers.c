/* The other members as machines: one object a node, shared by all parties that we have in common with it. It
 * holds the sessions (handshakes.c), the paths, and the frames that wait for a handshake. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "node/dataplane_int.h"
#include "wire/rekey.h"

struct node_peer *peer_by_id(const struct node *n, const uint8_t id[NODE_ID_LEN])
{
    return map_get(n->by_id, id);
}

struct node_peer *peer_by_ref(const struct node *n, uint32_t ref)
{
    return ref > 0 && ref <= n->peer_slots ? n->peers[ref - 1] : NULL;
}

static int peer_place(struct node *n, struct node_peer *p)
{
    size_t slot = 0;
    if (n->peer_count == n->peer_slots)
        slot = n->peer_slots;
    else
        while (n->peers[slot])
            slot++;
    if (slot == n->peer_cap) {
        size_t cap = n->peer_cap ? n->peer_cap * 2 : 16;
        struct node_peer **bigger = realloc(n->peers, cap * sizeof *bigger);
        if (!bigger)
            return -ENOMEM;
        n->peers = bigger;
        n->peer_cap = cap;
    }
    if (map_put(n->by_id, p->id, p) < 0)
        return -ENOSPC;
    n->peers[slot] = p;
    if (slot == n->peer_slots)
        n->peer_slots++;
    n->peer_count++;
    p->ref = (uint32_t)slot + 1;
    return 0;
}

struct node_peer *peer_need(struct node *n, const uint8_t id[NODE_ID_LEN], usec_t now)
{
    struct node_peer *p = peer_by_id(n, id);
    if (p || n->peer_count >= PEERS_MAX)
        return p;
    p = calloc(1, sizeof *p);
    if (!p)
        return NULL;
    memcpy(p->id, id, NODE_ID_LEN);
    p->wait_tail = &p->wait;
    p->start_at = p->wake = p->way_at = USEC_NEVER;
    ratelimit_init(&p->log_gets, LOG_GETS_PER_S, 2 * LOG_GETS_PER_S, now);
    ratelimit_init(&p->new_ways, NEW_WAYS_PER_S, 4 * NEW_WAYS_PER_S, now);
    if (peer_place(n, p) < 0) {
        free(p);
        return NULL;
    }
    return p;
}

static void wait_drop_first(struct node *n, struct node_peer *p)
{
    struct wait_frame *f = p->wait;
    p->wait = f->next;
    if (!p->wait)
        p->wait_tail = &p->wait;
    p->wait_count--;
    p->wait_bytes -= f->n;
    n->wait_bytes -= f->n;
    free(f);
}

static void peer_free(struct node *n, struct node_peer *p)
{
    while (p->wait)
        wait_drop_first(n, p);
    session_drop_slot(n, &p->cur);
    session_drop_slot(n, &p->next);
    session_drop_slot(n, &p->old);
    paths_free(p->paths);
    direct_free(n, p);
    indirect_free(p);
    free(p->ways);
    free(p->part);
    free(p);
}

static void peer_clean(struct node *n, struct node_peer *p)
{
    for (struct node_peer **at = &n->dirty; *at; at = &(*at)->dirty_next) {
        if (*at != p)
            continue;
        *at = p->dirty_next;
        break;
    }
    p->dirty = false;
    p->dirty_next = NULL;
}

static void relay_forget(struct node *n, struct node_peer *p)
{
    if (p->relay != 0 && map_get(n->by_relay, &p->relay) == p)
        map_del(n->by_relay, &p->relay);
    p->relay = 0;
}

void peer_doom(struct node *n, struct node_peer *p)
{
    if (!p->doomed)
        n->doomed++;
    p->doomed = true;
}

void peers_free(struct node *n)
{
    for (size_t i = 0; i < n->peer_slots; i++)
        if (n->peers[i])
            peer_free(n, n->peers[i]);
    free(n->peers);
    n->peers = NULL;
    n->peer_slots = n->peer_count = 0;
}

bool peer_common(const struct node *n, const uint8_t id[NODE_ID_LEN], struct sign_public *key)
{
    for (size_t i = 0; i < n->party_count; i++) {
        const struct node_party *np = n->parties[i];
        const struct party_member *m = np->state == NP_ACTIVE ? party_member(np->log, id) : NULL;
        if (m && (!key || party_key(np->log, id, key) == 0))
            return true;
    }
    return false;
}

bool peer_eager(const struct node *n, const uint8_t id[NODE_ID_LEN])
{
    for (size_t i = 0; i < n->party_count; i++) {
        const struct node_party *np = n->parties[i];
        if (np->state == NP_ACTIVE && party_member_count(np->log) <= n->limits.eager_peers &&
            party_member(np->log, id))
            return true;
    }
    return false;
}

/* ---- State. */

bool peer_connected(const struct node_peer *p)
{
    return p->cur && p->paths && paths_best(p->paths, &(uint32_t){0}, &(enum path_kind){0});
}

enum peer_state peer_state(const struct node_peer *p)
{
    if (!p->cur || !p->paths || paths_count(p->paths) == 0)
        return p->relay != 0 || p->next ? PEER_CONNECTING : PEER_OFFLINE;
    struct path_stats st;
    uint32_t id;
    enum path_kind kind;
    if (!paths_best(p->paths, &id, &kind))
        return PEER_DEGRADED;
    if (paths_stats(p->paths, id, &st) && (!st.alive || st.loss > DEGRADED_LOSS))
        return PEER_DEGRADED;
    return PEER_CONNECTED;
}

const char *peer_state_name(enum peer_state s)
{
    static const char *const names[PEER_STATE_COUNT] = {"offline", "connecting", "connected", "degraded"};
    return names[s];
}

void peer_traffic(const struct node_peer *p, struct peer_totals *t)
{
    *t = p->past;
    const struct peer_session *all[] = {p->cur, p->old};
    for (size_t i = 0; i < 2; i++) {
        if (!all[i])
            continue;
        struct session_info info;
        session_info(all[i]->s, &info);
        t->tx_bytes += info.tx_bytes;
        t->rx_bytes += info.rx_bytes;
        t->rekeys += info.rekeys;
    }
}

/* ---- Where it is. */

/* Those that lead to another index than the peer's. */
static void relay_ways_close(struct node *n, struct node_peer *p, usec_t now)
{
    for (uint32_t id = WAY_WS_RELAY; id <= WAY_UDP_RELAY; id++) {
        struct way *w = way_by_id(p, id);
        if (w && w->at.number != p->relay)
            way_close(n, p, w, now);
    }
    /* But not the handshake that brought the new index. */
    if (p->next && p->next->via.via == PATH_WS_RELAY && p->next->via.number != p->relay)
        session_drop_slot(n, &p->next);
    p->resuming = false;
}

void peer_adopt(struct node *n, struct node_peer *p, uint32_t relay, usec_t now)
{
    if (p->relay == relay || relay == 0)
        return;
    relay_forget(n, p);
    if (map_put(n->by_relay, &relay, p) < 0)
        return;
    p->relay = relay;
    /* Another index is another connection of the peer: the ways over the old one lead nowhere. */
    relay_ways_close(n, p, now);
}

void peer_online(struct node *n, struct node_peer *p, const struct node_party *np, uint32_t relay,
                 bool we_came_later, usec_t now)
{
    if (relay == 0)
        return;
    p->at_hub |= 1ull << np->bit;
    if (p->relay == relay)
        return;
    peer_adopt(n, p, relay, now);
    p->tries = 0;
    if (p->cur || peer_eager(n, p->id) || p->wait) {
        usec_t at = we_came_later || p->wait ? now : now + EXISTING_WAIT;
        p->start_at = at;
        node_due(n, at);
    }
    peer_touch(n, p);
}

void peer_offline(struct node *n, struct node_peer *p, uint64_t bits, usec_t now)
{
    p->at_hub &= ~bits;
    if (p->at_hub != 0 || p->relay == 0)
        return;
    relay_forget(n, p);
    relay_ways_close(n, p, now);
    p->start_at = USEC_NEVER;
    lan_peer_lost(n, p, now);
    peer_touch(n, p);
}

/* The way over the UDP relay needs no link while the hub keeps the login; its silence tells when it does not.
 */
static void peer_link_lost(struct node *n, struct node_peer *p, usec_t now)
{
    struct way *w = way_by_id(p, WAY_WS_RELAY);
    if (w)
        way_close(n, p, w, now);
    if (p->next && p->next->via.via == PATH_WS_RELAY)
        session_drop_slot(n, &p->next);
    p->resuming = false;
    p->at_hub = 0;
    relay_forget(n, p);
    p->start_at = USEC_NEVER;
    peer_touch(n, p);
}

void peers_link_lost(struct node *n, usec_t now)
{
    for (size_t i = 0; i < n->peer_slots; i++)
        if (n->peers[i])
            peer_link_lost(n, n->peers[i], now);
}

/* ---- Frames. */

void peer_demand(struct node *n, struct node_peer *p, usec_t now)
{
    struct origin o;
    relays_demand(n, p, now);
    if (p->next || p->resuming || peer_connected(p) || !peer_reliable(n, p, &o))
        return;
    /* A try that failed is not repeated for every frame. */
    if (p->tries > 0 && p->start_at != USEC_NEVER)
        return;
    p->start_at = now;
    node_due(n, now);
}

static void peer_wait(struct node *n, struct node_peer *p, const struct node_party *np, const uint8_t *buf,
                      size_t len, usec_t now)
{
    struct origin o;
    relays_demand(n, p, now);
    if (!peer_reliable(n, p, &o) && !p->next) {
        count(n, COUNT_NO_SESSION);
        return;
    }
    while (p->wait && (p->wait_count >= WAIT_FRAMES || p->wait_bytes + len > WAIT_BYTES)) {
        wait_drop_first(n, p);
        count(n, COUNT_WAIT_EXPIRED);
    }
    struct wait_frame *f = NULL;
    if (len <= WAIT_BYTES && n->wait_bytes + len <= WAIT_TOTAL)
        f = malloc(sizeof *f + len + DATA_OVERHEAD);
    if (!f) {
        count(n, COUNT_NO_SESSION);
        return;
    }
    *f = (struct wait_frame){.party_ref = np->ref, .until = now + WAIT_LIFE, .n = len};
    memcpy(f->p + DATA_HEADROOM, buf + DATA_HEADROOM, len);
    *p->wait_tail = f;
    p->wait_tail = &f->next;
    p->wait_count++;
    p->wait_bytes += len;
    n->wait_bytes += len;
    peer_demand(n, p, now);
    peer_touch(n, p);
}

static enum inner_kind np_inner(const struct node_party *np)
{
    return party_mode(np->log) == MODE_TAP ? INNER_FRAME : INNER_PACKET;
}

/* The way for a datagram of `size` bytes: the best that carries it, else the best, else, for want of a living
 * one, any: what goes into a stalled stream comes out of it later. */
static struct way *peer_way(const struct node_peer *p, size_t size)
{
    uint32_t id = PATHS_NO_ID;
    enum path_kind kind;
    struct way *any = NULL, *pinned = way_pinned(p);
    if (pinned)
        return pinned;
    if (paths_best_for(p->paths, size, &id, &kind) || paths_best(p->paths, &id, &kind))
        return way_by_id(p, id);
    for (size_t i = 0; p->ways && i < WAYS_MAX; i++)
        if (p->ways[i].proven && (!any || origin_reliable(&p->ways[i].at)))
            any = &p->ways[i];
    return any;
}

static void way_send(struct node *n, struct node_peer *p, const struct way *w, bool handshake,
                     const uint8_t *buf, size_t size, usec_t now)
{
    if (!origin_send(n, &w->at, handshake, buf, size, now))
        count(n, COUNT_TX_NO_WAY);
}

/* A sealed datagram, or one of the session's own, on the way of the moment; while that is in doubt a copy
 * goes on the second one: the receiver's replay window takes whichever comes first. */
static void peer_transmit(struct node *n, struct node_peer *p, const uint8_t *buf, size_t size, usec_t now)
{
    struct way *w = peer_way(p, size), *second;
    uint32_t id;
    enum path_kind kind;
    if (!w) {
        count(n, COUNT_TX_NO_WAY);
        return;
    }
    way_send(n, p, w, false, buf, size, now);
    paths_sent(p->paths, w->id, now);
    if (!paths_second(p->paths, size, now, &id, &kind) || id == w->id || !(second = way_by_id(p, id)))
        return;
    count(n, COUNT_TX_COPIES);
    way_send(n, p, second, false, buf, size, now);
    paths_sent(p->paths, second->id, now);
}

int peer_seal(struct node *n, struct node_peer *p, enum inner_kind kind, uint32_t tag, uint8_t *buf,
              size_t len, usec_t now)
{
    int rc = session_seal(p->cur->s, kind, tag, buf, len, now);
    peer_touch(n, p);
    if (rc < 0) {
        count(n, COUNT_SEAL_FAILED);
        peer_events(n, p->cur, now); /* a key that is used up ends the session */
        return rc;
    }
    peer_transmit(n, p, buf, len + DATA_OVERHEAD, now);
    return 0;
}

/* A way that does not answer is still better than none. */
bool peer_has_way(const struct node_peer *p)
{
    return p->cur && p->paths && paths_count(p->paths) > 0;
}

void peer_send(struct node *n, struct node_peer *p, const struct node_party *np, uint8_t *buf, size_t len,
               usec_t now)
{
    if (!peer_has_way(p)) {
        peer_wait(n, p, np, buf, len, now);
        return;
    }
    peer_flush_wait(n, p, now); /* what waited while the path was dead goes first: nothing overtakes it */
    if (!p->cur)
        return; /* that used its keys up */
    p->traffic = now;
    peer_seal(n, p, np_inner(np), np->tag, buf, len, now);
}

void peer_flush_wait(struct node *n, struct node_peer *p, usec_t now)
{
    while (p->wait && peer_has_way(p)) {
        struct wait_frame *f = p->wait;
        const struct node_party *np = np_by_ref(n, f->party_ref);
        if (np && np->state == NP_ACTIVE && party_member(np->log, p->id) && f->until > now)
            peer_seal(n, p, np_inner(np), np->tag, f->p, f->n, now);
        wait_drop_first(n, p);
    }
}

static void wait_expire(struct node *n, struct node_peer *p, usec_t now)
{
    while (p->wait && p->wait->until <= now) {
        wait_drop_first(n, p);
        count(n, COUNT_WAIT_EXPIRED);
    }
}

/* ---- What sessions and paths have to say. */

void peer_touch(struct node *n, struct node_peer *p)
{
    if (p->dirty)
        return;
    p->dirty = true;
    p->dirty_next = n->dirty;
    n->dirty = p;
}

/* Where a datagram of the session itself goes. */
static void session_transmit(struct node *n, struct peer_session *ps, const struct session_out *out,
                             usec_t now)
{
    struct node_peer *p = ps->peer;
    if (out->path != SESSION_PATH_ANY) {
        const struct way *w = way_by_id(p, out->path);
        if (w)
            way_send(n, p, w, false, out->p, out->n, now);
        return; /* what is meant for a way that is gone has nowhere to go */
    }
    if (out->handshake || !p->paths || paths_count(p->paths) == 0) {
        struct origin other;
        if (origin_send(n, &ps->via, out->handshake, out->p, out->n, now))
            return;
        /* The stream that it began on is gone: whatever reliable way there is goes on with it. */
        if (peer_reliable(n, p, &other) && origin_send(n, &other, out->handshake, out->p, out->n, now))
            ps->via = other;
        else
            count(n, COUNT_TX_NO_WAY);
        return;
    }
    peer_transmit(n, p, out->p, out->n, now);
}

void peers_pump_one(struct node *n, struct peer_session *ps, usec_t now)
{
    struct session_out out;
    while (session_output(ps->s, now, &out))
        session_transmit(n, ps, &out, now);
}

/* A probe, padded where the path set asks how large a datagram may be. */
static void probe_send(struct node *n, struct node_peer *p, uint32_t id, const uint8_t probe[PATH_PROBE_LEN],
                       uint16_t size, usec_t now)
{
    uint8_t padded[PATH_MTU_MAX] = {0};
    size_t len = PATH_PROBE_LEN;
    memcpy(padded, probe, PATH_PROBE_LEN);
    if (size > DATA_OVERHEAD + CTL_HEADER_LEN + PATH_PROBE_LEN)
        len = usec_min(size, PATH_MTU_MAX) - DATA_OVERHEAD - CTL_HEADER_LEN;
    session_probe_on(p->cur->s, id, MSG_PROBE, bytes_of(padded, len), now);
}

static void path_died(struct node *n, struct node_peer *p, uint32_t id, usec_t now)
{
    struct way *w = way_by_id(p, id);
    struct origin o;
    count(n, COUNT_PATHS_DEAD);
    if (!w)
        return;
    w->dead_since = now;
    p->way_at = now;
    direct_path_died(n, p, w, now);
    relays_path_died(n, p, w, now);
    if (w->id == 0)
        return;
    /* The keys or the way, one of them is gone: RESUME finds out, and a new handshake follows when it fails.
     */
    if (origin_reliable(&w->at) && !p->next && !p->resuming && peer_reliable(n, p, &o)) {
        p->start_at = now;
        node_due(n, now);
    }
}

static void path_mtu_said(struct node *n, const struct node_peer *p, const struct way *w)
{
    struct path_stats st;
    char id[NODE_ID_TEXT_CAP];
    if (!w || !paths_stats(p->paths, w->id, &st) || !st.mtu_known)
        return;
    node_id_text(id, p->id);
    out_log(n, LOG_INFO, "path-mtu", "peer=%s path=%s bytes=%u", id, path_kind_name(w->kind), st.mtu);
}

static void paths_pump(struct node *n, struct node_peer *p, usec_t now)
{
    uint32_t id;
    uint8_t probe[PATH_PROBE_LEN];
    uint16_t size;
    while (p->cur && paths_output(p->paths, now, &id, probe, &size))
        probe_send(n, p, id, probe, size, now);
    struct path_event ev;
    while (paths_event(p->paths, &ev)) {
        struct way *w = way_by_id(p, ev.id);
        switch (ev.kind) {
        case PATH_EVENT_ALIVE:
            if (w)
                w->dead_since = 0;
            peer_flush_wait(n, p, now);
            break;
        case PATH_EVENT_DEAD:
            path_died(n, p, ev.id, now);
            break;
        case PATH_EVENT_CHANGED:
            if (!way_pinned(p))
                path_changed(n, p, w, now);
            offers_soon(n, now);
            break;
        case PATH_EVENT_MTU:
            path_mtu_said(n, p, w);
            break;
        }
        if (ev.kind == PATH_EVENT_CHANGED || ev.kind == PATH_EVENT_MTU)
            peer_mtu_changed(n, p);
    }
}

static void session_due(usec_t *wake, const struct peer_session *ps)
{
    if (ps)
        *wake = usec_min(*wake, session_wake(ps->s));
}

static void peer_rewake(struct node *n, struct node_peer *p)
{
    usec_t wake = usec_min(usec_min(p->start_at, p->way_at), direct_wake(p));
    session_due(&wake, p->cur);
    session_due(&wake, p->next);
    session_due(&wake, p->old);
    if (p->old)
        wake = usec_min(wake, p->old->dies);
    if (p->paths && p->cur)
        wake = usec_min(wake, paths_wake(p->paths));
    if (p->wait)
        wake = usec_min(wake, p->wait->until);
    p->wake = wake;
    node_due(n, wake);
}

static void peer_pump(struct node *n, struct node_peer *p, usec_t now)
{
    direct_pump(n, p, now);
    if (p->paths)
        paths_pump(n, p, now);
    if (p->cur)
        peers_pump_one(n, p->cur, now);
    if (p->next)
        peers_pump_one(n, p->next, now);
    if (p->old)
        peers_pump_one(n, p->old, now);
    dataplane_peer(n, p, now);
    peer_rewake(n, p);
}

static void peer_end(struct node *n, struct node_peer *p, usec_t now)
{
    /* The peer should stop at once as well, and it may not have the log that says so yet. */
    if (p->cur && session_state(p->cur->s) == SESSION_UP_STATE) {
        session_close(p->cur->s, now);
        peers_pump_one(n, p->cur, now);
    }
    circuits_neighbour_lost(n, p, now);
    ways_close_all(n, p, NULL, now);
    peer_clean(n, p);
    relay_forget(n, p);
    map_del(n->by_id, p->id);
    n->peers[p->ref - 1] = NULL;
    n->peer_count--;
    dataplane_peer_gone(n, p->ref);
    peer_free(n, p);
}

static void peers_reap(struct node *n, usec_t now)
{
    for (size_t i = 0; i < n->peer_slots && n->doomed > 0; i++) {
        struct node_peer *p = n->peers[i];
        if (!p || !p->doomed)
            continue;
        n->doomed--;
        peer_end(n, p, now);
    }
}

void peers_pump(struct node *n, usec_t now)
{
    if (n->doomed > 0)
        peers_reap(n, now);
    do
        while (n->dirty) {
            struct node_peer *p = n->dirty;
            n->dirty = p->dirty_next;
            p->dirty = false;
            p->dirty_next = NULL;
            peer_pump(n, p, now);
        }
    while (circuits_pump(n, now));
    dataplane_sync(n, now);
}

/* ---- Time. */

static void session_tick_slot(struct node *n, struct peer_session *ps, usec_t now)
{
    if (!ps || session_wake(ps->s) > now)
        return;
    session_tick(ps->s, now);
    peer_events(n, ps, now);
}

static void peer_begin(struct node *n, struct node_peer *p, usec_t now)
{
    struct origin o;
    if (p->start_at > now)
        return;
    if (p->next || p->resuming || !peer_reliable(n, p, &o)) {
        p->start_at = USEC_NEVER;
        return;
    }
    struct way *w = p->cur && p->tries == 0 ? way_open(n, p, &o, now) : NULL;
    if (w) {
        p->start_at = USEC_NEVER;
        p->resuming = true;
        way_prove(n, p, w, now);
        if (p->paths) /* the others say whether the keys are good where this one does not answer */
            paths_doubt_all(p->paths, now);
        return;
    }
    if (n->begun >= n->limits.handshakes) {
        p->start_at = now + 100 * MSEC + rng_below(&n->rng, 100 * MSEC);
        return;
    }
    peer_start(n, p, &o, now);
}

void peer_tick(struct node *n, struct node_peer *p, usec_t now)
{
    session_tick_slot(n, p->cur, now);
    session_tick_slot(n, p->next, now);
    session_tick_slot(n, p->old, now);
    if (p->old && p->old->dies <= now)
        session_drop_slot(n, &p->old);
    if (p->paths && p->cur && paths_wake(p->paths) <= now)
        paths_tick(p->paths, now);
    wait_expire(n, p, now);
    if (p->way_at <= now)
        ways_tick(n, p, now);
    direct_tick(n, p, now);
    peer_begin(n, p, now);
    peer_touch(n, p);
}
