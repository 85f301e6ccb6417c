/* Frames for the tests of vnet, and what their world looks like. */
#ifndef WARREN_VNET_FRAMES_INT_H
#define WARREN_VNET_FRAMES_INT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "vnet/vnet.h"
#include "wire/eth.h"

/* Self is member 1 of 10.7.0.0/16; alice 2, bob 3. x is a host behind somebody's bridge. */
#define NET4  0x0a070000u
#define SELF4 (NET4 | 1)
#define ALICE 2u
#define BOB   3u
#define START (1000 * SEC)

static const uint8_t all_ones[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
static const uint8_t group_mac[6] = {0x01, 0, 0x5e, 0, 0, 0xfb};
static const uint8_t x_mac[6] = {0x52, 0x54, 0, 0, 0, 1}, y_mac[6] = {0x52, 0x54, 0, 0, 0, 2};

static inline struct vnet_member member(uint32_t n)
{
    struct vnet_member m = {.ref = n, .ip4 = NET4 | n, .ip6 = {0xfd, 7, 7, 7}, .mac = {2, 0, 0, 0, (uint8_t)(n >> 8), (uint8_t)n}};
    m.ip6[14] = (uint8_t)(n >> 8);
    m.ip6[15] = (uint8_t)n;
    return m;
}

static inline struct vnet_config config(bool tap)
{
    return (struct vnet_config){.tap = tap, .self = member(1), .net4 = NET4, .net6 = {0xfd, 7, 7, 7}, .mtu = 1400,
                                .broadcast_pps = 100, .seed = 42};
}

static inline struct vnet *vnet_make(bool tap)
{
    struct vnet_config c = config(tap);
    struct vnet *v = vnet_new(&c, START);
    assert_non_null(v);
    for (uint32_t n = ALICE; n <= BOB; n++) {
        struct vnet_member m = member(n);
        assert_int_equal(vnet_member_set(v, &m, START), 0);
    }
    return v;
}

/* ---- Frames. */

struct frame {
    uint8_t p[2048];
    size_t n;
};

static inline const uint8_t *mac_of(uint32_t n)
{
    static struct vnet_member ring[4];
    static unsigned i;
    struct vnet_member *m = &ring[i++ % 4];
    *m = member(n);
    return m->mac;
}

static inline struct frame eth(const uint8_t *src, const uint8_t *dst, uint16_t type, struct bytes payload)
{
    struct frame f;
    struct eth_frame e = {.type = type};
    struct wr w = wr_of(f.p, sizeof f.p);
    memcpy(e.src, src, 6);
    memcpy(e.dst, dst, 6);
    eth_write(&w, &e);
    wr_bytes(&w, payload);
    assert_true(wr_ok(&w));
    f.n = wr_done(&w).n;
    return f;
}

struct ip {
    uint32_t src, dst;
    uint8_t proto;
    uint16_t fragment; /* as on the wire, of IPv4 */
    struct bytes payload;
};

static inline struct bytes ip4(uint8_t *buf, size_t cap, struct ip h)
{
    struct wr w = wr_of(buf, cap);
    wr_u16(&w, 0x4500);
    wr_u16(&w, (uint16_t)(20 + h.payload.n));
    wr_u16(&w, 0);
    wr_u16(&w, h.fragment);
    wr_u8(&w, 64);
    wr_u8(&w, h.proto);
    wr_u16(&w, 0);
    wr_u32(&w, h.src);
    wr_u32(&w, h.dst);
    wr_bytes(&w, h.payload);
    assert_true(wr_ok(&w));
    return wr_done(&w);
}

static inline struct bytes ip6(uint8_t *buf, size_t cap, const uint8_t *src, const uint8_t *dst, uint8_t proto,
                        struct bytes payload)
{
    struct wr w = wr_of(buf, cap);
    wr_u32(&w, 6u << 28);
    wr_u16(&w, (uint16_t)payload.n);
    wr_u8(&w, proto);
    wr_u8(&w, 255);
    wr_copy(&w, src, 16);
    wr_copy(&w, dst, 16);
    wr_bytes(&w, payload);
    assert_true(wr_ok(&w));
    return wr_done(&w);
}

static inline struct frame frame4(const uint8_t *src, const uint8_t *dst, struct ip h)
{
    uint8_t buf[2000];
    return eth(src, dst, ETH_TYPE_IP4, ip4(buf, sizeof buf, h));
}

static inline struct frame frame6(const uint8_t *smac, const uint8_t *dmac, const uint8_t *src, const uint8_t *dst,
                           uint8_t proto, struct bytes payload)
{
    uint8_t buf[2000];
    return eth(smac, dmac, ETH_TYPE_IP6, ip6(buf, sizeof buf, src, dst, proto, payload));
}

static inline struct bytes udp_ports(uint16_t src, uint16_t dst)
{
    static uint8_t buf[16];
    struct wr w = wr_of(buf, sizeof buf);
    wr_u16(&w, src);
    wr_u16(&w, dst);
    wr_u64(&w, 0);
    return wr_done(&w);
}

static inline struct frame udp_frame(uint32_t from, uint32_t to)
{
    return frame4(mac_of(from), mac_of(to), (struct ip){NET4 | from, NET4 | to, IP_UDP, 0, udp_ports(27015, 27015)});
}

static inline struct frame arp_frame(const uint8_t *mac, const uint8_t *dst, struct arp a)
{
    uint8_t buf[28];
    struct wr w = wr_of(buf, sizeof buf);
    memcpy(a.sender_mac, mac, 6);
    arp_write(&w, &a);
    return eth(mac, dst, ETH_TYPE_ARP, wr_done(&w));
}

static inline struct frame arp_ask(uint32_t sender, uint32_t target)
{
    return arp_frame(mac_of(1), all_ones, (struct arp){.op = ARP_REQUEST, .sender_ip = sender, .target_ip = target});
}

static inline struct bytes nd_body(uint8_t type, const uint8_t *target, const uint8_t *mac)
{
    static uint8_t buf[64];
    struct wr w = wr_of(buf, sizeof buf);
    wr_u8(&w, type);
    wr_u8(&w, 0);
    wr_u16(&w, 0);
    wr_u32(&w, 0);
    if (type == ND_ROUTER_ADVERT)
        wr_u64(&w, 0);
    if (target)
        wr_copy(&w, target, 16);
    if (type == ND_REDIRECT)
        wr_copy(&w, target, 16);
    if (mac) {
        wr_u8(&w, type == ND_ADVERT || type == ND_REDIRECT ? 2 : 1);
        wr_u8(&w, 1);
        wr_copy(&w, mac, 6);
    }
    return wr_done(&w);
}

static inline struct vnet_verdict device(struct vnet *v, struct frame f)
{
    static struct frame copy;
    copy = f;
    return vnet_from_device(v, copy.p, copy.n, START);
}

static inline struct vnet_verdict peer(struct vnet *v, uint32_t ref, struct frame f)
{
    static struct frame copy;
    copy = f;
    return vnet_from_peer(v, ref, copy.p, copy.n, START);
}

#define assert_peer(verdict, want)                           \
    do {                                                     \
        struct vnet_verdict got_ = (verdict);                \
        assert_int_equal(got_.action, VNET_TO_PEER);         \
        assert_int_equal(got_.ref, want);                    \
    } while (0)
#define assert_drop(verdict, want)                                                         \
    do {                                                                                   \
        struct vnet_verdict got_ = (verdict);                                              \
        assert_int_equal(got_.action, VNET_DROP);                                          \
        assert_string_equal(vnet_drop_name(got_.drop), vnet_drop_name(want));              \
    } while (0)
#define assert_action(verdict, want) assert_int_equal((verdict).action, want)

#endif
