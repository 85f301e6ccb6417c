/* Which members to go over, to a peer that we cannot reach otherwise: a pure function over a small table of
 * who relays and how well the legs are. The owner fills the table from its own paths and from what members
 * tell of theirs, and gives the answer to circuit_open. */
#ifndef WARREN_PATH_ROUTE_H
#define WARREN_PATH_ROUTE_H

#include "base/bytes.h"
#include "base/time.h"
#include "crypto/sign.h"

#define ROUTE_MEMBERS_MAX 32
#define ROUTE_RELAYS_MAX  3          /* as CIRCUIT_HOPS_MAX */
#define ROUTE_HOP_COST    (5 * MSEC) /* what a relay costs beside its legs */
#define ROUTE_LOSS_COST   (2 * MSEC) /* what a lost packet in a thousand costs */
#define ROUTE_LOSS_MAX    300        /* a leg that loses more is none */
#define ROUTE_RTT_MAX     (5 * SEC)  /* nor is a slower one */

struct route_leg {
    bool known; /* somebody measured it */
    usec_t rtt;
    uint16_t loss; /* of a thousand */
};
struct route_member {
    uint8_t node[NODE_ID_LEN];
    bool relays;               /* offers to */
    struct route_leg us, peer; /* to us, as measured; to the peer, as it tells */
};
struct route_table {
    size_t count; /* at most ROUTE_MEMBERS_MAX */
    struct route_member member[ROUTE_MEMBERS_MAX];
    /* [i][j]: as i tells of j. Where both tell, the worse counts. */
    struct route_leg between[ROUTE_MEMBERS_MAX][ROUTE_MEMBERS_MAX];
};
struct route {
    size_t count;                    /* relays; 0: there is no way */
    uint8_t relay[ROUTE_RELAYS_MAX]; /* indices into the table, ours first */
    usec_t cost;
};

/* The best way: with as few relays as can be (each one more is one more to trust and to fail), among those
 * the cheapest (RTTs, loss and relays weighed by the constants above), among those the one whose node ids
 * come first. max: at most so many relays, 1 to ROUTE_RELAYS_MAX. false: none, and r->count is 0. */
bool route_best(const struct route_table *t, size_t max, struct route *r);

#endif
