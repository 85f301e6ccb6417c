/* A store in front of another one that measures how long its calls take: the core reads no clock. */
#ifndef WARREN_HUB_STORE_TIMED_INT_H
#define WARREN_HUB_STORE_TIMED_INT_H

#include "base/buf.h"
#include "base/time.h"
#include "hub/store.h"

enum store_call { CALL_DEVICE, CALL_CREATE, CALL_APPEND, CALL_ENTRIES, CALL_BLOB, CALL_COUNT };

struct store_timed {
    struct store inner; /* closed by its owner */
    usec_t (*now)(void);
    uint64_t calls[CALL_COUNT], failed[CALL_COUNT];
    usec_t sum[CALL_COUNT], longest[CALL_COUNT];
};

/* t lives as long as the store that is returned. */
struct store store_timed(struct store_timed *t, struct store inner, usec_t (*now)(void));
/* Prometheus text. */
void store_timed_metrics(const struct store_timed *t, struct buf *out);

#endif
