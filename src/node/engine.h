/* One machine's node as a pure core: identity, parties, sessions to their members, the link to the hub, and what the command line
 * asks. It composes session/, party/, path/ and vnet/; node/daemon.c puts it between a TAP device, a WebSocket and a control socket,
 * sim/ between simulated ones. doc/protocol/node.md, ARCHITECTURE.md ("Life of a packet", "Life of a join").
 *
 * Order: node_new, node_load_party for each saved one, node_start; then every input is followed by pulling node_output until false
 * and node_hub_take while the link takes more, and one timer is armed for node_wake. */
#ifndef WARREN_NODE_ENGINE_H
#define WARREN_NODE_ENGINE_H

#include "base/buf.h"
#include "base/rng.h"
#include "base/time.h"
#include "party/party.h"
#include "path/path.h"
#include "session/session.h"
#include "vnet/vnet.h"
#include "wire/invite.h"
#include "wire/relay.h"
#include "wire/signal.h"

/* The one table of the node's limits and intervals (WARREN_NODE_NAME, --limit NAME=VALUE), as in hub/core.h. */
struct node_limits {
    uint32_t backoff_min_ms, backoff_max_ms; /* 1000, 30000: between tries to reach the hub, doubled, with jitter of a quarter */
    uint32_t hub_silent_s;                   /* 60: then the link is given up and made again */
    uint32_t hub_ping_s;                     /* 25 */
    uint32_t parties;                        /* 16 */
    uint32_t handshakes;                     /* 16 begun by us at once */
    uint32_t half_open;                      /* 64 begun by others at once */
    uint32_t hellos_per_s;                   /* 50 judged */
    uint32_t eager_peers;                    /* 64: parties up to this size connect every pair at once, larger ones when there is traffic */
    uint32_t relay_queue_bytes;              /* 1 MiB waiting for the hub; then the oldest data frames go */
    uint32_t request_s;                      /* 30: a command of the user gives up */
    uint32_t mtu;                            /* 1380 of the devices */
};
void node_limits_default(struct node_limits *l);
int node_limit_set(struct node_limits *l, const char *name, const char *value);
const char *node_limit_at(size_t i, const struct node_limits *l, uint32_t *value, const char **what);

struct node_config {
    const struct sign_seed *seed;   /* copied, wiped by node_free */
    char name[NAME_CAP];
    bool have_hub;
    struct hub_address hub;
    bool no_device;                 /* --device none: parties are joined without a network device */
    bool prefer_aes;
    struct rng rng;
    uint64_t unix_s;
    struct node_limits limits;
    const struct session_limits *session_limits; /* NULL: default */
};

struct node;
struct node *node_new(const struct node_config *c, usec_t now);
void node_free(struct node *n);
/* A saved party: what NODE_SAVE gave. 0, or -EBADMSG with *why a sentence (nothing of it is used). */
int node_load_party(struct node *n, struct bytes saved, usec_t now, const char **why);
void node_start(struct node *n, usec_t now);
void node_clock(struct node *n, usec_t now, uint64_t unix_s);

/* The link to the hub. After NODE_HUB_CONNECT the edge answers with node_hub_up or node_hub_down. */
void node_hub_up(struct node *n, const uint8_t binding[32], usec_t now);
void node_hub_text(struct node *n, struct bytes text, usec_t now);
/* One binary message: relay frames; copied, and may be changed. */
void node_hub_binary(struct node *n, uint8_t *message, size_t len, usec_t now);
/* why: a sentence for people ("connection refused"); permanent: trying again is no use without a person (pin mismatch). */
void node_hub_down(struct node *n, const char *why, usec_t now);
/* The network below changed, or the machine woke: a wait for the next try is over now, and the back-off begins anew. */
void node_network_changed(struct node *n, usec_t now);
/* The next message for the hub; false: nothing waits. Text before control frames before data; data frames packed. */
bool node_hub_take(struct node *n, struct buf *out, bool *binary, usec_t now);
bool node_hub_waiting(const struct node *n);

/* A device of a party (its ref from NODE_DEVICE_OPEN). frame: n bytes at p with DATA_HEADROOM before and DATA_TAILROOM behind. */
void node_device_frame(struct node *n, uint32_t party_ref, uint8_t *p, size_t len, usec_t now);
/* The answer to NODE_DEVICE_OPEN: its name, or error: a sentence that says what to do. */
void node_device_opened(struct node *n, uint32_t party_ref, const char *name, const char *error, usec_t now);

/* A request of the command line: one JSON object {"cmd": ...} (doc/protocol/control.md). Answered by one or more NODE_REPLY, the last with
 * final set: {"ok":true,"result":...} or {"ok":false,"error":"one line","code":"word"}, and {"progress":...} before. */
void node_request(struct node *n, uint32_t id, struct bytes json, usec_t now);
void node_request_gone(struct node *n, uint32_t id); /* the asker went away */

enum node_out_kind {
    NODE_HUB_CONNECT,   /* to hub */
    NODE_HUB_CLOSE,
    NODE_HUB_WAITING,   /* node_hub_take has something: ask the link for writability */
    NODE_DEVICE_OPEN,   /* party_ref, device; answered by node_device_opened, at once or later */
    NODE_DEVICE_CLOSE,  /* party_ref */
    NODE_DEVICE_FRAME,  /* party_ref, data */
    NODE_SAVE,          /* name, data: write atomically, mode 0600, before going on to the next output; on failure node_save_failed */
    NODE_DELETE,        /* name */
    NODE_REPLY,         /* request, data (JSON text), final */
    NODE_LOG,           /* level, name = event, data = key=value text */
};
struct node_device {
    bool tap;
    uint8_t mac[6];
    uint32_t ip4;
    uint8_t prefix4;
    uint8_t ip6[16];
    uint8_t prefix6;
    uint16_t mtu;
    uint32_t net4; /* to be judged against the machine's routes */
};
struct node_out {
    enum node_out_kind kind;
    struct hub_address hub;
    uint32_t party_ref, request;
    struct node_device device;
    char name[80];     /* NODE_SAVE: "party-<hex of id>", or "hub" (its address, for hub_address_read); NODE_LOG: event */
    struct bytes data; /* valid until the next call into the node */
    bool final;
    int level;
};
bool node_output(struct node *n, usec_t now, struct node_out *out);
void node_save_failed(struct node *n, const char *name, const char *why, usec_t now);
/* Absolute, and no later than it must be; a tick that finds nothing to do is harmless. */
usec_t node_wake(const struct node *n);
void node_tick(struct node *n, usec_t now);
/* Leaves politely: closes sessions, says leave to the hub. Then pull outputs once more. */
void node_stop(struct node *n, usec_t now);

const uint8_t *node_id(const struct node *n);
/* "wn-" and 52 letters of base32. */
#define NODE_ID_TEXT_CAP 64
void node_id_text(char out[NODE_ID_TEXT_CAP], const uint8_t id[NODE_ID_LEN]);

#endif
