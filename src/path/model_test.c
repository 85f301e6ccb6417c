/* The set of paths against a twin that remembers everything that ever happened and works each answer out from
 * that. How much a path carries is taken from the set itself: the search for it is judged in
 * path_links_test.c. */
#include "path/model_twin_int.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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
