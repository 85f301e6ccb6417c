#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sim/nat.h"

#include <stdlib.h>

static struct rng_seeded chance;
static struct rng rng;
static struct nat nat;

#define OUTSIDE net_addr4(0x05000009, 0)
#define ANN     net_addr4(0xc0a80102, 5000)
#define BOB     net_addr4(0xc0a80103, 5000) /* the same port on another machine */
#define A1      net_addr4(0x08080808, 1000)
#define A2      net_addr4(0x08080808, 2000) /* same address, other port */
#define B1      net_addr4(0x09090909, 1000) /* other address */

static void box(struct nat_config c)
{
    struct net_addr outside = OUTSIDE;
    rng = rng_seeded(&chance, 42);
    nat_init(&nat, &c, &outside);
}

/* The outside port that a packet gets, or 0. */
static uint16_t out(struct net_addr from, struct net_addr to, usec_t now)
{
    if (nat_out(&nat, &rng, NAT_UDP, &from, &to, now) != NAT_PASS)
        return 0;
    struct net_addr outside = OUTSIDE;
    assert_true(net_ip_equal(&from, &outside));
    return from.port;
}

static bool in(struct net_addr from, uint16_t port, struct net_addr wanted, usec_t now)
{
    struct net_addr to = OUTSIDE;
    to.port = port;
    if (nat_in(&nat, NAT_UDP, &from, &to, now) != NAT_PASS)
        return false;
    assert_true(net_addr_equal(&to, &wanted));
    return true;
}

/* RFC 4787 as a table: from one inside endpoint to A1, A2 and B1. Are the outside ports equal, and who may
 * answer on A1's? */
static const struct behaviour {
    enum nat_kind mapping, filtering;
    bool same_a2, same_b1; /* the mapping to A2 (B1) is that to A1 */
    bool open_a2, open_b1; /* A2 (B1), never written to, reaches us through it */
} behaviours[] = {
    {NAT_ENDPOINT, NAT_ENDPOINT, true, true, true, true},
    {NAT_ENDPOINT, NAT_ADDRESS, true, true, true, false},
    {NAT_ENDPOINT, NAT_ADDRESS_PORT, true, true, false, false},
    {NAT_ADDRESS, NAT_ENDPOINT, true, false, true, true},
    {NAT_ADDRESS, NAT_ADDRESS, true, false, true, false},
    {NAT_ADDRESS, NAT_ADDRESS_PORT, true, false, false, false},
    {NAT_ADDRESS_PORT, NAT_ENDPOINT, false, false, true, true},
    {NAT_ADDRESS_PORT, NAT_ADDRESS, false, false, true, false},
    {NAT_ADDRESS_PORT, NAT_ADDRESS_PORT, false, false, false, false},
};

static void test_mapping_and_filtering(void **state)
{
    static const enum nat_ports policies[] = {NAT_PORT_KEEP, NAT_PORT_SEQUENTIAL, NAT_PORT_RANDOM};
    for (size_t i = 0; i < sizeof behaviours / sizeof *behaviours * 3; i++) {
        const struct behaviour *b = &behaviours[i / 3];
        box((struct nat_config){.mapping = b->mapping, .filtering = b->filtering, .ports = policies[i % 3]});
        uint16_t first = out(ANN, A1, SEC);
        assert_int_not_equal(first, 0);
        assert_true(in(A1, first, ANN, SEC));
        assert_int_equal(in(A2, first, ANN, SEC), b->open_a2);
        assert_int_equal(in(B1, first, ANN, SEC), b->open_b1);
        assert_int_equal(out(ANN, A2, SEC) == first, b->same_a2);
        assert_int_equal(out(ANN, B1, SEC) == first, b->same_b1);
        assert_int_equal(out(ANN, A1, SEC), first);
        assert_false(in(A1, (uint16_t)(first ^ 0x4000), ANN, SEC)); /* where nothing is mapped */
        nat_done(&nat);
    }
}

static void test_port_policies(void **state)
{
    box((struct nat_config){.mapping = NAT_ADDRESS_PORT, .ports = NAT_PORT_KEEP});
    assert_int_equal(out(ANN, A1, SEC), 5000);
    assert_int_equal(out(BOB, A1, SEC), 5001); /* contention: the next one */
    assert_int_equal(out(ANN, A2, SEC), 5002);
    nat_done(&nat);
    static const int steps[] = {1, 2, -1};
    for (size_t i = 0; i < 3; i++) {
        box((struct nat_config){.mapping = NAT_ADDRESS_PORT, .ports = NAT_PORT_SEQUENTIAL, .step = steps[i]});
        uint16_t first = out(ANN, A1, SEC);
        assert_int_equal(out(ANN, A2, SEC), first + steps[i]);
        assert_int_equal(out(ANN, B1, SEC), first + 2 * steps[i]);
        nat_done(&nat);
    }
    box((struct nat_config){.mapping = NAT_ADDRESS_PORT, .ports = NAT_PORT_RANDOM});
    uint16_t a = out(ANN, A1, SEC), b = out(ANN, A2, SEC), c = out(ANN, B1, SEC);
    assert_true(a != b && b != c && abs(a - b) > 8 && abs(b - c) > 8);
    nat_done(&nat);
}

static void test_lifetime_and_refresh(void **state)
{
    for (int inbound = 0; inbound < 2; inbound++) {
        box((struct nat_config){.lifetime = 30 * SEC, .refresh_inbound = inbound});
        uint16_t port = out(ANN, A1, SEC);
        assert_true(in(A1, port, ANN, 20 * SEC));
        assert_int_equal(in(A1, port, ANN, 32 * SEC),
                         inbound); /* only kept alive from within, unless inbound counts */
        assert_int_equal(out(ANN, A1, 40 * SEC), port);
        assert_true(in(A1, port, ANN, 69 * SEC));
        assert_int_equal(nat_mapping_count(&nat, 200 * SEC), 0);
        nat_done(&nat);
    }
}

static void test_limit_reboot_and_blocked_udp(void **state)
{
    box((struct nat_config){.mapping = NAT_ADDRESS_PORT, .max_mappings = 2, .lifetime = 30 * SEC});
    assert_int_not_equal(out(ANN, A1, SEC), 0);
    assert_int_not_equal(out(ANN, A2, SEC), 0);
    assert_int_equal(out(ANN, B1, SEC), 0);
    assert_int_equal(nat.verdicts[NAT_FULL], 1);
    assert_int_not_equal(out(ANN, B1, 40 * SEC), 0); /* the old ones have run out */
    nat_reboot(&nat, NULL);
    assert_int_equal(nat_mapping_count(&nat, 40 * SEC), 0);
    assert_false(in(A1, 5000, ANN, 40 * SEC));
    nat_done(&nat);

    box((struct nat_config){.udp_blocked = true});
    assert_int_equal(out(ANN, A1, SEC), 0);
    struct net_addr from = ANN, to = A1;
    assert_int_equal(nat_out(&nat, &rng, NAT_STREAM, &from, &to, SEC), NAT_PASS); /* streams still pass */
    nat_done(&nat);
}

static void test_firewall_translates_nothing_and_lets_answers_in(void **state)
{
    box((struct nat_config){.firewall = true, .filtering = NAT_ADDRESS_PORT, .lifetime = 30 * SEC});
    struct net_addr in6 = sim_addr6(0x20010db800010000, 2, 5000),
                    out6 = sim_addr6(0x20010db800020000, 2, 6000);
    struct net_addr from = out6, to = in6;
    assert_int_equal(nat_in(&nat, NAT_UDP, &from, &to, SEC), NAT_NO_MAPPING);
    from = in6;
    to = out6;
    assert_int_equal(nat_out(&nat, &rng, NAT_UDP, &from, &to, SEC), NAT_PASS);
    assert_true(net_addr_equal(&from, &in6));
    from = out6;
    to = in6;
    assert_int_equal(nat_in(&nat, NAT_UDP, &from, &to, 2 * SEC), NAT_PASS);
    assert_true(net_addr_equal(&to, &in6));
    from.port++;
    assert_int_equal(nat_in(&nat, NAT_UDP, &from, &to, 2 * SEC), NAT_FILTERED);
    nat_done(&nat);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mapping_and_filtering),
        cmocka_unit_test(test_port_policies),
        cmocka_unit_test(test_lifetime_and_refresh),
        cmocka_unit_test(test_limit_reboot_and_blocked_udp),
        cmocka_unit_test(test_firewall_translates_nothing_and_lets_answers_in),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
