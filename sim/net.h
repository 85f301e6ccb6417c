/* The Internet in a box: sites (networks), hosts on them, routers between, NAT boxes at their edges, UDP.
 *
 * Sites form a tree under the root, which is the public Internet. A host hangs on its site by an access line
 * (two links), a site on its parent by an uplink (two links) with a box (nat.h) for IPv4 and one for IPv6. A
 * packet climbs from its host's site until a site knows the destination, and descends there. So double NAT
 * and carrier-grade NAT are sites within sites. Multicast reaches every other host of a site but the root. */
#ifndef WARREN_SIM_NET_H
#define WARREN_SIM_NET_H

#include "base/bytes.h"
#include "sim/link.h"
#include "sim/nat.h"

#define NET_NAME_CAP   32
#define NET_HEADER_LEN 48 /* counted for IP and UDP or TCP on the wire */
#define PACKET_MAX     9000

struct packet {
    struct sim_timer timer; /* while in flight */
    struct net *net;
    struct site *site; /* where it goes next: a router ... */
    struct host *host; /* ... or a host */
    bool from_outside;
    uint8_t hops;
    enum nat_proto proto;
    struct net_addr from, to;
    uint8_t flags; /* of streams, and what follows too */
    uint64_t seq, ack, sack;
    uint32_t window;
    usec_t stamp, echo;
    usec_t held; /* by a tap: so much later than the wires alone would have it */
    bool twice;  /* by a tap: a copy goes behind it */
    size_t n;
    uint8_t data[];
};

enum net_drop {
    NET_DROP_LINK,
    NET_DROP_BOX,
    NET_DROP_NO_ROUTE,
    NET_DROP_NO_HOST,
    NET_DROP_NO_SOCKET,
    NET_DROP_COUNT
};

struct net {
    struct sim *sim;
    struct site *root, *sites;
    struct host *hosts;
    uint32_t next_public, next_shared;
    uint64_t delivered, drops[NET_DROP_COUNT];
    /* For scenarios that want to see or take packets on their way out of a host: false: it is gone. May
     * change the bytes. */
    bool (*tap)(void *arg, struct host *h, struct packet *p);
    void *tap_arg;
    /* Told of every packet that is lost on its way. */
    void (*lost)(void *arg, const struct packet *p, enum net_drop why);
    void *lost_arg;
};

struct site_config {
    uint32_t net4; /* /24 for its hosts, host order; 0 for the root's public addresses */
    uint64_t net6; /* /64; 0: no IPv6 here */
    struct nat_config box4, box6;
    struct link_config up, down; /* the uplink */
    bool v6_only;                /* its hosts have no IPv4 */
    bool nat64;                  /* what they send to 64:ff9b::/96 goes out as IPv4 through box4 (RFC 6146) */
    uint32_t outside4;           /* the box's address in the parent; 0: given by the simulator */
};

struct site {
    char name[NET_NAME_CAP];
    struct net *net;
    struct site *parent, *next;
    struct site_config config;
    struct link up, down;
    struct nat nat4, nat6;
    uint32_t next_host;
    /* What its box answers by itself, at net4 | 1: takes the packet, or leaves it (false). NULL: nothing. */
    bool (*service)(struct site *s, struct packet *p);
    usec_t service_since;
};

struct udp_socket;
struct stream_side; /* stream.c's part of a host */

struct host {
    char name[NET_NAME_CAP];
    struct net *net;
    struct site *site;
    struct host *next;
    struct net_addr ip4, ip6; /* family 0: none */
    struct link up, down;
    bool off; /* no power: nothing comes, nothing goes */
    uint16_t next_port;
    struct udp_socket *sockets;
    struct stream_side *streams;
    void (*stream_packet)(struct host *h, struct packet *p);
    void (*stream_done)(struct host *h);
};

struct net *net_new(struct sim *sim);
/* Frees everything in it. Before sim_done. */
void net_free(struct net *n);

/* parent NULL: the root. */
struct site *site_new(struct net *n, struct site *parent, const char *name, const struct site_config *c);
/* A home behind a box of this behaviour: addresses, 5 ms uplink, no IPv6. */
struct site *site_home(struct net *n, struct site *parent, const char *name, const struct nat_config *box);
void site_reboot(struct site *s, bool new_address);
/* A packet of the box itself to a host of its site. Frees p in any case. */
void site_send(struct site *s, struct packet *p);
/* Its box forgets what it knew of UDP only: streams go on. */
void site_forget_udp(struct site *s);

/* A host with an access line of 1 ms each way; change host->up.config and host->down.config at will. */
struct host *host_new(struct site *s, const char *name);
void host_lines(struct host *h, const struct link_config *both);
/* Another network: new addresses; packets on their way to the old ones are lost, sockets stay bound to their
 * ports. */
void host_move(struct host *h, struct site *to);
void host_power(struct host *h, bool on);
struct host *host_by_name(struct net *n, const char *name);
/* Frees p in any case. -ENETDOWN, -EADDRNOTAVAIL (no address of that family), else 0: on its way, or lost. */
int host_send(struct host *h, struct packet *p);
uint16_t host_port(struct host *h); /* the next ephemeral one */
struct packet *packet_new(enum nat_proto proto, const struct net_addr *to, struct bytes data);

struct udp_socket {
    struct host *host;
    struct udp_socket *next;
    uint16_t port;
    void (*receive)(void *arg, const struct net_addr *from, uint8_t *p, size_t n);
    void *arg;
};
/* port 0: an ephemeral one. NULL where the port is taken. receive may be NULL: then all is dropped. */
struct udp_socket *udp_open(struct host *h, uint16_t port,
                            void (*receive)(void *arg, const struct net_addr *from, uint8_t *p, size_t n),
                            void *arg);
void udp_close(struct udp_socket *u);
int udp_send(struct udp_socket *u, const struct net_addr *to, struct bytes data);

#endif
