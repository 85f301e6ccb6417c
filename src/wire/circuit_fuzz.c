#include <stdlib.h>

#include "wire/circuit.h"

static uint8_t out[16384];

/* What was read is written again as it came, but for the amount of padding. */
static void same(const struct wr *w, struct bytes in)
{
    if (!wr_ok(w) || w->n > in.n || !bytes_equal(wr_done(w), bytes_of(in.p, w->n)))
        abort();
    for (size_t i = w->n; i < in.n; i++)
        if (in.p[i] != 0)
            abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bytes in = bytes_of(data, size);
    struct circuit_cell cell;
    struct circuit_text text;
    struct wr w = wr_of(out, sizeof out);
    if (size > sizeof out)
        return 0;
    if (circuit_cell_read(&cell, in) == 0) {
        circuit_cell_write(&w, &cell);
        same(&w, in);
        if (w.n != size)
            abort();
    }
    w = wr_of(out, sizeof out);
    if (circuit_text_read(&text, in) == 0) {
        circuit_text_write(&w, &text);
        if (text.command == CIRCUIT_PASS)
            wr_bytes(&w, text.data);
        same(&w, in);
        circuit_text_pad(&w, 0, size - 1);
        if (text.command != CIRCUIT_PASS && w.n != size)
            abort();
    }
    return 0;
}
