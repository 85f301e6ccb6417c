/* ML-KEM-1024 (FIPS 203). Keys are kept as their 64-byte seed d||z. Decapsulation never fails on a
 * well-formed ciphertext (implicit rejection): a wrong one gives a secret that nobody else has. */
#ifndef WARREN_CRYPTO_KEM_H
#define WARREN_CRYPTO_KEM_H

#include "base/bytes.h"

#define KEM_SEED_LEN   64
#define KEM_PUBLIC_LEN 1568
#define KEM_CT_LEN     1568
#define KEM_SECRET_LEN 32
#define KEM_RANDOM_LEN 32

/* 0 or -EIO. */
int kem_public(uint8_t public_key[KEM_PUBLIC_LEN], const uint8_t seed[KEM_SEED_LEN]);
/* `random` is FIPS 203's m: 32 fresh bytes. 0, -EBADMSG for a key that FIPS 203 section 7.2 refuses. */
int kem_encaps(uint8_t ct[KEM_CT_LEN], uint8_t secret[KEM_SECRET_LEN],
               const uint8_t public_key[KEM_PUBLIC_LEN], const uint8_t random[KEM_RANDOM_LEN]);
int kem_decaps(uint8_t secret[KEM_SECRET_LEN], const uint8_t seed[KEM_SEED_LEN],
               const uint8_t ct[KEM_CT_LEN]);

/* The expanded private key of FIPS 203, for published vectors, which rarely give the seed. */
#define KEM_EXPANDED_LEN 3168
/* As kem_decaps; -EBADMSG for a key that FIPS 203 section 7.3 refuses. */
int kem_decaps_expanded(uint8_t secret[KEM_SECRET_LEN], const uint8_t private_key[KEM_EXPANDED_LEN],
                        const uint8_t ct[KEM_CT_LEN]);

#endif
