#include "sim/addr.h"

#include <stdio.h>
#include <string.h>

struct sim_addr sim_addr4(uint32_t ip, uint16_t port)
{
    struct sim_addr a = {.family = 4, .port = port};
    for (int i = 0; i < 4; i++)
        a.ip[i] = (uint8_t)(ip >> (24 - 8 * i));
    return a;
}

struct sim_addr sim_addr6(uint64_t net, uint64_t interface, uint16_t port)
{
    struct sim_addr a = {.family = 6, .port = port};
    for (int i = 0; i < 8; i++) {
        a.ip[i] = (uint8_t)(net >> (56 - 8 * i));
        a.ip[8 + i] = (uint8_t)(interface >> (56 - 8 * i));
    }
    return a;
}

bool sim_ip_equal(const struct sim_addr *a, const struct sim_addr *b)
{
    return a->family == b->family && memcmp(a->ip, b->ip, a->family == 4 ? 4 : 16) == 0;
}

bool sim_addr_equal(const struct sim_addr *a, const struct sim_addr *b)
{
    return a->port == b->port && sim_ip_equal(a, b);
}

void sim_addr_text(char out[SIM_ADDR_TEXT], const struct sim_addr *a)
{
    const uint8_t *p = a->ip;
    if (a->family == 4) {
        snprintf(out, SIM_ADDR_TEXT, "%u.%u.%u.%u:%u", p[0], p[1], p[2], p[3], a->port);
        return;
    }
    char ip[40];
    for (int i = 0; i < 8; i++)
        snprintf(ip + 5 * i, 6, "%02x%02x%s", p[2 * i], p[2 * i + 1], i < 7 ? ":" : "");
    snprintf(out, SIM_ADDR_TEXT, "[%s]:%u", ip, a->port);
}
