#include "io/line.h"

#include <errno.h>
#include <string.h>

/* Room for a whole line and for what one read brings behind it. */
#define LINE_BUFFER (2 * LINE_MAX_BYTES)

void line_init(struct line_reader *r)
{
    buf_init(&r->in, LINE_BUFFER + 1);
    r->taken = 0;
}

void line_done(struct line_reader *r)
{
    if (r->in.p)
        explicit_bzero(r->in.p, r->in.cap);
    buf_done(&r->in);
    r->taken = 0;
}

/* What was given out is wiped before its place is used again. */
static void forget_taken(struct line_reader *r)
{
    if (!r->taken)
        return;
    size_t left = r->in.n - r->taken;
    memmove(r->in.p, r->in.p + r->taken, left);
    explicit_bzero(r->in.p + left, r->taken);
    r->in.n = left;
    r->taken = 0;
}

/* Length of the line that has begun at the end of the buffer, after adding `in`: too long is seen before it
 * is kept. */
static bool too_long(const struct line_reader *r, struct bytes in)
{
    const uint8_t *nl = r->in.n ? memrchr(r->in.p, '\n', r->in.n) : NULL;
    size_t open = nl ? (size_t)(r->in.p + r->in.n - nl - 1) : r->in.n;
    while (in.n) {
        const uint8_t *end = memchr(in.p, '\n', in.n);
        size_t n = end ? (size_t)(end - in.p) : in.n;
        if (open + n > LINE_MAX_BYTES)
            return true;
        if (!end)
            return false;
        in.n -= n + 1;
        in.p = end + 1;
        open = 0;
    }
    return false;
}

int line_feed(struct line_reader *r, struct bytes in)
{
    forget_taken(r);
    if (too_long(r, in))
        return -EMSGSIZE;
    int rc = buf_add(&r->in, in);
    return rc == -E2BIG ? -EMSGSIZE : rc;
}

bool line_next(struct line_reader *r, struct bytes *line)
{
    if (r->taken == r->in.n)
        return false;
    const uint8_t *from = r->in.p + r->taken;
    const uint8_t *end = memchr(from, '\n', r->in.n - r->taken);
    if (!end)
        return false;
    *line = bytes_of(from, (size_t)(end - from));
    r->taken += line->n + 1;
    return true;
}
