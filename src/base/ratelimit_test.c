#include "base/ratelimit.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

static void starts_full_and_refills(void **state)
{
    struct ratelimit r;
    ratelimit_init(&r, 10, 5, 1 * SEC);
    for (int i = 0; i < 5; i++)
        assert_true(ratelimit_take(&r, 1, 1 * SEC));
    assert_false(ratelimit_take(&r, 1, 1 * SEC));
    assert_false(ratelimit_take(&r, 1, 1 * SEC + 99999));
    assert_true(ratelimit_take(&r, 1, 1 * SEC + 100000));
    assert_false(ratelimit_take(&r, 1, 1 * SEC + 100001));
    /* Never more than the burst, however long the pause. */
    assert_false(ratelimit_take(&r, 6, 1000 * SEC));
    assert_true(ratelimit_take(&r, 5, 1000 * SEC));
    assert_false(ratelimit_take(&r, 1, 1000 * SEC));
}

static void fractions_add_up(void **state)
{
    struct ratelimit r;
    ratelimit_init(&r, 3, 1, 1);
    assert_true(ratelimit_take(&r, 1, 1));
    unsigned taken = 0;
    for (usec_t now = 2; now <= 10 * SEC + 1; now += 7)
        taken += ratelimit_take(&r, 1, now);
    assert_in_range(taken, 29, 30);
}

static void a_clock_that_goes_back(void **state)
{
    struct ratelimit r;
    ratelimit_init(&r, 1000, 2, 10 * SEC);
    assert_false(ratelimit_take(&r, 1, 9 * SEC));
    assert_true(ratelimit_take(&r, 2, 10 * SEC));
    assert_false(ratelimit_take(&r, 1, 5 * SEC));
    assert_false(ratelimit_take(&r, 1, 10 * SEC));
    assert_true(ratelimit_take(&r, 1, 10 * SEC + 1000));
}

static void extremes(void **state)
{
    struct ratelimit r;
    ratelimit_init(&r, UINT64_MAX, UINT64_MAX, 1);
    assert_true(ratelimit_take(&r, 1000000, 1));
    assert_true(ratelimit_take(&r, 1000000, USEC_NEVER));
    assert_false(ratelimit_take(&r, UINT64_MAX, USEC_NEVER));
    ratelimit_init(&r, 0, 1, 1);
    assert_true(ratelimit_take(&r, 1, 1));
    assert_false(ratelimit_take(&r, 1, USEC_NEVER));
    assert_true(ratelimit_take(&r, 0, USEC_NEVER));
    ratelimit_init(&r, 100, 0, 1);
    assert_false(ratelimit_take(&r, 1, 10 * SEC));
    assert_true(usec_since(5, 3) == 2 && usec_since(3, 5) == 0 && usec_min(3, 5) == 3 && usec_min(5, 3) == 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(starts_full_and_refills),
        cmocka_unit_test(fractions_add_up),
        cmocka_unit_test(a_clock_that_goes_back),
        cmocka_unit_test(extremes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
