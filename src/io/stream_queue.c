#include "io/stream_queue.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct stream_queue_item {
    struct stream_queue_item *next;
    bool keep;
    size_t n;
    uint8_t p[];
};

void stream_queue_init(struct stream_queue *q)
{
    memset(q, 0, sizeof *q);
}

static size_t cost(size_t n)
{
    return n + STREAM_QUEUE_COST;
}

/* The item behind `before` (NULL: the first one) goes. */
static void remove_behind(struct stream_queue *q, struct stream_queue_item *before)
{
    struct stream_queue_item *i = before ? before->next : q->first;
    if (before)
        before->next = i->next;
    else
        q->first = i->next;
    if (q->last == i)
        q->last = before;
    q->bytes -= cost(i->n);
    q->count--;
    free(i);
}

void stream_queue_done(struct stream_queue *q)
{
    while (q->first)
        remove_behind(q, NULL);
}

static size_t droppable(const struct stream_queue *q)
{
    size_t n = 0;
    for (const struct stream_queue_item *i = q->first; i; i = i->next)
        n += i->keep ? 0 : cost(i->n);
    return n;
}

static void make_room(struct stream_queue *q, size_t need)
{
    struct stream_queue_item *before = NULL;
    while (q->bytes + need > STREAM_QUEUE_MAX) {
        struct stream_queue_item *i = before ? before->next : q->first;
        if (i->keep) {
            before = i;
            continue;
        }
        remove_behind(q, before);
        q->dropped++;
    }
}

int stream_queue_add(struct stream_queue *q, struct bytes datagram, bool keep, size_t max)
{
    size_t need = cost(datagram.n);
    int rc = 0;
    if (datagram.n > max)
        rc = -EMSGSIZE;
    else if (need > STREAM_QUEUE_MAX ||
             (q->bytes + need > STREAM_QUEUE_MAX && q->bytes - droppable(q) + need > STREAM_QUEUE_MAX))
        rc = -ENOBUFS;
    struct stream_queue_item *i = rc ? NULL : malloc(sizeof *i + datagram.n);
    if (!i) {
        q->dropped++;
        return rc ? rc : -ENOMEM;
    }
    make_room(q, need);
    *i = (struct stream_queue_item){.keep = keep, .n = datagram.n};
    if (datagram.n)
        memcpy(i->p, datagram.p, datagram.n);
    if (q->last)
        q->last->next = i;
    else
        q->first = i;
    q->last = i;
    q->bytes += need;
    q->count++;
    return 0;
}

int stream_queue_pack(struct stream_queue *q, struct buf *out, size_t most, bool framed)
{
    int packed = 0;
    size_t from = out->n;
    while (q->first) {
        const struct stream_queue_item *i = q->first;
        size_t n = i->n + (framed ? 2 : 0);
        if (packed && out->n - from + n > most)
            break;
        if (out->n > out->max || n > out->max - out->n)
            return packed ? packed : -E2BIG;
        uint8_t *p = n ? buf_room(out, n) : out->p;
        if (!p && n)
            return packed ? packed : -ENOMEM;
        struct wr w = wr_of(p, n);
        if (framed)
            wr_u16(&w, (uint16_t)i->n);
        wr_copy(&w, i->p, i->n);
        buf_grow(out, n);
        remove_behind(q, NULL);
        packed++;
    }
    return packed;
}
