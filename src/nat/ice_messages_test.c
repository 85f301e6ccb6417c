#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>

#include "nat/ice_harness.h"

#define RTT (40 * MSEC)

/* ---- Messages made by hand. */

struct made {
    enum stun_class class;
    const char *user, *pwd;
    bool use_candidate, controlling, controlled, priority;
    uint16_t error, extra;
    uint64_t tie_breaker;
    const struct net_addr *mapped;
    const uint8_t *txid;
};

static struct bytes make(const struct made *m)
{
    static uint8_t out[300];
    static const uint8_t txid[STUN_TXID_LEN] = {9, 9, 9, 9, 1, 2, 3};
    struct stun_writer w;
    stun_begin(&w, out, sizeof out, m->class, STUN_BINDING, m->txid ? m->txid : txid);
    if (m->user)
        stun_put(&w, STUN_ATTR_USERNAME, bytes_of_str(m->user));
    if (m->priority)
        stun_put_u32(&w, STUN_ATTR_PRIORITY, 0x6e0001ff);
    if (m->controlling)
        stun_put_u64(&w, STUN_ATTR_ICE_CONTROLLING, m->tie_breaker);
    if (m->controlled)
        stun_put_u64(&w, STUN_ATTR_ICE_CONTROLLED, m->tie_breaker);
    if (m->use_candidate)
        stun_put(&w, STUN_ATTR_USE_CANDIDATE, bytes_of(NULL, 0));
    if (m->error)
        stun_put_error(&w, m->error, "no");
    if (m->extra)
        stun_put_u32(&w, m->extra, 0);
    if (m->mapped)
        stun_put_xor_addr(&w, STUN_ATTR_XOR_MAPPED_ADDRESS, m->mapped);
    if (m->pwd)
        stun_put_integrity(&w, bytes_of_str(m->pwd));
    stun_put_fingerprint(&w);
    struct bytes b = stun_end(&w);
    assert_true(b.n > 0);
    return b;
}

static const char *const PWD0 = "password-of-peer-number-0", *const PWD1 = "password-of-peer-number-1";

/* Gives peer 0 the message and says what it answers: 0 nothing, 200 success, or the error. */
static int ask(struct kit *k, const struct net_addr *from, const struct made *m, bool *taken)
{
    struct ice_out o;
    int code = 0;
    *taken = ice_input(k->peers[0].a, 0, from, make(m), k->now);
    while (ice_output(k->peers[0].a, k->now, &o)) {
        struct stun_message r;
        assert_int_equal(stun_read(&r, o.data), 0);
        assert_true(r.has_fingerprint);
        if (r.class == STUN_REQUEST)
            continue;
        assert_true(stun_verify(&r, bytes_of_str(PWD0), false));
        assert_true(net_addr_equal(&o.to, from));
        assert_true(r.class == STUN_ERROR || net_addr_equal(&r.mapped, from));
        code = r.class == STUN_ERROR ? r.error : 200;
    }
    return code;
}

static struct kit *one_agent(bool controlling, bool told)
{
    struct kit *k = kit_new(20);
    kit_simple(k, 0, MAP_NONE, FILTER_EI, controlling);
    if (told)
        assert_int_equal(ice_remote_credentials(k->peers[0].a, &k->peers[1].credentials, k->now), 0);
    return k;
}

static void test_requests_are_judged(void **state)
{
    const struct net_addr from = net_addr4(0xcb007109u, 77);
    static const struct {
        struct made m;
        bool taken;
        int code;
        size_t remotes;
    } rows[] = {
        {{STUN_REQUEST, "ufrag0:ufrag1", .priority = true, .controlled = true,
          .pwd = "password-of-peer-number-0"},
         true,
         200,
         1},
        {{STUN_REQUEST, "ufrag0:ufrag1", .priority = true, .controlled = true,
          .pwd = "password-of-peer-number-1"},
         true,
         0,
         0},
        {{STUN_REQUEST, "ufrag0:ufrag1", .priority = true, .controlled = true}, true, 0, 0},
        {{STUN_REQUEST, "ufrag0:other1", .priority = true, .controlled = true,
          .pwd = "password-of-peer-number-0"},
         true,
         0,
         0},
        {{STUN_REQUEST, "ufragX:ufrag1", .priority = true, .controlled = true,
          .pwd = "password-of-peer-number-0"},
         false,
         0,
         0},
        {{STUN_REQUEST, "ufrag0", .priority = true, .controlled = true, .pwd = "password-of-peer-number-0"},
         false,
         0,
         0},
        {{STUN_REQUEST, NULL, .priority = true, .pwd = "password-of-peer-number-0"}, false, 0, 0},
        {{STUN_INDICATION, "ufrag0:ufrag1", .pwd = "password-of-peer-number-0"}, false, 0, 0},
        {{STUN_REQUEST, "ufrag0:ufrag1", .controlled = true, .pwd = "password-of-peer-number-0"},
         true,
         400,
         0},
        {{STUN_REQUEST, "ufrag0:ufrag1", .priority = true, .controlled = true, .controlling = true,
          .pwd = "password-of-peer-number-0"},
         true,
         400,
         0},
        {{STUN_REQUEST, "ufrag0:ufrag1", .priority = true, .controlled = true, .extra = 0x7ffe,
          .pwd = "password-of-peer-number-0"},
         true,
         420,
         0},
        {{STUN_REQUEST, "ufrag0:ufrag1", .priority = true, .controlling = true, .tie_breaker = 0,
          .pwd = "password-of-peer-number-0"},
         true,
         487,
         0},
        {{STUN_REQUEST, "ufrag0:ufrag1", .priority = true, .controlling = true, .tie_breaker = UINT64_MAX,
          .pwd = "password-of-peer-number-0"},
         true,
         200,
         1},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct kit *k = one_agent(true, true);
        struct ice_counts c;
        bool taken;
        int code = ask(k, &from, &rows[i].m, &taken);
        ice_counts(k->peers[0].a, &c);
        if (code != rows[i].code || taken != rows[i].taken || c.remote != rows[i].remotes)
            fail_msg("row %zu: %d, %d, %zu", i, code, taken, c.remote);
        assert_int_equal(c.requests, taken);
        assert_int_equal(c.requests_refused, taken && code != 200);
        kit_free(k);
    }
}

static void test_role_by_tie_breaker(void **state)
{
    const struct net_addr from = net_addr4(0xcb007109u, 77);
    bool taken;
    for (int ours = 0; ours < 2; ours++)
        for (int greater = 0; greater < 2; greater++) {
            struct kit *k = one_agent(ours, true);
            struct made m = {STUN_REQUEST,     "ufrag0:ufrag1",     PWD0,
                             .priority = true, .controlling = ours, .controlled = !ours};
            m.tie_breaker = greater ? UINT64_MAX : 0;
            int code = ask(k, &from, &m, &taken);
            /* the greater number controls */
            assert_int_equal(ice_controlling(k->peers[0].a), !greater);
            assert_int_equal(code, greater != ours ? 487 : 200);
            struct ice_event e;
            bool changed = false;
            while (ice_event(k->peers[0].a, &e))
                changed |= e.kind == ICE_EVENT_ROLE;
            assert_int_equal(changed, greater == ours);
            kit_free(k);
        }
}

/* The first check of peer 0 to `to`. */
static struct stun_message first_check(struct kit *k, const struct net_addr *to, uint8_t copy[256])
{
    struct ice_candidate c = {.type = ICE_HOST, .addr = *to};
    struct ice_out o;
    struct stun_message m;
    assert_int_equal(ice_add_remote(k->peers[0].a, &c, k->now), 0);
    assert_true(ice_output(k->peers[0].a, k->now, &o));
    memcpy(copy, o.data.p, o.data.n);
    assert_int_equal(stun_read(&m, bytes_of(copy, o.data.n)), 0);
    assert_true(stun_verify(&m, bytes_of_str(PWD1), false));
    assert_true(bytes_equal(m.username, bytes_of_str("ufrag1:ufrag0")));
    assert_true(m.has_priority && m.has_fingerprint && !m.use_candidate);
    assert_int_equal(m.priority, ice_priority(ICE_PEER_REFLEXIVE, false, 65535));
    return m;
}

static void test_responses_are_judged(void **state)
{
    const struct net_addr to = net_addr4(0xcb007109u, 77), other = net_addr4(0xcb007109u, 78),
                          us = net_addr4(0xc6336401u, 5000);
    const struct {
        const char *pwd;
        uint16_t error;
        const struct net_addr *from, *mapped;
        bool bad_id, twice;
        enum ice_state after;
        uint64_t refused, failed;
    } rows[] = {
        {PWD1, 0, &to, &us, false, false, ICE_CONNECTED, 0, 0},
        {PWD1, 0, &to, &us, false, true, ICE_CONNECTED, 1, 0}, /* a duplicate is stale */
        {PWD0, 0, &to, &us, false, false, ICE_CHECKING, 1, 0},
        {NULL, 0, &to, &us, false, false, ICE_CHECKING, 1, 0},
        {PWD1, 0, &to, NULL, false, false, ICE_CHECKING, 1, 0},
        {PWD1, 0, &other, &us, false, false, ICE_CHECKING, 1, 1}, /* not symmetric: the pair failed */
        {PWD1, 0, &to, &us, true, false, ICE_CHECKING, 1, 0},
        {PWD1, 400, &to, NULL, false, false, ICE_CHECKING, 0, 1},
        {NULL, 400, &to, NULL, false, false, ICE_CHECKING, 1, 0}, /* anybody can write that */
        {PWD1, 487, &to, NULL, false, false, ICE_CHECKING, 0, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct kit *k = one_agent(true, true);
        struct ice_counts c;
        uint8_t copy[256], id[STUN_TXID_LEN];
        struct stun_message check = first_check(k, &to, copy);
        memcpy(id, check.txid, sizeof id);
        id[11] ^= rows[i].bad_id;
        struct made m = {rows[i].error ? STUN_ERROR : STUN_SUCCESS, .pwd = rows[i].pwd,
                         .error = rows[i].error, .mapped = rows[i].mapped, .txid = id};
        for (int n = 0; n < 1 + rows[i].twice; n++)
            assert_true(ice_input(k->peers[0].a, 0, rows[i].from, make(&m), k->now + 1));
        ice_counts(k->peers[0].a, &c);
        if (ice_state(k->peers[0].a) != rows[i].after || c.responses_refused != rows[i].refused ||
            c.checks_failed != rows[i].failed)
            fail_msg("row %zu: %s, %llu refused, %llu failed", i, ice_state_name(ice_state(k->peers[0].a)),
                     (unsigned long long)c.responses_refused, (unsigned long long)c.checks_failed);
        assert_int_equal(ice_controlling(k->peers[0].a), rows[i].error != 487);
        id[0] ^= 1;
        assert_false(ice_input(k->peers[0].a, 0, &to, make(&m), k->now + 1)); /* not this agent's */
        kit_free(k);
    }
}

/* After 487 the check is repeated at once in the new role. */
static void test_role_conflict_repeats_the_check(void **state)
{
    const struct net_addr to = net_addr4(0xcb007109u, 77);
    struct kit *k = one_agent(true, true);
    uint8_t copy[256];
    struct ice_out o;
    struct stun_message check = first_check(k, &to, copy), again;
    assert_true(check.has_controlling);
    struct made m = {STUN_ERROR, .pwd = PWD1, .error = 487, .txid = check.txid};
    assert_true(ice_input(k->peers[0].a, 0, &to, make(&m), k->now + 1));
    assert_true(ice_output(k->peers[0].a, k->now + 1, &o));
    assert_int_equal(stun_read(&again, o.data), 0);
    assert_true(again.has_controlled && !again.has_controlling);
    assert_int_not_equal(again.tie_breaker, check.tie_breaker);
    assert_memory_not_equal(again.txid, check.txid, sizeof again.txid);
    kit_free(k);
}

/* The requests that wait for output; the last one is copied. */
static size_t requests_out(struct kit *k, usec_t now, struct stun_message *last, uint8_t copy[256],
                           struct net_addr *to)
{
    struct ice_out o;
    size_t n = 0;
    while (ice_output(k->peers[0].a, now, &o)) {
        if (o.data.p[0] != 0)
            continue; /* an answer */
        n++;
        memcpy(copy, o.data.p, o.data.n);
        assert_int_equal(stun_read(last, bytes_of(copy, o.data.n)), 0);
        *to = o.to;
    }
    return n;
}

static void test_retransmissions(void **state)
{
    const struct net_addr to = net_addr4(0xcb007109u, 77), other = net_addr4(0xcb007108u, 78);
    struct kit *k = one_agent(true, true);
    struct ice *a = k->peers[0].a;
    uint8_t first[256], copy[256];
    struct net_addr at;
    struct stun_message check = first_check(k, &to, first), again;
    usec_t due = k->now;
    for (unsigned i = 0; i < 3; i++) {
        due += ICE_RTO_MIN << i;
        assert_int_equal(ice_wake(a), due);
        ice_tick(a, due - 1);
        assert_int_equal(requests_out(k, due - 1, &again, copy, &at), 0);
        ice_tick(a, due);
        assert_int_equal(requests_out(k, due, &again, copy, &at), 1);
        assert_memory_equal(again.txid, check.txid, sizeof check.txid); /* RFC 8489: the same */
    }
    /* The peer takes our role by a check over another pair: from then on we speak in the new one. */
    struct made m = {STUN_REQUEST,     "ufrag0:ufrag1",     PWD0,
                     .priority = true, .controlling = true, .tie_breaker = UINT64_MAX};
    assert_true(ice_input(a, 0, &other, make(&m), due + 1));
    requests_out(k, due + 1, &again, copy, &at);
    assert_false(ice_controlling(a));
    due += ICE_RTO_MIN << 3;
    ice_tick(a, due);
    struct ice_out o;
    bool seen = false;
    while (ice_output(a, due, &o)) {
        assert_int_equal(stun_read(&again, o.data), 0);
        assert_true(again.has_controlled);
        seen |= net_addr_equal(&o.to, &to) && memcmp(again.txid, check.txid, sizeof check.txid) != 0;
    }
    assert_true(seen);
    kit_free(k);
}

static void test_request_revives_a_failed_pair(void **state)
{
    const struct net_addr to = net_addr4(0xcb007109u, 77);
    struct kit *k = one_agent(true, true);
    uint8_t copy[256];
    char text[200];
    struct net_addr at;
    struct stun_message check = first_check(k, &to, copy), again;
    struct made no = {STUN_ERROR, .pwd = PWD1, .error = 500, .txid = check.txid};
    assert_true(ice_input(k->peers[0].a, 0, &to, make(&no), k->now));
    assert_true(ice_pair_text(k->peers[0].a, 0, text, sizeof text));
    assert_string_equal(text, "host 198.51.100.1:5000 > host 203.0.113.9:77 failed");
    struct made m = {STUN_REQUEST, "ufrag0:ufrag1", PWD0, .priority = true, .controlled = true};
    assert_true(ice_input(k->peers[0].a, 0, &to, make(&m), k->now));
    assert_int_equal(requests_out(k, k->now, &again, copy, &at), 1);
    assert_true(ice_pair_text(k->peers[0].a, 0, text, sizeof text));
    assert_string_equal(text, "host 198.51.100.1:5000 > host 203.0.113.9:77 in progress");
    kit_free(k);
}

/* Of one foundation the best first; the others when it succeeds, or stays unanswered for a while. */
static void test_foundations_hold_back(void **state)
{
    const struct net_addr first = net_addr4(0xcb007109u, 77), second = net_addr4(0xcb007109u, 78);
    const struct net_addr elsewhere = net_addr4(0xcb007108u, 77), us = net_addr4(0xc6336401u, 5000);
    for (int answered = 0; answered < 2; answered++) {
        struct kit *k = one_agent(true, true);
        struct ice *a = k->peers[0].a;
        uint8_t copy[256];
        struct net_addr at;
        struct stun_message last, check = first_check(k, &first, copy);
        struct ice_candidate c = {.type = ICE_HOST, .addr = second, .priority = 7};
        assert_int_equal(ice_add_remote(a, &c, k->now), 0);
        assert_int_equal(requests_out(k, k->now, &last, copy, &at), 0);
        c.addr = elsewhere;
        assert_int_equal(ice_add_remote(a, &c, k->now), 0);
        assert_int_equal(requests_out(k, k->now, &last, copy, &at), 1);
        assert_true(net_addr_equal(&at, &elsewhere));
        if (answered) {
            struct made yes = {STUN_SUCCESS, .pwd = PWD1, .mapped = &us, .txid = check.txid};
            assert_true(ice_input(a, 0, &first, make(&yes), k->now + 1));
            assert_int_equal(requests_out(k, k->now + 1, &last, copy, &at), 1);
        } else {
            ice_tick(a, k->now + ICE_RTO_MIN); /* with both retransmissions */
            assert_int_equal(requests_out(k, k->now + ICE_RTO_MIN, &last, copy, &at), 3);
        }
        assert_true(net_addr_equal(&at, &second));
        kit_free(k);
    }
}

static void test_restart_forgets_what_waits(void **state)
{
    struct kit *k = one_agent(true, true);
    struct ice_candidate c = {.type = ICE_HOST, .addr = net_addr4(0xcb007109u, 77)};
    struct ice_credentials fresh = {"fresh", "0123456789012345678901"};
    struct ice_out o;
    assert_int_equal(ice_add_remote(k->peers[0].a, &c, k->now), 0);
    ice_restart(k->peers[0].a, &fresh, k->now);
    assert_false(ice_output(k->peers[0].a, k->now, &o));
    struct ice_credentials bad = {"fre:h", "0123456789012345678901"};
    assert_int_equal(ice_remote_credentials(k->peers[0].a, &k->peers[1].credentials, k->now), 0);
    ice_restart(k->peers[0].a, &bad, k->now);
    assert_int_not_equal(ice_state(k->peers[0].a), ICE_GATHERING); /* nothing changed */
    kit_free(k);
}

/* A nomination that comes before our own check was answered counts as soon as it is; of several the best
 * counts. */
static void test_controlled_end_follows_nominations(void **state)
{
    struct net_addr from[3] = {net_addr4(0xcb007101u, 1), net_addr4(0xcb007102u, 2),
                               net_addr4(0xcb007103u, 3)};
    const struct net_addr us = net_addr4(0xc6336401u, 5000);
    static const uint32_t priorities[3] = {1000, 3000, 2000};
    struct kit *k = one_agent(false, true);
    struct ice *a = k->peers[0].a;
    struct made ask_m = {STUN_REQUEST,     "ufrag0:ufrag1",     PWD0,
                         .priority = true, .controlling = true, .use_candidate = true};
    for (size_t i = 0; i < 3; i++) {
        struct ice_out o;
        struct stun_message check;
        struct ice_candidate c = {.type = ICE_HOST, .addr = from[i], .priority = priorities[i]};
        assert_int_equal(ice_add_remote(a, &c, k->now), 0);
        assert_true(ice_input(a, 0, &from[i], make(&ask_m), k->now));
        struct ice_pair p;
        assert_int_equal(ice_selected(a, &p), i > 0);
        uint8_t id[STUN_TXID_LEN] = {0};
        while (ice_output(a, k->now, &o))
            if (stun_read(&check, o.data) == 0 && check.class == STUN_REQUEST)
                memcpy(id, check.txid, sizeof id);
        struct made m = {STUN_SUCCESS, .pwd = PWD1, .mapped = &us, .txid = id};
        assert_true(ice_input(a, 0, &from[i], make(&m), k->now + 1000));
        assert_true(ice_selected(a, &p));
        assert_int_equal(p.remote.port, i == 0 ? 1 : 2);
    }
    for (size_t i = 0; i < 2;
         i++) { /* the worse one long after: deliberately, unless the better one was again, too */
        struct ice_pair p;
        k->now += 11 * SEC;
        if (i == 0)
            assert_true(ice_input(a, 0, &from[1], make(&ask_m), k->now - SEC));
        assert_true(ice_input(a, 0, &from[0], make(&ask_m), k->now));
        assert_true(ice_selected(a, &p));
        assert_int_equal(p.remote.port, i == 0 ? 2 : 1);
    }
    kit_free(k);
}

/* Only answers are consent: a peer that asks and nominates, but does not answer, loses it. */
static void test_requests_are_no_consent(void **state)
{
    const struct net_addr from = net_addr4(0xcb007101u, 1), us = net_addr4(0xc6336401u, 5000);
    struct kit *k = kit_new(21);
    kit_base(k, 0, us);
    kit_agent(k, 0, false, true);
    struct ice *a = k->peers[0].a;
    struct ice_candidate c = kit_host(k, 0, 0);
    assert_int_equal(ice_add_local(a, &c, k->now), 0);
    assert_int_equal(ice_remote_credentials(a, &k->peers[1].credentials, k->now), 0);
    uint8_t copy[256];
    struct stun_message check = first_check(k, &from, copy);
    struct made yes = {STUN_SUCCESS, .pwd = PWD1, .mapped = &us, .txid = check.txid};
    struct made m = {STUN_REQUEST,     "ufrag0:ufrag1",     PWD0,
                     .priority = true, .controlling = true, .use_candidate = true};
    assert_true(ice_input(a, 0, &from, make(&yes), k->now));
    for (usec_t t = 0; t < 30; t++) {
        assert_true(ice_input(a, 0, &from, make(&m), k->now + t * SEC));
        assert_int_equal(ice_state(a), ICE_COMPLETED);
        struct ice_out o;
        while (ice_output(a, k->now, &o)) {
        }
    }
    ice_tick(a, k->now + 30 * SEC);
    assert_int_not_equal(ice_state(a), ICE_COMPLETED);
    kit_free(k);
}

static void test_request_flood_is_bounded(void **state)
{
    struct kit *k = one_agent(false, true);
    struct ice *a = k->peers[0].a;
    struct ice_counts c;
    struct ice_out o;
    struct made m = {STUN_REQUEST,     "ufrag0:ufrag1",     PWD0,
                     .priority = true, .controlling = true, .use_candidate = true};
    struct bytes in = make(&m);
    for (uint32_t i = 0; i < 10000; i++) {
        struct net_addr from = net_addr4(0xcb007000u + i, 77);
        assert_true(ice_input(a, 0, &from, in, k->now));
        if (i > 5000)
            while (ice_output(a, k->now, &o)) {
            }
    }
    ice_counts(a, &c);
    assert_int_equal(c.requests, 10000);
    assert_true(c.remote <= ICE_REMOTE_MAX && c.pairs <= ICE_PAIRS_MAX && c.discarded > 5000);
    kit_run(k, k->now + 60 * SEC, NULL);
    ice_counts(a, &c);
    assert_true(c.checks_sent < 10000 + 400); /* answers and a few checks */
    kit_free(k);
}

static void test_early_requests_are_bounded(void **state)
{
    struct kit *k = one_agent(false, false);
    struct ice *a = k->peers[0].a;
    struct ice_counts c;
    struct made m = {STUN_REQUEST, "ufrag0:ufrag1", PWD0, .priority = true, .controlling = true};
    struct made stranger = {STUN_REQUEST, "ufrag0:ufragX", PWD0, .priority = true, .controlling = true};
    bool taken;
    for (uint32_t i = 0; i < 100; i++) {
        struct net_addr from = net_addr4(0xcb007000u + i, 77);
        assert_int_equal(ask(k, &from, i == 99 ? &stranger : &m, &taken), 200);
    }
    assert_int_equal(ice_remote_credentials(a, &k->peers[1].credentials, k->now), 0);
    ice_counts(a, &c);
    assert_int_equal(c.remote, ICE_EARLY_MAX - 1);
    kit_free(k);
}

/* ---- Probes. */

static void test_probe_finds_a_pair(void **state)
{
    struct kit *k = kit_new(30);
    struct ice_pair p;
    kit_simple(k, 0, MAP_EI, FILTER_APD, true);
    kit_simple(k, 1, MAP_NONE, FILTER_EI, false);
    struct net_addr to = k->peers[1].bases[0], wrong = net_addr4(0xcb007109u, 9),
                    no_port = net_addr4(0xcb007109u, 0);
    assert_int_equal(ice_probe(k->peers[0].a, 0, &to, k->now), -ENOTCONN);
    kit_tell_credentials(k, 0, 0);
    kit_tell_credentials(k, 1, 0);
    kit_run(k, k->now + SEC, NULL);
    assert_int_equal(ice_probe(k->peers[0].a, 0, &no_port, k->now), -EINVAL);
    assert_int_equal(ice_probe(k->peers[0].a, 0, &wrong, k->now), 0);
    assert_int_equal(ice_probe(k->peers[0].a, 0, &to, k->now), 0);
    usec_t start = k->now;
    kit_run(k, start + 2 * SEC, NULL);
    assert_in_range(kit_when(k, 0, ICE_EVENT_VALID), start + RTT, start + RTT + MSEC);
    assert_true(kit_both_selected(k));
    assert_true(ice_selected(k->peers[0].a, &p));
    assert_int_equal(p.remote_type, ICE_PEER_REFLEXIVE);
    assert_in_range(p.rtt, RTT - MSEC, RTT + MSEC);
    struct ice_counts c;
    ice_counts(k->peers[0].a, &c);
    assert_int_equal(c.remote, 1); /* the wrong address left nothing behind */
    kit_free(k);
}

/* The sockets of a search have no candidates: either end is reached over one all the same. */
static void test_probe_over_other_sockets(void **state)
{
    for (size_t from = 0; from < 2; from++) {
        struct kit *k = kit_new(32);
        kit_simple(k, 0, MAP_NONE, FILTER_EI, true);
        kit_simple(k, 1, MAP_NONE, FILTER_EI, false);
        kit_tell_credentials(k, 0, 0);
        kit_tell_credentials(k, 1, 0);
        kit_run(k, k->now + SEC, NULL);
        for (size_t i = 0; i < 2; i++)
            kit_base(k, i, net_addr4(k->peers[i].nat.ip, 6000));
        struct net_addr to = k->peers[1 - from].bases[1];
        assert_int_equal(ice_probe(k->peers[from].a, 1, &to, k->now), 0);
        kit_run(k, k->now + 2 * SEC, NULL);
        for (size_t i = 0; i < 2; i++) {
            struct ice_pair p;
            struct ice_candidate c;
            struct ice_counts n;
            assert_true(ice_selected(k->peers[i].a, &p));
            assert_int_equal(p.base, 1);
            assert_int_equal(p.local_type, ICE_PEER_REFLEXIVE);
            assert_true(net_addr_equal(&p.local, &k->peers[i].bases[1]));
            assert_false(ice_local_at(k->peers[i].a, 1, &c));
            ice_remove_base(k->peers[i].a, 1, k->now);
            ice_counts(k->peers[i].a, &n);
            assert_int_equal(n.local, 1);
            assert_int_equal(n.pairs, 0);
            assert_false(ice_selected(k->peers[i].a, &p));
        }
        kit_free(k);
    }
}

/* Requests at ever new sockets of ours find room for the last of them, and candidates still find theirs. */
static void test_learnt_sockets_are_bounded(void **state)
{
    struct kit *k = one_agent(false, true);
    struct ice *a = k->peers[0].a;
    struct ice_counts n;
    struct made m = {STUN_REQUEST, "ufrag0:ufrag1", PWD0, .priority = true, .controlling = true};
    struct net_addr from = net_addr4(0xcb007109u, 77);
    for (uint32_t base = 1; base < 200; base++)
        assert_true(ice_input(a, base, &from, make(&m), k->now));
    ice_counts(a, &n);
    assert_int_equal(n.local, ICE_LOCAL_MAX);
    assert_true(n.pairs <= ICE_LOCAL_MAX);
    struct ice_candidate c = {.type = ICE_HOST, .addr = net_addr4(0xc6336401u, 6000), .base = 500};
    assert_int_equal(ice_add_local(a, &c, k->now), 0);
    kit_free(k);
}

static void test_probe_answers_are_judged(void **state)
{
    const struct net_addr to = net_addr4(0xcb007109u, 77), other = net_addr4(0xcb007109u, 78),
                          us = net_addr4(0xc6336401u, 5000);
    static const struct {
        bool other_address, wrong_key, late;
    } rows[] = {{0}, {true, false, false}, {false, true, false}, {false, false, true}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct kit *k = one_agent(true, true);
        struct ice *a = k->peers[0].a;
        struct ice_out o;
        struct stun_message probe;
        struct ice_counts c;
        assert_int_equal(ice_probe(a, 0, &to, k->now), 0);
        assert_true(ice_output(a, k->now, &o));
        assert_int_equal(stun_read(&probe, o.data), 0);
        struct made m = {STUN_SUCCESS, .pwd = rows[i].wrong_key ? PWD0 : PWD1, .mapped = &us,
                         .txid = probe.txid};
        usec_t at = k->now + (rows[i].late ? 31 * SEC : RTT);
        assert_true(ice_input(a, 0, rows[i].other_address ? &other : &to, make(&m), at));
        ice_counts(a, &c);
        assert_int_equal(ice_state(a) == ICE_CONNECTED, i == 0);
        assert_int_equal(c.responses_refused, i != 0);
        assert_int_equal(c.remote, i == 0);
        kit_free(k);
    }
}

static void test_probe_queue_is_bounded(void **state)
{
    struct kit *k = one_agent(true, true);
    size_t n = 0;
    while (n < 1000) {
        struct net_addr to = net_addr4(0xcb007109u, (uint16_t)(1000 + n));
        int r = ice_probe(k->peers[0].a, 0, &to, k->now);
        assert_true(r == 0 || r == -ENOBUFS);
        if (r)
            break;
        n++;
    }
    assert_in_range(n, 32, 256);
    struct ice_out o;
    assert_true(ice_output(k->peers[0].a, k->now, &o));
    struct net_addr to = net_addr4(0xcb007109u, 1);
    assert_int_equal(ice_probe(k->peers[0].a, 0, &to, k->now), 0);
    kit_free(k);
}

/* ---- The rest. */

static void test_request_ufrag(void **state)
{
    char ufrag[ICE_UFRAG_MAX + 1];
    struct made m = {STUN_REQUEST, "abcd:efgh", PWD0, .priority = true};
    assert_true(ice_request_ufrag(make(&m), ufrag));
    assert_string_equal(ufrag, "abcd");
    m.user = "abcd";
    assert_false(ice_request_ufrag(make(&m), ufrag));
    m.user = ":efgh";
    assert_false(ice_request_ufrag(make(&m), ufrag));
    m.user = "0123456789012345678901234567890123:efgh";
    assert_false(ice_request_ufrag(make(&m), ufrag));
    m = (struct made){STUN_SUCCESS, "abcd:efgh", PWD0};
    assert_false(ice_request_ufrag(make(&m), ufrag));
    assert_false(ice_request_ufrag(bytes_of("\x40garbage of no meaning", 20), ufrag));
}

static void test_credentials_are_judged(void **state)
{
    static const struct {
        const char *ufrag, *pwd;
        int r;
    } rows[] = {
        {"abc", "0123456789012345678901", -EINVAL},
        {"abcd", "012345678901234567890", -EINVAL},
        {"ab:d", "0123456789012345678901", -EINVAL},
        {"ab d", "0123456789012345678901", -EINVAL},
        {"abcd",
         "01234567890123456789\x7f"
         "1",
         -EINVAL},
        {"abcd", "0123456789012345678901", 0},
    };
    struct kit *k = one_agent(true, false);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct ice_credentials c = {{0}, {0}};
        snprintf(c.ufrag, sizeof c.ufrag, "%s", rows[i].ufrag);
        snprintf(c.pwd, sizeof c.pwd, "%s", rows[i].pwd);
        assert_int_equal(ice_remote_credentials(k->peers[0].a, &c, k->now), rows[i].r);
        struct ice_config bad = {.local = c, .rng = k->chance};
        struct ice *a = ice_new(&bad, 1);
        assert_int_equal(a != NULL, rows[i].r == 0);
        ice_free(a);
    }
    struct ice_credentials same = {"abcd", "0123456789012345678901"},
                           not = {"abce", "0123456789012345678901"};
    assert_int_equal(ice_remote_credentials(k->peers[0].a, &same, k->now), 0);
    assert_int_equal(ice_remote_credentials(k->peers[0].a, &not, k->now), -EALREADY);
    ice_free(NULL);
    kit_free(k);
}

static void test_transactions_carry_the_prefix(void **state)
{
    struct kit *k = kit_new(31);
    struct kit_peer *p = &k->peers[0];
    kit_base(k, 0, net_addr4(p->nat.ip, 5000));
    struct ice_config c = {.controlling = true,
                           .local = p->credentials,
                           .txid_prefix = 0x01020304,
                           .lite_peer = true,
                           .rng = k->chance};
    p->a = ice_new(&c, k->now);
    assert_non_null(p->a);
    struct ice_candidate host = kit_host(k, 0, 0);
    assert_int_equal(ice_add_local(p->a, &host, k->now), 0);
    assert_int_equal(ice_remote_credentials(p->a, &k->peers[1].credentials, k->now), 0);
    uint8_t copy[256];
    struct net_addr to = net_addr4(0xcb007109u, 77);
    struct stun_message m = first_check(k, &to, copy);
    assert_memory_equal(m.txid, "\x01\x02\x03\x04", 4);
    kit_free(k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_requests_are_judged),
        cmocka_unit_test(test_role_by_tie_breaker),
        cmocka_unit_test(test_responses_are_judged),
        cmocka_unit_test(test_role_conflict_repeats_the_check),
        cmocka_unit_test(test_restart_forgets_what_waits),
        cmocka_unit_test(test_foundations_hold_back),
        cmocka_unit_test(test_request_revives_a_failed_pair),
        cmocka_unit_test(test_retransmissions),
        cmocka_unit_test(test_controlled_end_follows_nominations),
        cmocka_unit_test(test_requests_are_no_consent),
        cmocka_unit_test(test_request_flood_is_bounded),
        cmocka_unit_test(test_early_requests_are_bounded),
        cmocka_unit_test(test_probe_finds_a_pair),
        cmocka_unit_test(test_probe_over_other_sockets),
        cmocka_unit_test(test_learnt_sockets_are_bounded),
        cmocka_unit_test(test_probe_answers_are_judged),
        cmocka_unit_test(test_probe_queue_is_bounded),
        cmocka_unit_test(test_request_ufrag),
        cmocka_unit_test(test_credentials_are_judged),
        cmocka_unit_test(test_transactions_carry_the_prefix),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
