/* From the relay to a direct path: one ICE agent for each peer whose session is up, candidates told inside
 * the session, every pair that answered proved by RESUME (doc/protocol/direct.md). */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/underlay_int.h"

#define DIRECT_RETRY (60 * SEC) /* while a relay carries the traffic */
#define DIRECT_TURN                                                                                          \
    (4 * SEC)            /* then the session's initiator asks a TURN server, its responder after twice that */
#define DIRECT_LONELY  4 /* doublings of that while no path leads to the peer */
#define DIRECT_AGAIN   (1 * SEC)   /* between two beginnings, whatever happens */
#define DIRECT_ROUND   4           /* seconds to each that the peer may begin, and so many at once */
#define DIRECT_REFUSED (600 * SEC) /* after the peer said that it wants none */
#define DIRECT_KEEP    (15 * SEC)  /* an agent that has done its work still answers for so long */
#define TELL_FIRST     (200 * MSEC)
#define TELL_TRIES     6

static bool direct_allowed(const struct node *n)
{
    const struct underlay *u = n->underlay;
    return n->limits.direct && u->known && (u->main4.port != 0 || u->main6.port != 0 || u->tcp_port != 0);
}

bool direct_udp_alive(const struct node_peer *p)
{
    struct path_stats st;
    for (size_t i = 0; p->paths && i < paths_count(p->paths); i++)
        if (paths_stats_at(p->paths, i, &st) && st.alive && (st.kind == PATH_LAN || st.kind == PATH_UDP))
            return true;
    return false;
}

bool direct_alive(const struct node_peer *p)
{
    struct path_stats st;
    for (size_t i = 0; p->paths && i < paths_count(p->paths); i++)
        if (paths_stats_at(p->paths, i, &st) && st.alive && path_is_direct(st.kind))
            return true;
    return false;
}

static void ice_drop(struct node *n, struct node_peer *p)
{
    struct direct *d = p->direct;
    if (!d || !d->ice)
        return;
    if (map_get(n->underlay->by_ufrag, d->ufrag) == p)
        map_del(n->underlay->by_ufrag, d->ufrag);
    ice_free(d->ice);
    d->ice = NULL;
    d->free_at = USEC_NEVER;
}

void direct_stop(struct node *n, struct node_peer *p)
{
    ice_drop(n, p);
    search_peer_gone(n, p);
    free(p->direct);
    p->direct = NULL;
}

void direct_free(struct node *n, struct node_peer *p)
{
    streams_peer_gone(n, p);
    direct_stop(n, p);
    search_ways_gone(n, p);
}

/* ---- Credentials: both ends know both, from the session. */

static int credentials_make(const struct node_peer *p, uint32_t generation, bool initiator,
                            struct ice_credentials *c)
{
    char label[64];
    uint8_t secret[DIRECT_SECRET_LEN];
    snprintf(label, sizeof label, "ice %u %s", generation, initiator ? "initiator" : "responder");
    int rc = session_export(p->cur->s, label, secret, sizeof secret);
    if (rc < 0)
        return rc;
    base32_put(c->ufrag, bytes_of(secret, DIRECT_UFRAG_BYTES));
    base32_put(c->pwd, bytes_of(secret + DIRECT_UFRAG_BYTES, sizeof secret - DIRECT_UFRAG_BYTES));
    wipe(secret, sizeof secret);
    return 0;
}

/* ---- Telling. */

/* Where our listener may be reached from outside: a mapping; else, for a NAT that keeps ports, the address
 * that the hub sees: known also to those that get no UDP out. */
static struct net_addr tcp_outside(const struct node *n)
{
    const struct underlay *u = n->underlay;
    struct net_addr a;
    if (u->mapped_tcp.family != 0)
        return u->mapped_tcp;
    if (!link_ready(n) || u->tcp_port == 0 || net_addr_read(&a, n->link.seen) < 0)
        return (struct net_addr){0};
    net_addr_unmap(&a);
    if (net_addr_scope(&a) != NET_PUBLIC)
        return (struct net_addr){0};
    a.port = u->tcp_port;
    return a;
}

static void tell(struct node *n, struct node_peer *p, usec_t now)
{
    struct direct *d = p->direct;
    const struct underlay *u = n->underlay;
    struct direct_message m = {.generation = d->generation,
                               .revision = u->revision,
                               .tcp_port = u->tcp_port,
                               .tcp_mapped = tcp_outside(n)};
    struct nat_behaviour b;
    uint8_t out[DIRECT_MESSAGE_MAX];
    underlay_behaviour(n, 4, &b);
    m.mapping = b.mapping == NAT_DEPENDS_NOT || b.mapping == NAT_DEPENDS_NOT_PORT ? DIRECT_MAPPING_ENDPOINT
                : b.mapping == NAT_DEPENDS_ADDRESS                                ? DIRECT_MAPPING_ADDRESS
                : b.mapping == NAT_DEPENDS_PORT ? DIRECT_MAPPING_ADDRESS_PORT
                                                : DIRECT_MAPPING_UNKNOWN;
    m.ports = (uint8_t)b.ports;
    m.step = (int8_t)b.port_delta;
    if (b.udp == NAT_ANSWER_NO)
        m.flags |= DIRECT_UDP_BLOCKED;
    if (!direct_allowed(n))
        m.flags |= DIRECT_OFF | DIRECT_DONE;
    else if (u->gathered)
        m.flags |= DIRECT_DONE;
    struct ice_candidate c;
    for (size_t i = 0; d->ice && m.count < DIRECT_CANDIDATES_MAX && ice_local_at(d->ice, i, &c); i++)
        m.candidates[m.count++] = (struct direct_candidate){
            .type = (uint8_t)c.type, .mapped = c.mapped, .priority = c.priority, .addr = c.addr};
    nat64_tell(n, &m);
    struct wr w = wr_of(out, sizeof out);
    direct_write(&w, &m);
    struct bytes text = wr_done(&w);
    d->told = u->revision;
    d->tells++;
    d->tell_at = d->tells < TELL_TRIES ? now + (TELL_FIRST << (d->tells - 1)) : USEC_NEVER;
    node_due(n, d->tell_at);
    if (text.n > 0)
        session_message(p->cur->s, MSG_CANDIDATES, text, now);
    peer_touch(n, p);
}

static void tell_anew(struct node *n, struct node_peer *p, usec_t now)
{
    p->direct->tells = 0;
    tell(n, p, now);
}

/* ---- Beginning. */

static void locals_add(struct node *n, struct direct *d, usec_t now)
{
    const struct underlay *u = n->underlay;
    for (size_t i = 0; i < u->candidate_count; i++)
        ice_add_local(d->ice, &u->candidates[i], now);
    if (u->gathered)
        ice_local_done(d->ice, now);
}

/* Addresses in our own virtual LANs are no way to anybody but through the paths that are looked for. */
static void remote_add(const struct node *n, struct direct *d, const struct ice_candidate *c, usec_t now)
{
    if (!underlay_overlay(n, &c->addr))
        ice_add_remote(d->ice, c, now);
    nat64_remote(n, d->ice, c, now);
}

static void remotes_add(const struct node *n, struct direct *d, usec_t now)
{
    for (size_t i = 0; i < d->theirs.count; i++) {
        const struct direct_candidate *r = &d->theirs.candidates[i];
        const struct ice_candidate c = {
            .type = (enum ice_type)r->type, .mapped = r->mapped, .addr = r->addr, .priority = r->priority};
        remote_add(n, d, &c, now);
    }
    if (d->theirs.flags & DIRECT_DONE)
        ice_remote_done(d->ice, now);
}

/* What came of a round that was not the first one. */
static void retry_settled(struct node *n, struct direct *d, bool proven)
{
    if (d->retrying && proven)
        n->moves.retries_proven++;
    else if (d->retrying)
        n->moves.retries_failed++;
    d->retrying = false;
}

static void begin(struct node *n, struct node_peer *p, uint32_t generation, usec_t now)
{
    struct direct *d = p->direct;
    struct session_info info;
    struct ice_credentials theirs;
    session_info(p->cur->s, &info);
    struct ice_config c = {
        .controlling = info.initiator, .txid_prefix = TXID_PEER | (p->ref & ~TXID_WHOSE), .rng = n->rng};
    ice_drop(n, p);
    if (credentials_make(p, generation, info.initiator, &c.local) < 0 ||
        credentials_make(p, generation, !info.initiator, &theirs) < 0) {
        wipe(&c, sizeof c);
        return;
    }
    d->generation = generation;
    d->ice = ice_new(&c, now);
    d->began_at = now;
    usec_t retry = (usec_t)DIRECT_RETRY << d->lonely;
    d->retry_at = now + retry - retry / 8 + rng_below(&n->rng, retry / 4);
    d->failed = false;
    retry_settled(n, d, false);
    d->retrying = d->attempts > 0;
    d->attempts++;
    d->turn_at = now + DIRECT_TURN * (info.initiator ? 1 : 2);
    node_due(n, usec_min(d->retry_at, d->turn_at));
    memcpy(d->ufrag, c.local.ufrag, sizeof d->ufrag);
    wipe(&c, sizeof c);
    if (!d->ice || map_put(n->underlay->by_ufrag, d->ufrag, p) < 0) {
        wipe(&theirs, sizeof theirs);
        ice_drop(n, p);
        return;
    }
    count(n, COUNT_DIRECT_TRIES);
    locals_add(n, d, now);
    ice_remote_credentials(d->ice, &theirs, now);
    wipe(&theirs, sizeof theirs);
    if (d->heard && d->theirs.generation == generation)
        remotes_add(n, d, now);
    streams_round(n, p, STREAM_DIAL_AFTER, now);
    streams_hurry(n, p, now);
    tell_anew(n, p, now);
    search_soon(n, p, now);
}

static struct direct *direct_need(struct node_peer *p, usec_t now)
{
    if (p->direct)
        return p->direct;
    struct direct *d = calloc(1, sizeof *d);
    if (!d)
        return NULL;
    d->tell_at = d->retry_at = d->free_at = d->turn_at = d->search_at = d->dial.at = USEC_NEVER;
    ratelimit_init(&d->rounds, 1, DIRECT_ROUND * DIRECT_ROUND, now);
    p->direct = d;
    return d;
}

void direct_session_up(struct node *n, struct node_peer *p, usec_t now)
{
    direct_stop(n, p);
    if (!direct_allowed(n) || !direct_need(p, now))
        return;
    begin(n, p, 0, now);
    /* What the handshake brought, until the list itself comes. */
    struct session_info info;
    session_info(p->cur->s, &info);
    for (size_t i = 0; p->direct->ice && i < info.peer_addr_count; i++) {
        const struct net_addr *a = &info.peer_addrs[i];
        const struct ice_candidate c = {
            .type = net_addr_scope(a) == NET_PUBLIC && a->family == 4 ? ICE_SERVER_REFLEXIVE : ICE_HOST,
            .addr = *a};
        remote_add(n, p->direct, &c, now);
    }
}

/* Another round, with the list that there is now; not more often than DIRECT_AGAIN. */
static void restart(struct node *n, struct node_peer *p, usec_t now)
{
    struct direct *d = p->direct;
    if (!p->cur || !direct_allowed(n) || p->doomed)
        return;
    if (!d) {
        if (direct_need(p, now))
            begin(n, p, 0, now);
        return;
    }
    bool searching = search_runs(n, p); /* with this agent */
    if (searching || (d->attempts > 0 && now < d->began_at + DIRECT_AGAIN)) {
        d->retry_at = usec_min(d->retry_at, (searching ? now : d->began_at) + DIRECT_AGAIN);
        node_due(n, d->retry_at);
        return;
    }
    begin(n, p, d->generation + 1, now);
}

void direct_again(struct node *n, struct node_peer *p, usec_t now)
{
    restart(n, p, now);
}

void direct_hint(struct node *n, struct node_peer *p, const struct net_addr *a, usec_t now)
{
    const struct ice_candidate c = {.type = ICE_HOST, .addr = *a};
    if (!p->direct || !p->direct->ice)
        restart(n, p, now);
    if (!p->direct || !p->direct->ice)
        return;
    ice_add_remote(p->direct->ice, &c, now);
    peer_touch(n, p);
}

void direct_list_changed(struct node *n, usec_t now)
{
    struct underlay *u = n->underlay;
    for (size_t i = 0; i < n->peer_slots; i++) {
        struct node_peer *p = n->peers[i];
        if (!p || !p->cur || p->doomed || !direct_allowed(n))
            continue;
        if (!p->direct) {
            restart(n, p, now);
        } else if (p->direct->ice) {
            locals_add(n, p->direct, now);
            tell_anew(n, p, now);
            search_soon(n, p, now);
        } else if (!direct_alive(p) && p->direct->told != u->revision) {
            restart(n, p, now);
        }
    }
}

void direct_network_changed(struct node *n, usec_t now)
{
    for (size_t i = 0; i < n->peer_slots; i++) {
        struct node_peer *p = n->peers[i];
        if (!p || !p->cur || p->doomed)
            continue;
        if (p->paths)
            paths_doubt_all(p->paths, now);
        search_network_changed(n, now);
        if (p->direct)
            p->direct->began_at = 0;
        restart(n, p, now);
        peer_touch(n, p);
    }
}

/* ---- What the peer says. */

static void ack(struct node *n, struct node_peer *p, const struct direct_message *m, usec_t now)
{
    uint8_t out[8];
    struct wr w = wr_of(out, sizeof out);
    direct_ack_write(&w, m->generation, m->revision);
    session_message(p->cur->s, MSG_CANDIDATES_ACK, wr_done(&w), now);
    peer_touch(n, p);
}

/* Each round sends checks, and dials, to the addresses that the peer names. */
static bool peer_begins(const struct node_peer *p, const struct direct_message *m)
{
    const struct direct *d = p->direct;
    return m->generation > d->generation || (!d->ice && m->generation == d->generation && !direct_alive(p));
}

bool direct_candidates(struct node *n, struct node_peer *p, struct bytes in, usec_t now)
{
    struct direct_message m;
    if (direct_read(&m, in) < 0)
        return false;
    struct direct *d = direct_need(p, now);
    if (!d)
        return true;
    bool begins = direct_allowed(n) && !(m.flags & DIRECT_OFF) && peer_begins(p, &m);
    if (begins && !ratelimit_take(&d->rounds, DIRECT_ROUND, now))
        return true; /* as it is not acknowledged, it comes again */
    ack(n, p, &m, now);
    if (d->heard && (m.generation < d->theirs.generation || (m.generation == d->theirs.generation &&
                                                             (int16_t)(m.revision - d->theirs.revision) < 0)))
        return true; /* overtaken on the way */
    d->theirs = m;
    d->heard = true;
    if (!direct_allowed(n)) {
        d->generation = m.generation;
        if (d->tells == 0)
            tell(n, p, now);
        return true;
    }
    if (m.flags & DIRECT_OFF) {
        d->retry_at = now + DIRECT_REFUSED;
        return true;
    }
    if (begins)
        begin(n, p, m.generation, now);
    else if (d->ice && m.generation == d->generation)
        remotes_add(n, d, now);
    else if (m.generation < d->generation)
        tell_anew(n, p, now); /* it has not heard that we began anew */
    search_soon(n, p, now);
    streams_hurry(n, p, now);
    return true;
}

bool direct_acked(struct node *n, struct node_peer *p, struct bytes in, usec_t now)
{
    uint32_t generation;
    uint16_t revision;
    struct direct *d = p->direct;
    if (direct_ack_read(&generation, &revision, in) < 0)
        return false;
    if (d && generation == d->generation && revision == d->told) {
        d->acked = revision;
        d->tell_at = USEC_NEVER;
    }
    return true;
}

/* ---- Checks. */

bool direct_stun(struct node *n, uint32_t socket, const struct net_addr *from, struct bytes in, usec_t now)
{
    char ufrag[ICE_UFRAG_MAX + 1] = "";
    struct node_peer *p = NULL;
    struct rd r = rd_of(in);
    rd_bytes(&r, 8);
    uint32_t prefix = rd_u32(&r);
    if (ice_request_ufrag(in, ufrag) && strlen(ufrag) == DIRECT_UFRAG_LEN)
        p = map_get(n->underlay->by_ufrag, ufrag);
    else if (rd_ok(&r) && (prefix & TXID_WHOSE) == TXID_PEER)
        p = peer_by_ref(n, prefix & ~TXID_WHOSE);
    if (!p || !p->direct || !p->direct->ice || p->doomed)
        return false;
    bool taken = ice_input(p->direct->ice, socket, from, in, now);
    peer_touch(n, p);
    return taken;
}

/* A pair that answers: the keys are proved over it, and then it may carry. */
static void pair_works(struct node *n, struct node_peer *p, const struct ice_pair *pair, usec_t now)
{
    const struct origin o = {
        .via = pair->base == TURN_BASE ? PATH_TURN : PATH_UDP, .number = pair->base, .addr = pair->remote};
    struct way *w = way_open(n, p, &o, now);
    if (w && !w->proven && pair->remote_type == ICE_RELAYED)
        w->kind = PATH_TURN;                   /* by the other end's server */
    if (w && (!w->proven || !way_alive(p, w))) /* one that died may have come back */
        way_prove(n, p, w, now);
}

static void ice_said(struct node *n, struct node_peer *p, const struct ice_event *ev, usec_t now)
{
    struct direct *d = p->direct;
    switch (ev->kind) {
    case ICE_EVENT_VALID:
    case ICE_EVENT_SELECTED:
        pair_works(n, p, &ev->pair, now);
        search_valid(n, p, &ev->pair, now);
        break;
    case ICE_EVENT_FAILED:
        d->failed = true;
        streams_hurry(n, p, now);
        count(n, COUNT_DIRECT_FAILED);
        break;
    case ICE_EVENT_CONSENT_LOST:
    case ICE_EVENT_ROLE:
        break;
    }
}

void direct_checks_out(struct node *n, struct node_peer *p, usec_t now)
{
    struct direct *d = p->direct;
    struct ice_out out;
    while (d && d->ice && ice_output(d->ice, now, &out))
        if (out.base == TURN_BASE)
            turning_send(n, &out.to, out.data.p, out.data.n, now);
        else
            out_datagram(n, out.base, &out.to, NULL, 0, out.data.p, out.data.n);
}

void direct_pump(struct node *n, struct node_peer *p, usec_t now)
{
    struct direct *d = p->direct;
    struct ice_event ev;
    if (!d || !d->ice || !p->cur)
        return;
    while (d->ice && ice_event(d->ice, &ev))
        ice_said(n, p, &ev, now);
    direct_checks_out(n, p, now);
}

void direct_agent_need(struct node *n, struct node_peer *p, usec_t now)
{
    if (p->direct && !p->direct->ice && p->cur)
        begin(n, p, p->direct->generation + 1, now);
}

void direct_way_proven(struct node *n, struct node_peer *p, struct way *w, usec_t now)
{
    struct direct *d = p->direct;
    if (w->at.via == PATH_WS_RELAY)
        relay_way_wish(n, p, now);
    if (d && d->lonely > 0 && origin_reliable(&w->at)) { /* it is back */
        d->lonely = 0;
        if (!direct_udp_alive(p))
            restart(n, p, now);
    }
    if (!d || !path_is_direct(w->kind))
        return;
    retry_settled(n, d, true);
    if (w->kind != PATH_TLS)
        d->retry_at = USEC_NEVER;
    d->free_at = now + DIRECT_KEEP;
    d->failed = false;
    node_due(n, d->free_at);
    count(n, COUNT_DIRECT_PROVEN);
}

void direct_path_died(struct node *n, struct node_peer *p, struct way *w, usec_t now)
{
    if (path_is_direct(w->kind) && !direct_alive(p))
        restart(n, p, now);
    lan_peer_lost(n, p, now);
}

/* ---- Time. */

usec_t direct_wake(const struct node_peer *p)
{
    const struct direct *d = p->direct;
    if (!d || !p->cur)
        return USEC_NEVER;
    usec_t wake = usec_min(usec_min(d->tell_at, d->retry_at), usec_min(d->free_at, d->dial.at));
    wake = usec_min(wake, d->search_at);
    wake = usec_min(wake, d->turn_at);
    return d->ice ? usec_min(wake, ice_wake(d->ice)) : wake;
}

void direct_tick(struct node *n, struct node_peer *p, usec_t now)
{
    struct direct *d = p->direct;
    if (!d || !p->cur)
        return;
    if (d->ice && ice_wake(d->ice) <= now)
        ice_tick(d->ice, now);
    if (d->free_at <= now) {
        d->free_at = USEC_NEVER; /* a way may be proven without an agent, too */
        ice_drop(n, p);
    }
    if (d->tell_at <= now)
        tell(n, p, now);
    search_look(n, p, now);
    if (d->dial.at <= now)
        streams_dial_tick(n, p, now);
    if (d->turn_at <= now) {
        d->turn_at = USEC_NEVER;
        if (!direct_alive(p))
            turning_wish(n, now);
    }
    if (d->retry_at > now)
        return;
    /* A peer that nothing leads to sleeps, or its hub does: it is looked for more and more rarely. */
    if (peer_connected(p))
        d->lonely = 0;
    else if (d->lonely < DIRECT_LONELY)
        d->lonely++;
    d->retry_at = USEC_NEVER;
    if (!direct_udp_alive(p))
        restart(n, p, now);
}
