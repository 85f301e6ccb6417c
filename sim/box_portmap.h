/* A home router's port mapping service at its inside address, port 5351: PCP (RFC 6887) and NAT-PMP (RFC
 * 6886), as many routers speak both. */
#ifndef WARREN_SIM_BOX_PORTMAP_H
#define WARREN_SIM_BOX_PORTMAP_H

#include "sim/net.h"

/* The box of this site, which has a net4, answers from now on. Its mappings are nat_forward's. */
void box_portmap(struct site *s);

#endif
