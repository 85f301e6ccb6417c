#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "crypto/secret.h"
#include "session/session_int.h"

/* Seals into the node, which is queued or freed. */
static int piece_send(struct session *s, struct out_node *o, const struct ctl_header *h, struct bytes piece)
{
    size_t payload = CTL_HEADER_LEN + piece.n;
    struct wr w = wr_of(o->p + DATA_HEADROOM, payload);
    o->next = NULL;
    ctl_header_write(&w, h);
    wr_bytes(&w, piece);
    int err = packet_seal(s, INNER_CONTROL, 0, o->p, payload);
    if (err < 0) {
        free(o);
        return err;
    }
    queue_node(s, o);
    return 0;
}

static void nodes_free(struct out_node *o)
{
    while (o) {
        struct out_node *next = o->next;
        free(o);
        o = next;
    }
}

static size_t piece_len(struct bytes message, size_t room, size_t i)
{
    size_t left = message.n - i * room;
    return left < room ? left : room;
}

/* Memory for all pieces of a message, so that none leaves where one would be missing. NULL: there is not
 * enough. */
static struct out_node *nodes_new(uint32_t path, struct bytes message, size_t room, size_t count)
{
    struct out_node *first = NULL, **last = &first;
    for (size_t i = 0; i < count; i++) {
        *last = out_new(path, false, CTL_HEADER_LEN + piece_len(message, room, i) + DATA_OVERHEAD);
        if (!*last) {
            nodes_free(first);
            return NULL;
        }
        last = &(*last)->next;
    }
    return first;
}

int control_send(struct session *s, uint32_t path, uint8_t type, uint16_t id, struct bytes message)
{
    size_t room = s->mtu - DATA_OVERHEAD - CTL_HEADER_LEN;
    size_t count = message.n > 0 ? (message.n + room - 1) / room : 1;
    if (message.n > SESSION_CTL_MAX || count > CTL_FRAGMENTS_MAX)
        return -EMSGSIZE;
    if (s->out_count + count > OUT_MAX)
        return -ENOBUFS;
    struct out_node *o = nodes_new(path, message, room, count);
    if (!o)
        return -ENOBUFS;
    for (size_t i = 0; i < count; i++) {
        const struct ctl_header h = {type, id, (uint8_t)i, (uint8_t)count};
        struct out_node *rest = o->next;
        size_t n = piece_len(message, room, i);
        int err = piece_send(s, o, &h, bytes_of(n > 0 ? message.p + i * room : NULL, n));
        if (err < 0) {
            nodes_free(rest);
            return err;
        }
        o = rest;
    }
    return 0;
}

int control_send_whole(struct session *s, uint32_t path, uint8_t type, uint16_t id, struct bytes message)
{
    if (message.n > SESSION_WHOLE_MAX)
        return -EMSGSIZE;
    if (s->out_count >= OUT_MAX)
        return -ENOBUFS;
    struct out_node *o = out_new(path, false, CTL_HEADER_LEN + message.n + DATA_OVERHEAD);
    const struct ctl_header h = {type, id, 0, 1};
    return o ? piece_send(s, o, &h, message) : -ENOBUFS;
}

static void assembly_clear(struct assembly *a)
{
    for (size_t i = 0; i < CTL_FRAGMENTS_MAX; i++)
        message_clear(&a->pieces[i]);
    *a = (struct assembly){0};
}

void assemblies_free(struct session *s)
{
    for (size_t i = 0; s->assemblies && i < ASSEMBLIES_MAX; i++)
        assembly_clear(&s->assemblies[i]);
    free(s->assemblies);
    s->assemblies = NULL;
}

/* The one that this piece belongs to, or a cleared one: unused, else the oldest. */
static struct assembly *assembly_for(struct session *s, const struct ctl_header *h, usec_t now)
{
    struct assembly *best = &s->assemblies[0];
    for (size_t i = 0; i < ASSEMBLIES_MAX; i++) {
        struct assembly *a = &s->assemblies[i];
        if (a->used && usec_since(now, a->since) >= ASSEMBLY_LIFE)
            assembly_clear(a);
        if (a->used && a->type == h->type && a->id == h->id) {
            if (a->count == h->count)
                return a;
            best = a;
            break;
        }
        if (best->used && (!a->used || a->since < best->since))
            best = a;
    }
    assembly_clear(best);
    return best;
}

static enum session_drop dispatch(struct session *s, uint8_t type, struct bytes message, usec_t now)
{
    struct hs_head heads[HS_HEADS_MAX];
    uint8_t count;
    switch (type) {
    case CTL_REKEY_INIT:
    case CTL_REKEY_REPLY:
    case CTL_REKEY_DONE:
    case CTL_REKEY_WANT:
        return rekey_input(s, type, message, now);
    case CTL_HEADS:
        if (ctl_heads_read(heads, &count, message) < 0)
            return DROP_BAD_CONTROL;
        queue_heads(s, heads, count);
        return DROP_NONE;
    case CTL_CLOSE:
        if (message.n > 0)
            return DROP_BAD_CONTROL;
        session_die(s, DOWN_CLOSED_BY_PEER);
        return DROP_NONE;
    default:
        if (type < CTL_APP || type >= CTL_APP + SESSION_CTL_APP_COUNT)
            return DROP_BAD_CONTROL;
        queue_event(s,
                    &(struct session_event){.kind = SESSION_MESSAGE, .ctl_type = (uint8_t)(type - CTL_APP)},
                    message);
        return DROP_NONE;
    }
}

/* All pieces are there: joined, cleared, judged. */
static enum session_drop finish(struct session *s, struct assembly *a, usec_t now)
{
    struct message whole = {malloc(a->total), a->total};
    uint8_t type = a->type;
    if (!whole.p) {
        assembly_clear(a);
        return DROP_NONE;
    }
    size_t at = 0;
    for (size_t i = 0; i < a->count; i++) {
        memcpy(whole.p + at, a->pieces[i].p, a->pieces[i].n);
        at += a->pieces[i].n;
    }
    assembly_clear(a);
    enum session_drop d = dispatch(s, type, bytes_of(whole.p, whole.n), now);
    message_clear(&whole);
    return d;
}

enum session_drop control_input(struct session *s, struct bytes payload, usec_t now)
{
    struct ctl_header h;
    struct bytes piece;
    if (ctl_header_read(&h, &piece, payload) < 0)
        return DROP_BAD_CONTROL;
    if (h.count == 1)
        return piece.n <= SESSION_CTL_MAX ? dispatch(s, h.type, piece, now) : DROP_BAD_CONTROL;
    if (!s->assemblies)
        s->assemblies = calloc(ASSEMBLIES_MAX, sizeof *s->assemblies);
    if (!s->assemblies)
        return DROP_NONE;
    struct assembly *a = assembly_for(s, &h, now);
    if (!a->used) {
        a->used = true;
        a->type = h.type;
        a->id = h.id;
        a->count = h.count;
        a->since = now;
    }
    if (a->pieces[h.index].p)
        return DROP_NONE;
    if (a->total + piece.n > SESSION_CTL_MAX) {
        assembly_clear(a);
        return DROP_BAD_CONTROL;
    }
    if (message_set(&a->pieces[h.index], piece) < 0)
        return DROP_NONE;
    a->total += piece.n;
    a->have++;
    return a->have == a->count ? finish(s, a, now) : DROP_NONE;
}
