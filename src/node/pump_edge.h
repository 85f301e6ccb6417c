/* The pump (pump/pump.h) on the daemon's loop: what its workers leave to the engine goes into the engine.
 * Part of the edge. */
#ifndef WARREN_NODE_PUMP_EDGE_H
#define WARREN_NODE_PUMP_EDGE_H

#include "node/devices.h"
#include "node/engine.h"
#include "pump/pump.h"

#define PUMP_EDGE_ITEMS       256 /* taken before the loop's others have their turn */
#define PUMP_EDGE_THREADS_MAX 8   /* without --limit pump-threads */

struct uv_loop_s;
struct pump_edge;

/* NULL: memory or descriptors fail. limits: pump-threads. */
struct pump_edge *pump_edge_new(struct uv_loop_s *loop, const struct node_limits *limits);
struct plane *pump_edge_plane(const struct pump_edge *e);
struct pump *pump_edge_pump(const struct pump_edge *e);
/* After privileges were given up. after: called when the engine got something. 0 or -errno. */
int pump_edge_start(struct pump_edge *e, struct node *node, struct devices *devices, void (*after)(void *arg),
                    void *arg);
/* Stops the workers; nothing reaches the engine any more. Before the engine, the devices and the sockets go.
 */
void pump_edge_stop(struct pump_edge *e);
/* After the engine is gone. The loop must turn once more. NULL is fine. */
void pump_edge_free(struct pump_edge *e);

#endif
