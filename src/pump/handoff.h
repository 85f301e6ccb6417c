/* A queue of byte strings between two threads: one puts, the other takes, neither waits. Bounded; what does
 * not fit is refused. */
#ifndef WARREN_PUMP_HANDOFF_H
#define WARREN_PUMP_HANDOFF_H

#include "base/bytes.h"

struct handoff;
/* bytes: a power of two, headers of the items included. NULL when memory fails. */
struct handoff *handoff_new(size_t bytes);
void handoff_free(struct handoff *r);
/* The putter: room for an item of n bytes, aligned to 8, or NULL: it does not fit now. handoff_put makes it
 * visible, cut to n bytes. */
uint8_t *handoff_room(struct handoff *r, size_t n);
void handoff_put(struct handoff *r, size_t n);
/* Whether items of `each` bytes would fit now, `count` of them. */
bool handoff_fits(struct handoff *r, size_t each, size_t count);
/* Either: whether everything that was put is taken. */
bool handoff_empty(struct handoff *r);
/* The taker: the oldest item, writable, until handoff_take; NULL: none. */
uint8_t *handoff_first(struct handoff *r, size_t *n);
void handoff_take(struct handoff *r);

#endif
