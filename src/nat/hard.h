/* The search for a direct way through hard NATs (doc/protocol/hard-nats.md): those that map anew for every
 * destination, so that the address that a STUN server saw is not the one that the peer sees. A pure planner:
 * it says which sockets to open, what to send from which to where and what to tell the peer; the checks
 * themselves are the ICE agent's (ice_probe), which also says when one succeeded.
 *
 * When: ordinary checks failed, or behaviour discovery says beforehand that one side maps per destination;
 * there is traffic between the two; no other search runs on this node; hard_memory_may_try agrees. The owner
 * sees to all four.
 *
 * Order: hard_new at the end that begins (initiator) yields an offer at once. The other end's owner, when a
 * search message comes (they travel inside the session, sealed), gives it to the running search with this
 * peer, or, where none runs and hard_message_begins says that it is an offer, makes its own (initiator false)
 * and gives it the message; where it cannot (another search runs, searches are switched off) it answers with
 * hard_refuse. After each input: hard_output until false, hard_event, timer for hard_wake. Both ends compute
 * the same plan from the same two descriptions. Messages may be lost or doubled.
 *
 * The actions are to be carried out at once and in their order: what is predicted is the port that the NAT
 * gives to the *next* flow. */
#ifndef WARREN_NAT_HARD_H
#define WARREN_NAT_HARD_H

#include "base/addr.h"
#include "base/bytes.h"
#include "base/rng.h"
#include "base/time.h"

#define HARD_SOCKETS_MAX 256 /* opened by one search, in all; never used again in it */
/* Probes of one search. Birthday: 98.3 % after 1024, 99.97 % after all. Besides them go the hard side's
 * checks. */
#define HARD_PROBES_MAX    2048
#define HARD_RATE          200 /* probes a second */
#define HARD_BURST         20  /* of them at once */
#define HARD_OPEN_RATE     400 /* first checks a second from the many sockets of the hard side */
#define HARD_SECONDS       10  /* one search, from the moment when both ends know the plan */
#define HARD_SECONDS_MAX   60
#define HARD_RESEND        (10 * SEC) /* the hard side's checks again, so that its mappings stay */
#define HARD_ROUND         (1 * SEC)  /* between rounds of prediction, each with fresh sockets */
#define HARD_ROUND_SOCKETS 4          /* fresh ones in a round against an easy side */
#define HARD_AHEAD         20         /* predicted ports: observed + delta x (1 .. this) */
#define HARD_BEHIND        5          /* and observed - delta x (1 .. this) */
#define HARD_BESIDE        4          /* a preserved port, and so many above it */
#define HARD_FAN           16 /* both hard: sockets of one end in a round, a probe each; the ports they go to: */
#define HARD_AIM_NEAR      12           /* so many steps ahead in odd rounds, */
#define HARD_AIM_FAR       20           /* in even ones */
#define HARD_LEAD          4            /* the other end's probes run HARD_AHEAD steps from so far ahead */
#define HARD_OFFER_AGAIN   (500 * MSEC) /* an unanswered offer is repeated, */
#define HARD_OFFER_TRIES   6            /* so often in all */
#define HARD_GRACE         (3 * SEC) /* the peer says that it found a way: so long for our own proof of it */
#define HARD_PORT_LOWEST   1024
#define HARD_MESSAGE_MAX   64
#define HARD_DELTA_MAX     64 /* a larger step is taken for chance: HARD_RANDOM */

/* ---- What is known of one side's NAT, and what follows. */

enum hard_mapping {
    HARD_UNKNOWN, /* nothing is known: taken for easy beside a hard one, and for random beside an easy one */
    HARD_EASY,    /* one mapping for all destinations (RFC 4787 REQ-1), or no NAT */
    HARD_SEQUENTIAL, /* the next flow gets the port of the last plus delta */
    HARD_PRESERVING, /* the local port, where that is free */
    HARD_RANDOM,
    HARD_MAPPING_COUNT
};
const char *
hard_mapping_name(enum hard_mapping m); /* "unknown", "easy", "sequential", "preserving", "random" */

struct hard_nat {
    enum hard_mapping mapping;
    int16_t delta;          /* HARD_SEQUENTIAL: -HARD_DELTA_MAX .. HARD_DELTA_MAX, not 0 */
    struct net_addr mapped; /* IPv4. Easy: the main socket's address outside, which the checks go to. Hard:
                               the address counts, the port is what was observed last. */
};
/* What discovery says (nat/discover.h) in these terms: UNKNOWN where it does not know whether the mapping
 * depends on the destination's address, RANDOM where it does and how ports are chosen is not known (the
 * birthday search works against any). IPv4 only. */
struct nat_behaviour;
struct hard_nat hard_nat_of(const struct nat_behaviour *b);

enum hard_kind {
    HARD_NOT_NEEDED, /* both easy: ordinary checks do it */
    HARD_IMPOSSIBLE, /* words say why */
    HARD_PREDICT,    /* sequential and easy */
    HARD_KEPT_PORTS, /* preserving and easy */
    HARD_BIRTHDAY,   /* random and easy */
    HARD_BOTH,       /* both hard, both predictable */
    HARD_KIND_COUNT
};
const char *hard_kind_name(
    enum hard_kind k); /* "not needed", "impossible", "predict", "kept ports", "birthday", "both" */
struct hard_plan {
    enum hard_kind kind;
    bool hard_here, hard_there; /* which side opens sockets */
    const char *words;          /* a sentence for people, static */
};
/* Symmetric: both ends get the same kind. An owner whose prediction failed may name the mapping HARD_RANDOM
 * next time: the birthday search works against any mapping per destination. */
struct hard_plan hard_plan(const struct hard_nat *ours, const struct hard_nat *theirs);

/* ---- One search. */

#define HARD_SOCKET_MAIN                                                                                     \
    0u /* the owner's main socket; 1 .. HARD_SOCKETS_MAX are those that the search opens */
#define HARD_SOCKET_NONE UINT32_MAX

struct hard_config {
    struct rng rng;
    bool initiator;
    struct hard_nat ours;
    uint32_t sockets; /* 0: HARD_SOCKETS_MAX; at most that */
    uint32_t probes;  /* 0: HARD_PROBES_MAX; at most that */
    uint32_t rate;    /* 0: HARD_RATE; at most HARD_OPEN_RATE */
    uint32_t seconds; /* 0: HARD_SECONDS; at most HARD_SECONDS_MAX */
};
struct hard;
struct hard *hard_new(const struct hard_config *c, usec_t now); /* NULL: no memory */
void hard_free(struct hard *h);

/* Answers to HARD_OPEN_SOCKETS, for each socket, at once or later: its local port; 0: it could not be opened.
 */
void hard_socket_opened(struct hard *h, uint32_t socket, uint16_t port, usec_t now);
/* The answer to HARD_OBSERVE: the address outside as a STUN server saw it. None comes where it gave no
 * answer. */
void hard_observed(struct hard *h, uint32_t socket, const struct net_addr *mapped, usec_t now);
/* A message of the peer's search. 0; -EBADMSG: malformed (counted as nothing); -ESTALE: of another search;
 * where hard_message_begins, the peer began anew: the owner may free this one and take that. */
int hard_message(struct hard *h, struct bytes message, usec_t now);
/* ICE found a valid pair from this socket (HARD_SOCKET_MAIN on the easy side): the search ends well. */
void hard_found(struct hard *h, uint32_t socket, const struct net_addr *remote, usec_t now);
/* The owner wants no more of it: sockets are closed, the peer is told, no event comes. */
void hard_cancel(struct hard *h, usec_t now);

enum hard_action {
    HARD_OPEN_SOCKETS, /* sockets socket .. socket + count - 1, any ports */
    HARD_PROBE,        /* ice_probe from socket to `to` */
    HARD_OBSERVE, /* a STUN binding request from socket, now; hard_observed when it is answered. The socket
                     stays usable. */
    HARD_CLOSE_SOCKETS, /* all that this search opened, or asked to be opened, but `socket` (HARD_SOCKET_NONE:
                           all) */
    HARD_TELL_PEER      /* data: the peer gets it through hard_message */
};
struct hard_out {
    enum hard_action action;
    uint32_t socket, count;
    struct net_addr to;
    struct bytes data; /* valid until the next call */
};
bool hard_output(struct hard *h, usec_t now, struct hard_out *out);

enum hard_event_kind {
    HARD_DONE,  /* socket, remote; everything else is (being) closed: pull the outputs, then free */
    HARD_FAILED /* why; remember: whether it counts for hard_memory (a busy or silent peer does not) */
};
struct hard_event {
    enum hard_event_kind kind;
    enum hard_kind plan; /* HARD_NOT_NEEDED where there was none yet */
    uint32_t socket;
    struct net_addr remote;
    const char *why; /* a sentence, static */
    bool remember;
};
bool hard_event(struct hard *h, struct hard_event *ev);
usec_t hard_wake(const struct hard *h);
void hard_tick(struct hard *h, usec_t now);

/* For status and tests. */
struct hard_status {
    struct hard_plan plan; /* words: "asking the peer" while there is none */
    bool searching, over;
    struct hard_nat theirs; /* once told */
    uint32_t sockets, probes, rounds;
    usec_t began; /* searching since */
};
void hard_status(const struct hard *h, struct hard_status *s);

/* ---- The messages between the two ends. */

enum search_kind {
    SEARCH_OFFER = 1, /* the initiator's NAT */
    SEARCH_ACCEPT,    /* the other's; both know the plan now */
    SEARCH_READY,     /* a hard side has sent from its sockets, or has observed: probe (these ports) */
    SEARCH_STOP,
    SEARCH_KIND_COUNT
};
enum search_stop {
    SEARCH_FOUND = 1,
    SEARCH_BUSY,
    SEARCH_OFF,
    SEARCH_NO_PLAN,
    SEARCH_GAVE_UP,
    SEARCH_STOP_COUNT
};
#define SEARCH_PORTS_MAX 16
struct search_message {
    enum search_kind kind;
    uint32_t id; /* of the search, the initiator's choice */
    struct hard_nat
        nat;        /* OFFER, ACCEPT; READY: the sender's, port of mapped: observed in this round (0: none) */
    uint16_t round; /* READY: from 1 */
    uint16_t ports[SEARCH_PORTS_MAX];
    size_t port_count; /* READY: local ports, where they are likely kept */
    enum search_stop stop;
};
int search_read(struct search_message *m, struct bytes in); /* 0 or -EBADMSG */
size_t search_write(uint8_t *out, size_t cap,
                    const struct search_message *m); /* bytes; 0: does not fit or makes no sense */
/* Whether the message is an offer, which begins a search. */
bool hard_message_begins(struct bytes message);
/* The answer to an offer that is not taken up (SEARCH_BUSY, SEARCH_OFF). The number of bytes; 0 where `offer`
 * is none. */
size_t hard_refuse(uint8_t out[HARD_MESSAGE_MAX], struct bytes offer, enum search_stop why);

/* ---- What came of earlier searches, for 64 pairs of networks; a plain table in calendar time. */

#define HARD_MEMORY_MAX      64
#define HARD_MEMORY_KEY      16
#define HARD_AGAIN_FIRST_S   (30 * 60)
#define HARD_AGAIN_LONGEST_S (24 * 3600)
#define HARD_MEMORY_BYTES    (4 + HARD_MEMORY_MAX * (HARD_MEMORY_KEY + 1 + 1 + 8 + 8)) /* saved, at most */

struct hard_result {
    uint8_t key[HARD_MEMORY_KEY];
    enum hard_kind kind; /* the last plan */
    uint8_t failures;    /* in a row; 0: it succeeded */
    uint64_t at, again;  /* when it ended; not before this again */
};
struct hard_memory {
    struct hard_result results[HARD_MEMORY_MAX];
    size_t count;
};
/* The first 16 bytes of a hash over both public addresses (without ports) and both mappings. */
void hard_memory_key(uint8_t out[HARD_MEMORY_KEY], const struct hard_nat *ours,
                     const struct hard_nat *theirs);
void hard_memory_init(struct hard_memory *m);
/* Replaces what was known of the key; a full table forgets its oldest result. */
void hard_memory_success(struct hard_memory *m, const uint8_t key[HARD_MEMORY_KEY], enum hard_kind kind,
                         uint64_t unix_s);
void hard_memory_failure(struct hard_memory *m, const uint8_t key[HARD_MEMORY_KEY], enum hard_kind kind,
                         uint64_t unix_s);
const struct hard_result *hard_memory_find(const struct hard_memory *m, const uint8_t key[HARD_MEMORY_KEY]);
/* Whether a search is due; *wait_s (may be NULL): how long else. A clock that was set back never makes the
 * wait longer than 24 h. */
bool hard_memory_may_try(const struct hard_memory *m, const uint8_t key[HARD_MEMORY_KEY], uint64_t unix_s,
                         uint64_t *wait_s);
size_t hard_memory_save(const struct hard_memory *m, uint8_t *out, size_t cap); /* 0: does not fit */
int hard_memory_load(struct hard_memory *m, struct bytes saved); /* 0, or -EBADMSG and the table is empty */

#endif
