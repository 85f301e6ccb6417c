/* The key schedule (doc/protocol/session.md section 3): from the two shared secrets and the transcript to
 * every key of a session. Only labels and order live here; the primitives are crypto/kdf.h. */
#ifndef WARREN_SESSION_SCHEDULE_H
#define WARREN_SESSION_SCHEDULE_H

#include "crypto/aead.h"
#include "crypto/dh.h"
#include "crypto/kdf.h"
#include "crypto/kem.h"

#define SESSION_ID_LEN 16
#define RESUME_KEY_LEN 32

/* SHA-384 over a label and parts, each with its length in 32 bits before it: no two lists collide. */
void transcript_hash(uint8_t out[SHA384_LEN], const char *label, const struct bytes *parts, size_t count);

/* What both ends hold after RESPONSE's prefix. */
struct hs_keys {
    uint8_t prk[SHA384_LEN], th[SHA384_LEN];
    uint8_t initiator[AEAD_KEY_LEN], responder[AEAD_KEY_LEN]; /* seal RESPONSE and ESTABLISHED */
};
struct shared_secrets {
    uint8_t dh[X25519_LEN], kem[KEM_SECRET_LEN];
};
void schedule_handshake(struct hs_keys *out, const struct shared_secrets *shared, struct bytes hello,
                        struct bytes challenge, struct bytes response_prefix);

/* One direction's traffic keys and what later rekeys grow from. */
struct traffic_keys {
    uint8_t to_responder[AEAD_KEY_LEN], to_initiator[AEAD_KEY_LEN];
    uint8_t chain[SHA384_LEN];
};
struct session_keys {
    struct traffic_keys traffic;
    uint8_t resume[RESUME_KEY_LEN];
    uint8_t id[SESSION_ID_LEN];
};
void schedule_session(struct session_keys *out, const struct hs_keys *hs, struct bytes response);
/* The next epoch's, from the present chain secret, fresh shared secrets and both messages. */
void schedule_rekey(struct traffic_keys *out, const uint8_t chain[SHA384_LEN],
                    const struct shared_secrets *shared, struct bytes init, struct bytes reply);

#endif
