#include "crypto/kdf.h"

#include <string.h>

#include "crypto/algorithms_int.h"
#include "crypto/secret.h"

typedef void hmac_fn(uint8_t *out, struct bytes key, const struct bytes *parts, size_t count);

/* RFC 5869 section 2.3: T(i) = HMAC(prk, T(i-1) || info || i). */
static void expand(hmac_fn *hmac, size_t hash_len, const uint8_t *prk, struct bytes info, uint8_t *out,
                   size_t n)
{
    if (n > 255 * hash_len)
        crypto_die("HKDF: more output than it can give");
    uint8_t t[SHA384_LEN];
    size_t have = 0;
    for (uint8_t i = 1; n > 0; i++) {
        struct bytes parts[] = {bytes_of(t, have), info, bytes_of(&i, 1)};
        hmac(t, bytes_of(prk, hash_len), parts, 3);
        have = hash_len;
        size_t take = n < hash_len ? n : hash_len;
        memcpy(out, t, take);
        out += take;
        n -= take;
    }
    wipe(t, sizeof t);
}

void hkdf384_extract(uint8_t prk[SHA384_LEN], struct bytes salt, struct bytes ikm)
{
    hmac_sha384(prk, salt, &ikm, 1);
}

void hkdf384_expand(uint8_t *out, size_t n, const uint8_t prk[SHA384_LEN], struct bytes info)
{
    expand(hmac_sha384, SHA384_LEN, prk, info, out, n);
}

void hkdf256(uint8_t *out, size_t n, struct bytes salt, struct bytes ikm, struct bytes info)
{
    uint8_t prk[SHA256_LEN];
    hmac_sha256(prk, salt, &ikm, 1);
    expand(hmac_sha256, SHA256_LEN, prk, info, out, n);
    wipe(prk, sizeof prk);
}
