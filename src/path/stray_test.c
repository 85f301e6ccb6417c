/* Payload of the peer that comes over a worse path than ours: what we make of it. */
#include "path/path_kit_int.h"

static void carried(struct world *w, uint32_t id)
{
    paths_received(w->p, id, w->now);
    paths_carried(w->p, id, w->now);
}

/* The copies' path, PATHS_NO_ID: there are none. */
static uint32_t second(const struct world *w)
{
    uint32_t id;
    enum path_kind k;
    return paths_second(w->p, 600, w->now, &id, &k) ? id : PATHS_NO_ID;
}

/* On the direct path, measured, and nothing was heard there for so long. */
static struct world *world_settled(usec_t silence)
{
    struct world *w = world_make();
    world_add(w, RELAY, PATH_UDP_RELAY, 30 * MSEC);
    world_add(w, DIRECT, PATH_UDP, 20 * MSEC);
    world_run(w, 8 * SEC);
    assert_int_equal(best(w), DIRECT);
    assert_true(stats(w, DIRECT).mtu_known);
    w->step = 1 * MSEC;
    paths_received(w->p, DIRECT, w->now);
    world_run(w, 200 * MSEC); /* it is in use: it is asked, and answers */
    paths_received(w->p, DIRECT, w->now);
    world_run(w, silence);
    return w;
}

static void strays_raise_a_doubt(void **state)
{
    struct world *w = world_settled(60 * MSEC);
    size_t asked = w->probes[DIRECT], relayed = w->probes[RELAY];
    struct path_stats before = stats(w, DIRECT), s;
    carried(w, RELAY);
    assert_true(stats(w, DIRECT).doubted);
    assert_int_equal(second(w), RELAY);
    assert_true(paths_wake(w->p) <= w->now);
    world_run(w, 19 * MSEC);
    s = stats(w, DIRECT);
    assert_int_equal(w->probes[DIRECT], asked + 1);
    assert_int_equal(w->probes[RELAY], relayed);                  /* warm beside the other: measured just before */
    assert_true(s.doubted && s.mtu == before.mtu && s.mtu_known); /* its size is not asked for again */
    world_run(w, 2 * MSEC);
    assert_false(stats(w, DIRECT).doubted); /* it answered */
    assert_int_equal(second(w), PATHS_NO_ID);
    /* The peer likes the relay better: that is its own affair. */
    for (int i = 0; i < 3000; i++) {
        carried(w, RELAY);
        assert_false(stats(w, DIRECT).doubted);
        world_run(w, 1 * MSEC);
    }
    /* It comes back; what takes the relay then is strange again. */
    carried(w, DIRECT);
    world_run(w, 200 * MSEC);
    carried(w, DIRECT);
    world_run(w, 60 * MSEC);
    carried(w, RELAY);
    assert_true(stats(w, DIRECT).doubted);
    paths_received(w->p, DIRECT, w->now);
    assert_false(stats(w, DIRECT).doubted); /* anything that is heard ends it */
    assert_int_equal(best(w), DIRECT);
    world_end(w);
}

static void doubts_for_strays_are_seldom(void **state)
{
    struct world *w = world_settled(60 * MSEC);
    unsigned doubts = 0;
    bool was = false;
    /* A peer that sends now and then over either, as one whose large packets do not fit. */
    for (int i = 0; i < 5000; i++) {
        if (i % 100 == 0)
            carried(w, DIRECT);
        if (i % 100 == 70)
            carried(w, RELAY);
        world_run(w, 1 * MSEC);
        doubts += stats(w, DIRECT).doubted && !was;
        was = stats(w, DIRECT).doubted;
    }
    assert_in_range(doubts, 4, 5); /* one a second */
    world_end(w);
}

/* Both ends change at slightly different times, and late packets come behind others. */
static void late_packets_raise_none(void **state)
{
    struct world *w = world_settled(0);
    for (int i = 0; i < 400; i++) {
        carried(w, RELAY);
        assert_false(stats(w, DIRECT).doubted);
        assert_int_equal(second(w), PATHS_NO_ID);
        world_run(w, 1 * MSEC);
        if (i % 40 == 39)
            carried(w, DIRECT);
    }
    /* Then nothing more comes directly. */
    carried(w, RELAY);
    usec_t since = w->now;
    while (!stats(w, DIRECT).doubted)
        world_run(w, 1 * MSEC);
    assert_in_range(w->now - since, PATH_STRAY - 2 * MSEC, PATH_STRAY + 3 * MSEC);
    world_end(w);
}

/* The peer was first to change to a better path. */
static void better_paths_raise_none(void **state)
{
    struct world *w = world_make();
    world_add(w, RELAY, PATH_UDP_RELAY, 300 * MSEC);
    world_add(w, DIRECT, PATH_UDP, 20 * MSEC);
    w->step = 5 * MSEC;
    world_run(w, 1 * SEC);
    w->delay[DIRECT] = NEVER;
    w->send_every = 20 * MSEC;
    world_run(w, 2 * SEC);
    w->delay[DIRECT] = 20 * MSEC;
    w->send_every = 0;
    world_run(w, 2 * SEC);
    assert_int_equal(best(w), RELAY); /* for the other one died of late */
    for (int i = 0; i < 100; i++) {
        carried(w, DIRECT);
        assert_int_equal(best(w), RELAY);
        assert_int_equal(second(w), PATHS_NO_ID);
        world_run(w, 5 * MSEC);
    }
    world_end(w);
}

/* What is cut takes its like with it: the copies go where the peer's payload came from. */
static void copies_take_the_path_of_the_strays(void **state)
{
    struct world *w = world_settled(0);
    world_add(w, 3, PATH_TLS, 25 * MSEC);
    world_run(w, 1 * SEC);
    w->delay[DIRECT] = w->delay[3] = NEVER;
    world_run(w, 100 * MSEC);
    carried(w, RELAY);
    assert_int_equal(best(w), DIRECT);
    assert_int_equal(second(w), RELAY);
    uint32_t id;
    enum path_kind k;
    assert_true(paths_second(w->p, PATH_MTU_MAX, w->now, &id, &k)); /* but what does not fit there */
    assert_int_equal(id, 3);
    w->step = 10 * MSEC;
    world_run(w, 700 * MSEC);
    assert_false(stats(w, DIRECT).alive); /* the probe that was asked then counts */
    world_end(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(strays_raise_a_doubt),
        cmocka_unit_test(doubts_for_strays_are_seldom),
        cmocka_unit_test(late_packets_raise_none),
        cmocka_unit_test(better_paths_raise_none),
        cmocka_unit_test(copies_take_the_path_of_the_strays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
