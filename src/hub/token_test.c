#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>

#include "base/text.h"
#include "crypto/hash.h"
#include "hub/token.h"

static const uint8_t secret[TOKEN_KEY_LEN] = {1, 2, 3};

static struct token_claims claims_of(uint64_t issued, uint64_t expires)
{
    struct token_claims c = {.issued = issued, .expires = expires};
    memset(c.node, 0xab, sizeof c.node);
    return c;
}

static void a_token_is_good_until_it_expires(void **state)
{
    char text[SIGNAL_TOKEN_MAX + 1];
    struct token_claims in = claims_of(1000, 1900), out;
    struct token_key *k = token_key_new(secret);
    assert_int_equal(token_make(k, &in, text), 0);
    assert_int_equal(token_check(k, text, 1899, &out), 0);
    assert_memory_equal(out.node, in.node, sizeof in.node);
    assert_int_equal(out.issued, 1000);
    assert_int_equal(out.expires, 1900);
    assert_int_equal(token_check(k, text, 1900, &out), -EKEYEXPIRED);
    token_key_free(k);
}

static void another_key_does_not_take_it(void **state)
{
    uint8_t other[TOKEN_KEY_LEN] = {1, 2, 4};
    char text[SIGNAL_TOKEN_MAX + 1];
    struct token_claims in = claims_of(0, 100), out;
    struct token_key *a = token_key_new(secret), *b = token_key_new(other);
    assert_int_equal(token_make(a, &in, text), 0);
    assert_int_equal(token_check(b, text, 1, &out), -EBADMSG);
    token_key_free(a);
    token_key_free(b);
}

static void every_change_is_noticed(void **state)
{
    char text[SIGNAL_TOKEN_MAX + 1];
    struct token_claims in = claims_of(0, 100), out;
    struct token_key *k = token_key_new(secret);
    assert_int_equal(token_make(k, &in, text), 0);
    size_t n = strlen(text);
    for (size_t i = 0; i < n; i++) {
        char was = text[i];
        text[i] = was == 'A' ? 'B' : 'A';
        assert_int_equal(token_check(k, text, 1, &out), -EBADMSG);
        text[i] = was;
    }
    for (size_t i = 0; i < n; i++) {
        char was = text[i];
        text[i] = 0;
        assert_int_equal(token_check(k, text, 1, &out), -EBADMSG);
        text[i] = was;
    }
    assert_int_equal(token_check(k, text, 1, &out), 0);
    token_key_free(k);
}

/* A token made by hand from header and claims, with the hub's own key. */
static void make(char *out, size_t cap, const char *head, const char *claims)
{
    char h[512], c[512], m[BASE64_LEN(32) + 1];
    uint8_t mac[32];
    base64url_put(h, bytes_of_str(head));
    base64url_put(c, bytes_of_str(claims));
    snprintf(out, cap, "%s.%s", h, c);
    struct bytes part = bytes_of_str(out);
    hmac_sha256(mac, bytes_of(secret, sizeof secret), &part, 1);
    base64url_put(m, bytes_of(mac, sizeof mac));
    size_t n = strlen(out);
    assert_true(n + sizeof m + 1 <= cap);
    out[n] = '.';
    memcpy(out + n + 1, m, sizeof m);
}

#define SUB  "\"sub\":\"abababababababababababababababababababababababababababababababab\""
#define GOOD "{" SUB ",\"aud\":\"warren-hub\",\"iat\":1,\"exp\":100}"

static void only_our_algorithm_and_audience_count(void **state)
{
    static const struct {
        const char *head, *claims;
        int rc;
    } rows[] = {
        {"{\"alg\":\"HS256\",\"typ\":\"JWT\"}", GOOD, 0},
        {"{\"alg\":\"HS256\"}", GOOD, 0},
        {"{\"alg\":\"none\"}", GOOD, -EBADMSG},
        {"{\"alg\":\"HS384\"}", GOOD, -EBADMSG},
        {"{\"alg\":\"RS256\"}", GOOD, -EBADMSG},
        {"{\"alg\":\"hs256\"}", GOOD, -EBADMSG},
        {"{\"typ\":\"JWT\"}", GOOD, -EBADMSG},
        {"{\"alg\":[\"HS256\"]}", GOOD, -EBADMSG},
        {"{\"alg\":\"HS256\",\"crit\":[\"x\"],\"x\":1}", GOOD, -EBADMSG},
        {"{\"alg\":\"HS256\",\"b64\":false}", GOOD, -EBADMSG},
        {"[]", GOOD, -EBADMSG},
        {"rubbish", GOOD, -EBADMSG},
        {"{\"alg\":\"HS256\"}", "{" SUB ",\"aud\":\"other\",\"iat\":1,\"exp\":100}", -EBADMSG},
        {"{\"alg\":\"HS256\"}", "{" SUB ",\"iat\":1,\"exp\":100}", -EBADMSG},
        {"{\"alg\":\"HS256\"}", "{" SUB ",\"aud\":\"warren-hub\",\"iat\":1}", -EBADMSG},
        {"{\"alg\":\"HS256\"}", "{" SUB ",\"aud\":\"warren-hub\",\"iat\":1,\"exp\":\"100\"}", -EBADMSG},
        {"{\"alg\":\"HS256\"}", "{" SUB ",\"aud\":\"warren-hub\",\"iat\":1,\"exp\":-1}", -EBADMSG},
        {"{\"alg\":\"HS256\"}", "{\"sub\":\"abab\",\"aud\":\"warren-hub\",\"iat\":1,\"exp\":100}", -EBADMSG},
        {"{\"alg\":\"HS256\"}", "{\"aud\":\"warren-hub\",\"iat\":1,\"exp\":100}", -EBADMSG},
        {"{\"alg\":\"HS256\"}", "7", -EBADMSG},
        {"{\"alg\":\"HS256\"}", "{" SUB ",\"aud\":\"warren-hub\",\"iat\":1,\"exp\":10}", -EKEYEXPIRED},
    };
    char text[SIGNAL_TOKEN_MAX + 1];
    struct token_claims out;
    struct token_key *k = token_key_new(secret);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        make(text, sizeof text, rows[i].head, rows[i].claims);
        if (token_check(k, text, 50, &out) != rows[i].rc)
            fail_msg("row %zu", i);
    }
    token_key_free(k);
}

static void rubbish_is_refused(void **state)
{
    static const char *const rows[] = {"", ".", "..", "...", "a.b", "a.b.c", "a.b.c.d", "!.!.!"};
    static char longest[SIGNAL_TOKEN_MAX + 2];
    struct token_claims out;
    struct token_key *k = token_key_new(secret);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_int_equal(token_check(k, rows[i], 1, &out), -EBADMSG);
    memset(longest, 'A', sizeof longest - 1);
    longest[100] = longest[200] = '.';
    assert_int_equal(token_check(k, longest, 1, &out), -EBADMSG);
    token_key_free(k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_token_is_good_until_it_expires),
        cmocka_unit_test(another_key_does_not_take_it),
        cmocka_unit_test(every_change_is_noticed),
        cmocka_unit_test(only_our_algorithm_and_audience_count),
        cmocka_unit_test(rubbish_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
