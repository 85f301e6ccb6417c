/* Sessions of a peer: begun, answered, replaced, resumed. A peer has at most three: the one in use, a
 * handshake beside it, and the replaced one, which still receives what is under way. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "node/engine_int.h"
#include "pump/offload.h"
#include "wire/resume.h"

static uint8_t ciphers_common(const struct node *n, const uint8_t id[NODE_ID_LEN])
{
    uint8_t mask = (1u << AEAD_ALG_COUNT) - 1;
    for (size_t i = 0; i < n->party_count; i++) {
        const struct node_party *np = n->parties[i];
        if (np->state == NP_ACTIVE && party_member(np->log, id))
            mask &= party_policy(np->log)->ciphers;
    }
    return mask;
}

static uint32_t index_fresh(const struct node *n)
{
    uint32_t index;
    do
        index = rng_u32(&n->rng);
    while (index == 0 || map_get(n->by_index, &index));
    return index;
}

static struct peer_session *session_make(struct node *n, struct node_peer *p, bool ours,
                                         const struct origin *via)
{
    struct sign_public key;
    struct hs_head heads[HS_HEADS_MAX];
    if (!peer_common(n, p->id, &key))
        return NULL;
    struct peer_session *ps = calloc(1, sizeof *ps);
    if (!ps)
        return NULL;
    struct session_config c = {
        .key = n->key, .peer_public = &key, .index = index_fresh(n), .prefer_aes = n->prefer_aes};
    memcpy(c.self, n->id, NODE_ID_LEN);
    memcpy(c.peer, p->id, NODE_ID_LEN);
    c.ciphers = ciphers_common(n, p->id);
    c.heads = heads;
    c.head_count = heads_common(n, p->id, heads);
    struct net_addr addrs[HS_ADDR_MAX];
    c.addrs = addrs;
    c.addr_count = underlay_addresses(n, addrs);
    c.rng = n->rng;
    c.limits = &n->session_limits;
    ps->s = session_new(&c);
    ps->peer = p;
    ps->index = c.index;
    ps->ours = ours;
    ps->via = *via;
    if (!ps->s || map_put(n->by_index, &ps->index, ps) < 0) {
        session_free(ps->s);
        free(ps);
        return NULL;
    }
    *(ours ? &n->begun : &n->half_open) += 1;
    return ps;
}

void session_drop_slot(struct node *n, struct peer_session **slot)
{
    struct peer_session *ps = *slot;
    if (!ps)
        return;
    *slot = NULL;
    struct session_info info;
    session_info(ps->s, &info);
    for (size_t i = 0; i < DROP_COUNT; i++)
        n->session_drops[i] += info.drops[i];
    ps->peer->past.tx_bytes += info.tx_bytes;
    ps->peer->past.rx_bytes += info.rx_bytes;
    ps->peer->past.rekeys += info.rekeys;
    if (!ps->up)
        *(ps->ours ? &n->begun : &n->half_open) -= 1;
    map_del(n->by_index, &ps->index);
    session_free(ps->s);
    free(ps);
}

void peer_retry_later(struct node *n, struct node_peer *p, usec_t now)
{
    usec_t wait = RETRY_PEER_MIN;
    for (unsigned i = 1; i < p->tries && wait < RETRY_PEER_MAX; i++)
        wait *= 2;
    wait = usec_min(wait, RETRY_PEER_MAX);
    struct origin o;
    p->start_at = peer_reliable(n, p, &o) ? now + wait - wait / 4 + rng_below(&n->rng, wait / 2) : USEC_NEVER;
    node_due(n, p->start_at);
}

void peer_start(struct node *n, struct node_peer *p, const struct origin *via, usec_t now)
{
    p->start_at = USEC_NEVER;
    p->next = session_make(n, p, true, via);
    if (!p->next || session_start(p->next->s, now) < 0) {
        session_drop_slot(n, &p->next);
        p->tries++;
        peer_retry_later(n, p, now);
        return;
    }
    count(n, COUNT_HANDSHAKES_BEGUN);
    peer_touch(n, p);
}

/* ---- Events. */

static void session_is_up(struct node *n, struct peer_session *ps, usec_t now)
{
    struct node_peer *p = ps->peer;
    if (ps != p->next)
        return;
    *(ps->ours ? &n->begun : &n->half_open) -= 1;
    ps->up = true;
    session_drop_slot(n, &p->old);
    p->old = p->cur;
    if (p->old)
        p->old->dies = now + OLD_SESSION_LIFE;
    p->cur = ps;
    p->next = NULL;
    p->seen = now;
    count(n, COUNT_SESSIONS_UP);
    char id[NODE_ID_TEXT_CAP];
    node_id_text(id, p->id);
    struct session_info info;
    session_info(ps->s, &info);
    out_log(n, LOG_INFO, "peer-connected", "peer=%s path=%s cipher=%s", id, path_kind_name(ps->via.via),
            aead_name(info.cipher));
    if (ps->via.via == PATH_WS_RELAY)
        peer_adopt(n, p, ps->via.number, now);
    /* The peer began anew: what else led to it was proved with keys that it may not have any more. */
    ways_close_all(n, p, &ps->via, now);
    p->resuming = false;
    struct way *w = way_open(n, p, &ps->via, now);
    if (w)
        way_proven(n, p, w, now);
    relays_session_up(n, p, now);
    direct_session_up(n, p, now);
    streams_session_up(n, p, now);
    relay_way_wish(n, p, now);
}

/* true: ps is gone. */
static bool session_is_down(struct node *n, struct peer_session *ps, enum session_down why, usec_t now)
{
    struct node_peer *p = ps->peer;
    char id[NODE_ID_TEXT_CAP];
    node_id_text(id, p->id);
    count(n, COUNT_SESSIONS_DOWN);
    if (ps == p->old) {
        session_drop_slot(n, &p->old);
        return true;
    }
    if (ps == p->next) {
        out_log(n, LOG_DEBUG, "handshake-failed", "peer=%s why=%s", id, session_down_name(why));
        session_drop_slot(n, &p->next);
        p->tries++;
        if (!peer_connected(p))
            peer_retry_later(n, p, now);
        return true;
    }
    out_log(n, LOG_INFO, "peer-disconnected", "peer=%s why=%s", id, session_down_name(why));
    session_drop_slot(n, &p->cur);
    circuits_neighbour_lost(n, p, now);
    ways_close_all(n, p, NULL, now);
    direct_stop(n, p);
    lan_peer_lost(n, p, now);
    p->resuming = false;
    struct origin o;
    if (peer_reliable(n, p, &o) && !p->next && peer_eager(n, p->id)) {
        p->tries = why == DOWN_EXHAUSTED ? 0 : 1;
        peer_retry_later(n, p, now);
    }
    return true;
}

static void path_proven(struct node *n, struct peer_session *ps, uint32_t path, usec_t now)
{
    struct way *w = way_by_id(ps->peer, path);
    if (!w || ps != ps->peer->cur)
        return;
    bool again = w->proven;
    if (w->asking)
        count(n, COUNT_RESUMES_PROVEN);
    if (w->at.via == PATH_WS_RELAY)
        peer_adopt(n, ps->peer, w->at.number, now);
    way_proven(n, ps->peer, w, now);
    if (!again || origin_reliable(&w->at))
        message_heads(n, ps->peer, now);
    direct_way_proven(n, ps->peer, w, now);
}

static void path_failed(struct node *n, struct peer_session *ps, uint32_t path, usec_t now)
{
    if (ps == ps->peer->cur)
        way_failed(n, ps->peer, path, now);
}

static void session_said(struct node *n, struct peer_session *ps, const struct session_event *ev, usec_t now)
{
    uint8_t copy[SESSION_CTL_MAX];
    size_t len = ev->message.n < sizeof copy ? ev->message.n : sizeof copy;
    if (len > 0)
        memcpy(copy, ev->message.p, len);
    message_input(n, ps, n->in_way, ev->ctl_type, bytes_of(copy, len), now);
}

static void session_heads_said(struct node *n, struct peer_session *ps, const struct session_event *ev,
                               usec_t now)
{
    struct hs_head heads[HS_HEADS_MAX];
    size_t heads_n = ev->head_count < HS_HEADS_MAX ? ev->head_count : HS_HEADS_MAX;
    memcpy(heads, ev->heads, heads_n * sizeof *heads);
    for (size_t i = 0; i < heads_n; i++)
        head_claimed(n, ps->peer, &heads[i], false, now);
}

void peer_events(struct node *n, struct peer_session *ps, usec_t now)
{
    struct session_event ev;
    peer_touch(n, ps->peer);
    while (session_event(ps->s, &ev)) {
        switch (ev.kind) {
        case SESSION_UP:
            session_is_up(n, ps, now);
            break;
        case SESSION_DOWN:
            if (session_is_down(n, ps, ev.down, now))
                return;
            break;
        case SESSION_HEADS:
            session_heads_said(n, ps, &ev, now);
            break;
        case SESSION_REKEYED:
            count(n, COUNT_REKEYS);
            break;
        case SESSION_PATH_PROVEN:
            path_proven(n, ps, ev.path, now);
            break;
        case SESSION_PATH_FAILED:
            path_failed(n, ps, ev.path, now);
            break;
        case SESSION_MESSAGE:
            session_said(n, ps, &ev, now);
            break;
        }
    }
}

/* ---- Bytes. */

/* What came, and where from. */
struct datagram {
    struct origin from;
    int type;
    uint8_t *p;
    size_t n;
};

static void hello_refused(struct node *n, struct peer_session **fresh, enum node_counter why)
{
    count(n, why);
    session_drop_slot(n, fresh);
}

/* A HELLO for nobody's handshake yet: a session beside what there is. It takes the place of a handshake that
 * waits only when its signature is good. */
static void hello_answer(struct node *n, struct node_peer *p, const struct hs_hello *h,
                         const struct datagram *d, usec_t now)
{
    uint8_t nonce[HS_NONCE_LEN];
    memcpy(nonce, h->nonce, sizeof nonce);
    if (n->half_open >= n->limits.half_open) {
        count(n, COUNT_HELLO_FULL);
        return;
    }
    struct peer_session *fresh = session_make(n, p, false, &d->from);
    if (!fresh) {
        count(n, COUNT_HELLO_FULL);
        return;
    }
    struct session_in got;
    enum session_drop why = DROP_NONE;
    if (session_input(fresh->s, 0, d->p, d->n, now, &got, &why) < 0) {
        hello_refused(n, &fresh, COUNT_HELLO_REFUSED);
        return;
    }
    session_drop_slot(n, &p->next);
    p->next = fresh;
    memcpy(fresh->hello, nonce, sizeof nonce);
    p->start_at = USEC_NEVER;
    p->resuming = false;
    streams_claim(n, &d->from, p, now);
    count(n, COUNT_HANDSHAKES_ANSWERED);
    peer_events(n, fresh, now);
}

static void hello_input(struct node *n, const struct datagram *d, usec_t now)
{
    struct hs_hello h;
    if (!ratelimit_take(streams_hellos(n, &d->from), 1, now)) {
        count(n, COUNT_HELLO_RATE);
        return;
    }
    if (hs_hello_read(&h, bytes_of(d->p, d->n)) < 0) {
        count(n, COUNT_BAD_DATAGRAM);
        return;
    }
    struct node_peer *p = peer_by_id(n, h.from);
    if (!p || p->doomed || memcmp(h.to, n->id, NODE_ID_LEN) != 0 || !peer_common(n, h.from, NULL) ||
        !streams_may(n, &d->from, p)) {
        count(n, COUNT_HELLO_UNKNOWN);
        return;
    }
    struct peer_session *known = p->next;
    bool again = known && !known->ours && memcmp(known->hello, h.nonce, HS_NONCE_LEN) == 0;
    bool crossing = known && known->ours && session_state(known->s) != SESSION_RESPONSE_SENT;
    if (p->cur && memcmp(p->cur->hello, h.nonce, HS_NONCE_LEN) == 0)
        return; /* late copy of what became the session in use */
    if (!again && !crossing) {
        hello_answer(n, p, &h, d, now);
        return;
    }
    uint8_t nonce[HS_NONCE_LEN];
    memcpy(nonce, h.nonce, sizeof nonce);
    struct session_in got;
    enum session_drop why = DROP_NONE;
    if (session_input(known->s, 0, d->p, d->n, now, &got, &why) == 0) {
        if (crossing)
            memcpy(known->hello, nonce, sizeof nonce);
        known->via = d->from;
        streams_claim(n, &d->from, p, now);
    }
    peer_events(n, known, now);
}

/* The receiver index of a handshake message other than HELLO; 0: none. */
static uint32_t handshake_receiver(struct bytes in)
{
    union {
        struct hs_challenge challenge;
        struct hs_response response;
        struct hs_established established;
        struct hs_reject reject;
    } m;
    switch (hs_message_of(in)) {
    case HS_CHALLENGE:
        return hs_challenge_read(&m.challenge, in) == 0 ? m.challenge.receiver : 0;
    case HS_RESPONSE:
        return hs_response_read(&m.response, in) == 0 ? m.response.receiver : 0;
    case HS_ESTABLISHED:
        return hs_established_read(&m.established, in) == 0 ? m.established.receiver : 0;
    case HS_REJECT:
        return hs_reject_read(&m.reject, in) == 0 ? m.reject.receiver : 0;
    default:
        return 0;
    }
}

static uint32_t receiver_of(int type, struct bytes in)
{
    if (type == WIRE_HANDSHAKE)
        return handshake_receiver(in);
    /* Data packets and RESUME have it at the same place. */
    struct rd r = rd_of(in);
    rd_u32(&r);
    uint32_t index = rd_u32(&r);
    return rd_ok(&r) ? index : 0;
}

void payload_input(struct node *n, struct node_peer *p, const struct session_in *in, usec_t now)
{
    for (size_t i = 0; i < n->party_count; i++) {
        struct node_party *np = n->parties[i];
        if (np->tag != in->party || np->state != NP_ACTIVE || !np->vnet)
            continue;
        if ((in->kind == INNER_FRAME) != (party_mode(np->log) == MODE_TAP)) {
            count(n, COUNT_WRONG_KIND);
            return;
        }
        if (in->flags & INNER_PARTIAL && checksum_complete(in->p, in->n, in->kind == INNER_FRAME) < 0) {
            count(n, COUNT_WRONG_KIND);
            return;
        }
        struct vnet_verdict v = vnet_from_peer(np->vnet, p->ref, in->p, in->n, now);
        if (v.action != VNET_TO_DEVICE)
            return;
        if (np->dev == DEV_OPEN)
            out_frame_any(n, np->ref, in->p, in->n);
        else
            count(n, COUNT_NO_DEVICE);
        return;
    }
    count(n, COUNT_UNKNOWN_PARTY);
}

/* The peer's RESUME came where no way is known: one to answer on, until it proves something. */
static struct way *way_for_resume(struct node *n, struct peer_session *ps, const struct datagram *d,
                                  usec_t now)
{
    uint8_t view[40];
    struct way *w = way_by_origin(ps->peer, &d->from);
    if (!w && ps == ps->peer->cur && !way_costs(ps->peer, &d->from) &&
        ratelimit_take(&ps->peer->new_ways, 1, now))
        w = way_open(n, ps->peer, &d->from, now);
    if (w)
        session_view(ps->s, way_view(view, n, &d->from));
    return w;
}

/* Data from an address that we do not know: the peer's NAT gave it another one, or it moved. Its packets are
 * good; ours go there when both have proved it. */
static void way_discovered(struct node *n, struct node_peer *p, const struct origin *from, usec_t now)
{
    if (from->via == PATH_WS_RELAY || !p->cur || way_costs(p, from) || !ratelimit_take(&p->new_ways, 1, now))
        return;
    struct way *w = way_open(n, p, from, now);
    if (w)
        way_prove(n, p, w, now);
}

static void path_brought(struct node_peer *p, uint32_t id, uint8_t kind, usec_t now)
{
    if (!inner_is_payload(kind) && kind != INNER_CELL) {
        paths_heard(p->paths, id, now);
        return;
    }
    paths_received(p->paths, id, now);
    paths_carried(p->paths, id, now);
}

static void session_bytes(struct node *n, struct peer_session *ps, const struct datagram *d, usec_t now)
{
    struct session_in got = {0};
    enum session_drop why = DROP_NONE;
    struct node_peer *p = ps->peer;
    if (!streams_may(n, &d->from, p)) {
        count(n, COUNT_RX_NO_WAY);
        return;
    }
    bool strange = d->type == WIRE_RESUME && !way_by_origin(p, &d->from) && !origin_reliable(&d->from);
    struct way *w = d->type == WIRE_RESUME ? way_for_resume(n, ps, d, now) : way_by_origin(p, &d->from);
    if (d->type == WIRE_RESUME && !w) {
        count(n, COUNT_RX_NO_WAY);
        return;
    }
    uint32_t id = w ? w->id : 0;
    int rc = session_input(ps->s, id, d->p, d->n, now, &got, &why);
    if (rc == 0) {
        p->seen = now;
        if (d->type == WIRE_HANDSHAKE)
            ps->via = d->from;
        streams_claim(n, &d->from, p, now);
        if (w && w->proven && p->paths && d->type == WIRE_DATA)
            path_brought(p, id, got.kind, now);
        else if (!w && d->type == WIRE_DATA && ps == p->cur)
            way_discovered(n, p, &d->from, now);
    }
    if (rc < 0 && strange)
        way_close(n, p, w, now); /* it was opened for bytes that are not the peer's */
    n->in_way = id;
    peer_events(n, ps, now);
    n->in_way = 0;
    if (rc < 0 || p->doomed)
        return;
    if (got.kind == INNER_FRAME || got.kind == INNER_PACKET)
        payload_input(n, p, &got, now);
    else if (got.kind == INNER_CELL)
        circuits_cell(n, p, &d->from, got.p, got.n, now);
}

void peers_input(struct node *n, const struct origin *from, uint8_t *in, size_t len, usec_t now)
{
    struct bytes b = bytes_of(in, len);
    struct datagram d = {*from, wire_type_of(b), in, len};
    /* Handshakes ride reliable ways only: nothing to spoof, to fragment or to amplify. */
    if (d.type == WIRE_HANDSHAKE && !origin_reliable(from)) {
        count(n, COUNT_BAD_DATAGRAM);
        return;
    }
    if (d.type == WIRE_HANDSHAKE && hs_message_of(b) == HS_HELLO) {
        hello_input(n, &d, now);
        return;
    }
    if (d.type != WIRE_DATA && d.type != WIRE_RESUME && d.type != WIRE_HANDSHAKE) {
        count(n, COUNT_BAD_DATAGRAM);
        return;
    }
    uint32_t index = receiver_of(d.type, b);
    struct peer_session *ps = index != 0 ? map_get(n->by_index, &index) : NULL;
    if (ps)
        session_bytes(n, ps, &d, now);
    else
        count(n, COUNT_UNKNOWN_INDEX);
}
