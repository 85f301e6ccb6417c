/* A NAT box or a stateful firewall, as pure logic on addresses: mapping and filtering by the terms of RFC
 * 4787, chosen port policy, lifetimes, limits, reboot. Streams (TCP) go through the same tables with
 * filtering by address and port and a long lifetime, as RFC 5382 boxes do. */
#ifndef WARREN_SIM_NAT_H
#define WARREN_SIM_NAT_H

#include "base/rng.h"
#include "base/time.h"
#include "sim/addr.h"

/* On what one internal endpoint's mapping (or filter) depends besides itself. */
enum nat_kind {
    NAT_ENDPOINT,     /* nothing: EIM, EIF */
    NAT_ADDRESS,      /* the remote address: ADM, ADF */
    NAT_ADDRESS_PORT, /* the remote address and port: APDM, APDF */
};
enum nat_ports {
    NAT_PORT_KEEP,       /* the internal port where it is free, else (contention) the next free one */
    NAT_PORT_SEQUENTIAL, /* the last given one plus step */
    NAT_PORT_RANDOM,
};
enum nat_proto { NAT_UDP, NAT_STREAM, NAT_PROTO_COUNT };

#define NAT_MAPPINGS_MAX 1024
#define NAT_REMOTES_MAX                                                                                      \
    32 /* remotes remembered for filtering, per mapping; the one that was longest not written to goes */

struct nat_config {
    bool passes_all; /* no box at all: a plain router */
    bool firewall;   /* filters, translates nothing (IPv6) */
    enum nat_kind mapping, filtering;
    enum nat_ports ports;
    int step; /* of sequential ports; 0: 1 */
    bool hairpin;
    usec_t lifetime;        /* of a UDP mapping without traffic; 0: 120 s */
    usec_t stream_lifetime; /* 0: 2 h */
    bool refresh_inbound;   /* inbound traffic keeps a mapping alive as well */
    uint16_t max_mappings;  /* 0: NAT_MAPPINGS_MAX */
    bool udp_blocked;
    bool only_443;                /* streams to port 443 pass, nothing else */
    enum nat_kind stream_mapping; /* of streams; symmetric boxes are so for both */
};

struct nat_remote {
    struct net_addr addr;
    usec_t expires;
};
struct nat_mapping {
    bool used;
    enum nat_proto proto;
    struct net_addr inside;
    struct net_addr remote; /* the part that the mapping depends on, the rest zero */
    uint16_t port;          /* outside */
    bool answered;          /* something came in by it */
    usec_t expires;
    struct nat_remote remotes[NAT_REMOTES_MAX];
};

/* A port mapping that somebody inside asked for (box_portmap.h) or that a person made: anybody reaches
 * `inside` by `port`, and what comes from there has that port outside (RFC 6887 section 11: such mappings do
 * not depend on the destination). */
#define NAT_FORWARDS_MAX 32
struct nat_forward {
    usec_t expires; /* 0: free */
    enum nat_proto proto;
    struct net_addr inside;
    uint16_t port;
};

enum nat_verdict { NAT_PASS, NAT_BLOCKED, NAT_FULL, NAT_NO_MAPPING, NAT_FILTERED, NAT_VERDICT_COUNT };

struct nat {
    struct nat_config config;
    struct net_addr outside; /* the box's address on its outer side */
    uint16_t last_port;
    uint64_t verdicts[NAT_VERDICT_COUNT];
    struct nat_mapping *mappings; /* NAT_MAPPINGS_MAX of them */
    uint16_t high;                /* none is used from here on */
    struct nat_forward forwards[NAT_FORWARDS_MAX];
};

void nat_init(struct nat *n, const struct nat_config *c, const struct net_addr *outside);
void nat_done(struct nat *n);
/* A packet leaves: *from becomes what the outside sees. */
enum nat_verdict nat_out(struct nat *n, const struct rng *rng, enum nat_proto proto, struct net_addr *from,
                         const struct net_addr *to, usec_t now);
/* A packet for the box's outside address arrives: *to becomes the internal endpoint. */
enum nat_verdict nat_in(struct nat *n, enum nat_proto proto, const struct net_addr *from, struct net_addr *to,
                        usec_t now);
/* Forgets everything; with another address outside where one is given. */
void nat_reboot(struct nat *n, const struct net_addr *outside);
/* Forgets what it knows of one protocol. */
void nat_forget(struct nat *n, enum nat_proto proto);
/* Makes or renews a port mapping, on the wished port where that is free (0: any); 0: there is no room. until
 * 0: it ends. */
uint16_t nat_forward(struct nat *n, enum nat_proto proto, const struct net_addr *inside, uint16_t wish,
                     usec_t until, usec_t now);
uint16_t nat_mapping_count(const struct nat *n, usec_t now);

#endif
