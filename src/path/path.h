/* Ways to one peer and the choice between them. A pure core. A session has keys and counters; a path only
 * says how packets travel.
 *
 * The owner adds a path when it has proved the keys over it (session's RESUME or the handshake itself), asks
 * paths_best_for and paths_second for every packet, sends the probes that paths_output yields (sealed, on
 * that very path) and reports answers. The kinds and the numbers are those of doc/protocol/paths.md. Kinds
 * that this version does not open yet have their place in the enum because status and metrics name them. */
#ifndef WARREN_PATH_PATH_H
#define WARREN_PATH_PATH_H

#include "base/bytes.h"
#include "base/rng.h"
#include "base/time.h"

enum path_kind {
    PATH_NONE,
    PATH_LAN,
    PATH_UDP,
    PATH_TLS,
    PATH_UDP_RELAY,
    PATH_WS_RELAY,
    PATH_TURN,
    PATH_MULTI_HOP,
    PATH_KIND_COUNT
};
/* "none", "lan", "udp", "tls", "udp-relay", "ws-relay", "turn", "multi-hop" */
const char *path_kind_name(enum path_kind k);
bool path_is_direct(enum path_kind k); /* to the peer itself: lan, udp, tls */

#define PATHS_MAX         8          /* per peer */
#define PATH_PROBE_IDLE   (10 * SEC) /* between probes of a path that carries nothing */
#define PATH_PROBE_BUSY   (1 * SEC)  /* while it carries traffic */
#define PATH_DOUBT        (150 * MSEC) /* sent, nothing heard for max(this, 1.5 srtt): copies go the second way */
#define PATH_STRAY        (50 * MSEC) /* the payload strays, nothing heard for max(this, srtt): doubt */
#define PATH_EXCUSED      (1 * SEC) /* after a doubt for strays that was answered: at least until the next */
#define PATH_SUSPECT      (200 * MSEC) /* between the probes of a silence, from the third on: max(this, srtt) */
#define PATH_DEAD_MIN     (600 * MSEC) /* sent, nothing heard for max(this, 3 srtt): dead */
#define PATH_ONE_WAY      (5 * SEC) /* heard, but no probe answered for this: only the way back works: dead */
#define PATH_WARM         (5 * SEC) /* after traffic on any path: the others are measured at the busy pace, too */
#define PATH_LOSS_WINDOW  32        /* probes over which loss is counted */
#define PATH_FIRST_PROBES 4         /* a new path is measured at the busy pace until so many are answered */
#define PATH_HOLD         (3 * SEC) /* another path must be better for this long ... */
#define PATH_BETTER       10        /* ... by this many percent */
#define PATH_HOLD_MAX     (24 * SEC) /* the hold doubles with each death until the path lived for PATH_STEADY */
#define PATH_STEADY       (60 * SEC)
#define PATH_EVENTS_MAX   64          /* the oldest is lost when the owner does not pull */
#define PATH_IDLE_MAX     (110 * SEC) /* of paths_keepalive */

/* How large a datagram passes (RFC 8899), in bytes of UDP payload. */
#define PATH_STREAM_MTU 65535       /* of streams, whose bytes find their own way into packets */
#define PATH_MTU_BASE   1200        /* what a datagram path is thought to carry until probed (BASE_PLPMTU) */
#define PATH_MTU_MIN    548         /* 576 less IPv4 and UDP headers: a path that carries less is of no use */
#define PATH_MTU_MAX    1472        /* 1500 less IPv4 and UDP headers; larger ones are not looked for */
#define PATH_MTU_AGAIN  (600 * SEC) /* a path in use that carries less is asked again (PMTU_RAISE_TIMER) */

struct path_stats {
    enum path_kind kind;
    uint32_t id;
    bool alive;
    usec_t srtt, jitter;       /* RFC 6298 smoothing; 0: not measured yet */
    double loss;               /* 0..1 over the last PATH_LOSS_WINDOW probes */
    usec_t since, last_answer; /* alive or dead since; 0: no answer yet */
    uint16_t mtu;              /* largest datagram, header to tag, that is thought to pass; 0: none of use */
    bool mtu_known;            /* the search has ended */
    usec_t keepalive;          /* between probes while it carries nothing */
    bool doubted;              /* copies go the second way as well, as of the latest `now` that was told */
};

struct paths;
struct paths *paths_new(struct rng rng);
void paths_free(struct paths *p);
/* 0, -ENOSPC, -EEXIST, -EINVAL (PATH_NONE, PATHS_NO_ID). The path is alive, and its first probe is due at
 * once. */
int paths_add(struct paths *p, uint32_t id, enum path_kind kind, usec_t now);
void paths_del(struct paths *p, uint32_t id);
void paths_clear(struct paths *p);
/* The path for the next packet: alive, best kind and score with hysteresis. false: none. */
bool paths_best(const struct paths *p, uint32_t *id, enum path_kind *kind);
/* Traffic went out or came in over a path. Any authenticated packet counts as a sign of life, but only for
 * PATH_ONE_WAY without an answered probe; a dead path comes back by an answer alone. Probes and answers are
 * not traffic: do not report those. `now` may be the time when it happened, some 10 ms ago, in any order with
 * what else is told: what is older than something known does not undo it. So also of the next two. */
void paths_sent(struct paths *p, uint32_t id, usec_t now);
void paths_received(struct paths *p, uint32_t id, usec_t now);
/* Something authentic that is no traffic came: the peer's probes and answers, words between the sessions. A
 * sign of life, but it does not make a path busy: two ends that only ask each other would else keep each
 * other awake. */
void paths_heard(struct paths *p, uint32_t id, usec_t now);

/* Payload of the peer came over it, after paths_received of the same packet. Where that is a worse path than
 * our best, the peer knows something that we do not: once nothing was heard on our best for max(PATH_STRAY,
 * srtt), mostly at once, it is asked and in doubt, until something is heard on it. If it answers, the peer's
 * choice is its own affair, until payload comes over our best again PATH_EXCUSED later or after. */
void paths_carried(struct paths *p, uint32_t id, usec_t now);

/* Both ends proved the keys over it once more, for the address of one of them changed: it lives, and what was
 * held against it is forgotten. */
void paths_renew(struct paths *p, uint32_t id, usec_t now);

/* A round trip measured elsewhere (RESUME, an ICE check): stands until the first answer. */
void paths_rtt(struct paths *p, uint32_t id, usec_t rtt, usec_t now);
/* While the path that paths_best_for names is in doubt (and for max(100 ms, srtt), at most 500 ms, after a
 * change from one datagram path that was dead or in doubt to another): the path on which copies of packets go
 * as well: the one that the peer's payload strayed to, else the best living one of the others, that can carry
 * `size` bytes. false: no doubt, or no other.
 * Report those copies to paths_sent, too. */
bool paths_second(const struct paths *p, size_t size, usec_t now, uint32_t *id, enum path_kind *kind);
/* The best living path that carries a datagram of `size` bytes; paths_best where that one does. false: none.
 */
bool paths_best_for(const struct paths *p, size_t size, uint32_t *id, enum path_kind *kind);
/* The kernel or an ICMP message says that a datagram of this size does not pass: the search goes on below it.
 * PATH_MTU_MIN and less is not believed, but asked. */
void paths_too_big(struct paths *p, uint32_t id, size_t size, usec_t now);
/* How long the NAT bindings of this path live without traffic, as measured (0: not known: PATH_PROBE_IDLE):
 * an idle path is probed at four fifths of it, at most PATH_IDLE_MAX. */
void paths_keepalive(struct paths *p, uint32_t id, usec_t lifetime);
/* The address below changed, or the machine woke: every path is asked at once, and is in doubt until it
 * answers. */
void paths_doubt_all(struct paths *p, usec_t now);

/* Probes: 12-byte payloads {nonce u64, sender's path id u32} that the owner sends as a control message on
 * path id. */
#define PATH_PROBE_LEN 12
/* *size: 0, or how many bytes the whole datagram is to have: the owner pads the message with zeros (path MTU
 * discovery, RFC 8899). The answer is the 12 bytes without them. Padded ones that are lost do not count
 * against the path. */
bool paths_output(struct paths *p, usec_t now, uint32_t *id, uint8_t probe[PATH_PROBE_LEN], uint16_t *size);
/* An answer (the probe's bytes came back) on any path. true where it matched; *rtt as measured. Late ones
 * count, doubled ones do not. */
bool paths_answer(struct paths *p, struct bytes probe, usec_t now, uint32_t *id, usec_t *rtt);

enum path_event_kind {
    PATH_EVENT_CHANGED,
    PATH_EVENT_DEAD,
    PATH_EVENT_ALIVE,
    PATH_EVENT_MTU /* id's is known or has changed */
};
struct path_event {
    enum path_event_kind kind;
    uint32_t id; /* the path that died, came back, or is now the best one (CHANGED; PATHS_NO_ID: none) */
    enum path_kind path_kind;
};
#define PATHS_NO_ID UINT32_MAX
bool paths_event(struct paths *p, struct path_event *ev);
usec_t paths_wake(const struct paths *p);
void paths_tick(struct paths *p, usec_t now);
size_t paths_count(const struct paths *p);
bool paths_stats(const struct paths *p, uint32_t id, struct path_stats *s);
bool paths_stats_at(const struct paths *p, size_t i, struct path_stats *s);

#endif
