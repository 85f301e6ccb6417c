#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>

#include "io/ws_frame.h"

/* The examples of RFC 6455 section 5.7, and the lengths around those that need more bytes. */
static void test_heads(void **state)
{
    static const struct {
        struct ws_head head;
        size_t n;
        uint8_t bytes[WS_HEAD_MAX];
    } rows[] = {
        {{WS_TEXT, true, false, {0}, 5}, 2, {0x81, 0x05}},
        {{WS_TEXT, true, true, {0x37, 0xfa, 0x21, 0x3d}, 5}, 6, {0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d}},
        {{WS_TEXT, false, false, {0}, 3}, 2, {0x01, 0x03}},
        {{WS_CONTINUATION, true, false, {0}, 2}, 2, {0x80, 0x02}},
        {{WS_PING, true, false, {0}, 5}, 2, {0x89, 0x05}},
        {{WS_PONG, true, true, {1, 2, 3, 4}, 125}, 6, {0x8a, 0xfd, 1, 2, 3, 4}},
        {{WS_CLOSE, true, false, {0}, 0}, 2, {0x88, 0x00}},
        {{WS_BINARY, true, false, {0}, 126}, 4, {0x82, 0x7e, 0x00, 0x7e}},
        {{WS_BINARY, true, false, {0}, 256}, 4, {0x82, 0x7e, 0x01, 0x00}},
        {{WS_BINARY, true, true, {9, 8, 7, 6}, 65535}, 8, {0x82, 0xfe, 0xff, 0xff, 9, 8, 7, 6}},
        {{WS_BINARY, true, false, {0}, 65536}, 10, {0x82, 0x7f, 0, 0, 0, 0, 0, 1, 0, 0}},
        {{WS_BINARY, false, true, {5, 6, 7, 8}, 1ull << 40},
         14,
         {0x02, 0xff, 0, 0, 1, 0, 0, 0, 0, 0, 5, 6, 7, 8}},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        uint8_t out[WS_HEAD_MAX];
        struct ws_head h;
        assert_int_equal(ws_head_write(out, &rows[i].head), rows[i].n);
        assert_memory_equal(out, rows[i].bytes, rows[i].n);
        for (size_t n = 0; n < rows[i].n; n++)
            assert_int_equal(ws_head_read(&h, bytes_of(out, n)), 0);
        memset(&h, 0xee, sizeof h);
        assert_int_equal(ws_head_read(&h, bytes_of(rows[i].bytes, sizeof rows[i].bytes)), rows[i].n);
        assert_int_equal(h.opcode, rows[i].head.opcode);
        assert_int_equal(h.final, rows[i].head.final);
        assert_int_equal(h.masked, rows[i].head.masked);
        assert_int_equal(h.length, rows[i].head.length);
        assert_memory_equal(h.mask, rows[i].head.mask, 4);
    }
}

static void test_bad_heads(void **state)
{
    static const uint8_t bad[][10] = {
        {0xc2, 0x05},                               /* a reserved bit */
        {0x92, 0x05},                               /* another */
        {0x83, 0x05},                               /* no such data frame */
        {0x8b, 0x05},                               /* no such control frame */
        {0x09, 0x05},                               /* a ping in pieces */
        {0x89, 0x7e, 0x00, 0x80},                   /* a ping that is too long */
        {0x82, 0x7e, 0x00, 0x7d},                   /* a length that needs no 16 bits */
        {0x82, 0x7f, 0, 0, 0, 0, 0, 0, 0xff, 0xff}, /* nor 64 */
        {0x82, 0x7f, 0x80, 0, 0, 0, 0, 1, 0, 0},    /* the highest bit */
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct ws_head h = {.length = 77};
        assert_int_equal(ws_head_read(&h, bytes_of(bad[i], sizeof bad[i])), -EBADMSG);
        assert_int_equal(h.length, 77);
    }
}

static void test_mask(void **state)
{
    static const uint8_t mask[4] = {0x37, 0xfa, 0x21, 0x3d};
    uint8_t hello[] = {0x7f, 0x9f, 0x4d, 0x51, 0x58}, p[64];
    ws_mask(hello, sizeof hello, mask);
    assert_memory_equal(hello, "Hello", 5);
    for (size_t n = 0; n < 40; n++) {
        for (size_t from = 0; from < 8; from++) {
            memset(p, 0x55, sizeof p);
            ws_mask(p + from, n, mask);
            for (size_t i = 0; i < sizeof p; i++)
                assert_int_equal(p[i], i < from || i >= from + n ? 0x55 : 0x55 ^ mask[(i - from) % 4]);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_heads),
        cmocka_unit_test(test_bad_heads),
        cmocka_unit_test(test_mask),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
