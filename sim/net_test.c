#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sim/net.h"

#include <errno.h>
#include <string.h>

static struct sim sim;
static struct net *net;

struct ear {
    struct udp_socket *socket;
    struct net_addr from;
    int heard;
    usec_t at;
};

static void hear(void *arg, const struct net_addr *from, uint8_t *p, size_t n)
{
    struct ear *e = arg;
    e->from = *from;
    e->heard += n == 4 && memcmp(p, "ping", 4) == 0;
    e->at = sim.now;
}

static void listen_on(struct ear *e, struct host *h, uint16_t port)
{
    *e = (struct ear){0};
    e->socket = udp_open(h, port, hear, e);
    assert_non_null(e->socket);
}

static struct net_addr at4(const struct host *h, uint16_t port)
{
    struct net_addr a = h->ip4;
    a.port = port;
    return a;
}

static int say(struct ear *e, struct net_addr to)
{
    return udp_send(e->socket, &to, bytes_of("ping", 4));
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

static void run(usec_t t)
{
    sim_run(&sim, sim.now + t);
}

static void test_public_hosts_reach_each_other(void **state)
{
    struct host *a = host_new(net->root, "a"), *b = host_new(net->root, "b");
    struct ear ea, eb;
    listen_on(&ea, a, 100);
    listen_on(&eb, b, 200);
    assert_null(udp_open(b, 200, hear, &eb));
    usec_t start = sim.now;
    assert_int_equal(say(&ea, at4(b, 200)), 0);
    run(SEC);
    assert_int_equal(eb.heard, 1);
    assert_int_equal(eb.at - start, 2 * MSEC); /* two access lines of a millisecond */
    struct net_addr from = at4(a, 100);
    assert_true(net_addr_equal(&eb.from, &from));
    struct net_addr six = b->ip6;
    six.port = 200;
    say(&ea, six);
    run(SEC);
    assert_int_equal(eb.heard, 2);
    assert_int_equal(eb.from.family, 6);
    say(&ea, at4(b, 201)); /* nobody there */
    say(&ea, net_addr4(0x7b000001, 200));
    run(SEC);
    assert_int_equal(net->drops[NET_DROP_NO_SOCKET], 1);
    assert_int_equal(net->drops[NET_DROP_NO_ROUTE], 1);
}

static void test_a_home_is_seen_by_its_box(void **state)
{
    struct nat_config cone = {.mapping = NAT_ENDPOINT, .filtering = NAT_ADDRESS_PORT};
    struct site *home = site_home(net, NULL, "home", &cone);
    struct host *in = host_new(home, "in"), *out = host_new(net->root, "out"),
                *other = host_new(net->root, "other");
    struct ear ei, eo, ex;
    listen_on(&ei, in, 100);
    listen_on(&eo, out, 200);
    listen_on(&ex, other, 300);
    say(&ei, at4(out, 200));
    run(SEC);
    assert_int_equal(eo.heard, 1);
    assert_true(net_ip_equal(&eo.from, &home->nat4.outside));
    say(&eo, eo.from);
    say(&ex, eo.from);      /* not asked */
    say(&eo, at4(in, 100)); /* a private address is no address out here */
    run(SEC);
    assert_int_equal(ei.heard, 1);
    assert_int_equal(home->nat4.verdicts[NAT_FILTERED], 1);
    assert_int_equal(net->drops[NET_DROP_NO_ROUTE], 1);
    site_reboot(home, true);
    say(&eo, eo.from);
    run(SEC);
    assert_int_equal(ei.heard, 1); /* the mapping and the address are gone */
    say(&ei, at4(out, 200));
    run(SEC);
    assert_int_equal(eo.heard, 2);
    assert_true(net_ip_equal(&eo.from, &home->nat4.outside));
}

static void test_hairpin(void **state)
{
    for (int on = 0; on < 2; on++) {
        struct nat_config box = {.mapping = NAT_ENDPOINT, .filtering = NAT_ENDPOINT, .hairpin = on};
        struct site *home = site_home(net, NULL, "home", &box);
        struct host *a = host_new(home, "a"), *b = host_new(home, "b"), *out = host_new(net->root, "out");
        struct ear ea, eb, eo;
        listen_on(&ea, a, 100);
        listen_on(&eb, b, 100);
        listen_on(&eo, out, 200);
        say(&eb, at4(out, 200));
        run(SEC);
        say(&ea, eo.from); /* b as the outside sees it */
        run(SEC);
        assert_int_equal(eb.heard, on);
        if (on)
            assert_true(net_ip_equal(&eb.from, &home->nat4.outside));
        say(&ea, at4(b, 100));
        run(SEC);
        assert_int_equal(eb.heard, on + 1);
    }
}

static void test_double_nat(void **state)
{
    struct nat_config box = {.mapping = NAT_ENDPOINT, .filtering = NAT_ADDRESS_PORT};
    struct site_config carrier = {.net4 = 0x64400000, .box4 = box, .box6 = {.passes_all = true}};
    struct site *isp = site_new(net, NULL, "carrier", &carrier);
    struct site *home = site_home(net, isp, "home", &box),
                *next_door = site_home(net, isp, "next door", &box);
    struct host *in = host_new(home, "in"), *near = host_new(next_door, "near"),
                *out = host_new(net->root, "out");
    struct ear ei, en, eo;
    listen_on(&ei, in, 100);
    listen_on(&en, near, 100);
    listen_on(&eo, out, 200);
    say(&ei, at4(out, 200));
    run(SEC);
    assert_true(net_ip_equal(&eo.from, &isp->nat4.outside));
    say(&eo, eo.from);
    run(SEC);
    assert_int_equal(ei.heard, 1);
    /* Inside the carrier's network the homes meet by their shared addresses, when both have knocked. */
    struct net_addr home_seen = home->nat4.outside, near_seen = next_door->nat4.outside;
    assert_int_equal(home_seen.ip[0], 100);
    home_seen.port = near_seen.port = 100;
    say(&ei, near_seen);
    run(SEC);
    assert_int_equal(en.heard, 0);
    say(&en, home_seen);
    run(SEC);
    assert_int_equal(ei.heard, 2);
}

static void test_ipv6_firewall(void **state)
{
    struct site_config c = {.net4 = 0xc0a80100,
                            .net6 = 0x20010db800010000,
                            .box6 = {.firewall = true, .filtering = NAT_ADDRESS_PORT}};
    struct site *home = site_new(net, NULL, "home", &c);
    struct host *in = host_new(home, "in"), *out = host_new(net->root, "out");
    struct ear ei, eo;
    listen_on(&ei, in, 100);
    listen_on(&eo, out, 200);
    struct net_addr to_in = in->ip6, to_out = out->ip6;
    to_in.port = 100;
    to_out.port = 200;
    say(&eo, to_in);
    run(SEC);
    assert_int_equal(ei.heard, 0);
    say(&ei, to_out);
    run(SEC);
    assert_int_equal(eo.heard, 1);
    assert_true(net_addr_equal(&eo.from, &to_in));
    say(&eo, to_in);
    run(SEC);
    assert_int_equal(ei.heard, 1);
}

static void test_moving_and_power(void **state)
{
    struct nat_config box = {.mapping = NAT_ENDPOINT, .filtering = NAT_ENDPOINT};
    struct site *wifi = site_home(net, NULL, "wifi", &box), *mobile = site_home(net, NULL, "mobile", &box);
    struct host *phone = host_new(wifi, "phone"), *out = host_new(net->root, "out");
    struct ear ep, eo;
    listen_on(&ep, phone, 100);
    listen_on(&eo, out, 200);
    say(&ep, at4(out, 200));
    run(SEC);
    struct net_addr old = eo.from;
    say(&eo, old);
    host_move(phone, mobile); /* while the answer is on its way */
    run(SEC);
    assert_int_equal(ep.heard, 0);
    say(&ep, at4(out, 200));
    run(SEC);
    assert_false(net_ip_equal(&eo.from, &old));
    say(&eo, eo.from);
    run(SEC);
    assert_int_equal(ep.heard, 1);
    host_power(phone, false);
    assert_int_equal(say(&ep, at4(out, 200)), -ENETDOWN);
    say(&eo, eo.from);
    run(SEC);
    assert_int_equal(ep.heard, 1);
    assert_ptr_equal(host_by_name(net, "phone"), phone);
}

static void test_multicast_stays_on_the_site(void **state)
{
    struct nat_config box = {.ports = NAT_PORT_KEEP};
    struct site *home = site_home(net, NULL, "home", &box), *next_door = site_home(net, NULL, "next", &box);
    struct host *hosts[] = {host_new(home, "a"), host_new(home, "b"), host_new(home, "c"),
                            host_new(next_door, "d"), host_new(net->root, "e")};
    struct ear ears[5];
    for (size_t i = 0; i < 5; i++)
        listen_on(&ears[i], hosts[i], 5353);
    say(&ears[0], net_addr4(0xe00000fb, 5353));
    say(&ears[4], net_addr4(0xe00000fb, 5353));
    run(SEC);
    const int heard[] = {0, 1, 1, 0, 0};
    for (size_t i = 0; i < 5; i++)
        assert_int_equal(ears[i].heard, heard[i]);
    assert_true(net_ip_equal(&ears[1].from, &hosts[0]->ip4));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_public_hosts_reach_each_other, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_home_is_seen_by_its_box, setup, teardown),
        cmocka_unit_test_setup_teardown(test_hairpin, setup, teardown),
        cmocka_unit_test_setup_teardown(test_double_nat, setup, teardown),
        cmocka_unit_test_setup_teardown(test_ipv6_firewall, setup, teardown),
        cmocka_unit_test_setup_teardown(test_moving_and_power, setup, teardown),
        cmocka_unit_test_setup_teardown(test_multicast_stays_on_the_site, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
