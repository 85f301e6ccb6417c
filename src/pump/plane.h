/* What the workers of the pump know: which member is behind which address, with which keys and over which way
 * its packets go, and whose packets may come from where. Made by the engine's thread, read by the workers
 * without a lock. Pure: memory and atomics, no thread, no clock, no socket.
 *
 * The engine changes nets and routes and then publishes: a snapshot that never changes takes the place of the
 * one before. A worker pins the snapshot of the moment for one batch; what no worker pins any more is freed
 * at a later publish. What a snapshot does not know goes the slow way, through the engine: the plane only
 * ever says yes to the plain case. doc/protocol/pump.md. */
#ifndef WARREN_PUMP_PLANE_H
#define WARREN_PUMP_PLANE_H

#include "base/addr.h"
#include "base/time.h"
#include "pump/offload.h"
#include "session/session.h"

#define PLANE_USERS_MAX   (LANE_USERS_MAX - 1)
#define PLANE_NETS_MAX    64
#define PLANE_MEMBERS_MAX 1024 /* of a net */
#define PLANE_WAYS_MAX    12   /* of a peer */
#define PLANE_PEERS_MAX   65536

struct plane;
struct plane *plane_new(uint64_t seed); /* NULL when memory fails */
/* No worker may pin anything any more. */
void plane_free(struct plane *p);

/* ---- What the engine tells. Nothing of it is seen by workers before plane_publish. */

struct plane_member {
    uint32_t ref; /* the peer's number, from 1 on */
    uint32_t ip4; /* host order; 0: none */
    uint8_t ip6[16];
    uint8_t mac[6];
};
struct plane_net { /* a party with an open device */
    uint32_t party_ref, tag;
    bool tap, dhcp_allowed;
    uint16_t mtu;
    struct plane_member self;
    const struct plane_member *members; /* others than self */
    size_t count;
};
/* 0, -ENOMEM, -ENOSPC. The party's frames take the slow way while there is none. */
int plane_net_set(struct plane *p, const struct plane_net *net);
void plane_net_del(struct plane *p, uint32_t party_ref);

struct plane_way {
    uint32_t id;          /* of the path set */
    uint32_t socket;      /* the engine's number */
    struct net_addr addr; /* where it leads: of the peer, or of the relay */
    bool relay;           /* UDP relay: 12 bytes before each datagram */
    uint32_t relay_index, relay_token;
    uint16_t mtu; /* largest datagram, without the relay's header */
};
struct plane_route {
    uint64_t most;                           /* for lane_take */
    struct lane *tx, *rx[SESSION_LANES_MAX]; /* held by the route from here on; NULL: none */
    int out;                                 /* the way that packets to the peer take; -1: the slow one */
    unsigned copy;      /* while that is in doubt: the way that copies take, and one; 0: none */
    uint32_t copy_slow; /* or the id of one that the engine has to send them on; 0: none */
    size_t way_count;   /* the ways that its packets may come over */
    struct plane_way ways[PLANE_WAYS_MAX]; /* unused bytes are zero, so that routes compare as bytes */
};
/* Replaces the peer's; route NULL: none. Does nothing where it is the same as before. 0, -ENOMEM (there is
 * none then), -ENOSPC. */
int plane_route_set(struct plane *p, uint32_t ref, const struct plane_route *route);
/* Makes it so, if anything changed. -ENOMEM: the old snapshot stands, and the next call tries again; but one
 * that must not stand (a peer or a net was taken away) is replaced by an empty one, for which no memory is
 * needed. */
int plane_publish(struct plane *p);

/* What the workers did since the last call, for one peer after the other. Ways as in the route that was
 * published last. */
struct plane_news {
    usec_t traffic, seen; /* when payload was last sent, when something authentic last came; 0: not since */
    size_t way_count;
    struct {
        uint32_t id;
        usec_t received, awaiting; /* last heard; first sent since then or since the last call; 0: not */
    } ways[PLANE_WAYS_MAX];
};
/* False: nothing happened at any peer since the last call. */
bool plane_active(struct plane *p);
bool plane_news(struct plane *p, uint32_t ref, struct plane_news *news);

/* Counted by the workers. */
enum plane_count {
    PLANE_OUT_FRAMES,  /* from the device, super-frames as one */
    PLANE_OUT_PACKETS, /* sealed */
    PLANE_OUT_SENDS,   /* system calls that took them */
    PLANE_OUT_COPIES,  /* over a second way */
    PLANE_IN_DATAGRAMS,
    PLANE_IN_PACKETS,     /* opened and handed on */
    PLANE_IN_WRITES,      /* to the device */
    PLANE_SLOW_FRAMES,    /* left to the engine: from the device, */
    PLANE_SLOW_DATAGRAMS, /* from the sockets, */
    PLANE_SLOW_OPENED,    /* opened, but more than the plain case */
    PLANE_BAD_TAG,
    PLANE_REPLAYED,
    PLANE_TOO_OLD,
    PLANE_BAD_INNER,
    PLANE_UNKNOWN_PARTY,
    PLANE_SEAL_FAILED,
    PLANE_SEND_REFUSED,
    PLANE_DEVICE_REFUSED,
    PLANE_SLOW_FULL,
    PLANE_GSO_OFF,
    PLANE_MOVES,     /* of the devices to other readers */
    PLANE_BAD_FRAME, /* from the device: its offload header does not fit it, so that nobody can tell what is
                        meant */
    PLANE_COUNTS
};
const char *plane_count_name(enum plane_count c);
/* user: the caller's, 0 the engine's thread: each counts for itself. */
void plane_count(struct plane *p, unsigned user, enum plane_count c, uint64_t n);
uint64_t plane_counted(const struct plane *p, enum plane_count c);

/* ---- What workers ask. */

struct snapshot;
struct net_view;
struct route;
/* user: 1..PLANE_USERS_MAX. Everything found in it lives until plane_unpin by the same user. */
const struct snapshot *plane_pin(struct plane *p, unsigned user);
void plane_unpin(struct plane *p, unsigned user);
const struct net_view *snapshot_net(const struct snapshot *s, uint32_t party_ref);
const struct net_view *snapshot_tag(const struct snapshot *s, uint32_t tag);
const struct plane_net *net_of(const struct net_view *v); /* members: NULL */
/* The peer that a frame from the device is for, in the plain case: a whole TCP, UDP or echo packet from our
 * own address to a member's, that the switch (vnet/vnet.h) would forward unchanged. NULL: the slow way. */
const struct route *net_out(const struct snapshot *s, const struct net_view *v, const uint8_t *frame,
                            const struct inner_frame *f);
/* Whether a frame of that peer is for our device, likewise. */
bool net_in(const struct net_view *v, uint32_t ref, const uint8_t *frame, const struct inner_frame *f);
/* By receiver index and epoch; *lane: which of its lanes. NULL: unknown. */
const struct route *snapshot_session(const struct snapshot *s, uint32_t index, uint8_t epoch,
                                     struct lane **lane);
const struct plane_route *route_of(const struct route *r);
uint32_t route_ref(const struct route *r);
void route_sent(struct plane *p, const struct route *r, size_t way, usec_t now);
void route_heard(struct plane *p, const struct route *r, size_t way, usec_t now);
/* True once after a pause: the engine should be woken to look at the news. */
bool plane_stirred(struct plane *p);

#endif
