#include "pump/landing.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cache.h"

/* A place of its own costs its packet and two lines at most: one to begin at, one for the lead. */
#define PLACE_MAX(n) ((n) + 2 * CACHE_LINE)

int landing_init(struct landing *l)
{
    *l = (struct landing){.bytes = aligned_alloc(CACHE_LINE, LANDING_BYTES)};
    return l->bytes ? 0 : -ENOMEM;
}

void landing_free(struct landing *l)
{
    free(l->bytes);
    l->bytes = NULL;
}

static uint8_t *own_place(const struct landing *l, size_t used)
{
    size_t lines = (used + CACHE_LINE - 1) / CACHE_LINE * CACHE_LINE;
    return l->bytes + lines + (CACHE_LINE - l->lead % CACHE_LINE) % CACHE_LINE;
}

uint8_t *landing_place(struct landing *l, size_t n, uint8_t *end, size_t headers, size_t before)
{
    /* Should it turn out that it continues nothing, it must have room to move to. */
    bool continues = end && end == l->bytes + l->used && headers <= before && headers < n &&
                     headers <= LANDING_OVER_MAX && l->used + n + PLACE_MAX(n) <= LANDING_BYTES;
    l->n = n;
    l->over = continues ? headers : 0;
    if (continues) {
        l->at = end - headers;
        memcpy(l->saved, l->at, headers);
        return l->at;
    }
    if (l->used + PLACE_MAX(n) > LANDING_BYTES)
        return NULL;
    return l->at = own_place(l, l->used);
}

bool landing_covers(const struct landing *l)
{
    return l->over > 0;
}

void landing_drop(struct landing *l)
{
    memcpy(l->at, l->saved, l->over);
    l->over = 0;
}

void landing_keep(struct landing *l)
{
    landing_drop(l);
    l->used = (size_t)(l->at - l->bytes) + l->n;
}

uint8_t *landing_move(struct landing *l)
{
    uint8_t *to = own_place(l, (size_t)(l->at - l->bytes) + l->n);
    memcpy(to, l->at, l->n);
    landing_drop(l);
    return l->at = to;
}

void landing_clear(struct landing *l)
{
    l->used = 0;
}
