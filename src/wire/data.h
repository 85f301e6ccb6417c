/* What every datagram of Warren begins with, on every path, and the data packet (doc/protocol/session.md
 * section 4).
 *
 *   0        1        2        3        4                 8                 16
 *   | type   | epoch  | own    | zero   | receiver index  | counter         | ciphertext ... | tag (16)
 *
 * Types are 4..15 so that STUN, DTLS, TURN channels and RTP can share the port (RFC 7983, RFC 9443). The
 * sixteen bytes are the AEAD's associated data; the nonce is four zero bytes and the counter. own is 1 where the
 * packet is between the sessions themselves (every kind but FRAME and PACKET), so that a receiver knows who takes it
 * before it is opened, and relays what to let pass first. Inside the ciphertext:
 *
 *   0        1        2        4                 8
 *   | kind   | flags  | zero   | party tag       | payload
 */
#ifndef WARREN_WIRE_DATA_H
#define WARREN_WIRE_DATA_H

#include "base/bytes.h"

#define WIRE_TYPE_MIN 4
#define WIRE_TYPE_MAX 15
enum wire_type { WIRE_DATA = 4, WIRE_RESUME = 5, WIRE_HANDSHAKE = 6 };

#define DATA_HEADER_LEN  16
#define DATA_COUNTER_AT  8
#define INNER_HEADER_LEN 8
#define DATA_TAG_LEN     16
/* What a caller leaves free before and behind the payload so that it is sealed in place. */
#define DATA_HEADROOM (DATA_HEADER_LEN + INNER_HEADER_LEN)
#define DATA_TAILROOM DATA_TAG_LEN
#define DATA_OVERHEAD (DATA_HEADROOM + DATA_TAILROOM)

struct data_header {
    uint8_t epoch;
    bool own;
    uint32_t receiver;
    uint64_t counter;
};

enum inner_kind {
    INNER_NULL = 0,   /* keepalive and key confirmation, no payload */
    INNER_FRAME = 1,  /* an Ethernet frame of the party */
    INNER_PACKET = 2, /* an IP packet of the party */
    INNER_CONTROL =
        3, /* a fragment of a control message between the two sessions (rekey, heads, probe ...) */
    INNER_CELL = 4, /* a cell of a circuit (doc/protocol/circuits.md) */
    INNER_KIND_COUNT
};

enum inner_flag {
    INNER_PARTIAL = 1 /* the upper checksum (TCP, UDP) holds the pseudo-header's sum alone: the AEAD vouches for the bytes,
                         and who hands them to somebody else than a kernel that knows this computes it */
};

struct inner_header {
    uint8_t kind;
    uint8_t flags;  /* enum inner_flag, with FRAME and PACKET alone; a packet with others is refused */
    uint32_t party; /* tag: the first 4 bytes of the party id; 0 for NULL, CONTROL and CELL */
};

/* Whether it carries the owner's payload: FRAME or PACKET. */
bool inner_is_payload(uint8_t kind);
/* 0 or -EBADMSG. in: the whole datagram (header, at least an inner header, tag). */
int data_header_read(struct data_header *h, struct bytes in);
/* Whether what begins in is a header that begins as `head`, of one that was read into *h before, so that only its counter is new: the datagrams of a
 * run differ in nothing else. False: nothing is said, and *h is as it was. */
static inline bool data_header_next(struct data_header *h, const uint8_t head[DATA_COUNTER_AT], struct bytes in)
{
    if (in.n < DATA_OVERHEAD || memcmp(head, in.p, DATA_COUNTER_AT) != 0)
        return false;
    struct rd r = rd_of(bytes_of(in.p + DATA_COUNTER_AT, sizeof h->counter));
    h->counter = rd_u64(&r);
    return true;
}
void data_header_write(const struct data_header *h, uint8_t out[DATA_HEADER_LEN]);
/* in: the inner header and the whole payload. 0, or -EBADMSG for an unknown kind, flags or reserved bits, a
 * payload behind NULL, and a party on NULL or CONTROL. */
int inner_header_read(struct inner_header *h, struct bytes in);
void inner_header_write(const struct inner_header *h, uint8_t out[INNER_HEADER_LEN]);
/* The type of a datagram, or -1 for an empty one or one outside 4..15. */
int wire_type_of(struct bytes in);
/* Bytes 4 to 7 of every datagram of types 4, 5 and 6: the index under which its receiver knows the session; 0
 * in HELLO. */
int wire_receiver_of(uint32_t *receiver, struct bytes in);

#endif
