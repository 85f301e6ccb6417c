/* A STUN server (RFC 8489 Binding, RFC 5780 NAT behaviour discovery), as a pure function of a datagram and a
 * small table. The owner has up to four sockets per family: address A or B, port 1 or 2. It gives every
 * datagram that came to one of them, and sends the answer from the socket that the answer names.
 *
 * Nothing here is of use to somebody who forges sources. An answer is not larger than its request, except the
 * smallest one there is (12 bytes more than a bare request for IPv4, 24 for IPv6), and that is paid from what
 * the same source prefix sent and was not answered before: over time no prefix gets more bytes of IP than
 * came in its name, but for STUN_SERVER_SPARE_RATE a second, all prefixes together but for
 * STUN_SERVER_SPARE_ALL (doc/protocol/stun.md). */
#ifndef WARREN_NAT_STUN_SERVER_H
#define WARREN_NAT_STUN_SERVER_H

#include "base/addr.h"
#include "base/bytes.h"
#include "base/time.h"

/* Numbers of endpoints: a sum of these. */
#define STUN_ENDPOINT_PORT2 1u
#define STUN_ENDPOINT_ADDR2 2u
#define STUN_ENDPOINT_IP6   4u
#define STUN_ENDPOINTS      8u

#define STUN_SERVER_PREFIXES   4096 /* sources (/24, /48) remembered; the longest unused of a set of 8 goes */
#define STUN_SERVER_RATE       50   /* answers per second and prefix ... */
#define STUN_SERVER_BURST      200
#define STUN_SERVER_RATE_ALL   20000 /* ... and in all */
#define STUN_SERVER_SPARE_RATE 2 /* bytes per second and prefix by which answers may exceed what came ... */
#define STUN_SERVER_SPARE      48
#define STUN_SERVER_SPARE_ALL  1200 /* ... and in all */
#define STUN_SERVER_CREDIT_MAX 4096 /* bytes of unanswered requests that count */

struct stun_server_config {
    /* As clients see them (behind a 1:1 NAT not what the sockets are bound to); family 0: there is none. An
     * unspecified address (0.0.0.0) is one that is not known: it is told only where the owner says per
     * datagram which one was asked. */
    struct net_addr endpoints[STUN_ENDPOINTS];
    const char *software; /* SOFTWARE in answers with room for it; NULL: none. Copied, up to 63 bytes. */
    uint32_t rate, burst; /* per prefix; 0: as above */
    uint32_t rate_all;    /* 0: as above */
    uint64_t seed;        /* of the table, random */
};

enum stun_verdict {
    STUN_SERVED,       /* answered with success */
    STUN_SERVED_ERROR, /* answered with an error */
    STUN_DROP_FOREIGN, /* not STUN at all */
    STUN_DROP_CLASSIC, /* RFC 3489: no cookie */
    STUN_DROP_BROKEN,  /* -EBADMSG */
    STUN_DROP_KIND,    /* no Binding request */
    STUN_DROP_SOURCE,  /* from an address that nobody can be answered at */
    STUN_DROP_PREFIX,  /* its prefix asks too often */
    STUN_DROP_RATE,    /* too many in all */
    STUN_DROP_SMALL,   /* too small a request, and nothing left to pay the difference with */
    STUN_VERDICT_COUNT
};
const char *
stun_verdict_name(enum stun_verdict v); /* for metrics: "served", "served_error", "foreign", ... */

struct stun_server;
/* NULL when memory fails. */
struct stun_server *stun_server_new(const struct stun_server_config *c, usec_t now);
void stun_server_free(struct stun_server *s);
/* Addresses changed; what is remembered of sources stays. */
void stun_server_endpoints(struct stun_server *s, const struct net_addr endpoints[STUN_ENDPOINTS]);

struct stun_answer {
    unsigned endpoint; /* send from there */
    struct net_addr to;
    struct bytes data; /* inside the buffer given */
};
struct stun_asked {
    unsigned endpoint;
    struct net_addr local; /* the address the datagram was sent to, where the socket is bound to all and
                              clients see the same; family 0: that of the endpoint */
    struct net_addr from;
};
/* STUN_SERVED and STUN_SERVED_ERROR: *a is to be sent. */
#define STUN_SERVER_OUT_MAX 2048 /* larger requests are STUN_DROP_BROKEN */
enum stun_verdict stun_server_answer(struct stun_server *s, const struct stun_asked *q, struct bytes in,
                                     uint8_t out[STUN_SERVER_OUT_MAX], struct stun_answer *a, usec_t now);
uint64_t stun_server_count(const struct stun_server *s, enum stun_verdict v);

#endif
