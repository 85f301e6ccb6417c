#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "wire/eth.h"

static const uint8_t mac_a[6] = {2, 0, 0, 0, 0, 0xa}, mac_b[6] = {2, 0, 0, 0, 0, 0xb};
static const uint8_t ip6_a[16] = {0xfd, 1, [15] = 0xa}, ip6_b[16] = {0xfd, 1, [15] = 0xb};

/* ---- Makers of input. */

static struct bytes make_eth(uint8_t *buf, size_t cap, uint16_t type, struct bytes payload)
{
    struct wr w = wr_of(buf, cap);
    struct eth_frame f = {.type = type};
    memcpy(f.dst, mac_b, 6);
    memcpy(f.src, mac_a, 6);
    eth_write(&w, &f);
    wr_bytes(&w, payload);
    assert_true(wr_ok(&w));
    return wr_done(&w);
}

static struct bytes make_ip4(uint8_t *buf, size_t cap, uint16_t fragment, uint8_t proto, struct bytes options,
                             struct bytes payload)
{
    struct wr w = wr_of(buf, cap);
    wr_u8(&w, (uint8_t)(0x45 + options.n / 4));
    wr_u8(&w, 0x10);
    wr_u16(&w, (uint16_t)(20 + options.n + payload.n));
    wr_u16(&w, 0x1234);
    wr_u16(&w, fragment);
    wr_u8(&w, 64);
    wr_u8(&w, proto);
    wr_u16(&w, 0);
    wr_u32(&w, 0x0a010002);
    wr_u32(&w, 0x0a010003);
    wr_bytes(&w, options);
    wr_bytes(&w, payload);
    assert_true(wr_ok(&w));
    return wr_done(&w);
}

static struct bytes make_ip6(uint8_t *buf, size_t cap, uint8_t next, struct bytes body)
{
    struct wr w = wr_of(buf, cap);
    wr_u32(&w, 6u << 28 | 0x12345);
    wr_u16(&w, (uint16_t)body.n);
    wr_u8(&w, next);
    wr_u8(&w, 255);
    wr_copy(&w, ip6_a, 16);
    wr_copy(&w, ip6_b, 16);
    wr_bytes(&w, body);
    assert_true(wr_ok(&w));
    return wr_done(&w);
}

static struct bytes make_tcp(uint8_t *buf, size_t cap, uint8_t flags, struct bytes options)
{
    struct wr w = wr_of(buf, cap);
    wr_u16(&w, 40000);
    wr_u16(&w, 27015);
    wr_u64(&w, 1);
    wr_u8(&w, (uint8_t)((5 + options.n / 4) << 4));
    wr_u8(&w, flags);
    wr_u16(&w, 65535);
    wr_u32(&w, 0);
    wr_bytes(&w, options);
    assert_true(wr_ok(&w));
    return wr_done(&w);
}

/* A copy in memory of exactly its size, so that the sanitizer sees each byte that is read behind it. */
static uint8_t *exact(struct bytes in, size_t n)
{
    uint8_t *p = malloc(n ? n : 1);
    assert_non_null(p);
    memcpy(p, in.p, n);
    return p;
}

/* ---- Ethernet. */

static void frame_round_trip(void **state)
{
    for (int tagged = 0; tagged < 2; tagged++) {
        uint8_t buf[64];
        struct wr w = wr_of(buf, sizeof buf);
        struct eth_frame in = {.tagged = tagged, .tag = tagged ? 0x6005 : 0, .type = ETH_TYPE_IP4}, out;
        memcpy(in.dst, mac_a, 6);
        memcpy(in.src, mac_b, 6);
        eth_write(&w, &in);
        wr_copy(&w, "payload", 7);
        struct bytes all = wr_done(&w);
        assert_int_equal(all.n, 14 + (tagged ? 4 : 0) + 7);
        assert_int_equal(eth_read(&out, all), 0);
        assert_memory_equal(out.dst, mac_a, 6);
        assert_memory_equal(out.src, mac_b, 6);
        assert_int_equal(out.tagged, tagged);
        assert_int_equal(out.tag, in.tag);
        assert_int_equal(out.type, ETH_TYPE_IP4);
        assert_true(bytes_equal(out.payload, bytes_of_str("payload")));
        for (size_t n = 0; n < all.n - 7; n++) {
            uint8_t *p = exact(all, n);
            assert_int_equal(eth_read(&out, bytes_of(p, n)), -EBADMSG);
            free(p);
        }
    }
}

/* What a kernel would unwrap once more than we looked. */
static void frame_refuses_wrapping(void **state)
{
    static const struct {
        uint16_t type;
        uint8_t payload[10];
        int result;
    } rows[] = {
        {0x88a8, {0, 5, 0x08, 0x00}, -EBADMSG},
        {0x9100, {0, 5, 0x08, 0x00}, -EBADMSG},
        {0x8100, {0, 5, 0x81, 0x00}, -EBADMSG},
        {0x8100, {0, 5, 0x88, 0xa8}, -EBADMSG},
        {0x8100, {0, 5, 0x08, 0x00}, 0},
        {0x0064, {0xaa, 0xaa, 3, 0, 0, 0, 0x08, 0x00}, -EBADMSG},
        {0x0064, {0xaa, 0xaa, 3, 0, 0, 0, 0x08, 0x06}, -EBADMSG},
        {0x0064, {0xaa, 0xaa, 3, 0, 0, 0, 0x86, 0xdd}, -EBADMSG},
        {0x0064, {0xaa, 0xaa, 3, 0, 0, 0, 0x81, 0x00}, -EBADMSG},
        {0x0064, {0xaa, 0xaa, 3, 0, 0, 0, 0x81, 0x37}, 0}, /* IPX */
        {0x0064, {0xff, 0xff, 3, 0, 0, 0, 0x08, 0x00}, 0}, /* IPX, raw */
        {0x0800, {0xaa, 0xaa, 3, 0, 0, 0, 0x08, 0x00}, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        uint8_t buf[64];
        struct eth_frame f;
        struct bytes in = make_eth(buf, sizeof buf, rows[i].type, bytes_of(rows[i].payload, 10));
        assert_int_equal(eth_read(&f, in), rows[i].result);
    }
}

/* ---- ARP. */

static void arp_round_trip(void **state)
{
    uint8_t buf[46] = {0};
    struct wr w = wr_of(buf, sizeof buf);
    struct arp in = {.op = ARP_REPLY, .sender_ip = 0x0a010002, .target_ip = 0x0a010003}, out;
    memcpy(in.sender_mac, mac_a, 6);
    memcpy(in.target_mac, mac_b, 6);
    arp_write(&w, &in);
    static const uint8_t want[28] = {0,  1, 8, 0, 6, 4, 0, 2, 2, 0,   0,  0, 0, 0xa,
                                     10, 1, 0, 2, 2, 0, 0, 0, 0, 0xb, 10, 1, 0, 3};
    assert_int_equal(wr_done(&w).n, 28);
    assert_memory_equal(buf, want, 28);
    assert_int_equal(arp_read(&out, bytes_of(buf, sizeof buf)), 0); /* padded to the shortest frame */
    assert_int_equal(out.op, ARP_REPLY);
    assert_int_equal(out.sender_ip, in.sender_ip);
    assert_int_equal(out.target_ip, in.target_ip);
    assert_memory_equal(out.sender_mac, mac_a, 6);
    assert_memory_equal(out.target_mac, mac_b, 6);
    for (size_t n = 0; n < 28; n++) {
        uint8_t *p = exact(bytes_of(buf, 28), n);
        assert_int_equal(arp_read(&out, bytes_of(p, n)), -EBADMSG);
        free(p);
    }
    for (size_t i = 0; i < 6; i++) { /* hardware, protocol and their lengths have one value */
        buf[i] ^= 1;
        assert_int_equal(arp_read(&out, bytes_of(buf, 28)), -EBADMSG);
        buf[i] ^= 1;
    }
}

/* ---- IPv4. */

static void ip4_fields(void **state)
{
    static const uint8_t options[8] = {1, 1, 1, 0};
    for (size_t n = 0; n <= 8; n += 4) {
        uint8_t buf[80] = {0};
        struct ip4 h;
        struct bytes in =
            make_ip4(buf, sizeof buf, 0x4000, IP_UDP, bytes_of(options, n), bytes_of_str("abcdefgh"));
        assert_int_equal(ip4_read(&h, in), 0);
        assert_int_equal(h.tos, 0x10);
        assert_int_equal(h.length, in.n);
        assert_int_equal(h.id, 0x1234);
        assert_true(h.dont_fragment);
        assert_false(h.more_fragments);
        assert_int_equal(h.fragment_at, 0);
        assert_int_equal(h.ttl, 64);
        assert_int_equal(h.proto, IP_UDP);
        assert_int_equal(h.src, 0x0a010002);
        assert_int_equal(h.dst, 0x0a010003);
        assert_int_equal(h.options.n, n);
        assert_true(bytes_equal(h.payload, bytes_of_str("abcdefgh")));
        /* padding is not payload */
        assert_int_equal(ip4_read(&h, bytes_of(buf, in.n + 6)), 0);
        assert_int_equal(h.payload.n, 8);
        for (size_t k = 0; k < in.n; k++) {
            uint8_t *p = exact(in, k);
            assert_int_equal(ip4_read(&h, bytes_of(p, k)), -EBADMSG);
            free(p);
        }
    }
}

static void ip4_bad_headers(void **state)
{
    static const struct {
        size_t at;
        uint8_t value;
    } rows[] = {{0, 0x44}, {0, 0x40}, {0, 0x65}, {0, 0x4f}, {3, 19}, {3, 29}, {2, 1}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        uint8_t buf[64];
        struct ip4 h;
        struct bytes in = make_ip4(buf, sizeof buf, 0, IP_UDP, bytes_of(NULL, 0), bytes_of_str("abcdefgh"));
        assert_int_equal(ip4_read(&h, in), 0);
        buf[rows[i].at] = rows[i].value;
        assert_int_equal(ip4_read(&h, in), -EBADMSG);
    }
}

static void ip4_fragments(void **state)
{
    uint8_t buf[64];
    struct ip4 h;
    assert_int_equal(
        ip4_read(&h, make_ip4(buf, 64, 0x2000, IP_UDP, bytes_of(NULL, 0), bytes_of_str("abcdefgh"))), 0);
    assert_true(h.more_fragments);
    assert_int_equal(h.fragment_at, 0);
    assert_int_equal(
        ip4_read(&h, make_ip4(buf, 64, 0x1fff, IP_UDP, bytes_of(NULL, 0), bytes_of_str("abcdefgh"))), 0);
    assert_false(h.more_fragments);
    assert_int_equal(h.fragment_at, 65528);
}

/* ---- IPv6. */

static void ip6_extensions(void **state)
{
    static const struct {
        uint8_t first;
        uint8_t body[64];
        size_t n;
        int result;
        uint8_t proto;
        bool fragment;
        uint16_t at;
        size_t payload;
    } rows[] = {
        {IP_UDP, {0}, 8, 0, IP_UDP, false, 0, 8},
        {IP_NO_NEXT, {0}, 0, 0, IP_NO_NEXT, false, 0, 0},
        {IP_HOP_BY_HOP, {IP_UDP, 0}, 16, 0, IP_UDP, false, 0, 8},
        {IP_HOP_BY_HOP, {IP_DEST_OPTIONS, 0, [8] = IP_ICMP6, 1}, 32, 0, IP_ICMP6, false, 0, 8},
        {IP_ROUTING, {IP_TCP, 2}, 24, 0, IP_TCP, false, 0, 0},
        {IP_AUTH, {IP_TCP, 4}, 32, 0, IP_TCP, false, 0, 8}, /* its unit is 4 bytes */
        {IP_MOBILITY, {IP_NO_NEXT, 0}, 8, 0, IP_NO_NEXT, false, 0, 0},
        {IP_FRAGMENT, {IP_UDP, 0, 0, 1}, 16, 0, IP_UDP, true, 0, 8},
        /* behind a later fragment's header are no headers, whatever its next header says */
        {IP_FRAGMENT, {IP_DEST_OPTIONS, 0, 0x05, 0xa9}, 16, 0, IP_DEST_OPTIONS, true, 0x05a8, 8},
        {IP_HOP_BY_HOP, {IP_UDP, 1}, 8, -EBADMSG, 0, false, 0, 0},
        {IP_FRAGMENT, {IP_UDP}, 7, -EBADMSG, 0, false, 0, 0},
        {IP_DEST_OPTIONS, {IP_DEST_OPTIONS, 0}, 8, -EBADMSG, 0, false, 0, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        uint8_t buf[128];
        struct ip6 h;
        struct bytes in = make_ip6(buf, sizeof buf, rows[i].first, bytes_of(rows[i].body, rows[i].n));
        uint8_t *p = exact(in, in.n);
        assert_int_equal(ip6_read(&h, bytes_of(p, in.n)), rows[i].result);
        if (rows[i].result == 0) {
            assert_int_equal(h.proto, rows[i].proto);
            assert_int_equal(h.fragment, rows[i].fragment);
            assert_int_equal(h.fragment_at, rows[i].at);
            assert_int_equal(h.payload.n, rows[i].payload);
            assert_int_equal(h.hop_limit, 255);
            assert_memory_equal(h.src, ip6_a, 16);
            assert_memory_equal(h.dst, ip6_b, 16);
        }
        free(p);
        for (size_t n = 0; n < in.n; n++) {
            p = exact(in, n);
            assert_int_equal(ip6_read(&h, bytes_of(p, n)), -EBADMSG);
            free(p);
        }
        buf[0] = 0x45;
        assert_int_equal(ip6_read(&h, in), -EBADMSG);
    }
}

static void ip6_bounds_the_walk(void **state)
{
    for (size_t count = IP6_EXT_MAX - 1; count <= IP6_EXT_MAX + 1; count++) {
        uint8_t body[128] = {0}, buf[192];
        for (size_t i = 0; i < count; i++)
            body[i * 8] = i + 1 < count ? IP_DEST_OPTIONS : IP_UDP;
        struct ip6 h;
        struct bytes in = make_ip6(buf, sizeof buf, IP_DEST_OPTIONS, bytes_of(body, count * 8 + 8));
        assert_int_equal(ip6_read(&h, in), count <= IP6_EXT_MAX ? 0 : -EBADMSG);
        if (count <= IP6_EXT_MAX)
            assert_int_equal(h.proto, IP_UDP);
    }
}

/* ---- Upper headers. */

static void udp_fields(void **state)
{
    static const uint8_t in[8] = {0x1f, 0x90, 0, 53, 0, 8, 0, 0};
    struct udp u;
    assert_int_equal(udp_read(&u, bytes_of(in, 8)), 0);
    assert_int_equal(u.src_port, 8080);
    assert_int_equal(u.dst_port, 53);
    for (size_t n = 0; n < 8; n++)
        assert_int_equal(udp_read(&u, bytes_of(in, n)), -EBADMSG);
}

static void tcp_locates_mss(void **state)
{
    static const struct {
        uint8_t flags;
        uint8_t options[12];
        size_t n;
        size_t at;
        uint16_t mss;
    } rows[] = {
        {TCP_SYN, {2, 4, 0x05, 0xb4}, 4, 22, 1460},
        {TCP_SYN | TCP_ACK, {2, 4, 0x05, 0xb4}, 4, 22, 1460},
        {TCP_SYN, {1, 2, 4, 0x05, 0xb4, 0}, 8, 23, 1460}, /* odd */
        {TCP_SYN, {4, 2, 1, 3, 3, 7, 2, 4, 0x02, 0x18}, 12, 28, 536},
        {TCP_ACK, {2, 4, 0x05, 0xb4}, 4, 0, 0},
        {TCP_SYN, {0}, 0, 0, 0},
        {TCP_SYN, {0, 2, 4, 0x05, 0xb4}, 8, 0, 0},    /* behind the end of options */
        {TCP_SYN, {2, 3, 0x05, 0xb4}, 4, 0, 0},       /* wrong length */
        {TCP_SYN, {8, 0, 2, 4, 0x05, 0xb4}, 8, 0, 0}, /* length 0 would never end */
        {TCP_SYN, {8, 1, 2, 4, 0x05, 0xb4}, 8, 0, 0},
        {TCP_SYN, {1, 1, 2, 4}, 4, 0, 0}, /* runs out */
        {TCP_SYN, {1, 1, 1, 2}, 4, 0, 0},
        {TCP_SYN, {8, 40, 2, 4, 5, 0xb4, 0, 0}, 8, 0, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        uint8_t buf[64];
        struct tcp t;
        struct bytes in = make_tcp(buf, sizeof buf, rows[i].flags, bytes_of(rows[i].options, rows[i].n));
        uint8_t *p = exact(in, in.n);
        assert_int_equal(tcp_read(&t, bytes_of(p, in.n)), 0);
        assert_int_equal(t.src_port, 40000);
        assert_int_equal(t.dst_port, 27015);
        assert_int_equal(t.flags, rows[i].flags);
        assert_int_equal(t.mss_at, rows[i].at);
        assert_int_equal(t.mss, rows[i].mss);
        free(p);
        for (size_t n = 0; n < in.n; n++)
            assert_int_equal(tcp_read(&t, bytes_of(buf, n)), -EBADMSG);
        buf[12] = 0x40;
        assert_int_equal(tcp_read(&t, in), -EBADMSG);
    }
}

static void nd_fields(void **state)
{
    static const struct {
        uint8_t type;
        uint8_t options[24];
        size_t n;
        int result;
        bool has_mac, differs;
    } rows[] = {
        {ND_SOLICIT, {1, 1, 2, 0, 0, 0, 0, 0xa}, 8, 0, true, false},
        {ND_SOLICIT, {2, 1, 2, 0, 0, 0, 0, 0xa}, 8, 0, false, false}, /* a target's has no business here */
        {ND_SOLICIT, {0}, 0, 0, false, false},
        {ND_ADVERT, {2, 1, 2, 0, 0, 0, 0, 0xa}, 8, 0, true, false},
        {ND_ADVERT, {1, 1, 2, 0, 0, 0, 0, 0xa}, 8, 0, false, false},
        {ND_REDIRECT, {2, 1, 2, 0, 0, 0, 0, 0xa}, 8, 0, true, false},
        {ND_ROUTER_SOLICIT, {1, 1, 2, 0, 0, 0, 0, 0xa}, 8, 0, true, false},
        {ND_ROUTER_ADVERT, {5, 1, 0, 0, 0, 0, 5, 0, 1, 1, 2, 0, 0, 0, 0, 0xa}, 16, 0, true, false},
        {ND_ADVERT, {2, 1, 2, 0, 0, 0, 0, 0xa, 2, 1, 2, 0, 0, 0, 0, 0xa}, 16, 0, true, false},
        {ND_ADVERT, {2, 1, 2, 0, 0, 0, 0, 0xb, 2, 1, 2, 0, 0, 0, 0, 0xa}, 16, 0, true, true},
        {ND_SOLICIT, {1, 0, 2, 0, 0, 0, 0, 0xa}, 8, -EBADMSG, false, false}, /* length 0 */
        {ND_SOLICIT, {1, 2, 2, 0, 0, 0, 0, 0xa}, 8, -EBADMSG, false, false},
        {ND_SOLICIT, {1}, 1, -EBADMSG, false, false},
        {128, {0}, 0, -EBADMSG, false, false},
        {138, {0}, 0, -EBADMSG, false, false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        uint8_t buf[128];
        struct wr w = wr_of(buf, sizeof buf);
        uint8_t type = rows[i].type;
        wr_u8(&w, type);
        wr_u8(&w, 3);
        wr_u16(&w, 0);
        wr_u32(&w, 0);
        if (type == ND_ROUTER_ADVERT)
            wr_u64(&w, 0);
        if (type >= ND_SOLICIT)
            wr_copy(&w, ip6_b, 16);
        if (type == ND_REDIRECT)
            wr_copy(&w, ip6_a, 16);
        size_t fixed = wr_done(&w).n;
        wr_copy(&w, rows[i].options, rows[i].n);
        struct nd n;
        struct bytes in = wr_done(&w);
        uint8_t *p = exact(in, in.n);
        assert_int_equal(nd_read(&n, bytes_of(p, in.n)), rows[i].result);
        free(p);
        if (rows[i].result != 0)
            continue;
        assert_int_equal(n.type, type);
        assert_int_equal(n.code, 3);
        assert_int_equal(n.has_mac, rows[i].has_mac);
        assert_int_equal(n.mac_differs, rows[i].differs);
        if (n.has_mac)
            assert_memory_equal(n.mac, mac_a, 6);
        if (type >= ND_SOLICIT)
            assert_memory_equal(n.target, ip6_b, 16);
        for (size_t k = 0; k < fixed; k++)
            assert_int_equal(nd_read(&n, bytes_of(buf, k)), -EBADMSG);
    }
}

/* ---- Checksums. */

/* The naive way: 16-bit words in one's complement, one after the other. */
static uint16_t sum_naive(const uint8_t *p, size_t n)
{
    uint32_t s = 0;
    for (size_t i = 0; i < n; i++) {
        s += i % 2 ? p[i] : (uint32_t)p[i] << 8;
        s = (s & 0xffff) + (s >> 16);
    }
    return (uint16_t)~s;
}

static void sum_known(void **state)
{
    /* RFC 1071 section 3 */
    static const uint8_t rfc[8] = {0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7};
    assert_int_equal(sum_finish(sum_add(0, bytes_of(rfc, 8))), (uint16_t)~0xddf2);
    /* an IPv4 header from a packet capture that is in many textbooks */
    static const uint8_t header[20] = {0x45, 0,    0,    0x73, 0, 0, 0x40, 0,    0x40, 0x11,
                                       0xb8, 0x61, 0xc0, 0xa8, 0, 1, 0xc0, 0xa8, 0,    0xc7};
    assert_int_equal(sum_finish(sum_add(0, bytes_of(header, 20))), 0);
    uint8_t ones[65535];
    memset(ones, 0xff, sizeof ones);
    assert_int_equal(sum_finish(sum_add(0, bytes_of(ones, sizeof ones))), sum_naive(ones, sizeof ones));
    assert_int_equal(sum_finish(sum_add(sum_add(0, bytes_of(rfc, 4)), bytes_of(rfc + 4, 4))),
                     (uint16_t)~0xddf2);
}

static void sum_patch_equals_a_new_sum(void **state)
{
    uint32_t seed = 12345;
    for (int round = 0; round < 5000; round++) {
        uint8_t p[41];
        for (size_t i = 0; i < sizeof p; i++)
            p[i] = (uint8_t)((seed = seed * 1664525 + 1013904223) >> 24);
        p[16] = p[17] = 0;
        uint16_t sum = sum_naive(p, sizeof p);
        p[16] = (uint8_t)(sum >> 8);
        p[17] = (uint8_t)sum;
        size_t at = 18 + seed % 21; /* even and odd */
        uint16_t to = (uint16_t)(seed >> 3);
        sum_patch(p, 16, at, to);
        assert_int_equal(p[at] << 8 | p[at + 1], to);
        assert_int_equal(sum_naive(p, sizeof p), 0);
    }
}

/* ---- Packets of our own. */

static uint16_t icmp6_check(const struct ip6 *h)
{
    uint8_t pseudo[2048];
    struct wr w = wr_of(pseudo, sizeof pseudo);
    wr_copy(&w, h->src, 16);
    wr_copy(&w, h->dst, 16);
    wr_u32(&w, (uint32_t)h->payload.n);
    wr_u32(&w, IP_ICMP6);
    wr_bytes(&w, h->payload);
    return sum_naive(pseudo, wr_done(&w).n);
}

static void advert_is_whole(void **state)
{
    uint8_t buf[ND_ADVERT_LEN];
    struct nd_advert a;
    memcpy(a.dst, ip6_a, 16);
    memcpy(a.target, ip6_b, 16);
    memcpy(a.mac, mac_b, 6);
    for (size_t cap = 0; cap < sizeof buf; cap++) {
        struct wr w = wr_of(buf, cap);
        nd_advert_write(&w, &a);
        assert_false(wr_ok(&w));
    }
    struct wr w = wr_of(buf, sizeof buf);
    nd_advert_write(&w, &a);
    struct ip6 h;
    struct nd n;
    assert_int_equal(wr_done(&w).n, ND_ADVERT_LEN);
    assert_int_equal(ip6_read(&h, wr_done(&w)), 0);
    assert_int_equal(h.hop_limit, 255);
    assert_int_equal(h.proto, IP_ICMP6);
    assert_memory_equal(h.src, ip6_b, 16);
    assert_memory_equal(h.dst, ip6_a, 16);
    assert_int_equal(icmp6_check(&h), 0);
    assert_int_equal(nd_read(&n, h.payload), 0);
    assert_int_equal(n.type, ND_ADVERT);
    assert_int_equal(n.code, 0);
    assert_int_equal(h.payload.p[4], 0x60); /* solicited, override */
    assert_memory_equal(n.target, ip6_b, 16);
    assert_true(n.has_mac);
    assert_memory_equal(n.mac, mac_b, 6);
}

static void too_big_quotes(void **state)
{
    static uint8_t payload[3000], packet[3100], out[2000];
    for (size_t i = 0; i < sizeof payload; i++)
        payload[i] = (uint8_t)(i * 7);
    static const size_t sizes[] = {0, 1, 8, 507, 508, 509, 528, 529, 1191, 1192, 1193, 1300, 2900};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct bytes in =
            make_ip4(packet, sizeof packet, 0x4000, IP_UDP, bytes_of(NULL, 0), bytes_of(payload, sizes[i]));
        struct wr w = wr_of(out, sizeof out);
        struct ip4 h;
        icmp4_too_big_write(&w, in, 1300);
        struct bytes made = wr_done(&w);
        size_t quoted = in.n < 548 ? in.n : 548;
        assert_int_equal(made.n, 28 + quoted);
        assert_int_equal(ip4_read(&h, made), 0);
        assert_int_equal(h.length, made.n);
        assert_int_equal(h.proto, IP_ICMP);
        assert_int_equal(h.src, 0x0a010003); /* turned round */
        assert_int_equal(h.dst, 0x0a010002);
        assert_int_equal(sum_naive(made.p, 20), 0);
        assert_int_equal(sum_naive(h.payload.p, h.payload.n), 0);
        static const uint8_t head[] = {3, 4};
        assert_memory_equal(h.payload.p, head, 2);
        assert_int_equal(h.payload.p[6] << 8 | h.payload.p[7], 1300);
        assert_memory_equal(h.payload.p + 8, in.p, quoted);

        in = make_ip6(packet, sizeof packet, IP_UDP, bytes_of(payload, sizes[i]));
        w = wr_of(out, sizeof out);
        struct ip6 h6;
        icmp6_too_big_write(&w, in, 1300);
        made = wr_done(&w);
        quoted = in.n < 1232 ? in.n : 1232;
        assert_int_equal(made.n, 48 + quoted);
        assert_int_equal(ip6_read(&h6, made), 0);
        assert_memory_equal(h6.src, ip6_b, 16);
        assert_memory_equal(h6.dst, ip6_a, 16);
        assert_int_equal(icmp6_check(&h6), 0);
        assert_int_equal(h6.payload.p[0], ICMP6_TOO_BIG);
        assert_int_equal(h6.payload.p[1], 0);
        assert_int_equal(h6.payload.p[6] << 8 | h6.payload.p[7], 1300);
        assert_memory_equal(h6.payload.p + 8, in.p, quoted);
        w = wr_of(out, made.n - 1);
        icmp6_too_big_write(&w, in, 1300);
        assert_false(wr_ok(&w));
    }
    struct wr w = wr_of(out, sizeof out);
    icmp4_too_big_write(&w, bytes_of(payload, 40), 1300);
    assert_false(wr_ok(&w));
}

/* Every flip of every bit either reads or is refused; what is read stays inside. The values are the fuzzer's
 * business. */
static void flips_stay_inside(void **state)
{
    static const uint8_t ext[24] = {IP_TCP, 0};
    uint8_t buf[128];
    struct bytes in = make_ip6(buf, sizeof buf, IP_DEST_OPTIONS, bytes_of(ext, 24));
    uint8_t *p = exact(in, in.n);
    for (size_t bit = 0; bit < in.n * 8; bit++) {
        struct ip6 h;
        p[bit / 8] ^= (uint8_t)(1 << bit % 8);
        if (ip6_read(&h, bytes_of(p, in.n)) == 0 && h.payload.n > 0) {
            assert_true(h.payload.p >= p + 40);
            assert_true(h.payload.p + h.payload.n <= p + in.n);
        }
        p[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frame_round_trip),
        cmocka_unit_test(frame_refuses_wrapping),
        cmocka_unit_test(arp_round_trip),
        cmocka_unit_test(ip4_fields),
        cmocka_unit_test(ip4_bad_headers),
        cmocka_unit_test(ip4_fragments),
        cmocka_unit_test(ip6_extensions),
        cmocka_unit_test(ip6_bounds_the_walk),
        cmocka_unit_test(udp_fields),
        cmocka_unit_test(tcp_locates_mss),
        cmocka_unit_test(nd_fields),
        cmocka_unit_test(sum_known),
        cmocka_unit_test(sum_patch_equals_a_new_sum),
        cmocka_unit_test(advert_is_whole),
        cmocka_unit_test(too_big_quotes),
        cmocka_unit_test(flips_stay_inside),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
