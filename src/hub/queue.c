#include "hub/queue_int.h"

#include <stdlib.h>
#include <string.h>

#define FIRST_CHUNK 2048
#define NEXT_CHUNK  32768

struct queue_chunk {
    struct queue_chunk *next;
    uint32_t start, end, cap;
    uint8_t p[];
};

static struct queue_chunk *chunk_add(struct queue *q, size_t need)
{
    size_t cap = q->last ? NEXT_CHUNK : FIRST_CHUNK;
    if (cap < need)
        cap = need;
    struct queue_chunk *c = malloc(sizeof *c + cap);
    if (!c)
        return NULL;
    *c = (struct queue_chunk){.cap = (uint32_t)cap};
    if (q->last)
        q->last->next = c;
    else
        q->first = c;
    q->last = c;
    q->held += sizeof *c + cap;
    return c;
}

uint8_t *queue_push(struct queue *q, size_t n)
{
    uint32_t len = (uint32_t)n;
    struct queue_chunk *c = q->last;
    if (!c || c->cap - c->end < n + sizeof len)
        c = chunk_add(q, n + sizeof len);
    if (!c)
        return NULL;
    memcpy(c->p + c->end, &len, sizeof len);
    uint8_t *at = c->p + c->end + sizeof len;
    c->end += (uint32_t)(n + sizeof len);
    q->bytes += n;
    return at;
}

bool queue_empty(const struct queue *q)
{
    return q->first == NULL;
}

struct bytes queue_peek(const struct queue *q)
{
    uint32_t len;
    const struct queue_chunk *c = q->first;
    if (!c)
        return bytes_of(NULL, 0);
    memcpy(&len, c->p + c->start, sizeof len);
    return bytes_of(c->p + c->start + sizeof len, len);
}

void queue_pop(struct queue *q)
{
    struct queue_chunk *c = q->first;
    struct bytes head = queue_peek(q);
    if (!c)
        return;
    q->bytes -= head.n;
    c->start += (uint32_t)(head.n + sizeof(uint32_t));
    if (c->start < c->end)
        return;
    q->first = c->next;
    if (!q->first)
        q->last = NULL;
    q->held -= sizeof *c + c->cap;
    free(c);
}

void queue_clear(struct queue *q)
{
    while (!queue_empty(q))
        queue_pop(q);
}
