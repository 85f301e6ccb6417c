/* What threads write often and do not share lies in cache lines of its own: where one line is written by two
 * cores, each write fetches it from the other. */
#ifndef WARREN_BASE_CACHE_H
#define WARREN_BASE_CACHE_H

#define CACHE_LINE 64 /* of x86 and most of ARM; where lines are longer, only speed is lost */

#endif
