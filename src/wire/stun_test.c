#include "wire/stun.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "crypto/hash.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))

static const uint8_t txid[STUN_TXID_LEN] = "abcdefghijkl";
static const struct bytes key = {(const uint8_t *)"VOkJxbRl1RmTxUk/WvJxBt", 22};

static struct net_addr addr(const char *text)
{
    struct net_addr a;
    assert_int_equal(net_addr_read(&a, text), 0);
    return a;
}

static void assert_addr(const struct net_addr *got, const char *want)
{
    char text[NET_ADDR_TEXT];
    net_addr_text(text, got);
    assert_string_equal(text, want);
}

static void assert_text(struct bytes got, const char *want)
{
    assert_true(bytes_equal(got, bytes_of_str(want)));
}

/* Every attribute that has a field. */
static struct bytes everything(uint8_t *out, size_t cap)
{
    struct stun_writer w;
    struct net_addr four = addr("192.0.2.1:32853"),
                    six = addr("[2001:db8:1234:5678:11:2233:4455:6677]:32853");
    struct net_addr peers[] = {addr("198.51.100.7:1"), addr("[2001:db8::7]:65535")};
    stun_begin(&w, out, cap, STUN_ERROR, STUN_CREATE_PERMISSION, txid);
    stun_put(&w, STUN_ATTR_USERNAME, bytes_of_str("evtj:h6vY"));
    stun_put(&w, STUN_ATTR_REALM, bytes_of_str("example.org"));
    stun_put(&w, STUN_ATTR_NONCE, bytes_of_str("f//499k954d6OL34oL9FSTvy64sA"));
    stun_put(&w, STUN_ATTR_SOFTWARE, bytes_of_str("x"));
    stun_put(&w, STUN_ATTR_USERHASH, bytes_of("0123456789abcdef0123456789abcdef", 32));
    stun_put(&w, STUN_ATTR_DATA, bytes_of("\0\1\2", 3));
    stun_put_addr(&w, STUN_ATTR_MAPPED_ADDRESS, &six);
    stun_put_xor_addr(&w, STUN_ATTR_XOR_MAPPED_ADDRESS, &four);
    stun_put_xor_addr(&w, STUN_ATTR_XOR_RELAYED_ADDRESS, &six);
    stun_put_addr(&w, STUN_ATTR_RESPONSE_ORIGIN, &four);
    stun_put_addr(&w, STUN_ATTR_OTHER_ADDRESS, &six);
    stun_put_addr(&w, STUN_ATTR_ALTERNATE_SERVER, &peers[0]);
    stun_put_xor_addr(&w, STUN_ATTR_XOR_PEER_ADDRESS, &peers[0]);
    stun_put_xor_addr(&w, STUN_ATTR_XOR_PEER_ADDRESS, &peers[1]);
    stun_put_error(&w, 438, "Stale Nonce");
    stun_put_u32(&w, STUN_ATTR_PRIORITY, 0x6e0001ff);
    stun_put(&w, STUN_ATTR_USE_CANDIDATE, bytes_of(NULL, 0));
    stun_put_u64(&w, STUN_ATTR_ICE_CONTROLLED, 0x932ff9b151263b36);
    stun_put_u32(&w, STUN_ATTR_LIFETIME, 600);
    stun_put_u32(&w, STUN_ATTR_CHANGE_REQUEST, STUN_CHANGE_IP | STUN_CHANGE_PORT);
    stun_put_u32(&w, STUN_ATTR_RESPONSE_PORT, 4242u << 16);
    stun_put_u32(&w, STUN_ATTR_CHANNEL_NUMBER, 0x40000000);
    stun_put_u32(&w, STUN_ATTR_REQUESTED_ADDRESS_FAMILY, 2u << 24);
    stun_put_u32(&w, STUN_ATTR_REQUESTED_TRANSPORT, 17u << 24);
    stun_put(&w, STUN_ATTR_EVEN_PORT, bytes_of("\x80", 1));
    stun_put(&w, STUN_ATTR_DONT_FRAGMENT, bytes_of(NULL, 0));
    stun_put(&w, STUN_ATTR_PADDING, bytes_of("\0\0\0\0\0", 5));
    stun_put(&w, STUN_ATTR_PASSWORD_ALGORITHMS, bytes_of("\0\1\0\0\0\2\0\0", 8));
    stun_put(&w, STUN_ATTR_UNKNOWN_ATTRIBUTES, bytes_of("\x7f\1", 2));
    stun_put(&w, STUN_ATTR_ALTERNATE_DOMAIN, bytes_of_str("example.net"));
    stun_put(&w, 0x7f01, bytes_of("?", 1));
    stun_put(&w, 0xff01, bytes_of("?", 1));
    stun_put(&w, 0x0001 | 0x7000, bytes_of(NULL, 0));
    stun_put_integrity(&w, key);
    stun_put_integrity256(&w, key);
    stun_put_fingerprint(&w);
    return stun_end(&w);
}

static void round_trip(void **state)
{
    uint8_t out[STUN_MESSAGE_MAX];
    struct bytes in = everything(out, sizeof out);
    struct stun_message m;
    assert_true(in.n > 0 && stun_is(in));
    assert_int_equal(stun_read(&m, in), 0);
    assert_int_equal(m.class, STUN_ERROR);
    assert_int_equal(m.method, STUN_CREATE_PERMISSION);
    assert_memory_equal(m.txid, txid, sizeof txid);
    assert_text(m.username, "evtj:h6vY");
    assert_text(m.realm, "example.org");
    assert_text(m.nonce, "f//499k954d6OL34oL9FSTvy64sA");
    assert_text(m.software, "x");
    assert_text(m.userhash, "0123456789abcdef0123456789abcdef");
    assert_true(bytes_equal(m.data, bytes_of("\0\1\2", 3)));
    assert_addr(&m.mapped, "192.0.2.1:32853"); /* the XORed one, though it came second */
    assert_addr(&m.relayed, "[2001:db8:1234:5678:11:2233:4455:6677]:32853");
    assert_addr(&m.origin, "192.0.2.1:32853");
    assert_addr(&m.other, "[2001:db8:1234:5678:11:2233:4455:6677]:32853");
    assert_addr(&m.alternate, "198.51.100.7:1");
    assert_int_equal(m.peer_count, 2);
    assert_addr(&m.peers[0], "198.51.100.7:1");
    assert_addr(&m.peers[1], "[2001:db8::7]:65535");
    assert_int_equal(m.error, 438);
    assert_true(m.has_priority && m.use_candidate && m.has_controlled && !m.has_controlling &&
                m.has_lifetime);
    assert_true(m.has_change && m.has_fingerprint && m.has_integrity && m.has_integrity256 && m.has_padding);
    assert_true(m.has_response_port && m.has_channel && m.has_family && m.has_transport && m.password_sha256);
    assert_int_equal(m.priority, 0x6e0001ff);
    assert_int_equal(m.tie_breaker, 0x932ff9b151263b36);
    assert_int_equal(m.lifetime, 600);
    assert_int_equal(m.change, 6);
    assert_int_equal(m.response_port, 4242);
    assert_int_equal(m.channel, 0x4000);
    assert_int_equal(m.family, 2);
    assert_int_equal(m.transport, 17);
    assert_int_equal(m.unknown_count, 2);
    assert_int_equal(m.unknown[0], 0x7f01);
    assert_int_equal(m.unknown[1], 0x7001);
    assert_true(stun_verify(&m, key, false) && stun_verify(&m, key, true));
    assert_false(stun_verify(&m, bytes_of(key.p, key.n - 1), false));
    assert_false(stun_verify(&m, bytes_of(key.p, key.n - 1), true));
}

static void types_are_woven(void **state)
{
    static const struct {
        enum stun_class class;
        uint16_t method, type;
    } cases[] = {
        {STUN_REQUEST, STUN_BINDING, 0x0001},  {STUN_INDICATION, STUN_BINDING, 0x0011},
        {STUN_SUCCESS, STUN_BINDING, 0x0101},  {STUN_ERROR, STUN_BINDING, 0x0111},
        {STUN_SUCCESS, STUN_ALLOCATE, 0x0103}, {STUN_INDICATION, STUN_DATA, 0x0017},
        {STUN_ERROR, 0xfff, 0x3fff},           {STUN_REQUEST, 0x0b5a & 0xfff, 0x2caa},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        uint8_t out[STUN_HEADER_LEN];
        struct stun_writer w;
        struct stun_message m;
        stun_begin(&w, out, sizeof out, cases[i].class, cases[i].method, txid);
        assert_int_equal(out[0] << 8 | out[1], cases[i].type);
        assert_int_equal(stun_read(&m, stun_end(&w)), 0);
        assert_int_equal(m.class, cases[i].class);
        assert_int_equal(m.method, cases[i].method);
    }
}

static void cut_anywhere(void **state)
{
    uint8_t out[STUN_MESSAGE_MAX];
    struct bytes in = everything(out, sizeof out);
    struct stun_message m = {.method = 77};
    for (size_t n = 0; n < in.n; n++) {
        uint8_t *copy = malloc(n + 1);
        memcpy(copy, in.p, n);
        assert_int_equal(stun_read(&m, bytes_of(copy, n)), -EBADMSG);
        if (n >= STUN_HEADER_LEN) { /* also where the length agrees */
            copy[2] = (uint8_t)((n - STUN_HEADER_LEN) >> 8);
            copy[3] = (uint8_t)(n - STUN_HEADER_LEN);
            struct stun_message cut;
            if (stun_read(&cut, bytes_of(copy, n)) == 0)
                assert_false(cut.has_fingerprint);
        }
        free(copy);
    }
    assert_int_equal(m.method, 77); /* a failed call leaves everything as it was */
}

static void every_flipped_bit_shows(void **state)
{
    uint8_t out[STUN_MESSAGE_MAX];
    struct bytes in = everything(out, sizeof out);
    for (size_t bit = 0; bit < in.n * 8; bit++) {
        struct stun_message m;
        out[bit / 8] ^= 1 << bit % 8;
        /* The type of the last attribute is not under the CRC; without it the MACs still are right. */
        bool tail = bit / 8 >= in.n - 8;
        int e = stun_read(&m, in);
        if (!tail)
            assert_int_equal(e, -EBADMSG);
        else
            assert_true(e == -EBADMSG || !m.has_fingerprint);
        out[bit / 8] ^= 1 << bit % 8;
    }
}

static void integrity_sees_every_bit_before_it(void **state)
{
    uint8_t out[256];
    struct stun_writer w;
    stun_begin(&w, out, sizeof out, STUN_REQUEST, STUN_BINDING, txid);
    stun_put_u32(&w, STUN_ATTR_PRIORITY, 5);
    stun_put(&w, STUN_ATTR_USERNAME, bytes_of_str("abc"));
    stun_put_integrity(&w, key);
    struct bytes in = stun_end(&w);
    for (size_t bit = 0; bit < in.n * 8; bit++) {
        struct stun_message m;
        out[bit / 8] ^= 1 << bit % 8;
        if (stun_read(&m, in) == 0)
            assert_false(stun_verify(&m, key, false));
        out[bit / 8] ^= 1 << bit % 8;
    }
    struct stun_message m;
    assert_int_equal(stun_read(&m, in), 0);
    assert_true(stun_verify(&m, key, false));
    assert_false(stun_verify(&m, key, true)); /* it has not that one */
}

static void a_truncated_sha256_is_not_enough(void **state)
{
    uint8_t out[128], mac[SHA256_LEN];
    struct stun_writer w;
    struct stun_message m;
    stun_begin(&w, out, sizeof out, STUN_REQUEST, STUN_BINDING, txid);
    out[3] = 20; /* as a MAC that covered a short attribute would see it */
    struct bytes before = bytes_of(out, STUN_HEADER_LEN);
    hmac_sha256(mac, key, &before, 1);
    stun_put(&w, STUN_ATTR_MESSAGE_INTEGRITY_SHA256, bytes_of(mac, 16));
    assert_int_equal(stun_read(&m, stun_end(&w)), 0);
    assert_true(m.has_integrity256);
    assert_false(stun_verify(&m, key, true));
}

static void what_follows_integrity_is_ignored(void **state)
{
    uint8_t out[256];
    struct stun_writer w;
    struct stun_message m;
    stun_begin(&w, out, sizeof out, STUN_REQUEST, STUN_BINDING, txid);
    stun_put_u32(&w, STUN_ATTR_PRIORITY, 5);
    stun_put_integrity(&w, key);
    stun_put(&w, STUN_ATTR_USE_CANDIDATE, bytes_of(NULL, 0));
    stun_put(&w, 0x7001, bytes_of(NULL, 0));
    stun_put_integrity(&w, key); /* a second one does not count either */
    stun_put_integrity256(&w, key);
    stun_put_u64(&w, STUN_ATTR_ICE_CONTROLLING, 7);
    stun_put_fingerprint(&w);
    assert_int_equal(stun_read(&m, stun_end(&w)), 0);
    assert_true(m.has_priority && m.has_integrity && m.has_integrity256 && m.has_fingerprint);
    assert_false(m.use_candidate || m.has_controlling);
    assert_int_equal(m.unknown_count, 0);
    assert_int_equal(m.integrity_at, STUN_HEADER_LEN + 8);
    assert_true(stun_verify(&m, key, false) && stun_verify(&m, key, true));
}

/* One attribute with these bytes as value. */
static int read_one(struct stun_message *m, uint16_t type, const void *p, size_t n)
{
    static uint8_t out[2048];
    struct stun_writer w;
    stun_begin(&w, out, sizeof out, STUN_REQUEST, STUN_BINDING, txid);
    stun_put(&w, type, bytes_of(p, n));
    assert_true(stun_end(&w).n > 0);
    return stun_read(m, stun_end(&w));
}

static void wrong_lengths_are_refused(void **state)
{
    static const struct {
        uint16_t type;
        size_t min, max, step;
    } cases[] = {
        {STUN_ATTR_USERNAME, 0, STUN_TEXT_MAX, 1},
        {STUN_ATTR_REALM, 0, STUN_REALM_MAX, 1},
        {STUN_ATTR_NONCE, 0, 763, 1},
        {STUN_ATTR_SOFTWARE, 0, 763, 1},
        {STUN_ATTR_USERHASH, 32, 32, 1},
        {STUN_ATTR_MESSAGE_INTEGRITY, 20, 20, 1},
        {STUN_ATTR_MESSAGE_INTEGRITY_SHA256, 16, 32, 4},
        {STUN_ATTR_CHANGE_REQUEST, 4, 4, 1},
        {STUN_ATTR_RESPONSE_PORT, 2, 4, 2},
        {STUN_ATTR_CHANNEL_NUMBER, 4, 4, 1},
        {STUN_ATTR_LIFETIME, 4, 4, 1},
        {STUN_ATTR_PRIORITY, 4, 4, 1},
        {STUN_ATTR_USE_CANDIDATE, 0, 0, 1},
        {STUN_ATTR_ICE_CONTROLLED, 8, 8, 1},
        {STUN_ATTR_ICE_CONTROLLING, 8, 8, 1},
        {STUN_ATTR_REQUESTED_TRANSPORT, 4, 4, 1},
        {STUN_ATTR_REQUESTED_ADDRESS_FAMILY, 4, 4, 1},
        {STUN_ATTR_EVEN_PORT, 1, 1, 1},
        {STUN_ATTR_DONT_FRAGMENT, 0, 0, 1},
        {STUN_ATTR_UNKNOWN_ATTRIBUTES, 0, SIZE_MAX - 1, 2},
        {STUN_ATTR_PADDING, 0, SIZE_MAX, 1},
        {STUN_ATTR_DATA, 0, SIZE_MAX, 1},
        {STUN_ATTR_PASSWORD_ALGORITHM, 4, 4, 1},
        {STUN_ATTR_FINGERPRINT, 1, 0, 1}, /* zeros are never right */
    };
    static const uint8_t zeros[800];
    for (size_t i = 0; i < COUNT(cases); i++)
        for (size_t n = 0; n <= sizeof zeros; n++) {
            struct stun_message m;
            bool good = n >= cases[i].min && n <= cases[i].max && (n - cases[i].min) % cases[i].step == 0;
            assert_int_equal(read_one(&m, cases[i].type, zeros, n), good ? 0 : -EBADMSG);
        }
}

static void wrong_values_are_refused(void **state)
{
    static const struct {
        uint16_t type;
        size_t n;
        const char *value;
        bool good;
    } cases[] = {
        {STUN_ATTR_XOR_MAPPED_ADDRESS, 8, "\0\1\1\2\1\2\3\4", true},
        {STUN_ATTR_XOR_MAPPED_ADDRESS, 8, "\x55\1\1\2\1\2\3\4", true}, /* the first byte is ignored */
        {STUN_ATTR_XOR_MAPPED_ADDRESS, 8, "\0\2\1\2\1\2\3\4", false},
        {STUN_ATTR_XOR_MAPPED_ADDRESS, 8, "\0\3\1\2\1\2\3\4", false},
        {STUN_ATTR_XOR_MAPPED_ADDRESS, 8, "\0\0\1\2\1\2\3\4", false},
        {STUN_ATTR_XOR_MAPPED_ADDRESS, 7, "\0\1\1\2\1\2\3", false},
        {STUN_ATTR_XOR_MAPPED_ADDRESS, 9, "\0\1\1\2\1\2\3\4\5", false},
        {STUN_ATTR_MAPPED_ADDRESS, 20, "\0\1\1\2\1\2\3\4\1\2\3\4\1\2\3\4\1\2\3\4", false},
        {STUN_ATTR_OTHER_ADDRESS, 20, "\0\2\1\2\1\2\3\4\1\2\3\4\1\2\3\4\1\2\3\4", true},
        {STUN_ATTR_ERROR_CODE, 4, "\0\0\3\0", true},
        {STUN_ATTR_ERROR_CODE, 4, "\0\0\6\x63", true},
        {STUN_ATTR_ERROR_CODE, 4, "\0\0\2\0", false},
        {STUN_ATTR_ERROR_CODE, 4, "\0\0\7\0", false},
        {STUN_ATTR_ERROR_CODE, 4, "\0\0\4\x64", false},
        {STUN_ATTR_ERROR_CODE, 3, "\0\0\4", false},
        {STUN_ATTR_PASSWORD_ALGORITHMS, 0, "", false},
        {STUN_ATTR_PASSWORD_ALGORITHMS, 8, "\0\2\0\4abcd", true},
        {STUN_ATTR_PASSWORD_ALGORITHMS, 7, "\0\2\0\3abc", true},
        {STUN_ATTR_PASSWORD_ALGORITHMS, 12, "\0\1\0\3abc\0\0\2\0\0", true},
        {STUN_ATTR_PASSWORD_ALGORITHMS, 6, "\0\2\0\4ab", false},
        {STUN_ATTR_PASSWORD_ALGORITHM, 8, "\0\2\0\0\0\1\0\0", false},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct stun_message m;
        assert_int_equal(read_one(&m, cases[i].type, cases[i].value, cases[i].n),
                         cases[i].good ? 0 : -EBADMSG);
        if (cases[i].good && cases[i].type == STUN_ATTR_PASSWORD_ALGORITHMS)
            assert_true(m.password_sha256);
    }
    struct stun_message m;
    assert_int_equal(read_one(&m, STUN_ATTR_PASSWORD_ALGORITHM, "\0\1\0\0", 4), 0);
    assert_false(m.password_sha256);
}

static void limits_hold(void **state)
{
    uint8_t out[512];
    struct stun_writer w;
    struct stun_message m;
    struct net_addr a = addr("192.0.2.9:9");
    stun_begin(&w, out, sizeof out, STUN_REQUEST, STUN_BINDING, txid);
    for (uint16_t i = 0; i < 2 * STUN_UNKNOWN_MAX; i++)
        stun_put(&w, 0x7000 + i, bytes_of(NULL, 0));
    for (size_t i = 0; i < STUN_ADDRS_MAX; i++)
        stun_put_xor_addr(&w, STUN_ATTR_XOR_PEER_ADDRESS, &a);
    assert_int_equal(stun_read(&m, stun_end(&w)), 0);
    assert_int_equal(m.unknown_count, STUN_UNKNOWN_MAX);
    assert_int_equal(m.peer_count, STUN_ADDRS_MAX);
    stun_put_xor_addr(&w, STUN_ATTR_XOR_PEER_ADDRESS, &a);
    assert_int_equal(stun_read(&m, stun_end(&w)), -EBADMSG);
}

static void what_does_not_fit_is_not_written(void **state)
{
    uint8_t full[STUN_MESSAGE_MAX];
    size_t n = everything(full, sizeof full).n;
    for (size_t cap = 0; cap <= n; cap++) {
        uint8_t *out = malloc(cap + 1);
        struct bytes got = everything(out, cap);
        assert_int_equal(got.n, cap == n ? n : 0);
        free(out);
    }
    struct stun_writer w;
    struct net_addr none = {0};
    stun_begin(&w, full, sizeof full, STUN_REQUEST, STUN_BINDING, txid);
    stun_put_xor_addr(&w, STUN_ATTR_XOR_MAPPED_ADDRESS, &none);
    assert_null(stun_end(&w).p);
    stun_begin(&w, full, sizeof full, STUN_REQUEST, STUN_BINDING, txid);
    stun_put(&w, STUN_ATTR_DATA, bytes_of(full, 70000));
    assert_null(stun_end(&w).p);
}

static void others_are_told_apart(void **state)
{
    uint8_t out[STUN_MESSAGE_MAX];
    struct bytes in = everything(out, sizeof out);
    assert_true(stun_is(in));
    static const struct {
        size_t at;
        uint8_t value;
    } cases[] = {{0, 0x40}, {0, 0x80}, {0, 0x16}, {4, 0x20}, {7, 0x43}, {3, 1}};
    for (size_t i = 0; i < COUNT(cases); i++) {
        uint8_t was = out[cases[i].at];
        out[cases[i].at] = cases[i].value;
        bool type = cases[i].at == 0 && cases[i].value < 0x40;
        assert_int_equal(stun_is(in), type);
        out[cases[i].at] = was;
    }
    assert_false(stun_is(bytes_of(out, in.n - 1)));
    assert_false(stun_is(bytes_of(NULL, 0)));
}

static void long_term_keys(void **state)
{
    uint8_t got[32], want[32];
    size_t n;
    struct bytes u = bytes_of_str("user"), r = bytes_of_str("realm"), p = bytes_of_str("pass");
    stun_long_term_key(got, &n, false, u, r, p);
    assert_int_equal(n, 16);
    assert_memory_equal(got, "\x84\x93\xfb\xc5\x3b\xa5\x82\xfb\x4c\x04\x4c\x45\x6b\xdc\x40\xeb",
                        16); /* RFC 8489 9.2.2 */
    struct bytes whole = bytes_of_str("user:realm:pass");
    sha256(want, &whole, 1);
    stun_long_term_key(got, &n, true, u, r, p);
    assert_int_equal(n, 32);
    assert_memory_equal(got, want, 32);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_trip),
        cmocka_unit_test(types_are_woven),
        cmocka_unit_test(cut_anywhere),
        cmocka_unit_test(every_flipped_bit_shows),
        cmocka_unit_test(integrity_sees_every_bit_before_it),
        cmocka_unit_test(a_truncated_sha256_is_not_enough),
        cmocka_unit_test(what_follows_integrity_is_ignored),
        cmocka_unit_test(wrong_lengths_are_refused),
        cmocka_unit_test(wrong_values_are_refused),
        cmocka_unit_test(limits_hold),
        cmocka_unit_test(what_does_not_fit_is_not_written),
        cmocka_unit_test(others_are_told_apart),
        cmocka_unit_test(long_term_keys),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
