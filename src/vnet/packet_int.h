/* What is inside a frame, and whether its sender may say it. Shared inside vnet only. */
#ifndef WARREN_VNET_PACKET_INT_H
#define WARREN_VNET_PACKET_INT_H

#include "vnet/ports_int.h"
#include "wire/eth.h"

enum packet_kind { PACKET_OTHER, PACKET_ARP, PACKET_IP4, PACKET_IP6 };

struct packet {
    enum packet_kind kind;
    struct bytes all; /* from its first byte, padding included */
    union {
        struct arp arp;
        struct ip4 ip4;
        struct ip6 ip6;
    };
    bool is_nd;
    struct nd nd;
    bool is_tcp;
    struct tcp tcp;
};

struct rules {
    bool tap, allow_dhcp;
    uint32_t net4;
    uint8_t net6[8];
    uint16_t mtu;
};

/* VNET_OK or VNET_MALFORMED. type: as of Ethernet. */
enum vnet_drop packet_read(struct packet *p, uint16_t type, struct bytes in);
/* Whether the member behind `from` may send it: its addresses are its own, and it is no configuration of other hosts. */
enum vnet_drop packet_judge(const struct packet *p, const struct rules *r, const struct ports *t, const struct port *from);
/* Lowers the MSS of a SYN to what the MTU carries. frame: the same bytes that packet_read saw part of. */
void packet_clamp(const struct packet *p, uint16_t mtu, uint8_t *frame);
/* Whether an answer "too big" may be sent about it (RFC 1122 section 3.2.2, RFC 4443 section 2.4). */
bool packet_may_answer(const struct packet *p, const struct rules *r);

bool in_net4(const struct rules *r, uint32_t ip4);
bool in_net6(const struct rules *r, const uint8_t ip6[16]);
bool is_group4(const struct rules *r, uint32_t ip4); /* multicast, limited broadcast, broadcast of the pool */
bool is_group6(const uint8_t ip6[16]);
bool is_unspecified6(const uint8_t ip6[16]);

#endif
