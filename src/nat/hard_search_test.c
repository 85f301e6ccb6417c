#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "nat/hard.h"

/* Two ends behind two NATs of which at least one maps per destination, 50 ms apart, with the simplest of ICE
 * agents: a check that arrives is answered and makes one back, an answer makes the pair valid. */

#define ONE_WAY   (25 * MSEC)
#define START     (100 * SEC)
#define STUN_IP   0xC6336401u
#define MAIN_PORT 41000
#define FLOWS_MAX 8192
#define QUEUE_MAX 16384

enum what { AGAIN, OPENED, CHECK, ANSWER, STUN_SEEN, TOLD };
struct packet {
    usec_t at;
    enum what what;
    int end; /* that it is for */
    uint32_t socket;
    struct net_addr from, to;
    uint8_t data[HARD_MESSAGE_MAX];
    size_t len;
};

struct flow {
    uint32_t socket;
    struct net_addr dest;
    uint16_t mapped;
};

struct box {
    struct hard_nat kind; /* mapped: address outside */
    uint16_t next;
    usec_t last; /* flow, of anybody */
    struct flow flows[FLOWS_MAX];
    size_t flow_count;
    uint8_t taken[65536 / 8]; /* by others, preserving */
    unsigned per_second;      /* flows of others */
};

struct end {
    struct box box;
    struct hard *h;
    uint16_t ports[HARD_SOCKETS_MAX + 1];
    bool closed, over;
    struct hard_event event;
    usec_t ended;
    uint32_t opens, probes;
};

struct world {
    struct rng_seeded state;
    struct rng rng;
    usec_t now;
    unsigned loss; /* percent of everything */
    bool no_sockets;
    struct end ends[2];
    struct packet queue[QUEUE_MAX];
    size_t queued;
};

static struct world w;

/* ---- Queue: sorted by time, latest first. */

static struct packet *queue_put(usec_t at, enum what what, int end)
{
    assert_true(w.queued < QUEUE_MAX);
    size_t i = w.queued++;
    while (i > 0 && w.queue[i - 1].at <= at) {
        w.queue[i] = w.queue[i - 1];
        i--;
    }
    w.queue[i] = (struct packet){.at = at, .what = what, .end = end};
    return &w.queue[i];
}

static bool lost(void)
{
    return rng_below(&w.rng, 100) < w.loss;
}

/* ---- NATs. */

static bool flow_taken(const struct box *b, uint16_t port)
{
    for (size_t i = 0; i < b->flow_count; i++) {
        if (b->flows[i].mapped == port)
            return true;
    }
    return b->taken[port / 8] & 1 << port % 8;
}

static uint16_t stepped(uint16_t port, int delta)
{
    int v = port + delta;
    return (uint16_t)(v > 65535 ? v - 64512 : v < 1024 ? v + 64512 : v);
}

/* Others' flows since the last: as many as chance gives at that rate. */
static void others(struct box *b)
{
    for (usec_t t = b->last; t < w.now; t += MSEC) {
        if (rng_below(&w.rng, 1000) < b->per_second)
            b->next = stepped(b->next, b->kind.delta);
    }
    b->last = w.now;
}

static uint16_t port_given(struct box *b, uint16_t local)
{
    uint16_t port = local;
    switch (b->kind.mapping) {
    case HARD_SEQUENTIAL:
        others(b);
        do {
            b->next = stepped(b->next, b->kind.delta);
        } while (flow_taken(b, b->next));
        return b->next;
    case HARD_PRESERVING:
        while (flow_taken(b, port))
            port = stepped(port, 1);
        return port;
    default:
        do {
            port = (uint16_t)(1024 + rng_below(&w.rng, 64512));
        } while (flow_taken(b, port));
        return port;
    }
}

static struct net_addr outside(struct end *e, uint32_t socket, const struct net_addr *to)
{
    struct box *b = &e->box;
    bool easy = b->kind.mapping == HARD_EASY;
    struct net_addr addr = b->kind.mapped;
    uint16_t mapped = easy ? (uint16_t)(MAIN_PORT + socket) : 0;
    for (size_t i = 0; i < b->flow_count; i++) {
        if (b->flows[i].socket == socket && net_addr_equal(&b->flows[i].dest, to)) {
            addr.port = b->flows[i].mapped;
            return addr;
        }
    }
    assert_true(b->flow_count < FLOWS_MAX);
    addr.port = easy ? mapped : port_given(b, e->ports[socket]);
    b->flows[b->flow_count++] = (struct flow){socket, *to, addr.port};
    return addr;
}

/* Port-restricted: only from where a flow of this mapping went to. */
static bool inside(const struct end *e, uint16_t port, const struct net_addr *from, uint32_t *socket)
{
    for (size_t i = 0; i < e->box.flow_count; i++) {
        const struct flow *f = &e->box.flows[i];
        if (f->mapped == port && net_addr_equal(&f->dest, from)) {
            *socket = f->socket;
            return true;
        }
    }
    return false;
}

static void send_from(int end, uint32_t socket, const struct net_addr *to, enum what what)
{
    struct net_addr from = outside(&w.ends[end], socket, to);
    if (lost() || !net_ip_equal(to, &w.ends[!end].box.kind.mapped))
        return;
    struct packet *p = queue_put(w.now + ONE_WAY, what, !end);
    p->from = from;
    p->to = *to;
}

/* A triggered check and its retransmissions. */
static void check_from(int end, uint32_t socket, const struct net_addr *to)
{
    for (usec_t after = 0; after <= 300 * MSEC; after += 100 * MSEC) {
        struct packet *p = queue_put(w.now + after, AGAIN, end);
        p->socket = socket;
        p->to = *to;
    }
}

/* ---- Ends. */

static void act(int end, const struct hard_out *o)
{
    struct end *e = &w.ends[end];
    struct net_addr stun = net_addr4(STUN_IP, 3478);
    struct packet *p;
    switch (o->action) {
    case HARD_OPEN_SOCKETS:
        for (uint32_t i = 0; i < o->count; i++) {
            e->opens++;
            e->ports[o->socket + i] = w.no_sockets ? 0 : (uint16_t)(20000 + rng_below(&w.rng, 40000));
            queue_put(w.now + MSEC, OPENED, end)->socket = o->socket + i;
        }
        break;
    case HARD_PROBE:
        assert_false(e->closed);
        e->probes++;
        send_from(end, o->socket, &o->to, CHECK);
        break;
    case HARD_OBSERVE:
        stun = outside(e, o->socket, &stun);
        if (lost())
            break;
        p = queue_put(w.now + 2 * ONE_WAY, STUN_SEEN, end);
        p->socket = o->socket;
        p->from = stun;
        break;
    case HARD_CLOSE_SOCKETS:
        e->closed = true;
        break;
    case HARD_TELL_PEER:
        if (lost())
            break;
        p = queue_put(w.now + ONE_WAY, TOLD, !end);
        p->len = o->data.n;
        memcpy(p->data, o->data.p, o->data.n);
    }
}

static void pump(int end)
{
    struct end *e = &w.ends[end];
    struct hard_out o;
    struct hard_event ev;
    while (hard_output(e->h, w.now, &o))
        act(end, &o);
    while (hard_event(e->h, &ev)) {
        assert_false(e->over);
        e->over = true;
        e->event = ev;
        e->ended = w.now;
    }
}

static void arrive(const struct packet *p)
{
    struct end *e = &w.ends[p->end];
    uint32_t socket = p->socket;
    switch (p->what) {
    case OPENED:
        hard_socket_opened(e->h, socket, e->ports[socket], w.now);
        break;
    case STUN_SEEN:
        hard_observed(e->h, socket, &p->from, w.now);
        break;
    case AGAIN:
        if (!e->over)
            send_from(p->end, socket, &p->to, CHECK);
        break;
    case TOLD:
        hard_message(e->h, bytes_of(p->data, p->len), w.now);
        break;
    default:
        if (!inside(e, p->to.port, &p->from, &socket) || (e->closed && e->event.socket != socket))
            return;
        if (p->what == ANSWER) {
            hard_found(e->h, socket, &p->from, w.now);
        } else {
            send_from(p->end, socket, &p->from, ANSWER);
            check_from(p->end, socket, &p->from);
        }
    }
}

static void end_new(int end, uint64_t seed, const struct hard_nat *kind, bool initiator)
{
    struct end *e = &w.ends[end];
    memset(e, 0, sizeof *e);
    e->box.kind = *kind;
    e->box.kind.mapped = net_addr4(end ? 0xCB007101u : 0xC0000201u, 0);
    e->box.last = w.now;
    e->box.next = (uint16_t)(1024 + rng_below(&w.rng, 64512));
    e->box.per_second = 40;
    for (size_t i = 0; kind->mapping == HARD_PRESERVING && i < sizeof e->box.taken; i++)
        e->box.taken[i] = (uint8_t)(rng_u32(&w.rng) & rng_u32(&w.rng)); /* a quarter of all ports */
    e->ports[0] = MAIN_PORT;
    struct hard_config c = {.rng = w.rng, .initiator = initiator, .ours = *kind};
    c.ours.mapped =
        net_addr4(net_addr_ip4(&e->box.kind.mapped), kind->mapping == HARD_EASY ? MAIN_PORT : 5555);
    e->h = hard_new(&c, w.now);
    assert_non_null(e->h);
}

enum start { FIRST_BEGINS, SECOND_BEGINS, BOTH_BEGIN };

/* Plays until both ends are over. True: both found the same pair. */
static bool play(uint64_t seed, const struct hard_nat *a, const struct hard_nat *b, enum start start)
{
    w.rng = rng_seeded(&w.state, seed);
    w.now = START;
    w.queued = 0;
    end_new(0, seed, a, start != SECOND_BEGINS);
    end_new(1, seed, b, start != FIRST_BEGINS);
    for (unsigned turns = 0; !w.ends[0].over || !w.ends[1].over; turns++) {
        assert_true(turns < 100000);
        pump(0);
        pump(1);
        usec_t next = usec_min(hard_wake(w.ends[0].h), hard_wake(w.ends[1].h));
        if (w.queued > 0 && w.queue[w.queued - 1].at <= next) {
            struct packet p = w.queue[--w.queued];
            w.now = p.at;
            arrive(&p);
        } else if (next != USEC_NEVER) {
            w.now = next > w.now ? next : w.now;
            hard_tick(w.ends[0].h, w.now);
            hard_tick(w.ends[1].h, w.now);
        }
        pump(0);
        pump(1);
    }
    for (int i = 0; i < 2; i++) {
        struct hard_out o;
        assert_int_equal(hard_wake(w.ends[i].h), USEC_NEVER);
        assert_false(hard_output(w.ends[i].h, w.now, &o));
        assert_true(w.ends[i].opens <= HARD_SOCKETS_MAX && w.ends[i].probes <= HARD_PROBES_MAX);
        assert_int_equal(w.ends[i].closed, w.ends[i].opens > 0);
        hard_free(w.ends[i].h);
    }
    return w.ends[0].event.kind == HARD_DONE && w.ends[1].event.kind == HARD_DONE;
}

static const struct hard_nat easy = {.mapping = HARD_EASY}, preserving = {.mapping = HARD_PRESERVING},
                             chance = {.mapping = HARD_RANDOM},
                             up1 = {.mapping = HARD_SEQUENTIAL, .delta = 1},
                             up2 = {.mapping = HARD_SEQUENTIAL, .delta = 2},
                             down1 = {.mapping = HARD_SEQUENTIAL, .delta = -1};

static int compare(const void *a, const void *b)
{
    usec_t x = *(const usec_t *)a, y = *(const usec_t *)b;
    return x < y ? -1 : x > y;
}

/* Successes of 200, within 10 s of the beginning. */
static unsigned measure(const char *words, const struct hard_nat *a, const struct hard_nat *b, unsigned loss)
{
    usec_t times[200];
    unsigned good = 0;
    w.loss = loss;
    for (uint64_t seed = 1; seed <= 200; seed++) {
        bool swap = seed & 1;
        if (!play(seed, swap ? b : a, swap ? a : b, (enum start)(seed % 3)))
            continue;
        usec_t t = w.ends[0].ended > w.ends[1].ended ? w.ends[0].ended : w.ends[1].ended;
        if (t - START <= 10 * SEC)
            times[good++] = t - START;
    }
    w.loss = 0;
    qsort(times, good, sizeof *times, compare);
    print_message("# %s, %u %% loss: %u of 200; median %u ms, p95 %u ms, longest %u ms\n", words, loss, good,
                  good ? (unsigned)(times[good / 2] / MSEC) : 0,
                  good ? (unsigned)(times[good * 95 / 100] / MSEC) : 0,
                  good ? (unsigned)(times[good - 1] / MSEC) : 0);
    return good;
}

static void hard_nats_meet_easy_ones(void **state)
{
    assert_in_range(measure("sequential +1 and easy", &up1, &easy, 0), 196, 200);
    assert_in_range(measure("sequential +2 and easy", &up2, &easy, 0), 196, 200);
    assert_in_range(measure("sequential -1 and easy", &down1, &easy, 0), 196, 200);
    assert_in_range(measure("preserving and easy", &preserving, &easy, 0), 196, 200);
    assert_in_range(measure("random and easy", &chance, &easy, 0), 196, 200);
}

static void loss_does_not_hinder(void **state)
{
    assert_in_range(measure("sequential +1 and easy", &up1, &easy, 5), 190, 200);
    assert_in_range(measure("preserving and easy", &preserving, &easy, 5), 190, 200);
    assert_in_range(measure("random and easy", &chance, &easy, 5), 190, 200);
}

static void two_hard_nats_are_tried(void **state)
{
    assert_in_range(measure("sequential +1 and sequential -1", &up1, &down1, 0), 100, 200);
    assert_in_range(measure("sequential +2 and preserving", &up2, &preserving, 0), 100, 200);
    assert_in_range(measure("preserving and preserving", &preserving, &preserving, 0), 100, 200);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hard_nats_meet_easy_ones),
        cmocka_unit_test(loss_does_not_hinder),
        cmocka_unit_test(two_hard_nats_are_tried),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
