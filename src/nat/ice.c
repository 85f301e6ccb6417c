#include "nat/ice_int.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "crypto/secret.h"

#define UFRAG_MIN 4 /* RFC 8839 section 5.4 */
#define PWD_MIN   22

/* Visible ASCII without the colon that separates user names; RFC 8839 allows less, but not everybody keeps to
 * it. */
static bool credential_ok(const char *s, size_t min, size_t max)
{
    size_t n = 0;
    while (n <= max && s[n]) {
        if (s[n] <= ' ' || s[n] > '~' || s[n] == ':')
            return false;
        n++;
    }
    return n >= min && n <= max;
}

bool ice_credentials_ok(const struct ice_credentials *c)
{
    return credential_ok(c->ufrag, UFRAG_MIN, ICE_UFRAG_MAX) && credential_ok(c->pwd, PWD_MIN, ICE_PWD_MAX);
}

struct ice *ice_new(const struct ice_config *c, usec_t now)
{
    if (!ice_credentials_ok(&c->local))
        return NULL;
    struct ice *a = calloc(1, sizeof *a);
    if (!a)
        return NULL;
    a->controlling = c->controlling || c->lite_peer;
    a->consent = c->consent;
    a->lite_peer = c->lite_peer;
    a->pace = c->pace ? c->pace : ICE_TA;
    a->rng = c->rng;
    a->local = c->local;
    a->news = now;
    a->tie_breaker = rng_u64(&a->rng);
    uint32_t prefix = c->txid_prefix ? c->txid_prefix : rng_u32(&a->rng);
    struct wr w = wr_of(a->prefix, sizeof a->prefix);
    wr_u32(&w, prefix);
    rng_fill(&a->rng, a->probe_key, sizeof a->probe_key);
    return a;
}

void ice_free(struct ice *a)
{
    if (!a)
        return;
    wipe(a, sizeof *a);
    free(a);
}

int ice_remote_credentials(struct ice *a, const struct ice_credentials *c, usec_t now)
{
    if (!ice_credentials_ok(c))
        return -EINVAL;
    if (a->has_peer)
        return strcmp(a->peer.ufrag, c->ufrag) == 0 && strcmp(a->peer.pwd, c->pwd) == 0 ? 0 : -EALREADY;
    a->peer = *c;
    a->has_peer = true;
    a->news = now;
    for (size_t i = 0; i < a->early_count; i++)
        if (strcmp(a->early[i].ufrag, c->ufrag) == 0)
            ice_request_learn(a, &a->early[i], now);
    a->early_count = 0;
    ice_run(a, now);
    return 0;
}

void ice_restart(struct ice *a, const struct ice_credentials *local, usec_t now)
{
    if (!ice_credentials_ok(local))
        return;
    /* The credentials under which the selected pair lives stay, until another pair is selected. */
    if (!a->selected.there || !a->selected.old) {
        a->old_local = a->local;
        a->old_peer = a->peer;
        a->has_old = true;
        a->selected.old = a->selected.there;
    }
    a->local = *local;
    wipe(&a->peer, sizeof a->peer);
    a->has_peer = a->remote_done = a->failed = false;
    memset(a->remotes, 0, sizeof a->remotes);
    a->pair_count = a->early_count = a->queue_count = 0;
    a->best_valid = 0;
    a->nominate_at = 0;
    a->learn_at = 0;
    a->news = now;
    rng_fill(&a->rng, a->probe_key, sizeof a->probe_key);
    ice_run(a, now);
}

/* ---- Events. */

void ice_event_put(struct ice *a, enum ice_event_kind kind, const struct ice_pair *p)
{
    if (a->event_count == ICE_EVENTS_MAX) {
        a->event_first = (a->event_first + 1) % ICE_EVENTS_MAX;
        a->event_count--;
    }
    struct ice_event *e = &a->events[(a->event_first + a->event_count++) % ICE_EVENTS_MAX];
    *e = (struct ice_event){.kind = kind};
    if (p)
        e->pair = *p;
}

bool ice_event(struct ice *a, struct ice_event *ev)
{
    if (a->event_count == 0)
        return false;
    *ev = a->events[a->event_first];
    a->event_first = (a->event_first + 1) % ICE_EVENTS_MAX;
    a->event_count--;
    return true;
}

/* ---- Time. */

void ice_run(struct ice *a, usec_t now)
{
    ice_checks_run(a, now);
    ice_nominate_run(a, now);
    ice_checks_begin(a, now);
}

void ice_tick(struct ice *a, usec_t now)
{
    ice_run(a, now);
}

usec_t ice_wake(const struct ice *a)
{
    struct ice *self =
        (struct ice *)a; /* the searches below are shared with those that change what they find */
    return usec_min(ice_checks_wake(self), ice_nominate_wake(self));
}

/* ---- What is so. */

enum ice_state ice_state(const struct ice *a)
{
    if (a->selected.there && !a->selected.old)
        return ICE_COMPLETED;
    if (ice_pair_best_valid((struct ice *)a))
        return ICE_CONNECTED;
    if (!a->has_peer)
        return ICE_GATHERING;
    return a->failed ? ICE_IS_FAILED : ICE_CHECKING;
}

const char *ice_state_name(enum ice_state s)
{
    static const char *const names[] = {"gathering", "checking", "connected", "completed", "failed"};
    return (unsigned)s < sizeof names / sizeof *names ? names[s] : "unknown";
}

bool ice_selected(const struct ice *a, struct ice_pair *p)
{
    if (a->selected.there)
        *p = a->selected.pair;
    return a->selected.there;
}

bool ice_controlling(const struct ice *a)
{
    return a->controlling;
}

void ice_counts(const struct ice *a, struct ice_counts *c)
{
    *c = (struct ice_counts){.pairs = a->pair_count,
                             .checks_sent = a->checks_sent,
                             .checks_answered = a->checks_answered,
                             .checks_failed = a->checks_failed,
                             .requests = a->requests,
                             .requests_refused = a->requests_refused,
                             .responses_refused = a->responses_refused,
                             .discarded = a->discarded};
    for (size_t i = 0; i < ICE_LOCAL_MAX; i++)
        c->local += a->locals[i].used;
    for (size_t i = 0; i < ICE_REMOTE_MAX; i++)
        c->remote += a->remotes[i].used;
}
