/* What changes under the workers: devices, sockets, what a kernel takes, and their end. */
#include "pump/pump_harness.h"

#include <pthread.h>
#include <stdatomic.h>

/* ---- Devices and sockets come and go under load. */

static void come_and_go(unsigned threads)
{
    struct kit rule = {0};
    struct bench b;
    bench_open(&b, &rule, true, threads);
    struct side *one = &b.side[1], *two = &b.side[2];
    struct stream t = stream_of(one, 4, 902), u = stream_of(one, 4, 903);
    bench_start(&b);
    device_give(two, 2);
    for (uint32_t round = 0; round < 400; round++) {
        struct stream *load = &t;
        stream_put(load, one, 1, 8 * 1200, 1200, UINT32_MAX);
        stream_take(load, two, 1);
        /* A second party's device: given, used, taken. What it has read it sends; what is left there is
         * nobody's to read. */
        device_give(one, 2);
        u.r.seq = u.sent;
        u.r.payload = 500;
        if (u.sent - u.came < 20000 && host_frame(one, 2, &u.r, 0)) {
            u.sent += 500;
            u.r.id++;
        }
        if (round % 2) {
            while (u.came < u.sent) {
                wait_for((int[]){two->host[2]}, 1);
                stream_take(&u, two, 2);
            }
        }
        pump_device_del(one->pump, 2);
        /* Taken away: whatever is put there now stays, until it is given again. */

        uint32_t before = u.sent;
        if (round % 8 == 1) {
            u.r.seq = u.sent;
            assert_true(host_frame(one, 2, &u.r, 0));
            u.sent += 500;
            u.r.id++;
            for (int i = 0; i < 3; i++) {
                stream_put(load, one, 1, 1200, 1200, UINT32_MAX);
                stream_take(load, two, 1);
            }
            assert_true(readable(one->dev[2], 0));
            assert_false(readable(two->host[2], 0));
            assert_int_equal(before, u.came);
        }

        if (round % 4 == 2) {
            /* A socket that is taken keeps what comes until it is given again. */
            pump_socket_del(two->pump, KIT_SOCKET);
            assert_int_equal(pump_socket_add(two->pump, KIT_SOCKET, 4, two->udp), 0);
        }
        drain(one);
        drain(two);
    }
    device_give(one, 2);
    while (t.came < t.sent || u.came < u.sent) {
        wait_for((int[]){two->host[1], two->host[2]}, 2);
        stream_take(&t, two, 1);
        stream_take(&u, two, 2);
    }
    assert_true(t.came > 100000);
    nothing_lost(one);
    nothing_lost(two);
    bench_close(&b);
}

static void test_come_and_go(void **state)
{
    for (unsigned threads = 1; threads <= 3; threads++)
        come_and_go(threads);
}

struct flood {
    struct net_addr to;
    int fd;
    _Atomic bool stop;
    size_t sent;
};

static void *flood(void *arg)
{
    struct flood *t = arg;
    static const uint8_t text[30000] = {99};
    struct run_socket s;
    run_socket_init(&s, 4, t->fd);
    while (!atomic_load(&t->stop))
        t->sent += run_send(&s, &t->to, text, sizeof text, 500, 0) == 0;
    return NULL;
}

/* A worker that always has something to do does not keep others from its descriptors: a stranger sends as
 * much as he can, and the engine is not taking any of it. */
static void test_busy(void **state)
{
    struct kit rule = {0};
    struct bench b;
    struct net_addr from;
    struct flood t = {.fd = udp_new(4, &from)};
    pthread_t thread;
    bench_open(&b, &rule, true, 1);
    struct side *s = &b.side[1];
    t.to = s->addr;
    bench_start(&b);
    assert_int_equal(pthread_create(&thread, NULL, flood, &t), 0);
    while (plane_counted(s->plane, PLANE_SLOW_FULL) == 0)
        continue;
    for (int i = 0; i < 300; i++) {
        device_give(s, 2);
        pump_device_del(s->pump, 2);
    }
    atomic_store(&t.stop, true);
    pthread_join(thread, NULL);
    assert_true(t.sent > 0);
    drain(s);
    assert_true(s->tally.datagrams > 100);
    close(t.fd);
    bench_close(&b);
}

/* A device with several queues, each read by a worker of its own; flows stay in order. */
static void test_queues(void **state)
{
    struct kit rule = {0};
    struct bench b;
    bench_open(&b, &rule, true, 4);
    struct side *one = &b.side[1], *two = &b.side[2];
    struct stream t[3];
    int host[3], dev[3];
    struct pump_device d = {.party_ref = 1, .count = 3, .vnet_hdr = true, .tso = true, .uso = true};
    assert_int_equal(pump_queues(one->pump), 3);
    for (int q = 0; q < 3; q++) {
        device_new(&host[q], &dev[q]);
        d.fds[q] = dev[q];
        t[q] = stream_of(one, 4, (uint16_t)(800 + q));
    }
    assert_int_equal(pump_device_add(one->pump, &d), 0);
    bench_start(&b);
    int own = one->host[1];
    for (uint32_t total = 400000; t[0].came + t[1].came + t[2].came < 3 * total;) {
        for (int q = 0; q < 3; q++) {
            one->host[1] = host[q];
            while (t[q].sent < total && t[q].sent - t[q].came < 20000) {
                t[q].r.seq = t[q].sent;
                t[q].r.payload = 4000;
                if (!host_frame(one, 1, &t[q].r, 1000))
                    break;
                t[q].sent += 4000;
                t[q].r.id = (uint16_t)(t[q].r.id + 4);
            }
        }
        wait_for((int[]){two->host[1]}, 1);
        struct kit_item w;
        size_t n;
        while (host_get(two, 1, &w))
            for (size_t k = 0; (n = kit_packet(&w, false, k, packet)) > 0; k++) {
                size_t q = (size_t)(packet[20] << 8 | packet[21]) - 800;
                assert_true(q < 3);
                stream_came(&t[q], packet, n, false);
            }
    }
    one->host[1] = own;
    nothing_lost(one);
    nothing_lost(two);
    bench_close(&b);
    for (int q = 0; q < 3; q++) {
        close(host[q]);
        close(dev[q]);
    }
}

/* ---- The end. */

static void test_stop_under_load(void **state)
{
    for (unsigned round = 0; round < 24; round++) {
        struct kit rule = {0};
        struct bench b;
        bench_open(&b, &rule, round & 1, 1 + round % 4);
        struct stream t = stream_of(&b.side[1], 4, 904);
        if (round % 8 != 7) /* or never started */
            bench_start(&b);
        for (int i = 0; i < 40; i++) {
            ordered_put(&b.side[1], (size_t)i, 100);
            t.came = t.sent; /* as much as goes in */
            stream_put(&t, &b.side[1], 1, 1000, 1200, UINT32_MAX);
        }
        for (unsigned i = 0; i < round % 3; i++)
            drain(&b.side[1]);
        if (round & 2) {
            pump_stop(b.side[1].pump);
            drain(&b.side[1]); /* what they left is still there */
            pump_stop(b.side[1].pump);
        }
        bench_close(&b);
    }
    pump_free(NULL);
}

/* ---- Two sockets in one batch: each is received into the same buffers. */

static void test_two_sockets(void **state)
{
    struct kit kit = {.net_mtu = 1420}, rule = {0};
    struct bench b;
    struct net_addr sender[2], at[2];
    int from[2], to[2];
    bench_open(&b, &rule, true, 1);
    struct side *s = &b.side[2];
    kit_open(&kit);
    for (int i = 0; i < 2; i++) {
        uint8_t family = i ? 6 : 4;
        from[i] = udp_new(family, &sender[i]);
        to[i] = udp_new(family, &at[i]);
        s->route.ways[1 + i] =
            (struct plane_way){.id = 8, .socket = 20u + (uint32_t)i, .addr = sender[i], .mtu = 1480};
        assert_int_equal(pump_socket_add(s->pump, 20u + (uint32_t)i, family, to[i]), 0);
    }
    s->route.way_count = 3;
    assert_int_equal(plane_route_set(s->plane, 1, &s->route), 0);
    assert_int_equal(plane_publish(s->plane), 0);
    /* Before the worker looks: everything waits at once. */
    struct stream t[2] = {stream_of(&b.side[1], 4, 700), stream_of(&b.side[1], 4, 701)};
    for (int round = 0; round < 2; round++)
        for (int i = 0; i < 2; i++) {
            struct run_socket out;
            run_socket_init(&out, i ? 6 : 4, from[i]);
            t[i].r.payload = 20 * 1000;
            t[i].r.seq = t[i].sent;
            kit_begin(&kit.end[1]);
            kit_send_frame(&kit.end[1], 1, 2, &t[i].r, 1000);
            core_end(kit.end[1].core);
            t[i].sent += 20000;
            t[i].r.id = (uint16_t)(t[i].r.id + 20);
            const struct kit_item *run = kit_nth(&kit.end[1].log, KIT_SEND, 0);
            assert_int_equal(run_send(&out, &at[i], run->p, run->n, run->segment, 1000), 0);
            kit_log_clear(&kit.end[1].log);
        }
    assert_int_equal(pump_start(s->pump), 0);
    while (t[0].came + t[1].came < 80000) {
        struct kit_item w;
        size_t n;
        wait_for((int[]){s->host[1]}, 1);
        while (host_get(s, 1, &w))
            for (size_t k = 0; (n = kit_packet(&w, false, k, packet)) > 0; k++) {
                size_t i = (size_t)(packet[20] << 8 | packet[21]) - 700;
                assert_true(i < 2);
                stream_came(&t[i], packet, n, false);
            }
    }
    nothing_lost(s);
    bench_close(&b);
    kit_close(&kit);
    for (int i = 0; i < 2; i++) {
        close(from[i]);
        close(to[i]);
    }
}

/* ---- What a kernel refuses. */

static void test_runs_refused(void **state)
{
    struct kit rule = {0};
    struct bench b;
    bench_open(&b, &rule, true, 1);
    assert_true(refuse_runs(b.side[1].udp));
    bench_start(&b);
    both_ways(&b, 20 * 1200 + 77, 300000);
    assert_int_equal(plane_counted(b.side[1].plane, PLANE_GSO_OFF), 1);
    assert_int_equal(b.side[1].tally.gso_off, 1);
    assert_int_equal(plane_counted(b.side[2].plane, PLANE_GSO_OFF), 0);
    nothing_lost(&b.side[1]);
    nothing_lost(&b.side[2]);
    bench_close(&b);
}

/* IPv6's loopback carries 65536: a datagram of nearly 65507 does not fit, and its sender must not cut it. */
static void test_too_big(void **state)
{
    struct kit rule = {.family = 6, .net_mtu = 65535, .way_mtu = 65535};
    struct bench b;
    int probe = IPV6_PMTUDISC_PROBE;
    bench_open(&b, &rule, true, 1);
    struct side *s = &b.side[1];
    assert_int_equal(setsockopt(s->udp, IPPROTO_IPV6, IPV6_MTU_DISCOVER, &probe, sizeof probe), 0);
    bench_start(&b);
    struct recipe r = recipe_of(4, IP_TCP, false);
    r.partial = true;
    r.payload = 65500 - DATA_OVERHEAD - 52;
    assert_true(host_frame(s, 1, &r, 0));
    while (s->tally.too_big == 0) {
        wait_for((int[]){pump_wake_fd(s->pump)}, 1);
        drain(s);
    }
    assert_int_equal(s->tally.last_b, 65500);
    assert_int_equal(s->tally.last_a, KIT_SOCKET);
    assert_true(net_addr_equal(&s->tally.last_addr, &b.side[2].addr));
    assert_int_equal(plane_counted(s->plane, PLANE_SEND_REFUSED), 1);
    assert_int_equal(plane_counted(s->plane, PLANE_GSO_OFF), 0);
    bench_close(&b);
}

/* A device whose reading fails is said to be broken once, and left alone; the other one goes on. */
static void test_broken(void **state)
{
    struct kit rule = {0};
    struct bench b;
    bench_open(&b, &rule, true, 1);
    struct side *s = &b.side[1];
    device_give(s, 2);
    /* The other end is closed with something unread: reading says ECONNRESET. */
    assert_int_equal(write(s->dev[2], "x", 1), 1);
    close(s->host[2]);
    s->host[2] = -1;
    bench_start(&b);
    while (s->tally.broken == 0) {
        wait_for((int[]){pump_wake_fd(s->pump)}, 1);
        drain(s);
    }
    assert_int_equal(s->tally.last_a, 2);
    assert_int_equal(s->tally.last_b, ECONNRESET);
    both_ways(&b, 1000, 100000);
    assert_int_equal(s->tally.broken, 1);
    pump_device_del(s->pump, 2);
    bench_close(&b);
}

/* Limits of how many. */
static void test_tables(void **state)
{
    struct plane *plane = plane_new(1);
    struct net_addr addr;
    int host, dev;
    assert_non_null(plane);
    struct pump *p = pump_new(plane, 99);
    assert_non_null(p);
    assert_int_equal(pump_queues(p), PUMP_QUEUES_MAX);
    device_new(&host, &dev);
    int udp = udp_new(4, &addr);
    struct pump_device bad = {.party_ref = 1, .fds = {-1}, .count = 1};
    assert_int_equal(pump_device_add(p, &bad), -EBADF);
    assert_int_equal(pump_socket_add(p, 1, 4, -1), -EBADF);
    int fds[PUMP_DEVICES_MAX], sockets[PUMP_SOCKETS_MAX];
    for (uint32_t i = 0; i < PUMP_DEVICES_MAX; i++) {
        fds[i] = dup(dev);
        assert_int_equal(
            pump_device_add(p, &(struct pump_device){.party_ref = 100 + i, .fds = {fds[i]}, .count = 1}), 0);
    }
    assert_int_equal(pump_device_add(p, &(struct pump_device){.party_ref = 1, .fds = {dev}, .count = 1}),
                     -ENOSPC);
    for (uint32_t i = 0; i < PUMP_SOCKETS_MAX; i++) {
        sockets[i] = dup(udp);
        assert_int_equal(pump_socket_add(p, i, 4, sockets[i]), 0);
    }
    assert_int_equal(pump_socket_add(p, 99, 4, udp), -ENOSPC);
    /* The same number again replaces. */
    assert_int_equal(pump_socket_add(p, 2, 4, sockets[2]), 0);
    assert_int_equal(pump_device_add(p, &(struct pump_device){.party_ref = 100, .fds = {fds[0]}, .count = 1}),
                     0);
    pump_device_del(p, 101);
    pump_device_del(p, 101);
    assert_int_equal(pump_device_add(p, &(struct pump_device){.party_ref = 1, .fds = {dev}, .count = 1}), 0);
    pump_socket_del(p, 12345);
    pump_free(p);
    for (uint32_t i = 0; i < PUMP_DEVICES_MAX; i++)
        close(fds[i]);
    for (uint32_t i = 0; i < PUMP_SOCKETS_MAX; i++)
        close(sockets[i]);
    close(host);
    close(dev);
    close(udp);
    plane_free(plane);
}

/* ---- Devices change readers: while much moves, and back. */

/* What is under way comes to its end. */
static void carry(struct bench *b, struct stream *t)
{
    struct side *one = &b->side[1], *two = &b->side[2];
    while (t->came < t->sent) {
        wait_for((int[]){two->host[1], pump_wake_fd(one->pump), pump_wake_fd(two->pump)}, 3);
        stream_take(t, two, 1);
        drain(one);
        drain(two);
    }
}

/* 40,000 bytes. */
static void some(struct bench *b, struct stream *t, size_t payload)
{
    stream_put(t, &b->side[1], 1, payload, 1200, t->sent + 40000);
    carry(b, t);
}

static void readers(unsigned threads)
{
    struct kit rule = {0};
    struct bench b;
    bench_open(&b, &rule, true, threads);
    struct side *one = &b.side[1], *two = &b.side[2];
    struct stream t = stream_of(one, 4, 904);
    bench_start(&b);
    for (uint64_t round = 0; round < 3; round++) {
        /* One lone packet after another, until the first worker has the device again. */
        do {
            stream_put(&t, one, 1, 500, 1200, t.sent + 500);
            carry(&b, &t);
        } while (plane_counted(one->plane, PLANE_MOVES) < 2 * round && threads > 1);
        /* Much at once, until it has a reader of its own. */
        do
            some(&b, &t, 20 * 1200);
        while (plane_counted(one->plane, PLANE_MOVES) < 2 * round + 1 && threads > 1);
    }
    assert_int_equal(plane_counted(one->plane, PLANE_MOVES) > 0, threads > 1);
    /* And with others that come and go meanwhile. */
    for (int i = 0; i < 200; i++) {
        device_give(one, 2);
        some(&b, &t, i % 3 ? 20 * 1200 : 300);
        pump_device_del(one->pump, 2);
    }
    nothing_lost(one);
    nothing_lost(two);
    bench_close(&b);
}

/* While a frame waits for the engine its device keeps its reader, whatever comes from outside. */
static void test_reader_that_left_something(void **state)
{
    struct kit rule = {0};
    struct bench b;
    bench_open(&b, &rule, true, 2);
    struct side *one = &b.side[1], *two = &b.side[2];
    struct stream t = stream_of(two, 4, 905);
    struct recipe syn = recipe_of(4, IP_TCP, false);
    syn.flags = KIT_SYN;
    bench_start(&b);
    assert_true(host_frame(one, 1, &syn, 0));
    assert_true(readable(pump_wake_fd(one->pump), -1));
    for (uint64_t round = 0; round < 2; round++) {
        do {
            stream_put(&t, two, 1, 20 * 1200, 1200, t.sent + 40000);
            while (t.came < t.sent) {
                wait_for((int[]){one->host[1]}, 1);
                stream_take(&t, one, 1);
            }
        } while (t.came < 1000000 || plane_counted(one->plane, PLANE_MOVES) < round);
        assert_int_equal(plane_counted(one->plane, PLANE_MOVES), round);
        assert_int_equal(one->tally.frames, round);
        drain(one);
    }
    bench_close(&b);
}

static void test_readers(void **state)
{
    for (unsigned threads = 1; threads <= 3; threads++)
        readers(threads);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_come_and_go),
        cmocka_unit_test(test_busy),
        cmocka_unit_test(test_queues),
        cmocka_unit_test(test_stop_under_load),
        cmocka_unit_test(test_two_sockets),
        cmocka_unit_test(test_runs_refused),
        cmocka_unit_test(test_too_big),
        cmocka_unit_test(test_broken),
        cmocka_unit_test(test_tables),
        cmocka_unit_test(test_readers),
        cmocka_unit_test(test_reader_that_left_something),
    };
    crypto_init(); /* before there are threads, as the programs do */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
