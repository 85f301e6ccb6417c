#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sim/stream.h"

#include <stdlib.h>
#include <string.h>

static struct sim sim;
static struct net *net;
static struct host *client, *server;

/* What one end of a stream lived through. */
struct end {
    struct stream *s;
    bool up, binary;
    int messages, writable;
    uint32_t expected; /* messages are numbered */
    size_t bytes;
    usec_t up_at, last_at, worst_gap, down_at;
    char why[64];
    uint8_t binding[32], fingerprint[32];
};
static struct end here, there;

static void on_up(void *arg, struct stream *s, const uint8_t binding[32], const uint8_t fingerprint[32])
{
    struct end *e = arg;
    e->s = s;
    e->up = true;
    e->up_at = e->last_at = sim.now;
    memcpy(e->binding, binding, 32);
    memcpy(e->fingerprint, fingerprint, 32);
}

static void on_message(void *arg, struct stream *s, bool binary, uint8_t *p, size_t n)
{
    struct end *e = arg;
    struct rd r = rd_of(bytes_of(p, n));
    assert_int_equal(rd_u32(&r), e->expected);
    e->expected++;
    e->messages++;
    e->binary = binary;
    e->bytes += n;
    if (sim.now - e->last_at > e->worst_gap)
        e->worst_gap = sim.now - e->last_at;
    e->last_at = sim.now;
}

static void on_writable(void *arg, struct stream *s)
{
    ((struct end *)arg)->writable++;
}

static void on_down(void *arg, struct stream *s, const char *why)
{
    struct end *e = arg;
    e->up = false;
    e->down_at = sim.now;
    strncpy(e->why, why, sizeof e->why - 1);
    stream_close(s);
    e->s = NULL;
}

static const struct stream_ops ops = {on_up, on_message, on_writable, on_down};

static void *accept_one(void *arg, struct stream *s)
{
    return &there;
}

static int setup(void **state)
{
    sim_init(&sim, sim_seed(1));
    net = net_new(&sim);
    client = host_new(net->root, "client");
    server = host_new(net->root, "server");
    host_lines(client, &(struct link_config){.delay = 20 * MSEC});
    memset(&here, 0, sizeof here);
    memset(&there, 0, sizeof there);
    return 0;
}

static int teardown(void **state)
{
    net_free(net);
    sim_done(&sim);
    return 0;
}

static void serve(void)
{
    struct stream_listener l = {.port = 443, .ops = &ops, .accept = accept_one};
    memset(l.fingerprint, 0x77, 32);
    assert_int_equal(stream_listen(server, &l), 0);
}

static void dial(void)
{
    struct net_addr to = server->ip4;
    to.port = 443;
    here.s = stream_connect(client, &to, &ops, &here);
}

static void run(usec_t t)
{
    sim_run(&sim, sim.now + t);
}

static bool send_numbered(struct stream *s, uint32_t number, size_t n)
{
    uint8_t *p = sim_alloc(n);
    struct wr w = wr_of(p, n);
    wr_u32(&w, number);
    bool sent = stream_send(s, true, bytes_of(p, n));
    free(p);
    return sent;
}

static void test_opening_takes_its_round_trips(void **state)
{
    serve();
    usec_t start = sim.now;
    dial();
    run(SEC);
    assert_true(here.up && there.up);
    /* TCP, TLS, upgrade, and one more because the ML-DSA certificate is longer than the first window: four
     * times 42 ms. */
    assert_in_range(here.up_at - start, 4 * 42 * MSEC, 4 * 42 * MSEC + 5 * MSEC);
    assert_memory_equal(here.binding, there.binding, 32);
    for (int i = 0; i < 32; i++)
        assert_int_equal(here.fingerprint[i], 0x77);
    assert_true(stream_send(here.s, false, bytes_of("\0\0\0\0text", 8)));
    run(SEC);
    assert_int_equal(there.messages, 1);
    assert_false(there.binary);
}

static void test_refused_and_swallowed(void **state)
{
    dial();
    run(SEC);
    assert_string_equal(here.why, "connection refused");
    serve();
    server->down.config.blackhole = true;
    memset(&here, 0, sizeof here);
    usec_t start = sim.now;
    dial();
    run(60 * SEC);
    assert_string_equal(here.why, "connection timed out");
    assert_int_equal(here.down_at - start, STREAM_OPEN_MAX);
}

/* Loss, jitter, duplicates and reordering below: above, every message once and in order. */
static void test_order_over_a_bad_line(void **state)
{
    serve();
    dial();
    run(SEC);
    host_lines(client, &(struct link_config){.delay = 20 * MSEC,
                                             .jitter = 10 * MSEC,
                                             .loss = 0.05,
                                             .duplicate = 0.02,
                                             .reorder = 0.05,
                                             .reorder_by = 30 * MSEC});
    uint32_t sent = 0;
    for (int i = 0; i < 2000; i++) {
        if (send_numbered(here.s, sent, 100 + 13 * (sent % 300)))
            sent++;
        run(5 * MSEC);
    }
    run(60 * SEC);
    assert_in_range(sent, 300, 2000);
    assert_int_equal(there.messages, sent);
    assert_true(there.worst_gap >= STREAM_RTO_MIN);
    assert_true(client->up.lost > 50);
}

/* One lost segment holds back what follows for the retransmission time, no longer. */
static void test_a_loss_is_a_stall(void **state)
{
    serve();
    dial();
    run(SEC);
    uint32_t sent = 0;
    there.last_at = sim.now;
    for (int i = 0; i < 100; i++) {
        client->up.config.loss = i == 50 ? 1 : 0;
        assert_true(send_numbered(here.s, sent++, 500));
        run(10 * MSEC);
        if (i == 60)
            assert_int_equal(there.messages, 50); /* then the hole */
    }
    run(SEC);
    assert_int_equal(there.messages, 100);
    assert_in_range(there.worst_gap, 200 * MSEC, 260 * MSEC);
}

static void test_slow_line_pushes_back(void **state)
{
    serve();
    dial();
    run(SEC);
    server->down.config.bits_per_s = 800000; /* 100 kB/s */
    uint32_t sent = 0;
    for (int i = 0; i < 1000; i++) {
        while (send_numbered(here.s, sent, 1000))
            sent++;
        run(10 * MSEC);
    }
    assert_in_range(sent, 700, 1200); /* ten seconds' worth and what is under way, not what was offered */
    assert_true(here.writable > 0);
    run(30 * SEC);
    assert_int_equal(there.messages, sent);
}

static void test_a_reader_that_stops_is_felt(void **state)
{
    serve();
    dial();
    run(SEC);
    stream_pause(there.s, true);
    uint32_t sent = 0;
    for (int i = 0; i < 500; i++) {
        while (send_numbered(here.s, sent, 1000))
            sent++;
        run(10 * MSEC);
    }
    assert_int_equal(there.messages, 0);
    assert_in_range(sent, 100, 450);
    stream_pause(there.s, false);
    run(10 * SEC);
    assert_int_equal(there.messages, sent);
}

static void test_ends(void **state)
{
    serve();
    dial();
    run(SEC);
    assert_true(send_numbered(here.s, 0, 5000));
    stream_close(here.s); /* what was accepted still arrives */
    run(SEC);
    assert_int_equal(there.messages, 1);
    assert_string_equal(there.why, "closed by the other side");

    memset(&there, 0, sizeof there);
    dial();
    run(SEC);
    stream_host_reset(server, false); /* the process died, the kernel says so */
    run(SEC);
    assert_string_equal(here.why, "connection reset");

    serve();
    dial();
    run(SEC);
    stream_host_reset(server, true); /* a power cut: found out by the next word */
    memset(here.why, 0, sizeof here.why);
    run(10 * SEC);
    assert_string_equal(here.why, "");
    send_numbered(here.s, 0, 10);
    run(SEC);
    assert_string_equal(here.why, "connection reset");
}

static void test_silence_is_found_by_time(void **state)
{
    serve();
    dial();
    run(SEC);
    client->down.config.blackhole = true;
    usec_t start = sim.now;
    send_numbered(here.s, 0, 10);
    run(STREAM_GIVE_UP - SEC);
    assert_true(here.up);
    run(10 * SEC);
    assert_false(here.up);
    assert_in_range(here.down_at - start, STREAM_GIVE_UP, STREAM_GIVE_UP + 6 * SEC);
}

static void test_through_a_box_and_its_reboot(void **state)
{
    struct nat_config box = {.mapping = NAT_ADDRESS_PORT,
                             .filtering = NAT_ADDRESS_PORT,
                             .ports = NAT_PORT_RANDOM,
                             .udp_blocked = true};
    struct site *home = site_home(net, NULL, "home", &box);
    host_move(client, home);
    serve();
    dial();
    run(SEC);
    assert_true(here.up && there.up);
    assert_true(net_ip_equal(stream_remote(there.s), &home->nat4.outside));
    site_reboot(home, false);
    send_numbered(here.s, 0, 10); /* leaves by another port: nobody knows it there */
    run(SEC);
    assert_string_equal(here.why, "connection reset");
}

/* ---- Two ends that connect to each other. */

#define PORT_A 4001
#define PORT_B 4002

static void send_many(struct stream *s, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        assert_true(send_numbered(s, i, 500));
}

static void *accept_unwanted(void *arg, struct stream *s)
{
    return NULL;
}

static struct net_addr outside_of(const struct host *h, uint16_t port)
{
    struct net_addr a = h->site->parent ? h->site->nat4.outside : h->ip4;
    a.port = port;
    return a;
}

static void both_connect(usec_t later)
{
    const struct net_addr a = outside_of(client, PORT_A), b = outside_of(server, PORT_B);
    struct stream_listener la = {.port = PORT_A, .ops = &ops, .accept = accept_unwanted}, lb = la;
    lb.port = PORT_B;
    memset(la.fingerprint, 0xaa, 32);
    memset(lb.fingerprint, 0xbb, 32);
    assert_int_equal(stream_listen(client, &la), 0);
    assert_int_equal(stream_listen(server, &lb), 0);
    here.s = stream_connect_from(client, PORT_A, &b, &ops, &here);
    run(later);
    there.s = stream_connect_from(server, PORT_B, &a, &ops, &there);
    assert_non_null(here.s);
    assert_non_null(there.s);
    assert_null(stream_connect_from(client, PORT_A, &b, &ops, &here));
}

static void test_two_ends_meet_in_one_stream(void **state)
{
    uint8_t a[32], b[32];
    memset(a, 0xaa, 32);
    memset(b, 0xbb, 32);
    both_connect(5 * MSEC); /* the packets cross */
    run(SEC);
    assert_true(here.up && there.up);
    assert_memory_equal(here.binding, there.binding, 32);
    assert_memory_equal(here.fingerprint, b, 32);
    assert_memory_equal(there.fingerprint, a, 32);
    send_many(here.s, 20);
    send_many(there.s, 10);
    run(SEC);
    assert_int_equal(there.messages, 20);
    assert_int_equal(here.messages, 10);
}

static void two_boxes(enum nat_ports ports)
{
    struct nat_config box = {.mapping = NAT_ENDPOINT, .filtering = NAT_ADDRESS_PORT, .ports = ports};
    host_move(client, site_home(net, NULL, "home-a", &box));
    host_move(server, site_home(net, NULL, "home-b", &box));
}

static void test_two_ends_meet_through_two_boxes(void **state)
{
    two_boxes(NAT_PORT_KEEP);
    both_connect(300 * MSEC); /* the first packet finds the other box closed */
    run(3 * SEC);
    assert_true(here.up && there.up);
    send_many(there.s, 5);
    run(SEC);
    assert_int_equal(here.messages, 5);
}

static void test_boxes_that_choose_ports_keep_them_apart(void **state)
{
    two_boxes(NAT_PORT_RANDOM);
    both_connect(0);
    run(STREAM_OPEN_MAX + SEC);
    assert_false(here.up || there.up);
    assert_string_equal(here.why, "connection timed out");
}

static void test_two_ends_meet_over_a_bad_line(void **state)
{
    host_lines(client, &(struct link_config){.delay = 20 * MSEC, .loss = 0.3});
    both_connect(5 * MSEC);
    run(9 * SEC);
    assert_true(here.up && there.up);
    send_many(here.s, 50);
    run(20 * SEC);
    assert_int_equal(there.messages, 50);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_opening_takes_its_round_trips, setup, teardown),
        cmocka_unit_test_setup_teardown(test_refused_and_swallowed, setup, teardown),
        cmocka_unit_test_setup_teardown(test_order_over_a_bad_line, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_loss_is_a_stall, setup, teardown),
        cmocka_unit_test_setup_teardown(test_slow_line_pushes_back, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_reader_that_stops_is_felt, setup, teardown),
        cmocka_unit_test_setup_teardown(test_ends, setup, teardown),
        cmocka_unit_test_setup_teardown(test_silence_is_found_by_time, setup, teardown),
        cmocka_unit_test_setup_teardown(test_through_a_box_and_its_reboot, setup, teardown),
        cmocka_unit_test_setup_teardown(test_two_ends_meet_in_one_stream, setup, teardown),
        cmocka_unit_test_setup_teardown(test_two_ends_meet_through_two_boxes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_boxes_that_choose_ports_keep_them_apart, setup, teardown),
        cmocka_unit_test_setup_teardown(test_two_ends_meet_over_a_bad_line, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
