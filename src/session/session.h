/* One peer, one secure session: handshake, keys, rekey, replay window, resume (doc/protocol/session.md). A
 * pure core.
 *
 * A session has keys and counters; how its bytes travel is somebody else's matter. The owner gives it every
 * datagram of types 4, 5 and 6 that names its index, sends what session_output yields, and drains
 * session_event. Keys outlive paths: when a path is lost and another is found, the owner calls session_resume
 * for the new one and only uses it for payload after SESSION_PATH_PROVEN.
 *
 * Order of calls, initiator: session_new, session_start, then input/output/event until SESSION_UP, then seal
 * and input. Responder: the owner reads the HELLO (wire/hs.h), judges from whom it comes, session_new,
 * session_input with that HELLO. Glare (both started): the one with the smaller node id stays initiator;
 * session_input handles it. */
#ifndef WARREN_SESSION_SESSION_H
#define WARREN_SESSION_SESSION_H

#include "base/buf.h"
#include "base/rng.h"
#include "base/time.h"
#include "crypto/aead.h"
#include "crypto/sign.h"
#include "session/lane.h"
#include "wire/hs.h"

/* Limits and intervals; tests shorten them. doc/protocol/session.md gives the reasons. */
struct session_limits {
    usec_t hs_retry, hs_retry_max; /* resend an unanswered message: 1 s, doubled to 8 s */
    usec_t hs_give_up;             /* 30 s: SESSION_DOWN with TIMEOUT */
    usec_t rekey_after;            /* 300 s of life with traffic */
    usec_t rekey_retry;            /* 1 s, the interval between resends of an unanswered rekey message */
    uint64_t rekey_packets;        /* 2^32 sealed packets */
    uint64_t rekey_bytes;          /* 2^36 sealed bytes */
    uint64_t seal_max;             /* 2^48 packets under one key, then -EKEYEXPIRED until a rekey */
    usec_t heartbeat;              /* 10 s told to the peer in ESTABLISHED */
    uint16_t mtu;                  /* largest datagram that a fragment of a control message may make: 1200 */
};
extern const struct session_limits session_limits_default;

struct session_config {
    const struct sign_key *key; /* ours; outlives the session */
    uint8_t self[NODE_ID_LEN], peer[NODE_ID_LEN];
    const struct sign_public *peer_public; /* from the party log, never from the wire; copied */
    uint32_t index;                        /* ours, unique among the owner's sessions; never 0 */
    uint8_t ciphers;                       /* mask of what this end takes, bit n: enum aead_alg n */
    bool prefer_aes;                       /* AES is at least as fast here as ChaCha20 (aead_prefers_aes) */
    const struct hs_head *heads; /* the heads of the parties that both are in; copied; at most HS_HEADS_MAX */
    size_t head_count;
    const struct net_addr *addrs; /* our addresses for RESPONSE; copied; may be none */
    size_t addr_count;
    struct net_addr seen; /* for ESTABLISHED: how the hub sees the peer; family 0 unknown */
    struct rng rng;
    const struct session_limits *limits; /* NULL: default; outlives the session */
};

enum session_state {
    SESSION_IDLE,
    SESSION_HELLO_SENT,
    SESSION_CHALLENGE_SENT,
    SESSION_RESPONSE_SENT,
    SESSION_UP_STATE,
    SESSION_DEAD,
    SESSION_STATE_COUNT
};

/* Why bytes were refused. Every refusal counts under its reason; session_drop_name gives the word for
 * metrics. */
enum session_drop {
    DROP_NONE,
    DROP_TRUNCATED,
    DROP_TYPE,
    DROP_VERSION,
    DROP_WRONG_IDENTITY,
    DROP_BAD_SIGNATURE,
    DROP_BAD_KEM,
    DROP_BAD_TAG,
    DROP_REPLAYED,
    DROP_TOO_OLD,
    DROP_UNKNOWN_INDEX,
    DROP_UNKNOWN_EPOCH,
    DROP_WRONG_STATE,
    DROP_NO_CIPHER,
    DROP_DOWNGRADE,
    DROP_BAD_INNER,
    DROP_BAD_MAC,
    DROP_BAD_CONTROL,
    DROP_GLARE,
    DROP_COUNT
};
const char *session_drop_name(enum session_drop d);

enum session_event_kind {
    SESSION_UP,          /* keys are there and the peer is proven */
    SESSION_DOWN,        /* reason below; the session is dead and may be freed */
    SESSION_HEADS,       /* the peer's heads, in heads/head_count (handshake or later gossip) */
    SESSION_REKEYED,     /* epoch */
    SESSION_PATH_PROVEN, /* path: both ends proved the keys over it */
    SESSION_PATH_FAILED, /* path: RESUME was not answered in time */
    SESSION_MESSAGE, /* an owner's control message (SESSION_CTL_APP + n) from the peer: ctl_type, message */
};
enum session_down { DOWN_TIMEOUT, DOWN_REJECTED, DOWN_CLOSED_BY_PEER, DOWN_EXHAUSTED };
const char *session_down_name(enum session_down d);

struct session_event {
    enum session_event_kind kind;
    enum session_down down;
    uint32_t path;
    uint32_t epoch;
    uint8_t head_count;
    const struct hs_head *heads; /* valid until the next call into the session */
    uint8_t ctl_type;
    struct bytes message; /* valid until the next call into the session */
};

struct session;
struct session *session_new(const struct session_config *c); /* NULL when memory fails */
void session_free(struct session *s);                        /* wipes */

/* Sends HELLO. 0, or -EALREADY. */
int session_start(struct session *s, usec_t now);

/* What session_input found in a data packet: decrypted in place, a view into the caller's datagram. */
struct session_in {
    uint8_t kind;  /* enum inner_kind; INNER_NULL also for everything that the session itself took */
    uint8_t flags; /* enum inner_flag */
    uint32_t party;
    uint8_t *p;
    size_t n;
};
/* One datagram of types 4, 5 or 6, decrypted in place. path: the owner's number for the way that it came,
 * opaque here. 0; or -EBADMSG with *drop set and counted: nothing changed. (Two exceptions: NO_CIPHER queues
 * a REJECT; a control message that the peer itself sealed but whose content is bad, BAD_CONTROL, uses up the
 * counters of its packets.) */
int session_input(struct session *s, uint32_t path, uint8_t *p, size_t n, usec_t now, struct session_in *in,
                  enum session_drop *drop);

/* Seals in place: the payload is at buf + DATA_HEADROOM, n bytes, with DATA_TAILROOM behind. On success buf
 * holds a datagram of n + DATA_OVERHEAD bytes. 0, -ENOTCONN before SESSION_UP, -EKEYEXPIRED when a key is
 * used up. */
int session_seal(struct session *s, enum inner_kind kind, uint32_t party, uint8_t *buf, size_t n, usec_t now);

/* A control message to the peer's owner: at most SESSION_CTL_MAX bytes, fragmented to limits.mtu and sealed;
 * not resent: the owner repeats what matters. ctl_type 0..SESSION_CTL_APP_COUNT-1. -ENOTCONN, -EMSGSIZE,
 * -ENOBUFS. */
#define SESSION_CTL_MAX       8192
#define SESSION_CTL_APP_COUNT 64
int session_message(struct session *s, uint8_t ctl_type, struct bytes message, usec_t now);
/* Same, on one given path (a probe must travel the way that it measures). */
int session_message_on(struct session *s, uint32_t path, uint8_t ctl_type, struct bytes message, usec_t now);

/* Same, in one packet whatever its size, of DATA_OVERHEAD and 5 bytes more than the message: for probes of how
 * large a datagram may be. -EMSGSIZE past SESSION_WHOLE_MAX. */
#define SESSION_WHOLE_MAX 2048
int session_probe_on(struct session *s, uint32_t path, uint8_t ctl_type, struct bytes message, usec_t now);

/* New heads of common parties for the peer (SESSION_HEADS there); not resent. -ENOTCONN, -EMSGSIZE, -ENOBUFS.
 */
int session_heads(struct session *s, const struct hs_head *heads, size_t count, usec_t now);

/* Opens a new path with the keys that exist (three messages). path: the owner's number; view: how this end
 * sees the path (kind and addresses, opaque, at most 64 bytes), authenticated and handed to nobody. 0,
 * -ENOTCONN, -EMSGSIZE, -EALREADY for a path in progress, -ENOBUFS. */
int session_resume(struct session *s, uint32_t path, struct bytes view, usec_t now);
/* The view in our answers to the peer's RESUMEs from now on; empty until set. 0 or -EMSGSIZE. */
int session_view(struct session *s, struct bytes view);
/* Starts a rekey now (initiator's side; the responder asks the initiator), or rekey_retry after the last one.
 * 0, -ENOTCONN, -EALREADY while one is in progress. */
int session_rekey(struct session *s, usec_t now);
/* Tells the peer (one sealed message, not resent) and becomes SESSION_DEAD. */
void session_close(struct session *s, usec_t now);

#define SESSION_PATH_ANY UINT32_MAX
struct session_out {
    uint32_t path;  /* SESSION_PATH_ANY: whichever the owner uses now */
    bool handshake; /* a handshake message: wants the reliable stream, must not be dropped first */
    uint8_t *p;     /* the datagram; valid until the next call into the session */
    size_t n;
};

/* What several threads may use at once of this session (session/lane.h): the lane that seals now, and those that open: of the current, the previous
 * and the next epoch; held by the session alone: who keeps one calls lane_hold. false before SESSION_UP. */
#define SESSION_LANES_MAX 3
struct session_lanes {
    struct lane *tx, *rx[SESSION_LANES_MAX]; /* NULL: none */
    uint64_t most;                           /* for lane_take */
};
bool session_lanes(const struct session *s, struct session_lanes *l);
/* Others used the lanes: what follows from that is seen to: an epoch that was heard is confirmed, a rekey by volume or time begins. To be called soon after, and
 * then at least every second while they do; outputs and events may follow. */
void session_lanes_used(struct session *s, usec_t now);

bool session_output(struct session *s, usec_t now, struct session_out *out);
bool session_event(struct session *s, struct session_event *ev);
usec_t session_wake(const struct session *s);
void session_tick(struct session *s, usec_t now);

enum session_state session_state(const struct session *s);
struct session_info {
    enum aead_alg cipher;
    uint32_t epoch, rekeys;
    usec_t up_since;
    bool initiator;
    uint8_t session_id[16];
    uint64_t tx_packets, tx_bytes, rx_packets, rx_bytes; /* inner payload bytes */
    uint64_t drops[DROP_COUNT];
    struct net_addr seen_by_peer; /* from ESTABLISHED */
    uint8_t peer_addr_count;
    struct net_addr peer_addrs[HS_ADDR_MAX];
    uint32_t peer_index;
    uint16_t peer_mtu; /* the rest from ESTABLISHED too */
    uint32_t peer_heartbeat_ms;
    bool peer_direct;
    uint8_t reject_reason; /* enum hs_reject_reason of the last REJECT, unauthenticated; 0: none */
};
void session_info(const struct session *s, struct session_info *info);
/* n bytes that both ends know and nobody else, the same for as long as the session lives (rekeys do not change
 * them), different for each label: HKDF-SHA-256 of the resume secret (doc/protocol/session.md section 5). 0, or
 * -ENOTCONN before SESSION_UP. */
int session_export(const struct session *s, const char *label, uint8_t *out, size_t n);
uint32_t session_index(const struct session *s);
/* Bytes of memory that the session holds now, queues included, OpenSSL's contexts not. */
size_t session_memory(const struct session *s);

#endif
