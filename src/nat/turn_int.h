/* Inside the TURN client: turn.c is the allocation and its transactions, turn_peers.c permissions, channels
 * and data. */
#ifndef WARREN_NAT_TURN_INT_H
#define WARREN_NAT_TURN_INT_H

#include "base/buf.h"
#include "nat/turn.h"

#define TURN_REQUEST_MAX    1280
#define TURN_ALGORITHMS_MAX 64 /* PASSWORD-ALGORITHMS, kept to be sent back */
#define TURN_KEY_MAX        32
#define TURN_CHANNEL_FIRST  0x4000
#define TURN_CHANNEL_LAST   0x4fff

/* A request under way. It is written anew for each retransmission. */
struct turn_tx {
    bool active, proving; /* proving: it is signed, so that the answer has to be */
    uint8_t txid[STUN_TXID_LEN];
    usec_t began, due; /* due: next retransmission, or, after the last, the end */
    unsigned sends, challenges;
    bool odd;          /* a challenge came that cannot be used */
    uint16_t unproven; /* the error of an answer that was not signed, to be named if no better one comes */
};

struct turn_permission {
    bool used;
    struct net_addr ip; /* port 0 */
    bool refused;
    usec_t touched;  /* last use */
    usec_t until;    /* it stands */
    usec_t renew_at; /* while no request is under way; USEC_NEVER: it may lapse */
    struct turn_tx tx;
};

struct turn_peer {
    bool used;
    struct net_addr addr;
    unsigned sent; /* as indications */
    bool heard;
    uint16_t number; /* 0: none chosen */
    usec_t touched, until, renew_at;
    struct turn_tx tx;
};

enum turn_ask {
    TURN_ASK_ALLOCATE,
    TURN_ASK_REFRESH,
    TURN_ASK_CLEAR /* an allocation of an earlier run */,
    TURN_ASK_RELEASE
};

struct turn {
    enum turn_transport transport;
    struct net_addr configured, server;
    char username[TURN_USERNAME_MAX + 1], password[TURN_PASSWORD_MAX + 1];
    uint8_t family, prefix[4];
    struct rng rng;
    enum turn_state state;

    bool has_key, integrity256, sha256, redirected;
    unsigned mismatches; /* 437 in answer to this start's Allocate */
    uint8_t key[TURN_KEY_MAX];
    size_t key_len, realm_len, nonce_len, algorithms_len;
    uint8_t realm[TURN_REALM_MAX], nonce[TURN_NONCE_MAX], algorithms[TURN_ALGORITHMS_MAX];

    enum turn_ask ask;
    struct turn_tx tx;
    struct net_addr relayed, mapped;
    usec_t refresh_at, expires, sent_at, rto;

    struct turn_permission permissions[TURN_PEERS_MAX];
    struct turn_peer peers[TURN_PEERS_MAX];
    uint16_t next_channel;

    struct turn_event events[TURN_EVENTS_MAX];
    size_t event_at, event_count;
    bool has_data; /* UDP: the datagram of the latest turn_input */
    struct turn_event data;
    struct buf stream;
    size_t stream_at;
    usec_t stream_now; /* of the latest turn_input */

    uint8_t request[TURN_REQUEST_MAX], send[STUN_MESSAGE_MAX + 8];
    struct turn_counts counts;
};

/* turn.c */
void turn_tx_begin(struct turn *t, struct turn_tx *x, usec_t now);
void turn_push(struct turn *t, const struct turn_event *ev);
void turn_lose(struct turn *t, uint16_t code, const char *why);

/* turn_peers.c */
void turn_peers_start(struct turn *t, usec_t now); /* the allocation stands: ask for what was wanted */
void turn_peers_stop(struct turn *t);              /* it does not: nothing stands any more */
void turn_peers_tick(struct turn *t, usec_t now);  /* renewals, not transactions */
usec_t turn_peers_wake(const struct turn *t);
void turn_permission_done(struct turn *t, struct turn_permission *p, usec_t now);
void turn_permission_failed(struct turn *t, struct turn_permission *p, uint16_t code,
                            usec_t now); /* 0: no answer */
void turn_peer_done(struct turn *t, struct turn_peer *p, usec_t now);
void turn_peer_failed(struct turn *t, struct turn_peer *p, uint16_t code, usec_t now);
/* false: nobody we know, discarded; true: ev is the data. */
bool turn_channel_data(struct turn *t, struct bytes in, usec_t now, struct turn_event *ev);
bool turn_indication(struct turn *t, const struct stun_message *m, usec_t now, struct turn_event *ev);

#endif
