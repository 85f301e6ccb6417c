/* Making OpenSSL keys from the raw bytes that Warren keeps. */
#ifndef WARREN_CRYPTO_KEY_INT_H
#define WARREN_CRYPTO_KEY_INT_H

#include <openssl/evp.h>

#include "base/bytes.h"

/* A private ML-KEM or ML-DSA key from its seed; NULL where OpenSSL fails. */
EVP_PKEY *key_of_seed(const char *algorithm, struct bytes seed);
/* A private key from its raw (for ML-KEM and ML-DSA: expanded) form; NULL where the form is refused. */
EVP_PKEY *key_of_private(const char *algorithm, struct bytes private_key);
/* A public key from its raw form; NULL where the form is refused. */
EVP_PKEY *key_of_public(const char *algorithm, struct bytes public_key);

#endif
