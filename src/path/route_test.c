#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/rng.h"
#include "path/route.h"

static struct route_table t;

static struct route_leg leg(usec_t ms, uint16_t loss)
{
    return (struct route_leg){.known = true, .rtt = ms * MSEC, .loss = loss};
}

static void table(size_t count)
{
    memset(&t, 0, sizeof t);
    t.count = count;
    for (size_t i = 0; i < count; i++) {
        t.member[i].relays = true;
        t.member[i].node[0] = (uint8_t)(count - i); /* the later, the smaller */
    }
}

static void test_one(void **state)
{
    struct route r;
    table(0);
    assert_false(route_best(&t, 3, &r));
    assert_int_equal(r.count, 0);
    table(4);
    assert_false(route_best(&t, 3, &r));
    for (size_t i = 0; i < 4; i++)
        t.member[i].us = t.member[i].peer = leg(20, 0);
    t.member[1].peer = leg(19, 0);
    assert_true(route_best(&t, 3, &r));
    assert_int_equal(r.count, 1);
    assert_int_equal(r.relay[0], 1);
    assert_int_equal(r.cost, 39 * MSEC + ROUTE_HOP_COST);
    t.member[1].us.loss =
        1; /* two milliseconds' worth: the others are better, and of those the smallest id */
    assert_true(route_best(&t, 3, &r));
    assert_int_equal(r.relay[0], 3);
    t.member[3].relays = false;
    assert_true(route_best(&t, 3, &r));
    assert_int_equal(r.relay[0], 2);
    t.member[2].us.loss = ROUTE_LOSS_MAX + 1;
    assert_true(route_best(&t, 3, &r));
    assert_int_equal(r.relay[0], 0);
    t.member[0].us.rtt = ROUTE_RTT_MAX + 1;
    assert_true(route_best(&t, 3, &r));
    assert_int_equal(r.relay[0], 1);
    assert_false(route_best(&t, 0, &r));
    t.count = ROUTE_MEMBERS_MAX + 1;
    assert_false(route_best(&t, 3, &r));
    assert_int_equal(r.count, 0);
}

static void test_chain(void **state)
{
    struct route r;
    table(4);
    t.member[0].us = leg(10, 0);
    t.member[3].peer = leg(10, 0);
    assert_false(route_best(&t, 3, &r));
    t.between[0][1] = t.between[1][2] = t.between[2][3] = leg(1, 0);
    assert_false(route_best(&t, 3, &r)); /* four relays would do */
    t.between[3][1] = leg(5, 0);         /* told from the other side */
    assert_false(route_best(&t, 2, &r));
    assert_true(route_best(&t, 3, &r));
    assert_int_equal(r.count, 3);
    assert_memory_equal(r.relay, ((uint8_t[]){0, 1, 3}), 3);
    assert_int_equal(r.cost, 26 * MSEC + 3 * ROUTE_HOP_COST);
    t.between[1][3] = leg(5, ROUTE_LOSS_MAX + 1); /* the worse counts */
    assert_false(route_best(&t, 3, &r));
    t.between[1][3] = leg(5, 0);
    t.between[0][3] = leg(900, 100); /* fewer relays before cheaper ones */
    assert_true(route_best(&t, 3, &r));
    assert_int_equal(r.count, 2);
    assert_memory_equal(r.relay, ((uint8_t[]){0, 3}), 2);
    t.member[2].us = t.member[2].peer = leg(2000, 0);
    assert_true(route_best(&t, 3, &r));
    assert_int_equal(r.count, 1);
    assert_int_equal(r.relay[0], 2);
}

/* The same by trying everything, written another way. */
static usec_t leg_cost(struct route_leg l)
{
    return l.known && l.loss <= ROUTE_LOSS_MAX && l.rtt <= ROUTE_RTT_MAX ? l.rtt + l.loss * ROUTE_LOSS_COST
                                                                         : USEC_NEVER;
}

static usec_t way_cost(const size_t *way, size_t n)
{
    usec_t sum = n * ROUTE_HOP_COST;
    for (size_t i = 0; i <= n; i++) {
        usec_t c = i == 0 ? leg_cost(t.member[way[0]].us) : i == n ? leg_cost(t.member[way[n - 1]].peer) : 0;
        if (i > 0 && i < n) {
            struct route_leg a = t.between[way[i - 1]][way[i]], b = t.between[way[i]][way[i - 1]];
            usec_t ca = leg_cost(a), cb = leg_cost(b);
            c = !a.known ? cb : !b.known ? ca : ca > cb ? ca : cb;
        }
        if (c == USEC_NEVER || (i < n && !t.member[way[i]].relays))
            return USEC_NEVER;
        sum += c;
    }
    return sum;
}

static bool smaller(const size_t *a, const uint8_t *b, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (a[i] != b[i])
            return memcmp(t.member[a[i]].node, t.member[b[i]].node, NODE_ID_LEN) < 0;
    return false;
}

static void brute(size_t max, struct route *r)
{
    *r = (struct route){0};
    for (size_t n = 1; n <= max && r->count == 0; n++) {
        size_t all = n == 1 ? t.count : n == 2 ? t.count * t.count : t.count * t.count * t.count;
        for (size_t code = 0; code < all; code++) {
            size_t way[3] = {code % t.count, code / t.count % t.count, code / t.count / t.count};
            if ((n > 1 && way[0] == way[1]) || (n > 2 && (way[0] == way[2] || way[1] == way[2])))
                continue;
            usec_t cost = way_cost(way, n);
            if (cost == USEC_NEVER ||
                (r->count > 0 && (cost > r->cost || (cost == r->cost && !smaller(way, r->relay, n)))))
                continue;
            *r = (struct route){.count = n, .cost = cost};
            for (size_t i = 0; i < n; i++)
                r->relay[i] = (uint8_t)way[i];
        }
    }
}

/* Few values, so that ties are common. */
static struct route_leg random_leg(const struct rng *rng, uint64_t density)
{
    struct route_leg l = {.known = rng_below(rng, 100) < density, .rtt = rng_below(rng, 4) * 10 * MSEC};
    if (rng_below(rng, 4) == 0)
        l.loss = (uint16_t)(rng_below(rng, 3) * 5);
    if (rng_below(rng, 20) == 0)
        l.loss = ROUTE_LOSS_MAX + 1;
    return l;
}

static void test_brute(void **state)
{
    struct rng_seeded rs;
    struct rng rng = rng_seeded(&rs, 7);
    size_t seen[ROUTE_RELAYS_MAX + 1] = {0};
    for (int round = 0; round < 3000; round++) {
        uint64_t density = 20 + rng_below(&rng, 60);
        table(1 + rng_below(&rng, round < 2900 ? 8 : ROUTE_MEMBERS_MAX));
        for (size_t i = 0; i < t.count; i++) {
            rng_fill(&rng, t.member[i].node, NODE_ID_LEN);
            t.member[i].relays = rng_below(&rng, 8) > 0;
            t.member[i].us = random_leg(&rng, density);
            t.member[i].peer = random_leg(&rng, density / 2);
            for (size_t j = 0; j < t.count; j++)
                t.between[i][j] = random_leg(&rng, density / 2);
        }
        struct route got, want;
        size_t max = rng_below(&rng, 4) > 0 ? 3 : 1 + rng_below(&rng, 2);
        brute(max, &want);
        assert_int_equal(route_best(&t, max, &got), want.count > 0);
        assert_int_equal(got.count, want.count);
        assert_int_equal(got.cost, want.cost);
        assert_memory_equal(got.relay, want.relay, want.count);
        seen[got.count]++;
    }
    for (size_t i = 0; i <= ROUTE_RELAYS_MAX; i++)
        assert_in_range(seen[i], 40, 2000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_one), cmocka_unit_test(test_chain),
                                       cmocka_unit_test(test_brute)};
    return cmocka_run_group_tests_name("route", tests, NULL, NULL);
}
