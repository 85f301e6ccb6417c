/* Runs of datagrams through a UDP socket's descriptor, for threads: UDP_SEGMENT out, UDP_GRO in (udp(7)).
 * What a kernel or a device refuses is sent one by one. Part of the edge. */
#ifndef WARREN_PUMP_RUNS_H
#define WARREN_PUMP_RUNS_H

#include <stdatomic.h>

#include "base/addr.h"

struct run_socket {
    int fd;
    uint8_t family;          /* 4, 6 */
    _Atomic bool one_by_one; /* runs were refused */
};
/* Asks for UDP_GRO; kernels without it hand up single datagrams. */
void run_socket_init(struct run_socket *s, uint8_t family, int fd);
bool run_socket_offloads(const struct run_socket *s);
/* n bytes as datagrams of `segment` bytes, at most 64 and 65507 bytes. Waits wait_ms for room at most.
 * Several threads may send. 0, or -errno of the first datagram that did not go (-EMSGSIZE: larger than the
 * interface takes). */
int run_send(struct run_socket *s, const struct net_addr *to, const uint8_t *p, size_t n, size_t segment,
             int wait_ms);

struct received {
    struct net_addr from;
    uint8_t *p;
    size_t n, segment; /* segment 0: one datagram */
};
struct run_buffers;
struct run_buffers *run_buffers_new(int count); /* NULL when memory fails */
void run_buffers_free(struct run_buffers *b);
/* How many came, without waiting: fewer than the buffers' count means that nothing more waits. */
int run_receive(struct run_socket *s, struct run_buffers *b);
struct received *run_received(struct run_buffers *b, int i);

#endif
