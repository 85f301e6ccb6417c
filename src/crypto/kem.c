#include "crypto/kem.h"

#include <errno.h>

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/params.h>

#include "crypto/key_int.h"

#define NAME "ML-KEM-1024"

int kem_public(uint8_t public_key[KEM_PUBLIC_LEN], const uint8_t seed[KEM_SEED_LEN])
{
    EVP_PKEY *key = key_of_seed(NAME, bytes_of(seed, KEM_SEED_LEN));
    size_t n = KEM_PUBLIC_LEN;
    int rc = key && EVP_PKEY_get_raw_public_key(key, public_key, &n) == 1 && n == KEM_PUBLIC_LEN ? 0 : -EIO;
    EVP_PKEY_free(key);
    if (rc < 0)
        ERR_clear_error();
    return rc;
}

int kem_encaps(uint8_t ct[KEM_CT_LEN], uint8_t secret[KEM_SECRET_LEN],
               const uint8_t public_key[KEM_PUBLIC_LEN], const uint8_t random[KEM_RANDOM_LEN])
{
    EVP_PKEY *key = key_of_public(NAME, bytes_of(public_key, KEM_PUBLIC_LEN));
    if (!key)
        return -EBADMSG;
    /* The caller's randomness as FIPS 203's m, so that a handshake is a function of its arguments. */
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_octet_string(OSSL_KEM_PARAM_IKME, (void *)(uintptr_t)random, KEM_RANDOM_LEN),
        OSSL_PARAM_construct_end()};
    size_t ct_len = KEM_CT_LEN, secret_len = KEM_SECRET_LEN;
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(NULL, key, NULL);
    int rc = ctx && EVP_PKEY_encapsulate_init(ctx, params) == 1 &&
                     EVP_PKEY_encapsulate(ctx, ct, &ct_len, secret, &secret_len) == 1
                 ? 0
                 : -EIO;
    EVP_PKEY_CTX_free(ctx);
    EVP_PKEY_free(key);
    if (rc < 0)
        ERR_clear_error();
    return rc;
}

static int decaps_with(EVP_PKEY *key, uint8_t *secret, const uint8_t *ct)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(NULL, key, NULL);
    size_t n = KEM_SECRET_LEN;
    int rc = ctx && EVP_PKEY_decapsulate_init(ctx, NULL) == 1 &&
                     EVP_PKEY_decapsulate(ctx, secret, &n, ct, KEM_CT_LEN) == 1
                 ? 0
                 : -EIO;
    EVP_PKEY_CTX_free(ctx);
    EVP_PKEY_free(key);
    if (rc < 0)
        ERR_clear_error();
    return rc;
}

int kem_decaps(uint8_t secret[KEM_SECRET_LEN], const uint8_t seed[KEM_SEED_LEN], const uint8_t ct[KEM_CT_LEN])
{
    EVP_PKEY *key = key_of_seed(NAME, bytes_of(seed, KEM_SEED_LEN));
    return key ? decaps_with(key, secret, ct) : -EIO;
}

int kem_decaps_expanded(uint8_t secret[KEM_SECRET_LEN], const uint8_t private_key[KEM_EXPANDED_LEN],
                        const uint8_t ct[KEM_CT_LEN])
{
    EVP_PKEY *key = key_of_private(NAME, bytes_of(private_key, KEM_EXPANDED_LEN));
    return key ? decaps_with(key, secret, ct) : -EBADMSG;
}
