#include "crypto/aead.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#if defined(__x86_64__) || defined(__i386__)
#include <cpuid.h>
#elif defined(__aarch64__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/params.h>

#include "crypto/algorithms_int.h"
#include "crypto/secret.h"

/* One context each way: the key schedule is made once and each packet sets the nonce only. */
struct aead {
    EVP_CIPHER_CTX *seal, *open;
    uint8_t tag[AEAD_TAG_LEN];
    OSSL_PARAM tag_param[2]; /* names tag, for both directions: looking the control number up costs 15 ns a packet */
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
    a->tag_param[0] = OSSL_PARAM_construct_octet_string(OSSL_CIPHER_PARAM_AEAD_TAG, a->tag, sizeof a->tag);
    a->tag_param[1] = OSSL_PARAM_construct_end();
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
        !EVP_CIPHER_CTX_get_params(a->seal, a->tag_param)) {
        ERR_clear_error();
        return -EIO;
    }
    memcpy(tag, a->tag, AEAD_TAG_LEN);
    return 0;
}

int aead_open(struct aead *a, const uint8_t nonce[AEAD_NONCE_LEN], struct bytes ad, uint8_t *text, size_t n,
              const uint8_t tag[AEAD_TAG_LEN])
{
    uint8_t none[1];
    int len;
    memcpy(a->tag, tag, AEAD_TAG_LEN);
    if (n > INT_MAX || ad.n > INT_MAX || !EVP_DecryptInit_ex2(a->open, NULL, NULL, nonce, NULL) ||
        !EVP_CIPHER_CTX_set_params(a->open, a->tag_param) ||
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

/* ---- What sealing costs. */

#define ROUNDS_MAX 8
#define ROUND_MIN  100   /* usec: a clock that counts microseconds is then right to a percent */
#define BATCH_MAX  65536 /* only a clock that stands still comes so far */

/* One round, in nanoseconds per packet; 0: it could not be measured. The clock is read after 1, 2, 4, ...
 * packets: seldom on a fast machine, and soon on a slow one. */
static uint64_t round_of(struct aead *a, usec_t (*clock)(void))
{
    uint8_t text[AEAD_SAMPLE] = {0}, ad[16] = {0}, nonce[AEAD_NONCE_LEN] = {0}, tag[AEAD_TAG_LEN];
    uint64_t packets = 0;
    usec_t begun = clock(), took = 0;
    for (uint64_t batch = 1; took < ROUND_MIN && batch <= BATCH_MAX; batch *= 2) {
        for (uint64_t i = 0; i < batch; i++, packets++) {
            memcpy(nonce, &packets, sizeof packets);
            if (aead_seal(a, nonce, bytes_of(ad, sizeof ad), text, sizeof text, tag) < 0)
                return 0;
        }
        took = usec_since(clock(), begun);
    }
    if (took < ROUND_MIN)
        return 0;
    uint64_t ns = took * 1000 / packets;
    return ns ? ns : 1;
}

int aead_measure(usec_t (*clock)(void), struct aead_speed *out)
{
    static const uint8_t key[AEAD_KEY_LEN] = {1};
    struct aead *of[AEAD_ALG_COUNT];
    struct aead_speed best = {{0}};
    bool good = true;
    usec_t begun = clock();
    *out = (struct aead_speed){{0}};
    for (int alg = 0; alg < AEAD_ALG_COUNT; alg++)
        good &= (of[alg] = aead_new((enum aead_alg)alg, key)) != NULL;
    for (int i = 0; good && i < ROUNDS_MAX && (i == 0 || usec_since(clock(), begun) < AEAD_BUDGET); i++)
        for (int alg = 0; good && alg < AEAD_ALG_COUNT; alg++) {
            uint64_t ns = round_of(of[alg], clock);
            good = ns > 0;
            if (i == 0 || ns < best.ns[alg])
                best.ns[alg] = ns;
        }
    for (int alg = 0; alg < AEAD_ALG_COUNT; alg++)
        aead_free(of[alg]);
    if (good)
        *out = best;
    return good ? 0 : -EIO;
}

bool aead_prefers_aes(const struct aead_speed *s)
{
    uint64_t aes = s->ns[AEAD_AES256GCM], chacha = s->ns[AEAD_CHACHA20POLY1305];
    return aes && chacha ? aes <= chacha : aead_have_aes();
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
