/* What mdns.c (announcing, asking, answering) and mdns_table.c (members, labels, what was found) share. */
#ifndef WARREN_NAT_MDNS_INT_H
#define WARREN_NAT_MDNS_INT_H

#include "base/ratelimit.h"
#include "nat/mdns.h"
#include "wire/dns.h"

#define DAYS          3 /* yesterday, today, tomorrow */
#define DAY_S         86400u
#define LINKS         2 /* families: 4, 6 */
#define UNICASTS      8 /* answers waiting */
#define PER_DATAGRAM  6 /* parties */
#define LABEL_LETTERS (MDNS_LABEL_CAP - 1)

/* One of our own parties. */
struct own {
    uint8_t party[MDNS_ID_LEN], node[MDNS_ID_LEN];
    struct dns_name instance, host; /* LABEL._warren._udp.local, LABEL.local */
};

struct label {
    uint8_t id[MDNS_LABEL_BYTES];
    uint16_t member;
};

struct found {
    uint8_t party[MDNS_ID_LEN], node[MDNS_ID_LEN];
    struct net_addr addr; /* with the UDP port */
    uint16_t tls_port;
    usec_t seen, expires;
};

/* Parties are bits of a mask, by their place in own. */
struct link {
    uint32_t announce, answer, sending; /* due, due, being put into datagrams */
    uint8_t again;                      /* announcements after the next */
    usec_t announce_at, answer_at, last;
    usec_t query_at;
    unsigned queries;
    bool goodbye; /* for `left` */
};

struct unicast {
    struct net_addr to;
    uint32_t parties;
};

struct mdns {
    struct rng rng;
    usec_t clock_at;
    uint64_t clock_s, day;
    uint16_t udp, tls;
    bool running;

    struct mdns_member *members;
    struct label *labels; /* sorted by id */
    size_t member_count, label_count;
    struct own own[MDNS_PARTIES_MAX], left[MDNS_PARTIES_MAX]; /* left: to be taken back */
    size_t own_count, left_count, left_sent[LINKS];

    struct link links[LINKS];
    struct unicast unicasts[UNICASTS];
    size_t unicast_count;
    struct ratelimit unicast_rate, event_rate;

    struct found found[MDNS_FOUND_MAX];
    size_t found_count;
    struct mdns_event events[MDNS_EVENTS_MAX];
    size_t event_head, event_count;

    struct dns_name service;
    struct dns_message scratch;
    uint8_t buf[MDNS_DATAGRAM_MAX];
    struct mdns_counts counts;
};

/* The labels of all members, and the names of our own parties, for m->day. */
void mdns_relabel(struct mdns *m);
/* The member with this label on one of the three days, or NULL. */
const struct mdns_member *mdns_member_of(const struct mdns *m, struct bytes label);
/* Drops what was found of those who are no members any more; without events. */
void mdns_found_prune(struct mdns *m);
/* An announcement of a member: new or changed, refreshed, or (ttl_s 0) taken back. */
void mdns_found_put(struct mdns *m, const struct mdns_member *who, const struct net_addr *addr,
                    uint16_t tls_port, uint32_t ttl_s, usec_t now);
usec_t mdns_found_wake(const struct mdns *m);
void mdns_found_expire(struct mdns *m, usec_t now);

#endif
