#include <stdlib.h>
#include <string.h>

#include "wire/udp_relay.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What is read writes the very bytes that it came from, up to the MAC, which must be right to be believed. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t key[UDP_RELAY_KEY_LEN] = {1, 2, 3};
    uint8_t out[UDP_RELAY_HEADER_LEN + UDP_RELAY_DATAGRAM_MAX];
    struct udp_relay m;
    if (udp_relay_read(&m, bytes_of(data, size)) < 0)
        return 0;
    size_t n = udp_relay_write(out, sizeof out, &m, key);
    size_t plain = m.signed_part.n > 0 ? n - UDP_RELAY_MAC_LEN : n;
    if (n != size || memcmp(out, data, plain) != 0)
        abort();
    if (udp_relay_verify(&m, key) != (m.signed_part.n > 0 && memcmp(out, data, n) == 0))
        abort();
    return 0;
}
