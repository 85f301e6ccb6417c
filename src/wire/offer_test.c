#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "wire/offer.h"

static const struct offer sample = {
    .flags = OFFER_RELAYS,
    .count = 2,
    .leg = {{{1, 2, 3, 4, 5, 6, 7, 8}, 258, 100}, {{9, 10, 11, 12, 13, 14, 15, 16}, 65535, 0}},
};
static const uint8_t sample_text[] = {1,   2, 1,  2,  3,  4,  5,  6,  7,  8,   1,   2,
                                      100, 9, 10, 11, 12, 13, 14, 15, 16, 255, 255, 0};

static void offer_as_written(void **state)
{
    uint8_t out[OFFER_MAX];
    struct offer got;
    struct wr w = wr_of(out, sizeof out);
    offer_write(&w, &sample);
    assert_int_equal(wr_done(&w).n, sizeof sample_text);
    assert_memory_equal(out, sample_text, sizeof sample_text);
    assert_int_equal(offer_read(&got, wr_done(&w)), 0);
    assert_memory_equal(&got, &sample, sizeof got);
}

static void offer_cut_or_longer(void **state)
{
    uint8_t in[sizeof sample_text + 1] = {0};
    struct offer got;
    memcpy(in, sample_text, sizeof sample_text);
    for (size_t n = 0; n < sizeof sample_text; n++)
        assert_int_equal(offer_read(&got, bytes_of(in, n)), -EBADMSG);
    assert_int_equal(offer_read(&got, bytes_of(in, sizeof in)), -EBADMSG);
}

static void offer_refused(void **state)
{
    static const struct {
        size_t at;
        uint8_t value;
    } rows[] = {{0, 2}, {0, 0x81}, {1, 1}, {1, 3}, {1, OFFER_LEGS_MAX + 1}, {12, 101}, {23, 255}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        uint8_t in[sizeof sample_text];
        struct offer got;
        memcpy(in, sample_text, sizeof in);
        in[rows[i].at] = rows[i].value;
        assert_int_equal(offer_read(&got, bytes_of(in, sizeof in)), -EBADMSG);
    }
}

static void the_largest_offer_fits(void **state)
{
    uint8_t out[OFFER_MAX];
    struct offer o = {.count = OFFER_LEGS_MAX}, got;
    for (size_t i = 0; i < o.count; i++)
        o.leg[i] = (struct offer_leg){{(uint8_t)i}, (uint16_t)(i * 7), (uint8_t)i};
    struct wr w = wr_of(out, sizeof out);
    offer_write(&w, &o);
    assert_true(wr_ok(&w));
    assert_int_equal(wr_done(&w).n, OFFER_MAX);
    assert_int_equal(offer_read(&got, wr_done(&w)), 0);
    assert_memory_equal(&got, &o, sizeof o);
}

/* ---- Pieces. */

static size_t piece_text(uint8_t *out, uint8_t index, uint8_t count, size_t n)
{
    static const uint8_t data[PIECE_DATA_MAX + 1] = {0xaa, 0xbb};
    struct wr w = wr_of(out, PIECE_HEADER_LEN + PIECE_DATA_MAX + 1);
    piece_write(&w, &(struct piece){0x01020304, index, count, bytes_of(data, n)});
    return wr_done(&w).n;
}

static void piece_round_trip(void **state)
{
    uint8_t in[PIECE_HEADER_LEN + PIECE_DATA_MAX + 1];
    struct piece got;
    size_t n = piece_text(in, 2, 3, 2);
    assert_memory_equal(in, "\7\2\3\0\1\2\3\4\xaa\xbb", 10);
    assert_int_equal(piece_read(&got, bytes_of(in, n)), 0);
    assert_int_equal(got.message, 0x01020304);
    assert_int_equal(got.index, 2);
    assert_int_equal(got.count, 3);
    assert_int_equal(got.data.n, 2);
    assert_memory_equal(got.data.p, "\xaa\xbb", 2);
    for (size_t cut = 0; cut <= PIECE_HEADER_LEN; cut++)
        assert_int_equal(piece_read(&got, bytes_of(in, cut)), -EBADMSG);
}

static void piece_rows(void **state)
{
    static const struct {
        uint8_t index, count;
        size_t n;
        int rc;
    } rows[] = {
        {0, 2, PIECE_DATA_MAX, 0},
        {1, 2, PIECE_DATA_MAX, 0},
        {1, 2, 1, 0},
        {PIECES_MAX - 1, PIECES_MAX, 1, 0},
        {0, 2, PIECE_DATA_MAX - 1, -EBADMSG},
        {1, 2, 0, -EBADMSG},
        {1, 2, PIECE_DATA_MAX + 1, -EBADMSG},
        {0, 1, 1, -EBADMSG},
        {0, 0, 1, -EBADMSG},
        {2, 2, 1, -EBADMSG},
        {PIECES_MAX, PIECES_MAX + 1, 1, -EBADMSG},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        uint8_t in[PIECE_HEADER_LEN + PIECE_DATA_MAX + 1];
        struct piece got;
        size_t n = piece_text(in, rows[i].index, rows[i].count, rows[i].n);
        assert_int_equal(piece_read(&got, bytes_of(in, n)), rows[i].rc);
    }
}

static void piece_header_refused(void **state)
{
    uint8_t in[PIECE_HEADER_LEN + PIECE_DATA_MAX + 1];
    struct piece got;
    size_t n = piece_text(in, 2, 3, 2);
    in[0] = 6;
    assert_int_equal(piece_read(&got, bytes_of(in, n)), -EBADMSG);
    in[0] = PIECE_TYPE;
    in[3] = 1;
    assert_int_equal(piece_read(&got, bytes_of(in, n)), -EBADMSG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(offer_as_written),     cmocka_unit_test(offer_cut_or_longer),
        cmocka_unit_test(offer_refused),        cmocka_unit_test(the_largest_offer_fits),
        cmocka_unit_test(piece_round_trip),     cmocka_unit_test(piece_rows),
        cmocka_unit_test(piece_header_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
