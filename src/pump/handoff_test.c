#include "pump/handoff.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"

#define HEAD 8 /* of an item: what a queue's bytes are used up by, too */

static bool put(struct handoff *h, size_t room, size_t n, uint8_t first)
{
    uint8_t *p = handoff_room(h, room);
    if (!p)
        return false;
    assert_int_equal((uintptr_t)p % 8, 0);
    memset(p, first, room); /* all of it may be written */
    handoff_put(h, n);
    return true;
}

static void take(struct handoff *h, size_t n, uint8_t first)
{
    size_t got;
    uint8_t *p = handoff_first(h, &got);
    assert_non_null(p);
    assert_int_equal((uintptr_t)p % 8, 0);
    assert_int_equal(got, n);
    for (size_t i = 0; i < n; i++)
        assert_int_equal(p[i], first);
    memset(p, 0, n); /* writable */
    assert_ptr_equal(handoff_first(h, &got), p);
    handoff_take(h);
}

static void expect_empty(struct handoff *h)
{
    size_t n;
    assert_null(handoff_first(h, &n));
}

static void test_one_by_one(void **state)
{
    struct handoff *h = handoff_new(1024);
    assert_non_null(h);
    expect_empty(h);
    for (size_t i = 0; i < 3000; i++) {
        size_t n = i % 500;
        assert_true(put(h, n, n, (uint8_t)i));
        take(h, n, (uint8_t)i);
        expect_empty(h);
    }
    handoff_free(h);
    handoff_free(NULL);
}

/* What was asked for and not put, or put shorter, takes no room. */
static void test_cut(void **state)
{
    struct handoff *h = handoff_new(1024);
    assert_non_null(h);
    for (int i = 0; i < 100; i++) {
        assert_non_null(handoff_room(h, 900));
        expect_empty(h);
    }
    for (uint8_t i = 0; i < 1024 / (HEAD + 16); i++)
        assert_true(put(h, i < 30 ? 100 : 16, 16, i));
    assert_null(handoff_room(h, 16));
    for (uint8_t i = 0; i < 1024 / (HEAD + 16); i++)
        take(h, 16, i);
    handoff_free(h);
}

static void test_too_large(void **state)
{
    struct handoff *h = handoff_new(256);
    assert_non_null(h);
    assert_null(handoff_room(h, 256));
    assert_null(handoff_room(h, 256 - HEAD + 1));
    assert_true(put(h, 256 - HEAD, 256 - HEAD, 7));
    assert_null(handoff_room(h, 0));
    assert_false(handoff_fits(h, 0, 0));
    take(h, 256 - HEAD, 7);
    assert_true(handoff_fits(h, 0, 31));
    assert_false(handoff_fits(h, 1, 16));
    handoff_free(h);
}

/* Against a list: whatever sizes, nothing is lost, nothing comes twice, nothing is refused that must fit. */
static void test_model(void **state)
{
    for (uint64_t seed = 1; seed <= 30; seed++) {
        struct rng_seeded rs;
        struct rng rng = rng_seeded(&rs, seed);
        struct handoff *h = handoff_new(4096);
        struct {
            size_t n;
            uint8_t first;
        } list[1024];
        size_t from = 0, to = 0, bytes = 0, refused = 0;
        assert_non_null(h);
        for (int i = 0; i < 5000; i++) {
            if (rng_below(&rng, 100) < 55) {
                size_t room = rng_below(&rng, seed % 3 ? 200 : 1500), n = rng_below(&rng, room + 1);
                bool fits = handoff_fits(h, room, 1);
                bool done = put(h, room, n, (uint8_t)i);
                if (fits)
                    assert_true(done);
                if (from == to && 2 * (room + HEAD + 8) <= 4096)
                    assert_true(done);
                refused += !done;
                if (!done)
                    continue;
                list[to % 1024].n = n;
                list[to++ % 1024].first = (uint8_t)i;
                bytes += n;
                assert_true(bytes <= 4096 && to - from < 1024);
            } else if (from < to) {
                bytes -= list[from % 1024].n;
                take(h, list[from % 1024].n, list[from % 1024].first);
                from++;
            } else {
                expect_empty(h);
            }
        }
        assert_true(refused > 0);
        for (; from < to; from++)
            take(h, list[from % 1024].n, list[from % 1024].first);
        expect_empty(h);
        handoff_free(h);
    }
}

/* handoff_fits keeps its word, wherever in the ring it is given. */
static void test_fits(void **state)
{
    struct handoff *h = handoff_new(4096);
    assert_non_null(h);
    for (size_t at = 0; at < 600; at++) {
        for (size_t count = 1; count <= 12; count++) {
            size_t n = 300 - count;
            if (!handoff_fits(h, n, count)) {
                assert_true(count > 4096 / 312 - 2);
                continue;
            }
            for (size_t i = 0; i < count; i++)
                assert_true(put(h, n, n, (uint8_t)i));
            for (size_t i = 0; i < count; i++)
                take(h, n, (uint8_t)i);
        }
        assert_true(put(h, at % 17, at % 17, 1));
        take(h, at % 17, 1);
    }
    handoff_free(h);
}

#define ITEMS 100000

static size_t size_of(uint32_t i)
{
    return 4 + (i * 2654435761u >> 16) % 900;
}

static void *put_many(void *arg)
{
    struct handoff *h = arg;
    for (uint32_t i = 0; i < ITEMS; i++) {
        uint8_t *p;
        while (!(p = handoff_room(h, size_of(i) + i % 5)))
            sched_yield();
        memset(p, (int)(i & 0xff), size_of(i));
        memcpy(p, &i, sizeof i);
        handoff_put(h, size_of(i));
    }
    return NULL;
}

/* Two threads: in order, whole, all of them. */
static void test_threads(void **state)
{
    struct handoff *h = handoff_new(8192);
    pthread_t putter;
    assert_non_null(h);
    assert_int_equal(pthread_create(&putter, NULL, put_many, h), 0);
    for (uint32_t i = 0; i < ITEMS; i++) {
        size_t n;
        uint32_t number;
        uint8_t *p;
        while (!(p = handoff_first(h, &n)))
            sched_yield();
        memcpy(&number, p, sizeof number);
        if (number != i || n != size_of(i) || (n > 4 && (p[4] != (uint8_t)i || p[n - 1] != (uint8_t)i)))
            fail_msg("item %u came as %u of %zu bytes", i, number, n);
        memset(p, 0, n);
        handoff_take(h);
    }
    pthread_join(putter, NULL);
    expect_empty(h);
    handoff_free(h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_by_one), cmocka_unit_test(test_cut),  cmocka_unit_test(test_too_large),
        cmocka_unit_test(test_model),      cmocka_unit_test(test_fits), cmocka_unit_test(test_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
