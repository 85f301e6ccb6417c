/* A growable buffer that is born with its maximum: what does not fit is refused, and nothing changes. */
#ifndef WARREN_BASE_BUF_H
#define WARREN_BASE_BUF_H

#include "base/bytes.h"

struct buf {
    uint8_t *p;
    size_t n, cap, max;
};

void buf_init(struct buf *b, size_t max);
/* Frees the memory; the buffer is empty and usable again. Secrets are the caller's to wipe before. */
void buf_done(struct buf *b);
/* 0, -E2BIG past the maximum, -ENOMEM. */
int buf_add(struct buf *b, struct bytes in);
int buf_add_str(struct buf *b, const char *s);
int buf_printf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Room for n more bytes at the end, not yet counted in n; NULL as buf_add fails. buf_grow counts them. */
uint8_t *buf_room(struct buf *b, size_t n);
void buf_grow(struct buf *b, size_t n);
/* Drops n bytes from the front. */
void buf_eat(struct buf *b, size_t n);
void buf_clear(struct buf *b);
struct bytes buf_bytes(const struct buf *b);
/* The content as a C string (a NUL behind it that is not counted); "" when memory fails. */
const char *buf_str(struct buf *b);

#endif
