/* The sockets of a simulated node: what the daemon does with UDP, addresses and streams, on a simulated host.
 */
#ifndef WARREN_SIM_NODE_NET_H
#define WARREN_SIM_NODE_NET_H

#include "node/engine.h"
#include "sim/net.h"

struct node_host;
struct node_net;

struct net_addr net_addr_of(const struct net_addr *a);
struct net_addr sim_addr_of(const struct net_addr *a);

struct node_net *node_net_new(struct node_host *h);
/* Closes every socket: the process is gone. */
void node_net_free(struct node_net *e);
/* Does what the engine wants of sockets; false: the output is none of these. */
bool node_net_act(struct node_net *e, const struct node_out *o);
/* A run of datagrams of `segment` bytes each, the last may be shorter, from one socket: 0, -ENOTCONN, or
 * -EMSGSIZE, and none of them goes. */
int node_net_send(struct node_net *e, uint32_t socket, const struct net_addr *to, struct bytes run,
                  size_t segment);
/* Tells the engine the host's addresses, and those of the hub. */
void node_net_tell(struct node_net *e);
void node_net_hub(struct node_net *e, const struct net_addr *hub, const struct net_addr *other);

#endif
