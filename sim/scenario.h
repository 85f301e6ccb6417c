/* What a scenario includes: the vocabulary, and the tie between a world and cmocka. */
#ifndef WARREN_SIM_SCENARIO_H
#define WARREN_SIM_SCENARIO_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sim/world.h"

static inline int scenario_begin(void **state)
{
    (void)state;
    world_fails = _fail;
    world_begin();
    return 0;
}

static inline int scenario_end(void **state)
{
    (void)state;
    world_end();
    return 0;
}

#define SCENARIO(name) static void name(void **state)
#define STORY(name)    cmocka_unit_test_setup_teardown(name, scenario_begin, scenario_end)

#endif
