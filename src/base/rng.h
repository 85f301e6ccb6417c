/* Chance as an argument. Programs pass the operating system's (crypto/rand.h), tests and the simulator a
 * seeded one whose seed they print. */
#ifndef WARREN_BASE_RNG_H
#define WARREN_BASE_RNG_H

#include <stddef.h>
#include <stdint.h>

struct rng {
    void (*fill)(void *ctx, void *out, size_t n);
    void *ctx;
};

void rng_fill(const struct rng *r, void *out, size_t n);
uint32_t rng_u32(const struct rng *r);
uint64_t rng_u64(const struct rng *r);
/* Uniform in 0 .. bound-1; bound > 0. */
uint64_t rng_below(const struct rng *r, uint64_t bound);

/* Repeatable and not secret: for tests, the simulator and jitter only. */
struct rng_seeded {
    uint64_t s[4];
};

struct rng rng_seeded(struct rng_seeded *state, uint64_t seed);

#endif
