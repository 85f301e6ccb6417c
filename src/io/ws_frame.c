#include "io/ws_frame.h"

#include <errno.h>
#include <string.h>

#define FINAL    0x80
#define RESERVED 0x70
#define MASKED   0x80
#define LEN_16   126 /* the length follows in 16 bits, */
#define LEN_64   127 /* in 64 */

static bool known(uint8_t opcode)
{
    return opcode <= WS_BINARY || (opcode >= WS_CLOSE && opcode <= WS_PONG);
}

/* Section 5.2: in as few bytes as it takes, and never with the highest bit. */
static bool length_fits(uint8_t how, uint64_t length)
{
    if (how == LEN_16)
        return length >= LEN_16;
    return how < LEN_16 || (length > UINT16_MAX && length >> 63 == 0);
}

int ws_head_read(struct ws_head *h, struct bytes in)
{
    struct rd r = rd_of(in);
    uint8_t first = rd_u8(&r), second = rd_u8(&r), how = second & ~MASKED;
    struct ws_head got = {.opcode = first & 0x0f,
                          .final = (first & FINAL) != 0,
                          .masked = (second & MASKED) != 0,
                          .length = how};
    if (how == LEN_16)
        got.length = rd_u16(&r);
    else if (how == LEN_64)
        got.length = rd_u64(&r);
    bool control = (first & 0x08) != 0;
    /* What is wrong already need not be waited for. */
    if (in.n >= 2 &&
        (first & RESERVED || !known(got.opcode) || (control && (!got.final || how > WS_CONTROL_MAX))))
        return -EBADMSG;
    if (!rd_ok(&r))
        return 0;
    if (!length_fits(how, got.length))
        return -EBADMSG;
    if (got.masked)
        rd_copy(&r, got.mask, sizeof got.mask);
    if (!rd_ok(&r))
        return 0;
    *h = got;
    return (int)(in.n - rd_left(&r));
}

size_t ws_head_write(uint8_t out[WS_HEAD_MAX], const struct ws_head *h)
{
    struct wr w = wr_of(out, WS_HEAD_MAX);
    uint8_t masked = h->masked ? MASKED : 0;
    wr_u8(&w, (uint8_t)((h->final ? FINAL : 0) | h->opcode));
    if (h->length < LEN_16) {
        wr_u8(&w, (uint8_t)(masked | h->length));
    } else if (h->length <= UINT16_MAX) {
        wr_u8(&w, masked | LEN_16);
        wr_u16(&w, (uint16_t)h->length);
    } else {
        wr_u8(&w, masked | LEN_64);
        wr_u64(&w, h->length);
    }
    if (h->masked)
        wr_copy(&w, h->mask, sizeof h->mask);
    return w.n;
}

void ws_mask(uint8_t *p, size_t n, const uint8_t mask[4])
{
    uint8_t twice[8];
    uint64_t wide, word;
    memcpy(twice, mask, 4);
    memcpy(twice + 4, mask, 4);
    memcpy(&wide, twice, sizeof wide);
    size_t i = 0;
    for (; i + sizeof word <= n; i += sizeof word) {
        memcpy(&word, p + i, sizeof word);
        word ^= wide;
        memcpy(p + i, &word, sizeof word);
    }
    for (; i < n; i++)
        p[i] ^= mask[i % 4];
}
