#include <stdlib.h>
#include <string.h>

#include "wire/relay.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Frames that are read write the very bytes that they came from. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t out[RELAY_HEADER_LEN + RELAY_PAYLOAD_MAX];
    struct rd r = rd_of(bytes_of(data, size));
    struct relay_frame f;
    while (relay_frame_read(&f, &r) == 1) {
        struct wr w = wr_of(out, sizeof out);
        relay_frame_write(&w, &f);
        if (!wr_ok(&w) || memcmp(out + RELAY_HEADER_LEN, f.payload.p, f.payload.n) != 0 ||
            memcmp(out, f.payload.p - RELAY_HEADER_LEN, RELAY_HEADER_LEN) != 0)
            abort();
    }
    return 0;
}
