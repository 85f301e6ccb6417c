/* A real node on a simulated host: struct node with a link to the hub over a stream, a device for each party,
 * its saved files in memory, and the command line's requests. Restart keeps the files and the key; sleep
 * stops the machine while time goes on. */
#ifndef WARREN_SIM_NODE_HOST_H
#define WARREN_SIM_NODE_HOST_H

#include "node/engine.h"
#include "sim/device.h"
#include "sim/node_net.h"
#include "sim/stream.h"

#define NODE_DEVICES_MAX 8
#define NODE_FILES_MAX   24
#define NODE_LOG_LINES   64
#define NODE_REPLIES_MAX 64

struct node_file {
    char name[80]; /* "": free */
    struct buf data;
};

struct node_reply {
    uint32_t request;
    bool final;
    char *text;
};

struct node_host_config {
    bool have_hub, no_device;
    struct hub_address hub;
    struct node_limits limits;
    struct session_limits session;
};

struct node_pump;

struct node_host {
    char name[NET_NAME_CAP];
    uint32_t number; /* in test traffic; below DEVICE_PEERS_MAX */
    struct sim *sim;
    struct host *host;
    struct node *node; /* NULL: not running */
    struct node_host_config config;
    struct sign_seed seed;
    uint8_t id[NODE_ID_LEN];
    struct rng_seeded chance;
    uint64_t starts, unix_told;
    struct stream *stream;
    struct node_net *net;   /* sockets; NULL: not running */
    struct node_pump *pump; /* NULL: not running, or limits.pump is 0: everything passes through the engine */
    bool stream_up, waiting, asleep;
    char *down_why; /* the link broke while nobody could be told */
    struct hub_address dialled;
    struct sim_timer timer, down_timer, notice;
    struct node_file files[NODE_FILES_MAX];
    struct device devices[NODE_DEVICES_MAX]; /* found by net4; counters outlive restarts */
    uint32_t device_refs[NODE_DEVICES_MAX];
    struct node_reply replies[NODE_REPLIES_MAX];
    size_t reply_count;
    uint32_t next_request;
    unsigned saves_fail;      /* the next so many saves fail */
    const char *device_error; /* devices cannot be opened, and why */
    uint64_t hub_connects, saves;
    uint64_t logs[4]; /* lines by level */
    char log_lines[NODE_LOG_LINES][256];
    size_t log_count;
    bool print;
    /* Hears every datagram that comes to one of its sockets, as the link delivered it. */
    void (*on_datagram)(void *arg, struct node_host *h, const struct net_addr *from, struct bytes datagram);
    void *datagram_arg;
    void (*on_log)(void *arg, struct node_host *h, const char *line); /* hears every line */
    void *log_arg;
};

void node_host_config_default(struct node_host_config *c);
struct node_host *node_host_new(struct host *host, uint32_t number, const struct node_host_config *c);
void node_host_free(struct node_host *h);
void node_host_start(struct node_host *h);
void node_host_kill(
    struct node_host *h); /* the process dies: memory lost, files kept, the kernel resets its streams */
void node_host_stop(struct node_host *h); /* politely */
void node_host_sleep(struct node_host *h);
void node_host_wake(struct node_host *h);
/* Another network. noticed: the daemon heard of the change of address and makes its link again. */
void node_host_move(struct node_host *h, struct site *to, bool noticed);

/* The device of the party with this network, or NULL; open or not. */
struct device *node_host_device(struct node_host *h, uint32_t net4);
/* The open device of the party with this ref, or NULL. */
struct device *node_host_device_of(struct node_host *h, uint32_t party_ref);
/* After a scenario made a device send something. */
void node_host_pump(struct node_host *h);
uint32_t node_host_ask(struct node_host *h, const char *json);
/* The final answer to a request, or NULL; the caller frees. Answers before it (progress) are forgotten then.
 */
char *node_host_answer(struct node_host *h, uint32_t request);
/* Whether a log line contains this text. */
bool node_host_logged(const struct node_host *h, const char *text);
const struct node_file *node_host_file(const struct node_host *h, const char *prefix);

#endif
