#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>

#include "nat/ice_harness.h"

#define RTT (40 * MSEC)

static void name_is(enum ice_type t, const char *name)
{
    assert_string_equal(ice_type_name(t), name);
}

static void test_names_and_priorities(void **state)
{
    name_is(ICE_HOST, "host");
    name_is(ICE_SERVER_REFLEXIVE, "srflx");
    name_is(ICE_PEER_REFLEXIVE, "prflx");
    name_is(ICE_RELAYED, "relay");
    assert_int_equal(ice_priority(ICE_HOST, false, 65535), 126u << 24 | 65535u << 8 | 255);
    assert_int_equal(ice_priority(ICE_PEER_REFLEXIVE, false, 1), 110u << 24 | 1u << 8 | 255);
    assert_int_equal(ice_priority(ICE_SERVER_REFLEXIVE, false, 0), 100u << 24 | 255);
    assert_int_equal(ice_priority(ICE_SERVER_REFLEXIVE, true, 0), 101u << 24 | 255);
    assert_int_equal(ice_priority(ICE_RELAYED, false, 65535), 65535u << 8 | 255);
    assert_string_equal(ice_state_name(ICE_IS_FAILED), "failed");
}

/* ---- NAT boxes. */

struct box {
    const char *name;
    enum kit_map map;
    enum kit_filter filter;
};
static const struct box boxes[] = {
    {"none", MAP_NONE, FILTER_EI},
    {"full cone", MAP_EI, FILTER_EI},
    {"address-restricted", MAP_EI, FILTER_AD},
    {"port-restricted", MAP_EI, FILTER_APD},
    {"symmetric, open", MAP_APD, FILTER_EI},
    {"symmetric, address", MAP_APD, FILTER_AD},
    {"symmetric", MAP_APD, FILTER_APD},
};

/* A symmetric box needs a peer whose address stays, and that lets in another port than it was told of. */
static bool passes(const struct box *a, const struct box *b)
{
    bool symmetric_a = a->map == MAP_APD, symmetric_b = b->map == MAP_APD;
    return !(symmetric_a && symmetric_b) && !(symmetric_a && b->map != MAP_NONE && b->filter == FILTER_APD) &&
           !(symmetric_b && a->map != MAP_NONE && a->filter == FILTER_APD);
}

static void box_pair(const struct box *a, const struct box *b)
{
    struct kit *k = kit_new(1);
    kit_simple(k, 0, a->map, a->filter, true);
    kit_simple(k, 1, b->map, b->filter, false);
    kit_tell_all(k, 0);
    usec_t start = k->now;
    kit_run(k, start + 60 * SEC, kit_both_selected);
    bool works = kit_both_selected(k);
    if (works != passes(a, b))
        fail_msg("%s with %s: %s", a->name, b->name, works ? "works" : "does not work");
    for (size_t i = 0; i < 2 && works; i++) {
        usec_t valid = kit_when(k, i, ICE_EVENT_VALID) - start;
        if (valid > 2 * RTT || valid < RTT)
            fail_msg("%s with %s: peer %zu had a valid pair after %llu us", a->name, b->name, i,
                     (unsigned long long)valid);
        assert_true(kit_when(k, i, ICE_EVENT_SELECTED) - start <= ICE_NOMINATE_WAIT + 4 * RTT);
    }
    for (size_t i = 0; i < 2 && !works; i++) {
        struct ice_counts c;
        ice_counts(k->peers[i].a, &c);
        assert_int_equal(ice_state(k->peers[i].a), ICE_IS_FAILED);
        assert_int_equal(kit_count(k, i, ICE_EVENT_FAILED), 1);
        assert_true(c.remote <= ICE_REMOTE_MAX && c.checks_sent < 400);
    }
    kit_free(k);
}

static void test_nat_boxes(void **state)
{
    for (size_t i = 0; i < sizeof boxes / sizeof *boxes; i++)
        for (size_t j = 0; j < sizeof boxes / sizeof *boxes; j++)
            box_pair(&boxes[i], &boxes[j]);
}

static void test_open_within_one_and_a_half_rtt(void **state)
{
    struct kit *k = kit_new(2);
    kit_simple(k, 0, MAP_NONE, FILTER_EI, true);
    kit_simple(k, 1, MAP_NONE, FILTER_EI, false);
    kit_tell_all(k, 10 * MSEC);
    usec_t known = k->now + 10 * MSEC;
    kit_run(k, k->now + SEC, NULL);
    for (size_t i = 0; i < 2; i++) {
        usec_t valid = kit_when(k, i, ICE_EVENT_VALID);
        assert_true(valid >= known + RTT && valid <= known + RTT * 3 / 2);
        struct ice_pair p;
        assert_true(ice_selected(k->peers[i].a, &p));
        assert_int_equal(p.rtt, RTT);
        assert_int_equal(p.local_type, ICE_HOST);
        assert_int_equal(p.remote_type, ICE_HOST);
        assert_true(net_addr_equal(&p.remote, &k->peers[1 - i].bases[0]));
        assert_true(net_addr_equal(&p.local, &k->peers[i].bases[0]));
    }
    kit_free(k);
}

/* The peer learns of us a second later: our early check opened our box, its first one gets through, ours
 * follows at once. */
static void test_late_peer_triggers(void **state)
{
    struct kit *k = kit_new(3);
    kit_simple(k, 0, MAP_EI, FILTER_APD, true);
    kit_simple(k, 1, MAP_EI, FILTER_APD, false);
    kit_tell_credentials(k, 0, 0);
    kit_tell_candidates(k, 0, 0);
    usec_t late = 900 * MSEC, known = k->now + late; /* between two retransmissions */
    kit_tell_credentials(k, 1, late);
    kit_tell_candidates(k, 1, late);
    kit_run(k, k->now + 5 * SEC, kit_both_selected);
    assert_true(kit_both_selected(k));
    assert_true(kit_when(k, 1, ICE_EVENT_VALID) <= known + RTT);
    assert_true(kit_when(k, 0, ICE_EVENT_VALID) <= known + RTT * 3 / 2);
    kit_free(k);
}

/* ---- Roles. */

static void role_conflict(bool controlling, uint64_t seed)
{
    struct kit *k = kit_new(seed);
    k->jitter = 5 * MSEC;
    kit_simple(k, 0, MAP_NONE, FILTER_EI, controlling);
    kit_simple(k, 1, MAP_NONE, FILTER_EI, controlling);
    kit_tell_credentials(k, 0, rng_below(&k->chance, 100 * MSEC));
    kit_tell_candidates(k, 0, rng_below(&k->chance, 100 * MSEC));
    kit_tell_credentials(k, 1, rng_below(&k->chance, 100 * MSEC));
    kit_tell_candidates(k, 1, rng_below(&k->chance, 100 * MSEC));
    kit_run(k, k->now + 5 * SEC, kit_both_selected);
    assert_true(kit_both_selected(k));
    assert_int_not_equal(ice_controlling(k->peers[0].a), ice_controlling(k->peers[1].a));
    size_t changes = kit_count(k, 0, ICE_EVENT_ROLE) + kit_count(k, 1, ICE_EVENT_ROLE);
    assert_int_equal(changes % 2, 1);
    kit_free(k);
}

static void test_role_conflicts(void **state)
{
    for (uint64_t seed = 0; seed < 40; seed++) {
        role_conflict(true, seed);
        role_conflict(false, seed);
    }
}

/* ---- Trickle: every order of the four things that signaling brings. */

static void trickle_order(const unsigned order[4], usec_t step)
{
    struct kit *k = kit_new(4);
    kit_simple(k, 0, MAP_EI, FILTER_APD, true);
    kit_simple(k, 1, MAP_NONE, FILTER_EI, false);
    for (unsigned i = 0; i < 4; i++) {
        usec_t after = step * i;
        if (order[i] < 2)
            kit_tell_credentials(k, order[i], after);
        else
            kit_tell_candidates(k, order[i] - 2, after);
    }
    usec_t start = k->now;
    kit_run(k, start + 20 * SEC, kit_both_selected);
    assert_true(kit_both_selected(k));
    usec_t limit = start + 3 * step + ICE_NOMINATE_WAIT + 4 * RTT;
    assert_true(kit_when(k, 0, ICE_EVENT_SELECTED) <= limit && kit_when(k, 1, ICE_EVENT_SELECTED) <= limit);
    kit_free(k);
}

static void test_trickle_orders(void **state)
{
    for (unsigned n = 0; n < 24; n++) {
        unsigned order[4], left[4] = {0, 1, 2, 3}, code = n;
        for (unsigned i = 0; i < 4; i++) {
            unsigned pick = code % (4 - i);
            code /= 4 - i;
            order[i] = left[pick];
            memmove(left + pick, left + pick + 1, (3 - pick) * sizeof *left);
        }
        trickle_order(order, 0);
        trickle_order(order, 50 * MSEC);
        trickle_order(order, 700 * MSEC);
    }
}

static void test_early_requests_are_answered(void **state)
{
    struct kit *k = kit_new(5);
    kit_simple(k, 0, MAP_NONE, FILTER_EI, true);
    kit_simple(k, 1, MAP_NONE, FILTER_EI, false);
    kit_tell_credentials(k, 0, 0); /* only peer 0 knows anything */
    kit_tell_candidates(k, 0, 0);
    usec_t start = k->now;
    kit_run(k, start + SEC, NULL);
    assert_int_equal(kit_when(k, 0, ICE_EVENT_VALID), start + RTT);
    assert_int_equal(ice_state(k->peers[0].a),
                     ICE_COMPLETED); /* nominated: answered, not yet believed by the other */
    assert_int_equal(ice_state(k->peers[1].a), ICE_GATHERING);
    kit_tell_credentials(k, 1, 0);
    usec_t told = k->now;
    kit_run(k, told + SEC, NULL);
    assert_int_equal(kit_when(k, 1, ICE_EVENT_SELECTED), told + RTT); /* remembered: the nomination, too */
    struct ice_pair p;
    assert_true(ice_selected(k->peers[1].a, &p));
    assert_int_equal(p.remote_type, ICE_PEER_REFLEXIVE);
    kit_free(k);
}

/* A learnt candidate gets its name when signaling catches up. */
static void test_peer_reflexive_is_named_later(void **state)
{
    struct kit *k = kit_new(6);
    struct ice_counts c;
    char text[200];
    kit_simple(k, 0, MAP_NONE, FILTER_EI, true);
    kit_simple(k, 1, MAP_NONE, FILTER_EI, false);
    kit_tell_credentials(k, 0, 0);
    kit_tell_credentials(k, 1, 0);
    kit_tell_candidates(k, 0, 0);
    kit_run(k, k->now + SEC, kit_both_selected);
    assert_true(kit_both_selected(k));
    ice_counts(k->peers[1].a, &c);
    assert_int_equal(c.remote, 1);
    assert_true(ice_pair_text(k->peers[1].a, 0, text, sizeof text));
    assert_string_equal(text, "host 198.51.100.2:5000 > prflx 198.51.100.1:5000 succeeded selected");
    kit_tell_candidates(k, 1, 0);
    kit_run(k, k->now + SEC, NULL);
    ice_counts(k->peers[1].a, &c);
    assert_int_equal(c.remote, 1);
    assert_int_equal(c.pairs, 1);
    assert_true(ice_pair_text(k->peers[1].a, 0, text, sizeof text));
    assert_string_equal(text, "host 198.51.100.2:5000 > host 198.51.100.1:5000 succeeded selected");
    assert_false(ice_pair_text(k->peers[1].a, 1, text, sizeof text));
    kit_free(k);
}

static void test_local_peer_reflexive(void **state)
{
    struct kit *k = kit_new(7);
    kit_simple(k, 0, MAP_APD, FILTER_APD, true);
    kit_simple(k, 1, MAP_NONE, FILTER_EI, false);
    kit_tell_all(k, 0);
    kit_run(k, k->now + 2 * SEC, kit_both_selected);
    struct ice_pair p;
    assert_true(ice_selected(k->peers[0].a, &p));
    assert_int_equal(p.local_type, ICE_PEER_REFLEXIVE);
    assert_int_equal(net_addr_ip4(&p.local), k->peers[0].nat.ip);
    struct ice_candidate c;
    assert_true(ice_local_at(k->peers[0].a, 1, &c));
    assert_false(ice_local_at(k->peers[0].a, 2, &c)); /* not told */
    struct ice_pair q;
    assert_true(ice_selected(k->peers[1].a, &q));
    assert_int_equal(q.remote_type, ICE_PEER_REFLEXIVE);
    assert_true(net_addr_equal(&q.remote, &p.local));
    kit_free(k);
}

/* ---- Addresses. */

static void test_same_private_address_on_both_sides(void **state)
{
    struct kit *k = kit_new(8);
    for (size_t i = 0; i < 2; i++) {
        kit_simple(k, i, MAP_EI, FILTER_APD, i == 0);
        ice_free(k->peers[i].a);
        k->peers[i].bases[0] = net_addr4(0xc0a80102u, 5000);
        kit_agent(k, i, i == 0, false);
        struct ice_candidate c = kit_host(k, i, 0), s = kit_srflx(k, i, 0);
        assert_int_equal(ice_add_local(k->peers[i].a, &c, k->now), 0);
        assert_int_equal(ice_add_local(k->peers[i].a, &s, k->now), 0);
    }
    kit_tell_all(k, 0); /* each one's check to the other's private address comes back to itself */
    usec_t start = k->now;
    kit_run(k, start + 5 * SEC, kit_both_selected);
    assert_true(kit_both_selected(k));
    assert_true(kit_when(k, 0, ICE_EVENT_VALID) <= start + 2 * RTT);
    struct ice_pair p;
    ice_selected(k->peers[0].a, &p);
    assert_int_equal(p.remote_type, ICE_SERVER_REFLEXIVE);
    kit_free(k);
}

static struct net_addr addr_of(const char *text)
{
    struct net_addr a;
    assert_int_equal(net_addr_read(&a, text), 0);
    return a;
}

static void test_ipv6_is_preferred_and_families_do_not_mix(void **state)
{
    static const char *const six[2] = {"[2001:db8::1]:6000", "[2001:db8::2]:6000"};
    static const char *const local[2] = {"[fe80::1]:6000", "[fe80::2]:6000"};
    struct kit *k = kit_new(9);
    for (size_t i = 0; i < 2; i++) {
        struct kit_peer *p = &k->peers[i];
        kit_base(k, i, addr_of(six[i]));
        kit_base(k, i, net_addr4(p->nat.ip, 5000));
        kit_base(k, i, addr_of(local[i]));
        kit_agent(k, i, i == 0, false);
        for (uint32_t b = 0; b < 3; b++) {
            struct ice_candidate c = kit_host(k, i, b);
            assert_int_equal(ice_add_local(p->a, &c, k->now), 0);
        }
    }
    kit_tell_all(k, 0);
    kit_run(k, k->now + 2 * SEC, NULL);
    struct ice_counts c;
    struct ice_pair p;
    ice_counts(k->peers[0].a, &c);
    assert_int_equal(c.pairs, 3); /* of nine: neither families nor scopes mix */
    assert_true(ice_selected(k->peers[0].a, &p));
    assert_int_equal(p.base, 0);
    assert_true(ice_selected(k->peers[1].a, &p));
    assert_int_equal(p.remote.family, 6);
    kit_free(k);
}

static void test_several_candidates_of_one_base_are_one_pair(void **state)
{
    struct kit *k = kit_new(10);
    struct ice_counts c;
    kit_simple(k, 0, MAP_EI, FILTER_APD, true);
    struct ice_candidate more = {
        .type = ICE_HOST, .addr = net_addr4(0x0a010002u, 5000), .base = 0, .preference = 3};
    assert_int_equal(ice_add_local(k->peers[0].a, &more, k->now), 0);
    assert_int_equal(ice_add_local(k->peers[0].a, &more, k->now), -EEXIST);
    struct ice_candidate far = {.type = ICE_HOST, .addr = net_addr4(0xc6336409u, 1)};
    assert_int_equal(ice_add_remote(k->peers[0].a, &far, k->now), 0);
    assert_int_equal(ice_add_remote(k->peers[0].a, &far, k->now), -EEXIST);
    ice_counts(k->peers[0].a, &c);
    assert_int_equal(c.local, 3);
    assert_int_equal(c.pairs, 1);
    char text[200];
    assert_true(ice_pair_text(k->peers[0].a, 0, text, sizeof text));
    assert_string_equal(text, "host 10.0.0.2:5000 > host 198.51.100.9:1 frozen");
    kit_free(k);
}

static void test_bad_candidates(void **state)
{
    static const char *const bad[] = {"0.0.0.0:5", "224.0.0.1:5", "255.255.255.255:9",
                                      "10.0.0.1",  "[ff02::1]:5", "[::]:5"};
    struct kit *k = kit_new(11);
    struct ice_counts c;
    kit_simple(k, 0, MAP_NONE, FILTER_EI, true);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct ice_candidate x = {.type = ICE_HOST, .addr = addr_of(bad[i])};
        assert_int_equal(ice_add_remote(k->peers[0].a, &x, k->now), -EINVAL);
        assert_int_equal(ice_add_local(k->peers[0].a, &x, k->now), -EINVAL);
    }
    struct ice_candidate loop = {.type = ICE_HOST, .addr = addr_of("127.0.0.1:22")};
    assert_int_equal(ice_add_remote(k->peers[0].a, &loop, k->now), 0);
    ice_counts(k->peers[0].a, &c);
    assert_int_equal(c.pairs, 0); /* nobody makes us speak to our own loopback */
    kit_free(k);
}

static void test_limits(void **state)
{
    struct kit *k = kit_new(12);
    struct ice_counts c;
    struct kit_peer *p = &k->peers[0];
    for (uint32_t b = 0; b < KIT_BASES; b++)
        kit_base(k, 0, net_addr4(p->nat.ip, (uint16_t)(5000 + b)));
    kit_agent(k, 0, true, false);
    for (uint32_t b = 0; b < KIT_BASES; b++) {
        struct ice_candidate x = kit_host(k, 0, b);
        assert_int_equal(ice_add_local(p->a, &x, k->now), 0);
    }
    for (uint32_t i = 0; i < 10000; i++) {
        struct ice_candidate x = {.type = ICE_HOST, .addr = net_addr4(0xcb007000u + i, 9), .priority = 1 + i};
        assert_int_equal(ice_add_remote(p->a, &x, k->now), i < ICE_REMOTE_MAX - 8 ? 0 : -ENOSPC);
    }
    ice_counts(p->a, &c);
    assert_int_equal(c.remote, ICE_REMOTE_MAX - 8);
    assert_int_equal(c.pairs, ICE_PAIRS_MAX);
    assert_true(c.discarded >= 10000 - ICE_REMOTE_MAX);
    kit_tell_credentials(k, 0, 0);
    kit_run(k, k->now + 60 * SEC, NULL);
    ice_counts(p->a, &c);
    assert_true(c.checks_sent <= ICE_PAIRS_MAX * (ICE_RETRANSMITS + 1));
    assert_int_equal(ice_state(p->a), ICE_IS_FAILED);
    assert_int_equal(kit_count(k, 0, ICE_EVENT_FAILED), 1);
    for (uint32_t i = 0; i < 2 * ICE_LOCAL_MAX; i++) {
        struct ice_candidate x = {.type = ICE_HOST, .addr = net_addr4(0xcb007100u + i, 9), .base = 3};
        int r = ice_add_local(p->a, &x, k->now);
        assert_int_equal(r, i < ICE_LOCAL_MAX - KIT_BASES ? 0 : -ENOSPC);
    }
    kit_free(k);
}

static void test_pace(void **state)
{
    struct kit *k = kit_new(13);
    struct kit_peer *p = &k->peers[0];
    struct ice_out o;
    kit_simple(k, 0, MAP_NONE, FILTER_EI, true);
    assert_int_equal(ice_remote_credentials(p->a, &k->peers[1].credentials, k->now), 0);
    for (uint32_t i = 0; i < 20; i++) {
        struct ice_candidate x = {.type = ICE_HOST, .addr = net_addr4(0xcb007100u + i, 9)};
        assert_int_equal(ice_add_remote(p->a, &x, k->now), 0);
    }
    size_t n = 0;
    while (ice_output(p->a, k->now, &o))
        n++;
    assert_int_equal(n, ICE_BURST);
    for (unsigned i = 1; i <= 10; i++) {
        assert_int_equal(ice_wake(p->a), k->now + i * ICE_TA);
        ice_tick(p->a, k->now + i * ICE_TA);
        for (n = 0; ice_output(p->a, k->now + i * ICE_TA, &o);)
            n++;
        assert_int_equal(n, 1);
    }
    kit_free(k);
}

/* ---- A bad network. */

static void bad_network(uint64_t seed, unsigned loss, const struct box *a, const struct box *b, usec_t limit)
{
    struct kit *k = kit_new(seed);
    k->loss = loss;
    k->duplicates = 5;
    k->jitter = 30 * MSEC;
    kit_simple(k, 0, a->map, a->filter, seed & 1);
    kit_simple(k, 1, b->map, b->filter, !(seed & 1));
    kit_tell_all(k, 0);
    usec_t start = k->now;
    kit_run(k, start + limit, kit_both_selected);
    if (!kit_both_selected(k))
        fail_msg("seed %llu: %s with %s at %u %% loss: %s and %s", (unsigned long long)seed, a->name, b->name,
                 loss, ice_state_name(ice_state(k->peers[0].a)), ice_state_name(ice_state(k->peers[1].a)));
    struct ice_pair p, q;
    kit_run(k, k->now + 10 * SEC, NULL);
    ice_selected(k->peers[0].a, &p);
    ice_selected(k->peers[1].a, &q);
    assert_true(net_addr_equal(&p.local, &q.remote) && net_addr_equal(&q.local, &p.remote)); /* of one mind */
    kit_free(k);
}

static void test_bad_networks(void **state)
{
    for (uint64_t seed = 0; seed < 50; seed++) {
        bad_network(seed, 5, &boxes[1], &boxes[2], 5 * SEC);
        bad_network(seed, 20, &boxes[3], &boxes[3], 10 * SEC);
        bad_network(seed, 20, &boxes[6], &boxes[2], 10 * SEC);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names_and_priorities),
        cmocka_unit_test(test_nat_boxes),
        cmocka_unit_test(test_open_within_one_and_a_half_rtt),
        cmocka_unit_test(test_late_peer_triggers),
        cmocka_unit_test(test_role_conflicts),
        cmocka_unit_test(test_trickle_orders),
        cmocka_unit_test(test_early_requests_are_answered),
        cmocka_unit_test(test_peer_reflexive_is_named_later),
        cmocka_unit_test(test_local_peer_reflexive),
        cmocka_unit_test(test_same_private_address_on_both_sides),
        cmocka_unit_test(test_ipv6_is_preferred_and_families_do_not_mix),
        cmocka_unit_test(test_several_candidates_of_one_base_are_one_pair),
        cmocka_unit_test(test_bad_candidates),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_pace),
        cmocka_unit_test(test_bad_networks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
