#include <stdlib.h>
#include <string.h>

#include "wire/portmap.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool truth)
{
    if (!truth)
        abort();
}

/* What is read, written, and read again is the same; texts exist for every result. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t out[PCP_MESSAGE_MAX], again[PCP_MESSAGE_MAX];
    struct bytes in = bytes_of(data, size);
    struct pcp_message p, q;
    if (pcp_read(&p, in) == 0) {
        require(strlen(pcp_result_text(p.result)) > 0);
        size_t n = pcp_write(out, sizeof out, &p);
        require(n == (p.has_map ? PCP_MAP_LEN : PCP_HEADER_LEN));
        require(pcp_read(&q, bytes_of(out, n)) == 0);
        require(pcp_write(again, sizeof again, &q) == n && memcmp(out, again, n) == 0);
    }
    struct natpmp_message a, b;
    if (natpmp_read(&a, in) == 0) {
        require(strlen(natpmp_result_text(a.result)) > 0);
        size_t n = natpmp_write(out, sizeof out, &a);
        require(n > 0 && n <= NATPMP_MESSAGE_MAX);
        require(natpmp_read(&b, bytes_of(out, n)) == 0);
        require(natpmp_write(again, sizeof again, &b) == n && memcmp(out, again, n) == 0);
    }
    return 0;
}
