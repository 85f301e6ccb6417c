#include "sim/link.h"

#define MTU_USUAL   1500
#define QUEUE_USUAL (64 * 1024)

bool link_is_up(const struct link *l)
{
    return !l->config.down;
}

/* The wire serves one packet after the other; false where what waits for it exceeds the queue. */
static bool queue(struct link *l, size_t bytes, usec_t now, usec_t *sent)
{
    *sent = now;
    uint64_t rate = l->config.bits_per_s;
    if (rate == 0)
        return true;
    usec_t start = l->busy_until > now ? l->busy_until : now;
    uint64_t waiting = (start - now) * rate / 8 / SEC;
    size_t limit = l->config.queue_bytes ? l->config.queue_bytes : QUEUE_USUAL;
    if (waiting + bytes > limit)
        return false;
    l->busy_until = start + (bytes * 8 * SEC + rate - 1) / rate;
    *sent = l->busy_until;
    return true;
}

static usec_t arrival(struct link *l, const struct rng *rng, usec_t sent)
{
    const struct link_config *c = &l->config;
    usec_t at = sent + c->delay + (c->jitter ? rng_below(rng, c->jitter + 1) : 0);
    if (sim_chance(rng, c->reorder))
        return at + c->reorder_by;
    if (at < l->last_at)
        at = l->last_at;
    l->last_at = at;
    return at;
}

size_t link_pass(struct link *l, const struct rng *rng, size_t bytes, usec_t now, usec_t at[2])
{
    const struct link_config *c = &l->config;
    if (c->down || c->blackhole) {
        l->swallowed++;
        return 0;
    }
    if (bytes > (c->mtu ? c->mtu : MTU_USUAL)) {
        l->oversized++;
        return 0;
    }
    usec_t sent;
    if (!queue(l, bytes, now, &sent)) {
        l->overflowed++;
        return 0;
    }
    if (sim_chance(rng, c->loss)) {
        l->lost++;
        return 0;
    }
    l->passed++;
    at[0] = arrival(l, rng, sent);
    if (!sim_chance(rng, c->duplicate))
        return 1;
    at[1] = at[0] + MSEC;
    return 2;
}
