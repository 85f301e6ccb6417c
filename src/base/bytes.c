#include "base/bytes.h"

#include <string.h>

#include "base/text.h"

struct bytes bytes_of(const void *p, size_t n)
{
    return (struct bytes){p, n};
}

struct bytes bytes_of_str(const char *s)
{
    return (struct bytes){(const uint8_t *)s, strlen(s)};
}

bool bytes_equal(struct bytes a, struct bytes b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

struct rd rd_of(struct bytes in)
{
    return (struct rd){in.p, in.n, false};
}

void rd_fail(struct rd *r)
{
    r->bad = true;
    r->left = 0;
}

/* The next n bytes, or NULL and the reader failed. n = 0 succeeds with a pointer that may be NULL. */
static const uint8_t *rd_take(struct rd *r, size_t n)
{
    if (r->bad || n > r->left) {
        rd_fail(r);
        return NULL;
    }
    const uint8_t *p = r->p;
    if (n > 0)
        r->p += n;
    r->left -= n;
    return p;
}

static uint64_t rd_int(struct rd *r, size_t n)
{
    const uint8_t *p = rd_take(r, n);
    uint64_t v = 0;
    for (size_t i = 0; p && i < n; i++)
        v = v << 8 | p[i];
    return v;
}

uint8_t rd_u8(struct rd *r)
{
    return (uint8_t)rd_int(r, 1);
}

uint16_t rd_u16(struct rd *r)
{
    return (uint16_t)rd_int(r, 2);
}

uint32_t rd_u32(struct rd *r)
{
    return (uint32_t)rd_int(r, 4);
}

uint64_t rd_u64(struct rd *r)
{
    return rd_int(r, 8);
}

struct bytes rd_bytes(struct rd *r, size_t n)
{
    const uint8_t *p = rd_take(r, n);
    return p ? bytes_of(p, n) : bytes_of(NULL, 0);
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

size_t rd_left(const struct rd *r)
{
    return r->left;
}

bool rd_ok(const struct rd *r)
{
    return !r->bad;
}

bool rd_done(const struct rd *r)
{
    return !r->bad && r->left == 0;
}

struct wr wr_of(void *buf, size_t cap)
{
    return (struct wr){buf, 0, cap, false};
}

uint8_t *wr_take(struct wr *w, size_t n)
{
    if (w->bad || n > w->cap - w->n) {
        w->bad = true;
        return NULL;
    }
    uint8_t *p = w->p ? w->p + w->n : NULL;
    w->n += n;
    return p;
}

static void wr_int(struct wr *w, uint64_t v, size_t n)
{
    uint8_t *p = wr_take(w, n);
    for (size_t i = 0; p && i < n; i++)
        p[i] = (uint8_t)(v >> 8 * (n - 1 - i));
}

void wr_u8(struct wr *w, uint8_t v)
{
    wr_int(w, v, 1);
}

void wr_u16(struct wr *w, uint16_t v)
{
    wr_int(w, v, 2);
}

void wr_u32(struct wr *w, uint32_t v)
{
    wr_int(w, v, 4);
}

void wr_u64(struct wr *w, uint64_t v)
{
    wr_int(w, v, 8);
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

bool wr_ok(const struct wr *w)
{
    return !w->bad;
}

struct bytes wr_done(const struct wr *w)
{
    return w->bad ? bytes_of(NULL, 0) : bytes_of(w->p, w->n);
}
