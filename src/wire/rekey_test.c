#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <errno.h>
#include <string.h>

#include <cmocka.h>

#include "wire/rekey.h"

static uint8_t kem[KEM_PUBLIC_LEN];

static void test_header(void **state)
{
    static const struct {
        uint8_t text[7];
        size_t n;
        int want;
        size_t piece;
    } rows[] = {
        {{64, 1, 2, 0, 1}, 5, 0, 0},
        {{64, 1, 2, 0, 1, 9, 9}, 7, 0, 2},
        {{64, 1, 2, 0, 1}, 4, -EBADMSG, 0},
        {{64, 1, 2, 15, 16, 9}, 6, 0, 1},
        {{64, 1, 2, 15, 16}, 5, -EBADMSG, 0}, /* a piece of several is not empty */
        {{64, 1, 2, 16, 17, 9}, 6, -EBADMSG, 0},
        {{64, 1, 2, 2, 2, 9}, 6, -EBADMSG, 0},
        {{64, 1, 2, 0, 0, 9}, 6, -EBADMSG, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct ctl_header h;
        struct bytes piece = {0};
        assert_int_equal(ctl_header_read(&h, &piece, bytes_of(rows[i].text, rows[i].n)), rows[i].want);
        if (rows[i].want < 0)
            continue;
        assert_int_equal(h.id, 0x0102);
        assert_int_equal(piece.n, rows[i].piece);
        uint8_t out[CTL_HEADER_LEN];
        struct wr w = wr_of(out, sizeof out);
        ctl_header_write(&w, &h);
        assert_memory_equal(out, rows[i].text, sizeof out);
    }
}

static void test_init_reply(void **state)
{
    uint8_t text[REKEY_INIT_LEN + 1] = {0};
    struct rekey_init m = {.epoch = 0x01020304, .kem = kem}, got;
    memset(kem, 0x5a, sizeof kem);
    memset(m.dh, 0xa5, sizeof m.dh);
    struct wr w = wr_of(text, sizeof text);
    rekey_init_write(&w, &m);
    assert_int_equal(w.n, REKEY_INIT_LEN);
    assert_int_equal(text[0] << 24 | text[1] << 16 | text[2] << 8 | text[3], 0x01020304);
    for (size_t k = 0; k <= sizeof text; k++)
        assert_int_equal(rekey_init_read(&got, bytes_of(text, k)), k == REKEY_INIT_LEN ? 0 : -EBADMSG);
    assert_int_equal(rekey_init_read(&got, bytes_of(text, REKEY_INIT_LEN)), 0);
    assert_int_equal(got.epoch, m.epoch);
    assert_memory_equal(got.dh, m.dh, sizeof m.dh);
    assert_memory_equal(got.kem, kem, sizeof kem);

    struct rekey_reply r = {.epoch = 7, .ct = kem}, back;
    memset(r.dh, 0x3c, sizeof r.dh);
    w = wr_of(text, sizeof text);
    rekey_reply_write(&w, &r);
    assert_int_equal(w.n, REKEY_REPLY_LEN);
    for (size_t k = 0; k <= sizeof text; k++)
        assert_int_equal(rekey_reply_read(&back, bytes_of(text, k)), k == REKEY_REPLY_LEN ? 0 : -EBADMSG);
    assert_int_equal(rekey_reply_read(&back, bytes_of(text, REKEY_REPLY_LEN)), 0);
    assert_int_equal(back.epoch, 7);
    assert_memory_equal(back.dh, r.dh, sizeof r.dh);
    assert_memory_equal(back.ct, kem, sizeof kem);
}

static void test_epoch(void **state)
{
    uint8_t text[5] = {0};
    uint32_t epoch = 0;
    struct wr w = wr_of(text, sizeof text);
    rekey_epoch_write(&w, 0xdeadbeef);
    for (size_t k = 0; k <= sizeof text; k++)
        assert_int_equal(rekey_epoch_read(&epoch, bytes_of(text, k)), k == 4 ? 0 : -EBADMSG);
    assert_int_equal(epoch, 0xdeadbeef);
}

static void test_heads(void **state)
{
    static uint8_t text[1 + 17 * 72];
    struct hs_head heads[HS_HEADS_MAX] = {{.seq = 1, .party = {2}, .hash = {3}}, {.seq = 4}},
                   got[HS_HEADS_MAX];
    uint8_t count = 0;
    for (uint8_t n = 0; n <= HS_HEADS_MAX; n += 8) {
        struct wr w = wr_of(text, sizeof text);
        hs_heads_write(&w, heads, n);
        assert_int_equal(w.n, 1u + 72u * n);
        for (size_t k = 0; k <= w.n + 1; k++)
            assert_int_equal(ctl_heads_read(got, &count, bytes_of(text, k)), k == w.n ? 0 : -EBADMSG);
        assert_int_equal(ctl_heads_read(got, &count, bytes_of(text, w.n)), 0);
        assert_int_equal(count, n);
        for (size_t i = 0; i < n; i++) {
            assert_int_equal(got[i].seq, heads[i].seq);
            assert_memory_equal(got[i].party, heads[i].party, 32);
            assert_memory_equal(got[i].hash, heads[i].hash, 32);
        }
    }
    text[0] = HS_HEADS_MAX + 1;
    assert_int_equal(ctl_heads_read(got, &count, bytes_of(text, sizeof text)), -EBADMSG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_header),
        cmocka_unit_test(test_init_reply),
        cmocka_unit_test(test_epoch),
        cmocka_unit_test(test_heads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
