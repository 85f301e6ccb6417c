/* `warren up`: the engine between network devices, the hub's WebSocket and the control socket, on one libuv
 * loop. */
#ifndef WARREN_NODE_DAEMON_H
#define WARREN_NODE_DAEMON_H

#include "node/engine.h"

struct node_options {
    const char *state;  /* directory; NULL: the default one (node/state.h) */
    const char *socket; /* control socket; NULL: the one that belongs to the state */
    const char *hub;    /* https://HOST:PORT#sha256:HEX; NULL: the saved one, or learnt from the first join */
    const char *name;   /* of this node; NULL: the saved one, or the host's */
    const char *device; /* NULL: warren0, warren1 ...; "none": no devices; or a name for the first one */
    struct node_limits limits;
};

/* Runs until SIGINT or SIGTERM. Prints `node ready wn-...` on stdout when the control socket serves. Exit
 * code; errors are one line on stderr. */
int node_run(const struct node_options *o);

#endif
