#include "pump/handoff.h"

#include <stdatomic.h>
#include <stdlib.h>

#define ALIGN 8

/* Before each item. An item never wraps: where the end is too near, a filler takes its place. */
struct item {
    uint32_t n;
    uint32_t filler;
};

struct handoff {
    size_t size;
    _Alignas(64) _Atomic size_t put; /* bytes ever put, taken: their difference is what is in */
    size_t room_at, room_n;          /* the putter's: what handoff_room gave */
    _Alignas(64) _Atomic size_t taken;
    size_t first_n; /* the taker's */
    _Alignas(64) uint8_t bytes[];
};

struct handoff *handoff_new(size_t bytes)
{
    struct handoff *r = aligned_alloc(64, (sizeof *r + bytes + 63) / 64 * 64);
    if (!r)
        return NULL;
    r->size = bytes;
    r->room_at = r->room_n = r->first_n = 0;
    atomic_init(&r->put, 0);
    atomic_init(&r->taken, 0);
    return r;
}

void handoff_free(struct handoff *r)
{
    free(r);
}

static size_t whole(size_t n)
{
    return sizeof(struct item) + (n + ALIGN - 1) / ALIGN * ALIGN;
}

static struct item *item_at(struct handoff *r, size_t at)
{
    return (struct item *)(void *)(r->bytes + (at & (r->size - 1)));
}

bool handoff_fits(struct handoff *r, size_t each, size_t count)
{
    /* In one order with handoff_take: who says that it waits, and then asks, is either answered with what was
     * taken, or seen waiting by the taker. */
    size_t in = atomic_load_explicit(&r->put, memory_order_relaxed) - atomic_load(&r->taken);
    /* One more for the filler. */
    return r->size - in >= whole(each) * (count + 1);
}

bool handoff_empty(struct handoff *r)
{
    return atomic_load(&r->put) == atomic_load(&r->taken);
}

uint8_t *handoff_room(struct handoff *r, size_t n)
{
    size_t at = atomic_load_explicit(&r->put, memory_order_relaxed), need = whole(n);
    size_t in = at - atomic_load_explicit(&r->taken, memory_order_acquire),
           end = r->size - (at & (r->size - 1));
    size_t filler = need > end ? end : 0;
    if (need > r->size || r->size - in < filler + need)
        return NULL;
    if (filler > 0) {
        *item_at(r, at) = (struct item){(uint32_t)(filler - sizeof(struct item)), 1};
        at += filler;
    }
    r->room_at = at;
    r->room_n = n;
    return (uint8_t *)(item_at(r, at) + 1);
}

void handoff_put(struct handoff *r, size_t n)
{
    *item_at(r, r->room_at) = (struct item){(uint32_t)n, 0};
    atomic_store_explicit(&r->put, r->room_at + whole(n), memory_order_release);
}

uint8_t *handoff_first(struct handoff *r, size_t *n)
{
    size_t at = atomic_load_explicit(&r->taken, memory_order_relaxed);
    while (at != atomic_load_explicit(&r->put, memory_order_acquire)) {
        struct item *i = item_at(r, at);
        if (!i->filler) {
            *n = r->first_n = i->n;
            return (uint8_t *)(i + 1);
        }
        at += whole(i->n);
        atomic_store_explicit(&r->taken, at, memory_order_release);
    }
    return NULL;
}

void handoff_take(struct handoff *r)
{
    size_t at = atomic_load_explicit(&r->taken, memory_order_relaxed);
    atomic_store(&r->taken, at + whole(r->first_n));
}
