/* The reader driven by its own input: the first bytes say which fields to read, the rest is read. What was
 * read is written again and must be the same bytes. */
#include "base/bytes.h"

#include <stdlib.h>
#include <string.h>

#include "base/text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define FIELDS 16

static void expect(bool ok)
{
    if (!ok)
        abort();
}

static void field(uint8_t kind, struct rd *r, struct wr *w)
{
    char text[64];
    uint8_t fixed[7];
    switch (kind % 8) {
    case 0:
        wr_u8(w, rd_u8(r));
        break;
    case 1:
        wr_u16(w, rd_u16(r));
        break;
    case 2:
        wr_u32(w, rd_u32(r));
        break;
    case 3:
        wr_u64(w, rd_u64(r));
        break;
    case 4:
        wr_bytes(w, rd_bytes(r, kind / 8));
        break;
    case 5:
        rd_copy(r, fixed, sizeof fixed);
        wr_copy(w, fixed, sizeof fixed);
        break;
    case 6:
        wr_block16(w, rd_block16(r, kind));
        break;
    default:
        rd_text8(r, text, sizeof text);
        expect(utf8_valid(bytes_of_str(text)));
        wr_text8(w, text);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < FIELDS || size > 4096)
        return 0;
    struct bytes body = bytes_of(data + FIELDS, size - FIELDS);
    uint8_t *out = malloc(body.n + 1);
    struct rd r = rd_of(body);
    struct wr w = wr_of(out, body.n);
    for (size_t i = 0; i < FIELDS && rd_ok(&r); i++)
        field(data[i], &r, &w);
    if (rd_ok(&r)) {
        wr_bytes(&w, rd_rest(&r));
        expect(rd_done(&r) && wr_ok(&w));
        expect(bytes_equal(wr_done(&w), body));
    } else {
        expect(rd_left(&r) == 0 && rd_u64(&r) == 0 && rd_rest(&r).n == 0);
    }
    free(out);
    return 0;
}
