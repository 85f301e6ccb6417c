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
    replay_init(&k->window);
    k->tx = aead_new(s->cipher, s->initiator ? t->to_responder : t->to_initiator);
    k->rx = aead_new(s->cipher, s->initiator ? t->to_initiator : t->to_responder);
    if (!k->tx || !k->rx) {
        keys_free(k);
        return NULL;
    }
    return k;
}

void keys_free(struct keys *k)
{
    if (!k)
        return;
    aead_free(k->tx);
    aead_free(k->rx);
    free(k);
}

void keys_advance(struct session *s, struct keys *k, usec_t now)
{
    keys_free(s->keys[KEYS_PREVIOUS]);
    struct keys *old = s->keys[KEYS_CURRENT];
    aead_free(old->tx);
    old->tx = NULL;
    s->keys[KEYS_PREVIOUS] = old;
    s->keys[KEYS_CURRENT] = k;
    k->since = now;
    s->previous_until = now + s->rekey_after;
    s->info.rekeys++;
}

bool keys_over_volume(const struct session *s, const struct keys *k)
{
    const struct session_limits *l = s->limits;
    if (k->counter >= l->rekey_packets || k->sealed_bytes >= l->rekey_bytes)
        return true;
    /* Only the initiator acts by itself: it watches both directions, the responder's own count is for WANT.
     */
    return s->initiator && (k->opened >= l->rekey_packets || k->opened_bytes >= l->rekey_bytes);
}

static void nonce_of(uint8_t nonce[AEAD_NONCE_LEN], uint64_t counter)
{
    struct wr w = wr_of(nonce, AEAD_NONCE_LEN);
    wr_u32(&w, 0);
    wr_u64(&w, counter);
}

int packet_seal(struct session *s, enum inner_kind kind, uint32_t party, uint8_t *buf, size_t n)
{
    struct keys *k = s->keys[KEYS_CURRENT];
    uint64_t reserve = kind == INNER_CONTROL ? CONTROL_RESERVE : 0;
    if (k->counter >= s->limits->seal_max + reserve)
        return -EKEYEXPIRED;
    const struct data_header h = {(uint8_t)k->epoch, s->peer_index, k->counter};
    const struct inner_header inner = {(uint8_t)kind, 0, party};
    uint8_t nonce[AEAD_NONCE_LEN];
    nonce_of(nonce, k->counter);
    data_header_write(&h, buf);
    inner_header_write(&inner, buf + DATA_HEADER_LEN);
    size_t text = INNER_HEADER_LEN + n;
    int err = aead_seal(k->tx, nonce, bytes_of(buf, DATA_HEADER_LEN), buf + DATA_HEADER_LEN, text,
                        buf + DATA_HEADER_LEN + text);
    /* A counter is never used twice, not even where sealing failed half-way. */
    k->counter++;
    if (err < 0)
        return err;
    k->sealed_bytes += text;
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
    uint64_t counter;
};

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
    o->counter = h.counter;
    enum replay_verdict v = replay_check(&o->k->window, h.counter);
    if (v != REPLAY_FRESH)
        return v == REPLAY_SEEN ? DROP_REPLAYED : DROP_TOO_OLD;
    uint8_t nonce[AEAD_NONCE_LEN];
    nonce_of(nonce, h.counter);
    size_t text = n - DATA_HEADER_LEN - DATA_TAG_LEN;
    if (aead_open(o->k->rx, nonce, bytes_of(p, DATA_HEADER_LEN), p + DATA_HEADER_LEN, text,
                  p + n - DATA_TAG_LEN) < 0)
        return DROP_BAD_TAG;
    if (inner_header_read(&o->inner, bytes_of(p + DATA_HEADER_LEN, text)) < 0)
        return DROP_BAD_INNER;
    o->payload = bytes_of(p + DATA_HEADROOM, text - INNER_HEADER_LEN);
    struct ctl_header ctl;
    struct bytes piece;
    if (o->inner.kind == INNER_CONTROL && ctl_header_read(&ctl, &piece, o->payload) < 0)
        return DROP_BAD_CONTROL;
    return DROP_NONE;
}

enum session_drop packet_input(struct session *s, uint8_t *p, size_t n, usec_t now, struct session_in *in)
{
    struct opened o;
    enum session_drop d = packet_open(s, p, n, &o);
    if (d != DROP_NONE)
        return d;
    replay_mark(&o.k->window, o.counter);
    o.k->opened++;
    o.k->opened_bytes += o.payload.n + INNER_HEADER_LEN;
    bool data = o.inner.kind == INNER_FRAME || o.inner.kind == INNER_PACKET || o.inner.kind == INNER_CELL;
    if (data) {
        o.k->used = true;
        s->info.rx_packets++;
        s->info.rx_bytes += o.payload.n;
        *in = (struct session_in){o.inner.kind, o.inner.party, p + DATA_HEADROOM, o.payload.n};
    }
    handshake_confirmed(s);
    rekey_heard(s, o.k, now);
    if (keys_over_volume(s, s->keys[KEYS_CURRENT]))
        rekey_want(s, now);
    /* Last, because CLOSE and REPLY replace what o points to. */
    return o.inner.kind == INNER_CONTROL ? control_input(s, o.payload, now) : DROP_NONE;
}
