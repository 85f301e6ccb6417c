/* TAP and TUN devices on Linux: made, addressed, removed, by /dev/net/tun and rtnetlink, without another program.
 * Needs CAP_NET_ADMIN. Part of the edge. */
#ifndef WARREN_NETDEV_NETDEV_H
#define WARREN_NETDEV_NETDEV_H

#include "base/bytes.h"

#define NETDEV_NAME_MAX 15 /* IFNAMSIZ - 1 */

struct netdev_config {
    bool tap;
    char name[NETDEV_NAME_MAX + 1]; /* wanted; "" or ending in "%d": the first free one, e.g. "warren%d" */
    uint8_t mac[6];                 /* TAP only */
    uint32_t ip4;                   /* host order */
    uint8_t prefix4;
    uint8_t ip6[16];
    uint8_t prefix6;
    uint16_t mtu;
};

enum netdev_error {
    NETDEV_OK, NETDEV_NO_PRIVILEGE, NETDEV_NO_TUN_DRIVER, NETDEV_NAME_TAKEN, NETDEV_NAME_BAD, NETDEV_ADDRESS_FAILED, NETDEV_FAILED
};
const char *netdev_error_text(enum netdev_error e); /* one sentence that says what to do */

struct netdev {
    int fd; /* non-blocking; one read or write is one frame (TAP) or packet (TUN), no extra header (IFF_NO_PI) */
    int ifindex;
    char name[NETDEV_NAME_MAX + 1];
    bool has_ip6; /* false: this machine has IPv6 switched off (or mtu < 1280, its minimum): the device has none */
};

/* Makes the device, sets MAC, MTU, addresses (IPv6 without duplicate address detection) and brings it up. On failure nothing is
 * left behind. *os_error receives errno for NETDEV_FAILED and NETDEV_ADDRESS_FAILED. No routes are made but the kernel's own for
 * the two prefixes: broadcast to 255.255.255.255 and multicast leave where the program's socket or the default route says. */
enum netdev_error netdev_open(struct netdev *d, const struct netdev_config *c, int *os_error);
/* Removes it: closing the descriptor takes the interface, its addresses and routes with it. */
void netdev_close(struct netdev *d);
int netdev_set_mtu(const struct netdev *d, uint16_t mtu);

/* The machine's IPv4 and IPv6 unicast routes (of all tables but the local one) and addresses (as the network that they are in), other
 * than default routes, each once, to judge a pool at join. device: "" where a route has several or none. */
struct netdev_route {
    uint8_t family; /* 4 or 6 */
    uint8_t prefix; /* length */
    uint8_t net[16];
    char device[NETDEV_NAME_MAX + 1];
};
#define NETDEV_ROUTES_MAX 4096
/* Number of routes written (at most cap), or a negative errno. */
int netdev_routes(struct netdev_route *out, size_t cap);
/* The first route that overlaps net4/prefix4 (host order) or NULL. Default routes (prefix 0) never do. */
const struct netdev_route *netdev_conflict4(const struct netdev_route *routes, size_t n, uint32_t net4, uint8_t prefix4);

/* Calls back on the caller's loop: a netlink descriptor that becomes readable when addresses, links or routes change;
 * netdev_watch_drain empties it and says whether anything relevant changed. */
int netdev_watch_open(void); /* the descriptor, to be closed by the owner, or a negative errno */
bool netdev_watch_drain(int fd);

#endif
