#include "crypto/x509.h"

#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <setjmp.h>
#include <string.h>
#include <cmocka.h>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "crypto/secret.h"

#define FROM 1795255200u /* 2026-11-21 10:00 UTC */
#define DAY  86400u

struct pair {
    struct buf cert, key;
};

static void pair_make(struct pair *p, enum cert_kind kind, const char *host)
{
    buf_init(&p->cert, 65536);
    buf_init(&p->key, 65536);
    assert_int_equal(x509_self_signed(kind, host, FROM, 90, &p->cert, &p->key), 0);
}

static void pair_done(struct pair *p)
{
    wipe(p->key.p, p->key.n);
    buf_done(&p->cert);
    buf_done(&p->key);
}

static X509 *parse(const struct pair *p)
{
    BIO *in = BIO_new_mem_buf(p->cert.p, (int)p->cert.n);
    X509 *x = PEM_read_bio_X509(in, NULL, NULL, NULL);
    BIO_free(in);
    assert_non_null(x);
    return x;
}

static void a_certificate_that_verifies(void **state)
{
    static const struct {
        enum cert_kind kind;
        const char *algorithm;
    } cases[] = {{CERT_MLDSA87, "ML-DSA-87"}, {CERT_ECDSA_P256, "EC"}};
    for (size_t i = 0; i < 2; i++) {
        struct pair p;
        pair_make(&p, cases[i].kind, "hub.example.org");
        X509 *x = parse(&p);
        BIO *in = BIO_new_mem_buf(p.key.p, (int)p.key.n);
        EVP_PKEY *key = PEM_read_bio_PrivateKey(in, NULL, NULL, NULL);
        assert_non_null(key);
        assert_int_equal(EVP_PKEY_is_a(key, cases[i].algorithm), 1);
        assert_int_equal(X509_check_private_key(x, key), 1);
        assert_int_equal(X509_verify(x, key), 1);
        assert_int_equal(X509_get_version(x), X509_VERSION_3);
        assert_int_equal(X509_check_host(x, "hub.example.org", 0, 0, NULL), 1);
        assert_int_equal(X509_check_host(x, "other.example.org", 0, 0, NULL), 0);
        assert_int_equal(X509_check_ca(x), 0);
        assert_int_equal(X509_get_key_usage(x), KU_DIGITAL_SIGNATURE);
        assert_int_equal(X509_get_extended_key_usage(x), XKU_SSL_SERVER);
        assert_true(X509_check_purpose(x, X509_PURPOSE_SSL_SERVER, 0) == 1);
        assert_in_range(ASN1_STRING_length(X509_get0_serialNumber(x)), 16, 16);
        EVP_PKEY_free(key);
        BIO_free(in);
        X509_free(x);
        pair_done(&p);
    }
}

static void hosts(void **state)
{
    char longest[254], too_long[255];
    memset(longest, 'a', sizeof longest);
    for (size_t i = 50; i < sizeof longest; i += 51)
        longest[i] = '.';
    longest[253] = 0;
    snprintf(too_long, sizeof too_long, "%sx", longest);
    static const char *const ips[] = {"192.0.2.7", "2001:db8::7"};
    for (size_t i = 0; i < 2; i++) {
        struct pair p;
        pair_make(&p, CERT_ECDSA_P256, ips[i]);
        X509 *x = parse(&p);
        assert_int_equal(X509_check_ip_asc(x, ips[i], 0), 1);
        assert_int_equal(X509_check_ip_asc(x, "192.0.2.8", 0), 0);
        X509_free(x);
        pair_done(&p);
    }
    struct pair p;
    pair_make(&p, CERT_ECDSA_P256, longest);
    X509 *x = parse(&p);
    assert_int_equal(X509_check_host(x, longest, 0, 0, NULL), 1);
    X509_free(x);
    pair_done(&p);
    /* A comma does not make a second name of it. */
    pair_make(&p, CERT_ECDSA_P256, "a.example,DNS:b.example");
    x = parse(&p);
    assert_int_equal(X509_check_host(x, "b.example", 0, 0, NULL), 0);
    GENERAL_NAMES *names = X509_get_ext_d2i(x, NID_subject_alt_name, NULL, NULL);
    assert_int_equal(sk_GENERAL_NAME_num(names), 1);
    GENERAL_NAMES_free(names);
    X509_free(x);
    pair_done(&p);
    struct buf cert, key;
    buf_init(&cert, 65536);
    buf_init(&key, 65536);
    assert_int_equal(x509_self_signed(CERT_ECDSA_P256, "", FROM, 90, &cert, &key), -EIO);
    assert_int_equal(x509_self_signed(CERT_ECDSA_P256, too_long, FROM, 90, &cert, &key), -EIO);
    assert_int_equal(x509_self_signed(CERT_ECDSA_P256, "a", FROM, 0, &cert, &key), -EIO);
    assert_int_equal(cert.n + key.n, 0);
}

static void times(void **state)
{
    static const struct {
        uint64_t from;
        unsigned days;
    } cases[] = {{FROM, 90}, {0, 1}, {2524607999u, 1}, {FROM, 36500}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct buf cert, key;
        buf_init(&cert, 65536);
        buf_init(&key, 65536);
        uint64_t until = 0;
        assert_int_equal(x509_self_signed(CERT_ECDSA_P256, "a", cases[i].from, cases[i].days, &cert, &key),
                         0);
        assert_int_equal(x509_not_after(buf_bytes(&cert), &until), 0);
        assert_true(until == cases[i].from + (uint64_t)cases[i].days * DAY);
        buf_done(&cert);
        buf_done(&key);
    }
}

static void fingerprints(void **state)
{
    struct pair p, q;
    uint8_t fp[CERT_FP_LEN], other[CERT_FP_LEN], want[EVP_MAX_MD_SIZE];
    pair_make(&p, CERT_ECDSA_P256, "a.example");
    pair_make(&q, CERT_ECDSA_P256, "a.example");
    assert_int_equal(x509_fingerprint(buf_bytes(&p.cert), fp), 0);
    assert_int_equal(x509_fingerprint(buf_bytes(&q.cert), other), 0);
    assert_memory_not_equal(fp, other, sizeof fp);
    X509 *x = parse(&p);
    unsigned n;
    assert_int_equal(X509_digest(x, EVP_sha256(), want, &n), 1);
    assert_memory_equal(fp, want, sizeof fp);
    X509_free(x);
    /* The first of several, and text around it does not matter. */
    struct buf both;
    buf_init(&both, 100000);
    assert_int_equal(buf_add_str(&both, "# a comment\n"), 0);
    assert_int_equal(buf_add(&both, buf_bytes(&p.cert)), 0);
    assert_int_equal(buf_add(&both, buf_bytes(&q.cert)), 0);
    assert_int_equal(x509_fingerprint(buf_bytes(&both), other), 0);
    assert_memory_equal(fp, other, sizeof fp);
    buf_done(&both);
    pair_done(&q);
    pair_done(&p);
}

static void refuses_what_is_no_certificate(void **state)
{
    struct pair p;
    uint8_t fp[CERT_FP_LEN];
    uint64_t until;
    pair_make(&p, CERT_ECDSA_P256, "a.example");
    struct bytes cert = buf_bytes(&p.cert);
    assert_int_equal(x509_fingerprint(bytes_of(NULL, 0), fp), -EBADMSG);
    assert_int_equal(x509_fingerprint(bytes_of_str("hello"), fp), -EBADMSG);
    assert_int_equal(x509_fingerprint(buf_bytes(&p.key), fp), -EBADMSG);
    assert_int_equal(x509_not_after(bytes_of_str("-----BEGIN CERTIFICATE-----\n"), &until), -EBADMSG);
    /* The last line break and the one before it are not needed; everything else is. */
    for (size_t n = 0; n + 1 < cert.n; n++) {
        uint8_t *copy = malloc(n + 1);
        memcpy(copy, cert.p, n);
        assert_int_equal(x509_fingerprint(bytes_of(copy, n), fp), -EBADMSG);
        free(copy);
    }
    assert_int_equal(ERR_peek_error(), 0);
    pair_done(&p);
}

static void too_small_a_buffer_changes_nothing(void **state)
{
    struct buf cert, key;
    buf_init(&cert, 65536);
    buf_init(&key, 10);
    assert_int_equal(x509_self_signed(CERT_ECDSA_P256, "a", FROM, 90, &cert, &key), -EIO);
    assert_int_equal(cert.n + key.n, 0);
    buf_done(&cert);
    buf_done(&key);
    buf_init(&cert, 10);
    buf_init(&key, 65536);
    assert_int_equal(x509_self_signed(CERT_ECDSA_P256, "a", FROM, 90, &cert, &key), -EIO);
    assert_int_equal(cert.n + key.n, 0);
    buf_done(&cert);
    buf_done(&key);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_certificate_that_verifies),
        cmocka_unit_test(hosts),
        cmocka_unit_test(times),
        cmocka_unit_test(fingerprints),
        cmocka_unit_test(refuses_what_is_no_certificate),
        cmocka_unit_test(too_small_a_buffer_changes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
