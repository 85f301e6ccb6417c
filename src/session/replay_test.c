#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/rng.h"
#include "session/replay.h"

/* The naive twin: remembers everything. */
#define TWIN_MAX 65536
struct twin {
    uint8_t seen[TWIN_MAX];
    uint64_t next;
};

static enum replay_verdict twin_check(const struct twin *t, uint64_t counter)
{
    if (counter + REPLAY_WINDOW < t->next)
        return REPLAY_OLD;
    return t->seen[counter] ? REPLAY_SEEN : REPLAY_FRESH;
}

static void twin_mark(struct twin *t, uint64_t counter)
{
    t->seen[counter] = 1;
    if (counter >= t->next)
        t->next = counter + 1;
}

static void test_script(void **state)
{
    static const struct {
        uint64_t counter;
        enum replay_verdict want;
    } script[] = {
        {0, REPLAY_FRESH},
        {0, REPLAY_SEEN},
        {1, REPLAY_FRESH},
        {63, REPLAY_FRESH},
        {64, REPLAY_FRESH},
        {63, REPLAY_SEEN},
        {62, REPLAY_FRESH},
        {8191, REPLAY_FRESH},
        {2, REPLAY_FRESH},
        {8192, REPLAY_FRESH}, /* the window is now 1 .. 8192 */
        {0, REPLAY_OLD},
        {1, REPLAY_SEEN},
        {3, REPLAY_FRESH},
        {8192 + 5, REPLAY_FRESH}, /* 6 .. 8197 */
        {5, REPLAY_OLD},
        {6, REPLAY_FRESH},
        {1000000, REPLAY_FRESH},
        {1000000 - 8191, REPLAY_FRESH},
        {1000000 - 8192, REPLAY_OLD},
        {8197, REPLAY_OLD},
        {999999, REPLAY_FRESH},
        {UINT64_MAX, REPLAY_OLD},
        {UINT64_MAX - 1, REPLAY_FRESH},
        {UINT64_MAX - 1, REPLAY_SEEN},
        {UINT64_MAX - 8192, REPLAY_FRESH},
        {UINT64_MAX - 8193, REPLAY_OLD},
    };
    struct replay r;
    replay_init(&r);
    for (size_t i = 0; i < sizeof script / sizeof script[0]; i++) {
        enum replay_verdict v = replay_check(&r, script[i].counter);
        if (v != script[i].want)
            fail_msg("row %zu: %d instead of %d", i, (int)v, (int)script[i].want);
        if (v == REPLAY_FRESH)
            replay_mark(&r, script[i].counter);
    }
}

/* Random walks of different stride against the twin: steps near the top, jumps, and old ones. */
static void test_model(void **state)
{
    static struct twin t;
    static const uint64_t strides[] = {3, 70, 700, 9000};
    for (uint64_t seed = 1; seed <= 40; seed++) {
        struct rng_seeded rs;
        struct rng rng = rng_seeded(&rs, seed);
        struct replay r;
        replay_init(&r);
        memset(&t, 0, sizeof t);
        uint64_t stride = strides[seed % 4], verdicts[3] = {0};
        for (int i = 0; i < 30000; i++) {
            uint64_t top = t.next, back = rng_below(&rng, REPLAY_WINDOW + 200);
            uint64_t counter = rng_below(&rng, 3) == 0 ? top + rng_below(&rng, stride)
                               : top > back            ? top - back
                                                       : 0;
            if (counter >= TWIN_MAX)
                break;
            enum replay_verdict want = twin_check(&t, counter);
            if (replay_check(&r, counter) != want)
                fail_msg("seed %u step %d: counter %u differs from the twin", (unsigned)seed, i,
                         (unsigned)counter);
            verdicts[want]++;
            if (want == REPLAY_FRESH && rng_below(&rng, 8) > 0) {
                twin_mark(&t, counter);
                replay_mark(&r, counter);
            }
        }
        assert_true(verdicts[REPLAY_FRESH] > 0);
        assert_true(verdicts[REPLAY_SEEN] > 0 || stride == 9000);
    }
}

/* Every counter of a full window, in an order far from sorted, exactly once. */
static void test_whole_window(void **state)
{
    struct replay r;
    replay_init(&r);
    uint64_t base = 12345;
    replay_mark(&r, base + REPLAY_WINDOW - 1);
    for (uint64_t i = 0; i < REPLAY_WINDOW; i++) {
        uint64_t counter = base + i * 4099 % REPLAY_WINDOW;
        enum replay_verdict want = counter == base + REPLAY_WINDOW - 1 ? REPLAY_SEEN : REPLAY_FRESH;
        assert_int_equal(replay_check(&r, counter), want);
        replay_mark(&r, counter);
    }
    for (uint64_t i = 0; i < REPLAY_WINDOW; i++)
        assert_int_equal(replay_check(&r, base + i), REPLAY_SEEN);
    assert_int_equal(replay_check(&r, base - 1), REPLAY_OLD);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_script),
        cmocka_unit_test(test_model),
        cmocka_unit_test(test_whole_window),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
