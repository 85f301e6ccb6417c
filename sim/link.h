/* One direction of a wire: when, whether and how often a packet arrives. It holds no packets; the caller
 * schedules them. Two of these, set differently, make an asymmetric line. */
#ifndef WARREN_SIM_LINK_H
#define WARREN_SIM_LINK_H

#include "sim/clock.h"

struct link_config {
    usec_t delay;
    usec_t jitter;    /* added, uniform 0..jitter; keeps the order of packets */
    double loss;      /* 0..1 */
    double duplicate; /* 0..1: a second copy right behind */
    double reorder;   /* 0..1: held back by reorder_by while others pass */
    usec_t reorder_by;
    uint64_t bits_per_s; /* 0: no limit */
    size_t queue_bytes;  /* what waits for the wire at most (with a rate); 0: 64 KiB */
    uint16_t mtu;        /* larger packets vanish; 0: 1500 */
    bool down;           /* the sender is told (link_pass answers 0 and link_is_up says no) */
    bool blackhole;      /* everything vanishes and nobody is told */
};

struct link {
    struct link_config config;
    usec_t busy_until, last_at;
    uint64_t passed, lost, overflowed, oversized, swallowed;
};

/* Decides about one packet of `bytes` handed in at `now`: writes the times of arrival and answers how many
 * copies arrive (0..2). */
size_t link_pass(struct link *l, const struct rng *rng, size_t bytes, usec_t now, usec_t at[2]);
bool link_is_up(const struct link *l);

#endif
