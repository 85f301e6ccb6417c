#include "crypto/tls.h"

#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <string.h>
#include <cmocka.h>

#include <openssl/err.h>
#include <openssl/ssl.h>

#include "crypto/init.h"

#define FROM 1795255200u /* 2026-11-21 10:00 UTC */

/* A hub's certificates, made once: an ML-DSA-87 key costs more than all the handshakes. */
static struct buf mldsa_cert, mldsa_key, ecdsa_cert, ecdsa_key;
static uint8_t mldsa_pin[CERT_FP_LEN], ecdsa_pin[CERT_FP_LEN];

static int make_certificates(void **state)
{
    crypto_init();
    struct buf *all[] = {&mldsa_cert, &mldsa_key, &ecdsa_cert, &ecdsa_key};
    for (size_t i = 0; i < 4; i++)
        buf_init(all[i], 65536);
    if (x509_self_signed(CERT_MLDSA87, "hub.test", FROM, 90, &mldsa_cert, &mldsa_key) < 0 ||
        x509_self_signed(CERT_ECDSA_P256, "hub.test", FROM, 90, &ecdsa_cert, &ecdsa_key) < 0)
        return -1;
    return x509_fingerprint(buf_bytes(&mldsa_cert), mldsa_pin) |
           x509_fingerprint(buf_bytes(&ecdsa_cert), ecdsa_pin);
}

static int drop_certificates(void **state)
{
    buf_done(&mldsa_cert);
    buf_done(&mldsa_key);
    buf_done(&ecdsa_cert);
    buf_done(&ecdsa_key);
    return 0;
}

static SSL_CTX *server_ctx(void)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
    assert_int_equal(tls_server_setup(ctx, buf_bytes(&mldsa_cert), buf_bytes(&mldsa_key),
                                      buf_bytes(&ecdsa_cert), buf_bytes(&ecdsa_key)),
                     0);
    return ctx;
}

/* Someone else's client: no configuration of ours. */
static SSL_CTX *foreign_ctx(void)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_verify(ctx, SSL_VERIFY_NONE, NULL);
    return ctx;
}

struct pair {
    SSL *client, *server;
    bool done; /* both are through */
};

static bool step(SSL *ssl, bool *failed)
{
    int rc = SSL_do_handshake(ssl);
    if (rc == 1)
        return true;
    int why = SSL_get_error(ssl, rc);
    *failed = *failed || (why != SSL_ERROR_WANT_READ && why != SSL_ERROR_WANT_WRITE);
    return false;
}

/* Runs the handshake over two memory pipes and takes over the contexts. */
static struct pair connect_pair(SSL_CTX *client, SSL_CTX *server)
{
    struct pair p = {SSL_new(client), SSL_new(server), false};
    BIO *c, *s;
    assert_int_equal(BIO_new_bio_pair(&c, 65536, &s, 65536), 1);
    SSL_set_bio(p.client, c, c);
    SSL_set_bio(p.server, s, s);
    SSL_set_connect_state(p.client);
    SSL_set_accept_state(p.server);
    SSL_set_tlsext_host_name(p.client, "hub.test");
    bool client_failed = false, server_failed = false, client_ok = false, server_ok = false;
    for (int i = 0; i < 20 && !p.done; i++) {
        client_ok = !client_failed && step(p.client, &client_failed);
        server_ok = !server_failed && step(p.server, &server_failed);
        p.done = client_ok && server_ok;
    }
    /* As the library above does before it tells its user. */
    ERR_clear_error();
    SSL_CTX_free(client);
    SSL_CTX_free(server);
    return p;
}

static void pair_done(struct pair *p)
{
    SSL_free(p->client);
    SSL_free(p->server);
}

static const char *shown_algorithm(const struct pair *p)
{
    X509 *x = SSL_get0_peer_certificate(p->client);
    assert_non_null(x);
    return EVP_PKEY_get0_type_name(X509_get0_pubkey(x));
}

static void a_pinned_node(void **state)
{
    struct pair p = connect_pair(tls_client_ctx_new(mldsa_pin), server_ctx());
    assert_true(p.done);
    assert_string_equal(shown_algorithm(&p), "ML-DSA-87");
    assert_string_equal(SSL_get_version(p.client), "TLSv1.3");
    assert_string_equal(SSL_get0_group_name(p.client), "X25519MLKEM768");
    assert_int_equal(SSL_get_verify_result(p.client), X509_V_OK);
    assert_string_equal(tls_last_error(), "");
    /* Data both ways. */
    char in[8];
    assert_int_equal(SSL_write(p.client, "hello", 5), 5);
    assert_int_equal(SSL_read(p.server, in, sizeof in), 5);
    assert_memory_equal(in, "hello", 5);
    assert_int_equal(SSL_write(p.server, "hi", 2), 2);
    assert_int_equal(SSL_read(p.client, in, sizeof in), 2);
    pair_done(&p);
}

static void a_wrong_pin(void **state)
{
    for (size_t bit = 0; bit < 8 * CERT_FP_LEN; bit += 85) {
        uint8_t pin[CERT_FP_LEN];
        memcpy(pin, mldsa_pin, sizeof pin);
        pin[bit / 8] ^= (uint8_t)(1 << bit % 8);
        struct pair p = connect_pair(tls_client_ctx_new(pin), server_ctx());
        assert_false(p.done);
        assert_non_null(strstr(tls_last_error(), "does not match"));
        assert_false(SSL_is_init_finished(p.client));
        pair_done(&p);
    }
    /* The hub's other certificate is not the one of the invite either. */
    struct pair p = connect_pair(tls_client_ctx_new(ecdsa_pin), server_ctx());
    assert_false(p.done);
    pair_done(&p);
    /* The error of one connection does not stay for the next. */
    p = connect_pair(tls_client_ctx_new(mldsa_pin), server_ctx());
    assert_true(p.done);
    assert_string_equal(tls_last_error(), "");
    pair_done(&p);
}

static void the_pin_is_copied_and_replaced(void **state)
{
    uint8_t pin[CERT_FP_LEN];
    memcpy(pin, ecdsa_pin, sizeof pin);
    SSL_CTX *client = tls_client_ctx_new(pin);
    memcpy(pin, mldsa_pin, sizeof pin);
    assert_int_equal(tls_client_setup(client, pin), 0);
    memset(pin, 0, sizeof pin);
    struct pair p = connect_pair(client, server_ctx());
    assert_true(p.done);
    pair_done(&p);
}

static void without_a_pin_authorities_decide(void **state)
{
    struct pair p = connect_pair(tls_client_ctx_new(NULL), server_ctx());
    assert_false(p.done);
    assert_non_null(strstr(tls_last_error(), "self-signed"));
    pair_done(&p);
}

static void a_browser_is_shown_ecdsa(void **state)
{
    SSL_CTX *browser = foreign_ctx();
    assert_int_equal(SSL_CTX_set1_sigalgs_list(browser, "ecdsa_secp256r1_sha256:rsa_pss_rsae_sha256"), 1);
    assert_int_equal(SSL_CTX_set1_groups_list(browser, "X25519"), 1);
    struct pair p = connect_pair(browser, server_ctx());
    assert_true(p.done);
    assert_string_equal(shown_algorithm(&p), "EC");
    assert_string_equal(SSL_get0_group_name(p.client), "x25519");
    pair_done(&p);
}

/* Whoever can check ML-DSA is shown it, even where its own preference is another. */
static void the_server_prefers_mldsa(void **state)
{
    SSL_CTX *client = foreign_ctx();
    assert_int_equal(SSL_CTX_set1_sigalgs_list(client, "ecdsa_secp256r1_sha256:mldsa87"), 1);
    struct pair p = connect_pair(client, server_ctx());
    assert_true(p.done);
    assert_string_equal(shown_algorithm(&p), "ML-DSA-87");
    pair_done(&p);
}

/* A client that guesses X25519 but knows a hybrid group is asked again. */
static void the_server_prefers_hybrids(void **state)
{
    static const struct {
        const char *client, *agreed;
    } cases[] = {
        {"*X25519:X25519MLKEM768", "X25519MLKEM768"},
        {"*P-256:SecP384r1MLKEM1024", "SecP384r1MLKEM1024"},
        {"*SecP384r1MLKEM1024", "SecP384r1MLKEM1024"},
        {"P-256", "secp256r1"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        SSL_CTX *client = foreign_ctx();
        assert_int_equal(SSL_CTX_set1_groups_list(client, cases[i].client), 1);
        struct pair p = connect_pair(client, server_ctx());
        assert_true(p.done);
        assert_string_equal(SSL_get0_group_name(p.client), cases[i].agreed);
        pair_done(&p);
    }
}

static void tls12_is_refused(void **state)
{
    SSL_CTX *old = foreign_ctx();
    SSL_CTX_set_max_proto_version(old, TLS1_2_VERSION);
    struct pair p = connect_pair(old, server_ctx());
    assert_false(p.done);
    assert_string_equal(tls_last_error(), "the other side does not speak TLS 1.3");
    pair_done(&p);
    /* And our client does not go down for a server. */
    SSL_CTX *server = SSL_CTX_new(TLS_server_method());
    assert_int_equal(tls_server_setup(server, bytes_of(NULL, 0), bytes_of(NULL, 0), buf_bytes(&ecdsa_cert),
                                      buf_bytes(&ecdsa_key)),
                     0);
    SSL_CTX_set_min_proto_version(server, TLS1_2_VERSION);
    SSL_CTX_set_max_proto_version(server, TLS1_2_VERSION);
    SSL_CTX_set1_groups_list(server, "X25519");
    p = connect_pair(tls_client_ctx_new(ecdsa_pin), server);
    assert_false(p.done);
    pair_done(&p);
}

static void groups_out_of_the_list_are_refused(void **state)
{
    SSL_CTX *client = foreign_ctx();
    assert_int_equal(SSL_CTX_set1_groups_list(client, "X448:P-521"), 1);
    struct pair p = connect_pair(client, server_ctx());
    assert_false(p.done);
    pair_done(&p);
    /* A pinned node does without a server that has no hybrid. */
    SSL_CTX *server = server_ctx();
    assert_int_equal(SSL_CTX_set1_groups_list(server, "X25519:P-256"), 1);
    p = connect_pair(tls_client_ctx_new(mldsa_pin), server);
    assert_false(p.done);
    assert_non_null(strstr(tls_last_error(), "in common"));
    pair_done(&p);
}

static void bindings(void **state)
{
    uint8_t a[TLS_BINDING_LEN], b[TLS_BINDING_LEN], c[TLS_BINDING_LEN];
    struct pair p = connect_pair(tls_client_ctx_new(mldsa_pin), server_ctx());
    struct pair q = connect_pair(tls_client_ctx_new(mldsa_pin), server_ctx());
    assert_int_equal(tls_binding(p.client, a), 0);
    assert_int_equal(tls_binding(p.server, b), 0);
    assert_int_equal(tls_binding(q.client, c), 0);
    assert_memory_equal(a, b, sizeof a);
    assert_memory_not_equal(a, c, sizeof a);
    pair_done(&p);
    pair_done(&q);
    SSL_CTX *ctx = tls_client_ctx_new(mldsa_pin);
    SSL *early = SSL_new(ctx);
    assert_int_equal(tls_binding(early, a), -EIO);
    SSL_free(early);
    tls_ctx_free(ctx);
    tls_ctx_free(NULL);
}

static void settings(void **state)
{
    SSL_CTX *ctx = server_ctx();
    assert_int_equal(SSL_CTX_get_min_proto_version(ctx), TLS1_3_VERSION);
    assert_int_equal(SSL_CTX_get_num_tickets(ctx), 1);
    assert_int_equal(SSL_CTX_get_session_cache_mode(ctx), SSL_SESS_CACHE_OFF);
    assert_true(SSL_CTX_get_mode(ctx) & SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_free(ctx);
}

static void refuses_what_does_not_fit(void **state)
{
    struct bytes none = bytes_of(NULL, 0), mc = buf_bytes(&mldsa_cert), mk = buf_bytes(&mldsa_key),
                 ec = buf_bytes(&ecdsa_cert), ek = buf_bytes(&ecdsa_key), junk = bytes_of_str("no PEM");
    struct bytes half = bytes_of(ec.p, ec.n / 2);
    const struct {
        struct bytes mc, mk, ec, ek;
        int rc;
    } cases[] = {
        {mc, mk, ec, ek, 0},
        {mc, mk, none, none, 0},
        {none, none, ec, ek, 0},
        {mc, ek, none, none, -EBADMSG},
        {none, none, ec, mk, -EBADMSG},
        {mc, none, none, none, -EBADMSG},
        {none, mk, ec, ek, -EBADMSG},
        {mc, mk, junk, ek, -EBADMSG},
        {mc, mk, ec, junk, -EBADMSG},
        {mc, mk, half, ek, -EBADMSG},
        {mk, mc, ec, ek, -EBADMSG},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
        assert_int_equal(tls_server_setup(ctx, cases[i].mc, cases[i].mk, cases[i].ec, cases[i].ek),
                         cases[i].rc);
        assert_int_equal(ERR_peek_error(), 0);
        SSL_CTX_free(ctx);
    }
}

/* A certificate given by the operator comes with the authority's behind it: all are sent, in their order. */
static void chains_are_sent(void **state)
{
    struct buf chain;
    buf_init(&chain, 65536);
    assert_int_equal(buf_add(&chain, buf_bytes(&ecdsa_cert)), 0);
    assert_int_equal(buf_add(&chain, buf_bytes(&mldsa_cert)), 0);
    SSL_CTX *server = SSL_CTX_new(TLS_server_method());
    assert_int_equal(tls_server_setup(server, bytes_of(NULL, 0), bytes_of(NULL, 0), buf_bytes(&chain),
                                      buf_bytes(&ecdsa_key)),
                     0);
    struct pair p = connect_pair(foreign_ctx(), server);
    assert_true(p.done);
    assert_string_equal(shown_algorithm(&p), "EC");
    assert_int_equal(sk_X509_num(SSL_get_peer_cert_chain(p.client)), 2);
    pair_done(&p);
    buf_done(&chain);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_pinned_node),
        cmocka_unit_test(a_wrong_pin),
        cmocka_unit_test(the_pin_is_copied_and_replaced),
        cmocka_unit_test(without_a_pin_authorities_decide),
        cmocka_unit_test(a_browser_is_shown_ecdsa),
        cmocka_unit_test(the_server_prefers_mldsa),
        cmocka_unit_test(the_server_prefers_hybrids),
        cmocka_unit_test(tls12_is_refused),
        cmocka_unit_test(groups_out_of_the_list_are_refused),
        cmocka_unit_test(bindings),
        cmocka_unit_test(settings),
        cmocka_unit_test(refuses_what_does_not_fit),
        cmocka_unit_test(chains_are_sent),
    };
    return cmocka_run_group_tests(tests, make_certificates, drop_certificates);
}
