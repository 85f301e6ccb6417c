#include "io/clock.h"

#include <time.h>

static uint64_t read_clock(clockid_t id, uint64_t per_s)
{
    struct timespec t;
    clock_gettime(id, &t);
    return (uint64_t)t.tv_sec * per_s + (uint64_t)t.tv_nsec / (1000000000u / per_s);
}

usec_t clock_now(void)
{
    return read_clock(CLOCK_BOOTTIME, 1000000);
}

usec_t clock_awake(void)
{
    return read_clock(CLOCK_MONOTONIC, 1000000);
}

uint64_t clock_unix_s(void)
{
    return read_clock(CLOCK_REALTIME, 1);
}

uint64_t clock_unix_ms(void)
{
    return read_clock(CLOCK_REALTIME, 1000);
}
