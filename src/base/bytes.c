#include "base/bytes.h"

#include <string.h>

#include "base/text.h"

struct bytes bytes_of_str(const char *s)
{
    return (struct bytes){(const uint8_t *)s, strlen(s)};
}

bool bytes_equal(struct bytes a, struct bytes b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

void rd_copy(struct rd *r, void *out, size_t n)
{
    const uint8_t *p = rd_take(r, n);
    if (n == 0)
        return;
    if (p)
        memcpy(out, p, n);
    else
        memset(out, 0, n);
}

struct bytes rd_block16(struct rd *r, size_t max)
{
    size_t n = rd_u16(r);
    if (n > max) {
        rd_fail(r);
        return bytes_of(NULL, 0);
    }
    return rd_bytes(r, n);
}

void rd_text8(struct rd *r, char *out, size_t cap)
{
    struct bytes s = rd_bytes(r, rd_u8(r));
    if (s.n >= cap || (s.n > 0 && memchr(s.p, 0, s.n)) || !utf8_valid(s)) {
        rd_fail(r);
        s.n = 0;
    }
    if (s.n > 0)
        memcpy(out, s.p, s.n);
    if (cap > 0)
        out[s.n] = 0;
}

struct bytes rd_rest(struct rd *r)
{
    return rd_bytes(r, r->left);
}

void wr_copy(struct wr *w, const void *p, size_t n)
{
    uint8_t *to = wr_take(w, n);
    if (to && n > 0)
        memcpy(to, p, n);
}

void wr_bytes(struct wr *w, struct bytes b)
{
    wr_copy(w, b.p, b.n);
}

void wr_block16(struct wr *w, struct bytes b)
{
    /* Length and content go in together or not at all: a reader never sees a length without its bytes. */
    if (b.n > UINT16_MAX || w->bad || w->cap - w->n < 2 + b.n) {
        w->bad = true;
        return;
    }
    wr_u16(w, (uint16_t)b.n);
    wr_bytes(w, b);
}

void wr_text8(struct wr *w, const char *s)
{
    struct bytes b = bytes_of_str(s);
    if (b.n > UINT8_MAX || w->bad || w->cap - w->n < 1 + b.n) {
        w->bad = true;
        return;
    }
    wr_u8(w, (uint8_t)b.n);
    wr_bytes(w, b);
}
