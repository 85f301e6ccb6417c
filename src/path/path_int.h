/* What path.c (the set, its clocks and probes) and path_choice.c (which path is the best) share. */
#ifndef WARREN_PATH_PATH_INT_H
#define WARREN_PATH_PATH_INT_H

#include "path/path_mtu_int.h"

#define RTT_UNKNOWN    (1 * SEC) /* what is assumed before the first answer (RFC 6298 section 2.1) */
#define DEAD_SHIFT_MAX 3

/* One of the last PATH_LOSS_WINDOW probes. */
enum probe_state { PROBE_NONE, PROBE_WAITING, PROBE_LOST, PROBE_ANSWERED };
struct probe {
    enum probe_state state;
    bool pardoned; /* sent while the path was dead: not counted as lost */
    uint64_t nonce;
    usec_t sent;
};

struct path {
    uint32_t id;
    enum path_kind kind;
    bool alive;
    bool traffic; /* since the last probe */
    usec_t since; /* of alive */
    usec_t srtt, rttvar;
    usec_t last_answer;
    usec_t last_probe; /* 0: none yet */
    usec_t waiting;    /* when something was first sent after the last sign of life; 0: nothing was */
    unsigned tries;    /* probes sent while waiting */
    usec_t second_try; /* when the second of them was */
    usec_t unanswered; /* when the first probe after the last answer was sent; 0: none */
    unsigned unanswered_count;
    unsigned answers;     /* at most PATH_FIRST_PROBES */
    unsigned deaths;      /* of late */
    unsigned dead_probes; /* since it died */
    usec_t better;        /* since when it is enough better than the current one; 0: it is not */
    usec_t left;          /* when another path was last preferred to it; 0: never */
    usec_t forced;        /* in doubt since then, until a probe sent later is answered; 0: it is not */
    usec_t sent;          /* the last packet; 0: none yet */
    usec_t heard;         /* the last sign of life; 0: none yet */
    usec_t stray;         /* in doubt from then on, for the peer's payload took a worse path; 0: not */
    usec_t strayed;       /* when that payload came */
    usec_t ask;           /* a probe is wanted since then; 0: none */
    usec_t lifetime;      /* of NAT bindings; 0: not known */
    bool measured;        /* srtt is our own probes' */
    struct path_mtu mtu;
    uint16_t told_mtu; /* in events */
    bool told_known;
    struct probe probes[PATH_LOSS_WINDOW];
    size_t next_probe;
};

struct paths {
    struct path path[PATHS_MAX];
    size_t count;
    struct rng rng;
    uint32_t current; /* id or PATHS_NO_ID */
    uint32_t stray;   /* the path on which payload came that put the current one in doubt; PATHS_NO_ID */
    usec_t excused_at;
    uint32_t excused;    /* a path that the peer uses though the current one answers; PATHS_NO_ID */
    usec_t seen;         /* the latest `now` */
    usec_t traffic_at;   /* when any path last carried something */
    usec_t copies_until; /* after a change away from a path that failed */
    struct path_event events[PATH_EVENTS_MAX];
    size_t event_first, event_count;
};

static inline usec_t later(usec_t a, usec_t b)
{
    return a > b ? a : b;
}

/* ---- path.c */

struct path *path_find(const struct paths *p, uint32_t id);
/* h NULL: of no path. */
void path_event_add(struct paths *p, enum path_event_kind kind, const struct path *h);
bool path_is_stream(enum path_kind k);
usec_t path_dead_after(const struct path *h); /* silence of so long is death */
bool path_is_doubted(const struct path *h, usec_t now);
bool path_mtu_is_on(const struct path *h); /* its time is known: large probes may go */

/* ---- path_choice.c */

void path_probes_expire(struct path *h, usec_t now);
void path_probes_count(const struct path *h, unsigned *lost, unsigned *judged);
uint64_t path_cost(const struct path *h); /* the smaller the better: time, stretched by loss and by kind */
/* Of those that live, carry so much and are not `but`: one that is of use, not in doubt, and costs least. */
const struct path *path_best_of(const struct paths *p, size_t size, const struct path *but, usec_t now);
void paths_switch(struct paths *p, const struct path *h, usec_t now); /* NULL: there is none */
void paths_choose_now(struct paths *p,
                      usec_t now); /* only where the current one is gone, dead or of no use */
void paths_choose(struct paths *p, usec_t now);
/* When h may be preferred to the current one though nothing happens. */
usec_t paths_takeover_due(const struct paths *p, const struct path *h);

#endif
