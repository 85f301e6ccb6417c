/* What the engine wants done, in order: first what must be on the disk, then devices, replies and log lines,
 * then frames. Frames lie in one arena that is emptied when all of them were taken, so a relay message is
 * copied once and decrypted where it lies. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/engine_int.h"

int outputs_init(struct outputs *q)
{
    *q = (struct outputs){.tail = &q->head};
    /* In one piece from the beginning: a message that is judged where it lies may bring frames from
     * elsewhere, out of circuits. */
    buf_init(&q->arena, ARENA_MAX + RELAY_MESSAGE_MAX);
    if (!buf_room(&q->arena, ARENA_MAX + RELAY_MESSAGE_MAX))
        return -ENOMEM;
    buf_init(&q->save, PARTY_PIECE_MAX);
    q->frames = calloc(FRAMES_OUT_MAX, sizeof *q->frames);
    buf_init(&q->datagrams, DATAGRAMS_OUT_BYTES);
    q->datagram = calloc(DATAGRAMS_OUT_MAX, sizeof *q->datagram);
    return q->frames && q->datagram ? 0 : -ENOMEM;
}

static void item_free(struct out_item *item)
{
    if (!item)
        return;
    /* Replies carry invites. */
    if (item->data.p)
        wipe(item->data.p, item->data.n);
    buf_done(&item->data);
    free(item);
}

void outputs_done(struct outputs *q)
{
    while (q->head) {
        struct out_item *item = q->head;
        q->head = item->next;
        item_free(item);
    }
    item_free(q->last);
    buf_done(&q->arena);
    buf_done(&q->save);
    buf_done(&q->datagrams);
    free(q->frames);
    free(q->datagram);
    *q = (struct outputs){0};
}

static struct out_item *item_add(struct node *n, enum node_out_kind kind, size_t max)
{
    struct outputs *q = &n->out;
    struct out_item *item = calloc(1, sizeof *item);
    if (!item)
        return NULL;
    item->o.kind = kind;
    buf_init(&item->data, max);
    *q->tail = item;
    q->tail = &item->next;
    return item;
}

#define REPLY_MAX (16u * 1024 * 1024)

struct out_item *out_add(struct node *n, enum node_out_kind kind)
{
    if (n->out.count >= OUTS_MAX)
        return NULL;
    struct out_item *item = item_add(n, kind, REPLY_MAX);
    if (item)
        n->out.count++;
    return item;
}

void out_log(struct node *n, enum log_level level, const char *event, const char *fmt, ...)
{
    struct out_item *item = n->out.logs < OUT_LOGS_MAX ? item_add(n, NODE_LOG, 2048) : NULL;
    if (!item) {
        count(n, COUNT_LOGS_LOST);
        return;
    }
    n->out.logs++;
    char text[1024];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    item->o.level = (int)level;
    snprintf(item->o.name, sizeof item->o.name, "%s", event);
    buf_add_str(&item->data, text);
}

bool out_device_open(struct node *n, const struct node_party *np)
{
    struct out_item *item = out_add(n, NODE_DEVICE_OPEN);
    if (!item)
        return false;
    item->o.party_ref = np->ref;
    item->o.device = np->dev_config;
    snprintf(item->o.name, sizeof item->o.name, "%s", np->dev_name);
    return true;
}

void out_device_close(struct node *n, uint32_t party_ref)
{
    struct outputs *q = &n->out;
    struct out_item *item = out_add(n, NODE_DEVICE_CLOSE);
    if (item)
        item->o.party_ref = party_ref;
    else if (q->close_count <
             OUT_CLOSES_MAX) /* a device that nobody closes would stay for as long as the daemon */
        q->closes[q->close_count++] = party_ref;
}

void out_delete(struct node *n, const char *name)
{
    struct out_item *item = out_add(n, NODE_DELETE);
    if (item)
        snprintf(item->o.name, sizeof item->o.name, "%s", name);
}

uint8_t *out_arena(struct node *n, size_t len)
{
    struct outputs *q = &n->out;
    if (q->frame_at == q->frame_count && !q->held) {
        q->frame_at = q->frame_count = 0;
        buf_clear(&q->arena);
    }
    if (q->arena.n + len > ARENA_MAX + RELAY_MESSAGE_MAX)
        return NULL;
    uint8_t *p = buf_room(&q->arena, len);
    if (p)
        buf_grow(&q->arena, len);
    return p;
}

void out_frame(struct node *n, uint32_t party_ref, const uint8_t *p, size_t len)
{
    struct outputs *q = &n->out;
    if (q->frame_count == FRAMES_OUT_MAX) {
        count(n, COUNT_FRAMES_OUT_FULL);
        return;
    }
    q->frames[q->frame_count++] =
        (struct out_frame){.party_ref = party_ref, .at = (size_t)(p - q->arena.p), .n = len};
}

/* A place in the arena of datagrams; *room is len bytes. NULL: the sockets do not keep up. */
static struct out_datagram *datagram_add(struct node *n, size_t len, uint8_t **room)
{
    struct outputs *q = &n->out;
    if (q->datagram_at == q->datagram_count) {
        q->datagram_at = q->datagram_count = 0;
        buf_clear(&q->datagrams);
    }
    *room = q->datagram_count < DATAGRAMS_OUT_MAX ? buf_room(&q->datagrams, len) : NULL;
    if (!*room) {
        count(n, COUNT_DATAGRAMS_OUT_FULL);
        return NULL;
    }
    struct out_datagram *d = &q->datagram[q->datagram_count++];
    *d = (struct out_datagram){.at = q->datagrams.n, .n = len};
    buf_grow(&q->datagrams, len);
    return d;
}

void out_datagram(struct node *n, uint32_t socket, const struct net_addr *to, const uint8_t *head,
                  size_t head_n, const uint8_t *p, size_t len)
{
    uint8_t *room;
    struct out_datagram *d = datagram_add(n, head_n + len, &room);
    if (!d)
        return;
    d->socket = socket;
    d->to = *to;
    if (head_n > 0)
        memcpy(room, head, head_n);
    memcpy(room + head_n, p, len);
}

void out_stream(struct node *n, uint32_t stream, bool keep, const uint8_t *p, size_t len)
{
    uint8_t *room;
    struct out_datagram *d = len > 0 ? datagram_add(n, len, &room) : NULL;
    if (!d)
        return;
    d->stream = stream;
    d->keep = keep;
    memcpy(room, p, len);
}

void out_stream_close(struct node *n, uint32_t stream)
{
    uint8_t *room;
    struct out_datagram *d = datagram_add(n, 1, &room);
    struct out_item *item = d ? NULL : out_add(n, NODE_STREAM_CLOSE);
    if (d) {
        d->stream = stream;
        d->n = 0;
    } else if (item) {
        item->o.stream = stream;
    }
}

void out_frame_any(struct node *n, uint32_t party_ref, const uint8_t *p, size_t len)
{
    const struct buf *a = &n->out.arena;
    if (a->n > 0 && p >= a->p && p < a->p + a->n)
        out_frame(n, party_ref, p, len);
    else
        out_frame_copy(n, party_ref, bytes_of(p, len));
}

void out_frame_copy(struct node *n, uint32_t party_ref, struct bytes frame)
{
    uint8_t *p = out_arena(n, frame.n);
    if (!p) {
        count(n, COUNT_FRAMES_OUT_FULL);
        return;
    }
    memcpy(p, frame.p, frame.n);
    out_frame(n, party_ref, p, frame.n);
}

/* What a reply says for which there was no memory: it must say something, and be JSON. */
static struct bytes reply_without_memory(bool final)
{
    return bytes_of_str(
        final ? "{\"ok\":false,\"code\":\"internal\",\"error\":\"this machine is out of memory: close "
                "something and look whether the command was done\"}"
              : "{\"progress\":{\"step\":\"memory\",\"text\":\"this machine is out of memory\"}}");
}

static bool out_close_take(struct node *n, struct node_out *out)
{
    struct outputs *q = &n->out;
    if (q->close_count == 0)
        return false;
    *out = (struct node_out){.kind = NODE_DEVICE_CLOSE, .party_ref = q->closes[--q->close_count]};
    return true;
}

static bool out_item_take(struct node *n, struct node_out *out)
{
    struct outputs *q = &n->out;
    struct out_item *item = q->head;
    if (!item)
        return false;
    q->head = item->next;
    if (!q->head)
        q->tail = &q->head;
    if (item->o.kind == NODE_LOG)
        q->logs--;
    else
        q->count--;
    item->o.data = item->o.kind == NODE_LOG ? bytes_of_str(buf_str(&item->data)) : buf_bytes(&item->data);
    if (item->o.kind == NODE_STREAM_DIAL)
        item->o.key = (const void *)item->data.p;
    if (item->o.kind == NODE_REPLY && item->data.n == 0)
        item->o.data = reply_without_memory(item->o.final);
    q->last = item;
    *out = item->o;
    return true;
}

static bool out_frame_take(struct node *n, struct node_out *out)
{
    struct outputs *q = &n->out;
    if (q->frame_at == q->frame_count)
        return false;
    const struct out_frame *f = &q->frames[q->frame_at++];
    *out = (struct node_out){
        .kind = NODE_DEVICE_FRAME, .party_ref = f->party_ref, .data = bytes_of(q->arena.p + f->at, f->n)};
    return true;
}

static bool out_datagram_take(struct node *n, struct node_out *out)
{
    struct outputs *q = &n->out;
    if (q->datagram_at == q->datagram_count)
        return false;
    const struct out_datagram *d = &q->datagram[q->datagram_at++];
    if (d->stream != 0) {
        *out = (struct node_out){.kind = d->n > 0 ? NODE_STREAM_SEND : NODE_STREAM_CLOSE,
                                 .stream = d->stream,
                                 .final = d->keep,
                                 .data = bytes_of(q->datagrams.p + d->at, d->n)};
        return true;
    }
    *out = (struct node_out){.kind = NODE_DATAGRAM,
                             .socket = d->socket,
                             .to = d->to,
                             .data = bytes_of(q->datagrams.p + d->at, d->n)};
    return true;
}

bool node_output(struct node *n, usec_t now, struct node_out *out)
{
    peers_pump(n, now);
    item_free(n->out.last);
    n->out.last = NULL;
    if (out_save(n, now, out) || out_close_take(n, out) || out_item_take(n, out) || out_frame_take(n, out) ||
        out_datagram_take(n, out))
        return true;
    if (!n->link.told && node_hub_waiting(n)) {
        n->link.told = true;
        *out = (struct node_out){.kind = NODE_HUB_WAITING};
        return true;
    }
    return false;
}

/* The change stands in memory and at the hub, but not on our disk: whoever asked for it hears that instead of
 * "ok". */
void replies_spoil(struct node *n, uint32_t party_ref, const char *why)
{
    for (struct out_item *item = n->out.head; item; item = item->next) {
        if (item->o.kind != NODE_REPLY || !item->ok || item->depends != party_ref)
            continue;
        item->ok = false;
        json_t *e = json_pack(
            "{s:b, s:s, s:o}", "ok", 0, "code", "save_failed", "error",
            json_sprintf("the change was made but could not be saved on this machine (%s): make room, "
                         "it is tried again",
                         why));
        char *text = e ? json_dumps(e, JSON_COMPACT) : NULL;
        json_decref(e);
        wipe(item->data.p, item->data.n);
        buf_clear(&item->data);
        buf_add_str(&item->data,
                    text ? text : "{\"ok\":false,\"code\":\"save_failed\",\"error\":\"could not be saved\"}");
        free(text);
    }
}
