#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>

#include "base/limits.h"

struct owner {
    uint32_t before, a, b, after;
};

static const struct limit table[] = {
    LIMIT(struct owner, a, "first-s", 30, 1, 3600, "seconds"),
    LIMIT(struct owner, b, "second", 0, 0, UINT32_MAX, "bytes"),
};
#define COUNT (sizeof table / sizeof table[0])

static void test_standard(void **state)
{
    struct owner o = {7, 8, 9, 10};
    limits_standard(table, COUNT, &o);
    assert_int_equal(o.a, 30);
    assert_int_equal(o.b, 0);
    assert_int_equal(o.before, 7);
    assert_int_equal(o.after, 10);
}

static void test_set(void **state)
{
    static const struct {
        const char *name, *value;
        int rc;
        uint32_t a, b;
    } cases[] = {
        {"first-s", "1", 0, 1, 5},
        {"first-s", "3600", 0, 3600, 5},
        {"first-s", "0060", 0, 60, 5},
        {"second", "0", 0, 4, 0},
        {"second", "4294967295", 0, 4, UINT32_MAX},
        {"first-s", "0", -EINVAL, 4, 5},
        {"first-s", "3601", -EINVAL, 4, 5},
        {"second", "4294967296", -EINVAL, 4, 5},
        {"second", "00000000001", -EINVAL, 4, 5},
        {"second", "99999999999999999999", -EINVAL, 4, 5},
        {"second", "", -EINVAL, 4, 5},
        {"second", "-1", -EINVAL, 4, 5},
        {"second", "+1", -EINVAL, 4, 5},
        {"second", " 1", -EINVAL, 4, 5},
        {"second", "1 ", -EINVAL, 4, 5},
        {"second", "0x10", -EINVAL, 4, 5},
        {"third", "1", -ENOENT, 4, 5},
        {"FIRST-S", "1", -ENOENT, 4, 5},
        {"", "1", -ENOENT, 4, 5},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct owner o = {1, 4, 5, 2};
        assert_int_equal(limits_set(table, COUNT, &o, cases[i].name, cases[i].value), cases[i].rc);
        assert_int_equal(o.a, cases[i].a);
        assert_int_equal(o.b, cases[i].b);
        assert_int_equal(o.before, 1);
        assert_int_equal(o.after, 2);
    }
}

static void test_at(void **state)
{
    struct owner o = {0, 12, 34, 0};
    uint32_t value;
    const char *what;
    assert_string_equal(limits_at(table, COUNT, &o, 0, &value, &what), "first-s");
    assert_int_equal(value, 12);
    assert_string_equal(what, "seconds");
    assert_string_equal(limits_at(table, COUNT, &o, 1, &value, &what), "second");
    assert_int_equal(value, 34);
    assert_null(limits_at(table, COUNT, &o, 2, &value, &what));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_standard),
        cmocka_unit_test(test_set),
        cmocka_unit_test(test_at),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
