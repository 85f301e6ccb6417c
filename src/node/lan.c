/* Members of our parties on the same LAN (nat/mdns.h, doc/protocol/direct.md section 6): what is found is a
 * hint for the ICE agent where there is a session, and else an address to dial, so that neighbours talk to
 * each other while no hub is in sight. */
#include <stdlib.h>
#include <string.h>

#include "nat/mdns.h"
#include "node/underlay_int.h"

struct lan_found {
    uint32_t peer; /* 0: free */
    struct net_addr addr;
    uint16_t tls;
    usec_t seen, at; /* at: of the next try; USEC_NEVER: none is needed */
    unsigned tries;
};

struct lan {
    struct mdns *mdns;
    bool started, open4, open6, members_due;
    usec_t reopen_at;
    struct lan_found found[LAN_FOUND_MAX];
};

int lan_init(struct node *n, usec_t now)
{
    if (!n->limits.direct || !n->limits.lan_discovery)
        return 0;
    struct lan *l = calloc(1, sizeof *l);
    n->underlay->lan = l;
    if (!l)
        return -1;
    l->reopen_at = USEC_NEVER;
    l->mdns = mdns_new(&n->rng, now);
    return l->mdns ? 0 : -1;
}

void lan_done(struct node *n)
{
    struct lan *l = n->underlay->lan;
    if (l)
        mdns_free(l->mdns);
    free(l);
    n->underlay->lan = NULL;
}

static struct lan *lan_of(const struct node *n)
{
    return n->underlay ? n->underlay->lan : NULL;
}

/* ---- What it needs. */

static void sockets_open(struct node *n, struct lan *l)
{
    if (!l->open4)
        underlay_socket_open(n, NODE_SOCKET_MDNS4, 4, MDNS_PORT);
    if (!l->open6)
        underlay_socket_open(n, NODE_SOCKET_MDNS6, 6, MDNS_PORT);
}

void lan_start(struct node *n, usec_t now)
{
    struct lan *l = lan_of(n);
    if (!l || l->started)
        return;
    l->started = true;
    mdns_clock(l->mdns, now, node_unix(n, now));
    lan_members_changed(n, now);
    sockets_open(n, l);
    mdns_start(l->mdns, now);
    node_due(n, now);
}

bool lan_opened(struct node *n, uint32_t socket, uint16_t port, usec_t now)
{
    struct lan *l = lan_of(n);
    if (socket != NODE_SOCKET_MDNS4 && socket != NODE_SOCKET_MDNS6)
        return false;
    if (!l)
        return true;
    bool *open = socket == NODE_SOCKET_MDNS4 ? &l->open4 : &l->open6;
    bool fresh = port != 0 && !*open;
    *open = port != 0;
    if (fresh)
        mdns_start(l->mdns, now); /* what it said before went nowhere */
    else if (port == 0)
        l->reopen_at = now + LAN_REOPEN;
    node_due(n, fresh ? now : l->reopen_at);
    return true;
}

void lan_ports(struct node *n, usec_t now)
{
    const struct underlay *u = n->underlay;
    struct lan *l = lan_of(n);
    if (!l)
        return;
    mdns_ports(l->mdns, u->main4.port != 0 ? u->main4.port : u->main6.port, u->tcp_port, now);
    node_due(n, now);
}

void lan_clock(struct node *n, usec_t now)
{
    struct lan *l = lan_of(n);
    if (!l)
        return;
    mdns_clock(l->mdns, now, node_unix(n, now));
    node_due(n, mdns_wake(l->mdns));
}

/* A log changes in steps: the table of members is made once for all of them. */
void lan_members_changed(struct node *n, usec_t now)
{
    struct lan *l = lan_of(n);
    if (!l)
        return;
    l->members_due = true;
    node_due(n, now);
}

static void member_put(const struct node *n, const struct node_party *np, struct mdns_member *list,
                       size_t *count, const struct party_member *m)
{
    struct mdns_member *to = &list[(*count)++];
    memcpy(to->party, np->id, MDNS_ID_LEN);
    memcpy(to->node, m->id, MDNS_ID_LEN);
    to->self = memcmp(m->id, n->id, NODE_ID_LEN) == 0;
}

static void members_set(struct node *n, struct lan *l, usec_t now)
{
    struct mdns_member *list = calloc(MDNS_MEMBERS_MAX + PARTIES_CAP, sizeof *list);
    size_t count = 0, most = MDNS_MEMBERS_MAX;
    l->members_due = false;
    for (size_t i = 0; list && i < n->party_count; i++) {
        const struct node_party *np = n->parties[i];
        const struct party_member *self = np->state == NP_ACTIVE ? np_self(n, np) : NULL;
        if (!self)
            continue;
        member_put(n, np, list, &count, self);
        for (size_t k = 0; k < party_member_count(np->log) && most > 0; k++) {
            const struct party_member *m = party_member_at(np->log, k);
            if (m == self)
                continue;
            member_put(n, np, list, &count, m);
            most--;
        }
    }
    if (list)
        mdns_set_members(l->mdns, list, count, now);
    free(list);
}

void lan_network_changed(struct node *n, usec_t now)
{
    struct lan *l = lan_of(n);
    if (!l || !l->started)
        return;
    memset(l->found, 0, sizeof l->found);
    sockets_open(n, l);
    mdns_start(l->mdns, now);
    node_due(n, now);
}

void lan_stop(struct node *n, usec_t now)
{
    struct lan *l = lan_of(n);
    struct mdns_out out;
    if (!l || !l->started)
        return;
    mdns_stop(l->mdns, now);
    while (mdns_output(l->mdns, now, &out))
        out_datagram(n, out.family == 4 ? NODE_SOCKET_MDNS4 : NODE_SOCKET_MDNS6, &out.to, NULL, 0, out.data.p,
                     out.data.n);
}

/* ---- What is found. */

static void found_due(struct node *n, struct lan_found *f, usec_t at)
{
    f->at = at;
    node_due(n, at);
}

/* Both ends find each other: the one with the smaller id tries first. */
static usec_t first_try(const struct node *n, const struct node_peer *p, usec_t now)
{
    return memcmp(n->id, p->id, NODE_ID_LEN) < 0 ? now : now + LAN_YIELD;
}

static struct lan_found *found_slot(struct lan *l, uint32_t peer, const struct net_addr *addr)
{
    struct lan_found *oldest = &l->found[0], *own = NULL;
    size_t owns = 0;
    for (size_t i = 0; i < LAN_FOUND_MAX; i++) {
        struct lan_found *f = &l->found[i];
        if (f->peer == peer && net_ip_equal(&f->addr, addr))
            return f;
        if (f->peer == peer && (owns++ == 0 || f->seen < own->seen))
            own = f;
        if (oldest->peer != 0 && (f->peer == 0 || f->seen < oldest->seen))
            oldest = f;
    }
    return owns >= MDNS_ADDRS_MAX ? own : oldest;
}

static void found(struct node *n, struct lan *l, struct node_peer *p, const struct mdns_event *ev, usec_t now)
{
    struct lan_found *f = found_slot(l, p->ref, &ev->addr);
    *f = (struct lan_found){.peer = p->ref, .addr = ev->addr, .tls = ev->tls_port, .seen = now};
    char id[NODE_ID_TEXT_CAP], at[NET_ADDR_TEXT];
    node_id_text(id, p->id);
    net_addr_text(at, &f->addr);
    out_log(n, LOG_INFO, "lan-found", "peer=%s endpoint=%s tls_port=%u", id, at, f->tls);
    count(n, COUNT_LAN_FOUND);
    found_due(n, f, first_try(n, p, now));
    if (peer_connected(p) && !direct_udp_alive(p))
        direct_hint(n, p, &f->addr, now);
}

static void gone(struct lan *l, const struct node_peer *p, const struct net_addr *addr)
{
    for (size_t i = 0; i < LAN_FOUND_MAX; i++)
        if (l->found[i].peer == p->ref && net_ip_equal(&l->found[i].addr, addr))
            l->found[i] = (struct lan_found){0};
}

static void lan_event(struct node *n, struct lan *l, const struct mdns_event *ev, usec_t now)
{
    struct node_peer *p = peer_by_id(n, ev->node);
    if (!p || p->doomed || !peer_common(n, p->id, NULL))
        return;
    if (ev->addr.family == 6 && net_addr_scope(&ev->addr) == NET_LINK_LOCAL)
        return; /* nobody can be sent to there without a zone */
    if (ev->kind == MDNS_FOUND)
        found(n, l, p, ev, now);
    else
        gone(l, p, &ev->addr);
}

static void lan_pump(struct node *n, struct lan *l, usec_t now)
{
    struct mdns_event ev;
    struct mdns_out out;
    while (mdns_event(l->mdns, &ev))
        lan_event(n, l, &ev, now);
    while (mdns_output(l->mdns, now, &out)) {
        uint32_t socket = out.family == 4 ? NODE_SOCKET_MDNS4 : NODE_SOCKET_MDNS6;
        if (out.family == 4 ? l->open4 : l->open6)
            out_datagram(n, socket, &out.to, NULL, 0, out.data.p, out.data.n);
    }
    node_due(n, mdns_wake(l->mdns));
}

bool lan_input(struct node *n, uint32_t socket, const struct net_addr *from, struct bytes in, usec_t now)
{
    struct lan *l = lan_of(n);
    if (socket != NODE_SOCKET_MDNS4 && socket != NODE_SOCKET_MDNS6)
        return false;
    if (!l || n->stopping || underlay_overlay(n, from))
        return true; /* our virtual LANs carry multicast, too */
    mdns_input(l->mdns, socket == NODE_SOCKET_MDNS4 ? 4 : 6, from, in, now);
    lan_pump(n, l, now);
    return true;
}

/* ---- Talking to those who are found, where nothing else leads to them. */

void lan_peer_lost(struct node *n, struct node_peer *p, usec_t now)
{
    struct lan *l = lan_of(n);
    if (!l || p->doomed || n->stopping || peer_connected(p))
        return;
    for (size_t i = 0; i < LAN_FOUND_MAX; i++) {
        struct lan_found *f = &l->found[i];
        if (f->peer != p->ref || f->at != USEC_NEVER)
            continue;
        f->tries = 0;
        found_due(n, f, first_try(n, p, now));
    }
}

static void lan_try(struct node *n, struct lan_found *f, usec_t now)
{
    struct node_peer *p = peer_by_ref(n, f->peer);
    f->at = USEC_NEVER;
    if (!p || p->doomed || n->stopping) {
        *f = (struct lan_found){0};
        return;
    }
    if (peer_connected(p) || f->tls == 0)
        return;
    usec_t wait = LAN_RETRY;
    for (unsigned i = 0; i < f->tries && wait < LAN_RETRY_MAX; i++)
        wait *= 2;
    wait = usec_min(wait, LAN_RETRY_MAX);
    f->tries++;
    found_due(n, f, now + wait - wait / 4 + rng_below(&n->rng, wait / 2));
    struct origin o;
    if (p->next || p->resuming || streams_dialling(n, p) || (peer_reliable(n, p, &o) && f->tries <= 1))
        return; /* something is under way */
    struct net_addr to = f->addr;
    to.port = f->tls;
    streams_dial(n, p, &to, false, now);
}

usec_t lan_wake(const struct node *n)
{
    const struct lan *l = lan_of(n);
    if (!l || !l->started)
        return USEC_NEVER;
    usec_t wake = l->members_due ? 0 : usec_min(l->reopen_at, mdns_wake(l->mdns));
    for (size_t i = 0; i < LAN_FOUND_MAX; i++)
        if (l->found[i].peer != 0)
            wake = usec_min(wake, l->found[i].at);
    return wake;
}

void lan_tick(struct node *n, usec_t now)
{
    struct lan *l = lan_of(n);
    if (!l || !l->started)
        return;
    if (l->members_due)
        members_set(n, l, now);
    if (l->reopen_at <= now) {
        l->reopen_at = USEC_NEVER;
        sockets_open(n, l);
    }
    if (mdns_wake(l->mdns) <= now)
        mdns_tick(l->mdns, now);
    lan_pump(n, l, now);
    for (size_t i = 0; i < LAN_FOUND_MAX; i++)
        if (l->found[i].peer != 0 && l->found[i].at <= now)
            lan_try(n, &l->found[i], now);
}
