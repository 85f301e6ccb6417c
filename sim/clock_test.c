#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sim/clock.h"

#include <stdlib.h>
#include <string.h>

#define TIMERS 200

struct probe {
    struct sim_timer timer;
    struct sim *sim;
    int number;
};
static int fired[TIMERS * 2], fired_count;
static usec_t last;

static void note(void *arg)
{
    struct probe *p = arg;
    assert_true(p->sim->now >= last);
    assert_true(p->sim->now == p->timer.at);
    last = p->sim->now;
    fired[fired_count++] = p->number;
}

static void test_ties_fire_in_the_order_of_arming(void **state)
{
    struct sim s;
    struct probe p[10];
    sim_init(&s, 1);
    memset(p, 0, sizeof p);
    fired_count = 0;
    last = 0;
    for (int i = 0; i < 10; i++) {
        p[i] = (struct probe){.timer = {.fire = note, .arg = &p[i]}, .sim = &s, .number = i};
        sim_arm(&s, &p[i].timer, s.now + SEC);
    }
    sim_run(&s, s.now + SEC);
    assert_int_equal(fired_count, 10);
    for (int i = 0; i < 10; i++)
        assert_int_equal(fired[i], i);
    sim_done(&s);
}

/* Against a naive twin: arm, move and disarm at random; what fires must be the armed ones, sorted by time. */
static void test_heap_against_sorting(void **state)
{
    struct sim s;
    static struct probe p[TIMERS];
    sim_init(&s, 77);
    memset(p, 0, sizeof p);
    fired_count = 0;
    last = 0;
    for (int i = 0; i < TIMERS; i++)
        p[i] = (struct probe){.timer = {.fire = note, .arg = &p[i]}, .sim = &s, .number = i};
    for (int i = 0; i < 5000; i++) {
        struct sim_timer *t = &p[rng_below(&s.rng, TIMERS)].timer;
        if (rng_below(&s.rng, 3) == 0)
            sim_disarm(&s, t);
        else
            sim_arm(&s, t, s.now + rng_below(&s.rng, 1000));
    }
    int armed = 0;
    for (int i = 0; i < TIMERS; i++)
        armed += p[i].timer.slot != 0;
    assert_int_equal(s.n, armed);
    sim_run(&s, s.now + 1000);
    assert_int_equal(fired_count, armed);
    assert_int_equal(s.n, 0);
    for (int i = 1; i < fired_count; i++)
        assert_true(p[fired[i - 1]].timer.at <= p[fired[i]].timer.at);
    sim_done(&s);
}

static void test_time_stands_where_it_was_told(void **state)
{
    struct sim s;
    struct probe p = {.sim = &s};
    sim_init(&s, 1);
    p.timer = (struct sim_timer){.fire = note, .arg = &p};
    fired_count = 0;
    last = 0;
    sim_arm(&s, &p.timer, s.now + 5 * SEC);
    assert_false(sim_step(&s, s.now + 4 * SEC));
    assert_int_equal(s.now, SIM_START + 4 * SEC);
    assert_int_equal(sim_unix(&s), SIM_START_UNIX + 4);
    assert_int_equal(fired_count, 0);
    sim_arm(&s, &p.timer, s.now - SEC); /* the past is now */
    assert_true(sim_step(&s, s.now));
    assert_int_equal(fired_count, 1);
    sim_arm(&s, &p.timer, USEC_NEVER);
    assert_int_equal(s.n, 0);
    sim_done(&s);
}

static void test_what_is_armed_at_the_end_is_dropped(void **state)
{
    struct sim s;
    sim_init(&s, 1);
    struct probe *p = sim_alloc(sizeof *p);
    p->timer = (struct sim_timer){.fire = note, .drop = free, .arg = p};
    sim_arm(&s, &p->timer, s.now + SEC);
    sim_done(&s); /* the leak checker judges */
}

static void test_one_seed_one_story(void **state)
{
    struct sim a, b, c;
    sim_init(&a, 5);
    sim_init(&b, 5);
    sim_init(&c, 6);
    bool differs = false;
    for (int i = 0; i < 100; i++) {
        uint64_t v = rng_u64(&a.rng);
        assert_true(v == rng_u64(&b.rng));
        differs |= v != rng_u64(&c.rng);
    }
    assert_true(differs);
    int hits = 0;
    for (int i = 0; i < 10000; i++)
        hits += sim_chance(&a.rng, 0.25);
    assert_in_range(hits, 2300, 2700);
    assert_false(sim_chance(&a.rng, 0));
    assert_true(sim_chance(&a.rng, 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ties_fire_in_the_order_of_arming),
        cmocka_unit_test(test_heap_against_sorting),
        cmocka_unit_test(test_time_stands_where_it_was_told),
        cmocka_unit_test(test_what_is_armed_at_the_end_is_dropped),
        cmocka_unit_test(test_one_seed_one_story),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
