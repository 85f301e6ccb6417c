#include "crypto/tls_engine.h"

#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include <openssl/err.h>
#include <openssl/ssl.h>

#include "crypto/tls.h"

#define FROM 1795255200u /* 2026-11-21 10:00 UTC */

/* Made once: three nodes. */
static struct tls_node *nodes[3];

static int make_nodes(void **state)
{
    for (int i = 0; i < 3; i++) {
        uint8_t seed[MLDSA_SEED_LEN];
        memset(seed, i + 1, sizeof seed);
        nodes[i] = tls_node_new(seed);
        uint8_t pub[MLDSA_PUBLIC_LEN];
        if (!nodes[i] || mldsa_public(pub, seed) < 0 || memcmp(pub, tls_node_key(nodes[i]), sizeof pub))
            return -1;
    }
    return 0;
}

static int drop_nodes(void **state)
{
    for (int i = 0; i < 3; i++)
        tls_node_free(nodes[i]);
    return 0;
}

struct pair {
    struct tls_engine *c, *s;
    int flip; /* which byte that the server gets is changed; -1: none */
};

/* Carries once what waits in `from`; false: nothing did. */
static bool carry(struct tls_engine *from, struct tls_engine *to, int flip)
{
    struct buf b;
    buf_init(&b, 1 << 20);
    assert_int_equal(tls_engine_pull(from, &b), 0);
    bool some = b.n > 0;
    if (flip >= 0 && (size_t)flip < b.n)
        b.p[flip] ^= 1;
    if (some)
        tls_engine_feed(to, buf_bytes(&b));
    buf_done(&b);
    return some;
}

static void shake(struct pair *p)
{
    assert_non_null(p->c);
    assert_non_null(p->s);
    for (int i = 0; i < 20; i++) {
        bool some = carry(p->c, p->s, i == 0 ? p->flip : -1);
        some |= carry(p->s, p->c, -1);
        if (!some)
            break;
    }
}

static void pair_done(struct pair *p)
{
    tls_engine_free(p->c);
    tls_engine_free(p->s);
    assert_int_equal(ERR_peek_error(), 0);
}

static void says(struct tls_engine *from, struct tls_engine *to, const char *text)
{
    char got[64] = "";
    assert_int_equal(tls_engine_write(from, bytes_of_str(text)), 0);
    assert_true(carry(from, to, -1));
    assert_int_equal(tls_engine_read(to, (uint8_t *)got, sizeof got - 1), strlen(text));
    assert_string_equal(got, text);
    assert_int_equal(tls_engine_read(to, (uint8_t *)got, sizeof got), 0);
}

static void both_ends_prove_their_keys(void **state)
{
    for (int particular = 0; particular < 2; particular++) {
        struct pair p = {tls_engine_client(nodes[0], tls_node_key(nodes[1])),
                         tls_engine_server(nodes[1], particular ? tls_node_key(nodes[0]) : NULL), -1};
        assert_int_equal(tls_engine_write(p.c, bytes_of_str("early")), -EPROTO);
        shake(&p);
        assert_int_equal(tls_engine_state(p.c), TLS_OPEN);
        assert_int_equal(tls_engine_state(p.s), TLS_OPEN);
        assert_string_equal(tls_engine_error(p.c), "");
        assert_memory_equal(tls_engine_peer_key(p.c), tls_node_key(nodes[1]), MLDSA_PUBLIC_LEN);
        assert_memory_equal(tls_engine_peer_key(p.s), tls_node_key(nodes[0]), MLDSA_PUBLIC_LEN);
        says(p.c, p.s, "ping");
        says(p.s, p.c, "pong");
        tls_engine_close(p.c);
        assert_int_equal(tls_engine_state(p.c), TLS_CLOSED);
        assert_true(carry(p.c, p.s, -1));
        uint8_t byte;
        assert_int_equal(tls_engine_read(p.s, &byte, 1), 0);
        assert_int_equal(tls_engine_state(p.s), TLS_CLOSED);
        pair_done(&p);
    }
}

static void no_tickets_are_given(void **state)
{
    struct pair p = {tls_engine_client(nodes[0], tls_node_key(nodes[1])), tls_engine_server(nodes[1], NULL),
                     -1};
    shake(&p);
    assert_int_equal(tls_engine_state(p.s), TLS_OPEN);
    assert_false(carry(p.s, p.c, -1));
    pair_done(&p);
}

static void another_key_is_refused(void **state)
{
    struct pair p = {tls_engine_client(nodes[0], tls_node_key(nodes[2])), tls_engine_server(nodes[1], NULL),
                     -1};
    shake(&p);
    assert_int_equal(tls_engine_state(p.c), TLS_FAILED);
    assert_non_null(strstr(tls_engine_error(p.c), "not who was dialled"));
    assert_int_equal(tls_engine_state(p.s), TLS_FAILED);
    assert_non_null(strstr(tls_engine_error(p.s), "refused our certificate"));
    assert_int_equal(tls_engine_feed(p.c, bytes_of_str("more")), -EPROTO);
    pair_done(&p);

    struct pair q = {tls_engine_client(nodes[0], tls_node_key(nodes[1])),
                     tls_engine_server(nodes[1], tls_node_key(nodes[2])), -1};
    shake(&q);
    assert_int_equal(tls_engine_state(q.s), TLS_FAILED);
    assert_non_null(strstr(tls_engine_error(q.s), "not who was dialled"));
    pair_done(&q);
}

static void one_bit_of_the_hello_spoils_it(void **state)
{
    for (int at = 5; at < 1340; at += 89) {
        struct pair p = {tls_engine_client(nodes[0], tls_node_key(nodes[1])),
                         tls_engine_server(nodes[1], NULL), at};
        shake(&p);
        if (tls_engine_state(p.c) == TLS_OPEN && tls_engine_state(p.s) == TLS_OPEN)
            fail_msg("byte %d changed, and nobody saw it", at);
        pair_done(&p);
    }
}

/* A foreign client of these means; whether it gets in. */
static bool foreign_enters(const char *groups, int version, struct tls_engine *s)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_verify(ctx, SSL_VERIFY_NONE, NULL);
    SSL_CTX_set_max_proto_version(ctx, version);
    assert_int_equal(SSL_CTX_set1_groups_list(ctx, groups), 1);
    SSL *ssl = SSL_new(ctx);
    SSL_set_bio(ssl, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
    SSL_set_connect_state(ssl);
    bool open = false;
    for (int i = 0; i < 10 && !open; i++) {
        uint8_t b[32768];
        SSL_do_handshake(ssl);
        int n = BIO_read(SSL_get_wbio(ssl), b, sizeof b);
        if (n > 0)
            tls_engine_feed(s, bytes_of(b, (size_t)n));
        struct buf back;
        buf_init(&back, 1 << 20);
        assert_int_equal(tls_engine_pull(s, &back), 0);
        if (back.n)
            BIO_write(SSL_get_rbio(ssl), back.p, (int)back.n);
        buf_done(&back);
        open = tls_engine_state(s) == TLS_OPEN;
    }
    SSL_free(ssl);
    SSL_CTX_free(ctx);
    ERR_clear_error();
    return open;
}

static void only_hybrid_groups_and_tls_13(void **state)
{
    static const struct {
        const char *groups;
        int version;
        bool particular, enters;
    } cases[] = {{"X25519MLKEM768", TLS1_3_VERSION, false, true},
                 {"SecP384r1MLKEM1024", TLS1_3_VERSION, false, true},
                 {"X25519", TLS1_3_VERSION, false, false},
                 {"P-256", TLS1_3_VERSION, false, false},
                 {"X25519", TLS1_2_VERSION, false, false},
                 {"X25519MLKEM768", TLS1_3_VERSION, true, false}}; /* shows no certificate */
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct tls_engine *s =
            tls_engine_server(nodes[1], cases[i].particular ? tls_node_key(nodes[0]) : NULL);
        assert_int_equal(foreign_enters(cases[i].groups, cases[i].version, s), cases[i].enters);
        assert_null(tls_engine_peer_key(s));
        if (!cases[i].enters) {
            assert_int_equal(tls_engine_state(s), TLS_FAILED);
            assert_true(*tls_engine_error(s));
        }
        tls_engine_free(s);
    }
}

static void garbage_is_refused_in_words(void **state)
{
    struct tls_engine *s = tls_engine_server(nodes[0], NULL);
    assert_int_equal(tls_engine_feed(s, bytes_of_str("GET / HTTP/1.1\r\nHost: x\r\n\r\n")), -EPROTO);
    assert_int_equal(tls_engine_state(s), TLS_FAILED);
    assert_true(*tls_engine_error(s));
    tls_engine_free(s);
}

/* A hub's kind of server whose certificate the "system" trusts: SSL_CERT_FILE names it. */
static struct tls_engine *public_client(const char *cert_for, const char *host, SSL **server, bool trusted)
{
    struct buf cert, key, none;
    char path[] = "/tmp/warren-tls-engine-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    buf_init(&cert, 65536);
    buf_init(&key, 65536);
    buf_init(&none, 1);
    assert_int_equal(x509_self_signed(CERT_ECDSA_P256, cert_for, FROM, 36500, &cert, &key), 0);
    if (trusted)
        assert_int_equal(write(fd, cert.p, cert.n), cert.n);
    close(fd);
    assert_int_equal(setenv("SSL_CERT_FILE", path, 1), 0);
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
    assert_int_equal(
        tls_server_setup(ctx, buf_bytes(&none), buf_bytes(&none), buf_bytes(&cert), buf_bytes(&key)), 0);
    *server = SSL_new(ctx);
    SSL_CTX_free(ctx);
    SSL_set_bio(*server, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
    SSL_set_accept_state(*server);
    struct tls_engine *e = tls_engine_public(host);
    unlink(path);
    buf_done(&cert);
    buf_done(&key);
    return e;
}

static void a_public_server_is_judged_by_authorities_and_name(void **state)
{
    static const struct {
        const char *cert_for, *host;
        bool trusted, opens;
        const char *why;
    } cases[] = {{"turn.test", "turn.test", true, true, ""},
                 {"192.0.2.7", "192.0.2.7", true, true, ""},
                 {"turn.test", "turn.test", false, false, "self-signed"},
                 {"turn.test", "other.test", true, false, "hostname mismatch"},
                 {"192.0.2.7", "192.0.2.8", true, false, "IP address mismatch"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        SSL *s;
        struct tls_engine *c = public_client(cases[i].cert_for, cases[i].host, &s, cases[i].trusted);
        assert_non_null(c);
        for (int turn = 0; turn < 5; turn++) {
            struct buf b;
            uint8_t back[32768];
            buf_init(&b, 1 << 20);
            assert_int_equal(tls_engine_pull(c, &b), 0);
            if (b.n)
                BIO_write(SSL_get_rbio(s), b.p, (int)b.n);
            buf_done(&b);
            SSL_do_handshake(s);
            int n = BIO_read(SSL_get_wbio(s), back, sizeof back);
            if (n > 0)
                tls_engine_feed(c, bytes_of(back, (size_t)n));
        }
        assert_int_equal(tls_engine_state(c), cases[i].opens ? TLS_OPEN : TLS_FAILED);
        if (!strstr(tls_engine_error(c), cases[i].why))
            fail_msg("%s", tls_engine_error(c));
        tls_engine_free(c);
        SSL_free(s);
        ERR_clear_error();
    }
    unsetenv("SSL_CERT_FILE");
}

static void pulling_into_too_little_loses_nothing(void **state)
{
    struct tls_engine *c = tls_engine_client(nodes[0], tls_node_key(nodes[1]));
    struct buf small, big;
    buf_init(&small, 100);
    buf_init(&big, 65536);
    assert_int_equal(tls_engine_pull(c, &small), -E2BIG);
    assert_int_equal(small.n, 0);
    assert_int_equal(tls_engine_pull(c, &big), 0);
    assert_true(big.n > 1200);
    assert_int_equal(big.p[0], 0x16);
    buf_done(&small);
    buf_done(&big);
    tls_engine_free(c);
}

/* RFC 6455 section 1.3. */
static void the_accept_of_the_rfc(void **state)
{
    char out[WEBSOCKET_ACCEPT_LEN + 1];
    websocket_accept(out, "dGhlIHNhbXBsZSBub25jZQ==");
    assert_string_equal(out, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_ends_prove_their_keys),
        cmocka_unit_test(no_tickets_are_given),
        cmocka_unit_test(another_key_is_refused),
        cmocka_unit_test(one_bit_of_the_hello_spoils_it),
        cmocka_unit_test(only_hybrid_groups_and_tls_13),
        cmocka_unit_test(garbage_is_refused_in_words),
        cmocka_unit_test(a_public_server_is_judged_by_authorities_and_name),
        cmocka_unit_test(pulling_into_too_little_loses_nothing),
        cmocka_unit_test(the_accept_of_the_rfc),
    };
    return cmocka_run_group_tests(tests, make_nodes, drop_nodes);
}
