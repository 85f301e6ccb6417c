#include "crypto/tls_engine.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "crypto/algorithms_int.h"
#include "crypto/init.h"
#include "crypto/key_int.h"
#include "crypto/secret.h"
#include "crypto/tls.h"
#include "crypto/tls_int.h"
#include "crypto/x509_int.h"

#define GROUPS        "*X25519MLKEM768:SecP384r1MLKEM1024"
#define SIGALGS       "mldsa87"
#define KEY_NAME      "ML-DSA-87"
#define CERT_LIST_MAX 16384 /* of a stranger's certificate; one of ours takes 7.5 kB */
#define SOCKET_GUID   "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

struct tls_node {
    SSL_CTX *ctx;
    uint8_t key[MLDSA_PUBLIC_LEN];
};

struct tls_engine {
    SSL *ssl;
    BIO *in, *out; /* the SSL's */
    enum tls_state state;
    bool particular; /* the other side must hold wanted */
    bool has_peer;
    uint8_t wanted[MLDSA_PUBLIC_LEN], peer[MLDSA_PUBLIC_LEN];
    const char *error; /* NULL: none yet */
};

/* Takes the place of the whole chain check: the key is all that counts, and TLS proves that the other side
 * holds it. */
static int judge_certificate(X509_STORE_CTX *store, void *arg)
{
    (void)arg;
    SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
    struct tls_engine *e = SSL_get_app_data(ssl);
    X509 *leaf = X509_STORE_CTX_get0_cert(store);
    EVP_PKEY *key = leaf ? X509_get0_pubkey(leaf) : NULL;
    size_t n = sizeof e->peer;
    bool ok = key && EVP_PKEY_is_a(key, KEY_NAME) && EVP_PKEY_get_raw_public_key(key, e->peer, &n) == 1 &&
              n == sizeof e->peer;
    ERR_clear_error();
    if (!ok)
        e->error = "the other side's certificate holds no ML-DSA-87 key";
    e->has_peer = ok;
    if (ok && e->particular && !secret_equal(e->peer, e->wanted, sizeof e->wanted)) {
        e->error = "the other side is not who was dialled: its certificate holds another key";
        ok = false;
    }
    /* Becomes the alert bad_certificate. */
    X509_STORE_CTX_set_error(store, ok ? X509_V_OK : X509_V_ERR_CERT_UNTRUSTED);
    return ok;
}

static bool setup_node(SSL_CTX *ctx, const uint8_t *seed, uint8_t *public_key)
{
    size_t n = MLDSA_PUBLIC_LEN;
    EVP_PKEY *key = key_of_seed(KEY_NAME, bytes_of(seed, MLDSA_SEED_LEN));
    X509 *cert = key ? x509_node_new(key) : NULL;
    bool ok = cert && EVP_PKEY_get_raw_public_key(key, public_key, &n) == 1 && n == MLDSA_PUBLIC_LEN &&
              tls_setup_common(ctx, GROUPS, SIGALGS) == 0 &&
              SSL_CTX_use_cert_and_key(ctx, cert, key, NULL, 1) == 1 && SSL_CTX_set_num_tickets(ctx, 0) == 1;
    X509_free(cert);
    EVP_PKEY_free(key);
    if (!ok)
        return false;
    SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET);
    SSL_CTX_set_max_cert_list(ctx, CERT_LIST_MAX);
    SSL_CTX_set_cert_verify_callback(ctx, judge_certificate, NULL);
    return true;
}

struct tls_node *tls_node_new(const uint8_t mldsa_seed[MLDSA_SEED_LEN])
{
    crypto_init();
    struct tls_node *n = calloc(1, sizeof *n);
    if (!n)
        return NULL;
    n->ctx = SSL_CTX_new(TLS_method());
    if (n->ctx && setup_node(n->ctx, mldsa_seed, n->key))
        return n;
    ERR_clear_error();
    tls_node_free(n);
    return NULL;
}

void tls_node_free(struct tls_node *n)
{
    if (!n)
        return;
    SSL_CTX_free(n->ctx);
    free(n);
}

const uint8_t *tls_node_key(const struct tls_node *n)
{
    return n->key;
}

/* The reason of our own refusal was noted where it arose, or is in the verify result; an alert only says that
 * there was one. */
static void note(const SSL *ssl, int where, int value)
{
    struct tls_engine *e = SSL_get_app_data(ssl);
    if (!(where & SSL_CB_ALERT) || value >> 8 != SSL3_AL_FATAL || !e || e->error)
        return;
    bool from_peer = (where & SSL_CB_READ) != 0;
    long verdict = SSL_get_verify_result(ssl);
    if (!from_peer && !SSL_is_server(ssl) && verdict != X509_V_OK)
        e->error = X509_verify_cert_error_string(verdict);
    else
        e->error = tls_alert_words(value & 0xff, from_peer);
}

static int fail(struct tls_engine *e)
{
    e->state = TLS_FAILED;
    if (!e->error)
        e->error = "the other side does not speak TLS as nodes do";
    ERR_clear_error();
    return -EPROTO;
}

static int step(struct tls_engine *e)
{
    if (e->state != TLS_HANDSHAKE)
        return 0;
    ERR_clear_error();
    int rc = SSL_do_handshake(e->ssl);
    if (rc == 1) {
        e->state = TLS_OPEN;
        return 0;
    }
    return SSL_get_error(e->ssl, rc) == SSL_ERROR_WANT_READ ? 0 : fail(e);
}

/* The context is referred to by the engine from now on. */
static struct tls_engine *engine_new(SSL_CTX *ctx)
{
    struct tls_engine *e = calloc(1, sizeof *e);
    if (!e)
        return NULL;
    e->ssl = SSL_new(ctx);
    e->in = e->ssl ? BIO_new(BIO_s_mem()) : NULL;
    e->out = e->in ? BIO_new(BIO_s_mem()) : NULL;
    if (!e->out) {
        BIO_free(e->in);
        SSL_free(e->ssl);
        free(e);
        ERR_clear_error();
        return NULL;
    }
    SSL_set_bio(e->ssl, e->in, e->out);
    SSL_set_app_data(e->ssl, e);
    SSL_set_info_callback(e->ssl, note);
    return e;
}

static struct tls_engine *start(struct tls_engine *e, bool client)
{
    if (!e)
        return NULL;
    if (client)
        SSL_set_connect_state(e->ssl);
    else
        SSL_set_accept_state(e->ssl);
    if (client && step(e) < 0) {
        tls_engine_free(e);
        return NULL;
    }
    return e;
}

static void want(struct tls_engine *e, const uint8_t *wanted)
{
    e->particular = wanted != NULL;
    if (wanted)
        memcpy(e->wanted, wanted, sizeof e->wanted);
}

struct tls_engine *tls_engine_client(const struct tls_node *n, const uint8_t *wanted)
{
    struct tls_engine *e = wanted ? engine_new(n->ctx) : NULL;
    if (e) {
        want(e, wanted);
        SSL_set_verify(e->ssl, SSL_VERIFY_PEER, NULL);
    }
    return start(e, true);
}

struct tls_engine *tls_engine_server(const struct tls_node *n, const uint8_t *wanted)
{
    struct tls_engine *e = engine_new(n->ctx);
    if (e) {
        want(e, wanted);
        SSL_set_verify(e->ssl, SSL_VERIFY_PEER | (wanted ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0), NULL);
    }
    return start(e, false);
}

static bool name_host(SSL *ssl, const char *host)
{
    ASN1_OCTET_STRING *ip = a2i_IPADDRESS(host);
    ASN1_OCTET_STRING_free(ip);
    if (ip)
        return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), host) == 1;
    return SSL_set1_host(ssl, host) == 1 && SSL_set_tlsext_host_name(ssl, host) == 1;
}

struct tls_engine *tls_engine_public(const char *host)
{
    SSL_CTX *ctx = tls_client_ctx_new(NULL);
    struct tls_engine *e = ctx ? engine_new(ctx) : NULL;
    tls_ctx_free(ctx);
    if (e && !name_host(e->ssl, host)) {
        tls_engine_free(e);
        e = NULL;
    }
    ERR_clear_error();
    return start(e, true);
}

void tls_engine_free(struct tls_engine *e)
{
    if (!e)
        return;
    SSL_free(e->ssl);
    free(e);
}

enum tls_state tls_engine_state(const struct tls_engine *e)
{
    return e->state;
}

const char *tls_engine_error(const struct tls_engine *e)
{
    return e->state == TLS_FAILED ? e->error : "";
}

const uint8_t *tls_engine_peer_key(const struct tls_engine *e)
{
    return e->has_peer ? e->peer : NULL;
}

int tls_engine_feed(struct tls_engine *e, struct bytes ciphertext)
{
    if (e->state == TLS_FAILED)
        return -EPROTO;
    if (e->state == TLS_CLOSED || ciphertext.n == 0)
        return 0;
    if (ciphertext.n > INT_MAX || BIO_write(e->in, ciphertext.p, (int)ciphertext.n) != (int)ciphertext.n) {
        e->error = "out of memory";
        return fail(e);
    }
    return step(e);
}

int tls_engine_read(struct tls_engine *e, uint8_t *out, size_t cap)
{
    if (e->state == TLS_FAILED)
        return -EPROTO;
    if (e->state != TLS_OPEN)
        return 0;
    ERR_clear_error();
    int rc = SSL_read(e->ssl, out, cap > INT_MAX ? INT_MAX : (int)cap);
    if (rc > 0)
        return rc;
    switch (SSL_get_error(e->ssl, rc)) {
    case SSL_ERROR_WANT_READ:
        return 0;
    case SSL_ERROR_ZERO_RETURN:
        e->state = TLS_CLOSED;
        return 0;
    default:
        return fail(e);
    }
}

int tls_engine_write(struct tls_engine *e, struct bytes plaintext)
{
    if (e->state != TLS_OPEN || plaintext.n > INT_MAX)
        return -EPROTO;
    if (plaintext.n == 0)
        return 0;
    ERR_clear_error();
    /* A memory BIO takes everything. */
    return SSL_write(e->ssl, plaintext.p, (int)plaintext.n) == (int)plaintext.n ? 0 : fail(e);
}

int tls_engine_pull(struct tls_engine *e, struct buf *out)
{
    size_t n = BIO_ctrl_pending(e->out);
    if (n == 0)
        return 0;
    if (n > out->max || out->n > out->max - n)
        return -E2BIG;
    uint8_t *p = buf_room(out, n);
    if (!p)
        return -ENOMEM;
    int got = BIO_read(e->out, p, (int)n);
    if (got > 0)
        buf_grow(out, (size_t)got);
    return 0;
}

void tls_engine_close(struct tls_engine *e)
{
    if (e->state != TLS_OPEN)
        return;
    SSL_shutdown(e->ssl);
    ERR_clear_error();
    e->state = TLS_CLOSED;
}

void websocket_accept(char out[WEBSOCKET_ACCEPT_LEN + 1], const char *key)
{
    uint8_t hash[20];
    unsigned n = 0;
    crypto_init();
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool ok = ctx && EVP_DigestInit_ex(ctx, EVP_sha1(), NULL) == 1 &&
              EVP_DigestUpdate(ctx, key, strlen(key)) == 1 &&
              EVP_DigestUpdate(ctx, SOCKET_GUID, sizeof SOCKET_GUID - 1) == 1 &&
              EVP_DigestFinal_ex(ctx, hash, &n) == 1 && n == sizeof hash;
    EVP_MD_CTX_free(ctx);
    if (!ok)
        crypto_die("SHA-1");
    EVP_EncodeBlock((unsigned char *)out, hash, sizeof hash);
}
