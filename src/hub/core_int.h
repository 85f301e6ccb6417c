/* The hub's insides, shared by the files core*.c.
 *
 * A message is handled to its end before anything is closed: what goes wrong with other connections on the
 * way (a queue that overflows) only dooms them, and hub_settle, the last act of every public verb, ends the
 * doomed. So no list changes while somebody walks it. */
#ifndef WARREN_HUB_CORE_INT_H
#define WARREN_HUB_CORE_INT_H

#include "base/map.h"
#include "base/ratelimit.h"
#include "hub/core.h"
#include "hub/frames_int.h"
#include "hub/iptable_int.h"
#include "hub/list_int.h"
#include "hub/queue_int.h"
#include "hub/token.h"
#include "nat/stun_server.h"
#include "party/party.h"
#include "wire/udp_relay.h"

#define HUB_VERSION      1 /* of the signaling protocol, in challenge */
#define HUB_EVENTS_MAX   128
#define WHEEL_SLOTS      128 /* seconds that deadlines lie ahead at most; later ones are looked at again */
#define ROUTES_CACHED    8
#define TEXTS_IN_A_ROW   8         /* then relay frames get a turn */
#define RELAY_RECORD     16380     /* a message of frames and its header fill one TLS record */
#define BAD_MESSAGES_MAX 8         /* then the connection is closed */
#define EVICTIONS_MAX    8         /* for the memory of one record */
#define FLOOD_MAX        500       /* messages over the rate before the connection is closed */
#define CLOSE_GRACE      (5 * SEC) /* for a doomed connection to read its last messages */

/* WebSocket close codes (doc/protocol/hub.md section 6). */
#define CLOSE_GOING_AWAY 1001
#define CLOSE_POLICY     1008
#define CLOSE_INTERNAL   1011
#define CLOSE_TRY_LATER  1013
#define CLOSE_REPLACED   4001
#define CLOSE_SILENT     4002

/* One text message, shared by all queues that it stands in. */
struct text {
    uint32_t refs, n;
    uint8_t data[];
};

struct hub_party {
    uint8_t id[PARTY_ID_LEN];
    struct party *log;
    bool lost;        /* log is older than what the store has acknowledged */
    struct list subs; /* struct sub, in_party */
    struct list idle; /* in hub.idle while there are none */
};

/* One connection's subscription to one party. */
struct sub {
    struct list in_session, in_party;
    struct conn *conn;
    struct hub_party *party;
    bool full;      /* a member; otherwise a holder of an invite, who gets the log and is shown to nobody */
    bool streaming; /* entries from `next` on are on their way, as the connection takes them */
    bool list_due;  /* the peer-list follows them */
    uint8_t invite[INVITE_ID_LEN]; /* that let it in, while it is not full */
    uint64_t next;
    uint64_t until; /* the last entry to be shown; 0: all. A removed node sees the log up to its removal, and
                       no further */
    uint64_t seq;   /* presence */
    uint8_t head[ENTRY_HASH_LEN];
};

/* What was found out about one relay index, good while the hub's epoch is the same. */
struct route {
    uint32_t peer;
    uint64_t epoch;
    struct conn *to; /* NULL: nobody, or no party in common */
};

#define UDP_TOLD 8 /* peers that a device was lately told to be out of reach */

/* A device's side of the UDP relay. */
struct udp_device {
    uint8_t key[UDP_RELAY_KEY_LEN];
    uint64_t time_ms;                   /* of the last BIND */
    uint8_t nonce[UDP_RELAY_NONCE_LEN]; /* of the last BIND */
    bool asked;                         /* there was one */
    struct ratelimit binds, confirms, unbound;
    /* The address that the device has proven, until `until`; unbound: socket and at are meaningless. */
    bool bound;
    uint32_t socket, token;
    struct net_addr at;
    uint8_t bound_nonce[UDP_RELAY_NONCE_LEN];
    usec_t until;
    uint64_t turn, turn_cost; /* the last turn in which it sent, and what it asked for in that */
    struct {
        uint32_t peer;
        usec_t at;
    } told[UDP_TOLD];
};

/* A logged-in device. */
struct session {
    uint8_t node[NODE_ID_LEN];
    uint32_t relay;
    uint32_t sub_count;
    struct list subs; /* struct sub, in_session */
    struct ratelimit appends, relay_bytes;
    usec_t quota_told;
    struct route routes[ROUTES_CACHED];
    struct udp_device udp;
};

enum conn_out { OUT_IDLE, OUT_LISTED, OUT_NAMED };

struct conn {
    hub_conn id;
    struct net_addr remote;
    struct ip_entry *ip;
    uint8_t binding[32], nonce[SIGNAL_NONCE_LEN];
    usec_t opened, heard, pinged, told_rate, close_at;
    struct ratelimit messages;
    struct session *session; /* NULL before login */
    struct queue text;       /* of struct text * */
    struct frames frames;
    size_t text_bytes;
    uint32_t dropped; /* relay frames since the last notice */
    uint16_t flood;
    uint8_t bad, texts_row;
    enum conn_out out;
    bool closing, ended, close_listed; /* doomed; settled; the edge is or was told to close it */
    uint16_t close_code;
    const char *close_reason;
    struct list ready, close, wheel;
};

/* Why a datagram was not answered or relayed. */
enum udp_refusal {
    UDP_UNREADABLE, /* neither STUN nor a message of the relay */
    UDP_UNKNOWN_INDEX,
    UDP_BAD_MAC,
    UDP_REPLAYED,   /* a BIND that is not later than the last */
    UDP_STALE,      /* a CONFIRM of another BIND */
    UDP_BAD_COOKIE, /* from another address, or too late */
    UDP_OVER_RATE,
    UDP_NO_BINDING,
    UDP_BAD_TOKEN,
    UDP_PEER_IS_GONE,
    UDP_PEER_NOT_BOUND,
    UDP_SENDER_QUOTA,
    UDP_NO_MEMORY,
    UDP_OVER_SHARE, /* of a hub that is too busy for all */
    UDP_REFUSAL_COUNT
};

struct counters {
    uint64_t opened, refused_total, refused_ip, refused_memory;
    uint64_t login_ok, login_failed, login_limited, login_timeout, login_replaced;
    uint64_t texts[SIGNAL_TYPE_COUNT], texts_unreadable, texts_flood;
    uint64_t errors[SIGERR_COUNT], verdicts[PARTY_VERDICT_COUNT];
    uint64_t relay_frames, relay_bytes, relay_gone, relay_bad;
    uint64_t dropped_data, dropped_control, dropped_quota;
    uint64_t entries, parties_created, parties_loaded, closed_silent, closed_slow, closed_flood;
    uint64_t http[6]; /* by the first digit of the status */
    uint64_t store_errors;
    uint64_t udp_bound, udp_expired, udp_frames, udp_bytes, udp_told;
    uint64_t udp_refused[UDP_REFUSAL_COUNT];
};

struct udp_state; /* core_udp.c */

struct hub {
    struct hub_limits limits;
    struct store store;
    struct rng rng;
    struct token_key *token_key;
    usec_t clock_now, now; /* `now` of the running verb, for what it calls */
    uint64_t clock_unix;
    struct map *conns, *nodes, *relays,
        *parties; /* conn by number, conn by node id, conn by relay index, hub_party by id */
    struct iptable *ips;
    struct list ready, doomed, closing, idle;
    struct list wheel[WHEEL_SLOTS];
    uint64_t wheel_s; /* the second up to which the wheel has turned */
    size_t idle_count;
    size_t held;    /* memory of all queues */
    uint64_t epoch; /* counts changes of who may relay to whom */
    uint64_t logged_in, devices, party_total;
    bool down;
    struct udp_state *udp;                  /* NULL: no UDP */
    char turn_url[SIGNAL_TURN_URL_MAX + 1]; /* "": none */
    uint8_t turn_secret[64];
    size_t turn_secret_len;
    struct counters count;
    struct hub_event events[HUB_EVENTS_MAX];
    unsigned event_first, event_count;
};

/* core.c */
uint64_t hub_unix(const struct hub *h);
void hub_note(struct hub *h, int level, const char *event, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
void conn_doom(struct hub *h, struct conn *c, uint16_t code, const char *reason);
void hub_settle(struct hub *h);
void conn_schedule(struct hub *h, struct conn *c);
/* One more change of a log, or proof of an invite: each costs the hub signatures. By device and by address.
 */
bool conn_may_change(struct hub *h, struct conn *c);
/* "wn" of the log: the first 8 bytes in hex, enough to find a node by. */
const char *node_short(char out[17], const uint8_t node[NODE_ID_LEN]);
/* "/24" or "/48" of an address, for the log: whole ones are nobody's business. */
const char *addr_short(char out[64], const struct net_addr *a);
void addr_text(char *out, size_t cap, const struct net_addr *a);

/* core_out.c */
/* With one reference, of the caller; NULL when memory fails. */
struct text *text_new(struct hub *h, const struct signal *s);
void text_drop(struct hub *h, struct text *t);
/* Takes its own reference. NULL, a text that there was no memory for, loses the connection. */
void conn_push(struct hub *h, struct conn *c, struct text *t);
/* Memory failed for what c must not miss: it is closed, and comes back and asks anew. */
void conn_lose(struct hub *h, struct conn *c);
void conn_send(struct hub *h, struct conn *c, const struct signal *s);
/* What an error is about; all may be absent. */
struct error_about {
    const uint8_t *party, *node;
    uint32_t ref;
};
void conn_error(struct hub *h, struct conn *c, enum signal_error e, const struct error_about *about);
void conn_refuse(struct hub *h, struct conn *c, enum party_verdict v, const struct error_about *about);
void conn_relay(struct hub *h, struct conn *c, const struct relay_frame *f);
/* Whole frames of one kind and one sender for c, one behind the other, FRAMES_RUN_MAX bytes at most. */
struct relay_run {
    bool control;
    uint32_t sender; /* its relay index */
    struct bytes frames;
    uint32_t count;
};
/* False: c is closing, or they were dropped, counted and will be told. */
bool conn_relay_run(struct hub *h, struct conn *c, const struct relay_run *run);
void conn_ready(struct hub *h, struct conn *c);
void conn_drop_queues(struct hub *h, struct conn *c, bool texts_too);
bool conn_idle(const struct conn *c);
/* For hub_close_next, once. */
void conn_close_list(struct hub *h, struct conn *c);

/* core_login.c */
void login_challenge(struct hub *h, struct conn *c);
void login_handle(struct hub *h, struct conn *c, const struct signal *s);
void session_end(struct hub *h, struct conn *c);

/* core_party.c */
void party_join_handle(struct hub *h, struct conn *c, const struct signal *s);
void party_leave_handle(struct hub *h, struct conn *c, const struct signal *s);
void party_presence_handle(struct hub *h, struct conn *c, const struct signal *s);
void party_forward_handle(struct hub *h, struct conn *c, const struct signal *s);
/* The party, from memory or the store. 0, -ENOENT, -EIO, -ENOMEM. */
int hub_party_get(struct hub *h, const uint8_t id[PARTY_ID_LEN], struct hub_party **out);
int hub_party_adopt(struct hub *h, struct party *log,
                    struct hub_party **out); /* owns log, also when it fails */
int hub_party_reload(struct hub *h, struct hub_party *p);
void hub_party_free(struct hub_party *p);
void hub_party_trim(struct hub *h);
struct sub *sub_find(const struct session *s, const uint8_t party[PARTY_ID_LEN]);
void sub_end(struct hub *h, struct sub *sub);
void sub_stream(struct hub *h, struct sub *sub, uint64_t since, bool list_due);
/* Ends the subscription of somebody whose invite is worth nothing any more; says whether it did. */
bool sub_dismiss(struct hub *h, struct sub *sub);
void sub_announce(struct hub *h, struct sub *sub);
void sub_send_list(struct hub *h, struct sub *sub);
/* The next batch of a log that is on its way to c, as text in its queue. */
bool session_streaming(const struct conn *c);
void session_stream(struct hub *h, struct conn *c);
/* To every subscriber (members_only: every member) but one. */
void party_broadcast(struct hub *h, struct hub_party *p, const struct signal *s, const struct conn *but,
                     bool members_only);

/* core_log.c */
void log_handle(struct hub *h, struct conn *c, const struct signal *s);

/* core_relay.c */
/* The connection behind a relay index, if it and c are members of one party; NULL: nobody that c may reach.
 */
struct conn *relay_route(struct hub *h, struct conn *c, uint32_t peer);
/* Takes n bytes off what c may relay; false: too much, counted and said. */
bool relay_quota(struct hub *h, struct conn *c, size_t n);

/* core_udp.c */
int udp_state_open(struct hub *h, const struct hub_config *c);
void udp_state_free(struct udp_state *u);
void udp_session_begin(struct hub *h, struct session *s);
void udp_session_end(struct hub *h, struct session *s);
/* Ends a binding whose time is up. */
void udp_session_look(struct hub *h, struct session *s);
/* What `welcome` says of UDP. */
void udp_welcome(const struct hub *h, const struct session *s, struct signal *welcome);
size_t udp_binding_count(const struct hub *h);
uint64_t udp_stun_count(const struct hub *h, enum stun_verdict v);

/* core_metrics.c */
void metrics_write(const struct hub *h, struct buf *out);

#endif
