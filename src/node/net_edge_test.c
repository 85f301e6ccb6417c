#include "node/net_edge.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include <uv.h>

/* Two engines that only write down what they are told: their inputs are these functions here. */
struct node {
    struct net_edge *edge;
    uint32_t opened;
    uint16_t port;
    char error[200];
    int answers, pumps, networks, datagrams, too_big, ups, downs, messages;
    struct node_network net;
    uint32_t socket, stream;
    struct net_addr from;
    size_t size;
    char text[100];
};

static uv_loop_t loop;
static struct node a, b;
static struct sign_key *key_b;

void node_udp_opened(struct node *n, uint32_t socket, uint16_t port, const char *error, usec_t now)
{
    n->answers++;
    n->opened = socket;
    n->port = port;
    snprintf(n->error, sizeof n->error, "%s", error ? error : "");
}

static void keep_text(struct node *n, const uint8_t *p, size_t len)
{
    snprintf(n->text, sizeof n->text, "%.*s", (int)len, (const char *)p);
}

void node_udp(struct node *n, uint32_t socket, const struct net_addr *from, uint8_t *p, size_t len,
              usec_t now)
{
    n->datagrams++;
    n->socket = socket;
    n->from = *from;
    keep_text(n, p, len);
}

void node_udp_too_big(struct node *n, uint32_t socket, const struct net_addr *to, size_t size, usec_t now)
{
    n->too_big++;
    n->socket = socket;
    n->from = *to;
    n->size = size;
}

void node_network(struct node *n, const struct node_network *net, usec_t now)
{
    n->networks++;
    n->net = *net;
}

void node_stream_listening(struct node *n, uint16_t port, const char *error, usec_t now)
{
    n->answers++;
    n->port = port;
    snprintf(n->error, sizeof n->error, "%s", error ? error : "");
}

void node_stream_up(struct node *n, uint32_t stream, const struct net_addr *remote, usec_t now)
{
    n->ups++;
    n->stream = stream;
    n->from = *remote;
}

void node_stream_message(struct node *n, uint32_t stream, uint8_t *p, size_t len, usec_t now)
{
    n->messages++;
    n->stream = stream;
    keep_text(n, p + 2, len - 2);
}

void node_stream_down(struct node *n, uint32_t stream, const char *why, usec_t now)
{
    n->downs++;
    n->stream = stream;
    snprintf(n->error, sizeof n->error, "%s", why);
}

void node_upnp_mapped(struct node *n, const struct net_addr *outside, uint32_t lifetime_s, const char *error,
                      usec_t now)
{
    n->answers++;
}

static void pump(void *arg)
{
    struct node *n = arg;
    n->pumps++;
}

static void make(struct node *n, uint8_t mark)
{
    struct sign_seed seed;
    memset(&seed, mark, sizeof seed);
    memset(n, 0, sizeof *n);
    const struct net_edge_config c = {.loop = &loop, .node = n, .seed = &seed, .pump = pump, .arg = n};
    n->edge = net_edge_new(&c);
    assert_non_null(n->edge);
    if (n == &b)
        key_b = sign_key_new(&seed);
}

static int setup(void **state)
{
    signal(SIGPIPE, SIG_IGN);
    uv_loop_init(&loop);
    make(&a, 1);
    make(&b, 2);
    return key_b ? 0 : -1;
}

static int teardown(void **state)
{
    net_edge_free(a.edge);
    net_edge_free(b.edge);
    sign_key_free(key_b);
    uv_run(&loop, UV_RUN_DEFAULT);
    return uv_loop_close(&loop);
}

static void until(const int *count, int n)
{
    while (*count < n)
        uv_run(&loop, UV_RUN_ONCE);
}

static uint16_t udp_open_by(struct node *n, uint32_t socket, uint8_t family, uint16_t port)
{
    struct node_out out = {.kind = NODE_UDP_OPEN, .socket = socket, .family = family, .port = port};
    int before = n->answers;
    assert_true(net_edge_output(n->edge, &out));
    assert_int_equal(n->answers, before + 1);
    assert_int_equal(n->opened, socket);
    assert_true((n->port == 0) == (n->error[0] != 0));
    return n->port;
}

static void send_by(struct node *n, uint32_t socket, const struct net_addr *to, struct bytes data)
{
    struct node_out out = {.kind = NODE_DATAGRAM, .socket = socket, .to = *to, .data = data};
    assert_true(net_edge_output(n->edge, &out));
}

static void datagrams(void **state)
{
    struct net_edge_stats st;
    uint16_t from = udp_open_by(&a, NODE_SOCKET_MAIN4, 4, 0), to = udp_open_by(&b, NODE_SOCKET_MAIN4, 4, 0);
    struct net_addr there = net_addr4(0x7f000001, to), nowhere = there;
    send_by(&a, NODE_SOCKET_MAIN4, &there, bytes_of_str("hello"));
    until(&b.datagrams, 1);
    assert_string_equal(b.text, "hello");
    assert_int_equal(b.socket, NODE_SOCKET_MAIN4);
    assert_int_equal(b.from.port, from);
    assert_int_equal(b.pumps, 1);
    /* longer than anything takes */
    static uint8_t big[65600];
    send_by(&a, NODE_SOCKET_MAIN4, &there, bytes_of(big, sizeof big));
    assert_int_equal(a.too_big, 1);
    assert_int_equal(a.size, sizeof big);
    assert_true(net_addr_equal(&a.from, &there));
    /* no such socket, no such family */
    send_by(&a, 99, &there, bytes_of_str("x"));
    nowhere.family = 6;
    send_by(&a, NODE_SOCKET_MAIN4, &nowhere, bytes_of_str("x"));
    net_edge_stats(a.edge, &st);
    assert_int_equal(st.refused, 3);
    assert_int_equal(a.too_big, 1);
    struct node_out out = {.kind = NODE_UDP_CLOSE, .socket = NODE_SOCKET_MAIN4};
    assert_true(net_edge_output(b.edge, &out));
    assert_true(net_edge_output(b.edge, &out));
    assert_int_equal(udp_open_by(&b, NODE_SOCKET_MAIN4, 4, to), to); /* the wish */
}

static void one_number_for_all(void **state)
{
    struct node_out out = {.kind = NODE_STREAM_LISTEN};
    uint16_t port = 0;
    /* Somebody else may have that number for TCP just now; hardly several times in a row. */
    for (int i = 0; i < 4 && (port == 0 || a.port != port); i++) {
        port = udp_open_by(&a, NODE_SOCKET_MAIN4, 4, 0);
        assert_true(port != 0);
        assert_true(net_edge_output(a.edge, &out));
    }
    assert_int_equal(a.port, port);
    uint16_t six = udp_open_by(&a, NODE_SOCKET_MAIN6, 6, 0);
    assert_true(six == port || six == 0); /* 0: no IPv6 here */
    /* a wish that cannot be had is not the end */
    uint16_t other = udp_open_by(&b, NODE_SOCKET_MAIN4, 4, port);
    assert_true(other != 0 && other != port);
    /* the others go their own ways */
    assert_true(udp_open_by(&a, NODE_SOCKET_EXTRA, 4, 0) != port);
}

static void no_more_sockets_than_there_may_be(void **state)
{
    uint32_t i = 0;
    while (i < NODE_SOCKETS_MAX && udp_open_by(&a, NODE_SOCKET_EXTRA + i, 4, 0))
        i++;
    assert_int_equal(i, NODE_SOCKETS_MAX);
    assert_int_equal(udp_open_by(&a, NODE_SOCKET_EXTRA + i, 4, 0), 0);
    assert_true(a.error[0]);
    struct node_out out = {.kind = NODE_UDP_CLOSE, .socket = NODE_SOCKET_EXTRA + 7};
    assert_true(net_edge_output(a.edge, &out));
    assert_true(udp_open_by(&a, NODE_SOCKET_EXTRA + i, 4, 0) != 0);
}

static void streams(void **state)
{
    struct node_out listen = {.kind = NODE_STREAM_LISTEN};
    assert_true(net_edge_output(b.edge, &listen));
    struct node_out dial = {.kind = NODE_STREAM_DIAL,
                            .stream = 5,
                            .stream_kind = NODE_STREAM_PEER,
                            .to = net_addr4(0x7f000001, b.port),
                            .key = sign_key_public(key_b)};
    assert_true(net_edge_output(a.edge, &dial));
    until(&a.ups, 1);
    until(&b.ups, 1);
    assert_int_equal(a.stream, 5);
    assert_true(b.stream >= NODE_STREAM_ACCEPTED);
    struct node_out send = {
        .kind = NODE_STREAM_SEND, .stream = 5, .data = bytes_of_str("over TLS"), .final = true};
    assert_true(net_edge_output(a.edge, &send));
    until(&b.messages, 1);
    assert_string_equal(b.text, "over TLS");
    /* twice the same number, and a name without a port: told at once */
    assert_true(net_edge_output(a.edge, &dial));
    assert_int_equal(a.downs, 1);
    struct node_out turn = {.kind = NODE_STREAM_DIAL, .stream = 6, .stream_kind = NODE_STREAM_TURN_TLS};
    assert_true(net_edge_output(a.edge, &turn));
    assert_int_equal(a.downs, 2);
    assert_int_equal(a.stream, 6);
    struct node_out close = {.kind = NODE_STREAM_CLOSE, .stream = 5};
    assert_true(net_edge_output(a.edge, &close));
    until(&b.downs, 1);
    assert_int_equal(a.downs, 2);
}

static void networks(void **state)
{
    net_edge_look(a.edge);
    assert_int_equal(a.networks, 1);
    for (size_t i = 0; i < a.net.count; i++) {
        assert_true(a.net.addrs[i].interface[0] && a.net.addrs[i].prefix);
        assert_true(net_addr_scope(&a.net.addrs[i].addr) > NET_LOOPBACK);
    }
    assert_int_equal(a.pumps, 0); /* the caller's */
}

static void what_is_not_ours(void **state)
{
    struct node_out out = {.kind = NODE_REPLY};
    assert_false(net_edge_output(a.edge, &out));
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(datagrams), T(one_number_for_all), T(no_more_sockets_than_there_may_be),
        T(streams),   T(networks),           T(what_is_not_ours),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
