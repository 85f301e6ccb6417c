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
#define TXID_NAT64    0x4e000000u
#define TXID_PEER     0x50000000u
#define TXID_SEARCH   0x53000000u
#define TXID_TURN     0x54000000u
#define TXID_WHOSE    0xff000000u

#define DIRECT_UFRAG_BYTES 5
#define DIRECT_UFRAG_LEN   8 /* base32 of them */
#define DIRECT_SECRET_LEN  (DIRECT_UFRAG_BYTES + 20)

enum bind_state { BIND_OFF, BIND_ASKED, BIND_CONFIRMING, BIND_BOUND };
struct udp_bind {
    enum bind_state state;
    bool have_key;
    uint32_t index; /* ours, of the login that gave the key: it outlives the link */
    uint8_t key[UDP_RELAY_KEY_LEN], nonce[UDP_RELAY_NONCE_LEN], cookie[16];
    struct net_addr servers[UNDERLAY_SERVERS_MAX], to, seen;
    size_t server_count, server;
    uint32_t token;
    uint64_t time_ms;
    usec_t at, lifetime;
    usec_t sent_at, rtt; /* rtt: of the last exchange; 0: not known */
    unsigned tries;
    struct ratelimit rebinds, hints; /* what messages without a mac may set off */
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
    struct mapping *mapping;            /* mapping.c */
    struct turning *turning;            /* turning.c */
    struct net_addr mapped, mapped_tcp; /* by the router; family 0: not */
    struct net_addr mapped_near;        /* the same where the router's own outside is not the Internet */
    uint16_t tcp_port;                  /* of the TLS listener; 0: none */
    struct ice_candidate candidates[ICE_LOCAL_MAX];
    size_t candidate_count;
    uint16_t revision;                    /* of the list: rises with every change */
    uint16_t spares[DISCOVER_SPARES_MAX]; /* ports of the extra sockets for discovery; 0: not open */
    struct map *by_ufrag;
    struct search *search; /* search.c */
    struct {
        struct net_addr outside; /* family 0: not known, or not needed */
        uint8_t txid[STUN_TXID_LEN];
        usec_t at;
        unsigned tries;
    } nat64;                      /* nat64.c */
    enum nat_depends nat_mapping; /* as peers were told while the rest was not known yet */
    enum nat_port_choice nat_ports;
    int nat_delta;
    struct streams *streams; /* streams.c */
    struct lan *lan;         /* lan.c; NULL: members on the LAN are not looked for */
};

/* underlay.c */
uint32_t underlay_socket(const struct node *n, uint8_t family); /* the main one; 0: not open */
void underlay_hub_udp(struct underlay *u, const struct net_addr *a);
/* Enough is known for a search: how it maps, and how it chooses ports where that matters. */
bool nat_known(const struct nat_behaviour *b);
/* This is how the outside sees that socket. */
void underlay_reflexive(struct node *n, uint32_t socket, const struct net_addr *seen, usec_t now);
/* An address inside one of our virtual LANs: a path there would lead into itself. */
bool underlay_overlay(const struct node *n, const struct net_addr *a);
/* The list of candidates is made anew; peers are told when it differs. */
void underlay_gather(struct node *n, usec_t now);

/* udp_bind.c */
void udp_bind_welcome(struct node *n, const struct signal *s, usec_t now);
void udp_bind_lost(struct node *n);
void udp_bind_again(struct node *n, usec_t now);
bool udp_bound(const struct node *n);
bool udp_bind_input(struct node *n, const struct net_addr *from, uint8_t *p, size_t len, usec_t now);
void udp_bind_tick(struct node *n, usec_t now);

/* streams.c: TLS streams to and from other nodes, as an origin {PATH_TLS, number, address}. */
#define STREAMS_MAX         64          /* dialled and accepted together */
#define STREAMS_COMERS      48          /* of them, accepted: dials always have room */
#define STREAMS_UNCLAIMED   16          /* accepted, and nobody has proved himself: then the oldest goes */
#define STREAMS_PER_PEER    2           /* proven ones; the node with the smaller id keeps one of them */
#define STREAMS_NAMED       4           /* of one peer, proven or not, that came to us */
#define STREAM_DIALS_MAX    8           /* addresses in one round */
#define STREAM_NUMBER_END   0x40000000u /* ours are 1 to here; from here to NODE_STREAM_ACCEPTED: TURN */
#define STREAM_DIAL_EACH    (250 * MSEC)
#define STREAM_DIAL_AFTER   (1500 * MSEC) /* a pair without a direct path */
#define STREAM_DIAL_BLOCKED (100 * MSEC)  /* the same where UDP is blocked at one end */
#define STREAM_OPEN         (15 * SEC)    /* for a dial; the edge gives up before */
#define STREAM_HELLOS_PER_S 16            /* on all streams that nobody has claimed */
#define STREAM_CLAIM        (10 * SEC)    /* for somebody to prove himself on an accepted one */
#define STREAM_PROVE        (30 * SEC)    /* from then on, for its way to be proven */
#define STREAM_RETIRE       (2 * SEC)     /* one that is not used any more still brings what is under way */
#define STREAM_UDP_BETTER   (60 * SEC)    /* a direct UDP path carries for so long: the streams go */
struct dialling {
    usec_t at; /* of the next one; USEC_NEVER: none */
    struct net_addr tried[STREAM_DIALS_MAX];
    size_t count;
};
int streams_init(struct node *n);
void streams_done(struct node *n);
void streams_start(struct node *n);
/* A round of dials to this peer is due `after` from now; those to addresses of the round before may be
 * repeated. */
void streams_round(struct node *n, struct node_peer *p, usec_t after, usec_t now);
/* The round that waits goes on now: UDP does not work, or the peer told other addresses. */
void streams_hurry(struct node *n, struct node_peer *p, usec_t now);
void streams_dial_tick(struct node *n, struct node_peer *p, usec_t now);
/* false: there is no room, or this one is under way. */
bool streams_dial(struct node *n, struct node_peer *p, const struct net_addr *to, bool punch, usec_t now);
/* Whether dials to it are under way. */
bool streams_dialling(const struct node *n, const struct node_peer *p);
void streams_peer_gone(struct node *n, const struct node_peer *p);
size_t streams_count(const struct node *n);
usec_t streams_wake(const struct node *n);
void streams_tick(struct node *n, usec_t now);

/* lan.c */
#define LAN_FOUND_MAX 256
#define LAN_YIELD     (1 * SEC) /* the node with the larger id leaves the first try to the other */
#define LAN_RETRY     (1 * SEC) /* between tries, doubled to: */
#define LAN_RETRY_MAX (60 * SEC)
#define LAN_REOPEN    (60 * SEC) /* sockets that could not be had */
int lan_init(struct node *n, usec_t now);
void lan_done(struct node *n);
void lan_start(struct node *n, usec_t now);
bool lan_opened(struct node *n, uint32_t socket, uint16_t port,
                usec_t now); /* false: not one of its sockets */
bool lan_input(struct node *n, uint32_t socket, const struct net_addr *from, struct bytes in, usec_t now);
void lan_ports(struct node *n, usec_t now);
void lan_network_changed(struct node *n, usec_t now);
usec_t lan_wake(const struct node *n);
void lan_tick(struct node *n, usec_t now);

/* mapping.c: the router's help */
int mapping_init(struct node *n);
void mapping_done(struct node *n);
void mapping_look(struct node *n, bool changed,
                  usec_t now); /* sockets, addresses or wishes may have changed */
bool mapping_opened(struct node *n, uint32_t socket, uint16_t port, usec_t now); /* false: not its socket */
bool mapping_input(struct node *n, uint32_t socket, const struct net_addr *from, struct bytes in, usec_t now);
bool mapping_status(const struct node *n, enum portmap_kind kind, usec_t now,
                    struct portmap_status *s); /* false: no router */
usec_t mapping_wake(const struct node *n);
void mapping_tick(struct node *n, usec_t now);

/* turning.c: a TURN server that the hub names */
#define TURN_BASE 0x1000u /* its number among ICE's bases: above all sockets */
int turning_init(struct node *n);
void turning_done(struct node *n);
void turning_welcome(struct node *n, const struct signal *s, usec_t now);
void turning_wish(struct node *n, usec_t now); /* some pair has no direct path */
bool turning_relayed(const struct node *n, struct net_addr *a);
const char *turning_words(const struct node *n);
bool turning_input(struct node *n, const struct net_addr *from, struct bytes in,
                   usec_t now);                                      /* false: not the server's */
bool turning_stream_up(struct node *n, uint32_t stream, usec_t now); /* false: not its stream; so below */
bool turning_stream_bytes(struct node *n, uint32_t stream, struct bytes in, usec_t now);
bool turning_stream_down(struct node *n, uint32_t stream, usec_t now);
usec_t turning_wake(const struct node *n);
void turning_tick(struct node *n, usec_t now);

/* direct.c */
struct direct {
    struct ice *ice; /* NULL: not running */
    uint32_t generation;
    char ufrag[ICE_UFRAG_MAX + 1]; /* under which it is in by_ufrag */
    uint16_t told, acked;          /* revisions of our list */
    usec_t tell_at, retry_at, free_at, began_at;
    usec_t turn_at;                   /* without a direct path until then, a TURN server is asked */
    unsigned tells, attempts, lonely; /* lonely: rounds in a row with no path at all to the peer */
    bool failed, retrying;            /* retrying: a later round, of which nothing came yet */
    struct direct_message theirs;     /* what the peer said last */
    bool heard;
    struct dialling dial;
    char why[160];     /* why there is no direct path, for people */
    usec_t search_at;  /* when a search through hard NATs is thought of again */
    unsigned searches; /* that failed in a row and may be repeated soon */
    bool no_search;    /* the peer allows none */
    struct ratelimit rounds; /* that the peer may begin */
};
/* A UDP path, in the LAN or through the Internet, is alive; a path to the peer itself is. */
bool direct_udp_alive(const struct node_peer *p);
bool direct_alive(const struct node_peer *p);
/* Another round, but not more often than once a second. */
void direct_again(struct node *n, struct node_peer *p, usec_t now);
/* An address where the peer may be, from elsewhere than its own words. */
void direct_hint(struct node *n, struct node_peer *p, const struct net_addr *a, usec_t now);
/* A STUN datagram on one of our sockets: true where it was for one of the agents. */
bool direct_stun(struct node *n, uint32_t socket, const struct net_addr *from, struct bytes in, usec_t now);
void direct_list_changed(struct node *n, usec_t now);
/* What the agent of this peer has to send, now. */
void direct_checks_out(struct node *n, struct node_peer *p, usec_t now);
/* An agent runs afterwards, if it can. */
void direct_agent_need(struct node *n, struct node_peer *p, usec_t now);
/* The addresses below changed: everything anew. */
void direct_network_changed(struct node *n, usec_t now);

/* nat64.c */
/* IPv4 candidates of a peer can be reached through the NAT64, if this network has IPv6 only. */
void nat64_remote(const struct node *n, struct ice *ice, const struct ice_candidate *c, usec_t now);
struct net_addr nat64_beyond(const struct net_addr *a); /* where an IPv4 address is */
void nat64_tell(const struct node *n, struct direct_message *m);
void nat64_look(struct node *n, usec_t now); /* addresses, sockets or servers are others */
bool nat64_stun(struct node *n, uint32_t socket, struct bytes in, usec_t now);
void nat64_tick(struct node *n, usec_t now);

/* search.c */
/* A STUN binding request, padded as discovery's are (doc/protocol/stun.md). */
struct bytes stun_request(uint8_t out[DISCOVER_REQUEST4], const uint8_t txid[STUN_TXID_LEN]);
int search_init(struct node *n);
bool search_runs(const struct node *n, const struct node_peer *p); /* its agent is to be kept */
/* The agent began, or something else is known of the NATs: whether a search is due is looked at again. */
void search_soon(struct node *n, struct node_peer *p, usec_t now);
void search_look(struct node *n, struct node_peer *p, usec_t now);
/* An ICE pair works. */
void search_valid(struct node *n, struct node_peer *p, const struct ice_pair *pair, usec_t now);
/* Its session is gone. */
void search_peer_gone(struct node *n, struct node_peer *p);
/* It is about to be freed: what its ways had is closed. */
void search_ways_gone(struct node *n, struct node_peer *p);
void search_network_changed(struct node *n, usec_t now);
bool search_opened(struct node *n, uint32_t number, uint16_t port,
                   usec_t now); /* false: not one of its sockets */
bool search_stun(struct node *n, uint32_t number, struct bytes in, usec_t now);
void search_pump(struct node *n, usec_t now);
usec_t search_wake(const struct node *n);
void search_tick(struct node *n, usec_t now);

#endif
