/* What waits for one connection: order, memory, whose frames go when room is needed, and who gets a turn. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/rng.h"
#include "hub/frames_int.h"
#include "wire/relay.h"

#define SENDERS 5

/* A row of `count` frames with payloads of n bytes that begin with ever greater numbers. */
static struct bytes row(uint8_t *raw, size_t cap, bool control, uint32_t *number, size_t n, int count)
{
    struct wr w = wr_of(raw, cap);
    for (int i = 0; i < count; i++) {
        relay_header_write(wr_take(&w, RELAY_HEADER_LEN), control ? RELAY_CONTROL : RELAY_DATA, 77, n);
        wr_u32(&w, (*number)++);
        memset(wr_take(&w, n - 4), (int)n, n - 4);
    }
    assert_true(wr_ok(&w));
    return wr_done(&w);
}

static void add(struct frames *f, uint32_t sender, uint32_t *number, size_t n, int count)
{
    static uint8_t raw[FRAMES_RUN_MAX];
    assert_int_equal(frames_add(f, false, sender, sender, row(raw, sizeof raw, false, number, n, count)), 0);
}

/* Against a model: what each sender has waiting, as a span of numbers. */
static void frames_come_out_in_order(void **state)
{
    static uint8_t raw[FRAMES_RUN_MAX];
    struct rng_seeded seeded;
    struct rng rng = rng_seeded(&seeded, 3);
    struct frames f = {0};
    struct buf out;
    uint32_t in[SENDERS + 1] = {0}, next[SENDERS + 1] = {0};
    buf_init(&out, RELAY_MESSAGE_MAX);
    assert_true(frames_empty(&f) && frames_no_data(&f) && frames_no_control(&f));
    for (int i = 0; i < 20000; i++) {
        uint32_t s = (uint32_t)rng_below(&rng, SENDERS + 1);
        size_t n = 4 + rng_below(&rng, i % 3 ? 200 : 3000);
        bool control = s == SENDERS;
        if (rng_below(&rng, 10) < (uint64_t)(i % 4000 < 2000 ? 7 : 2)) {
            struct bytes b = row(raw, sizeof raw, control, &in[s], n, 1 + (int)rng_below(&rng, 5));
            assert_int_equal(frames_add(&f, control, s, s, b), 0);
            continue;
        }
        size_t until = rng_below(&rng, 20000), before = f.bytes;
        bool none = frames_no_control(&f) && frames_no_data(&f);
        buf_clear(&out);
        frames_take_control(&f, &out, until);
        frames_take_data(&f, &out, until);
        assert_int_equal(f.bytes, before - out.n);
        assert_int_equal(none, out.n == 0);
        assert_in_range(out.n, 0, until + 2 * (RELAY_HEADER_LEN + 3004));
        struct relay_frame got;
        struct rd r = rd_of(buf_bytes(&out));
        bool data_seen = false;
        int rc;
        while ((rc = relay_frame_read(&got, &r)) == 1) {
            struct rd payload = rd_of(got.payload);
            assert_true(got.peer <= SENDERS);
            assert_int_equal(got.kind == RELAY_CONTROL, got.peer == SENDERS);
            assert_false(data_seen && got.kind == RELAY_CONTROL);
            data_seen |= got.kind == RELAY_DATA;
            assert_int_equal(rd_u32(&payload), next[got.peer]++);
            for (size_t k = 4; k < got.payload.n; k++)
                assert_int_equal(got.payload.p[k], got.payload.n & 0xff);
        }
        assert_int_equal(rc, 0);
        assert_true(f.held >= f.bytes && (f.bytes > 0 || f.held == 0));
    }
    uint32_t left = 0;
    for (int s = 0; s < SENDERS; s++)
        left += in[s] - next[s];
    assert_int_equal(frames_clear_data(&f), left);
    assert_true(frames_no_data(&f));
    frames_clear(&f);
    assert_int_equal(f.held, 0);
    assert_int_equal(f.bytes, 0);
    frames_drop(&f); /* nothing: no harm */
    buf_done(&out);
}

/* Who fills the queue loses its own frames, the oldest first; who sends little loses none. */
static void room_is_made_by_who_takes_most(void **state)
{
    struct frames f = {0};
    uint32_t heavy = 0, light = 0, next[2] = {0};
    uint32_t dropped = 0;
    struct buf out;
    buf_init(&out, 1 << 20);
    for (int i = 0; i < 1000; i++) {
        add(&f, 1, &heavy, 1000, 10);
        if (i % 20 == 0)
            add(&f, 2, &light, 500, 1);
        for (; f.bytes > 100000; dropped++)
            frames_drop(&f);
    }
    assert_true(dropped > 9000);
    frames_take_data(&f, &out, 1 << 20);
    assert_true(frames_empty(&f));
    struct rd r = rd_of(buf_bytes(&out));
    struct relay_frame got;
    next[0] = dropped; /* only the first sender's were dropped, and the oldest of them */
    while (relay_frame_read(&got, &r) == 1) {
        struct rd payload = rd_of(got.payload);
        assert_int_equal(rd_u32(&payload), next[got.peer - 1]++);
    }
    assert_int_equal(next[0], heavy);
    assert_int_equal(next[1], light);
    /* Without data the control frames go. */
    static uint8_t raw[256];
    assert_int_equal(frames_add(&f, true, 1, 1, row(raw, sizeof raw, true, &light, 20, 2)), 0);
    frames_drop(&f);
    assert_int_equal(f.bytes, 28);
    frames_drop(&f);
    assert_int_equal(f.held, 0);
    buf_done(&out);
}

/* However much of another sender's waits, a frame leaves with the next message; and those who want all get
 * the same, whatever the size of their frames. */
static void senders_take_turns(void **state)
{
    struct frames f = {0};
    uint32_t number[3] = {0};
    uint64_t bytes[3] = {0};
    struct buf out;
    buf_init(&out, RELAY_MESSAGE_MAX);
    for (int i = 0; i < 40; i++)
        add(&f, 0, &number[0], 1400, 11);
    for (int i = 0; i < 30; i++)
        add(&f, 1, &number[1], RELAY_PAYLOAD_MAX, 1);
    add(&f, 2, &number[2], 64, 1);
    for (int i = 0; i < 20; i++) {
        struct relay_frame got;
        buf_clear(&out);
        frames_take_data(&f, &out, 16380);
        struct rd r = rd_of(buf_bytes(&out));
        while (relay_frame_read(&got, &r) == 1)
            bytes[got.peer] += RELAY_HEADER_LEN + got.payload.n;
        assert_in_range(out.n, 1, FRAMES_RUN_MAX);
        if (i == 1)
            assert_int_equal(bytes[2], 72);
    }
    int64_t apart = (int64_t)(bytes[0] - bytes[1]);
    assert_in_range(apart + 40000, 0, 80000);
    assert_true(bytes[0] + bytes[1] > 200000);
    frames_clear(&f);
    buf_done(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frames_come_out_in_order),
        cmocka_unit_test(room_is_made_by_who_takes_most),
        cmocka_unit_test(senders_take_turns),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
