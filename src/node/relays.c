/* Members as relays: what they offer, when a circuit over them is built, and over which of them
 * (doc/protocol/relays.md). */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/relays_int.h"
#include "node/underlay_int.h"

/* ---- What we offer. */

void offers_soon(struct node *n, usec_t now)
{
    struct relaying *r = n->relaying;
    usec_t at = now + OFFER_SOON;
    if (!n->limits.relay_for_members)
        return;
    if (r->offered_at != 0 && at < r->offered_at + OFFER_PACE)
        at = r->offered_at + OFFER_PACE;
    r->offer_at = usec_min(r->offer_at, at);
    node_due(n, r->offer_at);
}

static bool share_party(const struct node *n, const struct node_peer *a, const struct node_peer *b)
{
    for (size_t i = 0; i < n->party_count; i++) {
        const struct node_party *np = n->parties[i];
        if (np->state == NP_ACTIVE && party_member(np->log, a->id) && party_member(np->log, b->id))
            return true;
    }
    return false;
}

/* How well we reach it without a circuit. */
static bool leg_to(const struct node_peer *p, struct path_stats *st)
{
    const struct way *w = cell_way(p, PATH_MTU_BASE);
    return w && paths_stats(p->paths, w->id, st) && st->alive && st->srtt > 0;
}

static void offer_add(struct offer *o, const struct node_peer *q, const struct path_stats *st)
{
    struct offer_leg *leg = &o->leg[o->count++];
    uint64_t rtt = st->srtt / OFFER_RTT_UNIT, loss = (uint64_t)(st->loss * 100 + 0.5);
    memcpy(leg->node, q->id, OFFER_ID_LEN);
    leg->rtt = (uint16_t)(rtt < UINT16_MAX ? rtt : UINT16_MAX);
    leg->loss = (uint8_t)(loss < 100 ? loss : 100);
}

static void offer_tell(struct node *n, struct node_peer *p, usec_t now)
{
    struct offer o = {.flags = OFFER_RELAYS};
    uint8_t out[OFFER_MAX];
    /* Where there are too many, each round tells of others. */
    size_t first = n->peer_count > OFFER_LEGS_MAX ? rng_below(&n->rng, n->peer_slots) : 0;
    for (size_t i = 0; i < n->peer_slots && o.count < OFFER_LEGS_MAX; i++) {
        const struct node_peer *q = n->peers[(first + i) % n->peer_slots];
        struct path_stats st;
        if (q && q != p && !q->doomed && share_party(n, p, q) && leg_to(q, &st))
            offer_add(&o, q, &st);
    }
    struct wr w = wr_of(out, sizeof out);
    offer_write(&w, &o);
    session_message(p->cur->s, MSG_RELAY_OFFER, wr_done(&w), now);
    peer_touch(n, p);
}

void offers_tell(struct node *n, usec_t now)
{
    struct relaying *r = n->relaying;
    r->offer_at = USEC_NEVER;
    if (!n->limits.relay_for_members)
        return;
    r->offered_at = now;
    r->offer_at = now + OFFER_AGAIN - rng_below(&n->rng, OFFER_AGAIN / 8);
    for (size_t i = 0; i < n->peer_slots; i++)
        if (n->peers[i] && !n->peers[i]->doomed && peer_connected(n->peers[i]))
            offer_tell(n, n->peers[i], now);
}

/* ---- What others offer. */

static void look_soon(struct node *n, usec_t now)
{
    n->relaying->look_at = usec_min(n->relaying->look_at, now);
    node_due(n, now);
}

static void offer_forget(struct indirect *d)
{
    free(d->offer);
    d->offer = NULL;
}

bool relays_offer_input(struct node *n, struct node_peer *p, struct bytes m, usec_t now)
{
    struct offer o;
    if (offer_read(&o, m) < 0)
        return false;
    struct indirect *d = o.flags & OFFER_RELAYS ? indirect_need(p) : p->indirect;
    if (!d)
        return true;
    if (!(o.flags & OFFER_RELAYS)) {
        offer_forget(d);
        return true;
    }
    if (!d->offer && !(d->offer = malloc(sizeof *d->offer)))
        return true;
    *d->offer = (struct peer_offer){.until = now + OFFER_LIFE, .o = o};
    look_soon(n, now);
    return true;
}

void relays_session_up(struct node *n, struct node_peer *p, usec_t now)
{
    /* It may have begun anew, and not relay any more; if it does, it says so soon. */
    if (p->indirect && p->indirect->offer)
        p->indirect->offer->until = usec_min(p->indirect->offer->until, now + OFFER_REPLACED);
    offers_soon(n, now);
}

/* ---- Which way. */

static bool avoided(const struct indirect *d, const uint8_t id[NODE_ID_LEN], usec_t now)
{
    for (size_t i = 0; i < RELAY_AVOIDED_MAX; i++)
        if (d->avoid[i].until > now && memcmp(d->avoid[i].node, id, NODE_ID_LEN) == 0)
            return true;
    return false;
}

static void avoid(struct indirect *d, const uint8_t id[NODE_ID_LEN], usec_t now)
{
    memcpy(d->avoid[d->avoid_next].node, id, NODE_ID_LEN);
    d->avoid[d->avoid_next].until = now + RELAY_AVOID;
    d->avoid_next = (d->avoid_next + 1) % RELAY_AVOIDED_MAX;
}

static struct route_leg told(const struct node_peer *by, const uint8_t of[NODE_ID_LEN])
{
    const struct offer *o = &by->indirect->offer->o;
    for (size_t i = 0; i < o->count; i++)
        if (memcmp(o->leg[i].node, of, OFFER_ID_LEN) == 0)
            return (struct route_leg){.known = true,
                                      .rtt = (usec_t)o->leg[i].rtt * OFFER_RTT_UNIT,
                                      .loss = (uint16_t)(o->leg[i].loss * 10)};
    return (struct route_leg){0};
}

static struct route_leg ours(const struct node_peer *p)
{
    struct path_stats st;
    if (!leg_to(p, &st))
        return (struct route_leg){0};
    return (struct route_leg){.known = true, .rtt = st.srtt, .loss = (uint16_t)(st.loss * 1000)};
}

static bool offers_now(const struct node_peer *p, usec_t now)
{
    return p && !p->doomed && p->indirect && p->indirect->offer && p->indirect->offer->until > now;
}

/* Those of np that relay; first who has both legs, so that the table is not full of others. */
static void table_fill(const struct node *n, const struct node_party *np, const struct node_peer *p,
                       struct route_table *t, usec_t now)
{
    const struct node_peer *who[ROUTE_MEMBERS_MAX];
    for (int both = 1; both >= 0; both--)
        for (size_t i = 0; i < n->peer_slots && t->count < ROUTE_MEMBERS_MAX; i++) {
            const struct node_peer *q = n->peers[i];
            if (q == p || !offers_now(q, now) || !party_member(np->log, q->id) ||
                avoided(p->indirect, q->id, now))
                continue;
            struct route_member m = {.relays = true, .us = ours(q), .peer = told(q, p->id)};
            if ((m.us.known && m.peer.known) != both)
                continue;
            memcpy(m.node, q->id, NODE_ID_LEN);
            who[t->count] = q;
            t->member[t->count++] = m;
        }
    for (size_t i = 0; i < t->count; i++)
        for (size_t k = 0; k < t->count; k++)
            if (i != k)
                t->between[i][k] = told(who[i], t->member[k].node);
}

struct choice {
    uint32_t party;
    size_t relays;
    uint8_t hop[CIRCUIT_HOPS_MAX + 1][NODE_ID_LEN]; /* the peer behind them */
    usec_t cost;
};

/* The best over all parties that we have in common. */
static bool choose_route(const struct node *n, const struct node_peer *p, struct choice *c, usec_t now)
{
    struct route_table *t = malloc(sizeof *t);
    *c = (struct choice){.cost = USEC_NEVER};
    for (size_t i = 0; t && i < n->party_count; i++) {
        const struct node_party *np = n->parties[i];
        struct route r;
        if (np->state != NP_ACTIVE || !party_member(np->log, p->id))
            continue;
        memset(t, 0, sizeof *t);
        table_fill(n, np, p, t, now);
        if (!route_best(t, CIRCUIT_HOPS_MAX, &r) ||
            (c->relays != 0 && (r.count > c->relays || (r.count == c->relays && r.cost >= c->cost))))
            continue;
        *c = (struct choice){.party = np->tag, .relays = r.count, .cost = r.cost};
        for (size_t k = 0; k < r.count; k++)
            memcpy(c->hop[k], t->member[r.relay[k]].node, NODE_ID_LEN);
        memcpy(c->hop[r.count], p->id, NODE_ID_LEN);
    }
    free(t);
    return c->relays > 0;
}

static void retry_later(struct node *n, struct indirect *d, usec_t now)
{
    usec_t wait = RELAY_RETRY;
    for (unsigned i = 0; i < d->failures && wait < RELAY_RETRY_MAX; i++)
        wait *= 2;
    wait = usec_min(wait, RELAY_RETRY_MAX);
    d->retry_at = now + wait - wait / 8 + rng_below(&n->rng, wait / 4);
}

static void build(struct node *n, struct node_peer *p, const struct choice *c, usec_t now)
{
    struct indirect *d = p->indirect;
    int rc = circuit_open(n->relaying->c, c->party, c->hop, c->relays + 1, now, &d->circuit);
    if (rc < 0) {
        d->circuit = 0;
        d->failures++;
        retry_later(n, d, now);
        return;
    }
    d->way = 0;
    d->up_at = d->spare_at = 0;
    d->relays = c->relays;
    memcpy(d->relay, c->hop, c->relays * NODE_ID_LEN);
    node_due(n, now);
}

static void build_best(struct node *n, struct node_peer *p, usec_t now)
{
    struct indirect *d = p->indirect;
    struct choice c;
    if (d->pin == PIN_VIA) {
        c = (struct choice){.party = d->pin_party, .relays = d->pin_count};
        memcpy(c.hop, d->pin_via, sizeof d->pin_via);
        memcpy(c.hop[c.relays], p->id, NODE_ID_LEN);
        build(n, p, &c, now);
    } else if (choose_route(n, p, &c, now)) {
        build(n, p, &c, now);
    } else {
        d->retry_at = now + RELAY_RETRY;
    }
}

/* ---- When. */

void relays_demand(struct node *n, struct node_peer *p, usec_t now)
{
    if (p->indirect)
        p->indirect->wanted = now;
    else if (n->relaying->look_at != USEC_NEVER && indirect_need(p))
        p->indirect->wanted = now;
}

static bool lately(usec_t then, usec_t now, usec_t span)
{
    return then != 0 && usec_since(now, then) < span;
}

static bool wanted(const struct node *n, const struct node_peer *p, usec_t now)
{
    return (p->indirect && lately(p->indirect->wanted, now, RELAY_WANTED)) ||
           lately(p->traffic, now, RELAY_WANTED) || peer_eager(n, p->id);
}

/* The hub's relay carries it, and a member would be nearer. */
static void look_second(struct node *n, struct node_peer *p, usec_t now)
{
    struct indirect *d = p->indirect;
    struct path_stats st;
    struct choice c;
    uint32_t id;
    enum path_kind kind;
    if (!lately(p->traffic, now, RELAY_TRAFFIC) || lately(d->second_at, now, RELAY_SECOND))
        return;
    d->second_at = now;
    if (direct_alive(p) || !paths_best(p->paths, &id, &kind) || kind == PATH_MULTI_HOP ||
        !paths_stats(p->paths, id, &st) || st.srtt == 0)
        return;
    if (choose_route(n, p, &c, now) && c.cost < st.srtt)
        build(n, p, &c, now);
}

static void look_lost(struct node *n, struct node_peer *p, usec_t now)
{
    struct indirect *d = p->indirect;
    usec_t wait = RELAY_DEMAND + (memcmp(n->id, p->id, NODE_ID_LEN) > 0 ? RELAY_DEMAND_SECOND : 0);
    if (!wanted(n, p, now)) {
        d->lost_at = 0;
        return;
    }
    if (d->lost_at == 0)
        d->lost_at = now;
    if (usec_since(now, d->lost_at) >= wait)
        build_best(n, p, now);
}

/* Of no use: the last relay is left out for a while, for the others are nearer to us and would show. */
static void circuit_useless(struct node *n, struct node_peer *p, usec_t now)
{
    struct indirect *d = p->indirect;
    struct way *w = way_by_id(p, d->way);
    if (d->relays > 0)
        avoid(d, d->relay[d->relays - 1], now);
    d->failures++;
    d->lost_at = usec_since(now, RELAY_DEMAND + RELAY_DEMAND_SECOND) + 1;
    d->retry_at = now;
    if (d->failures > 1)
        retry_later(n, d, now);
    if (w)
        way_close(n, p, w, now);
    else
        circuit_way_closed(n, p, d->circuit, now);
    look_soon(n, now);
}

static void look_circuit(struct node *n, struct node_peer *p, usec_t now)
{
    struct indirect *d = p->indirect;
    struct way *w = d->way != 0 ? way_by_id(p, d->way) : NULL;
    uint32_t id;
    enum path_kind kind;
    if (d->way == 0)
        return; /* the core gives up by itself */
    if (!w || !w->proven) {
        if (!w || (!w->asking && usec_since(now, d->up_at) > RELAY_PROVE))
            circuit_useless(n, p, now);
        return;
    }
    bool other = paths_best(p->paths, &id, &kind) && kind != PATH_MULTI_HOP;
    if (d->pin != PIN_NONE || !other || (!direct_alive(p) && lately(p->traffic, now, RELAY_TRAFFIC))) {
        d->spare_at = 0;
        return;
    }
    if (d->spare_at == 0)
        d->spare_at = now;
    if (usec_since(now, d->spare_at) >= RELAY_SPARE)
        way_close(n, p, w, now);
}

static void look_peer(struct node *n, struct node_peer *p, usec_t now)
{
    struct indirect *d = p->indirect;
    bool living = peer_connected(p);
    if (living)
        d->lost_at = 0;
    if (d->circuit != 0)
        look_circuit(n, p, now);
    else if (d->retry_at > now)
        return;
    else if (d->pin != PIN_NONE)
        build_best(n, p, now);
    else if (!living)
        look_lost(n, p, now);
    else
        look_second(n, p, now);
}

void relays_look(struct node *n, usec_t now)
{
    bool offers = false, more = false;
    for (size_t i = 0; i < n->peer_slots; i++) {
        struct node_peer *p = n->peers[i];
        struct indirect *d = p ? p->indirect : NULL;
        if (!d)
            continue;
        if (d->offer && d->offer->until <= now)
            offer_forget(d);
        offers |= d->offer != NULL;
        more |= d->circuit != 0 || d->pin != PIN_NONE;
    }
    n->relaying->look_at = offers || more ? now + RELAY_LOOK : USEC_NEVER;
    node_due(n, n->relaying->look_at);
    for (size_t i = 0; (offers || more) && i < n->peer_slots; i++) {
        struct node_peer *p = n->peers[i];
        if (!p || p->doomed)
            continue;
        if (!p->indirect && offers && (!peer_connected(p) || lately(p->traffic, now, RELAY_TRAFFIC)))
            indirect_need(p);
        if (p->indirect)
            look_peer(n, p, now);
    }
}

/* ---- What became of it. */

/* With keys they are proved over it, without them it carries the handshake. */
static void circuit_use(struct node *n, struct node_peer *p, struct way *w, usec_t now)
{
    bool living = peer_connected(p);
    if (p->cur) {
        p->resuming = p->resuming || !living;
        way_prove(n, p, w, now);
        return;
    }
    if (p->next && p->next->ours) {
        p->next->via = w->at; /* the way that it was begun on was not answered */
        return;
    }
    if (p->next)
        return;
    if (n->begun < n->limits.handshakes) {
        peer_start(n, p, &w->at, now);
        return;
    }
    p->start_at = now;
    node_due(n, now);
}

void relays_circuit_up(struct node *n, uint32_t id, usec_t now)
{
    const struct origin o = {.via = PATH_MULTI_HOP, .number = id};
    struct way *w;
    struct node_peer *p = circuit_user(n, id, &w);
    char who[NODE_ID_TEXT_CAP];
    if (!p || !p->indirect || p->indirect->circuit != id) {
        circuit_close(n->relaying->c, id, now);
        return;
    }
    struct indirect *d = p->indirect;
    w = p->doomed ? NULL : way_open(n, p, &o, now);
    if (!w) {
        circuit_way_closed(n, p, id, now);
        d->failures++;
        retry_later(n, d, now);
        return;
    }
    d->way = w->id;
    d->up_at = now;
    node_id_text(who, p->id);
    out_log(n, LOG_INFO, "circuit-up", "peer=%s relays=%zu", who, d->relays);
    circuit_use(n, p, w, now);
    peer_touch(n, p);
}

/* What is to be left out next time. */
static void lost_blame(struct indirect *d, const struct node_peer *p, const struct circuit_event *ev,
                       usec_t now)
{
    bool failed = ev->kind == CIRCUIT_FAILED && memcmp(ev->neighbour, p->id, NODE_ID_LEN) != 0;
    if (failed)
        avoid(d, ev->neighbour, now);
    else if (d->relays > 0)
        avoid(d, d->relay[d->relays - 1], now);
}

static void lost_ours(struct node *n, struct node_peer *p, const struct circuit_event *ev, bool worked,
                      usec_t now)
{
    struct indirect *d = p->indirect;
    char who[NODE_ID_TEXT_CAP];
    node_id_text(who, p->id);
    out_log(n, LOG_INFO, "circuit-lost", "peer=%s why=\"%s\"", who, ev->why ? ev->why : "");
    lost_blame(d, p, ev, now);
    d->circuit = d->way = 0;
    d->up_at = 0;
    d->failures = worked ? 0 : d->failures + 1;
    d->retry_at = now;
    if (d->failures > 1)
        retry_later(n, d, now);
    d->lost_at = usec_since(now, RELAY_DEMAND + RELAY_DEMAND_SECOND) + 1;
    look_soon(n, now);
}

void relays_circuit_lost(struct node *n, const struct circuit_event *ev, usec_t now)
{
    const struct origin o = {.via = PATH_MULTI_HOP, .number = ev->id};
    struct way *w;
    struct node_peer *p = circuit_user(n, ev->id, &w);
    if (!p)
        return;
    if (p->indirect && p->indirect->circuit == ev->id)
        lost_ours(n, p, ev, w && w->proven, now);
    if (w && w->asking)
        p->resuming = false;
    if (w)
        way_close(n, p, w, now);
    if (p->next && origin_equal(&p->next->via, &o)) {
        session_drop_slot(n, &p->next);
        peer_retry_later(n, p, now);
    }
    pin_settled(n, p, now);
    peer_touch(n, p);
}

void relays_path_died(struct node *n, struct node_peer *p, struct way *w, usec_t now)
{
    struct indirect *d = p->indirect;
    if (w->at.via == PATH_MULTI_HOP && d && d->way == w->id) {
        circuit_useless(n, p, now);
        pin_settled(n, p, now);
    }
    offers_soon(n, now);
}

void relays_way_proven(struct node *n, struct node_peer *p, struct way *w, usec_t now)
{
    struct indirect *d = p->indirect;
    if (!d || d->way != w->id)
        return;
    d->failures = 0;
    pin_settled(n, p, now);
}

/* ---- What people choose. */

struct way *way_pinned(const struct node_peer *p)
{
    const struct indirect *d = p->indirect;
    struct path_stats st;
    if (!d || d->pin == PIN_NONE || d->way == 0)
        return NULL;
    struct way *w = way_by_id(p, d->way);
    return w && w->proven && p->paths && paths_stats(p->paths, w->id, &st) && st.alive ? w : NULL;
}

bool peer_best(const struct node_peer *p, uint32_t *id, enum path_kind *kind)
{
    const struct way *w = way_pinned(p);
    if (!w)
        return p->paths && paths_best(p->paths, id, kind);
    *id = w->id;
    *kind = w->kind;
    return true;
}

void pin_settled(struct node *n, struct node_peer *p, usec_t now)
{
    uint32_t id;
    enum path_kind kind;
    struct way *w = peer_best(p, &id, &kind) ? way_by_id(p, id) : NULL;
    if (!w || p->on_way == w->id)
        return;
    path_changed(n, p, w, now);
    peer_mtu_changed(n, p);
}

static json_t *route_json(const struct node *n, const struct node_peer *p)
{
    static const char *const names[] = {"off", "auto", "via"};
    const struct indirect *d = p->indirect;
    char id[NODE_ID_TEXT_CAP], relays[CIRCUIT_HOPS_MAX * (NAME_CAP + 8)] = "";
    node_id_text(id, p->id);
    bool any = d && d->circuit != 0 && circuit_relays_text(n, d->circuit, relays, sizeof relays);
    return json_pack("{s:s, s:s, s:o, s:b}", "peer", id, "route", names[d ? d->pin : PIN_NONE], "relays",
                     any ? text_json(relays) : json_null(), "up", way_pinned(p) != NULL);
}

/* The names in `via`. false: answered. */
static bool route_via(struct node *n, uint32_t id, const json_t *via, const struct node_party *np,
                      const struct node_peer *p, struct indirect *to)
{
    struct node_party *in;
    size_t count = json_array_size(via);
    if (count < 1 || count > CIRCUIT_HOPS_MAX) {
        reply_error(n, id, "bad_request", "a route goes over one to %d relays", CIRCUIT_HOPS_MAX);
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        const struct party_member *m =
            choose_member(n, id, np, json_string_value(json_array_get(via, i)), &in);
        if (!m)
            return false;
        bool twice = memcmp(m->id, p->id, NODE_ID_LEN) == 0 || memcmp(m->id, n->id, NODE_ID_LEN) == 0;
        for (size_t k = 0; k < i; k++)
            twice |= memcmp(to->pin_via[k], m->id, NODE_ID_LEN) == 0;
        if (twice) {
            reply_error(n, id, "bad_request", "a relay is another member than both ends, and comes once");
            return false;
        }
        memcpy(to->pin_via[i], m->id, NODE_ID_LEN);
    }
    to->pin = PIN_VIA;
    to->pin_count = count;
    to->pin_party = np->tag;
    return true;
}

static bool route_wish(struct node *n, uint32_t id, const json_t *via, const struct node_party *np,
                       const struct node_peer *p, struct indirect *to)
{
    const char *word = json_string_value(via);
    if (json_is_array(via))
        return route_via(n, id, via, np, p, to);
    to->pin = word && strcmp(word, "auto") == 0 ? PIN_AUTO : PIN_NONE;
    if (word && (to->pin == PIN_AUTO || strcmp(word, "off") == 0))
        return true;
    reply_error(n, id, "bad_request", "`via` is a list of members, \"auto\" or \"off\"");
    return false;
}

static void route_set(struct node *n, struct node_peer *p, const struct indirect *to, usec_t now)
{
    struct indirect *d = p->indirect;
    struct way *w = d->way != 0 ? way_by_id(p, d->way) : NULL;
    d->pin = to->pin;
    d->pin_party = to->pin_party;
    d->pin_count = to->pin_count;
    memcpy(d->pin_via, to->pin_via, sizeof d->pin_via);
    if (w)
        way_close(n, p, w, now);
    else if (d->circuit != 0)
        circuit_way_closed(n, p, d->circuit, now);
    d->failures = 0;
    d->retry_at = now;
    if (d->pin != PIN_NONE)
        build_best(n, p, now);
    look_soon(n, now);
    pin_settled(n, p, now);
    peer_touch(n, p);
}

void cmd_route(struct node *n, uint32_t id, const json_t *rq, usec_t now)
{
    struct node_party *np = NULL, *in;
    struct indirect to = {0};
    const char *party = arg_text(rq, "party");
    const json_t *via = json_object_get(rq, "via");
    if (party && !(np = choose_writable(n, id, party)))
        return;
    const struct party_member *m = choose_member(n, id, np, arg_text(rq, "peer"), &in);
    struct node_peer *p = m ? peer_by_id(n, m->id) : NULL;
    if (!m)
        return;
    if (!p || p->doomed) {
        reply_error(n, id, "bad_request", "this is this node itself");
        return;
    }
    if (via && !route_wish(n, id, via, in, p, &to))
        return;
    if (via && !indirect_need(p)) {
        reply_error(n, id, "internal", "there is no memory for it");
        return;
    }
    if (via)
        route_set(n, p, &to, now);
    reply_ok(n, id, route_json(n, p), 0);
}
