/* SHA-256, SHA-384 and HMAC (FIPS 180-4, RFC 2104), each in one call over a list of parts. Ends the program
 * when OpenSSL is out of memory: nothing sensible follows from half a hash. */
#ifndef WARREN_CRYPTO_HASH_H
#define WARREN_CRYPTO_HASH_H

#include "base/bytes.h"

#define SHA256_LEN 32
#define SHA384_LEN 48

void sha256(uint8_t out[SHA256_LEN], const struct bytes *parts, size_t count);
void sha384(uint8_t out[SHA384_LEN], const struct bytes *parts, size_t count);
void hmac_sha256(uint8_t out[SHA256_LEN], struct bytes key, const struct bytes *parts, size_t count);
void hmac_sha384(uint8_t out[SHA384_LEN], struct bytes key, const struct bytes *parts, size_t count);

/* Old ones, for others' protocols only (STUN, RFC 8489: MESSAGE-INTEGRITY and the long-term key). Nothing of
 * ours rests on them. */
#define MD5_LEN  16
#define SHA1_LEN 20

void md5(uint8_t out[MD5_LEN], const struct bytes *parts, size_t count);
void hmac_sha1(uint8_t out[SHA1_LEN], struct bytes key, const struct bytes *parts, size_t count);

#endif
