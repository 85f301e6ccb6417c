#include "base/log.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include "base/text.h"

#define LINE_CAP 2048 /* a longer line is cut */

static struct {
    enum log_level level;
    uint64_t (*unix_ms)(void);
    void (*sink)(void *ctx, const char *line);
    void *ctx;
} log_state = {.level = LOG_INFO};

void log_set_level(enum log_level level)
{
    log_state.level = level;
}

enum log_level log_get_level(void)
{
    return log_state.level;
}

void log_set_clock(uint64_t (*unix_ms)(void))
{
    log_state.unix_ms = unix_ms;
}

void log_set_sink(void (*sink)(void *ctx, const char *line), void *ctx)
{
    log_state.sink = sink;
    log_state.ctx = ctx;
}

static const char *level_name(enum log_level level)
{
    static const char *const names[] = {"error", "warn", "info", "debug"};
    return (unsigned)level < sizeof names / sizeof *names ? names[level] : "?";
}

/* RFC 3339 in UTC, by own arithmetic (proleptic Gregorian, eras of 400 years): the C library's gmtime keeps a
 * static and may read the zone files. */
static int put_time(char *out, size_t cap, uint64_t unix_ms)
{
    uint64_t s = unix_ms / 1000, days = s / 86400 + 719468;
    uint64_t era = days / 146097, doe = days % 146097;
    uint64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    uint64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    uint64_t mp = (5 * doy + 2) / 153;
    unsigned day = (unsigned)(doy - (153 * mp + 2) / 5 + 1);
    unsigned month = (unsigned)(mp < 10 ? mp + 3 : mp - 9);
    unsigned long long year = yoe + era * 400 + (month <= 2);
    unsigned clock = (unsigned)(s % 86400);
    return snprintf(out, cap, "time=%04llu-%02u-%02uT%02u:%02u:%02u.%03uZ ", year, month, day, clock / 3600,
                    clock / 60 % 60, clock % 60, (unsigned)(unix_ms % 1000));
}

void log_event(enum log_level level, const char *event, const char *fmt, ...)
{
    if (level > log_state.level)
        return;
    char values[LINE_CAP], line[LINE_CAP];
    va_list ap;
    va_start(ap, fmt);
    int len = vsnprintf(values, sizeof values, fmt, ap);
    va_end(ap);
    if (len < 0)
        values[0] = 0;
    int n = 0;
    if (log_state.unix_ms)
        n = put_time(line, sizeof line, log_state.unix_ms());
    n += snprintf(line + n, sizeof line - (size_t)n, "level=%s event=%s", level_name(level), event);
    if (values[0] && (size_t)n + 1 < sizeof line) {
        line[n++] = ' ';
        text_escape(line + n, sizeof line - (size_t)n, values);
    }
    if (log_state.sink)
        log_state.sink(log_state.ctx, line);
    else
        fprintf(stderr, "%s\n", line);
}
