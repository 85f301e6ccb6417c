#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <time.h>

#include "io/clock.h"

static void test_monotonic_never_goes_back(void **state)
{
    (void)state;
    usec_t before = clock_now();
    assert_true(before > 0);
    for (int i = 0; i < 10000; i++) {
        usec_t now = clock_now();
        assert_true(now >= before);
        before = now;
    }
}

/* The units: each reading lies between two of the C library's own. */
static void test_units(void **state)
{
    (void)state;
    struct timespec a, b;
    clock_gettime(CLOCK_BOOTTIME, &a);
    usec_t now = clock_now();
    clock_gettime(CLOCK_BOOTTIME, &b);
    assert_in_range(now, (uint64_t)a.tv_sec * 1000000 + (uint64_t)a.tv_nsec / 1000,
                    (uint64_t)b.tv_sec * 1000000 + (uint64_t)b.tv_nsec / 1000);
    clock_gettime(CLOCK_REALTIME, &a);
    uint64_t ms = clock_unix_ms(), s = clock_unix_s();
    clock_gettime(CLOCK_REALTIME, &b);
    assert_in_range(ms, (uint64_t)a.tv_sec * 1000 + (uint64_t)a.tv_nsec / 1000000,
                    (uint64_t)b.tv_sec * 1000 + (uint64_t)b.tv_nsec / 1000000);
    assert_in_range(s, (uint64_t)a.tv_sec, (uint64_t)b.tv_sec);
}

static void test_sleep_counts_in_one_of_them_only(void **state)
{
    (void)state;
    /* Boot time is awake time and sleep: never less. Read in this order, the second may only be later. */
    usec_t awake = clock_awake(), boot = clock_now();
    assert_true(boot >= awake);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_monotonic_never_goes_back),
        cmocka_unit_test(test_units),
        cmocka_unit_test(test_sleep_counts_in_one_of_them_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
