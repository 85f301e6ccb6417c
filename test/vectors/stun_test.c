/* STUN messages as published: RFC 5769 sections 2.1 to 2.4, and RFC 8489 appendix B.1 as erratum 6268 mends it (in
 * the one printed there, length and content do not agree). They need no files. */
#include "check.h"

#include "base/addr.h"
#include "wire/stun.h"

#define PASSWORD "VOkJxbRl1RmTxUk/WvJxBt"
#define MATRIX   "\xe3\x83\x9e\xe3\x83\x88\xe3\x83\xaa\xe3\x83\x83\xe3\x82\xaf\xe3\x82\xb9"

static const char request[] = "000100582112a442b7e7a701bc34d686fa87dfae"
                              "802200105354554e207465737420636c69656e74"
                              "002400046e0001ff"
                              "80290008932ff9b151263b36"
                              "000600096576746a3a68367659202020"
                              "000800149aeaa70cbfd8cb56781ef2b5b2d3f249c1b571a2"
                              "80280004e57a3bcf";
static const char response4[] = "0101003c2112a442b7e7a701bc34d686fa87dfae"
                                "8022000b7465737420766563746f7220"
                                "002000080001a147e112a643"
                                "000800142b91f599fd9e90c38c7489f92af9ba53f06be7d7"
                                "80280004c07d4c96";
static const char response6[] = "010100482112a442b7e7a701bc34d686fa87dfae"
                                "8022000b7465737420766563746f7220"
                                "002000140002a1470113a9faa5d3f179bc25f4b5bed2b9d9"
                                "00080014a382954e4be67bf11784c97c8292c275bfe3ed41"
                                "80280004c8fb0b4c";
static const char long_term[] = "000100602112a44278ad3433c6ad72c029da412e"
                                "00060012e3839ee38388e383aae38383e382afe382b90000"
                                "0015001c662f2f3439396b393534643"
                                "64f4c33346f4c39465354767936347341"
                                "0014000b6578616d706c652e6f726700"
                                "00080014f67024656dd64a3e02b8e0712e85c9a28ca89666";
static const char userhash[] = "000100902112a44278ad3433c6ad72c029da412e"
                               "001e00204a3cf38fef6992bda952c6780417da0f24819415569e60b205c46e41407f1704"
                               "001500296f624d61744a6f7332414141"
                               "43662f2f3439396b3935346436"
                               "4f4c33346f4c39465354767936347341000000"
                               "0014000b6578616d706c652e6f726700"
                               "001d000400020000"
                               "001c0020b5c7bf005b6c52a21c51c5e892f81924136296cb927c43149309278cc6518e65";

static struct stun_message read_hex(uint8_t *out, size_t cap, const char *hex)
{
    struct stun_message m;
    assert_int_equal(stun_read(&m, from_hex(out, cap, hex)), 0);
    return m;
}

static void expect_text(struct bytes got, const char *want)
{
    expect_bytes(got, bytes_of_str(want));
}

static void sample_request(void **state)
{
    uint8_t buf[256];
    struct stun_message m = read_hex(buf, sizeof buf, request);
    assert_int_equal(m.class, STUN_REQUEST);
    assert_int_equal(m.method, STUN_BINDING);
    expect_text(m.software, "STUN test client");
    expect_text(m.username, "evtj:h6vY");
    assert_int_equal(m.priority, 0x6e0001ff);
    assert_true(m.has_controlled && m.has_fingerprint);
    assert_int_equal(m.tie_breaker, 0x932ff9b151263b36);
    assert_true(stun_verify(&m, bytes_of_str(PASSWORD), false));
    assert_false(stun_verify(&m, bytes_of_str("VOkJxbRl1RmTxUk/WvJxBT"), false));
}

static void sample_response(const char *hex, const char *mapped)
{
    uint8_t buf[256];
    char text[NET_ADDR_TEXT];
    struct stun_message m = read_hex(buf, sizeof buf, hex);
    assert_int_equal(m.class, STUN_SUCCESS);
    expect_text(m.software, "test vector");
    net_addr_text(text, &m.mapped);
    assert_string_equal(text, mapped);
    assert_true(m.has_fingerprint && stun_verify(&m, bytes_of_str(PASSWORD), false));
}

static void sample_responses(void **state)
{
    sample_response(response4, "192.0.2.1:32853");
    sample_response(response6, "[2001:db8:1234:5678:11:2233:4455:6677]:32853");
}

/* Their padding is spaces, ours is zeros as RFC 8489 section 14 has it: the MACs over both differ, so what is
 * written is compared up to there, and the rest by putting the published padding in before the seals. */
static void samples_written(void **state)
{
    static const struct {
        const char *hex, *addr;
    } cases[] = {{response4, "192.0.2.1:32853"}, {response6, "[2001:db8:1234:5678:11:2233:4455:6677]:32853"}};
    for (size_t i = 0; i < COUNT(cases); i++) {
        uint8_t want[256], out[256];
        struct bytes published = from_hex(want, sizeof want, cases[i].hex);
        struct net_addr a;
        struct stun_writer w;
        assert_int_equal(net_addr_read(&a, cases[i].addr), 0);
        stun_begin(&w, out, sizeof out, STUN_SUCCESS, STUN_BINDING, want + 8);
        stun_put(&w, STUN_ATTR_SOFTWARE, bytes_of_str("test vector"));
        out[w.n - 1] = ' ';
        stun_put_xor_addr(&w, STUN_ATTR_XOR_MAPPED_ADDRESS, &a);
        stun_put_integrity(&w, bytes_of_str(PASSWORD));
        stun_put_fingerprint(&w);
        expect_bytes(stun_end(&w), published);
    }
    uint8_t want[256], out[256];
    struct bytes published = from_hex(want, sizeof want, request);
    struct stun_writer w;
    stun_begin(&w, out, sizeof out, STUN_REQUEST, STUN_BINDING, want + 8);
    stun_put(&w, STUN_ATTR_SOFTWARE, bytes_of_str("STUN test client"));
    stun_put_u32(&w, STUN_ATTR_PRIORITY, 0x6e0001ff);
    stun_put_u64(&w, STUN_ATTR_ICE_CONTROLLED, 0x932ff9b151263b36);
    stun_put(&w, STUN_ATTR_USERNAME, bytes_of_str("evtj:h6vY"));
    memset(out + w.n - 3, ' ', 3);
    stun_put_integrity(&w, bytes_of_str(PASSWORD));
    stun_put_fingerprint(&w);
    expect_bytes(stun_end(&w), published);
}

static void long_term_request(void **state)
{
    uint8_t buf[256], out[256], key[32];
    size_t n;
    struct stun_message m = read_hex(buf, sizeof buf, long_term);
    expect_text(m.username, MATRIX);
    expect_text(m.nonce, "f//499k954d6OL34oL9FSTvy64sA");
    expect_text(m.realm, "example.org");
    stun_long_term_key(key, &n, false, m.username, m.realm, bytes_of_str("TheMatrIX"));
    assert_true(stun_verify(&m, bytes_of(key, n), false));
    struct stun_writer w;
    stun_begin(&w, out, sizeof out, STUN_REQUEST, STUN_BINDING, m.txid);
    stun_put(&w, STUN_ATTR_USERNAME, m.username);
    stun_put(&w, STUN_ATTR_NONCE, m.nonce);
    stun_put(&w, STUN_ATTR_REALM, m.realm);
    stun_put_integrity(&w, bytes_of(key, n));
    expect_bytes(stun_end(&w), m.whole);
}

static void userhash_request(void **state)
{
    uint8_t buf[256], out[256], key[32], hash[SHA256_LEN];
    size_t n;
    struct stun_message m = read_hex(buf, sizeof buf, userhash);
    struct bytes name[] = {bytes_of_str(MATRIX), bytes_of_str(":"), m.realm};
    sha256(hash, name, 3);
    expect_bytes(m.userhash, bytes_of(hash, sizeof hash));
    expect_text(m.nonce, "obMatJos2AAACf//499k954d6OL34oL9FSTvy64sA");
    assert_true(m.password_sha256 && m.has_integrity256 && !m.has_integrity);
    stun_long_term_key(key, &n, true, name[0], m.realm, bytes_of_str("TheMatrIX"));
    assert_true(stun_verify(&m, bytes_of(key, n), true));
    struct stun_writer w;
    stun_begin(&w, out, sizeof out, STUN_REQUEST, STUN_BINDING, m.txid);
    stun_put(&w, STUN_ATTR_USERHASH, m.userhash);
    stun_put(&w, STUN_ATTR_NONCE, m.nonce);
    stun_put(&w, STUN_ATTR_REALM, m.realm);
    stun_put_u32(&w, STUN_ATTR_PASSWORD_ALGORITHM, 2u << 16);
    stun_put_integrity256(&w, bytes_of(key, n));
    expect_bytes(stun_end(&w), m.whole);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sample_request),   cmocka_unit_test(sample_responses),
        cmocka_unit_test(samples_written),  cmocka_unit_test(long_term_request),
        cmocka_unit_test(userhash_request),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
