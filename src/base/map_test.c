#include "base/map.h"

#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <setjmp.h>
#include <string.h>
#include <cmocka.h>

#include "base/rng.h"

#define N 3000

static int values[N];

static void puts_gets_deletes(void **state)
{
    struct map *m = map_new(sizeof(uint32_t), N, 1);
    assert_non_null(m);
    for (uint32_t k = 0; k < N; k++)
        assert_int_equal(map_put(m, &k, &values[k]), 0);
    assert_int_equal(map_count(m), N);
    for (uint32_t k = 0; k < N; k++)
        assert_ptr_equal(map_get(m, &k), &values[k]);
    for (uint32_t k = 0; k < N; k += 2)
        assert_ptr_equal(map_del(m, &k), &values[k]);
    for (uint32_t k = 0; k < N; k++)
        assert_ptr_equal(map_get(m, &k), k % 2 ? &values[k] : NULL);
    uint32_t absent = N;
    assert_null(map_del(m, &absent));
    assert_int_equal(map_count(m), N / 2);
    map_free(m);
    map_free(NULL);
}

static void keeps_its_limit(void **state)
{
    struct map *m = map_new(1, 2, 9);
    assert_int_equal(map_put(m, "a", &values[0]), 0);
    assert_int_equal(map_put(m, "b", &values[1]), 0);
    assert_int_equal(map_put(m, "c", &values[2]), -ENOSPC);
    /* Replacing is not adding. */
    assert_int_equal(map_put(m, "b", &values[3]), 0);
    assert_ptr_equal(map_get(m, "b"), &values[3]);
    assert_int_equal(map_count(m), 2);
    assert_null(map_get(m, "c"));
    assert_ptr_equal(map_del(m, "a"), &values[0]);
    assert_int_equal(map_put(m, "c", &values[2]), 0);
    map_free(m);
}

static void key_lengths(void **state)
{
    uint8_t key[64];
    assert_null(map_new(0, 1, 1));
    assert_null(map_new(65, 1, 1));
    for (size_t len = 1; len <= 64; len++) {
        struct map *m = map_new(len, 10, len);
        memset(key, 7, sizeof key);
        assert_int_equal(map_put(m, key, &values[0]), 0);
        /* Every byte of the key counts, the last included. */
        key[len - 1] ^= 1;
        assert_null(map_get(m, key));
        assert_int_equal(map_put(m, key, &values[1]), 0);
        assert_int_equal(map_count(m), 2);
        key[len - 1] ^= 1;
        assert_ptr_equal(map_get(m, key), &values[0]);
        map_free(m);
    }
}

static void a_walk_that_deletes(void **state)
{
    struct map *m = map_new(sizeof(uint32_t), N, 5);
    for (uint32_t k = 0; k < 1000; k++)
        assert_int_equal(map_put(m, &k, &values[k]), 0);
    int seen[1000] = {0};
    size_t pos = 0;
    for (int *v; (v = map_next(m, &pos));) {
        uint32_t k = (uint32_t)(v - values);
        seen[k]++;
        if (k % 3)
            assert_ptr_equal(map_del(m, &k), v);
    }
    for (int k = 0; k < 1000; k++)
        assert_int_equal(seen[k], 1);
    assert_int_equal(map_count(m), 334);
    memset(seen, 0, sizeof seen);
    pos = 0;
    for (int *v; (v = map_next(m, &pos));)
        seen[v - values]++;
    for (int k = 0; k < 1000; k++)
        assert_int_equal(seen[k], k % 3 == 0);
    assert_null(map_next(m, &pos));
    map_free(m);
}

/* Against an array as the model. Keys come and go, so that tombstones fill the table again and again. */
static void agrees_with_a_model(void **state)
{
    struct rng_seeded s;
    struct rng r = rng_seeded(&s, 11);
    int *model[64] = {0};
    size_t count = 0;
    struct map *m = map_new(sizeof(uint64_t), 48, 3);
    for (int step = 0; step < 100000; step++) {
        uint64_t k = rng_below(&r, 64);
        if (rng_below(&r, 2)) {
            int *v = &values[rng_below(&r, N)];
            int want = !model[k] && count == 48 ? -ENOSPC : 0;
            assert_int_equal(map_put(m, &k, v), want);
            if (want == 0) {
                count += !model[k];
                model[k] = v;
            }
        } else {
            assert_ptr_equal(map_del(m, &k), model[k]);
            count -= model[k] != NULL;
            model[k] = NULL;
        }
        assert_int_equal(map_count(m), count);
        k = rng_below(&r, 64);
        assert_ptr_equal(map_get(m, &k), model[k]);
    }
    map_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(puts_gets_deletes),   cmocka_unit_test(keeps_its_limit),
        cmocka_unit_test(key_lengths),         cmocka_unit_test(a_walk_that_deletes),
        cmocka_unit_test(agrees_with_a_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
