/* UDP sockets on libuv: datagrams come in batches (recvmmsg), a bounded number a wakeup, into memory that the receiver may write to.
 * Addresses are always plain: an IPv4 peer of a dual-stack socket is IPv4. There is no queue of our own: what the kernel does not take
 * is the sender's to count. */
#ifndef WARREN_IO_UDP_H
#define WARREN_IO_UDP_H

#include <uv.h>

#include "base/addr.h"

#define UDP_BATCH       32    /* datagrams a system call */
#define UDP_BATCHES     8     /* system calls a wakeup: then others have their turn */
#define UDP_DATAGRAM    2048  /* longer ones are dropped and counted */
#define UDP_HEAD        64    /* bytes before each received datagram that its receiver may write to */
#define UDP_BUFFER      (4 << 20) /* of the kernel, each way; as much of it as we are given */
#define UDP_ASKED_AT    4096  /* peers whose question's destination is remembered (UDP_ANSWER_FROM) */

enum udp_flag {
    UDP_DONT_FRAGMENT = 1, /* DF is set and the kernel's own notion of path MTUs ignored (IP_PMTUDISC_PROBE): path MTUs are ours to find */
    UDP_REUSE = 2,         /* several sockets may share the port (multicast) */
    UDP_V6ONLY = 4,        /* an IPv6 socket without IPv4; otherwise it is dual-stack */
    UDP_ANSWER_FROM = 8    /* for servers on a wildcard address: to whom has sent something, from the address that it was sent to */
};

struct udp;
struct udp_ops {
    /* A datagram of n bytes at p; room >= n bytes at p may be written, and UDP_HEAD before it, until the call returns. to: the local
     * address that it came to (family 0 where the kernel did not say) and the socket's port. May close the socket. */
    void (*receive)(void *arg, const struct net_addr *from, const struct net_addr *to, uint8_t *p, size_t n, size_t room);
    void (*drained)(void *arg); /* after the last of a wakeup; may be NULL */
};
/* at: family 4 or 6, port 0: any. 0 and *out, or -errno (-EADDRINUSE, -EADDRNOTAVAIL, -EAFNOSUPPORT, -EACCES ...). */
int udp_open(struct udp **out, uv_loop_t *loop, const struct net_addr *at, unsigned flags, const struct udp_ops *ops, void *arg);
/* 0 or -errno: -EMSGSIZE (longer than the interface takes), -EAGAIN and -ENOBUFS (no room now), -ENETUNREACH ..., -EAFNOSUPPORT. */
int udp_send(struct udp *u, const struct net_addr *to, const void *p, size_t n);
struct net_addr udp_local(const struct udp *u); /* as bound, with the port that the kernel chose */
struct udp_stats { uint64_t received, too_long, sent, refused /* by the kernel */; };
void udp_stats(const struct udp *u, struct udp_stats *s);
/* At once; the memory goes with the next turn of the loop. NULL is fine. */
void udp_close(struct udp *u);

#endif
