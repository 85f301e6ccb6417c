/* For the tests of io/udp: a kernel that refuses what this one takes. */
#ifndef WARREN_IO_UDP_INT_H
#define WARREN_IO_UDP_INT_H

#include <sys/socket.h>

#include "io/udp.h"

typedef ssize_t udp_sendmsg(int fd, const struct msghdr *m, int flags);
/* What stands in for sendmsg(2) on this socket from now on. */
void udp_sendmsg_set(struct udp *u, udp_sendmsg *f);
/* As on a kernel without UDP_GRO and UDP_SEGMENT. */
void udp_offload_off(struct udp *u);

#endif
