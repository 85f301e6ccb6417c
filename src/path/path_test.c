#include "path/path_kit_int.h"

/* ---- The set. */

static void set_is_bounded(void **state)
{
    struct world *w = world_make();
    uint32_t id = 5;
    enum path_kind k = PATH_UDP;
    struct path_stats s;
    assert_false(paths_best(w->p, &id, &k));
    assert_int_equal(id, PATHS_NO_ID);
    assert_int_equal(k, PATH_NONE);
    assert_int_equal(paths_wake(w->p), USEC_NEVER);
    assert_int_equal(paths_add(w->p, 1, PATH_NONE, START), -EINVAL);
    assert_int_equal(paths_add(w->p, 1, PATH_KIND_COUNT, START), -EINVAL);
    assert_int_equal(paths_add(w->p, PATHS_NO_ID, PATH_UDP, START), -EINVAL);
    for (uint32_t i = 0; i < PATHS_MAX; i++)
        assert_int_equal(paths_add(w->p, i, PATH_UDP, START), 0);
    assert_int_equal(paths_add(w->p, 3, PATH_UDP, START), -EEXIST);
    assert_int_equal(paths_add(w->p, 99, PATH_UDP, START), -ENOSPC);
    assert_int_equal(paths_count(w->p), PATHS_MAX);
    assert_true(paths_stats_at(w->p, PATHS_MAX - 1, &s));
    assert_int_equal(s.id, PATHS_MAX - 1);
    assert_false(paths_stats_at(w->p, PATHS_MAX, &s));
    assert_false(paths_stats(w->p, 99, &s));
    paths_del(w->p, 99);
    paths_del(w->p, 3);
    assert_int_equal(paths_count(w->p), PATHS_MAX - 1);
    assert_false(paths_stats(w->p, 3, &s));
    assert_true(paths_stats(w->p, 7, &s));
    assert_int_equal(best(w), 0);
    paths_del(w->p, 0);
    assert_int_equal(best(w), 1);
    paths_clear(w->p);
    assert_int_equal(best(w), PATHS_NO_ID);
    assert_int_equal(paths_count(w->p), 0);
    struct path_event e;
    static const uint32_t changes[] = {0, 1, PATHS_NO_ID};
    for (size_t i = 0; i < 3; i++) {
        assert_true(paths_event(w->p, &e));
        assert_int_equal(e.kind, PATH_EVENT_CHANGED);
        assert_int_equal(e.id, changes[i]);
        assert_int_equal(e.path_kind, i < 2 ? PATH_UDP : PATH_NONE);
    }
    assert_false(paths_event(w->p, &e));
    world_end(w);
    paths_free(NULL);
}

static void probes_and_answers(void **state)
{
    struct world *w = world_make();
    uint32_t id, from;
    uint16_t size = 7;
    usec_t rtt;
    uint8_t probe[PATH_PROBE_LEN], bad[PATH_PROBE_LEN + 1] = {0};
    assert_int_equal(paths_add(w->p, 0x01020304, PATH_UDP, START), 0);
    assert_int_equal(paths_wake(w->p), START);
    assert_true(paths_output(w->p, START, &id, probe, &size));
    assert_int_equal(id, 0x01020304);
    assert_int_equal(size, 0);
    static const uint8_t tail[4] = {1, 2, 3, 4};
    assert_memory_equal(probe + 8, tail, 4);
    assert_false(paths_output(w->p, START, &id, bad, &size));
    for (size_t n = 0; n < PATH_PROBE_LEN; n++)
        assert_false(paths_answer(w->p, bytes_of(probe, n), START + 1, &from, &rtt));
    memcpy(bad, probe, PATH_PROBE_LEN);
    assert_false(paths_answer(w->p, bytes_of(bad, sizeof bad), START + 1, &from, &rtt));
    for (size_t bit = 0; bit < 8 * PATH_PROBE_LEN; bit++) {
        bad[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_false(paths_answer(w->p, bytes_of(bad, PATH_PROBE_LEN), START + 1, &from, &rtt));
        bad[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    assert_true(paths_answer(w->p, bytes_of(probe, PATH_PROBE_LEN), START + 40 * MSEC, &from, &rtt));
    assert_int_equal(from, id);
    assert_int_equal(rtt, 40 * MSEC);
    assert_false(paths_answer(w->p, bytes_of(probe, PATH_PROBE_LEN), START + 41 * MSEC, &from, &rtt));
    struct path_stats s = stats(w, id);
    assert_int_equal(s.srtt, 40 * MSEC);
    assert_int_equal(s.jitter, 20 * MSEC);
    assert_int_equal(s.last_answer, START + 40 * MSEC);
    assert_int_equal(s.since, START);
    /* RFC 6298: 7/8 and 3/4 */
    assert_true(paths_output(w->p, START + 2 * SEC, &id, probe, &size));
    assert_true(
        paths_answer(w->p, bytes_of(probe, PATH_PROBE_LEN), START + 2 * SEC + 120 * MSEC, &from, &rtt));
    s = stats(w, id);
    assert_int_equal(s.srtt, 50 * MSEC);
    assert_int_equal(s.jitter, 35 * MSEC);
    world_end(w);
}

static void probe_pace(void **state)
{
    struct world *w = world_make();
    world_add(w, DIRECT, PATH_UDP, 20 * MSEC);
    world_run(w, 10 * SEC);
    assert_int_equal(w->probes[DIRECT], 4); /* the first ones quickly */
    world_run(w, 90 * SEC);
    assert_in_range(w->probes[DIRECT], 12, 14); /* idle: every 10 s */
    size_t before = w->probes[DIRECT];
    w->send_every = 50 * MSEC;
    w->heard_lag = 1;
    world_run(w, 10 * SEC);
    assert_in_range(w->probes[DIRECT] - before, 9, 12); /* busy and answered: every second */
    before = w->probes[DIRECT];
    w->heard_lag = 0; /* only we speak: the probes have to ask */
    world_run(w, 10 * SEC);
    assert_in_range(w->probes[DIRECT] - before, 45, 75);
    assert_true(stats(w, DIRECT).alive);
    world_end(w);
}

/* Two ends that only ask and answer each other must come to rest. */
static void what_the_peer_asks_is_no_traffic(void **state)
{
    for (int traffic = 0; traffic < 2; traffic++) {
        struct world *w = world_make();
        world_add(w, DIRECT, PATH_UDP, 20 * MSEC);
        world_run(w, 10 * SEC);
        size_t before = w->probes[DIRECT];
        for (int i = 0; i < 60; i++) {
            world_run(w, 1 * SEC);
            (traffic ? paths_received : paths_heard)(w->p, DIRECT, w->now);
        }
        size_t asked = w->probes[DIRECT] - before;
        assert_in_range(asked, traffic ? 55 : 5, traffic ? 61 : 7);
        world_end(w);
    }
}

static void wake_is_enough(void **state)
{
    struct world *w = world_make(), *v = world_make();
    world_add(w, DIRECT, PATH_UDP, 20 * MSEC);
    world_add(v, DIRECT, PATH_UDP, 20 * MSEC);
    world_add(w, RELAY, PATH_WS_RELAY, NEVER);
    world_add(v, RELAY, PATH_WS_RELAY, NEVER);
    for (usec_t end = w->now + 60 * SEC; w->now < end; w->now += 1 * MSEC)
        world_step(w);
    for (usec_t end = v->now + 60 * SEC; v->now < end;) { /* only when it asks for it, or an answer comes */
        world_step(v);
        usec_t next = paths_wake(v->p);
        for (size_t i = 0; i < v->count; i++)
            next = usec_min(next, v->flights[i].at);
        assert_true(next > v->now);
        v->now = next;
    }
    assert_int_equal(w->probes[DIRECT], v->probes[DIRECT]);
    assert_int_equal(w->probes[RELAY], v->probes[RELAY]);
    assert_int_equal(w->event_count, v->event_count);
    for (size_t i = 0; i < w->event_count; i++) {
        assert_int_equal(w->event_at[i], v->event_at[i]);
        assert_int_equal(w->events[i].id, v->events[i].id);
        assert_int_equal(w->events[i].kind, v->events[i].kind);
    }
    world_end(w);
    world_end(v);
}

/* ---- Death and return. */

static void dies_within_600_ms(void **state)
{
    for (int two_way = 0; two_way < 2; two_way++) {
        struct world *w = world_make();
        world_add(w, RELAY, PATH_WS_RELAY, 60 * MSEC);
        world_add(w, DIRECT, PATH_UDP, 20 * MSEC);
        w->send_every = 20 * MSEC;
        w->heard_lag = (usec_t)two_way;
        world_run(w, 20 * SEC);
        assert_int_equal(best(w), DIRECT);
        usec_t cut = w->now;
        w->delay[DIRECT] = NEVER;
        world_run(w, 2 * SEC);
        assert_int_equal(best(w), RELAY);
        usec_t died = when(w, PATH_EVENT_DEAD, DIRECT);
        assert_in_range(died - cut, 380 * MSEC, 660 * MSEC);
        assert_int_equal(when(w, PATH_EVENT_CHANGED, RELAY), died);
        assert_false(stats(w, DIRECT).alive);
        assert_true(stats(w, RELAY).alive);
        world_end(w);
    }
}

static void slow_paths_get_three_rtts(void **state)
{
    struct world *w = world_make();
    world_add(w, DIRECT, PATH_UDP, 500 * MSEC);
    w->send_every = 20 * MSEC;
    world_run(w, 60 * SEC);
    assert_int_equal(when(w, PATH_EVENT_DEAD, DIRECT), 0);
    usec_t cut = w->now;
    w->delay[DIRECT] = NEVER;
    world_run(w, 5 * SEC);
    assert_in_range(when(w, PATH_EVENT_DEAD, DIRECT) - cut, 800 * MSEC, 1550 * MSEC);
    assert_int_equal(best(w), PATHS_NO_ID);
    assert_int_equal(w->events[w->event_count - 1].kind, PATH_EVENT_CHANGED);
    assert_int_equal(w->events[w->event_count - 1].id, PATHS_NO_ID);
    world_end(w);
}

static void a_slow_stranger_is_learned(void **state)
{
    struct world *w = world_make();
    world_add(w, DIRECT, PATH_UDP, 1500 * MSEC); /* slower than anything that is assumed */
    world_run(w, 10 * SEC);
    struct path_stats s = stats(w, DIRECT);
    assert_true(s.alive);
    assert_int_equal(s.srtt, 1500 * MSEC);
    assert_int_equal(best(w), DIRECT);
    world_end(w);
}

static void returns_by_an_answer(void **state)
{
    struct world *w = world_make();
    world_add(w, RELAY, PATH_WS_RELAY, 60 * MSEC);
    world_add(w, DIRECT, PATH_UDP, 20 * MSEC);
    w->send_every = 20 * MSEC;
    w->heard_lag = 1;
    world_run(w, 10 * SEC);
    w->delay[DIRECT] = NEVER;
    world_run(w, 10 * SEC);
    assert_int_equal(best(w), RELAY);
    paths_received(w->p, DIRECT, w->now); /* heard alone does not bring it back */
    world_run(w, 50 * MSEC);
    assert_false(stats(w, DIRECT).alive);
    usec_t back = w->now;
    w->delay[DIRECT] = 20 * MSEC;
    world_run(w, 16 * SEC);
    usec_t alive = when(w, PATH_EVENT_ALIVE, DIRECT), changed = when(w, PATH_EVENT_CHANGED, DIRECT);
    assert_in_range(alive, back, back + PATH_PROBE_IDLE);
    assert_in_range(changed, alive + PATH_HOLD, alive + PATH_HOLD + 100 * MSEC);
    assert_int_equal(best(w), DIRECT);
    assert_true(stats(w, DIRECT).loss == 0); /* its death is not held against it */
    world_end(w);
}

/* Each further death in a row makes it wait longer. */
static void flapping_waits_longer(void **state)
{
    struct world *w = world_make();
    static const usec_t holds[] = {3 * SEC, 6 * SEC, 12 * SEC, 24 * SEC, 24 * SEC};
    world_add(w, RELAY, PATH_WS_RELAY, 60 * MSEC);
    world_add(w, DIRECT, PATH_UDP, 20 * MSEC);
    w->send_every = 20 * MSEC;
    world_run(w, 10 * SEC);
    for (size_t i = 0; i < 5; i++) {
        w->delay[DIRECT] = NEVER;
        world_run(w, 3 * SEC);
        assert_int_equal(best(w), RELAY);
        w->delay[DIRECT] = 20 * MSEC;
        world_run(w, 30 * SEC);
        assert_int_equal(best(w), DIRECT);
        usec_t wait = when(w, PATH_EVENT_CHANGED, DIRECT) - when(w, PATH_EVENT_ALIVE, DIRECT);
        assert_in_range(wait, holds[i], holds[i] + 50 * MSEC);
    }
    world_run(w, 2 * MINUTE);
    w->delay[DIRECT] = NEVER;
    world_run(w, 3 * SEC);
    w->delay[DIRECT] = 20 * MSEC;
    world_run(w, 30 * SEC);
    usec_t wait = when(w, PATH_EVENT_CHANGED, DIRECT) - when(w, PATH_EVENT_ALIVE, DIRECT);
    assert_in_range(wait, holds[0], holds[0] + 50 * MSEC);
    world_end(w);
}

static void one_way_is_dead(void **state)
{
    struct world *w = world_make();
    world_add(w, DIRECT, PATH_UDP, 20 * MSEC);
    world_run(w, 10 * SEC);
    usec_t cut = w->now;
    w->delay[DIRECT] = NEVER;
    for (int i = 0; i < 1000 && !when(w, PATH_EVENT_DEAD, DIRECT); i++) { /* the peer's packets do come */
        paths_sent(w->p, DIRECT, w->now);
        paths_received(w->p, DIRECT, w->now);
        world_run(w, 10 * MSEC);
    }
    assert_in_range(when(w, PATH_EVENT_DEAD, DIRECT) - cut, PATH_ONE_WAY, PATH_ONE_WAY + 2 * SEC);
    world_end(w);
}

static void a_pause_of_the_machine_is_no_death(void **state)
{
    struct world *w = world_make();
    world_add(w, DIRECT, PATH_UDP, 20 * MSEC);
    w->send_every = 20 * MSEC;
    world_run(w, 10 * SEC);
    w->now += 2 * SEC; /* nobody ran: no probe was sent, no answer read */
    world_run(w, 5 * SEC);
    assert_int_equal(when(w, PATH_EVENT_DEAD, DIRECT), 0);
    assert_int_equal(best(w), DIRECT);
    world_end(w);
}

/* ---- Choice. */

static void direct_at_once(void **state)
{
    struct world *w = world_make();
    world_add(w, RELAY, PATH_WS_RELAY, 30 * MSEC);
    assert_int_equal(best(w), RELAY); /* at once, and unmeasured */
    world_run(w, 5 * SEC);
    usec_t added = w->now;
    world_add(w, DIRECT, PATH_UDP, 30 * MSEC);
    assert_int_equal(best(w), RELAY);
    world_run(w, 5 * MINUTE);
    assert_int_equal(best(w), DIRECT);
    assert_int_equal(when(w, PATH_EVENT_CHANGED, DIRECT), added + 30 * MSEC);
    assert_int_equal(w->event_count, 2);
    world_end(w);
}

/* Who takes over from whom, and when after its first answer: 0 at once, else after the hold. */
static void takeovers(void **state)
{
    static const struct {
        enum path_kind have, other;
        usec_t other_rtt;
        bool at_once, held;
    } rows[] = {
        {PATH_WS_RELAY, PATH_LAN, 20 * MSEC, true, true},
        {PATH_UDP_RELAY, PATH_TLS, 20 * MSEC, true, true},
        {PATH_TURN, PATH_UDP, 20 * MSEC, true, true},
        {PATH_MULTI_HOP, PATH_UDP, 20 * MSEC, true, true},
        {PATH_WS_RELAY, PATH_UDP_RELAY, 10 * MSEC, true, true},
        {PATH_WS_RELAY, PATH_UDP_RELAY, 60 * MSEC, false, false},
        {PATH_MULTI_HOP, PATH_UDP_RELAY, 20 * MSEC, false, true}, /* between relays the hold stays */
        {PATH_UDP_RELAY, PATH_WS_RELAY, 5 * MSEC, false, true},
        {PATH_TLS, PATH_LAN, 20 * MSEC, false, true}, /* and between direct ones */
        {PATH_WS_RELAY, PATH_UDP, 200 * MSEC, false, false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct world *w = world_make();
        world_add(w, 3, rows[i].have, 20 * MSEC);
        world_run(w, 30 * SEC);
        world_add(w, 4, rows[i].other, rows[i].other_rtt);
        world_run(w, rows[i].other_rtt + 10 * MSEC);
        assert_int_equal(best(w), rows[i].at_once ? 4 : 3);
        world_run(w, 30 * SEC);
        assert_int_equal(best(w), rows[i].held ? 4 : 3);
        world_end(w);
    }
}

/* A round trip known from elsewhere is enough; the first answer stands in its place. */
static void a_time_from_elsewhere(void **state)
{
    struct world *w = world_make();
    world_add(w, RELAY, PATH_WS_RELAY, 30 * MSEC);
    world_run(w, 5 * SEC);
    world_add(w, DIRECT, PATH_UDP, 80 * MSEC);
    paths_rtt(w->p, DIRECT, 20 * MSEC, w->now);
    assert_int_equal(best(w), DIRECT);
    assert_int_equal(stats(w, DIRECT).srtt, 20 * MSEC);
    assert_int_equal(stats(w, DIRECT).last_answer, 0);
    paths_rtt(w->p, DIRECT, 40 * MSEC, w->now);
    assert_int_equal(stats(w, DIRECT).srtt, 40 * MSEC);
    assert_int_equal(stats(w, DIRECT).jitter, 20 * MSEC);
    world_run(w, 80 * MSEC);
    assert_int_equal(stats(w, DIRECT).srtt, 80 * MSEC);
    assert_int_equal(stats(w, DIRECT).jitter, 40 * MSEC);
    paths_rtt(w->p, DIRECT, 40 * MSEC, w->now);
    assert_int_equal(stats(w, DIRECT).srtt, 80 * MSEC);
    paths_rtt(w->p, 99, 40 * MSEC, w->now);
    world_end(w);
}

/* A direct path that was left because it was slow holds before it takes over again: no flapping by the
 * second. */
static void who_was_left_holds(void **state)
{
    struct world *w = world_make();
    world_add(w, RELAY, PATH_WS_RELAY, 30 * MSEC);
    world_add(w, DIRECT, PATH_UDP, 30 * MSEC);
    w->send_every = 20 * MSEC;
    w->heard_lag = 1;
    world_run(w, 60 * SEC);
    assert_int_equal(best(w), DIRECT);
    w->delay[DIRECT] = 400 * MSEC;
    while (best(w) == DIRECT)
        world_run(w, 10 * MSEC);
    usec_t left = w->now, better = 0;
    w->delay[DIRECT] = 30 * MSEC;
    while (best(w) == RELAY && w->now < left + PATH_STEADY) {
        struct path_stats d = stats(w, DIRECT), r = stats(w, RELAY);
        bool is = (d.srtt + d.jitter + 20 * MSEC) * 120 * 10 <= (r.srtt + r.jitter + 20 * MSEC) * 280 * 9;
        better = is ? better ? better : w->now : 0;
        paths_received(w->p, DIRECT, w->now); /* the other end uses it: it is asked each second */
        world_run(w, 10 * MSEC);
    }
    assert_int_equal(best(w), DIRECT);
    assert_true(better);
    assert_in_range(w->now - better, PATH_HOLD, PATH_HOLD + 40 * MSEC);
    world_end(w);
}

/* The idle pace: by what NAT bindings live, and not rarer than 25 s on the hub's own connection. */
static void idle_paces(void **state)
{
    static const struct {
        enum path_kind kind;
        usec_t lifetime, pace;
    } rows[] = {
        {PATH_UDP, 0, PATH_PROBE_IDLE},         {PATH_UDP, 30 * SEC, 24 * SEC},
        {PATH_UDP, 10 * MINUTE, PATH_IDLE_MAX}, {PATH_UDP, 1, PATH_PROBE_BUSY},
        {PATH_UDP_RELAY, 120 * SEC, 96 * SEC},  {PATH_WS_RELAY, 0, PATH_PROBE_IDLE},
        {PATH_WS_RELAY, 10 * MINUTE, 25 * SEC}, {PATH_WS_RELAY, 20 * SEC, 16 * SEC},
        {PATH_TLS, USEC_NEVER, PATH_IDLE_MAX},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct world *w = world_make();
        world_add(w, 1, rows[i].kind, 20 * MSEC);
        paths_keepalive(w->p, 1, rows[i].lifetime);
        paths_keepalive(w->p, 2, rows[i].lifetime);
        assert_int_equal(stats(w, 1).keepalive, rows[i].pace);
        world_run(w, 10 * SEC);
        size_t before = w->probes[1];
        world_run(w, 20 * rows[i].pace);
        assert_in_range(w->probes[1] - before, 19, 20);
        world_end(w);
    }
}

/* The direct path carries everything; the relay is alive and measured nevertheless, and its death is noticed.
 */
static void the_second_stays_warm(void **state)
{
    struct world *w = world_make();
    world_add(w, RELAY, PATH_WS_RELAY, 60 * MSEC);
    paths_keepalive(w->p, RELAY, 10 * MINUTE);
    world_add(w, DIRECT, PATH_UDP, 20 * MSEC);
    w->send_every = 20 * MSEC;
    w->heard_lag = 1;
    for (int i = 0; i < 40; i++) {
        world_run(w, 25 * SEC);
        assert_int_equal(best(w), DIRECT);
        assert_true(w->now - stats(w, RELAY).last_answer <= 26 * SEC);
    }
    w->delay[RELAY] = NEVER;
    world_run(w, 26 * SEC);
    assert_false(stats(w, RELAY).alive);
    world_end(w);
}

static void kinds_and_times(void **state)
{
    static const struct {
        enum path_kind have, other;
        usec_t have_rtt, other_rtt;
        bool changes;
    } rows[] = {
        {PATH_UDP, PATH_LAN, 20 * MSEC, 20 * MSEC, true},
        {PATH_LAN, PATH_UDP, 20 * MSEC, 20 * MSEC, false},
        {PATH_TLS, PATH_UDP, 20 * MSEC, 20 * MSEC, true},
        {PATH_UDP, PATH_TLS, 20 * MSEC, 20 * MSEC, false},
        {PATH_WS_RELAY, PATH_UDP_RELAY, 20 * MSEC, 20 * MSEC, true},
        {PATH_WS_RELAY, PATH_TLS, 20 * MSEC, 30 * MSEC, true},
        {PATH_UDP, PATH_UDP_RELAY, 60 * MSEC, 30 * MSEC, false}, /* a direct path may be this much slower */
        {PATH_UDP, PATH_UDP_RELAY, 300 * MSEC, 30 * MSEC, true}, /* but not absurdly */
        {PATH_UDP, PATH_UDP, 100 * MSEC, 98 * MSEC, false},      /* not worth it */
        {PATH_UDP, PATH_UDP, 100 * MSEC, 50 * MSEC, true},
        {PATH_UDP, PATH_UDP, 2 * MSEC, 1 * MSEC, false}, /* noise */
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct world *w = world_make();
        world_add(w, 3, rows[i].have, rows[i].have_rtt);
        world_run(w, 2 * MINUTE);
        world_add(w, 4, rows[i].other, rows[i].other_rtt);
        world_run(w, 2 * MINUTE);
        assert_int_equal(best(w), rows[i].changes ? 4 : 3);
        world_end(w);
    }
}

static void a_short_gain_is_none(void **state)
{
    struct world *w = world_make();
    world_add(w, 3, PATH_UDP, 50 * MSEC);
    world_add(w, 4, PATH_UDP, 50 * MSEC);
    w->send_every = 20 * MSEC;
    w->heard_lag = 1;
    world_run(w, 60 * SEC);
    assert_int_equal(best(w), 3);
    for (int i = 0; i < 20;
         i++) { /* a worse second each ten: by more than 10 %, but not for three in a row */
        w->delay[3] = 70 * MSEC;
        world_run(w, 1 * SEC);
        w->delay[3] = 50 * MSEC;
        world_run(w, 9 * SEC);
    }
    assert_int_equal(best(w), 3);
    w->delay[3] = 200 * MSEC;
    world_run(w, 30 * SEC);
    assert_int_equal(best(w), 4);
    world_end(w);
}

static void loss_counts(void **state)
{
    struct world *w = world_make();
    world_add(w, 3, PATH_UDP, 30 * MSEC);
    world_add(w, 4, PATH_UDP, 40 * MSEC);
    w->send_every = 20 * MSEC;
    w->heard_lag = 1;
    world_run(w, 60 * SEC);
    assert_int_equal(best(w), 3);
    assert_true(stats(w, 3).loss == 0);
    bool lose = false;
    for (size_t sent = w->probes[3]; w->event_count < 2 && sent < 200; sent = w->probes[3]) {
        lose = !lose; /* every other probe; data goes through */
        w->delay[3] = lose ? NEVER : 30 * MSEC;
        while (w->probes[3] == sent && w->event_count < 2) {
            paths_received(w->p, 3, w->now);
            world_run(w, 10 * MSEC);
        }
    }
    assert_int_equal(best(w), 4);
    assert_true(stats(w, 3).loss > 0.05 && stats(w, 3).loss <= 0.5);
    world_end(w);
}

/* ---- News of some 10 ms ago. */

/* On a path of 20 ms that was heard at START, a probe that nobody answered was sent at START + 20 ms. */
static struct paths *asked_at_20_ms(struct rng_seeded *chance)
{
    struct paths *p = paths_new(rng_seeded(chance, 7));
    uint32_t id;
    uint16_t size;
    uint8_t probe[PATH_PROBE_LEN];
    assert_non_null(p);
    assert_int_equal(paths_add(p, DIRECT, PATH_UDP, START), 0);
    paths_rtt(p, DIRECT, 20 * MSEC, START);
    paths_received(p, DIRECT, START);
    assert_true(paths_output(p, START + 20 * MSEC, &id, probe, &size));
    assert_int_equal(size, 0);
    return p;
}

static bool doubted_at(struct paths *p, usec_t now)
{
    struct path_stats s;
    paths_sent(p, PATHS_NO_ID, now); /* nobody; but the time is told */
    assert_true(paths_stats(p, DIRECT, &s));
    return s.doubted;
}

static void late_news_undo_nothing(void **state)
{
    static const struct {
        usec_t received, sent, packet; /* told in this order, 30 ms after START; 0: not */
        usec_t doubt;
    } cases[] = {
        {0, 0, 0, 20},   /* the probe */
        {19, 0, 0, 20},  /* heard before it: that waits on */
        {20, 0, 0, 0},   /* heard with it: nothing waits */
        {25, 0, 0, 0},   /* after it */
        {0, 10, 0, 10},  /* sent before the probe, which was not the first thing then */
        {0, 25, 0, 20},  /* after it */
        {15, 10, 0, 20}, /* before what was heard later: it says nothing any more */
        {15, 17, 0, 17}, /* after that, before the probe */
        {25, 24, 0, 0},  {25, 25, 0, 25},
        {25, 28, 0, 28}, {25, 24, 29, 29}, /* of several the last may be later */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct rng_seeded chance;
        struct paths *p = asked_at_20_ms(&chance);
        usec_t due = START + cases[i].doubt * MSEC + PATH_DOUBT;
        if (cases[i].received)
            paths_received(p, DIRECT, START + cases[i].received * MSEC);
        if (cases[i].sent)
            paths_sent(p, DIRECT, START + cases[i].sent * MSEC);
        if (cases[i].packet)
            paths_sent(p, DIRECT, START + cases[i].packet * MSEC);
        assert_false(doubted_at(p, due - 1));
        assert_int_equal(doubted_at(p, due), cases[i].doubt != 0);
        assert_int_equal(doubted_at(p, START + 10 * SEC), cases[i].doubt != 0);
        paths_free(p);
    }
}

/* Two questions of a silence, and something heard before the first, between them, after both: as many count
 * as were asked later. */
static void late_news_count_tries(void **state)
{
    for (usec_t tries = 0; tries <= 2; tries++) {
        struct rng_seeded chance;
        struct paths *p = asked_at_20_ms(&chance);
        struct path_stats s;
        uint32_t id;
        uint16_t size;
        uint8_t probe[PATH_PROBE_LEN];
        usec_t second = START + 20 * MSEC + PATH_DOUBT, first = tries == 2 ? START + 20 * MSEC : second;
        assert_true(paths_output(p, second, &id, probe, &size) && size == 0);
        paths_received(p, DIRECT, tries == 2 ? START + 19 * MSEC : tries == 1 ? second - 1 : second);
        paths_tick(p, first + PATH_DEAD_MIN - 1);
        assert_true(paths_stats(p, DIRECT, &s) && s.alive);
        paths_tick(p, first + PATH_DEAD_MIN);
        assert_true(paths_stats(p, DIRECT, &s));
        assert_int_equal(s.alive, tries < 2);
        assert_int_equal(s.doubted, tries == 1);
        paths_free(p);
    }
}

/* A packet over the relay, told after what was heard here later, and the other way round. */
static void late_strays(void **state)
{
    for (int late = 0; late < 2; late++) {
        struct world *w = world_make();
        world_add(w, RELAY, PATH_UDP_RELAY, 30 * MSEC);
        world_add(w, DIRECT, PATH_UDP, 20 * MSEC);
        world_run(w, 8 * SEC);
        assert_int_equal(best(w), DIRECT);
        w->now += 500 * MSEC;
        paths_heard(w->p, late ? RELAY : DIRECT, w->now - 10 * MSEC);
        paths_received(w->p, RELAY, w->now - 20 * MSEC);
        paths_carried(w->p, RELAY, w->now - 20 * MSEC);
        assert_int_equal(doubted_at(w->p, w->now), late); /* heard later than the stray: none */
        paths_received(w->p, DIRECT, w->now - 100 * MSEC);
        assert_int_equal(doubted_at(w->p, w->now), late);
        paths_received(w->p, DIRECT, w->now - 25 * MSEC); /* the stray is in doubt 50 ms after that */
        assert_false(doubted_at(w->p, w->now));
        assert_int_equal(doubted_at(w->p, w->now + 25 * MSEC), late);
        paths_received(w->p, DIRECT, w->now - 20 * MSEC);
        assert_false(doubted_at(w->p, w->now + 60 * MSEC));
        world_end(w);
    }
}

static void events_are_bounded(void **state)
{
    struct world *w = world_make();
    for (uint32_t i = 0; i < 100; i++) {
        assert_int_equal(paths_add(w->p, i, PATH_UDP, START), 0);
        paths_del(w->p, i);
    }
    struct path_event e;
    size_t n = 0;
    for (; paths_event(w->p, &e); n++)
        assert_int_equal(e.id, n % 2 ? PATHS_NO_ID : 68 + n / 2); /* the oldest are gone */
    assert_int_equal(n, PATH_EVENTS_MAX);
    world_end(w);
}

static void kinds_have_names(void **state)
{
    static const char *const names[] = {"none",      "lan",      "udp",  "tls",
                                        "udp-relay", "ws-relay", "turn", "multi-hop"};
    for (int i = 0; i < PATH_KIND_COUNT; i++)
        assert_string_equal(path_kind_name((enum path_kind)i), names[i]);
    assert_string_equal(path_kind_name(PATH_KIND_COUNT), "unknown");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(set_is_bounded),
        cmocka_unit_test(probes_and_answers),
        cmocka_unit_test(probe_pace),
        cmocka_unit_test(what_the_peer_asks_is_no_traffic),
        cmocka_unit_test(wake_is_enough),
        cmocka_unit_test(dies_within_600_ms),
        cmocka_unit_test(slow_paths_get_three_rtts),
        cmocka_unit_test(a_slow_stranger_is_learned),
        cmocka_unit_test(returns_by_an_answer),
        cmocka_unit_test(flapping_waits_longer),
        cmocka_unit_test(one_way_is_dead),
        cmocka_unit_test(a_pause_of_the_machine_is_no_death),
        cmocka_unit_test(direct_at_once),
        cmocka_unit_test(takeovers),
        cmocka_unit_test(a_time_from_elsewhere),
        cmocka_unit_test(who_was_left_holds),
        cmocka_unit_test(idle_paces),
        cmocka_unit_test(the_second_stays_warm),
        cmocka_unit_test(kinds_and_times),
        cmocka_unit_test(a_short_gain_is_none),
        cmocka_unit_test(loss_counts),
        cmocka_unit_test(late_news_undo_nothing),
        cmocka_unit_test(late_news_count_tries),
        cmocka_unit_test(late_strays),
        cmocka_unit_test(events_are_bounded),
        cmocka_unit_test(kinds_have_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
