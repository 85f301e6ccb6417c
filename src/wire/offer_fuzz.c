#include <stdlib.h>
#include <string.h>

#include "wire/offer.h"

static void same(const struct wr *w, const uint8_t *p, size_t n)
{
    struct bytes text = wr_done(w);
    if (text.n != n || memcmp(text.p, p, n) != 0)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    uint8_t out[PIECE_HEADER_LEN + PIECE_DATA_MAX];
    struct offer o;
    struct piece piece;
    struct wr w = wr_of(out, sizeof out);
    /* What was read is written as it was. */
    if (offer_read(&o, bytes_of(p, n)) == 0) {
        offer_write(&w, &o);
        same(&w, p, n);
    }
    w = wr_of(out, sizeof out);
    if (piece_read(&piece, bytes_of(p, n)) == 0) {
        piece_write(&w, &piece);
        same(&w, p, n);
    }
    return 0;
}
