/* Paths over links with a size, a loss and silences: what is found out, how fast, and that packets go two
 * ways meanwhile. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "path/path.h"

#define START   (100 * SEC)
#define LINKS   4
#define FLIGHTS 1024
#define NOBODY  PATHS_NO_ID

struct link {
    usec_t rtt;
    size_t mtu;    /* in our datagrams; 0: any */
    unsigned loss; /* per mille, each way */
    bool cut;
};

struct flight {
    usec_t at;
    uint32_t id;
    bool data;
    uint8_t probe[PATH_PROBE_LEN];
};

struct world {
    struct paths *p;
    struct rng_seeded ours, theirs;
    struct rng rng;
    usec_t now;
    struct link link[LINKS];
    struct flight flights[FLIGHTS];
    size_t count, small[LINKS], padded[LINKS], largest, copies;
    usec_t next_send, gap_max; /* traffic: a packet each 1 ms .. gap_max; 0: none */
    bool answers;              /* the peer sends as much */
    usec_t first_copy,
        unheard; /* on the best path, when something was first sent after the last sign of life */
    usec_t died[LINKS], mtu_event[LINKS];
    usec_t changed;
};

static struct world *world_make(uint64_t seed)
{
    struct world *w = calloc(1, sizeof *w);
    assert_non_null(w);
    w->now = START;
    w->rng = rng_seeded(&w->theirs, seed);
    w->p = paths_new(rng_seeded(&w->ours, seed + 1000000));
    assert_non_null(w->p);
    return w;
}

static void world_end(struct world *w)
{
    paths_free(w->p);
    free(w);
}

static void world_add(struct world *w, uint32_t id, enum path_kind kind, usec_t rtt, size_t mtu)
{
    w->link[id] = (struct link){.rtt = rtt, .mtu = mtu};
    assert_int_equal(paths_add(w->p, id, kind, w->now), 0);
}

static struct path_stats stats(const struct world *w, uint32_t id)
{
    struct path_stats s;
    assert_true(paths_stats(w->p, id, &s));
    return s;
}

static uint32_t best(const struct world *w)
{
    uint32_t id;
    enum path_kind kind;
    paths_best(w->p, &id, &kind);
    return id;
}

static uint32_t best_for(const struct world *w, size_t size)
{
    uint32_t id;
    enum path_kind kind;
    bool some = paths_best_for(w->p, size, &id, &kind);
    assert_int_equal(some, id != NOBODY);
    return id;
}

static uint32_t second(const struct world *w, size_t size)
{
    uint32_t id;
    enum path_kind kind;
    bool some = paths_second(w->p, size, w->now, &id, &kind);
    assert_int_equal(some, id != NOBODY);
    return id;
}

/* There and back again, or not. */
static void fly(struct world *w, uint32_t id, const uint8_t *probe, size_t size)
{
    const struct link *l = &w->link[id];
    if (l->cut || (l->mtu && size > l->mtu) || rng_below(&w->rng, 1000) < l->loss ||
        rng_below(&w->rng, 1000) < l->loss)
        return;
    assert_true(w->count < FLIGHTS);
    struct flight *f = &w->flights[w->count++];
    *f = (struct flight){.at = w->now + l->rtt, .id = id, .data = !probe};
    if (probe)
        memcpy(f->probe, probe, PATH_PROBE_LEN);
}

static void land(struct world *w)
{
    for (size_t i = 0; i < w->count;) {
        struct flight f = w->flights[i];
        uint32_t id;
        usec_t rtt;
        if (f.at > w->now) {
            i++;
            continue;
        }
        w->flights[i] = w->flights[--w->count];
        if (f.id == best(w))
            w->unheard = 0;
        if (f.data) {
            paths_received(w->p, f.id, w->now);
            continue;
        }
        assert_true(paths_answer(w->p, bytes_of(f.probe, PATH_PROBE_LEN), w->now, &id, &rtt));
        assert_int_equal(rtt, w->link[id].rtt);
        assert_false(paths_answer(w->p, bytes_of(f.probe, PATH_PROBE_LEN), w->now, &id, &rtt));
    }
}

static void traffic_on(struct world *w, uint32_t id)
{
    paths_sent(w->p, id, w->now);
    if (w->answers)
        fly(w, id, NULL, 100);
}

static void traffic(struct world *w)
{
    if (!w->gap_max || w->now < w->next_send || best(w) == NOBODY)
        return;
    w->next_send = w->now + 1 * MSEC + rng_below(&w->rng, w->gap_max);
    uint32_t one = best(w), two = second(w, 100);
    w->unheard = w->unheard ? w->unheard : w->now;
    traffic_on(w, one);
    if (two == NOBODY)
        return;
    assert_int_not_equal(two, one);
    w->copies++;
    w->first_copy = w->first_copy ? w->first_copy : w->now;
    traffic_on(w, two);
}

static void world_step(struct world *w)
{
    uint32_t id;
    uint16_t size;
    uint8_t probe[PATH_PROBE_LEN];
    land(w);
    traffic(w);
    paths_tick(w->p, w->now);
    while (paths_output(w->p, w->now, &id, probe, &size)) {
        *(size ? &w->padded[id] : &w->small[id]) += 1;
        if (size == 0 && id == best(w) && !w->unheard)
            w->unheard = w->now;
        w->largest = size > w->largest ? size : w->largest;
        fly(w, id, probe, size);
    }
    for (struct path_event e; paths_event(w->p, &e);) {
        if (e.kind == PATH_EVENT_DEAD)
            w->died[e.id] = w->now;
        if (e.kind == PATH_EVENT_MTU)
            w->mtu_event[e.id] = w->now;
        if (e.kind == PATH_EVENT_CHANGED)
            w->changed = w->now;
    }
    assert_true(paths_wake(w->p) > w->now); /* nobody spins */
    w->now += 1 * MSEC;
}

static void world_run(struct world *w, usec_t time)
{
    for (usec_t end = w->now + time; w->now < end;)
        world_step(w);
}

/* ---- How large. */

/* Runs until it is known; how long that took. */
static usec_t known_after(struct world *w, uint32_t id)
{
    usec_t began = w->now;
    while (!stats(w, id).mtu_known && w->now < began + 20 * SEC)
        world_step(w);
    return w->now - began;
}

static void sizes_of_the_world(void **state)
{
    static const struct {
        enum path_kind kind;
        size_t mtu, found;
    } rows[] = {
        {PATH_UDP, 1472, 1472},  {PATH_UDP, 1452, 1452},       {PATH_UDP, 1464, 1464},
        {PATH_UDP, 1444, 1444},  {PATH_UDP, 1252, 1252},       {PATH_UDP, 1232, 1232},
        {PATH_UDP, 1096, 1096},  {PATH_UDP, 1076, 1076},       {PATH_LAN, 8972, 1472},
        {PATH_UDP, 548, 548},    {PATH_UDP_RELAY, 9000, 1460}, {PATH_UDP_RELAY, 1240, 1240},
        {PATH_TURN, 9000, 1436}, {PATH_TURN, 1216, 1216},      {PATH_MULTI_HOP, 9000, 1272},
        {PATH_UDP, 547, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct world *w = world_make(i);
        world_add(w, 1, rows[i].kind, 50 * MSEC, rows[i].mtu);
        assert_int_equal(stats(w, 1).mtu, PATH_MTU_BASE);
        assert_false(stats(w, 1).mtu_known);
        assert_true(known_after(w, 1) < 2 * SEC);
        assert_int_equal(stats(w, 1).mtu, rows[i].found);
        assert_true(w->mtu_event[1] >= w->now - 1 * MSEC);
        assert_true(w->largest <= PATH_MTU_MAX);
        assert_true(stats(w, 1).loss == 0 && !stats(w, 1).doubted && stats(w, 1).alive);
        world_end(w);
    }
}

static void any_size_within_eight(void **state)
{
    for (size_t mtu = 548; mtu <= 1480; mtu += 3) {
        struct world *w = world_make(mtu);
        world_add(w, 1, PATH_UDP, 50 * MSEC, mtu);
        assert_true(known_after(w, 1) < 2 * SEC);
        assert_true(stats(w, 1).mtu <= mtu);
        assert_true(stats(w, 1).mtu + 8u > mtu || stats(w, 1).mtu == PATH_MTU_MAX);
        assert_int_equal(w->died[1], 0);
        world_end(w);
    }
}

static void streams_have_none(void **state)
{
    static const enum path_kind kinds[] = {PATH_TLS, PATH_WS_RELAY};
    for (size_t i = 0; i < 2; i++) {
        struct world *w = world_make(i);
        world_add(w, 1, kinds[i], 50 * MSEC, 0);
        w->gap_max = 20 * MSEC;
        paths_too_big(w->p, 1, 1000, w->now);
        world_run(w, 40 * SEC);
        paths_doubt_all(w->p, w->now);
        world_run(w, 1 * SEC);
        assert_int_equal(stats(w, 1).mtu, PATH_STREAM_MTU);
        assert_true(stats(w, 1).mtu_known);
        assert_int_equal(w->padded[1], 0);
        assert_int_equal(w->mtu_event[1], 0);
        world_end(w);
    }
}

/* 5 % each way: never more than passes, nearly always in time, and nearly always exact. */
static void sizes_despite_loss(void **state)
{
    static const size_t mtus[] = {1472, 1452, 1464, 1444, 1252, 1232, 1096, 1076};
    unsigned late = 0, wrong = 0, all = 0;
    for (uint64_t seed = 1; seed <= 250; seed++)
        for (size_t i = 0; i < sizeof mtus / sizeof *mtus; i++) {
            struct world *w = world_make(seed * 8 + i);
            world_add(w, 1, PATH_UDP, 50 * MSEC, mtus[i]);
            w->link[1].loss = 50;
            late += known_after(w, 1) >= 2 * SEC;
            assert_true(stats(w, 1).mtu_known);
            assert_true(stats(w, 1).mtu <= mtus[i]);
            wrong += stats(w, 1).mtu + 8u < mtus[i];
            all++;
            world_end(w);
        }
    fprintf(stderr, "# of %u: %u late, %u too small\n", all, late, wrong);
    assert_true(late * 20 <= all);
    assert_true(wrong * 50 <= all);
}

/* Silence says nothing about sizes: neither at the beginning nor while one is checked. */
static void silence_is_no_size(void **state)
{
    for (usec_t at = 0; at < 1500 * MSEC; at += 35 * MSEC) {
        struct world *w = world_make(at);
        world_add(w, 1, PATH_UDP, 50 * MSEC, 1252);
        world_run(w, 25 * MSEC + at); /* at first, the search begins when all is silent */
        w->link[1].cut = true;
        for (usec_t end = w->now + 17 * SEC, back = w->now + 1300 * MSEC; w->now < end;) {
            w->link[1].cut = w->now < back;
            world_step(w);
            assert_true(stats(w, 1).mtu == 1252 ||
                        (stats(w, 1).mtu == PATH_MTU_BASE && !stats(w, 1).mtu_known));
        }
        assert_true(stats(w, 1).mtu_known);
        world_end(w);
    }
}

static void a_black_hole_is_found(void **state)
{
    struct world *w = world_make(1);
    world_add(w, 1, PATH_UDP, 50 * MSEC, 1472);
    w->gap_max = 50 * MSEC;
    w->answers = true;
    world_run(w, 35 * SEC);
    assert_int_equal(stats(w, 1).mtu, 1472);
    w->link[1].mtu = 1096;
    usec_t began = w->now;
    while (stats(w, 1).mtu == 1472)
        world_step(w);
    assert_true(w->now - began <= 31 * SEC);
    assert_int_equal(stats(w, 1).mtu, PATH_MTU_BASE);
    assert_false(stats(w, 1).mtu_known);
    assert_true(known_after(w, 1) < 2 * SEC);
    assert_int_equal(stats(w, 1).mtu, 1096);
    w->link[1].mtu = 700; /* below the base: nothing is taken on trust but the least */
    began = w->now;
    while (stats(w, 1).mtu == 1096)
        world_step(w);
    assert_true(w->now - began <= 31 * SEC);
    assert_int_equal(stats(w, 1).mtu, PATH_MTU_MIN);
    assert_true(known_after(w, 1) < 2 * SEC);
    assert_in_range(stats(w, 1).mtu, 693, 700);
    assert_int_equal(w->died[1], 0);
    assert_true(stats(w, 1).loss == 0);
    world_end(w);
}

/* Nobody asks an idle path for its size; the first packet does. */
static void only_who_is_used_is_checked(void **state)
{
    struct world *w = world_make(1);
    world_add(w, 1, PATH_UDP, 50 * MSEC, 1252);
    world_run(w, 10 * SEC);
    size_t before = w->padded[1];
    world_run(w, 20 * MINUTE);
    assert_int_equal(w->padded[1], before);
    w->gap_max = 50 * MSEC;
    w->answers = true;
    world_run(w, 50 * MSEC);
    assert_int_equal(w->padded[1], before + 3); /* with the small ones */
    before = w->padded[1];
    world_run(w, 1 * SEC); /* and, as ten minutes are over, for more: 3 rounds of 5 and the small ones */
    assert_in_range(w->padded[1] - before, 7 * 3, 50);
    assert_int_equal(stats(w, 1).mtu, 1252);
    world_end(w);
}

static void more_is_asked_for_again(void **state)
{
    struct world *w = world_make(1);
    world_add(w, 1, PATH_UDP, 50 * MSEC, 1252);
    w->gap_max = 50 * MSEC;
    w->answers = true;
    world_run(w, 100 * SEC);
    w->link[1].mtu = 1452;
    world_run(w, 400 * SEC);
    assert_int_equal(stats(w, 1).mtu, 1252);
    while (stats(w, 1).mtu == 1252) {
        world_step(w);
        assert_true(stats(w, 1).mtu_known);
        assert_true(w->now < START + PATH_MTU_AGAIN + 5 * SEC);
    }
    assert_true(w->now > START + PATH_MTU_AGAIN);
    world_run(w, 2 * SEC);
    assert_int_equal(stats(w, 1).mtu, 1452);
    world_end(w);
}

static void too_big_is_believed_at_once(void **state)
{
    struct world *w = world_make(1);
    world_add(w, 1, PATH_UDP, 50 * MSEC, 1452);
    world_run(w, 3 * SEC);
    assert_int_equal(stats(w, 1).mtu, 1452);
    paths_too_big(w->p, 1, 1453, w->now);
    assert_int_equal(stats(w, 1).mtu, 1452);
    assert_true(stats(w, 1).mtu_known);
    w->link[1].mtu = 1300;
    paths_too_big(w->p, 1, 1400, w->now);
    assert_int_equal(stats(w, 1).mtu, PATH_MTU_BASE);
    assert_true(known_after(w, 1) < 2 * SEC);
    assert_in_range(stats(w, 1).mtu, 1293, 1300);
    w->link[1].mtu = 1000;
    paths_too_big(w->p, 1, 1100, w->now);
    assert_int_equal(stats(w, 1).mtu, PATH_MTU_MIN);
    known_after(w, 1);
    assert_in_range(stats(w, 1).mtu, 993, 1000);
    paths_too_big(w->p, 1, 10, w->now); /* a lie, or a path of no use: it is asked */
    assert_int_equal(stats(w, 1).mtu, PATH_MTU_MIN);
    known_after(w, 1);
    assert_int_equal(stats(w, 1).mtu, PATH_MTU_MIN);
    paths_too_big(w->p, 99, 10, w->now);
    world_end(w);
}

/* Answers to sizes that were named too big meanwhile are of another way, or another time. */
static void late_answers_do_not_raise(void **state)
{
    struct world *w = world_make(1);
    world_add(w, 1, PATH_UDP, 50 * MSEC, 0);
    world_run(w, 60 * MSEC);
    assert_true(w->largest == PATH_MTU_MAX);
    paths_too_big(w->p, 1, 1300, w->now);
    for (usec_t end = w->now + 3 * SEC; w->now < end;) {
        world_step(w);
        assert_true(stats(w, 1).mtu < 1300);
    }
    assert_in_range(stats(w, 1).mtu, 1292, 1299);
    assert_true(stats(w, 1).mtu_known);
    world_end(w);
}

/* However often it changes: who has not pulled is told once. */
static void one_event_for_many_sizes(void **state)
{
    struct world *w = world_make(1);
    size_t n = 0;
    world_add(w, 1, PATH_UDP, 50 * MSEC, 1452);
    world_run(w, 3 * SEC);
    for (size_t size = 1400; size > 600; size -= 100)
        paths_too_big(w->p, 1, size, w->now);
    for (struct path_event e; paths_event(w->p, &e); n++)
        assert_true(e.kind == PATH_EVENT_MTU && e.id == 1 && e.path_kind == PATH_UDP);
    assert_int_equal(n, 1);
    world_end(w);
}

/* A kernel that knows refuses each large probe on the spot. */
static void the_kernel_knows(void **state)
{
    for (size_t mtu = 600; mtu < 1473; mtu += 32) {
        struct world *w = world_make(mtu);
        uint32_t id;
        uint16_t size;
        uint8_t probe[PATH_PROBE_LEN];
        world_add(w, 1, PATH_UDP, 50 * MSEC, mtu);
        for (usec_t end = w->now + 2 * SEC; w->now < end; w->now += 1 * MSEC) {
            land(w);
            paths_tick(w->p, w->now);
            while (paths_output(w->p, w->now, &id, probe, &size)) {
                w->padded[1] += size > 0;
                if (size > mtu)
                    paths_too_big(w->p, 1, size, w->now);
                fly(w, id, probe, size);
            }
            for (struct path_event e; paths_event(w->p, &e);)
                w->mtu_event[1] = e.kind == PATH_EVENT_MTU ? w->now : w->mtu_event[1];
        }
        assert_true(stats(w, 1).mtu_known);
        assert_true(mtu != 1464 || w->mtu_event[1] - START <= 102 * MSEC); /* the rest of a round goes on */
        assert_true(w->padded[1] < 60);
        assert_in_range(stats(w, 1).mtu, mtu - 8, mtu);
        world_end(w);
    }
}

static void large_packets_go_where_they_fit(void **state)
{
    struct world *w = world_make(1);
    world_add(w, 1, PATH_WS_RELAY, 50 * MSEC, 0);
    world_run(w, 5 * SEC);
    world_add(w, 2, PATH_UDP, 20 * MSEC, 1252);
    world_run(w, 25 * MSEC);
    assert_int_equal(best(w), 2);
    assert_int_equal(best_for(w, 0), 2);
    assert_int_equal(best_for(w, 1200), 2);
    assert_int_equal(best_for(w, 1201), 1);
    world_run(w, 3 * SEC);
    assert_int_equal(best_for(w, 1252), 2);
    assert_int_equal(best_for(w, 1253), 1);
    assert_int_equal(best_for(w, 65535), 1);
    assert_int_equal(best_for(w, 65536), NOBODY);
    paths_del(w->p, 1);
    assert_int_equal(best_for(w, 1253), NOBODY);
    world_end(w);
}

/* It answers small probes, and that is all it does. */
static void a_path_of_no_use_is_not_chosen(void **state)
{
    struct world *w = world_make(1);
    world_add(w, 1, PATH_UDP, 20 * MSEC, 300);
    world_run(w, 5 * SEC);
    assert_int_equal(stats(w, 1).mtu, 0);
    assert_int_equal(best(w), 1); /* better than none */
    assert_int_equal(best_for(w, 100), NOBODY);
    world_add(w, 2, PATH_WS_RELAY, 300 * MSEC, 0);
    assert_int_equal(best(w), 2);
    world_run(w, 20 * SEC);
    assert_int_equal(best(w), 2);
    w->link[1].mtu = 1472; /* asked again after half a minute */
    world_run(w, 15 * SEC);
    assert_int_equal(stats(w, 1).mtu, 1472);
    assert_int_equal(best(w), 1);
    world_end(w);
}

/* ---- Silence, doubt, copies. */

static void detection_times(void **state)
{
    static const usec_t rtts[] = {2 * MSEC, 20 * MSEC, 50 * MSEC, 110 * MSEC, 250 * MSEC, 400 * MSEC};
    usec_t worst = 0;
    for (uint64_t seed = 1; seed <= 1000; seed++) {
        struct world *w = world_make(seed);
        usec_t rtt = rtts[seed % 6], dead = 3 * rtt > PATH_DEAD_MIN ? 3 * rtt : PATH_DEAD_MIN;
        usec_t doubt = rtt * 3 / 2 > PATH_DOUBT ? rtt * 3 / 2 : PATH_DOUBT;
        world_add(w, 1, PATH_WS_RELAY, 300 * MSEC, 0);
        world_add(w, 2, PATH_UDP, rtt, 1472);
        w->gap_max = 50 * MSEC;
        w->answers = seed / 6 % 2;
        world_run(w, 3 * SEC);
        w->copies = w->first_copy = 0; /* of the beginning, when nothing was measured */
        world_run(w, 2 * SEC + rng_below(&w->rng, 2 * SEC));
        assert_int_equal(best(w), 2);
        assert_int_equal(w->copies, 0); /* nobody who is healthy is copied, not even one who only sends */
        usec_t cut = w->now;
        w->link[2].cut = true;
        while (!w->first_copy)
            world_step(w);
        usec_t unheard = w->unheard; /* nothing lands any more */
        assert_true(w->first_copy - unheard <= doubt + 51 * MSEC);
        assert_true(w->first_copy - cut <= doubt + rtt + 2 * 51 * MSEC);
        assert_int_equal(second(w, 1200), 1);
        assert_true(stats(w, 2).doubted && stats(w, 2).alive);
        while (!w->died[2]) {
            world_step(w);
            assert_true(w->died[2] || second(w, 100) == 1); /* without a gap until it is the only one */
        }
        assert_true(w->died[2] - unheard <= dead + 1 * MSEC);
        assert_true(w->died[2] - unheard >= dead);
        assert_int_equal(best(w), 1);
        worst = w->died[2] - cut > worst ? w->died[2] - cut : worst;
        world_end(w);
    }
    fprintf(stderr, "# worst %u ms\n", (unsigned)(worst / MSEC));
}

/* While it has lossy answers, too: the copies come no later. */
static void copies_despite_loss(void **state)
{
    for (uint64_t seed = 1; seed <= 300; seed++) {
        struct world *w = world_make(seed);
        world_add(w, 1, PATH_WS_RELAY, 80 * MSEC, 0);
        world_add(w, 2, PATH_UDP, 50 * MSEC, 1472);
        w->link[2].loss = 50;
        w->gap_max = 50 * MSEC;
        w->answers = seed % 2;
        world_run(w, 5 * SEC);
        assert_int_equal(w->died[2], 0);
        w->link[2].cut = true;
        world_run(w, 50 * MSEC + 1 * MSEC);
        usec_t latest = w->now + PATH_DOUBT + 51 * MSEC;
        while (w->now < latest)
            world_step(w);
        assert_true(second(w, 100) == 1);
        world_run(w, 600 * MSEC);
        assert_int_equal(best(w), 1);
        world_end(w);
    }
}

static void a_healthy_sender_is_asked_in_time(void **state)
{
    for (usec_t rtt = 1 * MSEC; rtt < 500 * MSEC; rtt += 37 * MSEC) {
        struct world *w = world_make(rtt);
        world_add(w, 1, PATH_WS_RELAY, 400 * MSEC, 0);
        world_add(w, 2, PATH_LAN, rtt, 1472);
        world_run(w, 10 * SEC);
        w->gap_max = 20 * MSEC;
        size_t before = w->small[2];
        world_run(w, 20 * SEC);
        assert_int_equal(best(w), 2);
        assert_int_equal(w->copies, 0);
        assert_true(w->small[2] - before <= 20 * 8);
        world_end(w);
    }
}

static void everything_is_doubted(void **state)
{
    struct world *w = world_make(1);
    world_add(w, 1, PATH_WS_RELAY, 80 * MSEC, 0);
    world_add(w, 2, PATH_UDP, 50 * MSEC, 1472);
    world_add(w, 3, PATH_LAN, 5 * MSEC, 1472);
    w->link[3].cut = true;
    world_run(w, 20 * SEC);
    assert_false(stats(w, 3).alive);
    assert_int_equal(second(w, 100), NOBODY);
    size_t small[LINKS];
    memcpy(small, w->small, sizeof small);
    w->link[3].cut = false;
    paths_doubt_all(w->p, w->now);
    assert_int_equal(paths_wake(w->p), w->now);
    assert_true(stats(w, 1).doubted && stats(w, 2).doubted && !stats(w, 3).doubted);
    assert_int_equal(second(w, 100), 1);
    paths_received(w->p, 2, w->now); /* the way in is not the way out */
    assert_true(stats(w, 2).doubted);
    world_step(w);
    for (uint32_t id = 1; id <= 3; id++)
        assert_int_equal(w->small[id], small[id] + 1);
    world_run(w, 5 * MSEC);
    assert_true(stats(w, 3).alive);
    world_run(w, 45 * MSEC);
    assert_false(stats(w, 2).doubted);
    assert_int_equal(second(w, 100), NOBODY);
    world_run(w, 40 * MSEC);
    assert_false(stats(w, 1).doubted);
    world_end(w);
}

/* The address changed and one way is gone: dead in 600 ms though nobody sent, and however often it changes;
 * the other takes over. */
static void the_doubted_die_in_time(void **state)
{
    struct world *w = world_make(1);
    world_add(w, 1, PATH_WS_RELAY, 80 * MSEC, 0);
    world_add(w, 2, PATH_UDP, 50 * MSEC, 1472);
    world_run(w, 20 * SEC);
    usec_t cut = w->now;
    w->link[2].cut = true;
    while (!w->died[2]) {
        if ((w->now - cut) % (100 * MSEC) == 0)
            paths_doubt_all(w->p, w->now);
        world_step(w);
        assert_true(w->now - cut < 5 * SEC);
    }
    assert_in_range(w->died[2] - cut, PATH_DEAD_MIN, PATH_DEAD_MIN + 1 * MSEC);
    assert_int_equal(best(w), 1);
    assert_int_equal(w->died[1], 0);
    w->link[2].cut = false;
    world_run(w, 60 * SEC); /* the machine sleeps an hour in the middle of a doubt */
    w->link[2].cut = true;
    w->died[2] = 0;
    paths_doubt_all(w->p, w->now);
    world_run(w, 300 * MSEC);
    w->link[2].cut = false;
    w->now += 1 * HOUR;
    paths_doubt_all(w->p, w->now);
    world_run(w, 2 * SEC);
    assert_int_equal(w->died[2], 0);
    assert_false(stats(w, 2).doubted);
    world_end(w);
}

/* A change of address may change what passes. */
static void the_size_is_doubted_too(void **state)
{
    struct world *w = world_make(1);
    world_add(w, 1, PATH_UDP, 50 * MSEC, 1472);
    world_run(w, 20 * SEC);
    assert_int_equal(stats(w, 1).mtu, 1472);
    w->link[1].mtu = 1232;
    paths_doubt_all(w->p, w->now);
    world_run(w, 3 * SEC);
    assert_int_equal(stats(w, 1).mtu, 1232);
    w->link[1].mtu = 1464;
    paths_doubt_all(w->p, w->now);
    w->gap_max = 50 * MSEC;
    world_run(w, 2 * SEC);
    assert_int_equal(stats(w, 1).mtu, 1464);
    world_end(w);
}

/* So may a death and a return, though nobody uses the path. */
static void who_returns_is_measured_anew(void **state)
{
    struct world *w = world_make(1);
    world_add(w, 1, PATH_UDP, 50 * MSEC, 1472);
    world_run(w, 20 * SEC);
    w->link[1] = (struct link){.rtt = 50 * MSEC, .mtu = 1252, .cut = true};
    world_run(w, 15 * SEC);
    assert_false(stats(w, 1).alive);
    w->link[1].cut = false;
    while (!stats(w, 1).alive)
        world_step(w);
    assert_int_equal(stats(w, 1).mtu, 1472); /* until refuted */
    world_run(w, 3 * SEC);
    assert_int_equal(stats(w, 1).mtu, 1252);
    assert_true(stats(w, 1).mtu_known);
    world_end(w);
}

/* After a change away from a failed datagram path to another one copies go on for a moment; after a planned
 * one they do not. */
static void copies_after_a_change(void **state)
{
    static const struct {
        enum path_kind from, to;
        usec_t rtt, copies;
        bool planned;
    } rows[] = {
        {PATH_LAN, PATH_UDP, 50 * MSEC, 100 * MSEC, false},
        {PATH_LAN, PATH_UDP, 200 * MSEC, 200 * MSEC, false},
        {PATH_LAN, PATH_UDP, 700 * MSEC, 500 * MSEC, false},
        {PATH_TLS, PATH_UDP, 50 * MSEC, 0, false},
        {PATH_UDP, PATH_TLS, 50 * MSEC, 0, false},
        {PATH_UDP, PATH_LAN, 20 * MSEC, 0, true},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct world *w = world_make(i);
        world_add(w, 1, rows[i].from, 50 * MSEC, 0);
        world_run(w, 5 * SEC);
        world_add(w, 2, rows[i].to, rows[i].rtt, 0);
        world_add(w, 3, PATH_WS_RELAY, 900 * MSEC, 0);
        world_run(w, 2500 * MSEC);
        assert_int_equal(best(w), 1);
        w->gap_max = rows[i].planned ? 0 : 1 * MSEC;
        w->answers = true;
        w->link[1].cut = !rows[i].planned;
        while (best(w) == 1)
            world_step(w);
        assert_int_equal(best(w), 2);
        usec_t copies = 0;
        for (; second(w, 100) == 3 && copies < 1 * SEC; copies += 1 * MSEC) {
            paths_received(w->p, 2, w->now); /* the new one is not in doubt */
            world_step(w);
        }
        assert_in_range(copies + 1 * MSEC, rows[i].copies, rows[i].copies + 1 * MSEC);
        world_end(w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes_of_the_world),
        cmocka_unit_test(any_size_within_eight),
        cmocka_unit_test(streams_have_none),
        cmocka_unit_test(sizes_despite_loss),
        cmocka_unit_test(silence_is_no_size),
        cmocka_unit_test(a_black_hole_is_found),
        cmocka_unit_test(only_who_is_used_is_checked),
        cmocka_unit_test(more_is_asked_for_again),
        cmocka_unit_test(too_big_is_believed_at_once),
        cmocka_unit_test(late_answers_do_not_raise),
        cmocka_unit_test(one_event_for_many_sizes),
        cmocka_unit_test(the_kernel_knows),
        cmocka_unit_test(large_packets_go_where_they_fit),
        cmocka_unit_test(a_path_of_no_use_is_not_chosen),
        cmocka_unit_test(detection_times),
        cmocka_unit_test(copies_despite_loss),
        cmocka_unit_test(a_healthy_sender_is_asked_in_time),
        cmocka_unit_test(everything_is_doubted),
        cmocka_unit_test(the_doubted_die_in_time),
        cmocka_unit_test(the_size_is_doubted_too),
        cmocka_unit_test(who_returns_is_measured_anew),
        cmocka_unit_test(copies_after_a_change),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
