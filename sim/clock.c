#include "sim/clock.h"

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/sanitized.h"

#if ADDRESS_SANITIZED
size_t __sanitizer_get_current_allocated_bytes(void);
#endif

void *sim_alloc(size_t n)
{
    void *p = calloc(1, n ? n : 1);
    if (!p) {
        fputs("sim: out of memory\n", stderr);
        abort();
    }
    return p;
}

void sim_init(struct sim *s, uint64_t seed)
{
    memset(s, 0, sizeof *s);
    s->now = SIM_START;
    s->seed = seed;
    s->rng = rng_seeded(&s->chance, seed);
}

void sim_done(struct sim *s)
{
    while (s->n > 0) {
        struct sim_timer *t = s->heap[s->n - 1];
        sim_disarm(s, t);
        if (t->drop)
            t->drop(t->arg);
    }
    free(s->heap);
    memset(s, 0, sizeof *s);
}

static bool before(const struct sim_timer *a, const struct sim_timer *b)
{
    return a->at < b->at || (a->at == b->at && a->order < b->order);
}

static void place(struct sim *s, size_t i, struct sim_timer *t)
{
    s->heap[i] = t;
    t->slot = i + 1;
}

static void rise(struct sim *s, size_t i, struct sim_timer *t)
{
    while (i > 0 && before(t, s->heap[(i - 1) / 2])) {
        place(s, i, s->heap[(i - 1) / 2]);
        i = (i - 1) / 2;
    }
    place(s, i, t);
}

static void sink(struct sim *s, size_t i, struct sim_timer *t)
{
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= s->n)
            break;
        if (child + 1 < s->n && before(s->heap[child + 1], s->heap[child]))
            child++;
        if (!before(s->heap[child], t))
            break;
        place(s, i, s->heap[child]);
        i = child;
    }
    place(s, i, t);
}

void sim_disarm(struct sim *s, struct sim_timer *t)
{
    if (t->slot == 0)
        return;
    size_t i = t->slot - 1;
    t->slot = 0;
    struct sim_timer *last = s->heap[--s->n];
    if (last == t)
        return;
    if (i > 0 && before(last, s->heap[(i - 1) / 2]))
        rise(s, i, last);
    else
        sink(s, i, last);
}

static void grow(struct sim *s)
{
    size_t cap = s->cap ? 2 * s->cap : 64;
    struct sim_timer **heap = sim_alloc(cap * sizeof *heap);
    if (s->n > 0)
        memcpy(heap, s->heap, s->n * sizeof *heap);
    free(s->heap);
    s->heap = heap;
    s->cap = cap;
}

void sim_arm(struct sim *s, struct sim_timer *t, usec_t at)
{
    sim_disarm(s, t);
    if (at == USEC_NEVER)
        return;
    if (s->n == s->cap)
        grow(s);
    t->at = at > s->now ? at : s->now;
    t->order = s->order++;
    rise(s, s->n++, t);
}

bool sim_step(struct sim *s, usec_t until)
{
    if (s->n == 0 || s->heap[0]->at > until) {
        if (until > s->now)
            s->now = until;
        return false;
    }
    struct sim_timer *t = s->heap[0];
    s->now = t->at;
    sim_disarm(s, t);
    s->steps++;
    t->fire(t->arg);
    return true;
}

void sim_run(struct sim *s, usec_t until)
{
    while (sim_step(s, until))
        ;
}

uint64_t sim_unix(const struct sim *s)
{
    return SIM_START_UNIX + (s->now - SIM_START) / SEC;
}

bool sim_chance(const struct rng *rng, double p)
{
    if (p <= 0)
        return false;
    return (double)rng_below(rng, 1u << 30) < p * (double)(1u << 30);
}

uint64_t sim_seed(uint64_t usual)
{
    const char *text = getenv("WARREN_SEED");
    return text && *text ? strtoull(text, NULL, 0) : usual;
}

size_t sim_heap_bytes(void)
{
#if ADDRESS_SANITIZED
    return __sanitizer_get_current_allocated_bytes();
#else
    return mallinfo2().uordblks;
#endif
}
