#include "nat/discover.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "nat/stun_server.h"
#include "wire/stun.h"

#define COUNT(a)   (sizeof(a) / sizeof *(a))
#define FLIGHT     64
#define MAPPINGS   64
#define SPARES     6
#define DELAY      (20 * MSEC)
#define PREFIX     0x57524e01u
#define MAIN       1u
#define SPARE(i)   (10u + (uint32_t)(i))
#define START      (1000 * SEC)
#define OUTSIDE_IP 0xc6336401u /* 198.51.100.1 */

/* The world: one machine with seven sockets, a NAT box, two STUN hosts: the first has up to four endpoints.
 */
enum choice { KEPT, SEQUENTIAL, RANDOM };
struct box {
    bool none; /* no NAT */
    bool blocked;
    enum nat_depends mapping, filtering;
    enum choice ports;
    int delta;
    bool hairpin, pooling;
    bool busy; /* others get ports in between */
    usec_t lifetime;
};
struct mapping {
    uint32_t socket;
    struct net_addr remote, outside;
    struct net_addr sent_to[16];
    size_t sent_count;
    usec_t used;
};
struct packet {
    usec_t at;
    bool inbound; /* to the machine's side of the box */
    struct net_addr from, to;
    uint8_t bytes[STUN_MESSAGE_MAX];
    size_t n;
};
struct world {
    struct box box;
    struct rng_seeded seed;
    struct rng rng;
    unsigned loss; /* percent */
    usec_t now;
    struct stun_server *hosts[2];
    struct net_addr endpoints[2][STUN_ENDPOINTS];
    struct mapping mappings[MAPPINGS];
    size_t mapping_count;
    uint16_t last_port;
    struct packet flight[FLIGHT];
    size_t flying;
    struct discover *d;
    uint16_t locals[SPARES + 1];
    bool no_response_port; /* the hosts ignore it and answer as ever */
    size_t sent, mapped_events, blocked_events, complete_events;
    struct discover_event last_mapped;
    usec_t first_mapped;
};

static uint16_t local_port(const struct world *w, uint32_t socket)
{
    return w->locals[socket == MAIN ? 0 : socket - 10 + 1];
}

static bool depends_same(enum nat_depends on, const struct net_addr *a, const struct net_addr *b)
{
    return on == NAT_DEPENDS_NOT || (on == NAT_DEPENDS_ADDRESS ? net_ip_equal(a, b) : net_addr_equal(a, b));
}

static bool alive(const struct world *w, const struct mapping *m)
{
    return !w->box.lifetime || w->now - m->used < w->box.lifetime;
}

static bool port_taken(const struct world *w, uint16_t port)
{
    for (size_t i = 0; i < w->mapping_count; i++)
        if (alive(w, &w->mappings[i]) && w->mappings[i].outside.port == port)
            return true;
    return false;
}

static uint16_t new_port(struct world *w, uint32_t socket)
{
    uint16_t port = local_port(w, socket);
    if (w->box.none)
        return port;
    do {
        if (w->box.ports == RANDOM)
            port = (uint16_t)(1024 + rng_below(&w->rng, 60000));
        else if (w->box.ports == SEQUENTIAL)
            port = w->last_port =
                (uint16_t)(w->last_port + w->box.delta * (w->box.busy ? 1 + (int)rng_below(&w->rng, 3) : 1));
        else if (port_taken(w, port))
            port++;
    } while (port_taken(w, port));
    return port;
}

static struct mapping *translate(struct world *w, uint32_t socket, const struct net_addr *to)
{
    for (size_t i = 0; i < w->mapping_count; i++) {
        struct mapping *m = &w->mappings[i];
        if (m->socket == socket && alive(w, m) && depends_same(w->box.mapping, &m->remote, to))
            return m;
    }
    assert_true(w->mapping_count < MAPPINGS);
    uint16_t port = new_port(w, socket);
    struct mapping *m = &w->mappings[w->mapping_count++];
    uint32_t ip = OUTSIDE_IP + (w->box.pooling ? (uint32_t)(w->mapping_count % 4) : 0);
    *m = (struct mapping){socket, *to, net_addr4(w->box.none ? 0xc0a80105 : ip, port), .used = w->now};
    return m;
}

static void fly(struct world *w, bool inbound, const struct net_addr *from, const struct net_addr *to,
                struct bytes data)
{
    if (rng_below(&w->rng, 100) < w->loss)
        return;
    assert_true(w->flying < FLIGHT && data.n <= STUN_MESSAGE_MAX);
    struct packet *p = &w->flight[w->flying++];
    *p = (struct packet){w->now + DELAY, inbound, *from, *to, .n = data.n};
    memcpy(p->bytes, data.p, data.n);
}

static void leave(struct world *w, uint32_t socket, const struct net_addr *to, struct bytes data)
{
    w->sent++;
    struct mapping *m = translate(w, socket, to);
    m->used = w->now;
    bool known = false;
    for (size_t i = 0; i < m->sent_count; i++)
        known |= net_addr_equal(&m->sent_to[i], to);
    if (!known) {
        assert_true(m->sent_count < COUNT(m->sent_to));
        m->sent_to[m->sent_count++] = *to;
    }
    uint32_t ip = net_addr_ip4(to);
    bool loops = ip >= OUTSIDE_IP && ip < OUTSIDE_IP + 4;
    if (!w->box.blocked && (!loops || w->box.hairpin))
        fly(w, loops, &m->outside, to, data);
}

static void arrive(struct world *w, const struct packet *p)
{
    for (size_t i = 0; i < w->mapping_count; i++) {
        struct mapping *m = &w->mappings[i];
        bool open = w->box.filtering == NAT_DEPENDS_NOT;
        if (!net_addr_equal(&m->outside, &p->to) || !alive(w, m) || net_addr_equal(&p->from, &p->to))
            continue;
        for (size_t k = 0; k < m->sent_count; k++)
            open |= depends_same(w->box.filtering, &m->sent_to[k], &p->from);
        if (open)
            assert_true(discover_input(w->d, m->socket, &p->from, bytes_of(p->bytes, p->n), w->now));
        return;
    }
}

static void serve(struct world *w, const struct packet *p)
{
    for (size_t h = 0; h < 2; h++)
        for (unsigned e = 0; e < STUN_ENDPOINTS; e++) {
            uint8_t out[STUN_SERVER_OUT_MAX];
            struct stun_asked q = {.endpoint = e, .from = p->from};
            struct stun_answer a;
            if (!w->hosts[h] || !w->endpoints[h][e].family || !net_addr_equal(&w->endpoints[h][e], &p->to))
                continue;
            enum stun_verdict v =
                stun_server_answer(w->hosts[h], &q, bytes_of(p->bytes, p->n), out, &a, w->now);
            if (v > STUN_SERVED_ERROR)
                continue;
            if (w->no_response_port)
                a.to = p->from;
            assert_true(a.data.n <= p->n); /* of our requests every answer is no larger */
            fly(w, true, &w->endpoints[h][a.endpoint], &a.to, a.data);
        }
}

static void drain(struct world *w)
{
    struct discover_out out;
    struct discover_event e;
    while (discover_output(w->d, &out, w->now))
        leave(w, out.socket, &out.to, out.data);
    while (discover_event(w->d, &e)) {
        assert_int_equal(e.family, 4);
        if (e.kind == DISCOVER_MAPPED) {
            w->mapped_events++;
            w->last_mapped = e;
            w->first_mapped = w->first_mapped ? w->first_mapped : w->now;
        }
        w->blocked_events += e.kind == DISCOVER_UDP_BLOCKED;
        w->complete_events += e.kind == DISCOVER_COMPLETE;
    }
}

static bool due(struct world *w, usec_t until)
{
    usec_t next = discover_wake(w->d);
    for (size_t i = 0; i < w->flying; i++)
        next = usec_min(next, w->flight[i].at);
    if (next > until)
        return false;
    w->now = next > w->now ? next : w->now;
    return true;
}

/* Runs the world until then. */
static void run(struct world *w, usec_t until)
{
    drain(w);
    for (size_t turns = 0; due(w, until); turns++) {
        assert_true(turns < 100000); /* nothing spins */
        for (size_t i = 0; i < w->flying;) {
            if (w->flight[i].at > w->now) {
                i++;
                continue;
            }
            struct packet p = w->flight[i];
            w->flight[i] = w->flight[--w->flying];
            if (p.inbound)
                arrive(w, &p);
            else
                serve(w, &p);
            drain(w);
        }
        discover_tick(w->d, w->now);
        drain(w);
    }
    w->now = until;
}

static void run_until_complete(struct world *w)
{
    for (int i = 0; i < 240 && !w->complete_events; i++)
        run(w, w->now + SEC / 4);
    assert_int_equal(w->complete_events, 1);
}

enum hosts { FOUR = 1, TWO_PORTS, TWO_HUBS, PLAIN };

static struct discover_config config(struct world *w, enum hosts hosts, size_t spares)
{
    struct discover_config c = {.rng = w->rng,
                                .txid_prefix = PREFIX,
                                .has4 = true,
                                .has6 = true,
                                .spare4_count = spares,
                                .no_lifetime = true};
    c.main4 = (struct discover_socket){MAIN, w->locals[0]};
    for (size_t i = 0; i < spares; i++)
        c.spares4[i] = (struct discover_socket){SPARE(i), w->locals[i + 1]};
    c.locals[c.local_count++] = net_addr4(0xc0a80105, 0);
    c.servers[c.server_count++] = w->endpoints[0][0];
    if (hosts == TWO_HUBS)
        c.servers[c.server_count++] = w->endpoints[1][0];
    return c;
}

static void world_hosts(struct world *w, enum hosts hosts)
{
    for (unsigned e = 0; e < 4; e++)
        if (e == 0 || hosts == FOUR || (hosts == TWO_PORTS && e == STUN_ENDPOINT_PORT2))
            w->endpoints[0][e] = net_addr4(0xcb007101 + (e & 2 ? 9 : 0), e & 1 ? 3479 : 3478);
    if (hosts == TWO_HUBS)
        w->endpoints[1][0] = net_addr4(0x2d000001, 3478);
    for (size_t h = 0; h < 2; h++) {
        struct stun_server_config c = {.software = "test", .seed = 7};
        memcpy(c.endpoints, w->endpoints[h], sizeof c.endpoints);
        w->hosts[h] = stun_server_new(&c, START);
        assert_non_null(w->hosts[h]);
    }
}

static struct world *world_new(const struct box *box, enum hosts hosts, size_t spares, unsigned loss,
                               uint64_t seed)
{
    static const uint16_t locals[] = {41641, 53011, 33977, 60123, 38555, 47002, 56791};
    struct world *w = calloc(1, sizeof *w);
    assert_non_null(w);
    w->box = *box;
    w->loss = loss;
    w->now = START;
    w->rng = rng_seeded(&w->seed, seed);
    w->last_port = 20000;
    memcpy(w->locals, locals, sizeof locals);
    world_hosts(w, hosts);
    struct discover_config c = config(w, hosts, spares);
    w->d = discover_new(&c, w->now);
    assert_non_null(w->d);
    return w;
}

static void world_free(struct world *w)
{
    discover_free(w->d);
    stun_server_free(w->hosts[0]);
    stun_server_free(w->hosts[1]);
    free(w);
}

static struct nat_behaviour summary(const struct world *w)
{
    struct nat_behaviour b;
    discover_summary(w->d, 4, &b);
    assert_int_equal(b.family, 4);
    return b;
}

static const struct {
    enum choice ports;
    int delta;
    enum nat_port_choice want;
} choices[] = {{KEPT, 0, NAT_CHOICE_KEPT},
               {SEQUENTIAL, 1, NAT_CHOICE_SEQUENTIAL},
               {SEQUENTIAL, 2, NAT_CHOICE_SEQUENTIAL},
               {SEQUENTIAL, -1, NAT_CHOICE_SEQUENTIAL},
               {RANDOM, 0, NAT_CHOICE_RANDOM}};

struct expected {
    enum nat_depends mapping, filtering;
    enum nat_port_choice ports;
    int delta;
    enum nat_answer hairpin;
};

static void expect(const struct world *w, const struct expected *x)
{
    struct nat_behaviour b = summary(w);
    if (b.mapping != x->mapping || b.filtering != x->filtering || b.ports != x->ports ||
        b.port_delta != x->delta || b.hairpin != x->hairpin)
        print_message("box %d/%d/%d%+d loss %u: got %d/%d/%d%+d\n", w->box.mapping, w->box.filtering,
                      w->box.ports, w->box.delta, w->loss, b.mapping, b.filtering, b.ports, b.port_delta);
    assert_int_equal(b.udp, NAT_ANSWER_YES);
    assert_int_equal(b.translated, NAT_ANSWER_YES);
    assert_int_equal(b.mapping, x->mapping);
    assert_int_equal(b.filtering, x->filtering);
    assert_int_equal(b.ports, x->ports);
    assert_int_equal(b.port_delta, x->delta);
    assert_int_equal(b.hairpin, x->hairpin);
    assert_true(b.complete && !b.several_addresses);
}

/* Every kind of box, by a server with four endpoints, from a machine with extra sockets. Where the mapping
 * depends on the peer, what loops back meets a mapping that was never opened for it. */
static void every_box(void **state)
{
    static const unsigned losses[] = {0, 15};
    for (int i = 0; i < 3 * 3 * (int)COUNT(choices) * 2 * (int)COUNT(losses); i++) {
        int k = i;
        struct box box = {.mapping = NAT_DEPENDS_NOT + k % 3, .filtering = NAT_DEPENDS_NOT + k / 3 % 3};
        k /= 9;
        size_t choice = k % COUNT(choices);
        k /= COUNT(choices);
        box.ports = choices[choice].ports;
        box.delta = choices[choice].delta;
        box.hairpin = k % 2;
        struct world *w = world_new(&box, FOUR, SPARES, losses[k / 2], 100 + i);
        run_until_complete(w);
        struct expected x = {box.mapping, box.filtering, choices[choice].want, choices[choice].delta,
                             NAT_ANSWER_NO};
        bool loops = box.hairpin && (box.filtering == NAT_DEPENDS_NOT || box.mapping == NAT_DEPENDS_NOT);
        x.hairpin = loops ? NAT_ANSWER_YES : NAT_ANSWER_NO;
        expect(w, &x);
        assert_int_equal(w->mapped_events, 1);
        assert_true(w->sent < 120);
        if (!w->loss)
            assert_int_equal(w->first_mapped, START + 2 * DELAY);
        world_free(w);
    }
}

/* What servers that can do less still tell. */
static void lesser_servers(void **state)
{
    for (int i = 0; i < 9; i++) {
        struct box box = {
            .mapping = NAT_DEPENDS_NOT + i % 3, .filtering = NAT_DEPENDS_NOT + i / 3, .ports = RANDOM};
        bool by_port = box.mapping == NAT_DEPENDS_PORT, closed = box.filtering == NAT_DEPENDS_PORT;
        struct world *w = world_new(&box, TWO_PORTS, SPARES, 10, 500 + i);
        run_until_complete(w);
        expect(w, &(struct expected){by_port ? NAT_DEPENDS_PORT : NAT_DEPENDS_NOT_PORT,
                                     closed ? NAT_DEPENDS_PORT : NAT_DEPENDS_NOT_PORT, NAT_CHOICE_RANDOM, 0,
                                     NAT_ANSWER_NO});
        world_free(w);

        w = world_new(&box, TWO_HUBS, SPARES, 10, 600 + i);
        run_until_complete(w);
        expect(w, &(struct expected){box.mapping == NAT_DEPENDS_NOT ? NAT_DEPENDS_NOT : NAT_DEPENDS_ADDRESS,
                                     NAT_DEPENDS_UNKNOWN, NAT_CHOICE_RANDOM, 0, NAT_ANSWER_NO});
        world_free(w);

        w = world_new(&box, PLAIN, SPARES, 0, 700 + i);
        run_until_complete(w);
        expect(w, &(struct expected){NAT_DEPENDS_UNKNOWN, NAT_DEPENDS_UNKNOWN, NAT_CHOICE_RANDOM, 0,
                                     NAT_ANSWER_NO});
        world_free(w);
    }
}

/* From the data socket alone: the filter first, and ports from its own mappings where it has several. */
static void without_spares(void **state)
{
    for (int i = 0; i < 9; i++) {
        struct box box = {.mapping = NAT_DEPENDS_NOT + i % 3,
                          .filtering = NAT_DEPENDS_NOT + i / 3,
                          .ports = SEQUENTIAL,
                          .delta = 1};
        struct world *w = world_new(&box, FOUR, 0, 5, 800 + i);
        run_until_complete(w);
        bool several = box.mapping == NAT_DEPENDS_PORT;
        expect(w, &(struct expected){box.mapping, box.filtering,
                                     several ? NAT_CHOICE_SEQUENTIAL : NAT_CHOICE_UNKNOWN, several ? 1 : 0,
                                     NAT_ANSWER_NO});
        world_free(w);
    }
}

/* Ports in sequence with gaps: the step is still seen. */
static void a_busy_box(void **state)
{
    static const int deltas[] = {1, 2, -1};
    for (int i = 0; i < 30; i++) {
        struct box box = {.mapping = NAT_DEPENDS_PORT,
                          .filtering = NAT_DEPENDS_PORT,
                          .ports = SEQUENTIAL,
                          .delta = deltas[i % 3],
                          .busy = true};
        struct world *w = world_new(&box, FOUR, SPARES, 0, 1000 + i);
        run_until_complete(w);
        struct nat_behaviour b = summary(w);
        assert_int_equal(b.ports, NAT_CHOICE_SEQUENTIAL);
        assert_int_equal(b.port_delta, box.delta);
        world_free(w);
    }
}

/* A filter that was opened by asking the other address as a server of its own tells nothing. */
static void an_opened_filter_is_not_judged(void **state)
{
    struct box box = {.mapping = NAT_DEPENDS_NOT, .filtering = NAT_DEPENDS_ADDRESS, .ports = RANDOM};
    for (size_t spares = 0; spares < 2; spares++) {
        struct world *w = world_new(&box, FOUR, spares, 0, 1);
        struct discover_config c = config(w, FOUR, spares);
        c.servers[c.server_count++] = w->endpoints[0][STUN_ENDPOINT_ADDR2];
        discover_restart(w->d, &c, w->now);
        run_until_complete(w);
        assert_int_equal(summary(w).filtering, spares ? NAT_DEPENDS_ADDRESS : NAT_DEPENDS_UNKNOWN);
        assert_int_equal(summary(w).mapping, NAT_DEPENDS_NOT);
        world_free(w);
    }
}

static void no_nat(void **state)
{
    struct box box = {.none = true, .mapping = NAT_DEPENDS_NOT, .filtering = NAT_DEPENDS_PORT};
    struct world *w = world_new(&box, FOUR, SPARES, 0, 1);
    run_until_complete(w);
    struct nat_behaviour b = summary(w);
    assert_int_equal(b.translated, NAT_ANSWER_NO);
    assert_int_equal(b.mapping, NAT_DEPENDS_NOT);
    assert_int_equal(b.filtering, NAT_DEPENDS_PORT);
    assert_int_equal(b.ports, NAT_CHOICE_KEPT);
    assert_int_equal(b.hairpin, NAT_ANSWER_UNKNOWN);
    world_free(w);
}

static void a_pool_of_addresses(void **state)
{
    struct box box = {
        .mapping = NAT_DEPENDS_NOT, .filtering = NAT_DEPENDS_NOT, .ports = RANDOM, .pooling = true};
    struct world *w = world_new(&box, FOUR, SPARES, 0, 1);
    run_until_complete(w);
    assert_true(summary(w).several_addresses && summary(w).contiguous_addresses);
    world_free(w);
}

static void blocked_and_back(void **state)
{
    struct box box = {.blocked = true, .mapping = NAT_DEPENDS_NOT, .filtering = NAT_DEPENDS_NOT};
    struct world *w = world_new(&box, FOUR, SPARES, 0, 1);
    run(w, START + DISCOVER_BLOCKED - 1);
    assert_int_equal(w->blocked_events, 0);
    run(w, START + DISCOVER_BLOCKED);
    assert_int_equal(w->blocked_events, 1);
    assert_int_equal(summary(w).udp, NAT_ANSWER_NO);
    run(w, START + 1000 * SEC);
    assert_int_equal(w->blocked_events, 1); /* told once */
    assert_true(w->sent < 60);              /* and tried ever more rarely */
    w->box.blocked = false;
    run(w, START + 2000 * SEC);
    assert_int_equal(w->mapped_events, 1);
    assert_int_equal(summary(w).udp, NAT_ANSWER_YES);
    assert_int_equal(w->complete_events, 1);
    w->box.blocked = true; /* while it was known */
    run(w, START + 2060 * SEC);
    assert_int_equal(w->blocked_events, 2);
    world_free(w);
}

/* A server that is away does not keep the other from being used, nor UDP from working. */
static void one_server_is_away(void **state)
{
    struct box box = {.mapping = NAT_DEPENDS_NOT, .filtering = NAT_DEPENDS_NOT};
    struct world *w = world_new(&box, TWO_HUBS, SPARES, 0, 1);
    stun_server_free(w->hosts[0]);
    w->hosts[0] = NULL;
    run_until_complete(w);
    assert_int_equal(w->blocked_events, 0);
    assert_true(net_addr_equal(&w->last_mapped.server, &w->endpoints[1][0]));
    world_free(w);
}

static void refreshes(void **state)
{
    struct box box = {.mapping = NAT_DEPENDS_NOT, .filtering = NAT_DEPENDS_NOT, .ports = RANDOM};
    struct world *w = world_new(&box, FOUR, SPARES, 0, 1);
    run(w, START + 60 * SEC);
    assert_int_equal(w->complete_events, 1);
    size_t sent = w->sent;
    run(w, START + 160 * SEC);
    assert_int_equal(w->sent - sent, 4); /* each 25 s */
    assert_int_equal(w->mapped_events, 1);
    w->mapping_count = 0; /* the box was restarted */
    run(w, START + 190 * SEC);
    assert_int_equal(w->mapped_events, 2);
    assert_true(net_addr_equal(&w->last_mapped.mapped, &w->mappings[0].outside));
    discover_interval(w->d, 100 * SEC, w->now);
    sent = w->sent;
    run(w, w->now + 350 * SEC);
    assert_int_equal(w->sent - sent, 3);
    discover_interval(w->d, USEC_NEVER, w->now);
    assert_int_equal(discover_wake(w->d), USEC_NEVER);
    world_free(w);
}

static void a_restart_begins_anew(void **state)
{
    struct box box = {.mapping = NAT_DEPENDS_NOT, .filtering = NAT_DEPENDS_NOT, .ports = KEPT};
    struct world *w = world_new(&box, FOUR, SPARES, 0, 1);
    run_until_complete(w);
    w->box.mapping = w->box.filtering = NAT_DEPENDS_PORT;
    w->box.ports = RANDOM;
    w->mapping_count = w->complete_events = 0;
    discover_restart(w->d, NULL, w->now);
    assert_int_equal(summary(w).udp, NAT_ANSWER_UNKNOWN);
    run_until_complete(w);
    assert_int_equal(w->mapped_events, 2);
    expect(w, &(struct expected){NAT_DEPENDS_PORT, NAT_DEPENDS_PORT, NAT_CHOICE_RANDOM, 0, NAT_ANSWER_NO});
    world_free(w);
}

static void lifetimes(void **state)
{
    static const struct {
        enum hosts hosts;
        enum choice ports;
        enum nat_depends mapping;
        usec_t lifetime, min, max;
        unsigned loss;
        bool no_response_port;
    } cases[] = {
        {FOUR, KEPT, NAT_DEPENDS_NOT, 5 * SEC, 0, 10 * SEC, 0},
        {FOUR, KEPT, NAT_DEPENDS_NOT, 20 * SEC, 10 * SEC, 30 * SEC, 10},
        {FOUR, RANDOM, NAT_DEPENDS_PORT, 45 * SEC, 30 * SEC, 60 * SEC, 0},
        {FOUR, SEQUENTIAL, NAT_DEPENDS_NOT, 90 * SEC, 60 * SEC, 120 * SEC, 10},
        {FOUR, KEPT, NAT_DEPENDS_NOT, 300 * SEC, 120 * SEC, 0, 10},
        {PLAIN, RANDOM, NAT_DEPENDS_NOT, 45 * SEC, 30 * SEC, 60 * SEC, 0, true},
        {PLAIN, SEQUENTIAL, NAT_DEPENDS_NOT, 5 * SEC, 0, 10 * SEC, 10, true},
        {FOUR, RANDOM, NAT_DEPENDS_PORT, 300 * SEC, 120 * SEC, 0, 0, true},
        {FOUR, KEPT, NAT_DEPENDS_NOT, 45 * SEC, 0, 0, 0, true}, /* cannot be told */
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct box box = {.mapping = cases[i].mapping,
                          .filtering = NAT_DEPENDS_PORT,
                          .ports = cases[i].ports,
                          .delta = 1,
                          .lifetime = cases[i].lifetime};
        struct world *w = world_new(&box, cases[i].hosts, SPARES, cases[i].loss, 900 + i);
        struct discover_config c = config(w, cases[i].hosts, SPARES);
        w->no_response_port = cases[i].no_response_port;
        c.no_lifetime = false;
        discover_restart(w->d, &c, w->now);
        size_t sent = w->sent;
        run(w, w->now + 300 * SEC);
        assert_true(w->sent - sent < 250);
        struct nat_behaviour b = summary(w);
        assert_true(b.lifetime_complete);
        assert_int_equal(b.lifetime_min, cases[i].min);
        assert_int_equal(b.lifetime_max, cases[i].max);
        world_free(w);
    }
}

/* The network goes away while an answer is waited for: that is no end of a mapping. */
static void an_outage_is_no_lifetime(void **state)
{
    struct box box = {.mapping = NAT_DEPENDS_NOT, .filtering = NAT_DEPENDS_PORT, .ports = KEPT};
    struct world *w = world_new(&box, FOUR, SPARES, 0, 5);
    struct discover_config c = config(w, FOUR, SPARES);
    c.no_lifetime = false;
    c.interval = HOUR;
    discover_restart(w->d, &c, w->now);
    run(w, w->now + 30 * SEC);
    assert_int_equal(summary(w).lifetime_min, 10 * SEC);
    w->box.blocked = true;
    run(w, w->now + 300 * SEC);
    assert_true(summary(w).lifetime_complete);
    assert_int_equal(summary(w).lifetime_max, 0);
    world_free(w);
}

/* A response as a server would write it. */
static struct bytes respond(uint8_t *out, size_t cap, struct bytes request, const struct net_addr *mapped,
                            const struct net_addr *other)
{
    struct stun_message m;
    struct stun_writer w;
    assert_int_equal(stun_read(&m, request), 0);
    stun_begin(&w, out, cap, STUN_SUCCESS, STUN_BINDING, m.txid);
    stun_put_xor_addr(&w, STUN_ATTR_XOR_MAPPED_ADDRESS, mapped);
    if (other)
        stun_put_addr(&w, STUN_ATTR_OTHER_ADDRESS, other);
    return stun_end(&w);
}

static void strangers_are_not_believed(void **state)
{
    struct box box = {0};
    struct world *w = world_new(&box, FOUR, SPARES, 0, 1);
    struct discover_out out;
    struct discover_event e;
    uint8_t copy[DISCOVER_REQUEST6], buf[256];
    struct net_addr server = w->endpoints[0][0], stranger = net_addr4(0x09090909, 3478),
                    mapped = net_addr4(0x08080808, 9);
    struct net_addr six = net_addr6((const uint8_t *)"\x20\1\xd\xb8\0\0\0\0\0\0\0\0\0\0\0\1", 9),
                    no_port = net_addr4(0x08080808, 0);
    assert_true(discover_output(w->d, &out, w->now));
    assert_int_equal(out.data.n, DISCOVER_REQUEST4);
    memcpy(copy, out.data.p, out.data.n);
    struct bytes request = bytes_of(copy, out.data.n);
    assert_true(
        discover_input(w->d, MAIN, &stranger, respond(buf, sizeof buf, request, &mapped, NULL), w->now));
    assert_true(discover_input(w->d, MAIN, &server, respond(buf, sizeof buf, request, &six, NULL), w->now));
    assert_true(
        discover_input(w->d, MAIN, &server, respond(buf, sizeof buf, request, &no_port, NULL), w->now));
    copy[19] ^= 1; /* another transaction of this prefix: ours, but not asked */
    assert_true(
        discover_input(w->d, MAIN, &server, respond(buf, sizeof buf, request, &mapped, NULL), w->now));
    copy[19] ^= 1;
    copy[8] ^= 1; /* somebody else's */
    assert_false(
        discover_input(w->d, MAIN, &server, respond(buf, sizeof buf, request, &mapped, NULL), w->now));
    copy[8] ^= 1;
    assert_false(discover_event(w->d, &e));
    /* A server does not get us to send into somebody's private network. */
    struct net_addr inside = net_addr4(0xc0a80101, 53);
    assert_true(
        discover_input(w->d, MAIN, &server, respond(buf, sizeof buf, request, &mapped, &inside), w->now));
    assert_true(discover_event(w->d, &e) && e.kind == DISCOVER_MAPPED && net_addr_equal(&e.mapped, &mapped));
    for (int i = 0; i < 100; i++) {
        discover_tick(w->d, w->now += SEC / 10);
        while (discover_output(w->d, &out, w->now))
            assert_false(net_ip_equal(&out.to, &inside));
    }
    world_free(w);
}

static void both_families(void **state)
{
    struct box box = {0};
    struct world *w = world_new(&box, FOUR, SPARES, 0, 1);
    struct discover_config c = config(w, FOUR, 0);
    struct net_addr six = net_addr6((const uint8_t *)"\x20\1\xd\xb8\0\0\0\0\0\0\0\0\0\0\0\1", 3478),
                    mine = six;
    struct discover_out out;
    struct discover_event e;
    uint8_t buf[256];
    mine.ip[15] = 77;
    c.servers[c.server_count++] = six;
    c.main6 = (struct discover_socket){2, 3478};
    c.locals[c.local_count++] = mine;
    discover_restart(w->d, &c, w->now);
    bool four = false, sixth = false;
    while (discover_output(w->d, &out, w->now)) {
        four |= out.to.family == 4 && out.socket == MAIN;
        if (out.to.family != 6)
            continue;
        assert_int_equal(out.data.n, DISCOVER_REQUEST6);
        sixth = out.socket == 2 && net_addr_equal(&out.to, &six);
        discover_input(w->d, 2, &six, respond(buf, sizeof buf, out.data, &mine, NULL), w->now);
    }
    assert_true(four && sixth);
    assert_true(discover_event(w->d, &e));
    assert_int_equal(e.family, 6);
    struct nat_behaviour b;
    discover_summary(w->d, 6, &b);
    assert_int_equal(b.translated, NAT_ANSWER_NO);
    assert_int_equal(summary(w).udp, NAT_ANSWER_UNKNOWN);
    world_free(w);
}

static void texts(void **state)
{
    static const struct {
        struct nat_behaviour b;
        const char *part;
    } cases[] = {
        {{.family = 4}, "not known yet"},
        {{.family = 4, .udp = NAT_ANSWER_NO}, "UDP is blocked"},
        {{.family = 6, .udp = NAT_ANSWER_YES, .translated = NAT_ANSWER_NO}, "IPv6: no NAT."},
        {{.family = 6, .udp = NAT_ANSWER_YES, .translated = NAT_ANSWER_NO, .filtering = NAT_DEPENDS_PORT},
         "but a firewall: only who"},
        {{.family = 4, .udp = NAT_ANSWER_YES, .mapping = NAT_DEPENDS_PORT, .ports = NAT_CHOICE_RANDOM},
         "(symmetric)"},
        {{.family = 4, .udp = NAT_ANSWER_YES, .mapping = NAT_DEPENDS_PORT, .ports = NAT_CHOICE_SEQUENTIAL},
         "guessed"},
        {{.family = 4, .udp = NAT_ANSWER_YES, .mapping = NAT_DEPENDS_NOT, .filtering = NAT_DEPENDS_ADDRESS},
         "mostly succeed; only addresses"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        char text[NAT_TEXT_MAX];
        nat_behaviour_text(text, &cases[i].b);
        assert_non_null(strstr(text, cases[i].part));
        assert_int_equal(text[strlen(text) - 1], '.');
    }
    /* Every combination fits. */
    for (int i = 0; i < 3 * 3 * 5 * 5 * 4; i++) {
        char text[NAT_TEXT_MAX];
        nat_behaviour_text(text, &(struct nat_behaviour){.udp = i % 3,
                                                         .translated = i / 3 % 3,
                                                         .mapping = i / 9 % 5,
                                                         .filtering = i / 45 % 5,
                                                         .ports = i / 225});
        assert_int_equal(text[strlen(text) - 1], '.');
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_box),
        cmocka_unit_test(lesser_servers),
        cmocka_unit_test(without_spares),
        cmocka_unit_test(a_busy_box),
        cmocka_unit_test(an_opened_filter_is_not_judged),
        cmocka_unit_test(no_nat),
        cmocka_unit_test(a_pool_of_addresses),
        cmocka_unit_test(blocked_and_back),
        cmocka_unit_test(one_server_is_away),
        cmocka_unit_test(refreshes),
        cmocka_unit_test(a_restart_begins_anew),
        cmocka_unit_test(lifetimes),
        cmocka_unit_test(an_outage_is_no_lifetime),
        cmocka_unit_test(strangers_are_not_believed),
        cmocka_unit_test(both_families),
        cmocka_unit_test(texts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
