/* Relay frames: what a WebSocket binary message (and later a UDP relay datagram) holds, several in a row
 * (doc/protocol/hub.md section 4). A frame is 8 bytes and its payload:
 *
 *   0        1        2                 4                 8
 *   | kind   | zero   | payload length  | peer            | payload
 *
 * `peer` is a relay index that the hub gave out in welcome, peer-list and peer-joined: the receiver's on the way to the hub, the
 * sender's (stamped by the hub) on the way out. */
#ifndef WARREN_WIRE_RELAY_H
#define WARREN_WIRE_RELAY_H

#include "base/bytes.h"

#define RELAY_HEADER_LEN  8
#define RELAY_PAYLOAD_MAX 16384
#define RELAY_MESSAGE_MAX 65536 /* one WebSocket message */

enum relay_kind {
    RELAY_DATA = 1,      /* may be dropped, oldest first, when the receiver is slow */
    RELAY_CONTROL = 2,   /* handshakes: dropped last */
    RELAY_GONE = 3,      /* hub -> node: nobody has index `peer` any more, or it shares no party with you; no payload */
    RELAY_DROPPED = 4,   /* hub -> node: payload u32: so many frames to you were dropped since the last such notice */
    RELAY_KIND_COUNT
};

struct relay_frame {
    uint8_t kind;
    uint32_t peer;
    struct bytes payload;
};

/* Takes the next frame from r. 1: one read, 0: none left, -EBADMSG: the rest of the message is refused. */
int relay_frame_read(struct relay_frame *f, struct rd *r);
void relay_frame_write(struct wr *w, const struct relay_frame *f);
void relay_header_write(uint8_t out[RELAY_HEADER_LEN], uint8_t kind, uint32_t peer, size_t payload_len);

#endif
