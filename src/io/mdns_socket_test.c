#include "io/mdns_socket.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include <net/if.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

static uv_loop_t loop;

struct ear {
    struct mdns_socket *m;
    int heard;
    struct net_addr from;
    char text[64];
    bool close;
};

static void on_receive(void *arg, const struct net_addr *from, uint8_t *p, size_t n)
{
    struct ear *e = arg;
    e->heard++;
    e->from = *from;
    snprintf(e->text, sizeof e->text, "%.*s", (int)n, (const char *)p);
    memset(p, 0, n);
    if (e->close) {
        mdns_socket_close(e->m);
        e->m = NULL;
    }
}

/* The loopback stands for a LAN: it takes multicast where it is joined by its index. */
static struct addresses lan(uint8_t family)
{
    static const uint8_t one[16] = {[15] = 1};
    struct addresses a = {.count = 1};
    snprintf(a.list[0].interface, sizeof a.list[0].interface, "lo");
    a.list[0].index = if_nametoindex("lo");
    a.list[0].addr = family == 4 ? net_addr4(0x7f000001, 0) : net_addr6(one, 0);
    a.list[0].prefix = family == 4 ? 8 : 128;
    a.list[0].multicast = true;
    return a;
}

static uint16_t free_port(void)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof at;
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &n), 0);
    close(fd);
    return ntohs(at.sin_port);
}

static void open_pair(struct ear *a, struct ear *b, uint8_t family, uint16_t port)
{
    uv_loop_init(&loop);
    *a = *b = (struct ear){0};
    assert_int_equal(mdns_socket_open(&a->m, &loop, family, port, on_receive, a), 0);
    assert_int_equal(mdns_socket_open(&b->m, &loop, family, port, on_receive, b), 0);
}

static void close_pair(struct ear *a, struct ear *b)
{
    mdns_socket_close(a->m);
    mdns_socket_close(b->m);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&loop), 0);
}

static void the_group_is_heard_by_all(void **state)
{
    struct ear a, b;
    struct addresses net = lan(4), none = {0};
    uint16_t port = free_port();
    struct net_addr group = mdns_group(4, port);
    open_pair(&a, &b, 4, port);
    assert_int_equal(mdns_socket_send(a.m, &group, bytes_of_str("early")), -ENETUNREACH);
    mdns_socket_network(a.m, &net);
    mdns_socket_network(b.m, &net);
    mdns_socket_network(b.m, &net); /* no second time */
    assert_int_equal(mdns_socket_send(a.m, &group, bytes_of_str("who is there")), 0);
    while (!a.heard || !b.heard)
        uv_run(&loop, UV_RUN_ONCE);
    assert_string_equal(b.text, "who is there");
    assert_int_equal(a.heard, 1);
    assert_int_equal(b.heard, 1);
    assert_int_equal(b.from.port, port);
    /* an interface that went */
    mdns_socket_network(b.m, &none);
    assert_int_equal(mdns_socket_send(a.m, &group, bytes_of_str("again")), 0);
    while (a.heard < 2)
        uv_run(&loop, UV_RUN_ONCE);
    uv_run(&loop, UV_RUN_NOWAIT);
    assert_int_equal(b.heard, 1);
    assert_int_equal(mdns_socket_send(b.m, &group, bytes_of_str("x")), -ENETUNREACH);
    struct net_addr other = mdns_group(6, port);
    assert_int_equal(mdns_socket_send(a.m, &other, bytes_of_str("x")), -EAFNOSUPPORT);
    close_pair(&a, &b);
}

/* From another network, or with a TTL that a router has lowered. */
static void strangers_are_not_heard(void **state)
{
    struct ear a, b;
    struct addresses net = lan(4), elsewhere = lan(4);
    uint16_t port = free_port();
    struct sockaddr_in to = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int ttl = 64;
    open_pair(&a, &b, 4, port);
    mdns_socket_close(b.m); /* unicast goes to one of those that share a port */
    b.m = NULL;
    mdns_socket_network(a.m, &net);
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    assert_int_equal(setsockopt(fd, IPPROTO_IP, IP_TTL, &ttl, sizeof ttl), 0);
    assert_int_equal(sendto(fd, "far", 3, 0, (struct sockaddr *)&to, sizeof to), 3);
    ttl = 255;
    assert_int_equal(setsockopt(fd, IPPROTO_IP, IP_TTL, &ttl, sizeof ttl), 0);
    assert_int_equal(sendto(fd, "near", 4, 0, (struct sockaddr *)&to, sizeof to), 4);
    while (!a.heard)
        uv_run(&loop, UV_RUN_ONCE);
    assert_string_equal(a.text, "near");
    elsewhere.list[0].addr = net_addr4(0x0a000001, 0);
    mdns_socket_network(a.m, &elsewhere);
    assert_int_equal(sendto(fd, "off", 3, 0, (struct sockaddr *)&to, sizeof to), 3);
    for (int i = 0; i < 3; i++)
        uv_run(&loop, UV_RUN_NOWAIT);
    assert_int_equal(a.heard, 1);
    close(fd);
    close_pair(&a, &b);
}

static void closes_from_inside(void **state)
{
    struct ear a, b;
    struct addresses net = lan(4);
    uint16_t port = free_port();
    struct net_addr group = mdns_group(4, port);
    open_pair(&a, &b, 4, port);
    mdns_socket_network(a.m, &net);
    a.close = true;
    for (int i = 0; i < 3; i++)
        assert_int_equal(mdns_socket_send(a.m, &group, bytes_of_str("x")), 0);
    while (!a.heard)
        uv_run(&loop, UV_RUN_ONCE);
    uv_run(&loop, UV_RUN_NOWAIT);
    assert_int_equal(a.heard, 1);
    close_pair(&a, &b);
}

static void ipv6_too(void **state)
{
    struct ear a, b;
    struct addresses net = lan(6);
    uint16_t port = free_port();
    struct net_addr group = mdns_group(6, port);
    uv_loop_init(&loop);
    a = b = (struct ear){0};
    if (mdns_socket_open(&a.m, &loop, 6, port, on_receive, &a)) {
        uv_loop_close(&loop);
        skip(); /* no IPv6 here */
    }
    mdns_socket_network(a.m, &net);
    if (mdns_socket_send(a.m, &group, bytes_of_str("six"))) {
        close_pair(&a, &b);
        skip(); /* ... or none on the loopback */
    }
    while (!a.heard)
        uv_run(&loop, UV_RUN_ONCE);
    assert_string_equal(a.text, "six");
    assert_int_equal(a.from.family, 6);
    close_pair(&a, &b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_group_is_heard_by_all),
        cmocka_unit_test(strangers_are_not_heard),
        cmocka_unit_test(closes_from_inside),
        cmocka_unit_test(ipv6_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
