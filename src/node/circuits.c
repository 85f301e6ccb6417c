/* Circuits as ways to peers: their cells travel inside the sessions with our neighbours, their datagrams are
 * those of sessions with whoever is at the other end (doc/protocol/circuits.md, relays.md section 3). A
 * circuit never goes over another one: cells take other ways only, and what comes over a circuit is no cell.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/relays_int.h"

/* ---- What the core asks. */

const struct node_party *np_by_tag(const struct node *n, uint32_t tag)
{
    for (size_t i = 0; i < n->party_count; i++)
        if (n->parties[i]->state == NP_ACTIVE && n->parties[i]->tag == tag)
            return n->parties[i];
    return NULL;
}

static const struct sign_public *member_key(void *arg, uint32_t party, const uint8_t node[NODE_ID_LEN])
{
    const struct node *n = arg;
    struct sign_public *key = &n->relaying->key;
    const struct node_party *np = np_by_tag(n, party);
    return np && party_key(np->log, node, key) == 0 ? key : NULL;
}

static bool relays_for(void *arg, uint32_t party, uint32_t *bytes_per_s)
{
    const struct node *n = arg;
    uint64_t rate = (uint64_t)n->limits.relay_kib_per_s * 1024;
    *bytes_per_s = rate < UINT32_MAX ? (uint32_t)rate : UINT32_MAX;
    return n->limits.relay_for_members && np_by_tag(n, party);
}

int relaying_init(struct node *n, usec_t now)
{
    struct relaying *r = n->relaying = calloc(1, sizeof *r);
    if (!r)
        return -ENOMEM;
    struct circuits_config c = {
        .key = n->key, .rng = n->rng, .member = member_key, .relays = relays_for, .arg = n};
    node_id_of(c.self, sign_key_public(n->key));
    r->look_at = r->offer_at = USEC_NEVER;
    r->c = circuits_new(&c, now);
    return r->c ? 0 : -ENOMEM;
}

static void reassembly_drop(struct relaying *r, uint32_t circuit)
{
    for (struct reassembly **at = &r->reassemblies; *at; at = &(*at)->next) {
        struct reassembly *a = *at;
        if (a->circuit != circuit)
            continue;
        *at = a->next;
        free(a);
        return;
    }
}

void relaying_done(struct node *n)
{
    struct relaying *r = n->relaying;
    if (!r)
        return;
    while (r->reassemblies)
        reassembly_drop(r, r->reassemblies->circuit);
    circuits_free(r->c);
    wipe(r->cell, sizeof r->cell);
    free(r);
    n->relaying = NULL;
}

struct indirect *indirect_need(struct node_peer *p)
{
    if (!p->indirect)
        p->indirect = calloc(1, sizeof *p->indirect);
    return p->indirect;
}

void indirect_free(struct node_peer *p)
{
    if (p->indirect)
        free(p->indirect->offer);
    free(p->indirect);
    p->indirect = NULL;
}

/* ---- Cells out. */

struct way *cell_way(const struct node_peer *p, size_t size)
{
    struct path_stats st, best = {.kind = PATH_NONE};
    uint32_t id;
    enum path_kind kind;
    if (!p->cur || !p->paths)
        return NULL;
    if (paths_best_for(p->paths, size, &id, &kind) && kind != PATH_MULTI_HOP)
        return way_by_id(p, id);
    for (size_t i = 0; i < paths_count(p->paths); i++) {
        if (!paths_stats_at(p->paths, i, &st) || !st.alive || st.kind == PATH_MULTI_HOP)
            continue;
        bool fits = st.mtu >= size, fitted = best.mtu >= size;
        if (best.kind == PATH_NONE || fits > fitted || (fits == fitted && st.srtt < best.srtt))
            best = st;
    }
    return best.kind == PATH_NONE ? NULL : way_by_id(p, best.id);
}

/* Cells that build exceed a datagram: a message of the session, in parts, on that very way. */
static int cell_message(struct node *n, struct node_peer *p, const struct way *w, struct bytes cell,
                        usec_t now)
{
    int rc = session_message_on(p->cur->s, w->id, MSG_CIRCUIT, cell, now);
    if (rc == -ENOBUFS) { /* the session's queue of control messages is short */
        peers_pump_one(n, p->cur, now);
        rc = session_message_on(p->cur->s, w->id, MSG_CIRCUIT, cell, now);
    }
    peers_pump_one(n, p->cur, now);
    return rc == -ENOBUFS ? 0 : rc; /* it comes again */
}

static int cell_datagram(struct node *n, struct node_peer *p, const struct way *w, struct bytes cell,
                         usec_t now)
{
    uint8_t *buf = n->relaying->cell;
    uint32_t second;
    enum path_kind kind;
    memcpy(buf + DATA_HEADROOM, cell.p, cell.n);
    int rc = session_seal(p->cur->s, INNER_CELL, 0, buf, cell.n, now);
    if (rc < 0) {
        count(n, COUNT_SEAL_FAILED);
        return rc;
    }
    size_t size = cell.n + DATA_OVERHEAD;
    origin_send(n, &w->at, false, buf, size, now);
    paths_sent(p->paths, w->id, now);
    if (!paths_second(p->paths, size, now, &second, &kind) || kind == PATH_MULTI_HOP || second == w->id)
        return 0;
    const struct way *other = way_by_id(p, second);
    if (other && origin_send(n, &other->at, false, buf, size, now))
        paths_sent(p->paths, second, now);
    return 0;
}

static bool cell_send(struct node *n, const struct circuit_out *out, usec_t now)
{
    struct node_peer *p = peer_by_id(n, out->to);
    struct way *w = p && !p->doomed ? cell_way(p, out->n + DATA_OVERHEAD) : NULL;
    if (!w)
        return false;
    struct bytes cell = bytes_of(out->p, out->n);
    int rc = out->reliable || out->n > CIRCUIT_CELL_MAX ? cell_message(n, p, w, cell, now)
                                                        : cell_datagram(n, p, w, cell, now);
    peer_touch(n, p);
    return rc == 0;
}

/* Sending may make more of them: that is for the outermost. */
static bool cells_flush(struct node *n, usec_t now)
{
    bool any = false;
    struct relaying *r = n->relaying;
    struct circuit_out out;
    if (r->flushing)
        return false;
    r->flushing = true;
    while (circuits_output(r->c, now, &out)) {
        any = true;
        if (cell_send(n, &out, now))
            continue;
        uint8_t to[NODE_ID_LEN];
        memcpy(to, out.to, sizeof to);
        count(n, COUNT_CELLS_NO_WAY);
        circuits_neighbour_gone(r->c, to, now);
    }
    r->flushing = false;
    return any;
}

/* ---- Datagrams out. */

/* FNV-1a: the same message sent again has the same number, so that pieces of both make one. */
static uint32_t message_number(const uint8_t *p, size_t len)
{
    uint32_t h = 2166136261u;
    for (size_t i = 0; i < len; i++)
        h = (h ^ p[i]) * 16777619u;
    return h;
}

static bool pieces_send(struct node *n, uint32_t id, const uint8_t *p, size_t len, usec_t now)
{
    size_t pieces = (len + PIECE_DATA_MAX - 1) / PIECE_DATA_MAX;
    if (pieces > PIECES_MAX)
        return false;
    struct piece one = {.message = message_number(p, len), .count = (uint8_t)pieces};
    for (size_t i = 0; i < pieces; i++) {
        uint8_t out[PIECE_HEADER_LEN + PIECE_DATA_MAX];
        size_t at = i * PIECE_DATA_MAX;
        struct wr w = wr_of(out, sizeof out);
        one.index = (uint8_t)i;
        one.data = bytes_of(p + at, len - at < PIECE_DATA_MAX ? len - at : PIECE_DATA_MAX);
        piece_write(&w, &one);
        if (circuit_send(n->relaying->c, id, wr_done(&w), now) < 0)
            return false;
    }
    return true;
}

bool circuit_way_send(struct node *n, uint32_t id, const uint8_t *p, size_t len, usec_t now)
{
    bool whole = wire_type_of(bytes_of(p, len)) != WIRE_HANDSHAKE || len <= PIECE_DATA_MAX;
    bool sent = whole ? circuit_send(n->relaying->c, id, bytes_of(p, len), now) == 0
                      : pieces_send(n, id, p, len, now);
    cells_flush(n, now);
    node_due(n, now); /* for what the core may have to say now */
    return sent;
}

/* ---- What comes. */

static void reassemblies_expire(struct relaying *r, usec_t now)
{
    for (struct reassembly *next, *a = r->reassemblies; a; a = next) {
        next = a->next;
        if (a->until <= now)
            reassembly_drop(r, a->circuit);
    }
}

static struct reassembly *reassembly_of(struct relaying *r, uint32_t circuit, const struct piece *p,
                                        usec_t now)
{
    struct reassembly *a;
    reassemblies_expire(r, now);
    for (a = r->reassemblies; a && a->circuit != circuit; a = a->next)
        ;
    if (!a) {
        if (!(a = malloc(sizeof *a)))
            return NULL;
        a->next = r->reassemblies;
        r->reassemblies = a;
        a->circuit = circuit;
        a->count = 0;
    }
    if (a->count != p->count || a->message != p->message) {
        a->message = p->message;
        a->count = p->count;
        a->have = 0;
        a->last = 0;
    }
    a->until = now + REASSEMBLY_LIFE;
    return a;
}

static void piece_input(struct node *n, const struct origin *from, struct bytes in, usec_t now)
{
    struct relaying *r = n->relaying;
    struct piece p;
    struct reassembly *a = piece_read(&p, in) == 0 ? reassembly_of(r, from->number, &p, now) : NULL;
    if (!a) {
        count(n, COUNT_BAD_DATAGRAM);
        return;
    }
    memcpy(a->p + (size_t)p.index * PIECE_DATA_MAX, p.data.p, p.data.n);
    a->have |= (uint16_t)(1u << p.index);
    if (p.index == p.count - 1)
        a->last = p.data.n;
    if (a->have != (1u << a->count) - 1)
        return;
    /* Judging it may end the circuit, and with it what is collected here. */
    struct reassembly **at = &r->reassemblies;
    while (*at != a)
        at = &(*at)->next;
    *at = a->next;
    size_t len = (size_t)(a->count - 1) * PIECE_DATA_MAX + a->last;
    if (wire_type_of(bytes_of(a->p, len)) == WIRE_HANDSHAKE)
        peers_input(n, from, a->p, len, now);
    else
        count(n, COUNT_BAD_DATAGRAM);
    free(a);
}

static void circuit_datagram(struct node *n, const struct circuit_event *ev, usec_t now)
{
    const struct origin from = {.via = PATH_MULTI_HOP, .number = ev->id};
    if (ev->n > 0 && ev->p[0] == PIECE_TYPE)
        piece_input(n, &from, bytes_of(ev->p, ev->n), now);
    else
        peers_input(n, &from, ev->p, ev->n, now);
}

static void circuit_said(struct node *n, const struct circuit_event *ev, usec_t now)
{
    switch (ev->kind) {
    case CIRCUIT_UP:
        relays_circuit_up(n, ev->id, now);
        break;
    case CIRCUIT_FAILED:
    case CIRCUIT_DOWN:
        reassembly_drop(n->relaying, ev->id);
        relays_circuit_lost(n, ev, now);
        break;
    case CIRCUIT_INCOMING: /* who it is, its datagrams say */
        break;
    case CIRCUIT_DATAGRAM:
        circuit_datagram(n, ev, now);
        break;
    }
}

void circuits_cell(struct node *n, struct node_peer *p, const struct origin *from, uint8_t *cell, size_t len,
                   usec_t now)
{
    uint8_t id[NODE_ID_LEN];
    if (from->via == PATH_MULTI_HOP || !p->cur) {
        count(n, COUNT_CELLS_REFUSED);
        return;
    }
    memcpy(id, p->id, sizeof id);
    circuits_input(n->relaying->c, id, cell, len, now);
    circuits_pump(n, now);
}

bool circuits_message(struct node *n, struct node_peer *p, uint32_t path, struct bytes m, usec_t now)
{
    const struct way *w = way_by_id(p, path);
    if (m.n == 0 || m.n > CIRCUIT_BUILD_MAX)
        return false;
    if (w && w->at.via == PATH_MULTI_HOP) {
        count(n, COUNT_CELLS_REFUSED);
        return true;
    }
    /* What follows from it waits for peers_pump: the session that brought it is still speaking. */
    uint8_t *cell = n->relaying->cell;
    memcpy(cell, m.p, m.n);
    circuits_input(n->relaying->c, p->id, cell, m.n, now);
    return true;
}

/* ---- Ends. */

struct node_peer *circuit_user(const struct node *n, uint32_t id, struct way **w)
{
    const struct origin o = {.via = PATH_MULTI_HOP, .number = id};
    for (size_t i = 0; i < n->peer_slots; i++) {
        struct node_peer *p = n->peers[i];
        if (!p)
            continue;
        *w = way_by_origin(p, &o);
        if (*w || (p->indirect && p->indirect->circuit == id) || (p->next && origin_equal(&p->next->via, &o)))
            return p;
    }
    *w = NULL;
    return NULL;
}

void circuits_neighbour_lost(struct node *n, const struct node_peer *p, usec_t now)
{
    circuits_neighbour_gone(n->relaying->c, p->id, now);
    node_due(n, now);
}

void circuit_way_closed(struct node *n, struct node_peer *p, uint32_t id, usec_t now)
{
    struct indirect *d = p->indirect;
    reassembly_drop(n->relaying, id);
    circuit_close(n->relaying->c, id, now);
    node_due(n, now);
    if (!d || d->circuit != id)
        return;
    d->circuit = d->way = 0;
    d->up_at = 0;
}

static bool circuit_all_members(const struct circuit_info *i, const struct node_party *np)
{
    for (size_t k = 0; k < i->hops; k++)
        if (!party_member(np->log, i->hop[k]))
            return false;
    return true;
}

/* Nothing of ours goes over or to who is not in the party any more. */
static void ways_judge(struct node *n, usec_t now)
{
    for (size_t i = 0; i < n->peer_slots; i++) {
        struct node_peer *p = n->peers[i];
        for (size_t k = 0; p && p->ways && k < WAYS_MAX; k++) {
            struct way *w = &p->ways[k];
            struct circuit_info info;
            if (w->id == 0 || w->at.via != PATH_MULTI_HOP ||
                !circuit_info(n->relaying->c, w->at.number, &info))
                continue;
            const struct node_party *np = np_by_tag(n, info.party);
            if (!np || !party_member(np->log, p->id) || !circuit_all_members(&info, np))
                way_close(n, p, w, now);
        }
    }
}

/* Who was removed from this party, but has another one in common with us, keeps its session; its circuits go.
 */
static void removed_judge(struct node *n, const struct node_party *np, uint64_t since, usec_t now)
{
    for (size_t i = 0; i < n->peer_slots; i++)
        if (n->peers[i] && party_removed_at(np->log, n->peers[i]->id) > since)
            circuits_neighbour_gone(n->relaying->c, n->peers[i]->id, now);
}

/* Parties that were left, and logs that grew since the last time. */
static void logs_follow(struct node *n, usec_t now)
{
    struct relaying *r = n->relaying;
    struct log_seen seen[PARTIES_CAP];
    size_t count = 0;
    bool changed = false;
    for (size_t i = 0; i < r->seen_count; i++) {
        const struct node_party *np = np_by_tag(n, r->seen[i].tag);
        if (np && party_seq(np->log) == r->seen[i].seq)
            continue;
        changed = true;
        if (np)
            removed_judge(n, np, r->seen[i].seq, now);
        else
            circuits_party_gone(r->c, r->seen[i].tag, now);
    }
    for (size_t i = 0; i < n->party_count; i++)
        if (n->parties[i]->state == NP_ACTIVE)
            seen[count++] = (struct log_seen){n->parties[i]->tag, party_seq(n->parties[i]->log)};
    memcpy(r->seen, seen, count * sizeof *seen);
    r->seen_count = count;
    if (changed)
        ways_judge(n, now);
}

/* ---- On. */

static void counts_take(struct node *n)
{
    struct circuits_counts s;
    circuits_counts(n->relaying->c, &s);
    n->counts[COUNT_CIRCUITS_BUILT] = s.built;
    n->counts[COUNT_CIRCUITS_FAILED] = s.failed;
    n->counts[COUNT_CIRCUITS_INCOMING] = s.incoming;
    n->counts[COUNT_CELLS_RELAYED] = s.relayed_cells;
    n->counts[COUNT_CELL_BYTES_RELAYED] = s.relayed_bytes;
    n->counts[COUNT_CELLS_DROPPED] = s.dropped;
}

bool circuits_pump(struct node *n, usec_t now)
{
    struct relaying *r = n->relaying;
    struct circuit_event ev;
    bool any = false, more = true;
    if (r->pumping)
        return false;
    r->pumping = true;
    logs_follow(n, now);
    while (more) {
        more = cells_flush(n, now);
        while (circuits_event(r->c, &ev)) {
            circuit_said(n, &ev, now);
            more = true;
        }
        any |= more;
    }
    r->pumping = false;
    counts_take(n);
    node_due(n, circuits_wake(r->c));
    return any;
}

/* ---- Time. */

usec_t relaying_wake(const struct node *n)
{
    const struct relaying *r = n->relaying;
    return usec_min(circuits_wake(r->c), usec_min(r->look_at, r->offer_at));
}

void relaying_tick(struct node *n, usec_t now)
{
    struct relaying *r = n->relaying;
    circuits_tick(r->c, now);
    if (r->offer_at <= now)
        offers_tell(n, now);
    if (r->look_at <= now)
        relays_look(n, now);
    reassemblies_expire(r, now);
    circuits_pump(n, now);
}

/* ---- For people. */

static void hop_name(const struct node *n, uint32_t party, const uint8_t id[NODE_ID_LEN], char *out,
                     size_t cap)
{
    const struct node_party *np = np_by_tag(n, party);
    const struct party_member *m = np ? party_member(np->log, id) : NULL;
    char text[NODE_ID_TEXT_CAP];
    node_id_text(text, id);
    snprintf(out, cap, "%s", m && m->name[0] ? m->name : text);
}

bool circuit_relays_text(const struct node *n, uint32_t id, char *out, size_t cap)
{
    struct circuit_info i;
    size_t at = 0;
    out[0] = '\0';
    if (!circuit_info(n->relaying->c, id, &i))
        return false;
    /* Of one that came in, the neighbour is all that we know. */
    size_t relays = i.ours ? i.hops - 1 : 1;
    for (size_t k = 0; k < relays && at < cap; k++) {
        char name[NAME_CAP + NODE_ID_TEXT_CAP];
        hop_name(n, i.party, i.hop[k], name, sizeof name);
        at += (size_t)snprintf(out + at, cap - at, "%s%s", k > 0 ? " > " : "", name);
    }
    return true;
}

static json_t *circuit_json(const struct node *n, const struct node_peer *p, const struct circuit_info *i,
                            uint32_t id, usec_t now)
{
    char text[NODE_ID_TEXT_CAP];
    json_t *hops = json_array();
    for (size_t k = 0; k < i->hops; k++) {
        char name[NAME_CAP + NODE_ID_TEXT_CAP];
        hop_name(n, i->party, i->hop[k], name, sizeof name);
        json_array_append_new(hops, text_json(name));
    }
    node_id_text(text, p->id);
    return json_pack("{s:I, s:s, s:b, s:b, s:o, s:I}", "id", (json_int_t)id, "peer", text, "ours", i->ours,
                     "up", i->up, "hops", hops, "age_s", (json_int_t)(usec_since(now, i->since) / SEC));
}

json_t *circuits_json(const struct node *n, usec_t now)
{
    struct circuits_counts s;
    json_t *list = json_array();
    circuits_counts(n->relaying->c, &s);
    for (size_t i = 0; i < n->peer_slots; i++) {
        const struct node_peer *p = n->peers[i];
        struct circuit_info info;
        for (size_t k = 0; p && p->ways && k < WAYS_MAX; k++) {
            const struct way *w = &p->ways[k];
            if (w->id != 0 && w->at.via == PATH_MULTI_HOP &&
                circuit_info(n->relaying->c, w->at.number, &info))
                json_array_append_new(list, circuit_json(n, p, &info, w->at.number, now));
        }
        if (p && p->indirect && p->indirect->circuit != 0 && p->indirect->way == 0 &&
            circuit_info(n->relaying->c, p->indirect->circuit, &info))
            json_array_append_new(list, circuit_json(n, p, &info, p->indirect->circuit, now));
    }
    return json_pack("{s:b, s:I, s:I, s:o}", "relaying", n->limits.relay_for_members != 0, "relayed_now",
                     (json_int_t)s.relayed_now, "open", (json_int_t)s.open, "list", list);
}
