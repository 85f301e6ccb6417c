#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>

#include "nat/ice_harness.h"

#define RTT (40 * MSEC)

static struct kit *connected(uint64_t seed, bool consent)
{
    struct kit *k = kit_new(seed);
    for (size_t i = 0; i < 2; i++) {
        uint32_t base = kit_base(k, i, net_addr4(k->peers[i].nat.ip, 5000));
        kit_agent(k, i, i == 0, consent);
        struct ice_candidate c = kit_host(k, i, base);
        assert_int_equal(ice_add_local(k->peers[i].a, &c, k->now), 0);
    }
    kit_tell_all(k, 0);
    kit_run(k, k->now + 5 * SEC, kit_both_selected);
    assert_true(kit_both_selected(k));
    return k;
}

/* ---- Consent. */

static void test_consent_is_kept(void **state)
{
    struct kit *k = connected(1, true);
    usec_t start = k->now;
    uint64_t before = k->peers[0].sent;
    kit_run(k, start + 10 * MINUTE, NULL);
    assert_int_equal(kit_count(k, 0, ICE_EVENT_CONSENT_LOST), 0);
    assert_int_equal(kit_count(k, 1, ICE_EVENT_CONSENT_LOST), 0);
    uint64_t sent = k->peers[0].sent - before;           /* as many checks as answers */
    assert_in_range(sent, 2 * 600 / 6, 2 * 600 / 4 + 2); /* every 4 to 6 seconds */
    kit_free(k);
}

static void test_consent_expires_after_30_seconds(void **state)
{
    for (uint64_t seed = 0; seed < 20; seed++) {
        struct kit *k = connected(seed, true);
        kit_run(k, k->now + 61 * SEC + seed * 300 * MSEC, NULL);
        uint64_t sent = k->peers[0].sent;
        k->peers[1].deaf = true;
        usec_t silent = k->now;
        kit_run(k, silent + 23900 * MSEC, NULL); /* the last answer is at most 6 s and a round trip old */
        assert_int_equal(kit_count(k, 0, ICE_EVENT_CONSENT_LOST), 0);
        assert_true(k->peers[0].sent > sent + 3);
        assert_int_equal(ice_state(k->peers[0].a), ICE_COMPLETED);
        kit_run(k, silent + ICE_CONSENT_LIFE + RTT, NULL);
        assert_int_equal(kit_count(k, 0, ICE_EVENT_CONSENT_LOST), 1);
        struct ice_pair p;
        assert_false(ice_selected(k->peers[0].a, &p));
        assert_true(net_addr_equal(&k->peers[0].seen[k->peers[0].seen_count - 1].e.pair.remote,
                                   &k->peers[1].bases[0]));
        uint64_t after = k->peers[0].sent;
        kit_run(k, k->now + 20 * SEC, NULL);
        assert_int_equal(kit_count(k, 0, ICE_EVENT_FAILED), 1);
        assert_true(k->peers[0].sent <=
                    after + 20); /* answers to the other one's checks, until it notices, too */
        kit_free(k);
    }
}

static void test_consent_counts_from_the_last_answer(void **state)
{
    struct kit *k = connected(3, true);
    struct ice_out o;
    struct ice *a = k->peers[0].a;
    usec_t last = kit_when(k, 0, ICE_EVENT_SELECTED);
    ice_tick(a, last + ICE_CONSENT_LIFE - 1);
    while (ice_output(a, k->now, &o)) {
    }
    assert_int_equal(ice_state(a), ICE_COMPLETED);
    assert_int_equal(ice_wake(a), last + ICE_CONSENT_LIFE);
    ice_tick(a, last + ICE_CONSENT_LIFE);
    assert_int_not_equal(ice_state(a), ICE_COMPLETED);
    kit_free(k);
}

static void test_without_consent_a_pair_stays(void **state)
{
    struct kit *k = connected(4, false);
    uint64_t sent = k->peers[0].sent;
    k->peers[1].deaf = true;
    kit_run(k, k->now + 10 * MINUTE, NULL);
    assert_int_equal(k->peers[0].sent, sent);
    assert_int_equal(ice_state(k->peers[0].a), ICE_COMPLETED);
    assert_int_equal(ice_wake(k->peers[0].a), USEC_NEVER);
    kit_free(k);
}

/* The controlling end goes on with the next valid pair; the other follows. */
static void test_second_pair_after_loss(void **state)
{
    struct kit *k = kit_new(5);
    for (size_t i = 0; i < 2; i++) {
        kit_agent(k, i, i == 0, true);
        for (uint32_t b = 0; b < 2; b++) {
            kit_base(k, i, net_addr4(k->peers[i].nat.ip, (uint16_t)(5000 + b)));
            struct ice_candidate c = kit_host(k, i, b);
            assert_int_equal(ice_add_local(k->peers[i].a, &c, k->now), 0);
        }
    }
    kit_tell_all(k, 0);
    kit_run(k, k->now + 3 * SEC, NULL);
    struct ice_pair p;
    assert_true(ice_selected(k->peers[0].a, &p));
    assert_int_equal(p.base, 0);
    ice_remove_base(k->peers[0].a, 0, k->now);
    k->peers[0].bases[0].port = 1;
    assert_int_equal(ice_state(k->peers[0].a), ICE_CONNECTED);
    kit_run(k, k->now + 3 * SEC, NULL);
    assert_int_equal(kit_count(k, 0, ICE_EVENT_CONSENT_LOST), 1);
    assert_true(ice_selected(k->peers[0].a, &p));
    assert_int_equal(p.base, 1);
    kit_run(k, k->now + 40 * SEC,
            NULL); /* the controlled end loses consent of the first, and remembers the nomination */
    assert_true(ice_selected(k->peers[1].a, &p));
    assert_int_equal(p.remote.port, 5001);
    kit_free(k);
}

/* ---- Restart. */

static void test_restart_keeps_the_selected_pair(void **state)
{
    struct kit *k = connected(6, true);
    struct ice_pair p;
    for (size_t i = 0; i < 2; i++)
        snprintf(k->peers[i].credentials.ufrag, sizeof k->peers[i].credentials.ufrag, "again%zu", i);
    assert_int_equal(ice_remote_credentials(k->peers[0].a, &k->peers[1].credentials, k->now), -EALREADY);
    ice_restart(k->peers[0].a, &k->peers[0].credentials, k->now);
    assert_int_equal(ice_state(k->peers[0].a), ICE_GATHERING);
    assert_true(ice_selected(k->peers[0].a, &p));
    kit_run(k, k->now + 60 * SEC,
            NULL); /* the other is slow to restart: consent lives on under the old credentials */
    assert_int_equal(kit_count(k, 0, ICE_EVENT_CONSENT_LOST), 0);
    assert_int_equal(kit_count(k, 1, ICE_EVENT_CONSENT_LOST), 0);
    ice_restart(k->peers[1].a, &k->peers[1].credentials, k->now);
    kit_tell_all(k, 10 * MSEC);
    usec_t start = k->now + 10 * MSEC;
    kit_run(k, start + 5 * SEC, NULL);
    assert_true(kit_both_selected(k));
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(kit_count(k, i, ICE_EVENT_SELECTED), 2);
        assert_int_equal(kit_count(k, i, ICE_EVENT_CONSENT_LOST), 0);
        assert_true(ice_selected(k->peers[i].a, &p));
    }
    kit_run(k, k->now + 60 * SEC, NULL);
    assert_int_equal(kit_count(k, 0, ICE_EVENT_CONSENT_LOST), 0);
    kit_free(k);
}

static void test_restart_after_failure(void **state)
{
    struct kit *k = kit_new(7);
    kit_simple(k, 0, MAP_NONE, FILTER_EI, true);
    kit_simple(k, 1, MAP_NONE, FILTER_EI, false);
    k->peers[1].deaf = true;
    kit_tell_all(k, 0);
    usec_t start = k->now;
    kit_run(k, start + 60 * SEC, NULL);
    assert_int_equal(ice_state(k->peers[0].a), ICE_IS_FAILED);
    usec_t last = start + 63 * ICE_RTO_MIN + RTT / 2; /* of the peer's requests, which feed hope */
    assert_int_equal(kit_when(k, 0, ICE_EVENT_FAILED), last + ICE_GIVE_UP);
    assert_int_equal(kit_when(k, 1, ICE_EVENT_FAILED), start + ICE_GIVE_UP);
    k->peers[1].deaf = false;
    for (size_t i = 0; i < 2; i++) {
        snprintf(k->peers[i].credentials.ufrag, sizeof k->peers[i].credentials.ufrag, "again%zu", i);
        ice_restart(k->peers[i].a, &k->peers[i].credentials, k->now);
    }
    kit_tell_all(k, 0);
    kit_run(k, k->now + 5 * SEC, kit_both_selected);
    assert_true(kit_both_selected(k));
    kit_free(k);
}

static void test_late_candidate_after_failure(void **state)
{
    struct kit *k = kit_new(8);
    kit_simple(k, 0, MAP_NONE, FILTER_EI, true);
    kit_simple(k, 1, MAP_NONE, FILTER_EI, false);
    kit_tell_credentials(k, 0, 0);
    kit_tell_credentials(k, 1, 0);
    kit_run(k, k->now + 30 * SEC, NULL);
    assert_int_equal(ice_state(k->peers[0].a), ICE_IS_FAILED);
    kit_tell_candidates(k, 0, 0);
    kit_run(k, k->now + SEC, NULL);
    assert_true(kit_both_selected(k));
    kit_free(k);
}

/* ---- Nomination. */

static void test_nomination_waits_for_better_pairs(void **state)
{
    struct kit *k = kit_new(9);
    usec_t start = k->now;
    kit_simple(k, 0, MAP_NONE, FILTER_EI, true);
    kit_simple(k, 1, MAP_NONE, FILTER_EI, false);
    kit_tell_all(k, 0);
    kit_run(k, start + 2 * SEC, NULL);
    assert_int_equal(kit_when(k, 0, ICE_EVENT_SELECTED), start + RTT + ICE_NOMINATE_WAIT + RTT);
    kit_free(k);

    k = kit_new(9);
    kit_simple(k, 0, MAP_NONE, FILTER_EI, true);
    kit_simple(k, 1, MAP_NONE, FILTER_EI, false);
    kit_tell_all(k, 0);
    kit_tell_done(k, 0, 0);
    ice_local_done(k->peers[0].a, k->now);
    kit_run(k, start + 2 * SEC, NULL);
    assert_int_equal(kit_when(k, 0, ICE_EVENT_SELECTED), start + 2 * RTT); /* nothing better can come */
    kit_free(k);
}

static void test_better_pair_is_selected_later(void **state)
{
    struct kit *k = kit_new(10);
    for (size_t i = 0; i < 2; i++) {
        kit_agent(k, i, i == 0, false);
        for (uint32_t b = 0; b < 2; b++)
            kit_base(k, i, net_addr4(k->peers[i].nat.ip, (uint16_t)(5000 + b)));
        struct ice_candidate c = kit_host(k, i, 1);
        assert_int_equal(ice_add_local(k->peers[i].a, &c, k->now), 0);
    }
    kit_tell_all(k, 0);
    kit_run(k, k->now + SEC, NULL);
    assert_true(kit_both_selected(k));
    for (size_t i = 0; i < 2; i++) {
        struct ice_candidate c = kit_host(k, i, 0);
        assert_int_equal(ice_add_local(k->peers[i].a, &c, k->now), 0);
    }
    kit_tell_candidates(k, 0, 0);
    kit_tell_candidates(k, 1, 0);
    kit_run(k, k->now + SEC, NULL);
    for (size_t i = 0; i < 2; i++) {
        struct ice_pair p;
        assert_true(ice_selected(k->peers[i].a, &p));
        assert_int_equal(p.base, 0);
        assert_int_equal(p.remote.port, 5000);
        assert_true(kit_count(k, i, ICE_EVENT_SELECTED) >= 2);
        assert_true(kit_count(k, i, ICE_EVENT_VALID) >= 2);
    }
    kit_free(k);
}

static void test_worse_pairs_are_not_checked_after_selection(void **state)
{
    struct kit *k = connected(11, false);
    uint64_t sent = k->peers[0].sent;
    struct ice_candidate worse = {.type = ICE_RELAYED, .addr = net_addr4(0xcb007109u, 77)};
    assert_int_equal(ice_add_remote(k->peers[0].a, &worse, k->now), 0);
    kit_run(k, k->now + 5 * SEC, NULL);
    assert_int_equal(k->peers[0].sent, sent);
    ice_remove_base(k->peers[0].a, 0, k->now); /* and are when the selected one is gone; here with it */
    assert_int_equal(ice_state(k->peers[0].a), ICE_CHECKING);
    kit_free(k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_consent_is_kept),
        cmocka_unit_test(test_consent_expires_after_30_seconds),
        cmocka_unit_test(test_consent_counts_from_the_last_answer),
        cmocka_unit_test(test_without_consent_a_pair_stays),
        cmocka_unit_test(test_second_pair_after_loss),
        cmocka_unit_test(test_restart_keeps_the_selected_pair),
        cmocka_unit_test(test_restart_after_failure),
        cmocka_unit_test(test_late_candidate_after_failure),
        cmocka_unit_test(test_nomination_waits_for_better_pairs),
        cmocka_unit_test(test_better_pair_is_selected_later),
        cmocka_unit_test(test_worse_pairs_are_not_checked_after_selection),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
