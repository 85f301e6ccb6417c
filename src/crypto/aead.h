/* AES-256-GCM (SP 800-38D) and ChaCha20-Poly1305 (RFC 8439), 32-byte key, 12-byte nonce, 16-byte tag, in
 * place. A key object keeps its cipher contexts, so a packet costs no allocation and no algorithm look-up.
 * One object may be used by one thread at a time. */
#ifndef WARREN_CRYPTO_AEAD_H
#define WARREN_CRYPTO_AEAD_H

#include "base/bytes.h"

#define AEAD_KEY_LEN   32
#define AEAD_NONCE_LEN 12
#define AEAD_TAG_LEN   16

/* Numbers are on the wire (cipher offers in HELLO): bit n of the offer is cipher n. */
enum aead_alg { AEAD_AES256GCM = 0, AEAD_CHACHA20POLY1305 = 1, AEAD_ALG_COUNT };

struct aead;

/* NULL when memory fails. The key is copied into OpenSSL's contexts and wiped by aead_free. */
struct aead *aead_new(enum aead_alg alg, const uint8_t key[AEAD_KEY_LEN]);
void aead_free(struct aead *a);
/* Encrypts text[0..n) in place and writes the tag. 0, or -EIO where OpenSSL fails. */
int aead_seal(struct aead *a, const uint8_t nonce[AEAD_NONCE_LEN], struct bytes ad, uint8_t *text, size_t n,
              uint8_t tag[AEAD_TAG_LEN]);
/* Decrypts in place. 0, or -EBADMSG where the tag does not fit; then text is wiped. */
int aead_open(struct aead *a, const uint8_t nonce[AEAD_NONCE_LEN], struct bytes ad, uint8_t *text, size_t n,
              const uint8_t tag[AEAD_TAG_LEN]);
/* Whether this CPU has AES instructions: GCM is the first choice there and nowhere else. */
bool aead_have_aes(void);
const char *aead_name(enum aead_alg alg); /* "aes-256-gcm", "chacha20-poly1305" */

#endif
