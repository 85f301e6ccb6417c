/* TLS contexts for the library that carries our HTTP and WebSocket, configured here because only this folder
 * knows OpenSSL. TLS 1.3 only, hybrid groups first. Contexts and connections are passed as opaque pointers.
 */
#ifndef WARREN_CRYPTO_TLS_H
#define WARREN_CRYPTO_TLS_H

#include "crypto/x509.h"

struct ssl_ctx_st; /* SSL_CTX */
struct ssl_st;     /* SSL */

#define TLS_BINDING_LEN 32

/* A server context: TLS 1.3 only, groups X25519MLKEM768, SecP384r1MLKEM1024, X25519, P-256 (browsers without
 * hybrids), no session cache, one ticket, buffers released when idle. Adds the certificate(s): the ML-DSA-87
 * one is shown to clients that offer its signature algorithm, the ECDSA one to the others. Either PEM pair
 * may be empty. 0, -EBADMSG for PEM that does not parse or a key that does not fit its certificate. */
int tls_server_setup(struct ssl_ctx_st *ctx, struct bytes mldsa_cert, struct bytes mldsa_key,
                     struct bytes ecdsa_cert, struct bytes ecdsa_key);
/* A client context of a node: TLS 1.3, hybrid groups only when the peer is pinned. With pin (32 bytes) the
 * connection is accepted only from a leaf certificate of that fingerprint and no authority counts; without
 * (NULL) the system's authorities and the host name decide. The pin is copied. 0 or -EIO. */
int tls_client_setup(struct ssl_ctx_st *ctx, const uint8_t *pin);
struct ssl_ctx_st *tls_client_ctx_new(const uint8_t *pin);
void tls_ctx_free(struct ssl_ctx_st *ctx);
/* RFC 9266-style channel binding: exporter "EXPORTER-warren-login", the same on both ends of one connection
 * and on no other. 0 or -EIO before the handshake is done. */
int tls_binding(struct ssl_st *ssl, uint8_t out[TLS_BINDING_LEN]);
/* For a connection whose handshake is done and whose socket does not block. Bytes read or written; 0: nothing
 * now, ask again when the socket is readable or writable (a write with the same bytes, which may have moved);
 * -ECONNRESET: it is over. tls_read gives out what one record holds at most: 16384 bytes. */
int tls_read(struct ssl_st *ssl, uint8_t *p, size_t cap);
int tls_write(struct ssl_st *ssl, const uint8_t *p, size_t n);
/* Why the last handshake failed, in words for a person, e.g. "certificate does not match the invite's".
 * Static. */
const char *tls_last_error(void);

#endif
