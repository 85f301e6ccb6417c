/* The algorithms of this folder, fetched once. */
#ifndef WARREN_CRYPTO_ALGORITHMS_INT_H
#define WARREN_CRYPTO_ALGORITHMS_INT_H

#include <openssl/evp.h>

struct algorithms {
    EVP_MD *sha256, *sha384;
    EVP_MAC_CTX *hmac_sha256, *hmac_sha384; /* without a key; to be duplicated */
    EVP_CIPHER *aes256gcm, *chacha20poly1305;
    EVP_SIGNATURE *mldsa87;
};

const struct algorithms *algorithms(void);
/* Ends the program and says what OpenSSL could not do; for what nothing sensible can follow. */
_Noreturn void crypto_die(const char *what);

#endif
