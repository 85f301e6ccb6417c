#include "crypto/hash.h"

#include <openssl/core_names.h>
#include <openssl/params.h>

#include "crypto/algorithms_int.h"

static void digest(const EVP_MD *md, uint8_t *out, const struct bytes *parts, size_t count)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    if (!ctx || !EVP_DigestInit_ex2(ctx, md, NULL))
        crypto_die("a hash");
    for (size_t i = 0; i < count; i++)
        if (parts[i].n > 0 && !EVP_DigestUpdate(ctx, parts[i].p, parts[i].n))
            crypto_die("a hash");
    if (!EVP_DigestFinal_ex(ctx, out, NULL))
        crypto_die("a hash");
    EVP_MD_CTX_free(ctx);
}

void md5(uint8_t out[MD5_LEN], const struct bytes *parts, size_t count)
{
    digest(EVP_md5(), out, parts, count);
}

void sha256(uint8_t out[SHA256_LEN], const struct bytes *parts, size_t count)
{
    digest(algorithms()->sha256, out, parts, count);
}

void sha384(uint8_t out[SHA384_LEN], const struct bytes *parts, size_t count)
{
    digest(algorithms()->sha384, out, parts, count);
}

struct hmac_kind {
    const EVP_MAC_CTX *template;
    const OSSL_PARAM *params; /* another hash than the template's; NULL: that one */
    size_t len;
};

static void hmac(const struct hmac_kind *kind, uint8_t *out, struct bytes key, const struct bytes *parts,
                 size_t count)
{
    /* OpenSSL takes an empty key for "the same key as before". HMAC pads keys with zeros, so one zero is the
     * same. */
    static const uint8_t zero[1];
    if (key.n == 0)
        key = bytes_of(zero, 1);
    EVP_MAC_CTX *ctx = EVP_MAC_CTX_dup(kind->template);
    if (!ctx || !EVP_MAC_init(ctx, key.p, key.n, kind->params))
        crypto_die("an HMAC");
    for (size_t i = 0; i < count; i++)
        if (parts[i].n > 0 && !EVP_MAC_update(ctx, parts[i].p, parts[i].n))
            crypto_die("an HMAC");
    size_t got = 0;
    if (!EVP_MAC_final(ctx, out, &got, kind->len) || got != kind->len)
        crypto_die("an HMAC");
    EVP_MAC_CTX_free(ctx);
}

void hmac_sha256(uint8_t out[SHA256_LEN], struct bytes key, const struct bytes *parts, size_t count)
{
    const struct hmac_kind kind = {algorithms()->hmac_sha256, NULL, SHA256_LEN};
    hmac(&kind, out, key, parts, count);
}

void hmac_sha384(uint8_t out[SHA384_LEN], struct bytes key, const struct bytes *parts, size_t count)
{
    const struct hmac_kind kind = {algorithms()->hmac_sha384, NULL, SHA384_LEN};
    hmac(&kind, out, key, parts, count);
}

void hmac_sha1(uint8_t out[SHA1_LEN], struct bytes key, const struct bytes *parts, size_t count)
{
    char name[] = "SHA1";
    const OSSL_PARAM params[] = {OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, name, 0),
                                 OSSL_PARAM_construct_end()};
    const struct hmac_kind kind = {algorithms()->hmac_sha256, params, SHA1_LEN};
    hmac(&kind, out, key, parts, count);
}
