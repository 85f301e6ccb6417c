/* WebSocket frames (RFC 6455 section 5): what stands before the payload, and the mask over it. No extension,
 * so no reserved bits. Pure: bytes in, words out. */
#ifndef WARREN_IO_WS_FRAME_H
#define WARREN_IO_WS_FRAME_H

#include "base/bytes.h"

#define WS_HEAD_MAX    14
#define WS_CONTROL_MAX 125 /* bytes of payload of close, ping and pong */

enum ws_opcode { WS_CONTINUATION = 0, WS_TEXT = 1, WS_BINARY = 2, WS_CLOSE = 8, WS_PING = 9, WS_PONG = 10 };

struct ws_head {
    enum ws_opcode opcode;
    bool final, masked;
    uint8_t mask[4];
    uint64_t length; /* of the payload */
};

/* Bytes of the head that in begins with; 0: not whole yet; -EBADMSG: no such frame (an unknown kind, reserved
 * bits, a length written too long, a control frame in pieces or of more than WS_CONTROL_MAX). */
int ws_head_read(struct ws_head *h, struct bytes in);
/* Bytes written. */
size_t ws_head_write(uint8_t out[WS_HEAD_MAX], const struct ws_head *h);
/* Puts the mask on, or takes it off. The payload begins at p. */
void ws_mask(uint8_t *p, size_t n, const uint8_t mask[4]);

#endif
