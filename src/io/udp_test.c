#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "io/udp.h"

#define HEARD_MAX 1024

/* One end: a socket and what it has heard. */
struct end {
    struct udp *u;
    size_t count, drained, want;
    struct net_addr from, to;
    uint8_t last[UDP_DATAGRAM];
    size_t last_n;
    bool echo, close_at_once;
};

static void on_receive(void *arg, const struct net_addr *from, const struct net_addr *to, uint8_t *p,
                       size_t n, size_t room)
{
    struct end *e = arg;
    assert_true(room >= n && room == UDP_DATAGRAM);
    memset(p - UDP_HEAD, 0xee, UDP_HEAD); /* ours to write, as is what lies behind: the sanitizer watches */
    memset(p + n, 0xee, room - n);
    e->count++;
    e->from = *from;
    e->to = *to;
    e->last_n = n;
    memcpy(e->last, p, n);
    if (e->echo)
        assert_int_equal(udp_send(e->u, from, p, n), 0);
    if (e->close_at_once)
        udp_close(e->u);
}

static void on_drained(void *arg)
{
    struct end *e = arg;
    e->drained++;
}

static const struct udp_ops ops = {.receive = on_receive, .drained = on_drained};
static uv_loop_t loop;

static struct net_addr loopback(uint16_t port)
{
    return net_addr4(0x7f000001, port);
}

static void end_open(struct end *e, const char *at, unsigned flags)
{
    struct net_addr a;
    memset(e, 0, sizeof *e);
    assert_int_equal(net_addr_read(&a, at), 0);
    assert_int_equal(udp_open(&e->u, &loop, &a, flags, &ops, e), 0);
    assert_int_not_equal(udp_local(e->u).port, 0);
}

/* Turns the loop until e has heard so many datagrams; a datagram on loopback is there when sendmsg returns.
 */
static void hear(struct end *e, size_t count)
{
    for (int i = 0; i < 1000 && e->count < count; i++)
        uv_run(&loop, UV_RUN_NOWAIT);
    assert_int_equal(e->count, count);
}

static int setup(void **state)
{
    return uv_loop_init(&loop);
}

static int teardown(void **state)
{
    uv_run(&loop, UV_RUN_DEFAULT);
    return uv_loop_close(&loop);
}

static void there_and_back(void **state)
{
    struct end a, b;
    end_open(&a, "127.0.0.1", UDP_DONT_FRAGMENT);
    end_open(&b, "127.0.0.1", 0);
    b.echo = true;
    struct net_addr to = udp_local(b.u), from = udp_local(a.u);
    assert_int_equal(udp_send(a.u, &to, "hello", 5), 0);
    hear(&a, 1);
    assert_int_equal(b.count, 1);
    assert_true(net_addr_equal(&b.from, &from));
    assert_true(net_addr_equal(&b.to, &to));
    assert_true(net_addr_equal(&a.from, &to));
    assert_int_equal(a.last_n, 5);
    assert_memory_equal(a.last, "hello", 5);
    assert_int_equal(udp_send(a.u, &to, "", 0), 0);
    hear(&a, 2);
    assert_int_equal(a.last_n, 0);
    udp_close(a.u);
    udp_close(b.u);
    udp_close(NULL);
}

/* A dual-stack server on the wildcard address: everybody is answered from the address that was asked, and
 * IPv4 addresses look like IPv4 addresses. */
static void answers_come_from_where_was_asked(void **state)
{
    static const char *const asked[] = {"127.0.0.1", "127.0.0.2", "127.9.9.9", "[::1]"};
    static const char *const servers[] = {"[::]", "0.0.0.0"};
    for (size_t s = 0; s < 2; s++) {
        struct end server;
        end_open(&server, servers[s], UDP_ANSWER_FROM | UDP_DONT_FRAGMENT);
        server.echo = true;
        for (size_t i = 0; i < (s == 0 ? 4 : 3); i++) {
            struct end client;
            struct net_addr to;
            end_open(&client, i == 3 ? "[::]" : "0.0.0.0", 0);
            assert_int_equal(net_addr_read(&to, asked[i]), 0);
            to.port = udp_local(server.u).port;
            assert_int_equal(udp_send(client.u, &to, "who", 3), 0);
            hear(&client, 1);
            assert_true(net_addr_equal(&client.from, &to));
            assert_true(net_addr_equal(&server.to, &to));
            assert_int_equal(server.from.family, to.family);
            udp_close(client.u);
        }
        udp_close(server.u);
    }
}

static void batches_are_whole_and_in_order(void **state)
{
    struct end a, b;
    end_open(&a, "127.0.0.1", 0);
    end_open(&b, "127.0.0.1", 0);
    struct net_addr to = udp_local(b.u);
    for (uint8_t i = 0; i < 100; i++)
        assert_int_equal(udp_send(a.u, &to, &i, 1), 0);
    uv_run(&loop, UV_RUN_NOWAIT);
    hear(&b, 100);
    assert_int_equal(b.last[0], 99);
    assert_true(b.drained >= 1 && b.drained <= 2);
    /* More than one wakeup takes: the rest comes with the next. */
    for (int i = 0; i < UDP_BATCH * UDP_BATCHES + 1; i++)
        assert_int_equal(udp_send(a.u, &to, "x", 1), 0);
    b.count = b.drained = 0;
    hear(&b, UDP_BATCH * UDP_BATCHES + 1);
    assert_true(b.drained >= 2);
    struct udp_stats st;
    udp_stats(b.u, &st);
    assert_int_equal(st.received, 100 + UDP_BATCH * UDP_BATCHES + 1);
    udp_stats(a.u, &st);
    assert_int_equal(st.sent, 100 + UDP_BATCH * UDP_BATCHES + 1);
    udp_close(a.u);
    udp_close(b.u);
}

static void too_long_is_dropped(void **state)
{
    static uint8_t big[70000];
    struct end a, b;
    struct udp_stats st;
    end_open(&a, "127.0.0.1", UDP_DONT_FRAGMENT);
    end_open(&b, "127.0.0.1", 0);
    struct net_addr to = udp_local(b.u);
    assert_int_equal(udp_send(a.u, &to, big, UDP_DATAGRAM + 1), 0);
    assert_int_equal(udp_send(a.u, &to, big, UDP_DATAGRAM), 0);
    hear(&b, 1);
    assert_int_equal(b.last_n, UDP_DATAGRAM);
    udp_stats(b.u, &st);
    assert_int_equal(st.received, 2);
    assert_int_equal(st.too_long, 1);
    assert_int_equal(udp_send(a.u, &to, big, sizeof big), -EMSGSIZE);
    udp_stats(a.u, &st);
    assert_int_equal(st.sent, 2);
    assert_int_equal(st.refused, 1);
    udp_close(a.u);
    udp_close(b.u);
}

static void a_receiver_may_close(void **state)
{
    struct end a, b;
    end_open(&a, "127.0.0.1", 0);
    end_open(&b, "127.0.0.1", 0);
    struct net_addr to = udp_local(b.u);
    b.close_at_once = true;
    for (int i = 0; i < 5; i++)
        assert_int_equal(udp_send(a.u, &to, "x", 1), 0);
    hear(&b, 1);
    uv_run(&loop, UV_RUN_NOWAIT);
    assert_int_equal(b.count, 1);
    assert_int_equal(b.drained, 0);
    udp_close(a.u);
}

static void errors_have_names(void **state)
{
    struct end a, b;
    struct udp *u = NULL;
    struct net_addr at, six = {.family = 6, .ip = {[15] = 1}, .port = 9}, none = {0};
    end_open(&a, "127.0.0.1", 0);
    at = udp_local(a.u);
    assert_int_equal(udp_open(&u, &loop, &at, 0, &ops, &b), -EADDRINUSE);
    assert_int_equal(udp_open(&u, &loop, &none, 0, &ops, &b), -EAFNOSUPPORT);
    at = net_addr4(0xc0000201, 0); /* 192.0.2.1 is nobody's */
    assert_int_equal(udp_open(&u, &loop, &at, 0, &ops, &b), -EADDRNOTAVAIL);
    assert_null(u);
    assert_int_equal(udp_send(a.u, &six, "x", 1), -EAFNOSUPPORT);
    assert_int_equal(udp_send(a.u, &none, "x", 1), -EAFNOSUPPORT);
    udp_close(a.u);
    end_open(&a, "[::]", UDP_V6ONLY);
    at = loopback(9);
    assert_int_not_equal(udp_send(a.u, &at, "x", 1), 0);
    udp_close(a.u);
    /* Shared where both want it so. */
    end_open(&a, "127.0.0.1", UDP_REUSE);
    at = udp_local(a.u);
    assert_int_equal(udp_open(&u, &loop, &at, UDP_REUSE, &ops, &b), 0);
    udp_close(a.u);
    udp_close(u);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(there_and_back, setup, teardown),
        cmocka_unit_test_setup_teardown(answers_come_from_where_was_asked, setup, teardown),
        cmocka_unit_test_setup_teardown(batches_are_whole_and_in_order, setup, teardown),
        cmocka_unit_test_setup_teardown(too_long_is_dropped, setup, teardown),
        cmocka_unit_test_setup_teardown(a_receiver_may_close, setup, teardown),
        cmocka_unit_test_setup_teardown(errors_have_names, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
