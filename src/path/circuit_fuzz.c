/* Five members and the cells between them, which the input carries, loses, doubles, holds back, mangles,
 * makes up and sends astray, while circuits are opened, used and closed, neighbours go and time passes. Keys
 * and randomness are always the same. Whatever happens, no datagram arrives changed, twice, or at somebody
 * else's, and no limit is exceeded. */
#include "path/circuit_kit_int.h"

#define BOX   64
#define CALLS 400

struct box {
    size_t n;
    struct kit_flight mail[BOX];
};

static void require(bool truth)
{
    if (!truth)
        abort();
}

static void post(struct box *b, size_t from, size_t to, const uint8_t *p, size_t n)
{
    if (b->n == BOX || to >= KIT_NODES)
        return;
    struct kit_flight f = {.from = from, .to = to, .n = n, .p = malloc(n + 1)};
    require(f.p);
    memcpy(f.p, p, n);
    b->mail[b->n++] = f;
}

static void collect(struct kit *k, struct box *b)
{
    struct circuit_out out;
    for (size_t i = 0; i < KIT_NODES; i++) {
        struct kit_node *n = &k->node[i];
        kit_events(n);
        require(n->bad == 0);
        while (circuits_output(n->c, k->now, &out)) {
            require(out.n > 0 && out.n <= (out.reliable ? CIRCUIT_BUILD_MAX : CIRCUIT_CELL_MAX));
            post(b, i, kit_index(k, out.to), out.p, out.n);
        }
        require(n->c->ours + n->c->ended <= CIRCUITS_MAX && n->c->relayed <= CIRCUITS_RELAYED &&
                n->c->opened <= CIRCUITS_OPEN_MAX);
    }
}

static void deliver(struct kit *k, struct box *b, size_t i, size_t to, bool keep)
{
    struct kit_flight *f = &b->mail[i];
    uint8_t *copy = malloc(f->n + 1); /* its own, so that a read past the end is seen */
    require(copy);
    memcpy(copy, f->p, f->n);
    circuits_input(k->node[to].c, k->node[f->from].id, copy, f->n, k->now);
    free(copy);
    if (keep)
        return;
    free(f->p);
    *f = b->mail[--b->n];
}

/* Any circuit of this member that its owner knows, else a number that means nothing. */
static uint32_t some_id(const struct kit_node *n, uint8_t pick)
{
    for (const struct circuit *c = n->c->all; c; c = c->next_c)
        if (c->id != 0 && pick-- == 0)
            return c->id;
    return pick;
}

static void open_one(struct kit *k, size_t who, struct rd *r)
{
    uint8_t hops[CIRCUIT_HOPS_MAX + 2][NODE_ID_LEN];
    uint32_t id;
    uint8_t count = rd_u8(r) % (CIRCUIT_HOPS_MAX + 2);
    for (size_t i = 0; i < count; i++)
        memcpy(hops[i], k->node[rd_u8(r) % KIT_NODES].id, NODE_ID_LEN);
    circuit_open(k->node[who].c, KIT_PARTY, (const uint8_t(*)[NODE_ID_LEN])hops, count, k->now, &id);
}

/* Cells in order, each to whom it is for, for a while: so that short inputs build whole circuits. */
static void run(struct kit *k, struct box *b, unsigned steps)
{
    for (unsigned i = 0; i < steps && b->n > 0; i++) {
        struct kit_flight f = b->mail[0];
        memmove(b->mail, b->mail + 1, --b->n * sizeof f);
        circuits_input(k->node[f.to].c, k->node[f.from].id, f.p, f.n, k->now);
        free(f.p);
        collect(k, b);
    }
}

static void pass_time(struct kit *k, usec_t t)
{
    k->now += t;
    for (size_t i = 0; i < KIT_NODES; i++)
        if (circuits_wake(k->node[i].c) <= k->now) {
            circuits_tick(k->node[i].c, k->now);
            require(circuits_wake(k->node[i].c) > k->now);
        }
}

static void mail_act(struct kit *k, struct box *b, unsigned what, struct rd *r)
{
    size_t pick = rd_u8(r) % b->n;
    struct kit_flight *f = &b->mail[pick];
    switch (what) {
    case 0:
        deliver(k, b, pick, f->to, false);
        break;
    case 1:
        deliver(k, b, pick, f->to, true);
        break;
    case 2: /* astray */
        deliver(k, b, pick, rd_u8(r) % KIT_NODES, false);
        break;
    case 3: /* lost */
        free(f->p);
        *f = b->mail[--b->n];
        break;
    case 4: /* mangled */
        f->p[rd_u16(r) % f->n] ^= rd_u8(r);
        break;
    default: /* cut */
        f->n = 1 + (f->n - 1) * rd_u8(r) / 256;
        break;
    }
}

static void act(struct kit *k, struct box *b, struct rd *r, uint32_t *number)
{
    unsigned what = rd_u8(r) % 16;
    size_t who = rd_u8(r) % KIT_NODES;
    struct kit_node *n = &k->node[who];
    if (what < 6) {
        if (b->n > 0)
            mail_act(k, b, what, r);
        return;
    }
    switch (what) {
    case 6:
    case 7:
        open_one(k, who, r);
        break;
    case 8:
    case 9:
        kit_send(k, who, some_id(n, rd_u8(r) % 4), (*number)++, 4 + rd_u8(r) * 5);
        break;
    case 10:
        circuit_close(n->c, some_id(n, rd_u8(r) % 4), k->now);
        break;
    case 11:
        circuits_neighbour_gone(n->c, k->node[rd_u8(r) % KIT_NODES].id, k->now);
        break;
    case 12:
        pass_time(k, (usec_t)rd_u16(r) * MSEC);
        break;
    case 13:
        run(k, b, rd_u8(r) % 64);
        break;
    case 14: { /* made up */
        struct bytes text = rd_bytes(r, rd_u8(r));
        if (text.n > 0)
            post(b, who, rd_u8(r) % KIT_NODES, text.p, text.n);
        break;
    }
    default:
        n->relays = rd_u8(r) % 4 > 0;
        n->member = rd_u8(r) % 8 > 0;
        n->rate = rd_u8(r) % 2 ? 0 : 1000;
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct box b;
    struct rd r = rd_of(bytes_of(data, size));
    struct kit *k = kit_new(1);
    uint32_t number = 0;
    for (int i = 0; i < CALLS && rd_left(&r) > 0; i++) {
        act(k, &b, &r, &number);
        collect(k, &b);
    }
    while (b.n > 0)
        free(b.mail[--b.n].p);
    /* Left alone, everything ends. */
    for (size_t i = 0; i < KIT_NODES; i++)
        for (size_t j = 0; j < KIT_NODES; j++)
            circuits_neighbour_gone(k->node[i].c, k->node[j].id, k->now);
    require(kit_empty(k));
    kit_free(k);
    return 0;
}
