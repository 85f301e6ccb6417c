#include "crypto/sign.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/params.h>

#include "crypto/algorithms_int.h"
#include "crypto/hash.h"
#include "crypto/kdf.h"
#include "crypto/key_int.h"
#include "crypto/secret.h"

#define MLDSA_NAME   "ML-DSA-87"
#define ED25519_NAME "ED25519"
#define CONTEXT_MAX  255
#define SHORT_MAX    2048 /* every message of Warren's is shorter: no lack of memory can look like a bad signature */

struct sign_key {
    EVP_PKEY *mldsa, *ed25519;
    struct sign_public pub;
};

static int fail(int rc)
{
    ERR_clear_error();
    return rc;
}

/* OpenSSL takes a NULL for "not given", even where the length is 0. */
static struct bytes given(struct bytes b)
{
    static const uint8_t nothing[1];
    return b.n > 0 ? b : bytes_of(nothing, 0);
}

static EVP_PKEY *ed25519_key(const uint8_t seed[ED25519_SEED_LEN])
{
    return key_of_private(ED25519_NAME, bytes_of(seed, ED25519_SEED_LEN));
}

static int public_of(EVP_PKEY *key, uint8_t *out, size_t len)
{
    size_t n = len;
    return key && EVP_PKEY_get_raw_public_key(key, out, &n) == 1 && n == len ? 0 : fail(-EIO);
}

static int ed25519_sign_with(EVP_PKEY *key, struct bytes msg, uint8_t *sig)
{
    size_t n = ED25519_SIG_LEN;
    msg = given(msg);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool ok = ctx && EVP_DigestSignInit_ex(ctx, NULL, NULL, NULL, NULL, key, NULL) == 1 &&
              EVP_DigestSign(ctx, sig, &n, msg.p, msg.n) == 1 && n == ED25519_SIG_LEN;
    EVP_MD_CTX_free(ctx);
    return ok ? 0 : fail(-EIO);
}

/* Context and the chance that hedges the signature (none: FIPS 204's deterministic variant). */
static int mldsa_sign_with(EVP_PKEY *key, struct bytes context, struct bytes msg, const uint8_t *random,
                           uint8_t *sig)
{
    int deterministic = 1;
    context = given(context);
    msg = given(msg);
    OSSL_PARAM params[3], *p = params;
    *p++ = OSSL_PARAM_construct_octet_string(OSSL_SIGNATURE_PARAM_CONTEXT_STRING,
                                             (void *)(uintptr_t)context.p, context.n);
    *p++ = random ? OSSL_PARAM_construct_octet_string(OSSL_SIGNATURE_PARAM_TEST_ENTROPY,
                                                      (void *)(uintptr_t)random, 32)
                  : OSSL_PARAM_construct_int(OSSL_SIGNATURE_PARAM_DETERMINISTIC, &deterministic);
    *p = OSSL_PARAM_construct_end();
    size_t n = MLDSA_SIG_LEN;
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(NULL, key, NULL);
    bool ok = ctx && EVP_PKEY_sign_message_init(ctx, algorithms()->mldsa87, params) == 1 &&
              EVP_PKEY_sign(ctx, sig, &n, msg.p, msg.n) == 1 && n == MLDSA_SIG_LEN;
    EVP_PKEY_CTX_free(ctx);
    return ok ? 0 : fail(-EIO);
}

int ed25519_public(uint8_t pub[ED25519_PUBLIC_LEN], const uint8_t seed[ED25519_SEED_LEN])
{
    EVP_PKEY *key = ed25519_key(seed);
    int rc = public_of(key, pub, ED25519_PUBLIC_LEN);
    EVP_PKEY_free(key);
    return rc;
}

int ed25519_sign(uint8_t sig[ED25519_SIG_LEN], const uint8_t seed[ED25519_SEED_LEN], struct bytes msg)
{
    EVP_PKEY *key = ed25519_key(seed);
    int rc = key ? ed25519_sign_with(key, msg, sig) : fail(-EIO);
    EVP_PKEY_free(key);
    return rc;
}

int ed25519_check(const uint8_t pub[ED25519_PUBLIC_LEN], struct bytes msg, const uint8_t sig[ED25519_SIG_LEN])
{
    EVP_PKEY *key = key_of_public(ED25519_NAME, bytes_of(pub, ED25519_PUBLIC_LEN));
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    msg = given(msg);
    bool ok = key && ctx && EVP_DigestVerifyInit_ex(ctx, NULL, NULL, NULL, NULL, key, NULL) == 1 &&
              EVP_DigestVerify(ctx, sig, ED25519_SIG_LEN, msg.p, msg.n) == 1;
    EVP_MD_CTX_free(ctx);
    EVP_PKEY_free(key);
    return ok ? 0 : fail(-EBADMSG);
}

int mldsa_public(uint8_t pub[MLDSA_PUBLIC_LEN], const uint8_t seed[MLDSA_SEED_LEN])
{
    EVP_PKEY *key = key_of_seed(MLDSA_NAME, bytes_of(seed, MLDSA_SEED_LEN));
    int rc = public_of(key, pub, MLDSA_PUBLIC_LEN);
    EVP_PKEY_free(key);
    return rc;
}

int mldsa_sign(uint8_t sig[MLDSA_SIG_LEN], const uint8_t seed[MLDSA_SEED_LEN], struct bytes context,
               struct bytes msg, const uint8_t random[32])
{
    EVP_PKEY *key = key_of_seed(MLDSA_NAME, bytes_of(seed, MLDSA_SEED_LEN));
    int rc = key ? mldsa_sign_with(key, context, msg, random, sig) : fail(-EIO);
    EVP_PKEY_free(key);
    return rc;
}

int mldsa_sign_expanded(uint8_t sig[MLDSA_SIG_LEN], const uint8_t private_key[MLDSA_EXPANDED_LEN],
                        struct bytes context, struct bytes msg, const uint8_t random[32])
{
    EVP_PKEY *key = key_of_private(MLDSA_NAME, bytes_of(private_key, MLDSA_EXPANDED_LEN));
    int rc = key ? mldsa_sign_with(key, context, msg, random, sig) : -EBADMSG;
    EVP_PKEY_free(key);
    return rc;
}

int mldsa_check(const uint8_t pub[MLDSA_PUBLIC_LEN], struct bytes context, struct bytes msg,
                const uint8_t sig[MLDSA_SIG_LEN])
{
    EVP_PKEY *key = key_of_public(MLDSA_NAME, bytes_of(pub, MLDSA_PUBLIC_LEN));
    context = given(context);
    msg = given(msg);
    OSSL_PARAM params[] = {OSSL_PARAM_construct_octet_string(OSSL_SIGNATURE_PARAM_CONTEXT_STRING,
                                                             (void *)(uintptr_t)context.p, context.n),
                           OSSL_PARAM_construct_end()};
    EVP_PKEY_CTX *ctx = key ? EVP_PKEY_CTX_new_from_pkey(NULL, key, NULL) : NULL;
    bool ok = ctx && EVP_PKEY_verify_message_init(ctx, algorithms()->mldsa87, params) == 1 &&
              EVP_PKEY_verify(ctx, sig, MLDSA_SIG_LEN, msg.p, msg.n) == 1;
    EVP_PKEY_CTX_free(ctx);
    EVP_PKEY_free(key);
    return ok ? 0 : fail(-EBADMSG);
}

void sign_seed_new(struct sign_seed *seed, const struct rng *rng)
{
    rng_fill(rng, seed->mldsa, sizeof seed->mldsa);
    rng_fill(rng, seed->ed25519, sizeof seed->ed25519);
}

void sign_seed_derive(struct sign_seed *seed, const uint8_t secret[32], const char *label)
{
    uint8_t out[MLDSA_SEED_LEN + ED25519_SEED_LEN];
    hkdf256(out, sizeof out, bytes_of(NULL, 0), bytes_of(secret, 32), bytes_of_str(label));
    memcpy(seed->mldsa, out, MLDSA_SEED_LEN);
    memcpy(seed->ed25519, out + MLDSA_SEED_LEN, ED25519_SEED_LEN);
    wipe(out, sizeof out);
}

struct sign_key *sign_key_new(const struct sign_seed *seed)
{
    struct sign_key *key = calloc(1, sizeof *key);
    if (!key)
        return NULL;
    key->mldsa = key_of_seed(MLDSA_NAME, bytes_of(seed->mldsa, MLDSA_SEED_LEN));
    key->ed25519 = ed25519_key(seed->ed25519);
    if (public_of(key->mldsa, key->pub.mldsa, MLDSA_PUBLIC_LEN) < 0 ||
        public_of(key->ed25519, key->pub.ed25519, ED25519_PUBLIC_LEN) < 0) {
        sign_key_free(key);
        return NULL;
    }
    return key;
}

void sign_key_free(struct sign_key *key)
{
    if (!key)
        return;
    EVP_PKEY_free(key->mldsa);
    EVP_PKEY_free(key->ed25519);
    free(key);
}

const struct sign_public *sign_key_public(const struct sign_key *key)
{
    return &key->pub;
}

static bool context_fits(const char *context)
{
    size_t n = strnlen(context, CONTEXT_MAX + 1);
    return n > 0 && n <= CONTEXT_MAX;
}

/* What the Ed25519 half signs: length, context, message. One piece, as Ed25519 reads its message twice. */
struct prefixed {
    uint8_t own[1 + CONTEXT_MAX + SHORT_MAX];
    uint8_t *more; /* where own is too small */
    size_t n;
};

static struct bytes prefixed_bytes(const struct prefixed *f)
{
    return bytes_of(f->more ? f->more : f->own, f->n);
}

/* Freed by the caller (`more`), also after a failure. -ENOMEM. */
static int with_context(struct prefixed *f, const char *context, struct bytes msg)
{
    size_t n = strlen(context);
    f->n = 1 + n + msg.n;
    f->more = msg.n > SHORT_MAX ? malloc(f->n) : NULL;
    if (msg.n > SHORT_MAX && !f->more)
        return -ENOMEM;
    uint8_t *p = f->more ? f->more : f->own;
    p[0] = (uint8_t)n;
    memcpy(p + 1, context, n);
    if (msg.n > 0)
        memcpy(p + 1 + n, msg.p, msg.n);
    return 0;
}

int sign_make_ed25519(const struct sign_key *key, const char *context, struct bytes msg,
                      uint8_t sig[ED25519_SIG_LEN])
{
    if (!context_fits(context))
        return -EIO;
    struct prefixed full;
    int rc = with_context(&full, context, msg) == 0 ? ed25519_sign_with(key->ed25519, prefixed_bytes(&full), sig) : -EIO;
    free(full.more);
    return rc;
}

int sign_check_ed25519(const struct sign_public *pub, const char *context, struct bytes msg,
                       const uint8_t sig[ED25519_SIG_LEN])
{
    if (!context_fits(context))
        return -EBADMSG;
    struct prefixed full;
    int rc = with_context(&full, context, msg);
    if (rc == 0)
        rc = ed25519_check(pub->ed25519, prefixed_bytes(&full), sig);
    free(full.more);
    return rc;
}

int sign_make(const struct sign_key *key, const char *context, struct bytes msg, const struct rng *rng,
              uint8_t sig[SIGN_SIG_LEN])
{
    if (!context_fits(context))
        return -EIO;
    uint8_t random[32];
    rng_fill(rng, random, sizeof random);
    int rc = mldsa_sign_with(key->mldsa, bytes_of_str(context), msg, random, sig);
    wipe(random, sizeof random);
    if (rc == 0)
        rc = sign_make_ed25519(key, context, msg, sig + MLDSA_SIG_LEN);
    return rc;
}

int sign_check(const struct sign_public *pub, const char *context, struct bytes msg,
               const uint8_t sig[SIGN_SIG_LEN])
{
    int rc = sign_check_ed25519(pub, context, msg, sig + MLDSA_SIG_LEN);
    if (rc == 0)
        rc = mldsa_check(pub->mldsa, bytes_of_str(context), msg, sig);
    return rc;
}

void node_id_of(uint8_t id[NODE_ID_LEN], const struct sign_public *pub)
{
    struct bytes parts[] = {bytes_of_str("warren node id v1"), bytes_of(pub->mldsa, sizeof pub->mldsa),
                            bytes_of(pub->ed25519, sizeof pub->ed25519)};
    sha256(id, parts, 3);
}
