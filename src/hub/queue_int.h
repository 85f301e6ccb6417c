/* A queue of byte records in chunks: memory comes with the first record and goes with the last, so that an
 * idle connection holds none. */
#ifndef WARREN_HUB_QUEUE_INT_H
#define WARREN_HUB_QUEUE_INT_H

#include "base/bytes.h"

struct queue_chunk;

struct queue {
    struct queue_chunk *first, *last;
    size_t bytes; /* in records */
    size_t held;  /* memory of the chunks */
};

/* Room for a record of n bytes at the end, to be filled by the caller; NULL when memory fails. */
uint8_t *queue_push(struct queue *q, size_t n);
bool queue_empty(const struct queue *q);
/* The oldest record, valid until queue_pop; empty when there is none. */
struct bytes queue_peek(const struct queue *q);
void queue_pop(struct queue *q);
void queue_clear(struct queue *q);

#endif
