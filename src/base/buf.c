#include "base/buf.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_CAP 64

void buf_init(struct buf *b, size_t max)
{
    *b = (struct buf){.max = max};
}

void buf_done(struct buf *b)
{
    free(b->p);
    buf_init(b, b->max);
}

/* Memory for n more bytes and `extra` behind them that the maximum does not count. */
static int reserve(struct buf *b, size_t n, size_t extra)
{
    if (n > b->max - b->n)
        return -E2BIG;
    size_t need = b->n + n;
    if (extra > SIZE_MAX - need)
        return -E2BIG;
    need += extra;
    if (need <= b->cap && b->p)
        return 0;
    size_t cap = b->cap ? b->cap : FIRST_CAP;
    while (cap < need)
        cap = cap > SIZE_MAX / 2 ? need : cap * 2;
    /* The last doubling does not go past what can ever be used. */
    if (cap > need && cap > b->max)
        cap = b->max > need ? b->max : need;
    uint8_t *p = realloc(b->p, cap);
    if (!p)
        return -ENOMEM;
    b->p = p;
    b->cap = cap;
    return 0;
}

int buf_add(struct buf *b, struct bytes in)
{
    int rc = reserve(b, in.n, 0);
    if (rc == 0 && in.n > 0) {
        memcpy(b->p + b->n, in.p, in.n);
        b->n += in.n;
    }
    return rc;
}

int buf_add_str(struct buf *b, const char *s)
{
    return buf_add(b, bytes_of_str(s));
}

int buf_printf(struct buf *b, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int len = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    if (len < 0)
        return -EINVAL;
    /* vsnprintf writes a NUL of its own. */
    int rc = reserve(b, (size_t)len, 1);
    if (rc < 0)
        return rc;
    va_start(ap, fmt);
    vsnprintf((char *)b->p + b->n, (size_t)len + 1, fmt, ap);
    va_end(ap);
    b->n += (size_t)len;
    return 0;
}

uint8_t *buf_room(struct buf *b, size_t n)
{
    return reserve(b, n, 0) < 0 ? NULL : b->p + b->n;
}

void buf_grow(struct buf *b, size_t n)
{
    size_t room = b->cap - b->n;
    b->n += n < room ? n : room;
}

void buf_eat(struct buf *b, size_t n)
{
    if (n >= b->n) {
        b->n = 0;
        return;
    }
    if (n == 0)
        return;
    memmove(b->p, b->p + n, b->n - n);
    b->n -= n;
}

void buf_clear(struct buf *b)
{
    b->n = 0;
}

struct bytes buf_bytes(const struct buf *b)
{
    return bytes_of(b->p, b->n);
}

const char *buf_str(struct buf *b)
{
    if (reserve(b, 0, 1) < 0)
        return "";
    b->p[b->n] = 0;
    return (const char *)b->p;
}
