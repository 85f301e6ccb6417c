/* What waits for a stream that does not take it yet: datagrams, bounded in memory. When there is no room, the
 * oldest that may go does, for a late datagram of the virtual network is worth less than a new one. */
#ifndef WARREN_IO_STREAM_QUEUE_H
#define WARREN_IO_STREAM_QUEUE_H

#include "base/buf.h"

#define STREAM_QUEUE_MAX  (512u * 1024) /* bytes, with what each datagram costs besides */
#define STREAM_QUEUE_COST 32            /* of each */

struct stream_queue_item;
struct stream_queue {
    struct stream_queue_item *first, *last;
    size_t bytes, count;
    uint64_t dropped; /* datagrams, ever */
};

void stream_queue_init(struct stream_queue *q);
void stream_queue_done(struct stream_queue *q);
/* Copied. keep: never dropped for others. 0; -EMSGSIZE past max; -ENOBUFS where all that waits is to be kept,
 * -ENOMEM: it is dropped itself. */
int stream_queue_add(struct stream_queue *q, struct bytes datagram, bool keep, size_t max);
/* Appends datagrams in their order to out, with a 16-bit big-endian length before each (framed), until the
 * next would make more than `most` bytes; at least one, however long. Number of datagrams, or -ENOMEM or
 * -E2BIG as out says (the one that did not fit stays). */
int stream_queue_pack(struct stream_queue *q, struct buf *out, size_t most, bool framed);

#endif
