#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/cache.h"
#include "base/rng.h"
#include "pump/landing.h"

static int setup(void **state)
{
    struct landing *l = calloc(1, sizeof *l);
    *state = l;
    return l ? landing_init(l) : -1;
}

static int teardown(void **state)
{
    landing_free(*state);
    landing_free(*state); /* twice is fine */
    free(*state);
    return 0;
}

/* "Opens" a packet of n bytes of one letter, and keeps it. */
static uint8_t *keep(struct landing *l, size_t n, uint8_t *end, size_t headers, size_t before, int letter)
{
    uint8_t *p = landing_place(l, n, end, headers, before);
    if (!p)
        return NULL;
    memset(p, letter, n);
    landing_keep(l);
    return p;
}

static bool all(const uint8_t *p, size_t n, int letter)
{
    for (size_t i = 0; i < n; i++)
        if (p[i] != letter)
            return false;
    return true;
}

static void payload_continues_payload(void **state)
{
    struct landing *l = *state;
    uint8_t *a = keep(l, 500, NULL, 0, 0, 'a');
    assert_false(landing_covers(l));
    uint8_t *b = landing_place(l, 480, a + 500, 60, 440);
    assert_ptr_equal(b, a + 440);
    assert_true(landing_covers(l));
    memset(b, 'b', 480);
    landing_keep(l);
    assert_false(landing_covers(l));
    assert_true(all(a, 500, 'a'));
    assert_true(all(a + 500, 420, 'b'));
}

static void a_place_of_its_own_where_it_cannot(void **state)
{
    static const struct {
        size_t n, headers, before;
        int end; /* from the right one */
    } rows[] = {
        {480, 60, 59, 0},   /* it would cover what is being read */
        {60, 60, 440, 0},   /* no payload */
        {40, 60, 440, 0},   /* not even headers */
        {480, 60, 440, -1}, /* something lies behind that end */
        {480, 60, 440, 1},  {480, LANDING_OVER_MAX + 1, 440, 0},
    };
    struct landing *l = *state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint8_t *a = keep(l, 500, NULL, 0, 0, 'a');
        uint8_t *b = keep(l, rows[i].n, a + 500 + rows[i].end, rows[i].headers, rows[i].before, 'b');
        assert_true(b >= a + 500);
        assert_true(all(a, 500, 'a') && all(b, rows[i].n, 'b'));
    }
}

static void payloads_begin_cache_lines(void **state)
{
    struct landing *l = *state;
    static const size_t leads[] = {0, 1, 60, 63, 64, 74, 128, 150};
    for (size_t i = 0; i < sizeof leads / sizeof leads[0]; i++) {
        l->lead = leads[i];
        uint8_t *p = keep(l, 333, NULL, 0, 0, 'a');
        assert_int_equal((uintptr_t)(p + leads[i]) % CACHE_LINE, 0);
    }
}

static void what_is_dropped_was_never_there(void **state)
{
    struct landing *l = *state;
    uint8_t *a = keep(l, 500, NULL, 0, 0, 'a');
    uint8_t *b = landing_place(l, 480, a + 500, 60, 440);
    memset(b, 'x', 480);
    landing_drop(l);
    assert_true(all(a, 500, 'a'));
    assert_ptr_equal(landing_place(l, 480, a + 500, 60, 440), b);
    memset(b, 'b', 480);
    landing_keep(l);
    assert_true(all(a, 500, 'a') && all(a + 500, 420, 'b'));
    /* Without company, too. */
    uint8_t *c = landing_place(l, 100, NULL, 0, 0);
    landing_drop(l);
    assert_ptr_equal(landing_place(l, 100, NULL, 0, 0), c);
}

static void what_continues_nothing_moves(void **state)
{
    struct landing *l = *state;
    uint8_t *a = keep(l, 500, NULL, 0, 0, 'a');
    uint8_t *b = landing_place(l, 480, a + 500, 60, 440);
    memset(b, 'b', 480);
    b = landing_move(l);
    assert_true(b >= a + 500);
    assert_true(all(a, 500, 'a') && all(b, 480, 'b'));
    landing_keep(l);
    assert_true(all(a, 500, 'a') && all(b, 480, 'b'));
    /* Nothing continues a any more; what comes continues b. */
    assert_ptr_equal(landing_place(l, 480, b + 480, 60, 420), b + 420);
}

/* There is always room for one, and never for more than there is. */
static void it_is_full_in_time(void **state)
{
    struct landing *l = *state;
    for (size_t n = 1; n <= 65535; n = 2 * n + 1) {
        size_t kept = 0;
        uint8_t *end = NULL, *p;
        landing_clear(l);
        while ((p = keep(l, n, end, n / 2, kept ? n : 0, 'a'))) {
            assert_true(p >= l->bytes && p + n <= l->bytes + LANDING_BYTES);
            end = p + n;
            kept++;
        }
        assert_true(kept >= LANDING_BYTES / (n + 3 * CACHE_LINE) - 2);
        landing_clear(l);
        assert_non_null(keep(l, 65535, NULL, 0, 0, 'b'));
    }
}

/* Packets as chance has them: what was kept stays, byte for byte, until all is cleared. */
enum { KEPT_MAX = 4096 };

struct kept {
    const uint8_t *p;
    size_t n;
    uint8_t begin;
};

static void fill(uint8_t *p, size_t n, uint8_t begin)
{
    for (size_t i = 0; i < n; i++)
        p[i] = (uint8_t)(begin + i * 7);
}

static void assert_kept(const struct kept *k, size_t count)
{
    for (size_t i = 0; i < count; i++)
        for (size_t b = 0; b < k[i].n; b++)
            assert_int_equal(k[i].p[b], (uint8_t)(k[i].begin + b * 7));
}

static void what_is_kept_stays(void **state)
{
    static struct kept k[KEPT_MAX];
    struct landing *l = *state;
    struct rng_seeded rs;
    struct rng rng = rng_seeded(&rs, 4);
    size_t count = 0, clears = 0, continued = 0;
    uint8_t *end = NULL;
    size_t before = 0;
    while (clears < 20) {
        size_t n = 1 + rng_below(&rng, 1500), headers = rng_below(&rng, 220);
        bool offered = rng_below(&rng, 8) != 0;
        uint8_t *p = count == KEPT_MAX ? NULL : landing_place(l, n, offered ? end : NULL, headers, before);
        if (!p) {
            assert_kept(k, count);
            landing_clear(l);
            clears++;
            count = 0;
            end = NULL;
            continue;
        }
        uint8_t begin = (uint8_t)rng_below(&rng, 256);
        fill(p, n, begin);
        bool covers = landing_covers(l);
        uint64_t what = rng_below(&rng, 10);
        if (what == 0) {
            landing_drop(l);
            continue;
        }
        if (covers && what == 1) {
            p = landing_move(l);
            covers = false;
        }
        landing_keep(l);
        size_t skip = covers ? headers : 0; /* its headers are gone */
        k[count++] = (struct kept){p + skip, n - skip, (uint8_t)(begin + skip * 7)};
        continued += covers;
        before = n - skip;
        end = p + n;
    }
    assert_true(continued > 1000);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(payload_continues_payload),    TEST(a_place_of_its_own_where_it_cannot),
        TEST(payloads_begin_cache_lines),   TEST(what_is_dropped_was_never_there),
        TEST(what_continues_nothing_moves), TEST(it_is_full_in_time),
        TEST(what_is_kept_stays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
