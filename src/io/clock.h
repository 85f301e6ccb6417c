/* The only clock reads of the program. */
#ifndef WARREN_IO_CLOCK_H
#define WARREN_IO_CLOCK_H

#include "base/time.h"

usec_t clock_now(void);   /* CLOCK_BOOTTIME: monotonic, and it counts while the machine sleeps */
usec_t clock_awake(void); /* CLOCK_MONOTONIC: stands still meanwhile; what the two drift apart was sleep */
uint64_t clock_unix_s(void);
uint64_t clock_unix_ms(void);

#endif
