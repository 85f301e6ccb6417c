/* Through hard NATs (nat/hard.h, doc/protocol/hard-nats.md): when a search with a peer is worth beginning,
 * its sockets, its checks through the pair's ICE agent, and what came of it. One search at a time. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "nat/hard.h"
#include "node/underlay_int.h"

#define SEARCH_FIRST    (NODE_SOCKET_EXTRA + 32) /* number of its first socket */
#define SEARCH_SOCKETS  (NODE_SOCKETS_MAX - SEARCH_FIRST)
#define SEARCH_FEW      32            /* fewer free ones than that are not worth a search */
#define SEARCH_AFTER    (2500 * MSEC) /* ordinary checks get so long first, */
#define SEARCH_YIELD    (300 * MSEC)  /* and the end that did not begin the session lets the other offer */
#define SEARCH_LEARN    (8 * SEC)     /* discovery gets so long to say how ports are chosen */
#define SEARCH_LOOK     (500 * MSEC)  /* between two looks at what has to be known first, */
#define SEARCH_IDLE     (2 * SEC)     /* and while nothing is said to that peer */
#define SEARCH_TRAFFIC  (60 * SEC)    /* since the last frame to it */
#define SEARCH_AGAIN    (2 * SEC)     /* after one that does not count, doubled up to */
#define SEARCH_SHIFT    5             /* so many times */
#define SEARCH_OFF_WAIT (600 * SEC)   /* after the peer said that it allows none */
#define SEARCH_PENANCE                                                                                       \
    (5 * SEC) /* offers are declined for so long after one that failed here: a member                        \
                 that lies about its address shall not aim probes without end */
#define OBSERVE_AGAIN (250 * MSEC)
#define OBSERVE_TRIES 3

struct search {
    struct hard *hard; /* NULL: none runs */
    struct node_peer *peer;
    bool ours; /* begun by us */
    uint8_t key[HARD_MEMORY_KEY];
    uint32_t numbers[HARD_SOCKETS_MAX + 1]; /* by hard's number; 0: not open */
    bool taken[SEARCH_SOCKETS];             /* by this search, or by a way that an earlier one found */
    uint32_t next;                          /* numbers are not used again soon */
    struct {
        uint32_t socket; /* hard's; HARD_SOCKET_MAIN: nothing is asked */
        uint8_t txid[STUN_TXID_LEN];
        usec_t at;
        unsigned tries;
    } observe;
    usec_t penance;
    uint64_t spent; /* sockets of late, in thousandths: a minute takes limits.search_sockets of them away */
    usec_t spent_at;
    struct hard_memory memory;
};

int search_init(struct node *n)
{
    struct search *s = calloc(1, sizeof *s);
    if (!s)
        return -1;
    hard_memory_init(&s->memory);
    s->observe.at = USEC_NEVER;
    n->underlay->search = s;
    return 0;
}

void search_done(struct node *n)
{
    struct search *s = n->underlay ? n->underlay->search : NULL;
    if (!s)
        return;
    hard_free(s->hard);
    free(s);
    n->underlay->search = NULL;
}

bool search_runs(const struct node *n, const struct node_peer *p)
{
    const struct search *s = n->underlay->search;
    return s->hard && s->peer == p;
}

/* ---- Its sockets. */

/* A home router keeps some thousand mappings, each for minutes: searches one behind the other would push out
 * those that everything else in the house lives by. */
static uint64_t spent(const struct node *n, usec_t now)
{
    struct search *s = n->underlay->search;
    uint64_t gone = usec_since(now, s->spent_at) / MSEC * n->limits.search_sockets / 60;
    s->spent_at = now;
    s->spent = s->spent > gone ? s->spent - gone : 0;
    return s->spent;
}

static bool tired(const struct node *n, usec_t now)
{
    return n->limits.search_sockets > 0 && spent(n, now) > 2000 * (uint64_t)n->limits.search_sockets;
}

static size_t sockets_free(const struct search *s)
{
    size_t free_ones = 0;
    for (size_t i = 0; i < SEARCH_SOCKETS; i++)
        free_ones += !s->taken[i];
    return free_ones;
}

static void socket_open(struct node *n, uint32_t socket, usec_t now)
{
    struct search *s = n->underlay->search;
    for (size_t i = 0; i < SEARCH_SOCKETS; i++) {
        uint32_t slot = s->next++ % SEARCH_SOCKETS;
        if (s->taken[slot])
            continue;
        if (!underlay_socket_open(n, SEARCH_FIRST + slot, 4, 0))
            break;
        s->taken[slot] = true;
        s->numbers[socket] = SEARCH_FIRST + slot;
        return;
    }
    hard_socket_opened(s->hard, socket, 0, now);
}

static void number_close(struct node *n, uint32_t number)
{
    struct out_item *item = out_add(n, NODE_UDP_CLOSE);
    if (item)
        item->o.socket = number;
    n->underlay->search->taken[number - SEARCH_FIRST] = false;
}

static bool number_used(const struct node *n, uint32_t number)
{
    for (size_t i = 0; i < n->peer_slots; i++) {
        const struct node_peer *p = n->peers[i];
        for (size_t k = 0; p && p->ways && k < WAYS_MAX; k++)
            if (p->ways[k].id != 0 && p->ways[k].at.via == PATH_UDP && p->ways[k].at.number == number)
                return true;
    }
    return false;
}

static bool number_ours(uint32_t number)
{
    return number >= SEARCH_FIRST && number < SEARCH_FIRST + SEARCH_SOCKETS;
}

/* All of the search's but those that carry a way by now. */
static void sockets_close(struct node *n)
{
    struct search *s = n->underlay->search;
    for (size_t i = 1; i <= HARD_SOCKETS_MAX; i++) {
        uint32_t number = s->numbers[i];
        s->numbers[i] = 0;
        if (number == 0 || number_used(n, number))
            continue;
        number_close(n, number);
    }
    s->observe.at = USEC_NEVER;
    s->observe.socket = HARD_SOCKET_MAIN;
}

void search_way_closed(struct node *n, const struct origin *o)
{
    struct search *s = n->underlay->search;
    if (!s || o->via != PATH_UDP || !number_ours(o->number) || !s->taken[o->number - SEARCH_FIRST])
        return;
    for (size_t i = 1; s->hard && i <= HARD_SOCKETS_MAX; i++)
        if (s->numbers[i] == o->number)
            return; /* the search goes on with it */
    if (!number_used(n, o->number))
        number_close(n, o->number);
}

/* Hard's number of a socket; HARD_SOCKET_NONE: not one of this search. */
static uint32_t socket_of(const struct search *s, uint32_t number)
{
    if (number == NODE_SOCKET_MAIN4)
        return HARD_SOCKET_MAIN;
    for (uint32_t i = 1; i <= HARD_SOCKETS_MAX; i++)
        if (number != 0 && s->numbers[i] == number)
            return i;
    return HARD_SOCKET_NONE;
}

bool search_opened(struct node *n, uint32_t number, uint16_t port, usec_t now)
{
    struct search *s = n->underlay->search;
    if (!number_ours(number))
        return false;
    uint32_t socket = s->hard ? socket_of(s, number) : HARD_SOCKET_NONE;
    if (socket == HARD_SOCKET_NONE)
        return true;
    if (port == 0) {
        s->numbers[socket] = 0;
        s->taken[number - SEARCH_FIRST] = false;
    }
    hard_socket_opened(s->hard, socket, port, now);
    search_pump(n, now);
    return true;
}

/* ---- How the outside sees a socket. */

struct bytes stun_request(uint8_t out[DISCOVER_REQUEST4], const uint8_t txid[STUN_TXID_LEN])
{
    static const char padding[] = "this request is padded so that no answer is larger";
    struct stun_writer w;
    _Static_assert(sizeof padding > DISCOVER_REQUEST4 - STUN_HEADER_LEN - 4, "enough of it");
    stun_begin(&w, out, DISCOVER_REQUEST4, STUN_REQUEST, STUN_BINDING, txid);
    stun_put(&w, STUN_ATTR_SOFTWARE, bytes_of(padding, DISCOVER_REQUEST4 - STUN_HEADER_LEN - 4));
    return stun_end(&w);
}

static void observe_send(struct node *n, usec_t now)
{
    struct search *s = n->underlay->search;
    const struct udp_bind *b = &n->underlay->bind;
    const struct net_addr *server = NULL;
    for (size_t i = 0; i < b->server_count && !server; i++)
        if (b->servers[i].family == 4)
            server = &b->servers[i];
    s->observe.at = ++s->observe.tries < OBSERVE_TRIES ? now + OBSERVE_AGAIN : USEC_NEVER;
    if (!server || s->numbers[s->observe.socket] == 0)
        return;
    uint8_t out[DISCOVER_REQUEST4];
    struct bytes request = stun_request(out, s->observe.txid);
    out_datagram(n, s->numbers[s->observe.socket], server, NULL, 0, request.p, request.n);
}

static void observe(struct node *n, uint32_t socket, usec_t now)
{
    struct search *s = n->underlay->search;
    struct wr w = wr_of(s->observe.txid, sizeof s->observe.txid);
    wr_u32(&w, TXID_SEARCH);
    rng_fill(&n->rng, s->observe.txid + 4, sizeof s->observe.txid - 4);
    s->observe.socket = socket;
    s->observe.tries = 0;
    observe_send(n, now);
}

bool search_stun(struct node *n, uint32_t number, struct bytes in, usec_t now)
{
    struct search *s = n->underlay->search;
    struct stun_message m;
    uint32_t socket = s->observe.socket;
    if (in.n < STUN_HEADER_LEN || memcmp(in.p + 8, s->observe.txid, STUN_TXID_LEN) != 0)
        return false;
    if (!s->hard || socket == HARD_SOCKET_MAIN || s->numbers[socket] != number || stun_read(&m, in) < 0 ||
        m.class != STUN_SUCCESS || m.method != STUN_BINDING || m.mapped.family != 4)
        return true;
    s->observe.at = USEC_NEVER;
    s->observe.socket = HARD_SOCKET_MAIN;
    hard_observed(s->hard, socket, &m.mapped, now);
    search_pump(n, now);
    return true;
}

/* ---- One search. */

static void search_free(struct node *n)
{
    struct search *s = n->underlay->search;
    if (!s->hard)
        return;
    sockets_close(n);
    hard_free(s->hard);
    s->hard = NULL;
    s->peer = NULL;
}

static void probe(struct node *n, const struct hard_out *out, usec_t now)
{
    struct search *s = n->underlay->search;
    const struct underlay *u = n->underlay;
    bool main = out->socket == HARD_SOCKET_MAIN, v6 = main && u->nat64.outside.family != 0;
    uint32_t number = v6 ? u->main6.number : main ? u->main4.number : s->numbers[out->socket];
    struct net_addr to = v6 ? nat64_beyond(&out->to) : out->to;
    struct direct *d = s->peer->direct;
    if (number == 0 || !d || !d->ice)
        return;
    ice_probe(d->ice, number, &to, now);
    direct_checks_out(n, s->peer, now); /* at once: the order matters */
}

static void act(struct node *n, const struct hard_out *out, usec_t now)
{
    struct search *s = n->underlay->search;
    switch (out->action) {
    case HARD_OPEN_SOCKETS:
        for (uint32_t i = 0; i < out->count && s->hard; i++)
            socket_open(n, out->socket + i, now);
        break;
    case HARD_PROBE:
        probe(n, out, now);
        break;
    case HARD_OBSERVE:
        observe(n, out->socket, now);
        break;
    case HARD_CLOSE_SOCKETS:
        sockets_close(n);
        break;
    case HARD_TELL_PEER:
        if (s->peer->cur)
            session_message(s->peer->cur->s, MSG_SEARCH, out->data, now);
        break;
    }
    peer_touch(n, s->peer);
}

/* One that the peer began came to nothing. */
static void offer_lost(struct node *n, usec_t now)
{
    struct search *s = n->underlay->search;
    struct node_peer *p = s->peer;
    s->penance = now + SEARCH_PENANCE;
    p->search_after =
        now + (SEARCH_PENANCE << (p->searches_lost < SEARCH_SHIFT ? p->searches_lost : SEARCH_SHIFT));
    p->searches_lost++;
}

static void over(struct node *n, const struct hard_event *ev, usec_t now)
{
    struct search *s = n->underlay->search;
    struct direct *d = s->peer->direct;
    struct hard_status st;
    char id[NODE_ID_TEXT_CAP];
    bool found = ev->kind == HARD_DONE;
    hard_status(s->hard, &st);
    node_id_text(id, s->peer->id);
    s->spent = spent(n, now) + 1000 * (uint64_t)st.sockets;
    count(n, found ? COUNT_SEARCHES_FOUND : COUNT_SEARCHES_FAILED);
    out_log(n, LOG_INFO, found ? "search-found" : "search-failed",
            "peer=%s plan=\"%s\" sockets=%u probes=%u why=\"%s\"", id, hard_kind_name(ev->plan), st.sockets,
            st.probes, ev->why);
    if (found)
        hard_memory_success(&s->memory, s->key, ev->plan, node_unix(n, now));
    else if (ev->remember)
        hard_memory_failure(&s->memory, s->key, ev->plan, node_unix(n, now));
    if (found)
        s->peer->searches_lost = 0;
    else if (!s->ours)
        offer_lost(n, now);
    if (!d)
        return;
    snprintf(d->why, sizeof d->why, "%s", found ? "" : ev->why);
    if (found) {
        d->searches = 0;
        return;
    }
    usec_t wait = SEARCH_AGAIN << (d->searches < SEARCH_SHIFT ? d->searches : SEARCH_SHIFT);
    d->searches++;
    d->search_at = d->no_search ? now + SEARCH_OFF_WAIT : now + wait + rng_below(&n->rng, wait / 2);
    node_due(n, d->search_at);
}

void search_pump(struct node *n, usec_t now)
{
    struct search *s = n->underlay->search;
    struct hard_out out;
    struct hard_event ev;
    if (!s->hard)
        return;
    while (hard_output(s->hard, now, &out))
        act(n, &out, now);
    if (hard_event(s->hard, &ev)) {
        over(n, &ev, now);
        while (hard_output(s->hard, now, &out))
            act(n, &out, now);
        search_free(n);
        return;
    }
    node_due(n, search_wake(n));
}

static bool search_new(struct node *n, struct node_peer *p, const struct hard_nat *ours,
                       const struct hard_nat *theirs, bool initiator, usec_t now)
{
    struct search *s = n->underlay->search;
    struct hard_config c = {
        .rng = n->rng, .initiator = initiator, .ours = *ours, .sockets = (uint32_t)sockets_free(s)};
    hard_memory_key(s->key, ours, theirs);
    const struct hard_result *r = hard_memory_find(&s->memory, s->key);
    /* Where prediction failed, chance may do. */
    if (r && r->failures > 0 && (r->kind == HARD_PREDICT || r->kind == HARD_KEPT_PORTS) &&
        (ours->mapping == HARD_SEQUENTIAL || ours->mapping == HARD_PRESERVING)) {
        c.ours.mapping = HARD_RANDOM;
        c.ours.delta = 0;
    }
    s->hard = hard_new(&c, now);
    if (!s->hard)
        return false;
    s->peer = p;
    s->ours = initiator;
    memset(s->numbers, 0, sizeof s->numbers);
    s->observe.at = USEC_NEVER;
    s->observe.socket = HARD_SOCKET_MAIN;
    count(n, COUNT_SEARCHES_BEGUN);
    direct_agent_need(n, p, now);
    return true;
}

/* ---- When. */

static bool ipv4(const struct node *n)
{
    return underlay_socket(n, 4) != 0 || n->underlay->nat64.outside.family != 0;
}

static bool pinging(const struct node *n, const struct node_peer *p)
{
    for (size_t i = 0; i < n->request_count; i++) {
        const struct request *r = n->requests[i];
        if (r->kind == REQUEST_PING && r->ping && memcmp(r->ping->peer, p->id, NODE_ID_LEN) == 0)
            return true;
    }
    return false;
}

/* What the peer told about its NAT, in hard's terms. */
static struct hard_nat nat_told(const struct direct_message *m)
{
    struct hard_nat t = {.mapping = HARD_UNKNOWN};
    bool reflexive = false;
    for (size_t i = 0; i < m->count; i++) {
        const struct direct_candidate *c = &m->candidates[i];
        if (c->addr.family != 4 || c->mapped || reflexive)
            continue;
        reflexive = c->type == ICE_SERVER_REFLEXIVE;
        if (reflexive || (c->type == ICE_HOST && net_addr_scope(&c->addr) == NET_PUBLIC))
            t.mapped = c->addr;
    }
    if (m->mapping == DIRECT_MAPPING_ENDPOINT)
        t.mapping = HARD_EASY;
    if (m->mapping == DIRECT_MAPPING_ADDRESS || m->mapping == DIRECT_MAPPING_ADDRESS_PORT)
        t.mapping = m->ports == DIRECT_PORTS_KEPT                         ? HARD_PRESERVING
                    : m->ports == DIRECT_PORTS_SEQUENTIAL && m->step != 0 ? HARD_SEQUENTIAL
                                                                          : HARD_RANDOM;
    if (t.mapping == HARD_SEQUENTIAL)
        t.delta = m->step;
    return t;
}

/* Whether both ends know what their NATs do, or had their time to find out. */
static bool learnt(const struct node *n, const struct direct *d, usec_t now)
{
    struct nat_behaviour b;
    if (now >= d->began_at + SEARCH_LEARN)
        return true;
    underlay_behaviour(n, 4, &b);
    return (nat_known(&b) || n->underlay->nat64.outside.family != 0) && d->heard &&
           d->theirs.mapping != DIRECT_MAPPING_UNKNOWN &&
           (d->theirs.mapping == DIRECT_MAPPING_ENDPOINT || d->theirs.ports != DIRECT_PORTS_UNKNOWN);
}

/* When to look again; 0: now is the time. */
static usec_t search_when(struct node *n, struct node_peer *p, const struct hard_nat *ours,
                          const struct hard_nat *theirs, usec_t now)
{
    struct search *s = n->underlay->search;
    struct direct *d = p->direct;
    uint8_t key[HARD_MEMORY_KEY];
    uint64_t wait;
    if (!learnt(n, d, now))
        return now + SEARCH_LOOK;
    struct hard_plan plan = hard_plan(ours, theirs);
    if (plan.kind == HARD_NOT_NEEDED || plan.kind == HARD_IMPOSSIBLE) {
        snprintf(d->why, sizeof d->why, "%s", plan.words);
        return USEC_NEVER; /* until something else is known */
    }
    hard_memory_key(key, ours, theirs);
    if (!hard_memory_may_try(&s->memory, key, node_unix(n, now), &wait)) {
        snprintf(d->why, sizeof d->why, "%s; a search found no way and is not due again", plan.words);
        return now + wait * SEC;
    }
    if ((p->traffic == 0 || usec_since(now, p->traffic) > SEARCH_TRAFFIC) && !pinging(n, p)) {
        snprintf(d->why, sizeof d->why, "%s; not searched without traffic", plan.words);
        return now + SEARCH_IDLE;
    }
    if (plan.hard_here && tired(n, now))
        return now + SEARCH_IDLE;
    if (s->hard || sockets_free(s) < SEARCH_FEW)
        return now + SEARCH_LOOK;
    return 0;
}

/* Whether the mapping depends on the address cannot be seen from a hub with one: it is told as if it did not,
 * and so taken here. */
static struct hard_nat nat_ours(const struct node *n)
{
    struct nat_behaviour b;
    if (n->underlay->nat64.outside.family != 0)
        return (struct hard_nat){.mapping = HARD_EASY, .mapped = n->underlay->nat64.outside};
    underlay_behaviour(n, 4, &b);
    struct hard_nat ours = hard_nat_of(&b);
    if (b.mapping == NAT_DEPENDS_NOT_PORT && ours.mapped.family != 0)
        ours.mapping = HARD_EASY;
    return ours;
}

void search_soon(struct node *n, struct node_peer *p, usec_t now)
{
    struct direct *d = p->direct;
    if (!d || !d->ice || (d->searches > 0 && d->search_at != USEC_NEVER))
        return;
    d->search_at = d->began_at + SEARCH_AFTER + (ice_controlling(d->ice) ? 0 : SEARCH_YIELD);
    if (d->search_at < now)
        d->search_at = now;
    node_due(n, d->search_at);
}

void search_look(struct node *n, struct node_peer *p, usec_t now)
{
    struct direct *d = p->direct;
    if (d->search_at > now)
        return;
    d->search_at = USEC_NEVER;
    if (!n->limits.search || !p->cur || p->doomed || direct_udp_alive(p) || search_runs(n, p) || !ipv4(n))
        return;
    struct hard_nat ours = nat_ours(n), theirs = nat_told(&d->theirs);
    usec_t when = search_when(n, p, &ours, &theirs, now);
    if (when == 0) {
        when = now + SEARCH_LOOK;
        if (search_new(n, p, &ours, &theirs, true, now)) {
            d->search_at = USEC_NEVER;
            search_pump(n, now);
            return;
        }
    }
    d->search_at = when;
    node_due(n, d->search_at);
}

/* ---- What the peer says. */

static void refuse(struct node *n, struct node_peer *p, struct bytes in, enum search_stop why, usec_t now)
{
    uint8_t out[HARD_MESSAGE_MAX];
    size_t len = hard_refuse(out, in, why);
    if (len > 0)
        session_message(p->cur->s, MSG_SEARCH, bytes_of(out, len), now);
    peer_touch(n, p);
}

static void offered(struct node *n, struct node_peer *p, struct bytes in, usec_t now)
{
    struct search *s = n->underlay->search;
    if (!n->limits.search || !n->limits.direct || !ipv4(n)) {
        refuse(n, p, in, SEARCH_OFF, now);
        return;
    }
    if (s->hard || now < s->penance || now < p->search_after || !p->direct || sockets_free(s) < SEARCH_FEW) {
        refuse(n, p, in, SEARCH_BUSY, now);
        return;
    }
    struct hard_nat ours = nat_ours(n), theirs = nat_told(&p->direct->theirs);
    if (hard_plan(&ours, &theirs).hard_here && tired(n, now)) {
        refuse(n, p, in, SEARCH_BUSY, now);
        return;
    }
    if (!search_new(n, p, &ours, &theirs, false, now))
        return;
    hard_message(s->hard, in, now);
    search_pump(n, now);
}

bool search_message(struct node *n, struct node_peer *p, struct bytes in, usec_t now)
{
    struct search *s = n->underlay->search;
    struct search_message m;
    if (search_read(&m, in) < 0)
        return false;
    if (p->direct)
        p->direct->no_search = m.kind == SEARCH_STOP && m.stop == SEARCH_OFF;
    if (!search_runs(n, p)) {
        if (m.kind == SEARCH_OFFER)
            offered(n, p, in, now);
        return true;
    }
    if (hard_message(s->hard, in, now) == -ESTALE && m.kind == SEARCH_OFFER) {
        if (!s->ours)
            offer_lost(n, now);
        search_free(n); /* the peer began anew */
        offered(n, p, in, now);
        return true;
    }
    search_pump(n, now);
    return true;
}

/* ---- What becomes of it. */

void search_valid(struct node *n, struct node_peer *p, const struct ice_pair *pair, usec_t now)
{
    struct search *s = n->underlay->search;
    if (!search_runs(n, p))
        return;
    uint32_t socket = socket_of(s, pair->base);
    hard_found(s->hard, socket == HARD_SOCKET_NONE ? HARD_SOCKET_MAIN : socket, &pair->remote, now);
    search_pump(n, now);
}

void search_peer_gone(struct node *n, struct node_peer *p)
{
    if (n->underlay->search && search_runs(n, p))
        search_free(n);
}

void search_ways_gone(struct node *n, struct node_peer *p)
{
    for (size_t i = 0; n->underlay->search && p->ways && i < WAYS_MAX; i++) {
        const struct origin at = p->ways[i].at;
        p->ways[i].id = 0;
        search_way_closed(n, &at);
    }
}

void search_network_changed(struct node *n, usec_t now)
{
    struct search *s = n->underlay->search;
    struct hard_out out;
    if (!s->hard)
        return;
    hard_cancel(s->hard, now);
    while (hard_output(s->hard, now, &out))
        if (out.action == HARD_TELL_PEER)
            act(n, &out, now);
    search_free(n);
}

usec_t search_wake(const struct node *n)
{
    const struct search *s = n->underlay->search;
    return s->hard ? usec_min(hard_wake(s->hard), s->observe.at) : USEC_NEVER;
}

void search_tick(struct node *n, usec_t now)
{
    struct search *s = n->underlay->search;
    if (!s->hard)
        return;
    if (s->observe.at <= now)
        observe_send(n, now);
    if (hard_wake(s->hard) <= now)
        hard_tick(s->hard, now);
    search_pump(n, now);
}
