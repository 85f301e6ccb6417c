/* What the kernel's messages say about routes and addresses: pure, for routes.c and its test. */
#ifndef WARREN_NETDEV_ROUTES_INT_H
#define WARREN_NETDEV_ROUTES_INT_H

#include "netdev/netdev.h"
#include "netdev/netlink_int.h"

/* True where m is a unicast route (an address) that is wanted; r is without its device, whose index is in oif (0: none). */
bool route_read(struct netdev_route *r, uint32_t *oif, const struct nl_message *m);
bool address_read(struct netdev_route *r, uint32_t *oif, const struct nl_message *m);
/* Whether a notification can mean that this machine is reached, or reaches others, in another way. */
bool change_matters(const struct nl_message *m);

#endif
