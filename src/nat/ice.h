/* An ICE agent (RFC 8445, trickle RFC 8838, consent RFC 7675), one component, UDP. A pure core: the owner has
 * the sockets.
 *
 * The owner names its transports by numbers ("base"): a socket, a TURN allocation. It adds local candidates
 * as it finds them, remote ones as signaling brings them (any time, early ones wait for the credentials),
 * gives the agent every STUN datagram that stun_is and its transports receive, sends what ice_output yields
 * and drains ice_event.
 *
 * A pair is *valid* when a check over it was answered; the best valid pair is *nominated* by the controlling
 * end and is then *selected*. An owner that proves paths by itself (the session's RESUME) uses the first
 * valid pair at once and moves to the selected one; consent may then be off. */
#ifndef WARREN_NAT_ICE_H
#define WARREN_NAT_ICE_H

#include "base/addr.h"
#include "base/bytes.h"
#include "base/rng.h"
#include "base/time.h"
#include "wire/stun.h"

#define ICE_UFRAG_MAX     32 /* ours are 8; RFC 8445 allows 256, and others' longer ones are refused */
#define ICE_PWD_MAX       64 /* ours are 24 */
#define ICE_LOCAL_MAX     32
#define ICE_REMOTE_MAX    48
#define ICE_PAIRS_MAX     100 /* RFC 8445 section 6.1.2.5; the lowest priorities are discarded */
#define ICE_TRIGGERED_MAX 64
#define ICE_EARLY_MAX     16 /* checks that came before the remote credentials, remembered to be triggered */
#define ICE_TA                                                                                               \
    (5 * MSEC) /* pacing: RFC 8445 section 14.2 allows 5 ms where the network is known; first ICE_BURST at   \
                  once */
#define ICE_BURST 6
#define ICE_RTO_MIN                                                                                          \
    (100 * MSEC) /* retransmissions: doubled from max(this, Ta x pairs), ICE_RETRANSMITS times */
#define ICE_RETRANSMITS 6
#define ICE_NOMINATE_WAIT                                                                                    \
    (100 * MSEC) /* after the first valid pair better ones get so long (or 2 of its RTTs) before nomination  \
                  */
#define ICE_GIVE_UP      (10 * SEC) /* all checks failed and no candidates come: failed */
#define ICE_CONSENT      (5 * SEC)  /* between consent checks, +-20 % (RFC 7675) */
#define ICE_CONSENT_LIFE (30 * SEC)

enum ice_type { ICE_HOST, ICE_PEER_REFLEXIVE, ICE_SERVER_REFLEXIVE, ICE_RELAYED, ICE_TYPE_COUNT };
const char *ice_type_name(enum ice_type t); /* "host", "prflx", "srflx", "relay" */

struct ice_candidate {
    enum ice_type type;
    bool mapped; /* server-reflexive by a port mapping (PCP, NAT-PMP, UPnP): preferred to a plain one */
    struct net_addr addr;
    struct net_addr
        related; /* base address of reflexive ones, mapped address of relayed ones; family 0: not told */
    uint32_t priority;   /* 0: the agent computes it (local), or guesses by type (remote) */
    uint32_t base;       /* local ones: the owner's transport that sends for it */
    uint16_t preference; /* local ones: 0..65535 within the type (interfaces, families); higher is better */
    char foundation[33]; /* "": computed */
};
/* RFC 8445 section 5.1.2.1 with type preferences 126, 110, 100 (101 mapped), 0. */
uint32_t ice_priority(enum ice_type type, bool mapped, uint16_t preference);

struct ice_credentials {
    char ufrag[ICE_UFRAG_MAX + 1], pwd[ICE_PWD_MAX + 1];
};

struct ice_config {
    bool controlling;
    struct ice_credentials local;
    uint32_t txid_prefix; /* the first four bytes of every transaction id of this agent, so that an owner of
                             many agents finds the one that a response belongs to; 0: random */
    bool consent;         /* RFC 7675 checks on the selected pair, and ICE_EVENT_CONSENT_LOST */
    bool lite_peer;       /* the peer is ice-lite: we are controlling */
    usec_t pace;          /* 0: ICE_TA */
    struct rng rng;
};
struct ice;
/* NULL without memory, or for credentials that ice_remote_credentials would refuse (fewer than 4 and 22
 * characters, a colon, white space). */
struct ice *ice_new(const struct ice_config *c, usec_t now);
void ice_free(struct ice *a);
/* 0, -ENOSPC, -EEXIST (same address and base: known), -EINVAL (no address that one can send to). */
int ice_add_local(struct ice *a, const struct ice_candidate *c, usec_t now);
/* The transport is gone: its candidates and pairs go; the selected pair may be lost (event). */
void ice_remove_base(struct ice *a, uint32_t base, usec_t now);
void ice_local_done(struct ice *a, usec_t now); /* no more local candidates */
int ice_remote_credentials(struct ice *a, const struct ice_credentials *c,
                           usec_t now); /* 0, -EINVAL, -EALREADY (others were set: restart) */
/* As ice_add_local; -EINVAL also for a peer-reflexive one. */
int ice_add_remote(struct ice *a, const struct ice_candidate *c, usec_t now);
void ice_remote_done(struct ice *a, usec_t now); /* end-of-candidates */
/* New credentials, checks begin anew (RFC 8445 section 9); the selected pair stays usable until another is
 * selected, and its consent checks go on under the credentials before. Local candidates stay. Credentials
 * that ice_new would refuse change nothing. */
void ice_restart(struct ice *a, const struct ice_credentials *local, usec_t now);

/* A STUN datagram that came on base. true: it was this agent's (by user name or transaction) and was taken.
 */
bool ice_input(struct ice *a, uint32_t base, const struct net_addr *from, struct bytes in, usec_t now);
struct ice_out {
    uint32_t base;
    struct net_addr to;
    struct bytes data; /* valid until the next call */
};
bool ice_output(struct ice *a, usec_t now, struct ice_out *out);

enum ice_event_kind {
    ICE_EVENT_VALID, /* pair: a check was answered, the first or one of a higher priority than all valid ones
                        before */
    ICE_EVENT_SELECTED,     /* pair: nominated; again when a better one is */
    ICE_EVENT_FAILED,       /* nothing works; once per start or restart */
    ICE_EVENT_CONSENT_LOST, /* of the selected pair */
    ICE_EVENT_ROLE          /* a role conflict was resolved by changing ours */
};
struct ice_pair {
    uint32_t base;
    struct net_addr remote; /* where to send */
    struct net_addr local;  /* the local candidate's address as the peer sees it */
    enum ice_type local_type, remote_type;
    usec_t rtt;
    uint64_t priority;
};
struct ice_event {
    enum ice_event_kind kind;
    struct ice_pair pair;
};
bool ice_event(struct ice *a, struct ice_event *ev);
usec_t ice_wake(const struct ice *a);
void ice_tick(struct ice *a, usec_t now);

/* A check outside the check list and its pacing, for searches through hard NATs: from base to an address that
 * is no candidate. base may be one that no candidate was added for (the many sockets of a search): then it
 * gets a peer-reflexive one, not told, when the peer is reached over it, by this or by its own check, and
 * ice_remove_base forgets it. Nothing is kept of a probe (its transaction id proves itself, for 30 s), and it
 * is not repeated. An answer makes a valid pair with a peer-reflexive remote candidate. 0, -EINVAL (no
 * address that one can send to), -ENOTCONN before the remote credentials, -ENOBUFS (64 messages wait: pull).
 */
int ice_probe(struct ice *a, uint32_t base, const struct net_addr *to, usec_t now);

enum ice_state {
    ICE_GATHERING /* no remote credentials yet */,
    ICE_CHECKING,
    ICE_CONNECTED /* a valid pair */,
    ICE_COMPLETED /* selected */,
    ICE_IS_FAILED
};
enum ice_state ice_state(const struct ice *a);
const char *ice_state_name(enum ice_state s);
bool ice_selected(const struct ice *a, struct ice_pair *p);
bool ice_controlling(const struct ice *a);
struct ice_counts {
    size_t local, remote, pairs;
    uint64_t checks_sent, checks_answered, checks_failed, requests, requests_refused, responses_refused,
        discarded;
};
void ice_counts(const struct ice *a, struct ice_counts *c);
/* The i-th local candidate as it is to be told to the peer (priority and foundation filled in; peer-reflexive
 * ones are not told). */
bool ice_local_at(const struct ice *a, size_t i, struct ice_candidate *c);
/* Pairs for people and tests: "host 10.0.0.1:5 > srflx 192.0.2.1:6 succeeded". */
bool ice_pair_text(const struct ice *a, size_t i, char *out, size_t cap);
/* The ufrag to which a request in `in` is addressed (the first half of USERNAME): copied to out. For owners
 * of many agents. */
bool ice_request_ufrag(struct bytes in, char out[ICE_UFRAG_MAX + 1]);

#endif
