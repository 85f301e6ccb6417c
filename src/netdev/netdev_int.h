/* What the tests of netdev put in the driver's place. Shared inside netdev only. */
#ifndef WARREN_NETDEV_NETDEV_INT_H
#define WARREN_NETDEV_NETDEV_INT_H

#include "netdev/netdev.h"

/* How the driver is asked: as ioctl, 0 or -1 and errno. arg: a pointer or a number, whichever the request
 * takes. */
struct netdev_driver {
    int (*control)(void *ctx, int fd, unsigned long request, uintptr_t arg);
    void *ctx;
};

/* netdev_open with a driver that may refuse what this machine's does not. */
enum netdev_error netdev_open_by(const struct netdev_driver *driver, struct netdev *d,
                                 const struct netdev_config *c, int *os_error);

#endif
