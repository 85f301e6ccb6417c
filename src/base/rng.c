#include "base/rng.h"

#include <string.h>

void rng_fill(const struct rng *r, void *out, size_t n)
{
    r->fill(r->ctx, out, n);
}

uint32_t rng_u32(const struct rng *r)
{
    uint32_t v;
    rng_fill(r, &v, sizeof v);
    return v;
}

uint64_t rng_u64(const struct rng *r)
{
    uint64_t v;
    rng_fill(r, &v, sizeof v);
    return v;
}

uint64_t rng_below(const struct rng *r, uint64_t bound)
{
    if (bound < 2)
        return 0;
    /* 2^64 mod bound values are refused, so that every remainder is left with the same number of values. */
    uint64_t refuse = (0 - bound) % bound;
    uint64_t v;
    do {
        v = rng_u64(r);
    } while (v < refuse);
    return v % bound;
}

static uint64_t rotl(uint64_t v, int n)
{
    return v << n | v >> (64 - n);
}

/* xoshiro256** (Blackman, Vigna): small, fast, equal on every machine. */
static uint64_t seeded_next(struct rng_seeded *x)
{
    uint64_t *s = x->s;
    uint64_t result = rotl(s[1] * 5, 7) * 9;
    uint64_t t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotl(s[3], 45);
    return result;
}

static void seeded_fill(void *ctx, void *out, size_t n)
{
    uint8_t *p = out;
    while (n > 0) {
        uint64_t v = seeded_next(ctx);
        size_t take = n < sizeof v ? n : sizeof v;
        memcpy(p, &v, take);
        p += take;
        n -= take;
    }
}

struct rng rng_seeded(struct rng_seeded *state, uint64_t seed)
{
    /* splitmix64 spreads the seed: xoshiro must not start from zeros. */
    for (int i = 0; i < 4; i++) {
        seed += 0x9e3779b97f4a7c15u;
        uint64_t z = seed;
        z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
        z = (z ^ z >> 27) * 0x94d049bb133111ebu;
        state->s[i] = z ^ z >> 31;
    }
    return (struct rng){seeded_fill, state};
}
