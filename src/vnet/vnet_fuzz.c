#include <stdlib.h>
#include <string.h>

#include "vnet/vnet.h"
#include "wire/eth.h"

/* A script of member changes and frames against one switch. First byte: TAP or TUN, and the policy. Then
 * operations: {what, who, length u16, bytes}. Whatever the bytes are, what the switch decides must make
 * sense. */

#define MEMBERS 6
#define NET4    0x0a070000u

static struct vnet_member member(uint8_t n)
{
    return (struct vnet_member){
        .ref = n, .ip4 = NET4 | n, .ip6 = {0xfd, 7, [15] = n}, .mac = {2, 0, 0, 0, 0, n}};
}

static void need(bool ok)
{
    if (!ok)
        abort();
}

struct world {
    struct vnet *v;
    bool tap, there[MEMBERS + 2];
    usec_t now;
    uint64_t frames;
};

static void check_device(struct world *w, struct vnet_verdict d, const uint8_t *before, size_t n)
{
    need(d.action == VNET_DROP ? d.drop > VNET_OK && d.drop < VNET_DROP_COUNT : d.drop == VNET_OK);
    if (d.action == VNET_TO_PEER)
        need(d.ref >= 2 && d.ref < MEMBERS + 2 && w->there[d.ref]);
    if (d.action == VNET_TO_ALL || d.action == VNET_TO_PEER)
        need(d.reply.n == 0);
    if (d.action != VNET_TO_DEVICE)
        return;
    struct eth_frame f;
    need(d.reply.n > 0 && d.reply.n <= ETH_HEADER_LEN + ETH_TAG_LEN + ICMP6_TOO_BIG_MAX);
    if (w->tap)
        need(n >= ETH_HEADER_LEN && eth_read(&f, d.reply) == 0 && memcmp(f.dst, before + 6, 6) == 0);
}

static void check_peer(struct world *w, struct vnet_verdict d, uint8_t who, const uint8_t *frame, size_t n)
{
    need(d.action == VNET_DROP || d.action == VNET_TO_DEVICE);
    need(d.reply.n == 0);
    if (d.action == VNET_DROP)
        return;
    need(who < MEMBERS + 2 && w->there[who]);
    struct eth_frame f = {.type = frame[0] >> 4 == 4 ? ETH_TYPE_IP4 : ETH_TYPE_IP6,
                          .payload = bytes_of(frame, n)};
    if (w->tap)
        need(eth_read(&f, bytes_of(frame, n)) == 0);
    for (uint8_t other = 1; other < MEMBERS + 2; other++) {
        struct vnet_member m = member(other);
        struct ip4 h4;
        struct ip6 h6;
        struct arp a;
        if (other == who || (other != 1 && !w->there[other]))
            continue;
        need(!w->tap || memcmp(f.src, m.mac, 6) != 0);
        if (f.type == ETH_TYPE_IP4)
            need(ip4_read(&h4, f.payload) == 0 && h4.src != m.ip4);
        if (f.type == ETH_TYPE_IP6)
            need(ip6_read(&h6, f.payload) == 0 && memcmp(h6.src, m.ip6, 16) != 0);
        if (f.type == ETH_TYPE_ARP)
            need(arp_read(&a, f.payload) == 0 && a.sender_ip != m.ip4 && memcmp(a.sender_mac, m.mac, 6) != 0);
    }
}

static void frame_step(struct world *w, uint8_t what, uint8_t who, struct bytes in)
{
    uint8_t *frame = malloc(in.n ? in.n : 1), *before = malloc(in.n ? in.n : 1);
    need(frame && before);
    if (in.n > 0) {
        memcpy(frame, in.p, in.n);
        memcpy(before, in.p, in.n);
    }
    w->frames++;
    if (what & 1)
        check_device(w, vnet_from_device(w->v, frame, in.n, w->now), before, in.n);
    else
        check_peer(w, vnet_from_peer(w->v, who, frame, in.n, w->now), who, frame, in.n);
    free(before);
    free(frame);
}

static void step(struct world *w, struct rd *r)
{
    uint8_t what = rd_u8(r), who = rd_u8(r) % (MEMBERS + 3);
    uint16_t n = rd_u16(r);
    struct bytes in = rd_bytes(r, rd_left(r) < n ? rd_left(r) : n);
    struct vnet_member m = member(who);
    w->now += (usec_t)(what >> 3) * 100 * MSEC;
    switch (what & 7) {
    case 0:
        if (who >= 2 && who < MEMBERS + 2 && vnet_member_set(w->v, &m, w->now) == 0)
            w->there[who] = true;
        if (who == 0)
            vnet_policy_set(w->v, n & 1, n >> 1, w->now);
        break;
    case 1:
        if (who < MEMBERS + 2)
            w->there[who] = false;
        vnet_member_del(w->v, who);
        break;
    default:
        frame_step(w, what, who, in);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    struct rd r = rd_of(bytes_of(p, n));
    uint8_t first = rd_u8(&r);
    struct vnet_config c = {.tap = !(first & 1),
                            .self = member(1),
                            .net4 = NET4,
                            .net6 = {0xfd, 7},
                            .allow_dhcp = first & 2,
                            .mtu = (uint16_t)(VNET_MTU_MIN + (first >> 2) * 20),
                            .broadcast_pps = 5,
                            .seed = first};
    struct world w = {.tap = c.tap, .now = SEC};
    w.v = vnet_new(&c, w.now);
    need(w.v);
    for (uint8_t i = 2; i < MEMBERS; i++) {
        struct vnet_member m = member(i);
        need(vnet_member_set(w.v, &m, w.now) == 0);
        w.there[i] = true;
    }
    while (rd_ok(&r) && rd_left(&r) > 0)
        step(&w, &r);
    struct vnet_stats s;
    vnet_stats(w.v, &s);
    need(s.from_device + s.from_peer == w.frames);
    need(s.learned <= VNET_LEARNED_MAX);
    vnet_free(w.v);
    return 0;
}
