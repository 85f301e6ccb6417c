/* The twin of model_test.c: the log of everything that ever happened to a path, and what is worked out from
 * it. */
#ifndef WARREN_PATH_MODEL_TWIN_INT_H
#define WARREN_PATH_MODEL_TWIN_INT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "path/path.h"

#define LOG_MAX 20000
#define IDS     6

/* ANEW: a doubt that starts the clocks again, DOUBTED: one that does not, ASKED: one of a dead path, STRAYED:
 * one for the peer's payload on a worse path. */
enum what {
    SENT,
    RECEIVED,
    PROBE,
    ANSWER,
    DIED,
    REVIVED,
    PADDED,
    PASSED,
    GIVEN,
    LEFT,
    ANEW,
    DOUBTED,
    ASKED,
    SPOKE,
    STRAYED
};
struct entry {
    enum what what;
    usec_t at;
    usec_t from;                              /* STRAYED */
    usec_t rtt;                               /* ANSWER, PASSED, GIVEN */
    bool answered, lost, pardoned, forgotten; /* PROBE, PADDED */
    uint8_t bytes[PATH_PROBE_LEN];            /* the same */
};

struct twin_path {
    bool there;
    enum path_kind kind;
    usec_t added, lifetime;
    struct entry *log;
    size_t n;
    usec_t better[LOG_MAX]; /* at each choice since the last switch: its time, 0 where it was not enough
                               better */
    size_t better_count;
};

struct twin {
    struct twin_path path[IDS];
    uint32_t order[IDS], count; /* ids as they were added */
    uint32_t current;
    usec_t copies_until, excused_at, traffic;
    uint32_t stray, excused;
    const struct paths *p;
};

static inline void note(struct twin_path *t, enum what what, usec_t now)
{
    assert_true(t->n < LOG_MAX);
    t->log[t->n++] = (struct entry){.what = what, .at = now};
}

/* ---- Worked out from the log. */

static inline bool is_alive(const struct twin_path *t)
{
    for (size_t i = t->n; i-- > 0;)
        if (t->log[i].what == DIED || t->log[i].what == REVIVED)
            return t->log[i].what == REVIVED;
    return true;
}

static inline void times(const struct twin_path *t, usec_t *srtt, usec_t *var)
{
    bool own = false;
    *srtt = *var = 0;
    for (size_t i = 0; i < t->n; i++) {
        usec_t r = t->log[i].rtt;
        if (t->log[i].what == GIVEN && !own) {
            *srtt = r ? r : 1;
            *var = r / 2;
        }
        if (t->log[i].what != ANSWER)
            continue;
        *var = own ? (3 * *var + (*srtt > r ? *srtt - r : r - *srtt)) / 4 : r / 2;
        *srtt = own ? (7 * *srtt + r) / 8 : r;
        own = true;
    }
}

static inline usec_t at_least(usec_t a, usec_t b)
{
    return a > b ? a : b;
}

static inline usec_t patience(const struct twin_path *t)
{
    usec_t srtt, var;
    times(t, &srtt, &var);
    return srtt ? at_least(PATH_DEAD_MIN, 3 * srtt) : 1 * SEC;
}

static inline usec_t spacing(const struct twin_path *t)
{
    usec_t srtt, var;
    times(t, &srtt, &var);
    return at_least(PATH_SUSPECT, srtt);
}

static inline size_t after_last(const struct twin_path *t, unsigned mask)
{
    for (size_t i = t->n; i-- > 0;)
        if (mask >> t->log[i].what & 1)
            return i + 1;
    return 0;
}

#define ANSWERS (1u << ANSWER | 1u << PASSED)
#define LIFE    (ANSWERS | 1u << RECEIVED)
#define STARTS  (1u << DIED | 1u << ANEW)
#define ASKS    (1u << ANEW | 1u << DOUBTED | 1u << ASKED | 1u << SPOKE)

static inline bool is_one(const struct entry *e, unsigned mask)
{
    return mask >> e->what & 1;
}

/* Of probes and the last packet before entry `i` that were sent later than what was heard; 0: none. */
static inline usec_t left_over(const struct twin_path *t, size_t i, usec_t heard)
{
    usec_t first = USEC_NEVER, packet = 0;
    for (size_t k = 0; k < i; k++) {
        const struct entry *e = &t->log[k];
        if (e->what == SENT)
            packet = at_least(packet, e->at);
        first = is_one(e, STARTS)                   ? USEC_NEVER
                : e->what == PROBE && e->at > heard ? usec_min(first, e->at)
                                                    : first;
    }
    first = packet > heard ? usec_min(first, packet) : first;
    return first == USEC_NEVER ? 0 : first;
}

/* The first thing sent since the last sign of life, 0 if none; the probes since then, and when the second of
 * them was. News come late, and in any order. */
static inline usec_t unheard(const struct twin_path *t, unsigned *probes, usec_t *second)
{
    usec_t first = 0, heard = 0, doubt = 0;
    size_t start = 0, last = 0;
    for (size_t i = 0; i < t->n; i++) {
        const struct entry *e = &t->log[i];
        if (is_one(e, LIFE) && e->at >= heard) {
            heard = e->at;
            last = i;
            first = first && first <= heard ? left_over(t, i, heard) : first;
        } else if (is_one(e, STARTS)) {
            first = 0;
            start = i;
        } else if ((e->what == SENT && e->at >= at_least(heard, doubt)) || e->what == PROBE) {
            first = first ? usec_min(first, e->at) : e->at;
        }
        doubt = is_one(e, 1u << ANEW | 1u << DOUBTED) ? e->at : doubt;
    }
    *probes = 0;
    *second = USEC_NEVER;
    for (size_t i = start; i < t->n; i++)
        if (t->log[i].what == PROBE && (i > last || t->log[i].at > heard) && ++*probes == 2)
            *second = t->log[i].at;
    return is_alive(t) ? first : 0;
}

static inline usec_t last_probe(const struct twin_path *t)
{
    size_t i = after_last(t, 1u << PROBE);
    return i ? t->log[i - 1].at : 0;
}

static inline bool must_die(const struct twin_path *t, usec_t now)
{
    unsigned probes, asked = 0;
    usec_t second, first = unheard(t, &probes, &second), since = 0;
    if (!is_alive(t))
        return false;
    if (first && second != USEC_NEVER && now >= first + patience(t) && now >= second + spacing(t))
        return true;
    for (size_t i = after_last(t, ANSWERS | 1u << ANEW); i < t->n; i++) {
        if (t->log[i].what != PROBE)
            continue;
        since = since ? since : t->log[i].at;
        asked++;
    }
    return asked >= 3 && now >= since + at_least(PATH_ONE_WAY, 2 * patience(t)) &&
           now >= last_probe(t) + spacing(t);
}

/* Since when it has to answer, whatever is heard; 0: it has not. */
static inline usec_t forced(const struct twin_path *t)
{
    size_t i = after_last(t, 1u << ANEW | 1u << DOUBTED);
    usec_t since = i ? t->log[i - 1].at : 0;
    for (; i < t->n; i++) {
        const struct entry *e = &t->log[i];
        if (e->what == DIED || ((e->what == ANSWER || e->what == PASSED) && e->at - e->rtt >= since))
            return 0;
    }
    return since;
}

static inline usec_t doubtful(const struct twin_path *t)
{
    usec_t srtt, var;
    times(t, &srtt, &var);
    return at_least(PATH_DOUBT, srtt * 3 / 2);
}

/* From when on it is in doubt, for the peer's payload is on another path, and nothing was heard here; 0: not.
 */
static inline usec_t strayed(const struct twin_path *t)
{
    size_t i = after_last(t, 1u << STRAYED);
    for (size_t k = i; i > 0 && k < t->n; k++)
        if (is_one(&t->log[k], STARTS) || (is_one(&t->log[k], LIFE) && t->log[k].at >= t->log[i - 1].at))
            return 0;
    return i ? t->log[i - 1].from : 0;
}

static inline bool in_doubt(const struct twin_path *t, usec_t now)
{
    unsigned probes;
    usec_t second, first = unheard(t, &probes, &second);
    return is_alive(t) &&
           (forced(t) || (strayed(t) && now >= strayed(t)) || (first && now >= first + doubtful(t)));
}

static inline size_t window(const struct twin_path *t, size_t at[PATH_LOSS_WINDOW])
{
    size_t n = 0;
    for (size_t i = t->n; i-- > 0 && n < PATH_LOSS_WINDOW;)
        if (t->log[i].what == PROBE)
            at[n++] = i;
    return n;
}

static inline void losses(const struct twin_path *t, unsigned *lost, unsigned *of)
{
    size_t at[PATH_LOSS_WINDOW], n = window(t, at);
    *lost = *of = 0;
    for (size_t i = 0; i < n; i++) {
        const struct entry *e = &t->log[at[i]];
        *lost += e->lost && !e->answered && !e->forgotten;
        *of += (e->lost || e->answered) && !e->forgotten;
    }
}

static inline uint64_t cost(const struct twin_path *t)
{
    static const uint64_t percent[] = {0, 100, 120, 140, 240, 280, 260, 300};
    usec_t srtt, var;
    unsigned lost, of;
    times(t, &srtt, &var);
    losses(t, &lost, &of);
    return ((srtt ? srtt + var : 1 * SEC) + 20 * MSEC) * percent[t->kind] *
           (100 + 400 * lost / (of > 8 ? of : 8));
}

static inline usec_t hold(const struct twin_path *t)
{
    usec_t since = t->added, h = PATH_HOLD / 2;
    for (size_t i = 0; i < t->n; i++) {
        const struct entry *e = &t->log[i];
        if (e->what == DIED)
            h = e->at - since >= PATH_STEADY ? PATH_HOLD : h * 2;
        if (e->what == REVIVED)
            since = e->at;
        h = usec_min(h, PATH_HOLD_MAX);
    }
    return at_least(h, PATH_HOLD);
}

static inline usec_t better_since(const struct twin_path *t)
{
    usec_t since = 0;
    for (size_t i = t->better_count; i-- > 0 && t->better[i];)
        since = t->better[i];
    return since;
}

/* The next question in a silence: before the doubt, at its beginning, and then again and again. */
static inline bool question_is_due(const struct twin_path *t, usec_t now)
{
    unsigned probes;
    usec_t second, first = unheard(t, &probes, &second), last = last_probe(t), doubt = doubtful(t), srtt, var;
    if (!first)
        return forced(t) && now >= last + spacing(t);
    times(t, &srtt, &var);
    usec_t needs = srtt + at_least(10 * MSEC, 2 * var), early = doubt / 4;
    if (doubt > needs + early)
        early = doubt - needs;
    if (probes == 0)
        return now >= first + early;
    if (probes == 1)
        return now >= first + doubt && now >= last + doubt / 4;
    return now >= last + spacing(t);
}

static inline usec_t idle_pace(const struct twin_path *t)
{
    usec_t pace = t->lifetime ? t->lifetime / 5 * 4 : 10 * SEC;
    pace = usec_min(pace, t->kind == PATH_WS_RELAY ? 25 * SEC : 110 * SEC);
    return at_least(pace, 1 * SEC);
}

static inline bool probe_is_due(const struct twin *w, const struct twin_path *t, usec_t now)
{
    unsigned answers = 0, dead_probes = 0;
    usec_t last = last_probe(t);
    if (must_die(t, now))
        return false;
    if (!last || after_last(t, ASKS) > after_last(t, 1u << PROBE))
        return true;
    if (strayed(t) && now >= strayed(t) && last < strayed(t))
        return true;
    if (is_alive(t) && question_is_due(t, now))
        return true;
    bool traffic = false;
    for (size_t i = after_last(t, 1u << PROBE); i < t->n; i++)
        traffic = traffic || (is_one(&t->log[i], 1u << SENT | 1u << RECEIVED) && t->log[i].at >= last);
    for (size_t i = 0; i < t->n; i++)
        answers += t->log[i].what == ANSWER;
    for (size_t i = after_last(t, 1u << DIED | 1u << ASKED); i < t->n; i++)
        dead_probes += t->log[i].what == PROBE;
    usec_t every = idle_pace(t);
    if (traffic)
        every = PATH_PROBE_BUSY;
    else if (!is_alive(t))
        every = usec_min(PATH_PROBE_IDLE, PATH_PROBE_BUSY << (dead_probes > 4 ? 4 : dead_probes));
    else if (answers < PATH_FIRST_PROBES || better_since(t) || (w->traffic && last < w->traffic + 5 * SEC))
        every = PATH_PROBE_BUSY;
    return now >= last + every;
}

static inline size_t carries(const struct twin *w, uint32_t id)
{
    struct path_stats s;
    assert_true(paths_stats(w->p, id, &s));
    return s.mtu;
}

/* Of those that live and carry so much: first who is of use, then who is not in doubt, then who costs least.
 */
static inline uint32_t best_that(const struct twin *w, size_t size, uint32_t but, usec_t now)
{
    uint32_t found = PATHS_NO_ID;
    uint64_t least = UINT64_MAX;
    for (int useless = 0; useless < 2 && found == PATHS_NO_ID; useless++)
        for (int doubt = 0; doubt < 2 && found == PATHS_NO_ID; doubt++)
            for (uint32_t i = 0; i < w->count; i++) {
                uint32_t id = w->order[i];
                const struct twin_path *t = &w->path[id];
                if (id == but || !is_alive(t) || carries(w, id) < size || (carries(w, id) == 0) != useless ||
                    in_doubt(t, now) != doubt || cost(t) >= least)
                    continue;
                found = id;
                least = cost(t);
            }
    return found;
}

static inline uint32_t carrier(const struct twin *w, size_t size, usec_t now)
{
    if (w->current != PATHS_NO_ID && is_alive(&w->path[w->current]) && carries(w, w->current) >= size)
        return w->current;
    return best_that(w, size, PATHS_NO_ID, now);
}

static inline uint32_t second(const struct twin *w, size_t size, usec_t now)
{
    uint32_t first = carrier(w, size, now);
    if (first == PATHS_NO_ID || (!in_doubt(&w->path[first], now) && now >= w->copies_until))
        return PATHS_NO_ID;
    if (strayed(&w->path[first]) && w->stray != first && w->path[w->stray].there &&
        is_alive(&w->path[w->stray]) && carries(w, w->stray) >= size)
        return w->stray;
    return best_that(w, size, first, now);
}

#endif
