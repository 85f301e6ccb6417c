#include "hub/frames_int.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "wire/relay.h"

#define FIRST_CHUNK 2048
#define NEXT_CHUNK  32768

struct frames_chunk {
    struct frames_chunk *next;
    uint32_t start, end, cap;
    uint8_t p[];
};

_Static_assert(FRAMES_RUN_MAX == RELAY_HEADER_LEN + RELAY_PAYLOAD_MAX, "a run holds any frame");
_Static_assert(NEXT_CHUNK >= FRAMES_RUN_MAX, "a chunk holds any run");

/* Of a frame that relay_frame_read has found good. */
static size_t frame_len(const uint8_t *p)
{
    return RELAY_HEADER_LEN + ((size_t)p[2] << 8 | p[3]);
}

/* Whole frames from p on that have at most max bytes together. */
static size_t whole_frames(const uint8_t *p, size_t n, size_t max)
{
    size_t total = 0;
    while (total < n && total + frame_len(p + total) <= max)
        total += frame_len(p + total);
    return total;
}

/* ---- lines ---- */

static struct frames_chunk *chunk_new(const struct frames_line *l, size_t need)
{
    size_t cap = l->last || need > FIRST_CHUNK ? NEXT_CHUNK : FIRST_CHUNK;
    struct frames_chunk *c = malloc(sizeof *c + cap);
    if (c)
        *c = (struct frames_chunk){.cap = (uint32_t)cap};
    return c;
}

static void chunk_append(struct frames_line *l, struct frames_chunk *c)
{
    if (l->last)
        l->last->next = c;
    else
        l->first = c;
    l->last = c;
}

static void chunk_fill(struct frames_chunk *c, struct bytes run, uint32_t peer)
{
    uint8_t *at = c->p + c->end, *end = at + run.n;
    memcpy(at, run.p, run.n);
    c->end += (uint32_t)run.n;
    for (; at < end; at += frame_len(at)) {
        struct wr w = wr_of(at + 4, 4);
        wr_u32(&w, peer);
    }
}

/* Takes n bytes of whole frames off the first chunk. */
static void line_eat(struct frames *f, struct frames_line *l, size_t n)
{
    struct frames_chunk *c = l->first;
    l->bytes -= n;
    f->bytes -= n;
    c->start += (uint32_t)n;
    if (c->start < c->end)
        return;
    l->first = c->next;
    if (!l->first)
        l->last = NULL;
    f->held -= sizeof *c + c->cap;
    free(c);
}

static size_t line_next(const struct frames_line *l)
{
    return frame_len(l->first->p + l->first->start);
}

/* Moves frames of at most max bytes to out; says how many bytes. Less than fits: memory failed. */
static size_t line_take(struct frames *f, struct frames_line *l, struct buf *out, size_t max)
{
    size_t took = 0;
    while (l->first && took + line_next(l) <= max) {
        struct frames_chunk *c = l->first;
        size_t n = whole_frames(c->p + c->start, c->end - c->start, max - took);
        if (buf_add(out, bytes_of(c->p + c->start, n)) < 0)
            break;
        line_eat(f, l, n);
        took += n;
    }
    return took;
}

static uint32_t line_clear(struct frames *f, struct frames_line *l)
{
    uint32_t count = 0;
    for (; l->first; count++)
        line_eat(f, l, line_next(l));
    return count;
}

/* ---- turns ---- */

static void turn_end(struct frames *f, size_t at)
{
    f->credit[f->turn[at]] = 0;
    f->turns--;
    memmove(f->turn + at, f->turn + at + 1, f->turns - at);
    if (at == 0)
        f->begun = false;
}

static void turn_pass(struct frames *f)
{
    uint8_t line = f->turn[0];
    memmove(f->turn, f->turn + 1, f->turns - 1u);
    f->turn[f->turns - 1] = line;
    f->begun = false;
}

/* ---- what the caller sees ---- */

bool frames_empty(const struct frames *f)
{
    return f->bytes == 0;
}

bool frames_no_data(const struct frames *f)
{
    return f->turns == 0;
}

bool frames_no_control(const struct frames *f)
{
    return f->control.first == NULL;
}

int frames_add(struct frames *f, bool control, uint32_t sender, uint32_t peer, struct bytes run)
{
    uint8_t number = (uint8_t)(sender % FRAMES_LINES);
    struct frames_line *l = control ? &f->control : &f->data[number];
    struct frames_chunk *last = l->last, *more = NULL;
    size_t fits = last ? whole_frames(run.p, run.n, last->cap - last->end) : 0;
    if (run.n == 0)
        return 0;
    if (fits < run.n && !(more = chunk_new(l, run.n - fits)))
        return -ENOMEM;
    if (!control && !l->first)
        f->turn[f->turns++] = number;
    if (fits > 0)
        chunk_fill(last, bytes_of(run.p, fits), peer);
    if (more) {
        f->held += sizeof *more + more->cap;
        chunk_append(l, more);
        chunk_fill(more, bytes_of(run.p + fits, run.n - fits), peer);
    }
    l->bytes += run.n;
    f->bytes += run.n;
    return 0;
}

void frames_drop(struct frames *f)
{
    size_t longest = 0;
    if (f->turns == 0) {
        if (f->control.first)
            line_eat(f, &f->control, line_next(&f->control));
        return;
    }
    for (size_t i = 1; i < f->turns; i++) {
        if (f->data[f->turn[i]].bytes > f->data[f->turn[longest]].bytes)
            longest = i;
    }
    struct frames_line *l = &f->data[f->turn[longest]];
    line_eat(f, l, line_next(l));
    if (!l->first)
        turn_end(f, longest);
}

/* Bytes that may still be added, and at least the next frame where none was taken yet. */
static size_t room(const struct buf *out, size_t until, bool none_yet, const struct frames_line *l)
{
    size_t left = out->n < until ? until - out->n : 0;
    return none_yet && l->first && left < line_next(l) ? line_next(l) : left;
}

void frames_take_control(struct frames *f, struct buf *out, size_t until)
{
    line_take(f, &f->control, out, room(out, until, true, &f->control));
}

void frames_take_data(struct frames *f, struct buf *out, size_t until)
{
    bool none_yet = true;
    while (f->turns > 0) {
        struct frames_line *l = &f->data[f->turn[0]];
        uint32_t *credit = &f->credit[f->turn[0]];
        size_t left = room(out, until, none_yet, l);
        if (!f->begun)
            *credit += FRAMES_TURN;
        f->begun = true;
        bool alone = f->turns == 1;
        size_t may = alone || *credit > left ? left : *credit;
        size_t took = line_take(f, l, out, may);
        *credit = took < *credit ? *credit - (uint32_t)took : 0;
        none_yet = none_yet && took == 0;
        if (!l->first) {
            turn_end(f, 0);
            continue;
        }
        size_t next = line_next(l);
        bool its_turn = alone || next <= *credit;
        if ((its_turn && next > left - took) || next <= may - took)
            return; /* the message is full, or memory is */
        turn_pass(f);
    }
}

uint32_t frames_clear_data(struct frames *f)
{
    uint32_t count = 0;
    for (; f->turns > 0; turn_end(f, 0))
        count += line_clear(f, &f->data[f->turn[0]]);
    return count;
}

void frames_clear(struct frames *f)
{
    frames_clear_data(f);
    line_clear(f, &f->control);
}
