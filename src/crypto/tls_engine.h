/* TLS 1.3 without a socket: ciphertext in and out, plaintext in and out. For connections whose sockets are
 * ours: those between nodes (doc/protocol/direct-tls.md) and those to TURN servers. No clock, no thread.
 *
 * Order: new; then whatever comes is fed, what is to be sent is pulled after every call, and plaintext is
 * read until there is none; writing is for TLS_OPEN. After a failure or a close, what is pulled (the alert)
 * may still be sent.
 */
#ifndef WARREN_CRYPTO_TLS_ENGINE_H
#define WARREN_CRYPTO_TLS_ENGINE_H

#include "base/buf.h"
#include "crypto/sign.h"

struct tls_node;
struct tls_engine;

/* A node as an end of TLS: a certificate of its own ML-DSA-87 key (self-signed, made anew each time, naming
 * nobody), hybrid groups only (X25519MLKEM768, SecP384r1MLKEM1024), no tickets, no resumption. The seed is
 * not kept, the key is. NULL where OpenSSL fails. Must outlive its engines. */
struct tls_node *tls_node_new(const uint8_t mldsa_seed[MLDSA_SEED_LEN]);
void tls_node_free(struct tls_node *n);
const uint8_t *tls_node_key(const struct tls_node *n); /* MLDSA_PUBLIC_LEN bytes */

/* Both ends show a certificate. wanted (MLDSA_PUBLIC_LEN bytes, copied): the other side must prove that it
 * holds this key; NULL (servers only): any ML-DSA-87 certificate or none will do. NULL without memory. */
struct tls_engine *tls_engine_client(const struct tls_node *n, const uint8_t *wanted);
struct tls_engine *tls_engine_server(const struct tls_node *n, const uint8_t *wanted);
/* A client that judges by the system's authorities and the host: a DNS name or an IP literal. */
struct tls_engine *tls_engine_public(const char *host);
void tls_engine_free(struct tls_engine *e);

enum tls_state { TLS_HANDSHAKE, TLS_OPEN, TLS_CLOSED, TLS_FAILED };
enum tls_state tls_engine_state(const struct tls_engine *e);
/* Why it failed, one sentence for a person; "" where it did not. */
const char *tls_engine_error(const struct tls_engine *e);
/* Whether the other side showed a certificate, and its key (NULL: none). Valid until the engine is freed. */
const uint8_t *tls_engine_peer_key(const struct tls_engine *e);

/* 0, or -EPROTO: failed now or before. */
int tls_engine_feed(struct tls_engine *e, struct bytes ciphertext);
/* Bytes read; 0: none now (or closed: see the state); -EPROTO. */
int tls_engine_read(struct tls_engine *e, uint8_t *out, size_t cap);
/* 0; -EPROTO where it is not open. */
int tls_engine_write(struct tls_engine *e, struct bytes plaintext);
/* Appends what waits to be sent. 0, or -ENOMEM or -E2BIG where out does not take it (nothing is lost). */
int tls_engine_pull(struct tls_engine *e, struct buf *out);
/* Says that nothing more follows. */
void tls_engine_close(struct tls_engine *e);

/* RFC 6455 section 4.2.2: the Sec-WebSocket-Accept that belongs to a Sec-WebSocket-Key. Here because SHA-1
 * is. */
#define WEBSOCKET_ACCEPT_LEN 28
void websocket_accept(char out[WEBSOCKET_ACCEPT_LEN + 1], const char *key);

#endif
