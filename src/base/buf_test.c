#include "base/buf.h"

#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <string.h>
#include <cmocka.h>

static void grows_to_its_maximum(void **state)
{
    struct buf b;
    buf_init(&b, 1000);
    for (int i = 0; i < 1000; i++) {
        uint8_t c = (uint8_t)i;
        assert_int_equal(buf_add(&b, bytes_of(&c, 1)), 0);
    }
    assert_int_equal(buf_add_str(&b, "x"), -E2BIG);
    assert_int_equal(b.n, 1000);
    for (int i = 0; i < 1000; i++)
        assert_int_equal(b.p[i], (uint8_t)i);
    buf_done(&b);
    assert_int_equal(b.n, 0);
    assert_int_equal(buf_add_str(&b, "again"), 0);
    assert_string_equal(buf_str(&b), "again");
    buf_done(&b);
}

static void refused_changes_nothing(void **state)
{
    struct buf b;
    buf_init(&b, 5);
    assert_int_equal(buf_add_str(&b, "abc"), 0);
    assert_int_equal(buf_add_str(&b, "def"), -E2BIG);
    assert_int_equal(buf_printf(&b, "%d", 123), -E2BIG);
    assert_null(buf_room(&b, 3));
    assert_null(buf_room(&b, SIZE_MAX));
    assert_string_equal(buf_str(&b), "abc");
    assert_int_equal(buf_printf(&b, "%d", 12), 0);
    assert_string_equal(buf_str(&b), "abc12");
    assert_int_equal(b.n, 5);
    buf_done(&b);
}

static void printf_across_growth(void **state)
{
    struct buf b;
    buf_init(&b, 100000);
    size_t n = 0;
    for (int i = 0; i < 3000; i++) {
        assert_int_equal(buf_printf(&b, "%04d,", i), 0);
        n += 5;
        assert_int_equal(b.n, n);
    }
    assert_memory_equal(b.p + 5 * 2999, "2999,", 5);
    assert_int_equal(strlen(buf_str(&b)), n);
    buf_done(&b);
}

static void room_and_grow(void **state)
{
    struct buf b;
    buf_init(&b, 200);
    uint8_t *p = buf_room(&b, 150);
    assert_non_null(p);
    memset(p, 'r', 150);
    assert_int_equal(buf_bytes(&b).n, 0);
    buf_grow(&b, 120);
    assert_int_equal(buf_bytes(&b).n, 120);
    assert_int_equal(b.p[119], 'r');
    buf_done(&b);
}

static void eats_from_the_front(void **state)
{
    struct buf b;
    buf_init(&b, 10);
    buf_eat(&b, 1);
    assert_int_equal(buf_add_str(&b, "abcdef"), 0);
    buf_eat(&b, 0);
    buf_eat(&b, 2);
    assert_string_equal(buf_str(&b), "cdef");
    assert_int_equal(buf_add_str(&b, "ghijkl"), 0);
    assert_string_equal(buf_str(&b), "cdefghijkl");
    buf_eat(&b, 99);
    assert_string_equal(buf_str(&b), "");
    assert_int_equal(buf_add_str(&b, "z"), 0);
    buf_clear(&b);
    assert_int_equal(buf_bytes(&b).n, 0);
    buf_done(&b);
}

static void an_empty_one(void **state)
{
    struct buf b;
    buf_init(&b, 0);
    assert_int_equal(buf_add(&b, bytes_of(NULL, 0)), 0);
    assert_int_equal(buf_add_str(&b, "a"), -E2BIG);
    assert_string_equal(buf_str(&b), "");
    buf_done(&b);
    buf_done(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(grows_to_its_maximum), cmocka_unit_test(refused_changes_nothing),
        cmocka_unit_test(printf_across_growth), cmocka_unit_test(room_and_grow),
        cmocka_unit_test(eats_from_the_front),  cmocka_unit_test(an_empty_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
