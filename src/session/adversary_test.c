#include <errno.h>

#include "session/pair_int.h"

/* The four letters of a good handshake in order, and a pair that stands before the step-th is delivered. */
static void stop_before(struct pair *p, uint64_t seed, int step, struct letter *next)
{
    pair_new(p, seed);
    assert_int_equal(session_start(p->s[0], p->now), 0);
    for (int i = 0;; i++) {
        *next = pair_take(p, i % 2);
        if (i == step)
            return;
        assert_int_equal(pair_give(p, (i + 1) % 2, next), DROP_NONE);
        letter_free(next);
    }
}

/* After all the abuse: the true letter is taken and both come up. */
static void finish_well(struct pair *p, int step, struct letter *l)
{
    assert_int_equal(pair_give(p, (step + 1) % 2, l), DROP_NONE);
    pair_run(p);
    for (int i = 0; i < 2; i++)
        assert_int_equal(session_state(p->s[i]), SESSION_UP_STATE);
    pair_talk(p, 0, "well");
    letter_free(l);
    pair_done(p);
}

static void expect_drop(int step, size_t at, enum session_drop got, enum session_drop want)
{
    if (got != want)
        fail_msg("step %d at %zu: %s instead of %s", step, at, session_drop_name(got),
                 session_drop_name(want));
}

static void test_truncated(void **state)
{
    static const size_t sealed_from[4] = {SIZE_MAX, SIZE_MAX,
                                          8 + KEM_CT_LEN + SIGN_SIG_LEN + 1 + AEAD_TAG_LEN, 8 + AEAD_TAG_LEN};
    for (int step = 0; step < 4; step++) {
        struct pair p;
        struct letter l;
        stop_before(&p, 400 + (uint64_t)step, step, &l);
        enum session_state before = session_state(p.s[(step + 1) % 2]);
        for (size_t n = 0; n < l.n; n++) {
            /* Where the sealed part could be that short, its tag tells. */
            enum session_drop want = n >= sealed_from[step] ? DROP_BAD_TAG : DROP_TRUNCATED;
            const struct letter cut = {l.p, n, 1, true};
            expect_drop(step, n, pair_give(&p, (step + 1) % 2, &cut), want);
        }
        struct letter more = letter_copy(&l);
        more.p = realloc(more.p, l.n + 1);
        assert_non_null(more.p);
        more.p[more.n++] = 0;
        expect_drop(step, more.n, pair_give(&p, (step + 1) % 2, &more),
                    step < 2 ? DROP_TRUNCATED : DROP_BAD_TAG);
        letter_free(&more);
        assert_int_equal(session_state(p.s[(step + 1) % 2]), before);
        finish_well(&p, step, &l);
    }
}

/* What a flipped bit must be called, by place. */
static enum session_drop flip_reason(int step, size_t at)
{
    if (at == 0)
        return DROP_TYPE;
    if (at == 1)
        return DROP_TRUNCATED; /* another message: the length does not fit */
    if (at < 4)
        return DROP_VERSION;
    if (at < 8)
        return step == 0 ? DROP_TRUNCATED : DROP_UNKNOWN_INDEX;
    switch (step) {
    case 0:
        return at >= 12 && at < 76 ? DROP_WRONG_IDENTITY : at == 141 ? DROP_TRUNCATED : DROP_BAD_SIGNATURE;
    case 1:
        return at == 1646 ? DROP_TRUNCATED : DROP_BAD_SIGNATURE;
    default:
        return DROP_BAD_TAG;
    }
}

static void test_flipped(void **state)
{
    for (int step = 0; step < 4; step++) {
        struct pair p;
        struct letter l;
        stop_before(&p, 410 + (uint64_t)step, step, &l);
        int to = (step + 1) % 2;
        enum session_state before = session_state(p.s[to]);
        /* Every byte of what is small and of all headers; every 11th of the long parts. */
        for (size_t at = 0; at < l.n; at += at < 160 || (at > 1570 && at < 1660) ? 1 : 11) {
            uint8_t bit = at == 1 ? 0x04 : 0x01;
            l.p[at] ^= bit;
            enum session_drop want = flip_reason(step, at);
            if (step == 1 && at == 1645) /* the chosen cipher: 1 becomes 0, a cipher too */
                want = DROP_BAD_SIGNATURE;
            expect_drop(step, at, pair_give(&p, to, &l), want);
            l.p[at] ^= bit;
        }
        assert_int_equal(session_state(p.s[to]), before);
        struct tray t = {.n = 0};
        pair_collect(&p, to, &t);
        assert_int_equal(t.n, 0);
        finish_well(&p, step, &l);
    }
}

/* Which half of which end's key is not the one in the log. */
static void test_wrong_keys(void **state)
{
    static const struct {
        int liar;            /* the end whose signatures are judged */
        bool mldsa, ed25519; /* the halves that are wrong */
        int refused_at;      /* the message that gives it away */
    } rows[] = {
        {0, false, true, 0}, {0, true, true, 0},  {0, true, false, 2},
        {1, true, false, 1}, {1, false, true, 1}, {1, true, true, 1},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct pair p;
        pair_init(&p, 420 + i);
        struct rng_seeded rs;
        struct rng rng = rng_seeded(&rs, 77 + i);
        struct sign_seed seed;
        sign_seed_new(&seed, &rng);
        struct sign_key *other = sign_key_new(&seed);
        assert_non_null(other);
        struct sign_public known = *sign_key_public(p.key[rows[i].liar]);
        if (rows[i].mldsa)
            memcpy(known.mldsa, sign_key_public(other)->mldsa, sizeof known.mldsa);
        if (rows[i].ed25519)
            memcpy(known.ed25519, sign_key_public(other)->ed25519, sizeof known.ed25519);
        p.config[!rows[i].liar].peer_public = &known;
        pair_renew(&p, 0);
        pair_renew(&p, 1);
        assert_int_equal(session_start(p.s[0], p.now), 0);
        for (int step = 0; step <= rows[i].refused_at; step++) {
            struct letter l = pair_take(&p, step % 2);
            enum session_drop want = step == rows[i].refused_at ? DROP_BAD_SIGNATURE : DROP_NONE;
            expect_drop(step, i, pair_give(&p, (step + 1) % 2, &l), want);
            letter_free(&l);
        }
        assert_int_not_equal(session_state(p.s[!rows[i].liar]), SESSION_UP_STATE);
        sign_key_free(other);
        pair_done(&p);
    }
}

/* The signature in CHALLENGE stands open: each half is damaged alone. */
static void test_half_signatures(void **state)
{
    struct pair p;
    struct letter l;
    stop_before(&p, 430, 1, &l);
    size_t sig = l.n - SIGN_SIG_LEN;
    for (size_t at = sig; at < l.n; at += at < l.n - ED25519_SIG_LEN ? 97 : 1) {
        l.p[at] ^= 0x10;
        expect_drop(1, at, pair_give(&p, 0, &l), DROP_BAD_SIGNATURE);
        l.p[at] ^= 0x10;
    }
    finish_well(&p, 1, &l);
}

/* ---- a dishonest member: true keys, wrong messages, made by hand with the schedule ---- */

struct liar {
    uint8_t dh_private[X25519_LEN], kem_seed[KEM_SEED_LEN], kem_public[KEM_PUBLIC_LEN];
    uint8_t text[HS_MESSAGE_MAX];
    struct wr w;
};

static struct letter liar_letter(struct liar *m)
{
    assert_true(wr_ok(&m->w));
    return (struct letter){m->text, m->w.n, 1, true};
}

struct hello_lie {
    uint8_t ciphers;
    bool zero_dh;
};

static struct letter lie_hello(struct pair *p, struct liar *m, const struct hello_lie *lie)
{
    struct hs_hello h = {.sender = 0x1000, .ciphers = lie->ciphers};
    const struct session_config *c = &p->config[0];
    memcpy(h.from, c->self, NODE_ID_LEN);
    memcpy(h.to, c->peer, NODE_ID_LEN);
    rng_fill(&c->rng, m->dh_private, sizeof m->dh_private);
    assert_int_equal(x25519_public(h.dh, m->dh_private), 0);
    if (lie->zero_dh)
        memset(h.dh, 0, sizeof h.dh);
    m->w = wr_of(m->text, sizeof m->text);
    hs_hello_write(&m->w, &h);
    struct bytes part = wr_done(&m->w);
    assert_int_equal(sign_make_ed25519(p->key[0], "warren hello v1", part, wr_take(&m->w, ED25519_SIG_LEN)),
                     0);
    return liar_letter(m);
}

struct response_lie {
    int damage_sig;  /* byte of the signature to flip; -1 none */
    bool no_payload; /* well sealed, ill formed */
};

static struct letter lie_response(struct pair *p, struct liar *m, struct bytes hello, struct bytes challenge,
                                  const struct response_lie *lie)
{
    static const uint8_t nonce[AEAD_NONCE_LEN];
    struct hs_challenge ch;
    struct shared_secrets shared;
    struct hs_keys keys;
    uint8_t ct[KEM_CT_LEN];
    const uint8_t random[KEM_RANDOM_LEN] = {5};
    assert_int_equal(hs_challenge_read(&ch, challenge), 0);
    assert_int_equal(x25519(shared.dh, m->dh_private, ch.dh), 0);
    assert_int_equal(kem_encaps(ct, shared.kem, ch.kem, random), 0);
    const struct hs_response out = {.receiver = ch.sender, .ct = ct};
    m->w = wr_of(m->text, sizeof m->text);
    hs_response_write(&m->w, &out);
    size_t prefix = m->w.n;
    schedule_handshake(&keys, &shared, hello, challenge, wr_done(&m->w));
    struct hs_response_payload payload = {.addr_count = 0};
    assert_int_equal(sign_make(p->key[0], "warren response v1", bytes_of(keys.th, sizeof keys.th),
                               &p->config[0].rng, payload.sig),
                     0);
    if (lie->damage_sig >= 0)
        payload.sig[lie->damage_sig] ^= 1;
    if (lie->no_payload)
        payload.addr_count = 1; /* the address of family 0 that follows is none */
    hs_response_payload_write(&m->w, &payload);
    size_t n = m->w.n - prefix;
    uint8_t *tag = wr_take(&m->w, AEAD_TAG_LEN);
    struct aead *a = aead_new((enum aead_alg)ch.cipher, keys.initiator);
    assert_int_equal(aead_seal(a, nonce, bytes_of(m->text, prefix), m->text + prefix, n, tag), 0);
    aead_free(a);
    return liar_letter(m);
}

static void test_lying_initiator(void **state)
{
    static const struct {
        struct hello_lie hello;
        struct response_lie response;
        enum session_drop want;
    } rows[] = {
        {{2, false}, {-1, false}, DROP_NONE}, /* the hand-made one is right where it does not lie */
        {{2, false}, {0, false}, DROP_BAD_SIGNATURE},
        {{2, false}, {MLDSA_SIG_LEN - 1, false}, DROP_BAD_SIGNATURE},
        {{2, false}, {MLDSA_SIG_LEN, false}, DROP_BAD_SIGNATURE},
        {{2, false}, {SIGN_SIG_LEN - 1, false}, DROP_BAD_SIGNATURE},
        {{2, false}, {-1, true}, DROP_BAD_INNER},
        {{2, true}, {-1, false}, DROP_BAD_KEM},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct pair p;
        struct liar m;
        pair_new(&p, 440 + i);
        struct letter first = lie_hello(&p, &m, &rows[i].hello), hello = letter_copy(&first);
        assert_int_equal(pair_give(&p, 1, &hello), DROP_NONE);
        struct letter challenge = pair_take(&p, 1);
        struct letter response = lie_response(&p, &m, bytes_of(hello.p, hello.n),
                                              bytes_of(challenge.p, challenge.n), &rows[i].response);
        expect_drop(2, i, pair_give(&p, 1, &response), rows[i].want);
        assert_int_equal(session_state(p.s[1]), rows[i].want ? SESSION_CHALLENGE_SENT : SESSION_UP_STATE);
        letter_free(&hello);
        letter_free(&challenge);
        pair_done(&p);
    }
}

struct challenge_lie {
    uint8_t ciphers, cipher;
    bool bad_kem, zero_dh;
};

static struct letter lie_challenge(struct pair *p, struct liar *m, struct bytes hello,
                                   const struct challenge_lie *lie)
{
    const struct session_config *c = &p->config[1];
    struct hs_challenge ch = {.sender = 9,
                              .receiver = 0x1000,
                              .ciphers = lie->ciphers,
                              .cipher = lie->cipher,
                              .kem = m->kem_public};
    rng_fill(&c->rng, m->dh_private, sizeof m->dh_private);
    rng_fill(&c->rng, m->kem_seed, sizeof m->kem_seed);
    assert_int_equal(x25519_public(ch.dh, m->dh_private), 0);
    assert_int_equal(kem_public(m->kem_public, m->kem_seed), 0);
    if (lie->zero_dh)
        memset(ch.dh, 0, sizeof ch.dh);
    if (lie->bad_kem)
        memset(m->kem_public, 0xff, 3); /* coefficients of 4095: not below q */
    m->w = wr_of(m->text, sizeof m->text);
    hs_challenge_write(&m->w, &ch);
    uint8_t digest[SHA384_LEN];
    const struct bytes parts[] = {hello, wr_done(&m->w)};
    transcript_hash(digest, "warren challenge v1", parts, 2);
    uint8_t *sig = wr_take(&m->w, SIGN_SIG_LEN);
    assert_non_null(sig);
    assert_int_equal(
        sign_make(p->key[1], "warren challenge v1", bytes_of(digest, sizeof digest), &c->rng, sig), 0);
    return liar_letter(m);
}

/* Properly signed, wrong inside: a cipher that the rule does not give, a KEM key or a point that must be
 * refused. */
static void test_lying_responder(void **state)
{
    static const struct {
        uint8_t mine; /* the initiator's mask */
        bool aes;
        struct challenge_lie lie;
        enum session_drop want;
    } rows[] = {
        {3, true, {3, AEAD_CHACHA20POLY1305, false, false}, DROP_NONE},
        {3, true, {3, AEAD_AES256GCM, false, false}, DROP_DOWNGRADE},
        {3, true, {3 | HS_PREFER_AES, AEAD_CHACHA20POLY1305, false, false}, DROP_DOWNGRADE},
        {3, true, {3 | HS_PREFER_AES, AEAD_AES256GCM, false, false}, DROP_NONE},
        {2, true, {3, AEAD_AES256GCM, false, false}, DROP_DOWNGRADE},
        {2, true, {1, AEAD_AES256GCM, false, false}, DROP_DOWNGRADE},
        {3, true, {0, AEAD_AES256GCM, false, false}, DROP_DOWNGRADE},
        {3, false, {3, AEAD_CHACHA20POLY1305, true, false}, DROP_BAD_KEM},
        {3, false, {3, AEAD_CHACHA20POLY1305, false, true}, DROP_BAD_KEM},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct pair p;
        struct liar m;
        pair_init(&p, 450 + i);
        p.config[0].ciphers = rows[i].mine;
        p.config[0].prefer_aes = rows[i].aes;
        pair_renew(&p, 0);
        assert_int_equal(session_start(p.s[0], p.now), 0);
        struct letter hello = pair_take(&p, 0);
        struct letter challenge = lie_challenge(&p, &m, bytes_of(hello.p, hello.n), &rows[i].lie);
        expect_drop(1, i, pair_give(&p, 0, &challenge), rows[i].want);
        assert_int_equal(session_state(p.s[0]), rows[i].want ? SESSION_HELLO_SENT : SESSION_RESPONSE_SENT);
        letter_free(&hello);
        pair_done(&p);
    }
}

/* The relay rewrites HELLO's offer; the signature tells. Without the signature's help the transcripts would
 * differ anyway. */
static void test_stripped_offer(void **state)
{
    struct pair p;
    pair_init(&p, 460);
    p.config[0].prefer_aes = p.config[1].prefer_aes = true;
    pair_renew(&p, 0);
    pair_renew(&p, 1);
    assert_int_equal(session_start(p.s[0], p.now), 0);
    struct letter l = pair_take(&p, 0);
    assert_int_equal(l.p[140], 3 | HS_PREFER_AES);
    l.p[140] = 2;
    assert_int_equal(pair_give(&p, 1, &l), DROP_BAD_SIGNATURE);
    l.p[140] = 3 | HS_PREFER_AES;
    finish_well(&p, 0, &l);
}

/* Everything of one handshake thrown at another between the same two, with the same indices. */
static void test_other_handshake(void **state)
{
    struct pair old, p;
    struct letter was[4], l;
    pair_new(&old, 470);
    assert_int_equal(session_start(old.s[0], old.now), 0);
    for (int i = 0; i < 4; i++) {
        was[i] = pair_take(&old, i % 2);
        assert_int_equal(pair_give(&old, (i + 1) % 2, &was[i]), DROP_NONE);
    }
    pair_run(&old);
    struct letter data = pair_seal(&old, 0, "old");
    static const enum session_drop want[4] = {DROP_WRONG_STATE, DROP_BAD_SIGNATURE, DROP_BAD_TAG,
                                              DROP_BAD_TAG};
    for (int step = 1; step < 4; step++) {
        /* The same keys and ids, other randomness. */
        pair_init(&p, 470);
        rng_fill(&p.config[0].rng, &(uint8_t[32]){0}, 32);
        rng_fill(&p.config[1].rng, &(uint8_t[32]){0}, 32);
        pair_renew(&p, 0);
        pair_renew(&p, 1);
        assert_int_equal(session_start(p.s[0], p.now), 0);
        for (int i = 0; i <= step; i++) {
            l = pair_take(&p, i % 2);
            if (i == step)
                break;
            assert_int_equal(pair_give(&p, (i + 1) % 2, &l), DROP_NONE);
            letter_free(&l);
        }
        expect_drop(step, 0, pair_give(&p, (step + 1) % 2, &was[step]), want[step]);
        assert_int_equal(pair_give(&p, 1, &data), step == 3 ? DROP_BAD_TAG : DROP_WRONG_STATE);
        finish_well(&p, step, &l);
    }
    /* A recorded HELLO gets a CHALLENGE; the recorded RESPONSE does not fit it. */
    pair_init(&p, 470);
    rng_fill(&p.config[1].rng, &(uint8_t[32]){0}, 32);
    pair_renew(&p, 0);
    pair_renew(&p, 1);
    assert_int_equal(pair_give(&p, 1, &was[0]), DROP_NONE);
    assert_int_equal(pair_give(&p, 1, &was[2]), DROP_BAD_TAG);
    assert_int_equal(session_state(p.s[1]), SESSION_CHALLENGE_SENT);
    for (int i = 0; i < 4; i++)
        letter_free(&was[i]);
    letter_free(&data);
    pair_done(&p);
    pair_done(&old);
}

/* For somebody else, from somebody else, back to its sender. */
static void test_wrong_identity(void **state)
{
    struct pair p, other;
    pair_new(&p, 480);
    pair_new(&other, 481);
    assert_int_equal(session_start(p.s[0], p.now), 0);
    struct letter hello = pair_take(&p, 0);
    assert_int_equal(pair_give(&other, 1, &hello), DROP_WRONG_IDENTITY);
    assert_int_equal(pair_give(&p, 0, &hello), DROP_WRONG_IDENTITY);
    assert_int_equal(session_state(p.s[0]), SESSION_HELLO_SENT);
    finish_well(&p, 0, &hello);
    pair_done(&other);
}

/* ---- data packets ---- */

static void test_data_mangled(void **state)
{
    struct pair p;
    pair_up(&p, 490);
    struct letter l = pair_seal(&p, 0, "payload of some length");
    for (size_t n = 0; n < l.n; n++) {
        const struct letter cut = {l.p, n, 1, false};
        expect_drop(4, n, pair_give(&p, 1, &cut), n < DATA_OVERHEAD ? DROP_TRUNCATED : DROP_BAD_TAG);
    }
    for (size_t at = 0; at < l.n; at++)
        for (unsigned bit = 0; bit < 8; bit++) {
            enum session_drop want = DROP_BAD_TAG;
            if (at == 0)
                want = DROP_TYPE;
            else if (at == 1)
                want = DROP_UNKNOWN_EPOCH;
            else if (at == 3 || (at == 2 && bit > 0))
                want = DROP_TRUNCATED;
            else if (at > 3 && at < 8)
                want = DROP_UNKNOWN_INDEX;
            if (at == 0 && bit == 0)
                want = DROP_VERSION; /* 5: RESUME, whose version is elsewhere */
            else if (at == 0 && bit == 1)
                want = DROP_VERSION; /* 6: HANDSHAKE */
            else if (at == 15 && bit == 0)
                want = DROP_REPLAYED; /* counter 1 becomes 0, the NULL after ESTABLISHED */
            l.p[at] ^= (uint8_t)(1u << bit);
            expect_drop(4, at * 8 + bit, pair_give(&p, 1, &l), want);
            l.p[at] ^= (uint8_t)(1u << bit);
        }
    assert_int_equal(pair_give(&p, 1, &l), DROP_NONE);
    letter_free(&l);
    pair_done(&p);
}

static void test_data_replayed(void **state)
{
    struct pair p;
    struct letter l[20];
    pair_up(&p, 500);
    for (int i = 0; i < 20; i++)
        l[i] = pair_seal(&p, 1, "numbered");
    for (int i = 0; i < 20; i++)
        assert_int_equal(pair_give(&p, 0, &l[i * 7 % 20]), DROP_NONE);
    for (int i = 0; i < 20; i++)
        assert_int_equal(pair_give(&p, 0, &l[i]), DROP_REPLAYED);
    struct letter early = pair_seal(&p, 1, "early"), last = pair_seal(&p, 1, "last in the window");
    struct letter newest = {0};
    for (int i = 0; i < REPLAY_WINDOW; i++) {
        letter_free(&newest);
        newest = pair_seal(&p, 1, "x");
    }
    assert_int_equal(pair_give(&p, 0, &newest), DROP_NONE);
    assert_int_equal(pair_give(&p, 0, &early), DROP_TOO_OLD);
    assert_int_equal(pair_give(&p, 0, &last), DROP_TOO_OLD);
    /* To its sender, under either index. */
    assert_int_equal(pair_give(&p, 1, &newest), DROP_UNKNOWN_INDEX);
    newest.p[7] = (uint8_t)p.config[1].index;
    assert_int_equal(pair_give(&p, 1, &newest), DROP_BAD_TAG);
    for (int i = 0; i < 20; i++)
        letter_free(&l[i]);
    letter_free(&early);
    letter_free(&last);
    letter_free(&newest);
    pair_done(&p);
}

/* A peer that holds the keys and seals nonsense. */
static struct letter sealed(struct pair *p, int i, uint8_t kind, uint32_t party, const void *text, size_t n)
{
    struct letter l = {.n = n + DATA_OVERHEAD, .path = 1};
    l.p = calloc(1, l.n);
    assert_non_null(l.p);
    if (n > 0)
        memcpy(l.p + DATA_HEADROOM, text, n);
    assert_int_equal(packet_seal(p->s[i], (enum inner_kind)kind, party, l.p, n), 0);
    return l;
}

static void test_sealed_nonsense(void **state)
{
    static const struct {
        uint8_t kind;
        uint32_t party;
        uint8_t text[9];
        size_t n;
        enum session_drop want;
    } rows[] = {
        {INNER_NULL, 0, {0}, 0, DROP_NONE},
        {INNER_NULL, 0, {1}, 1, DROP_BAD_INNER},
        {INNER_NULL, 3, {0}, 0, DROP_BAD_INNER},
        {INNER_KIND_COUNT, 0, {0}, 0, DROP_BAD_INNER},
        {INNER_CONTROL, 3, {CTL_APP, 0, 0, 0, 1}, 5, DROP_BAD_INNER},
        {INNER_CONTROL, 0, {CTL_APP, 0, 0, 0, 1}, 5, DROP_NONE},
        {INNER_CONTROL, 0, {CTL_APP, 0, 0, 0, 1}, 4, DROP_BAD_CONTROL},
        {INNER_CONTROL, 0, {CTL_APP, 0, 0, 1, 1}, 5, DROP_BAD_CONTROL},  /* index past the count */
        {INNER_CONTROL, 0, {CTL_APP, 0, 0, 0, 0}, 5, DROP_BAD_CONTROL},  /* of none */
        {INNER_CONTROL, 0, {CTL_APP, 0, 0, 0, 17}, 6, DROP_BAD_CONTROL}, /* of too many */
        {INNER_CONTROL, 0, {CTL_APP, 0, 0, 0, 2}, 5, DROP_BAD_CONTROL},  /* an empty piece */
        {INNER_CONTROL, 0, {0, 0, 0, 0, 1}, 5, DROP_BAD_CONTROL},        /* unknown types */
        {INNER_CONTROL, 0, {63, 0, 0, 0, 1}, 5, DROP_BAD_CONTROL},
        {INNER_CONTROL, 0, {CTL_APP + SESSION_CTL_APP_COUNT, 0, 0, 0, 1}, 5, DROP_BAD_CONTROL},
        {INNER_CONTROL, 0, {CTL_REKEY_INIT, 0, 0, 0, 1}, 9, DROP_BAD_CONTROL},
        {INNER_CONTROL, 0, {CTL_REKEY_REPLY, 0, 0, 0, 1}, 9, DROP_BAD_CONTROL},
        {INNER_CONTROL, 0, {CTL_REKEY_DONE, 0, 0, 0, 1}, 8, DROP_BAD_CONTROL},
        {INNER_CONTROL,
         0,
         {CTL_REKEY_DONE, 0, 0, 0, 1, 0, 0, 0, 9},
         9,
         DROP_NONE}, /* an epoch long gone or to come */
        {INNER_CONTROL,
         0,
         {CTL_REKEY_WANT, 0, 0, 0, 1, 0, 0, 0, 1},
         9,
         DROP_BAD_CONTROL}, /* not to the responder */
        {INNER_CONTROL, 0, {CTL_HEADS, 0, 0, 0, 1, 1}, 6, DROP_BAD_CONTROL},
        {INNER_CONTROL, 0, {CTL_CLOSE, 0, 0, 0, 1, 1}, 6, DROP_BAD_CONTROL},
    };
    struct pair p;
    pair_up(&p, 510);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct letter l = sealed(&p, 0, rows[i].kind, rows[i].party, rows[i].text, rows[i].n);
        expect_drop(5, i, pair_give(&p, 1, &l), rows[i].want);
        letter_free(&l);
        assert_int_equal(session_state(p.s[1]), SESSION_UP_STATE);
        assert_int_equal(p.s[1]->rekey.state, REKEY_IDLE);
    }
    pair_drain(&p, 1);
    pair_talk(&p, 1, "fine");
    pair_done(&p);
}

/* Pieces that together exceed the longest message: refused at the one too much, and nothing is kept. */
static void test_assembly_too_long(void **state)
{
    struct pair p;
    static uint8_t text[CTL_HEADER_LEN + SESSION_CTL_MAX / 2 + 1] = {CTL_APP, 0, 7, 0, 3};
    pair_up(&p, 515);
    for (uint8_t i = 0; i < 2; i++) {
        text[3] = i;
        struct letter l = sealed(&p, 0, INNER_CONTROL, 0, text, sizeof text);
        assert_int_equal(pair_give(&p, 1, &l), i == 0 ? DROP_NONE : DROP_BAD_CONTROL);
        letter_free(&l);
    }
    for (size_t i = 0; i < ASSEMBLIES_MAX; i++)
        assert_false(p.s[1]->assemblies[i].used);
    pair_done(&p);
}

/* The session id in ESTABLISHED must be the one that both derived. */
static void test_other_session_id(void **state)
{
    struct pair p;
    struct letter l;
    stop_before(&p, 516, 3, &l);
    p.s[0]->hs->session.id[15] ^= 1;
    assert_int_equal(pair_give(&p, 0, &l), DROP_BAD_INNER);
    p.s[0]->hs->session.id[15] ^= 1;
    finish_well(&p, 3, &l);
}

/* INIT and REPLY with a wrong epoch, a bad KEM key, a zero point, from the wrong role, or different the
 * second time. */
static enum session_drop give_init(struct pair *p, int from, const struct rekey_init *m)
{
    uint8_t text[CTL_HEADER_LEN + REKEY_INIT_LEN];
    struct wr w = wr_of(text, sizeof text);
    ctl_header_write(&w, &(struct ctl_header){CTL_REKEY_INIT, 900, 0, 1});
    rekey_init_write(&w, m);
    struct letter l = sealed(p, from, INNER_CONTROL, 0, text, w.n);
    enum session_drop d = pair_give(p, !from, &l);
    letter_free(&l);
    return d;
}

static void test_lying_rekey(void **state)
{
    struct pair p;
    uint8_t kem[KEM_PUBLIC_LEN], bad[KEM_PUBLIC_LEN];
    const uint8_t seed[KEM_SEED_LEN] = {3}, private_key[X25519_LEN] = {4};
    pair_up(&p, 520);
    struct rekey_init m = {.epoch = 1, .kem = kem};
    assert_int_equal(kem_public(kem, seed), 0);
    memset(bad, 0xff, sizeof bad);
    assert_int_equal(give_init(&p, 0, &m), DROP_BAD_CONTROL); /* the zero point */
    assert_int_equal(x25519_public(m.dh, private_key), 0);
    m.kem = bad;
    assert_int_equal(give_init(&p, 0, &m), DROP_BAD_CONTROL);
    m.kem = kem;
    m.epoch = 2;
    assert_int_equal(give_init(&p, 0, &m), DROP_BAD_CONTROL);
    m.epoch = 0;
    assert_int_equal(give_init(&p, 0, &m), DROP_NONE); /* as one sent again long ago: nothing happens */
    m.epoch = 1;
    assert_int_equal(give_init(&p, 1, &m), DROP_BAD_CONTROL); /* the responder does not begin */
    for (int i = 0; i < 2; i++) {
        assert_int_equal(p.s[i]->rekey.state, REKEY_IDLE);
        assert_null(p.s[i]->keys[KEYS_NEXT]);
        assert_null(p.s[i]->out_first);
    }
    assert_int_equal(give_init(&p, 0, &m), DROP_NONE);
    assert_int_equal(p.s[1]->rekey.state, REKEY_ANSWERED);
    m.dh[0] ^= 1;
    assert_int_equal(give_init(&p, 0, &m), DROP_BAD_CONTROL); /* not the one that was answered */
    /* The answer to what end 0 never asked. */
    struct tray t = {.n = 0};
    pair_collect(&p, 1, &t);
    assert_int_equal(t.n, 2);
    assert_int_equal(pair_give(&p, 0, &t.letters[0]), DROP_NONE);
    assert_int_equal(pair_give(&p, 0, &t.letters[1]), DROP_BAD_CONTROL);
    tray_clear(&t);
    pair_talk(&p, 0, "unmoved");
    pair_talk(&p, 1, "unmoved");
    pair_done(&p);
}

static void test_other_types(void **state)
{
    struct pair p;
    pair_up(&p, 530);
    uint8_t text[64] = {0};
    for (unsigned type = 0; type < 256; type++) {
        text[0] = (uint8_t)type;
        const struct letter l = {text, sizeof text, 1, false};
        enum session_drop want = type == WIRE_DATA        ? DROP_UNKNOWN_INDEX
                                 : type == 5 || type == 6 ? DROP_VERSION
                                                          : DROP_TYPE;
        expect_drop(6, type, pair_give(&p, 0, &l), want);
    }
    for (int d = 0; d < DROP_COUNT; d++)
        assert_true(strlen(session_drop_name((enum session_drop)d)) > 3);
    assert_string_equal(session_down_name(DOWN_EXHAUSTED), "exhausted");
    pair_done(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_truncated),         cmocka_unit_test(test_flipped),
        cmocka_unit_test(test_wrong_keys),        cmocka_unit_test(test_half_signatures),
        cmocka_unit_test(test_lying_initiator),   cmocka_unit_test(test_lying_responder),
        cmocka_unit_test(test_stripped_offer),    cmocka_unit_test(test_other_handshake),
        cmocka_unit_test(test_wrong_identity),    cmocka_unit_test(test_data_mangled),
        cmocka_unit_test(test_data_replayed),     cmocka_unit_test(test_sealed_nonsense),
        cmocka_unit_test(test_lying_rekey),       cmocka_unit_test(test_other_types),
        cmocka_unit_test(test_assembly_too_long), cmocka_unit_test(test_other_session_id),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
