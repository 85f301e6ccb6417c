#include <stdlib.h>
#include <string.h>

#include "wire/entry.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The input with the signature cut off, so that the mutator is not lost in its 4691 bytes. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t in[ENTRY_MAX + SIGN_SIG_LEN], out[ENTRY_MAX];
    if (size > ENTRY_MAX)
        return 0;
    memcpy(in, data, size);
    memset(in + size, 0x5a, SIGN_SIG_LEN);
    for (int whole = 0; whole < 2; whole++) {
        struct entry e;
        uint8_t hash[ENTRY_HASH_LEN];
        struct sign_public key;
        struct bytes b = bytes_of(in, size + (whole ? 0 : SIGN_SIG_LEN));
        int has_key = entry_key(&key, b);
        if (entry_read(&e, b) < 0)
            continue;
        if (has_key < 0 && (e.type == ENTRY_GENESIS || e.type == ENTRY_ADMIT || e.type == ENTRY_INVITE))
            abort();
        struct wr w = wr_of(out, sizeof out);
        entry_write(&w, &e);
        if (!bytes_equal(wr_done(&w), b))
            abort();
        entry_hash(hash, &e);
    }
    return 0;
}
