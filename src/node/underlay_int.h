/* The network below, as the parts of the engine that find direct ways share it (underlay.c, udp_bind.c,
 * direct.c). */
#ifndef WARREN_NODE_UNDERLAY_INT_H
#define WARREN_NODE_UNDERLAY_INT_H

#include "nat/discover.h"
#include "nat/ice.h"
#include "nat/portmap.h"
#include "node/engine_int.h"
#include "wire/direct.h"
#include "wire/udp_relay.h"

#define UNDERLAY_HUBS_MAX    8
#define UNDERLAY_SERVERS_MAX 4
#define UNDERLAY_GATHER                                                                                      \
    (400 * MSEC) /* the first lists of candidates say "done" not before STUN answered or this passed */

/* The first byte of transaction ids says whose they are, the next three which of them. */
#define TXID_DISCOVER 0x44000000u
#define TXID_PEER     0x50000000u
#define TXID_TURN     0x54000000u
#define TXID_WHOSE    0xff000000u

#define DIRECT_UFRAG_BYTES 5
#define DIRECT_UFRAG_LEN   8 /* base32 of them */
#define DIRECT_SECRET_LEN  (DIRECT_UFRAG_BYTES + 20)

enum bind_state { BIND_OFF, BIND_ASKED, BIND_CONFIRMING, BIND_BOUND };
struct udp_bind {
    enum bind_state state;
    bool have_key;
    uint8_t key[UDP_RELAY_KEY_LEN], nonce[UDP_RELAY_NONCE_LEN], cookie[16];
    struct net_addr servers[UNDERLAY_SERVERS_MAX], to, seen;
    size_t server_count, server;
    uint32_t token;
    uint64_t time_ms;
    usec_t at, lifetime;
    unsigned tries;
    struct ratelimit rebinds;
};

struct underlay_socket {
    uint32_t number;
    bool asked;
    uint16_t port;             /* 0: not open */
    struct net_addr reflexive; /* as STUN or the relay sees it; family 0: not known */
};

struct underlay {
    struct node_network net;
    bool known; /* node_network was called */
    struct underlay_socket main4, main6;
    struct net_addr hub[UNDERLAY_HUBS_MAX];
    size_t hub_count;
    struct udp_bind bind;
    struct discover *discover; /* NULL: no server to ask */
    bool gathered;             /* STUN answered, or there is none to wait for */
    usec_t gather_until;
    struct portmap *portmap;
    struct net_addr mapped, mapped_tcp; /* by the router; family 0: not */
    uint16_t tcp_port;                  /* of the TLS listener; 0: none */
    struct ice_candidate candidates[ICE_LOCAL_MAX];
    size_t candidate_count;
    uint16_t revision;                    /* of the list: rises with every change */
    uint16_t spares[DISCOVER_SPARES_MAX]; /* ports of the extra sockets for discovery; 0: not open */
    struct map *by_ufrag;
};

/* underlay.c */
uint32_t underlay_socket(const struct node *n, uint8_t family); /* the main one; 0: not open */
void underlay_hub_udp(struct underlay *u, const struct net_addr *a);
/* This is how the outside sees that socket. */
void underlay_reflexive(struct node *n, uint32_t socket, const struct net_addr *seen, usec_t now);
/* The list of candidates is made anew; peers are told when it differs. */
void underlay_gather(struct node *n, usec_t now);

/* udp_bind.c */
void udp_bind_welcome(struct node *n, const struct signal *s, usec_t now);
void udp_bind_lost(struct node *n);
void udp_bind_again(struct node *n, usec_t now);
bool udp_bound(const struct node *n);
bool udp_bind_input(struct node *n, const struct net_addr *from, uint8_t *p, size_t len, usec_t now);
void udp_bind_tick(struct node *n, usec_t now);

/* direct.c */
struct direct {
    struct ice *ice; /* NULL: not running */
    uint32_t generation;
    char ufrag[ICE_UFRAG_MAX + 1]; /* under which it is in by_ufrag */
    uint16_t told, acked;          /* revisions of our list */
    usec_t tell_at, retry_at, free_at, began_at;
    unsigned tells, attempts;
    bool failed;
    struct direct_message theirs; /* what the peer said last */
    bool heard;
    char why[160]; /* why there is no direct path, for people */
};
/* A STUN datagram on one of our sockets: true where it was for one of the agents. */
bool direct_stun(struct node *n, uint32_t socket, const struct net_addr *from, struct bytes in, usec_t now);
void direct_list_changed(struct node *n, usec_t now);
/* The addresses below changed: everything anew. */
void direct_network_changed(struct node *n, usec_t now);

#endif
