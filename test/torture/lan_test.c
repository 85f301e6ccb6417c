/* The virtual LAN and the paths when memory fails. */
#include "torture.h"

#include "path/path.h"
#include "vnet/frames_int.h"

#define MEMBERS 40u

/* ---- the switch ---- */

static struct vnet *vnet_born(void)
{
    struct vnet_config c = config(true);
    torture_on();
    struct vnet *v = vnet_new(&c, START);
    torture_off();
    if (!v) {
        assert_true(torture_hit());
        torture_heal();
        v = vnet_new(&c, START);
    }
    assert_non_null(v);
    return v;
}

/* A member is at all its addresses or at none. */
static void seated(struct vnet *v, uint32_t n, bool in)
{
    struct vnet_verdict to = device(v, udp_frame(1, n));
    struct vnet_verdict from = peer(v, n, udp_frame(n, 1));
    if (in) {
        assert_peer(to, n);
        assert_action(from, VNET_TO_DEVICE);
    } else {
        /* Nobody's MAC: to everybody, as a switch does. */
        assert_action(to, VNET_TO_ALL);
        assert_drop(from, VNET_UNKNOWN_MEMBER);
    }
}

static void seat(struct vnet *v, uint32_t n)
{
    struct vnet_member m = member(n);
    torture_on();
    int rc = vnet_member_set(v, &m, START);
    torture_off();
    if (rc < 0) {
        assert_int_equal(rc, -ENOMEM);
        assert_true(torture_hit());
        seated(v, n, false);
        torture_heal();
        assert_int_equal(vnet_member_set(v, &m, START), 0);
    }
    seated(v, n, true);
}

static void member_sets(void)
{
    struct vnet *v = vnet_born();
    for (uint32_t n = 2; n < MEMBERS; n++)
        seat(v, n);
    for (uint32_t n = 2; n < MEMBERS; n++)
        seated(v, n, true);
    for (uint32_t n = 2; n < MEMBERS; n += 2)
        vnet_member_del(v, n);
    for (uint32_t n = 2; n < MEMBERS; n++)
        seated(v, n, n % 2 == 1);
    vnet_free(v);
}

/* Members that move from lease to lease wear the tables out. A refused move leaves the old address. */
static void moves(void)
{
    struct vnet_config c = config(true);
    struct vnet *v = vnet_new(&c, START);
    struct vnet_member m = member(ALICE);
    assert_non_null(v);
    assert_int_equal(vnet_member_set(v, &m, START), 0);
    for (uint32_t i = 0; i < 30; i++) {
        struct vnet_member to = m;
        to.ip4 = NET4 | (0x100 + i);
        torture_on();
        int rc = vnet_member_set(v, &to, START);
        torture_off();
        assert_true(rc == 0 || (rc == -ENOMEM && torture_hit()));
        if (rc == 0)
            m = to;
        struct vnet_verdict at = device(v, arp_ask(NET4 | 1, to.ip4)),
                            old = device(v, arp_ask(NET4 | 1, m.ip4));
        assert_action(at, rc == 0 ? VNET_TO_DEVICE : VNET_DROP);
        assert_action(old, VNET_TO_DEVICE);
    }
    torture_heal();
    m.ip4 = NET4 | 0x777;
    assert_int_equal(vnet_member_set(v, &m, START), 0);
    assert_action(device(v, arp_ask(NET4 | 1, m.ip4)), VNET_TO_DEVICE);
    vnet_free(v);
}

/* A MAC that could not be learned is flooded to, not lost. */
static void learning(void)
{
    struct vnet *v = vnet_make(true);
    for (uint8_t i = 1; i < 60; i++) {
        const uint8_t mac[6] = {0x52, 0x54, 0, 0, 1, i};
        struct frame in =
            frame4(mac, mac_of(1), (struct ip){NET4 | ALICE, NET4 | 1, IP_UDP, 0, udp_ports(1, 2)});
        torture_on();
        struct vnet_verdict from = peer(v, ALICE, in);
        torture_off();
        assert_action(from, VNET_TO_DEVICE);
        struct vnet_verdict to = device(
            v, frame4(mac_of(1), mac, (struct ip){NET4 | 1, NET4 | ALICE, IP_UDP, 0, udp_ports(1, 2)}));
        assert_true(to.action == VNET_TO_PEER || (to.action == VNET_TO_ALL && torture_hit()));
        if (to.action == VNET_TO_PEER)
            assert_int_equal(to.ref, ALICE);
    }
    torture_heal();
    struct frame again =
        frame4(x_mac, mac_of(1), (struct ip){NET4 | ALICE, NET4 | 1, IP_UDP, 0, udp_ports(1, 2)});
    assert_action(peer(v, ALICE, again), VNET_TO_DEVICE);
    assert_peer(
        device(v, frame4(mac_of(1), x_mac, (struct ip){NET4 | 1, NET4 | ALICE, IP_UDP, 0, udp_ports(1, 2)})),
        ALICE);
    vnet_free(v);
}

static void test_vnet(void **state)
{
    torture("vnet_member_set", TORTURE_MEMORY, 1, member_sets);
    torture("vnet_member_set that moves", TORTURE_MEMORY, 1, moves);
    torture("vnet learning", TORTURE_MEMORY, 1, learning);
}

/* ---- paths: all memory is taken at birth ---- */

static void path_story(void)
{
    struct rng_seeded state;
    struct rng rng = rng_seeded(&state, 4);
    uint32_t id;
    enum path_kind kind;
    uint8_t probe[PATH_PROBE_LEN];
    uint16_t size;
    torture_on();
    struct paths *p = paths_new(rng);
    torture_off();
    if (!p) {
        assert_true(torture_hit());
        paths_free(p);
        torture_heal();
        p = paths_new(rng);
    }
    assert_non_null(p);
    torture_on();
    assert_int_equal(paths_add(p, 1, PATH_WS_RELAY, START), 0);
    assert_int_equal(paths_add(p, 2, PATH_LAN, START), 0);
    assert_true(paths_output(p, START, &id, probe, &size));
    assert_true(paths_best(p, &id, &kind));
    paths_tick(p, START + SEC);
    torture_off();
    assert_int_equal(paths_count(p), 2);
    paths_free(p);
}

static void test_path(void **state)
{
    torture("paths", TORTURE_MEMORY, 1, path_story);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_vnet, torture_report),
        cmocka_unit_test_teardown(test_path, torture_report),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
