#include "base/log.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <setjmp.h>
#include <string.h>
#include <cmocka.h>

static char got[4096];
static int lines;
static uint64_t now_ms;

static void keep(void *ctx, const char *line)
{
    assert_ptr_equal(ctx, got);
    snprintf(got, sizeof got, "%s", line);
    lines++;
}

static uint64_t stopped_clock(void)
{
    return now_ms;
}

static int begin(void **state)
{
    log_set_sink(keep, got);
    log_set_clock(NULL);
    log_set_level(LOG_INFO);
    got[0] = 0;
    lines = 0;
    return 0;
}

static void one_line_an_event(void **state)
{
    log_event(LOG_WARN, "peer-connected", "peer=%s rtt_ms=%u", "abc", 12u);
    assert_string_equal(got, "level=warn event=peer-connected peer=abc rtt_ms=12");
    log_event(LOG_ERROR, "stop", "%s", "");
    assert_string_equal(got, "level=error event=stop");
    assert_int_equal(lines, 2);
}

static void levels(void **state)
{
    log_event(LOG_DEBUG, "x", "a=%d", 1);
    assert_int_equal(lines, 0);
    log_set_level(LOG_DEBUG);
    assert_int_equal(log_get_level(), LOG_DEBUG);
    log_event(LOG_DEBUG, "x", "a=%d", 1);
    assert_string_equal(got, "level=debug event=x a=1");
    log_set_level(LOG_ERROR);
    log_event(LOG_WARN, "y", "a=%d", 1);
    assert_int_equal(lines, 1);
}

static void strangers_cannot_forge_lines(void **state)
{
    log_event(LOG_INFO, "name", "name=%s", "a\nlevel=error\x1b[2J\xe2\x80\xae\xff\xc3\xa9");
    assert_string_equal(got,
                        "level=info event=name name=a\\x0alevel=error\\x1b[2J\\xe2\\x80\\xae\\xff\xc3\xa9");
}

static void the_calendar(void **state)
{
    static const struct {
        uint64_t ms;
        const char *text;
    } cases[] = {
        {0, "1970-01-01T00:00:00.000Z"},
        {951782400000 - 1, "2000-02-28T23:59:59.999Z"},
        {951782400000, "2000-02-29T00:00:00.000Z"},
        {951868800000, "2000-03-01T00:00:00.000Z"},
        {1795255200000, "2026-11-21T10:00:00.000Z"},
        {1767225599999, "2025-12-31T23:59:59.999Z"},
        {4107542400000, "2100-03-01T00:00:00.000Z"},
        {253402300799999, "9999-12-31T23:59:59.999Z"},
    };
    log_set_clock(stopped_clock);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char want[64];
        snprintf(want, sizeof want, "time=%s level=info event=e", cases[i].text);
        now_ms = cases[i].ms;
        log_event(LOG_INFO, "e", "%s", "");
        assert_string_equal(got, want);
    }
}

static void a_long_line_is_cut(void **state)
{
    char text[3000];
    memset(text, 'a', sizeof text - 1);
    text[sizeof text - 1] = 0;
    log_event(LOG_INFO, "long", "t=%s", text);
    size_t n = strlen(got);
    assert_in_range(n, 1900, 2047);
    assert_int_equal(got[n - 1], 'a');
    /* Cut between characters: what escaping makes of a byte stays whole. */
    memset(text, 1, sizeof text - 1);
    log_event(LOG_INFO, "long", "t=%s", text);
    n = strlen(got);
    assert_in_range(n, 2000, 2047);
    assert_string_equal(got + n - 4, "\\x01");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(one_line_an_event, begin),
        cmocka_unit_test_setup(levels, begin),
        cmocka_unit_test_setup(strangers_cannot_forge_lines, begin),
        cmocka_unit_test_setup(the_calendar, begin),
        cmocka_unit_test_setup(a_long_line_is_cut, begin),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
