/* PEM texts without a terminal: a key behind a pass phrase is refused, never asked for. */
#ifndef WARREN_CRYPTO_PEM_INT_H
#define WARREN_CRYPTO_PEM_INT_H

#include <openssl/x509.h>

#include "base/bytes.h"

/* The certificates in their order, at least one; NULL where there is none or one does not parse. */
STACK_OF(X509) * pem_certs(struct bytes pem);
/* The first private key; NULL where there is none. */
EVP_PKEY *pem_key(struct bytes pem);

#endif
