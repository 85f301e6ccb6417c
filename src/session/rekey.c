#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "crypto/secret.h"
#include "session/session_int.h"

void rekey_clear(struct rekey *r)
{
    message_clear(&r->init);
    message_clear(&r->reply);
    usec_t not_before = r->not_before;
    wipe(r, sizeof *r);
    r->not_before = not_before;
}

static uint32_t epoch_of(const struct session *s)
{
    return s->keys[KEYS_CURRENT]->epoch;
}

static void epoch_send(struct session *s, uint8_t type, uint32_t epoch)
{
    uint8_t text[REKEY_EPOCH_LEN];
    struct wr w = wr_of(text, sizeof text);
    rekey_epoch_write(&w, epoch);
    control_send(s, SESSION_PATH_ANY, type, s->next_ctl_id++, wr_done(&w));
}

static void resend_later(struct session *s, usec_t now)
{
    struct rekey *r = &s->rekey;
    usec_t most = s->limits->rekey_retry * REKEY_BACKOFF;
    r->resend_at = now + r->interval;
    r->interval = usec_min(r->interval * 2, most);
}

static void init_send(struct session *s)
{
    /* The same id every time: pieces of different sendings complete one another. */
    control_send(s, SESSION_PATH_ANY, CTL_REKEY_INIT, s->rekey.id,
                 bytes_of(s->rekey.init.p, s->rekey.init.n));
}

static void reply_send(struct session *s)
{
    control_send(s, SESSION_PATH_ANY, CTL_REKEY_REPLY, s->rekey.id,
                 bytes_of(s->rekey.reply.p, s->rekey.reply.n));
}

/* Initiator: fresh keys, INIT goes out. */
static int begin(struct session *s, usec_t now)
{
    struct rekey *r = &s->rekey;
    uint8_t kem[KEM_PUBLIC_LEN], text[REKEY_INIT_LEN];
    struct rekey_init m = {.epoch = epoch_of(s) + 1, .kem = kem};
    rng_fill(&s->rng, r->dh_private, sizeof r->dh_private);
    rng_fill(&s->rng, r->kem_seed, sizeof r->kem_seed);
    if (x25519_public(m.dh, r->dh_private) < 0 || kem_public(kem, r->kem_seed) < 0)
        return -EIO;
    struct wr w = wr_of(text, sizeof text);
    rekey_init_write(&w, &m);
    if (message_set(&r->init, wr_done(&w)) < 0)
        return -ENOMEM;
    r->state = REKEY_ASKED;
    r->wanted = false;
    r->id = s->next_ctl_id++;
    r->interval = s->limits->rekey_retry;
    init_send(s);
    resend_later(s, now);
    return 0;
}

void rekey_want(struct session *s, usec_t now)
{
    struct rekey *r = &s->rekey;
    if (r->wanted || r->state != REKEY_IDLE)
        return;
    r->wanted = true;
    r->interval = s->limits->rekey_retry;
    r->resend_at = now;
}

int session_rekey(struct session *s, usec_t now)
{
    if (s->state != SESSION_UP_STATE)
        return -ENOTCONN;
    if (s->rekey.state != REKEY_IDLE || s->rekey.wanted)
        return -EALREADY;
    rekey_want(s, now);
    rekey_tick(s, now);
    return 0;
}

static void announce(struct session *s, usec_t now)
{
    s->rekey.not_before = now + s->limits->rekey_retry;
    queue_event(s, &(struct session_event){.kind = SESSION_REKEYED, .epoch = epoch_of(s)}, bytes_of(NULL, 0));
}

/* Responder: everything of the next epoch in locals; committed by the caller. */
struct answer {
    struct traffic_keys keys;
    uint8_t text[REKEY_REPLY_LEN];
};

static enum session_drop answer_make(struct session *s, struct answer *a, const struct rekey_init *m,
                                     struct bytes init)
{
    struct shared_secrets shared;
    uint8_t dh_private[X25519_LEN], random[KEM_RANDOM_LEN], ct[KEM_CT_LEN];
    struct rekey_reply reply = {.epoch = m->epoch, .ct = ct};
    rng_fill(&s->rng, dh_private, sizeof dh_private);
    rng_fill(&s->rng, random, sizeof random);
    enum session_drop d = DROP_BAD_CONTROL;
    if (x25519_public(reply.dh, dh_private) == 0 && x25519(shared.dh, dh_private, m->dh) == 0 &&
        kem_encaps(ct, shared.kem, m->kem, random) == 0) {
        struct wr w = wr_of(a->text, sizeof a->text);
        rekey_reply_write(&w, &reply);
        schedule_rekey(&a->keys, s->chain, &shared, init, wr_done(&w));
        d = DROP_NONE;
    }
    wipe(dh_private, sizeof dh_private);
    wipe(random, sizeof random);
    wipe(&shared, sizeof shared);
    return d;
}

/* The next receive key is in place before the reply leaves: no packet of the new epoch can come too early. */
static void answer_commit(struct session *s, const struct answer *a, uint32_t epoch, struct bytes init,
                          usec_t now)
{
    struct rekey *r = &s->rekey;
    struct keys *k = keys_new(s, epoch, &a->keys, now);
    if (!k)
        return;
    if (message_set(&r->init, init) < 0 || message_set(&r->reply, bytes_of(a->text, sizeof a->text)) < 0) {
        keys_free(s, k);
        return;
    }
    s->keys[KEYS_NEXT] = k;
    memcpy(r->chain, a->keys.chain, sizeof r->chain);
    r->state = REKEY_ANSWERED;
    r->wanted = false;
    r->id = s->next_ctl_id++;
    r->interval = s->limits->rekey_retry;
    reply_send(s);
    resend_later(s, now);
}

static enum session_drop init_input(struct session *s, struct bytes in, usec_t now)
{
    struct rekey_init m;
    if (s->initiator || rekey_init_read(&m, in) < 0)
        return DROP_BAD_CONTROL;
    if (m.epoch <= epoch_of(s))
        return DROP_NONE; /* one sent again whose rekey is long done */
    if (m.epoch != epoch_of(s) + 1)
        return DROP_BAD_CONTROL;
    if (s->rekey.state == REKEY_ANSWERED) {
        if (!bytes_equal(in, bytes_of(s->rekey.init.p, s->rekey.init.n)))
            return DROP_BAD_CONTROL;
        reply_send(s);
        return DROP_NONE;
    }
    struct answer a;
    enum session_drop d = answer_make(s, &a, &m, in);
    if (d == DROP_NONE)
        answer_commit(s, &a, m.epoch, in, now);
    wipe(&a, sizeof a);
    return d;
}

static enum session_drop reply_open(struct session *s, const struct rekey_reply *m, struct bytes in,
                                    struct traffic_keys *t)
{
    struct rekey *r = &s->rekey;
    struct shared_secrets shared;
    enum session_drop d = DROP_BAD_CONTROL;
    if (x25519(shared.dh, r->dh_private, m->dh) == 0 && kem_decaps(shared.kem, r->kem_seed, m->ct) == 0) {
        schedule_rekey(t, s->chain, &shared, bytes_of(r->init.p, r->init.n), in);
        d = DROP_NONE;
    }
    wipe(&shared, sizeof shared);
    return d;
}

static enum session_drop reply_input(struct session *s, struct bytes in, usec_t now)
{
    struct rekey *r = &s->rekey;
    struct rekey_reply m;
    if (!s->initiator || rekey_reply_read(&m, in) < 0)
        return DROP_BAD_CONTROL;
    if (m.epoch <= epoch_of(s))
        return DROP_NONE;
    if (r->state != REKEY_ASKED || m.epoch != epoch_of(s) + 1)
        return DROP_BAD_CONTROL;
    struct traffic_keys t;
    enum session_drop d = reply_open(s, &m, in, &t);
    struct keys *k = d == DROP_NONE ? keys_new(s, m.epoch, &t, now) : NULL;
    if (k) {
        keys_advance(s, k, now);
        memcpy(s->chain, t.chain, sizeof s->chain);
        rekey_clear(r);
        r->state = REKEY_CONFIRM;
        r->interval = s->limits->rekey_retry;
        announce(s, now);
        epoch_send(s, CTL_REKEY_DONE, m.epoch);
        resend_later(s, now);
    }
    wipe(&t, sizeof t);
    return d;
}

static enum session_drop done_input(struct session *s, struct bytes in)
{
    uint32_t epoch;
    if (rekey_epoch_read(&epoch, in) < 0)
        return DROP_BAD_CONTROL;
    /* Only the responder answers, so that the two do not echo each other. */
    if (!s->initiator && epoch == epoch_of(s))
        epoch_send(s, CTL_REKEY_DONE, epoch);
    return DROP_NONE;
}

static enum session_drop want_input(struct session *s, struct bytes in, usec_t now)
{
    uint32_t epoch;
    if (!s->initiator || rekey_epoch_read(&epoch, in) < 0)
        return DROP_BAD_CONTROL;
    if (epoch == epoch_of(s) + 1) {
        rekey_want(s, now);
        rekey_tick(s, now);
    }
    return DROP_NONE;
}

enum session_drop rekey_input(struct session *s, uint8_t type, struct bytes message, usec_t now)
{
    switch (type) {
    case CTL_REKEY_INIT:
        return init_input(s, message, now);
    case CTL_REKEY_REPLY:
        return reply_input(s, message, now);
    case CTL_REKEY_DONE:
        return done_input(s, message);
    default:
        return want_input(s, message, now);
    }
}

void rekey_heard(struct session *s, const struct keys *k, usec_t now)
{
    struct rekey *r = &s->rekey;
    if (k == s->keys[KEYS_NEXT]) {
        struct keys *next = s->keys[KEYS_NEXT];
        s->keys[KEYS_NEXT] = NULL;
        keys_advance(s, next, now);
        memcpy(s->chain, r->chain, sizeof s->chain);
        rekey_clear(r);
        announce(s, now);
    } else if (r->state == REKEY_CONFIRM && k == s->keys[KEYS_CURRENT]) {
        rekey_clear(r);
        s->previous_until = now + s->rekey_after;
    } else if (r->interval > s->limits->rekey_retry) {
        /* The peer is alive: sending again more and more rarely was for the case that it is not. */
        r->interval = s->limits->rekey_retry;
        r->resend_at = usec_min(r->resend_at, now + r->interval);
    }
}

/* When the initiator should begin the next one. */
static usec_t due(const struct session *s)
{
    const struct keys *k = s->keys[KEYS_CURRENT];
    usec_t at = s->rekey.wanted ? s->rekey.resend_at : keys_used(k) ? k->since + s->rekey_after : USEC_NEVER;
    return at > s->rekey.not_before ? at : s->rekey.not_before;
}

usec_t rekey_wake(const struct session *s)
{
    const struct rekey *r = &s->rekey;
    switch (r->state) {
    case REKEY_IDLE:
        if (s->initiator)
            return due(s);
        return r->wanted ? r->resend_at : USEC_NEVER;
    default:
        return r->resend_at;
    }
}

void rekey_tick(struct session *s, usec_t now)
{
    struct rekey *r = &s->rekey;
    if (now < rekey_wake(s))
        return;
    if (r->state == REKEY_IDLE && s->initiator) {
        if (begin(s, now) < 0)
            r->not_before = now + s->limits->rekey_retry;
        return;
    }
    if (r->state == REKEY_IDLE)
        epoch_send(s, CTL_REKEY_WANT, epoch_of(s) + 1);
    else if (r->state == REKEY_ASKED)
        init_send(s);
    else if (r->state == REKEY_ANSWERED)
        reply_send(s);
    else
        epoch_send(s, CTL_REKEY_DONE, epoch_of(s));
    resend_later(s, now);
}
