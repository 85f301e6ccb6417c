/* Views, the one bounds-checked reader and its mirror writer. Bytes from strangers are read through `struct
 * rd` and nowhere else. Both cursors fail sticky: after the first read past the end (or write past the
 * capacity) every further one yields zeros (or nothing), and the caller asks once, at the end, with rd_done
 * or wr_ok. So a codec is a list of fields. All integers on Warren's wire are big-endian. */
#ifndef WARREN_BASE_BYTES_H
#define WARREN_BASE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A view; owns nothing. */
struct bytes {
    const uint8_t *p;
    size_t n;
};

struct bytes bytes_of(const void *p, size_t n);
struct bytes bytes_of_str(const char *s);
/* Equality in variable time: for public values only (secrets: crypto/secret.h). */
bool bytes_equal(struct bytes a, struct bytes b);

struct rd {
    const uint8_t *p;
    size_t left;
    bool bad;
};

struct rd rd_of(struct bytes in);
uint8_t rd_u8(struct rd *r);
uint16_t rd_u16(struct rd *r);
uint32_t rd_u32(struct rd *r);
uint64_t rd_u64(struct rd *r);
/* A view of the next n bytes, never a copy; empty when they are not there. */
struct bytes rd_bytes(struct rd *r, size_t n);
/* Copies n bytes to out; zeros when they are not there. */
void rd_copy(struct rd *r, void *out, size_t n);
/* A view preceded by its length in 16 bits; fails where the length exceeds max. */
struct bytes rd_block16(struct rd *r, size_t max);
/* Copies text preceded by its 8-bit length into out (cap bytes with the NUL). Fails on a NUL inside, on bytes
 * that are not UTF-8 and where it does not fit. */
void rd_text8(struct rd *r, char *out, size_t cap);
/* Whatever is left, taken. */
struct bytes rd_rest(struct rd *r);
void rd_fail(struct rd *r);
size_t rd_left(const struct rd *r);
bool rd_ok(const struct rd *r);
/* True where nothing was missing and nothing is left over. */
bool rd_done(const struct rd *r);

struct wr {
    uint8_t *p;
    size_t n, cap;
    bool bad;
};

struct wr wr_of(void *buf, size_t cap);
void wr_u8(struct wr *w, uint8_t v);
void wr_u16(struct wr *w, uint16_t v);
void wr_u32(struct wr *w, uint32_t v);
void wr_u64(struct wr *w, uint64_t v);
void wr_bytes(struct wr *w, struct bytes b);
void wr_copy(struct wr *w, const void *p, size_t n);
void wr_block16(struct wr *w, struct bytes b);
void wr_text8(struct wr *w, const char *s);
/* n bytes to be filled by the caller, or NULL (and the writer failed). */
uint8_t *wr_take(struct wr *w, size_t n);
bool wr_ok(const struct wr *w);
struct bytes wr_done(const struct wr *w);

#endif
