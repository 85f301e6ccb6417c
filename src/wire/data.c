#include "wire/data.h"

#include <errno.h>

int wire_type_of(struct bytes in)
{
    if (in.n == 0 || in.p[0] < WIRE_TYPE_MIN || in.p[0] > WIRE_TYPE_MAX)
        return -1;
    return in.p[0];
}

int wire_receiver_of(uint32_t *receiver, struct bytes in)
{
    struct rd r = rd_of(in);
    rd_u32(&r);
    uint32_t index = rd_u32(&r);
    if (!rd_ok(&r))
        return -EBADMSG;
    *receiver = index;
    return 0;
}

int data_header_read(struct data_header *h, struct bytes in)
{
    struct rd r = rd_of(in);
    struct data_header got;
    if (rd_u8(&r) != WIRE_DATA)
        rd_fail(&r);
    got.epoch = rd_u8(&r);
    uint8_t own = rd_u8(&r);
    got.own = own == 1;
    if (own > 1 || rd_u8(&r) != 0)
        rd_fail(&r);
    got.receiver = rd_u32(&r);
    got.counter = rd_u64(&r);
    if (!rd_ok(&r) || rd_left(&r) < INNER_HEADER_LEN + DATA_TAG_LEN)
        return -EBADMSG;
    *h = got;
    return 0;
}

void data_header_write(const struct data_header *h, uint8_t out[DATA_HEADER_LEN])
{
    struct wr w = wr_of(out, DATA_HEADER_LEN);
    wr_u8(&w, WIRE_DATA);
    wr_u8(&w, h->epoch);
    wr_u8(&w, h->own);
    wr_u8(&w, 0);
    wr_u32(&w, h->receiver);
    wr_u64(&w, h->counter);
}

bool inner_is_payload(uint8_t kind)
{
    return kind == INNER_FRAME || kind == INNER_PACKET;
}

static bool inner_valid(const struct inner_header *h, size_t payload)
{
    switch (h->kind) {
    case INNER_NULL:
        return h->party == 0 && payload == 0;
    case INNER_CONTROL:
    case INNER_CELL:
        return h->party == 0;
    default:
        return h->kind < INNER_KIND_COUNT;
    }
}

int inner_header_read(struct inner_header *h, struct bytes in)
{
    struct rd r = rd_of(in);
    struct inner_header got;
    got.kind = rd_u8(&r);
    got.flags = rd_u8(&r);
    uint16_t zero = rd_u16(&r);
    got.party = rd_u32(&r);
    uint8_t flags = inner_is_payload(got.kind) ? INNER_PARTIAL : 0;
    if (!rd_ok(&r) || (got.flags & ~flags) != 0 || zero != 0 || !inner_valid(&got, rd_left(&r)))
        return -EBADMSG;
    *h = got;
    return 0;
}

void inner_header_write(const struct inner_header *h, uint8_t out[INNER_HEADER_LEN])
{
    struct wr w = wr_of(out, INNER_HEADER_LEN);
    wr_u8(&w, h->kind);
    wr_u8(&w, h->flags);
    wr_u16(&w, 0);
    wr_u32(&w, h->party);
}
