#include <stdlib.h>
#include <string.h>

#include "wire/direct.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    struct direct_message m, again;
    uint8_t out[DIRECT_MESSAGE_MAX];
    uint32_t generation;
    uint16_t revision;
    direct_ack_read(&generation, &revision, bytes_of(p, n));
    if (direct_read(&m, bytes_of(p, n)) < 0)
        return 0;
    struct wr w = wr_of(out, sizeof out);
    direct_write(&w, &m);
    struct bytes text = wr_done(&w);
    /* What was read is written as it was, and read again as the same. */
    if (text.n != n || memcmp(text.p, p, n) != 0 || direct_read(&again, text) < 0 || again.count != m.count)
        abort();
    return 0;
}
