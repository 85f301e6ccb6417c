/* A node that looks for direct paths when memory fails: two members of a party on one LAN, one of them ill.
 * Whatever was lost, with memory again both are on a direct path and their LAN works. */
#include "torture.h"

#include "node/engine.h"

#define SOCKETS   32
#define DATAGRAMS 256
#define FLIGHT    (1 * MSEC)

/* What the harness lacks: a network below, one Ethernet with both machines on it. */
struct wire_socket {
    struct node *n;
    uint32_t number;
    uint16_t port;
};
struct wire_datagram {
    usec_t due;
    struct net_addr from, to;
    size_t n;
    uint8_t p[1600];
};
static struct {
    struct wire_socket sockets[SOCKETS];
    size_t socket_count, opened; /* so many have been told */
    struct wire_datagram flying[DATAGRAMS];
    size_t count;
    uint16_t next_port;
    usec_t now;
} wire;

static struct node *ill;
static uint32_t ip_of(const struct node *n);

static void sick_on(const struct node *n)
{
    if (n && n == ill)
        torture_on();
}

static void sick_off(const struct node *n)
{
    if (n && n == ill)
        torture_off();
}

static void wire_send(const struct node *n, const struct node_out *out, usec_t now)
{
    for (size_t i = 0; i < wire.socket_count; i++) {
        const struct wire_socket *s = &wire.sockets[i];
        if (s->n != n || s->number != out->socket || wire.count == DATAGRAMS || out->data.n > 1600)
            continue;
        struct wire_datagram *d = &wire.flying[wire.count++];
        *d = (struct wire_datagram){now + FLIGHT, net_addr4(ip_of(n), s->port), out->to, out->data.n, {0}};
        memcpy(d->p, out->data.p, out->data.n);
        return;
    }
}

/* Whether it was the network's. */
static bool wire_takes(struct node *n, const struct node_out *out, usec_t now)
{
    switch (out->kind) {
    case NODE_UDP_OPEN:
        if (wire.socket_count < SOCKETS && out->family == 4)
            wire.sockets[wire.socket_count++] = (struct wire_socket){n, out->socket, ++wire.next_port};
        return true;
    case NODE_UDP_CLOSE:
        for (size_t i = 0; i < wire.socket_count; i++)
            if (wire.sockets[i].n == n && wire.sockets[i].number == out->socket)
                wire.sockets[i].n = NULL;
        return true;
    case NODE_DATAGRAM:
        wire_send(n, out, now);
        return true;
    default:
        return false;
    }
}

static bool sick_output(struct node *n, usec_t now, struct node_out *out)
{
    bool more;
    do {
        sick_on(n);
        more = node_output(n, now, out);
        sick_off(n);
    } while (more && wire_takes(n, out, now));
    return more;
}

static void sick_tick(struct node *n, usec_t now)
{
    sick_on(n);
    node_tick(n, now);
    sick_off(n);
}

static void sick_hub_text(struct node *n, struct bytes text, usec_t now)
{
    sick_on(n);
    node_hub_text(n, text, now);
    sick_off(n);
}

static void sick_hub_binary(struct node *n, uint8_t *message, size_t len, usec_t now)
{
    sick_on(n);
    node_hub_binary(n, message, len, now);
    sick_off(n);
}

static bool sick_hub_take(struct node *n, struct buf *out, bool *binary, usec_t now)
{
    sick_on(n);
    bool took = node_hub_take(n, out, binary, now);
    sick_off(n);
    return took;
}

#define node_output     sick_output
#define node_tick       sick_tick
#define node_hub_text   sick_hub_text
#define node_hub_binary sick_hub_binary
#define node_hub_take   sick_hub_take
#include "node/engine_harness.h"

static struct lab *lab;
static uint32_t net; /* the LAN that both are on: changes */

static uint32_t ip_of(const struct node *n)
{
    return net + (n == lab->hosts[0].n ? 10 : 11);
}

/* ---- time, with the network below ---- */

static void wire_opens(void)
{
    for (; wire.opened < wire.socket_count; wire.opened++) {
        const struct wire_socket *s = &wire.sockets[wire.opened];
        if (!s->n)
            continue;
        sick_on(s->n);
        node_udp_opened(s->n, s->number, s->port, NULL, lab->now);
        sick_off(s->n);
    }
}

static void wire_arrives(struct wire_datagram *d)
{
    for (size_t i = 0; i < wire.socket_count; i++) {
        const struct wire_socket *s = &wire.sockets[i];
        if (!s->n || s->port != d->to.port || ip_of(s->n) != net_addr_ip4(&d->to))
            continue;
        sick_on(s->n);
        node_udp(s->n, s->number, &d->from, d->p, d->n, lab->now);
        sick_off(s->n);
        lab_settle(lab);
        return;
    }
}

static void run(usec_t time)
{
    static struct wire_datagram d;
    for (usec_t until = lab->now + time; lab->now < until;) {
        usec_t next = until;
        wire_opens();
        for (size_t i = 0; i < wire.count; i++)
            next = usec_min(next, wire.flying[i].due);
        lab_step(lab, next);
        for (size_t i = 0; i < wire.count;) {
            if (wire.flying[i].due > lab->now) {
                i++;
                continue;
            }
            d = wire.flying[i];
            memmove(&wire.flying[i], &wire.flying[i + 1], (--wire.count - i) * sizeof d);
            wire_arrives(&d);
        }
    }
}

/* Both machines are on another LAN from now on. */
static void move(uint32_t to)
{
    net = to;
    for (int i = 0; i < 2; i++) {
        struct node *n = lab->hosts[i].n;
        struct node_network w = {.count = 1};
        strcpy(w.addrs[0].interface, "eth0");
        w.addrs[0].addr = net_addr4(ip_of(n), 0);
        w.addrs[0].prefix = 24;
        sick_on(n);
        node_network(n, &w, lab->now);
        sick_off(n);
    }
}

static bool path_is(int i, const char *name, const char *path)
{
    json_t *p = status_peer(lab, i, name);
    return p && strcmp(field(p, "path"), path) == 0;
}

static void begin(uint64_t seed)
{
    memset(&wire, 0, sizeof wire);
    wire.next_port = 40000;
    net = 0xc0a80100;
    lab = lab_new(seed);
    lab_party(lab, 2);
    ill = lab->hosts[1].n;
}

static void direct_works(void)
{
    torture_heal();
    for (int i = 0; i < 20 && !(path_is(0, "ben", "lan") && path_is(1, "anna", "lan")); i++)
        run(10 * SEC);
    assert_true(path_is(0, "ben", "lan"));
    assert_true(path_is(1, "anna", "lan"));
    for (int i = 0; i < 2; i++) {
        lab->hosts[!i].frame_count = 0;
        send_frame(lab, i, !i, 0, 0x77, 100);
        run(SEC);
        assert_int_equal(frames_of(&lab->hosts[!i], 0x77), 1);
    }
}

static void end(void)
{
    ill = NULL;
    lab_free(lab);
    lab = NULL;
}

/* ---- stories ---- */

static void finds(void)
{
    begin(8);
    move(net);
    run(5 * SEC);
    direct_works();
    end();
}

static void moves(void)
{
    begin(9);
    ill = NULL;
    move(net);
    run(10 * SEC);
    assert_true(path_is(0, "ben", "lan") && path_is(1, "anna", "lan"));
    ill = lab->hosts[1].n;
    move(0x0a010200);
    for (int i = 0; i < 4; i++) {
        send_frame(lab, i % 2, !(i % 2), 0, 0x55, 100);
        run(SEC);
    }
    direct_works();
    end();
}

static void test_finds(void **state)
{
    torture("a direct path is found", TORTURE_MEMORY, 4, finds);
}

static void test_moves(void **state)
{
    torture("both move to another network", TORTURE_MEMORY, 4, moves);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_finds, torture_report),
        cmocka_unit_test_teardown(test_moves, torture_report),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
