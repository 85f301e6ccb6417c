/* TLS streams to other nodes (doc/protocol/direct.md section 5): the listener, a bounded table of those that
 * were dialled and those that came, and when a peer is dialled. A stream is an origin like any other, only
 * reliable. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/underlay_int.h"

#define LISTEN_AGAIN (60 * SEC)

struct stream_slot {
    uint32_t number; /* 0: free */
    uint32_t peer;   /* whose it is, or says it is; 0: nobody's yet */
    bool dialled, up;
    bool claimed; /* the peer has proved itself in bytes that came over it */
    bool proven;  /* its way is in the path set */
    bool retired; /* another one took its place; it only brings what is under way */
    struct net_addr remote;
    usec_t since, until; /* until: closed then; USEC_NEVER */
};

struct streams {
    struct stream_slot slots[STREAMS_MAX];
    uint32_t next;
    bool listening;
    usec_t listen_at, prune_at;
    struct ratelimit hellos;
};

int streams_init(struct node *n)
{
    struct streams *s = calloc(1, sizeof *s);
    if (!s)
        return -1;
    s->next = 1;
    s->listen_at = s->prune_at = USEC_NEVER;
    ratelimit_init(&s->hellos, STREAM_HELLOS_PER_S, 2 * STREAM_HELLOS_PER_S, n->started_at);
    n->underlay->streams = s;
    return 0;
}

void streams_done(struct node *n)
{
    free(n->underlay->streams);
    n->underlay->streams = NULL;
}

static struct stream_slot *slot_of(const struct node *n, uint32_t number)
{
    struct streams *s = n->underlay->streams;
    for (size_t i = 0; number != 0 && i < STREAMS_MAX; i++)
        if (s->slots[i].number == number)
            return &s->slots[i];
    return NULL;
}

static struct origin origin_of(const struct stream_slot *t)
{
    return (struct origin){.via = PATH_TLS, .number = t->number, .addr = t->remote};
}

size_t streams_count(const struct node *n)
{
    size_t count = 0;
    for (size_t i = 0; i < STREAMS_MAX; i++)
        count += n->underlay->streams->slots[i].number != 0;
    return count;
}

static void slot_until(struct node *n, struct stream_slot *t, usec_t until)
{
    t->until = until;
    n->underlay->streams->prune_at = usec_min(n->underlay->streams->prune_at, until);
    node_due(n, until);
}

/* It is out of the table, and what led over it is closed. */
static void slot_forget(struct node *n, struct stream_slot *t, usec_t now)
{
    const struct origin o = origin_of(t);
    struct node_peer *p = peer_by_ref(n, t->peer);
    *t = (struct stream_slot){0};
    struct way *w = p ? way_by_origin(p, &o) : NULL;
    if (!w)
        return;
    way_close(n, p, w, now);
    peer_touch(n, p);
}

static void slot_close(struct node *n, struct stream_slot *t, usec_t now)
{
    out_stream_close(n, t->number);
    slot_forget(n, t, now);
}

/* ---- The listener. */

static void listen_ask(struct node *n, usec_t now)
{
    struct streams *s = n->underlay->streams;
    struct out_item *item = out_add(n, NODE_STREAM_LISTEN);
    s->listen_at = item ? USEC_NEVER : now + SEC;
    if (item)
        item->o.port = (uint16_t)n->limits.port;
}

void streams_start(struct node *n)
{
    struct streams *s = n->underlay->streams;
    if (!n->limits.direct || s->listening)
        return;
    s->listening = true;
    listen_ask(n, n->started_at);
    node_due(n, s->listen_at);
}

void node_stream_listening(struct node *n, uint16_t port, const char *error, usec_t now)
{
    struct underlay *u = n->underlay;
    if (port == 0) {
        out_log(n, LOG_WARN, "tls-not-listening", "why=\"%s\"", error ? error : "?");
        u->streams->listen_at = now + LISTEN_AGAIN;
        node_due(n, u->streams->listen_at);
    }
    if (port == u->tcp_port)
        return;
    u->tcp_port = port;
    mapping_look(n, false, now);
    u->revision++;
    lan_ports(n, now);
    direct_list_changed(n, now);
}

/* ---- Dials. */

static struct stream_slot *slot_new(struct node *n, uint32_t number, usec_t now)
{
    struct streams *s = n->underlay->streams;
    for (size_t i = 0; i < STREAMS_MAX; i++) {
        if (s->slots[i].number != 0)
            continue;
        s->slots[i] = (struct stream_slot){.number = number, .since = now, .until = USEC_NEVER};
        return &s->slots[i];
    }
    return NULL;
}

static uint32_t number_new(struct node *n)
{
    struct streams *s = n->underlay->streams;
    do
        s->next = s->next >= STREAM_NUMBER_END - 1 ? 1 : s->next + 1;
    while (slot_of(n, s->next));
    return s->next;
}

bool streams_dialling(const struct node *n, const struct node_peer *p)
{
    for (size_t i = 0; i < STREAMS_MAX; i++) {
        const struct stream_slot *t = &n->underlay->streams->slots[i];
        if (t->number != 0 && t->peer == p->ref && t->dialled && !t->up)
            return true;
    }
    return false;
}

bool streams_dial(struct node *n, struct node_peer *p, const struct net_addr *to, bool punch, usec_t now)
{
    struct sign_public key;
    size_t dials = 0;
    if (n->stopping || p->doomed || !peer_common(n, p->id, &key))
        return false;
    for (size_t i = 0; i < STREAMS_MAX; i++) {
        const struct stream_slot *t = &n->underlay->streams->slots[i];
        if (t->number == 0 || t->peer != p->ref)
            continue;
        dials += t->dialled && !t->up;
        if (net_addr_equal(&t->remote, to))
            return false;
    }
    if (dials >= STREAM_DIALS_MAX)
        return false;
    uint32_t number = number_new(n);
    struct stream_slot *t = slot_new(n, number, now);
    struct out_item *item = t ? out_add(n, NODE_STREAM_DIAL) : NULL;
    if (!item || buf_add(&item->data, bytes_of(&key, sizeof key)) < 0) {
        if (item)
            item->o.kind = NODE_STREAM_CLOSE; /* of a number that nobody knows: ignored */
        if (t)
            *t = (struct stream_slot){0};
        count(n, COUNT_STREAMS_REFUSED);
        return false;
    }
    item->o.stream = number;
    item->o.stream_kind = NODE_STREAM_PEER;
    item->o.to = *to;
    item->o.punch = punch;
    t->peer = p->ref;
    t->dialled = true;
    t->remote = *to;
    slot_until(n, t, now + STREAM_OPEN);
    count(n, COUNT_STREAMS_DIALLED);
    return true;
}

/* ---- Where a peer may be. */

struct dial_to {
    struct net_addr addr;
    bool punch;
};

/* Nobody makes us speak to our own machine, or into our own tunnel, by naming it. */
static bool elsewhere(const struct node *n, const struct net_addr *a)
{
    const struct underlay *u = n->underlay;
    enum net_scope scope = net_addr_scope(a);
    for (size_t i = 0; i < u->net.count; i++)
        if (net_ip_equal(&u->net.addrs[i].addr, a))
            return false;
    return scope != NET_NONE && scope != NET_LOOPBACK && !(scope == NET_LINK_LOCAL && a->family == 6) &&
           !underlay_overlay(n, a);
}

/* What is likely to work goes first: 0 a mapping, or where the hub sees it; 1 on our link; 2 public; 3 as
 * STUN sees it, with the hope that its NAT keeps ports; 4 private, of networks that we may be in without
 * knowing. */
static bool dial_of(const struct node *n, const struct direct_message *m, unsigned rank, size_t i,
                    struct dial_to *d)
{
    if (rank == 0) {
        *d = (struct dial_to){m->tcp_mapped, true};
        return i == 0 && m->tcp_mapped.family != 0;
    }
    const struct direct_candidate *c = &m->candidates[i];
    bool link = underlay_on_link(n, &c->addr);
    enum net_scope scope = net_addr_scope(&c->addr);
    *d = (struct dial_to){c->addr, !link};
    d->addr.port = m->tcp_port;
    unsigned is = c->type != ICE_HOST ? 3 : link ? 1 : scope == NET_PUBLIC ? 2 : 4;
    return m->tcp_port != 0 && is == rank && (c->type == ICE_HOST || c->type == ICE_SERVER_REFLEXIVE);
}

static bool tried(const struct dialling *g, const struct net_addr *a)
{
    for (size_t i = 0; i < g->count; i++)
        if (net_addr_equal(&g->tried[i], a))
            return true;
    return false;
}

static bool dial_next(const struct node *n, const struct direct *d, struct dial_to *out)
{
    for (unsigned rank = 0; rank <= 4; rank++)
        for (size_t i = 0; i < (rank == 0 ? 1 : d->theirs.count); i++)
            if (dial_of(n, &d->theirs, rank, i, out) && elsewhere(n, &out->addr) &&
                !tried(&d->dial, &out->addr))
                return true;
    return false;
}

static bool tls_alive(const struct node_peer *p)
{
    struct path_stats st;
    for (size_t i = 0; p->paths && i < paths_count(p->paths); i++)
        if (paths_stats_at(p->paths, i, &st) && st.alive && !st.doubted && st.kind == PATH_TLS)
            return true;
    return false;
}

static void dial_at(struct node *n, struct node_peer *p, usec_t at)
{
    p->direct->dial.at = at;
    node_due(n, at);
    peer_touch(n, p);
}

void streams_round(struct node *n, struct node_peer *p, usec_t after, usec_t now)
{
    if (!p->direct)
        return;
    p->direct->dial.count = 0;
    dial_at(n, p, now + after);
}

void streams_hurry(struct node *n, struct node_peer *p, usec_t now)
{
    struct direct *d = p->direct;
    if (!d || direct_udp_alive(p))
        return;
    struct nat_behaviour b;
    underlay_behaviour(n, 4, &b);
    bool blocked = d->theirs.flags & DIRECT_UDP_BLOCKED || b.udp == NAT_ANSWER_NO;
    usec_t at = d->failed ? now : d->began_at + (blocked ? STREAM_DIAL_BLOCKED : STREAM_DIAL_AFTER);
    at = at > now ? at : now;
    if (at < d->dial.at)
        dial_at(n, p, at);
}

void streams_dial_tick(struct node *n, struct node_peer *p, usec_t now)
{
    struct direct *d = p->direct;
    struct dial_to to;
    if (d->dial.at > now)
        return;
    d->dial.at = USEC_NEVER;
    if (!d->heard || d->theirs.flags & DIRECT_OFF || direct_udp_alive(p) || tls_alive(p) ||
        d->dial.count >= STREAM_DIALS_MAX || !dial_next(n, d, &to))
        return;
    d->dial.tried[d->dial.count++] = to.addr;
    streams_dial(n, p, &to.addr, to.punch, now);
    dial_at(n, p, now + STREAM_DIAL_EACH);
}

/* ---- Coming and going. */

/* Those that came and that nobody has claimed are few: the oldest makes room for a new one. */
static bool comer_room(struct node *n, usec_t now)
{
    struct streams *s = n->underlay->streams;
    struct stream_slot *oldest = NULL;
    size_t comers = 0, unclaimed = 0;
    for (size_t i = 0; i < STREAMS_MAX; i++) {
        struct stream_slot *t = &s->slots[i];
        if (t->number == 0 || t->dialled)
            continue;
        comers++;
        if (t->claimed)
            continue;
        unclaimed++;
        if (!oldest || t->since < oldest->since)
            oldest = t;
    }
    if (comers < STREAMS_COMERS && unclaimed < STREAMS_UNCLAIMED)
        return true;
    if (!oldest)
        return false;
    count(n, COUNT_STREAMS_REFUSED);
    slot_close(n, oldest, now);
    return true;
}

static void comer_up(struct node *n, uint32_t stream, const struct net_addr *remote, usec_t now)
{
    struct stream_slot *t = NULL;
    if (n->limits.direct && !n->stopping && !slot_of(n, stream) && !underlay_overlay(n, remote) &&
        comer_room(n, now))
        t = slot_new(n, stream, now);
    if (!t) {
        count(n, COUNT_STREAMS_REFUSED);
        out_stream_close(n, stream);
        return;
    }
    t->up = true;
    t->remote = *remote;
    slot_until(n, t, now + STREAM_CLAIM);
}

/* The peer has no keys of ours, or none that we could ask for: a handshake, over this stream. */
static void stream_handshake(struct node *n, struct node_peer *p, const struct origin *o, usec_t now)
{
    if (!p->next && n->begun < n->limits.handshakes) {
        peer_start(n, p, o, now);
        return;
    }
    p->start_at = usec_min(p->start_at, now + SEC);
    node_due(n, p->start_at);
}

static void dialled_up(struct node *n, struct node_peer *p, struct stream_slot *t, usec_t now)
{
    const struct origin o = origin_of(t);
    struct way *w = way_open(n, p, &o, now);
    t->up = t->claimed = true; /* its certificate is the peer's */
    if (!w) {
        slot_close(n, t, now);
        return;
    }
    slot_until(n, t, now + STREAM_PROVE);
    peer_touch(n, p);
    if (!p->cur) {
        stream_handshake(n, p, &o, now);
        return;
    }
    if (!peer_connected(p) && !p->resuming) {
        p->resuming = true; /* where the peer has lost these keys a handshake follows */
        p->start_at = USEC_NEVER;
    }
    way_prove(n, p, w, now);
}

void node_stream_up(struct node *n, uint32_t stream, const struct net_addr *remote, usec_t now)
{
    count(n, COUNT_STREAMS_UP);
    if (stream >= NODE_STREAM_ACCEPTED) {
        comer_up(n, stream, remote, now);
        return;
    }
    if (turning_stream_up(n, stream, now))
        return;
    struct stream_slot *t = slot_of(n, stream);
    struct node_peer *p = t ? peer_by_ref(n, t->peer) : NULL;
    if (!t || t->up || !p || p->doomed || n->stopping) {
        out_stream_close(n, stream);
        if (t)
            slot_forget(n, t, now);
        return;
    }
    t->remote = *remote;
    dialled_up(n, p, t, now);
}

void node_stream_message(struct node *n, uint32_t stream, uint8_t *in, size_t len, usec_t now)
{
    struct rd r = rd_of(bytes_of(in, len));
    struct stream_slot *t = slot_of(n, stream);
    bool good = len > 0 && len <= NODE_STREAM_MESSAGE_MAX;
    if (turning_stream_bytes(n, stream, bytes_of(in, len), now))
        return;
    if (!t && stream >= NODE_STREAM_ACCEPTED)
        out_stream_close(n, stream); /* what closed it got lost */
    if (!t || !t->up)
        return;
    /* Judged whole before any of it is acted upon. */
    while (good && rd_left(&r) > 0)
        good = rd_bytes(&r, rd_u16(&r)).n > 0 && rd_ok(&r);
    if (!good) {
        count(n, COUNT_STREAMS_MALFORMED);
        slot_close(n, t, now);
        return;
    }
    const struct origin o = origin_of(t);
    r = rd_of(bytes_of(in, len));
    while (rd_left(&r) > 0 && slot_of(n, stream)) {
        struct bytes d = rd_bytes(&r, rd_u16(&r));
        peers_input(n, &o, in + (d.p - in), d.n, now);
    }
}

void node_stream_down(struct node *n, uint32_t stream, const char *why, usec_t now)
{
    if (turning_stream_down(n, stream, now))
        return;
    struct stream_slot *t = slot_of(n, stream);
    if (!t)
        return;
    struct node_peer *p = peer_by_ref(n, t->peer);
    char id[NODE_ID_TEXT_CAP] = "nobody", at[NET_ADDR_TEXT];
    bool mattered = t->proven && !t->retired, lasting = mattered && now >= t->since + STREAM_CLAIM;
    if (p)
        node_id_text(id, p->id);
    net_addr_text(at, &t->remote);
    out_log(n, mattered ? LOG_INFO : LOG_DEBUG, t->up ? "stream-closed" : "stream-failed",
            "peer=%s endpoint=%s why=\"%s\"", id, at, why);
    if (p && p->direct && t->dialled && !t->up)
        snprintf(p->direct->why, sizeof p->direct->why, "TCP to %s: %s", at, why);
    slot_forget(n, t, now);
    if (!p || p->doomed)
        return;
    if (lasting && !direct_alive(p))
        direct_again(n, p, now);
    if (mattered)
        lan_peer_lost(n, p, now);
}

/* ---- Whose they are. */

bool streams_may(struct node *n, const struct origin *o, const struct node_peer *p)
{
    if (o->via != PATH_TLS)
        return true;
    struct stream_slot *t = slot_of(n, o->number);
    if (t && t->peer == 0)
        t->peer = p->ref;
    return t && t->peer == p->ref;
}

struct ratelimit *streams_hellos(struct node *n, const struct origin *o)
{
    const struct stream_slot *t = o->via == PATH_TLS ? slot_of(n, o->number) : NULL;
    return t && !t->claimed ? &n->underlay->streams->hellos : &n->hellos;
}

bool streams_open(const struct node *n, const struct origin *o)
{
    const struct stream_slot *t = slot_of(n, o->number);
    return t && !t->retired;
}

void streams_claim(struct node *n, const struct origin *o, struct node_peer *p, usec_t now)
{
    struct stream_slot *t = o->via == PATH_TLS ? slot_of(n, o->number) : NULL;
    if (!t || t->claimed || t->peer != p->ref)
        return;
    size_t named = 0;
    for (size_t i = 0; i < STREAMS_MAX; i++) {
        const struct stream_slot *other = &n->underlay->streams->slots[i];
        named += other->number != 0 && other->claimed && !other->dialled && other->peer == p->ref;
    }
    if (named >= STREAMS_NAMED) {
        count(n, COUNT_STREAMS_REFUSED);
        slot_until(n, t, now); /* not at once: bytes of it are being judged */
        return;
    }
    t->claimed = true;
    if (!t->proven)
        slot_until(n, t, now + STREAM_PROVE);
}

bool streams_send(struct node *n, const struct origin *o, bool handshake, const uint8_t *p, size_t len)
{
    const struct stream_slot *t = slot_of(n, o->number);
    if (!t || !t->up || len == 0 || len > NODE_STREAM_MESSAGE_MAX - 2)
        return false;
    out_stream(n, o->number, handshake, p, len);
    return true;
}

void streams_way_closed(struct node *n, const struct origin *o)
{
    struct stream_slot *t = slot_of(n, o->number);
    if (!t || t->retired)
        return;
    out_stream_close(n, t->number);
    *t = (struct stream_slot){0};
}

bool streams_way_doubt(struct node *n, const struct way *w, usec_t now)
{
    struct stream_slot *t = slot_of(n, w->at.number);
    if (!t || !t->up || t->retired || n->stopping)
        return false;
    t->proven = false;
    slot_until(n, t, now + STREAM_PROVE);
    return true;
}

void streams_session_up(struct node *n, struct node_peer *p, usec_t now)
{
    for (size_t i = 0; i < STREAMS_MAX; i++) {
        const struct stream_slot *t = &n->underlay->streams->slots[i];
        if (t->number == 0 || t->peer != p->ref || !t->dialled || !t->up || t->retired || t->proven)
            continue;
        const struct origin o = origin_of(t);
        struct way *w = way_open(n, p, &o, now);
        if (w)
            way_prove(n, p, w, now);
    }
}

/* ---- Too many of one peer. */

static void slot_retire(struct node *n, struct node_peer *p, struct stream_slot *t, usec_t now)
{
    const struct origin o = origin_of(t);
    struct way *w = way_by_origin(p, &o);
    t->retired = true;
    slot_until(n, t, now + STREAM_RETIRE);
    if (w)
        way_close(n, p, w, now);
}

static bool slot_good(const struct node_peer *p, const struct stream_slot *t)
{
    const struct origin o = origin_of(t);
    const struct way *w = way_by_origin(p, &o);
    struct path_stats st;
    return w && w->proven && p->paths && paths_stats(p->paths, w->id, &st) && st.alive && !st.doubted;
}

/* Both ends dial at once, so several may be proven: the node with the smaller id keeps one, the other follows
 * when the rest is closed. */
static void surplus(struct node *n, struct node_peer *p, struct stream_slot *fresh, usec_t now)
{
    bool chooses = memcmp(n->id, p->id, NODE_ID_LEN) < 0;
    struct stream_slot *others[STREAMS_MAX];
    size_t count = 0;
    for (size_t i = 0; i < STREAMS_MAX; i++) {
        struct stream_slot *t = &n->underlay->streams->slots[i];
        if (t->number != 0 && t != fresh && t->peer == p->ref && t->proven && !t->retired)
            others[count++] = t;
    }
    bool keep = true;
    for (size_t i = 0; i < count; i++) {
        bool good = slot_good(p, others[i]);
        if (good && chooses)
            keep = false;
        if (!good || (!chooses && count >= STREAMS_PER_PEER && i + 1 < count))
            slot_retire(n, p, others[i], now);
    }
    if (!keep)
        slot_retire(n, p, fresh, now);
}

void streams_way_proven(struct node *n, struct node_peer *p, const struct way *w, usec_t now)
{
    struct stream_slot *t = slot_of(n, w->at.number);
    if (!t || t->retired)
        return;
    t->proven = t->claimed = true;
    t->until = USEC_NEVER;
    if (p->direct) {
        p->direct->dial.at = USEC_NEVER;
        p->direct->why[0] = '\0';
    }
    for (size_t i = 0; i < STREAMS_MAX; i++) {
        struct stream_slot *other = &n->underlay->streams->slots[i];
        if (other->number != 0 && other->peer == p->ref && other->dialled && !other->up)
            slot_close(n, other, now);
    }
    surplus(n, p, t, now);
}

void streams_peer_gone(struct node *n, const struct node_peer *p)
{
    for (size_t i = 0; n->underlay && n->underlay->streams && i < STREAMS_MAX; i++) {
        struct stream_slot *t = &n->underlay->streams->slots[i];
        if (t->number == 0 || t->peer != p->ref)
            continue;
        out_stream_close(n, t->number);
        *t = (struct stream_slot){0};
    }
}

/* ---- Time. */

/* UDP has been better for long, and there is another way for handshakes. */
static usec_t useless_at(const struct node *n, const struct stream_slot *t)
{
    const struct node_peer *p = peer_by_ref(n, t->peer);
    if (!p || !t->proven || !link_ready(n) || p->relay == 0 || (p->on != PATH_UDP && p->on != PATH_LAN) ||
        !direct_udp_alive(p))
        return USEC_NEVER;
    return p->on_since + STREAM_UDP_BETTER;
}

usec_t streams_wake(const struct node *n)
{
    const struct streams *s = n->underlay->streams;
    usec_t wake = usec_min(s->listen_at, s->prune_at);
    for (size_t i = 0; i < STREAMS_MAX; i++)
        if (s->slots[i].proven && !s->slots[i].retired)
            wake = usec_min(wake, useless_at(n, &s->slots[i]));
    return wake;
}

void streams_tick(struct node *n, usec_t now)
{
    struct streams *s = n->underlay->streams;
    if (s->listen_at <= now)
        listen_ask(n, now);
    s->prune_at = USEC_NEVER;
    for (size_t i = 0; i < STREAMS_MAX; i++) {
        struct stream_slot *t = &s->slots[i];
        if (t->number == 0)
            continue;
        if (t->until <= now || useless_at(n, t) <= now)
            slot_close(n, t, now);
        else
            s->prune_at = usec_min(s->prune_at, t->until);
    }
}
