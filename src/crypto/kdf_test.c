#include "crypto/kdf.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <string.h>
#include <cmocka.h>

#include "base/text.h"

static struct bytes unhex(uint8_t *out, size_t cap, const char *text)
{
    size_t n;
    assert_int_equal(hex_get(out, cap, &n, text, strlen(text)), 0);
    return bytes_of(out, n);
}

static void expect_hex(const uint8_t *got, size_t n, const char *want)
{
    char text[HEX_LEN(128) + 1];
    hex_put(text, bytes_of(got, n));
    assert_string_equal(text, want);
}

/* RFC 5869, appendix A.1 and A.3. */
static void published(void **state)
{
    uint8_t ikm[22], salt[32], info[32], out[42];
    memset(ikm, 0x0b, sizeof ikm);
    hkdf256(out, sizeof out, unhex(salt, sizeof salt, "000102030405060708090a0b0c"),
            bytes_of(ikm, sizeof ikm), unhex(info, sizeof info, "f0f1f2f3f4f5f6f7f8f9"));
    expect_hex(out, sizeof out,
               "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865");
    hkdf256(out, sizeof out, bytes_of(NULL, 0), bytes_of(ikm, sizeof ikm), bytes_of(NULL, 0));
    expect_hex(out, sizeof out,
               "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8");
}

/* The two steps by the definition, with HMAC as the only tool. */
static void steps_of_hkdf384(void **state)
{
    uint8_t prk[SHA384_LEN], want[2 * SHA384_LEN], out[2 * SHA384_LEN + 1];
    struct bytes salt = bytes_of_str("salt"), ikm = bytes_of_str("ikm"), info = bytes_of_str("info");
    hkdf384_extract(prk, salt, ikm);
    hmac_sha384(want, salt, &ikm, 1);
    assert_memory_equal(prk, want, sizeof prk);
    struct bytes first[] = {info, bytes_of("\x01", 1)};
    hmac_sha384(want, bytes_of(prk, sizeof prk), first, 2);
    struct bytes second[] = {bytes_of(want, SHA384_LEN), info, bytes_of("\x02", 1)};
    hmac_sha384(want + SHA384_LEN, bytes_of(prk, sizeof prk), second, 3);
    /* Every length is a beginning of the longest, and no byte behind it is touched. */
    for (size_t n = 0; n <= sizeof want; n++) {
        memset(out, 0xee, sizeof out);
        hkdf384_expand(out, n, prk, info);
        assert_memory_equal(out, want, n);
        assert_int_equal(out[n], 0xee);
    }
}

static void the_longest(void **state)
{
    static uint8_t out[255 * SHA384_LEN];
    uint8_t prk[SHA384_LEN] = {1};
    hkdf384_expand(out, sizeof out, prk, bytes_of(NULL, 0));
    /* The last block depends on the one before it. */
    uint8_t last[SHA384_LEN];
    struct bytes parts[] = {bytes_of(out + 253 * SHA384_LEN, SHA384_LEN), bytes_of("\xff", 1)};
    hmac_sha384(last, bytes_of(prk, sizeof prk), parts, 2);
    assert_memory_equal(out + 254 * SHA384_LEN, last, SHA384_LEN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(published),
        cmocka_unit_test(steps_of_hkdf384),
        cmocka_unit_test(the_longest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
