#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <errno.h>
#include <string.h>

#include <cmocka.h>

#include "crypto/hash.h"
#include "wire/udp_relay.h"

#define CAP (UDP_RELAY_HEADER_LEN + UDP_RELAY_DATAGRAM_MAX + 1)

static const uint8_t key[UDP_RELAY_KEY_LEN] = {9, 8, 7};
static const uint8_t payload[] = {0xca, 0xfe, 1};

static struct udp_relay sample(enum udp_relay_kind kind)
{
    struct udp_relay m = {.kind = kind, .index = 0x01020304};
    switch (kind) {
    case UDP_RELAY_BIND:
        m.time_ms = 0x0102030405060708;
        memset(m.nonce, 0x11, sizeof m.nonce);
        break;
    case UDP_RELAY_CHALLENGE:
    case UDP_RELAY_CONFIRM:
        memset(m.nonce, 0x11, sizeof m.nonce);
        memset(m.cookie, 0x22, sizeof m.cookie);
        break;
    case UDP_RELAY_BOUND:
        memset(m.nonce, 0x11, sizeof m.nonce);
        m.token = 0xa1a2a3a4;
        m.lifetime_s = 120;
        m.seen = net_addr4(0xc0000207, 4000);
        break;
    case UDP_RELAY_DATA:
        m.token = 0xa1a2a3a4;
        m.datagram = bytes_of(payload, sizeof payload);
        break;
    case UDP_RELAY_UNBOUND:
        m.code = UDP_RELAY_PEER_GONE;
        break;
    default:
        m.token = 0xa1a2a3a4;
    }
    return m;
}

static const size_t lengths[UDP_RELAY_KIND_COUNT] = {
    [UDP_RELAY_BIND] = UDP_RELAY_BIND_LEN,       [UDP_RELAY_CHALLENGE] = UDP_RELAY_CHALLENGE_LEN,
    [UDP_RELAY_CONFIRM] = UDP_RELAY_CONFIRM_LEN, [UDP_RELAY_BOUND] = UDP_RELAY_BOUND_LEN,
    [UDP_RELAY_DATA] = UDP_RELAY_HEADER_LEN + 3, [UDP_RELAY_UNBOUND] = UDP_RELAY_SMALL_LEN,
    [UDP_RELAY_KEEP] = UDP_RELAY_SMALL_LEN,      [UDP_RELAY_KEPT] = UDP_RELAY_SMALL_LEN,
};

static void test_round_trip(void **state)
{
    for (int k = UDP_RELAY_BIND; k < UDP_RELAY_KIND_COUNT; k++) {
        uint8_t out[CAP], again[CAP];
        struct udp_relay m = sample((enum udp_relay_kind)k), got;
        size_t n = udp_relay_write(out, sizeof out, &m, key);
        assert_int_equal(n, lengths[k]);
        assert_int_equal(udp_relay_read(&got, bytes_of(out, n)), 0);
        assert_int_equal(got.kind, k);
        assert_int_equal(got.index, m.index);
        assert_int_equal(got.token, m.token);
        assert_int_equal(got.code, m.code);
        assert_int_equal(got.time_ms, m.time_ms);
        assert_int_equal(got.lifetime_s, m.lifetime_s);
        assert_memory_equal(got.nonce, m.nonce, sizeof m.nonce);
        assert_memory_equal(got.cookie, m.cookie, sizeof m.cookie);
        assert_true(net_addr_equal(&got.seen, &m.seen));
        assert_true(bytes_equal(got.datagram, m.datagram));
        assert_int_equal(udp_relay_write(again, sizeof again, &got, key), n);
        assert_memory_equal(again, out, n);
        for (size_t cap = 0; cap < n; cap++)
            assert_int_equal(udp_relay_write(again, cap, &m, key), 0);
    }
}

static void test_bytes(void **state)
{
    uint8_t out[CAP], head[UDP_RELAY_HEADER_LEN], mac[SHA256_LEN];
    static const uint8_t data[] = {7, 5, 0, 0, 1, 2, 3, 4, 0xa1, 0xa2, 0xa3, 0xa4, 0xca, 0xfe, 1};
    static const uint8_t bound[] = {
        7,    4,    0,    0,    1,    2,    3,    4,    0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11,
        0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0xa1, 0xa2, 0xa3, 0xa4, 0,    120,  4,    0,    192,  0,
        2,    7,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0x0f, 0xa0};
    struct udp_relay m = sample(UDP_RELAY_DATA);
    assert_int_equal(udp_relay_write(out, sizeof out, &m, key), sizeof data);
    assert_memory_equal(out, data, sizeof data);
    udp_relay_header(head, m.index, m.token);
    assert_memory_equal(head, data, sizeof head);
    m = sample(UDP_RELAY_BOUND);
    assert_int_equal(udp_relay_write(out, sizeof out, &m, key), sizeof bound + UDP_RELAY_MAC_LEN);
    assert_memory_equal(out, bound, sizeof bound);
    struct bytes part = bytes_of(bound, sizeof bound);
    hmac_sha256(mac, bytes_of(key, sizeof key), &part, 1);
    assert_memory_equal(out + sizeof bound, mac, UDP_RELAY_MAC_LEN);
}

/* Answers are never longer than what they answer. */
static void test_sizes(void **state)
{
    assert_true(UDP_RELAY_CHALLENGE_LEN <= UDP_RELAY_BIND_LEN);
    assert_true(UDP_RELAY_BOUND_LEN <= UDP_RELAY_CONFIRM_LEN);
    assert_true(UDP_RELAY_SMALL_LEN <= UDP_RELAY_HEADER_LEN);
}

static void test_lengths(void **state)
{
    uint8_t out[CAP + 8] = {0};
    struct udp_relay got;
    for (int k = 0; k < 256; k++) {
        for (size_t n = 0; n < 130; n++) {
            bool known = k >= UDP_RELAY_BIND && k < UDP_RELAY_KIND_COUNT;
            bool want = known && (k == UDP_RELAY_DATA ? n >= UDP_RELAY_HEADER_LEN : n == lengths[k]);
            memset(out, 0, sizeof out);
            out[0] = WIRE_UDP_RELAY;
            out[1] = (uint8_t)k;
            out[30] = k == UDP_RELAY_BOUND ? 6 : 0;
            assert_int_equal(udp_relay_read(&got, bytes_of(out, n)), want ? 0 : -EBADMSG);
        }
    }
    static uint8_t big[UDP_RELAY_DATAGRAM_MAX + 1];
    struct udp_relay m = sample(UDP_RELAY_DATA);
    m.datagram = bytes_of(big, UDP_RELAY_DATAGRAM_MAX);
    assert_int_equal(udp_relay_write(out, sizeof out, &m, key),
                     UDP_RELAY_HEADER_LEN + UDP_RELAY_DATAGRAM_MAX);
    assert_int_equal(udp_relay_read(&got, bytes_of(out, UDP_RELAY_HEADER_LEN + UDP_RELAY_DATAGRAM_MAX)), 0);
    assert_int_equal(udp_relay_read(&got, bytes_of(out, UDP_RELAY_HEADER_LEN + UDP_RELAY_DATAGRAM_MAX + 1)),
                     -EBADMSG);
    m.datagram.n++;
    assert_int_equal(udp_relay_write(out, sizeof out, &m, key), 0);
    m.kind = 0;
    assert_int_equal(udp_relay_write(out, sizeof out, &m, key), 0);
    m.kind = UDP_RELAY_KIND_COUNT;
    assert_int_equal(udp_relay_write(out, sizeof out, &m, key), 0);
}

/* Whatever bit is turned over: it is another kind, unreadable, or not believed. */
static void test_bit_flips(void **state)
{
    static const enum udp_relay_kind with_mac[] = {UDP_RELAY_BIND, UDP_RELAY_CHALLENGE, UDP_RELAY_CONFIRM,
                                                   UDP_RELAY_BOUND};
    uint8_t other[UDP_RELAY_KEY_LEN];
    memcpy(other, key, sizeof key);
    other[31] ^= 1;
    for (size_t i = 0; i < 4; i++) {
        uint8_t out[CAP];
        struct udp_relay m = sample(with_mac[i]), got;
        size_t n = udp_relay_write(out, sizeof out, &m, key);
        assert_int_equal(udp_relay_read(&got, bytes_of(out, n)), 0);
        assert_true(udp_relay_verify(&got, key));
        assert_false(udp_relay_verify(&got, other));
        for (size_t bit = 0; bit < n * 8; bit++) {
            out[bit / 8] ^= (uint8_t)(1u << bit % 8);
            if (udp_relay_read(&got, bytes_of(out, n)) == 0)
                assert_false(udp_relay_verify(&got, key));
            out[bit / 8] ^= (uint8_t)(1u << bit % 8);
        }
    }
    /* Kinds without a MAC are never verified. */
    for (int k = UDP_RELAY_DATA; k < UDP_RELAY_KIND_COUNT; k++) {
        struct udp_relay m = sample((enum udp_relay_kind)k), got;
        uint8_t out[CAP];
        size_t n = udp_relay_write(out, sizeof out, &m, key);
        assert_int_equal(udp_relay_read(&got, bytes_of(out, n)), 0);
        assert_false(udp_relay_verify(&got, key));
    }
}

static void test_reserved(void **state)
{
    static const struct {
        enum udp_relay_kind kind;
        size_t at;
    } rows[] = {
        {UDP_RELAY_BIND, 2},     {UDP_RELAY_BIND, 3},   {UDP_RELAY_BIND, 32},  {UDP_RELAY_BIND, 95},
        {UDP_RELAY_CONFIRM, 40}, {UDP_RELAY_BOUND, 31}, {UDP_RELAY_BOUND, 36}, {UDP_RELAY_BOUND, 47},
        {UDP_RELAY_DATA, 2},     {UDP_RELAY_BOUND, 30}, {UDP_RELAY_KEEP, 3},   {UDP_RELAY_KEPT, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        uint8_t out[CAP];
        struct udp_relay m = sample(rows[i].kind), got;
        size_t n = udp_relay_write(out, sizeof out, &m, key);
        out[rows[i].at] ^= 1;
        assert_int_equal(udp_relay_read(&got, bytes_of(out, n)), -EBADMSG);
    }
    struct udp_relay m = sample(UDP_RELAY_BOUND), got;
    uint8_t out[CAP], ip[16] = {0x20, 1, 0xd, 0xb8, [15] = 1};
    m.seen = net_addr6(ip, 65535);
    size_t n = udp_relay_write(out, sizeof out, &m, key);
    assert_int_equal(udp_relay_read(&got, bytes_of(out, n)), 0);
    assert_true(net_addr_equal(&got.seen, &m.seen));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip), cmocka_unit_test(test_bytes),     cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_lengths),    cmocka_unit_test(test_bit_flips), cmocka_unit_test(test_reserved),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
