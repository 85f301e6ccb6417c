/* One machine's node as a pure core: identity, parties, sessions to their members, the link to the hub, and
 * what the command line asks. It composes session/, party/, path/ and vnet/; node/daemon.c puts it between a
 * TAP device, a WebSocket and a control socket, sim/ between simulated ones. doc/protocol/node.md,
 * ARCHITECTURE.md ("Life of a packet", "Life of a join").
 *
 * Order: node_new, node_load_party for each saved one, node_start; then every input is followed by pulling
 * node_output until false and node_hub_take while the link takes more, and one timer is armed for node_wake.
 */
#ifndef WARREN_NODE_ENGINE_H
#define WARREN_NODE_ENGINE_H

#include "base/addr.h"
#include "base/buf.h"
#include "base/rng.h"
#include "base/time.h"
#include "node/party_file.h"
#include "party/party.h"
#include "path/path.h"
#include "session/session.h"
#include "vnet/vnet.h"
#include "wire/invite.h"
#include "wire/relay.h"
#include "wire/signal.h"
#include "pump/plane.h"

/* The one table of the node's limits and intervals (WARREN_NODE_NAME, --limit NAME=VALUE), as in hub/core.h.
 */
struct node_limits {
    uint32_t backoff_min_ms,
        backoff_max_ms; /* 1000, 30000: between tries to reach the hub, doubled, with jitter of a quarter */
    uint32_t hub_silent_s; /* 60: then the link is given up and made again */
    uint32_t hub_ping_s;   /* 25 */
    uint32_t parties;      /* 16 */
    uint32_t handshakes;   /* 16 begun by us at once */
    uint32_t half_open;    /* 64 begun by others at once */
    uint32_t hellos_per_s; /* 50 judged */
    uint32_t eager_peers; /* 64: parties up to this size connect every pair at once, larger ones when there is
                             traffic */
    uint32_t relay_queue_bytes; /* 1 MiB waiting for the hub; then the oldest data frames go */
    uint32_t request_s;         /* 30: a command of the user gives up */
    uint32_t mtu;               /* 1380 of the devices */
    uint32_t direct;            /* 1: direct paths are looked for; 0: everything stays on the hub's relays */
    uint32_t search;            /* 1: searches through hard NATs (many sockets, many probes) are allowed */
    uint32_t search_sockets; /* 128 a minute, at first four times as many: the NAT's table is everybody's; 0:
                                no limit */
    uint32_t port_mapping;   /* 1: the router is asked for a port (PCP, NAT-PMP, UPnP) */
    uint32_t lan_discovery;  /* 1: members on one LAN find each other by mDNS */
    uint32_t relay_for_members; /* 0: 1 lets members of our parties send through this node */
    uint32_t relay_kib_per_s;   /* 1024 for one circuit through this node; 0: no limit */
    uint32_t pump;              /* 1: worker threads move the packets of devices; 0: the engine's thread does */
    uint32_t pump_threads;      /* 0: half as many as there are cores, 2 to 8; 1 where there is one */
    uint32_t port;              /* 0: a random one of UDP and TCP for this start */
};
void node_limits_default(struct node_limits *l);
int node_limit_set(struct node_limits *l, const char *name, const char *value);
const char *node_limit_at(size_t i, const struct node_limits *l, uint32_t *value, const char **what);

struct node_config {
    const struct sign_seed *seed; /* copied, wiped by node_free */
    char name[NAME_CAP];
    bool have_hub;
    struct hub_address hub;
    bool no_device;          /* --device none: parties are joined without a network device */
    bool prefer_aes;         /* AES-256-GCM where the peer prefers it, too (aead_prefers_aes) */
    struct aead_speed speed; /* what was measured at the start, for people; all 0: nothing was */
    struct rng rng;
    uint64_t unix_s;
    struct node_limits limits;
    const struct session_limits *session_limits; /* NULL: default */
    struct plane *plane;                         /* NULL: no workers */
    struct node_disk disk; /* reads back what NODE_SAVE and NODE_APPEND wrote; read NULL: nothing can be loaded, and logs stay in
                              memory whole */
};

struct node;
/* config->plane: what the workers of a pump read, for as long as the node lives; NULL: there are none, everything passes through the engine. */
struct node *node_new(const struct node_config *c, usec_t now);
void node_free(struct node *n);
/* A saved party, by the name of its file. 0, or -EBADMSG with *why a sentence (nothing of it is used). */
int node_load_party(struct node *n, const char *name, usec_t now, const char **why);
void node_start(struct node *n, usec_t now);
void node_clock(struct node *n, usec_t now, uint64_t unix_s);

/* The link to the hub. After NODE_HUB_CONNECT the edge answers with node_hub_up or node_hub_down. */
void node_hub_up(struct node *n, const uint8_t binding[32], usec_t now);
void node_hub_text(struct node *n, struct bytes text, usec_t now);
/* One binary message: relay frames; copied, and may be changed. */
void node_hub_binary(struct node *n, uint8_t *message, size_t len, usec_t now);
/* why: a sentence for people ("connection refused"); permanent: trying again is no use without a person (pin
 * mismatch). */
void node_hub_down(struct node *n, const char *why, usec_t now);
/* The network below changed, or the machine woke: a wait for the next try is over now, and the back-off
 * begins anew. */
void node_network_changed(struct node *n, usec_t now);
/* The next message for the hub; false: nothing waits. Text before control frames before data; data frames
 * packed. */
bool node_hub_take(struct node *n, struct buf *out, bool *binary, usec_t now);
bool node_hub_waiting(const struct node *n);

/* The host's networks, at the start and whenever they change: the addresses of interfaces that are up (not
 * the loopback, not our own devices) and the routers. A change of them makes paths be looked for anew; the
 * hub is the edge's matter (node_network_changed). */
#define NODE_ADDRESSES_MAX 32
struct node_network {
    struct {
        char interface[16];
        struct net_addr addr;
        uint8_t prefix;
    } addrs[NODE_ADDRESSES_MAX]; /* port 0 */
    size_t count;
    struct net_addr gateway4, gateway6; /* family 0: none */
};
void node_network(struct node *n, const struct node_network *net, usec_t now);
/* The hub's addresses as its name resolved, the one in use first (port: of the WebSocket). */
void node_hub_addresses(struct node *n, const struct net_addr *addrs, size_t count, usec_t now);

/* UDP sockets are numbers that the engine chooses. After NODE_UDP_OPEN the edge answers with node_udp_opened:
 * its port, or 0 and why not. p of a datagram is changed in place. */
enum node_socket {
    NODE_SOCKET_MAIN4 = 1,
    NODE_SOCKET_MAIN6 = 2,   /* data, STUN and checks; one port number for both where that is free */
    NODE_SOCKET_PORTMAP = 3, /* to the router */
    NODE_SOCKET_MDNS4 = 4,
    NODE_SOCKET_MDNS6 = 5, /* multicast 224.0.0.251 and ff02::fb, port 5353, on all interfaces */
    NODE_SOCKET_EXTRA = 16 /* and up: discovery and searches */
};
#define NODE_SOCKETS_MAX 320
void node_udp_opened(struct node *n, uint32_t socket, uint16_t port, const char *error, usec_t now);
void node_udp(struct node *n, uint32_t socket, const struct net_addr *from, uint8_t *p, size_t len,
              usec_t now);
/* A datagram of ours did not fit (EMSGSIZE, or an ICMP message said so). */
void node_udp_too_big(struct node *n, uint32_t socket, const struct net_addr *to, size_t size, usec_t now);

/* Streams: TLS with WebSocket messages between nodes, and connections to TURN servers. Those that we dial
 * have numbers of ours below NODE_STREAM_ACCEPTED, those that come have the edge's, from it up. */
enum node_stream_kind { NODE_STREAM_PEER, NODE_STREAM_TURN_TCP, NODE_STREAM_TURN_TLS };
#define NODE_STREAM_ACCEPTED    0x80000000u
#define NODE_STREAM_MESSAGE_MAX 65536
void node_stream_listening(struct node *n, uint16_t port, const char *error,
                           usec_t now); /* answer to NODE_STREAM_LISTEN */
/* One that we dialled is open (proved: NODE_STREAM_PEER: its certificate holds the key that the dial named),
 * or one came. */
void node_stream_up(struct node *n, uint32_t stream, const struct net_addr *remote, usec_t now);
/* A whole message (NODE_STREAM_PEER: datagrams of ours, each with a 16-bit length before it), or bytes as
 * they came. Changed in place. */
void node_stream_message(struct node *n, uint32_t stream, uint8_t *p, size_t len, usec_t now);
void node_stream_down(struct node *n, uint32_t stream, const char *why, usec_t now);

/* The answer to NODE_UPNP_MAP: the address outside, or family 0 and why not. */
void node_upnp_mapped(struct node *n, const struct net_addr *outside, uint32_t lifetime_s, const char *error,
                      usec_t now);

/* A device of a party (its ref from NODE_DEVICE_OPEN). frame: n bytes at p with DATA_HEADROOM before and
 * DATA_TAILROOM behind. */
void node_device_frame(struct node *n, uint32_t party_ref, uint8_t *p, size_t len, usec_t now);
/* What workers of a pump opened but leave to the party's switch: a frame or packet (kind) of the peer. */
void node_peer_frame(struct node *n, uint32_t peer_ref, uint32_t tag, uint8_t kind, uint8_t *p, size_t len, usec_t now);
/* A datagram that a worker sealed for the peer, to be sent over one of its ways: a copy, while the way of the moment is in doubt. */
void node_peer_sealed(struct node *n, uint32_t peer_ref, uint32_t way, const uint8_t *p, size_t len, usec_t now);
/* The plane has news after a pause (plane_stirred). */
void node_plane_active(struct node *n, usec_t now);
/* The answer to NODE_DEVICE_OPEN: its name, or error: a sentence that says what to do. */
void node_device_opened(struct node *n, uint32_t party_ref, const char *name, const char *error, usec_t now);

/* A request of the command line: one JSON object {"cmd": ...} (doc/protocol/control.md). Answered by one or
 * more NODE_REPLY, the last with final set: {"ok":true,"result":...} or {"ok":false,"error":"one
 * line","code":"word"}, and {"progress":...} before. */
void node_request(struct node *n, uint32_t id, struct bytes json, usec_t now);
void node_request_gone(struct node *n, uint32_t id); /* the asker went away */

enum node_out_kind {
    NODE_HUB_CONNECT, /* to hub */
    NODE_HUB_CLOSE,
    NODE_HUB_WAITING,  /* node_hub_take has something: ask the link for writability */
    NODE_DEVICE_OPEN,  /* party_ref, device; answered by node_device_opened, at once or later */
    NODE_DEVICE_CLOSE, /* party_ref */
    NODE_DEVICE_FRAME, /* party_ref, data */
    NODE_SAVE,      /* name, data: write atomically, mode 0600, before going on to the next output; on failure
                       node_save_failed */
    NODE_APPEND,    /* name, at, data: the same for a file that is there: cut or found to be `at` bytes long, then data behind, and
                       on the disk before going on */
    NODE_DELETE,    /* name */
    NODE_REPLY,     /* request, data (JSON text), final */
    NODE_LOG,       /* level, name = event, data = key=value text */
    NODE_UDP_OPEN,  /* socket, family, port (0: any; a wish: another one is fine) */
    NODE_UDP_CLOSE, /* socket */
    NODE_DATAGRAM,  /* socket, to, data (data may be read in place and is gone after the next call) */
    NODE_STREAM_LISTEN, /* port (0: any): TLS with a certificate of the node's own ML-DSA-87 key */
    NODE_STREAM_DIAL, /* stream, stream_kind, to (or hub.host and hub.port, where to.family is 0), key; punch:
                         from the listener's port */
    NODE_STREAM_SEND, /* stream, data; final: must not be dropped when the stream stalls, other data may */
    NODE_STREAM_CLOSE, /* stream */
    NODE_UPNP_MAP,     /* port (UDP), lifetime_s: 0 removes it */
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
    char name[80]; /* NODE_SAVE: "party-<hex of id>", or "hub" (its address, for hub_address_read); NODE_LOG:
                       event */
    struct bytes data; /* valid until the next call into the node */
    uint64_t at;       /* NODE_APPEND */
    bool final;
    int level;
    uint32_t socket, stream, lifetime_s;
    enum node_stream_kind stream_kind;
    uint8_t family;
    uint16_t port;
    struct net_addr to;
    bool punch;
    const struct sign_public *key; /* of the peer dialled; valid until the next call */
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
