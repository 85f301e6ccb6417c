#include "crypto/key_int.h"

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/params.h>

#include "crypto/init.h"

EVP_PKEY *key_of_seed(const char *algorithm, struct bytes seed)
{
    crypto_init();
    EVP_PKEY *key = NULL;
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, algorithm, NULL);
    /* OpenSSL takes the value as writable and only reads it. */
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_ML_KEM_SEED, (void *)(uintptr_t)seed.p, seed.n),
        OSSL_PARAM_construct_end()};
    if (!ctx || EVP_PKEY_fromdata_init(ctx) != 1 ||
        EVP_PKEY_fromdata(ctx, &key, EVP_PKEY_KEYPAIR, params) != 1) {
        key = NULL;
        ERR_clear_error();
    }
    EVP_PKEY_CTX_free(ctx);
    return key;
}

EVP_PKEY *key_of_public(const char *algorithm, struct bytes public_key)
{
    crypto_init();
    EVP_PKEY *key = EVP_PKEY_new_raw_public_key_ex(NULL, algorithm, NULL, public_key.p, public_key.n);
    if (!key)
        ERR_clear_error();
    return key;
}

EVP_PKEY *key_of_private(const char *algorithm, struct bytes private_key)
{
    crypto_init();
    EVP_PKEY *key = EVP_PKEY_new_raw_private_key_ex(NULL, algorithm, NULL, private_key.p, private_key.n);
    if (!key)
        ERR_clear_error();
    return key;
}
