/* The set of paths against a twin that remembers everything that ever happened and works each answer out from
 * that. How much a path carries is taken from the set itself: the search for it is judged in
 * path_links_test.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

static void note(struct twin_path *t, enum what what, usec_t now)
{
    assert_true(t->n < LOG_MAX);
    t->log[t->n++] = (struct entry){.what = what, .at = now};
}

/* ---- Worked out from the log. */

static bool is_alive(const struct twin_path *t)
{
    for (size_t i = t->n; i-- > 0;)
        if (t->log[i].what == DIED || t->log[i].what == REVIVED)
            return t->log[i].what == REVIVED;
    return true;
}

static void times(const struct twin_path *t, usec_t *srtt, usec_t *var)
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

static usec_t at_least(usec_t a, usec_t b)
{
    return a > b ? a : b;
}

static usec_t patience(const struct twin_path *t)
{
    usec_t srtt, var;
    times(t, &srtt, &var);
    return srtt ? at_least(PATH_DEAD_MIN, 3 * srtt) : 1 * SEC;
}

static usec_t spacing(const struct twin_path *t)
{
    usec_t srtt, var;
    times(t, &srtt, &var);
    return at_least(PATH_SUSPECT, srtt);
}

static size_t after_last(const struct twin_path *t, unsigned mask)
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

static bool is_one(const struct entry *e, unsigned mask)
{
    return mask >> e->what & 1;
}

/* Of probes and the last packet before entry `i` that were sent later than what was heard; 0: none. */
static usec_t left_over(const struct twin_path *t, size_t i, usec_t heard)
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
static usec_t unheard(const struct twin_path *t, unsigned *probes, usec_t *second)
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

static usec_t last_probe(const struct twin_path *t)
{
    size_t i = after_last(t, 1u << PROBE);
    return i ? t->log[i - 1].at : 0;
}

static bool must_die(const struct twin_path *t, usec_t now)
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
static usec_t forced(const struct twin_path *t)
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

static usec_t doubtful(const struct twin_path *t)
{
    usec_t srtt, var;
    times(t, &srtt, &var);
    return at_least(PATH_DOUBT, srtt * 3 / 2);
}

/* From when on it is in doubt, for the peer's payload is on another path, and nothing was heard here; 0: not.
 */
static usec_t strayed(const struct twin_path *t)
{
    size_t i = after_last(t, 1u << STRAYED);
    for (size_t k = i; i > 0 && k < t->n; k++)
        if (is_one(&t->log[k], STARTS) || (is_one(&t->log[k], LIFE) && t->log[k].at >= t->log[i - 1].at))
            return 0;
    return i ? t->log[i - 1].from : 0;
}

static bool in_doubt(const struct twin_path *t, usec_t now)
{
    unsigned probes;
    usec_t second, first = unheard(t, &probes, &second);
    return is_alive(t) &&
           (forced(t) || (strayed(t) && now >= strayed(t)) || (first && now >= first + doubtful(t)));
}

static size_t window(const struct twin_path *t, size_t at[PATH_LOSS_WINDOW])
{
    size_t n = 0;
    for (size_t i = t->n; i-- > 0 && n < PATH_LOSS_WINDOW;)
        if (t->log[i].what == PROBE)
            at[n++] = i;
    return n;
}

static void losses(const struct twin_path *t, unsigned *lost, unsigned *of)
{
    size_t at[PATH_LOSS_WINDOW], n = window(t, at);
    *lost = *of = 0;
    for (size_t i = 0; i < n; i++) {
        const struct entry *e = &t->log[at[i]];
        *lost += e->lost && !e->answered && !e->forgotten;
        *of += (e->lost || e->answered) && !e->forgotten;
    }
}

static uint64_t cost(const struct twin_path *t)
{
    static const uint64_t percent[] = {0, 100, 120, 140, 240, 280, 260, 300};
    usec_t srtt, var;
    unsigned lost, of;
    times(t, &srtt, &var);
    losses(t, &lost, &of);
    return ((srtt ? srtt + var : 1 * SEC) + 20 * MSEC) * percent[t->kind] *
           (100 + 400 * lost / (of > 8 ? of : 8));
}

static usec_t hold(const struct twin_path *t)
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

static usec_t better_since(const struct twin_path *t)
{
    usec_t since = 0;
    for (size_t i = t->better_count; i-- > 0 && t->better[i];)
        since = t->better[i];
    return since;
}

/* The next question in a silence: before the doubt, at its beginning, and then again and again. */
static bool question_is_due(const struct twin_path *t, usec_t now)
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

static usec_t idle_pace(const struct twin_path *t)
{
    usec_t pace = t->lifetime ? t->lifetime / 5 * 4 : 10 * SEC;
    pace = usec_min(pace, t->kind == PATH_WS_RELAY ? 25 * SEC : 110 * SEC);
    return at_least(pace, 1 * SEC);
}

static bool probe_is_due(const struct twin *w, const struct twin_path *t, usec_t now)
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

static size_t carries(const struct twin *w, uint32_t id)
{
    struct path_stats s;
    assert_true(paths_stats(w->p, id, &s));
    return s.mtu;
}

/* Of those that live and carry so much: first who is of use, then who is not in doubt, then who costs least.
 */
static uint32_t best_that(const struct twin *w, size_t size, uint32_t but, usec_t now)
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

static uint32_t carrier(const struct twin *w, size_t size, usec_t now)
{
    if (w->current != PATHS_NO_ID && is_alive(&w->path[w->current]) && carries(w, w->current) >= size)
        return w->current;
    return best_that(w, size, PATHS_NO_ID, now);
}

static uint32_t second(const struct twin *w, size_t size, usec_t now)
{
    uint32_t first = carrier(w, size, now);
    if (first == PATHS_NO_ID || (!in_doubt(&w->path[first], now) && now >= w->copies_until))
        return PATHS_NO_ID;
    if (strayed(&w->path[first]) && w->stray != first && w->path[w->stray].there &&
        is_alive(&w->path[w->stray]) && carries(w, w->stray) >= size)
        return w->stray;
    return best_that(w, size, first, now);
}

/* ---- The same verbs. */

static bool stream(enum path_kind k)
{
    return k == PATH_TLS || k == PATH_WS_RELAY;
}

static void twin_switch(struct twin *w, uint32_t to, usec_t now)
{
    struct twin_path *old = w->current == PATHS_NO_ID ? NULL : &w->path[w->current];
    const struct twin_path *new = to == PATHS_NO_ID ? NULL : &w->path[to];
    if (w->current == to)
        return;
    w->current = to;
    w->copies_until = 0;
    w->excused = PATHS_NO_ID;
    if (old && old->there && new && !stream(old->kind) && !stream(new->kind) &&
        (!is_alive(old) || in_doubt(old, now))) {
        usec_t srtt, var;
        times(new, &srtt, &var);
        w->copies_until = now + usec_min(500 * MSEC, at_least(100 * MSEC, srtt));
    }
    if (old && old->there && is_alive(old))
        note(old, LEFT, now);
    for (size_t i = 0; i < IDS; i++)
        w->path[i].better_count = 0;
}

static bool has_rank(enum path_kind k, enum path_kind over)
{
    bool relay =
        over == PATH_UDP_RELAY || over == PATH_WS_RELAY || over == PATH_TURN || over == PATH_MULTI_HOP;
    if (k == PATH_LAN || k == PATH_UDP || k == PATH_TLS)
        return relay;
    return (k == PATH_UDP_RELAY || k == PATH_TURN) && over == PATH_WS_RELAY;
}

/* Neither died nor was left of late. */
static bool is_steady(const struct twin_path *t, usec_t now)
{
    for (size_t i = 0; i < t->n; i++) {
        enum what k = t->log[i].what;
        if ((k == REVIVED || k == LEFT) && now < t->log[i].at + 60 * SEC)
            return false;
    }
    return true;
}

static bool takes_over(const struct twin *w, uint32_t id, usec_t now)
{
    const struct twin_path *t = &w->path[id], *than = &w->path[w->current];
    usec_t srtt, var, since = better_since(t);
    times(t, &srtt, &var);
    if (id == w->current || !is_alive(t) || !srtt || carries(w, id) == 0 || in_doubt(t, now))
        return false;
    if (since && now >= since + hold(t))
        return true;
    return has_rank(t->kind, than->kind) && is_steady(t, now) && cost(t) <= cost(than);
}

static void twin_look(struct twin *w, usec_t now)
{
    for (uint32_t i = 0; i < w->count; i++) {
        struct twin_path *t = &w->path[w->order[i]];
        usec_t srtt, var;
        times(t, &srtt, &var);
        bool better = w->order[i] != w->current && is_alive(t) && srtt && carries(w, w->order[i]) &&
                      cost(t) * 10 <= cost(&w->path[w->current]) * 9;
        assert_true(t->better_count < LOG_MAX);
        t->better[t->better_count++] = better ? now : 0;
    }
}

static void twin_must(struct twin *w, usec_t now)
{
    if (w->current == PATHS_NO_ID || !w->path[w->current].there || !is_alive(&w->path[w->current]))
        twin_switch(w, best_that(w, 0, PATHS_NO_ID, now), now);
    else if (carries(w, w->current) == 0 && best_that(w, 1, PATHS_NO_ID, now) != PATHS_NO_ID)
        twin_switch(w, best_that(w, 1, PATHS_NO_ID, now), now);
}

static void twin_choose(struct twin *w, usec_t now)
{
    for (int changes = 0;; changes++) {
        uint32_t to = PATHS_NO_ID;
        assert_true(changes < 4);
        twin_must(w, now);
        twin_look(w, now);
        for (uint32_t i = 0; i < w->count && w->current != PATHS_NO_ID; i++) {
            uint32_t id = w->order[i];
            if (takes_over(w, id, now) && (to == PATHS_NO_ID || cost(&w->path[id]) < cost(&w->path[to])))
                to = id;
        }
        if (to == PATHS_NO_ID)
            return;
        twin_switch(w, to, now);
    }
}

static void twin_add(struct twin *w, uint32_t id, enum path_kind kind, usec_t now)
{
    struct twin_path *t = &w->path[id];
    t->there = true;
    t->kind = kind;
    t->added = now;
    t->lifetime = 0;
    t->n = t->better_count = 0;
    w->order[w->count++] = id;
    twin_choose(w, now);
}

static void twin_del(struct twin *w, uint32_t id, usec_t now)
{
    uint32_t to = 0;
    for (uint32_t i = 0; i < w->count; i++)
        if (w->order[i] != id)
            w->order[to++] = w->order[i];
    w->count = to;
    w->path[id].there = false;
    if (w->excused == id)
        w->excused = PATHS_NO_ID;
    twin_must(w, now);
}

static void twin_tick(struct twin *w, usec_t now)
{
    for (uint32_t k = 0; k < w->count; k++) {
        struct twin_path *t = &w->path[w->order[k]];
        size_t at[PATH_LOSS_WINDOW], n = window(t, at);
        for (size_t i = 0; i < n; i++) {
            struct entry *e = &t->log[at[i]];
            e->lost |= !e->answered && now - e->at >= patience(t);
            e->forgotten |= e->lost && e->pardoned && !e->answered;
        }
        if (must_die(t, now))
            note(t, DIED, now);
    }
    twin_choose(w, now);
}

static void twin_answer(struct twin *w, struct twin_path *t, struct entry *probe, usec_t now)
{
    usec_t rtt = at_least(now - probe->at, 1);
    probe->answered = true;
    bool dead = !is_alive(t);
    if (w->current != PATHS_NO_ID && t == &w->path[w->current] && strayed(t) && probe->at >= strayed(t)) {
        w->excused = w->stray;
        w->excused_at = now;
    }
    note(t, probe->what == PADDED ? PASSED : ANSWER, now);
    t->log[t->n - 1].rtt = rtt;
    if (dead) {
        note(t, REVIVED, now);
        size_t at[PATH_LOSS_WINDOW], n = window(t, at);
        for (size_t i = 0; i < n; i++) {
            t->log[at[i]].forgotten |= t->log[at[i]].lost && !t->log[at[i]].answered;
            t->log[at[i]].pardoned |= !t->log[at[i]].lost && !t->log[at[i]].answered;
        }
    }
    twin_choose(w, now);
}

static void twin_doubt(struct twin *w, usec_t now)
{
    for (uint32_t i = 0; i < w->count; i++) {
        struct twin_path *t = &w->path[w->order[i]];
        unsigned probes;
        usec_t second, first = unheard(t, &probes, &second);
        bool anew = !forced(t) || (first && now >= first + 2 * patience(t));
        note(t, !is_alive(t) ? ASKED : anew ? ANEW : DOUBTED, now);
    }
}

/* The last thing heard, or when it was added, died or came back, if that was later. */
static usec_t last_life(const struct twin_path *t)
{
    usec_t at = t->added;
    for (size_t i = 0; i < t->n; i++)
        at = is_one(&t->log[i], LIFE | 1u << DIED | 1u << REVIVED) ? at_least(at, t->log[i].at) : at;
    return at;
}

static void twin_carried(struct twin *w, uint32_t id, usec_t now)
{
    usec_t srtt, var;
    if (w->current == PATHS_NO_ID)
        return;
    struct twin_path *best = &w->path[w->current];
    times(best, &srtt, &var);
    if (id == w->current && now >= w->excused_at + 1 * SEC)
        w->excused = PATHS_NO_ID;
    if (id == w->current || id == w->excused || !is_alive(best) || strayed(best) || now < last_life(best) ||
        cost(&w->path[id]) <= cost(best))
        return;
    usec_t from = at_least(now, last_life(best) + at_least(50 * MSEC, srtt));
    note(best, STRAYED, now);
    best->log[best->n - 1].from = from;
    w->stray = id;
}

static void twin_received(struct twin *w, struct twin_path *t, usec_t at)
{
    usec_t srtt, var;
    times(t, &srtt, &var);
    size_t i = after_last(t, 1u << STRAYED);
    bool older = at < last_life(t);
    note(t, RECEIVED, at);
    w->traffic = at_least(w->traffic, at);
    if (strayed(t) && !older) /* though not by what came after the strays */
        t->log[i - 1].from = at_least(t->log[i - 1].at, at + at_least(50 * MSEC, srtt));
    if (!is_alive(t) && at >= last_probe(t) + spacing(t))
        note(t, SPOKE, at); /* what is dead is asked */
}

/* ---- Both together. */

/* The copies, by the twin and by the promise: whoever is in doubt has a second while anything else lives. */
static void compare_choice(const struct twin *w, const struct paths *p, size_t size, usec_t now)
{
    uint32_t first, other;
    enum path_kind kind;
    struct path_stats s;
    bool some = paths_best_for(p, size, &first, &kind);
    assert_int_equal(first, carrier(w, size, now));
    assert_int_equal(some, first != PATHS_NO_ID);
    bool copies = paths_second(p, size, now, &other, &kind);
    assert_int_equal(other, second(w, size, now));
    assert_int_equal(copies, other != PATHS_NO_ID);
    if (copies) {
        assert_int_not_equal(first, other);
        assert_true(paths_stats(p, other, &s) && s.alive && s.mtu >= size && s.kind == kind);
    }
    if (!some || !paths_stats(p, first, &s) || !s.doubted)
        return;
    for (size_t i = 0; paths_stats_at(p, i, &s); i++)
        if (s.id != first && s.alive && s.mtu >= size)
            assert_true(copies);
}

static void compare(const struct twin *w, const struct paths *p, usec_t now)
{
    uint32_t id;
    enum path_kind kind;
    bool some = paths_best(p, &id, &kind);
    assert_int_equal(some, w->current != PATHS_NO_ID);
    assert_int_equal(id, w->current);
    assert_int_equal(paths_count(p), w->count);
    for (uint32_t i = 0; i < w->count; i++) {
        const struct twin_path *t = &w->path[w->order[i]];
        struct path_stats s;
        usec_t srtt, var;
        unsigned lost, of;
        times(t, &srtt, &var);
        losses(t, &lost, &of);
        assert_true(paths_stats_at(p, i, &s));
        assert_int_equal(s.id, w->order[i]);
        assert_int_equal(s.kind, t->kind);
        assert_int_equal(s.alive, is_alive(t));
        assert_int_equal(s.srtt, srtt);
        assert_int_equal(s.jitter, var);
        assert_true(s.loss == (of ? (double)lost / of : 0));
        assert_int_equal(s.doubted, in_doubt(t, now));
        assert_int_equal(s.keepalive, idle_pace(t));
    }
    static const uint16_t sizes[] = {0, 548, 1200, 1300, 1472, 60000};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        compare_choice(w, p, sizes[i], now);
}

static void probes(struct twin *w, struct paths *p, usec_t now)
{
    uint32_t id;
    uint16_t size;
    uint8_t bytes[PATH_PROBE_LEN];
    bool due[IDS] = {false};
    for (uint32_t i = 0; i < w->count; i++)
        due[w->order[i]] = probe_is_due(w, &w->path[w->order[i]], now);
    while (paths_output(p, now, &id, bytes, &size)) {
        assert_in_range(id, 0, IDS - 1);
        struct twin_path *t = &w->path[id];
        if (size == 0) {
            assert_true(due[id]);
            due[id] = false;
        } else {
            usec_t srtt, var;
            times(t, &srtt, &var);
            assert_true(is_alive(t) && srtt && !stream(t->kind));
            assert_true(size == 128 || (size >= PATH_MTU_MIN && size <= PATH_MTU_MAX));
        }
        note(t, size ? PADDED : PROBE, now);
        memcpy(t->log[t->n - 1].bytes, bytes, PATH_PROBE_LEN);
    }
    for (size_t i = 0; i < IDS; i++)
        assert_false(due[i]);
}

static void answer_entry(struct twin *w, struct paths *p, struct twin_path *t, struct entry *e, usec_t now)
{
    uint32_t id;
    usec_t rtt;
    bool new = !e->answered && !e->forgotten;
    assert_int_equal(paths_answer(p, bytes_of(e->bytes, PATH_PROBE_LEN), now, &id, &rtt), new);
    if (new)
        twin_answer(w, t, e, now);
}

static void answer_one(struct twin *w, struct paths *p, struct twin_path *t, const struct rng *rng,
                       usec_t now)
{
    size_t at[PATH_LOSS_WINDOW], n = window(t, at);
    /* Mostly the youngest; sometimes an old one, late or for the second time. */
    if (n > 0)
        answer_entry(w, p, t, &t->log[at[rng_below(rng, 4) ? 0 : rng_below(rng, n)]], now);
}

/* One of the last ten padded ones. */
static void answer_padded(struct twin *w, struct paths *p, struct twin_path *t, const struct rng *rng,
                          usec_t now)
{
    uint64_t skip = rng_below(rng, 10);
    for (size_t i = t->n; i-- > 0;)
        if (t->log[i].what == PADDED && skip-- == 0) {
            answer_entry(w, p, t, &t->log[i], now);
            return;
        }
}

/* What comes seldom. */
static void step_rare(struct twin *w, struct paths *p, uint32_t id, const struct rng *rng, usec_t now)
{
    struct twin_path *t = &w->path[id];
    usec_t srtt, var, rtt = rng_below(rng, 300 * MSEC);
    times(t, &srtt, &var);
    switch (rng_below(rng, 4)) {
    case 0:
        paths_doubt_all(p, now);
        twin_doubt(w, now);
        break;
    case 1:
        paths_rtt(p, id, rtt, now);
        note(t, GIVEN, now);
        t->log[t->n - 1].rtt = rtt;
        if (after_last(t, 1u << ANSWER) == 0)
            twin_choose(w, now);
        break;
    case 2:
        t->lifetime = rng_below(rng, 2) ? rng_below(rng, 200 * SEC) : 0;
        paths_keepalive(p, id, t->lifetime);
        break;
    default:
        paths_too_big(p, id, rng_below(rng, 1600), now);
        twin_choose(w, now);
    }
}

static void step(struct twin *w, struct paths *p, const struct rng *rng, usec_t now)
{
    uint32_t id = (uint32_t)rng_below(rng, IDS);
    struct twin_path *t = &w->path[id];
    uint64_t dice = rng_below(rng, 200);
    usec_t told = at_least(t->added, now - (rng_below(rng, 2) ? rng_below(rng, 25 * MSEC) : 0));
    if (!t->there && dice < 60) {
        enum path_kind kind = (enum path_kind)(1 + rng_below(rng, PATH_KIND_COUNT - 1));
        assert_int_equal(paths_add(p, id, kind, now), 0);
        twin_add(w, id, kind, now);
    } else if (!t->there) {
        return;
    } else if (dice < 1) {
        paths_del(p, id);
        twin_del(w, id, now);
    } else if (dice < 60) {
        paths_sent(p, id, told);
        note(t, SENT, told);
        w->traffic = at_least(w->traffic, told);
    } else if (dice < 80) {
        paths_received(p, id, told);
        twin_received(w, t, told);
        if (rng_below(rng, 2)) {
            paths_carried(p, id, told);
            twin_carried(w, id, told);
        }
    } else if (dice < 140) {
        answer_one(w, p, t, rng, now);
    } else if (dice < 180) {
        answer_padded(w, p, t, rng, now);
    } else if (dice < 184) {
        step_rare(w, p, id, rng, now);
    }
}

static void walk(uint64_t seed)
{
    struct rng_seeded own, theirs;
    struct rng rng = rng_seeded(&own, seed);
    struct paths *p = paths_new(rng_seeded(&theirs, seed + 1));
    struct twin *w = calloc(1, sizeof *w);
    assert_non_null(p);
    assert_non_null(w);
    w->current = w->excused = PATHS_NO_ID;
    w->p = p;
    for (size_t i = 0; i < IDS; i++)
        assert_non_null(w->path[i].log = calloc(LOG_MAX, sizeof *w->path[i].log));
    usec_t now = 10 * SEC, slow = 1 + rng_below(&rng, 10);
    for (int i = 0; i < 1500; i++) {
        now += rng_below(&rng, 20 * MSEC * slow) + (rng_below(&rng, 300) ? 0 : 30 * SEC);
        paths_sent(p, IDS, now); /* nobody; but the time is told */
        step(w, p, &rng, now);
        bool ticked = rng_below(&rng, 4);
        if (ticked) {
            paths_tick(p, now);
            twin_tick(w, now);
        }
        if (rng_below(&rng, 4)) {
            probes(w, p, now);
            assert_true(!ticked || paths_wake(p) > now);
        }
        compare(w, p, now);
    }
    for (size_t i = 0; i < IDS; i++)
        free(w->path[i].log);
    free(w);
    paths_free(p);
}

static void twin_agrees(void **state)
{
    const char *given = getenv("WARREN_SEED");
    uint64_t first = given ? strtoull(given, NULL, 10) : 1;
    for (uint64_t seed = first; seed < first + (given ? 1 : 40); seed++) {
        fprintf(stderr, "# seed %llu\n", (unsigned long long)seed);
        walk(seed);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(twin_agrees)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
