/* What one worker does with the bytes of one batch, without a system call of its own: device -> seal -> runs
 * of datagrams, and runs of datagrams -> open -> super-frames -> device. Pure: the world is struct core_io.
 * The same code runs in worker threads, in the simulator and under the sanitizers.
 *
 * A batch: core_begin, then frames and datagrams in the order in which they came, then core_end, which lets
 * go of everything that waits for company. So a lone packet leaves at once, and no packet waits for one that
 * has not come yet. doc/protocol/pump.md. */
#ifndef WARREN_PUMP_CORE_H
#define WARREN_PUMP_CORE_H

#include "pump/plane.h"

#define CORE_RUN_BYTES    65507 /* of datagrams in one send: the kernel makes one packet of IPv4 of them first */
#define CORE_RUN_SEGMENTS 64    /* UDP_MAX_SEGMENTS of older kernels */
/* What may wait for the end of a batch; where more comes, what waits leaves at once. */
#define CORE_RUNS   4    /* of super-frames */
#define CORE_WRITES 256  /* to devices */
#define CORE_PIECES 1024 /* of those */

/* Called within a batch; device and slow_opened with a lane's lock held: they must not touch a session. */
struct core_io {
    /* Datagrams of `segment` bytes each, the last may be shorter, back to back: all to one address. */
    void (*send)(void *arg, uint32_t socket, const struct net_addr *to, const uint8_t *p, size_t n,
                 size_t segment);
    /* One write to a party's device. */
    void (*device)(void *arg, uint32_t party_ref, const struct vnet_hdr *h, const struct iovec *pieces,
                   size_t count, size_t bytes);
    /* To the engine. frame: plain, checksum whole, for node_device_frame. */
    void (*slow_frame)(void *arg, uint32_t party_ref, const uint8_t *p, size_t n);
    void (*slow_datagram)(void *arg, uint32_t socket, const struct net_addr *from, const uint8_t *p,
                          size_t n);
    /* A peer's frame or packet of the party with that tag, opened: for its switch. */
    void (*slow_opened)(void *arg, uint32_t peer_ref, uint32_t tag, uint8_t kind, const uint8_t *p, size_t n);
    /* A sealed datagram for the peer, to go over that way, which is none of the route's. */
    void (*slow_sealed)(void *arg, uint32_t peer_ref, uint32_t way, const uint8_t *p, size_t n);
    /* Whether frames of slow_frame still wait for the engine: none may be overtaken. NULL: they never do. */
    bool (*slow_waits)(void *arg);
};

struct core_config {
    struct plane *plane;
    unsigned user; /* of the plane and of the lanes: 1..PLANE_USERS_MAX */
    bool tso, uso; /* what the devices take */
    const struct core_io *io;
    void *arg;
};
struct core;
struct core *core_new(const struct core_config *c); /* NULL when memory fails */
void core_free(struct core *c);

/* What the devices take from now on; between batches. */
void core_offloads(struct core *c, bool tso, bool uso);

void core_begin(struct core *c, usec_t now);
/* Where the next frame from a device may be read to, OFFLOAD_FRAME_MAX bytes; until the next call. */
uint8_t *core_room(struct core *c);
/* The frame that lies at core_room. Super-frames are cut where h says so. tap: the device's kind. */
void core_frame(struct core *c, uint32_t party_ref, bool tap, const struct vnet_hdr *h, size_t n);
/* A run of datagrams as UDP_GRO hands it up: each `segment` long, the last may be shorter. */
void core_datagrams(struct core *c, uint32_t socket, const struct net_addr *from, const uint8_t *p, size_t n,
                    size_t segment);
void core_end(struct core *c);
/* A frame could have gone the fast way but for earlier ones that wait for the engine: it went after those. No
 * more frames should be read until they are gone. */
bool core_wants_pause(struct core *c);

#endif
