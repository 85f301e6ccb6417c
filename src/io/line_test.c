#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "io/line.h"

static void assert_line(struct line_reader *r, const char *want)
{
    struct bytes line;
    assert_true(line_next(r, &line));
    assert_int_equal(line.n, strlen(want));
    assert_memory_equal(line.p, want, line.n);
}

/* The same text in pieces of every size gives the same lines. */
static void test_every_cut(void **state)
{
    (void)state;
    static const char text[] = "{\"cmd\":\"status\"}\n\nsecond\nrest";
    static const char *const want[] = {"{\"cmd\":\"status\"}", "", "second"};
    for (size_t step = 1; step <= sizeof text; step++) {
        struct line_reader r;
        struct bytes line;
        size_t got = 0;
        line_init(&r);
        for (size_t i = 0; i < sizeof text - 1; i += step) {
            size_t n = sizeof text - 1 - i < step ? sizeof text - 1 - i : step;
            assert_int_equal(line_feed(&r, bytes_of(text + i, n)), 0);
            while (line_next(&r, &line)) {
                assert_true(got < 3);
                assert_int_equal(line.n, strlen(want[got]));
                assert_memory_equal(line.p, want[got], line.n);
                got++;
            }
        }
        assert_int_equal(got, 3);
        assert_int_equal(line_feed(&r, bytes_of_str("!\n")), 0);
        assert_line(&r, "rest!");
        line_done(&r);
    }
}

static void test_longest_and_too_long(void **state)
{
    (void)state;
    char *text = malloc(LINE_MAX_BYTES + 2);
    assert_non_null(text);
    memset(text, 'x', LINE_MAX_BYTES + 1);
    text[LINE_MAX_BYTES + 1] = '\n';
    struct line_reader r;
    struct bytes line;
    line_init(&r);
    assert_int_equal(line_feed(&r, bytes_of(text, LINE_MAX_BYTES)), 0);
    assert_int_equal(line_feed(&r, bytes_of_str("\n")), 0);
    assert_true(line_next(&r, &line));
    assert_int_equal(line.n, LINE_MAX_BYTES);
    assert_int_equal(line_feed(&r, bytes_of(text, LINE_MAX_BYTES + 2)), -EMSGSIZE);
    line_done(&r);
    line_init(&r);
    assert_int_equal(line_feed(&r, bytes_of(text, LINE_MAX_BYTES)), 0);
    assert_int_equal(line_feed(&r, bytes_of_str("x")), -EMSGSIZE); /* before its end is seen */
    line_done(&r);
    free(text);
}

/* Many lines that nobody takes are refused, not kept. */
static void test_bounded(void **state)
{
    (void)state;
    struct line_reader r;
    int rc = 0, fed = 0;
    line_init(&r);
    while (!(rc = line_feed(&r, bytes_of_str("0123456789abcde\n"))))
        fed++;
    assert_int_equal(rc, -EMSGSIZE);
    assert_in_range(fed, LINE_MAX_BYTES / 16, 3 * LINE_MAX_BYTES / 16);
    line_done(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_cut),
        cmocka_unit_test(test_longest_and_too_long),
        cmocka_unit_test(test_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
