#include "path/circuit.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "crypto/secret.h"
#include "path/circuit_int.h"

/* Links that can be open at once: towards builders, and away from them. */
#define PREV_MAX (CIRCUITS_OPEN_MAX + CIRCUITS_RELAYED + CIRCUITS_ENDED_MAX)
#define NEXT_MAX (CIRCUITS_MAX + CIRCUITS_RELAYED)

struct link_key {
    uint8_t node[NODE_ID_LEN];
    uint32_t id;
};

static struct link_key link_key(const uint8_t node[NODE_ID_LEN], uint32_t id)
{
    struct link_key key = {.id = id};
    memcpy(key.node, node, NODE_ID_LEN);
    return key;
}

struct circuits *circuits_new(const struct circuits_config *cfg, usec_t now)
{
    struct circuits *c = calloc(1, sizeof *c);
    if (!c)
        return NULL;
    c->cfg = *cfg;
    c->ids = map_new(sizeof(uint32_t), CIRCUITS_MAX, rng_u64(&cfg->rng));
    c->by_prev = map_new(sizeof(struct link_key), PREV_MAX, rng_u64(&cfg->rng));
    c->by_next = map_new(sizeof(struct link_key), NEXT_MAX, rng_u64(&cfg->rng));
    c->neighbours = map_new(NODE_ID_LEN, CIRCUITS_NEIGHBOURS_MAX, rng_u64(&cfg->rng));
    ratelimit_init(&c->creates, CIRCUIT_CREATES_ALL_PER_S, CIRCUIT_CREATES_ALL_BURST, now);
    c->data.tail = &c->data.head;
    c->reliable.tail = &c->reliable.head;
    c->events_tail = &c->events;
    c->wake = USEC_NEVER;
    if (c->ids && c->by_prev && c->by_next && c->neighbours)
        return c;
    circuits_free(c);
    return NULL;
}

static void queue_free(struct queue *q)
{
    for (struct queued *next, *m = q->head; m; m = next) {
        next = m->next;
        free(m);
    }
}

static void event_free(struct event *e)
{
    if (e)
        wipe(e->data, e->ev.n);
    free(e);
}

void circuits_free(struct circuits *c)
{
    if (!c)
        return;
    while (c->all)
        circuit_free(c, c->all);
    size_t pos = 0;
    for (struct neighbour *n; c->neighbours && (n = map_next(c->neighbours, &pos));)
        free(n);
    for (struct event *next, *e = c->events; e; e = next) {
        next = e->next;
        event_free(e);
    }
    event_free(c->event);
    queue_free(&c->data);
    queue_free(&c->reliable);
    free(c->out);
    map_free(c->ids);
    map_free(c->by_prev);
    map_free(c->by_next);
    map_free(c->neighbours);
    wipe(c, sizeof *c);
    free(c);
}

/* Circuits and their links. */

static size_t *role_count(struct circuits *c, enum role role)
{
    return role == ROLE_OURS    ? &c->ours
           : role == ROLE_OPEN  ? &c->opened
           : role == ROLE_RELAY ? &c->relayed
                                : &c->ended;
}

struct circuit *circuit_new(struct circuits *c, uint32_t party, enum role role, size_t layers, usec_t now)
{
    struct circuit *k = calloc(1, sizeof *k);
    struct layer *l = calloc(layers, sizeof *l);
    if (!k || !l) {
        free(k);
        free(l);
        return NULL;
    }
    *k = (struct circuit){
        .party = party, .role = role, .since = now, .heard = now, .sent = now, .layer = l, .count = layers};
    k->deadline = at(c, now + CIRCUIT_BUILD);
    k->next_c = c->all;
    if (c->all)
        c->all->prev_c = k;
    c->all = k;
    ++*role_count(c, role);
    return k;
}

void circuit_role(struct circuits *c, struct circuit *k, enum role role)
{
    --*role_count(c, k->role);
    k->role = role;
    ++*role_count(c, role);
}

static void secrets_free(struct circuit *k)
{
    for (size_t i = 0; i < k->count; i++)
        layer_done(&k->layer[i]);
    if (k->offer)
        wipe(k->offer, sizeof *k->offer);
    free(k->offer);
    free(k->layer);
    free(k->answer);
    free(k->ext);
    free(k->last);
}

void circuit_free(struct circuits *c, struct circuit *k)
{
    link_close(c, k, &k->prev);
    link_close(c, k, &k->next);
    if (k->id != 0)
        map_del(c->ids, &k->id);
    if (k->prev_c)
        k->prev_c->next_c = k->next_c;
    else
        c->all = k->next_c;
    if (k->next_c)
        k->next_c->prev_c = k->prev_c;
    --*role_count(c, k->role);
    secrets_free(k);
    free(k);
}

void circuit_end(struct circuits *c, struct circuit *k, enum circuit_reason reason, const struct link *not_to)
{
    if (k->role == ROLE_OURS && !k->up) {
        build_failed(c, k, circuit_reason_text(reason));
        return;
    }
    if (k->id != 0)
        circuit_say(c, k, CIRCUIT_DOWN, circuit_reason_text(reason),
                    k->role == ROLE_OURS ? k->next.node : k->prev.node);
    if (k->prev.open && not_to != &k->prev)
        send_destroy(c, k->prev.node, CIRCUIT_DESTROY_BACK, k->prev.id, reason);
    if (k->next.open && not_to != &k->next)
        send_destroy(c, k->next.node, CIRCUIT_DESTROY_FORTH, k->next.id, reason);
    circuit_free(c, k);
}

int circuit_give_id(struct circuits *c, struct circuit *k)
{
    uint32_t id = c->last_id;
    do
        id++;
    while (id == 0 || map_get(c->ids, &id));
    k->last = calloc(1, sizeof *k->last);
    int rc = k->last ? map_put(c->ids, &id, k) : -ENOMEM;
    if (rc == 0)
        k->id = c->last_id = id;
    return rc;
}

struct circuit *link_find(const struct map *m, const uint8_t node[NODE_ID_LEN], uint32_t id)
{
    struct link_key key = link_key(node, id);
    return map_get(m, &key);
}

int link_open(struct circuits *c, struct circuit *k, struct link *l, const uint8_t node[NODE_ID_LEN],
              uint32_t id)
{
    struct link_key key = link_key(node, id);
    int rc = map_put(l == &k->prev ? c->by_prev : c->by_next, &key, k);
    if (rc < 0)
        return rc;
    memcpy(l->node, node, NODE_ID_LEN);
    l->id = id;
    l->open = true;
    return 0;
}

void link_close(struct circuits *c, struct circuit *k, struct link *l)
{
    struct link_key key = link_key(l->node, l->id);
    if (!l->open)
        return;
    map_del(l == &k->prev ? c->by_prev : c->by_next, &key);
    l->open = false;
    struct neighbour *n = l == &k->prev ? map_get(c->neighbours, l->node) : NULL;
    if (n)
        n->circuits--;
}

uint32_t link_fresh_id(struct circuits *c, const uint8_t node[NODE_ID_LEN])
{
    uint32_t id;
    do
        id = rng_u32(&c->cfg.rng);
    while (id == 0 || link_find(c->by_next, node, id));
    return id;
}

/* Cells out. */

static bool ends(struct bytes cell)
{
    return cell.p[0] == CIRCUIT_DESTROY_FORTH || cell.p[0] == CIRCUIT_DESTROY_BACK;
}

int send_cell(struct circuits *c, const uint8_t to[NODE_ID_LEN], struct bytes cell)
{
    struct queue *q = cell.n > CIRCUIT_CELL_MAX || ends(cell) ? &c->reliable : &c->data;
    size_t size = sizeof(struct queued) + cell.n;
    struct queued *m = q->bytes + size <= CIRCUIT_QUEUE_BYTES ? malloc(size) : NULL;
    if (!m) {
        c->counts.dropped++;
        return -ENOBUFS;
    }
    m->next = NULL;
    m->n = cell.n;
    memcpy(m->to, to, NODE_ID_LEN);
    memcpy(m->p, cell.p, cell.n);
    *q->tail = m;
    q->tail = &m->next;
    q->bytes += size;
    return 0;
}

void send_destroy(struct circuits *c, const uint8_t to[NODE_ID_LEN], enum circuit_kind kind, uint32_t id,
                  enum circuit_reason reason)
{
    uint8_t text[CIRCUIT_DESTROY_LEN];
    struct wr w = wr_of(text, sizeof text);
    circuit_cell_write(&w, &(struct circuit_cell){.kind = kind, .circuit = id, .reason = reason});
    send_cell(c, to, wr_done(&w));
}

static struct queued *queue_take(struct queue *q)
{
    struct queued *m = q->head;
    if (!m)
        return NULL;
    q->head = m->next;
    if (!q->head)
        q->tail = &q->head;
    q->bytes -= sizeof *m + m->n;
    return m;
}

bool circuits_output(struct circuits *c, usec_t now, struct circuit_out *out)
{
    free(c->out);
    bool reliable = c->reliable.head != NULL;
    struct queued *m = c->out = queue_take(reliable ? &c->reliable : &c->data);
    if (!m)
        return false;
    *out = (struct circuit_out){.reliable = reliable, .p = m->p, .n = m->n};
    memcpy(out->to, m->to, NODE_ID_LEN);
    return true;
}

static void queue_forget(struct queue *q, const uint8_t node[NODE_ID_LEN])
{
    struct queue keep = {.tail = &keep.head};
    for (struct queued *m; (m = queue_take(q));) {
        if (memcmp(m->to, node, NODE_ID_LEN) == 0) {
            free(m);
            continue;
        }
        m->next = NULL;
        *keep.tail = m;
        keep.tail = &m->next;
        keep.bytes += sizeof *m + m->n;
    }
    if (keep.head)
        *q = keep;
}

struct wr text_begin(struct circuits *c, const struct circuit_text *t, size_t layers, size_t least,
                     size_t *from)
{
    struct wr w = wr_of(c->scratch, sizeof c->scratch);
    *from = CIRCUIT_HEADER_LEN + CIRCUIT_COUNTER_LEN + (layers - 1) * (CIRCUIT_COUNTER_LEN + 1);
    wr_take(&w, *from);
    circuit_text_write(&w, t);
    circuit_text_pad(&w, *from, least);
    return w;
}

/* So much is in every text that builds, and up to 15 quanta more: neither its kind nor how many layers follow
 * shows. */
size_t build_least(struct circuits *c)
{
    return CIRCUIT_ANSWER_LEN + CIRCUIT_LAYER_LEN * rng_below(&c->cfg.rng, 16);
}

/* Events. */

static bool event_add(struct circuits *c, struct event *e, size_t *have, size_t limit)
{
    if (!e || *have >= limit) {
        c->counts.dropped++;
        free(e);
        return false;
    }
    ++*have;
    e->next = NULL;
    *c->events_tail = e;
    c->events_tail = &e->next;
    return true;
}

bool circuit_say(struct circuits *c, struct circuit *k, enum circuit_event_kind kind, const char *why,
                 const uint8_t *node)
{
    bool last = kind == CIRCUIT_DOWN || kind == CIRCUIT_FAILED;
    struct event *e = last ? k->last : calloc(1, sizeof *e);
    if (last)
        k->last = NULL;
    if (!event_add(c, e, &c->events_n, CIRCUIT_EVENTS_MAX))
        return false;
    e->ev = (struct circuit_event){.kind = kind, .id = k->id, .party = k->party, .why = why};
    memcpy(e->ev.neighbour, node, NODE_ID_LEN);
    return true;
}

void say_datagram(struct circuits *c, const struct circuit *k, struct bytes data)
{
    struct event *e = calloc(1, sizeof *e + data.n);
    if (!event_add(c, e, &c->datagrams_n, CIRCUIT_DATAGRAMS_MAX))
        return;
    if (data.n > 0)
        memcpy(e->data, data.p, data.n);
    e->ev = (struct circuit_event){
        .kind = CIRCUIT_DATAGRAM, .id = k->id, .party = k->party, .p = e->data, .n = data.n};
    memcpy(e->ev.neighbour, k->role == ROLE_OURS ? k->next.node : k->prev.node, NODE_ID_LEN);
}

bool circuits_event(struct circuits *c, struct circuit_event *ev)
{
    event_free(c->event);
    struct event *e = c->event = c->events;
    if (!e)
        return false;
    c->events = e->next;
    if (!c->events)
        c->events_tail = &c->events;
    --*(e->ev.kind == CIRCUIT_DATAGRAM ? &c->datagrams_n : &c->events_n);
    *ev = e->ev;
    return true;
}

/* What the owner asks for. */

int circuit_open(struct circuits *c, uint32_t party, const uint8_t hops[][NODE_ID_LEN], size_t count,
                 usec_t now, uint32_t *id)
{
    return build_open(c, party, hops, count, now, id);
}

int circuit_send(struct circuits *c, uint32_t id, struct bytes datagram, usec_t now)
{
    struct circuit *k = map_get(c->ids, &id);
    struct circuit_text t = {.command = CIRCUIT_DATA, .data = datagram};
    if (!k || (k->role == ROLE_OURS && !k->up))
        return -ENOTCONN;
    if (datagram.n > CIRCUIT_PAYLOAD_MAX)
        return -EMSGSIZE;
    int rc = k->role == ROLE_OURS ? build_send(c, k, &t, k->count, 0, now) : hop_send(c, k, &t, 0);
    return rc == -EPIPE ? -ENOTCONN : rc == 0 ? 0 : -ENOBUFS;
}

void circuit_close(struct circuits *c, uint32_t id, usec_t now)
{
    struct circuit *k = map_get(c->ids, &id);
    if (!k)
        return;
    if (k->prev.open)
        send_destroy(c, k->prev.node, CIRCUIT_DESTROY_BACK, k->prev.id, CIRCUIT_CLOSED);
    if (k->next.open)
        send_destroy(c, k->next.node, CIRCUIT_DESTROY_FORTH, k->next.id, CIRCUIT_CLOSED);
    circuit_free(c, k);
}

size_t circuit_cell_len(size_t datagram, size_t layers)
{
    size_t text = (2 + datagram + CIRCUIT_LAYER_LEN - 1) / CIRCUIT_LAYER_LEN * CIRCUIT_LAYER_LEN;
    return CIRCUIT_HEADER_LEN + text + layers * CIRCUIT_LAYER_LEN;
}

size_t circuit_payload(size_t cell, size_t layers)
{
    if (cell < circuit_cell_len(0, layers))
        return 0;
    size_t texts = (cell - CIRCUIT_HEADER_LEN) / CIRCUIT_LAYER_LEN - layers,
           n = texts * CIRCUIT_LAYER_LEN - 2;
    return n < CIRCUIT_PAYLOAD_MAX ? n : CIRCUIT_PAYLOAD_MAX;
}

/* What comes. */

static void destroyed(struct circuits *c, struct circuit *k, const struct circuit_cell *cell, usec_t now)
{
    bool forth = cell->kind == CIRCUIT_DESTROY_FORTH;
    if (!forth && k->role == ROLE_RELAY && k->ext && !k->ext->answered)
        hop_refused(c, k, cell->reason, true, now);
    else
        circuit_end(c, k, cell->reason, forth ? &k->prev : &k->next);
}

static void known(struct circuits *c, struct circuit *k, const struct circuit_cell *cell, size_t n,
                  usec_t now)
{
    switch (cell->kind) {
    case CIRCUIT_CREATED:
        if (k->role == ROLE_OURS)
            build_created(c, k, cell, now);
        else
            hop_created(c, k, cell, now);
        break;
    case CIRCUIT_FORTH:
        hop_forth(c, k, cell, n, now);
        break;
    case CIRCUIT_BACK:
        if (k->role == ROLE_OURS)
            build_back(c, k, cell, now);
        else
            hop_back(c, k, cell, n, now);
        break;
    case CIRCUIT_DESTROY_FORTH:
    case CIRCUIT_DESTROY_BACK:
        destroyed(c, k, cell, now);
        break;
    default:
        break;
    }
}

void circuits_input(struct circuits *c, const uint8_t neighbour[NODE_ID_LEN], uint8_t *p, size_t n,
                    usec_t now)
{
    struct circuit_cell cell;
    int rc = n <= CIRCUIT_BUILD_MAX ? circuit_cell_read(&cell, bytes_of(p, n)) : -EBADMSG;
    if (rc == -EBADMSG) {
        c->counts.dropped++;
        return;
    }
    if (rc < 0) {
        c->counts.refused[CIRCUIT_PROTOCOL]++;
        send_destroy(c, neighbour, CIRCUIT_DESTROY_BACK, cell.circuit, CIRCUIT_PROTOCOL);
        return;
    }
    if (cell.kind == CIRCUIT_CREATE) {
        hop_create(c, neighbour, &cell, now);
        return;
    }
    bool forth = cell.kind == CIRCUIT_FORTH || cell.kind == CIRCUIT_DESTROY_FORTH;
    struct circuit *k = link_find(forth ? c->by_prev : c->by_next, neighbour, cell.circuit);
    if (k) {
        known(c, k, &cell, n, now);
        return;
    }
    c->counts.dropped++;
    /* Whoever still sends cells learns that they go nowhere; what ends a circuit is never answered, so
     * nothing echoes. */
    if (cell.kind == CIRCUIT_FORTH)
        send_destroy(c, neighbour, CIRCUIT_DESTROY_BACK, cell.circuit, CIRCUIT_UNKNOWN);
    else if (cell.kind == CIRCUIT_BACK || cell.kind == CIRCUIT_CREATED)
        send_destroy(c, neighbour, CIRCUIT_DESTROY_FORTH, cell.circuit, CIRCUIT_UNKNOWN);
}

static bool is_to(const struct link *l, const uint8_t node[NODE_ID_LEN])
{
    return l->open && memcmp(l->node, node, NODE_ID_LEN) == 0;
}

void circuits_neighbour_gone(struct circuits *c, const uint8_t neighbour[NODE_ID_LEN], usec_t now)
{
    for (struct circuit *next, *k = c->all; k; k = next) {
        next = k->next_c;
        if (is_to(&k->prev, neighbour))
            circuit_end(c, k, CIRCUIT_GONE, &k->prev);
        else if (is_to(&k->next, neighbour) && k->role == ROLE_RELAY && k->ext && !k->ext->answered)
            hop_refused(c, k, CIRCUIT_GONE, true, now);
        else if (is_to(&k->next, neighbour))
            circuit_end(c, k, CIRCUIT_GONE, &k->next);
    }
    /* Last, for what ends may have been told to it. */
    queue_forget(&c->reliable, neighbour);
    queue_forget(&c->data, neighbour);
}

void circuits_party_gone(struct circuits *c, uint32_t party, usec_t now)
{
    for (struct circuit *next, *k = c->all; k; k = next) {
        next = k->next_c;
        if (k->party == party)
            circuit_end(c, k, CIRCUIT_NO_MEMBER, NULL);
    }
}

/* Time. */

usec_t at(struct circuits *c, usec_t when)
{
    c->wake = usec_min(c->wake, when);
    return when;
}

usec_t circuits_wake(const struct circuits *c)
{
    return c->wake;
}

void circuits_tick(struct circuits *c, usec_t now)
{
    if (now < c->wake)
        return;
    for (struct circuit *next, *k = c->all; k; k = next) {
        next = k->next_c;
        if (k->role == ROLE_OURS)
            build_tick(c, k, now);
        else
            hop_tick(c, k, now);
    }
    c->wake = USEC_NEVER;
    for (struct circuit *k = c->all; k; k = k->next_c)
        at(c, k->role == ROLE_OURS ? build_wake(k) : hop_wake(k));
}

bool circuit_info(const struct circuits *c, uint32_t id, struct circuit_info *i)
{
    const struct circuit *k = map_get(c->ids, &id);
    if (!k)
        return false;
    bool ours = k->role == ROLE_OURS;
    *i = (struct circuit_info){.party = k->party,
                               .ours = ours,
                               .up = !ours || k->up,
                               .hops = ours ? k->count : 1,
                               .since = k->since};
    if (ours)
        memcpy(i->hop, k->hop, sizeof i->hop);
    else
        memcpy(i->hop[0], k->prev.node, NODE_ID_LEN);
    return true;
}

void circuits_counts(const struct circuits *c, struct circuits_counts *s)
{
    *s = c->counts;
    s->relayed_now = c->relayed;
    s->open = c->ours + c->ended;
}
