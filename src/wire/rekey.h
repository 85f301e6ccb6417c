/* Control messages between two sessions, inside data packets of kind INNER_CONTROL (doc/protocol/session.md
 * sections 5 and 6).
 *
 *   0        1                 3        4        5
 *   | type   | message id      | index  | count  | piece ...
 *
 * A message of one piece is index 0, count 1. Pieces may come in any order; equal (type, id, count) belong
 * together. */
#ifndef WARREN_WIRE_REKEY_H
#define WARREN_WIRE_REKEY_H

#include "crypto/dh.h"
#include "crypto/kem.h"
#include "wire/data.h"
#include "wire/hs.h"

#define CTL_HEADER_LEN    5
#define CTL_FRAGMENTS_MAX 16

enum ctl_type {
    CTL_REKEY_INIT = 1,  /* initiator: fresh keys for the next epoch */
    CTL_REKEY_REPLY = 2, /* responder: its half; it can receive the next epoch already */
    CTL_REKEY_DONE = 3,  /* under the new keys, each side: "I use them" */
    CTL_REKEY_WANT = 4,  /* responder: asks the initiator to begin */
    CTL_HEADS = 5,       /* heads of common parties */
    CTL_CLOSE = 6,       /* the sender forgets the session now; no content */
    CTL_APP = 64         /* and above: the owners' own */
};

struct ctl_header {
    uint8_t type;
    uint16_t id;
    uint8_t index, count;
};

struct rekey_init {
    uint32_t epoch; /* the one that these keys begin */
    uint8_t dh[X25519_LEN];
    const uint8_t *kem; /* KEM_PUBLIC_LEN; a view */
};
#define REKEY_INIT_LEN (4 + X25519_LEN + KEM_PUBLIC_LEN)

struct rekey_reply {
    uint32_t epoch;
    uint8_t dh[X25519_LEN];
    const uint8_t *ct; /* KEM_CT_LEN; a view */
};
#define REKEY_REPLY_LEN (4 + X25519_LEN + KEM_CT_LEN)

/* in: a whole inner payload; *piece is what follows the header, never empty unless the message is. 0 or
 * -EBADMSG. */
int ctl_header_read(struct ctl_header *h, struct bytes *piece, struct bytes in);
void ctl_header_write(struct wr *w, const struct ctl_header *h);
int rekey_init_read(struct rekey_init *m, struct bytes in);
void rekey_init_write(struct wr *w, const struct rekey_init *m);
int rekey_reply_read(struct rekey_reply *m, struct bytes in);
void rekey_reply_write(struct wr *w, const struct rekey_reply *m);
/* DONE and WANT: an epoch and nothing else. */
int rekey_epoch_read(uint32_t *epoch, struct bytes in);
void rekey_epoch_write(struct wr *w, uint32_t epoch);
#define REKEY_EPOCH_LEN 4
/* HEADS: hs_heads_read and the end. */
int ctl_heads_read(struct hs_head heads[HS_HEADS_MAX], uint8_t *count, struct bytes in);

#endif
