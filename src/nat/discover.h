/* What the NAT in front of us does (RFC 5780, RFC 4787): a STUN client run from the data socket itself. A
 * pure core: the owner has the sockets, names them by numbers of its own, sends what discover_output yields,
 * and gives every STUN datagram whose transaction id begins with `txid_prefix` to discover_input (STUN
 * requests too: they are our own hairpin probes).
 *
 * First the mapped address of the data socket, which is an event with the first answer (a server-reflexive
 * candidate); then, in the background: filtering, mapping, how outside ports are chosen, hairpinning, and
 * over minutes the lifetime of an idle mapping. IPv4 and IPv6 run side by side and know nothing of each
 * other. Afterwards the mapped address is asked for every `interval`. The result explains and steers
 * prediction; it never forbids a try.
 *
 * Requests are padded (with SOFTWARE, which everybody ignores) so that no answer of ours is larger than its
 * request (doc/protocol/stun.md). */
#ifndef WARREN_NAT_DISCOVER_H
#define WARREN_NAT_DISCOVER_H

#include "base/addr.h"
#include "base/bytes.h"
#include "base/rng.h"
#include "base/time.h"

#define DISCOVER_SERVERS_MAX  4            /* per family; more are not asked */
#define DISCOVER_LOCALS_MAX   16           /* addresses of this machine; more are not compared */
#define DISCOVER_SPARES_MAX   6            /* extra sockets */
#define DISCOVER_EVENTS_MAX   32           /* the oldest is lost when the owner does not pull */
#define DISCOVER_PROBES_MAX   12           /* transactions at once, per family */
#define DISCOVER_RTO          (100 * MSEC) /* first retransmission; doubled up to DISCOVER_RTO_MAX */
#define DISCOVER_RTO_MAX      (800 * MSEC)
#define DISCOVER_BLOCKED      (3 * SEC)  /* nothing answered for this: UDP is blocked */
#define DISCOVER_TRIES        8          /* transmissions of a test whose silence means something */
#define DISCOVER_INTERVAL     (25 * SEC) /* between requests for the mapped address */
#define DISCOVER_INTERVAL_MIN (1 * SEC)
#define DISCOVER_REQUEST4     72 /* bytes of our requests: the whole answer of stun_server.h fits */
#define DISCOVER_REQUEST6     120

/* On what a mapping (RFC 4787 section 4.1) or a filter (section 5) depends besides the inner endpoint. */
enum nat_depends {
    NAT_DEPENDS_UNKNOWN,
    NAT_DEPENDS_NOT,     /* endpoint-independent */
    NAT_DEPENDS_ADDRESS, /* address-dependent; a mapping: or on more, where no second port could be asked */
    NAT_DEPENDS_PORT,    /* address and port-dependent ("symmetric", where a mapping) */
    NAT_DEPENDS_NOT_PORT /* endpoint-independent or address-dependent: there was no second address to tell */
};
enum nat_port_choice {
    NAT_CHOICE_UNKNOWN,
    NAT_CHOICE_KEPT,       /* the inner port, where it is free */
    NAT_CHOICE_SEQUENTIAL, /* the last one plus port_delta */
    NAT_CHOICE_RANDOM
};
enum nat_answer { NAT_ANSWER_UNKNOWN, NAT_ANSWER_NO, NAT_ANSWER_YES };

struct nat_behaviour {
    uint8_t family;             /* 4 or 6 */
    enum nat_answer udp;        /* whether any server answered */
    enum nat_answer translated; /* mapped is none of this machine's addresses, or has another port */
    struct net_addr mapped; /* of the data socket at the first server that answered; family 0: not known */
    enum nat_depends mapping, filtering;
    enum nat_port_choice ports;
    int port_delta; /* of NAT_CHOICE_SEQUENTIAL, else 0 */
    enum nat_answer hairpin;
    bool several_addresses;    /* not all mapped addresses have the same IP address ... */
    bool contiguous_addresses; /* ... but they are neighbours (IPv4, within 16) */
    usec_t lifetime_min,
        lifetime_max; /* an idle mapping lived for min and was gone after max; 0: not known */
    bool complete;    /* all that can be found out here was, but for the lifetime */
    bool lifetime_complete;
};
/* One sentence for people: what kind of NAT this is and what it means for direct paths. */
#define NAT_TEXT_MAX 320
void nat_behaviour_text(char out[NAT_TEXT_MAX], const struct nat_behaviour *b);
const char *nat_depends_name(enum nat_depends d);         /* "unknown", "endpoint-independent", ... */
const char *nat_port_choice_name(enum nat_port_choice c); /* "unknown", "kept", "sequential", "random" */

struct discover_socket {
    uint32_t socket; /* the owner's number */
    uint16_t port;   /* its local port; 0: not known */
};
struct discover_config {
    struct rng rng;
    uint32_t txid_prefix; /* the first four bytes (big-endian) of all our transaction ids */
    struct net_addr servers[2 * DISCOVER_SERVERS_MAX]; /* both families, best first */
    size_t server_count;
    bool has4, has6;
    struct discover_socket main4, main6; /* the data sockets; may be the same */
    /* Extra sockets on other local ports, which carry nothing else, in order of use. Without them the filter
     * is tested from the data socket, and lifetime (and mostly the choice of ports) stay unknown. */
    struct discover_socket spares4[DISCOVER_SPARES_MAX], spares6[DISCOVER_SPARES_MAX];
    size_t spare4_count, spare6_count;
    struct net_addr locals[DISCOVER_LOCALS_MAX]; /* this machine's addresses (ports do not matter) */
    size_t local_count;
    usec_t interval;  /* 0: DISCOVER_INTERVAL */
    bool no_lifetime; /* do not measure it */
};

struct discover;
/* Starts at once. NULL when memory fails. */
struct discover *discover_new(const struct discover_config *c, usec_t now);
void discover_free(struct discover *d);
/* The network changed (an address came or went, sleep ended): forgets everything and begins anew. c: the
 * servers, sockets and addresses from now on; NULL: as before. Sockets that were probed with before may let
 * an old filter show; new ones are better. */
void discover_restart(struct discover *d, const struct discover_config *c, usec_t now);
/* How often the mapped address is asked for from now on (at least DISCOVER_INTERVAL_MIN); USEC_NEVER: not any
 * more, as other traffic keeps the mapping. */
void discover_interval(struct discover *d, usec_t interval, usec_t now);

/* A STUN datagram that came on a socket. true: it was ours and was taken. */
bool discover_input(struct discover *d, uint32_t socket, const struct net_addr *from, struct bytes in,
                    usec_t now);
struct discover_out {
    uint32_t socket;
    struct net_addr to;
    struct bytes data; /* valid until the next call */
};
bool discover_output(struct discover *d, struct discover_out *out, usec_t now);

enum discover_event_kind {
    DISCOVER_MAPPED,      /* the mapped address of the data socket is known, or is another one */
    DISCOVER_UDP_BLOCKED, /* no server answered (again after it had been answered: refreshes fail) */
    DISCOVER_CHANGED,     /* a fact of discover_summary became known or changed */
    DISCOVER_COMPLETE     /* all but the lifetime is known */
};
struct discover_event {
    enum discover_event_kind kind;
    uint8_t family;
    uint32_t socket;        /* MAPPED */
    struct net_addr mapped; /* MAPPED */
    struct net_addr server; /* MAPPED: who said so (the related STUN server) */
    usec_t rtt;             /* MAPPED: of the request answered; 0 when it was sent more than once */
};
bool discover_event(struct discover *d, struct discover_event *e);
usec_t discover_wake(const struct discover *d);
void discover_tick(struct discover *d, usec_t now);
/* family: 4 or 6. */
void discover_summary(const struct discover *d, uint8_t family, struct nat_behaviour *b);

#endif
