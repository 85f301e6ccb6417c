#include "hub/core_int.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"

struct text *text_new(struct hub *h, const struct signal *s)
{
    struct buf b;
    buf_init(&b, SIGNAL_MAX);
    struct text *t = signal_write(&b, s) == 0 ? malloc(sizeof *t + b.n) : NULL;
    if (t) {
        t->refs = 1;
        t->n = (uint32_t)b.n;
        memcpy(t->data, b.p, b.n);
        h->held += sizeof *t + t->n;
    }
    buf_done(&b);
    return t;
}

void text_drop(struct hub *h, struct text *t)
{
    if (!t || --t->refs > 0)
        return;
    h->held -= sizeof *t + t->n;
    free(t);
}

bool conn_idle(const struct conn *c)
{
    return queue_empty(&c->text) && frames_empty(&c->frames) && c->dropped == 0;
}

void conn_ready(struct hub *h, struct conn *c)
{
    if (c->out != OUT_IDLE)
        return;
    c->out = OUT_LISTED;
    list_append(&h->ready, &c->ready);
}

static void pop(struct hub *h, struct queue *q)
{
    size_t before = q->held;
    queue_pop(q);
    h->held -= before - q->held;
}

static struct text *text_at(const struct queue *q)
{
    struct text *t;
    memcpy(&t, queue_peek(q).p, sizeof t);
    return t;
}

static void pop_text(struct hub *h, struct conn *c)
{
    struct text *t = text_at(&c->text);
    pop(h, &c->text);
    c->text_bytes -= t->n;
    text_drop(h, t);
}

void conn_drop_queues(struct hub *h, struct conn *c, bool texts_too)
{
    h->held -= c->frames.held;
    frames_clear(&c->frames);
    c->dropped = 0;
    while (texts_too && !queue_empty(&c->text))
        pop_text(h, c);
}

static void note_drops(struct hub *h, struct conn *c, bool control, uint32_t n)
{
    c->dropped = n < UINT32_MAX - c->dropped ? c->dropped + n : UINT32_MAX;
    if (control)
        h->count.dropped_control += n;
    else
        h->count.dropped_data += n;
}

static void drop_data(struct hub *h, struct conn *c)
{
    size_t before = c->frames.held;
    note_drops(h, c, false, frames_clear_data(&c->frames));
    h->held -= before - c->frames.held;
}

static void cut_off(struct hub *h, struct conn *c)
{
    h->count.closed_slow++;
    hub_note(h, LOG_INFO, "slow-reader", "ip=%s waiting_bytes=%zu", addr_short((char[64]){0}, &c->remote),
             c->text_bytes);
    conn_drop_queues(h, c, true);
    conn_doom(h, c, CLOSE_TRY_LATER, "too slow");
}

static size_t waiting(const struct conn *c)
{
    return c->text_bytes + c->frames.held;
}

static struct conn *slowest(const struct hub *h)
{
    size_t pos = 0;
    struct conn *c, *most = NULL;
    while ((c = map_next(h->conns, &pos))) {
        if (!most || waiting(c) > waiting(most))
            most = c;
    }
    return most;
}

/* The memory of all is used up: who holds most of it gives way, not who is spoken to next. Else a few who
 * read nothing could have everybody else cut off. */
static bool memory_for(struct hub *h, const struct conn *c, size_t n)
{
    for (int i = 0; h->held + n > (size_t)h->limits.queue_memory_mib << 20; i++) {
        struct conn *most = slowest(h);
        if (i == EVICTIONS_MAX || most == c || waiting(most) == 0)
            return false;
        if (frames_no_data(&most->frames))
            cut_off(h, most);
        else
            drop_data(h, most);
    }
    return true;
}

/* A place in c's queue of texts, counted in the memory of all; NULL where that is used up. */
static uint8_t *push_text(struct hub *h, struct conn *c)
{
    if (!memory_for(h, c, sizeof(struct text *)))
        return NULL;
    size_t before = c->text.held;
    uint8_t *at = queue_push(&c->text, sizeof(struct text *));
    h->held += c->text.held - before;
    return at;
}

void conn_lose(struct hub *h, struct conn *c)
{
    h->count.refused_memory++;
    conn_drop_queues(h, c, true);
    conn_doom(h, c, CLOSE_TRY_LATER, "out of memory");
}

void conn_push(struct hub *h, struct conn *c, struct text *t)
{
    if (c->closing)
        return;
    if (!t) {
        conn_lose(h, c);
        return;
    }
    bool room = c->text_bytes + t->n <= h->limits.text_queue_bytes;
    uint8_t *at = room ? push_text(h, c) : NULL;
    if (!at) {
        cut_off(h, c);
        return;
    }
    memcpy(at, &t, sizeof t);
    t->refs++;
    c->text_bytes += t->n;
    conn_ready(h, c);
}

void conn_send(struct hub *h, struct conn *c, const struct signal *s)
{
    struct text *t = text_new(h, s);
    conn_push(h, c, t);
    text_drop(h, t);
}

static void send_error(struct hub *h, struct conn *c, const char *code, const char *text,
                       const struct error_about *about)
{
    struct signal s = {.type = SIGNAL_ERROR};
    snprintf(s.u.error.code, sizeof s.u.error.code, "%s", code);
    snprintf(s.u.error.message, sizeof s.u.error.message, "%s", text);
    if (about) {
        s.u.error.ref = about->ref;
        s.u.error.has_party = about->party != NULL;
        s.has_from = about->node != NULL;
        if (about->party)
            memcpy(s.u.error.party, about->party, PARTY_ID_LEN);
        if (about->node)
            memcpy(s.from, about->node, NODE_ID_LEN);
    }
    conn_send(h, c, &s);
}

void conn_error(struct hub *h, struct conn *c, enum signal_error e, const struct error_about *about)
{
    h->count.errors[e]++;
    send_error(h, c, signal_error_code(e), signal_error_text(e), about);
}

void conn_refuse(struct hub *h, struct conn *c, enum party_verdict v, const struct error_about *about)
{
    h->count.verdicts[v]++;
    /* A moved head is the everyday case, and known to nodes by the name that the protocol gives it. */
    send_error(h, c, v == PARTY_STALE ? signal_error_code(SIGERR_STALE_HEAD) : party_verdict_name(v),
               party_verdict_text(v), about);
}

/* ---- relay frames ---- */

/* Makes room for n bytes by dropping what has waited longest: data first, control frames only for other
 * control frames. */
static bool make_room(struct hub *h, struct conn *c, size_t n, bool control)
{
    struct frames *f = &c->frames;
    size_t max = h->limits.relay_queue_bytes, before = f->held;
    bool room = n <= max;
    while (room && f->bytes + n > max) {
        bool drops_control = frames_no_data(f);
        room = !drops_control || control;
        if (room) {
            frames_drop(f);
            note_drops(h, c, drops_control, 1);
        }
    }
    h->held -= before - f->held;
    return room;
}

bool conn_relay_run(struct hub *h, struct conn *c, const struct relay_run *run)
{
    if (c->closing)
        return false;
    conn_ready(h, c);
    bool added = make_room(h, c, run->frames.n, run->control) && memory_for(h, c, run->frames.n);
    size_t before = c->frames.held;
    added = added && frames_add(&c->frames, run->control, run->sender, run->sender, run->frames) == 0;
    h->held += c->frames.held - before;
    if (!added)
        note_drops(h, c, run->control, run->count);
    return added;
}

void conn_relay(struct hub *h, struct conn *c, const struct relay_frame *f)
{
    uint8_t raw[RELAY_HEADER_LEN + 4];
    struct wr w = wr_of(raw, sizeof raw);
    relay_frame_write(&w, f);
    struct relay_run run = {f->kind != RELAY_DATA, f->peer, wr_done(&w), 1};
    if (wr_ok(&w))
        conn_relay_run(h, c, &run);
}

static void take_relay(struct hub *h, struct conn *c, struct buf *out)
{
    size_t end = out->n + RELAY_RECORD, before = c->frames.held;
    if (c->dropped > 0) {
        uint8_t notice[RELAY_HEADER_LEN + 4];
        relay_header_write(notice, RELAY_DROPPED, 0, 4);
        struct wr w = wr_of(notice + RELAY_HEADER_LEN, 4);
        wr_u32(&w, c->dropped);
        if (buf_add(out, bytes_of(notice, sizeof notice)) == 0)
            c->dropped = 0;
    }
    /* Each takes one frame at least: control frames go first and keep no data frame waiting. */
    frames_take_control(&c->frames, out, end);
    frames_take_data(&c->frames, out, end);
    h->held -= before - c->frames.held;
}

/* ---- the edge takes ---- */

static bool take_text(struct hub *h, struct conn *c, struct buf *out)
{
    if (queue_empty(&c->text) && session_streaming(c))
        session_stream(h, c);
    if (queue_empty(&c->text))
        return false;
    struct text *t = text_at(&c->text);
    if (buf_add(out, bytes_of(t->data, t->n)) < 0)
        return false;
    pop_text(h, c);
    return true;
}

/* Nothing waits any more: a doomed connection may now be closed. */
static void run_dry(struct hub *h, struct conn *c)
{
    c->out = OUT_IDLE;
    if (c->ended)
        conn_close_list(h, c);
}

void conn_close_list(struct hub *h, struct conn *c)
{
    if (!c->close_listed)
        list_append(&h->closing, &c->close);
    c->close_listed = true;
}

bool hub_take(struct hub *h, hub_conn id, struct buf *out, bool *binary, usec_t now)
{
    struct conn *c = map_get(h->conns, &id);
    if (!c)
        return false;
    h->now = now;
    if (c->out == OUT_LISTED)
        list_leave(&c->ready);
    c->out = OUT_NAMED;
    size_t before = out->n;
    bool frames = !frames_empty(&c->frames) || c->dropped > 0;
    *binary = false;
    if (frames && c->texts_row >= TEXTS_IN_A_ROW) {
        c->texts_row = 0;
        take_relay(h, c, out);
        *binary = true;
    } else if (take_text(h, c, out)) {
        c->texts_row = frames ? (uint8_t)(c->texts_row + 1) : 0;
    } else if (frames) {
        c->texts_row = 0;
        take_relay(h, c, out);
        *binary = true;
    }
    /* What waits could not be taken: nobody would ask for it again. */
    if (out->n == before && !conn_idle(c))
        conn_lose(h, c);
    hub_settle(h);
    if (out->n > before)
        return true;
    run_dry(h, c);
    return false;
}

bool hub_ready(struct hub *h, hub_conn *id)
{
    struct list *l = list_first(&h->ready);
    if (!l)
        return false;
    struct conn *c = LIST_OWNER(l, struct conn, ready);
    list_leave(l);
    c->out = OUT_NAMED;
    *id = c->id;
    return true;
}

bool hub_close_next(struct hub *h, hub_conn *id, uint16_t *code, const char **reason)
{
    struct list *l = list_first(&h->closing);
    if (!l)
        return false;
    struct conn *c = LIST_OWNER(l, struct conn, close);
    list_leave(l);
    *id = c->id;
    *code = c->close_code;
    *reason = c->close_reason;
    return true;
}
