/* The inside of a session, shared by the files of this folder. session.c: owner's verbs, queues, timers;
 * handshake.c: until UP; packet.c: keys and data packets; control.c: control messages; rekey.c; resume.c. */
#ifndef WARREN_SESSION_SESSION_INT_H
#define WARREN_SESSION_SESSION_INT_H

#include "crypto/aead.h"
#include "session/lane.h"
#include "session/schedule.h"
#include "session/session.h"
#include "wire/rekey.h"
#include "wire/resume.h"

#define OUT_MAX        128 /* datagrams waiting for session_output */
#define EVENTS_MAX     64  /* events waiting for session_event; then the oldest that is not UP or DOWN goes */
#define ASSEMBLIES_MAX 8   /* control messages with pieces missing */
#define ASSEMBLY_LIFE  (10 * SEC)
#define RESUMES_MAX    8 /* in progress, in each role */
#define RESUME_RETRY   (250 * MSEC)
#define RESUME_TRIES   4
#define RESUME_LIFE    (3 * SEC) /* how long an answered request is remembered, for messages sent again */
#define REKEY_BACKOFF  16        /* the resend interval grows to this many times rekey_retry */
#define CONTROL_RESERVE                                                                                      \
    65536 /* counters kept for control messages when a key is used up, so that a rekey still works */

/* One epoch's keys. */
struct keys {
    struct lane *lane;
    uint32_t epoch;
    usec_t since;
    uint64_t opened; /* packets, as far as the session knows of them */
};

enum key_slot { KEYS_PREVIOUS, KEYS_CURRENT, KEYS_NEXT, KEYS_COUNT };

struct message {
    uint8_t *p;
    size_t n;
};

/* Everything that only the handshake needs. */
struct handshake {
    struct sign_public peer_public;
    struct hs_head heads[HS_HEADS_MAX];
    uint8_t head_count;
    struct net_addr addrs[HS_ADDR_MAX];
    uint8_t addr_count;
    struct net_addr seen;
    uint8_t dh_private[X25519_LEN];
    uint8_t kem_seed[KEM_SEED_LEN];        /* responder */
    struct message hello, challenge, last; /* last: RESPONSE or ESTABLISHED */
    uint8_t response_hash[SHA384_LEN];     /* responder, when up: to know the same RESPONSE again */
    struct hs_keys keys;                   /* initiator, after RESPONSE */
    struct session_keys session;           /* likewise */
    usec_t give_up, full_give_up, retry_at, retry_interval, answered_at;
    bool rejected;
};

enum rekey_state {
    REKEY_IDLE,
    REKEY_ASKED,    /* initiator: INIT is out */
    REKEY_ANSWERED, /* responder: REPLY is out, the next epoch is installed */
    REKEY_CONFIRM   /* initiator: sends with the new epoch, has not heard it yet */
};

struct rekey {
    enum rekey_state state;
    bool wanted;       /* by the owner, by volume or by the peer */
    usec_t not_before; /* a rekey does not begin sooner: packets under way may still need the previous keys */
    usec_t resend_at, interval;
    uint16_t id;
    uint8_t dh_private[X25519_LEN];
    uint8_t kem_seed[KEM_SEED_LEN];
    struct message init, reply;
    uint8_t chain[SHA384_LEN]; /* responder: the chain secret once the next epoch is current */
};

/* One RESUME in progress. asker: we sent the request. */
struct resume {
    bool used, asker, proven;
    uint32_t path;      /* ours */
    uint32_t peer_path; /* the requester's number, which is path where we ask */
    uint8_t request[RESUME_MESSAGE_MAX], response[RESUME_MESSAGE_MAX];
    size_t request_n, response_n;
    unsigned tries;
    usec_t resend_at, until;
};

struct assembly {
    bool used;
    uint8_t type, count, have;
    uint16_t id;
    size_t total;
    usec_t since;
    struct message pieces[CTL_FRAGMENTS_MAX];
};

struct out_node {
    struct out_node *next;
    uint32_t path;
    bool handshake;
    size_t n;
    uint8_t p[];
};

struct event_node {
    struct event_node *next;
    struct session_event ev;
    _Alignas(8) uint8_t payload[];
};

struct session {
    const struct sign_key *key;
    uint8_t self[NODE_ID_LEN], peer[NODE_ID_LEN];
    uint32_t index, peer_index;
    uint8_t ciphers; /* as on the wire, with HS_PREFER_AES */
    struct rng rng;
    const struct session_limits *limits;

    enum session_state state;
    bool initiator;
    enum aead_alg cipher;
    struct handshake *hs;
    struct keys *keys[KEYS_COUNT];
    uint8_t chain[SHA384_LEN], resume_key[RESUME_KEY_LEN], id[SESSION_ID_LEN];
    usec_t up_since, previous_until, rekey_after;
    uint16_t mtu;
    struct rekey rekey;
    uint16_t next_ctl_id;
    struct assembly *assemblies; /* ASSEMBLIES_MAX, made when the first is needed */
    struct resume *resumes;      /* RESUMES_MAX for each role, likewise */
    uint8_t view[RESUME_VIEW_MAX];
    size_t view_n;
    uint64_t resume_number, resume_seen_top,
        resume_seen; /* ours; the peer's highest and a bitmap of 64 behind it */

    struct out_node *out_first, *out_last, *out_taken;
    size_t out_count;
    struct event_node *event_first, *event_last, *event_taken;
    struct event_node *spare_up, *spare_down; /* memory for the events that must not be lost */
    size_t event_count;
    struct session_info info;
};

/* The result of a refusal: every function that judges the peer's bytes returns one of these, or DROP_NONE. A
 * failure of memory drops the datagram too and is told apart by nobody: the peer sends again. */

/* session.c */
/* A copy into the queue; lost when it is full or memory fails, like a datagram on the way. */
void queue_out(struct session *s, uint32_t path, bool handshake, struct bytes datagram);
struct out_node *out_new(uint32_t path, bool handshake, size_t n); /* NULL when memory fails */
void queue_node(struct session *s, struct out_node *o);            /* takes it */
/* False: memory failed and the event is lost. UP and DOWN never are. */
bool queue_event(struct session *s, const struct session_event *ev, struct bytes payload);
void queue_heads(struct session *s, const struct hs_head *heads, uint8_t count);
void session_die(struct session *s, enum session_down why);
void session_wipe(struct session *s); /* everything but the queues */
int message_set(struct message *m, struct bytes in);
void message_clear(struct message *m);

/* handshake.c */
struct handshake *handshake_new(const struct session_config *c);
void handshake_free(struct handshake *h);
int handshake_start(struct session *s, usec_t now);
enum session_drop handshake_input(struct session *s, struct bytes in, usec_t now);
usec_t handshake_wake(const struct session *s);
void handshake_tick(struct session *s, usec_t now);
/* The first data packet of the peer: the responder's caches have done their work. */
void handshake_confirmed(struct session *s);

/* packet.c */
struct keys *keys_new(const struct session *s, uint32_t epoch, const struct traffic_keys *t, usec_t now);
void keys_free(struct session *s, struct keys *k); /* what it carried is added to s->info */
int packet_seal(struct session *s, enum inner_kind kind, uint32_t party, uint8_t *buf, size_t n);
enum session_drop packet_input(struct session *s, uint8_t *p, size_t n, usec_t now, struct session_in *in);
/* The slot moves: current becomes previous (receiving only), k becomes current. */
void keys_advance(struct session *s, struct keys *k, usec_t now);
bool keys_over_volume(const struct session *s, const struct keys *k);
/* They carried the owner's data: only then does time alone cause a rekey. */
bool keys_used(const struct keys *k);

/* control.c */
int control_send(struct session *s, uint32_t path, uint8_t type, uint16_t id, struct bytes message);
/* In one packet, whatever its size. */
int control_send_whole(struct session *s, uint32_t path, uint8_t type, uint16_t id, struct bytes message);
enum session_drop control_input(struct session *s, struct bytes payload, usec_t now);
void assemblies_free(struct session *s);

/* rekey.c */
void rekey_want(struct session *s, usec_t now);
enum session_drop rekey_input(struct session *s, uint8_t type, struct bytes message, usec_t now);
/* An authentic packet came under these keys. */
void rekey_heard(struct session *s, const struct keys *k, usec_t now);
usec_t rekey_wake(const struct session *s);
void rekey_tick(struct session *s, usec_t now);
void rekey_clear(struct rekey *r);

/* resume.c */
enum session_drop resume_input(struct session *s, uint32_t path, struct bytes in, usec_t now);
usec_t resume_wake(const struct session *s);
void resume_tick(struct session *s, usec_t now);
void resumes_free(struct session *s);

#endif
