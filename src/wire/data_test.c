#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <errno.h>
#include <string.h>

#include <cmocka.h>

#include "wire/data.h"

static void test_header_bytes(void **state)
{
    static const uint8_t want[DATA_HEADER_LEN] = {4, 0xfe, 0, 0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 5, 6, 7};
    const struct data_header h = {0xfe, false, 0x01020304, 0x0001020304050607};
    uint8_t out[DATA_OVERHEAD] = {0};
    struct data_header got;
    uint32_t receiver;
    data_header_write(&h, out);
    assert_memory_equal(out, want, sizeof want);
    assert_int_equal(data_header_read(&got, bytes_of(out, sizeof out)), 0);
    assert_int_equal(got.epoch, h.epoch);
    assert_int_equal(got.receiver, h.receiver);
    assert_int_equal(got.counter, h.counter);
    assert_int_equal(wire_receiver_of(&receiver, bytes_of(out, sizeof out)), 0);
    assert_int_equal(receiver, h.receiver);
    for (size_t n = 0; n < sizeof out; n++) {
        assert_int_equal(data_header_read(&got, bytes_of(out, n)), -EBADMSG);
        assert_int_equal(wire_receiver_of(&receiver, bytes_of(out, n)), n < 8 ? -EBADMSG : 0);
    }
    const struct data_header own = {.own = true};
    data_header_write(&own, out);
    assert_int_equal(out[2], 1);
    assert_int_equal(data_header_read(&got, bytes_of(out, sizeof out)), 0);
    assert_true(got.own);
    data_header_write(&h, out);
    for (size_t at = 0; at < DATA_HEADER_LEN; at++)
        for (unsigned bit = 0; bit < 8; bit++) {
            out[at] ^= (uint8_t)(1u << bit);
            bool fixed = at == 0 || (at == 2 && bit > 0) || at == 3;
            assert_int_equal(data_header_read(&got, bytes_of(out, sizeof out)), fixed ? -EBADMSG : 0);
            out[at] ^= (uint8_t)(1u << bit);
        }
}

/* Of a run: headers that differ in their counters alone. */
static void test_header_next(void **state)
{
    const struct data_header h = {3, false, 0x01020304, 41}, far = {3, false, 0x01020304, UINT64_MAX};
    uint8_t first[DATA_HEADER_LEN], next[DATA_OVERHEAD + 1] = {0};
    struct data_header got = h;
    data_header_write(&h, first);
    data_header_write(&far, next);
    assert_true(data_header_next(&got, first, bytes_of(next, sizeof next)));
    assert_true(got.epoch == 3 && got.receiver == h.receiver && !got.own);
    assert_int_equal(got.counter, UINT64_MAX);
    assert_true(data_header_next(&got, first, bytes_of(next, DATA_OVERHEAD)));
    got.counter = 7;
    for (size_t n = 0; n < DATA_OVERHEAD; n++)
        assert_false(data_header_next(&got, first, bytes_of(next, n)));
    for (size_t at = 0; at < DATA_COUNTER_AT; at++)
        for (unsigned bit = 0; bit < 8; bit++) {
            next[at] ^= (uint8_t)(1u << bit);
            assert_false(data_header_next(&got, first, bytes_of(next, sizeof next)));
            next[at] ^= (uint8_t)(1u << bit);
        }
    assert_int_equal(got.counter, 7);
}

static void test_types(void **state)
{
    for (unsigned t = 0; t < 256; t++) {
        const uint8_t b = (uint8_t)t;
        assert_int_equal(wire_type_of(bytes_of(&b, 1)), t >= 4 && t <= 15 ? (int)t : -1);
    }
    assert_int_equal(wire_type_of(bytes_of(NULL, 0)), -1);
}

static void test_inner(void **state)
{
    static const struct {
        uint8_t text[9];
        size_t n;
        int want;
    } rows[] = {
        {{0}, 8, 0},
        {{0}, 7, -EBADMSG},
        {{0}, 0, -EBADMSG},
        {{0}, 9, -EBADMSG},                      /* NULL carries nothing */
        {{0, 0, 0, 0, 0, 0, 0, 1}, 8, -EBADMSG}, /* and has no party */
        {{1, 0, 0, 0, 1, 2, 3, 4}, 8, 0},
        {{1, 0, 0, 0, 1, 2, 3, 4, 5}, 9, 0},
        {{2, 0, 0, 0, 1, 2, 3, 4}, 9, 0},
        {{3, 0, 0, 0, 0, 0, 0, 0, 5}, 9, 0},
        {{3, 0, 0, 0, 1, 2, 3, 4, 5}, 9, -EBADMSG},
        {{1, 1, 0, 0, 1, 2, 3, 4, 5}, 9, 0}, /* a partial checksum */
        {{2, 1, 0, 0, 1, 2, 3, 4, 5}, 9, 0},
        {{1, 2, 0, 0, 1, 2, 3, 4}, 8, -EBADMSG}, /* a flag that nobody knows */
        {{1, 3, 0, 0, 1, 2, 3, 4}, 8, -EBADMSG},
        {{3, 1, 0, 0, 0, 0, 0, 0, 5}, 9, -EBADMSG}, /* and one where it means nothing */
        {{1, 0, 1, 0, 1, 2, 3, 4}, 8, -EBADMSG},
        {{1, 0, 0, 1, 1, 2, 3, 4}, 8, -EBADMSG},
        {{4, 0, 0, 0, 1, 2, 3, 4}, 8, -EBADMSG},
        {{255, 0, 0, 0, 1, 2, 3, 4}, 8, -EBADMSG},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct inner_header h = {9, 9, 9};
        uint8_t out[INNER_HEADER_LEN];
        assert_int_equal(inner_header_read(&h, bytes_of(rows[i].text, rows[i].n)), rows[i].want);
        if (rows[i].want == 0) {
            inner_header_write(&h, out);
            assert_memory_equal(out, rows[i].text, sizeof out);
        } else {
            assert_int_equal(h.kind, 9);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_header_bytes),
        cmocka_unit_test(test_header_next),
        cmocka_unit_test(test_types),
        cmocka_unit_test(test_inner),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
