#include "io/ws_upgrade.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define KEY    "dGhlIHNhbXBsZSBub25jZQ=="     /* RFC 6455 section 1.3 */
#define ACCEPT "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" /* its answer */
#define ASKS   "Upgrade: websocket\r\nConnection: Upgrade\r\n"
#define KEYED  "Sec-WebSocket-Key: " KEY "\r\nSec-WebSocket-Version: 13\r\n"
#define GET    "GET /warren HTTP/1.1\r\nHost: x\r\n"
#define OK     "HTTP/1.1 101 Switching Protocols\r\n"
#define ACC    "Sec-WebSocket-Accept: " ACCEPT "\r\n"

static int request(const char *text)
{
    char key[WS_UPGRADE_KEY_LEN + 1];
    return ws_upgrade_read_request(bytes_of_str(text), key);
}

static void the_key_of_the_rfc(void **state)
{
    char key[WS_UPGRADE_KEY_LEN + 1];
    ws_upgrade_key(key, (const uint8_t *)"the sample nonce");
    assert_string_equal(key, KEY);
}

static void both_sides_understand_each_other(void **state)
{
    char key[WS_UPGRADE_KEY_LEN + 1], ask[WS_UPGRADE_MAX], answer[WS_UPGRADE_MAX];
    int n = ws_upgrade_request(ask, sizeof ask, "[2001:db8::1]:4000", KEY);
    assert_true(n > 0);
    assert_non_null(strstr(ask, "Host: [2001:db8::1]:4000\r\n"));
    assert_int_equal(ws_upgrade_read_request(bytes_of(ask, (size_t)n), key), n);
    assert_string_equal(key, KEY);
    int m = ws_upgrade_answer(answer, sizeof answer, key);
    assert_int_equal(ws_upgrade_read_answer(bytes_of(answer, (size_t)m), KEY), m);
    assert_int_equal(ws_upgrade_read_answer(bytes_of(answer, (size_t)m), "AAAAAAAAAAAAAAAAAAAAAA=="),
                     -EBADMSG);
    strcat(ask, "more");
    assert_int_equal(ws_upgrade_read_request(bytes_of_str(ask), key), n);
    assert_int_equal(ws_upgrade_request(ask, 40, "x", KEY), -E2BIG);
    assert_int_equal(ws_upgrade_answer(ask, 40, KEY), -E2BIG);
}

static void every_cut_waits_for_more(void **state)
{
    static const char ask[] = GET ASKS KEYED "\r\n", answer[] = OK ASKS ACC "\r\n";
    char key[WS_UPGRADE_KEY_LEN + 1];
    for (size_t n = 0; n < sizeof ask - 1; n++) {
        char *copy = malloc(n + 1);
        memcpy(copy, ask, n);
        assert_int_equal(ws_upgrade_read_request(bytes_of(copy, n), key), 0);
        free(copy);
    }
    for (size_t n = 0; n < sizeof answer - 1; n++)
        assert_int_equal(ws_upgrade_read_answer(bytes_of(answer, n), KEY), 0);
}

static void requests(void **state)
{
    static const struct {
        const char *text;
        bool good;
    } cases[] = {
        {GET ASKS KEYED "\r\n", true},
        {GET "UPGRADE:WebSocket\r\nconnection: keep-alive , UPGRADE\r\n" KEYED "\r\n", true},
        {GET ASKS KEYED "Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n", true},
        {GET ASKS KEYED "Content-Length: 0\r\n\r\n", true},
        {GET ASKS KEYED "Content-Length: 5\r\n\r\n", false},
        {GET ASKS KEYED "Transfer-Encoding: chunked\r\n\r\n", false},
        {"GET / HTTP/1.1\r\nHost: x\r\n" ASKS KEYED "\r\n", false},
        {"GET /warren?x HTTP/1.1\r\nHost: x\r\n" ASKS KEYED "\r\n", false},
        {"POST /warren HTTP/1.1\r\nHost: x\r\n" ASKS KEYED "\r\n", false},
        {"GET /warren HTTP/1.0\r\nHost: x\r\n" ASKS KEYED "\r\n", false},
        {"GET /warren HTTP/1.1\r\n" ASKS KEYED "\r\n", false},
        {GET KEYED "\r\n", false},
        {GET "Upgrade: websocket\r\nConnection: close\r\n" KEYED "\r\n", false},
        {GET "Upgrade: h2c\r\nConnection: Upgrade\r\n" KEYED "\r\n", false},
        {GET ASKS "Sec-WebSocket-Key: " KEY "\r\nSec-WebSocket-Version: 8\r\n\r\n", false},
        {GET ASKS "Sec-WebSocket-Key: dGhl\r\nSec-WebSocket-Version: 13\r\n\r\n", false},
        {GET ASKS "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25j*Q==\r\nSec-WebSocket-Version: 13\r\n\r\n", false},
        {GET ASKS KEYED "Sec-WebSocket-Key: " KEY "\r\n\r\n", false},
        {GET ASKS KEYED " folded: x\r\n\r\n", false},
        {GET ASKS KEYED "blank : x\r\n\r\n", false},
        {GET ASKS KEYED "no colon\r\n\r\n", false},
        {GET ASKS KEYED "x: a\nb\r\n\r\n", false},
        {"\r\n\r\n", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (request(cases[i].text) != (cases[i].good ? (int)strlen(cases[i].text) : -EBADMSG))
            fail_msg("request %zu: %s", i, cases[i].text);
}

static void answers(void **state)
{
    static const struct {
        const char *text;
        bool good;
    } cases[] = {
        {OK ASKS ACC "\r\n", true},
        {"HTTP/1.1 101\r\n" ASKS ACC "\r\n", true},
        {"HTTP/1.1 1010\r\n" ASKS ACC "\r\n", false},
        {"HTTP/1.1 200 OK\r\n" ASKS ACC "\r\n", false},
        {"HTTP/1.0 101 x\r\n" ASKS ACC "\r\n", false},
        {OK ASKS "\r\n", false},
        {OK ASKS "Sec-WebSocket-Accept: S3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n", false},
        {OK ACC "\r\n", false},
        {OK ASKS ACC "Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n", false},
        {OK ASKS ACC "Sec-WebSocket-Protocol: chat\r\n\r\n", false},
        {WS_UPGRADE_REFUSAL, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (ws_upgrade_read_answer(bytes_of_str(cases[i].text), KEY) !=
            (cases[i].good ? (int)strlen(cases[i].text) : -EBADMSG))
            fail_msg("answer %zu: %s", i, cases[i].text);
}

static void too_much(void **state)
{
    char text[WS_UPGRADE_MAX + 100], key[WS_UPGRADE_KEY_LEN + 1];
    memset(text, 'a', sizeof text);
    memcpy(text, GET, strlen(GET));
    assert_int_equal(ws_upgrade_read_request(bytes_of(text, WS_UPGRADE_MAX - 1), key), 0);
    assert_int_equal(ws_upgrade_read_request(bytes_of(text, WS_UPGRADE_MAX), key), -EMSGSIZE);
    assert_int_equal(ws_upgrade_read_answer(bytes_of(text, sizeof text), KEY), -EMSGSIZE);
    char many[WS_UPGRADE_MAX] = GET ASKS KEYED;
    for (int i = 0; i < WS_UPGRADE_LINES; i++)
        strcat(many, "x: y\r\n");
    strcat(many, "\r\n");
    assert_int_equal(request(many), -EBADMSG);
}

/* No bit of the answer's value may be another one. */
static void each_bit_of_the_accept_counts(void **state)
{
    static const char whole[] = OK ASKS ACC "\r\n";
    size_t from = (size_t)(strstr(whole, ACCEPT) - whole);
    for (size_t bit = 0; bit < 8 * (sizeof ACCEPT - 1); bit++) {
        char copy[sizeof whole];
        memcpy(copy, whole, sizeof whole);
        copy[from + bit / 8] ^= (char)(1 << bit % 8);
        assert_true(ws_upgrade_read_answer(bytes_of(copy, sizeof whole - 1), KEY) < 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_key_of_the_rfc),
        cmocka_unit_test(both_sides_understand_each_other),
        cmocka_unit_test(every_cut_waits_for_more),
        cmocka_unit_test(requests),
        cmocka_unit_test(answers),
        cmocka_unit_test(too_much),
        cmocka_unit_test(each_bit_of_the_accept_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
