/* Traffic through worker threads, with an engine that is busy, slow or asleep. */
#include "pump/pump_harness.h"

static void test_both_ways(void **state)
{
    for (unsigned threads = 1; threads <= 3; threads++)
        for (unsigned bits = 0; bits < 8; bits++) {
            struct kit rule = {.tap = bits & 1, .family = bits & 4 ? 6 : 4};
            struct bench b;
            bench_open(&b, &rule, bits & 2, threads);
            bench_start(&b);
            both_ways(&b, bits & 2 ? 20 * 1200 + 77 : 1100, 600000);
            for (int i = 1; i <= 2; i++) {
                const struct plane *p = b.side[i].plane;
                nothing_lost(&b.side[i]);
                assert_true(b.side[i].tally.active > 0);
                /* Runs are runs: far fewer system calls than packets. */
                if (bits & 2 && plane_counted(p, PLANE_GSO_OFF) == 0)
                    assert_true(plane_counted(p, PLANE_OUT_PACKETS) > 10 * plane_counted(p, PLANE_OUT_SENDS));
            }
            bench_close(&b);
        }
}

/* An offload header that no kernel of today writes: its frame is counted and goes nowhere, the next ones go
 * on. */
static void test_bad_header(void **state)
{
    struct kit rule = {0};
    struct bench b;
    const uint8_t bad[VNET_HDR_LEN + 40] = {0, 0x7f, [VNET_HDR_LEN] = 0x45};
    bench_open(&b, &rule, true, 2);
    bench_start(&b);
    assert_int_equal(write(b.side[1].host[1], bad, sizeof bad), sizeof bad);
    both_ways(&b, 20 * 1200, 100000);
    assert_int_equal(plane_counted(b.side[1].plane, PLANE_BAD_FRAME), 1);
    assert_int_equal(plane_counted(b.side[1].plane, PLANE_SLOW_FRAMES), 0);
    nothing_lost(&b.side[2]);
    bench_close(&b);
}

/* ---- Slow items, and snapshots that come and go. */

#define NUMBERED 20000
struct numbered {
    uint8_t came[NUMBERED];
    size_t all;
    bool tap;
};

/* A frame that is known by its sequence number: once each. */
static void numbered_came(void *arg, uint8_t *p, size_t n)
{
    struct numbered *t = arg;
    struct naive_frame f = naive_find(p, n, t->tap);
    const uint8_t *u = p + f.upper;
    uint32_t seq = (uint32_t)u[4] << 24 | (uint32_t)u[5] << 16 | (uint32_t)u[6] << 8 | u[7];
    size_t i = seq / 1000;
    assert_true(i < NUMBERED && seq % 1000 == 0);
    assert_int_equal(t->came[i]++, 0);
    assert_int_equal(n, f.headers + 300 + i % 100);
    for (size_t k = f.headers; k < n; k++)
        assert_int_equal(p[k], kit_payload((uint32_t)(seq + k - f.headers)));
    t->all++;
}

static void numbered_take(struct numbered *t, struct side *to)
{
    struct kit_item w;
    size_t n;
    while (host_get(to, 1, &w))
        for (size_t k = 0; (n = kit_packet(&w, to->kit.tap, k, packet)) > 0; k++)
            numbered_came(t, packet, n);
}

static bool numbered_put(struct side *from, size_t i)
{
    struct recipe r = recipe_of(i & 1 ? 6 : 4, IP_TCP, from->kit.tap);
    r.partial = from->vnet_hdr;
    r.seq = (uint32_t)i * 1000;
    r.payload = 300 + i % 100;
    r.flags = i % 7 == 0 ? KIT_SYN : KIT_ACK; /* a SYN is the engine's */
    return host_frame(from, 1, &r, 0);
}

/* While routes are set, taken away and set anew at every turn, each frame comes either through the tunnel or
 * to the engine. */
static void snapshots(unsigned threads)
{
    struct kit rule = {.tap = threads & 1};
    struct bench b;
    static struct numbered t;
    size_t sent = 0, swaps = 0;
    bench_open(&b, &rule, true, threads);
    t = (struct numbered){.tap = rule.tap};
    for (int i = 1; i <= 2; i++) {
        b.side[i].tally.frame = numbered_came;
        b.side[i].tally.arg = &t;
    }
    bench_start(&b);
    while (t.all < NUMBERED) {
        while (sent < NUMBERED && sent - t.all < 100 && numbered_put(&b.side[1], sent))
            sent++;
        for (int i = 0; i < 4; i++, swaps++) {
            struct side *s = &b.side[1];
            s->route.ways[0].mtu = (uint16_t)(1480 + swaps % 3);
            assert_int_equal(plane_route_set(s->plane, 2, swaps % 5 == 4 ? NULL : &s->route), 0);
            assert_int_equal(plane_publish(s->plane), 0);
            /* The receiver's nets too: what it cannot place is the engine's there. */
            struct kit_end e = {.kit = &b.side[2].kit, .id = 2, .plane = b.side[2].plane};
            if (swaps % 16 == 3)
                plane_net_del(e.plane, 1);
            else if (swaps % 4 == 0)
                kit_net(&e, 1);
            assert_int_equal(plane_publish(e.plane), 0);
        }
        /* When all is sent, what is still under way needs nobody's help but this. */
        wait_for((int[]){b.side[2].host[1], pump_wake_fd(b.side[1].pump), pump_wake_fd(b.side[2].pump)}, 3);
        numbered_take(&t, &b.side[2]);
        drain(&b.side[1]);
        drain(&b.side[2]);
    }
    assert_true(swaps > 500);
    assert_true(b.side[1].tally.frames > NUMBERED / 7);
    assert_true(plane_counted(b.side[2].plane, PLANE_IN_PACKETS) > 0);
    assert_int_equal(plane_counted(b.side[1].plane, PLANE_SLOW_FULL), 0);
    assert_int_equal(plane_counted(b.side[1].plane, PLANE_SEND_REFUSED), 0);
    bench_close(&b);
}

static void test_snapshots(void **state)
{
    for (unsigned threads = 1; threads <= 3; threads++)
        snapshots(threads);
}

/* Swapping as fast as one can while workers pin and unpin. */
static void test_many_snapshots(void **state)
{
    struct kit rule = {0};
    struct bench b;
    struct stream t;
    bench_open(&b, &rule, true, 2);
    t = stream_of(&b.side[1], 4, 900);
    bench_start(&b);
    for (uint32_t i = 0; i < 20000; i++) {
        struct side *s = &b.side[1 + i % 2];
        s->route.ways[0].relay_token = i; /* unused here, but another route */
        assert_int_equal(plane_route_set(s->plane, 3 - s->id, &s->route), 0);
        assert_int_equal(plane_publish(s->plane), 0);
        if (i % 8 == 0) {
            stream_put(&t, &b.side[1], 1, 5 * 1200, 1200, UINT32_MAX);
            stream_take(&t, &b.side[2], 1);
            drain(&b.side[1]);
            drain(&b.side[2]);
        }
    }
    while (t.came < t.sent) {
        wait_for((int[]){b.side[2].host[1]}, 1);
        stream_take(&t, &b.side[2], 1);
    }
    assert_true(t.came > 0);
    nothing_lost(&b.side[1]);
    nothing_lost(&b.side[2]);
    bench_close(&b);
}

/* ---- A full queue. */

struct ordered {
    size_t next;
};

static void ordered_came(void *arg, uint8_t *p, size_t n)
{
    struct ordered *t = arg;
    assert_true(n > 28 && p[20] == 8);
    assert_int_equal((size_t)p[24] << 8 | p[25], t->next & 0xffff);
    t->next++;
}

/* The engine does not take anything for as long as the device takes something: then the device is full.
 * Meanwhile packets from the other end still come out. When the engine goes on, so do the devices, and
 * everything comes in order. */
static void test_queue_full(void **state)
{
    for (unsigned threads = 1; threads <= 2; threads++) {
        struct kit rule = {0};
        struct bench b;
        struct ordered t = {0};
        struct side *s = &b.side[1];
        size_t sent = 0;
        bench_open(&b, &rule, true, threads);
        s->tally.frame = ordered_came;
        s->tally.arg = &t;
        bench_start(&b);
        while (sent < 6000) {
            /* Full: more was put than half of the queue, and nothing more is taken. */
            size_t quiet = 0;
            while (quiet < 50 && sent < 6000) {
                if (ordered_put(s, sent, 1000)) {
                    sent++;
                    quiet = 0;
                } else {
                    struct pollfd room = {.fd = s->host[1], .events = POLLOUT};
                    bool held = (sent - t.next) * 1000 > PUMP_QUEUE_BYTES / 2;
                    quiet += poll(&room, 1, 1) <= 0 && held;
                }
            }
            if (sent < 6000) {
                struct stream back = stream_of(&b.side[2], 4, 901);
                while (back.came < 50000) {
                    stream_put(&back, &b.side[2], 1, 1000, 1200, 50000);
                    wait_for((int[]){s->host[1]}, 1);
                    stream_take(&back, s, 1);
                }
            }
            size_t before = t.next;
            for (int i = 0; i < 30; i++)
                pump_drain(s->pump, &ops, &s->tally, 7);
            assert_true(t.next > before);
        }
        while (t.next < sent) {
            wait_for((int[]){pump_wake_fd(s->pump)}, 1);
            pump_drain(s->pump, &ops, &s->tally, 16);
        }
        assert_int_equal(s->tally.frames, 6000);
        assert_int_equal(plane_counted(s->plane, PLANE_SLOW_FULL), 0);
        /* Datagrams from strangers do not wait: they are dropped and counted. */
        struct net_addr from;
        int stranger = udp_new(4, &from);
        struct run_socket out;
        run_socket_init(&out, 4, stranger);
        static const uint8_t text[1200] = {99};
        for (int i = 0; i < 3000; i++)
            assert_int_equal(run_send(&out, &s->addr, text, sizeof text, sizeof text, 1000), 0);
        while (plane_counted(s->plane, PLANE_SLOW_FULL) == 0)
            assert_int_equal(run_send(&out, &s->addr, text, sizeof text, sizeof text, 1000), 0);
        drain(s);
        assert_true(s->tally.datagrams > 300);
        assert_true(net_addr_equal(&s->tally.last_addr, &from));
        assert_int_equal(s->tally.last_a, KIT_SOCKET);
        close(stranger);
        bench_close(&b);
    }
}

/* Many times to the brink and back with an engine that takes items one by one as they come: no wake-up is
 * ever lost. */
static void test_brink(void **state)
{
    struct kit rule = {0};
    struct bench b;
    struct ordered t = {0};
    struct side *s = &b.side[1];
    size_t sent = 0, total = 20000;
    bench_open(&b, &rule, true, 1);
    s->tally.frame = ordered_came;
    s->tally.arg = &t;
    bench_start(&b);
    while (t.next < total) {
        while (sent < total && ordered_put(s, sent, 1300))
            sent++;
        wait_for((int[]){pump_wake_fd(s->pump)}, 1);
        pump_drain(s->pump, &ops, &s->tally, 1 + sent % 200);
    }
    assert_int_equal(plane_counted(s->plane, PLANE_SLOW_FULL), 0);
    bench_close(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_both_ways),  cmocka_unit_test(test_bad_header),
        cmocka_unit_test(test_snapshots),  cmocka_unit_test(test_many_snapshots),
        cmocka_unit_test(test_queue_full), cmocka_unit_test(test_brink),
    };
    crypto_init(); /* before there are threads, as the programs do */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
