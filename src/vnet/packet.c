#include "vnet/packet_int.h"

#include <string.h>

enum { DHCP4_SERVER = 67, DHCP4_CLIENT = 68, DHCP6_CLIENT = 546, DHCP6_SERVER = 547 };

/* ---- Addresses. */

bool in_net4(const struct rules *r, uint32_t ip4)
{
    return (ip4 ^ r->net4) >> 16 == 0;
}

bool in_net6(const struct rules *r, const uint8_t ip6[16])
{
    return memcmp(ip6, r->net6, sizeof r->net6) == 0;
}

static bool is_multicast_or_reserved4(uint32_t ip4)
{
    return ip4 >= 0xe0000000;
}

bool is_group4(const struct rules *r, uint32_t ip4)
{
    return ip4 >> 28 == 0xe || ip4 == UINT32_MAX || ip4 == (r->net4 | 0xffff);
}

bool is_group6(const uint8_t ip6[16])
{
    return ip6[0] == 0xff;
}

bool is_unspecified6(const uint8_t ip6[16])
{
    static const uint8_t zeros[16];
    return memcmp(ip6, zeros, 16) == 0;
}

static bool is_loopback6(const uint8_t ip6[16])
{
    static const uint8_t loopback[16] = {[15] = 1};
    return memcmp(ip6, loopback, 16) == 0;
}

static bool is_link_local6(const uint8_t ip6[16])
{
    return ip6[0] == 0xfe && (ip6[1] & 0xc0) == 0x80;
}

/* A link-local address that is made from a MAC (RFC 4291 appendix A) belongs to whom the MAC belongs. */
static struct port *port_by_eui64(const struct ports *t, const uint8_t ip6[16])
{
    const uint8_t *id = ip6 + 8;
    uint8_t mac[6] = {id[0] ^ 2, id[1], id[2], id[5], id[6], id[7]};
    return id[3] == 0xff && id[4] == 0xfe ? port_by_mac(t, mac) : NULL;
}

static bool may_use_mac(const struct ports *t, const struct port *from, const uint8_t mac[6])
{
    const struct port *owner = port_by_mac(t, mac);
    return !eth_is_group(mac) && (!owner || owner == from);
}

/* Behind a member's TAP device may be a bridge with hosts of other networks; behind a TUN device is only the
 * member. */
static bool may_use_ip4(const struct rules *r, const struct ports *t, const struct port *from, uint32_t ip4)
{
    if (ip4 != 0 && ip4 == from->m.ip4)
        return true;
    if (!r->tap || in_net4(r, ip4) || port_by_ip4(t, ip4))
        return false;
    return !is_multicast_or_reserved4(ip4) && ip4 >> 24 != 127;
}

static bool may_use_ip6(const struct rules *r, const struct ports *t, const struct port *from,
                        const uint8_t ip6[16])
{
    if (!is_unspecified6(ip6) && memcmp(ip6, from->m.ip6, 16) == 0)
        return true;
    if (in_net6(r, ip6) || port_by_ip6(t, ip6) || is_group6(ip6) || is_loopback6(ip6))
        return false;
    if (is_link_local6(ip6)) {
        const struct port *owner = port_by_eui64(t, ip6);
        return !owner || owner == from;
    }
    return r->tap || is_unspecified6(ip6);
}

/* ---- Reading. */

static enum vnet_drop read_icmp6(struct packet *p)
{
    struct icmp i;
    if (icmp_read(&i, p->ip6.payload) != 0)
        return VNET_MALFORMED;
    if (!nd_is(i.type))
        return VNET_OK;
    /* RFC 6980: in fragments nobody could judge it; RFC 4861: another hop limit means that it came through a
     * router. */
    if (p->ip6.fragment || p->ip6.hop_limit != 255 || i.code != 0)
        return VNET_MALFORMED;
    if (nd_read(&p->nd, p->ip6.payload) != 0 || p->nd.mac_differs)
        return VNET_MALFORMED;
    p->is_nd = true;
    return VNET_OK;
}

static enum vnet_drop read_upper(struct packet *p, uint8_t proto, struct bytes payload)
{
    struct udp u;
    struct icmp i;
    switch (proto) {
    case IP_UDP:
        return udp_read(&u, payload) == 0 ? VNET_OK : VNET_MALFORMED;
    case IP_TCP:
        p->is_tcp = tcp_read(&p->tcp, payload) == 0;
        return p->is_tcp ? VNET_OK : VNET_MALFORMED;
    case IP_ICMP:
        return p->kind != PACKET_IP4 || icmp_read(&i, payload) == 0 ? VNET_OK : VNET_MALFORMED;
    case IP_ICMP6:
        return p->kind != PACKET_IP6 ? VNET_OK : read_icmp6(p);
    default:
        return VNET_OK;
    }
}

enum vnet_drop packet_read(struct packet *p, uint16_t type, struct bytes in)
{
    p->all = in;
    p->is_nd = p->is_tcp = false;
    p->kind = PACKET_OTHER;
    switch (type) {
    case ETH_TYPE_ARP:
        p->kind = PACKET_ARP;
        return arp_read(&p->arp, in) == 0 ? VNET_OK : VNET_MALFORMED;
    case ETH_TYPE_IP4:
        p->kind = PACKET_IP4;
        if (ip4_read(&p->ip4, in) != 0)
            return VNET_MALFORMED;
        return p->ip4.fragment_at ? VNET_OK : read_upper(p, p->ip4.proto, p->ip4.payload);
    case ETH_TYPE_IP6:
        p->kind = PACKET_IP6;
        if (ip6_read(&p->ip6, in) != 0)
            return VNET_MALFORMED;
        return p->ip6.fragment_at ? VNET_OK : read_upper(p, p->ip6.proto, p->ip6.payload);
    default:
        return VNET_OK;
    }
}

/* ---- Judging. */

static enum vnet_drop judge_arp(const struct arp *a, const struct rules *r, const struct ports *t,
                                const struct port *from)
{
    if (a->op != ARP_REQUEST && a->op != ARP_REPLY)
        return VNET_MALFORMED;
    if (!may_use_mac(t, from, a->sender_mac))
        return VNET_SPOOFED_MAC;
    return may_use_ip4(r, t, from, a->sender_ip) ? VNET_OK : VNET_SPOOFED_IP;
}

static bool is_dhcp_port(enum packet_kind kind, uint16_t port)
{
    if (kind == PACKET_IP4)
        return port == DHCP4_SERVER || port == DHCP4_CLIENT;
    return port == DHCP6_CLIENT || port == DHCP6_SERVER;
}

/* DHCP of both sides (an answer is as harmful as a question is useless), router advertisements and redirects.
 */
static enum vnet_drop judge_configuration(const struct packet *p, uint8_t proto, struct bytes payload)
{
    struct udp u;
    struct icmp i;
    if (proto == IP_UDP && udp_read(&u, payload) == 0)
        return is_dhcp_port(p->kind, u.src_port) || is_dhcp_port(p->kind, u.dst_port) ? VNET_DHCP : VNET_OK;
    if (proto == IP_ICMP && p->kind == PACKET_IP4 && icmp_read(&i, payload) == 0)
        return i.type == ICMP4_REDIRECT || i.type == ICMP4_ROUTER ? VNET_RA : VNET_OK;
    return p->is_nd && (p->nd.type == ND_ROUTER_ADVERT || p->nd.type == ND_REDIRECT) ? VNET_RA : VNET_OK;
}

static enum vnet_drop judge_ip4(const struct packet *p, const struct rules *r, const struct ports *t,
                                const struct port *from)
{
    if (!may_use_ip4(r, t, from, p->ip4.src))
        return VNET_SPOOFED_IP;
    if (r->allow_dhcp || p->ip4.fragment_at)
        return VNET_OK;
    return judge_configuration(p, p->ip4.proto, p->ip4.payload);
}

static enum vnet_drop judge_nd(const struct nd *nd, const struct rules *r, const struct ports *t,
                               const struct port *from)
{
    if (nd->has_mac && !may_use_mac(t, from, nd->mac))
        return VNET_SPOOFED_MAC;
    if (nd->type == ND_ADVERT && !may_use_ip6(r, t, from, nd->target))
        return VNET_SPOOFED_IP;
    return VNET_OK;
}

static enum vnet_drop judge_ip6(const struct packet *p, const struct rules *r, const struct ports *t,
                                const struct port *from)
{
    if (!may_use_ip6(r, t, from, p->ip6.src))
        return VNET_SPOOFED_IP;
    enum vnet_drop d = VNET_OK;
    if (!r->allow_dhcp && !p->ip6.fragment_at)
        d = judge_configuration(p, p->ip6.proto, p->ip6.payload);
    if (d == VNET_OK && p->is_nd)
        d = judge_nd(&p->nd, r, t, from);
    return d;
}

enum vnet_drop packet_judge(const struct packet *p, const struct rules *r, const struct ports *t,
                            const struct port *from)
{
    switch (p->kind) {
    case PACKET_ARP:
        return judge_arp(&p->arp, r, t, from);
    case PACKET_IP4:
        return judge_ip4(p, r, t, from);
    case PACKET_IP6:
        return judge_ip6(p, r, t, from);
    default:
        return VNET_OK;
    }
}

/* ---- Changing and answering. */

void packet_clamp(const struct packet *p, uint16_t mtu, uint8_t *frame)
{
    if (!p->is_tcp || p->tcp.mss_at == 0)
        return;
    bool four = p->kind == PACKET_IP4;
    struct bytes segment = four ? p->ip4.payload : p->ip6.payload;
    size_t headers = (four ? IP4_HEADER_LEN : IP6_HEADER_LEN) + 20;
    if (mtu <= headers || p->tcp.mss <= mtu - headers)
        return;
    /* The views are of the frame; the way back to writable bytes is by offset. */
    uint8_t *tcp = frame + (segment.p - frame);
    sum_patch(tcp, TCP_SUM_AT, p->tcp.mss_at, (uint16_t)(mtu - headers));
}

static bool is_error4(const struct ip4 *h)
{
    struct icmp i;
    if (h->proto != IP_ICMP || icmp_read(&i, h->payload) != 0)
        return false;
    return i.type == ICMP4_UNREACHABLE || i.type == ICMP4_QUENCH || i.type == ICMP4_REDIRECT ||
           i.type == ICMP4_TIME_EXCEEDED || i.type == ICMP4_PARAMETER;
}

static bool is_error6(const struct ip6 *h)
{
    struct icmp i;
    return h->proto == IP_ICMP6 && icmp_read(&i, h->payload) == 0 &&
           (i.type < ICMP6_INFORMATIONAL || i.type == ND_REDIRECT);
}

bool packet_may_answer(const struct packet *p, const struct rules *r)
{
    if (p->kind == PACKET_IP4)
        return p->ip4.dont_fragment && !p->ip4.fragment_at && p->ip4.src != 0 && !is_group4(r, p->ip4.dst) &&
               !is_error4(&p->ip4);
    if (p->kind == PACKET_IP6)
        return !p->ip6.fragment_at && !is_unspecified6(p->ip6.src) && !is_group6(p->ip6.dst) &&
               !is_error6(&p->ip6);
    return false;
}
