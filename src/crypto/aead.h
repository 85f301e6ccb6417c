/* AES-256-GCM (SP 800-38D) and ChaCha20-Poly1305 (RFC 8439), 32-byte key, 12-byte nonce, 16-byte tag, in
 * place. A key object keeps its cipher contexts, so a packet costs no allocation and no algorithm look-up.
 * One object may be used by one thread at a time. */
#ifndef WARREN_CRYPTO_AEAD_H
#define WARREN_CRYPTO_AEAD_H

#include "base/bytes.h"
#include "base/time.h"

#define AEAD_KEY_LEN   32
#define AEAD_NONCE_LEN 12
#define AEAD_TAG_LEN   16

/* Numbers are on the wire (cipher offers in HELLO): bit n of the offer is cipher n. */
enum aead_alg { AEAD_AES256GCM = 0, AEAD_CHACHA20POLY1305 = 1, AEAD_ALG_COUNT };

struct aead;

/* NULL when memory fails. The key is copied and wiped by aead_free. */
struct aead *aead_new(enum aead_alg alg, const uint8_t key[AEAD_KEY_LEN]);
void aead_free(struct aead *a);
/* Encrypts text[0..n) in place and writes the tag. 0, or -EIO where the library fails. */
int aead_seal(struct aead *a, const uint8_t nonce[AEAD_NONCE_LEN], struct bytes ad, uint8_t *text, size_t n,
              uint8_t tag[AEAD_TAG_LEN]);
/* The same from in to out, which may not overlap unless they are one. */
int aead_seal_to(struct aead *a, const uint8_t nonce[AEAD_NONCE_LEN], struct bytes ad, const uint8_t *in,
                 size_t n, uint8_t *out, uint8_t tag[AEAD_TAG_LEN]);
/* Decrypts in place. 0, or -EBADMSG where the tag does not fit; then text is wiped. */
int aead_open(struct aead *a, const uint8_t nonce[AEAD_NONCE_LEN], struct bytes ad, uint8_t *text, size_t n,
              const uint8_t tag[AEAD_TAG_LEN]);
/* The same from in to out, which may not overlap unless they are one; on failure out is wiped. */
int aead_open_to(struct aead *a, const uint8_t nonce[AEAD_NONCE_LEN], struct bytes ad, const uint8_t *in,
                 size_t n, uint8_t *out, const uint8_t tag[AEAD_TAG_LEN]);
bool aead_have_aes(void); /* whether this CPU has instructions for AES and for the other half of GCM */

/* What sealing costs on this machine: both are 256-bit ciphers, so the faster one may be preferred. */
#define AEAD_SAMPLE 1400       /* bytes in each packet of the measurement */
#define AEAD_BUDGET (2 * MSEC) /* no round begins after it; one takes about 0.1 ms */

struct aead_speed {
    uint64_t ns[AEAD_ALG_COUNT]; /* per packet of AEAD_SAMPLE bytes, at least 1; all 0: not measured */
};
/* Seals packets with each cipher in turn, in short rounds, and keeps the best round of each, which nobody
 * disturbed. clock: that of the caller's edge, in microseconds; it may not go back. 0, or -EIO (out of
 * memory, or a clock that stands still): then *out is all zeros. */
int aead_measure(usec_t (*clock)(void), struct aead_speed *out);
/* AES where it is at least as fast; where nothing was measured, where the CPU has instructions for it. */
bool aead_prefers_aes(const struct aead_speed *s);
const char *aead_name(enum aead_alg alg); /* "aes-256-gcm", "chacha20-poly1305" */

#endif
