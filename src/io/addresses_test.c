#include "io/addresses.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define ROUTE4_HEAD "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n"

static bool is_warren(void *arg, const char *interface)
{
    return !strncmp(interface, "warren", 6);
}

static void routers_of_ipv4(void **state)
{
    static const struct {
        const char *text, *gateway; /* NULL: none */
    } cases[] = {
        {"", NULL},
        {ROUTE4_HEAD, NULL},
        {ROUTE4_HEAD "eth0\t00000000\t0101A8C0\t0003\t0\t0\t100\t00000000\t0\t0\t0\n"
                     "eth0\t0001A8C0\t00000000\t0001\t0\t0\t100\t00FFFFFF\t0\t0\t0\n",
         "192.168.1.1"},
        /* the smaller metric, wherever it stands */
        {ROUTE4_HEAD "wlan0\t00000000\t0101A8C0\t0003\t0\t0\t600\t00000000\t0\t0\t0\n"
                     "eth0\t00000000\t0100000A\t0003\t0\t0\t100\t00000000\t0\t0\t0\n",
         "10.0.0.1"},
        {ROUTE4_HEAD "eth0\t00000000\t0100000A\t0003\t0\t0\t100\t00000000\t0\t0\t0\n"
                     "wlan0\t00000000\t0101A8C0\t0003\t0\t0\t600\t00000000\t0\t0\t0",
         "10.0.0.1"},
        /* not up, no router, half of the world, ours */
        {ROUTE4_HEAD "eth0\t00000000\t0101A8C0\t0002\t0\t0\t100\t00000000\t0\t0\t0\n", NULL},
        {ROUTE4_HEAD "ppp0\t00000000\t00000000\t0001\t0\t0\t0\t00000000\t0\t0\t0\n", NULL},
        {ROUTE4_HEAD "tun0\t00000000\t0101A8C0\t0003\t0\t0\t0\t00000080\t0\t0\t0\n", NULL},
        {ROUTE4_HEAD "warren0\t00000000\t0101A8C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n", NULL},
        /* damaged */
        {"eth0 00000000 0101A8C0 0003 0 0 x 00000000\n", NULL},
        {"eth0 00000000 0101A8C000 0003 0 0 1 00000000\n", NULL},
        {"an-interface-name-too-long 00000000 0101A8C0 0003 0 0 1 00000000\n", NULL},
        {"eth0 00000000 0101A8C0 0003 0 0 1\n", NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct net_addr g = {0};
        char text[NET_ADDR_TEXT];
        bool found = addresses_gateway4(bytes_of_str(cases[i].text), &g, is_warren, NULL);
        net_addr_text(text, &g);
        assert_int_equal(found, cases[i].gateway != NULL);
        assert_string_equal(text, cases[i].gateway ? cases[i].gateway : "none");
    }
}

#define ZERO "00000000000000000000000000000000"
#define VIA  "fe800000000000000000000000000001"

static void routers_of_ipv6(void **state)
{
    static const struct {
        const char *text, *gateway, *interface;
    } cases[] = {
        {"", NULL, NULL},
        {ZERO " 00 " ZERO " 00 " VIA " 00000400 00000001 00000000 00450003     eth0\n", "fe80::1", "eth0"},
        {ZERO " 00 " ZERO " 00 " VIA " 00000400 1 0 00450003 wlan0\n" ZERO " 00 " ZERO
              " 00 20010db8000000000000000000000001 00000100 1 0 00000003 eth0\n",
         "2001:db8::1", "eth0"},
        /* unreachable (no next hop, as on lo), not the default, not up, ours */
        {ZERO " 00 " ZERO " 00 " ZERO " ffffffff 00000001 00000000 00200200       lo\n", NULL, NULL},
        {"20010db8000000000000000000000000 40 " ZERO " 00 " VIA " 00000100 1 0 00000003 eth0\n", NULL, NULL},
        {ZERO " 01 " ZERO " 00 " VIA " 00000100 1 0 00000003 eth0\n", NULL, NULL},
        {ZERO " 00 " ZERO " 00 " VIA " 00000100 1 0 00000002 eth0\n", NULL, NULL},
        {ZERO " 00 " ZERO " 00 " VIA " 00000100 1 0 00000003 warren1\n", NULL, NULL},
        {ZERO " 00 " ZERO " 00 fe80 00000100 1 0 00000003 eth0\n", NULL, NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct net_addr g = {0};
        char text[NET_ADDR_TEXT], interface[ADDRESSES_INTERFACE_CAP] = "";
        bool found = addresses_gateway6(bytes_of_str(cases[i].text), &g, interface, is_warren, NULL);
        net_addr_text(text, &g);
        assert_int_equal(found, cases[i].gateway != NULL);
        assert_string_equal(text, cases[i].gateway ? cases[i].gateway : "none");
        assert_string_equal(interface, cases[i].interface ? cases[i].interface : "");
    }
}

static void flags_of_ipv6_addresses(void **state)
{
    static const uint8_t one[16] = {0x20, 0x01, 0x0d, 0xb8, [15] = 1},
                         two[16] = {0x20, 1, 0xd, 0xb8, [15] = 2};
    struct bytes text = bytes_of_str("00000000000000000000000000000001 01 80 10 80       lo\n"
                                     "20010db8000000000000000000000001 02 40 00 a1     eth0\n");
    assert_int_equal(addresses_flags6(text, one), 0xa1);
    assert_int_equal(addresses_flags6(text, two), 0);
}

/* Cut anywhere, a table is read up to there. */
static void tables_cut_short(void **state)
{
    static const char whole[] =
        ROUTE4_HEAD "eth0\t00000000\t0101A8C0\t0003\t0\t0\t100\t00000000\t0\t0\t0\n" ZERO " 00 " ZERO
                    " 00 " VIA " 00000400 00000001 00000000 00450003     eth0\n";
    for (size_t n = 0; n < sizeof whole; n++) {
        char *copy = malloc(n + 1), interface[ADDRESSES_INTERFACE_CAP];
        struct net_addr g;
        memcpy(copy, whole, n);
        bool v4 = addresses_gateway4(bytes_of(copy, n), &g, NULL, NULL);
        bool v6 = addresses_gateway6(bytes_of(copy, n), &g, interface, NULL, NULL);
        assert_true(v4 || !v6);
        free(copy);
    }
}

static void everything_is_own(void **state)
{
    struct addresses a, b;
    assert_int_equal(addresses_read(&a, NULL, NULL), 0);
    for (size_t i = 0; i < a.count; i++) {
        enum net_scope s = net_addr_scope(&a.list[i].addr);
        assert_true(s != NET_LOOPBACK && s != NET_NONE);
        assert_true(a.list[i].index > 0 && a.list[i].interface[0] && a.list[i].prefix > 0);
        assert_int_equal(a.list[i].addr.port, 0);
    }
    assert_int_equal(addresses_read(&b, NULL, NULL), 0);
    assert_true(addresses_equal(&a, &b));
    b.gateway4.family ^= 1;
    assert_false(addresses_equal(&a, &b));
}

static bool every_one(void *arg, const char *interface)
{
    (*(int *)arg)++;
    return true;
}

static void own_devices_are_left_out(void **state)
{
    struct addresses a;
    int asked = 0;
    assert_int_equal(addresses_read(&a, every_one, &asked), 0);
    assert_int_equal(a.count, 0);
    assert_int_equal(a.gateway4.family, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(routers_of_ipv4),         cmocka_unit_test(routers_of_ipv6),
        cmocka_unit_test(flags_of_ipv6_addresses), cmocka_unit_test(tables_cut_short),
        cmocka_unit_test(everything_is_own),       cmocka_unit_test(own_devices_are_left_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
