#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sim/device.h"

#include <stdlib.h>
#include <string.h>

#define NET 0x0a4d0000u

static struct device a, b;
static usec_t now = SIM_START;

static void open_both(bool tap)
{
    device_close(&a);
    device_close(&b);
    memset(&a, 0, sizeof a);
    memset(&b, 0, sizeof b);
    struct device_config ca = {
        .tap = tap, .mac = {2, 0, 0, 0, 0, 1}, .ip4 = NET + 1, .net4 = NET, .mtu = 1380, .number = 1};
    struct device_config cb = {
        .tap = tap, .mac = {2, 0, 0, 0, 0, 2}, .ip4 = NET + 2, .net4 = NET, .mtu = 1380, .number = 2};
    device_open(&a, &ca, &now);
    device_open(&b, &cb, &now);
}

/* A cable between the two: carries until both are silent. Number of frames. */
static int cable(void)
{
    int n = 0;
    struct device_frame *f;
    for (bool more = true; more;) {
        more = false;
        while ((f = device_output(&a))) {
            device_input(&b, bytes_of(f->data, f->n));
            free(f);
            more = true;
            n++;
        }
        while ((f = device_output(&b))) {
            device_input(&a, bytes_of(f->data, f->n));
            free(f);
            more = true;
            n++;
        }
    }
    return n;
}

static void test_resolve_then_talk(void **state)
{
    open_both(true);
    assert_false(device_say(&a, NET + 2, 1, 100));
    assert_int_equal(cable(), 2);
    assert_true(device_knows(&a, NET + 2));
    assert_true(device_say(&a, NET + 2, 1, 100));
    assert_true(device_ping(&a, NET + 2, 5 * DEVICE_PEERS_MAX + 2));
    now += 7;
    assert_int_equal(cable(), 3);
    assert_int_equal(b.heard[1].count, 1);
    assert_int_equal(a.heard[2].pongs, 1);
    assert_int_equal(a.heard[2].pong_at, now);
    assert_int_equal(b.arp_requests_in, 1);
}

static void test_packets_need_no_arp(void **state)
{
    open_both(false);
    assert_true(device_ping(&a, NET + 2, 2));
    assert_int_equal(cable(), 2);
    assert_int_equal(a.heard[2].pongs, 1);
    device_arp(&a, NET + 2);
    assert_int_equal(cable(), 0);
}

static void test_twice_and_late_are_told_apart(void **state)
{
    static const struct {
        uint64_t seq;
        uint64_t repeated, reordered;
    } story[] = {{1, 0, 0},
                 {2, 0, 0},
                 {5, 0, 0},
                 {5, 1, 0},
                 {3, 1, 1},
                 {3, 2, 2},
                 {4, 2, 3},
                 {6, 2, 3},
                 {100, 2, 3},
                 {99, 2, 4},
                 {9000, 2, 4},
                 {9000 - DEVICE_WINDOW, 3, 5},
                 {9000 - DEVICE_WINDOW + 1, 3, 6}};
    open_both(false);
    for (size_t i = 0; i < sizeof story / sizeof *story; i++) {
        device_say(&a, NET + 2, story[i].seq, 50);
        cable();
        assert_int_equal(b.heard[1].repeated, story[i].repeated);
        assert_int_equal(b.heard[1].reordered, story[i].reordered);
    }
}

static void test_groups_dhcp_and_syn(void **state)
{
    open_both(true);
    device_broadcast(&a, 1);
    device_multicast(&a, 2);
    device_dhcp_discover(&a);
    assert_int_equal(cable(), 3);
    assert_int_equal(b.heard[1].broadcasts, 2);
    assert_int_equal(b.multicast_in, 1);
    assert_int_equal(b.dhcp_in, 1);
    device_arp(&a, NET + 2);
    cable();
    device_tcp_syn(&a, NET + 2, 1234);
    cable();
    assert_int_equal(b.last_mss, 1234);
    device_claim(&b, NET + 77);
    cable();
    assert_true(device_knows(&a, NET + 77)); /* a kernel would believe it */
}

static void test_not_mine_and_nonsense(void **state)
{
    open_both(true);
    device_arp(&a, NET + 2);
    cable();
    static const uint8_t other[6] = {2, 9, 9, 9, 9, 9};
    device_spoof(&a, NET + 2, other, NET + 9, 1);
    cable();
    assert_memory_equal(b.last_src_mac, other, 6);
    uint8_t junk[64];
    memset(junk, 0x45, sizeof junk);
    for (size_t n = 0; n < sizeof junk; n++)
        device_input(&b, bytes_of(junk, n));
    assert_true(b.other_in > 0);
    for (int i = 0; i < DEVICE_OUTBOX + 5; i++)
        device_broadcast(&a, 1);
    assert_int_equal(a.overflowed, 5);
    device_close(&a);
    device_close(&b);
}

static void test_streams(void **state)
{
    open_both(false);
    assert_true(device_pour(&a, NET + 2, 3, 1000, 5000));
    assert_int_equal(cable(), 4);
    const struct device_stream *s = device_stream(&b, 1, 3);
    assert_non_null(s);
    assert_int_equal(s->bytes, 5000);
    assert_int_equal(s->end, 6000);
    assert_int_equal(s->segments, 4);
    assert_int_equal(s->repeated + s->reordered + s->damaged + b.bad_sums_in, 0);
    assert_true(device_pour(&a, NET + 2, 3, 0, 1000));
    assert_true(device_pour(&a, NET + 2, 3, 0, 1000));
    cable();
    assert_int_equal(s->bytes, 6000);
    assert_int_equal(s->reordered, 2);
    assert_int_equal(s->repeated, 1);
    /* A checksum that is only begun is none. */
    a.offloads = true;
    assert_true(device_pour(&a, NET + 2, 3, 9000, 100));
    cable();
    assert_int_equal(s->bytes, 6000);
    assert_int_equal(b.bad_sums_in, 1);
    device_done(&a);
    device_done(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_resolve_then_talk),
        cmocka_unit_test(test_packets_need_no_arp),
        cmocka_unit_test(test_twice_and_late_are_told_apart),
        cmocka_unit_test(test_groups_dhcp_and_syn),
        cmocka_unit_test(test_not_mine_and_nonsense),
        cmocka_unit_test(test_streams),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
