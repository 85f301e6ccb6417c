/* The worker threads that move packets between devices and UDP sockets, and what they leave to the engine's
 * thread. Part of the edge.
 *
 * The engine's thread makes the pump, starts it, and adds and takes devices and sockets; workers read and
 * write those descriptors from then on until they are taken away again. What a worker cannot do itself
 * (core.h: the slow way) waits in a bounded queue a worker; pump_wake_fd becomes readable and the engine's
 * thread takes it with pump_drain. A queue without room lets frames wait in the device, and drops datagrams,
 * which is counted. */
#ifndef WARREN_PUMP_PUMP_H
#define WARREN_PUMP_PUMP_H

#include "pump/core.h"

#define PUMP_THREADS_MAX PLANE_USERS_MAX
#define PUMP_QUEUES_MAX  8 /* of one device */
#define PUMP_DEVICES_MAX 64
#define PUMP_SOCKETS_MAX 4
#define PUMP_QUEUE_BYTES (512u << 10) /* waiting for the engine, a worker */
#define PUMP_FRAMES      64           /* plain frames read from one device in a turn, */
#define PUMP_BYTES       (256u << 10) /* or bytes, then the others have theirs */
#define PUMP_RUNS        8            /* received by one system call */
#define PUMP_TURNS       4            /* of those in a turn */
#define PUMP_LOOKS       2            /* for more, before a worker sleeps; */
#define PUMP_LOOKS_BULK  10           /* while any of them moves much: */
#define PUMP_BULK        (16u << 10)  /* bytes in a batch, */
#define PUMP_BULK_LASTS  (2 * MSEC)   /* not longer ago */
#define PUMP_APART_LASTS (20 * MSEC)  /* without as much, and the first worker reads the devices again */
#define PUMP_SEND_WAIT_MS                                                                                    \
    5 /* for room in a socket's send buffer: until then the device's queue waits, then the packets are lost  \
       */

struct pump;
/* threads: 1..PUMP_THREADS_MAX: one does everything; of several, the first receives from the sockets, and
 * while much moves the others read the devices, each queues of its own; at rest the first does that, too.
 * NULL when memory or descriptors fail. */
struct pump *pump_new(struct plane *plane, unsigned threads);
/* After the process has given up its privileges, for those are a thread's own. 0 or -errno. */
int pump_start(struct pump *p);
/* Stops and joins the workers. What they left is still there. */
void pump_stop(struct pump *p);
/* After pump_stop, or instead. Descriptors stay the caller's. NULL is fine. */
void pump_free(struct pump *p);
/* How many queues a device should have. */
unsigned pump_queues(const struct pump *p);

struct pump_device {
    uint32_t party_ref;
    int fds[PUMP_QUEUES_MAX]; /* non-blocking */
    unsigned count;
    bool tap, vnet_hdr, tso, uso;
};
/* 0, -ENOSPC, -errno. */
int pump_device_add(struct pump *p, const struct pump_device *d);
/* When it returns, no worker uses the descriptors any more. */
void pump_device_del(struct pump *p, uint32_t party_ref);
/* fd: a bound UDP socket, non-blocking; it may be used for sending by others too. 0, -ENOSPC, -errno. */
int pump_socket_add(struct pump *p, uint32_t number, uint8_t family, int fd);
void pump_socket_del(struct pump *p, uint32_t number);

struct pump_ops {
    /* p: DATA_HEADROOM before and DATA_TAILROOM behind it may be written. */
    void (*frame)(void *arg, uint32_t party_ref, uint8_t *p, size_t n);
    void (*datagram)(void *arg, uint32_t socket, const struct net_addr *from, uint8_t *p, size_t n);
    void (*opened)(void *arg, uint32_t peer_ref, uint32_t tag, uint8_t kind, uint8_t *p, size_t n);
    void (*sealed)(void *arg, uint32_t peer_ref, uint32_t way, const uint8_t *p, size_t n);
    void (*too_big)(void *arg, uint32_t socket, const struct net_addr *to, size_t size); /* EMSGSIZE */
    void (*broken)(void *arg, uint32_t party_ref,
                   int error); /* reading the device failed: it is not read any more */
    void (*gso_off)(
        void *arg,
        uint32_t socket);      /* runs were refused: this socket sends datagrams one by one from now on */
    void (*active)(void *arg); /* after a pause: the plane has news */
};
/* At most `most` items; true: there are more. */
bool pump_drain(struct pump *p, const struct pump_ops *ops, void *arg, size_t most);
int pump_wake_fd(const struct pump *p); /* readable: drain */

#endif
