/* Cells of circuits and what their layers hold (doc/protocol/circuits.md). A cell travels between two
 * neighbours inside their session; its layers are sealed for the hops of a circuit. Readers demand the exact
 * form, padding of zeros included; what they yield are views into the input. */
#ifndef WARREN_WIRE_CIRCUIT_H
#define WARREN_WIRE_CIRCUIT_H

#include "base/bytes.h"
#include "crypto/aead.h"
#include "crypto/dh.h"
#include "crypto/kem.h"
#include "crypto/sign.h"

#define CIRCUIT_VERSION 1

/* Forth is away from the builder, back is towards it. A circuit's number on a link is chosen by the link's
 * builder side. */
enum circuit_kind {
    CIRCUIT_CREATE = 1,  /* forth */
    CIRCUIT_CREATED = 2, /* back */
    CIRCUIT_FORTH = 3,
    CIRCUIT_BACK = 4,
    CIRCUIT_DESTROY_FORTH = 5,
    CIRCUIT_DESTROY_BACK = 6 /* also the refusal of a CREATE */
};

enum circuit_reason {
    CIRCUIT_CLOSED,    /* an end wished it so */
    CIRCUIT_UNKNOWN,   /* no such circuit (any more) */
    CIRCUIT_TIMEOUT,   /* nothing came for too long */
    CIRCUIT_GONE,      /* the next hop cannot be reached */
    CIRCUIT_NO_RELAY,  /* the hop does not relay for this party */
    CIRCUIT_NO_MEMBER, /* not a member of the party */
    CIRCUIT_BUSY,      /* a limit is reached */
    CIRCUIT_PROTOCOL,  /* a version or a step that the hop does not know */
    CIRCUIT_REASON_COUNT
};
const char *circuit_reason_text(enum circuit_reason r); /* words for people */

/* What a layer holds. */
enum circuit_command {
    CIRCUIT_PASS,     /* both: a layer for the next hop, or by it */
    CIRCUIT_DATA,     /* both: a datagram between the ends */
    CIRCUIT_EXTEND,   /* forth, to the last hop so far */
    CIRCUIT_EXTENDED, /* back: the next hop's answer */
    CIRCUIT_REFUSE,   /* back: EXTEND cannot be */
    CIRCUIT_KEEP,     /* forth, to the end */
    CIRCUIT_KEPT,     /* back: its answer */
    CIRCUIT_COMMAND_COUNT
};

#define CIRCUIT_HEADER_LEN  5 /* kind u8, circuit u32 */
#define CIRCUIT_COUNTER_LEN 6
#define CIRCUIT_COUNTER_MAX (((uint64_t)1 << 48) - 1)
/* What one layer adds: counter, command, tag. Every text is padded to a multiple of it, so that lengths do
 * not say how many follow. */
#define CIRCUIT_LAYER_LEN (CIRCUIT_COUNTER_LEN + 1 + AEAD_TAG_LEN)

#define CIRCUIT_OFFER_LEN   (2 + X25519_LEN + KEM_PUBLIC_LEN)
#define CIRCUIT_ANSWER_LEN  (X25519_LEN + KEM_CT_LEN + SIGN_SIG_LEN)
#define CIRCUIT_CREATED_LEN (CIRCUIT_HEADER_LEN + CIRCUIT_ANSWER_LEN)
#define CIRCUIT_CREATE_LEN  CIRCUIT_CREATED_LEN /* padded, so that no answer is longer than its question */
#define CIRCUIT_DESTROY_LEN (CIRCUIT_HEADER_LEN + 1)

/* The builder's half of the key agreement with one hop. */
struct circuit_offer {
    uint8_t cipher;     /* enum aead_alg */
    const uint8_t *dh;  /* X25519_LEN */
    const uint8_t *kem; /* KEM_PUBLIC_LEN */
    struct bytes all;   /* as read: goes into transcripts and on to the next hop; not used in writing */
};
/* The hop's half. */
struct circuit_answer {
    const uint8_t *dh;  /* X25519_LEN */
    const uint8_t *ct;  /* KEM_CT_LEN */
    const uint8_t *sig; /* SIGN_SIG_LEN */
    struct bytes all;   /* as in circuit_offer */
};

struct circuit_cell {
    enum circuit_kind kind;
    uint32_t circuit;             /* not 0 */
    uint32_t party;               /* CREATE */
    struct circuit_offer offer;   /* CREATE */
    struct circuit_answer answer; /* CREATED */
    enum circuit_reason reason;   /* DESTROY_* */
    struct bytes layer;           /* FORTH, BACK: counter, sealed text, tag */
};
/* 0, -EBADMSG, -EPROTONOSUPPORT (a CREATE of another version: kind and circuit are set). */
int circuit_cell_read(struct circuit_cell *c, struct bytes in);
void circuit_cell_write(struct wr *w, const struct circuit_cell *c);
/* kind and circuit alone: what stands before a layer. */
void circuit_header_write(struct wr *w, enum circuit_kind kind, uint32_t circuit);
/* 2 + 32 + 1568 bytes. */
void circuit_offer_write(struct wr *w, const struct circuit_offer *o);

/* An opened layer. */
struct circuit_text {
    enum circuit_command command;
    struct bytes data;            /* DATA: the datagram. PASS: the layer within */
    const uint8_t *node;          /* EXTEND: whom to; NODE_ID_LEN */
    struct circuit_offer offer;   /* EXTEND */
    struct circuit_answer answer; /* EXTENDED */
    enum circuit_reason reason;   /* REFUSE */
};
/* 0, -EBADMSG, -EPROTONOSUPPORT (an EXTEND of another version). */
int circuit_text_read(struct circuit_text *t, struct bytes in);
/* Without padding; PASS writes the command alone. */
void circuit_text_write(struct wr *w, const struct circuit_text *t);
/* Zeros until at least `least` bytes stand behind the command at w->p[from], and a multiple of
 * CIRCUIT_LAYER_LEN. */
void circuit_text_pad(struct wr *w, size_t from, size_t least);

uint64_t circuit_counter_read(struct rd *r);
void circuit_counter_write(struct wr *w, uint64_t counter);

#endif
