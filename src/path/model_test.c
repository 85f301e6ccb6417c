/* The set of paths against a twin that remembers everything that ever happened and works each answer out from
 * that. */
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

enum what { SENT, RECEIVED, PROBE, ANSWER, DIED, REVIVED };
struct entry {
    enum what what;
    usec_t at;
    usec_t rtt;                     /* ANSWER */
    bool answered, lost, forgotten; /* PROBE */
    uint8_t bytes[PATH_PROBE_LEN];  /* PROBE */
};

struct twin_path {
    bool there;
    enum path_kind kind;
    usec_t added;
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
    *srtt = *var = 0;
    for (size_t i = 0; i < t->n; i++) {
        usec_t r = t->log[i].rtt;
        if (t->log[i].what != ANSWER)
            continue;
        *var = *srtt ? (3 * *var + (*srtt > r ? *srtt - r : r - *srtt)) / 4 : r / 2;
        *srtt = *srtt ? (7 * *srtt + r) / 8 : r;
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

#define HEARD (1u << RECEIVED | 1u << ANSWER | 1u << DIED)

/* The first thing sent since the last sign of life, 0 if none; and the probes since then. */
static usec_t unheard(const struct twin_path *t, unsigned *probes)
{
    usec_t first = 0;
    *probes = 0;
    for (size_t i = after_last(t, HEARD); i < t->n; i++) {
        if (t->log[i].what == SENT || t->log[i].what == PROBE)
            first = first ? first : t->log[i].at;
        *probes += t->log[i].what == PROBE;
    }
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
    usec_t first = unheard(t, &probes), since = 0;
    if (!is_alive(t) || now < last_probe(t) + spacing(t))
        return false;
    if (first && probes >= 2 && now >= first + patience(t))
        return true;
    for (size_t i = after_last(t, 1u << ANSWER); i < t->n; i++) {
        if (t->log[i].what != PROBE)
            continue;
        since = since ? since : t->log[i].at;
        asked++;
    }
    return asked >= 3 && now >= since + at_least(PATH_ONE_WAY, 2 * patience(t));
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

static bool probe_is_due(const struct twin_path *t, usec_t now)
{
    unsigned probes, answers = 0, dead_probes = 0;
    usec_t first = unheard(t, &probes), last = last_probe(t);
    if (must_die(t, now))
        return false;
    if (!last)
        return true;
    if (is_alive(t) && first && now >= at_least(first, last) + spacing(t))
        return true;
    bool traffic = after_last(t, 1u << SENT | 1u << RECEIVED) > after_last(t, 1u << PROBE);
    for (size_t i = 0; i < t->n; i++)
        answers += t->log[i].what == ANSWER;
    for (size_t i = after_last(t, 1u << DIED); i < t->n; i++)
        dead_probes += t->log[i].what == PROBE;
    usec_t every = PATH_PROBE_IDLE;
    if (traffic)
        every = PATH_PROBE_BUSY;
    else if (!is_alive(t))
        every = usec_min(PATH_PROBE_IDLE, PATH_PROBE_BUSY << (dead_probes > 4 ? 4 : dead_probes));
    else if (answers < PATH_FIRST_PROBES || better_since(t))
        every = PATH_PROBE_BUSY;
    return now >= last + every;
}

/* ---- The same verbs. */

static void twin_switch(struct twin *w, uint32_t to)
{
    if (w->current == to)
        return;
    w->current = to;
    for (size_t i = 0; i < IDS; i++)
        w->path[i].better_count = 0;
}

static uint32_t cheapest(const struct twin *w, bool held, usec_t now)
{
    uint32_t found = PATHS_NO_ID;
    for (uint32_t i = 0; i < w->count; i++) {
        const struct twin_path *t = &w->path[w->order[i]];
        usec_t since = better_since(t);
        if (!is_alive(t) || (held && (!since || now < since + hold(t))))
            continue;
        if (found == PATHS_NO_ID || cost(t) < cost(&w->path[found]))
            found = w->order[i];
    }
    return found;
}

static void twin_look(struct twin *w, usec_t now)
{
    for (uint32_t i = 0; i < w->count; i++) {
        struct twin_path *t = &w->path[w->order[i]];
        usec_t srtt, var;
        times(t, &srtt, &var);
        bool better = w->order[i] != w->current && is_alive(t) && srtt &&
                      cost(t) * 10 <= cost(&w->path[w->current]) * 9;
        assert_true(t->better_count < LOG_MAX);
        t->better[t->better_count++] = better ? now : 0;
    }
}

static void twin_choose(struct twin *w, usec_t now)
{
    if (w->current == PATHS_NO_ID || !w->path[w->current].there || !is_alive(&w->path[w->current]))
        twin_switch(w, cheapest(w, false, now));
    twin_look(w, now);
    uint32_t held = cheapest(w, true, now);
    if (held != PATHS_NO_ID) {
        twin_switch(w, held);
        twin_look(w, now);
    }
}

static void twin_add(struct twin *w, uint32_t id, enum path_kind kind, usec_t now)
{
    struct twin_path *t = &w->path[id];
    t->there = true;
    t->kind = kind;
    t->added = now;
    t->n = t->better_count = 0;
    w->order[w->count++] = id;
    twin_choose(w, now);
}

static void twin_del(struct twin *w, uint32_t id)
{
    uint32_t to = 0;
    for (uint32_t i = 0; i < w->count; i++)
        if (w->order[i] != id)
            w->order[to++] = w->order[i];
    w->count = to;
    w->path[id].there = false;
    if (w->current == id) {
        twin_switch(w, cheapest(w, false, 0));
    }
}

static void twin_tick(struct twin *w, usec_t now)
{
    for (uint32_t k = 0; k < w->count; k++) {
        struct twin_path *t = &w->path[w->order[k]];
        size_t at[PATH_LOSS_WINDOW], n = window(t, at);
        for (size_t i = 0; i < n; i++) {
            struct entry *e = &t->log[at[i]];
            e->lost |= !e->answered && now - e->at >= patience(t);
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
    note(t, ANSWER, now);
    t->log[t->n - 1].rtt = rtt;
    if (dead) {
        note(t, REVIVED, now);
        size_t at[PATH_LOSS_WINDOW], n = window(t, at);
        for (size_t i = 0; i < n; i++)
            t->log[at[i]].forgotten |= t->log[at[i]].lost && !t->log[at[i]].answered;
    }
    twin_choose(w, now);
}

/* ---- Both together. */

static void compare(const struct twin *w, const struct paths *p)
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
    }
}

static void probes(struct twin *w, struct paths *p, usec_t now)
{
    uint32_t id;
    uint8_t bytes[PATH_PROBE_LEN];
    bool due[IDS] = {false};
    for (uint32_t i = 0; i < w->count; i++)
        due[w->order[i]] = probe_is_due(&w->path[w->order[i]], now);
    while (paths_output(p, now, &id, bytes)) {
        assert_in_range(id, 0, IDS - 1);
        assert_true(due[id]);
        due[id] = false;
        note(&w->path[id], PROBE, now);
        memcpy(w->path[id].log[w->path[id].n - 1].bytes, bytes, PATH_PROBE_LEN);
    }
    for (size_t i = 0; i < IDS; i++)
        assert_false(due[i]);
}

static void answer_one(struct twin *w, struct paths *p, struct twin_path *t, const struct rng *rng,
                       usec_t now)
{
    size_t at[PATH_LOSS_WINDOW], n = window(t, at);
    if (n == 0)
        return;
    /* Mostly the youngest; sometimes an old one, late or for the second time. */
    struct entry *e = &t->log[at[rng_below(rng, 4) ? 0 : rng_below(rng, n)]];
    uint32_t id;
    usec_t rtt;
    bool new = !e->answered && !e->forgotten;
    assert_int_equal(paths_answer(p, bytes_of(e->bytes, PATH_PROBE_LEN), now, &id, &rtt), new);
    if (new)
        twin_answer(w, t, e, now);
}

static void step(struct twin *w, struct paths *p, const struct rng *rng, usec_t now)
{
    uint32_t id = (uint32_t)rng_below(rng, IDS);
    struct twin_path *t = &w->path[id];
    uint64_t dice = rng_below(rng, 200);
    if (!t->there && dice < 60) {
        enum path_kind kind = (enum path_kind)(1 + rng_below(rng, PATH_KIND_COUNT - 1));
        assert_int_equal(paths_add(p, id, kind, now), 0);
        twin_add(w, id, kind, now);
    } else if (!t->there) {
        return;
    } else if (dice < 1) {
        paths_del(p, id);
        twin_del(w, id);
    } else if (dice < 60) {
        paths_sent(p, id, now);
        note(t, SENT, now);
    } else if (dice < 80) {
        paths_received(p, id, now);
        note(t, RECEIVED, now);
    } else if (dice < 160) {
        answer_one(w, p, t, rng, now);
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
    w->current = PATHS_NO_ID;
    for (size_t i = 0; i < IDS; i++)
        assert_non_null(w->path[i].log = calloc(LOG_MAX, sizeof *w->path[i].log));
    usec_t now = 10 * SEC, slow = 1 + rng_below(&rng, 10);
    for (int i = 0; i < 1500; i++) {
        now += rng_below(&rng, 20 * MSEC * slow) + (rng_below(&rng, 300) ? 0 : 30 * SEC);
        step(w, p, &rng, now);
        if (rng_below(&rng, 4)) {
            paths_tick(p, now);
            twin_tick(w, now);
            assert_true(paths_wake(p) > now || w->count > 0);
        }
        if (rng_below(&rng, 4))
            probes(w, p, now);
        compare(w, p);
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
