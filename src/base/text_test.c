#include "base/text.h"

#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <string.h>
#include <cmocka.h>

#include "base/rng.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))

typedef int get_fn(uint8_t *out, size_t cap, size_t *n, const char *s, size_t len);
typedef void put_fn(char *out, struct bytes in);

/* RFC 4648 section 10. */
static void published(void **state)
{
    static const struct {
        const char *plain, *hex, *base32, *base64;
    } cases[] = {
        {"", "", "", ""},
        {"f", "66", "my", "Zg"},
        {"fo", "666f", "mzxq", "Zm8"},
        {"foo", "666f6f", "mzxw6", "Zm9v"},
        {"foob", "666f6f62", "mzxw6yq", "Zm9vYg"},
        {"fooba", "666f6f6261", "mzxw6ytb", "Zm9vYmE"},
        {"foobar", "666f6f626172", "mzxw6ytboi", "Zm9vYmFy"},
        {"\xfb\xff\xbf", "fbffbf", "7p736", "-_-_"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        const struct bytes in = bytes_of_str(cases[i].plain);
        const struct {
            put_fn *put;
            get_fn *get;
            const char *text;
            size_t len;
        } forms[] = {{hex_put, hex_get, cases[i].hex, HEX_LEN(in.n)},
                     {base32_put, base32_get, cases[i].base32, BASE32_LEN(in.n)},
                     {base64url_put, base64url_get, cases[i].base64, BASE64_LEN(in.n)}};
        for (size_t f = 0; f < COUNT(forms); f++) {
            char text[32];
            uint8_t back[32];
            size_t n = 99;
            forms[f].put(text, in);
            assert_string_equal(text, forms[f].text);
            assert_int_equal(strlen(text), forms[f].len);
            assert_int_equal(forms[f].get(back, in.n, &n, text, forms[f].len), 0);
            assert_true(bytes_equal(bytes_of(back, n), in));
            if (in.n > 0)
                assert_int_equal(forms[f].get(back, in.n - 1, &n, text, forms[f].len), -EINVAL);
        }
    }
}

static void round_trips(void **state)
{
    static const struct {
        put_fn *put;
        get_fn *get;
    } forms[] = {{hex_put, hex_get}, {base32_put, base32_get}, {base64url_put, base64url_get}};
    struct rng_seeded seeded;
    struct rng r = rng_seeded(&seeded, 3);
    for (size_t len = 0; len <= 70; len++)
        for (size_t f = 0; f < COUNT(forms); f++) {
            uint8_t in[70], back[70];
            char text[200], again[200];
            size_t n;
            rng_fill(&r, in, len);
            forms[f].put(text, bytes_of(in, len));
            assert_int_equal(forms[f].get(back, sizeof back, &n, text, strlen(text)), 0);
            assert_int_equal(n, len);
            assert_memory_equal(back, in, len);
            /* One text for one value: whatever a changed text decodes to, it is encoded as that text again.
             */
            for (size_t i = 0; text[i]; i++) {
                char was = text[i];
                text[i] ^= 1;
                if (forms[f].get(back, sizeof back, &n, text, strlen(text)) == 0) {
                    forms[f].put(again, bytes_of(back, n));
                    assert_string_equal(again, text);
                }
                text[i] = was;
            }
        }
}

static void refusals(void **state)
{
    static const struct {
        get_fn *get;
        const char *text;
    } cases[] = {
        {hex_get, "0"},          {hex_get, "0g"},         {hex_get, "0x00"},       {hex_get, " 00 "},
        {base32_get, "m"},       {base32_get, "mz"},      {base32_get, "MY"},      {base32_get, "mzxq===="},
        {base32_get, "m1"},      {base32_get, "mzx"},     {base64url_get, "Z"},    {base64url_get, "Zh"},
        {base64url_get, "Zg=="}, {base64url_get, "Zm+v"}, {base64url_get, "Zm/v"}, {base64url_get, "Zm9v\n"},
        {base64url_get, "Zm9"},  {base32_get, "mzxw6y"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        uint8_t out[16];
        size_t n = 77;
        assert_int_equal(cases[i].get(out, sizeof out, &n, cases[i].text, strlen(cases[i].text)), -EINVAL);
        assert_int_equal(n, 77);
    }
    uint8_t out[4];
    size_t n;
    assert_int_equal(hex_get(out, sizeof out, &n, "aBCd", 4), 0);
    assert_memory_equal(out, "\xab\xcd", 2);
    /* A NUL inside is no digit. */
    assert_int_equal(base32_get(out, sizeof out, &n, "m\0", 2), -EINVAL);
    assert_int_equal(hex_get(out, sizeof out, &n, "\0\0", 2), -EINVAL);
}

static void durations(void **state)
{
    static const struct {
        const char *text;
        uint64_t seconds; /* 0: refused */
    } cases[] = {
        {"90", 90},
        {"90s", 90},
        {"15m", 900},
        {"24h", 86400},
        {"7d", 604800},
        {"3650d", 315360000},
        {"3651d", 0},
        {"0", 0},
        {"0s", 0},
        {"", 0},
        {"s", 0},
        {"1w", 0},
        {"-1", 0},
        {"1 h", 0},
        {"1hh", 0},
        {" 1", 0},
        {"1.5h", 0},
        {"+1", 0},
        {"315360000", 315360000},
        {"315360001", 0},
        {"18446744073709551617", 0},
        {"01m", 60},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        uint64_t s = 0;
        assert_int_equal(duration_get(&s, cases[i].text), cases[i].seconds ? 0 : -EINVAL);
        assert_true(s == cases[i].seconds);
    }
}

static void utf8(void **state)
{
    static const struct {
        const char *text;
        size_t n;
        bool ok;
    } cases[] = {
        {"", 0, true},
        {"a\0b", 3, true},
        {"\xc2\x80", 2, true},
        {"\xdf\xbf", 2, true},
        {"\xe0\xa0\x80", 3, true},
        {"\xed\x9f\xbf", 3, true},
        {"\xee\x80\x80", 3, true},
        {"\xf0\x90\x80\x80", 4, true},
        {"\xf4\x8f\xbf\xbf", 4, true},
        {"\x80", 1, false},
        {"\xc0\x80", 2, false},         /* longer than needed */
        {"\xc1\xbf", 2, false},         /* longer than needed */
        {"\xe0\x9f\xbf", 3, false},     /* longer than needed */
        {"\xf0\x8f\xbf\xbf", 4, false}, /* longer than needed */
        {"\xed\xa0\x80", 3, false},     /* surrogate */
        {"\xed\xbf\xbf", 3, false},     /* surrogate */
        {"\xf4\x90\x80\x80", 4, false}, /* past U+10FFFF */
        {"\xf8\x88\x80\x80\x80", 5, false},
        {"\xff", 1, false},
        {"\xc3", 1, false},
        {"\xe2\x82", 2, false},
        {"\xf0\x9f\x98", 3, false},
        {"\xc3(", 2, false},
        {"a\xe2\x82z", 4, false},
    };
    for (size_t i = 0; i < COUNT(cases); i++)
        assert_int_equal(utf8_valid(bytes_of(cases[i].text, cases[i].n)), cases[i].ok);
}

#define SIXTEEN "0123456789abcdef"

static void names(void **state)
{
    static const struct {
        const char *text;
        bool ok;
    } cases[] = {
        {"Ada's laptop", true},
        {"\xc3\xa9t\xc3\xa9", true},
        {"\xe6\x97\xa5\xe6\x9c\xac", true},
        {"\xf0\x9f\x98\x80", true},
        {SIXTEEN SIXTEEN SIXTEEN SIXTEEN, true},
        {SIXTEEN SIXTEEN SIXTEEN SIXTEEN "x", false},
        {"", false},
        {" a", false},
        {"a ", false},
        {" ", false},
        {"\xc2\xa0"
         "a",
         false},                  /* no-break space */
        {"a\xe3\x80\x80", false}, /* ideographic space */
        {"a\tb", false},
        {"a\nb", false},
        {"a\x7f", false},
        {"a\xc2\x85", false}, /* C1 */
        {"a\xe2\x80\xae"
         "b",
         false}, /* right-to-left override */
        {"a\xe2\x81\xa6"
         "b",
         false}, /* isolate */
        {"a\xe2\x80\x8b"
         "b",
         false},                  /* zero width space */
        {"a\xef\xbb\xbf", false}, /* byte order mark */
        {"a\xc2\xad"
         "b",
         false},                      /* soft hyphen */
        {"a\xf3\xa0\x81\x81", false}, /* tag */
        {"\xff", false},
    };
    for (size_t i = 0; i < COUNT(cases); i++)
        assert_int_equal(name_valid(cases[i].text), cases[i].ok);
}

static void escapes(void **state)
{
    static const struct {
        const char *in;
        size_t cap;
        const char *out;
    } cases[] = {
        {"plain \xc3\xa9", 64, "plain \xc3\xa9"},
        {"\x1b[31m", 64, "\\x1b[31m"},
        {"\xc2\x9b", 64, "\\xc2\\x9b"},
        {"\xe2\x80\xae", 64, "\\xe2\\x80\\xae"},
        {"\xff\x80", 64, "\\xff\\x80"},
        {"\xe2\x82", 64, "\\xe2\\x82"},
        {"abcdef", 4, "abc"},
        {"ab\xc3\xa9", 4, "ab"},
        {"ab\n", 6, "ab"},
        {"ab\n", 7, "ab\\x0a"},
        {"abc", 1, ""},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        char out[64];
        memset(out, '?', sizeof out);
        text_escape(out, cases[i].cap, cases[i].in);
        assert_string_equal(out, cases[i].out);
    }
    char untouched = '?';
    text_escape(&untouched, 0, "abc");
    assert_int_equal(untouched, '?');
}

/* RFC 4648 section 10, and the two letters that the other alphabet has not. */
static void standard_base64(void **state)
{
    static const char *const rows[][2] = {{"", ""},
                                          {"f", "Zg=="},
                                          {"fo", "Zm8="},
                                          {"foo", "Zm9v"},
                                          {"foob", "Zm9vYg=="},
                                          {"fooba", "Zm9vYmE="},
                                          {"foobar", "Zm9vYmFy"},
                                          {"\xfb\xff", "+/8="}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char out[16];
        base64_put(out, bytes_of_str(rows[i][0]));
        assert_string_equal(out, rows[i][1]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(standard_base64), cmocka_unit_test(published), cmocka_unit_test(round_trips),
        cmocka_unit_test(refusals),        cmocka_unit_test(durations), cmocka_unit_test(utf8),
        cmocka_unit_test(names),           cmocka_unit_test(escapes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
