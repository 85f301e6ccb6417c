#include "path/path_int.h"

#define RTT_FLOOR   (20 * MSEC) /* added to every path: below this, differences are noise */
#define LOSS_MIN    8           /* the score does not judge loss by fewer probes */
#define LOSS_WEIGHT 4           /* 25 % of loss count as double the time */
#define COPIES_MIN                                                                                           \
    (100 * MSEC) /* after a change away from a path that failed: copies for max(this, srtt) ... */
#define COPIES_MAX (500 * MSEC) /* ... but not longer */

/* ---- Loss. */

void path_probes_expire(struct path *h, usec_t now)
{
    for (size_t i = 0; i < PATH_LOSS_WINDOW; i++) {
        struct probe *q = &h->probes[i];
        if (q->state == PROBE_WAITING && usec_since(now, q->sent) >= path_dead_after(h))
            q->state = q->pardoned ? PROBE_NONE : PROBE_LOST;
    }
}

void path_probes_count(const struct path *h, unsigned *lost, unsigned *judged)
{
    *lost = *judged = 0;
    for (size_t i = 0; i < PATH_LOSS_WINDOW; i++) {
        *lost += h->probes[i].state == PROBE_LOST;
        *judged += h->probes[i].state == PROBE_LOST || h->probes[i].state == PROBE_ANSWERED;
    }
}

/* ---- Choice. */

/* Percent. A relay must be about twice as fast to be preferred to a direct path: it costs somebody else's
 * line. */
static uint64_t kind_factor(enum path_kind k)
{
    static const uint16_t factors[PATH_KIND_COUNT] = {
        [PATH_LAN] = 100,      [PATH_UDP] = 120,  [PATH_TLS] = 140,       [PATH_UDP_RELAY] = 240,
        [PATH_WS_RELAY] = 280, [PATH_TURN] = 260, [PATH_MULTI_HOP] = 300,
    };
    return factors[k];
}

/* The smaller the better: time, stretched by loss and by kind. */
uint64_t path_cost(const struct path *h)
{
    unsigned lost, judged;
    path_probes_count(h, &lost, &judged);
    uint64_t of = judged > LOSS_MIN ? judged : LOSS_MIN;
    uint64_t stretch = 100 + LOSS_WEIGHT * 100 * lost / of;
    usec_t time = h->srtt ? h->srtt + h->rttvar : RTT_UNKNOWN;
    return (time + RTT_FLOOR) * kind_factor(h->kind) * stretch;
}

static bool is_enough_better(const struct path *h, const struct path *than)
{
    return h->srtt && path_cost(h) * 100 <= path_cost(than) * (100 - PATH_BETTER);
}

/* Kinds that need no hold to take over. */
static bool outranks(const struct path *h, const struct path *than)
{
    return !path_is_direct(than->kind) &&
           (path_is_direct(h->kind) ||
            ((h->kind == PATH_UDP_RELAY || h->kind == PATH_TURN) && than->kind == PATH_WS_RELAY));
}

static usec_t hold_of(const struct path *h)
{
    unsigned shift = h->deaths > 1 ? h->deaths - 1 : 0;
    return usec_min(PATH_HOLD << (shift < DEAD_SHIFT_MAX ? shift : DEAD_SHIFT_MAX), PATH_HOLD_MAX);
}

/* Until then it has to hold: it died, or was left for a better one, of late. */
static usec_t unsteady_until(const struct path *h)
{
    return later(h->deaths ? h->since + PATH_STEADY : 0, h->left ? h->left + PATH_STEADY : 0);
}

static bool may_take_over(const struct path *h, const struct path *current, usec_t now)
{
    if (h == current || !h->alive || !h->srtt || !h->mtu.value || path_is_doubted(h, now))
        return false;
    if (h->better && now >= h->better + hold_of(h))
        return true;
    return outranks(h, current) && now >= unsteady_until(h) && path_cost(h) <= path_cost(current);
}

/* Of those that live, carry so much and are not `but`: one that is of use, not in doubt, and costs least. */
const struct path *path_best_of(const struct paths *p, size_t size, const struct path *but, usec_t now)
{
    const struct path *best = NULL;
    unsigned best_rank = 0;
    for (size_t i = 0; i < p->count; i++) {
        const struct path *h = &p->path[i];
        if (!h->alive || h == but || h->mtu.value < size)
            continue;
        unsigned rank = 2u * !h->mtu.value + path_is_doubted(h, now);
        if (!best || rank < best_rank || (rank == best_rank && path_cost(h) < path_cost(best))) {
            best = h;
            best_rank = rank;
        }
    }
    return best;
}

/* A planned change to a proven path needs no copies; one away from a path that failed may have chosen in
 * haste. */
static usec_t copies_end(const struct path *from, const struct path *to, usec_t now)
{
    if (!from || !to || path_is_stream(from->kind) || path_is_stream(to->kind) ||
        (from->alive && !path_is_doubted(from, now)))
        return 0;
    return now + usec_min(later(COPIES_MIN, to->srtt), COPIES_MAX);
}

void paths_switch(struct paths *p, const struct path *h, usec_t now)
{
    uint32_t id = h ? h->id : PATHS_NO_ID;
    if (id == p->current)
        return;
    struct path *from = path_find(p, p->current);
    p->copies_until = copies_end(from, h, now);
    if (from && from->alive)
        from->left = now;
    p->current = id;
    p->excused = PATHS_NO_ID;
    for (size_t i = 0; i < p->count; i++)
        p->path[i].better = 0;
    path_event_add(p, PATH_EVENT_CHANGED, h);
}

/* The current path is gone, dead or of no use: the best that lives, at once. */
void paths_choose_now(struct paths *p, usec_t now)
{
    const struct path *current = path_find(p, p->current);
    if (!current || !current->alive)
        paths_switch(p, path_best_of(p, 0, NULL, now), now);
    else if (!current->mtu.value && path_best_of(p, 1, NULL, now))
        paths_switch(p, path_best_of(p, 1, NULL, now), now);
}

void paths_choose(struct paths *p, usec_t now)
{
    paths_choose_now(p, now);
    const struct path *current = path_find(p, p->current), *best = NULL;
    for (size_t i = 0; i < p->count; i++) {
        struct path *h = &p->path[i];
        bool better = h != current && h->alive && h->mtu.value && is_enough_better(h, current);
        h->better = !better ? 0 : h->better ? h->better : now;
        if (current && may_take_over(h, current, now) && (!best || path_cost(h) < path_cost(best)))
            best = h;
    }
    if (best) {
        paths_switch(p, best, now);
        paths_choose(p, now); /* others may be better than this one, too: their hold begins now */
    }
}

/* When it may be preferred to the current one though nothing happens; what ends a doubt is an event of its
 * own. */
usec_t paths_takeover_due(const struct paths *p, const struct path *h)
{
    const struct path *current = path_find(p, p->current);
    if (h == current || !current || !path_mtu_is_on(h) || path_is_doubted(h, p->seen))
        return USEC_NEVER;
    usec_t due = h->better ? h->better + hold_of(h) : USEC_NEVER;
    if (outranks(h, current) && unsteady_until(h) > p->seen)
        due = usec_min(due, unsteady_until(h));
    return due;
}
