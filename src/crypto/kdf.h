/* HKDF (RFC 5869) with SHA-384, and with SHA-256 for the published vectors and short labels. */
#ifndef WARREN_CRYPTO_KDF_H
#define WARREN_CRYPTO_KDF_H

#include "crypto/hash.h"

void hkdf384_extract(uint8_t prk[SHA384_LEN], struct bytes salt, struct bytes ikm);
/* n at most 255 * 48. */
void hkdf384_expand(uint8_t *out, size_t n, const uint8_t prk[SHA384_LEN], struct bytes info);
/* Extract and expand in one; n at most 255 * 32. */
void hkdf256(uint8_t *out, size_t n, struct bytes salt, struct bytes ikm, struct bytes info);

#endif
