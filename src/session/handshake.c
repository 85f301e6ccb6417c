#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "crypto/secret.h"
#include "session/session_int.h"

#define HELLO_CONTEXT     "warren hello v1"
#define CHALLENGE_CONTEXT "warren challenge v1"
#define RESPONSE_CONTEXT  "warren response v1"
#define REJECT_PATIENCE   3 /* times hs_retry that a HELLO or RESPONSE lives on after a REJECT */
#define DUPLICATE_SHARE   4 /* answers to one HELLO or RESPONSE are at least hs_retry / 4 apart */

struct handshake *handshake_new(const struct session_config *c)
{
    struct handshake *h = calloc(1, sizeof *h);
    if (!h)
        return NULL;
    h->peer_public = *c->peer_public;
    h->head_count = (uint8_t)(c->head_count < HS_HEADS_MAX ? c->head_count : HS_HEADS_MAX);
    for (size_t i = 0; i < h->head_count; i++)
        h->heads[i] = c->heads[i];
    h->addr_count = (uint8_t)(c->addr_count < HS_ADDR_MAX ? c->addr_count : HS_ADDR_MAX);
    for (size_t i = 0; i < h->addr_count; i++)
        h->addrs[i] = c->addrs[i];
    h->seen = c->seen;
    return h;
}

void handshake_free(struct handshake *h)
{
    if (!h)
        return;
    message_clear(&h->hello);
    message_clear(&h->challenge);
    message_clear(&h->last);
    wipe(h, sizeof *h);
    free(h);
}

static struct bytes view(const struct message *m)
{
    return bytes_of(m->p, m->n);
}

static void send(struct session *s, const struct message *m)
{
    queue_out(s, SESSION_PATH_ANY, true, view(m));
}

static void timers_start(struct session *s, usec_t now)
{
    struct handshake *h = s->hs;
    h->full_give_up = h->give_up = now + s->limits->hs_give_up;
    h->retry_interval = s->limits->hs_retry;
    h->retry_at = now + h->retry_interval;
    h->answered_at = now;
    h->rejected = false;
}

/* ---- AEAD of RESPONSE and ESTABLISHED: each key seals one message ever, so the nonce may be zero ---- */

static const uint8_t nonce_zero[AEAD_NONCE_LEN];

static int seal_once(enum aead_alg alg, const uint8_t key[AEAD_KEY_LEN], struct wr *w, size_t prefix)
{
    size_t n = w->n - prefix;
    uint8_t *tag = wr_take(w, AEAD_TAG_LEN);
    struct aead *a = tag ? aead_new(alg, key) : NULL;
    int err = a ? aead_seal(a, nonce_zero, bytes_of(w->p, prefix), w->p + prefix, n, tag) : -EIO;
    aead_free(a);
    return err;
}

/* Opens a copy. text has room for sealed.n bytes; *n is what it then holds. */
static int open_once(enum aead_alg alg, const uint8_t key[AEAD_KEY_LEN], struct bytes prefix,
                     struct bytes sealed, uint8_t *text, size_t *n)
{
    *n = sealed.n - AEAD_TAG_LEN;
    memcpy(text, sealed.p, *n);
    struct aead *a = aead_new(alg, key);
    int err = a ? aead_open(a, nonce_zero, prefix, text, *n, sealed.p + *n) : -ENOMEM;
    aead_free(a);
    return err;
}

/* The rule for the cipher, the same at both ends: AES where it is the faster one at both, else
 * ChaCha20, which is bearable everywhere, else what the policy leaves. */
static int choose_cipher(uint8_t a, uint8_t b)
{
    uint8_t common = a & b;
    if ((common & HS_PREFER_AES) && (common & 1u << AEAD_AES256GCM))
        return AEAD_AES256GCM;
    if (common & 1u << AEAD_CHACHA20POLY1305)
        return AEAD_CHACHA20POLY1305;
    if (common & 1u << AEAD_AES256GCM)
        return AEAD_AES256GCM;
    return -1;
}

/* ---- HELLO ---- */

int handshake_start(struct session *s, usec_t now)
{
    struct handshake *h = s->hs;
    uint8_t text[HS_MESSAGE_MAX];
    struct hs_hello m = {.sender = s->index, .ciphers = s->ciphers, .head_count = h->head_count};
    memcpy(m.from, s->self, NODE_ID_LEN);
    memcpy(m.to, s->peer, NODE_ID_LEN);
    memcpy(m.heads, h->heads, sizeof m.heads);
    rng_fill(&s->rng, m.nonce, sizeof m.nonce);
    rng_fill(&s->rng, h->dh_private, sizeof h->dh_private);
    if (x25519_public(m.dh, h->dh_private) < 0)
        return -EIO;
    struct wr w = wr_of(text, sizeof text);
    hs_hello_write(&w, &m);
    struct bytes signed_part = wr_done(&w);
    uint8_t *sig = wr_take(&w, ED25519_SIG_LEN);
    if (!sig || sign_make_ed25519(s->key, HELLO_CONTEXT, signed_part, sig) < 0)
        return -EIO;
    if (message_set(&h->hello, wr_done(&w)) < 0)
        return -ENOMEM;
    s->initiator = true;
    s->state = SESSION_HELLO_SENT;
    timers_start(s, now);
    send(s, &h->hello);
    return 0;
}

/* ---- CHALLENGE ---- */

static void challenge_digest(uint8_t out[SHA384_LEN], struct bytes hello, struct bytes signed_part)
{
    const struct bytes parts[] = {hello, signed_part};
    transcript_hash(out, CHALLENGE_CONTEXT, parts, 2);
}

/* What CHALLENGE commits to, until it is committed. */
struct challenge_draft {
    uint8_t dh_private[X25519_LEN], kem_seed[KEM_SEED_LEN];
    uint8_t text[HS_MESSAGE_MAX];
    struct bytes whole;
};

static int challenge_make(struct session *s, struct challenge_draft *d, struct bytes hello,
                          const struct hs_hello *from, enum aead_alg cipher)
{
    struct handshake *h = s->hs;
    uint8_t kem[KEM_PUBLIC_LEN], digest[SHA384_LEN];
    struct hs_challenge m = {.sender = s->index, .receiver = from->sender, .kem = kem, .ciphers = s->ciphers};
    m.cipher = (uint8_t)cipher;
    m.head_count = h->head_count;
    memcpy(m.heads, h->heads, sizeof m.heads);
    rng_fill(&s->rng, m.nonce, sizeof m.nonce);
    rng_fill(&s->rng, d->dh_private, sizeof d->dh_private);
    rng_fill(&s->rng, d->kem_seed, sizeof d->kem_seed);
    if (x25519_public(m.dh, d->dh_private) < 0 || kem_public(kem, d->kem_seed) < 0)
        return -EIO;
    struct wr w = wr_of(d->text, sizeof d->text);
    hs_challenge_write(&w, &m);
    challenge_digest(digest, hello, wr_done(&w));
    uint8_t *sig = wr_take(&w, SIGN_SIG_LEN);
    if (!sig || sign_make(s->key, CHALLENGE_CONTEXT, bytes_of(digest, sizeof digest), &s->rng, sig) < 0)
        return -EIO;
    d->whole = wr_done(&w);
    return 0;
}

static void reject(struct session *s, uint32_t receiver, enum hs_reject_reason reason)
{
    uint8_t text[16];
    const struct hs_reject m = {receiver, (uint8_t)reason};
    struct wr w = wr_of(text, sizeof text);
    hs_reject_write(&w, &m);
    queue_out(s, SESSION_PATH_ANY, true, wr_done(&w));
}

/* The same HELLO or RESPONSE again: our answer was lost. Never computes anything. */
static enum session_drop answer_again(struct session *s, const struct message *m, usec_t now)
{
    if (usec_since(now, s->hs->answered_at) >= s->limits->hs_retry / DUPLICATE_SHARE) {
        s->hs->answered_at = now;
        send(s, m);
    }
    return DROP_NONE;
}

/* Whether a HELLO for this session may be answered now. */
static enum session_drop hello_state(const struct session *s)
{
    if (s->state == SESSION_IDLE)
        return DROP_NONE;
    if (s->state != SESSION_HELLO_SENT)
        return DROP_WRONG_STATE;
    return memcmp(s->self, s->peer, NODE_ID_LEN) > 0 ? DROP_NONE : DROP_GLARE;
}

static void hello_commit(struct session *s, const struct challenge_draft *d, struct bytes hello,
                         uint32_t peer_index, enum aead_alg cipher, usec_t now)
{
    struct handshake *h = s->hs;
    struct message kept = {0};
    if (message_set(&kept, hello) < 0 || message_set(&h->challenge, d->whole) < 0) {
        message_clear(&kept);
        return;
    }
    message_clear(&h->hello);
    h->hello = kept;
    memcpy(h->dh_private, d->dh_private, sizeof h->dh_private);
    memcpy(h->kem_seed, d->kem_seed, sizeof h->kem_seed);
    s->initiator = false;
    s->peer_index = peer_index;
    s->cipher = cipher;
    s->state = SESSION_CHALLENGE_SENT;
    timers_start(s, now);
    send(s, &h->challenge);
}

static enum session_drop hello_input(struct session *s, struct bytes in, usec_t now)
{
    struct hs_hello m;
    if (hs_hello_read(&m, in) < 0)
        return DROP_TRUNCATED;
    if (memcmp(m.to, s->self, NODE_ID_LEN) != 0 || memcmp(m.from, s->peer, NODE_ID_LEN) != 0)
        return DROP_WRONG_IDENTITY;
    if (s->state == SESSION_CHALLENGE_SENT && bytes_equal(in, view(&s->hs->hello)))
        return answer_again(s, &s->hs->challenge, now);
    enum session_drop d = hello_state(s);
    if (d != DROP_NONE)
        return d;
    if (sign_check_ed25519(&s->hs->peer_public, HELLO_CONTEXT, m.signed_part, m.sig) < 0)
        return DROP_BAD_SIGNATURE;
    int cipher = choose_cipher(m.ciphers, s->ciphers);
    if (cipher < 0) {
        reject(s, m.sender, HS_REJECT_NO_CIPHER);
        return DROP_NO_CIPHER;
    }
    struct challenge_draft draft;
    if (challenge_make(s, &draft, in, &m, (enum aead_alg)cipher) == 0)
        hello_commit(s, &draft, in, m.sender, (enum aead_alg)cipher, now);
    wipe(&draft, sizeof draft);
    return DROP_NONE;
}

/* ---- RESPONSE ---- */

struct response_draft {
    struct hs_keys keys;
    struct session_keys session;
    uint8_t text[HS_MESSAGE_MAX];
    struct bytes whole;
};

static int response_seal(struct session *s, struct response_draft *d, struct wr *w, enum aead_alg cipher)
{
    struct handshake *h = s->hs;
    struct hs_response_payload p = {.addr_count = h->addr_count};
    size_t prefix = w->n;
    memcpy(p.addrs, h->addrs, sizeof p.addrs);
    if (sign_make(s->key, RESPONSE_CONTEXT, bytes_of(d->keys.th, sizeof d->keys.th), &s->rng, p.sig) < 0)
        return -EIO;
    hs_response_payload_write(w, &p);
    if (!wr_ok(w) || seal_once(cipher, d->keys.initiator, w, prefix) < 0)
        return -EIO;
    d->whole = wr_done(w);
    schedule_session(&d->session, &d->keys, d->whole);
    return 0;
}

static enum session_drop response_make(struct session *s, struct response_draft *d, struct bytes challenge,
                                       const struct hs_challenge *m)
{
    uint8_t ct[KEM_CT_LEN], random[KEM_RANDOM_LEN];
    struct shared_secrets shared;
    rng_fill(&s->rng, random, sizeof random);
    int err = x25519(shared.dh, s->hs->dh_private, m->dh);
    if (err == 0)
        err = kem_encaps(ct, shared.kem, m->kem, random);
    wipe(random, sizeof random);
    if (err < 0) {
        wipe(&shared, sizeof shared);
        return DROP_BAD_KEM;
    }
    const struct hs_response out = {.receiver = m->sender, .ct = ct};
    struct wr w = wr_of(d->text, sizeof d->text);
    hs_response_write(&w, &out);
    schedule_handshake(&d->keys, &shared, view(&s->hs->hello), challenge, wr_done(&w));
    wipe(&shared, sizeof shared);
    return response_seal(s, d, &w, (enum aead_alg)m->cipher) == 0 ? DROP_NONE : DROP_BAD_KEM;
}

static void challenge_commit(struct session *s, struct response_draft *d, struct bytes challenge,
                             const struct hs_challenge *m, usec_t now)
{
    struct handshake *h = s->hs;
    if (message_set(&h->challenge, challenge) < 0 || message_set(&h->last, d->whole) < 0)
        return;
    h->keys = d->keys;
    h->session = d->session;
    wipe(h->keys.prk, sizeof h->keys.prk);
    wipe(h->keys.initiator, sizeof h->keys.initiator);
    wipe(h->dh_private, sizeof h->dh_private);
    s->peer_index = m->sender;
    s->cipher = (enum aead_alg)m->cipher;
    s->state = SESSION_RESPONSE_SENT;
    h->rejected = false;
    h->give_up = h->full_give_up;
    h->retry_interval = s->limits->hs_retry;
    h->retry_at = now + h->retry_interval;
    send(s, &h->last);
}

static enum session_drop challenge_input(struct session *s, struct bytes in, usec_t now)
{
    struct hs_challenge m;
    if (hs_challenge_read(&m, in) < 0)
        return DROP_TRUNCATED;
    if (m.receiver != s->index)
        return DROP_UNKNOWN_INDEX;
    if (s->state != SESSION_HELLO_SENT)
        return DROP_WRONG_STATE;
    uint8_t digest[SHA384_LEN];
    challenge_digest(digest, view(&s->hs->hello), m.signed_part);
    if (sign_check(&s->hs->peer_public, CHALLENGE_CONTEXT, bytes_of(digest, sizeof digest), m.sig) < 0)
        return DROP_BAD_SIGNATURE;
    if (choose_cipher(s->ciphers, m.ciphers) != m.cipher)
        return DROP_DOWNGRADE;
    struct response_draft draft;
    enum session_drop d = response_make(s, &draft, in, &m);
    if (d == DROP_NONE)
        challenge_commit(s, &draft, in, &m, now);
    wipe(&draft, sizeof draft);
    return d;
}

/* ---- ESTABLISHED ---- */

/* Both ends: keys in place, the peer proven. heads: the peer's message that they stand in. */
static int come_up(struct session *s, const struct session_keys *k, usec_t now)
{
    struct keys *first = keys_new(s, 0, &k->traffic, now);
    if (!first)
        return -ENOMEM;
    s->keys[KEYS_CURRENT] = first;
    memcpy(s->chain, k->traffic.chain, sizeof s->chain);
    memcpy(s->resume_key, k->resume, sizeof s->resume_key);
    memcpy(s->id, k->id, sizeof s->id);
    s->state = SESSION_UP_STATE;
    s->up_since = now;
    s->rekey.not_before = now;
    queue_event(s, &(struct session_event){.kind = SESSION_UP}, bytes_of(NULL, 0));
    return 0;
}

static uint32_t seconds_up(usec_t t)
{
    usec_t s = (t + SEC - 1) / SEC;
    return s == 0 ? 1 : s > UINT32_MAX ? UINT32_MAX : (uint32_t)s;
}

static int established_make(struct session *s, const struct hs_keys *keys, const struct session_keys *session,
                            struct message *out)
{
    uint8_t text[8 + HS_ESTABLISHED_PAYLOAD_MAX + AEAD_TAG_LEN];
    const struct hs_established m = {.receiver = s->peer_index};
    struct hs_established_payload p = {.mtu = s->mtu, .seen = s->hs->seen};
    memcpy(p.session_id, session->id, sizeof p.session_id);
    p.heartbeat_ms = (uint32_t)(s->limits->heartbeat / MSEC);
    p.rekey_s = seconds_up(s->limits->rekey_after);
    p.direct = s->hs->addr_count > 0;
    struct wr w = wr_of(text, sizeof text);
    hs_established_write(&w, &m);
    size_t prefix = w.n;
    hs_established_payload_write(&w, &p);
    if (!wr_ok(&w) || seal_once(s->cipher, keys->responder, &w, prefix) < 0)
        return -EIO;
    return message_set(out, wr_done(&w));
}

/* Everything that RESPONSE proves, in locals. */
struct response_opened {
    struct hs_keys keys;
    struct session_keys session;
    struct hs_response_payload payload;
};

static enum session_drop response_payload(struct session *s, struct response_opened *o,
                                          const struct hs_response *m)
{
    uint8_t text[HS_RESPONSE_PAYLOAD_MAX + AEAD_TAG_LEN];
    size_t n;
    if (open_once(s->cipher, o->keys.initiator, m->prefix, m->sealed, text, &n) < 0)
        return DROP_BAD_TAG;
    if (hs_response_payload_read(&o->payload, bytes_of(text, n)) < 0)
        return DROP_BAD_INNER;
    struct bytes th = bytes_of(o->keys.th, sizeof o->keys.th);
    if (sign_check(&s->hs->peer_public, RESPONSE_CONTEXT, th, o->payload.sig) < 0)
        return DROP_BAD_SIGNATURE;
    return DROP_NONE;
}

static enum session_drop response_open(struct session *s, struct response_opened *o,
                                       const struct hs_response *m, struct bytes in)
{
    struct handshake *h = s->hs;
    struct shared_secrets shared;
    struct hs_hello hello;
    enum session_drop d = DROP_BAD_KEM;
    if (hs_hello_read(&hello, view(&h->hello)) == 0 && x25519(shared.dh, h->dh_private, hello.dh) == 0 &&
        kem_decaps(shared.kem, h->kem_seed, m->ct) == 0) {
        schedule_handshake(&o->keys, &shared, view(&h->hello), view(&h->challenge), m->prefix);
        d = response_payload(s, o, m);
    }
    wipe(&shared, sizeof shared);
    if (d == DROP_NONE)
        schedule_session(&o->session, &o->keys, in);
    return d;
}

/* What the responder still needs until the initiator's first packet: ESTABLISHED and how to know RESPONSE
 * again. */
static void responder_shrink(struct session *s, struct bytes response)
{
    struct handshake *h = s->hs;
    sha384(h->response_hash, &response, 1);
    message_clear(&h->hello);
    message_clear(&h->challenge);
    wipe(h->dh_private, sizeof h->dh_private);
    wipe(h->kem_seed, sizeof h->kem_seed);
}

static void response_commit(struct session *s, struct response_opened *o, struct bytes in, usec_t now)
{
    struct handshake *h = s->hs;
    struct hs_hello hello;
    if (established_make(s, &o->keys, &o->session, &h->last) < 0 || come_up(s, &o->session, now) < 0)
        return;
    if (hs_hello_read(&hello, view(&h->hello)) == 0)
        queue_heads(s, hello.heads, hello.head_count);
    s->info.peer_addr_count = o->payload.addr_count;
    memcpy(s->info.peer_addrs, o->payload.addrs, sizeof s->info.peer_addrs);
    responder_shrink(s, in);
    h->answered_at = now;
    send(s, &h->last);
}

static bool response_known(const struct session *s, struct bytes in)
{
    uint8_t hash[SHA384_LEN];
    if (s->state != SESSION_UP_STATE || s->initiator || !s->hs)
        return false;
    sha384(hash, &in, 1);
    return secret_equal(hash, s->hs->response_hash, sizeof hash);
}

static enum session_drop response_input(struct session *s, struct bytes in, usec_t now)
{
    struct hs_response m;
    if (hs_response_read(&m, in) < 0)
        return DROP_TRUNCATED;
    if (m.receiver != s->index)
        return DROP_UNKNOWN_INDEX;
    if (response_known(s, in))
        return answer_again(s, &s->hs->last, now);
    if (s->state != SESSION_CHALLENGE_SENT)
        return DROP_WRONG_STATE;
    struct response_opened o;
    enum session_drop d = response_open(s, &o, &m, in);
    if (d == DROP_NONE)
        response_commit(s, &o, in, now);
    wipe(&o, sizeof o);
    return d;
}

static void established_commit(struct session *s, const struct hs_established_payload *p, usec_t now)
{
    struct hs_challenge challenge;
    if (come_up(s, &s->hs->session, now) < 0)
        return;
    if (hs_challenge_read(&challenge, view(&s->hs->challenge)) == 0)
        queue_heads(s, challenge.heads, challenge.head_count);
    s->info.seen_by_peer = p->seen;
    s->info.peer_mtu = p->mtu;
    s->info.peer_heartbeat_ms = p->heartbeat_ms;
    s->info.peer_direct = p->direct;
    if (p->mtu < s->mtu)
        s->mtu = p->mtu;
    s->rekey_after = usec_min(s->rekey_after, p->rekey_s * SEC);
    handshake_free(s->hs);
    s->hs = NULL;
    /* So that the responder hears from us even where no data waits, and forgets its half of the handshake. */
    uint8_t null[DATA_OVERHEAD];
    if (packet_seal(s, INNER_NULL, 0, null, 0) == 0)
        queue_out(s, SESSION_PATH_ANY, false, bytes_of(null, sizeof null));
}

static enum session_drop established_input(struct session *s, struct bytes in, usec_t now)
{
    struct hs_established m;
    if (hs_established_read(&m, in) < 0)
        return DROP_TRUNCATED;
    if (m.receiver != s->index)
        return DROP_UNKNOWN_INDEX;
    if (s->state != SESSION_RESPONSE_SENT)
        return DROP_WRONG_STATE;
    uint8_t text[HS_ESTABLISHED_PAYLOAD_MAX + AEAD_TAG_LEN];
    size_t n;
    struct hs_established_payload p;
    if (open_once(s->cipher, s->hs->keys.responder, m.prefix, m.sealed, text, &n) < 0)
        return DROP_BAD_TAG;
    if (hs_established_payload_read(&p, bytes_of(text, n)) < 0 ||
        !secret_equal(p.session_id, s->hs->session.id, SESSION_ID_LEN))
        return DROP_BAD_INNER;
    established_commit(s, &p, now);
    return DROP_NONE;
}

/* ---- REJECT ---- */

/* Nobody signed it, so it ends nothing: one more sending, a shorter wait, and a better word than "timeout".
 */
static enum session_drop reject_input(struct session *s, struct bytes in, usec_t now)
{
    struct hs_reject m;
    if (hs_reject_read(&m, in) < 0)
        return DROP_TRUNCATED;
    if (m.receiver != s->index)
        return DROP_UNKNOWN_INDEX;
    if (s->state != SESSION_HELLO_SENT && s->state != SESSION_RESPONSE_SENT)
        return DROP_WRONG_STATE;
    struct handshake *h = s->hs;
    s->info.reject_reason = m.reason;
    if (h->rejected)
        return DROP_NONE;
    h->rejected = true;
    h->give_up = usec_min(h->give_up, now + REJECT_PATIENCE * s->limits->hs_retry);
    h->retry_interval = s->limits->hs_retry;
    h->retry_at = usec_min(h->retry_at, now + h->retry_interval);
    return DROP_NONE;
}

enum session_drop handshake_input(struct session *s, struct bytes in, usec_t now)
{
    int message = hs_message_of(in);
    if (message == -EPROTONOSUPPORT)
        return DROP_VERSION;
    if (message < 0)
        return DROP_TRUNCATED;
    switch ((enum hs_message)message) {
    case HS_HELLO:
        return hello_input(s, in, now);
    case HS_CHALLENGE:
        return challenge_input(s, in, now);
    case HS_RESPONSE:
        return response_input(s, in, now);
    case HS_ESTABLISHED:
        return established_input(s, in, now);
    default:
        return reject_input(s, in, now);
    }
}

/* ---- time ---- */

void handshake_confirmed(struct session *s)
{
    handshake_free(s->hs);
    s->hs = NULL;
}

usec_t handshake_wake(const struct session *s)
{
    switch (s->state) {
    case SESSION_HELLO_SENT:
    case SESSION_RESPONSE_SENT:
        return usec_min(s->hs->retry_at, s->hs->give_up);
    case SESSION_CHALLENGE_SENT:
        return s->hs->give_up;
    default:
        return USEC_NEVER;
    }
}

void handshake_tick(struct session *s, usec_t now)
{
    struct handshake *h = s->hs;
    if (now < handshake_wake(s))
        return;
    if (now >= h->give_up) {
        session_die(s, h->rejected ? DOWN_REJECTED : DOWN_TIMEOUT);
        return;
    }
    send(s, s->state == SESSION_HELLO_SENT ? &h->hello : &h->last);
    h->retry_interval = usec_min(h->retry_interval * 2, s->limits->hs_retry_max);
    h->retry_at = now + h->retry_interval;
}
