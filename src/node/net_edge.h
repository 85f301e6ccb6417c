/* What the engine asks of the networks below, done: UDP sockets, multicast DNS, the addresses of this machine
 * (net_edge.c), streams between nodes and to TURN servers, the router's UPnP (net_streams.c). Part of the
 * edge: answers go straight into the engine, and after each input from the loop the daemon's pump is called.
 */
#ifndef WARREN_NODE_NET_EDGE_H
#define WARREN_NODE_NET_EDGE_H

#include "node/devices.h"
#include "node/engine.h"

struct uv_loop_s;
struct net_edge;
struct net_streams;

struct net_edge_config {
    struct uv_loop_s *loop;
    struct node *node;
    const struct sign_seed *seed;  /* not kept; a TLS certificate is made of its key */
    struct pump *workers;          /* receive from the data sockets; NULL: the loop does */
    const struct devices *devices; /* whose addresses do not count; NULL: none */
    void (*pump)(void *arg);
    void *arg;
};

/* NULL without memory. Nothing is opened before the engine asks. */
struct net_edge *net_edge_new(const struct net_edge_config *c);
/* Does what the engine wants; false: it is not for us. */
bool net_edge_output(struct net_edge *e, const struct node_out *out);
/* Looks at the machine's networks and tells the engine, at the start and whenever they may have changed. The
 * caller pumps. */
void net_edge_look(struct net_edge *e);
/* Closes everything and gives the router's port back (1 s at most). The memory goes when the loop has turned.
 * After it no call reaches the engine. NULL is fine. */
void net_edge_free(struct net_edge *e);

struct net_edge_stats {
    uint64_t refused; /* datagrams that the kernel did not take */
};
void net_edge_stats(const struct net_edge *e, struct net_edge_stats *st);

/* The half of net_streams.c, used by net_edge.c. NULL without memory. */
struct net_streams *net_streams_new(const struct net_edge_config *c);
/* port: what a wish for any port is to be, if it is free: that of the UDP socket; 0: none. */
bool net_streams_output(struct net_streams *s, const struct node_out *out, uint16_t port);
/* Of the listener; 0: none. */
uint16_t net_streams_port(const struct net_streams *s);
void net_streams_free(struct net_streams *s);

#endif
