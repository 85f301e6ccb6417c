/* Boxes that do more than translate: NAT64, the firewall that lets only port 443 out, port mappings. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "sim/box_portmap.h"
#include "sim/node_net.h"
#include "wire/portmap.h"

static struct sim sim;
static struct net *net;

struct ear {
    struct udp_socket *socket;
    struct net_addr from;
    int heard;
    size_t n;
    uint8_t last[1200];
};

static void hear(void *arg, const struct net_addr *from, uint8_t *p, size_t n)
{
    struct ear *e = arg;
    e->from = *from;
    e->heard++;
    e->n = n < sizeof e->last ? n : sizeof e->last;
    memcpy(e->last, p, e->n);
}

static void listen_on(struct ear *e, struct host *h, uint16_t port)
{
    *e = (struct ear){0};
    e->socket = udp_open(h, port, hear, e);
    assert_non_null(e->socket);
}

static void say_to(struct ear *e, struct net_addr to, struct bytes data)
{
    udp_send(e->socket, &to, data);
    sim_run(&sim, sim.now + 1 * SEC);
}

static struct net_addr at(struct net_addr a, uint16_t port)
{
    a.port = port;
    return a;
}

static int setup(void **state)
{
    sim_init(&sim, sim_seed(1));
    net = net_new(&sim);
    return 0;
}

static int teardown(void **state)
{
    net_free(net);
    sim_done(&sim);
    return 0;
}

static const struct nat_config port_restricted = {
    .mapping = NAT_ENDPOINT, .filtering = NAT_ADDRESS_PORT, .ports = NAT_PORT_KEEP};

static void nat64_is_a_way_to_ipv4(void **state)
{
    const struct site_config c = {.net6 = 0x20010db800070000,
                                  .v6_only = true,
                                  .nat64 = true,
                                  .box4 = port_restricted,
                                  .box6 = {.firewall = true, .filtering = NAT_ADDRESS_PORT}};
    struct host *inside = host_new(site_new(net, NULL, "mobile", &c), "ann"),
                *outside = host_new(net->root, "bob");
    struct ear ann, bob, other;
    listen_on(&ann, inside, 5000);
    listen_on(&bob, outside, 6000);
    listen_on(&other, outside, 6001);
    assert_int_equal(inside->ip4.family, 0);
    struct net_addr bob64 = {.family = 6, .ip = {0, 0x64, 0xff, 0x9b}, .port = 6000};
    memcpy(bob64.ip + 12, outside->ip4.ip, 4);
    say_to(&ann, bob64, bytes_of("1", 1));
    assert_int_equal(bob.heard, 1);
    assert_int_equal(bob.from.family, 4);
    say_to(&bob, bob.from, bytes_of("2", 1));
    assert_int_equal(ann.heard, 1);
    assert_true(net_addr_equal(&ann.from, &bob64));
    say_to(&other, bob.from, bytes_of("3", 1)); /* filtered */
    assert_int_equal(ann.heard, 1);
    say_to(&ann, at(outside->ip6, 6000), bytes_of("4", 1)); /* and IPv6 goes as it is */
    assert_int_equal(bob.heard, 2);
    assert_true(net_ip_equal(&bob.from, &inside->ip6));
}

static void only_streams_to_443_pass(void **state)
{
    const struct nat_config c = {.mapping = NAT_ENDPOINT, .filtering = NAT_ADDRESS_PORT, .only_443 = true};
    const struct net_addr outside = net_addr4(0x05000009, 0);
    struct nat nat;
    nat_init(&nat, &c, &outside);
    static const struct {
        enum nat_proto proto;
        uint16_t port;
        enum nat_verdict verdict;
    } rows[] = {{NAT_STREAM, 443, NAT_PASS}, {NAT_STREAM, 80, NAT_BLOCKED}, {NAT_UDP, 443, NAT_BLOCKED}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct net_addr from = net_addr4(0xc0a80102, 5000), to = net_addr4(0x08080808, rows[i].port);
        assert_int_equal(nat_out(&nat, &sim.rng, rows[i].proto, &from, &to, sim.now), rows[i].verdict);
    }
    nat_done(&nat);
}

static struct pcp_message ask(struct ear *e, struct site *home, uint16_t internal, uint16_t external,
                              uint32_t lifetime)
{
    struct pcp_message m = {.opcode = PCP_MAP,
                            .lifetime = lifetime,
                            .client = e->socket->host->ip4,
                            .has_map = true,
                            .nonce = {1, 2, 3},
                            .protocol = PORTMAP_UDP,
                            .internal_port = internal,
                            .external = {.family = 4, .port = external}};
    uint8_t out[PCP_MESSAGE_MAX];
    int before = e->heard;
    size_t n = pcp_write(out, sizeof out, &m);
    say_to(e, net_addr4(home->config.net4 | 1, PORTMAP_SERVER_PORT), bytes_of(out, n));
    assert_int_equal(e->heard, before + 1);
    assert_int_equal(pcp_read(&m, bytes_of(e->last, e->n)), 0);
    assert_true(m.response);
    return m;
}

static void pcp_opens_a_port(void **state)
{
    struct site *home = site_home(net, NULL, "home", &port_restricted);
    struct host *inside = host_new(home, "ann"), *second = host_new(home, "eve"),
                *outside = host_new(net->root, "bob");
    struct ear ann, eve, bob, request;
    box_portmap(home);
    listen_on(&ann, inside, 5000);
    listen_on(&eve, second, 5000);
    listen_on(&request, inside, 0);
    listen_on(&bob, outside, 6000);
    struct net_addr mapped = at(home->nat4.outside, 7000);
    say_to(&bob, mapped, bytes_of("1", 1));
    assert_int_equal(ann.heard, 0);
    struct pcp_message m = ask(&request, home, 5000, 7000, 100);
    struct net_addr want = mapped;
    assert_int_equal(m.result, PCP_SUCCESS);
    assert_true(net_addr_equal(&m.external, &want));
    assert_int_equal(m.lifetime, 100);
    say_to(&bob, mapped, bytes_of("2", 1));
    assert_int_equal(ann.heard, 1);
    say_to(&ann, at(outside->ip4, 6000), bytes_of("3", 1)); /* the same port outside */
    assert_true(net_addr_equal(&bob.from, &mapped));
    struct ear other;
    listen_on(&other, second, 0); /* the wish of another one for that port: the next */
    m = ask(&other, home, 5000, 7000, 100);
    assert_int_equal(m.external.port, 7001);
    sim_run(&sim, sim.now + 101 * SEC);
    say_to(&bob, mapped, bytes_of("4", 1)); /* its time is over */
    assert_int_equal(ann.heard, 1);
    ask(&request, home, 5000, 7000, 100);
    ask(&request, home, 5000, 7000, 0); /* deleted */
    say_to(&bob, mapped, bytes_of("5", 1));
    assert_int_equal(ann.heard, 1);
}

static void natpmp_tells_the_address(void **state)
{
    struct site *home = site_home(net, NULL, "home", &port_restricted);
    struct ear e;
    struct natpmp_message m = {.opcode = NATPMP_ADDRESS};
    uint8_t out[NATPMP_MESSAGE_MAX];
    box_portmap(home);
    listen_on(&e, host_new(home, "ann"), 0);
    say_to(&e, net_addr4(home->config.net4 | 1, PORTMAP_SERVER_PORT),
           bytes_of(out, natpmp_write(out, sizeof out, &m)));
    assert_int_equal(natpmp_read(&m, bytes_of(e.last, e.n)), 0);
    struct net_addr outside = home->nat4.outside;
    assert_int_equal(m.ip, net_addr_ip4(&outside));
    m = (struct natpmp_message){.opcode = NATPMP_MAP_TCP,
                                .has_body = true,
                                .internal_port = 80,
                                .external_port = 8080,
                                .lifetime = 60};
    say_to(&e, net_addr4(home->config.net4 | 1, PORTMAP_SERVER_PORT),
           bytes_of(out, natpmp_write(out, sizeof out, &m)));
    assert_int_equal(natpmp_read(&m, bytes_of(e.last, e.n)), 0);
    assert_int_equal(m.result, NATPMP_SUCCESS);
    assert_int_equal(m.external_port, 8080);
    assert_int_equal(home->nat4.forwards[0].proto, NAT_STREAM);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(nat64_is_a_way_to_ipv4, setup, teardown),
        cmocka_unit_test_setup_teardown(only_streams_to_443_pass, setup, teardown),
        cmocka_unit_test_setup_teardown(pcp_opens_a_port, setup, teardown),
        cmocka_unit_test_setup_teardown(natpmp_tells_the_address, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
