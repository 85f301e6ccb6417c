/* Circuits through members, as the parts of the engine that make them share it: circuits.c carries their
 * cells, relays.c decides when there is to be one and over whom (doc/protocol/relays.md). */
#ifndef WARREN_NODE_RELAYS_INT_H
#define WARREN_NODE_RELAYS_INT_H

#include "node/engine_int.h"
#include "path/circuit.h"
#include "path/route.h"
#include "wire/offer.h"

#define RELAY_DEMAND        (3 * SEC)    /* wanted and not reached for so long: a circuit is built */
#define RELAY_DEMAND_SECOND (1 * SEC)    /* later at the end with the larger id, so that one end builds */
#define RELAY_WANTED        (10 * SEC)   /* traffic or a question so long ago is demand */
#define RELAY_LOOK          (500 * MSEC) /* between looks at who needs one */
#define RELAY_RETRY         (1 * SEC)    /* doubled with each failure ... */
#define RELAY_RETRY_MAX     (30 * SEC)   /* ... up to this */
#define RELAY_AVOID         (20 * SEC)   /* a hop over which it failed is left out for so long */
#define RELAY_AVOIDED_MAX   4
#define RELAY_SECOND        (10 * SEC) /* between looks whether a member would be a better relay than the hub */
#define RELAY_TRAFFIC       (60 * SEC) /* only pairs that talked so lately get a second one */
#define RELAY_SPARE         (30 * SEC) /* a circuit that nobody needs is kept so long */
#define RELAY_PROVE         (15 * SEC) /* built, and the peer did not prove itself over it: another one */
#define OFFER_AGAIN         (60 * SEC)
#define OFFER_SOON          (200 * MSEC) /* after a change */
#define OFFER_PACE          (1 * SEC)    /* between two rounds, whatever changes */
#define OFFER_LIFE          (150 * SEC)
#define OFFER_REPLACED      (5 * SEC) /* of what was told in the session before */
#define REASSEMBLY_LIFE     (10 * SEC)

/* A message of a handshake that comes in pieces; one for each circuit at most. */
struct reassembly {
    struct reassembly *next;
    uint32_t circuit, message;
    usec_t until;
    uint8_t count;
    uint16_t have; /* bit i: piece i is there */
    size_t last;   /* bytes of the last one */
    uint8_t p[PIECES_MAX * PIECE_DATA_MAX];
};

/* Of a party's log, what the circuits were last judged by. */
struct log_seen {
    uint32_t tag;
    uint64_t seq;
};

struct relaying {
    struct circuits *c;
    struct sign_public key; /* of the member that the circuits asked for last */
    struct log_seen seen[PARTIES_CAP];
    size_t seen_count;
    bool pumping, flushing;
    struct reassembly *reassemblies;
    usec_t look_at, offer_at, offered_at;
    uint8_t cell[DATA_HEADROOM + CIRCUIT_BUILD_MAX + DATA_TAILROOM];
};

enum pin { PIN_NONE, PIN_AUTO, PIN_VIA };
struct peer_offer {
    usec_t until;
    struct offer o;
};
/* What we know of a peer as a relay, and our circuit to it. */
struct indirect {
    struct peer_offer *offer; /* NULL: it offers nothing */
    uint32_t circuit;         /* ours, being built or up; 0: none */
    uint32_t way;             /* of it; 0: not up */
    size_t relays;            /* those that it goes over */
    uint8_t relay[CIRCUIT_HOPS_MAX][NODE_ID_LEN];
    usec_t up_at, wanted, lost_at, spare_at, retry_at, second_at; /* 0: not so */
    unsigned failures;
    struct {
        uint8_t node[NODE_ID_LEN];
        usec_t until;
    } avoid[RELAY_AVOIDED_MAX];
    size_t avoid_next;
    enum pin pin; /* what a person chose */
    uint32_t pin_party;
    size_t pin_count;
    uint8_t pin_via[CIRCUIT_HOPS_MAX][NODE_ID_LEN];
};

/* circuits.c */
/* The living way to it that is no circuit and suits datagrams of this size best; NULL: none. */
struct way *cell_way(const struct node_peer *p, size_t size);
const struct node_party *np_by_tag(const struct node *n, uint32_t tag); /* active ones */
/* The peer that uses this circuit; *w its way, NULL where only a handshake goes over it. */
struct node_peer *circuit_user(const struct node *n, uint32_t id, struct way **w);
struct indirect *indirect_need(struct node_peer *p); /* NULL: no memory */

/* relays.c */
void relays_circuit_up(struct node *n, uint32_t id, usec_t now);
/* It failed or went down; hop: where, as far as is known. */
void relays_circuit_lost(struct node *n, const struct circuit_event *ev, usec_t now);
void relays_look(struct node *n, usec_t now);
void offers_tell(struct node *n, usec_t now);

#endif
