/* What the two kinds of TLS of this folder share: connections that libwebsockets carries (tls.c) and those
 * that we carry (tls_engine.c). */
#ifndef WARREN_CRYPTO_TLS_INT_H
#define WARREN_CRYPTO_TLS_INT_H

#include <stdbool.h>

#include <openssl/ssl.h>

/* TLS 1.3 only, no session cache, these groups and signature algorithms (OpenSSL's lists), and tls.c's notes
 * of why a handshake failed. 0 or -EIO. */
int tls_setup_common(SSL_CTX *ctx, const char *groups, const char *sigalgs);
/* A fatal alert in words; static. */
const char *tls_alert_words(int alert, bool from_peer);

#endif
