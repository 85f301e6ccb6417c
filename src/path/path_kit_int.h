/* What tests of the set share: a world of one owner and ways with a delay each. */
#ifndef WARREN_PATH_PATH_KIT_INT_H
#define WARREN_PATH_PATH_KIT_INT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "path/path.h"

#define START   (100 * SEC)
#define RELAY   1u
#define DIRECT  2u
#define FLIGHTS 4096

/* ---- A world of one owner and ways with a delay each; a delay of NEVER loses everything. */

#define NEVER USEC_NEVER

struct flight {
    usec_t at;
    uint8_t probe[PATH_PROBE_LEN];
};

struct world {
    struct paths *p;
    struct rng_seeded seeded;
    usec_t now, delay[8], step;
    struct flight flights[FLIGHTS];
    size_t count, probes[8], silent;
    usec_t send_every, sent_at,
        heard_lag; /* the owner's traffic on the best path; answered after heard_lag unless 0 */
    struct path_event events[256];
    usec_t event_at[256];
    size_t event_count;
};

static inline struct world *world_make(void)
{
    struct world *w = calloc(1, sizeof *w);
    assert_non_null(w);
    w->now = START;
    w->step = 10 * MSEC;
    w->p = paths_new(rng_seeded(&w->seeded, 7));
    assert_non_null(w->p);
    return w;
}

static inline void world_end(struct world *w)
{
    paths_free(w->p);
    free(w);
}

static inline uint32_t best(const struct world *w)
{
    uint32_t id;
    enum path_kind k;
    return paths_best(w->p, &id, &k) ? id : PATHS_NO_ID;
}

static inline void world_send(struct world *w)
{
    uint32_t id = best(w);
    if (!w->send_every || w->now < w->sent_at + w->send_every || id == PATHS_NO_ID)
        return;
    w->sent_at = w->now;
    paths_sent(w->p, id, w->now);
    if (w->heard_lag && w->delay[id] != NEVER)
        paths_received(w->p, id, w->now);
}

static inline void world_deliver(struct world *w)
{
    for (size_t i = 0; i < w->count;) {
        uint32_t id;
        usec_t rtt;
        if (w->flights[i].at > w->now) {
            i++;
            continue;
        }
        paths_answer(w->p, bytes_of(w->flights[i].probe, PATH_PROBE_LEN), w->now, &id, &rtt);
        w->flights[i] = w->flights[--w->count];
    }
}

static inline void world_step(struct world *w)
{
    uint32_t id;
    uint16_t size;
    uint8_t probe[PATH_PROBE_LEN];
    world_send(w);
    world_deliver(w);
    paths_tick(w->p, w->now);
    while (paths_output(w->p, w->now, &id, probe, &size)) {
        w->probes[id] += size == 0; /* those of the search for the MTU have tests of their own */
        if (w->delay[id] == NEVER)
            continue;
        assert_true(w->count < FLIGHTS);
        w->flights[w->count].at = w->now + w->delay[id];
        memcpy(w->flights[w->count++].probe, probe, PATH_PROBE_LEN);
    }
    for (struct path_event e; paths_event(w->p, &e);) {
        if (e.kind == PATH_EVENT_MTU)
            continue;
        assert_true(w->event_count < 256);
        w->event_at[w->event_count] = w->now;
        w->events[w->event_count++] = e;
    }
}

static inline void world_run(struct world *w, usec_t time)
{
    for (usec_t end = w->now + time; w->now < end; w->now += w->step)
        world_step(w);
    world_step(w);
}

/* When the last event of a kind about a path was, 0: never. */
static inline usec_t when(const struct world *w, enum path_event_kind kind, uint32_t id)
{
    for (size_t i = w->event_count; i-- > 0;)
        if (w->events[i].kind == kind && w->events[i].id == id)
            return w->event_at[i];
    return 0;
}

static inline void world_add(struct world *w, uint32_t id, enum path_kind kind, usec_t delay)
{
    w->delay[id] = delay;
    assert_int_equal(paths_add(w->p, id, kind, w->now), 0);
}

static inline struct path_stats stats(const struct world *w, uint32_t id)
{
    struct path_stats s;
    assert_true(paths_stats(w->p, id, &s));
    return s;
}

#endif
