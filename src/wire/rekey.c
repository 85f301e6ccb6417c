#include "wire/rekey.h"

#include <errno.h>

int ctl_header_read(struct ctl_header *h, struct bytes *piece, struct bytes in)
{
    struct rd r = rd_of(in);
    struct ctl_header got;
    got.type = rd_u8(&r);
    got.id = rd_u16(&r);
    got.index = rd_u8(&r);
    got.count = rd_u8(&r);
    if (!rd_ok(&r) || got.count == 0 || got.count > CTL_FRAGMENTS_MAX || got.index >= got.count)
        return -EBADMSG;
    if (got.count > 1 && rd_left(&r) == 0)
        return -EBADMSG;
    *h = got;
    *piece = rd_rest(&r);
    return 0;
}

void ctl_header_write(struct wr *w, const struct ctl_header *h)
{
    wr_u8(w, h->type);
    wr_u16(w, h->id);
    wr_u8(w, h->index);
    wr_u8(w, h->count);
}

int rekey_init_read(struct rekey_init *m, struct bytes in)
{
    struct rd r = rd_of(in);
    struct rekey_init got;
    got.epoch = rd_u32(&r);
    rd_copy(&r, got.dh, sizeof got.dh);
    got.kem = rd_bytes(&r, KEM_PUBLIC_LEN).p;
    if (!rd_done(&r))
        return -EBADMSG;
    *m = got;
    return 0;
}

void rekey_init_write(struct wr *w, const struct rekey_init *m)
{
    wr_u32(w, m->epoch);
    wr_copy(w, m->dh, sizeof m->dh);
    wr_copy(w, m->kem, KEM_PUBLIC_LEN);
}

int rekey_reply_read(struct rekey_reply *m, struct bytes in)
{
    struct rd r = rd_of(in);
    struct rekey_reply got;
    got.epoch = rd_u32(&r);
    rd_copy(&r, got.dh, sizeof got.dh);
    got.ct = rd_bytes(&r, KEM_CT_LEN).p;
    if (!rd_done(&r))
        return -EBADMSG;
    *m = got;
    return 0;
}

void rekey_reply_write(struct wr *w, const struct rekey_reply *m)
{
    wr_u32(w, m->epoch);
    wr_copy(w, m->dh, sizeof m->dh);
    wr_copy(w, m->ct, KEM_CT_LEN);
}

int rekey_epoch_read(uint32_t *epoch, struct bytes in)
{
    struct rd r = rd_of(in);
    uint32_t got = rd_u32(&r);
    if (!rd_done(&r))
        return -EBADMSG;
    *epoch = got;
    return 0;
}

void rekey_epoch_write(struct wr *w, uint32_t epoch)
{
    wr_u32(w, epoch);
}

int ctl_heads_read(struct hs_head heads[HS_HEADS_MAX], uint8_t *count, struct bytes in)
{
    struct rd r = rd_of(in);
    struct hs_head got[HS_HEADS_MAX];
    uint8_t n = hs_heads_read(&r, got);
    if (!rd_done(&r))
        return -EBADMSG;
    for (size_t i = 0; i < n; i++)
        heads[i] = got[i];
    *count = n;
    return 0;
}
