#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sim/link.h"

#define PACKETS 20000

static struct rng_seeded chance;

static void test_delay_alone_is_exact(void **state)
{
    struct rng rng = rng_seeded(&chance, 1);
    struct link l = {.config = {.delay = 30 * MSEC}};
    usec_t at[2];
    for (usec_t now = SEC; now < 2 * SEC; now += MSEC) {
        assert_int_equal(link_pass(&l, &rng, 1000, now, at), 1);
        assert_int_equal(at[0], now + 30 * MSEC);
    }
    assert_int_equal(l.passed, 1000);
}

static void test_jitter_keeps_order_and_bounds(void **state)
{
    struct rng rng = rng_seeded(&chance, 2);
    struct link l = {.config = {.delay = 30 * MSEC, .jitter = 20 * MSEC}};
    usec_t at[2], last = 0, low = USEC_NEVER, high = 0;
    for (usec_t now = SEC; now < SEC + PACKETS * MSEC; now += MSEC) {
        assert_int_equal(link_pass(&l, &rng, 100, now, at), 1);
        assert_true(at[0] >= last);
        last = at[0];
        low = usec_min(low, at[0] - now);
        high = at[0] - now > high ? at[0] - now : high;
    }
    assert_in_range(low, 30 * MSEC, 45 * MSEC);
    assert_in_range(high, 48 * MSEC, 50 * MSEC);
}

static void test_loss_duplicates_and_reordering_come_at_their_rates(void **state)
{
    struct rng rng = rng_seeded(&chance, 3);
    struct link l = {
        .config = {
            .delay = 10 * MSEC, .loss = 0.1, .duplicate = 0.05, .reorder = 0.02, .reorder_by = 5 * MSEC}};
    usec_t at[2];
    int copies = 0, late = 0;
    for (int i = 0; i < PACKETS; i++) {
        usec_t now = SEC + (usec_t)i * MSEC;
        size_t n = link_pass(&l, &rng, 100, now, at);
        copies += (int)n;
        late += n > 0 && at[0] == now + 15 * MSEC;
        if (n == 2)
            assert_true(at[1] > at[0]);
    }
    assert_in_range(l.lost, PACKETS / 10 - 200, PACKETS / 10 + 200);
    assert_in_range(copies - (int)l.passed, PACKETS * 9 / 200 - 150, PACKETS * 9 / 200 + 150);
    assert_in_range(late, PACKETS * 18 / 1000 - 100, PACKETS * 18 / 1000 + 100);
}

static void test_rate_serialises_and_the_queue_is_bounded(void **state)
{
    struct rng rng = rng_seeded(&chance, 4);
    struct link l = {
        .config = {.bits_per_s = 8000000, .queue_bytes = 10000}}; /* a byte takes a microsecond */
    usec_t at[2];
    for (usec_t i = 1; i <= 10; i++) {
        assert_int_equal(link_pass(&l, &rng, 1000, SEC, at), 1);
        assert_int_equal(at[0], SEC + i * 1000);
    }
    assert_int_equal(link_pass(&l, &rng, 1000, SEC, at), 0);
    assert_int_equal(l.overflowed, 1);
    assert_int_equal(link_pass(&l, &rng, 1000, SEC + 1000, at), 1); /* one left, one fits */
    assert_int_equal(at[0], SEC + 11000);
    assert_int_equal(link_pass(&l, &rng, 1000, 2 * SEC, at), 1); /* idle again */
    assert_int_equal(at[0], 2 * SEC + 1000);
}

static void test_what_cannot_pass(void **state)
{
    struct rng rng = rng_seeded(&chance, 5);
    struct link l = {.config = {.mtu = 1280}};
    usec_t at[2];
    assert_int_equal(link_pass(&l, &rng, 1280, SEC, at), 1);
    assert_int_equal(link_pass(&l, &rng, 1281, SEC, at), 0);
    assert_int_equal(l.oversized, 1);
    l.config.blackhole = true;
    assert_int_equal(link_pass(&l, &rng, 100, SEC, at), 0);
    assert_true(link_is_up(&l));
    l.config.blackhole = false;
    l.config.down = true;
    assert_int_equal(link_pass(&l, &rng, 100, SEC, at), 0);
    assert_false(link_is_up(&l));
    assert_int_equal(l.swallowed, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_delay_alone_is_exact),
        cmocka_unit_test(test_jitter_keeps_order_and_bounds),
        cmocka_unit_test(test_loss_duplicates_and_reordering_come_at_their_rates),
        cmocka_unit_test(test_rate_serialises_and_the_queue_is_bounded),
        cmocka_unit_test(test_what_cannot_pass),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
