#include "crypto/aead.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>

#if defined(__x86_64__) || defined(__i386__)
#include <cpuid.h>
#elif defined(__aarch64__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

#include <openssl/err.h>

#include "crypto/algorithms_int.h"
#include "crypto/secret.h"

/* One context each way: the key schedule is made once and each packet sets the nonce only. */
struct aead {
    EVP_CIPHER_CTX *seal, *open;
};

struct aead *aead_new(enum aead_alg alg, const uint8_t key[AEAD_KEY_LEN])
{
    if ((unsigned)alg >= AEAD_ALG_COUNT)
        return NULL;
    const EVP_CIPHER *cipher =
        alg == AEAD_AES256GCM ? algorithms()->aes256gcm : algorithms()->chacha20poly1305;
    struct aead *a = calloc(1, sizeof *a);
    if (!a)
        return NULL;
    a->seal = EVP_CIPHER_CTX_new();
    a->open = EVP_CIPHER_CTX_new();
    if (!a->seal || !a->open || !EVP_EncryptInit_ex2(a->seal, cipher, key, NULL, NULL) ||
        !EVP_DecryptInit_ex2(a->open, cipher, key, NULL, NULL)) {
        ERR_clear_error();
        aead_free(a);
        return NULL;
    }
    return a;
}

void aead_free(struct aead *a)
{
    if (!a)
        return;
    EVP_CIPHER_CTX_free(a->seal);
    EVP_CIPHER_CTX_free(a->open);
    free(a);
}

int aead_seal(struct aead *a, const uint8_t nonce[AEAD_NONCE_LEN], struct bytes ad, uint8_t *text, size_t n,
              uint8_t tag[AEAD_TAG_LEN])
{
    uint8_t none[1];
    int len;
    if (n > INT_MAX || ad.n > INT_MAX)
        return -EIO;
    if (!EVP_EncryptInit_ex2(a->seal, NULL, NULL, nonce, NULL) ||
        (ad.n > 0 && !EVP_EncryptUpdate(a->seal, NULL, &len, ad.p, (int)ad.n)) ||
        (n > 0 && !EVP_EncryptUpdate(a->seal, text, &len, text, (int)n)) ||
        !EVP_EncryptFinal_ex(a->seal, none, &len) ||
        !EVP_CIPHER_CTX_ctrl(a->seal, EVP_CTRL_AEAD_GET_TAG, AEAD_TAG_LEN, tag)) {
        ERR_clear_error();
        return -EIO;
    }
    return 0;
}

int aead_open(struct aead *a, const uint8_t nonce[AEAD_NONCE_LEN], struct bytes ad, uint8_t *text, size_t n,
              const uint8_t tag[AEAD_TAG_LEN])
{
    uint8_t none[1];
    int len;
    if (n > INT_MAX || ad.n > INT_MAX || !EVP_DecryptInit_ex2(a->open, NULL, NULL, nonce, NULL) ||
        !EVP_CIPHER_CTX_ctrl(a->open, EVP_CTRL_AEAD_SET_TAG, AEAD_TAG_LEN, (void *)(uintptr_t)tag) ||
        (ad.n > 0 && !EVP_DecryptUpdate(a->open, NULL, &len, ad.p, (int)ad.n)) ||
        (n > 0 && !EVP_DecryptUpdate(a->open, text, &len, text, (int)n)) ||
        !EVP_DecryptFinal_ex(a->open, none, &len)) {
        wipe(text, n);
        /* A stale entry would make the next SSL_get_error of this thread report a failure that is not its
         * own. */
        ERR_clear_error();
        return -EBADMSG;
    }
    return 0;
}

bool aead_have_aes(void)
{
#if defined(__x86_64__) || defined(__i386__)
    unsigned a, b, c, d;
    /* Both: GCM's other half is carry-less multiplication. */
    return __get_cpuid(1, &a, &b, &c, &d) && (c & bit_AES) && (c & bit_PCLMUL);
#elif defined(__aarch64__)
    unsigned long cap = getauxval(AT_HWCAP);
    return (cap & HWCAP_AES) && (cap & HWCAP_PMULL);
#else
    return false;
#endif
}

const char *aead_name(enum aead_alg alg)
{
    switch (alg) {
    case AEAD_AES256GCM:
        return "aes-256-gcm";
    case AEAD_CHACHA20POLY1305:
        return "chacha20-poly1305";
    default:
        return "unknown";
    }
}
