/* What threads write often and do not share lies in cache lines of its own: where one line is written by two
 * cores, each write fetches it from the other. */
#ifndef WARREN_BASE_CACHE_H
#define WARREN_BASE_CACHE_H

#include <stdlib.h>
#include <string.h>

#define CACHE_LINE 64 /* of x86 and most of ARM; where lines are longer, only speed is lost */

/* Zeros that begin with a line, for free(); NULL when memory fails. n: sizeof a struct with a member that is
 * aligned so, which is a multiple of a line. */
static inline void *cache_calloc(size_t n)
{
    void *p = aligned_alloc(CACHE_LINE, n);
    return p ? memset(p, 0, n) : NULL;
}

#endif
