#include "base/rng.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <string.h>
#include <cmocka.h>

/* The reference outputs of splitmix64(0) into xoshiro256** were computed from the published definitions with
 * another program. */
static void published_sequence(void **state)
{
    struct rng_seeded s;
    struct rng r = rng_seeded(&s, 0);
    assert_true(s.s[0] == 0xe220a8397b1dcdafu);
    assert_true(s.s[1] == 0x6e789e6aa1b965f4u);
    assert_true(s.s[2] == 0x06c45d188009454fu);
    assert_true(s.s[3] == 0xf88bb8a8724c81ecu);
    assert_true(rng_u64(&r) == 0x99ec5f36cb75f2b4u);
    assert_true(rng_u64(&r) == 0xbf6e1f784956452au);
}

static void same_seed_same_bytes(void **state)
{
    struct rng_seeded s1, s2, s3;
    struct rng a = rng_seeded(&s1, 7), b = rng_seeded(&s2, 7), c = rng_seeded(&s3, 8);
    uint8_t x[100], y[100], z[100];
    rng_fill(&a, x, sizeof x);
    rng_fill(&b, y, sizeof y);
    rng_fill(&c, z, sizeof z);
    assert_memory_equal(x, y, sizeof x);
    assert_memory_not_equal(x, z, sizeof x);
    assert_int_equal(rng_u32(&a), rng_u32(&b));
    uint8_t guard[4] = {1, 2, 3, 4};
    rng_fill(&a, guard + 1, 0);
    assert_memory_equal(guard, "\x01\x02\x03\x04", 4);
}

static void below_is_even(void **state)
{
    struct rng_seeded s;
    struct rng r = rng_seeded(&s, 42);
    int seen[7] = {0};
    for (int i = 0; i < 70000; i++) {
        uint64_t v = rng_below(&r, 7);
        assert_true(v < 7);
        seen[v]++;
    }
    /* 10000 each; the standard deviation is 93. */
    for (int i = 0; i < 7; i++)
        assert_in_range(seen[i], 9500, 10500);
    assert_int_equal(rng_below(&r, 1), 0);
}

struct script {
    const uint64_t *next;
};

static void script_fill(void *ctx, void *out, size_t n)
{
    struct script *s = ctx;
    assert_int_equal(n, sizeof *s->next);
    memcpy(out, s->next++, n);
}

static void below_draws_again_where_it_would_lean(void **state)
{
    /* 2^64 mod 10 = 6: the values 0..5 belong to the incomplete round. */
    static const uint64_t values[] = {0, 5, 6, UINT64_MAX};
    struct script s = {values};
    struct rng r = {script_fill, &s};
    assert_int_equal(rng_below(&r, 10), 6);
    assert_ptr_equal(s.next, values + 3);
    assert_int_equal(rng_below(&r, 10), 5);
    /* A power of two refuses nothing. */
    s.next = values;
    assert_int_equal(rng_below(&r, 16), 0);
    assert_ptr_equal(s.next, values + 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(published_sequence),
        cmocka_unit_test(same_seed_same_bytes),
        cmocka_unit_test(below_is_even),
        cmocka_unit_test(below_draws_again_where_it_would_lean),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
