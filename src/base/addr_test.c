#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <string.h>

#include "base/addr.h"

struct text_row {
    const char *in, *out; /* out NULL: refused */
    enum net_scope scope;
};
static const struct text_row rows[] = {
    {"192.0.2.1", "192.0.2.1", NET_PUBLIC},
    {"192.0.2.1:443", "192.0.2.1:443", NET_PUBLIC},
    {"[2001:db8::1]:65535", "[2001:db8::1]:65535", NET_PUBLIC},
    {"2001:db8:0:0::1", "2001:db8::1", NET_PUBLIC},
    {"[2001:db8::1]", "2001:db8::1", NET_PUBLIC},
    {"::ffff:192.0.2.1", "::ffff:192.0.2.1", NET_PUBLIC},
    {"10.1.2.3:1", "10.1.2.3:1", NET_PRIVATE},
    {"172.16.0.1", "172.16.0.1", NET_PRIVATE},
    {"172.31.255.255", "172.31.255.255", NET_PRIVATE},
    {"172.32.0.1", "172.32.0.1", NET_PUBLIC},
    {"192.168.1.1", "192.168.1.1", NET_PRIVATE},
    {"fd00::1", "fd00::1", NET_PRIVATE},
    {"100.64.0.1", "100.64.0.1", NET_SHARED},
    {"100.127.255.255", "100.127.255.255", NET_SHARED},
    {"100.128.0.1", "100.128.0.1", NET_PUBLIC},
    {"169.254.1.1", "169.254.1.1", NET_LINK_LOCAL},
    {"fe80::1", "fe80::1", NET_LINK_LOCAL},
    {"127.0.0.1", "127.0.0.1", NET_LOOPBACK},
    {"::1", "::1", NET_LOOPBACK},
    {"0.0.0.0", "0.0.0.0", NET_NONE},
    {"224.0.0.251", "224.0.0.251", NET_NONE},
    {"255.255.255.255", "255.255.255.255", NET_NONE},
    {"::", "::", NET_NONE},
    {"ff02::fb", "ff02::fb", NET_NONE},
    {"", NULL, 0},
    {"example.org", NULL, 0},
    {"example.org:1", NULL, 0},
    {"1.2.3", NULL, 0},
    {"1.2.3.4:", NULL, 0},
    {"1.2.3.4:65536", NULL, 0},
    {"1.2.3.4:+1", NULL, 0},
    {"1.2.3.4 ", NULL, 0},
    {"[1.2.3.4]:1", NULL, 0},
    {"[::1", NULL, 0},
    {"[::1]x", NULL, 0},
    {"[::1]:", NULL, 0},
    {"1111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa:bbbb:cccc:dddd:eeee", NULL, 0},
};

static void text(void **state)
{
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct net_addr a;
        char out[NET_ADDR_TEXT];
        int rc = net_addr_read(&a, rows[i].in);
        if (!rows[i].out) {
            assert_int_equal(rc, -22);
            assert_int_equal(a.family, 0);
            continue;
        }
        assert_int_equal(rc, 0);
        net_addr_text(out, &a);
        assert_string_equal(out, rows[i].out);
        assert_int_equal(net_addr_scope(&a), rows[i].scope);
    }
}

static void none(void **state)
{
    struct net_addr a = {0};
    char out[NET_ADDR_TEXT];
    net_addr_text(out, &a);
    assert_string_equal(out, "none");
    assert_int_equal(net_addr_scope(&a), NET_NONE);
    assert_int_equal(net_addr_ip4(&a), 0);
}

static void order_and_equality(void **state)
{
    struct net_addr a = net_addr4(0x0a000001, 5), b = net_addr4(0x0a000001, 6), c = net_addr4(0x0a000002, 1);
    struct net_addr six = net_addr6((const uint8_t[16]){0x20, 1}, 1);
    assert_true(net_ip_equal(&a, &b));
    assert_false(net_addr_equal(&a, &b));
    assert_false(net_ip_equal(&a, &c));
    assert_true(net_addr_compare(&a, &b) < 0);
    assert_true(net_addr_compare(&c, &b) > 0);
    assert_true(net_addr_compare(&a, &six) < 0);
    assert_int_equal(net_addr_compare(&a, &a), 0);
    assert_int_equal(net_addr_ip4(&c), 0x0a000002);
    assert_int_equal(net_ip_common(&a, &c), 30);
    assert_int_equal(net_ip_common(&a, &a), 32);
    assert_int_equal(net_ip_common(&a, &six), 0);
}

static void mapped(void **state)
{
    struct net_addr a, want = net_addr4(0xc0000201, 7);
    assert_int_equal(net_addr_read(&a, "[::ffff:192.0.2.1]:7"), 0);
    net_addr_unmap(&a);
    assert_true(net_addr_equal(&a, &want));
    assert_memory_equal(a.ip, want.ip, sizeof a.ip);
    net_addr_unmap(&a);
    assert_true(net_addr_equal(&a, &want));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text),
        cmocka_unit_test(none),
        cmocka_unit_test(order_and_equality),
        cmocka_unit_test(mapped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
