/* Structured log of the edges: one line an event, `time=... level=info event=... key=value ...`, to standard
 * error. Pure cores do not log; they return, count and emit events. Control and invisible characters of the
 * values are escaped; secrets and message contents are never passed here. */
#ifndef WARREN_BASE_LOG_H
#define WARREN_BASE_LOG_H

#include <stdint.h>

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

/* The one global of the program: the level and the clock stamp, both set by the edge. */
void log_set_level(enum log_level level);
enum log_level log_get_level(void);
/* Calendar time in milliseconds since 1970 for `time=2026-11-21T10:00:00.000Z` at the start of each line;
 * NULL (the beginning): no time. */
void log_set_clock(uint64_t (*unix_ms)(void));
/* Receives each finished line without a newline; NULL restores standard error. For tests and `debug dump`. */
void log_set_sink(void (*sink)(void *ctx, const char *line), void *ctx);
/* event is a fixed word ("peer-connected"); fmt makes `key=value` pairs, e.g. "peer=%s rtt_ms=%u". */
void log_event(enum log_level level, const char *event, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

#endif
