#include "crypto/x509.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <time.h>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "crypto/hash.h"
#include "crypto/init.h"
#include "crypto/pem_int.h"
#include "crypto/rand.h"
#include "crypto/secret.h"
#include "crypto/x509_int.h"

#define SERIAL_LEN      16
#define COMMON_NAME_MAX 64 /* RFC 5280, ub-common-name */
#define DNS_NAME_MAX    253
#define NODE_NAME       "warren"
#define NODE_FROM       "20250101000000Z"
#define NODE_UNTIL      "99991231235959Z"

static EVP_PKEY *key_new(enum cert_kind kind)
{
    return kind == CERT_MLDSA87 ? EVP_PKEY_Q_keygen(NULL, NULL, "ML-DSA-87")
                                : EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256");
}

/* A positive number that nobody guesses (CA/Browser Forum: 64 bits of chance or more). */
static bool set_serial(X509 *cert)
{
    uint8_t bytes[SERIAL_LEN];
    struct rng rng = rng_system();
    rng_fill(&rng, bytes, sizeof bytes);
    bytes[0] = (uint8_t)((bytes[0] & 0x7f) | 0x40);
    BIGNUM *n = BN_bin2bn(bytes, sizeof bytes, NULL);
    bool ok = n && BN_to_ASN1_INTEGER(n, X509_get_serialNumber(cert));
    BN_free(n);
    return ok;
}

static bool set_names(X509 *cert, const char *host)
{
    const char *common = strlen(host) <= COMMON_NAME_MAX ? host : NODE_NAME;
    X509_NAME *name = X509_NAME_new();
    bool ok = name &&
              X509_NAME_add_entry_by_NID(name, NID_commonName, MBSTRING_UTF8, (const unsigned char *)common,
                                         -1, -1, 0) &&
              X509_set_subject_name(cert, name) && X509_set_issuer_name(cert, name);
    X509_NAME_free(name);
    return ok;
}

/* Built piece by piece, not from OpenSSL's configuration text: a comma in `host` must not add a second name.
 */
static bool set_alt_name(X509 *cert, const char *host)
{
    GENERAL_NAMES *names = sk_GENERAL_NAME_new_null();
    GENERAL_NAME *name = GENERAL_NAME_new();
    ASN1_OCTET_STRING *ip = a2i_IPADDRESS(host);
    ASN1_IA5STRING *dns = ip ? NULL : ASN1_IA5STRING_new();
    bool ok = names && name && (ip || (dns && ASN1_STRING_set(dns, host, -1)));
    if (ok)
        GENERAL_NAME_set0_value(name, ip ? GEN_IPADD : GEN_DNS, ip ? (void *)ip : (void *)dns);
    if (ok && sk_GENERAL_NAME_push(names, name) > 0) {
        ok = X509_add1_ext_i2d(cert, NID_subject_alt_name, names, 0, X509V3_ADD_DEFAULT) == 1;
    } else {
        if (!ok) {
            ASN1_OCTET_STRING_free(ip);
            ASN1_IA5STRING_free(dns);
        }
        GENERAL_NAME_free(name);
        ok = false;
    }
    sk_GENERAL_NAME_pop_free(names, GENERAL_NAME_free);
    return ok;
}

static bool set_extension(X509 *cert, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509V3_set_ctx_nodb(&ctx);
    X509V3_set_ctx(&ctx, cert, cert, NULL, NULL, 0);
    X509_EXTENSION *ext = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    bool ok = ext && X509_add_ext(cert, ext, -1);
    X509_EXTENSION_free(ext);
    return ok;
}

static bool set_times(X509 *cert, uint64_t not_before, unsigned days)
{
    time_t from = (time_t)not_before;
    return X509_time_adj_ex(X509_getm_notBefore(cert), 0, 0, &from) &&
           X509_time_adj_ex(X509_getm_notAfter(cert), (int)days, 0, &from);
}

static X509 *cert_new(enum cert_kind kind, const char *host, uint64_t not_before, unsigned days,
                      EVP_PKEY *key)
{
    X509 *cert = X509_new();
    bool ok = cert && X509_set_version(cert, X509_VERSION_3) && set_serial(cert) && set_names(cert, host) &&
              set_times(cert, not_before, days) && X509_set_pubkey(cert, key) && set_alt_name(cert, host) &&
              set_extension(cert, NID_basic_constraints, "critical,CA:FALSE") &&
              set_extension(cert, NID_key_usage, "critical,digitalSignature") &&
              set_extension(cert, NID_ext_key_usage, "serverAuth") &&
              set_extension(cert, NID_subject_key_identifier, "hash") &&
              /* ML-DSA brings its own hash. */
              X509_sign(cert, key, kind == CERT_MLDSA87 ? NULL : EVP_sha256()) > 0;
    if (ok)
        return cert;
    X509_free(cert);
    return NULL;
}

X509 *x509_node_new(EVP_PKEY *key)
{
    X509 *cert = X509_new();
    bool ok = cert && X509_set_version(cert, X509_VERSION_3) && set_serial(cert) &&
              set_names(cert, NODE_NAME) && ASN1_TIME_set_string_X509(X509_getm_notBefore(cert), NODE_FROM) &&
              ASN1_TIME_set_string_X509(X509_getm_notAfter(cert), NODE_UNTIL) && X509_set_pubkey(cert, key) &&
              set_extension(cert, NID_basic_constraints, "critical,CA:FALSE") &&
              set_extension(cert, NID_key_usage, "critical,digitalSignature") &&
              set_extension(cert, NID_ext_key_usage, "serverAuth,clientAuth") &&
              X509_sign(cert, key, NULL) > 0;
    if (ok)
        return cert;
    X509_free(cert);
    ERR_clear_error();
    return NULL;
}

/* Both texts or neither. */
static int put_both(struct buf *cert_pem, BIO *cert, struct buf *key_pem, BIO *key)
{
    char *cert_text, *key_text;
    long cert_len = BIO_get_mem_data(cert, &cert_text), key_len = BIO_get_mem_data(key, &key_text);
    if (cert_len <= 0 || key_len <= 0 || !buf_room(cert_pem, (size_t)cert_len))
        return -EIO;
    if (buf_add(key_pem, bytes_of(key_text, (size_t)key_len)) < 0)
        return -EIO;
    return buf_add(cert_pem, bytes_of(cert_text, (size_t)cert_len)) < 0 ? -EIO : 0;
}

int x509_self_signed(enum cert_kind kind, const char *host, uint64_t not_before_unix_s, unsigned days,
                     struct buf *cert_pem, struct buf *key_pem)
{
    crypto_init();
    size_t host_len = strnlen(host, DNS_NAME_MAX + 1);
    if (host_len == 0 || host_len > DNS_NAME_MAX || days == 0 || days > INT_MAX)
        return -EIO;
    EVP_PKEY *key = key_new(kind);
    X509 *cert = key ? cert_new(kind, host, not_before_unix_s, days, key) : NULL;
    /* OpenSSL wipes a memory BIO when it frees it. */
    BIO *cert_out = BIO_new(BIO_s_mem()), *key_out = BIO_new(BIO_s_mem());
    int rc = -EIO;
    if (cert && cert_out && key_out && PEM_write_bio_X509(cert_out, cert) &&
        PEM_write_bio_PrivateKey(key_out, key, NULL, NULL, 0, NULL, NULL))
        rc = put_both(cert_pem, cert_out, key_pem, key_out);
    BIO_free(key_out);
    BIO_free(cert_out);
    X509_free(cert);
    EVP_PKEY_free(key);
    ERR_clear_error();
    return rc;
}

int x509_fingerprint(struct bytes pem, uint8_t fp[CERT_FP_LEN])
{
    STACK_OF(X509) *certs = pem_certs(pem);
    if (!certs)
        return -EBADMSG;
    uint8_t *der = NULL;
    int len = i2d_X509(sk_X509_value(certs, 0), &der);
    sk_X509_pop_free(certs, X509_free);
    if (len <= 0)
        return -EBADMSG;
    struct bytes part = bytes_of(der, (size_t)len);
    sha256(fp, &part, 1);
    OPENSSL_free(der);
    return 0;
}

int x509_not_after(struct bytes pem, uint64_t *unix_s)
{
    STACK_OF(X509) *certs = pem_certs(pem);
    if (!certs)
        return -EBADMSG;
    ASN1_TIME *epoch = ASN1_TIME_set(NULL, 0);
    int days, seconds;
    bool ok = epoch && ASN1_TIME_diff(&days, &seconds, epoch, X509_get0_notAfter(sk_X509_value(certs, 0))) &&
              days >= 0 && seconds >= 0;
    if (ok)
        *unix_s = (uint64_t)days * 86400 + (uint64_t)seconds;
    ASN1_TIME_free(epoch);
    sk_X509_pop_free(certs, X509_free);
    ERR_clear_error();
    return ok ? 0 : -EBADMSG;
}
