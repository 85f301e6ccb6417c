/* For the tests of the edge: UDP sockets of the loopback interface. */
#ifndef WARREN_PUMP_SOCKET_HARNESS_H
#define WARREN_PUMP_SOCKET_HARNESS_H

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include "base/addr.h"
#include "pump/offload_kit_int.h"

#define KIT_PATIENCE_MS 20000

static inline int udp_new(uint8_t family, struct net_addr *addr)
{
    struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    struct sockaddr_in four = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct sockaddr *name = family == 6 ? (struct sockaddr *)&six : (struct sockaddr *)&four;
    socklen_t n = family == 6 ? sizeof six : sizeof four;
    int fd = socket(name->sa_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), bytes = 4 << 20;
    kit_need(fd >= 0);
    if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof bytes) < 0)
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes);
    kit_need(bind(fd, name, n) == 0);
    kit_need(getsockname(fd, name, &n) == 0);
    *addr = family == 6 ? net_addr6(six.sin6_addr.s6_addr, ntohs(six.sin6_port))
                        : net_addr4(INADDR_LOOPBACK, ntohs(four.sin_port));
    return fd;
}

/* Linux refuses runs (EINVAL) on a socket that sends without checksums, and takes single datagrams: as with
 * hardware that cannot. */
static inline bool refuse_runs(int fd)
{
    int on = 1;
    return setsockopt(fd, SOL_SOCKET, SO_NO_CHECK, &on, sizeof on) == 0;
}

/* Until one of them is readable; that nothing comes at all fails. */
static inline void wait_for(const int *fds, size_t n)
{
    struct pollfd p[8];
    kit_need(n <= 8);
    for (size_t i = 0; i < n; i++)
        p[i] = (struct pollfd){.fd = fds[i], .events = POLLIN};
    kit_need(poll(p, n, KIT_PATIENCE_MS) > 0);
}

#endif
