/* The hub's certificates: an ML-DSA-87 one that invites pin and an ECDSA one for browsers, of its own making
 * and kept in the state directory, or the operator's in place of the ECDSA one. */
#ifndef WARREN_HUB_CERT_H
#define WARREN_HUB_CERT_H

#include "base/buf.h"
#include "crypto/x509.h"

struct hub_certs {
    struct buf mldsa_cert, mldsa_key, ecdsa_cert, ecdsa_key; /* PEM */
    uint8_t fingerprint[CERT_FP_LEN];                        /* of the ML-DSA-87 one */
    uint64_t ecdsa_not_after;                                /* unix seconds */
};

/* Loads what is in the state directory and makes what is missing. cert, key: the operator's files, or NULL
 * both. 0, or a negative errno and one line for a person in why. hub_certs_done wipes the keys, also after a
 * failure. */
int hub_certs_open(struct hub_certs *c, const char *state, const char *host, const char *cert,
                   const char *key, uint64_t unix_s, char *why, size_t cap);
void hub_certs_done(struct hub_certs *c);

#endif
