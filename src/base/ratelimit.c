#include "base/ratelimit.h"

/* One token is a million micro-tokens, so that `rate` per second is `rate` micro-tokens per microsecond. */
#define MICRO 1000000u

static uint64_t full(const struct ratelimit *r)
{
    return r->burst > UINT64_MAX / MICRO ? UINT64_MAX : r->burst * MICRO;
}

void ratelimit_init(struct ratelimit *r, uint64_t rate, uint64_t burst, usec_t now)
{
    *r = (struct ratelimit){.rate = rate, .burst = burst, .last = now};
    r->level = full(r);
}

static void refill(struct ratelimit *r, usec_t now)
{
    uint64_t since = usec_since(now, r->last);
    uint64_t room = full(r) - r->level;
    if (since == 0)
        return;
    r->last = now;
    if (r->rate > 0 && since > room / r->rate)
        r->level = full(r);
    else
        r->level += since * r->rate;
}

bool ratelimit_take(struct ratelimit *r, uint64_t n, usec_t now)
{
    if (now < r->last)
        return false;
    refill(r, now);
    if (n > r->level / MICRO)
        return false;
    r->level -= n * MICRO;
    return true;
}
