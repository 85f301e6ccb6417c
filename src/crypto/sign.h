/* The hybrid signature: ML-DSA-87 (FIPS 204) and Ed25519 (RFC 8032) over the same message, and both must
 * verify. A context string separates domains: it is ML-DSA's own context, and for Ed25519 it is put before
 * the message as one length byte and the string. Private keys are kept as their 32-byte seeds. */
#ifndef WARREN_CRYPTO_SIGN_H
#define WARREN_CRYPTO_SIGN_H

#include "base/bytes.h"
#include "base/rng.h"

#define MLDSA_SEED_LEN     32
#define MLDSA_PUBLIC_LEN   2592
#define MLDSA_SIG_LEN      4627
#define ED25519_SEED_LEN   32
#define ED25519_PUBLIC_LEN 32
#define ED25519_SIG_LEN    64
#define SIGN_SIG_LEN       (MLDSA_SIG_LEN + ED25519_SIG_LEN)
#define NODE_ID_LEN        32

struct sign_seed {
    uint8_t mldsa[MLDSA_SEED_LEN];
    uint8_t ed25519[ED25519_SEED_LEN];
};

struct sign_public {
    uint8_t mldsa[MLDSA_PUBLIC_LEN];
    uint8_t ed25519[ED25519_PUBLIC_LEN];
};

/* A signing key ready for use (OpenSSL keys made once); wiped by sign_key_free. */
struct sign_key;

/* Both seeds fresh from rng. */
void sign_seed_new(struct sign_seed *seed, const struct rng *rng);
/* Both seeds from one 32-byte secret by HKDF-SHA-256 with the label: how an invite carries a whole hybrid
 * key. */
void sign_seed_derive(struct sign_seed *seed, const uint8_t secret[32], const char *label);
struct sign_key *sign_key_new(const struct sign_seed *seed);
void sign_key_free(struct sign_key *key);
const struct sign_public *sign_key_public(const struct sign_key *key);

/* context: 1 to 255 characters. sig: ML-DSA-87 || Ed25519. ML-DSA is hedged with 32 bytes from rng. 0 or
 * -EIO. */
int sign_make(const struct sign_key *key, const char *context, struct bytes msg, const struct rng *rng,
              uint8_t sig[SIGN_SIG_LEN]);
/* 0, or -EBADMSG where either half is bad. Ed25519 is checked first: it is the cheaper refusal. Only a message of
 * more than 2048 bytes needs memory of its own (-ENOMEM). */
int sign_check(const struct sign_public *pub, const char *context, struct bytes msg,
               const uint8_t sig[SIGN_SIG_LEN]);

/* The halves, for vectors and for HELLO's filter (doc/protocol/session.md). */
int ed25519_public(uint8_t pub[ED25519_PUBLIC_LEN], const uint8_t seed[ED25519_SEED_LEN]);
int ed25519_sign(uint8_t sig[ED25519_SIG_LEN], const uint8_t seed[ED25519_SEED_LEN], struct bytes msg);
int ed25519_check(const uint8_t pub[ED25519_PUBLIC_LEN], struct bytes msg,
                  const uint8_t sig[ED25519_SIG_LEN]);
int mldsa_public(uint8_t pub[MLDSA_PUBLIC_LEN], const uint8_t seed[MLDSA_SEED_LEN]);
/* random NULL: the deterministic variant. */
int mldsa_sign(uint8_t sig[MLDSA_SIG_LEN], const uint8_t seed[MLDSA_SEED_LEN], struct bytes context,
               struct bytes msg, const uint8_t random[32]);
/* The same from FIPS 204's expanded private key, for published vectors, which rarely give the seed. -EBADMSG
 * for a key that is out of range. */
#define MLDSA_EXPANDED_LEN 4896
int mldsa_sign_expanded(uint8_t sig[MLDSA_SIG_LEN], const uint8_t private_key[MLDSA_EXPANDED_LEN],
                        struct bytes context, struct bytes msg, const uint8_t random[32]);
int mldsa_check(const uint8_t pub[MLDSA_PUBLIC_LEN], struct bytes context, struct bytes msg,
                const uint8_t sig[MLDSA_SIG_LEN]);
/* HELLO's filter: the Ed25519 half alone, with the same context prefix as sign_make. */
int sign_make_ed25519(const struct sign_key *key, const char *context, struct bytes msg,
                      uint8_t sig[ED25519_SIG_LEN]);
int sign_check_ed25519(const struct sign_public *pub, const char *context, struct bytes msg,
                       const uint8_t sig[ED25519_SIG_LEN]);

/* Node id: SHA-256("warren node id v1" || ML-DSA-87 public || Ed25519 public). */
void node_id_of(uint8_t id[NODE_ID_LEN], const struct sign_public *pub);

#endif
