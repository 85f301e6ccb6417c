#include "path/route.h"

#include <string.h>

struct search {
    const struct route_table *t;
    size_t count; /* relays of the ways that are looked at */
    struct route now, best;
};

/* USEC_NEVER for a leg that is none. */
static usec_t leg_cost(const struct route_leg *l)
{
    if (!l->known || l->loss > ROUTE_LOSS_MAX || l->rtt > ROUTE_RTT_MAX)
        return USEC_NEVER;
    return l->rtt + l->loss * ROUTE_LOSS_COST;
}

static usec_t between_cost(const struct route_table *t, size_t i, size_t j)
{
    const struct route_leg *a = &t->between[i][j], *b = &t->between[j][i];
    if (!a->known || !b->known)
        return leg_cost(a->known ? a : b);
    usec_t there = leg_cost(a), back = leg_cost(b);
    return there > back ? there : back;
}

static bool ids_before(const struct route_table *t, const struct route *a, const struct route *b)
{
    for (size_t i = 0; i < a->count; i++) {
        int order = memcmp(t->member[a->relay[i]].node, t->member[b->relay[i]].node, NODE_ID_LEN);
        if (order != 0)
            return order < 0;
    }
    return false;
}

static bool used(const struct route *r, size_t i)
{
    for (size_t k = 0; k < r->count; k++)
        if (r->relay[k] == i)
            return true;
    return false;
}

/* last: the relay that the peer hears. */
static void arrive(struct search *s, const struct route_member *last)
{
    usec_t cost = leg_cost(&last->peer);
    if (cost == USEC_NEVER)
        return;
    struct route r = s->now;
    r.cost += cost;
    if (s->best.count == 0 || r.cost < s->best.cost ||
        (r.cost == s->best.cost && ids_before(s->t, &r, &s->best)))
        s->best = r;
}

/* As deep as there are relays, and no further where it costs more than the best already: at most
 * ROUTE_MEMBERS_MAX cubed steps. */
static void go(struct search *s)
{
    struct route here = s->now;
    if (here.count >= ROUTE_RELAYS_MAX)
        return;
    for (size_t i = 0; i < s->t->count; i++) {
        const struct route_member *m = &s->t->member[i];
        usec_t cost = here.count == 0 ? leg_cost(&m->us) : between_cost(s->t, here.relay[here.count - 1], i);
        if (!m->relays || cost == USEC_NEVER || used(&here, i))
            continue;
        s->now = here;
        s->now.relay[s->now.count++] = (uint8_t)i;
        s->now.cost += cost + ROUTE_HOP_COST;
        if (s->best.count > 0 && s->now.cost > s->best.cost)
            continue;
        if (s->now.count == s->count)
            arrive(s, m);
        else
            go(s);
    }
    s->now = here;
}

bool route_best(const struct route_table *t, size_t max, struct route *r)
{
    struct search s = {.t = t};
    *r = s.best;
    if (t->count > ROUTE_MEMBERS_MAX)
        return false;
    for (s.count = 1; s.count <= max && s.count <= ROUTE_RELAYS_MAX && s.best.count == 0; s.count++) {
        s.now = (struct route){0};
        go(&s);
    }
    *r = s.best;
    return r->count > 0;
}
