/* The networks that this machine is on: the addresses of its interfaces and its routers, as the kernel tells
 * them without privileges. The parsers are pure. */
#ifndef WARREN_IO_ADDRESSES_H
#define WARREN_IO_ADDRESSES_H

#include "base/addr.h"
#include "base/bytes.h"

#define ADDRESSES_MAX           32
#define ADDRESSES_INTERFACE_CAP 16         /* IFNAMSIZ */
#define ADDRESSES_PROC_MAX      (4u << 20) /* read of one file of /proc, at most */

struct address {
    char interface[ADDRESSES_INTERFACE_CAP];
    unsigned index;       /* of the interface */
    struct net_addr addr; /* port 0 */
    uint8_t prefix;
    bool multicast; /* the interface takes it */
};

struct addresses {
    struct address list[ADDRESSES_MAX];
    size_t count;
    struct net_addr gateway4, gateway6; /* family 0: none. A link-local one belongs to gateway6_interface */
    char gateway6_interface[ADDRESSES_INTERFACE_CAP];
};

/* Whether an interface is to be left out: our own devices. */
typedef bool addresses_own_fn(void *arg, const char *interface);

/* The addresses of interfaces that are up and running and not the loopback, in the kernel's order, each once;
 * no IPv6 address that is tentative, deprecated or found double, link-local IPv6 included. Where a prefix has
 * both, temporary (RFC 8981) ones come before the others. What exceeds ADDRESSES_MAX is left out. 0, or a
 * negative errno and nothing in out. */
int addresses_read(struct addresses *out, addresses_own_fn *own, void *arg);
/* Whether they say the same. */
bool addresses_equal(const struct addresses *a, const struct addresses *b);

/* The router of the default route with the smallest metric in the text of /proc/net/route; false: none. own
 * (may be NULL) names interfaces whose routes do not count. */
bool addresses_gateway4(struct bytes text, struct net_addr *gateway, addresses_own_fn *own, void *arg);
/* The same of /proc/net/ipv6_route, and the interface that it is on. */
bool addresses_gateway6(struct bytes text, struct net_addr *gateway, char interface[ADDRESSES_INTERFACE_CAP],
                        addresses_own_fn *own, void *arg);
/* An address' flags (IFA_F_*, linux/if_addr.h) in the text of /proc/net/if_inet6; 0 where it is not there. */
unsigned addresses_flags6(struct bytes text, const uint8_t ip[16]);

#endif
