/* Addresses of the simulated Internet: IPv4 or IPv6 and a port. */
#ifndef WARREN_SIM_ADDR_H
#define WARREN_SIM_ADDR_H

#include <stdbool.h>
#include <stdint.h>

struct sim_addr {
    uint8_t family; /* 4, 6; 0: none */
    uint8_t ip[16]; /* IPv4 in the first four */
    uint16_t port;
};

#define SIM_ADDR_TEXT 64

struct sim_addr sim_addr4(uint32_t ip, uint16_t port); /* host order: 0x0a000001 is 10.0.0.1 */
struct sim_addr sim_addr6(uint64_t net, uint64_t interface, uint16_t port);
bool sim_ip_equal(const struct sim_addr *a, const struct sim_addr *b);
bool sim_addr_equal(const struct sim_addr *a, const struct sim_addr *b);
void sim_addr_text(char out[SIM_ADDR_TEXT], const struct sim_addr *a);

#endif
