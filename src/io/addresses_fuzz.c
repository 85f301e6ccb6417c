/* The kernel's tables of routes and addresses, as text from anybody. */
#include <stdlib.h>
#include <string.h>

#include "io/addresses.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool starts_with_w(void *arg, const char *interface)
{
    (void)arg;
    if (strlen(interface) >= ADDRESSES_INTERFACE_CAP)
        abort();
    return interface[0] == 'w';
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t ip[16] = {0x20, 0x01, 0x0d, 0xb8, [15] = 1};
    char interface[ADDRESSES_INTERFACE_CAP] = "";
    struct net_addr g = {0};
    if (addresses_gateway4(bytes_of(data, size), &g, starts_with_w, NULL) && g.family != 4)
        abort();
    g = (struct net_addr){0};
    if (addresses_gateway6(bytes_of(data, size), &g, interface, starts_with_w, NULL) &&
        (g.family != 6 || !interface[0] || interface[0] == 'w'))
        abort();
    addresses_flags6(bytes_of(data, size), ip);
    return 0;
}
