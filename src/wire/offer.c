#include "wire/offer.h"

#include <errno.h>

int offer_read(struct offer *o, struct bytes in)
{
    struct rd r = rd_of(in);
    *o = (struct offer){.flags = rd_u8(&r), .count = rd_u8(&r)};
    if (!rd_ok(&r) || o->flags & ~OFFER_FLAGS || o->count > OFFER_LEGS_MAX)
        return -EBADMSG;
    for (size_t i = 0; i < o->count; i++) {
        rd_copy(&r, o->leg[i].node, OFFER_ID_LEN);
        o->leg[i].rtt = rd_u16(&r);
        o->leg[i].loss = rd_u8(&r);
        if (o->leg[i].loss > 100)
            return -EBADMSG;
    }
    return rd_done(&r) ? 0 : -EBADMSG;
}

void offer_write(struct wr *w, const struct offer *o)
{
    wr_u8(w, o->flags);
    wr_u8(w, (uint8_t)o->count);
    for (size_t i = 0; i < o->count && i < OFFER_LEGS_MAX; i++) {
        wr_copy(w, o->leg[i].node, OFFER_ID_LEN);
        wr_u16(w, o->leg[i].rtt);
        wr_u8(w, o->leg[i].loss);
    }
}

int piece_read(struct piece *p, struct bytes in)
{
    struct rd r = rd_of(in);
    uint8_t type = rd_u8(&r);
    *p = (struct piece){.index = rd_u8(&r), .count = rd_u8(&r)};
    uint8_t zero = rd_u8(&r);
    p->message = rd_u32(&r);
    p->data = rd_rest(&r);
    if (!rd_ok(&r) || type != PIECE_TYPE || zero != 0 || p->count < 2 || p->count > PIECES_MAX ||
        p->index >= p->count)
        return -EBADMSG;
    bool last = p->index == p->count - 1;
    if (p->data.n == 0 || p->data.n > PIECE_DATA_MAX || (!last && p->data.n < PIECE_DATA_MAX))
        return -EBADMSG;
    return 0;
}

void piece_write(struct wr *w, const struct piece *p)
{
    wr_u8(w, PIECE_TYPE);
    wr_u8(w, p->index);
    wr_u8(w, p->count);
    wr_u8(w, 0);
    wr_u32(w, p->message);
    wr_bytes(w, p->data);
}
