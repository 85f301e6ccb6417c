#include "base/bytes.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <setjmp.h>
#include <string.h>
#include <cmocka.h>

/* One of everything; the codec of every module has this shape. */
struct sample {
    uint8_t a;
    uint16_t b;
    uint32_t c;
    uint64_t d;
    uint8_t fixed[3];
    struct bytes block;
    char text[8];
};

static bool sample_read(struct sample *s, struct bytes in)
{
    struct rd r = rd_of(in);
    s->a = rd_u8(&r);
    s->b = rd_u16(&r);
    s->c = rd_u32(&r);
    s->d = rd_u64(&r);
    rd_copy(&r, s->fixed, sizeof s->fixed);
    s->block = rd_block16(&r, 4);
    rd_text8(&r, s->text, sizeof s->text);
    return rd_done(&r);
}

static struct bytes sample_write(const struct sample *s, void *out, size_t cap)
{
    struct wr w = wr_of(out, cap);
    wr_u8(&w, s->a);
    wr_u16(&w, s->b);
    wr_u32(&w, s->c);
    wr_u64(&w, s->d);
    wr_copy(&w, s->fixed, sizeof s->fixed);
    wr_block16(&w, s->block);
    wr_text8(&w, s->text);
    return wr_done(&w);
}

static const uint8_t wire[] = {0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x09, 0x0a, 0x0b, 0x0c, 0x0d,
                               0x0e, 0x0f, 'x',  'y',  'z',  0x00, 0x02, 0xfe, 0xff, 0x03, 'a',  0xc3, 0xa9};

static void reads_big_endian(void **state)
{
    struct sample s;
    assert_true(sample_read(&s, bytes_of(wire, sizeof wire)));
    assert_int_equal(s.a, 0x01);
    assert_int_equal(s.b, 0x0203);
    assert_int_equal(s.c, 0x04050607);
    assert_true(s.d == 0x08090a0b0c0d0e0fu);
    assert_memory_equal(s.fixed, "xyz", 3);
    assert_true(bytes_equal(s.block, bytes_of("\xfe\xff", 2)));
    assert_ptr_equal(s.block.p, wire + 20);
    assert_string_equal(s.text, "a\xc3\xa9");
}

static void writes_what_it_reads(void **state)
{
    struct sample s;
    uint8_t out[sizeof wire];
    assert_true(sample_read(&s, bytes_of(wire, sizeof wire)));
    assert_true(bytes_equal(sample_write(&s, out, sizeof out), bytes_of(wire, sizeof wire)));
}

static void every_truncation_fails(void **state)
{
    for (size_t n = 0; n < sizeof wire; n++) {
        /* In memory of exactly this size, so that the sanitizer sees a byte too far. */
        uint8_t *copy = malloc(n ? n : 1);
        memcpy(copy, wire, n);
        struct sample s;
        assert_false(sample_read(&s, bytes_of(copy, n)));
        free(copy);
    }
    uint8_t longer[sizeof wire + 1] = {0};
    memcpy(longer, wire, sizeof wire);
    struct sample s;
    assert_false(sample_read(&s, bytes_of(longer, sizeof longer)));
}

static void every_capacity_too_small_fails(void **state)
{
    struct sample s;
    assert_true(sample_read(&s, bytes_of(wire, sizeof wire)));
    for (size_t cap = 0; cap < sizeof wire; cap++) {
        uint8_t *out = malloc(cap ? cap : 1);
        struct bytes done = sample_write(&s, out, cap);
        assert_null(done.p);
        assert_int_equal(done.n, 0);
        free(out);
    }
}

static void reader_fails_sticky(void **state)
{
    struct rd r = rd_of(bytes_of("\x11\x22\x33", 3));
    assert_int_equal(rd_u16(&r), 0x1122);
    assert_int_equal(rd_left(&r), 1);
    assert_int_equal(rd_u16(&r), 0);
    assert_false(rd_ok(&r));
    /* The one byte that is left must not come out any more. */
    assert_int_equal(rd_u8(&r), 0);
    assert_int_equal(rd_left(&r), 0);
    assert_int_equal(rd_rest(&r).n, 0);
    uint8_t out[2] = {7, 7};
    rd_copy(&r, out, 2);
    assert_memory_equal(out, "\0\0", 2);
    assert_false(rd_done(&r));
}

static void writer_fails_sticky(void **state)
{
    uint8_t out[4] = {0};
    struct wr w = wr_of(out, 3);
    wr_u16(&w, 0x1122);
    assert_true(wr_ok(&w));
    wr_u16(&w, 0x3344);
    assert_false(wr_ok(&w));
    wr_u8(&w, 0x55);
    assert_memory_equal(out, "\x11\x22\0\0", 4);
    assert_null(wr_take(&w, 0));
    assert_null(wr_done(&w).p);
}

static void take_and_rest(void **state)
{
    uint8_t out[4];
    struct wr w = wr_of(out, sizeof out);
    wr_u8(&w, 9);
    uint8_t *room = wr_take(&w, 3);
    assert_ptr_equal(room, out + 1);
    memcpy(room, "abc", 3);
    struct rd r = rd_of(wr_done(&w));
    assert_int_equal(rd_u8(&r), 9);
    assert_true(bytes_equal(rd_rest(&r), bytes_of_str("abc")));
    assert_true(rd_done(&r));
}

static void empty_views_are_fine(void **state)
{
    struct rd r = rd_of(bytes_of(NULL, 0));
    assert_int_equal(rd_bytes(&r, 0).n, 0);
    assert_int_equal(rd_rest(&r).n, 0);
    rd_copy(&r, NULL, 0);
    assert_true(rd_done(&r));
    struct wr w = wr_of(NULL, 0);
    wr_bytes(&w, bytes_of(NULL, 0));
    assert_true(wr_ok(&w));
    assert_true(bytes_equal(bytes_of(NULL, 0), bytes_of("", 0)));
    assert_false(bytes_equal(bytes_of("a", 1), bytes_of("b", 1)));
    assert_false(bytes_equal(bytes_of("a", 1), bytes_of("ab", 2)));
}

static void a_huge_length_does_not_wrap(void **state)
{
    struct rd r = rd_of(bytes_of(wire, sizeof wire));
    rd_u8(&r);
    assert_int_equal(rd_bytes(&r, SIZE_MAX).n, 0);
    assert_false(rd_ok(&r));
    uint8_t out[4];
    struct wr w = wr_of(out, sizeof out);
    wr_u8(&w, 1);
    assert_null(wr_take(&w, SIZE_MAX));
    assert_false(wr_ok(&w));
}

static void block16_keeps_its_maximum(void **state)
{
    const uint8_t in[] = {0, 5, 1, 2, 3, 4, 5};
    struct rd r = rd_of(bytes_of(in, sizeof in));
    assert_int_equal(rd_block16(&r, 5).n, 5);
    assert_true(rd_done(&r));
    r = rd_of(bytes_of(in, sizeof in));
    assert_int_equal(rd_block16(&r, 4).n, 0);
    assert_false(rd_ok(&r));
    uint8_t *big = calloc(1, 70000), *out = calloc(1, 70002);
    struct wr w = wr_of(out, 70002);
    wr_block16(&w, bytes_of(big, 65536));
    assert_false(wr_ok(&w));
    w = wr_of(out, 70002);
    wr_block16(&w, bytes_of(big, 65535));
    assert_int_equal(wr_done(&w).n, 65537);
    free(out);
    free(big);
}

static void text8_refuses(void **state)
{
    static const struct {
        const char *in;
        size_t n, cap;
        bool ok;
    } cases[] = {
        {"\x03"
         "abc",
         4, 4, true},
        {"\x03"
         "abc",
         4, 3, false}, /* no room for the NUL */
        {"\x00", 1, 1, true},
        {"\x03"
         "a\0c",
         4, 8, false},
        {"\x02\xc3\x28", 3, 8, false}, /* not UTF-8 */
        {"\x04"
         "abc",
         4, 8, false}, /* too short */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char out[8] = "zzzzzzz";
        struct rd r = rd_of(bytes_of(cases[i].in, cases[i].n));
        rd_text8(&r, out, cases[i].cap);
        assert_int_equal(rd_done(&r), cases[i].ok);
        assert_string_equal(out, cases[i].ok ? cases[i].in + 1 : "");
    }
    char longest[257];
    memset(longest, 'a', 256);
    longest[256] = 0;
    uint8_t out[300];
    struct wr w = wr_of(out, sizeof out);
    wr_text8(&w, longest);
    assert_false(wr_ok(&w));
    w = wr_of(out, sizeof out);
    wr_text8(&w, longest + 1);
    assert_int_equal(wr_done(&w).n, 256);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_big_endian),
        cmocka_unit_test(writes_what_it_reads),
        cmocka_unit_test(every_truncation_fails),
        cmocka_unit_test(every_capacity_too_small_fails),
        cmocka_unit_test(reader_fails_sticky),
        cmocka_unit_test(writer_fails_sticky),
        cmocka_unit_test(take_and_rest),
        cmocka_unit_test(empty_views_are_fine),
        cmocka_unit_test(a_huge_length_does_not_wrap),
        cmocka_unit_test(block16_keeps_its_maximum),
        cmocka_unit_test(text8_refuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
