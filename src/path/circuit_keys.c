#include <errno.h>
#include <string.h>

#include "crypto/hash.h"
#include "crypto/kdf.h"
#include "crypto/secret.h"
#include "path/circuit_int.h"

#define CONTEXT "warren circuit v1"
#define FORTH   CONTEXT " forth"
#define BACK    CONTEXT " back"

bool window_fresh(const struct window *w, uint64_t counter)
{
    if (counter >= w->next)
        return true;
    return w->next - counter <= WINDOW &&
           !(w->words[counter / 64 % WINDOW_WORDS] & (uint64_t)1 << counter % 64);
}

void window_mark(struct window *w, uint64_t counter)
{
    if (counter >= w->next) {
        uint64_t word = counter / 64, turns = w->next > 0 ? word - (w->next - 1) / 64 : 0;
        for (uint64_t i = 0; i < turns && i < WINDOW_WORDS; i++)
            w->words[(word - i) % WINDOW_WORDS] = 0;
        w->next = counter + 1;
    }
    w->words[counter / 64 % WINDOW_WORDS] |= (uint64_t)1 << counter % 64;
}

void layer_done(struct layer *l)
{
    aead_free(l->forth);
    aead_free(l->back);
    memset(l, 0, sizeof *l);
}

static void nonce_of(uint8_t nonce[AEAD_NONCE_LEN], uint64_t counter)
{
    struct wr w = wr_of(nonce, AEAD_NONCE_LEN);
    wr_u32(&w, 0);
    wr_u64(&w, counter);
}

int layer_seal(struct layer *l, struct aead *a, struct wr *w, size_t from)
{
    uint8_t nonce[AEAD_NONCE_LEN];
    size_t n = w->n - from;
    uint8_t *tag = wr_take(w, AEAD_TAG_LEN);
    if (!tag || from < CIRCUIT_COUNTER_LEN)
        return -EMSGSIZE;
    if (l->next > CIRCUIT_COUNTER_MAX)
        return -EPIPE;
    nonce_of(nonce, l->next);
    struct wr before = wr_of(w->p + from - CIRCUIT_COUNTER_LEN, CIRCUIT_COUNTER_LEN);
    circuit_counter_write(&before, l->next++);
    return aead_seal(a, nonce, bytes_of(NULL, 0), w->p + from, n, tag);
}

int layer_open(struct layer *l, struct aead *a, struct bytes sealed, struct bytes *text)
{
    struct rd r = rd_of(sealed);
    uint8_t nonce[AEAD_NONCE_LEN];
    uint64_t counter = circuit_counter_read(&r);
    if (!rd_ok(&r) || rd_left(&r) < 1 + AEAD_TAG_LEN)
        return -EBADMSG;
    struct bytes inside = rd_bytes(&r, rd_left(&r) - AEAD_TAG_LEN);
    const uint8_t *tag = rd_bytes(&r, AEAD_TAG_LEN).p;
    if (!window_fresh(&l->seen, counter))
        return -EALREADY;
    nonce_of(nonce, counter);
    /* The reader's views are of the owner's buffer, which circuits_input may change. */
    if (aead_open(a, nonce, bytes_of(NULL, 0), (uint8_t *)(uintptr_t)inside.p, inside.n, tag) < 0)
        return -EBADMSG;
    window_mark(&l->seen, counter);
    *text = inside;
    return 0;
}

int offer_make(struct secret_offer *o, enum aead_alg cipher, const struct rng *rng)
{
    struct secret_offer made;
    uint8_t dh[X25519_LEN], kem[KEM_PUBLIC_LEN];
    rng_fill(rng, made.dh_private, sizeof made.dh_private);
    rng_fill(rng, made.kem_seed, sizeof made.kem_seed);
    int rc = x25519_public(dh, made.dh_private) == 0 && kem_public(kem, made.kem_seed) == 0 ? 0 : -EIO;
    if (rc == 0) {
        struct wr w = wr_of(made.text, sizeof made.text);
        circuit_offer_write(&w, &(struct circuit_offer){.cipher = (uint8_t)cipher, .dh = dh, .kem = kem});
        *o = made;
    }
    wipe(&made, sizeof made);
    return rc;
}

/* What the hop signs and both derive keys from: the whole exchange, the party, and who answers. */
static void transcript(uint8_t out[SHA384_LEN], uint32_t party, struct bytes offer,
                       const uint8_t node[NODE_ID_LEN], struct bytes shares)
{
    uint8_t tag[4];
    struct wr w = wr_of(tag, sizeof tag);
    wr_u32(&w, party);
    struct bytes parts[] = {bytes_of_str(CONTEXT), wr_done(&w), offer, bytes_of(node, NODE_ID_LEN), shares};
    sha384(out, parts, 5);
}

/* secret: X25519's and ML-KEM's, one after the other. */
static int layer_init(struct layer *l, uint8_t cipher, const uint8_t secret[X25519_LEN + KEM_SECRET_LEN],
                      const uint8_t hash[SHA384_LEN])
{
    uint8_t prk[SHA384_LEN], forth[AEAD_KEY_LEN], back[AEAD_KEY_LEN];
    hkdf384_extract(prk, bytes_of(hash, SHA384_LEN), bytes_of(secret, X25519_LEN + KEM_SECRET_LEN));
    hkdf384_expand(forth, sizeof forth, prk, bytes_of_str(FORTH));
    hkdf384_expand(back, sizeof back, prk, bytes_of_str(BACK));
    memset(l, 0, sizeof *l);
    l->forth = aead_new(cipher, forth);
    l->back = aead_new(cipher, back);
    wipe(prk, sizeof prk);
    wipe(forth, sizeof forth);
    wipe(back, sizeof back);
    if (l->forth && l->back)
        return 0;
    layer_done(l);
    return -ENOMEM;
}

/* Counters begin anywhere, so that two hops do not find that they carry one circuit by comparing them. */
static uint64_t first_counter(const struct rng *rng)
{
    return rng_below(rng, (CIRCUIT_COUNTER_MAX + 1) / 2);
}

static int answer_with(const struct circuits_config *cfg, const struct circuit_offer *o, uint8_t *dh,
                       uint8_t *ct, uint8_t secret[X25519_LEN + KEM_SECRET_LEN])
{
    uint8_t dh_private[X25519_LEN], random[KEM_RANDOM_LEN];
    rng_fill(&cfg->rng, dh_private, sizeof dh_private);
    rng_fill(&cfg->rng, random, sizeof random);
    int rc = x25519_public(dh, dh_private);
    if (rc == 0)
        rc = x25519(secret, dh_private, o->dh);
    if (rc == 0)
        rc = kem_encaps(ct, secret + X25519_LEN, o->kem, random);
    wipe(dh_private, sizeof dh_private);
    wipe(random, sizeof random);
    return rc;
}

int offer_answer(const struct circuits_config *cfg, uint32_t party, const struct circuit_offer *o,
                 uint8_t *answer, struct layer *l)
{
    uint8_t secret[X25519_LEN + KEM_SECRET_LEN], hash[SHA384_LEN];
    uint8_t *dh = answer, *ct = dh + X25519_LEN, *sig = ct + KEM_CT_LEN;
    int rc = answer_with(cfg, o, dh, ct, secret);
    if (rc == 0) {
        transcript(hash, party, o->all, cfg->self, bytes_of(answer, X25519_LEN + KEM_CT_LEN));
        rc = sign_make(cfg->key, CONTEXT, bytes_of(hash, sizeof hash), &cfg->rng, sig);
    }
    if (rc == 0)
        rc = layer_init(l, o->cipher, secret, hash);
    if (rc == 0)
        l->next = first_counter(&cfg->rng);
    wipe(secret, sizeof secret);
    return rc;
}

int offer_finish(const struct secret_offer *o, uint32_t party, const uint8_t node[NODE_ID_LEN],
                 const struct sign_public *pub, const struct circuit_answer *a, struct layer *l,
                 const struct rng *rng)
{
    uint8_t secret[X25519_LEN + KEM_SECRET_LEN], hash[SHA384_LEN];
    transcript(hash, party, bytes_of(o->text, sizeof o->text), node,
               bytes_of(a->all.p, X25519_LEN + KEM_CT_LEN));
    int rc = sign_check(pub, CONTEXT, bytes_of(hash, sizeof hash), a->sig);
    if (rc == 0)
        rc = x25519(secret, o->dh_private, a->dh);
    if (rc == 0)
        rc = kem_decaps(secret + X25519_LEN, o->kem_seed, a->ct);
    if (rc == 0)
        rc = layer_init(l, o->text[1], secret, hash);
    if (rc == 0)
        l->next = first_counter(rng);
    wipe(secret, sizeof secret);
    return rc;
}
