/* What waits for the end of a batch, for how long, and in which order it leaves. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "pump/core_kit_int.h"

enum { HEADERS = 52, SEGMENT = 1000 }; /* IPv4 and TCP as the kit makes them */

/* A super-frame of that many full segments. */
static void put_super(struct kit *k, uint32_t to, size_t segments)
{
    struct recipe r = recipe_of(4, IP_TCP, false);
    r.payload = segments * SEGMENT;
    r.partial = true;
    kit_send_frame(&k->end[1], 1, to, &r, SEGMENT);
}

static void put_plain(struct kit *k, uint32_t to)
{
    struct recipe r = recipe_of(4, IP_TCP, false);
    r.payload = 100;
    kit_send_frame(&k->end[1], 1, to, &r, 0);
}

static size_t sends(const struct kit *k)
{
    return kit_count(&k->end[1].log, KIT_SEND);
}

/* How many datagrams the i-th send had. */
static size_t datagrams(const struct kit *k, size_t i)
{
    const struct kit_item *s = kit_nth(&k->end[1].log, KIT_SEND, i);
    assert_non_null(s);
    return (s->n + s->segment - 1) / s->segment;
}

static void super_frames_leave_together(void **state)
{
    struct kit k = {0};
    kit_open(&k);
    kit_begin(&k.end[1]);
    for (size_t i = 0; i < CORE_RUNS; i++)
        put_super(&k, 2, 2 + i);
    assert_int_equal(sends(&k), 0);
    /* No room for more: those that wait make it. */
    put_super(&k, 2, 20);
    assert_int_equal(sends(&k), CORE_RUNS);
    core_end(k.end[1].core);
    assert_int_equal(sends(&k), CORE_RUNS + 1);
    for (size_t i = 0; i < CORE_RUNS; i++)
        assert_int_equal(datagrams(&k, i), 2 + i);
    assert_int_equal(datagrams(&k, CORE_RUNS), 20);
    kit_close(&k);
}

/* One super-frame that makes more runs than may wait. */
static void one_makes_many_runs(void **state)
{
    struct kit k = {0};
    struct recipe r = recipe_of(4, IP_TCP, false);
    kit_open(&k);
    kit_begin(&k.end[1]);
    r.payload = 100 * (size_t)(CORE_RUNS * CORE_RUN_SEGMENTS + 3);
    r.partial = true;
    kit_send_frame(&k.end[1], 1, 2, &r, 100);
    assert_int_equal(sends(&k), CORE_RUNS);
    core_end(k.end[1].core);
    assert_int_equal(sends(&k), CORE_RUNS + 1);
    assert_int_equal(datagrams(&k, CORE_RUNS), 3);
    kit_deliver(&k.end[1]);
    assert_int_equal(plane_counted(k.end[2].plane, PLANE_IN_PACKETS), CORE_RUNS * CORE_RUN_SEGMENTS + 3);
    assert_int_equal(plane_counted(k.end[2].plane, PLANE_BAD_TAG), 0);
    kit_close(&k);
}

/* Nothing is overtaken: not by plain frames, not by what goes the slow way, whoever it is for. */
static void frames_leave_in_order(void **state)
{
    struct kit k = {.ends = 3};
    kit_open(&k);
    kit_begin(&k.end[1]);
    put_super(&k, 2, 2);
    put_super(&k, 3, 3);
    put_plain(&k, 2);
    assert_int_equal(sends(&k), 2);
    put_plain(&k, 2);
    put_super(&k, 2, 4);
    assert_int_equal(sends(&k), 3);
    put_super(&k, 3, 5);
    core_end(k.end[1].core);
    static const size_t count[] = {2, 3, 2, 4, 5};
    assert_int_equal(sends(&k), 5);
    for (size_t i = 0; i < 5; i++)
        assert_int_equal(datagrams(&k, i), count[i]);
    kit_log_clear(&k.end[1].log);

    plane_route_set(k.end[1].plane, 3, NULL);
    assert_int_equal(plane_publish(k.end[1].plane), 0);
    kit_begin(&k.end[1]);
    put_super(&k, 2, 6);
    put_super(&k, 3, 2); /* to whom nothing leads: the engine's */
    core_end(k.end[1].core);
    assert_int_equal(k.end[1].log.n, 3);
    assert_int_equal(k.end[1].log.at[0].kind, KIT_SEND);
    assert_int_equal(k.end[1].log.at[1].kind, KIT_SLOW_FRAME);
    assert_int_equal(k.end[1].log.at[2].kind, KIT_SLOW_FRAME);
    kit_close(&k);
}

/* What end 1 has sent is carried to end 2 within one batch of it, which is left open. */
static void carry(struct kit *k)
{
    core_end(k->end[1].core);
    kit_begin(&k->end[2]);
    kit_carry(&k->end[1]);
}

static void the_device_is_written_at_the_end(void **state)
{
    struct kit k = {0};
    kit_open(&k);
    kit_begin(&k.end[1]);
    for (size_t i = 0; i < 3; i++)
        put_super(&k, 2, 10 + i);
    put_plain(&k, 2);
    carry(&k);
    assert_int_equal(k.end[2].log.n, 0);
    core_end(k.end[2].core);
    assert_int_equal(kit_count(&k.end[2].log, KIT_WRITE), 4);
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(k.end[2].log.at[i].n, HEADERS + (10 + i) * SEGMENT);
    assert_int_equal(plane_counted(k.end[2].plane, PLANE_IN_WRITES), 4);
    kit_close(&k);
}

/* Frames that join with none: so many that not all of them may wait. */
static void too_many_writes_wait_no_longer(void **state)
{
    struct kit k = {0};
    struct recipe r = recipe_of(4, IP_ICMP, false);
    kit_open(&k);
    kit_begin(&k.end[1]);
    for (size_t i = 0; i < CORE_WRITES + 5; i++) {
        size_t n;
        r.id = (uint16_t)i;
        uint8_t *p = kit_frame(&r, 1, 2, &n);
        p[naive_find(p, n, false).upper] = 8;
        kit_put(&k.end[1], 1, &(struct vnet_hdr){0}, p, n);
        free(p);
    }
    carry(&k);
    assert_int_equal(kit_count(&k.end[2].log, KIT_WRITE), CORE_WRITES);
    core_end(k.end[2].core);
    assert_int_equal(kit_count(&k.end[2].log, KIT_WRITE), CORE_WRITES + 5);
    for (size_t i = 0; i < CORE_WRITES + 5; i++) {
        const uint8_t *ip = k.end[2].log.at[i].p;
        assert_int_equal(ip[4] << 8 | ip[5], i);
    }
    kit_close(&k);
}

/* Two flows whose segments come in turns, in super-frames of so many pieces that not all of them may wait. */
static void too_many_pieces_wait_no_longer(void **state)
{
    enum { COUNT = 50, PAYLOAD = 100 };
    struct kit k = {0};
    struct recipe r[2] = {recipe_of(4, IP_TCP, false), recipe_of(4, IP_TCP, false)};
    size_t fit = CORE_PIECES / COUNT, all = fit + 2;
    r[1].sport++;
    kit_open(&k);
    kit_begin(&k.end[1]);
    for (size_t i = 0; i < all * COUNT; i++) {
        struct recipe *f = &r[i % 2];
        f->payload = PAYLOAD;
        f->partial = true;
        f->flags =
            KIT_ACK | (i % (2 * (size_t)COUNT) >= 2 * COUNT - 2 ? KIT_PSH : 0); /* nothing follows it */
        kit_send_frame(&k.end[1], 1, 2, f, 0);
        *f = following(*f);
    }
    carry(&k);
    assert_int_equal(kit_count(&k.end[2].log, KIT_WRITE), fit);
    core_end(k.end[2].core);
    assert_int_equal(kit_count(&k.end[2].log, KIT_WRITE), all);
    for (size_t i = 0; i < all; i++) {
        assert_int_equal(k.end[2].log.at[i].n, HEADERS + COUNT * PAYLOAD);
        assert_int_equal(k.end[2].log.at[i].pieces, COUNT);
    }
    kit_close(&k);
}

/* A frame for the switch goes after what came before it, and before what came after it. */
static void the_switch_waits_its_turn(void **state)
{
    struct kit k = {.parties = 2};
    struct recipe r = recipe_of(4, IP_UDP, false);
    kit_open(&k);
    plane_net_del(k.end[2].plane, 2); /* a party that the receiver has no device of */
    assert_int_equal(plane_publish(k.end[2].plane), 0);
    kit_begin(&k.end[1]);
    put_super(&k, 2, 3);
    kit_send_frame(&k.end[1], 2, 2, &r, 0);
    put_super(&k, 2, 4);
    carry(&k);
    assert_int_equal(k.end[2].log.n, 2);
    core_end(k.end[2].core);
    static const enum kit_kind order[] = {KIT_WRITE, KIT_OPENED, KIT_WRITE};
    assert_int_equal(k.end[2].log.n, 3);
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(k.end[2].log.at[i].kind, order[i]);
    kit_close(&k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(super_frames_leave_together),    cmocka_unit_test(one_makes_many_runs),
        cmocka_unit_test(frames_leave_in_order),          cmocka_unit_test(the_device_is_written_at_the_end),
        cmocka_unit_test(too_many_writes_wait_no_longer), cmocka_unit_test(too_many_pieces_wait_no_longer),
        cmocka_unit_test(the_switch_waits_its_turn),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
