/* Inside the port mapper: portmap.c is the attempts, portmap_input.c what routers answer. */
#ifndef WARREN_NAT_PORTMAP_INT_H
#define WARREN_NAT_PORTMAP_INT_H

#include "nat/portmap.h"

/* A request, sent until it is answered or given up. */
struct portmap_request {
    bool active;
    usec_t due;
    unsigned sends;
};

/* What is being deleted at the router. */
struct portmap_deletion {
    enum portmap_method method;
    uint8_t nonce[PCP_NONCE_LEN];
    uint16_t internal;
    struct portmap_request request;
};

struct portmap_mapping {
    enum portmap_state state;
    uint16_t internal, suggested;
    uint8_t nonce[PCP_NONCE_LEN];
    enum portmap_method method;
    struct net_addr external; /* also as a suggestion after it was lost; family 0: none */
    uint32_t lifetime;
    usec_t mapped_at, expires, renew_at;
    /* the attempt under way: the first, or a renewal */
    bool trying, natpmp_joined, natpmp_out, upnp_asked, upnp_pending;
    usec_t began, retry_at, upnp_until;
    unsigned upnp_results; /* that are still to come: only the last one counts */
    struct portmap_request pcp, natpmp;
    const char *why;
    uint32_t error_lifetime;
    struct portmap_deletion old;
};

struct portmap_epoch {
    bool known;
    uint32_t server;
    usec_t client;
};

struct portmap {
    struct net_addr gateway, local;
    bool upnp;
    struct rng rng;
    bool pcp_unknown;               /* the router said that it speaks something older */
    struct portmap_request address; /* NAT-PMP's question for the external address */
    bool address_known;
    uint32_t natpmp_ip;
    struct portmap_epoch pcp_epoch, natpmp_epoch;
    struct portmap_mapping mappings[PORTMAP_KINDS];
    struct portmap_event events[PORTMAP_EVENTS_MAX];
    size_t event_at, event_count;
    uint8_t out[PCP_MAP_LEN];
};

/* portmap.c */
enum portmap_kind portmap_kind_of(const struct portmap *m, const struct portmap_mapping *k);
uint8_t portmap_protocol_of(const struct portmap *m, const struct portmap_mapping *k);
bool portmap_reachable(const struct portmap *m);
const char *portmap_address_text(const struct net_addr *external); /* what is wrong with it; "" */
void portmap_push(struct portmap *m, const struct portmap_mapping *k, enum portmap_event_kind what,
                  const char *why);
void portmap_request_begin(struct portmap_request *r, usec_t now);
void portmap_join_natpmp(struct portmap *m, struct portmap_mapping *k, usec_t now);
/* After something failed: tries what is left, or fails. */
void portmap_judge(struct portmap *m, struct portmap_mapping *k, usec_t now);
void portmap_mapped(struct portmap *m, struct portmap_mapping *k, enum portmap_method method,
                    const struct net_addr *external, uint32_t lifetime, usec_t now);

#endif
