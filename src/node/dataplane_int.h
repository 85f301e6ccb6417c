/* What the engine tells the workers of the pump (pump/plane.h) and hears of them. */
#ifndef WARREN_NODE_DATAPLANE_INT_H
#define WARREN_NODE_DATAPLANE_INT_H

#include "node/engine_int.h"

/* NULL without a plane or without memory: everything goes through the engine then. */
struct dataplane *dataplane_new(struct plane *plane);
void dataplane_free(struct dataplane *d);
/* The peer may have other keys, another way, or none: its route follows. */
void dataplane_peer(struct node *n, struct node_peer *p, usec_t now);
void dataplane_peer_gone(struct node *n, uint32_t ref);
/* Parties and the relay's binding are compared with what the plane has, and what changed is published. */
void dataplane_sync(struct node *n, usec_t now);
void dataplane_tick(struct node *n, usec_t now);
/* Packets that workers refused in a session's stead. */
uint64_t dataplane_drops(const struct node *n, enum session_drop d);
void dataplane_metrics(const struct node *n, struct buf *out);
usec_t dataplane_wake(const struct node *n);

#endif
