#include "io/stream_queue.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#define BIG 1000

static uint8_t block[STREAM_QUEUE_MAX];

static struct bytes marked(uint32_t mark, size_t n)
{
    struct wr w = wr_of(block, sizeof block);
    wr_u32(&w, mark);
    return bytes_of(block, n);
}

static void in_order_and_with_lengths(void **state)
{
    struct stream_queue q;
    struct buf out;
    stream_queue_init(&q);
    buf_init(&out, 100);
    assert_int_equal(stream_queue_pack(&q, &out, 50, true), 0);
    assert_int_equal(stream_queue_add(&q, bytes_of_str("one"), false, 65534), 0);
    assert_int_equal(stream_queue_add(&q, bytes_of_str(""), false, 65534), 0);
    assert_int_equal(stream_queue_add(&q, bytes_of_str("three"), true, 65534), 0);
    assert_int_equal(stream_queue_pack(&q, &out, 8, true), 2);
    assert_int_equal(out.n, 7);
    assert_memory_equal(out.p, "\0\3one\0\0", 7);
    buf_clear(&out);
    assert_int_equal(stream_queue_pack(&q, &out, 3, false), 1); /* at least one */
    assert_int_equal(out.n, 5);
    assert_memory_equal(out.p, "three", 5);
    assert_int_equal(q.count, 0);
    assert_int_equal(q.bytes, 0);
    buf_done(&out);
    stream_queue_done(&q);
}

static void what_does_not_fit_stays(void **state)
{
    struct stream_queue q;
    struct buf out;
    stream_queue_init(&q);
    buf_init(&out, 6);
    assert_int_equal(stream_queue_add(&q, bytes_of_str("12345"), false, 5), 0);
    assert_int_equal(stream_queue_add(&q, bytes_of_str("123456"), false, 5), -EMSGSIZE);
    assert_int_equal(q.dropped, 1);
    assert_int_equal(stream_queue_pack(&q, &out, 100, true), -E2BIG);
    assert_int_equal(q.count, 1);
    buf_done(&out);
    stream_queue_done(&q);
}

static void the_oldest_that_may_go_does(void **state)
{
    struct stream_queue q;
    struct buf out;
    uint32_t mark = 0, kept = 0, next;
    const size_t fits = STREAM_QUEUE_MAX / (BIG + STREAM_QUEUE_COST);
    stream_queue_init(&q);
    for (; mark < 3 * fits; mark++)
        assert_int_equal(stream_queue_add(&q, marked(mark, BIG), mark % 10 == 0, BIG), 0);
    assert_int_equal(q.count, fits);
    assert_int_equal(q.dropped, mark - fits);
    assert_true(q.bytes <= STREAM_QUEUE_MAX);
    /* every tenth is there, and of the others the youngest */
    buf_init(&out, 2 * STREAM_QUEUE_MAX);
    assert_int_equal(stream_queue_pack(&q, &out, SIZE_MAX, true), fits);
    struct rd r = rd_of(buf_bytes(&out));
    uint32_t last = 0;
    bool contiguous = false;
    for (size_t i = 0; i < fits; i++) {
        assert_int_equal(rd_u16(&r), BIG);
        next = rd_u32(&r);
        rd_bytes(&r, BIG - 4);
        kept += next % 10 == 0;
        if (contiguous)
            assert_int_equal(next, last + 1);
        contiguous = contiguous || next % 10;
        last = next;
    }
    assert_true(rd_done(&r));
    assert_int_equal(last, mark - 1);
    assert_int_equal(kept, (mark + 9) / 10);
    buf_done(&out);
    stream_queue_done(&q);
}

static void full_of_what_must_stay(void **state)
{
    struct stream_queue q;
    size_t n = 0;
    stream_queue_init(&q);
    while (stream_queue_add(&q, marked(0, BIG), true, BIG) == 0)
        n++;
    assert_int_equal(n, STREAM_QUEUE_MAX / (BIG + STREAM_QUEUE_COST));
    assert_int_equal(stream_queue_add(&q, marked(0, BIG), true, BIG), -ENOBUFS);
    assert_int_equal(stream_queue_add(&q, marked(0, BIG), false, BIG), -ENOBUFS);
    assert_int_equal(q.count, n);
    assert_int_equal(q.dropped, 3);
    assert_int_equal(stream_queue_add(&q, bytes_of(block, sizeof block), false, sizeof block), -ENOBUFS);
    stream_queue_done(&q);
    assert_int_equal(q.count, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(in_order_and_with_lengths),
        cmocka_unit_test(what_does_not_fit_stays),
        cmocka_unit_test(the_oldest_that_may_go_does),
        cmocka_unit_test(full_of_what_must_stay),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
