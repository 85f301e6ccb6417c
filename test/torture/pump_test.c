/* What the pump's workers know, when memory fails. */
#include "torture.h"

#include "pump/core_kit_int.h"
#include "pump/pump.h"

static struct plane *plane_born(void)
{
    torture_on();
    struct plane *p = plane_new(1);
    torture_off();
    if (!p) {
        assert_true(torture_hit());
        torture_pause();
        p = plane_new(1);
        torture_resume();
    }
    assert_non_null(p);
    return p;
}

static const struct route *found(const struct snapshot *s, uint32_t id)
{
    struct lane *l;
    return snapshot_session(s, kit_index(1, id), 0, &l);
}

/* Routes and nets come and go. What was refused is not there, what was taken away is not there either, not
 * even where no new snapshot could be made; what stands is what was told last, or nothing. */
static void story_plane(void)
{
    struct plane *p = plane_born();
    struct kit kit = {.family = 4, .way_mtu = 1400};
    struct plane_member members[2] = {kit_member(2), kit_member(3)};
    struct plane_net net = {
        .party_ref = 1, .tag = 9, .mtu = 1400, .self = kit_member(1), .members = members, .count = 2};
    bool told[4] = {0}, net_told = false;
    for (uint32_t step = 0; step < 24; step++) {
        uint32_t id = 2 + step % 2;
        struct plane_route r = {.most = step, .way_count = 1};
        struct lane *l = kit_lane(1, id, 0);
        r.tx = r.rx[0] = l;
        r.ways[0] = kit_way(&kit, 1, id);
        torture_on();
        int rc = step % 5 == 3 ? plane_route_set(p, id, NULL) : plane_route_set(p, id, &r);
        torture_off();
        assert_true(rc == 0 || (rc == -ENOMEM && torture_hit()));
        told[id] = rc == 0 && step % 5 != 3;
        lane_drop(l);
        if (step % 3 == 0) {
            net.tap = step & 1;
            torture_on();
            rc = plane_net_set(p, &net);
            torture_off();
            assert_true(rc == 0 || (rc == -ENOMEM && torture_hit()));
            net_told = rc == 0;
        }
        /* Somebody works with the one of before all the time. */
        const struct snapshot *before = plane_pin(p, 1);
        const struct route *old = found(before, id);
        torture_on();
        rc = plane_publish(p);
        torture_off();
        const struct snapshot *now = plane_pin(p, 2);
        if (rc == 0) {
            for (uint32_t i = 2; i <= 3; i++)
                assert_int_equal(found(now, i) != NULL, told[i]);
            assert_int_equal(snapshot_net(now, 1) != NULL, net_told);
        } else {
            assert_int_equal(rc, -ENOMEM);
            assert_true(torture_hit());
            for (uint32_t i = 2; i <= 3; i++)
                assert_true(!found(now, i) || (told[i] && route_of(found(now, i))->most <= step));
            assert_true(!snapshot_net(now, 1) || net_told);
            /* Again, as soon as there is memory. */
            torture_pause();
            assert_int_equal(plane_publish(p), 0);
            torture_resume();
            for (uint32_t i = 2; i <= 3; i++)
                assert_int_equal(found(plane_pin(p, 2), i) != NULL, told[i]);
        }
        if (old)
            route_sent(p, old, 0, step);
        plane_unpin(p, 1);
        plane_unpin(p, 2);
    }
    plane_free(p);
}

/* A pump is there whole or not at all; so is a core. */
static void story_birth(void)
{
    struct plane *p = plane_born();
    for (unsigned threads = 1; threads <= 3; threads++) {
        torture_on();
        struct pump *pump = pump_new(p, threads);
        torture_off();
        assert_true(pump || torture_hit());
        pump_free(pump);
    }
    plane_free(p);
}

static void test_plane(void **state)
{
    torture("pump: plane", TORTURE_MEMORY, 1, story_plane);
}

static void test_birth(void **state)
{
    torture("pump: birth", TORTURE_MEMORY, 1, story_birth);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plane),
        cmocka_unit_test(test_birth),
    };
    return cmocka_run_group_tests(tests, NULL, torture_report);
}
