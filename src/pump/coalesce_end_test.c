/* Where the next frame of a run may lie so that it needs no piece of its own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "pump/offload_kit_int.h"

static void device_write(void *arg, const struct vnet_hdr *h, const struct iovec *pieces, size_t count,
                         size_t bytes)
{
    size_t *writes = arg;
    ++*writes;
}

static const struct coalesce_ops ops = {.write = device_write};

static uint8_t *run_end(const struct coalesce *c, size_t headers)
{
    size_t got = 0, before = 0;
    uint8_t *end = coalesce_end(c, &got, &before);
    if (end)
        assert_int_equal(got, headers);
    return end;
}

/* Two flows side by side in one landing, as a receiver would lay them. */
static void test_end(void **state)
{
    enum { PAYLOAD = 300, HEADERS = 52 };
    static struct coalesce c;
    size_t writes = 0;
    static uint8_t land[2][4096];
    struct recipe r[2] = {recipe_of(4, IP_TCP, false), recipe_of(4, IP_TCP, false)};
    struct inner_frame f;
    size_t n, headers, before;
    coalesce_init(&c, false, true, true, &ops, &writes);
    assert_null(run_end(&c, HEADERS));
    for (int i = 0; i < 2; i++) {
        r[i].sport = (uint16_t)(100 + i);
        r[i].payload = PAYLOAD;
        r[i].partial = true;
        uint8_t *p = recipe_make(&r[i], &n);
        memcpy(land[i], p, n);
        free(p);
        assert_int_equal(inner_frame_read(&f, land[i], n, false, false), 0);
        coalesce_push(&c, land[i], n, &f, true);
        assert_ptr_equal(run_end(&c, HEADERS), land[i] + n);
    }
    /* Of the first frame only the payload may be covered. */
    assert_non_null(coalesce_end(&c, &headers, &before));
    assert_int_equal(before, PAYLOAD);
    /* The first flow's next, pushed from elsewhere: then it is the last run. */
    r[0] = following(r[0]);
    uint8_t *p = recipe_make(&r[0], &n);
    assert_int_equal(inner_frame_read(&f, p, n, false, false), 0);
    assert_false(coalesce_extend(&c, p, n, &f, true)); /* for that is the second flow's */
    assert_int_equal(c.frames, 2);
    coalesce_push(&c, p, n, &f, true);
    assert_ptr_equal(run_end(&c, HEADERS), p + n);
    assert_non_null(coalesce_end(&c, &headers, &before));
    assert_int_equal(before, PAYLOAD);
    /* A flow whose run ended has no end. */
    r[0] = following(r[0]);
    r[0].flags |= KIT_PSH;
    uint8_t *q = recipe_make(&r[0], &n);
    assert_int_equal(inner_frame_read(&f, q, n, false, false), 0);
    assert_true(coalesce_extend(&c, q, n, &f, true));
    assert_null(run_end(&c, HEADERS));
    assert_int_equal(writes, 1);
    coalesce_flush(&c);
    assert_int_equal(writes, 2);
    assert_null(run_end(&c, HEADERS));
    free(p);
    free(q);
}

/* A first frame with a whole checksum must stay whole until a second has joined it. */
static void test_end_of_whole_sums(void **state)
{
    static struct coalesce c;
    size_t writes = 0;
    struct frames all = {0};
    struct recipe r = recipe_of(4, IP_TCP, false);
    r.payload = 300;
    coalesce_init(&c, false, true, true, &ops, &writes);
    push(&c, &all, &r);
    assert_null(run_end(&c, 52));
    r = following(r);
    push(&c, &all, &r);
    assert_non_null(run_end(&c, 52));
    coalesce_flush(&c);
    frames_free(&all);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_end), cmocka_unit_test(test_end_of_whole_sums)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
