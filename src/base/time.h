/* Time as the whole program counts it: microseconds in 64 bits. Nothing in this folder reads a clock: pure
 * cores get `now` (monotonic) as an argument, and calendar time as `unix_s` where a document needs it. The
 * only clock reads are in io/clock.c. */
#ifndef WARREN_BASE_TIME_H
#define WARREN_BASE_TIME_H

#include <stdint.h>

typedef uint64_t usec_t; /* microseconds; `now` is monotonic and never 0 */

#define USEC_NEVER UINT64_MAX /* a deadline that does not come */
#define MSEC       ((usec_t)1000)
#define SEC        ((usec_t)1000000)
#define MINUTE     (60 * SEC)
#define HOUR       (60 * MINUTE)

static inline usec_t usec_min(usec_t a, usec_t b)
{
    return a < b ? a : b;
}

/* The time from `then` to `now`, 0 where the clock has not reached `then`. */
static inline usec_t usec_since(usec_t now, usec_t then)
{
    return now > then ? now - then : 0;
}

#endif
