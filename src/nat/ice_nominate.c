#include "nat/ice_int.h"

#include <string.h>

/* ---- The selected pair. */

static bool is_selected(const struct ice *a, const struct check_pair *p)
{
    const struct ice_choice *s = &a->selected;
    return s->there && !s->old && s->pair.base == p->base &&
           net_addr_equal(&s->pair.remote, ice_pair_remote(a, p));
}

static usec_t consent_interval(const struct ice *a)
{
    return ICE_CONSENT * 4 / 5 + rng_below(&a->rng, ICE_CONSENT * 2 / 5 + 1);
}

static void pair_select(struct ice *a, const struct check_pair *p, usec_t now)
{
    bool again = is_selected(a, p);
    if (!again) {
        a->selected = (struct ice_choice){.there = true};
        a->selected.consent_due = now + consent_interval(a);
        a->selected.consent_until = now + ICE_CONSENT_LIFE; /* from here on answers alone prolong it */
    }
    ice_pair_describe(a, p, &a->selected.pair);
    a->selected.nominated = now;
    if (!again)
        ice_event_put(a, ICE_EVENT_SELECTED, &a->selected.pair);
}

/* Of several nominated pairs the best one counts: RFC 5245 let peers nominate all that they check, and many
 * do. But one that nominates a worse pair long after means it. */
static void nominated_consider(struct ice *a, const struct check_pair *p, usec_t now)
{
    const struct ice_choice *s = &a->selected;
    if (!s->there || s->old || is_selected(a, p) || p->valid_priority > s->pair.priority ||
        usec_since(now, s->nominated) > ICE_NOMINATION_LIFE)
        pair_select(a, p, now);
}

static void best_valid_find(struct ice *a)
{
    const struct check_pair *best = ice_pair_best_valid(a);
    a->best_valid = best ? best->valid_priority : 0;
}

void ice_selected_lost(struct ice *a, usec_t now)
{
    struct ice_pair lost = a->selected.pair;
    struct check_pair *p = a->selected.old ? NULL : ice_pair_find(a, lost.base, &lost.remote);
    a->selected = (struct ice_choice){0};
    if (p) {
        p->state = CHECK_FAILED;
        p->active = p->use_candidate = p->nominated = false;
    }
    best_valid_find(a);
    a->news = now;
    ice_event_put(a, ICE_EVENT_CONSENT_LOST, &lost);
    p = NULL;
    for (size_t i = 0; i < a->pair_count && !a->controlling; i++) {
        struct check_pair *o = &a->pairs[i];
        if (o->state == CHECK_SUCCEEDED && o->nominated && (!p || o->valid_priority > p->valid_priority))
            p = o;
    }
    if (p)
        pair_select(a, p, now);
}

/* ---- What checks lead to. */

void ice_pair_succeeded(struct ice *a, struct check_pair *p, bool nomination, usec_t now)
{
    bool nominating =
        p->active && p->use_candidate && !nomination; /* an answer to an older check came meanwhile */
    p->state = CHECK_SUCCEEDED;
    p->triggered = 0;
    p->valid_priority =
        ice_pair_priority(a->controlling, p->mapped_priority, a->remotes[p->remote].c.priority);
    if (!nominating)
        p->active = p->use_candidate = false;
    if (!a->nominate_at) {
        usec_t wait = 2 * p->rtt > ICE_NOMINATE_WAIT ? 2 * p->rtt : ICE_NOMINATE_WAIT;
        a->nominate_at = now + wait;
    }
    if (p->valid_priority > a->best_valid) {
        struct ice_pair d;
        a->best_valid = p->valid_priority;
        ice_pair_describe(a, p, &d);
        ice_event_put(a, ICE_EVENT_VALID, &d);
    }
    if (nomination)
        pair_select(a, p, now);
    else if (p->nominated && !a->controlling)
        nominated_consider(a, p, now);
}

void ice_pair_failed(struct ice *a, struct check_pair *p, usec_t now)
{
    p->state = CHECK_FAILED;
    p->active = p->use_candidate = false;
    p->triggered = 0;
    a->checks_failed++;
    best_valid_find(a);
    if (is_selected(a, p))
        ice_selected_lost(a, now);
}

void ice_pair_nominated(struct ice *a, struct check_pair *p, usec_t now)
{
    p->nominated = true;
    if (p->state == CHECK_SUCCEEDED)
        nominated_consider(a, p, now);
}

/* ---- Regular nomination (RFC 8445 section 8.1.1). */

static bool pending(const struct check_pair *p)
{
    return p->active || (p->state != CHECK_SUCCEEDED && p->state != CHECK_FAILED);
}

static bool better_may_come(const struct ice *a, const struct check_pair *best)
{
    if (!a->local_done || !a->remote_done)
        return true;
    for (size_t i = 0; i < a->pair_count; i++)
        if (pending(&a->pairs[i]) && a->pairs[i].priority > best->valid_priority)
            return true;
    return false;
}

/* The pair to be nominated, and when; NULL: none is. */
static struct check_pair *to_nominate(struct ice *a, usec_t *when)
{
    struct check_pair *best = a->controlling && a->has_peer ? ice_pair_best_valid(a) : NULL;
    if (!best)
        return NULL;
    for (size_t i = 0; i < a->pair_count; i++)
        if (a->pairs[i].active && a->pairs[i].use_candidate)
            return NULL;
    *when = 0;
    if (a->selected.there && !a->selected.old)
        return best->valid_priority > a->selected.pair.priority && !is_selected(a, best) ? best : NULL;
    if (better_may_come(a, best))
        *when = a->nominate_at;
    return best;
}

/* ---- Consent (RFC 7675 section 5.1): single checks, each with an id of its own, over the selected pair. */

static void consent_ask(struct ice *a, usec_t now)
{
    struct ice_choice *s = &a->selected;
    struct ice_asked *asked = &s->asked[s->asked_next];
    const struct check_pair *p = s->old ? NULL : ice_pair_find(a, s->pair.base, &s->pair.remote);
    uint16_t preference = p ? a->locals[p->local].c.preference : 0;
    struct ice_job job = {.kind = JOB_CHECK,
                          .old = s->old,
                          .controlling = a->controlling,
                          .base = s->pair.base,
                          .priority = ice_priority(ICE_PEER_REFLEXIVE, false, preference),
                          .to = s->pair.remote};
    s->asked_next = (s->asked_next + 1) % ICE_CONSENT_KEPT;
    *asked = (struct ice_asked){.used = true, .sent = now};
    rng_fill(&a->rng, asked->id, sizeof asked->id);
    ice_txid(a, asked->id, job.txid);
    ice_job_put(a, &job);
    s->consent_due = now + consent_interval(a);
}

struct ice_asked *ice_consent_find(struct ice *a, const uint8_t id[ICE_TX_LEN])
{
    for (size_t i = 0; i < ICE_CONSENT_KEPT && a->selected.there; i++) {
        struct ice_asked *asked = &a->selected.asked[i];
        if (asked->used && !memcmp(asked->id, id, ICE_TX_LEN))
            return asked;
    }
    return NULL;
}

void ice_consent_answered(struct ice *a, struct ice_asked *asked, usec_t now)
{
    struct ice_choice *s = &a->selected;
    asked->used = false;
    s->pair.rtt = usec_since(now, asked->sent);
    s->consent_until = now + ICE_CONSENT_LIFE;
    a->checks_answered++;
    struct check_pair *p = s->old ? NULL : ice_pair_find(a, s->pair.base, &s->pair.remote);
    if (p)
        p->rtt = s->pair.rtt;
}

/* ---- Giving up. */

static usec_t give_up_at(const struct ice *a)
{
    if (a->failed || !a->has_peer || (a->selected.there && !a->selected.old))
        return USEC_NEVER;
    for (size_t i = 0; i < a->pair_count; i++)
        if (pending(&a->pairs[i]) || a->pairs[i].state == CHECK_SUCCEEDED)
            return USEC_NEVER;
    return a->news + ICE_GIVE_UP;
}

void ice_nominate_run(struct ice *a, usec_t now)
{
    usec_t when;
    struct ice_choice *s = &a->selected;
    if (a->consent && s->there && s->consent_until <= now)
        ice_selected_lost(a, now);
    else if (a->consent && s->there && s->consent_due <= now)
        consent_ask(a, now);
    struct check_pair *p = to_nominate(a, &when);
    if (p && when <= now)
        ice_check_start(a, p, true, now);
    if (give_up_at(a) <= now) {
        a->failed = true;
        ice_event_put(a, ICE_EVENT_FAILED, NULL);
    }
}

usec_t ice_nominate_wake(struct ice *a)
{
    usec_t when, wake = give_up_at(a);
    if (to_nominate(a, &when))
        wake = usec_min(wake, when);
    if (a->consent && a->selected.there)
        wake = usec_min(wake, usec_min(a->selected.consent_due, a->selected.consent_until));
    return wake;
}
