/* Self-signed certificates (RFC 5280) for the hub, and the fingerprints that invites pin. */
#ifndef WARREN_CRYPTO_X509_H
#define WARREN_CRYPTO_X509_H

#include "base/buf.h"
#include "base/rng.h"

#define CERT_FP_LEN 32 /* SHA-256 over the certificate's DER */

enum cert_kind { CERT_MLDSA87, CERT_ECDSA_P256 };

/* Makes a key and a self-signed server certificate for `host` (a DNS name or an IP literal, as
 * subjectAltName), valid from not_before for `days`. PEM into the two buffers; key_pem holds a secret: wipe
 * it. 0 or -EIO. */
int x509_self_signed(enum cert_kind kind, const char *host, uint64_t not_before_unix_s, unsigned days,
                     struct buf *cert_pem, struct buf *key_pem);
/* The fingerprint of the first certificate of a PEM text. 0 or -EBADMSG. */
int x509_fingerprint(struct bytes pem, uint8_t fp[CERT_FP_LEN]);
/* Seconds since 1970 after which the first certificate of a PEM text is no longer valid. 0 or -EBADMSG. */
int x509_not_after(struct bytes pem, uint64_t *unix_s);

#endif
