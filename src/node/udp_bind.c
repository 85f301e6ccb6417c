/* Our place at the hub's UDP relay (doc/protocol/udp-relay.md): bound from the data socket, kept, bound again
 * when the address changed; and the ways to peers over it. */
#include <string.h>

#include "node/underlay_int.h"

#define BIND_RETRY      (250 * MSEC) /* doubled, BIND_TRIES times; then the next address of the hub */
#define BIND_TRIES      4
#define BIND_AGAIN      (60 * SEC) /* after all addresses failed */
#define BIND_KEEP       (20 * SEC) /* a NAT's mapping outlives this; more rarely where it was measured */
#define BIND_KEEP_LEAST (1 * SEC)  /* however short a life the hub tells */
#define BIND_KEEP_TRIES 3

static void bind_due(struct node *n, struct udp_bind *b, usec_t at)
{
    b->at = at;
    node_due(n, at);
}

static void keep_due(struct node *n, struct udp_bind *b, usec_t now)
{
    usec_t wait = usec_min(BIND_KEEP, b->lifetime / 3);
    bind_due(n, b, now + (wait > BIND_KEEP_LEAST ? wait : BIND_KEEP_LEAST));
}

/* The hub's address number `server`, with the one that its name stands for where the hub does not know its
 * own. false: none such. */
static bool bind_address(const struct node *n, size_t server, struct net_addr *to)
{
    const struct underlay *u = n->underlay;
    if (server >= u->bind.server_count)
        return false;
    *to = u->bind.servers[server];
    return to->port != 0 && underlay_socket(n, to->family) != 0;
}

static void bind_write(struct node *n, struct udp_bind *b, enum udp_relay_kind kind)
{
    uint8_t out[UDP_RELAY_BIND_LEN];
    if (kind == UDP_RELAY_BIND)
        b->time_ms++; /* one sent again is another one: an old one is a replay to the hub */
    struct udp_relay m = {.kind = kind, .index = b->index, .time_ms = b->time_ms, .token = b->token};
    memcpy(m.nonce, b->nonce, sizeof m.nonce);
    memcpy(m.cookie, b->cookie, sizeof m.cookie);
    size_t len = udp_relay_write(out, sizeof out, &m, b->key);
    if (len > 0)
        out_datagram(n, underlay_socket(n, b->to.family), &b->to, NULL, 0, out, len);
}

static void bind_start(struct node *n, usec_t now)
{
    struct udp_bind *b = &n->underlay->bind;
    b->state = BIND_OFF;
    b->at = USEC_NEVER;
    while (b->server < b->server_count && !bind_address(n, b->server, &b->to))
        b->server++;
    if (!b->have_key)
        return;
    if (b->server >= b->server_count) {
        b->server = 0;
        bind_due(n, b, now + BIND_AGAIN);
        return;
    }
    b->state = BIND_ASKED;
    b->tries = 1;
    /* Rises across our restarts too, without a clock that people set: the calendar's milliseconds, and never
     * twice the same. */
    uint64_t ms = node_unix(n, now) * 1000 + now / MSEC % 1000;
    b->time_ms = ms > b->time_ms ? ms : b->time_ms + 1;
    rng_fill(&n->rng, b->nonce, sizeof b->nonce);
    b->sent_at = now;
    count(n, COUNT_RELAY_BINDS);
    bind_write(n, b, UDP_RELAY_BIND);
    bind_due(n, b, now + BIND_RETRY);
}

static void bind_forget(struct udp_bind *b)
{
    b->have_key = false;
    b->state = BIND_OFF;
    b->at = USEC_NEVER;
    wipe(b->key, sizeof b->key);
}

/* The hub may not know yet that the link broke (a router forgot it, say): until it does, its relay goes on.
 */
void udp_bind_lost(struct node *n)
{
    if (n->stopping)
        bind_forget(&n->underlay->bind);
}

void udp_bind_welcome(struct node *n, const struct signal *s, usec_t now)
{
    struct underlay *u = n->underlay;
    struct udp_bind *b = &u->bind;
    bind_forget(b);
    if (!s->u.welcome.has_udp)
        return;
    memcpy(b->key, s->u.welcome.udp_key, sizeof b->key);
    b->have_key = true;
    b->index = s->u.welcome.relay;
    b->server = b->server_count = 0;
    for (size_t i = 0; i < s->u.welcome.udp_count; i++) {
        const struct net_addr *told = &s->u.welcome.udp[i];
        if (net_addr_scope(told) != NET_NONE) {
            underlay_hub_udp(u, told);
            continue;
        }
        /* "The address that you reached me at." */
        for (size_t k = 0; k < u->hub_count; k++) {
            struct net_addr a = u->hub[k];
            a.port = told->port;
            if (a.family == told->family || told->family == 6)
                underlay_hub_udp(u, &a);
        }
    }
    bind_start(n, now);
}

void udp_bind_again(struct node *n, usec_t now)
{
    n->underlay->bind.server = 0;
    bind_start(n, now);
}

bool udp_bound(const struct node *n)
{
    return n->underlay->bind.state == BIND_BOUND;
}

void relay_way_wish(struct node *n, struct node_peer *p, usec_t now)
{
    const struct origin o = {.via = PATH_UDP_RELAY, .number = p->relay};
    if (!udp_bound(n) || p->relay == 0 || !p->cur || way_by_origin(p, &o))
        return;
    struct way *w = way_open(n, p, &o, now);
    if (w)
        way_prove(n, p, w, now);
}

static void relay_ways_wish(struct node *n, usec_t now)
{
    for (size_t i = 0; i < n->peer_slots; i++)
        if (n->peers[i] && !n->peers[i]->doomed)
            relay_way_wish(n, n->peers[i], now);
}

/* A round trip, where what was answered was sent once only. */
static void bind_measured(struct udp_bind *b, usec_t now)
{
    if (b->tries == 1)
        b->rtt = usec_since(now, b->sent_at);
}

static void bind_bound(struct node *n, const struct udp_relay *m, usec_t now)
{
    struct udp_bind *b = &n->underlay->bind;
    b->state = BIND_BOUND;
    b->token = m->token;
    b->seen = m->seen;
    bind_measured(b, now);
    b->tries = 0;
    b->lifetime = (usec_t)m->lifetime_s * SEC;
    keep_due(n, b, now);
    underlay_reflexive(n, underlay_socket(n, b->to.family), &m->seen, now);
    count(n, COUNT_RELAY_BOUND);
    relay_ways_wish(n, now);
    requests_go_on(n, 0, now); /* netcheck may wait for it */
}

static void bind_unbound(struct node *n, const struct udp_relay *m, usec_t now)
{
    if (m->code == UDP_RELAY_REBIND) {
        /* Anybody can write this; asking again costs little and is answered with a mac. */
        if (n->underlay->bind.state == BIND_BOUND && ratelimit_take(&n->underlay->bind.rebinds, 1, now))
            bind_start(n, now);
        return;
    }
    if (!ratelimit_take(&n->underlay->bind.hints, 1, now))
        return; /* a silent path dies by itself */
    struct node_peer *p = map_get(n->by_relay, &m->index);
    struct way *w = p ? way_by_id(p, WAY_UDP_RELAY) : NULL;
    if (w && !w->proven)
        way_close(n, p, w, now);
    else if (w && p->paths)
        paths_doubt_all(p->paths, now);
}

static void bind_message(struct node *n, const struct udp_relay *m, usec_t now)
{
    struct udp_bind *b = &n->underlay->bind;
    bool ours = memcmp(m->nonce, b->nonce, sizeof b->nonce) == 0;
    switch (m->kind) {
    case UDP_RELAY_CHALLENGE:
        if (b->state != BIND_ASKED || !ours || !udp_relay_verify(m, b->key))
            break;
        memcpy(b->cookie, m->cookie, sizeof b->cookie);
        b->state = BIND_CONFIRMING;
        b->tries = 1;
        b->sent_at = now;
        bind_write(n, b, UDP_RELAY_CONFIRM);
        bind_due(n, b, now + BIND_RETRY);
        break;
    case UDP_RELAY_BOUND:
        if (b->state == BIND_CONFIRMING && ours && udp_relay_verify(m, b->key))
            bind_bound(n, m, now);
        break;
    case UDP_RELAY_KEPT:
        if (b->state == BIND_BOUND && m->token == b->token) {
            bind_measured(b, now);
            b->tries = 0;
            keep_due(n, b, now);
            relay_ways_wish(n, now); /* those that were not bound when they were asked */
        }
        break;
    case UDP_RELAY_UNBOUND:
        bind_unbound(n, m, now);
        break;
    default:
        break;
    }
}

bool udp_bind_input(struct node *n, const struct net_addr *from, uint8_t *p, size_t len, usec_t now)
{
    const struct udp_bind *b = &n->underlay->bind;
    struct udp_relay m;
    if (b->state == BIND_OFF || !net_addr_equal(from, &b->to))
        return false;
    if (udp_relay_read(&m, bytes_of(p, len)) < 0) {
        count(n, COUNT_BAD_DATAGRAM);
        return true;
    }
    if (m.kind != UDP_RELAY_DATA) {
        bind_message(n, &m, now);
        return true;
    }
    const struct origin o = {.via = PATH_UDP_RELAY, .number = m.index};
    peers_input(n, &o, p + UDP_RELAY_HEADER_LEN, len - UDP_RELAY_HEADER_LEN, now);
    return true;
}

bool udp_relay_send(struct node *n, uint32_t relay, const uint8_t *p, size_t len)
{
    const struct udp_bind *b = &n->underlay->bind;
    uint8_t head[UDP_RELAY_HEADER_LEN];
    if (b->state != BIND_BOUND || len > UDP_RELAY_DATAGRAM_MAX)
        return false;
    udp_relay_header(head, relay, b->token);
    out_datagram(n, underlay_socket(n, b->to.family), &b->to, head, sizeof head, p, len);
    return true;
}

void udp_bind_tick(struct node *n, usec_t now)
{
    struct udp_bind *b = &n->underlay->bind;
    if (b->at > now)
        return;
    unsigned most = b->state == BIND_BOUND ? BIND_KEEP_TRIES : BIND_TRIES;
    if (b->state == BIND_OFF || b->tries >= most) {
        /* A binding that does not answer is made again at the same address, else the next one is tried. */
        if (b->state == BIND_ASKED || b->state == BIND_CONFIRMING)
            b->server++;
        bind_start(n, now);
        return;
    }
    b->tries++;
    b->sent_at = now;
    bind_write(n, b,
               b->state == BIND_BOUND   ? UDP_RELAY_KEEP
               : b->state == BIND_ASKED ? UDP_RELAY_BIND
                                        : UDP_RELAY_CONFIRM);
    bind_due(n, b, now + (BIND_RETRY << b->tries));
}
