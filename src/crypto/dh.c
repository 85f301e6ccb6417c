#include "crypto/dh.h"

#include <errno.h>
#include <string.h>

#include <openssl/err.h>

#include "crypto/key_int.h"
#include "crypto/secret.h"

int x25519_public(uint8_t public_key[X25519_LEN], const uint8_t private_key[X25519_LEN])
{
    size_t n = X25519_LEN;
    EVP_PKEY *key = key_of_private("X25519", bytes_of(private_key, X25519_LEN));
    int rc = key && EVP_PKEY_get_raw_public_key(key, public_key, &n) ? 0 : -EIO;
    EVP_PKEY_free(key);
    if (rc < 0)
        ERR_clear_error();
    return rc;
}

int x25519(uint8_t shared[X25519_LEN], const uint8_t private_key[X25519_LEN], const uint8_t peer[X25519_LEN])
{
    uint8_t out[X25519_LEN];
    size_t n = sizeof out;
    EVP_PKEY *ours = key_of_private("X25519", bytes_of(private_key, X25519_LEN));
    EVP_PKEY *theirs = key_of_public("X25519", bytes_of(peer, X25519_LEN));
    EVP_PKEY_CTX *ctx = ours ? EVP_PKEY_CTX_new_from_pkey(NULL, ours, NULL) : NULL;
    bool ready =
        ctx && theirs && EVP_PKEY_derive_init(ctx) == 1 && EVP_PKEY_derive_set_peer(ctx, theirs) == 1;
    /* OpenSSL refuses the all-zero result itself. */
    int rc = !ready ? -EIO : EVP_PKEY_derive(ctx, out, &n) == 1 ? 0 : -EBADMSG;
    if (rc == 0)
        memcpy(shared, out, sizeof out);
    else
        ERR_clear_error();
    wipe(out, sizeof out);
    EVP_PKEY_CTX_free(ctx);
    EVP_PKEY_free(theirs);
    EVP_PKEY_free(ours);
    return rc;
}
