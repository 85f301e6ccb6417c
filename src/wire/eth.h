/* Ethernet and IP as the virtual LAN has to understand them (doc/protocol/lan.md): each reader decodes one header whole into a
 * struct, each writer makes one whole packet. Nothing here judges; vnet does.
 *
 * Frames come from strangers and from the kernel alike. What is behind a length field (padding of short frames) is ignored, what
 * is missing refuses the packet: 0 or -EBADMSG. Views point into the input. IPv4 addresses and ports are in host order.
 * RFC 894, 826, 791, 8200, 768, 9293, 4861, 792, 4443, 1624; IEEE 802.3, 802.1Q. */
#ifndef WARREN_WIRE_ETH_H
#define WARREN_WIRE_ETH_H

#include "base/bytes.h"

#define ETH_MAC_LEN    6
#define ETH_HEADER_LEN 14
#define ETH_TAG_LEN    4
#define IP4_HEADER_LEN 20
#define IP6_HEADER_LEN 40
#define IP6_ADDR_LEN   16
#define IP6_EXT_MAX    8 /* extension headers that are walked; a packet with more is refused */

enum eth_type {
    ETH_TYPE_LENGTH_MAX = 1500, /* up to here the field is an 802.3 length */
    ETH_TYPE_IP4 = 0x0800,
    ETH_TYPE_ARP = 0x0806,
    ETH_TYPE_VLAN = 0x8100,
    ETH_TYPE_IP6 = 0x86dd,
    ETH_TYPE_SERVICE_VLAN = 0x88a8,
    ETH_TYPE_OLD_QINQ = 0x9100,
};

enum ip_proto {
    IP_HOP_BY_HOP = 0,
    IP_ICMP = 1,
    IP_TCP = 6,
    IP_UDP = 17,
    IP_ROUTING = 43,
    IP_FRAGMENT = 44,
    IP_AUTH = 51,
    IP_ICMP6 = 58,
    IP_NO_NEXT = 59,
    IP_DEST_OPTIONS = 60,
    IP_MOBILITY = 135,
};

/* ---- Ethernet II with at most one 802.1Q tag. */
struct eth_frame {
    uint8_t dst[ETH_MAC_LEN], src[ETH_MAC_LEN];
    bool tagged;
    uint16_t tag;  /* priority, drop bit, VLAN: as on the wire */
    uint16_t type; /* behind the tag; at most ETH_TYPE_LENGTH_MAX: an 802.3 length */
    struct bytes payload;
};
/* Refuses a second tag, service tags, and IP or ARP inside 802.3 with SNAP: kernels unwrap those and would take a packet that
 * nobody has judged. */
int eth_read(struct eth_frame *f, struct bytes in);
/* The header alone; payload is not looked at. */
void eth_write(struct wr *w, const struct eth_frame *f);
bool eth_is_group(const uint8_t mac[ETH_MAC_LEN]); /* multicast or broadcast */

/* ---- ARP for IPv4 over Ethernet. */
enum arp_op { ARP_REQUEST = 1, ARP_REPLY = 2 };
struct arp {
    uint16_t op;
    uint8_t sender_mac[ETH_MAC_LEN], target_mac[ETH_MAC_LEN];
    uint32_t sender_ip, target_ip;
};
int arp_read(struct arp *a, struct bytes in);
void arp_write(struct wr *w, const struct arp *a);

/* ---- IPv4. The header checksum is the receiving host's to verify. */
struct ip4 {
    uint8_t tos, ttl, proto;
    uint16_t length, id; /* length: of the whole packet */
    bool dont_fragment, more_fragments;
    uint16_t fragment_at; /* bytes; not 0: payload does not begin with the upper header */
    uint32_t src, dst;
    struct bytes options, payload;
};
int ip4_read(struct ip4 *h, struct bytes in);

/* ---- IPv6 with its extension headers. */
struct ip6 {
    uint8_t hop_limit;
    uint8_t src[IP6_ADDR_LEN], dst[IP6_ADDR_LEN];
    uint8_t proto; /* the upper protocol, behind the extension headers */
    bool fragment; /* a fragment header was there, even a lone one */
    uint16_t fragment_at;
    struct bytes payload; /* of proto; not its beginning where fragment_at is not 0 */
};
int ip6_read(struct ip6 *h, struct bytes in);

/* ---- Upper headers; in: payload of ip4 or ip6 (of a first fragment at least). */
struct udp {
    uint16_t src_port, dst_port;
};
int udp_read(struct udp *u, struct bytes in);

enum tcp_flag { TCP_FIN = 1, TCP_SYN = 2, TCP_RST = 4, TCP_ACK = 16 };
#define TCP_SUM_AT 16
struct tcp {
    uint16_t src_port, dst_port;
    uint8_t flags;
    size_t mss_at; /* where in the input the value of the MSS option is; 0: a segment without SYN, or without the option */
    uint16_t mss;
};
/* Options are only walked on SYN. A broken option ends the walk: it is the receiving host's to refuse. */
int tcp_read(struct tcp *t, struct bytes in);

enum icmp4_type { ICMP4_REPLY = 0, ICMP4_UNREACHABLE = 3, ICMP4_QUENCH = 4, ICMP4_REDIRECT = 5, ICMP4_ECHO = 8, ICMP4_ROUTER = 9,
                  ICMP4_TIME_EXCEEDED = 11, ICMP4_PARAMETER = 12 };
enum icmp6_type { ICMP6_TOO_BIG = 2, ICMP6_INFORMATIONAL = 128, ND_ROUTER_SOLICIT = 133, ND_ROUTER_ADVERT = 134, ND_SOLICIT = 135,
                  ND_ADVERT = 136, ND_REDIRECT = 137 };
struct icmp {
    uint8_t type, code;
};
int icmp_read(struct icmp *i, struct bytes in); /* both versions */

/* Neighbour discovery: RS, RA, NS, NA, redirect. */
struct nd {
    uint8_t type, code;
    uint8_t target[IP6_ADDR_LEN]; /* NS, NA, redirect */
    bool has_mac;
    uint8_t mac[ETH_MAC_LEN]; /* source (RS, RA, NS) or target (NA, redirect) link-layer address; of several the last */
    bool mac_differs;         /* there were several of that option and they do not agree */
};
bool nd_is(uint8_t icmp6_type);
int nd_read(struct nd *n, struct bytes in);

/* ---- Whole packets that the switch sends itself, with checksums. The writer fails where cap is too small. */

/* A solicited, overriding neighbour advertisement: an IPv6 packet. */
struct nd_advert {
    uint8_t dst[IP6_ADDR_LEN], target[IP6_ADDR_LEN], mac[ETH_MAC_LEN]; /* target is its source address, too */
};
#define ND_ADVERT_LEN (IP6_HEADER_LEN + 32)
void nd_advert_write(struct wr *w, const struct nd_advert *a);

/* "Fragmentation needed" (RFC 1191) and "packet too big" (RFC 4443) about `packet`, an IP packet that its reader took; from its
 * destination to its source. They quote as much of it as a message of 576 and 1280 bytes carries. */
#define ICMP4_TOO_BIG_MAX 576
#define ICMP6_TOO_BIG_MAX 1280
void icmp4_too_big_write(struct wr *w, struct bytes packet, uint16_t mtu);
void icmp6_too_big_write(struct wr *w, struct bytes packet, uint32_t mtu);

/* ---- Internet checksum (RFC 1071). */
/* Adds in to a running sum; an odd length is only right for the last part. sum_finish folds and complements. */
uint32_t sum_add(uint32_t sum, struct bytes in);
uint16_t sum_finish(uint32_t sum);
/* Puts `to` in place of the 16 bits at p + at and corrects the checksum at p + sum_at (RFC 1624, equation 3). at may be odd; both
 * count from where the checksum's words count. */
void sum_patch(uint8_t *p, size_t sum_at, size_t at, uint16_t to);

#endif
