#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>

#include "wire/relay.h"

static uint8_t message[RELAY_MESSAGE_MAX], payload[RELAY_PAYLOAD_MAX + 1];

static void frames_come_back_in_a_row(void **state)
{
    static const struct {
        uint8_t kind;
        uint32_t peer;
        size_t n;
    } rows[] = {{RELAY_DATA, 1, 0},
                {RELAY_CONTROL, UINT32_MAX, 1},
                {RELAY_GONE, 0, 0},
                {RELAY_DROPPED, 0x01020304, 4},
                {RELAY_DATA, 9, RELAY_PAYLOAD_MAX}};
    enum { COUNT = sizeof rows / sizeof *rows };
    struct wr w = wr_of(message, sizeof message);
    struct relay_frame f;
    for (size_t i = 0; i < sizeof payload; i++)
        payload[i] = (uint8_t)i;
    for (size_t i = 0; i < COUNT; i++) {
        f = (struct relay_frame){rows[i].kind, rows[i].peer, bytes_of(payload, rows[i].n)};
        relay_frame_write(&w, &f);
    }
    assert_true(wr_ok(&w));
    struct rd r = rd_of(wr_done(&w));
    for (size_t i = 0; i < COUNT; i++) {
        assert_int_equal(relay_frame_read(&f, &r), 1);
        assert_int_equal(f.kind, rows[i].kind);
        assert_int_equal(f.peer, rows[i].peer);
        assert_true(bytes_equal(f.payload, bytes_of(payload, rows[i].n)));
    }
    assert_int_equal(relay_frame_read(&f, &r), 0);
    assert_int_equal(relay_frame_read(&f, &r), 0);
}

static void the_header_is_as_written_down(void **state)
{
    static const uint8_t want[] = {2, 0, 0, 3, 0x0a, 0x0b, 0x0c, 0x0d, 'a', 'b', 'c'};
    struct wr w = wr_of(message, sizeof message);
    struct relay_frame f = {RELAY_CONTROL, 0x0a0b0c0d, bytes_of_str("abc")};
    relay_frame_write(&w, &f);
    assert_int_equal(wr_done(&w).n, sizeof want);
    assert_memory_equal(message, want, sizeof want);
}

static void every_truncation_is_refused(void **state)
{
    struct wr w = wr_of(message, sizeof message);
    struct relay_frame f = {RELAY_DATA, 7, bytes_of_str("hello")};
    relay_frame_write(&w, &f);
    size_t whole = wr_done(&w).n;
    for (size_t n = 1; n < whole; n++) {
        struct rd r = rd_of(bytes_of(message, n));
        assert_int_equal(relay_frame_read(&f, &r), -EBADMSG);
        assert_int_equal(relay_frame_read(&f, &r), -EBADMSG);
    }
    struct rd r = rd_of(bytes_of(message, 0));
    assert_int_equal(relay_frame_read(&f, &r), 0);
}

/* Bytes 0 (kind), 1 (zero) and 2, 3 (length) are judged, the peer is anybody. */
static void flipped_headers(void **state)
{
    for (size_t at = 0; at < RELAY_HEADER_LEN; at++) {
        for (int bit = 0; bit < 8; bit++) {
            struct wr w = wr_of(message, sizeof message);
            struct relay_frame f = {RELAY_DATA, 7, bytes_of_str("hello")}, got;
            relay_frame_write(&w, &f);
            message[at] ^= (uint8_t)(1 << bit);
            struct rd r = rd_of(wr_done(&w));
            int rc = relay_frame_read(&got, &r);
            bool ok = at >= 4 || (at == 0 && message[0] >= RELAY_DATA && message[0] < RELAY_KIND_COUNT) ||
                      (at == 3 && message[3] < 5);
            assert_int_equal(rc, ok ? 1 : -EBADMSG);
        }
    }
}

static void what_is_too_long_is_not_written(void **state)
{
    struct wr w = wr_of(message, sizeof message);
    struct relay_frame f = {RELAY_DATA, 7, bytes_of(payload, RELAY_PAYLOAD_MAX + 1)}, got;
    relay_frame_write(&w, &f);
    assert_false(wr_ok(&w));
    relay_header_write(message, RELAY_DATA, 1, RELAY_PAYLOAD_MAX + 1);
    struct rd r = rd_of(bytes_of(message, RELAY_HEADER_LEN + RELAY_PAYLOAD_MAX + 1));
    assert_int_equal(relay_frame_read(&got, &r), -EBADMSG);
    uint8_t small[10];
    w = wr_of(small, sizeof small);
    f.payload = bytes_of_str("abc");
    relay_frame_write(&w, &f);
    assert_false(wr_ok(&w));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frames_come_back_in_a_row),       cmocka_unit_test(the_header_is_as_written_down),
        cmocka_unit_test(every_truncation_is_refused),     cmocka_unit_test(flipped_headers),
        cmocka_unit_test(what_is_too_long_is_not_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
