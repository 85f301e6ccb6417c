#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "crypto/secret.h"
#include "session/session_int.h"

struct keys *keys_new(const struct session *s, uint32_t epoch, const struct traffic_keys *t, usec_t now)
{
    struct keys *k = calloc(1, sizeof *k);
    if (!k)
        return NULL;
    k->epoch = epoch;
    k->since = now;
    k->lane = lane_new(&(struct lane_config){.alg = s->cipher,
                                             .tx_key = s->initiator ? t->to_responder : t->to_initiator,
                                             .rx_key = s->initiator ? t->to_initiator : t->to_responder,
                                             .epoch = (uint8_t)epoch,
                                             .index = s->index,
                                             .peer_index = s->peer_index});
    if (k->lane)
        return k;
    free(k);
    return NULL;
}

void keys_free(struct session *s, struct keys *k)
{
    struct lane_totals t;
    if (!k)
        return;
    lane_totals(k->lane, &t);
    s->info.tx_packets += t.tx_packets;
    s->info.tx_bytes += t.tx_bytes;
    s->info.rx_packets += t.rx_packets;
    s->info.rx_bytes += t.rx_bytes;
    lane_drop(k->lane);
    free(k);
}

void keys_advance(struct session *s, struct keys *k, usec_t now)
{
    keys_free(s, s->keys[KEYS_PREVIOUS]);
    s->keys[KEYS_PREVIOUS] = s->keys[KEYS_CURRENT];
    s->keys[KEYS_CURRENT] = k;
    k->since = now;
    s->previous_until = now + s->rekey_after;
    s->info.rekeys++;
}

bool keys_over_volume(const struct session *s, const struct keys *k)
{
    const struct session_limits *l = s->limits;
    struct lane_totals t;
    lane_totals(k->lane, &t);
    if (t.counter >= l->rekey_packets || t.sealed_bytes >= l->rekey_bytes)
        return true;
    /* Only the initiator acts by itself: it watches both directions, the responder's own count is for WANT.
     */
    return s->initiator && (t.opened >= l->rekey_packets || t.opened_bytes >= l->rekey_bytes);
}

bool keys_used(const struct keys *k)
{
    struct lane_totals t;
    lane_totals(k->lane, &t);
    return t.tx_packets > 0 || t.rx_packets > 0;
}

int packet_seal(struct session *s, enum inner_kind kind, uint32_t party, uint8_t *buf, size_t n)
{
    struct lane *l = s->keys[KEYS_CURRENT]->lane;
    const struct inner_header inner = {(uint8_t)kind, 0, party};
    uint64_t counter;
    int err = lane_take(l, 1, s->limits->seal_max + (kind == INNER_CONTROL ? CONTROL_RESERVE : 0), &counter);
    /* A counter is never used twice, not even where sealing failed half-way. */
    if (err == 0)
        err = lane_seal(l, 0, counter, &inner, buf, n);
    if (err < 0)
        return err;
    lane_sealed(l, 1, n, kind != INNER_NULL && kind != INNER_CONTROL);
    return 0;
}

static struct keys *keys_of_epoch(const struct session *s, uint8_t epoch)
{
    for (size_t i = 0; i < KEYS_COUNT; i++)
        if (s->keys[i] && (uint8_t)s->keys[i]->epoch == epoch)
            return s->keys[i];
    return NULL;
}

/* A packet that was opened, not yet believed in any other way. */
struct opened {
    struct keys *k;
    struct inner_header inner;
    struct bytes payload;
};

static enum session_drop drop_of(enum lane_verdict v)
{
    switch (v) {
    case LANE_OPEN:
        return DROP_NONE;
    case LANE_SEEN:
        return DROP_REPLAYED;
    case LANE_OLD:
        return DROP_TOO_OLD;
    default:
        return DROP_BAD_TAG;
    }
}

/* Between lane_lock and lane_unlock. */
static enum session_drop packet_judge(const struct data_header *h, uint8_t *p, size_t n, struct opened *o)
{
    enum session_drop d = drop_of(lane_open(o->k->lane, 0, h, p, n));
    if (d != DROP_NONE)
        return d;
    size_t text = n - DATA_HEADER_LEN - DATA_TAG_LEN;
    if (inner_header_read(&o->inner, bytes_of(p + DATA_HEADER_LEN, text)) < 0 ||
        h->own == inner_is_payload(o->inner.kind))
        return DROP_BAD_INNER;
    o->payload = bytes_of(p + DATA_HEADROOM, text - INNER_HEADER_LEN);
    struct ctl_header ctl;
    struct bytes piece;
    if (o->inner.kind == INNER_CONTROL && ctl_header_read(&ctl, &piece, o->payload) < 0)
        return DROP_BAD_CONTROL;
    lane_mark(o->k->lane, h->counter);
    return DROP_NONE;
}

static enum session_drop packet_open(struct session *s, uint8_t *p, size_t n, struct opened *o)
{
    struct data_header h;
    if (data_header_read(&h, bytes_of(p, n)) < 0)
        return DROP_TRUNCATED;
    if (h.receiver != s->index)
        return DROP_UNKNOWN_INDEX;
    if (s->state != SESSION_UP_STATE)
        return DROP_WRONG_STATE;
    o->k = keys_of_epoch(s, h.epoch);
    if (!o->k)
        return DROP_UNKNOWN_EPOCH;
    lane_lock(o->k->lane);
    enum session_drop d = packet_judge(&h, p, n, o);
    lane_unlock(o->k->lane);
    return d;
}

enum session_drop packet_input(struct session *s, uint8_t *p, size_t n, usec_t now, struct session_in *in)
{
    struct opened o;
    enum session_drop d = packet_open(s, p, n, &o);
    if (d != DROP_NONE)
        return d;
    bool data = inner_is_payload(o.inner.kind) || o.inner.kind == INNER_CELL;
    lane_opened(o.k->lane, 1, o.payload.n, data);
    o.k->opened++;
    if (data)
        *in = (struct session_in){o.inner.kind, o.inner.flags, o.inner.party, p + DATA_HEADROOM, o.payload.n};
    handshake_confirmed(s);
    rekey_heard(s, o.k, now);
    if (keys_over_volume(s, s->keys[KEYS_CURRENT]))
        rekey_want(s, now);
    /* Last, because CLOSE and REPLY replace what o points to. */
    return o.inner.kind == INNER_CONTROL ? control_input(s, o.payload, now) : DROP_NONE;
}
