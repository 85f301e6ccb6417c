#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "crypto/secret.h"
#include "path/circuit_int.h"

/* A refusal, said in the clear to the neighbour whose CREATE it is. */
static void refuse(struct circuits *c, const uint8_t to[NODE_ID_LEN], uint32_t id, enum circuit_reason reason)
{
    c->counts.refused[reason]++;
    send_destroy(c, to, CIRCUIT_DESTROY_BACK, id, reason);
}

static size_t in_party(const struct circuits *c, uint32_t party)
{
    size_t n = 0;
    for (const struct circuit *k = c->all; k; k = k->next_c)
        n += k->party == party && k->role != ROLE_OURS;
    return n;
}

/* Room for one more neighbour: those who have nothing open, and whose bucket is full again, need not be
 * remembered. */
static void neighbours_forget(struct circuits *c, usec_t now)
{
    size_t pos = 0;
    for (struct neighbour *n; (n = map_next(c->neighbours, &pos));)
        if (n->circuits == 0 && usec_since(now, n->used) > CIRCUIT_BUILD) {
            map_del(c->neighbours, n->node);
            free(n);
        }
}

static struct neighbour *neighbour_of(struct circuits *c, const uint8_t node[NODE_ID_LEN], usec_t now)
{
    struct neighbour *n = map_get(c->neighbours, node);
    if (!n) {
        if (map_count(c->neighbours) >= CIRCUITS_NEIGHBOURS_MAX)
            neighbours_forget(c, now);
        n = calloc(1, sizeof *n);
        if (!n || map_put(c->neighbours, node, n) < 0) {
            free(n);
            return NULL;
        }
        memcpy(n->node, node, NODE_ID_LEN);
        ratelimit_init(&n->creates, CIRCUIT_CREATES_PER_S, CIRCUIT_CREATES_BURST, now);
    }
    n->used = now;
    return n;
}

static int created_send(struct circuits *c, struct circuit *k)
{
    struct wr w = wr_of(c->scratch, sizeof c->scratch);
    circuit_header_write(&w, CIRCUIT_CREATED, k->prev.id);
    wr_copy(&w, k->answer, CIRCUIT_ANSWER_LEN);
    return send_cell(c, k->prev.node, wr_done(&w));
}

/* A CREATE of a circuit that exists: answered again if it is the same, and the answer is not known to have
 * arrived. */
static void create_again(struct circuits *c, struct circuit *k, const uint8_t asked[SHA384_LEN])
{
    if (k->answer && memcmp(k->asked, asked, SHA384_LEN) == 0)
        created_send(c, k);
    else
        c->counts.dropped++;
}

static int open_new(struct circuits *c, const uint8_t from[NODE_ID_LEN], const struct circuit_cell *cell,
                    const uint8_t asked[SHA384_LEN], struct neighbour *n, usec_t now)
{
    struct circuit *k = circuit_new(c, cell->party, ROLE_OPEN, 1, now);
    int rc = -ENOMEM;
    if (!k)
        return rc;
    k->answer = malloc(CIRCUIT_ANSWER_LEN);
    memcpy(k->asked, asked, SHA384_LEN);
    if (k->answer)
        rc = offer_answer(&c->cfg, cell->party, &cell->offer, k->answer, k->layer);
    if (rc == 0)
        rc = link_open(c, k, &k->prev, from, cell->circuit);
    if (rc < 0) {
        circuit_free(c, k);
        return rc;
    }
    n->circuits++;
    created_send(c, k);
    return 0;
}

void hop_create(struct circuits *c, const uint8_t from[NODE_ID_LEN], const struct circuit_cell *cell,
                usec_t now)
{
    uint8_t asked[SHA384_LEN];
    struct circuit *k = link_find(c->by_prev, from, cell->circuit);
    sha384(asked, &cell->offer.all, 1);
    if (k) {
        create_again(c, k, asked);
        return;
    }
    if (!c->cfg.member(c->cfg.arg, cell->party, from)) {
        refuse(c, from, cell->circuit, CIRCUIT_NO_MEMBER);
        return;
    }
    struct neighbour *n = neighbour_of(c, from, now);
    if (!n || n->circuits >= CIRCUITS_PER_NEIGHBOUR || c->opened >= CIRCUITS_OPEN_MAX ||
        in_party(c, cell->party) >= CIRCUITS_PER_PARTY) {
        refuse(c, from, cell->circuit, CIRCUIT_BUSY);
        return;
    }
    /* Too fast is no refusal: it asks again in a moment. */
    if (!ratelimit_take(&n->creates, 1, now) || !ratelimit_take(&c->creates, 1, now))
        c->counts.dropped++;
    else if (open_new(c, from, cell, asked, n, now) == -EBADMSG)
        refuse(c, from, cell->circuit, CIRCUIT_PROTOCOL);
}

int hop_send(struct circuits *c, struct circuit *k, const struct circuit_text *t, size_t least)
{
    size_t from;
    struct wr w = text_begin(c, t, 1, least, &from);
    int rc = layer_seal(k->layer, k->layer->back, &w, from);
    if (rc < 0)
        return rc;
    struct wr head = wr_of(w.p, CIRCUIT_HEADER_LEN);
    circuit_header_write(&head, CIRCUIT_BACK, k->prev.id);
    return send_cell(c, k->prev.node, wr_done(&w));
}

/* Extending. */

static void ask_next(struct circuits *c, struct circuit *k, usec_t now)
{
    const uint8_t *o = k->ext->offer;
    struct circuit_offer offer = {.cipher = o[1], .dh = o + 2, .kem = o + 2 + X25519_LEN};
    struct wr w = wr_of(c->scratch, sizeof c->scratch);
    circuit_cell_write(&w,
                       &(struct circuit_cell){
                           .kind = CIRCUIT_CREATE, .circuit = k->next.id, .party = k->party, .offer = offer});
    send_cell(c, k->next.node, wr_done(&w));
    k->repeat = at(c, now + k->gap);
    k->gap = usec_min(k->gap + k->gap / 2, CIRCUIT_RETRY_MAX);
}

/* What we know of the attempt, told to the builder (again). */
static void tell_builder(struct circuits *c, struct circuit *k)
{
    const uint8_t *a = k->ext->answer;
    struct circuit_text t = {.command = CIRCUIT_REFUSE, .reason = k->ext->reason};
    if (!k->ext->refused)
        t = (struct circuit_text){
            .command = CIRCUIT_EXTENDED,
            .answer = {.dh = a, .ct = a + X25519_LEN, .sig = a + X25519_LEN + KEM_CT_LEN}};
    hop_send(c, k, &t, build_least(c));
}

void hop_refused(struct circuits *c, struct circuit *k, enum circuit_reason reason, bool told, usec_t now)
{
    if (k->next.open && !told)
        send_destroy(c, k->next.node, CIRCUIT_DESTROY_FORTH, k->next.id, reason);
    link_close(c, k, &k->next);
    if (k->role == ROLE_RELAY)
        circuit_role(c, k, ROLE_OPEN);
    k->deadline = at(c, now + CIRCUIT_BUILD);
    k->ext->refused = true;
    k->ext->reason = reason;
    tell_builder(c, k);
}

/* CIRCUIT_REASON_COUNT where nothing speaks against it. */
static enum circuit_reason extend_judge(const struct circuits *c, const struct circuit *k,
                                        const uint8_t *node, uint32_t *rate)
{
    if (!c->cfg.relays || !c->cfg.relays(c->cfg.arg, k->party, rate))
        return CIRCUIT_NO_RELAY;
    if (memcmp(node, c->cfg.self, NODE_ID_LEN) == 0 || memcmp(node, k->prev.node, NODE_ID_LEN) == 0)
        return CIRCUIT_PROTOCOL;
    if (!c->cfg.member(c->cfg.arg, k->party, node))
        return CIRCUIT_NO_MEMBER;
    return c->relayed < CIRCUITS_RELAYED ? CIRCUIT_REASON_COUNT : CIRCUIT_BUSY;
}

static void extend_new(struct circuits *c, struct circuit *k, const struct circuit_text *t, int version,
                       usec_t now)
{
    uint32_t rate = 0;
    enum circuit_reason reason = version < 0 ? CIRCUIT_PROTOCOL : extend_judge(c, k, t->node, &rate);
    k->ext = calloc(1, sizeof *k->ext);
    if (!k->ext)
        return; /* it is asked again */
    if (reason == CIRCUIT_REASON_COUNT && link_open(c, k, &k->next, t->node, link_fresh_id(c, t->node)) < 0)
        reason = CIRCUIT_BUSY;
    if (reason != CIRCUIT_REASON_COUNT) {
        c->counts.refused[reason]++;
        hop_refused(c, k, reason, true, now);
        return;
    }
    circuit_role(c, k, ROLE_RELAY);
    memcpy(k->ext->offer, t->offer.all.p, CIRCUIT_OFFER_LEN);
    k->limited = rate > 0;
    ratelimit_init(&k->rate, rate, rate > CIRCUIT_RATE_BURST ? rate : CIRCUIT_RATE_BURST, now);
    k->deadline = at(c, now + CIRCUIT_BUILD);
    k->gap = CIRCUIT_RETRY;
    ask_next(c, k, now);
}

static bool extend(struct circuits *c, struct circuit *k, const struct circuit_text *t, int version,
                   usec_t now)
{
    if (k->role == ROLE_OPEN && !k->ext) {
        extend_new(c, k, t, version, now);
        return true;
    }
    if (!k->ext)
        return false;
    if (k->ext->answered || k->ext->refused)
        tell_builder(c, k);
    return true; /* else the next hop is being asked */
}

void hop_created(struct circuits *c, struct circuit *k, const struct circuit_cell *cell, usec_t now)
{
    if (!k->ext || k->ext->answered) {
        c->counts.dropped++;
        return;
    }
    memcpy(k->ext->answer, cell->answer.all.p, CIRCUIT_ANSWER_LEN);
    k->ext->answered = true;
    k->heard = now;
    tell_builder(c, k);
}

/* Relaying. */

static bool may_pass(struct circuits *c, struct circuit *k, uint8_t *big, size_t n, usec_t now)
{
    if (n > CIRCUIT_CELL_MAX) {
        if (*big >= CIRCUIT_BIG_CELLS)
            return false;
        ++*big;
    }
    return !k->limited || ratelimit_take(&k->rate, n, now);
}

static bool pass_forth(struct circuits *c, struct circuit *k, struct bytes inner, size_t n, usec_t now)
{
    if (k->role != ROLE_RELAY || (k->ext && !k->ext->answered) || !may_pass(c, k, &k->big_forth, n, now))
        return false;
    free(k->ext); /* the builder has the answer, or it could not seal for the next hop */
    k->ext = NULL;
    struct wr w = wr_of(c->scratch, sizeof c->scratch);
    circuit_header_write(&w, CIRCUIT_FORTH, k->next.id);
    wr_bytes(&w, inner);
    c->counts.relayed_cells++;
    c->counts.relayed_bytes += n;
    send_cell(c, k->next.node, wr_done(&w));
    return true;
}

void hop_back(struct circuits *c, struct circuit *k, const struct circuit_cell *cell, size_t n, usec_t now)
{
    struct wr w = wr_of(c->scratch, sizeof c->scratch);
    size_t from = CIRCUIT_HEADER_LEN + CIRCUIT_COUNTER_LEN;
    if (k->ext || n + CIRCUIT_LAYER_LEN > CIRCUIT_BUILD_MAX || !may_pass(c, k, &k->big_back, n, now)) {
        c->counts.dropped++;
        return;
    }
    wr_take(&w, from);
    wr_u8(&w, CIRCUIT_PASS);
    wr_bytes(&w, cell->layer);
    if (layer_seal(k->layer, k->layer->back, &w, from) < 0)
        return;
    struct wr head = wr_of(w.p, CIRCUIT_HEADER_LEN);
    circuit_header_write(&head, CIRCUIT_BACK, k->prev.id);
    k->heard = now;
    c->counts.relayed_cells++;
    c->counts.relayed_bytes += n;
    send_cell(c, k->prev.node, wr_done(&w));
}

/* Ending. */

/* Its owner never heard of it, so it is not told of its end. */
static void refuse_end(struct circuits *c, struct circuit *k)
{
    send_destroy(c, k->prev.node, CIRCUIT_DESTROY_BACK, k->prev.id, CIRCUIT_BUSY);
    circuit_free(c, k);
}

/* The first cell that is for us makes us the end. false: gone, for there is no room. */
static bool become_end(struct circuits *c, struct circuit *k)
{
    if (c->ended >= CIRCUITS_ENDED_MAX || c->ours + c->ended >= CIRCUITS_MAX || circuit_give_id(c, k) < 0 ||
        !circuit_say(c, k, CIRCUIT_INCOMING, NULL, k->prev.node)) {
        c->counts.refused[CIRCUIT_BUSY]++;
        refuse_end(c, k);
        return false;
    }
    circuit_role(c, k, ROLE_END);
    c->counts.incoming++;
    return true;
}

static bool for_us(struct circuits *c, struct circuit *k, const struct circuit_text *t)
{
    if (k->role == ROLE_RELAY || k->ext || t->data.n > CIRCUIT_PAYLOAD_MAX)
        return false;
    if (k->role == ROLE_OPEN && !become_end(c, k))
        return true;
    if (t->command == CIRCUIT_DATA)
        say_datagram(c, k, t->data);
    else
        hop_send(c, k, &(struct circuit_text){.command = CIRCUIT_KEPT}, 0);
    return true;
}

void hop_forth(struct circuits *c, struct circuit *k, const struct circuit_cell *cell, size_t n, usec_t now)
{
    struct bytes opened;
    struct circuit_text t = {0};
    bool done = false;
    int rc = layer_open(k->layer, k->layer->forth, cell->layer, &opened);
    if (rc == 0) {
        k->heard = now;
        free(k->answer); /* the builder has it: it knows the keys */
        k->answer = NULL;
        rc = circuit_text_read(&t, opened);
        if (rc == -EPROTONOSUPPORT)
            t.command = CIRCUIT_EXTEND;
        if (t.command == CIRCUIT_EXTEND && rc != -EBADMSG)
            done = extend(c, k, &t, rc, now);
        else if (rc == 0 && t.command == CIRCUIT_PASS)
            done = pass_forth(c, k, t.data, n, now);
        else if (rc == 0 && (t.command == CIRCUIT_DATA || t.command == CIRCUIT_KEEP))
            done = for_us(c, k, &t);
    }
    if (!done)
        c->counts.dropped++;
}

static bool asking(const struct circuit *k)
{
    return k->role == ROLE_RELAY && k->ext && !k->ext->answered;
}

void hop_tick(struct circuits *c, struct circuit *k, usec_t now)
{
    if (now >= k->heard + CIRCUIT_IDLE || (k->role == ROLE_OPEN && now >= k->deadline))
        circuit_end(c, k, CIRCUIT_TIMEOUT, NULL);
    else if (asking(k) && now >= k->deadline)
        hop_refused(c, k, CIRCUIT_TIMEOUT, false, now);
    else if (asking(k) && now >= k->repeat)
        ask_next(c, k, now);
}

usec_t hop_wake(const struct circuit *k)
{
    usec_t idle = k->heard + CIRCUIT_IDLE;
    if (k->role == ROLE_OPEN)
        return usec_min(idle, k->deadline);
    return asking(k) ? usec_min(idle, usec_min(k->deadline, k->repeat)) : idle;
}
