#include <stdlib.h>
#include <string.h>

#include "wire/data.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bytes in = bytes_of(data, size);
    struct data_header h;
    struct inner_header inner;
    uint8_t out[DATA_HEADER_LEN];
    /* What is taken has one form. */
    if (data_header_read(&h, in) == 0) {
        data_header_write(&h, out);
        if (wire_type_of(in) != WIRE_DATA || memcmp(out, data, DATA_HEADER_LEN) != 0)
            abort();
    }
    if (inner_header_read(&inner, in) == 0) {
        inner_header_write(&inner, out);
        if (memcmp(out, data, INNER_HEADER_LEN) != 0)
            abort();
    }
    /* Every type has its receiver's index at one place. */
    uint32_t receiver;
    if (wire_receiver_of(&receiver, in) == 0) {
        struct rd r = rd_of(in);
        rd_u32(&r);
        if (rd_u32(&r) != receiver || !rd_ok(&r))
            abort();
    }
    return 0;
}
