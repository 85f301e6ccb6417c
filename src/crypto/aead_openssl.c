#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/params.h>

#include "crypto/aead_int.h"
#include "crypto/algorithms_int.h"

/* One context each way: the key schedule is made once and each packet sets the nonce only. */
struct evp_key {
    struct aead a;
    EVP_CIPHER_CTX *seal, *open;
    uint8_t tag[AEAD_TAG_LEN];
    OSSL_PARAM
    tag_param[2]; /* names tag, for both directions: looking the control number up costs 15 ns a packet */
};

static bool evp_wanted(enum aead_alg alg)
{
    return true;
}

static void evp_drop(struct aead *a)
{
    struct evp_key *k = (struct evp_key *)a;
    EVP_CIPHER_CTX_free(k->seal);
    EVP_CIPHER_CTX_free(k->open);
    free(k);
}

static struct aead *evp_make(enum aead_alg alg, const uint8_t key[AEAD_KEY_LEN])
{
    const EVP_CIPHER *cipher =
        alg == AEAD_AES256GCM ? algorithms()->aes256gcm : algorithms()->chacha20poly1305;
    struct evp_key *k = calloc(1, sizeof *k);
    if (!k)
        return NULL;
    k->tag_param[0] = OSSL_PARAM_construct_octet_string(OSSL_CIPHER_PARAM_AEAD_TAG, k->tag, sizeof k->tag);
    k->tag_param[1] = OSSL_PARAM_construct_end();
    k->seal = EVP_CIPHER_CTX_new();
    k->open = EVP_CIPHER_CTX_new();
    if (!k->seal || !k->open || !EVP_EncryptInit_ex2(k->seal, cipher, key, NULL, NULL) ||
        !EVP_DecryptInit_ex2(k->open, cipher, key, NULL, NULL)) {
        ERR_clear_error();
        evp_drop(&k->a);
        return NULL;
    }
    return &k->a;
}

static int evp_seal(struct aead *a, const uint8_t nonce[AEAD_NONCE_LEN], struct bytes ad, const uint8_t *in,
                    uint8_t *out, size_t n, uint8_t tag[AEAD_TAG_LEN])
{
    struct evp_key *k = (struct evp_key *)a;
    uint8_t none[1];
    int len;
    if (n > INT_MAX || ad.n > INT_MAX)
        return -EIO;
    if (!EVP_EncryptInit_ex2(k->seal, NULL, NULL, nonce, NULL) ||
        (ad.n > 0 && !EVP_EncryptUpdate(k->seal, NULL, &len, ad.p, (int)ad.n)) ||
        (n > 0 && !EVP_EncryptUpdate(k->seal, out, &len, in, (int)n)) ||
        !EVP_EncryptFinal_ex(k->seal, none, &len) || !EVP_CIPHER_CTX_get_params(k->seal, k->tag_param)) {
        ERR_clear_error();
        return -EIO;
    }
    memcpy(tag, k->tag, AEAD_TAG_LEN);
    return 0;
}

static int evp_open(struct aead *a, const uint8_t nonce[AEAD_NONCE_LEN], struct bytes ad, const uint8_t *in,
                    uint8_t *out, size_t n, const uint8_t tag[AEAD_TAG_LEN])
{
    struct evp_key *k = (struct evp_key *)a;
    uint8_t none[1];
    int len;
    memcpy(k->tag, tag, AEAD_TAG_LEN);
    if (n > INT_MAX || ad.n > INT_MAX || !EVP_DecryptInit_ex2(k->open, NULL, NULL, nonce, NULL) ||
        !EVP_CIPHER_CTX_set_params(k->open, k->tag_param) ||
        (ad.n > 0 && !EVP_DecryptUpdate(k->open, NULL, &len, ad.p, (int)ad.n)) ||
        (n > 0 && !EVP_DecryptUpdate(k->open, out, &len, in, (int)n)) ||
        !EVP_DecryptFinal_ex(k->open, none, &len)) {
        /* A stale entry would make the next SSL_get_error of this thread report a failure that is not its
         * own. */
        ERR_clear_error();
        return -EBADMSG;
    }
    return 0;
}

const struct aead_impl aead_openssl = {"openssl", evp_wanted, evp_make, evp_drop, evp_seal, evp_open};
