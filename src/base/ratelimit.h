/* A token bucket: `rate` per second, at most `burst` at once. Starts full. */
#ifndef WARREN_BASE_RATELIMIT_H
#define WARREN_BASE_RATELIMIT_H

#include <stdbool.h>

#include "base/time.h"

struct ratelimit {
    uint64_t rate, burst; /* tokens per second, tokens */
    uint64_t level;       /* in micro-tokens */
    usec_t last;
};

void ratelimit_init(struct ratelimit *r, uint64_t rate, uint64_t burst, usec_t now);
/* Takes n tokens if they are there. A clock that goes back gives nothing and takes nothing. */
bool ratelimit_take(struct ratelimit *r, uint64_t n, usec_t now);

#endif
