/* The kernel's messages as bytes, and the judgement of pools. Needs no privilege. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <net/if.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "netdev/routes_int.h"

static struct nl_request route_message(uint8_t family, uint8_t prefix, uint8_t type, uint32_t table,
                                       const void *dst)
{
    struct rtmsg h = {.rtm_family = family,
                      .rtm_dst_len = prefix,
                      .rtm_type = type,
                      .rtm_table = (unsigned char)(table < 256 ? table : RT_TABLE_UNSPEC)};
    struct nl_request q;
    uint32_t oif = 7;
    nl_request_begin(&q, RTM_NEWROUTE, 0, &h, sizeof h);
    nl_request_attr(&q, RTA_TABLE, &table, sizeof table);
    if (dst)
        nl_request_attr(&q, RTA_DST, dst, family == AF_INET ? 4 : 16);
    nl_request_attr(&q, RTA_OIF, &oif, sizeof oif);
    return q;
}

/* The length goes in front, as nl_do does it. */
static struct bytes finish(struct nl_request *q)
{
    uint32_t n = (uint32_t)q->n;
    assert_false(q->bad);
    memcpy(q->bytes, &n, sizeof n);
    return bytes_of(q->bytes, q->n);
}

static const uint8_t net4[4] = {10, 7, 99, 5}, net6[16] = {0xfd, 1, [15] = 9};

static void routes_are_read(void **state)
{
    static const struct {
        uint8_t family, prefix, type;
        uint32_t table;
        const uint8_t *dst;
        bool wanted;
        uint8_t first[4];
    } rows[] = {
        {AF_INET, 16, RTN_UNICAST, RT_TABLE_MAIN, net4, true, {10, 7, 0, 0}},
        {AF_INET, 23, RTN_UNICAST, 1000, net4, true, {10, 7, 98, 0}},
        {AF_INET, 32, RTN_UNICAST, RT_TABLE_MAIN, net4, true, {10, 7, 99, 5}},
        {AF_INET6, 64, RTN_UNICAST, RT_TABLE_MAIN, net6, true, {0xfd, 1, 0, 0}},
        {AF_INET6, 9, RTN_UNICAST, RT_TABLE_MAIN, net6, true, {0xfd, 0, 0, 0}},
        {AF_INET, 0, RTN_UNICAST, RT_TABLE_MAIN, NULL, false, {0}},
        {AF_INET, 32, RTN_LOCAL, RT_TABLE_LOCAL, net4, false, {0}},
        {AF_INET, 32, RTN_UNICAST, RT_TABLE_LOCAL, net4, false, {0}},
        {AF_INET, 16, RTN_BLACKHOLE, RT_TABLE_MAIN, net4, false, {0}},
        {AF_INET, 33, RTN_UNICAST, RT_TABLE_MAIN, net4, false, {0}},
        {AF_INET6, 129, RTN_UNICAST, RT_TABLE_MAIN, net6, false, {0}},
        {AF_UNIX, 16, RTN_UNICAST, RT_TABLE_MAIN, net6, false, {0}},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct nl_request q =
            route_message(rows[i].family, rows[i].prefix, rows[i].type, rows[i].table, rows[i].dst);
        struct bytes in = finish(&q);
        struct nl_message m;
        struct netdev_route r;
        uint32_t oif;
        assert_true(nl_message_next(&in, &m));
        assert_int_equal(route_read(&r, &oif, &m), rows[i].wanted);
        assert_false(address_read(&r, &oif, &m));
        if (!rows[i].wanted)
            continue;
        assert_true(route_read(&r, &oif, &m));
        assert_int_equal(oif, 7);
        assert_int_equal(r.family, rows[i].family == AF_INET ? 4 : 6);
        assert_int_equal(r.prefix, rows[i].prefix);
        assert_memory_equal(r.net, rows[i].first, 4);
    }
}

static void addresses_are_read(void **state)
{
    struct ifaddrmsg h = {.ifa_family = AF_INET, .ifa_prefixlen = 24, .ifa_index = 3};
    static const uint8_t other[4] = {192, 168, 9, 9};
    struct nl_request q;
    struct nl_message m;
    struct netdev_route r;
    uint32_t oif;
    nl_request_begin(&q, RTM_NEWADDR, 0, &h, sizeof h);
    nl_request_attr(&q, IFA_ADDRESS, other, 4);
    nl_request_attr(&q, IFA_LOCAL, net4, 4);
    struct bytes in = finish(&q);
    assert_true(nl_message_next(&in, &m));
    assert_true(address_read(&r, &oif, &m));
    assert_int_equal(oif, 3);
    assert_int_equal(r.prefix, 24);
    static const uint8_t want[4] = {10, 7, 99, 0};
    assert_memory_equal(r.net, want, 4);
    assert_false(route_read(&r, &oif, &m));
}

/* Cut anywhere, with any byte changed: nothing behind the end is touched (the sanitizer looks), nothing
 * hangs. */
static void broken_messages(void **state)
{
    struct nl_request q = route_message(AF_INET6, 64, RTN_UNICAST, RT_TABLE_MAIN, net6);
    struct bytes whole = finish(&q);
    size_t read = 0;
    for (size_t n = 0; n <= whole.n; n++) {
        for (size_t flip = 0; flip <= n; flip++) {
            uint8_t *p = malloc(n ? n : 1);
            memcpy(p, whole.p, n);
            uint32_t length = (uint32_t)n;
            if (n >= 4)
                memcpy(p, &length, 4); /* so that the cut is not seen at the message's length */
            if (flip < n)
                p[flip] ^= 0xff;
            struct bytes in = bytes_of(p, n);
            for (struct nl_message m; nl_message_next(&in, &m);) {
                struct netdev_route r;
                uint32_t oif;
                read += route_read(&r, &oif, &m) && n == whole.n && flip == n;
                address_read(&r, &oif, &m);
                change_matters(&m);
            }
            free(p);
        }
    }
    assert_int_equal(read, 1);
}

static void attributes_end(void **state)
{
    static const struct {
        uint16_t length;
        size_t n;
        bool there;
        size_t value;
    } rows[] = {{4, 4, true, 0},  {8, 8, true, 4},  {5, 5, true, 1},  {5, 8, true, 1},
                {0, 8, false, 0}, {3, 8, false, 0}, {9, 8, false, 0}, {65535, 8, false, 0}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        uint8_t *p = calloc(1, rows[i].n);
        memcpy(p, &rows[i].length, 2);
        p[2] = 1;
        struct bytes in = bytes_of(p, rows[i].n);
        struct nl_attr a;
        assert_int_equal(nl_attr_next(&in, &a), rows[i].there);
        if (rows[i].there) {
            assert_int_equal(a.value.n, rows[i].value);
            assert_int_equal(in.n, 0);
        }
        free(p);
    }
}

static void requests_are_bounded(void **state)
{
    static const uint8_t big[NL_REQUEST_MAX] = {0};
    struct ifinfomsg h = {0};
    struct nl_request q;
    nl_request_begin(&q, RTM_NEWLINK, 0, &h, sizeof h);
    nl_request_attr(&q, 1, big, NL_REQUEST_MAX - sizeof(struct nlmsghdr) - sizeof h - sizeof(struct rtattr));
    assert_false(q.bad);
    assert_int_equal(q.n, NL_REQUEST_MAX);
    nl_request_attr(&q, 1, big, 0);
    assert_true(q.bad);
    nl_request_begin(&q, RTM_NEWLINK, 0, &h, sizeof h);
    assert_false(q.bad);
    nl_request_attr(&q, 1, big, sizeof big);
    assert_true(q.bad);
    assert_int_equal(nl_do(-1, &q), -90); /* EMSGSIZE, before the descriptor is looked at */
}

static void conflicts(void **state)
{
    static const struct netdev_route routes[] = {
        {4, 0, {0}, "eth0"},
        {6, 16, {10, 7}, "six"},
        {4, 24, {192, 168, 1, 0}, "eth0"},
        {4, 12, {172, 16, 0, 0}, "docker0"},
        {4, 32, {10, 99, 3, 4}, "vpn"},
    };
    static const struct {
        uint32_t net;
        uint8_t prefix;
        const char *device;
    } rows[] = {
        {0x0a070000, 16, NULL},   {0xc0a80000, 16, "eth0"}, {0xc0a80100, 24, "eth0"},
        {0xc0a80180, 25, "eth0"}, {0xc0a80200, 24, NULL},   {0xac1f0000, 16, "docker0"},
        {0xac200000, 16, NULL},   {0x0a630000, 16, "vpn"},  {0x0a630305, 32, NULL},
        {0x0a630304, 32, "vpn"},  {0x00000000, 0, "eth0"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const struct netdev_route *r = netdev_conflict4(routes, 5, rows[i].net, rows[i].prefix);
        assert_int_equal(!!r, !!rows[i].device);
        if (r)
            assert_string_equal(r->device, rows[i].device);
    }
    assert_null(netdev_conflict4(NULL, 0, 0x0a070000, 16));
}

static bool matters(uint16_t type, const void *fixed, size_t n)
{
    struct nl_request q;
    struct nl_message m;
    nl_request_begin(&q, type, 0, fixed, n);
    struct bytes in = finish(&q);
    assert_true(nl_message_next(&in, &m));
    return change_matters(&m);
}

static void changes_that_matter(void **state)
{
    struct ifinfomsg link = {.ifi_change = 0};
    struct ifaddrmsg address = {0};
    struct rtmsg route = {.rtm_type = RTN_UNICAST, .rtm_table = RT_TABLE_MAIN};
    assert_false(matters(RTM_NEWLINK, &link, sizeof link));
    assert_true(matters(RTM_DELLINK, &link, sizeof link));
    link.ifi_change = IFF_UP;
    assert_true(matters(RTM_NEWLINK, &link, sizeof link));
    assert_true(matters(RTM_NEWADDR, &address, sizeof address));
    assert_true(matters(RTM_DELADDR, &address, sizeof address));
    assert_true(matters(RTM_NEWROUTE, &route, sizeof route));
    assert_true(matters(RTM_DELROUTE, &route, sizeof route));
    route.rtm_flags = RTM_F_CLONED;
    assert_false(matters(RTM_NEWROUTE, &route, sizeof route));
    route.rtm_flags = 0;
    route.rtm_table = RT_TABLE_LOCAL;
    assert_false(matters(RTM_NEWROUTE, &route, sizeof route));
    assert_false(matters(RTM_NEWNEIGH, &route, sizeof route));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(routes_are_read),      cmocka_unit_test(addresses_are_read),
        cmocka_unit_test(broken_messages),      cmocka_unit_test(attributes_end),
        cmocka_unit_test(requests_are_bounded), cmocka_unit_test(conflicts),
        cmocka_unit_test(changes_that_matter),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
