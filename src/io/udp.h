/* UDP sockets on libuv: datagrams come in batches (recvmmsg), a bounded number a wakeup, into memory that the receiver may write to.
 * Addresses are always plain: an IPv4 peer of a dual-stack socket is IPv4. There is no queue of our own: what the kernel does not take
 * is the sender's to count.
 *
 * A run is what the kernel's segmentation offload (udp(7): UDP_SEGMENT, UDP_GRO) moves in one piece: datagrams of one source and one
 * destination, back to back in memory, all of `segment` bytes but the last, which may be shorter. One system call and one way through the
 * kernel's stack then serve up to UDP_RUN_SEGMENTS datagrams. Where a kernel or a device refuses runs, the same calls send datagram by
 * datagram. */
#ifndef WARREN_IO_UDP_H
#define WARREN_IO_UDP_H

#include <netinet/in.h>
#include <uv.h>

#include "base/addr.h"

#define UDP_BATCH       32    /* datagrams a system call */
#define UDP_BATCHES     8     /* system calls a wakeup: then others have their turn */
#define UDP_DATAGRAM    2048  /* longer ones are dropped and counted */
#define UDP_HEAD        64    /* bytes before each received datagram that its receiver may write to */
#define UDP_BUFFER      (4 << 20) /* of the kernel, each way; as much of it as we are given */
#define UDP_ASKED_AT    4096  /* peers whose question's destination is remembered (UDP_ANSWER_FROM) */
#define UDP_RUN_SEGMENTS 64   /* datagrams that go in one call: what every kernel with UDP_SEGMENT takes */
#define UDP_RUN_MAX     65507 /* bytes of them: a run is as long as one datagram of IPv4 at most */
#define UDP_RUN_BUFFER  65536 /* memory for one received run */
#define UDP_BATCH_BYTES (256 << 10) /* of runs that one system call brings, about: what stays in the cache */
#define UDP_WAKEUP_BYTES (1 << 20)  /* of runs that one wakeup brings, about */
#define UDP_LATER       8     /* destinations that datagrams are gathered for */

enum udp_flag {
    UDP_DONT_FRAGMENT = 1, /* DF is set and the kernel's own notion of path MTUs ignored (IP_PMTUDISC_PROBE): path MTUs are ours to find */
    UDP_REUSE = 2,         /* several sockets may share the port (multicast) */
    UDP_V6ONLY = 4,        /* an IPv6 socket without IPv4; otherwise it is dual-stack */
    UDP_ANSWER_FROM = 8,   /* for servers on a wildcard address: to whom has sent something, from the address that it was sent to */
    UDP_SEND_ONLY = 32,    /* somebody else receives from udp_fd: ops are never called */
    UDP_OFFLOAD = 16       /* runs are received, where the kernel has that; 2 MiB of address space for each socket */
};

/* The operating system's form of an address, for a socket of that family (AF_INET, AF_INET6: there IPv4 is mapped): its length, or 0 where there is
 * none. And back: plain, family 0 for others. */
socklen_t udp_name_of(struct sockaddr_in6 *out, const struct net_addr *a, int family);
struct net_addr udp_addr_of(const struct sockaddr *sa);

struct udp;
struct udp_ops {
    /* A datagram of n bytes at p; room >= n bytes at p may be written, and UDP_HEAD before it, until the call returns. to: the local
     * address that it came to (family 0 where the kernel did not say) and the socket's port. May close the socket. */
    void (*receive)(void *arg, const struct net_addr *from, const struct net_addr *to, uint8_t *p, size_t n, size_t room);
    void (*drained)(void *arg); /* after the last of a wakeup; may be NULL */
    /* With UDP_OFFLOAD, instead of receive where it is not NULL: the n bytes at p are a run of datagrams of `segment` bytes (segment >= n:
     * one datagram), and all of them may be written, as may UDP_HEAD before them, until flush. Without it a run is handed to receive
     * datagram by datagram, and `room` ends where the next one begins. Of the messages of one system call, lone datagrams come before the
     * runs of others; what one source sends stays in its order. */
    void (*receive_run)(void *arg, const struct net_addr *from, const struct net_addr *to, uint8_t *p, size_t n, size_t segment);
    void (*flush)(void *arg); /* with UDP_OFFLOAD: the memory of all that came since the last flush is used anew; may be NULL */
};
/* at: family 4 or 6, port 0: any. 0 and *out, or -errno (-EADDRINUSE, -EADDRNOTAVAIL, -EAFNOSUPPORT, -EACCES ...). */
int udp_open(struct udp **out, uv_loop_t *loop, const struct net_addr *at, unsigned flags, const struct udp_ops *ops, void *arg);
/* 0 or -errno: -EMSGSIZE (longer than the interface takes), -EAGAIN and -ENOBUFS (no room now), -ENETUNREACH ..., -EAFNOSUPPORT. */
int udp_send(struct udp *u, const struct net_addr *to, const void *p, size_t n);
/* n > 0 bytes at p as datagrams of `segment` bytes (0 or >= n: one), in order, in as few system calls as the kernel lets us. 0, or the error
 * of the first datagram that did not go, as udp_send; what follows it is tried where that makes sense. Once a device or kernel has refused
 * runs (EIO, EINVAL, ENOPROTOOPT), this socket sends datagrams one by one from then on; the refused run, too. */
int udp_send_run(struct udp *u, const struct net_addr *to, const void *p, size_t n, size_t segment);
/* The same with the next udp_flush, or before: what goes to one destination meanwhile is sent in order, as one run where lengths allow.
 * The memory is the caller's, and stays as it is until then. Errors only count (udp_stats). */
void udp_send_later(struct udp *u, const struct net_addr *to, const void *p, size_t n, size_t segment);
void udp_flush(struct udp *u);
int udp_fd(const struct udp *u); /* stays the socket's */
struct net_addr udp_local(const struct udp *u); /* as bound, with the port that the kernel chose */
struct udp_stats {
    uint64_t received, too_long, sent, refused /* by the kernel */; /* datagrams */
    uint64_t full;               /* of the refused: there was no room (EAGAIN, ENOBUFS) */
    uint64_t lost;               /* datagrams or runs for which the socket's receive buffer had no room */
    uint64_t runs_in, runs_out;  /* of two datagrams or more */
    uint64_t runs_refused;       /* sends after which runs were given up: 1 at most */
    bool receives_runs, sends_runs; /* now */
};
void udp_stats(const struct udp *u, struct udp_stats *s);
/* `lost` and `full` together, as far as they are known without asking the kernel: what came before the last `drained`. */
uint64_t udp_losses(const struct udp *u);
/* At once; the memory goes with the next turn of the loop. NULL is fine. */
void udp_close(struct udp *u);

#endif
