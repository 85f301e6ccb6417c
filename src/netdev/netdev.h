/* TAP and TUN devices on Linux: made, addressed, removed, by /dev/net/tun and rtnetlink, without another program.
 * Needs CAP_NET_ADMIN. Part of the edge. */
#ifndef WARREN_NETDEV_NETDEV_H
#define WARREN_NETDEV_NETDEV_H

#include "base/bytes.h"

#define NETDEV_NAME_MAX    15 /* IFNAMSIZ - 1 */
#define NETDEV_QUEUES_MAX  8
#define NETDEV_FRAME_MAX   65535 /* longest that a read yields behind the header; what has no room is lost */
#define NETDEV_VNET_HEADER 10 /* struct virtio_net_hdr of linux/virtio_net.h, numbers in host order */

struct netdev_config {
    bool tap;
    char name[NETDEV_NAME_MAX + 1]; /* wanted; "" or ending in "%d": the first free one, e.g. "warren%d" */
    uint8_t mac[6];                 /* TAP only */
    uint32_t ip4;                   /* host order */
    uint8_t prefix4;
    uint8_t ip6[16];
    uint8_t prefix6;
    uint16_t mtu;
    bool offload;    /* ask for IFF_VNET_HDR and then for all offloads that the kernel has */
    unsigned queues; /* 0 and 1: one; more, to NETDEV_QUEUES_MAX: IFF_MULTI_QUEUE */
    /* Every frame that stands for several packets is shorter (TAP: with its Ethernet header; without the vnet
     * header). 0: the kernel's limit, 65536. It takes no value of a few hundred bytes or less, and none above
     * its limit, which then stays. TCP keeps to it; a longer UDP send is cut into its packets by the kernel. */
    uint32_t gso_max_size;
    uint32_t queue_length; /* frames that the kernel keeps for each queue (txqueuelen); 0: its default */
};

enum netdev_error {
    NETDEV_OK, NETDEV_NO_PRIVILEGE, NETDEV_NO_TUN_DRIVER, NETDEV_NAME_TAKEN, NETDEV_NAME_BAD, NETDEV_ADDRESS_FAILED, NETDEV_FAILED
};
const char *netdev_error_text(enum netdev_error e); /* one sentence that says what to do */

struct netdev {
    /* Non-blocking; one read or write is one frame (TAP) or packet (TUN), behind a vnet header where there is
     * one, and else without any header (IFF_NO_PI). The same as queues[0]. */
    int fd;
    int queues[NETDEV_QUEUES_MAX];
    unsigned queue_count; /* at least 1 while open; may be less than was asked for */
    bool queue_off[NETDEV_QUEUES_MAX];
    bool vnet_hdr; /* each read and write begins with NETDEV_VNET_HEADER bytes */
    /* The kernel hands us TCP (4 and 6, ECN) or UDP frames that stand for many packets, and takes such from
     * us. Where both are false but vnet_hdr, no frame is longer than the MTU allows, though its checksum may
     * still be partial: its header says. */
    bool tso, uso;
    int ifindex;
    char name[NETDEV_NAME_MAX + 1];
    bool has_ip6; /* false: this machine has IPv6 switched off (or mtu < 1280, its minimum): the device has none */
};

/* Makes the device, sets MAC, MTU, addresses (IPv6 without duplicate address detection) and brings it up. On
 * failure nothing is left behind. *os_error receives errno for NETDEV_FAILED and NETDEV_ADDRESS_FAILED. No
 * routes are made but the kernel's own for the two prefixes: broadcast to 255.255.255.255 and multicast leave
 * where the program's socket or the default route says. offload, queues, gso_max_size and queue_length are
 * wishes: what the kernel refuses is left out, step by step (UDP segmentation, TCP segmentation, checksums,
 * the vnet header; the further queues), and *d says what there is; the device is made all the same. */
enum netdev_error netdev_open(struct netdev *d, const struct netdev_config *c, int *os_error);
/* Removes it: closing the descriptors of all queues takes the interface, its addresses and routes with it. */
void netdev_close(struct netdev *d);
/* Lets the kernel put frames into queue i (the state at the start) or not; what waits in a queue that is
 * switched off is dropped, while writing to it goes on to work. The kernel spreads flows over the queues that
 * are on by a hash of addresses and ports, and from the first frame on that is written for a flow to a queue
 * that is on, its other direction comes out of that queue. 0, also where it is so already, or a negative
 * errno: -EINVAL where there is no such queue, or it is the only one and shall go. */
int netdev_queue_enable(struct netdev *d, unsigned i, bool on);
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
