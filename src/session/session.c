#include "crypto/kdf.h"
#include "session/session_int.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "crypto/secret.h"

const struct session_limits session_limits_default = {
    .hs_retry = SEC,
    .hs_retry_max = 8 * SEC,
    .hs_give_up = 30 * SEC,
    .rekey_after = 300 * SEC,
    .rekey_retry = SEC,
    .rekey_packets = (uint64_t)1 << 32,
    .rekey_bytes = (uint64_t)1 << 36,
    .seal_max = (uint64_t)1 << 48,
    .heartbeat = 10 * SEC,
    .mtu = 1200,
};

const char *session_drop_name(enum session_drop d)
{
    static const char *const names[DROP_COUNT] = {
        [DROP_NONE] = "none",
        [DROP_TRUNCATED] = "truncated",
        [DROP_TYPE] = "type",
        [DROP_VERSION] = "version",
        [DROP_WRONG_IDENTITY] = "wrong_identity",
        [DROP_BAD_SIGNATURE] = "bad_signature",
        [DROP_BAD_KEM] = "bad_kem",
        [DROP_BAD_TAG] = "bad_tag",
        [DROP_REPLAYED] = "replayed",
        [DROP_TOO_OLD] = "too_old",
        [DROP_UNKNOWN_INDEX] = "unknown_index",
        [DROP_UNKNOWN_EPOCH] = "unknown_epoch",
        [DROP_WRONG_STATE] = "wrong_state",
        [DROP_NO_CIPHER] = "no_cipher",
        [DROP_DOWNGRADE] = "downgrade",
        [DROP_BAD_INNER] = "bad_inner",
        [DROP_BAD_MAC] = "bad_mac",
        [DROP_BAD_CONTROL] = "bad_control",
        [DROP_GLARE] = "glare",
    };
    return d < DROP_COUNT ? names[d] : "unknown";
}

const char *session_down_name(enum session_down d)
{
    static const char *const names[] = {
        [DOWN_TIMEOUT] = "timeout",
        [DOWN_REJECTED] = "rejected",
        [DOWN_CLOSED_BY_PEER] = "closed_by_peer",
        [DOWN_EXHAUSTED] = "exhausted",
    };
    return d < sizeof names / sizeof names[0] ? names[d] : "unknown";
}

int message_set(struct message *m, struct bytes in)
{
    uint8_t *p = malloc(in.n > 0 ? in.n : 1);
    if (!p)
        return -ENOMEM;
    if (in.n > 0)
        memcpy(p, in.p, in.n);
    message_clear(m);
    *m = (struct message){p, in.n};
    return 0;
}

void message_clear(struct message *m)
{
    wipe(m->p, m->n);
    free(m->p);
    *m = (struct message){0};
}

/* ---- queues ---- */

struct out_node *out_new(uint32_t path, bool handshake, size_t n)
{
    struct out_node *o = malloc(sizeof *o + n);
    if (o)
        *o = (struct out_node){.path = path, .handshake = handshake, .n = n};
    return o;
}

void queue_node(struct session *s, struct out_node *o)
{
    if (s->out_last)
        s->out_last->next = o;
    else
        s->out_first = o;
    s->out_last = o;
    s->out_count++;
}

void queue_out(struct session *s, uint32_t path, bool handshake, struct bytes datagram)
{
    struct out_node *o = s->out_count < OUT_MAX ? out_new(path, handshake, datagram.n) : NULL;
    if (!o)
        return;
    memcpy(o->p, datagram.p, datagram.n);
    queue_node(s, o);
}

bool session_output(struct session *s, usec_t now, struct session_out *out)
{
    free(s->out_taken);
    struct out_node *o = s->out_taken = s->out_first;
    if (!o)
        return false;
    s->out_first = o->next;
    if (!s->out_first)
        s->out_last = NULL;
    s->out_count--;
    *out = (struct session_out){o->path, o->handshake, o->p, o->n};
    return true;
}

static bool event_ends(const struct event_node *e)
{
    return e->ev.kind == SESSION_UP || e->ev.kind == SESSION_DOWN;
}

static void event_node_free(struct event_node *e)
{
    if (e && e->ev.message.n > 0)
        wipe(e->payload, e->ev.message.n);
    free(e);
}

/* An owner that does not drain loses old news, never UP or DOWN. */
static void event_make_room(struct session *s)
{
    struct event_node *before = NULL, *e = s->event_first;
    while (e && event_ends(e)) {
        before = e;
        e = e->next;
    }
    if (!e)
        return;
    if (before)
        before->next = e->next;
    else
        s->event_first = e->next;
    if (s->event_last == e)
        s->event_last = before;
    s->event_count--;
    event_node_free(e);
}

/* UP and DOWN come once each; an owner that missed one would wait for ever, so their memory was there from
 * the beginning. */
static struct event_node *event_new(struct session *s, enum session_event_kind kind, size_t n)
{
    struct event_node **spare = kind == SESSION_UP     ? &s->spare_up
                                : kind == SESSION_DOWN ? &s->spare_down
                                                       : NULL;
    if (!spare || !*spare)
        return malloc(sizeof(struct event_node) + n);
    struct event_node *e = *spare;
    *spare = NULL;
    return e;
}

bool queue_event(struct session *s, const struct session_event *ev, struct bytes payload)
{
    struct event_node *e = event_new(s, ev->kind, payload.n);
    if (!e)
        return false;
    if (s->event_count >= EVENTS_MAX)
        event_make_room(s);
    e->next = NULL;
    e->ev = *ev;
    if (payload.n > 0)
        memcpy(e->payload, payload.p, payload.n);
    if (ev->kind == SESSION_HEADS)
        e->ev.heads = (const struct hs_head *)(const void *)e->payload;
    if (ev->kind == SESSION_MESSAGE)
        e->ev.message = bytes_of(e->payload, payload.n);
    if (s->event_last)
        s->event_last->next = e;
    else
        s->event_first = e;
    s->event_last = e;
    s->event_count++;
    return true;
}

void queue_heads(struct session *s, const struct hs_head *heads, uint8_t count)
{
    struct session_event ev = {.kind = SESSION_HEADS, .head_count = count};
    queue_event(s, &ev, bytes_of(heads, count * sizeof heads[0]));
}

bool session_event(struct session *s, struct session_event *ev)
{
    event_node_free(s->event_taken);
    struct event_node *e = s->event_taken = s->event_first;
    if (!e)
        return false;
    s->event_first = e->next;
    if (!s->event_first)
        s->event_last = NULL;
    s->event_count--;
    *ev = e->ev;
    return true;
}

/* ---- birth and death ---- */

static bool spares_new(struct session *s)
{
    s->spare_up = malloc(sizeof *s->spare_up);
    s->spare_down = malloc(sizeof *s->spare_down);
    if (s->spare_up && s->spare_down)
        return true;
    free(s->spare_up);
    free(s->spare_down);
    return false;
}

struct session *session_new(const struct session_config *c)
{
    struct session *s = calloc(1, sizeof *s);
    struct handshake *h = s ? handshake_new(c) : NULL;
    if (!h || !spares_new(s)) {
        handshake_free(h);
        free(s);
        return NULL;
    }
    s->key = c->key;
    memcpy(s->self, c->self, NODE_ID_LEN);
    memcpy(s->peer, c->peer, NODE_ID_LEN);
    s->index = c->index;
    s->ciphers = (uint8_t)((c->ciphers & ~HS_PREFER_AES) | (c->prefer_aes ? HS_PREFER_AES : 0));
    s->rng = c->rng;
    s->limits = c->limits ? c->limits : &session_limits_default;
    s->state = SESSION_IDLE;
    s->hs = h;
    s->mtu = s->limits->mtu > HS_MTU_MIN ? s->limits->mtu : HS_MTU_MIN;
    s->rekey_after = s->limits->rekey_after;
    return s;
}

void session_wipe(struct session *s)
{
    for (size_t i = 0; i < KEYS_COUNT; i++) {
        keys_free(s, s->keys[i]);
        s->keys[i] = NULL;
    }
    handshake_free(s->hs);
    s->hs = NULL;
    rekey_clear(&s->rekey);
    assemblies_free(s);
    resumes_free(s);
    wipe(s->chain, sizeof s->chain);
    wipe(s->resume_key, sizeof s->resume_key);
}

void session_die(struct session *s, enum session_down why)
{
    s->state = SESSION_DEAD;
    session_wipe(s);
    struct session_event ev = {.kind = SESSION_DOWN, .down = why};
    queue_event(s, &ev, bytes_of(NULL, 0));
}

void session_free(struct session *s)
{
    if (!s)
        return;
    session_wipe(s);
    while (s->out_first) {
        struct out_node *next = s->out_first->next;
        free(s->out_first);
        s->out_first = next;
    }
    free(s->out_taken);
    while (s->event_first) {
        struct event_node *next = s->event_first->next;
        event_node_free(s->event_first);
        s->event_first = next;
    }
    event_node_free(s->event_taken);
    free(s->spare_up);
    free(s->spare_down);
    wipe(s, sizeof *s);
    free(s);
}

int session_start(struct session *s, usec_t now)
{
    return s->state == SESSION_IDLE ? handshake_start(s, now) : -EALREADY;
}

void session_close(struct session *s, usec_t now)
{
    if (s->state == SESSION_UP_STATE)
        control_send(s, SESSION_PATH_ANY, CTL_CLOSE, s->next_ctl_id++, bytes_of(NULL, 0));
    s->state = SESSION_DEAD;
    session_wipe(s);
}

/* ---- traffic ---- */

static enum session_drop input(struct session *s, uint32_t path, uint8_t *p, size_t n, usec_t now,
                               struct session_in *in)
{
    struct bytes datagram = bytes_of(p, n);
    if (n == 0)
        return DROP_TRUNCATED;
    switch (wire_type_of(datagram)) {
    case WIRE_DATA:
        return packet_input(s, p, n, now, in);
    case WIRE_RESUME:
        return resume_input(s, path, datagram, now);
    case WIRE_HANDSHAKE:
        return handshake_input(s, datagram, now);
    default:
        return DROP_TYPE;
    }
}

int session_input(struct session *s, uint32_t path, uint8_t *p, size_t n, usec_t now, struct session_in *in,
                  enum session_drop *drop)
{
    *in = (struct session_in){.kind = INNER_NULL};
    *drop = input(s, path, p, n, now, in);
    if (*drop == DROP_NONE)
        return 0;
    s->info.drops[*drop]++;
    *in = (struct session_in){.kind = INNER_NULL};
    return -EBADMSG;
}

int session_seal(struct session *s, enum inner_kind kind, uint32_t party, uint8_t *buf, size_t n, usec_t now)
{
    if (s->state != SESSION_UP_STATE)
        return -ENOTCONN;
    if (kind == INNER_CONTROL || kind >= INNER_KIND_COUNT || (kind == INNER_CELL && party != 0) ||
        (kind == INNER_NULL && (n > 0 || party != 0)))
        return -EINVAL;
    int err = packet_seal(s, kind, party, buf, n);
    if (err < 0)
        return err;
    if (keys_over_volume(s, s->keys[KEYS_CURRENT]))
        rekey_want(s, now);
    return 0;
}

int session_message_on(struct session *s, uint32_t path, uint8_t ctl_type, struct bytes message, usec_t now)
{
    if (s->state != SESSION_UP_STATE)
        return -ENOTCONN;
    if (ctl_type >= SESSION_CTL_APP_COUNT)
        return -EINVAL;
    return control_send(s, path, (uint8_t)(CTL_APP + ctl_type), s->next_ctl_id++, message);
}

int session_probe_on(struct session *s, uint32_t path, uint8_t ctl_type, struct bytes message, usec_t now)
{
    if (s->state != SESSION_UP_STATE)
        return -ENOTCONN;
    if (ctl_type >= SESSION_CTL_APP_COUNT)
        return -EINVAL;
    return control_send_whole(s, path, (uint8_t)(CTL_APP + ctl_type), s->next_ctl_id++, message);
}

int session_message(struct session *s, uint8_t ctl_type, struct bytes message, usec_t now)
{
    return session_message_on(s, SESSION_PATH_ANY, ctl_type, message, now);
}

int session_heads(struct session *s, const struct hs_head *heads, size_t count, usec_t now)
{
    uint8_t text[1 + HS_HEADS_MAX * sizeof(struct hs_head)];
    if (s->state != SESSION_UP_STATE)
        return -ENOTCONN;
    if (count > HS_HEADS_MAX)
        return -EMSGSIZE;
    struct wr w = wr_of(text, sizeof text);
    hs_heads_write(&w, heads, (uint8_t)count);
    return control_send(s, SESSION_PATH_ANY, CTL_HEADS, s->next_ctl_id++, wr_done(&w));
}

/* ---- time ---- */

/* Even the reserve for control messages is gone: no rekey can save this session. */
static bool exhausted(const struct session *s)
{
    const struct keys *k = s->keys[KEYS_CURRENT];
    struct lane_totals t;
    if (!k)
        return false;
    lane_totals(k->lane, &t);
    return t.counter >= s->limits->seal_max + CONTROL_RESERVE;
}

static usec_t previous_wake(const struct session *s)
{
    /* While the initiator has not heard the new epoch, the responder may still send with the old one. */
    return s->keys[KEYS_PREVIOUS] && s->rekey.state != REKEY_CONFIRM ? s->previous_until : USEC_NEVER;
}

usec_t session_wake(const struct session *s)
{
    if (s->state != SESSION_UP_STATE)
        return handshake_wake(s);
    if (exhausted(s))
        return s->up_since;
    usec_t first = usec_min(rekey_wake(s), resume_wake(s));
    return usec_min(first, previous_wake(s));
}

void session_tick(struct session *s, usec_t now)
{
    if (s->state != SESSION_UP_STATE) {
        handshake_tick(s, now);
        return;
    }
    if (exhausted(s)) {
        session_die(s, DOWN_EXHAUSTED);
        return;
    }
    if (now >= previous_wake(s)) {
        keys_free(s, s->keys[KEYS_PREVIOUS]);
        s->keys[KEYS_PREVIOUS] = NULL;
    }
    rekey_tick(s, now);
    resume_tick(s, now);
}

/* ---- questions ---- */

enum session_state session_state(const struct session *s)
{
    return s->state;
}

int session_export(const struct session *s, const char *label, uint8_t *out, size_t n)
{
    if (s->state != SESSION_UP_STATE)
        return -ENOTCONN;
    hkdf256(out, n, bytes_of_str("warren session export v1"), bytes_of(s->resume_key, sizeof s->resume_key),
            bytes_of_str(label));
    return 0;
}

uint32_t session_index(const struct session *s)
{
    return s->index;
}

void session_info(const struct session *s, struct session_info *info)
{
    *info = s->info;
    info->cipher = s->cipher;
    info->up_since = s->up_since;
    info->initiator = s->initiator;
    info->peer_index = s->peer_index;
    memcpy(info->session_id, s->id, sizeof info->session_id);
    if (s->keys[KEYS_CURRENT])
        info->epoch = s->keys[KEYS_CURRENT]->epoch;
    for (size_t i = 0; i < KEYS_COUNT; i++) {
        struct lane_totals t = {0};
        if (s->keys[i])
            lane_totals(s->keys[i]->lane, &t);
        info->tx_packets += t.tx_packets;
        info->tx_bytes += t.tx_bytes;
        info->rx_packets += t.rx_packets;
        info->rx_bytes += t.rx_bytes;
    }
}

/* ---- lanes ---- */

bool session_lanes(const struct session *s, struct session_lanes *l)
{
    const struct keys *cur = s->keys[KEYS_CURRENT];
    *l = (struct session_lanes){.most = s->limits->seal_max};
    if (s->state != SESSION_UP_STATE || !cur)
        return false;
    l->tx = cur->lane;
    for (size_t i = 0; i < KEYS_COUNT; i++)
        l->rx[i] = s->keys[i] ? s->keys[i]->lane : NULL;
    return true;
}

/* Whether somebody opened packets of this epoch that we did not see. */
static bool opened_elsewhere(struct keys *k)
{
    struct lane_totals t;
    if (!k)
        return false;
    lane_totals(k->lane, &t);
    bool more = t.opened != k->opened;
    k->opened = t.opened;
    return more;
}

void session_lanes_used(struct session *s, usec_t now)
{
    if (s->state != SESSION_UP_STATE)
        return;
    bool current = opened_elsewhere(s->keys[KEYS_CURRENT]);
    bool next = opened_elsewhere(s->keys[KEYS_NEXT]);
    if (current || next)
        handshake_confirmed(s);
    if (current)
        rekey_heard(s, s->keys[KEYS_CURRENT], now);
    if (next)
        rekey_heard(s, s->keys[KEYS_NEXT], now);
    if (keys_over_volume(s, s->keys[KEYS_CURRENT]))
        rekey_want(s, now);
}

size_t session_memory(const struct session *s)
{
    size_t n = sizeof *s + s->rekey.init.n + s->rekey.reply.n;
    n += (s->spare_up ? sizeof *s->spare_up : 0) + (s->spare_down ? sizeof *s->spare_down : 0);
    if (s->hs)
        n += sizeof *s->hs + s->hs->hello.n + s->hs->challenge.n + s->hs->last.n;
    for (size_t i = 0; i < KEYS_COUNT; i++)
        n += s->keys[i] ? sizeof *s->keys[i] + lane_memory() : 0;
    for (size_t i = 0; s->assemblies && i < ASSEMBLIES_MAX; i++)
        n += sizeof *s->assemblies + s->assemblies[i].total;
    n += s->resumes ? 2 * RESUMES_MAX * sizeof *s->resumes : 0;
    for (const struct out_node *o = s->out_first; o; o = o->next)
        n += sizeof *o + o->n;
    for (const struct event_node *e = s->event_first; e; e = e->next)
        n += sizeof *e + e->ev.message.n + e->ev.head_count * sizeof(struct hs_head);
    return n;
}
