/* A real hub on a simulated host: struct hub behind streams on port 443, its store a journal that outlives
 * the process. Hooks turn it hostile: they see every message in both directions, may change or swallow it,
 * and may say things of their own. */
#ifndef WARREN_SIM_HUB_HOST_H
#define WARREN_SIM_HUB_HOST_H

#include "hub/core.h"
#include "sim/journal.h"
#include "sim/stream.h"
#include "wire/invite.h"

#define HUB_PORT     443
#define HUB_UDP_PORT 3478 /* and the next one, for RFC 5780 */

struct hub_host;

/* node: who logged in on this connection, or NULL. false swallows the message. Called between hub and wire,
 * so a hook may call hub_host_say but nothing else of the hub. */
struct hub_hooks {
    void *arg;
    bool (*hears)(void *arg, struct hub_host *h, const uint8_t *node, bool binary, struct buf *message);
    bool (*says)(void *arg, struct hub_host *h, const uint8_t *node, bool binary, struct buf *message);
};

struct hub_peer { /* one connection */
    struct hub_peer *next;
    struct hub_host *hub;
    struct stream *stream;
    hub_conn conn; /* 0: not open yet */
    bool known, closing;
    uint8_t node[NODE_ID_LEN];
};

struct hub_host {
    struct sim *sim;
    struct host *host;
    struct hub *hub; /* NULL: the process is not running */
    struct journal *store;
    struct hub_limits limits;
    struct rng_seeded chance;
    struct hub_address address; /* as invites name it */
    struct hub_hooks hooks;
    struct hub_peer *peers;
    struct udp_socket *udp[2];
    bool no_udp; /* before the start: the hub runs without */
    struct sim_timer timer;
    hub_conn next_conn;
    uint64_t unix_told;
    uint64_t starts, events[4]; /* events: by level */
    char last_event[320];
    bool print; /* events to standard error */
};

struct hub_host *hub_host_new(struct host *host, const char *dns_name, const struct hub_limits *limits);
void hub_host_free(struct hub_host *h);
void hub_host_start(struct hub_host *h);
void hub_host_kill(struct hub_host *h); /* kill -9: connections are reset, memory is gone, the store stays */
void hub_host_shutdown(struct hub_host *h); /* with goodbyes */
void hub_host_restart(struct hub_host *h);
/* To every connection of this node; false where it has none. */
bool hub_host_say(struct hub_host *h, const uint8_t node[NODE_ID_LEN], bool binary, struct bytes message);
bool hub_host_has(const struct hub_host *h, const uint8_t node[NODE_ID_LEN]);

#endif
