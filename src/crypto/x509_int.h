/* Certificates as OpenSSL's objects, for the TLS of this folder. */
#ifndef WARREN_CRYPTO_X509_INT_H
#define WARREN_CRYPTO_X509_INT_H

#include <openssl/x509.h>

/* A self-signed certificate for a node's own ML-DSA-87 key: it names nobody ("warren"), tells no time of its
 * making, and has no well-defined end (RFC 5280 section 4.1.2.5), for the key in it is all that is judged.
 * NULL where OpenSSL fails. */
X509 *x509_node_new(EVP_PKEY *key);

#endif
