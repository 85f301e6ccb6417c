#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <errno.h>
#include <string.h>

#include <cmocka.h>

#include "crypto/aead.h"
#include "wire/hs.h"

/* One of each message, filled with bytes that differ by place. */
static uint8_t kem[KEM_PUBLIC_LEN], sig[SIGN_SIG_LEN];

static void fill(void *p, size_t n, uint8_t from)
{
    for (size_t i = 0; i < n; i++)
        ((uint8_t *)p)[i] = (uint8_t)(from + i * 3);
}

static void heads_fill(struct hs_head *heads, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        fill(heads[i].party, 32, (uint8_t)i);
        heads[i].seq = 0x0102030405060700u + i;
        fill(heads[i].hash, 32, (uint8_t)(i + 100));
    }
}

static struct hs_hello a_hello(uint8_t heads)
{
    struct hs_hello m = {.sender = 0x11223344, .ciphers = 0x83, .head_count = heads};
    fill(m.from, sizeof m.from, 1);
    fill(m.to, sizeof m.to, 2);
    fill(m.nonce, sizeof m.nonce, 3);
    fill(m.dh, sizeof m.dh, 4);
    heads_fill(m.heads, heads);
    return m;
}

static struct hs_challenge a_challenge(uint8_t heads)
{
    struct hs_challenge m = {
        .sender = 5, .receiver = 6, .kem = kem, .ciphers = 3, .cipher = AEAD_CHACHA20POLY1305};
    m.head_count = heads;
    fill(m.nonce, sizeof m.nonce, 7);
    fill(m.dh, sizeof m.dh, 8);
    fill(kem, sizeof kem, 9);
    heads_fill(m.heads, heads);
    return m;
}

static const struct net_addr addr4 = {.family = 4, .ip = {192, 0, 2, 1}, .port = 0x1234};
static const struct net_addr addr6 = {.family = 6, .ip = {0x20, 1, 0xd, 0xb8, [15] = 1}, .port = 443};

static size_t hello_put(uint8_t *out, size_t cap, const struct hs_hello *m)
{
    struct wr w = wr_of(out, cap);
    hs_hello_write(&w, m);
    fill(sig, sizeof sig, 10);
    wr_copy(&w, sig, ED25519_SIG_LEN);
    assert_true(wr_ok(&w));
    return w.n;
}

static size_t challenge_put(uint8_t *out, size_t cap, const struct hs_challenge *m)
{
    struct wr w = wr_of(out, cap);
    hs_challenge_write(&w, m);
    fill(sig, sizeof sig, 10);
    wr_copy(&w, sig, sizeof sig);
    assert_true(wr_ok(&w));
    return w.n;
}

static void heads_equal(const struct hs_head *a, const struct hs_head *b, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        assert_memory_equal(a[i].party, b[i].party, 32);
        assert_memory_equal(a[i].hash, b[i].hash, 32);
        assert_int_equal(a[i].seq, b[i].seq);
    }
}

static void test_hello(void **state)
{
    static uint8_t out[HS_MESSAGE_MAX + 1];
    for (uint8_t heads = 0; heads <= HS_HEADS_MAX; heads += 4) {
        const struct hs_hello m = a_hello(heads);
        struct hs_hello got;
        size_t n = hello_put(out, sizeof out, &m);
        assert_int_equal(n, 206u + 72u * heads);
        /* The places that doc/protocol/session.md names. */
        static const uint8_t start[12] = {6, 1, 0, 1, 0, 0, 0, 0, 0x11, 0x22, 0x33, 0x44};
        assert_memory_equal(out, start, sizeof start);
        assert_memory_equal(out + 12, m.from, 32);
        assert_memory_equal(out + 44, m.to, 32);
        assert_memory_equal(out + 76, m.nonce, 32);
        assert_memory_equal(out + 108, m.dh, 32);
        assert_int_equal(out[140], 0x83);
        assert_int_equal(out[141], heads);
        assert_int_equal(hs_message_of(bytes_of(out, n)), HS_HELLO);
        assert_int_equal(hs_hello_read(&got, bytes_of(out, n)), 0);
        assert_int_equal(got.sender, m.sender);
        assert_memory_equal(got.from, m.from, 32);
        assert_memory_equal(got.dh, m.dh, 32);
        assert_int_equal(got.head_count, heads);
        heads_equal(got.heads, m.heads, heads);
        assert_ptr_equal(got.sig, out + n - ED25519_SIG_LEN);
        assert_int_equal(got.signed_part.n, n - ED25519_SIG_LEN);
        assert_ptr_equal(got.signed_part.p, out);
        for (size_t k = 0; k <= n + 1; k++)
            assert_int_equal(hs_hello_read(&got, bytes_of(out, k)), k == n ? 0 : -EBADMSG);
    }
}

static void test_challenge(void **state)
{
    static uint8_t out[HS_MESSAGE_MAX + 1];
    const struct hs_challenge m = a_challenge(3);
    struct hs_challenge got;
    size_t n = challenge_put(out, sizeof out, &m);
    assert_int_equal(n, 1647 + 3 * 72 + SIGN_SIG_LEN);
    static const uint8_t start[12] = {6, 2, 0, 1, 0, 0, 0, 6, 0, 0, 0, 5};
    assert_memory_equal(out, start, sizeof start);
    assert_int_equal(hs_challenge_read(&got, bytes_of(out, n)), 0);
    assert_int_equal(got.receiver, 6);
    assert_int_equal(got.sender, 5);
    assert_ptr_equal(got.kem, out + 76);
    assert_int_equal(got.ciphers, 3);
    assert_int_equal(got.cipher, AEAD_CHACHA20POLY1305);
    heads_equal(got.heads, m.heads, 3);
    assert_ptr_equal(got.sig, out + n - SIGN_SIG_LEN);
    for (size_t k = 0; k <= n + 1; k++)
        assert_int_equal(hs_challenge_read(&got, bytes_of(out, k)), k == n ? 0 : -EBADMSG);
    out[1645] = AEAD_ALG_COUNT;
    assert_int_equal(hs_challenge_read(&got, bytes_of(out, n)), -EBADMSG);
}

/* Too many heads are refused by reader and writer. */
static void test_heads_limit(void **state)
{
    static uint8_t out[HS_MESSAGE_MAX];
    struct hs_hello m = a_hello(0), got;
    size_t n = hello_put(out, sizeof out, &m);
    out[141] = HS_HEADS_MAX + 1;
    assert_int_equal(hs_hello_read(&got, bytes_of(out, n + 72 * (HS_HEADS_MAX + 1))), -EBADMSG);
    m.head_count = HS_HEADS_MAX + 1;
    struct wr w = wr_of(out, sizeof out);
    hs_hello_write(&w, &m);
    assert_false(wr_ok(&w));
    m = a_hello(0);
    m.sender = 0;
    n = hello_put(out, sizeof out, &m);
    assert_int_equal(hs_hello_read(&got, bytes_of(out, n)), -EBADMSG);
}

static void test_response(void **state)
{
    static uint8_t out[HS_MESSAGE_MAX];
    struct hs_response m = {.receiver = 9, .ct = kem}, got;
    struct wr w = wr_of(out, sizeof out);
    hs_response_write(&w, &m);
    assert_int_equal(w.n, 8 + KEM_CT_LEN);
    size_t least = w.n + SIGN_SIG_LEN + 1 + AEAD_TAG_LEN, most = w.n + HS_RESPONSE_PAYLOAD_MAX + AEAD_TAG_LEN;
    for (size_t k = 0; k < sizeof out; k++)
        assert_int_equal(hs_response_read(&got, bytes_of(out, k)), k >= least && k <= most ? 0 : -EBADMSG);
    assert_int_equal(hs_response_read(&got, bytes_of(out, least + 5)), 0);
    assert_int_equal(got.receiver, 9);
    assert_ptr_equal(got.ct, out + 8);
    assert_int_equal(got.prefix.n, 8 + KEM_CT_LEN);
    assert_int_equal(got.sealed.n, least + 5 - 8 - KEM_CT_LEN);
}

static void test_response_payload(void **state)
{
    static uint8_t out[HS_RESPONSE_PAYLOAD_MAX + 32];
    struct hs_response_payload m = {.addr_count = HS_ADDR_MAX}, got;
    fill(m.sig, sizeof m.sig, 11);
    for (size_t i = 0; i < HS_ADDR_MAX; i++)
        m.addrs[i] = i % 3 ? addr6 : addr4;
    struct wr w = wr_of(out, sizeof out);
    hs_response_payload_write(&w, &m);
    assert_true(wr_ok(&w));
    assert_int_equal(w.n, SIGN_SIG_LEN + 1 + 6 * 7 + 10 * 19);
    for (size_t k = 0; k <= w.n + 1; k++)
        assert_int_equal(hs_response_payload_read(&got, bytes_of(out, k)), k == w.n ? 0 : -EBADMSG);
    assert_int_equal(hs_response_payload_read(&got, bytes_of(out, w.n)), 0);
    assert_memory_equal(&got, &m, sizeof m);
    for (unsigned family = 0; family < 256; family++) {
        out[SIGN_SIG_LEN + 1] = (uint8_t)family;
        assert_int_equal(hs_response_payload_read(&got, bytes_of(out, w.n)), family == 4 ? 0 : -EBADMSG);
    }
    m.addr_count = HS_ADDR_MAX + 1;
    w = wr_of(out, sizeof out);
    hs_response_payload_write(&w, &m);
    assert_false(wr_ok(&w));
}

static void test_established(void **state)
{
    static const struct net_addr none = {0};
    const struct net_addr *seen[] = {&none, &addr4, &addr6};
    for (size_t i = 0; i < 3; i++) {
        uint8_t out[HS_ESTABLISHED_PAYLOAD_MAX + 1] = {0};
        struct hs_established_payload m = {.mtu = 1200,
                                           .heartbeat_ms = 10000,
                                           .rekey_s = 300,
                                           .seen = *seen[i]},
                                      got;
        m.direct = (uint8_t)(i & 1);
        fill(m.session_id, sizeof m.session_id, 12);
        struct wr w = wr_of(out, HS_ESTABLISHED_PAYLOAD_MAX);
        hs_established_payload_write(&w, &m);
        assert_true(wr_ok(&w));
        assert_int_equal(w.n, 28 + (i == 0 ? 0 : i == 1 ? 6 : 18));
        for (size_t k = 0; k <= w.n + 1; k++)
            assert_int_equal(hs_established_payload_read(&got, bytes_of(out, k)), k == w.n ? 0 : -EBADMSG);
        assert_int_equal(hs_established_payload_read(&got, bytes_of(out, w.n)), 0);
        assert_memory_equal(got.session_id, m.session_id, 16);
        assert_int_equal(got.mtu, 1200);
        assert_int_equal(got.heartbeat_ms, 10000);
        assert_int_equal(got.rekey_s, 300);
        assert_memory_equal(&got.seen, &m.seen, sizeof m.seen);
        assert_int_equal(got.direct, i & 1);
        out[w.n - 1] = 2; /* direct is a truth value */
        assert_int_equal(hs_established_payload_read(&got, bytes_of(out, w.n)), -EBADMSG);
        out[w.n - 1] = 1;
        out[16] = 2, out[17] = 0x3f; /* an MTU of 575 */
        assert_int_equal(hs_established_payload_read(&got, bytes_of(out, w.n)), -EBADMSG);
        out[17] = 0x40;
        assert_int_equal(hs_established_payload_read(&got, bytes_of(out, w.n)), 0);
        memset(out + 22, 0, 4); /* rekey every 0 s */
        assert_int_equal(hs_established_payload_read(&got, bytes_of(out, w.n)), -EBADMSG);
    }
    uint8_t out[128] = {0};
    struct hs_established m = {.receiver = 77}, got;
    struct wr w = wr_of(out, sizeof out);
    hs_established_write(&w, &m);
    assert_int_equal(w.n, 8);
    for (size_t k = 0; k < sizeof out; k++) {
        bool fits = k >= 24 && k <= 24 + HS_ESTABLISHED_PAYLOAD_MAX;
        assert_int_equal(hs_established_read(&got, bytes_of(out, k)), fits ? 0 : -EBADMSG);
    }
    assert_int_equal(got.receiver, 77);
}

static void test_reject(void **state)
{
    uint8_t out[10] = {0};
    const struct hs_reject m = {0xa1b2c3d4, HS_REJECT_BUSY};
    struct hs_reject got;
    struct wr w = wr_of(out, sizeof out);
    hs_reject_write(&w, &m);
    static const uint8_t want[9] = {6, 5, 0, 1, 0xa1, 0xb2, 0xc3, 0xd4, 3};
    assert_int_equal(w.n, sizeof want);
    assert_memory_equal(out, want, sizeof want);
    for (size_t k = 0; k <= sizeof out; k++)
        assert_int_equal(hs_reject_read(&got, bytes_of(out, k)), k == 9 ? 0 : -EBADMSG);
    assert_int_equal(hs_reject_read(&got, bytes_of(out, 9)), 0);
    assert_int_equal(got.receiver, m.receiver);
    assert_int_equal(got.reason, m.reason);
}

static void test_message_of(void **state)
{
    static uint8_t out[HS_MESSAGE_MAX + 1] = {6, 1, 0, 1};
    for (unsigned m = 0; m < 256; m++) {
        out[1] = (uint8_t)m;
        assert_int_equal(hs_message_of(bytes_of(out, 4)), m >= 1 && m <= 5 ? (int)m : -EBADMSG);
    }
    out[1] = 1;
    assert_int_equal(hs_message_of(bytes_of(out, 3)), -EBADMSG);
    assert_int_equal(hs_message_of(bytes_of(out, HS_MESSAGE_MAX)), HS_HELLO);
    assert_int_equal(hs_message_of(bytes_of(out, HS_MESSAGE_MAX + 1)), -EBADMSG);
    out[3] = 2;
    assert_int_equal(hs_message_of(bytes_of(out, 4)), -EPROTONOSUPPORT);
    out[0] = 5;
    assert_int_equal(hs_message_of(bytes_of(out, 4)), -EBADMSG);
}

/* What a flipped byte makes is refused, or is another message whose writer gives just these bytes: one form
 * for each content. */
static void test_flips_are_canonical(void **state)
{
    static uint8_t text[HS_MESSAGE_MAX], back[HS_MESSAGE_MAX];
    const struct hs_hello m = a_hello(2);
    size_t n = hello_put(text, sizeof text, &m), taken = 0;
    for (size_t at = 0; at < n * 8; at++) {
        struct hs_hello got;
        text[at / 8] ^= (uint8_t)(1u << at % 8);
        if (hs_hello_read(&got, bytes_of(text, n)) == 0) {
            struct wr w = wr_of(back, sizeof back);
            hs_hello_write(&w, &got);
            assert_int_equal(w.n, got.signed_part.n);
            assert_memory_equal(back, text, w.n);
            taken++;
        }
        text[at / 8] ^= (uint8_t)(1u << at % 8);
    }
    /* All but the eight bytes of the start and the count of heads. */
    assert_int_equal(taken, (n - 9) * 8);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hello),
        cmocka_unit_test(test_challenge),
        cmocka_unit_test(test_heads_limit),
        cmocka_unit_test(test_response),
        cmocka_unit_test(test_established),
        cmocka_unit_test(test_response_payload),
        cmocka_unit_test(test_reject),
        cmocka_unit_test(test_message_of),
        cmocka_unit_test(test_flips_are_canonical),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
