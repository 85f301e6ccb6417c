/* What the parts of the engine share (engine.c and its neighbours); nobody else includes this. One file per
 * noun: link (hub_link.c), queue of outputs (outputs.c), peers and their sessions (peers.c, handshakes.c,
 * messages.c), parties and their logs (parties.c, log_sync.c), requests of people (requests.c, changes.c,
 * joining.c, looking.c), what is shown (status.c, whys.c,
 * netcheck.c, metrics.c). */
#ifndef WARREN_NODE_ENGINE_INT_H
#define WARREN_NODE_ENGINE_INT_H

#include <jansson.h>

#include "base/log.h"
#include "base/map.h"
#include "base/ratelimit.h"

#include "crypto/hash.h"
#include "crypto/secret.h"
#include "node/engine.h"
#include "node/party_file.h"

/* Bounds that nobody needs to change. */
#define HUB_PROTOCOL  1          /* the version in the hub's challenge */
#define LINK_OPEN_MAX (20 * SEC) /* from NODE_HUB_CONNECT to welcome */
#define LINK_TEXT_MAX                                                                                        \
    (2u * 1024 * 1024)                    /* bytes of text waiting for the hub: then the link is made again  \
                                           */
#define LINK_CONTROL_MAX    (256u * 1024) /* bytes of handshakes waiting for the hub */
#define LINK_WHY_CAP        320
#define LINK_STABLE         (10 * SEC) /* a link that lived so long begins its back-off anew */
#define CLOCK_OFF_S         300        /* difference to the hub's calendar that is worth a warning */
#define PARTIES_CAP         64         /* what limits.parties may be at most */
#define PEERS_MAX           16384
#define STRANGERS_MAX       64
#define ALERTS_MAX          32
#define ALERT_TEXT_CAP      256
#define REQUESTS_MAX        32
#define REQUEST_MAX         8192 /* bytes of one request */
#define OUTS_MAX            1024 /* outputs waiting other than frames and log lines */
#define OUT_CLOSES_MAX      32
#define OUT_LOGS_MAX        256
#define FRAMES_OUT_MAX      4096           /* frames waiting for devices */
#define ARENA_MAX           (1024u * 1024) /* their bytes */
#define DATAGRAMS_OUT_MAX   2048           /* datagrams waiting for sockets */
#define DATAGRAMS_OUT_BYTES (4u * 1024 * 1024)
#define WAIT_FRAMES         8 /* frames that wait for one peer's handshake */
#define WAIT_BYTES          (16u * 1024)
#define WAIT_LIFE           (3 * SEC)
#define WAIT_TOTAL          (1024u * 1024) /* bytes of such frames for all peers */
#define EXISTING_WAIT       (3 * SEC)      /* a member of old gives a newcomer so long to begin */
#define RETRY_PEER_MIN      (1 * SEC)
#define RETRY_PEER_MAX      (60 * SEC)
#define OLD_SESSION_LIFE    (5 * SEC) /* a replaced session still receives what is under way */
#define DEGRADED_LOSS       0.05
#define STALE_TRIES         5
#define HUB_TRIES           3         /* failed connections after which a waiting request gives up */
#define GAP_HUB_WAIT        (2 * SEC) /* how long the hub has to deliver what a peer has */
#define GAP_PEER_WAIT       (2 * SEC)
#define GAP_PEER_TRIES      5 /* questions without progress */
#define GAP_QUIET           (10 * SEC)
#define LOG_GET_ENTRIES     8    /* entries in answer to one LOG_GET */
#define LOG_GETS_PER_S      8    /* answered to one peer */
#define NEW_WAYS_PER_S      4    /* that one peer makes us open by writing from somewhere */
#define LOG_PART_MAX        4096 /* bytes of an entry in one LOG_ENTRY */
#define DEVICE_RETRY        (60 * SEC)
#define SAVE_RETRY          (30 * SEC)
#define SYNC_RETRY          (1 * SEC)  /* of a switch that could not follow the log for want of memory */
#define JOIN_AGAIN          (30 * SEC) /* after the hub refused to show us a party of ours */
#define HEAL_PAUSE          (5 * SEC)  /* after the hub said rate_limited */
#define PING_TIMEOUT        (2 * SEC)
#define PING_CONNECT_MAX    (10 * SEC)
#define PING_COUNT_MAX      100000
#define PING_WINDOW         64 /* pings of one request under way */
#define NETCHECK_WAIT       (3 * SEC)
#define WAYS_MAX            12         /* of one peer, those that are being proved included */
#define WAYS_UNPROVEN       6          /* opened by what strangers or the peer sent */
#define WAY_RETRY           (30 * SEC) /* between tries of a relay way that was not proved */

/* Types of control messages between engines, inside a session (doc/protocol/node.md section 4). */
enum message_type {
    MSG_PROBE = 0,
    MSG_PROBE_ANSWER = 1,
    MSG_PING = 2,
    MSG_PONG = 3,
    MSG_LOG_GET = 4,
    MSG_LOG_ENTRY = 5,
    MSG_CANDIDATES = 6, /* direct.c */
    MSG_CANDIDATES_ACK = 7,
    MSG_SEARCH = 8,      /* search.c: between the two ends of a search through a hard NAT */
    MSG_CIRCUIT = 9,     /* circuits.c: a cell that builds or ends a circuit */
    MSG_RELAY_OFFER = 10 /* circuits.c: whom this member reaches and would relay to */
};

/* ---- Counters; names in metrics.c. */
enum node_counter {
    COUNT_HUB_CONNECTS,
    COUNT_HUB_LOST,
    COUNT_HUB_BAD_TEXT,
    COUNT_HUB_BAD_BINARY,
    COUNT_HUB_ERRORS,
    COUNT_TEXT_OVERFLOW,
    COUNT_TX_DATA_DROPPED,
    COUNT_TX_CONTROL_DROPPED,
    COUNT_TX_NO_LINK,
    COUNT_TX_NO_WAY,
    COUNT_TX_COPIES,
    COUNT_RX_NO_WAY,
    COUNT_RELAY_GONE,
    COUNT_RELAY_DROPPED,
    COUNT_HELLO_RATE,
    COUNT_HELLO_UNKNOWN,
    COUNT_HELLO_FULL,
    COUNT_HELLO_REFUSED,
    COUNT_UNKNOWN_INDEX,
    COUNT_BAD_DATAGRAM,
    COUNT_UNKNOWN_PARTY,
    COUNT_WRONG_KIND,
    COUNT_NO_DEVICE,
    COUNT_NO_PEER,
    COUNT_NO_SESSION,
    COUNT_SEAL_FAILED,
    COUNT_WAIT_EXPIRED,
    COUNT_FRAMES_OUT_FULL,
    COUNT_DATAGRAMS_OUT_FULL,
    COUNT_HANDSHAKES_BEGUN,
    COUNT_HANDSHAKES_ANSWERED,
    COUNT_SESSIONS_UP,
    COUNT_SESSIONS_DOWN,
    COUNT_RESUMES_BEGUN,
    COUNT_RESUMES_PROVEN,
    COUNT_RESUMES_FAILED,
    COUNT_REKEYS,
    COUNT_PATHS_DEAD,
    COUNT_STUN_UNKNOWN,
    COUNT_DIRECT_TRIES,
    COUNT_DIRECT_PROVEN,
    COUNT_DIRECT_FAILED,
    COUNT_STREAMS_DIALLED,
    COUNT_STREAMS_UP,
    COUNT_STREAMS_REFUSED,
    COUNT_STREAMS_MALFORMED,
    COUNT_LAN_FOUND,
    COUNT_RELAY_BINDS,
    COUNT_RELAY_BOUND,
    COUNT_SEARCHES_BEGUN,
    COUNT_SEARCHES_FOUND,
    COUNT_SEARCHES_FAILED,
    COUNT_CIRCUITS_BUILT,
    COUNT_CIRCUITS_FAILED,
    COUNT_CIRCUITS_INCOMING,
    COUNT_CELLS_RELAYED,
    COUNT_CELL_BYTES_RELAYED,
    COUNT_CELLS_DROPPED,
    COUNT_CELLS_NO_WAY,
    COUNT_CELLS_REFUSED,
    COUNT_MOVES_DIRECT,
    COUNT_MOVES_RELAY,
    COUNT_MOVES_OTHER,
    COUNT_PEER_BAD_MESSAGE,
    COUNT_PEER_BAD_ENTRY,
    COUNT_ENTRIES_TAKEN,
    COUNT_ENTRIES_REFUSED,
    COUNT_ENTRIES_FROM_PEERS,
    COUNT_LOG_GETS_SERVED,
    COUNT_ALERTS,
    COUNT_LOGS_LOST,
    COUNT_REQUESTS,
    COUNT_REQUESTS_FAILED,
    COUNT_SAVES_FAILED,
    COUNT_HEALED,
    COUNT_END
};

/* ---- Outputs (outputs.c). */
struct out_item {
    struct out_item *next;
    struct node_out o;
    struct buf data;
    uint32_t depends; /* party whose save must have succeeded before this says ok; 0: none */
    bool ok;
};
struct out_frame {
    uint32_t party_ref;
    size_t at, n; /* in the arena */
};
struct out_datagram {
    uint32_t socket;
    struct net_addr to;
    size_t at, n;    /* in its arena */
    uint32_t stream; /* not 0: there instead; n 0: it is closed */
    bool keep;
};
struct outputs {
    struct out_item *head, **tail, *last; /* last: what node_output gave, until the next call */
    size_t count, logs;
    struct buf arena;
    struct out_frame *frames; /* FRAMES_OUT_MAX */
    size_t frame_at, frame_count;
    struct buf
        datagrams; /* an arena of their own: they arise while messages are judged inside the other one */
    struct out_datagram *datagram; /* DATAGRAMS_OUT_MAX */
    size_t datagram_at, datagram_count;
    struct buf save; /* the last NODE_SAVE */
    bool held;       /* a message in the arena is being judged: it stays where it is */
    uint32_t
        closes[OUT_CLOSES_MAX]; /* party refs of devices to close for which there was no memory for an item */
    size_t close_count;
};

/* ---- The link to the hub (hub_link.c). */
enum link_state { LINK_OFF, LINK_WAIT, LINK_CONNECTING, LINK_CHALLENGE, LINK_LOGIN, LINK_READY };
struct link_text {
    struct link_text *next;
    size_t n;
    uint8_t p[];
};
struct ring {
    uint8_t *p;
    size_t cap, head, used;
};
struct link {
    enum link_state state;
    bool have_hub;
    bool kept; /* given by the configuration or proven by a login: not forgotten when a join fails */
    bool save_due;
    struct hub_address hub;
    char label[HUB_HOST_MAX + 16]; /* HOST:PORT */
    uint8_t binding[32], nonce[SIGNAL_NONCE_LEN];
    usec_t retry_at, open_until, heard, ping_at, ping_sent, rtt;
    uint64_t ping_token;
    unsigned failures;     /* in a row */
    uint64_t failed_total; /* ever: requests remember where it stood */
    char why[LINK_WHY_CAP];
    uint32_t relay;
    char seen[64];
    uint32_t next_ref;
    struct link_text *texts, **text_tail;
    size_t text_bytes;
    struct buf control;
    struct ring data;
    bool told;     /* NODE_HUB_WAITING was given for what waits now */
    bool overflow; /* text did not fit: the link is to be made again */
    usec_t ready_at;
};

/* ---- Ways to a peer (ways.c). Where bytes came from or go to; what `number` means depends on the kind. */
struct origin {
    enum path_kind via; /* PATH_WS_RELAY, PATH_UDP_RELAY: relay index; PATH_UDP: socket; PATH_TURN: server;
                           PATH_TLS: stream; PATH_MULTI_HOP: circuit. PATH_LAN is PATH_UDP here. */
    uint32_t number;
    struct net_addr addr; /* of PATH_UDP, PATH_TURN and PATH_TLS */
};
#define WAY_WS_RELAY  1u /* ids of paths: these two are fixed, the others are never used again */
#define WAY_UDP_RELAY 2u
#define WAY_FIRST     16u
struct way {
    uint32_t id; /* 0: free */
    enum path_kind kind;
    struct origin at;
    bool proven; /* both ends proved the keys over it: it is in the path set */
    bool asking; /* our RESUME is under way */
    usec_t since, asked_at, dead_since;
    bool moved; /* it was the path of the moment once (metrics.c) */
};

/* ---- Peers (peers.c). */
struct peer_session {
    struct session *s;
    struct node_peer *peer;
    uint32_t index;
    bool ours, up;               /* ours: begun by us */
    struct origin via;           /* the reliable way on which its handshake goes */
    usec_t dies;                 /* an old one */
    uint8_t hello[HS_NONCE_LEN]; /* of the HELLO that we answered */
};
struct wait_frame {
    struct wait_frame *next;
    uint32_t party_ref;
    usec_t until;
    size_t n;
    uint8_t p[]; /* DATA_HEADROOM, n bytes, DATA_TAILROOM */
};
struct peer_totals {
    uint64_t tx_bytes, rx_bytes, rekeys;
};
struct node_peer {
    uint32_t ref; /* the virtual LANs' number for it; slot + 1 */
    uint8_t id[NODE_ID_LEN];
    uint32_t relay;                        /* 0: not at the hub, for all we know */
    uint64_t at_hub;                       /* bit np->bit: the hub shows it in that party */
    struct peer_session *cur, *next, *old; /* keys in use; a handshake; what cur replaced */
    struct paths *paths;
    struct way *ways; /* WAYS_MAX of them, or NULL */
    uint32_t next_way;
    usec_t way_at;             /* when ways_tick has something to do */
    struct direct *direct;     /* direct.c; NULL: nothing was tried */
    struct indirect *indirect; /* relays.c: as a relay, and over relays; NULL: neither */
    bool resuming, doomed;
    usec_t start_at; /* next try of a handshake or RESUME; USEC_NEVER none */
    unsigned tries;
    usec_t wake;
    bool dirty;
    struct node_peer *dirty_next;
    struct wait_frame *wait, **wait_tail;
    size_t wait_count, wait_bytes;
    usec_t seen;
    struct peer_totals past; /* of sessions that are gone */
    struct ratelimit log_gets, new_ways;
    usec_t traffic;         /* when a frame last went to it */
    usec_t search_after;    /* until then its offers of a search are declined, */
    unsigned searches_lost; /* for so many came to nothing here */
    uint16_t mtu;      /* of datagrams on the path of the moment, as the virtual LANs know it; 0: not told */
    enum path_kind on; /* kind of the path of the moment, since when, and what was before */
    usec_t on_since;
    uint32_t on_way; /* its id; 0: none */
    uint8_t *part;   /* an entry that comes in parts; ENTRY_MAX bytes or NULL */
    size_t part_have, part_total;
    uint64_t part_seq;
};

/* ---- Parties (parties.c, log_sync.c). */
enum np_state { NP_JOINING, NP_ACTIVE, NP_REMOVED };
enum dev_state { DEV_NONE, DEV_OPENING, DEV_OPEN, DEV_FAILED };
struct log_gap {
    bool open, asked_peer;
    struct hs_head claim;
    uint32_t peer_ref;
    uint64_t at_seq; /* ours when last asked */
    unsigned tries;
    usec_t next, quiet;
};
struct log_heal {
    bool done, running,
        create; /* create: the hub has not even the first entry; done: the one round of this connection */
    uint64_t next, until;
    uint32_t ref;
    usec_t again;
};
struct stranger {
    uint8_t id[NODE_ID_LEN];
    uint32_t relay;
};
/* What is on the disk of a party (saving.c). */
struct np_file {
    struct node_disk disk;
    uint64_t size, entries; /* bytes that are good; entries among them */
    struct party_settings settings;
};
/* The piece that the edge is writing. */
#define SAVE_PIECE_ENTRIES 64
struct saving {
    uint32_t party_ref; /* 0: none */
    size_t size, entries;
    uint64_t at[SAVE_PIECE_ENTRIES]; /* of the entries in the file */
    struct party_settings settings;
};
struct node_party {
    uint32_t ref;
    enum np_state state;
    unsigned bit; /* in node_peer.at_hub */
    uint8_t id[PARTY_ID_LEN];
    uint32_t tag;
    struct party *log; /* NULL: joining, nothing came yet */
    struct np_file file;
    struct vnet *vnet;
    enum dev_state dev;
    struct node_device dev_config;
    char dev_name[32], dev_error[ALERT_TEXT_CAP];
    usec_t dev_retry;
    bool device_wanted, leaving;
    uint16_t mtu;    /* 0: the default */
    bool subscribed; /* the hub answered our join of this connection to its end */
    bool join_sent, asking;
    bool pending; /* entries were taken that np_changed has not seen */
    usec_t join_again;
    uint64_t asked_head; /* our head when we asked */
    struct log_gap gap;
    struct log_heal heal;
    struct stranger strangers[STRANGERS_MAX]; /* shown by the hub, but not in our copy of the log yet */
    size_t stranger_count;
    uint32_t switch_ip4; /* our address as the switch knows it */
    uint32_t *refs;      /* of the peers that the switch knows */
    size_t ref_count;
    bool save_due;
    usec_t save_retry, sync_retry;
};

struct alert {
    uint32_t party_ref;
    uint8_t party[PARTY_ID_LEN];
    char code[32], text[ALERT_TEXT_CAP], source[NODE_ID_TEXT_CAP];
    uint64_t since, count;
};

/* ---- Requests (requests.c and what follows). */
enum change_kind {
    CHANGE_INVITE,
    CHANGE_REVOKE,
    CHANGE_REMOVE,
    CHANGE_LEAVE,
    CHANGE_ROLE,
    CHANGE_RENAME,
    CHANGE_LEASE,
    CHANGE_POLICY
};
struct change {
    enum change_kind kind;
    uint8_t subject[NODE_ID_LEN];
    uint32_t uses;
    uint64_t expires;
    enum party_role role;
    char name[NAME_CAP];
    uint16_t host;
    struct party_policy policy;
    uint8_t secret[INVITE_SECRET_LEN];
};
struct ping_sent {
    uint64_t nonce;
    uint64_t seq;
    usec_t at; /* 0: the slot is free */
};
struct pinging {
    uint32_t peer_ref;
    uint8_t peer[NODE_ID_LEN];
    uint64_t count, sent, received, lost;
    usec_t interval, next, connect_until, began; /* began: the first one left; 0: none yet */
    double min, max, sum;
    struct ping_sent under_way[PING_WINDOW];
};
enum request_kind { REQUEST_CHANGE, REQUEST_CREATE, REQUEST_JOIN, REQUEST_PING, REQUEST_NETCHECK };
enum request_step { STEP_HUB, STEP_FETCH, STEP_DEVICE, STEP_ACK, STEP_UP };
struct request {
    uint32_t id;
    enum request_kind kind;
    enum request_step step;
    bool gone;
    usec_t deadline;
    uint64_t failed_before; /* link.failed_total at the start */
    uint32_t party_ref;
    uint32_t op_ref;
    unsigned tries;
    bool sent_once; /* the entry may have reached the hub before the link broke */
    struct buf entry;
    struct change change;
    struct invite invite;
    enum party_mode mode; /* of a party to be created */
    uint32_t net4;
    uint64_t token; /* netcheck: the hub ping that it waits for */
    bool pong;      /* netcheck: it was answered */
    struct pinging *ping;
};

/* How pairs moved from path to path (metrics.c). */
#define MOVE_BUCKETS 10
struct node_moves {
    uint64_t failed;                         /* a path answered, but the keys were not proved over it */
    uint64_t fallbacks;                      /* off a path that had died */
    uint64_t retries_proven, retries_failed; /* rounds for a direct path other than the first of a session */
    uint64_t took[MOVE_BUCKETS + 1]; /* moves by choice: how long; the last: longer than all buckets */
    usec_t took_sum;
};

struct node {
    struct node_limits limits;
    struct session_limits session_limits;
    struct sign_key *key;
    uint8_t id[NODE_ID_LEN];
    char name[NAME_CAP];
    struct rng rng;
    bool no_device, prefer_aes, started, stopping;
    struct aead_speed speed;
    uint64_t unix_s;
    usec_t unix_at, started_at;
    usec_t wake; /* no later than the next deadline */
    struct link link;
    struct outputs out;
    struct node_disk disk;
    struct saving saving;
    struct node_party *parties[PARTIES_CAP];
    size_t party_count;
    uint32_t next_party_ref;
    struct node_peer **peers; /* by ref - 1; holes are NULL */
    size_t peer_slots, peer_cap, peer_count, doomed;
    struct map *by_id, *by_index, *by_relay; /* peers, sessions, peers */
    struct node_peer *dirty;
    size_t begun, half_open, wait_bytes;
    struct ratelimit hellos;
    struct request *requests[REQUESTS_MAX];
    size_t request_count;
    struct alert alerts[ALERTS_MAX];
    size_t alert_count;
    uint64_t counts[COUNT_END];
    uint64_t session_drops[DROP_COUNT]; /* of sessions that are gone */
    uint64_t refused[PARTY_VERDICT_COUNT];
    uint32_t in_way;           /* the way of the bytes that are judged now; 0: none or unknown */
    struct underlay *underlay; /* underlay.c: sockets, addresses, what the NAT does */
    struct relaying *relaying; /* circuits.c */
    struct dataplane *data;    /* dataplane.c; NULL: no workers */
    struct node_moves moves;
    uint8_t scratch[DATA_OVERHEAD + VNET_FRAME_MAX];
};

/* engine.c */
uint64_t node_unix(const struct node *n, usec_t now);
void node_due(struct node *n, usec_t at);

/* outputs.c */
int outputs_init(struct outputs *q);
void outputs_done(struct outputs *q);
struct out_item *out_add(struct node *n, enum node_out_kind kind); /* NULL: full or no memory */
void out_log(struct node *n, enum log_level level, const char *event, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
bool out_device_open(struct node *n, const struct node_party *np); /* false: no memory to say it with */
void out_device_close(struct node *n, uint32_t party_ref);
void out_delete(struct node *n, const char *name);
void replies_spoil(struct node *n, uint32_t party_ref, const char *why);

/* saving.c */
bool out_save(struct node *n, usec_t now, struct node_out *out);
void np_file_name(char out[80], const struct node_party *np);
bool np_file_id(uint8_t id[PARTY_ID_LEN], const char *name); /* false: no name of a party's file */
/* The first entry of np that was not is in its file now, at `at`. */
void np_entry_saved(struct node_party *np, uint64_t at);
/* np->log and np->file from the file of its name. 0, or -EBADMSG and *why; np is to be freed then. */
int np_file_load(struct node *n, struct node_party *np, const char **why);
/* Room for a whole hub message; NULL when the devices do not keep up. */
uint8_t *out_arena(struct node *n, size_t len);
void out_frame(struct node *n, uint32_t party_ref, const uint8_t *p, size_t len); /* p: inside the arena */
void out_frame_copy(struct node *n, uint32_t party_ref, struct bytes frame);

/* limits.c is public. */

/* A frame that may lie inside the arena or elsewhere. */
void out_frame_any(struct node *n, uint32_t party_ref, const uint8_t *p, size_t len);
/* head and p behind each other. */
void out_datagram(struct node *n, uint32_t socket, const struct net_addr *to, const uint8_t *head,
                  size_t head_n, const uint8_t *p, size_t len);

/* The same for a stream; keep: not to be dropped when it stalls. */
void out_stream(struct node *n, uint32_t stream, bool keep, const uint8_t *p, size_t len);
/* Behind what was given for it before. */
void out_stream_close(struct node *n, uint32_t stream);

/* ways.c */
bool origin_equal(const struct origin *a, const struct origin *b);
bool origin_reliable(const struct origin *o); /* handshakes may ride it */
void origin_text(const struct node *n, const struct origin *o, char *out, size_t cap);
bool way_alive(const struct node_peer *p, const struct way *w);
struct way *way_by_id(const struct node_peer *p, uint32_t id);
struct way *way_by_origin(const struct node_peer *p, const struct origin *o);
/* The one that exists or a new one, unproven; the least useful makes room. NULL: no room, no memory. */
struct way *way_open(struct node *n, struct node_peer *p, const struct origin *o, usec_t now);
/* There is one way over each relay. Whether a living one would make room for this: bytes that somebody may
 * have copied, or forged, are no reason for that. */
bool way_costs(const struct node_peer *p, const struct origin *o);
/* Proves the keys over it (RESUME), if that is not under way. */
void way_prove(struct node *n, struct node_peer *p, struct way *w, usec_t now);
void way_close(struct node *n, struct node_peer *p, struct way *w, usec_t now);
void ways_close_all(struct node *n, struct node_peer *p, const struct origin *but, usec_t now);
/* It joins the path set. */
void way_proven(struct node *n, struct node_peer *p, struct way *w, usec_t now);
void way_failed(struct node *n, struct node_peer *p, uint32_t id, usec_t now);
/* Sends one datagram; false: there was no way to. */
/* The best path is another one. */
void path_changed(struct node *n, struct node_peer *p, struct way *w, usec_t now);
void peer_mtu_changed(struct node *n, struct node_peer *p);
uint16_t peer_mtu(const struct node_peer *p, const struct node_party *np); /* bytes of IP; 0: not known */
bool origin_send(struct node *n, const struct origin *o, bool handshake, const uint8_t *p, size_t len,
                 usec_t now);
struct bytes way_view(uint8_t view[40], const struct node *n, const struct origin *o);
/* The best reliable way to begin a handshake on. */
bool peer_reliable(const struct node *n, const struct node_peer *p, struct origin *o);
void ways_tick(struct node *n, struct node_peer *p, usec_t now);
/* More is known of how long the NAT's bindings live. */
void ways_keepalive(struct node *n);
enum path_kind way_kind(const struct node *n, const struct origin *o);

/* underlay.c: our sockets and addresses, what the NAT does (more in underlay_int.h) */
struct nat_behaviour;
int underlay_init(struct node *n, usec_t now);
void underlay_done(struct node *n);
void underlay_start(struct node *n, usec_t now);
bool underlay_socket_open(struct node *n, uint32_t socket, uint8_t family, uint16_t port);
void underlay_discover(struct node *n, bool again, usec_t now);
bool underlay_on_link(const struct node *n, const struct net_addr *a);
usec_t underlay_lifetime(const struct node *n,
                         const struct origin *o); /* of NAT bindings on such a way; 0: not known */
size_t underlay_addresses(const struct node *n, struct net_addr addrs[HS_ADDR_MAX]);
void underlay_behaviour(const struct node *n, uint8_t family, struct nat_behaviour *b);
void underlay_woke(struct node *n, usec_t now);
usec_t underlay_wake(const struct node *n);
void underlay_tick(struct node *n, usec_t now);

/* mapping.c, turning.c (more in underlay_int.h) */
void mapping_stop(struct node *n, usec_t now);
void turning_stop(struct node *n, usec_t now);
bool turning_send(struct node *n, const struct net_addr *to, const uint8_t *p, size_t len, usec_t now);

/* udp_bind.c */
bool udp_relay_send(struct node *n, uint32_t relay, const uint8_t *p, size_t len);
void relay_way_wish(struct node *n, struct node_peer *p,
                    usec_t now); /* a way over the UDP relay beside the WebSocket's */

/* direct.c */
void direct_session_up(struct node *n, struct node_peer *p, usec_t now);
void direct_stop(struct node *n, struct node_peer *p);
void direct_free(struct node *n, struct node_peer *p);
bool direct_candidates(struct node *n, struct node_peer *p, struct bytes in,
                       usec_t now); /* false: ill-formed */
bool direct_acked(struct node *n, struct node_peer *p, struct bytes in, usec_t now);
void direct_pump(struct node *n, struct node_peer *p, usec_t now);
void direct_way_proven(struct node *n, struct node_peer *p, struct way *w, usec_t now);
void direct_path_died(struct node *n, struct node_peer *p, struct way *w, usec_t now);
usec_t direct_wake(const struct node_peer *p);
void direct_tick(struct node *n, struct node_peer *p, usec_t now);

/* streams.c: TLS streams to peers (more in underlay_int.h) */
bool streams_send(struct node *n, const struct origin *o, bool handshake, const uint8_t *p, size_t len);
/* Whether bytes from there may speak for this peer: a stream has one at most. True for all other origins. */
bool streams_may(struct node *n, const struct origin *o, const struct node_peer *p);
bool streams_open(const struct node *n, const struct origin *o); /* new ways may use it */
/* The rate for HELLOs from there: streams that nobody has claimed share one of their own. */
struct ratelimit *streams_hellos(struct node *n, const struct origin *o);
/* The peer proved itself in bytes from there. */
void streams_claim(struct node *n, const struct origin *o, struct node_peer *p, usec_t now);
void streams_way_closed(struct node *n, const struct origin *o);
void streams_way_proven(struct node *n, struct node_peer *p, const struct way *w, usec_t now);
/* Other keys: what was proved over a stream is to be proved anew. False: the stream is gone. */
bool streams_way_doubt(struct node *n, const struct way *w, usec_t now);
void streams_session_up(struct node *n, struct node_peer *p, usec_t now);

/* lan.c: members on the same LAN */
void lan_members_changed(struct node *n, usec_t now);
/* No way leads to this peer any more. */
void lan_peer_lost(struct node *n, struct node_peer *p, usec_t now);
void lan_stop(struct node *n, usec_t now);
void lan_clock(struct node *n, usec_t now);

/* search.c: through hard NATs (more in underlay_int.h) */
bool search_message(struct node *n, struct node_peer *p, struct bytes in, usec_t now); /* false: ill-formed */
/* A way that went from there is gone: its socket, if a search opened it, is closed. */
void search_way_closed(struct node *n, const struct origin *o);
void search_done(struct node *n);

/* circuits.c, relays.c: circuits over members (more in relays_int.h) */
int relaying_init(struct node *n, usec_t now);
void relaying_done(struct node *n);
usec_t relaying_wake(const struct node *n);
void relaying_tick(struct node *n, usec_t now);
void indirect_free(struct node_peer *p);
bool circuit_way_send(struct node *n, uint32_t id, const uint8_t *p, size_t len, usec_t now);
void circuit_way_closed(struct node *n, struct node_peer *p, uint32_t id, usec_t now);
bool circuits_pump(struct node *n, usec_t now); /* whether there was anything */
/* A cell in a packet of the session with p, or in a message of it (false: ill-formed). */
void circuits_cell(struct node *n, struct node_peer *p, const struct origin *from, uint8_t *cell, size_t len,
                   usec_t now);
bool circuits_message(struct node *n, struct node_peer *p, uint32_t path, struct bytes m, usec_t now);
/* No session with it any more, or no member in common. */
void circuits_neighbour_lost(struct node *n, const struct node_peer *p, usec_t now);
/* Whom it goes over: "NAME > NAME"; of one that came in, the last. false: no such circuit. */
bool circuit_relays_text(const struct node *n, uint32_t id, char *out, size_t cap);
json_t *circuits_json(const struct node *n, usec_t now);
void relays_demand(struct node *n, struct node_peer *p, usec_t now);
void relays_session_up(struct node *n, struct node_peer *p, usec_t now);
void relays_path_died(struct node *n, struct node_peer *p, struct way *w, usec_t now);
void relays_way_proven(struct node *n, struct node_peer *p, struct way *w, usec_t now);
bool relays_offer_input(struct node *n, struct node_peer *p, struct bytes m, usec_t now);
/* Whom we reach, or how, is another than before: told soon to those who may want to go over us. */
void offers_soon(struct node *n, usec_t now);
struct way *way_pinned(const struct node_peer *p); /* a living circuit that a person chose; NULL: none */
/* The way of the moment: the pinned one, or the path set's best. */
bool peer_best(const struct node_peer *p, uint32_t *id, enum path_kind *kind);
void pin_settled(struct node *n, struct node_peer *p, usec_t now); /* it may be another one */

/* hub_link.c */
int link_init(struct node *n, const struct node_config *c);
void link_done(struct link *l);
bool link_ready(const struct node *n);
void link_use(struct node *n, const struct hub_address *hub, bool kept, usec_t now);
void link_forget(struct node *n, usec_t now); /* an unproven hub after a failed join */
void link_try_now(struct node *n, usec_t now);
void link_lost(struct node *n, const char *why, bool tell_edge, usec_t now);
void link_send(struct node *n, const struct signal *s, usec_t now);
/* A datagram for a peer's relay index. */
void link_relay(struct node *n, uint32_t relay, bool control, const uint8_t *p, size_t len);
uint64_t link_ping(struct node *n, usec_t now); /* the token that its pong brings back */
usec_t link_wake(const struct node *n);
void link_tick(struct node *n, usec_t now);
/* ring.c */
int ring_init(struct ring *r, size_t cap);
void ring_done(struct ring *r);
/* Appends a relay frame; the oldest make room. Number of frames dropped. */
size_t ring_put(struct ring *r, const uint8_t header[RELAY_HEADER_LEN], const uint8_t *p, size_t n);
/* Moves whole frames to out while they fit into room bytes. */
size_t ring_take(struct ring *r, struct buf *out, size_t room);

/* peers.c */
struct node_peer *peer_by_id(const struct node *n, const uint8_t id[NODE_ID_LEN]);
struct node_peer *peer_by_ref(const struct node *n, uint32_t ref);
struct node_peer *peer_need(struct node *n, const uint8_t id[NODE_ID_LEN], usec_t now);
/* No common party any more: closed and freed by the next peers_pump, for its session may be the one that is
 * speaking. */
void peer_doom(struct node *n, struct node_peer *p);
void peers_free(struct node *n);
/* Whether any party of ours has it; its key is written to *key where wanted, and then has to be readable, too. */
bool peer_common(const struct node *n, const uint8_t id[NODE_ID_LEN], struct sign_public *key);
bool peer_eager(const struct node *n, const uint8_t id[NODE_ID_LEN]);
/* The hub shows it in np (bit). */
void peer_online(struct node *n, struct node_peer *p, const struct node_party *np, uint32_t relay,
                 bool we_came_later, usec_t now);
/* Not any more in the parties of these bits. */
void peer_offline(struct node *n, struct node_peer *p, uint64_t bits, usec_t now);
void peers_link_lost(struct node *n, usec_t now);
/* It proved itself there, and just now: what is only authentic may be a copy. */
void peer_adopt(struct node *n, struct node_peer *p, uint32_t relay, usec_t now);
bool peer_has_way(const struct node_peer *p);
/* Seals in place and sends. Error of session_seal. */
int peer_seal(struct node *n, struct node_peer *p, enum inner_kind kind, uint32_t tag, uint8_t *buf,
              size_t len, usec_t now);
bool peer_connected(const struct node_peer *p); /* keys and a usable path */
enum peer_state { PEER_OFFLINE, PEER_CONNECTING, PEER_CONNECTED, PEER_DEGRADED, PEER_STATE_COUNT };
enum peer_state peer_state(const struct node_peer *p);
const char *peer_state_name(enum peer_state s);
void peer_demand(struct node *n, struct node_peer *p, usec_t now);
/* buf: DATA_HEADROOM, len bytes, DATA_TAILROOM; sealed in place. */
void peer_send(struct node *n, struct node_peer *p, const struct node_party *np, uint8_t *buf, size_t len,
               usec_t now);
void peer_flush_wait(struct node *n, struct node_peer *p, usec_t now);
void peer_touch(struct node *n, struct node_peer *p);
void peers_pump(struct node *n, usec_t now); /* what touched peers have to send */
void peers_pump_one(struct node *n, struct peer_session *ps, usec_t now);
void peer_tick(struct node *n, struct node_peer *p, usec_t now);
void peer_traffic(const struct node_peer *p, struct peer_totals *t);

/* handshakes.c */
/* What a peer sealed for a party, opened: to its switch. */
void payload_input(struct node *n, struct node_peer *p, const struct session_in *in, usec_t now);
void session_drop_slot(struct node *n, struct peer_session **slot);
void peer_start(struct node *n, struct node_peer *p, const struct origin *via, usec_t now);
void peer_retry_later(struct node *n, struct node_peer *p, usec_t now);
/* One datagram of types 4, 5, 6, in place. */
void peers_input(struct node *n, const struct origin *from, uint8_t *p, size_t len, usec_t now);
void peer_events(struct node *n, struct peer_session *ps, usec_t now);

/* messages.c: control messages between engines */
void message_input(struct node *n, struct peer_session *ps, uint32_t in_way, uint8_t type, struct bytes m,
                   usec_t now);
void message_heads(struct node *n, struct node_peer *p, usec_t now);
int message_ping(struct node *n, struct node_peer *p, uint64_t nonce, usec_t now);
int message_log_get(struct node *n, struct node_peer *p, const struct node_party *np, usec_t now);
size_t heads_common(const struct node *n, const uint8_t peer[NODE_ID_LEN],
                    struct hs_head heads[HS_HEADS_MAX]);

/* parties.c */
struct node_party *np_by_ref(const struct node *n, uint32_t ref);
struct node_party *np_by_id(const struct node *n, const uint8_t id[PARTY_ID_LEN]);
struct node_party *np_new(struct node *n, const uint8_t id[PARTY_ID_LEN]); /* NULL: too many, or no memory */
void np_forget(struct node *n, struct node_party *np, usec_t now); /* out of memory and from the disk */
void np_free(struct node_party *np);
const struct party_member *np_self(const struct node *n, const struct node_party *np);
int np_activate(struct node *n, struct node_party *np, usec_t now);
/* After one or more entries were taken: save, switch, peers, device, gossip. */
void np_changed(struct node *n, struct node_party *np, usec_t now);
void np_device_wish(struct node *n, struct node_party *np, usec_t now);
/* The device for host `ip4` before we are a member by the log. */
void np_device_open(struct node *n, struct node_party *np, uint16_t host, usec_t now);
void np_device_close(struct node *n, struct node_party *np);
bool np_device_settled(const struct node *n, const struct node_party *np);
usec_t np_wake(const struct node_party *np);
void np_tick(struct node *n, struct node_party *np, usec_t now);
void alert_raise(struct node *n, const struct node_party *np, const char *code, const char *source,
                 usec_t now, const char *fmt, ...) __attribute__((format(printf, 6, 7)));

/* log_sync.c */
void np_subscribe(struct node *n, struct node_party *np, const struct invite *inv, usec_t now);
void np_fetch(struct node *n, struct node_party *np, usec_t now);
void np_presence(struct node *n, const struct node_party *np, usec_t now);
void log_from_hub(struct node *n, const struct signal *s, usec_t now);
void peers_from_hub(struct node *n, const struct signal *s,
                    usec_t now); /* peer-list, peer-joined, peer-left, presence */
/* An error about a party that answers no append. */
void np_hub_error(struct node *n, const uint8_t party[PARTY_ID_LEN], const char *code, const char *message,
                  usec_t now);
void strangers_retry(struct node *n, struct node_party *np, usec_t now);
/* An entry that a peer sent. */
void log_from_peer(struct node *n, struct node_party *np, struct node_peer *p, struct bytes entry,
                   usec_t now);
/* Where a peer's copy stands; told_by_hub: in the hub's words. */
void head_claimed(struct node *n, struct node_peer *p, const struct hs_head *h, bool told_by_hub, usec_t now);
void heal_begin(struct node *n, struct node_party *np, uint64_t from, usec_t now);
bool heal_error(struct node *n, uint32_t ref, const char *code, usec_t now);
uint32_t log_append_send(struct node *n, const uint8_t *party, struct bytes entry, bool create,
                         usec_t now); /* ref */
usec_t log_wake(const struct node_party *np);
void log_tick(struct node *n, struct node_party *np, usec_t now);

/* requests.c */
struct request *request_new(struct node *n, uint32_t id, enum request_kind kind,
                            usec_t now);             /* NULL, answered */
void request_end(struct node *n, struct request *r); /* frees; a party that was being joined goes with it */
void requests_free(struct node *n);
bool request_lives(const struct node *n, const struct request *r); /* r may have been freed */
struct request *request_by_op(const struct node *n, uint32_t ref);
/* result is taken over. */
void reply_ok(struct node *n, uint32_t id, json_t *result, uint32_t depends);
void reply_progress(struct node *n, uint32_t id, json_t *progress);
void reply_error(struct node *n, uint32_t id, const char *code, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
/* The same, ending the request. */
void request_ok(struct node *n, struct request *r, json_t *result);
void request_fail(struct node *n, struct request *r, const char *code, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
/* Something happened that requests may wait for: tries to go on with each of them (of one party, or all with
 * 0). */
void requests_go_on(struct node *n, uint32_t party_ref, usec_t now);
void requests_link_lost(struct node *n, usec_t now);
void requests_link_failed(struct node *n, usec_t now);
usec_t requests_wake(const struct node *n);
void requests_tick(struct node *n, usec_t now);
/* Chosen by name, id or its beginning; arg NULL: the only one. NULL: answered. */
struct node_party *choose_party(struct node *n, uint32_t id, const char *arg);
struct node_party *choose_writable(struct node *n, uint32_t id, const char *arg);
/* A member of np, or of any party where np is NULL, by name, id or address; *found: where. NULL: answered. */
const struct party_member *choose_member(struct node *n, uint32_t id, const struct node_party *np,
                                         const char *arg, struct node_party **found);

/* changes.c, joining.c, looking.c: handlers of commands and the steps of their requests */
typedef void command_handler(struct node *n, uint32_t id, const json_t *rq, usec_t now);
command_handler cmd_invite, cmd_invite_list, cmd_invite_revoke, cmd_kick, cmd_role, cmd_rename, cmd_lease,
    cmd_policy, cmd_leave;
command_handler cmd_create, cmd_join;
command_handler cmd_status, cmd_peers, cmd_id, cmd_party_list, cmd_party_log, cmd_metrics, cmd_debug_dump,
    cmd_ping, cmd_netcheck, cmd_route;
void change_go_on(struct node *n, struct request *r, usec_t now);
void change_acked(struct node *n, struct request *r, uint64_t seq, usec_t now);
void change_refused(struct node *n, struct request *r, const char *code, const char *message, usec_t now);
void join_go_on(struct node *n, struct request *r, usec_t now);
void join_acked(struct node *n, struct request *r, uint64_t seq, usec_t now);
void join_refused(struct node *n, struct request *r, const char *code, const char *message, usec_t now);
void ping_go_on(struct node *n, struct request *r, usec_t now);
usec_t ping_wake(const struct request *r);
void ping_answered(struct node *n, struct node_peer *p, uint32_t path, uint64_t nonce, usec_t now);
void netcheck_go_on(struct node *n, struct request *r, bool timed_out, usec_t now);
/* What the hub's word for a refusal means for a person. */
const char *refusal_text(const char *code, const char *message);
void text_wipe(json_t *text); /* a secret that came or goes as JSON; NULL is fine */
const char *arg_text(const json_t *rq, const char *key); /* NULL: absent or not text */
/* An integer between min and max, or `otherwise` where absent. false: something else, answered. */
bool arg_number(struct node *n, uint32_t id, const json_t *rq, const char *key, json_int_t range[3],
                json_int_t *out);

/* status.c */
json_t *status_json(const struct node *n, usec_t now);
json_t *peers_json(const struct node *n, const struct node_party *np, usec_t now);
json_t *alerts_json(const struct node *n);
json_t *hub_json(const struct node *n);
json_t *ciphers_json(const struct node *n);
json_t *ms_json(usec_t t); /* null for 0 */
json_t *
text_json(const char *s); /* never NULL: what was cut inside a letter loses it, what is no text becomes "?" */
void ip4_text(char out[16], uint32_t ip4);
void ip6_text(char out[46], const uint8_t ip6[16]);
const char *role_name(enum party_role r);
bool role_of(const char *name, enum party_role *r);
const char *mode_name(enum party_mode m);
/* metrics.c */
int metrics_text(const struct node *n, struct buf *out);
/* The path of the moment is to be w (NULL: none); p still knows the one before. */
void move_made(struct node *n, struct node_peer *p, struct way *w, usec_t now);
const char *counter_name(enum node_counter c);

static inline void count(struct node *n, enum node_counter c)
{
    n->counts[c]++;
}

#endif
