/* Signaling between node and hub: JSON text frames {"type","from","to","payload"} (doc/protocol/hub.md section 3). Decoded whole
 * and bounded: a message is at most SIGNAL_MAX bytes, nesting at most 8, unknown fields are ignored, a missing or ill-formed one
 * fails the message. Ids are 64 hex digits, binary is base64url without padding. `from` is stamped by the hub: what a node
 * writes there is ignored.
 *
 * type          direction      payload
 * challenge     hub -> node    nonce, version
 * login         node -> hub    node, keys, name, signature (context "warren login v1" over nonce || binding || node id)
 * welcome       hub -> node    token, expires, relay, seen, time [, udp {key, addrs[]}] [, turn {url, username, password, expires}]
 * join          node -> hub    party, since [, invite, proof]    subscribe to a party: answered by log and peer-list
 * leave         node -> hub    party                             unsubscribe
 * log           node -> hub    op=get: party, since; op=append: party, ref, entry; op=create: ref, entry
 *               hub -> node    op=entries: party, seq, entries[], more; op=ack: party, ref, seq
 * presence      node -> hub    party, seq, head                  where this node's copy of the log stands
 *               hub -> node    the same, from stamped
 * peer-list     hub -> node    party, peers[{node, relay, seq, head}]
 * peer-joined   hub -> node    party, peer {node, relay, seq, head}
 * peer-left     hub -> node    party, node, removed
 * signal, offer, answer, ice-candidate     both ways    party, data (opaque, sealed end to end by the ends)
 * error         hub -> node    code, message, ref, party
 * ping, pong    both ways      t
 */
#ifndef WARREN_WIRE_SIGNAL_H
#define WARREN_WIRE_SIGNAL_H

#include "base/addr.h"
#include "base/buf.h"
#include "base/text.h"
#include "crypto/sign.h"
#include "wire/entry.h"

#define SIGNAL_MAX         (64 * 1024)
#define SIGNAL_ENTRIES_MAX 6    /* entries in one log message */
#define SIGNAL_PEERS_MAX   128  /* peers in one peer-list; longer ones come in several */
#define SIGNAL_DATA_MAX    16384
#define SIGNAL_TOKEN_MAX   1024
#define SIGNAL_NONCE_LEN   32
#define SIGNAL_TEXT_MAX    255
#define SIGNAL_UDP_MAX     4    /* addresses of the hub's STUN server and UDP relay */
#define SIGNAL_UDP_KEY_LEN 32
#define SIGNAL_TURN_URL_MAX      255
#define SIGNAL_TURN_USER_MAX     127
#define SIGNAL_TURN_PASSWORD_MAX 63

enum signal_type {
    SIGNAL_CHALLENGE, SIGNAL_LOGIN, SIGNAL_WELCOME, SIGNAL_JOIN, SIGNAL_LEAVE, SIGNAL_LOG, SIGNAL_PRESENCE, SIGNAL_PEER_LIST,
    SIGNAL_PEER_JOINED, SIGNAL_PEER_LEFT, SIGNAL_SIGNAL, SIGNAL_OFFER, SIGNAL_ANSWER, SIGNAL_ICE_CANDIDATE, SIGNAL_ERROR,
    SIGNAL_PING, SIGNAL_PONG, SIGNAL_TYPE_COUNT
};

enum signal_error {
    SIGERR_BAD_MESSAGE, SIGERR_NOT_LOGGED_IN, SIGERR_LOGIN_FAILED, SIGERR_NOT_A_MEMBER, SIGERR_TARGET_OFFLINE,
    SIGERR_RATE_LIMITED, SIGERR_UNKNOWN_PARTY, SIGERR_STALE_HEAD, SIGERR_REFUSED, SIGERR_TOO_LARGE, SIGERR_LIMIT,
    SIGERR_REPLACED, SIGERR_SHUTTING_DOWN, SIGERR_INTERNAL, SIGERR_COUNT
};
const char *signal_error_code(enum signal_error e); /* "target_offline" */
const char *signal_error_text(enum signal_error e);
/* SIGERR_COUNT for an unknown code. */
enum signal_error signal_error_of(const char *code);

enum signal_log_op { LOG_OP_GET, LOG_OP_APPEND, LOG_OP_CREATE, LOG_OP_ENTRIES, LOG_OP_ACK };

struct signal_peer {
    uint8_t node[NODE_ID_LEN];
    uint32_t relay; /* index for relay frames; 0: not connected to this hub */
    uint64_t seq;   /* where its copy of the log stands */
    uint8_t head[ENTRY_HASH_LEN];
};

struct signal {
    enum signal_type type;
    bool has_from, has_to;
    uint8_t from[NODE_ID_LEN], to[NODE_ID_LEN];
    union {
        struct { uint8_t nonce[SIGNAL_NONCE_LEN]; uint32_t version; } challenge;
        struct { uint8_t node[NODE_ID_LEN]; struct sign_public keys; char name[NAME_CAP]; uint8_t signature[SIGN_SIG_LEN]; } login;
        struct { char token[SIGNAL_TOKEN_MAX + 1]; uint64_t expires, time; uint32_t relay; char seen[64];
                 bool has_udp; uint8_t udp_key[SIGNAL_UDP_KEY_LEN]; /* wire/udp_relay.h */
                 size_t udp_count; struct net_addr udp[SIGNAL_UDP_MAX]; /* 0.0.0.0 or ::, at the hub's own address of that family */
                 bool has_turn; char turn_url[SIGNAL_TURN_URL_MAX + 1], turn_user[SIGNAL_TURN_USER_MAX + 1],
                 turn_password[SIGNAL_TURN_PASSWORD_MAX + 1]; uint64_t turn_expires; /* calendar time */ } welcome;
        struct { uint8_t party[PARTY_ID_LEN]; uint64_t since; bool has_invite; uint8_t invite[INVITE_ID_LEN];
                 uint8_t proof[SIGN_SIG_LEN]; } join;
        struct { uint8_t party[PARTY_ID_LEN]; } leave;
        struct { enum signal_log_op op; uint8_t party[PARTY_ID_LEN]; uint64_t seq; /* since, seq */ uint32_t ref;
                 size_t count; struct bytes entries[SIGNAL_ENTRIES_MAX]; /* decoded; owned by the signal */ bool more; } log;
        struct { uint8_t party[PARTY_ID_LEN]; uint64_t seq; uint8_t head[ENTRY_HASH_LEN]; } presence;
        struct { uint8_t party[PARTY_ID_LEN]; size_t count; struct signal_peer *peers; /* owned by the signal */ bool more; } peer_list;
        struct { uint8_t party[PARTY_ID_LEN]; struct signal_peer peer; } peer_joined;
        struct { uint8_t party[PARTY_ID_LEN]; uint8_t node[NODE_ID_LEN]; bool removed; } peer_left;
        struct { uint8_t party[PARTY_ID_LEN]; struct bytes data; /* decoded; owned by the signal */ } forward;
        struct { char code[64]; char message[SIGNAL_TEXT_MAX + 1]; uint32_t ref; bool has_party; uint8_t party[PARTY_ID_LEN]; } error;
        struct { uint64_t t; } ping;
    } u;
    void *owned; /* what the views point into */
};

/* 0 or -EBADMSG (-ENOMEM). signal_done frees what the views point into, also after a failure. */
int signal_read(struct signal *s, struct bytes text);
void signal_done(struct signal *s);
/* Appends the JSON text of s (views may point anywhere). 0, -E2BIG, -ENOMEM. */
int signal_write(struct buf *out, const struct signal *s);
const char *signal_type_name(enum signal_type t);

#endif
