#include "crypto/tls.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <threads.h>

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509_vfy.h>

#include "crypto/hash.h"
#include "crypto/init.h"
#include "crypto/pem_int.h"
#include "crypto/secret.h"
#include "crypto/tls_int.h"

/* A slash separates classes: within an earlier class a server rather asks for a second hello than to take a
 * group of a later one. A star is a key share that the client sends at once. */
#define GROUPS_SERVER "X25519MLKEM768:SecP384r1MLKEM1024/X25519:P-256"
#define GROUPS_PINNED "*X25519MLKEM768:SecP384r1MLKEM1024"
#define GROUPS_PUBLIC "*X25519MLKEM768:SecP384r1MLKEM1024/*X25519:P-256"
/* ML-DSA first, and then whatever a certificate given by the operator may have. */
#define SIGALGS                                                                                              \
    "mldsa87:ecdsa_secp256r1_sha256:ecdsa_secp384r1_sha384:ed25519:rsa_pss_rsae_sha256:rsa_pss_rsae_sha384:" \
    "rsa_pss_rsae_sha512"
/* What public authorities sign with besides. */
#define SIGALGS_PUBLIC SIGALGS ":ecdsa_secp521r1_sha512:rsa_pkcs1_sha256:rsa_pkcs1_sha384:rsa_pkcs1_sha512"
#define BINDING_LABEL  "EXPORTER-warren-login"

/* Why the last handshake of this thread failed: the library above us drops OpenSSL's reasons before its user
 * is called, so they are kept where they arise. */
static _Thread_local const char *last_error = "";

/* OpenSSL's slot for the pin in an SSL_CTX, given out once for the process. */
static int pin_slot = -1;
static once_flag pin_slot_once = ONCE_FLAG_INIT;

static void pin_free(void *parent, void *pin, CRYPTO_EX_DATA *ad, int index, long argl, void *argp)
{
    (void)parent, (void)ad, (void)index, (void)argl, (void)argp;
    OPENSSL_free(pin);
}

static void pin_slot_make(void)
{
    pin_slot = SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, pin_free);
}

const char *tls_last_error(void)
{
    return last_error;
}

const char *tls_alert_words(int alert, bool from_peer)
{
    switch (alert) {
    case SSL_AD_PROTOCOL_VERSION:
        return "the other side does not speak TLS 1.3";
    case SSL_AD_HANDSHAKE_FAILURE:
        return "no key exchange or signature in common (a hub of Warren wants TLS 1.3, nodes want a "
               "post-quantum group)";
    case SSL_AD_BAD_CERTIFICATE:
    case SSL_AD_CERTIFICATE_UNKNOWN:
    case SSL_AD_UNKNOWN_CA:
    case SSL_AD_CERTIFICATE_EXPIRED:
        return from_peer ? "the other side refused our certificate" : "certificate refused";
    default:
        return SSL_alert_desc_string_long(alert);
    }
}

/* The reason of our own refusal is in the verify result; an alert only says that there was one. */
static void note_progress(const SSL *ssl, int where, int value)
{
    if (where & SSL_CB_HANDSHAKE_START)
        last_error = "";
    if (!(where & SSL_CB_ALERT) || value >> 8 != SSL3_AL_FATAL || *last_error)
        return;
    bool from_peer = (where & SSL_CB_READ) != 0;
    long verdict = SSL_get_verify_result(ssl);
    if (!from_peer && !SSL_is_server(ssl) && verdict != X509_V_OK)
        last_error = X509_verify_cert_error_string(verdict);
    else
        last_error = tls_alert_words(value & 0xff, from_peer);
}

int tls_setup_common(SSL_CTX *ctx, const char *groups, const char *sigalgs)
{
    SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_info_callback(ctx, note_progress);
    if (!SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION) ||
        !SSL_CTX_set_max_proto_version(ctx, TLS1_3_VERSION) || !SSL_CTX_set1_groups_list(ctx, groups) ||
        !SSL_CTX_set1_sigalgs_list(ctx, sigalgs)) {
        ERR_clear_error();
        return -EIO;
    }
    return 0;
}

/* A certificate with its key and the certificates behind it, as parsed from PEM. */
struct identity {
    STACK_OF(X509) * certs; /* NULL: none given */
    EVP_PKEY *key;
};

static void identity_done(struct identity *id)
{
    sk_X509_pop_free(id->certs, X509_free);
    EVP_PKEY_free(id->key);
}

static int identity_read(struct identity *id, struct bytes cert, struct bytes key)
{
    *id = (struct identity){0};
    if (cert.n == 0 && key.n == 0)
        return 0;
    id->certs = pem_certs(cert);
    id->key = pem_key(key);
    if (id->certs && id->key && X509_check_private_key(sk_X509_value(id->certs, 0), id->key) == 1)
        return 0;
    identity_done(id);
    *id = (struct identity){0};
    ERR_clear_error();
    return -EBADMSG;
}

static int identity_use(SSL_CTX *ctx, const struct identity *id)
{
    if (!id->certs)
        return 0;
    STACK_OF(X509) *chain = sk_X509_dup(id->certs);
    X509 *leaf = chain ? sk_X509_shift(chain) : NULL;
    int rc = leaf && SSL_CTX_use_cert_and_key(ctx, leaf, id->key, chain, 1) == 1 ? 0 : -EBADMSG;
    sk_X509_free(chain);
    if (rc < 0)
        ERR_clear_error();
    return rc;
}

int tls_server_setup(struct ssl_ctx_st *ctx, struct bytes mldsa_cert, struct bytes mldsa_key,
                     struct bytes ecdsa_cert, struct bytes ecdsa_key)
{
    crypto_init();
    struct identity mldsa, ecdsa;
    int rc = identity_read(&mldsa, mldsa_cert, mldsa_key);
    if (rc < 0)
        return rc;
    rc = identity_read(&ecdsa, ecdsa_cert, ecdsa_key);
    if (rc == 0)
        rc = tls_setup_common(ctx, GROUPS_SERVER, SIGALGS);
    if (rc == 0) {
        /* By our order, so that whoever can check ML-DSA is shown it. */
        SSL_CTX_set_options(ctx, SSL_OP_CIPHER_SERVER_PREFERENCE);
        SSL_CTX_set_num_tickets(ctx, 1);
        rc = identity_use(ctx, &ecdsa);
    }
    if (rc == 0)
        rc = identity_use(ctx, &mldsa);
    identity_done(&ecdsa);
    identity_done(&mldsa);
    return rc;
}

/* Takes the place of the whole chain check: the fingerprint is all that counts. */
static int check_pin(X509_STORE_CTX *store, void *arg)
{
    (void)arg;
    SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
    const uint8_t *pin = SSL_CTX_get_ex_data(SSL_get_SSL_CTX(ssl), pin_slot);
    X509 *leaf = X509_STORE_CTX_get0_cert(store);
    uint8_t *der = NULL, fp[CERT_FP_LEN];
    int len = leaf && pin ? i2d_X509(leaf, &der) : -1;
    bool ok = false;
    if (len > 0) {
        struct bytes part = bytes_of(der, (size_t)len);
        sha256(fp, &part, 1);
        ok = secret_equal(fp, pin, sizeof fp);
    }
    OPENSSL_free(der);
    X509_STORE_CTX_set_error(store, ok ? X509_V_OK : X509_V_ERR_APPLICATION_VERIFICATION);
    if (!ok)
        last_error = "certificate does not match the pinned fingerprint (the invite's)";
    return ok;
}

static int setup_pinned(SSL_CTX *ctx, const uint8_t *pin)
{
    call_once(&pin_slot_once, pin_slot_make);
    uint8_t *copy = pin_slot >= 0 ? OPENSSL_memdup(pin, CERT_FP_LEN) : NULL;
    void *before = copy ? SSL_CTX_get_ex_data(ctx, pin_slot) : NULL;
    if (!copy || !SSL_CTX_set_ex_data(ctx, pin_slot, copy)) {
        OPENSSL_free(copy);
        ERR_clear_error();
        return -EIO;
    }
    OPENSSL_free(before);
    SSL_CTX_set_cert_verify_callback(ctx, check_pin, NULL);
    return 0;
}

int tls_client_setup(struct ssl_ctx_st *ctx, const uint8_t *pin)
{
    crypto_init();
    int rc = tls_setup_common(ctx, pin ? GROUPS_PINNED : GROUPS_PUBLIC, pin ? SIGALGS : SIGALGS_PUBLIC);
    if (rc == 0 && pin)
        rc = setup_pinned(ctx, pin);
    else if (rc == 0 && SSL_CTX_set_default_verify_paths(ctx) != 1)
        rc = -EIO;
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
    ERR_clear_error();
    return rc;
}

struct ssl_ctx_st *tls_client_ctx_new(const uint8_t *pin)
{
    crypto_init();
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    if (ctx && tls_client_setup(ctx, pin) == 0)
        return ctx;
    ERR_clear_error();
    SSL_CTX_free(ctx);
    return NULL;
}

void tls_ctx_free(struct ssl_ctx_st *ctx)
{
    SSL_CTX_free(ctx);
}

int tls_binding(struct ssl_st *ssl, uint8_t out[TLS_BINDING_LEN])
{
    if (!SSL_is_init_finished(ssl) || SSL_version(ssl) != TLS1_3_VERSION)
        return -EIO;
    if (SSL_export_keying_material(ssl, out, TLS_BINDING_LEN, BINDING_LABEL, strlen(BINDING_LABEL), NULL, 0,
                                   0) == 1)
        return 0;
    ERR_clear_error();
    return -EIO;
}

/* What SSL_read and SSL_write mean by n. */
static int io_result(SSL *ssl, int n)
{
    if (n > 0)
        return n;
    int why = SSL_get_error(ssl, n);
    ERR_clear_error();
    return why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE ? 0 : -ECONNRESET;
}

int tls_read(struct ssl_st *ssl, uint8_t *p, size_t cap)
{
    ERR_clear_error(); /* SSL_get_error looks at what others have left there */
    return io_result(ssl, SSL_read(ssl, p, cap < INT_MAX ? (int)cap : INT_MAX));
}

int tls_write(struct ssl_st *ssl, const uint8_t *p, size_t n)
{
    ERR_clear_error();
    return io_result(ssl, n <= INT_MAX ? SSL_write(ssl, p, (int)n) : -1);
}
