/* Addresses of the simulated Internet are those of base/addr.h; its IPv6 networks are numbers. */
#ifndef WARREN_SIM_ADDR_H
#define WARREN_SIM_ADDR_H

#include "base/addr.h"

struct net_addr sim_addr6(uint64_t net, uint64_t interface, uint16_t port);

#endif
