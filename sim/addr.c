#include "sim/addr.h"

struct net_addr sim_addr6(uint64_t net, uint64_t interface, uint16_t port)
{
    struct net_addr a = {.family = 6, .port = port};
    for (int i = 0; i < 8; i++) {
        a.ip[i] = (uint8_t)(net >> (56 - 8 * i));
        a.ip[8 + i] = (uint8_t)(interface >> (56 - 8 * i));
    }
    return a;
}
