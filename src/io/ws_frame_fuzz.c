/* Frames from anybody: whatever is taken is written back to the same bytes, and the mask undoes itself. */
#include <stdlib.h>
#include <string.h>

#include "io/ws_frame.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ws_head h;
    uint8_t head[WS_HEAD_MAX], payload[64];
    int n = ws_head_read(&h, bytes_of(data, size));
    if (n == 0 && size >= WS_HEAD_MAX)
        abort();
    if (n <= 0)
        return 0;
    if ((size_t)n > size || ws_head_write(head, &h) != (size_t)n || memcmp(head, data, (size_t)n) != 0)
        abort();
    size_t rest = size - (size_t)n < sizeof payload ? size - (size_t)n : sizeof payload;
    memcpy(payload, data + n, rest);
    ws_mask(payload, rest, h.mask);
    for (size_t i = 0; i < rest; i++)
        if (payload[i] != (data[(size_t)n + i] ^ h.mask[i % 4]))
            abort();
    return 0;
}
