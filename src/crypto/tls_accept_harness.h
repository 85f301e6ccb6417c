/* A TLS server on a blocking socket, for tests that play a server which sends what it likes. Test code alone. */
#ifndef WARREN_CRYPTO_TLS_ACCEPT_HARNESS_H
#define WARREN_CRYPTO_TLS_ACCEPT_HARNESS_H

#include <sys/socket.h>
#include <unistd.h>

#include <openssl/ssl.h>

#include "crypto/tls.h"

/* The first connection that speaks TLS: a client may only try whether an address answers before. */
static SSL *harness_accept(int listener, struct bytes cert, struct bytes key)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
    if (!ctx || tls_server_setup(ctx, cert, key, bytes_of(NULL, 0), bytes_of(NULL, 0)) < 0)
        return NULL;
    for (int fd; (fd = accept(listener, NULL, NULL)) >= 0; close(fd)) {
        SSL *ssl = SSL_new(ctx);
        if (!ssl || !SSL_set_fd(ssl, fd))
            return NULL;
        if (SSL_accept(ssl) == 1)
            return ssl;
        SSL_free(ssl);
    }
    return NULL;
}

static int harness_read(SSL *ssl, void *p, size_t n)
{
    return SSL_read(ssl, p, (int)n);
}

static int harness_write(SSL *ssl, const void *p, size_t n)
{
    return SSL_write(ssl, p, (int)n);
}

#endif
