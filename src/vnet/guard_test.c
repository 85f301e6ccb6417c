/* What members may not say: other members' addresses, and the configuration of other hosts. */
#include "vnet/frames_int.h"

/* ---- Nobody speaks for somebody else. */

static void spoofed_macs(void **state)
{
    struct vnet *v = vnet_make(true);
    static const uint8_t zeros[6];
    struct ip mine = {NET4 | ALICE, SELF4, IP_UDP, 0, udp_ports(1, 2)};
    assert_drop(peer(v, ALICE, frame4(mac_of(BOB), mac_of(1), mine)), VNET_SPOOFED_MAC);
    assert_drop(peer(v, ALICE, frame4(mac_of(1), mac_of(1), mine)), VNET_SPOOFED_MAC);
    assert_drop(peer(v, ALICE, frame4(group_mac, mac_of(1), mine)), VNET_SPOOFED_MAC);
    assert_drop(peer(v, ALICE, frame4(zeros, mac_of(1), mine)), VNET_SPOOFED_MAC);
    assert_action(peer(v, ALICE, frame4(x_mac, mac_of(1), mine)), VNET_TO_DEVICE);
    mine.src = SELF4;
    assert_drop(device(v, frame4(mac_of(BOB), mac_of(ALICE), mine)), VNET_SPOOFED_MAC);
    assert_drop(device(v, frame4(all_ones, mac_of(ALICE), mine)), VNET_SPOOFED_MAC);
    assert_peer(device(v, frame4(y_mac, mac_of(ALICE), mine)), ALICE);
    vnet_free(v);
}

static void spoofed_ip4(void **state)
{
    static const struct {
        uint32_t src;
        enum vnet_drop tap, tun;
    } rows[] = {
        {NET4 | ALICE, VNET_OK, VNET_OK},
        {NET4 | BOB, VNET_SPOOFED_IP, VNET_SPOOFED_IP},
        {SELF4, VNET_SPOOFED_IP, VNET_SPOOFED_IP},
        {NET4 | 999, VNET_SPOOFED_IP, VNET_SPOOFED_IP}, /* nobody's */
        {NET4, VNET_SPOOFED_IP, VNET_SPOOFED_IP},
        {NET4 | 0xffff, VNET_SPOOFED_IP, VNET_SPOOFED_IP},
        {0xc0a80105, VNET_OK, VNET_SPOOFED_IP}, /* behind a bridge; behind TUN there is none */
        {0, VNET_OK, VNET_SPOOFED_IP},
        {0x7f000001, VNET_SPOOFED_IP, VNET_SPOOFED_IP},
        {0xe0000001, VNET_SPOOFED_IP, VNET_SPOOFED_IP},
        {UINT32_MAX, VNET_SPOOFED_IP, VNET_SPOOFED_IP},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct vnet *v = vnet_make(true), *t = vnet_make(false);
        struct ip h = {rows[i].src, SELF4, IP_UDP, 0, udp_ports(1, 2)};
        struct vnet_verdict got = peer(v, ALICE, frame4(mac_of(ALICE), mac_of(1), h));
        assert_int_equal(got.drop, rows[i].tap);
        assert_int_equal(got.action, rows[i].tap == VNET_OK ? VNET_TO_DEVICE : VNET_DROP);
        h.fragment = 0x0010; /* a later fragment is no way around it */
        assert_int_equal(peer(v, ALICE, frame4(mac_of(ALICE), mac_of(1), h)).drop, rows[i].tap);
        struct frame f;
        h.fragment = 0;
        f.n = ip4(f.p, sizeof f.p, h).n;
        assert_int_equal(peer(t, ALICE, f).drop, rows[i].tun);
        vnet_free(v);
        vnet_free(t);
    }
}

/* Whatever the pool is, an address that the log gives to somebody is his. */
static void addresses_outside_the_pool(void **state)
{
    struct vnet *v = vnet_make(true);
    struct vnet_member far = member(9);
    far.ip4 = 0xc0a80109;
    far.ip6[0] = 0x20;
    assert_int_equal(vnet_member_set(v, &far, START), 0);
    struct ip h = {far.ip4, SELF4, IP_UDP, 0, udp_ports(1, 2)};
    struct vnet_member self = member(1);
    assert_drop(peer(v, ALICE, frame4(mac_of(ALICE), self.mac, h)), VNET_SPOOFED_IP);
    assert_action(peer(v, 9, frame4(far.mac, self.mac, h)), VNET_TO_DEVICE);
    assert_drop(peer(v, ALICE, frame6(mac_of(ALICE), self.mac, far.ip6, self.ip6, IP_UDP, udp_ports(1, 2))),
                VNET_SPOOFED_IP);
    assert_action(peer(v, 9, frame6(far.mac, self.mac, far.ip6, self.ip6, IP_UDP, udp_ports(1, 2))),
                  VNET_TO_DEVICE);
    vnet_free(v);
}

static void spoofed_ip6(void **state)
{
    static const struct {
        uint8_t src[16];
        enum vnet_drop want;
    } rows[] = {
        {{0xfd, 7, 7, 7, [15] = ALICE}, VNET_OK},
        {{0xfd, 7, 7, 7, [15] = BOB}, VNET_SPOOFED_IP},
        {{0xfd, 7, 7, 7, [15] = 1}, VNET_SPOOFED_IP},
        {{0xfd, 7, 7, 7, [15] = 99}, VNET_SPOOFED_IP},
        {{0x20, 1, 0xd, 0xb8, [15] = 1}, VNET_OK},
        {{0}, VNET_OK},
        {{[15] = 1}, VNET_SPOOFED_IP},
        {{0xff, 2, [15] = 1}, VNET_SPOOFED_IP},
        {{0xfe, 0x80, [8] = 1, 2, 3, 4, 5, 6, 7, 8}, VNET_OK},
        {{0xfe, 0x80, [8] = 0, 0, 0, 0xff, 0xfe, 0, 0, ALICE}, VNET_OK},
        {{0xfe, 0x80, [8] = 0, 0, 0, 0xff, 0xfe, 0, 0, BOB}, VNET_SPOOFED_IP},
        {{0xfe, 0x80, [8] = 0, 0, 0, 0xff, 0xfe, 0, 0, 1}, VNET_SPOOFED_IP},
    };
    struct vnet *v = vnet_make(true);
    struct vnet_member self = member(1);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct frame f = frame6(mac_of(ALICE), mac_of(1), rows[i].src, self.ip6, IP_UDP, udp_ports(1, 2));
        assert_int_equal(peer(v, ALICE, f).drop, rows[i].want);
    }
    vnet_free(v);
}

static void spoofed_arp(void **state)
{
    static const struct {
        uint16_t op;
        uint32_t sender;
        uint32_t sender_mac; /* of which member; 0: x */
        enum vnet_drop want;
    } rows[] = {
        {ARP_REPLY, NET4 | ALICE, ALICE, VNET_OK},
        {ARP_REQUEST, NET4 | ALICE, ALICE, VNET_OK},
        {ARP_REPLY, NET4 | BOB, ALICE, VNET_SPOOFED_IP},
        {ARP_REQUEST, NET4 | BOB, ALICE, VNET_SPOOFED_IP},
        {ARP_REPLY, SELF4, ALICE, VNET_SPOOFED_IP},
        {ARP_REPLY, NET4 | 500, ALICE, VNET_SPOOFED_IP},
        {ARP_REPLY, NET4 | ALICE, BOB, VNET_SPOOFED_MAC},
        {ARP_REPLY, NET4 | ALICE, 1, VNET_SPOOFED_MAC},
        {ARP_REPLY, 0xc0a80101, 0, VNET_OK},
        {ARP_REQUEST, 0, ALICE, VNET_OK},
        {3, NET4 | ALICE, ALICE, VNET_MALFORMED},
        {8, NET4 | ALICE, ALICE, VNET_MALFORMED},
    };
    struct vnet *v = vnet_make(true);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct arp a = {.op = rows[i].op, .sender_ip = rows[i].sender, .target_ip = SELF4};
        struct frame f = arp_frame(mac_of(ALICE), mac_of(1), a);
        memcpy(f.p + 22, rows[i].sender_mac ? mac_of(rows[i].sender_mac) : x_mac, 6);
        assert_int_equal(peer(v, ALICE, f).drop, rows[i].want);
    }
    vnet_free(v);
}

static void spoofed_nd(void **state)
{
    struct vnet *v = vnet_make(true);
    struct vnet_member self = member(1), alice = member(ALICE), bob = member(BOB);
    static const uint8_t bob_link[16] = {0xfe, 0x80, [8] = 0, 0, 0, 0xff, 0xfe, 0, 0, BOB};
    const struct {
        const uint8_t *target, *mac;
        uint8_t type;
        enum vnet_drop want;
    } rows[] = {
        {alice.ip6, alice.mac, ND_ADVERT, VNET_OK},
        {alice.ip6, NULL, ND_ADVERT, VNET_OK},
        {bob.ip6, alice.mac, ND_ADVERT, VNET_SPOOFED_IP},
        {self.ip6, alice.mac, ND_ADVERT, VNET_SPOOFED_IP},
        {bob_link, alice.mac, ND_ADVERT, VNET_SPOOFED_IP},
        {alice.ip6, bob.mac, ND_ADVERT, VNET_SPOOFED_MAC},
        {self.ip6, alice.mac, ND_SOLICIT, VNET_OK},
        {self.ip6, bob.mac, ND_SOLICIT, VNET_SPOOFED_MAC},
        {self.ip6, self.mac, ND_SOLICIT, VNET_SPOOFED_MAC},
        {NULL, alice.mac, ND_ROUTER_SOLICIT, VNET_OK},
        {NULL, bob.mac, ND_ROUTER_SOLICIT, VNET_SPOOFED_MAC},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct bytes body = nd_body(rows[i].type, rows[i].target, rows[i].mac);
        struct frame f = frame6(alice.mac, self.mac, alice.ip6, self.ip6, IP_ICMP6, body);
        assert_int_equal(peer(v, ALICE, f).drop, rows[i].want);
        f.p[14 + 7] = 64; /* through a router */
        assert_int_equal(peer(v, ALICE, f).drop, VNET_MALFORMED);
        f.p[14 + 7] = 255;
        f.p[14 + 41] = 1; /* no code but 0 is defined */
        assert_int_equal(peer(v, ALICE, f).drop, VNET_MALFORMED);
        f.p[14 + 41] = 0;
        assert_int_equal(peer(v, ALICE, f).drop, rows[i].want);
    }
    vnet_free(v);
}

/* ---- Configuration of other hosts. */

static void dhcp_and_router_adverts(void **state)
{
    struct vnet *v = vnet_make(true);
    struct vnet_member self = member(1), alice = member(ALICE);
    static const uint16_t ports4[][2] = {{68, 67}, {67, 68}, {67, 67}, {1024, 67}, {67, 5000}};
    static const uint16_t ports6[][2] = {{546, 547}, {547, 546}, {1024, 547}};
    for (int allowed = 0; allowed < 2; allowed++) {
        vnet_policy_set(v, allowed, 100, START);
        for (size_t i = 0; i < sizeof ports4 / sizeof *ports4; i++) {
            struct ip h = {0, UINT32_MAX, IP_UDP, 0, udp_ports(ports4[i][0], ports4[i][1])};
            enum vnet_drop want = allowed ? VNET_OK : VNET_DHCP;
            assert_int_equal(peer(v, ALICE, frame4(alice.mac, all_ones, h)).drop, want);
            assert_int_equal(device(v, frame4(self.mac, all_ones, h)).drop, want);
            h.fragment = 0x2000; /* the first fragment has the ports */
            assert_int_equal(peer(v, ALICE, frame4(alice.mac, all_ones, h)).drop, want);
        }
        for (size_t i = 0; i < sizeof ports6 / sizeof *ports6; i++) {
            struct bytes u = udp_ports(ports6[i][0], ports6[i][1]);
            assert_int_equal(peer(v, ALICE, frame6(alice.mac, self.mac, alice.ip6, self.ip6, IP_UDP, u)).drop,
                             allowed ? VNET_OK : VNET_DHCP);
        }
        struct bytes ra = nd_body(ND_ROUTER_ADVERT, NULL, alice.mac);
        assert_int_equal(peer(v, ALICE, frame6(alice.mac, self.mac, alice.ip6, self.ip6, IP_ICMP6, ra)).drop,
                         allowed ? VNET_OK : VNET_RA);
        struct bytes redirect = nd_body(ND_REDIRECT, alice.ip6, NULL);
        assert_int_equal(
            peer(v, ALICE, frame6(alice.mac, self.mac, alice.ip6, self.ip6, IP_ICMP6, redirect)).drop,
            allowed ? VNET_OK : VNET_RA);
        static const uint8_t redirect4[8] = {ICMP4_REDIRECT, 1}, echo[8] = {ICMP4_ECHO};
        struct ip h = {alice.ip4, SELF4, IP_ICMP, 0, bytes_of(redirect4, 8)};
        assert_int_equal(peer(v, ALICE, frame4(alice.mac, self.mac, h)).drop, allowed ? VNET_OK : VNET_RA);
        static const uint8_t router4[8] = {ICMP4_ROUTER};
        h.payload = bytes_of(router4, 8);
        assert_int_equal(peer(v, ALICE, frame4(alice.mac, self.mac, h)).drop, allowed ? VNET_OK : VNET_RA);
        h.payload = bytes_of(echo, 8);
        assert_int_equal(peer(v, ALICE, frame4(alice.mac, self.mac, h)).drop, VNET_OK);
    }
    vnet_free(v);
}

/* Ways in which router advertisements slipped through guards (RFC 7113). */
static void router_adverts_in_disguise(void **state)
{
    struct vnet *v = vnet_make(true);
    struct vnet_member self = member(1), alice = member(ALICE);
    struct bytes ra = nd_body(ND_ROUTER_ADVERT, NULL, alice.mac);
    uint8_t body[128] = {IP_ICMP6, 0};
    memcpy(body + 8, ra.p, ra.n);
    struct bytes hidden = bytes_of(body, 8 + ra.n);
    assert_drop(peer(v, ALICE, frame6(alice.mac, self.mac, alice.ip6, self.ip6, IP_DEST_OPTIONS, hidden)),
                VNET_RA);
    assert_drop(peer(v, ALICE, frame6(alice.mac, self.mac, alice.ip6, self.ip6, IP_HOP_BY_HOP, hidden)),
                VNET_RA);
    assert_drop(peer(v, ALICE, frame6(alice.mac, self.mac, alice.ip6, self.ip6, IP_FRAGMENT, hidden)),
                VNET_MALFORMED);
    body[3] = 1; /* more fragments */
    assert_drop(peer(v, ALICE, frame6(alice.mac, self.mac, alice.ip6, self.ip6, IP_FRAGMENT, hidden)),
                VNET_MALFORMED);
    body[0] = IP_DEST_OPTIONS; /* the chain of headers goes on in the next fragment */
    assert_drop(
        peer(v, ALICE, frame6(alice.mac, self.mac, alice.ip6, self.ip6, IP_FRAGMENT, bytes_of(body, 8))),
        VNET_MALFORMED);
    /* inside a tag that the kernel takes off by itself */
    struct frame f = frame6(alice.mac, self.mac, alice.ip6, self.ip6, IP_ICMP6, ra), g = f;
    static const uint8_t tag[4] = {0x81, 0x00, 0, 0};
    memcpy(g.p + 12, tag, 4);
    memcpy(g.p + 16, f.p + 12, f.n - 12);
    g.n = f.n + 4;
    assert_drop(peer(v, ALICE, g), VNET_RA);
    /* two addresses in one message: which one the kernel takes is its own affair */
    uint8_t twice[64];
    struct bytes advert = nd_body(ND_ADVERT, alice.ip6, alice.mac);
    memcpy(twice, advert.p, advert.n);
    memcpy(twice + advert.n, advert.p + 24, 8);
    assert_action(
        peer(v, ALICE, frame6(alice.mac, self.mac, alice.ip6, self.ip6, IP_ICMP6, bytes_of(twice, 40))),
        VNET_TO_DEVICE);
    twice[39] ^= 0x80;
    assert_drop(
        peer(v, ALICE, frame6(alice.mac, self.mac, alice.ip6, self.ip6, IP_ICMP6, bytes_of(twice, 40))),
        VNET_MALFORMED);
    vnet_free(v);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(spoofed_macs),
        cmocka_unit_test(spoofed_ip4),
        cmocka_unit_test(addresses_outside_the_pool),
        cmocka_unit_test(spoofed_ip6),
        cmocka_unit_test(spoofed_arp),
        cmocka_unit_test(spoofed_nd),
        cmocka_unit_test(dhcp_and_router_adverts),
        cmocka_unit_test(router_adverts_in_disguise),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
