/* An address of the network below: IPv4 or IPv6 and a port. Plain data: cores compare and classify it, only
 * the edges turn it into the operating system's. */
#ifndef WARREN_BASE_ADDR_H
#define WARREN_BASE_ADDR_H

#include "base/bytes.h"

struct net_addr {
    uint8_t family; /* 4 or 6; 0: none */
    uint8_t ip[16]; /* IPv4 in the first four, the rest zero */
    uint16_t port;
};

#define NET_ADDR_TEXT 56 /* "[IPV6]:PORT" */

struct net_addr net_addr4(uint32_t ip, uint16_t port); /* host order: 0x0a000001 is 10.0.0.1 */
struct net_addr net_addr6(const uint8_t ip[16], uint16_t port);
bool net_ip_equal(const struct net_addr *a, const struct net_addr *b); /* family and address */
bool net_addr_equal(const struct net_addr *a, const struct net_addr *b);
/* Order for sorting and tie-breaks: family, address, port. */
int net_addr_compare(const struct net_addr *a, const struct net_addr *b);
/* "192.0.2.1:443", "[2001:db8::1]:443" (RFC 5952); without a port where it is 0; "none" for family 0. */
void net_addr_text(char out[NET_ADDR_TEXT], const struct net_addr *a);
/* The address alone, without brackets. */
void net_ip_text(char out[NET_ADDR_TEXT], const struct net_addr *a);
/* "IP", "IP:PORT", "[IP6]:PORT", "IP6": 0 or -EINVAL. A name is not an address. */
int net_addr_read(struct net_addr *a, const char *text);
uint32_t net_addr_ip4(const struct net_addr *a); /* host order; 0 for others */
/* An IPv4-mapped IPv6 address becomes the IPv4 one. */
void net_addr_unmap(struct net_addr *a);
/* How many leading bits the addresses share; 0 for different families. */
unsigned net_ip_common(const struct net_addr *a, const struct net_addr *b);

/* As it travels inside messages: family u8 | port u16 | 4 or 16 bytes; the family alone where it is 0.
 * Another family fails. */
void rd_addr(struct rd *r, struct net_addr *a);
void wr_addr(struct wr *w, const struct net_addr *a);

enum net_scope {
    NET_NONE, /* unspecified, multicast, broadcast, reserved, family 0: nobody can be sent to there */
    NET_LOOPBACK,
    NET_LINK_LOCAL, /* 169.254/16, fe80::/10 */
    NET_PRIVATE,    /* RFC 1918, fc00::/7 */
    NET_SHARED,     /* 100.64/10 (RFC 6598): behind a carrier's NAT */
    NET_PUBLIC
};
enum net_scope net_addr_scope(const struct net_addr *a);

#endif
