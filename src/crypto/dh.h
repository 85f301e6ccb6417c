/* X25519 (RFC 7748). */
#ifndef WARREN_CRYPTO_DH_H
#define WARREN_CRYPTO_DH_H

#include "base/bytes.h"

#define X25519_LEN 32

/* The public key of a private one. */
int x25519_public(uint8_t public_key[X25519_LEN], const uint8_t private_key[X25519_LEN]);
/* 0, or -EBADMSG for a peer key of small order (all-zero result, RFC 7748 section 6.1). */
int x25519(uint8_t shared[X25519_LEN], const uint8_t private_key[X25519_LEN], const uint8_t peer[X25519_LEN]);

#endif
