#include "vnet/frames_int.h"

#include "wire/data.h"

/* ---- Where frames go. */

static void device_unicast(void **state)
{
    struct vnet *v = vnet_make(true);
    struct vnet_stats s;
    assert_peer(device(v, udp_frame(1, ALICE)), ALICE);
    assert_peer(device(v, udp_frame(1, BOB)), BOB);
    assert_action(
        device(v, frame4(mac_of(1), x_mac, (struct ip){SELF4, 0xc0a80001, IP_UDP, 0, udp_ports(1, 2)})),
        VNET_TO_ALL); /* nobody knows x */
    assert_drop(device(v, udp_frame(1, 1)), VNET_NOT_OURS);
    vnet_member_del(v, ALICE);
    assert_action(device(v, udp_frame(1, ALICE)), VNET_TO_ALL);
    vnet_stats(v, &s);
    assert_int_equal(s.from_device, 5);
    assert_int_equal(s.flooded, 2);
    assert_int_equal(s.drops[VNET_NOT_OURS], 1);
    vnet_free(v);
}

static void device_broadcast(void **state)
{
    struct vnet *v = vnet_make(true);
    static const uint8_t bpdu[6] = {0x01, 0x80, 0xc2, 0, 0, 0}, lldp[6] = {0x01, 0x80, 0xc2, 0, 0, 0x0e},
                         beyond[6] = {0x01, 0x80, 0xc2, 0, 0, 0x10};
    struct ip game = {SELF4, UINT32_MAX, IP_UDP, 0, udp_ports(27015, 27015)};
    assert_action(device(v, frame4(mac_of(1), all_ones, game)), VNET_TO_ALL);
    game.dst = NET4 | 0xffff;
    assert_action(device(v, frame4(mac_of(1), all_ones, game)), VNET_TO_ALL);
    game.dst = 0xe00000fb;
    assert_action(device(v, frame4(mac_of(1), group_mac, game)), VNET_TO_ALL);
    assert_action(device(v, eth(mac_of(1), all_ones, 0x8137, bytes_of_str("IPX of old games"))), VNET_TO_ALL);
    assert_drop(device(v, eth(mac_of(1), bpdu, 0x0026, bytes_of_str("spanning tree"))), VNET_NOT_OURS);
    assert_drop(device(v, eth(mac_of(1), lldp, 0x88cc, bytes_of_str("lldp"))), VNET_NOT_OURS);
    assert_action(device(v, eth(mac_of(1), beyond, 0x88cc, bytes_of_str("lldp"))), VNET_TO_ALL);
    assert_drop(peer(v, ALICE, eth(mac_of(ALICE), bpdu, 0x0026, bytes_of_str("spanning tree"))),
                VNET_NOT_OURS);
    vnet_free(v);
}

static void peer_delivery(void **state)
{
    struct vnet *v = vnet_make(true);
    struct vnet_stats s;
    assert_action(peer(v, ALICE, udp_frame(ALICE, 1)), VNET_TO_DEVICE);
    assert_drop(peer(v, ALICE, udp_frame(ALICE, BOB)), VNET_NOT_OURS);
    assert_drop(peer(v, 77, udp_frame(ALICE, 1)), VNET_UNKNOWN_MEMBER);
    assert_drop(peer(v, 0, udp_frame(ALICE, 1)), VNET_UNKNOWN_MEMBER);
    struct ip h = {NET4 | ALICE, UINT32_MAX, IP_UDP, 0, udp_ports(27015, 27015)};
    assert_action(peer(v, ALICE, frame4(mac_of(ALICE), all_ones, h)), VNET_TO_DEVICE);
    vnet_stats(v, &s);
    assert_int_equal(s.from_peer, 5);
    assert_int_equal(s.to_device, 2);
    assert_int_equal(s.drops[VNET_UNKNOWN_MEMBER], 2);
    vnet_free(v);
}

static void short_and_broken(void **state)
{
    struct vnet *v = vnet_make(true);
    struct frame f = udp_frame(1, ALICE), g;
    static uint8_t huge[VNET_FRAME_MAX + 1];
    for (size_t n = 0; n < 14 + 28; n++) {
        g = f;
        g.n = n;
        assert_drop(device(v, g), n < 14 ? VNET_RUNT : VNET_MALFORMED);
        assert_drop(peer(v, ALICE, g), n < 14 ? VNET_RUNT : VNET_SPOOFED_MAC);
    }
    memcpy(huge, f.p, f.n);
    assert_drop(vnet_from_device(v, huge, sizeof huge, START), VNET_OVERSIZE);
    assert_drop(vnet_from_peer(v, ALICE, huge, sizeof huge, START), VNET_OVERSIZE);
    assert_drop(device(v, eth(mac_of(1), mac_of(ALICE), 0x88a8, bytes_of_str("a second kind of tag"))),
                VNET_MALFORMED);
    vnet_free(v);
}

/* ---- Answers. */

static void arp_answered_here(void **state)
{
    struct vnet *v = vnet_make(true);
    struct vnet_member alice = member(ALICE);
    struct vnet_stats s;
    struct vnet_verdict got = device(v, arp_ask(SELF4, NET4 | ALICE));
    assert_action(got, VNET_TO_DEVICE);
    struct eth_frame f;
    struct arp a;
    assert_int_equal(eth_read(&f, got.reply), 0);
    assert_memory_equal(f.dst, mac_of(1), 6);
    assert_memory_equal(f.src, alice.mac, 6);
    assert_int_equal(f.type, ETH_TYPE_ARP);
    assert_int_equal(arp_read(&a, f.payload), 0);
    assert_int_equal(a.op, ARP_REPLY);
    assert_memory_equal(a.sender_mac, alice.mac, 6);
    assert_memory_equal(a.target_mac, mac_of(1), 6);
    assert_int_equal(a.sender_ip, NET4 | ALICE);
    assert_int_equal(a.target_ip, SELF4);

    assert_drop(device(v, arp_ask(SELF4, NET4 | 999)), VNET_NO_SUCH_HOST);
    assert_drop(device(v, arp_ask(0xc0a80001, SELF4)), VNET_NOT_OURS);
    vnet_stats(v, &s);
    assert_int_equal(s.answered, 1);
    assert_int_equal(s.flooded, 0);
    assert_action(device(v, arp_ask(0, SELF4)), VNET_TO_ALL); /* probe */
    assert_action(device(v, arp_ask(0, NET4 | ALICE)),
                  VNET_TO_ALL);                                   /* a probe for hers: she objects herself */
    assert_action(device(v, arp_ask(SELF4, SELF4)), VNET_TO_ALL); /* announcement */
    assert_action(device(v, arp_ask(SELF4, 0xc0a80001)), VNET_TO_ALL); /* beyond a bridge */
    /* our own answers and questions to one host are frames like others */
    struct arp ours = {.op = ARP_REPLY, .sender_ip = SELF4, .target_ip = NET4 | ALICE};
    assert_peer(device(v, arp_frame(mac_of(1), alice.mac, ours)), ALICE);
    vnet_member_del(v, ALICE);
    assert_drop(device(v, arp_ask(SELF4, NET4 | ALICE)), VNET_NO_SUCH_HOST);
    vnet_free(v);
}

static void arp_answer_keeps_the_tag(void **state)
{
    struct vnet *v = vnet_make(true);
    struct frame f = arp_ask(SELF4, NET4 | ALICE), g = f;
    static const uint8_t tag[4] = {0x81, 0x00, 0x20, 7};
    memcpy(g.p + 12, tag, 4);
    memcpy(g.p + 16, f.p + 12, f.n - 12);
    g.n = f.n + 4;
    struct vnet_verdict got = device(v, g);
    struct eth_frame e;
    assert_action(got, VNET_TO_DEVICE);
    assert_int_equal(eth_read(&e, got.reply), 0);
    assert_true(e.tagged);
    assert_int_equal(e.tag, 0x2007);
    vnet_free(v);
}

static void nd_answered_here(void **state)
{
    struct vnet *v = vnet_make(true);
    struct vnet_member self = member(1), alice = member(ALICE);
    static const uint8_t multi_mac[6] = {0x33, 0x33, 0xff, 0, 0, ALICE},
                         multi[16] = {0xff, 2, [11] = 1, 0xff, 0, 0, ALICE},
                         link[16] = {0xfe, 0x80, [8] = 0, 0, 0, 0xff, 0xfe, 0, 0, ALICE}, none[16];
    struct bytes ask = nd_body(ND_SOLICIT, alice.ip6, self.mac);
    struct vnet_verdict got = device(v, frame6(self.mac, multi_mac, self.ip6, multi, IP_ICMP6, ask));
    assert_action(got, VNET_TO_DEVICE);
    struct eth_frame f;
    struct ip6 h;
    struct nd n;
    assert_int_equal(eth_read(&f, got.reply), 0);
    assert_memory_equal(f.dst, self.mac, 6);
    assert_memory_equal(f.src, alice.mac, 6);
    assert_int_equal(ip6_read(&h, f.payload), 0);
    assert_memory_equal(h.src, alice.ip6, 16);
    assert_memory_equal(h.dst, self.ip6, 16);
    assert_int_equal(h.hop_limit, 255);
    assert_int_equal(nd_read(&n, h.payload), 0);
    assert_int_equal(n.type, ND_ADVERT);
    assert_memory_equal(n.target, alice.ip6, 16);
    assert_memory_equal(n.mac, alice.mac, 6);

    uint8_t nobody[16];
    memcpy(nobody, alice.ip6, 16);
    nobody[9] = 9;
    ask = nd_body(ND_SOLICIT, nobody, self.mac);
    assert_drop(device(v, frame6(self.mac, multi_mac, self.ip6, multi, IP_ICMP6, ask)), VNET_NO_SUCH_HOST);
    ask = nd_body(ND_SOLICIT, link, self.mac);
    assert_action(device(v, frame6(self.mac, multi_mac, self.ip6, multi, IP_ICMP6, ask)), VNET_TO_ALL);
    ask = nd_body(ND_SOLICIT, alice.ip6, NULL); /* duplicate address detection */
    assert_action(device(v, frame6(self.mac, multi_mac, none, multi, IP_ICMP6, ask)), VNET_TO_ALL);
    vnet_free(v);
}

static void too_big(void **state)
{
    static const uint8_t body[1500] = {0};
    struct vnet_member self = member(1), alice = member(ALICE);
    for (int tap = 0; tap < 2; tap++) {
        struct vnet *v = vnet_make(tap);
        size_t at = tap ? 14 : 0;
        struct vnet_stats s;
        struct frame f;
        struct ip h = {SELF4, NET4 | ALICE, IP_UDP, 0x4000, bytes_of(body, 1380)};
        uint8_t buf[1600];
        struct bytes p = ip4(buf, sizeof buf, h);
        memcpy(f.p + at, p.p, p.n);
        f.n = p.n;
        assert_peer(device(v, tap ? frame4(self.mac, alice.mac, h) : f), ALICE); /* 1400 is the most */
        h.payload.n = 1381;
        p = ip4(buf, sizeof buf, h);
        memcpy(f.p, p.p, p.n);
        f.n = p.n;
        struct vnet_verdict got = device(v, tap ? frame4(self.mac, alice.mac, h) : f);
        assert_action(got, VNET_TO_DEVICE);
        struct ip4 r;
        assert_int_equal(ip4_read(&r, bytes_of(got.reply.p + at, got.reply.n - at)), 0);
        assert_int_equal(r.src, NET4 | ALICE);
        assert_int_equal(r.dst, SELF4);
        assert_int_equal(r.payload.p[0], ICMP4_UNREACHABLE);
        assert_int_equal(r.payload.p[6] << 8 | r.payload.p[7], 1400);
        if (tap) {
            assert_memory_equal(got.reply.p, self.mac, 6);
            assert_memory_equal(got.reply.p + 6, alice.mac, 6);
        }
        vnet_stats(v, &s);
        assert_int_equal(s.answered, 1);
        assert_int_equal(s.drops[VNET_OVERSIZE], 1);
        p = ip6(buf, sizeof buf, self.ip6, alice.ip6, IP_UDP, bytes_of(body, 1361));
        memcpy(f.p, p.p, p.n);
        f.n = p.n;
        got = device(v, tap ? eth(self.mac, alice.mac, ETH_TYPE_IP6, p) : f);
        assert_action(got, VNET_TO_DEVICE);
        struct ip6 r6;
        assert_int_equal(ip6_read(&r6, bytes_of(got.reply.p + at, got.reply.n - at)), 0);
        assert_memory_equal(r6.src, alice.ip6, 16);
        assert_int_equal(r6.payload.p[0], ICMP6_TOO_BIG);
        vnet_free(v);
    }
}

static void too_big_without_answer(void **state)
{
    static const uint8_t body[1500] = {0}, error[1500] = {ICMP4_UNREACHABLE};
    const struct ip rows[] = {
        {SELF4, NET4 | ALICE, IP_UDP, 0, bytes_of(body, 1400)},      /* may be fragmented: by its sender */
        {SELF4, NET4 | ALICE, IP_UDP, 0x4001, bytes_of(body, 1400)}, /* a later fragment */
        {SELF4, 0xe0000001, IP_UDP, 0x4000, bytes_of(body, 1400)},
        {SELF4, NET4 | 0xffff, IP_UDP, 0x4000, bytes_of(body, 1400)},
        {SELF4, NET4 | ALICE, IP_ICMP, 0x4000, bytes_of(error, 1400)}, /* no errors about errors */
        {0, NET4 | ALICE, IP_UDP, 0x4000, bytes_of(body, 1400)},
    };
    struct vnet *v = vnet_make(true);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_drop(device(v, frame4(mac_of(1), mac_of(ALICE), rows[i])), VNET_OVERSIZE);
    struct ip h = {SELF4, NET4 | ALICE, IP_UDP, 0x4000, bytes_of(body, 1400)};
    assert_drop(device(v, frame4(mac_of(1), all_ones, h)), VNET_OVERSIZE);
    assert_drop(device(v, eth(mac_of(1), mac_of(ALICE), 0x8137, bytes_of(body, 1401))), VNET_OVERSIZE);
    struct vnet_member self = member(1), alice = member(ALICE);
    static const uint8_t none[16], group[16] = {0xff, 2, [15] = 1}, too_big6[1500] = {ICMP6_TOO_BIG};
    const struct {
        const uint8_t *src, *dst, *body;
        uint8_t proto;
    } rows6[] = {{none, alice.ip6, body, IP_UDP},
                 {self.ip6, group, body, IP_UDP},
                 {self.ip6, alice.ip6, too_big6, IP_ICMP6}};
    for (size_t i = 0; i < sizeof rows6 / sizeof *rows6; i++)
        assert_drop(device(v, frame6(self.mac, alice.mac, rows6[i].src, rows6[i].dst, rows6[i].proto,
                                     bytes_of(rows6[i].body, 1400))),
                    VNET_OVERSIZE);
    vnet_free(v);
}

/* ---- MSS. */

static uint16_t sum_over(const uint8_t *p, size_t n)
{
    return sum_finish(sum_add(0, bytes_of(p, n)));
}

static void mss_clamped_both_ways(void **state)
{
    static const struct {
        uint8_t flags;
        uint16_t mss, want4, want6;
    } rows[] = {
        {TCP_SYN, 1460, 1360, 1340}, {TCP_SYN | TCP_ACK, 8960, 1360, 1340},
        {TCP_SYN, 1360, 1360, 1340}, {TCP_SYN, 1350, 1350, 1340},
        {TCP_SYN, 536, 536, 536},    {TCP_ACK, 1460, 1460, 1460},
    };
    struct vnet_member self = member(1), alice = member(ALICE);
    for (size_t i = 0; i < 4 * sizeof rows / sizeof *rows; i++) {
        bool six = i % 2, in = i / 2 % 2;
        const struct vnet_member *from = in ? &alice : &self, *to = in ? &self : &alice;
        uint8_t seg[28] = {0x9c, 0x40,     0x69, 0x87, [12] = 0x70, rows[i / 4].flags, 0xff,
                           0xff, [20] = 1, 2,    4};
        seg[23] = (uint8_t)(rows[i / 4].mss >> 8); /* behind a NOP: at an odd place */
        seg[24] = (uint8_t)rows[i / 4].mss;
        uint16_t sum = sum_over(seg, sizeof seg);
        seg[16] = (uint8_t)(sum >> 8);
        seg[17] = (uint8_t)sum;
        struct vnet *v = vnet_make(true);
        struct ip h = {from->ip4, to->ip4, IP_TCP, 0x4000, bytes_of(seg, sizeof seg)};
        struct frame f = six ? frame6(from->mac, to->mac, from->ip6, to->ip6, IP_TCP, h.payload)
                             : frame4(from->mac, to->mac, h);
        struct frame before = f;
        if (in)
            assert_action(vnet_from_peer(v, ALICE, f.p, f.n, START), VNET_TO_DEVICE);
        else
            assert_peer(vnet_from_device(v, f.p, f.n, START), ALICE);
        size_t at = 14 + (six ? 40 : 20);
        assert_memory_equal(f.p, before.p, at + 16);
        assert_int_equal(f.p[at + 23] << 8 | f.p[at + 24], six ? rows[i / 4].want6 : rows[i / 4].want4);
        assert_int_equal(sum_over(f.p + at, sizeof seg), 0);
        vnet_free(v);
    }
}

/* ---- Storms. */

static void storm_cap_of_the_device(void **state)
{
    struct vnet *v = vnet_make(true);
    struct vnet_stats s;
    struct frame f = arp_ask(SELF4, 0xc0a80001);
    int passed = 0;
    for (int i = 0; i < 1000; i++)
        passed += vnet_from_device(v, f.p, f.n, START).action == VNET_TO_ALL;
    assert_int_equal(passed, 200);
    vnet_stats(v, &s);
    assert_int_equal(s.drops[VNET_STORM], 800);
    assert_int_equal(s.flooded, 200);
    assert_peer(device(v, udp_frame(1, ALICE)), ALICE); /* unicast is not held */
    for (int i = 0; i < 1000; i++)
        passed += vnet_from_device(v, f.p, f.n, START + 1 * SEC).action == VNET_TO_ALL;
    assert_int_equal(passed, 300);
    /* questions that are answered here cost nothing */
    for (int i = 0; i < 1000; i++)
        assert_action(device(v, arp_ask(SELF4, NET4 | BOB)), VNET_TO_DEVICE);
    vnet_free(v);
}

static void storm_cap_of_each_member(void **state)
{
    struct vnet *v = vnet_make(true);
    int passed = 0;
    for (int i = 0; i < 1000; i++) {
        struct ip h = {NET4 | ALICE, UINT32_MAX, IP_UDP, 0, udp_ports(1, 2)};
        passed += peer(v, ALICE, frame4(mac_of(ALICE), all_ones, h)).action == VNET_TO_DEVICE;
    }
    assert_int_equal(passed, 200);
    struct ip h = {NET4 | ALICE, 0xc0a80001, IP_UDP, 0, udp_ports(1, 2)};
    assert_drop(peer(v, ALICE, frame4(mac_of(ALICE), x_mac, h)),
                VNET_STORM); /* unknown unicast is a flood, too */
    h.src = NET4 | BOB;
    assert_action(peer(v, BOB, frame4(mac_of(BOB), all_ones, h)), VNET_TO_DEVICE);
    assert_action(peer(v, ALICE, udp_frame(ALICE, 1)), VNET_TO_DEVICE);
    vnet_policy_set(v, false, 100, START); /* the same again: no new bucket */
    h.src = NET4 | ALICE;
    assert_drop(peer(v, ALICE, frame4(mac_of(ALICE), all_ones, h)), VNET_STORM);
    vnet_policy_set(v, false, 500, START);
    assert_action(peer(v, ALICE, frame4(mac_of(ALICE), all_ones, h)), VNET_TO_DEVICE);
    vnet_free(v);
}

/* ---- Learning. */

static struct frame foreign(const uint8_t *src, const uint8_t *dst)
{
    return frame4(src, dst, (struct ip){0xc0a80005, 0xc0a80006, IP_UDP, 0, udp_ports(1, 2)});
}

static struct vnet_verdict device_at(struct vnet *v, struct frame f, usec_t now)
{
    return vnet_from_device(v, f.p, f.n, now);
}

static struct vnet_verdict peer_at(struct vnet *v, uint32_t ref, struct frame f, usec_t now)
{
    return vnet_from_peer(v, ref, f.p, f.n, now);
}

static void learns_and_forgets(void **state)
{
    struct vnet *v = vnet_make(true);
    struct vnet_stats s;
    assert_action(device_at(v, foreign(mac_of(1), x_mac), START), VNET_TO_ALL);
    assert_action(peer_at(v, ALICE, foreign(x_mac, mac_of(1)), START), VNET_TO_DEVICE);
    assert_peer(device_at(v, foreign(mac_of(1), x_mac), START), ALICE);
    assert_drop(peer_at(v, BOB, foreign(mac_of(BOB), x_mac), START), VNET_NOT_OURS);
    assert_peer(device_at(v, foreign(mac_of(1), x_mac), START + VNET_LEARN_LIFE), ALICE);
    assert_action(device_at(v, foreign(mac_of(1), x_mac), START + VNET_LEARN_LIFE + 1), VNET_TO_ALL);
    /* ours */
    assert_peer(device_at(v, foreign(y_mac, mac_of(ALICE)), START), ALICE);
    assert_drop(device_at(v, foreign(mac_of(1), y_mac), START), VNET_NOT_OURS);
    for (int i = 0; i < 1000; i++) /* known to be here: no flood */
        assert_action(peer_at(v, ALICE, foreign(mac_of(ALICE), y_mac), START), VNET_TO_DEVICE);
    vnet_stats(v, &s);
    assert_int_equal(s.learned, 2);
    usec_t later = START + VNET_LEARN_LIFE + 2;
    assert_action(peer_at(v, ALICE, foreign(x_mac, mac_of(1)), later), VNET_TO_DEVICE);
    assert_peer(device_at(v, foreign(mac_of(1), x_mac), later), ALICE);
    vnet_member_del(v, ALICE);
    vnet_stats(v, &s);
    assert_int_equal(s.learned, 1);
    assert_action(device_at(v, foreign(mac_of(1), x_mac), later), VNET_TO_ALL);
    vnet_free(v);
}

static void moves_after_silence_only(void **state)
{
    struct vnet *v = vnet_make(true);
    usec_t t = START;
    assert_action(peer_at(v, ALICE, foreign(x_mac, mac_of(1)), t), VNET_TO_DEVICE);
    assert_drop(peer_at(v, BOB, foreign(x_mac, mac_of(1)), t + VNET_MOVE_QUIET - 1), VNET_SPOOFED_MAC);
    assert_drop(device_at(v, foreign(x_mac, mac_of(BOB)), t + VNET_MOVE_QUIET - 1), VNET_SPOOFED_MAC);
    assert_peer(device_at(v, foreign(mac_of(1), x_mac), t), ALICE);
    t += VNET_MOVE_QUIET;
    assert_action(peer_at(v, BOB, foreign(x_mac, mac_of(1)), t), VNET_TO_DEVICE);
    assert_peer(device_at(v, foreign(mac_of(1), x_mac), t), BOB);
    assert_drop(peer_at(v, ALICE, foreign(x_mac, mac_of(1)), t), VNET_SPOOFED_MAC);
    t += VNET_MOVE_QUIET;
    assert_peer(device_at(v, foreign(x_mac, mac_of(BOB)), t), BOB); /* and to us */
    assert_drop(peer_at(v, BOB, foreign(x_mac, mac_of(1)), t), VNET_SPOOFED_MAC);
    vnet_free(v);
}

static void refused_frames_teach_nothing(void **state)
{
    struct vnet *v = vnet_make(true);
    struct vnet_stats s;
    struct ip h = {NET4 | BOB, SELF4, IP_UDP, 0, udp_ports(1, 2)};
    assert_drop(peer(v, ALICE, frame4(x_mac, mac_of(1), h)), VNET_SPOOFED_IP);
    vnet_stats(v, &s);
    assert_int_equal(s.learned, 0);
    vnet_free(v);
}

static void learning_is_bounded(void **state)
{
    struct vnet *v = vnet_make(true);
    struct vnet_stats s;
    uint8_t mac[6] = {0x52, 0x54, 1};
    for (uint32_t n = 4; n < 40; n++) {
        struct vnet_member m = member(n);
        assert_int_equal(vnet_member_set(v, &m, START), 0);
    }
    for (uint32_t n = 2; n < 40; n++) {
        for (int i = 0; i < 100; i++) {
            mac[4] = (uint8_t)n;
            mac[5] = (uint8_t)i;
            assert_action(peer_at(v, n, foreign(mac, mac_of(1)), START), VNET_TO_DEVICE);
        }
        vnet_stats(v, &s);
        size_t want = (n - 1) * VNET_LEARNED_PER_PEER;
        assert_int_equal(s.learned, want < VNET_LEARNED_MAX ? want : VNET_LEARNED_MAX);
    }
    mac[4] = ALICE;
    mac[5] = 63;
    assert_peer(device_at(v, foreign(mac_of(1), mac), START), ALICE);
    mac[5] = 64;
    assert_action(device_at(v, foreign(mac_of(1), mac), START), VNET_TO_ALL);
    /* the old make room */
    assert_action(peer_at(v, ALICE, foreign(mac, mac_of(1)), START + VNET_LEARN_LIFE + 1), VNET_TO_DEVICE);
    assert_peer(device_at(v, foreign(mac_of(1), mac), START + VNET_LEARN_LIFE + 1), ALICE);
    vnet_stats(v, &s);
    assert_int_equal(s.learned, 1);
    vnet_free(v);
}

/* ---- Members. */

static void members_replace_and_conflict(void **state)
{
    struct vnet *v = vnet_make(true);
    struct vnet_member m = member(ALICE), x = member(50);
    m.ip4 = NET4 | 77;
    memcpy(m.mac, x.mac, 6);
    assert_int_equal(vnet_member_set(v, &m, START), 0);
    assert_peer(device(v, frame4(mac_of(1), x.mac, (struct ip){SELF4, m.ip4, IP_UDP, 0, udp_ports(1, 2)})),
                ALICE);
    assert_action(device(v, udp_frame(1, ALICE)), VNET_TO_ALL); /* the old MAC is nobody's */
    assert_drop(device(v, arp_ask(SELF4, NET4 | ALICE)), VNET_NO_SUCH_HOST);
    assert_action(device(v, arp_ask(SELF4, NET4 | 77)), VNET_TO_DEVICE);

    struct vnet_member bad = member(9);
    bad.ip4 = NET4 | BOB;
    assert_int_equal(vnet_member_set(v, &bad, START), -EEXIST);
    bad = member(9);
    memcpy(bad.mac, mac_of(1), 6);
    assert_int_equal(vnet_member_set(v, &bad, START), -EEXIST);
    bad = member(BOB);
    memcpy(bad.ip6, m.ip6, 16);
    assert_int_equal(vnet_member_set(v, &bad, START), -EEXIST);
    bad = member(9);
    bad.ref = 0;
    assert_int_equal(vnet_member_set(v, &bad, START), -EINVAL);
    assert_drop(peer(v, 9, udp_frame(9, 1)), VNET_UNKNOWN_MEMBER);
    assert_peer(device(v, udp_frame(1, BOB)), BOB); /* nothing of all that changed him */
    vnet_free(v);
}

static void members_are_bounded(void **state)
{
    struct vnet_config c = config(true);
    struct vnet *v = vnet_new(&c, START);
    for (uint32_t n = 2; n < 2 + VNET_MEMBERS_MAX; n++) {
        struct vnet_member m = member(n);
        assert_int_equal(vnet_member_set(v, &m, START), 0);
    }
    struct vnet_member m = member(5000);
    assert_int_equal(vnet_member_set(v, &m, START), -ENOSPC);
    m.ref = 500; /* one that is there can change even now */
    assert_int_equal(vnet_member_set(v, &m, START), 0);
    assert_peer(device(v, udp_frame(1, 5000)), 500);
    vnet_member_del(v, 500);
    m.ref = 5000;
    assert_int_equal(vnet_member_set(v, &m, START), 0);
    vnet_member_del(v, 12345); /* nobody */
    vnet_free(v);
    c.mtu = VNET_MTU_MIN - 1;
    assert_null(vnet_new(&c, START));
    vnet_free(NULL);
}

static void new_member_takes_a_learned_mac(void **state)
{
    struct vnet *v = vnet_make(true);
    struct vnet_member m = member(9);
    struct vnet_stats s;
    assert_action(peer(v, ALICE, foreign(m.mac, mac_of(1))), VNET_TO_DEVICE);
    assert_peer(device(v, foreign(mac_of(1), m.mac)), ALICE);
    assert_int_equal(vnet_member_set(v, &m, START), 0);
    assert_peer(device(v, foreign(mac_of(1), m.mac)), 9);
    assert_drop(peer(v, ALICE, foreign(m.mac, mac_of(1))), VNET_SPOOFED_MAC);
    vnet_stats(v, &s);
    assert_int_equal(s.learned, 0);
    vnet_free(v);
}

/* ---- TUN. */

static void tun_paths(void **state)
{
    struct vnet *v = vnet_make(false);
    static const struct {
        uint32_t dst;
        enum vnet_action out;
        enum vnet_drop out_why;
        enum vnet_drop in;
    } rows[] = {
        {NET4 | ALICE, VNET_TO_PEER, VNET_OK, VNET_NOT_OURS},
        {SELF4, VNET_DROP, VNET_NOT_OURS, VNET_OK},
        {NET4 | 999, VNET_DROP, VNET_NO_SUCH_HOST, VNET_NOT_OURS},
        {0x08080808, VNET_DROP, VNET_NO_SUCH_HOST, VNET_NOT_OURS},
        {UINT32_MAX, VNET_TO_ALL, VNET_OK, VNET_OK},
        {NET4 | 0xffff, VNET_TO_ALL, VNET_OK, VNET_OK},
        {0xe00000fb, VNET_TO_ALL, VNET_OK, VNET_OK},
        {0xefffffff, VNET_TO_ALL, VNET_OK, VNET_OK},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct frame f;
        f.n = ip4(f.p, sizeof f.p, (struct ip){SELF4, rows[i].dst, IP_UDP, 0, udp_ports(5, 6)}).n;
        struct vnet_verdict got = device(v, f);
        assert_int_equal(got.action, rows[i].out);
        assert_int_equal(got.drop, rows[i].out_why);
        assert_int_equal(got.ref, rows[i].out == VNET_TO_PEER ? ALICE : 0);
        f.n = ip4(f.p, sizeof f.p, (struct ip){NET4 | BOB, rows[i].dst, IP_UDP, 0, udp_ports(5, 6)}).n;
        assert_int_equal(peer(v, BOB, f).drop, rows[i].in);
    }
    struct vnet_member self = member(1), alice = member(ALICE);
    static const uint8_t all_nodes[16] = {0xff, 2, [15] = 1}, link[16] = {0xfe, 0x80, [15] = 9},
                         web[16] = {0x20, 1};
    struct frame f;
    f.n = ip6(f.p, sizeof f.p, self.ip6, alice.ip6, IP_UDP, udp_ports(5, 6)).n;
    assert_peer(device(v, f), ALICE);
    assert_drop(peer(v, ALICE, f), VNET_SPOOFED_IP);
    f.n = ip6(f.p, sizeof f.p, link, all_nodes, IP_UDP, udp_ports(5, 6)).n;
    assert_action(device(v, f), VNET_TO_ALL);
    f.n = ip6(f.p, sizeof f.p, self.ip6, web, IP_UDP, udp_ports(5, 6)).n;
    assert_drop(device(v, f), VNET_NO_SUCH_HOST);
    f.n = ip6(f.p, sizeof f.p, web, alice.ip6, IP_UDP, udp_ports(5, 6)).n;
    assert_drop(device(v, f), VNET_SPOOFED_IP);
    f.n = 0;
    assert_drop(device(v, f), VNET_RUNT);
    f.n = 60;
    f.p[0] = 0x15;
    assert_drop(device(v, f), VNET_NOT_IP);
    f.p[0] = 0x45;
    f.n = 19;
    assert_drop(device(v, f), VNET_MALFORMED);
    vnet_free(v);
}

static void mtu_leaves_room(void **state)
{
    assert_int_equal(vnet_mtu_for(1500, true), 1500 - 48 - DATA_OVERHEAD - 14);
    assert_int_equal(vnet_mtu_for(1500, false), 1500 - 48 - DATA_OVERHEAD);
    assert_int_equal(vnet_mtu_for(0, true), 0);
    assert_int_equal(vnet_mtu_for(48 + DATA_OVERHEAD + 14 + 67, true), 0);
    assert_int_equal(vnet_mtu_for(48 + DATA_OVERHEAD + 14 + 68, true), 68);
    assert_int_equal(vnet_mtu_for(65535, false), 65535 - 48 - DATA_OVERHEAD);
}

static void drops_have_names(void **state)
{
    for (int a = 0; a < VNET_DROP_COUNT; a++)
        for (int b = 0; b < a; b++)
            assert_string_not_equal(vnet_drop_name((enum vnet_drop)a), vnet_drop_name((enum vnet_drop)b));
    assert_string_equal(vnet_drop_name(VNET_NOT_OURS), "not-ours");
    assert_string_equal(vnet_drop_name(VNET_DROP_COUNT), "unknown");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(device_unicast),
        cmocka_unit_test(device_broadcast),
        cmocka_unit_test(peer_delivery),
        cmocka_unit_test(short_and_broken),
        cmocka_unit_test(arp_answered_here),
        cmocka_unit_test(arp_answer_keeps_the_tag),
        cmocka_unit_test(nd_answered_here),
        cmocka_unit_test(too_big),
        cmocka_unit_test(too_big_without_answer),
        cmocka_unit_test(mss_clamped_both_ways),
        cmocka_unit_test(storm_cap_of_the_device),
        cmocka_unit_test(storm_cap_of_each_member),
        cmocka_unit_test(learns_and_forgets),
        cmocka_unit_test(moves_after_silence_only),
        cmocka_unit_test(refused_frames_teach_nothing),
        cmocka_unit_test(learning_is_bounded),
        cmocka_unit_test(members_replace_and_conflict),
        cmocka_unit_test(members_are_bounded),
        cmocka_unit_test(new_member_takes_a_learned_mac),
        cmocka_unit_test(tun_paths),
        cmocka_unit_test(mtu_leaves_room),
        cmocka_unit_test(drops_have_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
