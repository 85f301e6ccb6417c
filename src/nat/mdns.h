/* Members of our parties on the same LAN, found without a hub: mDNS and DNS-SD (RFC 6762, RFC 6763), the
 * subset of doc/protocol/lan-discovery.md. A pure core; the owner has one multicast socket per family on port
 * 5353.
 *
 * What is announced under _warren._udp.local is an opaque label per party and day, which only those can
 * compute who know the party's id and the member's; strangers see that some Warren node is there. An address
 * found so is a hint: the session proves who is there. Nothing is probed for uniqueness (RFC 6762
 * section 8.1): labels are hashes of ids and differ by construction.
 *
 * Order: mdns_new, mdns_clock, mdns_set_members, mdns_ports, mdns_start; after each input mdns_output until
 * false, mdns_event, timer for mdns_wake. */
#ifndef WARREN_NAT_MDNS_H
#define WARREN_NAT_MDNS_H

#include "base/addr.h"
#include "base/bytes.h"
#include "base/rng.h"
#include "base/time.h"

#define MDNS_PORT        5353
#define MDNS_ID_LEN      32 /* party and node ids */
#define MDNS_LABEL_BYTES 10 /* 16 letters of base32 */
#define MDNS_LABEL_CAP   17
#define MDNS_PARTIES_MAX 16 /* of ours */
#define MDNS_MEMBERS_MAX                                                                                     \
    1024 /* of all parties together, ourselves not counted; later ones are not recognised */
#define MDNS_FOUND_MAX  256
#define MDNS_ADDRS_MAX  4  /* remembered of one member in one party; the oldest goes */
#define MDNS_EVENTS_MAX 64 /* waiting; and with MDNS_EVENT_RATE: */
#define MDNS_EVENT_RATE                                                                                      \
    20 /* FOUND a second; what exceeds it is not remembered, so its next announcement counts */
#define MDNS_TTL_S       900 /* of our records, longer than two of the queries below are apart */
#define MDNS_TTL_MAX_S   4500
#define MDNS_QUERY_EVERY (5 * MINUTE) /* after those at 0, 1, 3 and 9 s */
#define MDNS_AGAIN                                                                                           \
    (1 * SEC) /* the second announcement; no record is multicast more often (RFC 6762 section 6) */
#define MDNS_UNICAST_RATE 5    /* unicast answers a second */
#define MDNS_DATAGRAM_MAX 1400 /* of ours; 6 parties in one */
#define MDNS_INPUT_MAX    9000 /* RFC 6762 section 17 */

struct mdns_member {
    uint8_t party[MDNS_ID_LEN], node[MDNS_ID_LEN];
    bool self; /* ourselves in that party: announced, not looked for */
};

struct mdns;
struct mdns *mdns_new(const struct rng *rng, usec_t now); /* NULL: no memory */
void mdns_free(struct mdns *m);
/* Calendar time, at the start and when it jumps: labels change with the UTC day. Yesterday's and tomorrow's
 * are recognised too. */
void mdns_clock(struct mdns *m, usec_t now, uint64_t unix_s);
/* All of them at once, replacing the former; copied. What was found of those who are left out is forgotten
 * without events. Parties with a member `self` are announced (the new ones at once, the left ones taken
 * back). 0; -ENOMEM: as before; -ENOSPC: set, but what exceeds the limits is left out. */
int mdns_set_members(struct mdns *m, const struct mdns_member *members, size_t count, usec_t now);
/* The ports to announce; udp 0: nothing is announced; tls 0: none. */
void mdns_ports(struct mdns *m, uint16_t udp, uint16_t tls, usec_t now);
/* Begins to announce and to ask; again on a change of networks (what was found is forgotten without events,
 * and found anew). */
void mdns_start(struct mdns *m, usec_t now);
/* Takes back what was announced and forgets, without events, what was found; then pull the outputs once more.
 * mdns_start begins again. */
void mdns_stop(struct mdns *m, usec_t now);

/* A datagram that came on the socket of that family from one of our own links (RFC 6762 section 11: the owner
 * drops others). */
void mdns_input(struct mdns *m, uint8_t family, const struct net_addr *from, struct bytes in, usec_t now);

struct mdns_out {
    uint8_t family;     /* 4 or 6: the socket */
    struct net_addr to; /* 224.0.0.251 or ff02::fb (multicast, on every interface), or one host */
    bool multicast;
    struct bytes data; /* valid until the next call */
};
bool mdns_output(struct mdns *m, usec_t now, struct mdns_out *out);

enum mdns_event_kind {
    MDNS_FOUND, /* new, or its ports changed */
    MDNS_GONE   /* taken back, or run out */
};
struct mdns_event {
    enum mdns_event_kind kind;
    uint8_t party[MDNS_ID_LEN], node[MDNS_ID_LEN];
    struct net_addr addr; /* the sender's address with the UDP port; IPv6 link-local ones too, which owners
                             without zones skip */
    uint16_t tls_port;    /* 0: none */
};
bool mdns_event(struct mdns *m, struct mdns_event *ev);
usec_t mdns_wake(const struct mdns *m);
void mdns_tick(struct mdns *m, usec_t now);

/* The label of a member in a party on a day (unix_s / 86400): base32 of the first 10 bytes of SHA-256("warren
 * mdns v1" || party || node || day as 64 bits). */
void mdns_label(char out[MDNS_LABEL_CAP], const uint8_t party[MDNS_ID_LEN], const uint8_t node[MDNS_ID_LEN],
                uint64_t day);

struct mdns_counts {
    size_t members, found;
    uint64_t queries, answers, announcements; /* datagrams sent */
    uint64_t malformed, strangers /* records with labels of nobody we know */,
        limited /* by a rate or a full table */;
};
void mdns_counts(const struct mdns *m, struct mdns_counts *c);

#endif
