/* Views, the one bounds-checked reader and its mirror writer. Bytes from strangers are read through `struct
 * rd` and nowhere else. Both cursors fail sticky: after the first read past the end (or write past the
 * capacity) every further one yields zeros (or nothing), and the caller asks once, at the end, with rd_done
 * or wr_ok. So a codec is a list of fields. All integers on Warren's wire are big-endian. What every packet
 * passes through is inline. */
#ifndef WARREN_BASE_BYTES_H
#define WARREN_BASE_BYTES_H

#include <endian.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* A view; owns nothing. */
struct bytes {
    const uint8_t *p;
    size_t n;
};

static inline struct bytes bytes_of(const void *p, size_t n)
{
    return (struct bytes){p, n};
}

struct bytes bytes_of_str(const char *s);
/* Equality in variable time: for public values only (secrets: crypto/secret.h). */
bool bytes_equal(struct bytes a, struct bytes b);

struct rd {
    const uint8_t *p;
    size_t left;
    bool bad;
};

static inline struct rd rd_of(struct bytes in)
{
    return (struct rd){in.p, in.n, false};
}

/* Makes it fail, for a reason that the caller saw. */
static inline void rd_fail(struct rd *r)
{
    r->bad = true;
    r->left = 0;
}

/* The next n bytes, or NULL and the reader failed. n = 0 succeeds with a pointer that may be NULL. */
static inline const uint8_t *rd_take(struct rd *r, size_t n)
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

static inline uint8_t rd_u8(struct rd *r)
{
    const uint8_t *p = rd_take(r, 1);
    return p ? *p : 0;
}

static inline uint16_t rd_u16(struct rd *r)
{
    uint16_t v = 0;
    const uint8_t *p = rd_take(r, sizeof v);
    if (p)
        memcpy(&v, p, sizeof v);
    return be16toh(v);
}

static inline uint32_t rd_u32(struct rd *r)
{
    uint32_t v = 0;
    const uint8_t *p = rd_take(r, sizeof v);
    if (p)
        memcpy(&v, p, sizeof v);
    return be32toh(v);
}

static inline uint64_t rd_u64(struct rd *r)
{
    uint64_t v = 0;
    const uint8_t *p = rd_take(r, sizeof v);
    if (p)
        memcpy(&v, p, sizeof v);
    return be64toh(v);
}

/* A view of the next n bytes, never a copy; empty when they are not there. */
static inline struct bytes rd_bytes(struct rd *r, size_t n)
{
    const uint8_t *p = rd_take(r, n);
    return p ? bytes_of(p, n) : bytes_of(NULL, 0);
}

/* Copies n bytes to out; zeros when they are not there. */
void rd_copy(struct rd *r, void *out, size_t n);
/* A view preceded by its length in 16 bits; fails where the length exceeds max. */
struct bytes rd_block16(struct rd *r, size_t max);
/* Copies text preceded by its 8-bit length into out (cap bytes with the NUL). Fails on a NUL inside, on bytes
 * that are not UTF-8 and where it does not fit. */
void rd_text8(struct rd *r, char *out, size_t cap);
/* Whatever is left, taken. */
struct bytes rd_rest(struct rd *r);
static inline size_t rd_left(const struct rd *r)
{
    return r->left;
}

static inline bool rd_ok(const struct rd *r)
{
    return !r->bad;
}

/* True where nothing was missing and nothing is left over. */
static inline bool rd_done(const struct rd *r)
{
    return !r->bad && r->left == 0;
}

struct wr {
    uint8_t *p;
    size_t n, cap;
    bool bad;
};

static inline struct wr wr_of(void *buf, size_t cap)
{
    return (struct wr){buf, 0, cap, false};
}

/* n bytes to be filled by the caller, or NULL (and the writer failed). */
static inline uint8_t *wr_take(struct wr *w, size_t n)
{
    if (w->bad || n > w->cap - w->n) {
        w->bad = true;
        return NULL;
    }
    uint8_t *p = w->p ? w->p + w->n : NULL;
    w->n += n;
    return p;
}

static inline void wr_u8(struct wr *w, uint8_t v)
{
    uint8_t *p = wr_take(w, 1);
    if (p)
        *p = v;
}

static inline void wr_u16(struct wr *w, uint16_t v)
{
    uint8_t *p = wr_take(w, sizeof v);
    v = htobe16(v);
    if (p)
        memcpy(p, &v, sizeof v);
}

static inline void wr_u32(struct wr *w, uint32_t v)
{
    uint8_t *p = wr_take(w, sizeof v);
    v = htobe32(v);
    if (p)
        memcpy(p, &v, sizeof v);
}

static inline void wr_u64(struct wr *w, uint64_t v)
{
    uint8_t *p = wr_take(w, sizeof v);
    v = htobe64(v);
    if (p)
        memcpy(p, &v, sizeof v);
}

void wr_bytes(struct wr *w, struct bytes b);
void wr_copy(struct wr *w, const void *p, size_t n);
void wr_block16(struct wr *w, struct bytes b);
void wr_text8(struct wr *w, const char *s);
static inline bool wr_ok(const struct wr *w)
{
    return !w->bad;
}

static inline struct bytes wr_done(const struct wr *w)
{
    return w->bad ? bytes_of(NULL, 0) : bytes_of(w->p, w->n);
}

#endif
