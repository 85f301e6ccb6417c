#include "vnet/vnet.h"

#include <stdlib.h>
#include <string.h>

#include "vnet/packet_int.h"
#include "vnet/ports_int.h"
#include "wire/data.h"
#include "wire/eth.h"

#define IP6_MTU_MIN   1280 /* RFC 8200 section 5 */
#define OUTER_HEADERS 48   /* IPv6 and UDP */
#define REPLY_MAX     (ETH_HEADER_LEN + ETH_TAG_LEN + ICMP6_TOO_BIG_MAX)

struct vnet {
    struct rules rules;
    struct ports ports;
    struct vnet_stats stats;
    uint8_t reply[REPLY_MAX];
};

const char *vnet_drop_name(enum vnet_drop d)
{
    static const char *const names[VNET_DROP_COUNT] = {
        [VNET_OK] = "ok",
        [VNET_RUNT] = "runt",
        [VNET_OVERSIZE] = "oversize",
        [VNET_SPOOFED_MAC] = "spoofed-mac",
        [VNET_SPOOFED_IP] = "spoofed-ip",
        [VNET_DHCP] = "dhcp",
        [VNET_RA] = "ra",
        [VNET_STORM] = "storm",
        [VNET_NO_SUCH_HOST] = "no-such-host",
        [VNET_NOT_IP] = "not-ip",
        [VNET_MALFORMED] = "malformed",
        [VNET_UNKNOWN_MEMBER] = "unknown-member",
        [VNET_NOT_OURS] = "not-ours",
    };
    return (unsigned)d < VNET_DROP_COUNT ? names[d] : "unknown";
}

/* ---- Life, members, policy. */

struct vnet *vnet_new(const struct vnet_config *c, usec_t now)
{
    if (c->mtu < VNET_MTU_MIN)
        return NULL;
    struct vnet *v = calloc(1, sizeof *v);
    if (!v)
        return NULL;
    v->rules = (struct rules){
        .tap = c->tap, .allow_dhcp = c->allow_dhcp, .net4 = c->net4 & 0xffff0000, .mtu = c->mtu};
    memcpy(v->rules.net6, c->net6, sizeof v->rules.net6);
    if (ports_init(&v->ports, c, now) != 0) {
        vnet_free(v);
        return NULL;
    }
    return v;
}

void vnet_free(struct vnet *v)
{
    if (!v)
        return;
    ports_done(&v->ports);
    free(v);
}

int vnet_member_set(struct vnet *v, const struct vnet_member *m, usec_t now)
{
    return ports_set(&v->ports, m, now);
}

void vnet_member_del(struct vnet *v, uint32_t ref)
{
    ports_del(&v->ports, ref);
}

void vnet_policy_set(struct vnet *v, bool allow_dhcp, uint32_t broadcast_pps, usec_t now)
{
    v->rules.allow_dhcp = allow_dhcp;
    ports_set_storm(&v->ports, broadcast_pps, now);
}

void vnet_member_mtu(struct vnet *v, uint32_t ref, uint16_t mtu)
{
    struct port *p = port_by_ref(&v->ports, ref);
    if (p)
        p->mtu = mtu;
}

void vnet_stats(const struct vnet *v, struct vnet_stats *s)
{
    *s = v->stats;
    s->learned = map_count(v->ports.learned);
}

uint16_t vnet_mtu_for(uint16_t outer_mtu, bool tap)
{
    unsigned around = OUTER_HEADERS + DATA_OVERHEAD + (tap ? ETH_HEADER_LEN : 0);
    return outer_mtu < around + VNET_MTU_MIN ? 0 : (uint16_t)(outer_mtu - around);
}

/* ---- Verdicts. */

static struct vnet_verdict drop(struct vnet *v, enum vnet_drop reason)
{
    v->stats.drops[reason]++;
    return (struct vnet_verdict){.action = VNET_DROP, .drop = reason};
}

static struct vnet_verdict to_peer(const struct port *p)
{
    return (struct vnet_verdict){.action = VNET_TO_PEER, .ref = p->m.ref};
}

static struct vnet_verdict to_all(struct vnet *v, usec_t now)
{
    if (!ratelimit_take(&v->ports.self.storm, 1, now))
        return drop(v, VNET_STORM);
    v->stats.flooded++;
    return (struct vnet_verdict){.action = VNET_TO_ALL};
}

static struct vnet_verdict to_device(struct vnet *v)
{
    v->stats.to_device++;
    return (struct vnet_verdict){.action = VNET_TO_DEVICE};
}

/* To the device what everybody got: within what this member may make everybody hear. */
static struct vnet_verdict to_device_capped(struct vnet *v, struct port *from, usec_t now)
{
    return ratelimit_take(&from->storm, 1, now) ? to_device(v) : drop(v, VNET_STORM);
}

static struct vnet_verdict answer(struct vnet *v, const struct wr *w)
{
    if (!wr_ok(w))
        return drop(v, VNET_MALFORMED);
    v->stats.answered++;
    return (struct vnet_verdict){.action = VNET_TO_DEVICE, .reply = wr_done(w)};
}

/* ---- Answers that the switch makes itself. */

/* A frame back to where f came from. */
static struct wr reply_begin(struct vnet *v, const struct eth_frame *f, const uint8_t src[6])
{
    struct eth_frame back = *f;
    struct wr w = wr_of(v->reply, sizeof v->reply);
    memcpy(back.dst, f->src, sizeof back.dst);
    memcpy(back.src, src, sizeof back.src);
    eth_write(&w, &back);
    return w;
}

/* f: NULL for a packet without a frame (TUN). No limit of rate: it goes to our own kernel, which asked for
 * it. */
static struct vnet_verdict too_big(struct vnet *v, const struct packet *p, const struct eth_frame *f,
                                   uint16_t mtu)
{
    if ((f && eth_is_group(f->dst)) || !packet_may_answer(p, &v->rules))
        return drop(v, VNET_OVERSIZE);
    v->stats.drops[VNET_OVERSIZE]++;
    struct wr w = f ? reply_begin(v, f, f->dst) : wr_of(v->reply, sizeof v->reply);
    if (p->kind == PACKET_IP4)
        icmp4_too_big_write(&w, p->all, mtu);
    else
        icmp6_too_big_write(&w, p->all, mtu);
    return answer(v, &w);
}

/* What the way to or from this port carries. */
static uint16_t mtu_of(const struct vnet *v, const struct port *p)
{
    return p && p->mtu != 0 && p->mtu < v->rules.mtu ? p->mtu : v->rules.mtu;
}

/* A packet on its way to one member, at last with what that way carries. */
static struct vnet_verdict fitted(struct vnet *v, struct vnet_verdict verdict, const struct packet *p,
                                  const struct eth_frame *f, uint8_t *frame)
{
    const struct port *to = verdict.action == VNET_TO_PEER ? port_by_ref(&v->ports, verdict.ref) : NULL;
    uint16_t mtu = mtu_of(v, to);
    packet_clamp(p, mtu, frame);
    bool tells = p->kind == PACKET_IP4 || (p->kind == PACKET_IP6 && mtu >= IP6_MTU_MIN);
    if (to && p->all.n > mtu && tells && packet_may_answer(p, &v->rules))
        return too_big(v, p, f, mtu);
    return verdict;
}

static bool has_mac(const struct port *p)
{
    static const uint8_t zeros[6];
    return memcmp(p->m.mac, zeros, sizeof zeros) != 0;
}

static struct vnet_verdict arp_answer(struct vnet *v, const struct eth_frame *f, const struct arp *a)
{
    const struct port *owner = port_by_ip4(&v->ports, a->target_ip);
    if (owner == &v->ports.self)
        return drop(v, VNET_NOT_OURS); /* the host itself answers on that side */
    if (!owner || !has_mac(owner))
        return drop(v, VNET_NO_SUCH_HOST);
    struct arp reply = {.op = ARP_REPLY, .sender_ip = a->target_ip, .target_ip = a->sender_ip};
    memcpy(reply.sender_mac, owner->m.mac, sizeof reply.sender_mac);
    memcpy(reply.target_mac, a->sender_mac, sizeof reply.target_mac);
    struct wr w = reply_begin(v, f, owner->m.mac);
    arp_write(&w, &reply);
    return answer(v, &w);
}

static struct vnet_verdict nd_answer(struct vnet *v, const struct eth_frame *f, const struct packet *p)
{
    const struct port *owner = port_by_ip6(&v->ports, p->nd.target);
    if (owner == &v->ports.self)
        return drop(v, VNET_NOT_OURS);
    if (!owner || !has_mac(owner))
        return drop(v, VNET_NO_SUCH_HOST);
    struct nd_advert a;
    memcpy(a.dst, p->ip6.src, sizeof a.dst);
    memcpy(a.target, p->nd.target, sizeof a.target);
    memcpy(a.mac, owner->m.mac, sizeof a.mac);
    struct wr w = reply_begin(v, f, owner->m.mac);
    nd_advert_write(&w, &a);
    return answer(v, &w);
}

/* Questions about the pool are the switch's to answer. Probes and announcements (RFC 5227, RFC 4862) are no
 * questions: they look for a conflict, and only the real owner may say that there is one. */
static bool is_question(const struct vnet *v, const struct packet *p)
{
    if (p->kind == PACKET_ARP)
        return p->arp.op == ARP_REQUEST && p->arp.sender_ip != 0 && p->arp.sender_ip != p->arp.target_ip &&
               in_net4(&v->rules, p->arp.target_ip);
    return p->is_nd && p->nd.type == ND_SOLICIT && !is_unspecified6(p->ip6.src) &&
           in_net6(&v->rules, p->nd.target);
}

/* ---- TAP. */

/* Spanning tree, pause, LLDP, 802.1X: IEEE 802.1D says that no bridge forwards them. */
static bool is_link_only(const uint8_t mac[6])
{
    static const uint8_t prefix[5] = {0x01, 0x80, 0xc2, 0, 0};
    return memcmp(mac, prefix, sizeof prefix) == 0 && mac[5] <= 0x0f;
}

static bool mac_is_of(const uint8_t mac[6], const struct port *p)
{
    return memcmp(mac, p->m.mac, 6) == 0;
}

static bool mac_may_speak(const struct vnet *v, const struct port *from, const uint8_t mac[6], usec_t now)
{
    static const uint8_t zeros[6];
    if (mac_is_of(mac, from))
        return !eth_is_group(mac);
    if (eth_is_group(mac) || memcmp(mac, zeros, 6) == 0 || port_by_mac(&v->ports, mac))
        return false;
    return ports_may_speak(&v->ports, from, mac, now);
}

/* What holds for a frame from either side. */
static enum vnet_drop frame_judge(const struct vnet *v, const struct port *from, struct bytes frame,
                                  usec_t now, struct eth_frame *f, struct packet *p)
{
    if (frame.n < ETH_HEADER_LEN)
        return VNET_RUNT;
    if (frame.n > VNET_FRAME_MAX)
        return VNET_OVERSIZE;
    if (eth_read(f, frame) != 0)
        return VNET_MALFORMED;
    if (is_link_only(f->dst))
        return VNET_NOT_OURS;
    if (!mac_may_speak(v, from, f->src, now))
        return VNET_SPOOFED_MAC;
    enum vnet_drop d = packet_read(p, f->type, f->payload);
    return d != VNET_OK ? d : packet_judge(p, &v->rules, &v->ports, from);
}

static void frame_learn(struct vnet *v, struct port *from, const struct eth_frame *f, usec_t now)
{
    if (!mac_is_of(f->src, from))
        ports_learn(&v->ports, from, f->src, now);
}

static struct vnet_verdict frame_forward(struct vnet *v, const uint8_t dst[6], usec_t now)
{
    if (eth_is_group(dst))
        return to_all(v, now);
    const struct port *p = port_by_mac(&v->ports, dst);
    if (!p)
        p = ports_find(&v->ports, dst, now);
    if (!p)
        return to_all(v, now);
    return p == &v->ports.self ? drop(v, VNET_NOT_OURS) : to_peer(p);
}

static struct vnet_verdict frame_from_device(struct vnet *v, uint8_t *frame, size_t n, usec_t now)
{
    struct eth_frame f;
    struct packet p;
    struct port *self = &v->ports.self;
    enum vnet_drop d = frame_judge(v, self, bytes_of(frame, n), now, &f, &p);
    if (d != VNET_OK)
        return drop(v, d);
    frame_learn(v, self, &f, now);
    if (f.payload.n > v->rules.mtu)
        return too_big(v, &p, &f, v->rules.mtu);
    if (is_question(v, &p))
        return p.kind == PACKET_ARP ? arp_answer(v, &f, &p.arp) : nd_answer(v, &f, &p);
    return fitted(v, frame_forward(v, f.dst, now), &p, &f, frame);
}

static struct vnet_verdict frame_deliver(struct vnet *v, struct port *from, const uint8_t dst[6], usec_t now)
{
    const struct port *self = &v->ports.self;
    if (eth_is_group(dst))
        return to_device_capped(v, from, now);
    if (mac_is_of(dst, self))
        return to_device(v);
    if (port_by_mac(&v->ports, dst))
        return drop(v, VNET_NOT_OURS);
    const struct port *p = ports_find(&v->ports, dst, now);
    if (!p)
        return to_device_capped(v, from, now); /* nobody knows where it is: the sender gave it to everybody */
    return p == self ? to_device(v) : drop(v, VNET_NOT_OURS);
}

static struct vnet_verdict frame_from_peer(struct vnet *v, struct port *from, uint8_t *frame, size_t n,
                                           usec_t now)
{
    struct eth_frame f;
    struct packet p;
    enum vnet_drop d = frame_judge(v, from, bytes_of(frame, n), now, &f, &p);
    if (d != VNET_OK)
        return drop(v, d);
    frame_learn(v, from, &f, now);
    packet_clamp(&p, mtu_of(v, from), frame);
    return frame_deliver(v, from, f.dst, now);
}

/* ---- TUN. */

static enum vnet_drop tun_judge(const struct vnet *v, const struct port *from, struct bytes in,
                                struct packet *p)
{
    if (in.n == 0)
        return VNET_RUNT;
    if (in.n > VNET_FRAME_MAX)
        return VNET_OVERSIZE;
    uint8_t version = in.p[0] >> 4;
    if (version != 4 && version != 6)
        return VNET_NOT_IP;
    enum vnet_drop d = packet_read(p, version == 4 ? ETH_TYPE_IP4 : ETH_TYPE_IP6, in);
    return d != VNET_OK ? d : packet_judge(p, &v->rules, &v->ports, from);
}

static bool is_to_group(const struct vnet *v, const struct packet *p)
{
    return p->kind == PACKET_IP4 ? is_group4(&v->rules, p->ip4.dst) : is_group6(p->ip6.dst);
}

static const struct port *port_of_dst(const struct vnet *v, const struct packet *p)
{
    return p->kind == PACKET_IP4 ? port_by_ip4(&v->ports, p->ip4.dst) : port_by_ip6(&v->ports, p->ip6.dst);
}

static struct vnet_verdict packet_from_device(struct vnet *v, uint8_t *packet, size_t n, usec_t now)
{
    struct packet p;
    enum vnet_drop d = tun_judge(v, &v->ports.self, bytes_of(packet, n), &p);
    if (d != VNET_OK)
        return drop(v, d);
    if (n > v->rules.mtu)
        return too_big(v, &p, NULL, v->rules.mtu);
    if (is_to_group(v, &p))
        return fitted(v, to_all(v, now), &p, NULL, packet);
    const struct port *to = port_of_dst(v, &p);
    if (!to)
        return drop(v, VNET_NO_SUCH_HOST);
    if (to == &v->ports.self)
        return drop(v, VNET_NOT_OURS);
    return fitted(v, to_peer(to), &p, NULL, packet);
}

static struct vnet_verdict packet_from_peer(struct vnet *v, struct port *from, uint8_t *packet, size_t n,
                                            usec_t now)
{
    struct packet p;
    enum vnet_drop d = tun_judge(v, from, bytes_of(packet, n), &p);
    if (d != VNET_OK)
        return drop(v, d);
    packet_clamp(&p, mtu_of(v, from), packet);
    if (is_to_group(v, &p))
        return to_device_capped(v, from, now);
    return port_of_dst(v, &p) == &v->ports.self ? to_device(v) : drop(v, VNET_NOT_OURS);
}

/* ---- Both. */

struct vnet_verdict vnet_from_device(struct vnet *v, uint8_t *frame, size_t n, usec_t now)
{
    v->stats.from_device++;
    return v->rules.tap ? frame_from_device(v, frame, n, now) : packet_from_device(v, frame, n, now);
}

struct vnet_verdict vnet_from_peer(struct vnet *v, uint32_t ref, uint8_t *frame, size_t n, usec_t now)
{
    v->stats.from_peer++;
    struct port *from = port_by_ref(&v->ports, ref);
    if (!from)
        return drop(v, VNET_UNKNOWN_MEMBER);
    return v->rules.tap ? frame_from_peer(v, from, frame, n, now) : packet_from_peer(v, from, frame, n, now);
}
