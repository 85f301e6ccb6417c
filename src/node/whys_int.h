/* Why a pair is where it is, in words (status.c shows them): first the facts are collected, then one sentence
 * is made of them, so that every sentence can be asked for by a table of facts. */
#ifndef WARREN_NODE_WHYS_INT_H
#define WARREN_NODE_WHYS_INT_H

#include "nat/hard.h"
#include "node/engine_int.h"

#define WHY_CAP       400
#define WHY_TRIED_MAX 10
#define WHY_TRIED_CAP 300
#define WHY_TIME_CAP  32

enum why_udp { WHY_UDP_UNKNOWN, WHY_UDP_BLOCKED, WHY_UDP_WORKS };

struct pair_facts {
    enum peer_state state;
    char name[NAME_CAP]; /* of the peer */
    /* Without a path. */
    bool hub;               /* the link to it stands */
    bool shaking, resuming; /* a handshake, a RESUME of the keys is under way */
    unsigned tries;         /* handshakes that were not answered */
    usec_t again;           /* from now until the next one; USEC_NEVER: none is due */
    /* The path of the moment. */
    enum path_kind kind;
    uint8_t family; /* of its address; 0: none */
    uint64_t since; /* calendar time */
    double loss;
    /* What stands against a direct one. */
    bool off_here, off_there; /* switched off */
    bool known, socket;       /* this machine's networks; a UDP socket is open */
    bool begun, heard;        /* a round was begun; the peer told its candidates */
    bool pinned;              /* somebody chose the members to go over */
    bool answers, proving;    /* a direct path is alive, or its keys are being proved */
    bool checking;            /* checks are under way */
    usec_t told;              /* since the round began */
    usec_t retry;             /* from now until the next round; USEC_NEVER: none is due */
    usec_t died;              /* since a direct path died; USEC_NEVER: none did lately */
    enum why_udp udp_here, udp_there;
    enum hard_mapping nat_here, nat_there;
    bool six; /* both ends have an IPv6 address that the other may reach */
    bool tls_under_way, tls_tried,
        tls_could; /* dials; could: one of both listens where the other may reach it */
    bool searching, search_off, search_refused; /* one runs; not allowed here; not allowed by the peer */
    bool search_failed;                         /* at least once since the pair was last direct */
    char search[160]; /* what came of the last search, or why there was none; "": nothing is known */
};

void pair_facts_collect(struct pair_facts *f, const struct node *n, const struct node_peer *p,
                        const char *name, usec_t now);
/* One sentence without a full stop at its end. */
void pair_why(char out[WHY_CAP], const struct pair_facts *f);
/* What was tried for a direct path and what came of it, one line each; the number of them. */
size_t pair_tried(char out[WHY_TRIED_MAX][WHY_TRIED_CAP], const struct node *n, const struct node_peer *p,
                  usec_t now);
/* Where a way leads, for people: as origin_text, but of a circuit the members that it goes over. */
void way_text(const struct node *n, const struct way *w, char *out, size_t cap);
/* "2027-01-15 08:00:00 UTC" */
void time_text(char out[WHY_TIME_CAP], uint64_t unix_s);

#endif
