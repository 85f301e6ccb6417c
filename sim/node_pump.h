/* The pump of a simulated node: the code of the worker threads (pump/core.h) on the simulated device and
 * sockets, without threads. Datagrams that come at one moment are one batch, merged into runs as UDP_GRO does
 * it; what the core leaves to the engine waits as it does for the daemon. */
#ifndef WARREN_SIM_NODE_PUMP_H
#define WARREN_SIM_NODE_PUMP_H

#include "node/engine.h"
#include "sim/clock.h"

struct node_host;
struct node_pump;

struct node_pump *node_pump_new(struct node_host *h, uint64_t seed);
/* After the node is gone. NULL is fine. */
void node_pump_free(struct node_pump *p);
struct plane *node_pump_plane(struct node_pump *p);
/* A datagram came to a data socket: copied, and taken up before the clock goes on. */
void node_pump_datagram(struct node_pump *p, uint32_t socket, const struct net_addr *from, const uint8_t *b,
                        size_t n);
/* One thing for the engine, or one batch of what the hosts behind the devices send. false: there was nothing.
 */
bool node_pump_step(struct node_pump *p);

#endif
