#include <stdlib.h>

#include "wire/rekey.h"

static uint8_t out[HS_MESSAGE_MAX];

static void same(const struct wr *w, struct bytes in)
{
    if (!wr_ok(w) || !bytes_equal(wr_done(w), in))
        abort();
}

static void content(struct bytes in)
{
    struct rekey_init init;
    struct rekey_reply reply;
    struct hs_head heads[HS_HEADS_MAX];
    uint8_t count;
    uint32_t epoch;
    struct wr w = wr_of(out, sizeof out);
    if (rekey_init_read(&init, in) == 0) {
        rekey_init_write(&w, &init);
        same(&w, in);
    }
    w = wr_of(out, sizeof out);
    if (rekey_reply_read(&reply, in) == 0) {
        rekey_reply_write(&w, &reply);
        same(&w, in);
    }
    w = wr_of(out, sizeof out);
    if (ctl_heads_read(heads, &count, in) == 0) {
        hs_heads_write(&w, heads, count);
        same(&w, in);
    }
    w = wr_of(out, sizeof out);
    if (rekey_epoch_read(&epoch, in) == 0) {
        rekey_epoch_write(&w, epoch);
        same(&w, in);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ctl_header h;
    struct bytes piece, in = bytes_of(data, size);
    content(in);
    if (ctl_header_read(&h, &piece, in) == 0) {
        struct wr w = wr_of(out, sizeof out);
        ctl_header_write(&w, &h);
        same(&w, bytes_of(data, CTL_HEADER_LEN));
        if (h.index >= h.count || piece.n + CTL_HEADER_LEN != size)
            abort();
        content(piece);
    }
    return 0;
}
