#include "crypto/aead.h"

#include <errno.h>
#include <string.h>

#if defined(__x86_64__) || defined(__i386__)
#include <cpuid.h>
#elif defined(__aarch64__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

#include "crypto/aead_int.h"
#include "crypto/secret.h"

static const struct aead_impl *const impls[] = {
#ifdef WARREN_IPSEC_MB
    &aead_ipsec_mb,
#endif
    &aead_openssl, NULL};

const struct aead_impl *aead_impl_at(size_t i)
{
    return impls[i];
}

struct aead *aead_new_by(const struct aead_impl *impl, enum aead_alg alg, const uint8_t key[AEAD_KEY_LEN])
{
    struct aead *a = impl->make(alg, key);
    if (a)
        a->impl = impl;
    return a;
}

struct aead *aead_new(enum aead_alg alg, const uint8_t key[AEAD_KEY_LEN])
{
    size_t i = 0;
    if ((unsigned)alg >= AEAD_ALG_COUNT)
        return NULL;
    while (!impls[i]->wanted(alg))
        i++;
    return aead_new_by(impls[i], alg, key);
}

void aead_free(struct aead *a)
{
    if (a)
        a->impl->drop(a);
}

int aead_seal(struct aead *a, const uint8_t nonce[AEAD_NONCE_LEN], struct bytes ad, uint8_t *text, size_t n,
              uint8_t tag[AEAD_TAG_LEN])
{
    return aead_seal_to(a, nonce, ad, text, n, text, tag);
}

int aead_seal_to(struct aead *a, const uint8_t nonce[AEAD_NONCE_LEN], struct bytes ad, const uint8_t *in,
                 size_t n, uint8_t *out, uint8_t tag[AEAD_TAG_LEN])
{
    return a->impl->seal(a, nonce, ad, in, out, n, tag);
}

int aead_open(struct aead *a, const uint8_t nonce[AEAD_NONCE_LEN], struct bytes ad, uint8_t *text, size_t n,
              const uint8_t tag[AEAD_TAG_LEN])
{
    return aead_open_to(a, nonce, ad, text, n, text, tag);
}

int aead_open_to(struct aead *a, const uint8_t nonce[AEAD_NONCE_LEN], struct bytes ad, const uint8_t *in,
                 size_t n, uint8_t *out, const uint8_t tag[AEAD_TAG_LEN])
{
    if (a->impl->open(a, nonce, ad, in, out, n, tag) == 0)
        return 0;
    wipe(out, n);
    return -EBADMSG;
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
