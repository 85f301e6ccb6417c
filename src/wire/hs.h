/* The handshake's messages (doc/protocol/session.md section 2). All begin: type 6, message number, version 16
 * bits, receiver index 32 bits (0 in HELLO). Readers demand the exact length; views point into the datagram.
 */
#ifndef WARREN_WIRE_HS_H
#define WARREN_WIRE_HS_H

#include "base/addr.h"
#include "crypto/kem.h"
#include "crypto/dh.h"
#include "crypto/sign.h"
#include "wire/data.h"

#define HS_VERSION     1
#define HS_NONCE_LEN   32
#define HS_HEADS_MAX   16
#define HS_ADDR_MAX    16 /* addresses in RESPONSE */
#define HS_MESSAGE_MAX 16384

#define HS_PREFER_AES 0x80 /* in a cipher mask: AES is at least as fast as ChaCha20 at this end */
#define HS_MTU_MIN    576

/* The sealed parts without their tags, at their longest; an address is at most 19 bytes. */
#define HS_RESPONSE_PAYLOAD_MAX    (SIGN_SIG_LEN + 1 + HS_ADDR_MAX * 19)
#define HS_ESTABLISHED_PAYLOAD_MAX (16 + 2 + 4 + 4 + 19 + 1)

enum hs_message { HS_HELLO = 1, HS_CHALLENGE = 2, HS_RESPONSE = 3, HS_ESTABLISHED = 4, HS_REJECT = 5 };

/* Where a party's log stands: gossiped in every handshake, so that a hub that shows two members different
 * logs is found out by the first two that talk. */
struct hs_head {
    uint8_t party[32];
    uint64_t seq;
    uint8_t hash[32];
};

struct hs_hello {
    uint32_t sender; /* the index under which the sender wants its data packets */
    uint8_t from[NODE_ID_LEN], to[NODE_ID_LEN];
    uint8_t nonce[HS_NONCE_LEN];
    uint8_t dh[X25519_LEN];
    uint8_t ciphers; /* bit n: enum aead_alg n; HS_PREFER_AES */
    uint8_t head_count;
    struct hs_head heads[HS_HEADS_MAX];
    const uint8_t *sig;       /* ED25519_SIG_LEN bytes; a view */
    struct bytes signed_part; /* all before it; a view */
};

struct hs_challenge {
    uint32_t sender, receiver;
    uint8_t nonce[HS_NONCE_LEN];
    uint8_t dh[X25519_LEN];
    const uint8_t *kem; /* KEM_PUBLIC_LEN; a view */
    uint8_t ciphers;    /* what the responder takes, as in HELLO: so the initiator can repeat the choice */
    uint8_t cipher;     /* the chosen one */
    uint8_t head_count;
    struct hs_head heads[HS_HEADS_MAX];
    const uint8_t *sig; /* SIGN_SIG_LEN; a view */
    struct bytes signed_part;
};

struct hs_response {
    uint32_t receiver;
    const uint8_t *ct;   /* KEM_CT_LEN; a view */
    struct bytes prefix; /* all before the sealed part: the associated data */
    struct bytes sealed; /* payload and tag */
};

struct hs_response_payload {
    uint8_t sig[SIGN_SIG_LEN];
    uint8_t addr_count;
    struct net_addr addrs[HS_ADDR_MAX]; /* where the initiator may be tried directly */
};

struct hs_established {
    uint32_t receiver;
    struct bytes prefix, sealed;
};

struct hs_established_payload {
    uint8_t session_id[16];
    uint16_t mtu;
    uint32_t heartbeat_ms, rekey_s;
    struct net_addr seen; /* the address under which the hub sees the peer; family 0: unknown */
    uint8_t direct;       /* 1: direct paths are possible from the responder's side */
};

/* Why a handshake was refused; unauthenticated, so a hint that ends nothing on its own: it only shortens a
 * wait. */
enum hs_reject_reason {
    HS_REJECT_NO_CIPHER = 1,
    HS_REJECT_VERSION = 2,
    HS_REJECT_BUSY = 3,
    HS_REJECT_UNKNOWN = 4
};
struct hs_reject {
    uint32_t receiver;
    uint8_t reason;
};

/* enum hs_message; -EBADMSG; -EPROTONOSUPPORT for another version. */
int hs_message_of(struct bytes in);
int hs_hello_read(struct hs_hello *m, struct bytes in);
int hs_challenge_read(struct hs_challenge *m, struct bytes in);
int hs_response_read(struct hs_response *m, struct bytes in);
int hs_response_payload_read(struct hs_response_payload *m, struct bytes in);
int hs_established_read(struct hs_established *m, struct bytes in);
int hs_established_payload_read(struct hs_established_payload *m, struct bytes in);
int hs_reject_read(struct hs_reject *m, struct bytes in);
/* Writers: the signed or sealed tail is left to the caller, who appends it. */
void hs_hello_write(struct wr *w, const struct hs_hello *m);         /* without sig */
void hs_challenge_write(struct wr *w, const struct hs_challenge *m); /* without sig */
void hs_response_write(struct wr *w, const struct hs_response *m);   /* the prefix */
void hs_response_payload_write(struct wr *w, const struct hs_response_payload *m);
void hs_established_write(struct wr *w, const struct hs_established *m); /* the prefix */
void hs_established_payload_write(struct wr *w, const struct hs_established_payload *m);
void hs_reject_write(struct wr *w, const struct hs_reject *m);
/* A list of heads, as HELLO, CHALLENGE and the gossip message hold it: count and heads. */
uint8_t hs_heads_read(struct rd *r, struct hs_head heads[HS_HEADS_MAX]);
void hs_heads_write(struct wr *w, const struct hs_head *heads, uint8_t count);

#endif
