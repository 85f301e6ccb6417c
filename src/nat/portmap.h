/* Asks the router for a port: PCP (RFC 6887) first, NAT-PMP (RFC 6886) where the router says it is older or
 * has not answered the first PCP request, UPnP by the owner's hands where neither answers. A pure core: one
 * gateway, one UDP and one TCP mapping, renewed at half of their life, made anew when the router restarted.
 * With an IPv6 gateway it asks PCP for a hole in the firewall. doc/protocol/port-mapping.md.
 *
 * The owner has a UDP socket on `local` for the requests, and gives everything that comes there, and from a
 * socket on PORTMAP_CLIENT_PORT if it has one, to portmap_input. */
#ifndef WARREN_NAT_PORTMAP_H
#define WARREN_NAT_PORTMAP_H

#include "base/addr.h"
#include "base/bytes.h"
#include "base/rng.h"
#include "base/time.h"
#include "wire/portmap.h"

#define PORTMAP_LIFETIME     7200  /* s; asked for */
#define PORTMAP_LIFETIME_MAX 86400 /* s; a longer one is renewed as if it were this (RFC 6887 section 15) */
/* Requests: first retransmission, doubled (RFC 6886 section 3.1); given up after 3.75 s. */
#define PORTMAP_RTO          (250 * MSEC)
#define PORTMAP_SENDS        4
#define PORTMAP_DELETE_SENDS 2
/* From the beginning of an attempt: NAT-PMP joins in by asking for the address only; UPnP, whose search takes
 * its time, is asked for while the others are still being tried, and has so much patience for a result. */
#define PORTMAP_NATPMP_AFTER  (250 * MSEC)
#define PORTMAP_UPNP_AFTER    (750 * MSEC)
#define PORTMAP_UPNP_PATIENCE (30 * SEC)
/* After a failure; a PCP error's lifetime says when to ask again, within MIN and MAX. */
#define PORTMAP_RETRY      (15 * MINUTE)
#define PORTMAP_ERROR_MIN  (1 * MINUTE)
#define PORTMAP_ERROR_MAX  (30 * MINUTE)
#define PORTMAP_RENEW_MIN  (4 * SEC) /* between renewals without an answer (RFC 6887 section 11.2.1) */
#define PORTMAP_EVENTS_MAX 32        /* the oldest are forgotten */
#define PORTMAP_WORDS      200

enum portmap_kind { PORTMAP_FOR_UDP, PORTMAP_FOR_TCP, PORTMAP_KINDS };
enum portmap_method { PORTMAP_BY_NONE, PORTMAP_BY_PCP, PORTMAP_BY_NATPMP, PORTMAP_BY_UPNP };
const char *portmap_kind_name(enum portmap_kind k);     /* "udp", "tcp" */
const char *portmap_method_name(enum portmap_method m); /* "none", "PCP", "NAT-PMP", "UPnP" */

struct portmap_config {
    struct net_addr gateway; /* port 0: PORTMAP_SERVER_PORT; family 0: not known yet */
    struct net_addr local;   /* our address on the gateway's network: what the mapping leads to */
    bool upnp;               /* the owner can do UPnP */
    struct rng rng;
};
struct portmap;
struct portmap *portmap_new(const struct portmap_config *c); /* NULL: out of memory */
void portmap_free(struct portmap *m);
/* Wants a mapping to that port of ours (0: no longer: it is deleted). external: the port to suggest, 0: the
 * same. */
void portmap_want(struct portmap *m, enum portmap_kind kind, uint16_t internal, uint16_t external,
                  usec_t now);
/* The network changed (also back to the same: everything is asked anew). What was mapped is LOST; it cannot
 * be deleted any more. */
void portmap_network(struct portmap *m, const struct net_addr *gateway, const struct net_addr *local,
                     usec_t now);
/* Deletes the mappings: drain portmap_output until portmap_idle, or not longer than one is willing to wait.
 */
void portmap_stop(struct portmap *m, usec_t now);
bool portmap_idle(const struct portmap *m); /* nothing is wanted, mapped, or being deleted */

/* 0; -EPERM: not from the gateway; -EBADMSG; -ENOENT: understood, but answers nothing that was asked (another
 * nonce, port, protocol). */
int portmap_input(struct portmap *m, const struct net_addr *from, struct bytes in, usec_t now);
struct portmap_out {
    struct net_addr to;
    struct bytes data; /* valid until the next call */
};
bool portmap_output(struct portmap *m, usec_t now, struct portmap_out *out);

enum portmap_event_kind {
    PORTMAP_EVENT_MAPPED, /* kind, external, method, lifetime, usable; again when the external address or port
                             changed */
    PORTMAP_EVENT_LOST,   /* kind, external (that was); why */
    PORTMAP_EVENT_FAILED, /* kind, why: no method gave a mapping; asked again later */
    PORTMAP_EVENT_WANT_UPNP, /* kind, internal, external.port (suggested), lifetime: map or renew it */
    PORTMAP_EVENT_DROP_UPNP  /* kind, external: delete that mapping; no result is expected */
};
struct portmap_event {
    enum portmap_event_kind what;
    enum portmap_kind kind;
    enum portmap_method method;
    struct net_addr external;
    uint16_t internal;
    uint32_t lifetime; /* s */
    bool usable;       /* the external address is a public one: worth telling to peers */
    const char *why;   /* constant, for people */
};
bool portmap_event(struct portmap *m, struct portmap_event *ev);
/* What came of a WANT_UPNP: error 0 and the external address and lifetime (s; 0: for ever), or a negative
 * errno (-ENODEV: there is no such router; others: it refused). One result
 * for each WANT_UPNP, in their order; late and unexpected ones are fine. */
void portmap_upnp_result(struct portmap *m, enum portmap_kind kind, int error,
                         const struct net_addr *external, uint32_t lifetime, usec_t now);
usec_t portmap_wake(const struct portmap *m);
void portmap_tick(struct portmap *m, usec_t now);

enum portmap_state { PORTMAP_UNWANTED, PORTMAP_ASKING, PORTMAP_MAPPED, PORTMAP_FAILED, PORTMAP_DELETING };
struct portmap_status {
    enum portmap_state state;
    enum portmap_method method;
    uint16_t internal;
    struct net_addr external;
    bool usable;
    uint32_t expires;          /* s from now */
    char words[PORTMAP_WORDS]; /* "udp 41641 is 203.0.113.5:41641 outside (PCP, 7200 s)"; "udp: the router
                                  answers neither PCP nor ..." */
};
void portmap_status(const struct portmap *m, enum portmap_kind kind, usec_t now, struct portmap_status *s);

#endif
