#include <stdlib.h>

#include "wire/signal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What is read can be written and then reads the same. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct signal s, again;
    struct buf a, b;
    buf_init(&a, SIGNAL_MAX);
    buf_init(&b, SIGNAL_MAX);
    /* A text that escapes much may be longer when written; everything else comes back. */
    if (signal_read(&s, bytes_of(data, size)) == 0 && signal_write(&a, &s) == 0) {
        if (signal_read(&again, buf_bytes(&a)) != 0 || signal_write(&b, &again) != 0 ||
            !bytes_equal(buf_bytes(&a), buf_bytes(&b)))
            abort();
        signal_done(&again);
    }
    signal_done(&s);
    buf_done(&a);
    buf_done(&b);
    return 0;
}
