/* The parts of the ICE agent, shared by ice*.c only.
 *
 * A pair is a transport of ours (base) and a remote address: two local candidates of one base are the same
 * packets, so they make one pair (RFC 8445 section 6.1.2.4), whose local candidate is the best one of that
 * base. */
#ifndef WARREN_NAT_ICE_INT_H
#define WARREN_NAT_ICE_INT_H

#include "nat/ice.h"

#define ICE_REMOTE_TOLD_MAX                                                                                  \
    (ICE_REMOTE_MAX - 8)        /* told by signaling; the rest stays free for peer-reflexive ones */
#define ICE_TX_KEPT         4   /* transactions of one pair whose answers are still taken */
#define ICE_CONSENT_KEPT    8   /* consent checks whose answers are still taken */
#define ICE_QUEUE_MAX       128 /* messages that wait for ice_output */
#define ICE_PROBE_QUEUE_MAX 64  /* of which probes may take */
#define ICE_EVENTS_MAX      32
#define ICE_LAST_WAIT       16 /* RTOs after the last retransmission: Rm of RFC 8489 section 6.2.1 */
#define ICE_HOLD_TRIES      2  /* a check sent so often unanswered no longer holds back its foundation */
#define ICE_PROBE_LIFE      (30 * SEC) /* answers to older probes are refused */
#define ICE_NOMINATION_LIFE                                                                                  \
    (2 * ICE_CONSENT) /* a selected pair not nominated again for so long yields to a worse one that is */
#define ICE_LEARN_BURST                                                                                      \
    32 /* peer-reflexive remote candidates: two symmetric NATs would make new ones for ever */
#define ICE_LEARN_EVERY (30 * SEC) /* and then one so often */
#define ICE_TX_LEN      8          /* of a transaction id, behind the agent's prefix */
#define ICE_PREFIX_LEN  4
#define ICE_MESSAGE_MAX 256 /* of ours */

struct ice_local {
    bool used;
    struct ice_candidate c;
};

struct ice_remote {
    bool used;
    struct ice_candidate c; /* ICE_PEER_REFLEXIVE: learnt from a check, not told by signaling */
    uint64_t order;         /* the oldest learnt one makes room */
};

enum check_state { CHECK_FROZEN, CHECK_WAITING, CHECK_IN_PROGRESS, CHECK_SUCCEEDED, CHECK_FAILED };

struct ice_tx {
    bool used, use_candidate, controlling;
    uint8_t id[ICE_TX_LEN];
    uint32_t priority; /* the PRIORITY attribute: that of our peer-reflexive candidate, should the answer show
                          one */
    usec_t sent;
};

struct check_pair {
    uint32_t base;
    size_t local, remote; /* slots */
    uint64_t priority;    /* of the candidates as known (RFC 8445 section 6.1.2.3) */
    uint64_t foundation;  /* of both, hashed */
    enum check_state state;
    uint64_t triggered; /* its place in the triggered queue; 0: not in it */
    bool nominated;     /* by the controlling peer, perhaps before our own check succeeded */
    /* the running check */
    bool active, use_candidate;
    unsigned tries;
    usec_t rto, due;
    struct ice_tx tx[ICE_TX_KEPT];
    size_t tx_next;
    /* what the answer said, in CHECK_SUCCEEDED */
    struct net_addr mapped;
    enum ice_type mapped_type;
    uint32_t mapped_priority;
    uint64_t valid_priority;
    usec_t rtt;
};

struct ice_early {
    uint32_t base, priority;
    struct net_addr from;
    bool use_candidate;
    char ufrag[ICE_UFRAG_MAX + 1]; /* the peer's, as it said */
};

enum job_kind { JOB_CHECK, JOB_ANSWER, JOB_REFUSAL };
/* A message to be: written when it is pulled. */
struct ice_job {
    enum job_kind kind;
    bool old; /* with the credentials of the generation before */
    bool controlling, use_candidate;
    uint16_t code, unknown[STUN_UNKNOWN_MAX];
    size_t unknown_count;
    uint32_t base, priority;
    struct net_addr to;
    uint8_t txid[STUN_TXID_LEN];
};

struct ice_asked {
    bool used;
    uint8_t id[ICE_TX_LEN];
    usec_t sent;
};

/* The selected pair outlives restarts, so it stands apart from the check list. */
struct ice_choice {
    bool there;
    bool old; /* of the generation before the restart */
    struct ice_pair pair;
    usec_t nominated; /* when it was last */
    usec_t consent_due, consent_until;
    struct ice_asked asked[ICE_CONSENT_KEPT];
    size_t asked_next;
};

struct ice {
    bool controlling, consent, lite_peer;
    uint64_t tie_breaker;
    uint8_t prefix[ICE_PREFIX_LEN];
    uint8_t probe_key[32];
    usec_t pace;
    struct rng rng;

    struct ice_credentials local, peer;
    bool has_peer;
    struct ice_credentials old_local, old_peer; /* of the generation that answers are still given for */
    bool has_old;
    bool local_done, remote_done;

    struct ice_local locals[ICE_LOCAL_MAX];
    struct ice_remote remotes[ICE_REMOTE_MAX];
    uint64_t order; /* counts learnt candidates and triggered checks */
    struct check_pair pairs[ICE_PAIRS_MAX];
    size_t pair_count;
    struct ice_early early[ICE_EARLY_MAX];
    size_t early_count;

    usec_t
        learn_at; /* the theoretical time of the next learnt candidate (a leaky bucket of ICE_LEARN_BURST) */
    usec_t pace_at; /* the theoretical time of the next check (a leaky bucket of ICE_BURST) */
    usec_t news;    /* the last candidate, credential or request of the peer: when hope was last fed */
    usec_t nominate_at;
    uint64_t best_valid; /* the best that ICE_EVENT_VALID told of; 0: none */
    bool failed;

    struct ice_choice selected;
    struct ice_job queue[ICE_QUEUE_MAX];
    size_t queue_first, queue_count;
    struct ice_event events[ICE_EVENTS_MAX];
    size_t event_first, event_count;
    uint64_t checks_sent, checks_answered, checks_failed, requests, requests_refused, responses_refused,
        discarded;
    uint8_t message[ICE_MESSAGE_MAX];
};

/* ---- ice.c */
bool ice_credentials_ok(const struct ice_credentials *c);
void ice_event_put(struct ice *a, enum ice_event_kind kind, const struct ice_pair *p);
/* Does whatever is due; every verb ends with it. */
void ice_run(struct ice *a, usec_t now);

/* ---- ice_candidates.c */
/* The slot of the best local candidate of base that may talk to `to`, or -1. reached: something came from
 * there, so that scopes need not be judged. */
int ice_local_for(const struct ice *a, uint32_t base, const struct net_addr *to, bool reached);
/* A local candidate for a transport that has none of this family, over which the peer is reached all the same
 * (searches through hard NATs use many): peer-reflexive, without address. The slot, or -1. */
int ice_local_learn(struct ice *a, uint32_t base, uint8_t family);
/* The type and priority that our address `mapped`, seen through base, has; false: it is a new, peer-reflexive
 * one. */
bool ice_local_known(const struct ice *a, uint32_t base, const struct net_addr *mapped, enum ice_type *type,
                     uint32_t *priority);
/* The slot, or -1. */
int ice_remote_find(const struct ice *a, const struct net_addr *addr);
/* Learns a peer-reflexive one (RFC 8445 section 7.3.1.3). proven: it answered, so that its number is no
 * matter. The slot, or -1 where there is no room. */
int ice_remote_learn(struct ice *a, const struct net_addr *addr, uint32_t priority, bool proven, usec_t now);

/* ---- ice_pairs.c */
struct check_pair *ice_pair_find(struct ice *a, uint32_t base, const struct net_addr *remote);
/* Makes or finds the pair; NULL where there is no room for its priority or no local candidate fits. */
struct check_pair *ice_pair_make(struct ice *a, uint32_t base, size_t remote, bool reached);
void ice_pairs_for_remote(struct ice *a, size_t remote);
void ice_pairs_for_base(struct ice *a, uint32_t base);
void ice_pairs_drop_local(struct ice *a, size_t local);
void ice_pairs_drop_remote(struct ice *a, size_t remote);
void ice_pairs_drop_base(struct ice *a, uint32_t base);
/* Priorities anew: the role or a candidate changed. */
void ice_pairs_judge(struct ice *a);
void ice_pair_trigger(struct ice *a, struct check_pair *p);
struct check_pair *ice_pair_next_triggered(struct ice *a);
/* The best pair whose ordinary check may start, or NULL. */
struct check_pair *ice_pair_next(struct ice *a);
struct check_pair *ice_pair_best_valid(struct ice *a);
void ice_pair_describe(const struct ice *a, const struct check_pair *p, struct ice_pair *out);
uint64_t ice_pair_priority(bool controlling, uint32_t local, uint32_t remote);
const struct net_addr *ice_pair_remote(const struct ice *a, const struct check_pair *p);

/* ---- ice_checks.c */
bool ice_job_put(struct ice *a, const struct ice_job *job);
/* Starts a check; false where the output queue is full. */
bool ice_check_start(struct ice *a, struct check_pair *p, bool use_candidate, usec_t now);
/* Retransmits or fails what is due. */
void ice_checks_run(struct ice *a, usec_t now);
/* Starts triggered and ordinary checks, as many as the pace allows. */
void ice_checks_begin(struct ice *a, usec_t now);
usec_t ice_checks_wake(struct ice *a);
/* A request of the peer that was answered: learns the candidate, triggers the check, notes the nomination. */
void ice_request_learn(struct ice *a, const struct ice_early *e, usec_t now);
void ice_role_set(struct ice *a, bool controlling);
void ice_txid(const struct ice *a, const uint8_t id[ICE_TX_LEN], uint8_t out[STUN_TXID_LEN]);

/* ---- ice_nominate.c */
/* A check over p was answered. */
void ice_pair_succeeded(struct ice *a, struct check_pair *p, bool nomination, usec_t now);
/* p, or whatever of it was thought valid, is not. */
void ice_pair_failed(struct ice *a, struct check_pair *p, usec_t now);
/* The controlling peer nominated p. */
void ice_pair_nominated(struct ice *a, struct check_pair *p, usec_t now);
void ice_nominate_run(struct ice *a, usec_t now);
usec_t ice_nominate_wake(struct ice *a);
void ice_selected_lost(struct ice *a, usec_t now);
/* Whether id belongs to a consent check; answered judges and notes it. */
struct ice_asked *ice_consent_find(struct ice *a, const uint8_t id[ICE_TX_LEN]);
void ice_consent_answered(struct ice *a, struct ice_asked *asked, usec_t now);

#endif
