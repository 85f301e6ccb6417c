/* Permissions, channels, and the datagrams that pass through them. */
#include "nat/turn_int.h"

#include <errno.h>
#include <string.h>

#define PERMISSION_LIFE (5 * MINUTE) /* RFC 8656 section 9 */

static struct turn_permission *permission_find(struct turn *t, const struct net_addr *peer)
{
    for (size_t i = 0; i < TURN_PEERS_MAX; i++)
        if (t->permissions[i].used && net_ip_equal(&t->permissions[i].ip, peer))
            return &t->permissions[i];
    return NULL;
}

static struct turn_peer *peer_find(struct turn *t, const struct net_addr *peer)
{
    for (size_t i = 0; i < TURN_PEERS_MAX; i++)
        if (t->peers[i].used && net_addr_equal(&t->peers[i].addr, peer))
            return &t->peers[i];
    return NULL;
}

/* Datagrams through a channel touch the channel only. */
static usec_t permission_touched(const struct turn *t, const struct turn_permission *p)
{
    usec_t last = p->touched;
    for (size_t i = 0; i < TURN_PEERS_MAX; i++)
        if (t->peers[i].used && net_ip_equal(&t->peers[i].addr, &p->ip) && t->peers[i].touched > last)
            last = t->peers[i].touched;
    return last;
}

static struct turn_permission *permission_slot(struct turn *t, usec_t now)
{
    struct turn_permission *oldest = NULL;
    usec_t last = 0;
    for (size_t i = 0; i < TURN_PEERS_MAX; i++) {
        struct turn_permission *p = &t->permissions[i];
        if (!p->used)
            return p;
        usec_t touched = permission_touched(t, p);
        if (!oldest || touched < last) {
            oldest = p;
            last = touched;
        }
    }
    return usec_since(now, last) >= TURN_EVICT_IDLE ? oldest : NULL;
}

static int permit(struct turn *t, const struct net_addr *peer, usec_t now)
{
    struct turn_permission *p = permission_find(t, peer);
    if (p && p->refused && now < p->renew_at)
        return -EACCES;
    if (!p) {
        p = permission_slot(t, now);
        if (!p)
            return -ENOSPC;
        *p = (struct turn_permission){.used = true, .ip = *peer, .renew_at = now};
        p->ip.port = 0;
    }
    p->touched = now;
    if (p->renew_at == USEC_NEVER && !p->tx.active)
        p->renew_at = now;
    if (t->state == TURN_READY && !p->tx.active && p->renew_at <= now) {
        p->refused = false;
        p->renew_at = USEC_NEVER;
        turn_tx_begin(t, &p->tx, now);
    }
    return 0;
}

static int peer_check(const struct turn *t, const struct net_addr *peer)
{
    if (net_addr_scope(peer) == NET_NONE || (t->state == TURN_READY && peer->port == 0))
        return -EINVAL;
    uint8_t family = t->state == TURN_READY ? t->relayed.family : t->family ? t->family : 4;
    return peer->family == family ? 0 : -EAFNOSUPPORT;
}

int turn_permit(struct turn *t, const struct net_addr *peer, usec_t now)
{
    struct net_addr at = *peer;
    at.port = at.port ? at.port : 1; /* any will do here */
    int r = peer_check(t, &at);
    if (r == 0 && (t->state == TURN_RELEASING || t->state == TURN_ENDED))
        r = -ENOTCONN;
    return r ? r : permit(t, &at, now);
}

/* A slot for one more peer: the one that was used longest ago and whose channel does not stand; NULL: it does
 * without an entry. */
static struct turn_peer *peer_slot(struct turn *t, usec_t now)
{
    struct turn_peer *oldest = NULL;
    for (size_t i = 0; i < TURN_PEERS_MAX; i++) {
        struct turn_peer *p = &t->peers[i];
        if (!p->used)
            return p;
        if (!p->tx.active && p->until <= now && (!oldest || p->touched < oldest->touched))
            oldest = p;
    }
    return oldest;
}

static void bind_channel(struct turn *t, struct turn_peer *p, usec_t now)
{
    if (p->tx.active || (p->number && p->renew_at > now && p->renew_at != USEC_NEVER))
        return;
    if (p->number == 0) {
        /* In turn: a number comes again only after its old binding is long forgotten (RFC 8656 section 12).
         */
        p->number = t->next_channel;
        t->next_channel = t->next_channel == TURN_CHANNEL_LAST ? TURN_CHANNEL_FIRST : t->next_channel + 1;
    }
    p->renew_at = USEC_NEVER;
    turn_tx_begin(t, &p->tx, now);
}

static void data_event(struct turn_event *ev, const struct net_addr *peer, struct bytes data)
{
    *ev = (struct turn_event){.kind = TURN_EVENT_DATA, .peer = *peer, .data = data, .why = ""};
}

bool turn_channel_data(struct turn *t, struct bytes in, usec_t now, struct turn_event *ev)
{
    struct rd r = rd_of(in);
    uint16_t number = rd_u16(&r);
    struct bytes data = rd_block16(&r, UINT16_MAX); /* what is behind it is padding */
    if (!rd_ok(&r))
        return false;
    for (size_t i = 0; i < TURN_PEERS_MAX; i++) {
        struct turn_peer *p = &t->peers[i];
        if (!p->used || p->number != number)
            continue;
        p->touched = now;
        t->counts.received_channel++;
        data_event(ev, &p->addr, data);
        return true;
    }
    return false;
}

bool turn_indication(struct turn *t, const struct stun_message *m, usec_t now, struct turn_event *ev)
{
    if (m->method != STUN_DATA || m->peer_count != 1 || !m->data.p)
        return false;
    /* The server lets nobody in without a permission; were it otherwise, we would. */
    struct turn_permission *allowed = permission_find(t, &m->peers[0]);
    if (!allowed)
        return false;
    allowed->touched = now;
    t->counts.received_indication++;
    struct turn_peer *p = peer_find(t, &m->peers[0]);
    if (p) {
        p->touched = now;
        p->heard = true;
        if (t->state == TURN_READY)
            bind_channel(t, p, now);
    }
    data_event(ev, &m->peers[0], m->data);
    return true;
}

/* The length of a channel frame with its padding. */
static size_t frame_len(const struct turn *t, size_t n)
{
    return TURN_CHANNEL_OVERHEAD + (t->transport == TURN_STREAM ? (n + 3) & ~(size_t)3 : n);
}

static struct bytes channel_frame(struct turn *t, uint16_t number, struct turn_packet in)
{
    size_t whole = frame_len(t, in.n), padding = whole - TURN_CHANNEL_OVERHEAD - in.n;
    uint8_t *p = t->send;
    if (in.head >= TURN_HEADROOM && in.tail >= padding)
        p = in.p - TURN_HEADROOM;
    else if (in.n > 0)
        memcpy(p + TURN_CHANNEL_OVERHEAD, in.p, in.n);
    struct wr w = wr_of(p, TURN_CHANNEL_OVERHEAD);
    wr_u16(&w, number);
    wr_u16(&w, (uint16_t)in.n);
    memset(p + TURN_CHANNEL_OVERHEAD + in.n, 0, padding);
    return bytes_of(p, whole);
}

static struct bytes send_indication(struct turn *t, const struct net_addr *peer, struct turn_packet in)
{
    uint8_t txid[STUN_TXID_LEN];
    memcpy(txid, t->prefix, sizeof t->prefix);
    rng_fill(&t->rng, txid + sizeof t->prefix, sizeof txid - sizeof t->prefix);
    struct stun_writer w;
    stun_begin(&w, t->send, sizeof t->send, STUN_INDICATION, STUN_SEND, txid);
    stun_put_xor_addr(&w, STUN_ATTR_XOR_PEER_ADDRESS, peer);
    stun_put(&w, STUN_ATTR_DATA, bytes_of(in.p, in.n));
    return stun_end(&w);
}

static bool channel_stands(const struct turn_peer *p, usec_t now)
{
    return p && p->number && p->until > now;
}

int turn_send(struct turn *t, const struct net_addr *peer, struct turn_packet in, usec_t now,
              struct turn_out *out)
{
    if (t->state != TURN_READY)
        return -ENOTCONN;
    if (in.n > TURN_DATAGRAM_MAX)
        return -EMSGSIZE;
    struct turn_peer *p = peer_find(t, peer);
    if (!channel_stands(p, now)) {
        int r = peer_check(t, peer);
        if (r == 0)
            r = permit(t, peer, now);
        if (r)
            return r;
        if (!p && (p = peer_slot(t, now)))
            *p = (struct turn_peer){.used = true, .addr = *peer};
        if (p && (p->heard || ++p->sent >= TURN_BIND_AFTER))
            bind_channel(t, p, now);
        t->counts.sent_indication++;
        out->data = send_indication(t, peer, in);
    } else {
        if (p->renew_at == USEC_NEVER && !p->tx.active) /* it was about to lapse */
            p->renew_at = now;
        t->counts.sent_channel++;
        out->data = channel_frame(t, p->number, in);
    }
    if (p)
        p->touched = now;
    out->to = t->server;
    t->sent_at = now;
    return 0;
}

size_t turn_overhead(const struct turn *t, const struct net_addr *peer)
{
    for (size_t i = 0; i < TURN_PEERS_MAX; i++)
        if (t->peers[i].until && net_addr_equal(&t->peers[i].addr, peer))
            return t->transport == TURN_STREAM ? TURN_STREAM_OVERHEAD : TURN_CHANNEL_OVERHEAD;
    return peer->family == 6 ? TURN_INDICATION_OVERHEAD6 : TURN_INDICATION_OVERHEAD4;
}

static void permission_stands(struct turn_permission *p, usec_t now)
{
    p->refused = false;
    p->until = now + PERMISSION_LIFE;
    p->renew_at = now + TURN_PERMISSION_RENEW;
}

void turn_permission_done(struct turn *t, struct turn_permission *p, usec_t now)
{
    (void)t;
    permission_stands(p, now);
}

void turn_permission_failed(struct turn *t, struct turn_permission *p, uint16_t code, usec_t now)
{
    if (code == 0 || code >= 500) {
        p->renew_at = now + TURN_RETRY;
        return;
    }
    p->refused = true;
    p->until = 0;
    p->renew_at = now + TURN_PERMISSION_RENEW;
    struct turn_event ev = {
        .kind = TURN_EVENT_REFUSED, .peer = p->ip, .code = code, .why = turn_code_text(code)};
    turn_push(t, &ev);
}

/* A binding renews the permission, too (RFC 8656 section 12.1). */
void turn_peer_done(struct turn *t, struct turn_peer *p, usec_t now)
{
    p->until = now + TURN_CHANNEL_LIFE;
    p->renew_at = now + TURN_PERMISSION_RENEW;
    struct turn_permission *allowed = permission_find(t, &p->addr);
    if (allowed && !allowed->tx.active)
        permission_stands(allowed, now);
}

/* Indications do the work meanwhile. The number stays the peer's: the server may have bound it. */
void turn_peer_failed(struct turn *t, struct turn_peer *p, uint16_t code, usec_t now)
{
    (void)t;
    p->renew_at = now + (code == 0 || code >= 500 ? TURN_RETRY : TURN_CHANNEL_LIFE);
}

void turn_peers_start(struct turn *t, usec_t now)
{
    for (size_t i = 0; i < TURN_PEERS_MAX; i++) {
        struct turn_permission *p = &t->permissions[i];
        if (p->used && p->ip.family != t->relayed.family)
            p->used = false;
        if (p->used) {
            p->renew_at = USEC_NEVER;
            turn_tx_begin(t, &p->tx, now);
        }
    }
}

void turn_peers_stop(struct turn *t)
{
    for (size_t i = 0; i < TURN_PEERS_MAX; i++) {
        struct turn_permission *p = &t->permissions[i];
        *p = (struct turn_permission){.used = p->used, .ip = p->ip, .touched = p->touched};
    }
    memset(t->peers, 0, sizeof t->peers);
}

static void permission_tick(struct turn *t, struct turn_permission *p, usec_t now)
{
    if (p->until && p->until <= now)
        p->until = 0;
    if (!p->used || p->tx.active)
        return;
    bool idle = usec_since(now, permission_touched(t, p)) >= TURN_IDLE;
    if (p->renew_at == USEC_NEVER || p->renew_at > now)
        return;
    if (p->refused || idle) {
        p->used = false;
        return;
    }
    p->renew_at = USEC_NEVER;
    turn_tx_begin(t, &p->tx, now);
}

static void peer_tick(struct turn *t, struct turn_peer *p, usec_t now)
{
    if (p->until && p->until <= now)
        p->until = 0;
    if (!p->used || p->tx.active || p->number == 0 || p->renew_at > now)
        return;
    p->renew_at = USEC_NEVER;
    if (usec_since(now, p->touched) >= TURN_IDLE)
        return;
    turn_tx_begin(t, &p->tx, now);
    /* One request renews both. */
    struct turn_permission *allowed = permission_find(t, &p->addr);
    if (allowed && !allowed->tx.active && allowed->until > now && allowed->renew_at != USEC_NEVER)
        allowed->renew_at = now + TURN_RETRY;
}

void turn_peers_tick(struct turn *t, usec_t now)
{
    for (size_t i = 0; i < TURN_PEERS_MAX; i++)
        peer_tick(t, &t->peers[i], now);
    for (size_t i = 0; i < TURN_PEERS_MAX; i++)
        permission_tick(t, &t->permissions[i], now);
}

usec_t turn_peers_wake(const struct turn *t)
{
    usec_t wake = USEC_NEVER;
    for (size_t i = 0; i < TURN_PEERS_MAX; i++) {
        const struct turn_permission *p = &t->permissions[i];
        if (p->used)
            wake = usec_min(wake, p->tx.active ? p->tx.due : p->renew_at);
        const struct turn_peer *c = &t->peers[i];
        if (c->used && c->until)
            wake = usec_min(wake, c->until);
        if (c->used && c->tx.active)
            wake = usec_min(wake, c->tx.due);
        else if (c->used && c->number)
            wake = usec_min(wake, c->renew_at);
    }
    return wake;
}
