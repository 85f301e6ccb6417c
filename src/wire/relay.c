#include "wire/relay.h"

#include <errno.h>
#include <string.h>

int relay_frame_read(struct relay_frame *f, struct rd *r)
{
    if (!rd_ok(r))
        return -EBADMSG;
    if (rd_left(r) == 0)
        return 0;
    struct relay_frame got = {0};
    got.kind = rd_u8(r);
    uint8_t zero = rd_u8(r);
    uint16_t len = rd_u16(r);
    got.peer = rd_u32(r);
    if (got.kind < RELAY_DATA || got.kind >= RELAY_KIND_COUNT || zero != 0 || len > RELAY_PAYLOAD_MAX)
        rd_fail(r);
    got.payload = rd_bytes(r, len);
    if (!rd_ok(r))
        return -EBADMSG;
    *f = got;
    return 1;
}

void relay_header_write(uint8_t out[RELAY_HEADER_LEN], uint8_t kind, uint32_t peer, size_t payload_len)
{
    struct wr w = wr_of(out, RELAY_HEADER_LEN);
    wr_u8(&w, kind);
    wr_u8(&w, 0);
    wr_u16(&w, (uint16_t)payload_len);
    wr_u32(&w, peer);
}

void relay_frame_write(struct wr *w, const struct relay_frame *f)
{
    uint8_t *header = f->payload.n <= RELAY_PAYLOAD_MAX ? wr_take(w, RELAY_HEADER_LEN) : NULL;
    if (!header) {
        w->bad = true;
        return;
    }
    relay_header_write(header, f->kind, f->peer, f->payload.n);
    wr_bytes(w, f->payload);
}
