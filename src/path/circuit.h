/* Circuits: a way to a peer over one to three other members that relay for their party
 * (doc/protocol/circuits.md). A pure core.
 *
 * Order of calls: circuits_new; circuits_input, circuit_open, circuit_send and so on as things happen; after
 * each of them circuits_output and circuits_event until they say false; circuits_tick when circuits_wake has
 * come. Everything is copied in; what comes out is ours.
 *
 * A circuit is built hop by hop. Each hop, and the peer at the end, answers an EXTEND with a fresh hybrid key
 * agreement (X25519 and ML-KEM-1024) that it signs with its identity, so the builder knows whom it talks to,
 * and nobody on the way knows more than its two neighbours: cells are sealed once for every hop, and each hop
 * takes one layer off (forth) or puts one on (back). Cells travel inside the secure sessions between
 * neighbours; the owner sends them as control messages or sealed payload of its own kind.
 *
 * Circuits never begin at somebody who is not a member of the party that they are for, and carry only
 * datagrams of sessions. */
#ifndef WARREN_PATH_CIRCUIT_H
#define WARREN_PATH_CIRCUIT_H

#include "base/addr.h"
#include "base/bytes.h"
#include "base/rng.h"
#include "base/time.h"
#include "crypto/sign.h"

#define CIRCUIT_HOPS_MAX       3   /* relays between the two ends */
#define CIRCUITS_MAX           64  /* that we build or end */
#define CIRCUITS_RELAYED       256 /* that we relay, in all */
#define CIRCUITS_PER_NEIGHBOUR 32
#define CIRCUIT_BUILD          (10 * SEC)
#define CIRCUIT_IDLE           (120 * SEC) /* without a cell: forgotten on both sides */
#define CIRCUIT_KEEPALIVE      (30 * SEC)
#define CIRCUIT_PAYLOAD_MAX    1500
#define CIRCUIT_CELL_MAX       (CIRCUIT_PAYLOAD_MAX + 200) /* data cells; those that build are larger: */
#define CIRCUIT_BUILD_MAX      8000

/* Limits on what others may ask of us; what is beyond is refused as busy, or dropped where asking again may
 * help. */
#define CIRCUITS_ENDED_MAX 48 /* of CIRCUITS_MAX: the rest is for those that we build */
#define CIRCUITS_OPEN_MAX                                                                                    \
    64 /* created by a neighbour, and nothing came over them yet: for CIRCUIT_BUILD at most */
#define CIRCUITS_PER_PARTY        128 /* of others */
#define CIRCUITS_NEIGHBOURS_MAX   256 /* whose limits are remembered */
#define CIRCUIT_CREATES_PER_S     4   /* answered (one signature each), for one neighbour ... */
#define CIRCUIT_CREATES_BURST     8
#define CIRCUIT_CREATES_ALL_PER_S 32 /* ... and for all */
#define CIRCUIT_CREATES_ALL_BURST 64
#define CIRCUIT_BIG_CELLS                                                                                    \
    64 /* cells above CIRCUIT_CELL_MAX that one circuit may pass, in each direction, ever */
#define CIRCUIT_RATE_BURST 65536 /* bytes, at least, at once where the bytes per second are limited */
#define CIRCUIT_QUEUE_BYTES                                                                                  \
    1048576 /* that wait for the owner: for data, and again for what builds or ends                          \
             */
#define CIRCUIT_EVENTS_MAX    512
#define CIRCUIT_DATAGRAMS_MAX 256 /* events that are datagrams */
#define CIRCUIT_RETRY                                                                                        \
    (400 * MSEC) /* what builds is repeated after this, then after half as much again, ... */
#define CIRCUIT_RETRY_MAX (1 * SEC) /* ... up to this */

struct circuits;
struct circuits_config {
    const struct sign_key *key; /* ours; outlives it */
    uint8_t self[NODE_ID_LEN];
    struct rng rng;
    /* The public keys of a member of the party with this tag, or NULL; good until it is
     * asked again. Asked with what the messages claim. */
    const struct sign_public *(*member)(void *arg, uint32_t party, const uint8_t node[NODE_ID_LEN]);
    /* Whether we relay for this party's members, and how many bytes a second for one circuit (0: no limit).
     */
    bool (*relays)(void *arg, uint32_t party, uint32_t *bytes_per_s);
    void *arg;
};
struct circuits *circuits_new(const struct circuits_config *c, usec_t now);
void circuits_free(struct circuits *c);

/* Begins one to hops[count - 1] (the peer itself) over hops[0 .. count - 2]. *id: ours. 0, -EINVAL (fewer
 * than one or more than CIRCUIT_HOPS_MAX relays, somebody twice, ourselves, or no member), -ENOSPC, -ENOMEM.
 */
int circuit_open(struct circuits *c, uint32_t party, const uint8_t hops[][NODE_ID_LEN], size_t count,
                 usec_t now, uint32_t *id);
/* A datagram to the other end, over a circuit that is up or came in. 0, -ENOTCONN, -EMSGSIZE, -ENOBUFS. */
int circuit_send(struct circuits *c, uint32_t id, struct bytes datagram, usec_t now);
/* No event follows. */
void circuit_close(struct circuits *c, uint32_t id, usec_t now);
/* How long a cell to or from a neighbour is for a datagram of this size, with so many layers (relays and the
 * end: 2 to 4). */
size_t circuit_cell_len(size_t datagram, size_t layers);
/* The largest datagram whose cell is not longer than this; 0 where there is none. */
size_t circuit_payload(size_t cell, size_t layers);

/* A cell from this neighbour (decrypted by the session with it; changed in place). At most CIRCUIT_BUILD_MAX
 * bytes. */
void circuits_input(struct circuits *c, const uint8_t neighbour[NODE_ID_LEN], uint8_t *p, size_t n,
                    usec_t now);
/* No session with this neighbour any more, or a cell for it could not be sent and none will be: whatever goes
 * through it ends. */
void circuits_neighbour_gone(struct circuits *c, const uint8_t neighbour[NODE_ID_LEN], usec_t now);
void circuits_party_gone(struct circuits *c, uint32_t party, usec_t now);

/* A cell for a neighbour. reliable: it builds or ends a circuit: not to be dropped first. */
struct circuit_out {
    uint8_t to[NODE_ID_LEN];
    bool reliable;
    uint8_t *p;
    size_t n; /* valid until the next call */
};
bool circuits_output(struct circuits *c, usec_t now, struct circuit_out *out);

enum circuit_event_kind {
    CIRCUIT_UP,       /* id, ours: built to the end */
    CIRCUIT_FAILED,   /* id: why; neighbour: the hop that was not reached */
    CIRCUIT_DOWN,     /* id: torn down, or silent; even without UP before it, where memory was short. why;
                         neighbour */
    CIRCUIT_INCOMING, /* id: somebody ends a circuit at us; who it is, its datagrams say. party, neighbour */
    CIRCUIT_DATAGRAM  /* id, p, n: from the other end */
};
struct circuit_event {
    enum circuit_event_kind kind;
    uint32_t id, party;
    uint8_t neighbour[NODE_ID_LEN];
    const char *why; /* words for people */
    uint8_t *p;      /* may be changed in place; valid until the next call */
    size_t n;
};
bool circuits_event(struct circuits *c, struct circuit_event *ev);
usec_t circuits_wake(const struct circuits *c);
void circuits_tick(struct circuits *c, usec_t now);

/* Of one that came in, hop[0] is the neighbour that it comes from. */
struct circuit_info {
    uint32_t party;
    bool ours, up;
    size_t hops;
    uint8_t hop[CIRCUIT_HOPS_MAX + 1][NODE_ID_LEN];
    usec_t since;
};
bool circuit_info(const struct circuits *c, uint32_t id, struct circuit_info *i);
/* refused: by us, by enum circuit_reason (wire/circuit.h). dropped: cells that meant nothing, and what found
 * no room. */
struct circuits_counts {
    uint64_t built, failed, incoming, relayed_cells, relayed_bytes, refused[8], dropped;
    size_t relayed_now, open;
};
void circuits_counts(const struct circuits *c, struct circuits_counts *s);

#endif
