/* Relay frames that wait for the hub, in one ring of bytes; a full ring loses its oldest frames. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "node/engine_int.h"

int ring_init(struct ring *r, size_t cap)
{
    *r = (struct ring){.p = malloc(cap), .cap = cap};
    return r->p ? 0 : -ENOMEM;
}

void ring_done(struct ring *r)
{
    free(r->p);
    *r = (struct ring){0};
}

static void ring_write(struct ring *r, const uint8_t *p, size_t n)
{
    size_t at = (r->head + r->used) % r->cap;
    size_t first = n < r->cap - at ? n : r->cap - at;
    memcpy(r->p + at, p, first);
    memcpy(r->p, p + first, n - first);
    r->used += n;
}

static size_t ring_oldest(const struct ring *r)
{
    uint8_t hi = r->p[(r->head + 2) % r->cap], lo = r->p[(r->head + 3) % r->cap];
    return RELAY_HEADER_LEN + ((size_t)hi << 8 | lo);
}

static void ring_eat(struct ring *r, size_t n)
{
    r->head = (r->head + n) % r->cap;
    r->used -= n;
}

size_t ring_put(struct ring *r, const uint8_t header[RELAY_HEADER_LEN], const uint8_t *p, size_t n)
{
    size_t dropped = 0;
    if (RELAY_HEADER_LEN + n > r->cap)
        return 1;
    while (r->cap - r->used < RELAY_HEADER_LEN + n) {
        ring_eat(r, ring_oldest(r));
        dropped++;
    }
    ring_write(r, header, RELAY_HEADER_LEN);
    ring_write(r, p, n);
    return dropped;
}

size_t ring_take(struct ring *r, struct buf *out, size_t room)
{
    size_t total = 0;
    while (total < r->used) {
        struct ring rest = {r->p, r->cap, (r->head + total) % r->cap, r->used - total};
        size_t n = ring_oldest(&rest);
        if (total + n > room)
            break;
        total += n;
    }
    uint8_t *to = total > 0 ? buf_room(out, total) : NULL;
    if (!to)
        return 0;
    size_t first = total < r->cap - r->head ? total : r->cap - r->head;
    memcpy(to, r->p + r->head, first);
    memcpy(to + first, r->p, total - first);
    buf_grow(out, total);
    ring_eat(r, total);
    return total;
}
