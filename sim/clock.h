/* The simulator's clock: virtual microseconds, a heap of timers with a stable order, and one seeded source of
 * chance. Nothing in sim/ reads a real clock, so a run is a function of its seed: two runs with one seed fire
 * the same timers in the same order. */
#ifndef WARREN_SIM_CLOCK_H
#define WARREN_SIM_CLOCK_H

#include <stdbool.h>

#include "base/rng.h"
#include "base/time.h"

#define SIM_START      (1000 * SEC)           /* what the monotonic clock says at the beginning */
#define SIM_START_UNIX ((uint64_t)1800000000) /* and the calendar */

/* A moment that somebody waits for. Embedded in its owner; zero it, set fire and arg, then arm. */
struct sim_timer {
    usec_t at;
    uint64_t order; /* ties are broken by who armed first */
    size_t slot;    /* place in the heap + 1; 0: not armed */
    void (*fire)(void *arg);
    void (*drop)(
        void *arg); /* frees the owner where the simulation ends before the moment comes; may be NULL */
    void *arg;
};

struct sim {
    usec_t now;
    uint64_t seed, order, steps;
    struct sim_timer **heap;
    size_t n, cap;
    struct rng_seeded chance;
    struct rng rng;
};

void sim_init(struct sim *s, uint64_t seed);
/* Drops whatever is still armed. */
void sim_done(struct sim *s);
/* Arms, or moves, a timer; a moment in the past is now. */
void sim_arm(struct sim *s, struct sim_timer *t, usec_t at);
void sim_disarm(struct sim *s, struct sim_timer *t);
/* Fires the next timer that is due up to `until` (included). false: there is none, and now is `until`. */
bool sim_step(struct sim *s, usec_t until);
void sim_run(struct sim *s, usec_t until);
uint64_t sim_unix(const struct sim *s);
/* True with probability p. */
bool sim_chance(const struct rng *rng, double p);
/* WARREN_SEED where it is set, else `usual`. */
uint64_t sim_seed(uint64_t usual);
/* Bytes on the heap of this process, to watch for growth. */
size_t sim_heap_bytes(void);
/* calloc that ends the program: a simulator that is out of memory has nothing to say. */
void *sim_alloc(size_t n);

#endif
