#include "crypto/hash.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <setjmp.h>
#include <string.h>
#include <cmocka.h>

#include "base/text.h"

static void expect_hex(const uint8_t *got, size_t n, const char *want)
{
    char text[HEX_LEN(64) + 1];
    hex_put(text, bytes_of(got, n));
    assert_string_equal(text, want);
}

/* FIPS 180-4 examples. */
static void published_hashes(void **state)
{
    uint8_t out[SHA384_LEN];
    struct bytes abc = bytes_of_str("abc");
    sha256(out, &abc, 1);
    expect_hex(out, SHA256_LEN, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    sha384(out, &abc, 1);
    expect_hex(
        out, SHA384_LEN,
        "cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed8086072ba1e7cc2358baeca134c825a7");
    sha256(out, NULL, 0);
    expect_hex(out, SHA256_LEN, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

static void parts_are_joined(void **state)
{
    struct bytes parts[] = {bytes_of_str("a"), bytes_of(NULL, 0), bytes_of_str("bc")},
                 whole = bytes_of_str("abc");
    uint8_t a[SHA384_LEN], b[SHA384_LEN];
    sha384(a, parts, 3);
    sha384(b, &whole, 1);
    assert_memory_equal(a, b, SHA384_LEN);
    sha256(a, parts, 3);
    sha256(b, &whole, 1);
    assert_memory_equal(a, b, SHA256_LEN);
    hmac_sha384(a, whole, parts, 3);
    hmac_sha384(b, whole, &whole, 1);
    assert_memory_equal(a, b, SHA384_LEN);
}

/* RFC 4231, test cases 1, 2 and 6. */
static void published_hmacs(void **state)
{
    static const struct {
        uint8_t key_byte;
        size_t key_len;
        const char *key, *text, *sha256, *sha384;
    } cases[] = {
        {0x0b, 20, NULL, "Hi There", "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
         "afd03944d84895626b0825f4ab46907f15f9dadbe4101ec682aa034c7cebc59cfaea9ea9076ede7f4af152e8b2fa9cb6"},
        {0, 4, "Jefe", "what do ya want for nothing?",
         "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
         "af45d2e376484031617f78d2b58a6b1b9c7ef464f5a01b47e42ec3736322445e8e2240ca5e69e2c78b3239ecfab21649"},
        {0xaa, 131, NULL, "Test Using Larger Than Block-Size Key - Hash Key First",
         "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
         "4ece084485813e9088d2c63a041bc5b44f9ef1012a2b588f3cd11f05033ac4c60c2ef6ab4030fe8296248df163f44952"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint8_t key[131], out[SHA384_LEN];
        memset(key, cases[i].key_byte, sizeof key);
        if (cases[i].key)
            memcpy(key, cases[i].key, cases[i].key_len);
        struct bytes text = bytes_of_str(cases[i].text);
        hmac_sha256(out, bytes_of(key, cases[i].key_len), &text, 1);
        expect_hex(out, SHA256_LEN, cases[i].sha256);
        hmac_sha384(out, bytes_of(key, cases[i].key_len), &text, 1);
        expect_hex(out, SHA384_LEN, cases[i].sha384);
    }
}

/* RFC 1321 appendix A.5. */
static void published_md5(void **state)
{
    static const struct {
        const char *text, *md5;
    } cases[] = {
        {"", "d41d8cd98f00b204e9800998ecf8427e"},
        {"abc", "900150983cd24fb0d6963f7d28e17f72"},
        {"12345678901234567890123456789012345678901234567890123456789012345678901234567890",
         "57edf4a22be3c955ac49da2e2107b67a"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint8_t out[MD5_LEN];
        struct bytes text = bytes_of_str(cases[i].text);
        md5(out, &text, 1);
        expect_hex(out, MD5_LEN, cases[i].md5);
    }
}

/* RFC 2202 section 3, test cases 1, 2 and 6; between them another hash over the same template. */
static void published_hmac_sha1(void **state)
{
    static const struct {
        uint8_t key_byte;
        size_t key_len;
        const char *key, *text, *sha1;
    } cases[] = {
        {0x0b, 20, NULL, "Hi There", "b617318655057264e28bc0b6fb378c8ef146be00"},
        {0, 4, "Jefe", "what do ya want for nothing?", "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79"},
        {0xaa, 80, NULL, "Test Using Larger Than Block-Size Key - Hash Key First",
         "aa4ae5e15272d00e95705637ce8a3b55ed402112"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint8_t key[80], out[SHA256_LEN];
        memset(key, cases[i].key_byte, sizeof key);
        if (cases[i].key)
            memcpy(key, cases[i].key, cases[i].key_len);
        struct bytes text = bytes_of_str(cases[i].text), abc = bytes_of_str("abc"), parts[] = {abc, text};
        hmac_sha1(out, bytes_of(key, cases[i].key_len), &text, 1);
        expect_hex(out, SHA1_LEN, cases[i].sha1);
        hmac_sha256(out, abc, &abc, 1);
        expect_hex(out, SHA256_LEN, "2f02e24ae2e1fe880399f27600afa88364e6062bf9bbe114b32fa8f23d03608a");
        hmac_sha1(out, bytes_of(key, cases[i].key_len), &parts[1], 1);
        expect_hex(out, SHA1_LEN, cases[i].sha1);
    }
}

static void an_empty_key_is_a_key(void **state)
{
    uint8_t a[SHA256_LEN], b[SHA256_LEN];
    struct bytes text = bytes_of_str("x");
    /* After another key, so that a context which kept it would show. */
    hmac_sha256(a, bytes_of_str("secret"), &text, 1);
    hmac_sha256(a, bytes_of(NULL, 0), NULL, 0);
    expect_hex(a, SHA256_LEN, "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad");
    hmac_sha256(a, bytes_of(NULL, 0), &text, 1);
    hmac_sha256(b, bytes_of("\0\0\0\0", 4), &text, 1);
    assert_memory_equal(a, b, sizeof a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(published_hashes),    cmocka_unit_test(parts_are_joined),
        cmocka_unit_test(published_hmacs),     cmocka_unit_test(published_md5),
        cmocka_unit_test(published_hmac_sha1), cmocka_unit_test(an_empty_key_is_a_key),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
