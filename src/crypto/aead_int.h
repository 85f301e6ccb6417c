/* The implementations behind crypto/aead.h. The first one (aead_impl_at) that wants a cipher makes its
 * keys; all give the same bytes. */
#ifndef WARREN_CRYPTO_AEAD_INT_H
#define WARREN_CRYPTO_AEAD_INT_H

#include "crypto/aead.h"

struct aead_impl {
    const char *name;
    /* Whether it is here, and the fastest for this processor. */
    bool (*wanted)(enum aead_alg alg);
    struct aead *(*make)(enum aead_alg alg,
                         const uint8_t key[AEAD_KEY_LEN]); /* NULL when memory fails, or not wanted */
    void (*drop)(struct aead *a);
    /* From in to out, which are the same or lie apart. 0 or -EIO. */
    int (*seal)(struct aead *a, const uint8_t nonce[AEAD_NONCE_LEN], struct bytes ad, const uint8_t *in,
                uint8_t *out, size_t n, uint8_t tag[AEAD_TAG_LEN]);
    /* The same. 0 or -EBADMSG; then what out holds is nobody's to see. */
    int (*open)(struct aead *a, const uint8_t nonce[AEAD_NONCE_LEN], struct bytes ad, const uint8_t *in,
                uint8_t *out, size_t n, const uint8_t tag[AEAD_TAG_LEN]);
};

/* Each implementation's keys begin with it. */
struct aead {
    const struct aead_impl *impl;
};

extern const struct aead_impl aead_openssl;  /* on every machine, every cipher */
extern const struct aead_impl aead_ipsec_mb; /* where the build has the library: WARREN_IPSEC_MB */

/* The i-th one, NULL behind the last. The last is aead_openssl. */
const struct aead_impl *aead_impl_at(size_t i);
struct aead *aead_new_by(const struct aead_impl *impl, enum aead_alg alg, const uint8_t key[AEAD_KEY_LEN]);

#endif
