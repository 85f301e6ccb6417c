#include "crypto/pem_int.h"

#include <limits.h>

#include <openssl/err.h>
#include <openssl/pem.h>

#include "crypto/init.h"

#define CERTS_MAX 16 /* a chain longer than this is refused */

static BIO *open_text(struct bytes pem)
{
    crypto_init();
    return pem.n > 0 && pem.n <= INT_MAX ? BIO_new_mem_buf(pem.p, (int)pem.n) : NULL;
}

static int no_pass_phrase(char *out, int cap, int writing, void *ctx)
{
    (void)out, (void)cap, (void)writing, (void)ctx;
    return -1;
}

/* Whether reading stopped because the text was over, not because a certificate was bad. */
static bool at_end(void)
{
    unsigned long code = ERR_peek_last_error();
    return ERR_GET_LIB(code) == ERR_LIB_PEM && ERR_GET_REASON(code) == PEM_R_NO_START_LINE;
}

STACK_OF(X509) * pem_certs(struct bytes pem)
{
    BIO *in = open_text(pem);
    STACK_OF(X509) *certs = sk_X509_new_null();
    bool ok = in && certs;
    ERR_clear_error();
    while (ok) {
        X509 *cert = PEM_read_bio_X509(in, NULL, no_pass_phrase, NULL);
        if (!cert)
            break;
        ok = sk_X509_num(certs) < CERTS_MAX && sk_X509_push(certs, cert) > 0;
        if (!ok)
            X509_free(cert);
    }
    ok = ok && at_end() && sk_X509_num(certs) > 0;
    ERR_clear_error();
    BIO_free(in);
    if (ok)
        return certs;
    sk_X509_pop_free(certs, X509_free);
    return NULL;
}

EVP_PKEY *pem_key(struct bytes pem)
{
    BIO *in = open_text(pem);
    EVP_PKEY *key = in ? PEM_read_bio_PrivateKey(in, NULL, no_pass_phrase, NULL) : NULL;
    if (!key)
        ERR_clear_error();
    BIO_free(in);
    return key;
}
