/* What a member that relays tells those that it has a session with: whom else it reaches, and how well
 * (doc/protocol/relays.md section 1). And the pieces in which messages of the handshake cross a circuit,
 * whose datagrams are smaller (section 3).
 *
 *   offer  flags u8 | count u8 | legs
 *   leg    first bytes of the node id[8] | rtt u16, in 100 us | loss u8, in percent
 *   piece  type u8 = 7 | index u8 | count u8 | zero u8 | message u32 | bytes (1 to 1100) */
#ifndef WARREN_WIRE_OFFER_H
#define WARREN_WIRE_OFFER_H

#include "base/bytes.h"

#define OFFER_LEGS_MAX 64
#define OFFER_ID_LEN   8
#define OFFER_LEG_LEN  (OFFER_ID_LEN + 3)
#define OFFER_MAX      (2 + OFFER_LEGS_MAX * OFFER_LEG_LEN)

#define OFFER_RELAYS 1 /* takes circuits through itself */
#define OFFER_FLAGS  1

#define OFFER_RTT_UNIT 100 /* microseconds */

struct offer_leg {
    uint8_t node[OFFER_ID_LEN];
    uint16_t rtt; /* in OFFER_RTT_UNIT; what is longer is 65535 */
    uint8_t loss; /* percent: 0 to 100 */
};
struct offer {
    uint8_t flags;
    size_t count;
    struct offer_leg leg[OFFER_LEGS_MAX];
};
/* 0 or -EBADMSG: unknown flags, too many legs, a loss over 100, too short or too long. */
int offer_read(struct offer *o, struct bytes in);
void offer_write(struct wr *w, const struct offer *o);

#define PIECE_TYPE       7 /* first byte: beside those of wire/data.h, and only inside circuits */
#define PIECE_HEADER_LEN 8
#define PIECE_DATA_MAX   1100
#define PIECES_MAX       15 /* of one message: enough for HS_MESSAGE_MAX */

struct piece {
    uint32_t message; /* the same for all pieces of one message, and for the same message sent again */
    uint8_t index, count;
    struct bytes data; /* all but the last are PIECE_DATA_MAX long */
};
/* 0 or -EBADMSG: another type, an index that is not below the count, a count of 0, 1 or over PIECES_MAX, data
 * that is empty, too long, or not as long as its place wants. */
int piece_read(struct piece *p, struct bytes in);
void piece_write(struct wr *w, const struct piece *p);

#endif
