#include "pump/plane.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/rng.h"
#include "crypto/init.h"
#include "pump/core_kit_int.h"

static struct lane *lane_at(uint32_t index, uint8_t epoch)
{
    static const uint8_t key[AEAD_KEY_LEN] = {1};
    struct lane *l = lane_new(&(struct lane_config){.alg = AEAD_AES256GCM,
                                                    .tx_key = key,
                                                    .rx_key = key,
                                                    .epoch = epoch,
                                                    .index = index,
                                                    .peer_index = 9});
    assert_non_null(l);
    return l;
}

/* A route with one way; the caller keeps its own hold on the lane. */
static struct plane_route route_with(struct lane *l, uint32_t way)
{
    struct plane_route r = {.most = 100, .tx = l, .rx = {NULL, l, NULL}, .way_count = 1};
    r.ways[0] = (struct plane_way){.id = way, .socket = 1, .addr = net_addr4(0x01020304, 5), .mtu = 1400};
    return r;
}

static void publish(struct plane *p)
{
    assert_int_equal(plane_publish(p), 0);
}

/* ---- Snapshots. */

static void test_nothing_before_publish(void **state)
{
    struct plane *p = plane_new(1);
    struct lane *l = lane_at(77, 3), *found = NULL;
    struct plane_route r = route_with(l, 1);
    const struct plane_net net = {.party_ref = 4, .tag = 0xaa, .mtu = 1400};
    assert_non_null(p);
    const struct snapshot *empty = plane_pin(p, 1);
    assert_int_equal(plane_route_set(p, 2, &r), 0);
    assert_int_equal(plane_net_set(p, &net), 0);
    assert_ptr_equal(plane_pin(p, 2), empty);
    assert_null(snapshot_session(empty, 77, 3, &found));
    publish(p);
    const struct snapshot *s = plane_pin(p, 2);
    assert_ptr_not_equal(s, empty);
    assert_null(snapshot_session(empty, 77, 3, &found)); /* a snapshot never changes */
    const struct route *route = snapshot_session(s, 77, 3, &found);
    assert_non_null(route);
    assert_ptr_equal(found, l);
    assert_int_equal(route_ref(route), 2);
    assert_memory_equal(route_of(route), &r, sizeof r);
    assert_null(snapshot_session(s, 77, 2, &found));
    assert_null(snapshot_session(s, 78, 3, &found));
    assert_null(snapshot_session(s, 0, 0, &found));
    assert_int_equal(net_of(snapshot_net(s, 4))->tag, 0xaa);
    assert_ptr_equal(snapshot_tag(s, 0xaa), snapshot_net(s, 4));
    assert_null(snapshot_net(s, 5));
    assert_null(snapshot_tag(s, 0xab));
    plane_unpin(p, 1);
    plane_unpin(p, 2);
    plane_free(p);
    lane_drop(l);
    plane_free(NULL);
}

/* Thousands of sessions with three epochs each: every one is found, and none that is not there. */
static void test_many_sessions(void **state)
{
    enum { PEERS = 3000 };
    static struct lane *lanes[PEERS][3];
    struct plane *p = plane_new(2);
    struct rng_seeded rs;
    struct rng rng = rng_seeded(&rs, 5);
    static uint32_t index[PEERS];
    assert_non_null(p);
    for (uint32_t i = 0; i < PEERS; i++) {
        index[i] = i < 1000 ? i + 1 : rng_u32(&rng) | 0x80000000u; /* in a row, too */
        struct plane_route r = {.out = -1};
        for (uint8_t e = 0; e < 3; e++)
            r.rx[e] = lanes[i][e] = lane_at(index[i], (uint8_t)(254 + e));
        assert_int_equal(plane_route_set(p, i + 1, &r), 0);
    }
    publish(p);
    const struct snapshot *s = plane_pin(p, 16);
    struct lane *found;
    for (uint32_t i = 0; i < PEERS; i++) {
        for (uint8_t e = 0; e < 3; e++) {
            const struct route *r = snapshot_session(s, index[i], (uint8_t)(254 + e), &found);
            assert_non_null(r);
            assert_ptr_equal(found, lanes[i][e]);
            assert_int_equal(route_ref(r), i + 1);
        }
        assert_null(snapshot_session(s, index[i], 1, &found));
    }
    plane_unpin(p, 16);
    plane_free(p);
    for (uint32_t i = 0; i < PEERS; i++)
        for (int e = 0; e < 3; e++)
            lane_drop(lanes[i][e]);
}

/* A pinned snapshot and everything in it stays, whatever is taken away, for as long as it is pinned (the
 * sanitizer says so). */
static void test_pins(void **state)
{
    struct plane *p = plane_new(3);
    const struct plane_member member = kit_member(2);
    const struct plane_net net = {
        .party_ref = 1, .tag = 7, .mtu = 1400, .self = kit_member(1), .members = &member, .count = 1};
    const struct snapshot *pinned[PLANE_USERS_MAX + 1];
    assert_non_null(p);
    for (unsigned user = 1; user <= PLANE_USERS_MAX; user++) {
        struct lane *l = lane_at(user, 0);
        struct plane_route r = route_with(l, user);
        assert_int_equal(plane_net_set(p, &net), 0);
        assert_int_equal(plane_route_set(p, 2, &r), 0);
        publish(p);
        pinned[user] = plane_pin(p, user);
        lane_drop(l); /* the route alone holds it now */
    }
    plane_net_del(p, 1);
    assert_int_equal(plane_route_set(p, 2, NULL), 0);
    publish(p);
    /* Each sees its own, in whatever order they leave. */
    for (unsigned i = 0; i < PLANE_USERS_MAX; i++) {
        unsigned user = 1 + i * 7 % PLANE_USERS_MAX;
        struct lane *found;
        const struct route *r = snapshot_session(pinned[user], user, 0, &found);
        assert_non_null(r);
        assert_int_equal(lane_index(found), user);
        assert_int_equal(route_of(r)->ways[0].id, user);
        assert_int_equal(net_of(snapshot_net(pinned[user], 1))->tag, 7);
        route_sent(p, r, 0, 5);
        assert_null(snapshot_session(pinned[user], user == 1 ? 2 : 1, 0, &found));
        plane_unpin(p, user);
        publish(p);
    }
    struct lane *found;
    assert_null(snapshot_session(plane_pin(p, 1), 1, 0, &found));
    plane_unpin(p, 1);
    plane_free(p);
}

/* Only what differs makes another snapshot. */
static void test_same(void **state)
{
    struct plane *p = plane_new(4);
    struct lane *l = lane_at(5, 0), *other = lane_at(5, 1);
    struct plane_route r = route_with(l, 1), changed[10];
    assert_non_null(p);
    assert_int_equal(plane_route_set(p, 3, NULL), 0);
    publish(p);
    assert_int_equal(plane_route_set(p, 3, &r), 0);
    publish(p);
    const struct snapshot *s = plane_pin(p, 1);
    assert_int_equal(plane_route_set(p, 3, &r), 0);
    assert_int_equal(plane_route_set(p, 4, NULL), 0);
    assert_int_equal(plane_route_set(p, 60000, NULL), 0);
    plane_net_del(p, 9);
    publish(p);
    assert_ptr_equal(plane_pin(p, 1), s);
    for (size_t i = 0; i < 10; i++)
        changed[i] = r;
    changed[0].most++;
    changed[1].tx = other;
    changed[2].rx[1] = other;
    changed[3].rx[2] = other;
    changed[4].out = -1;
    changed[5].ways[0].mtu--;
    changed[6].ways[0].addr.port++;
    changed[7].ways[0].relay = true;
    changed[8].ways[0].socket++;
    changed[9].ways[0].id++;
    for (size_t i = 0; i < 10; i++) {
        assert_int_equal(plane_route_set(p, 3, &changed[i]), 0);
        publish(p);
        const struct snapshot *now = plane_pin(p, 2);
        assert_ptr_not_equal(now, s);
        assert_int_equal(plane_route_set(p, 3, &r), 0);
        publish(p);
    }
    plane_unpin(p, 1);
    plane_unpin(p, 2);
    plane_free(p);
    lane_drop(l);
    lane_drop(other);
}

static void test_limits(void **state)
{
    struct plane *p = plane_new(5);
    struct lane *l = lane_at(5, 0);
    struct plane_route r = route_with(l, 1);
    static struct plane_member members[PLANE_MEMBERS_MAX + 1];
    assert_non_null(p);
    assert_int_equal(plane_route_set(p, 0, &r), -ENOSPC);
    assert_int_equal(plane_route_set(p, PLANE_PEERS_MAX + 1, &r), -ENOSPC);
    assert_int_equal(plane_route_set(p, PLANE_PEERS_MAX, &r), 0);
    for (uint32_t i = 0; i <= PLANE_MEMBERS_MAX; i++) {
        members[i] = kit_member(i + 2);
        members[i].mac[4] = (uint8_t)(i >> 8);
        members[i].ip6[14] = (uint8_t)(i >> 8);
        members[i].ip6[15] = members[i].mac[5] = (uint8_t)i;
    }
    struct plane_net net = {.mtu = 1400, .members = members, .count = PLANE_MEMBERS_MAX + 1, .party_ref = 1};
    assert_int_equal(plane_net_set(p, &net), -ENOSPC);
    net.count--;
    for (uint32_t i = 1; i <= PLANE_NETS_MAX; i++) {
        net.party_ref = i;
        net.tap = i & 1;
        assert_int_equal(plane_net_set(p, &net), 0);
    }
    net.party_ref++;
    assert_int_equal(plane_net_set(p, &net), -ENOSPC);
    net.party_ref = 5; /* in place of its old one */
    assert_int_equal(plane_net_set(p, &net), 0);
    publish(p);
    plane_net_del(p, 6);
    net.party_ref = 65;
    assert_int_equal(plane_net_set(p, &net), 0);
    publish(p);
    const struct snapshot *s = plane_pin(p, 1);
    assert_null(snapshot_net(s, 6));
    assert_non_null(snapshot_net(s, 65));
    plane_unpin(p, 1);
    plane_free(p);
    lane_drop(l);
}

static void test_counts(void **state)
{
    struct plane *p = plane_new(6);
    assert_non_null(p);
    for (int i = 0; i < PLANE_COUNTS; i++) {
        assert_int_equal(plane_counted(p, (enum plane_count)i), 0);
        plane_count(p, 1, (enum plane_count)i, 3);
        plane_count(p, PLANE_USERS_MAX, (enum plane_count)i, (uint64_t)i);
        plane_count(p, 1, (enum plane_count)i, 1);
        for (int k = 0; k < i; k++)
            assert_string_not_equal(plane_count_name((enum plane_count)i),
                                    plane_count_name((enum plane_count)k));
    }
    for (int i = 0; i < PLANE_COUNTS; i++)
        assert_int_equal(plane_counted(p, (enum plane_count)i), 4 + i);
    assert_string_equal(plane_count_name(PLANE_COUNTS), "unknown");
    plane_free(p);
}

/* ---- News. */

static void expect_news(struct plane *p, const struct plane_news *want)
{
    struct plane_news got;
    assert_true(plane_news(p, 1, &got));
    assert_int_equal(got.traffic, want->traffic);
    assert_int_equal(got.seen, want->seen);
    assert_int_equal(got.way_count, want->way_count);
    for (size_t i = 0; i < want->way_count; i++) {
        assert_int_equal(got.ways[i].id, want->ways[i].id);
        assert_int_equal(got.ways[i].awaiting, want->ways[i].awaiting);
        assert_int_equal(got.ways[i].received, want->ways[i].received);
    }
}

static void test_news(void **state)
{
    struct plane *p = plane_new(7);
    struct lane *l = lane_at(5, 0), *found;
    struct plane_route r = route_with(l, 11);
    struct plane_news got;
    assert_non_null(p);
    r.way_count = 2;
    r.ways[1] = r.ways[0];
    r.ways[1].id = 12;
    assert_false(plane_news(p, 1, &got));
    assert_false(plane_news(p, 0, &got));
    assert_false(plane_news(p, 99, &got));
    assert_int_equal(plane_route_set(p, 1, &r), 0);
    publish(p);
    const struct route *route = snapshot_session(plane_pin(p, 1), 5, 0, &found);
    assert_false(plane_news(p, 1, &got));
    /* The first that was sent is the one that waits; the last is the traffic. */
    route_sent(p, route, 1, 100);
    route_sent(p, route, 1, 200);
    expect_news(p, &(struct plane_news){.traffic = 200, .way_count = 2, .ways = {{11, 0, 0}, {12, 0, 100}}});
    assert_false(plane_news(p, 1, &got));
    /* What was heard answers what was sent; on that way alone. */
    route_sent(p, route, 0, 300);
    route_sent(p, route, 1, 310);
    route_heard(p, route, 0, 320);
    route_heard(p, route, 0, 330);
    expect_news(p, &(struct plane_news){
                       .traffic = 310, .seen = 330, .way_count = 2, .ways = {{11, 330, 0}, {12, 0, 310}}});
    /* Sent again after something was heard: from then on. */
    route_sent(p, route, 0, 400);
    route_heard(p, route, 0, 410);
    route_sent(p, route, 0, 420);
    route_sent(p, route, 0, 430);
    expect_news(p, &(struct plane_news){
                       .traffic = 430, .seen = 410, .way_count = 2, .ways = {{11, 410, 420}, {12, 0, 0}}});
    /* Other keys on the same ways: what was noted stays. Other ways: it is of no use any more. */
    route_sent(p, route, 0, 500);
    r.most++;
    assert_int_equal(plane_route_set(p, 1, &r), 0);
    publish(p);
    expect_news(p, &(struct plane_news){.traffic = 500, .way_count = 2, .ways = {{11, 0, 500}, {12, 0, 0}}});
    route = snapshot_session(plane_pin(p, 1), 5, 0, &found);
    route_sent(p, route, 0, 600);
    r.ways[0].id = 13;
    assert_int_equal(plane_route_set(p, 1, &r), 0);
    assert_false(plane_news(p, 1, &got));
    /* A peer that is gone has none; one that comes again begins anew. */
    route_sent(p, route, 0, 700);
    assert_int_equal(plane_route_set(p, 1, NULL), 0);
    assert_false(plane_news(p, 1, &got));
    publish(p);
    route_heard(p, route, 1, 710); /* by a late worker */
    assert_int_equal(plane_route_set(p, 1, &r), 0);
    assert_false(plane_news(p, 1, &got));
    plane_unpin(p, 1);
    plane_free(p);
    lane_drop(l);
}

/* Stirred: once after a pause. Active: until nothing happened since the last look. */
static void test_active(void **state)
{
    struct plane *p = plane_new(8);
    struct lane *l = lane_at(5, 0), *found;
    struct plane_route r = route_with(l, 11);
    assert_non_null(p);
    assert_int_equal(plane_route_set(p, 1, &r), 0);
    publish(p);
    const struct route *route = snapshot_session(plane_pin(p, 1), 5, 0, &found);
    for (usec_t pause = 1; pause < 5; pause++) {
        assert_false(plane_stirred(p));
        assert_false(plane_active(p));
        assert_false(plane_active(p));
        if (pause & 1)
            route_sent(p, route, 0, pause);
        else
            route_heard(p, route, 0, pause);
        assert_true(plane_stirred(p));
        assert_false(plane_stirred(p)); /* the engine was woken */
        route_heard(p, route, 0, pause);
        assert_false(plane_stirred(p));
        assert_true(plane_active(p));
        assert_false(plane_stirred(p)); /* it looks again by itself */
        route_heard(p, route, 0, pause);
        assert_false(plane_stirred(p));
        assert_true(plane_active(p));
        assert_false(plane_active(p)); /* nothing since: it sleeps */
    }
    /* Looked before it was woken. */
    route_heard(p, route, 0, 9);
    assert_true(plane_active(p));
    assert_false(plane_stirred(p));
    plane_unpin(p, 1);
    plane_free(p);
    lane_drop(l);
}

/* The engine sleeps whenever it may, and workers wait for it to hear of each single thing that they note: a
 * wake-up that is lost stands everything still. */
#define STIRRERS 3
#define STIRS    30000
struct stirrer {
    struct plane *plane;
    unsigned user;
    int wake;
    _Atomic uint64_t heard; /* by the engine */
    bool good;
};

static void *stir_many(void *arg)
{
    struct stirrer *t = arg;
    for (uint64_t i = 1; i <= STIRS; i++) {
        struct lane *found;
        const struct snapshot *s = plane_pin(t->plane, t->user);
        const struct route *r = snapshot_session(s, t->user, 0, &found);
        if (i % 2)
            route_heard(t->plane, r, 0, i);
        else
            route_sent(t->plane, r, 0, i);
        plane_unpin(t->plane, t->user);
        const uint64_t one = 1;
        if (plane_stirred(t->plane) && write(t->wake, &one, sizeof one) != sizeof one)
            return NULL;
        /* Some wait for the answer, some go on at once. */
        for (uint64_t spins = 0; i % 16 < 12 && atomic_load(&t->heard) < i; spins++) {
            if (spins > 1000)
                poll(NULL, 0, 0);
            if (spins > 2000000)
                return NULL;
        }
    }
    t->good = true;
    return NULL;
}

static void test_no_wake_up_is_lost(void **state)
{
    struct plane *p = plane_new(9);
    static struct stirrer t[STIRRERS];
    pthread_t threads[STIRRERS];
    struct lane *lanes[STIRRERS];
    int wake = eventfd(0, EFD_CLOEXEC);
    size_t asleep = 0, done = 0;
    assert_non_null(p);
    assert_true(wake >= 0);
    for (unsigned i = 0; i < STIRRERS; i++) {
        lanes[i] = lane_at(i + 1, 0);
        struct plane_route r = route_with(lanes[i], i);
        assert_int_equal(plane_route_set(p, i + 1, &r), 0);
        t[i] = (struct stirrer){.plane = p, .user = i + 1, .wake = wake};
    }
    publish(p);
    for (unsigned i = 0; i < STIRRERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, stir_many, &t[i]), 0);
    while (done < STIRRERS) {
        uint64_t drop;
        struct pollfd woken = {.fd = wake, .events = POLLIN};
        if (poll(&woken, 1, 20000) <= 0)
            fail_msg("a wake-up was lost");
        assert_int_equal(read(wake, &drop, sizeof drop), sizeof drop);
        asleep++;
        while (plane_active(p))
            for (uint32_t ref = 1; ref <= STIRRERS; ref++) {
                struct plane_news news;
                if (!plane_news(p, ref, &news))
                    continue;
                usec_t last = news.traffic > news.seen ? news.traffic : news.seen;
                done += last == STIRS;
                atomic_store(&t[ref - 1].heard, last);
            }
    }
    for (unsigned i = 0; i < STIRRERS; i++) {
        pthread_join(threads[i], NULL);
        assert_true(t[i].good);
    }
    assert_true(asleep > 100);
    close(wake);
    plane_free(p);
    for (unsigned i = 0; i < STIRRERS; i++)
        lane_drop(lanes[i]);
}

/* Pinning and publishing at once: what was pinned is whole, and of one moment. */
struct reader {
    struct plane *plane;
    unsigned user;
    _Atomic bool *stop;
    size_t looks, changes;
    bool bad;
};

static void *read_many(void *arg)
{
    struct reader *t = arg;
    uint32_t last = 0;
    while (!atomic_load(t->stop)) {
        const struct snapshot *s = plane_pin(t->plane, t->user);
        struct lane *found;
        const struct route *a = snapshot_session(s, 101, 0, &found), *b = snapshot_session(s, 102, 0, &found);
        const struct net_view *n = snapshot_net(s, 1);
        if (a && b && n) {
            uint32_t id = route_of(a)->ways[0].id;
            t->bad = t->bad || id != route_of(b)->ways[0].id || id != net_of(n)->tag ||
                     lane_index(found) != 102 || id < last;
            t->changes += id != last;
            last = id;
            route_heard(t->plane, a, 0, 1);
        }
        plane_unpin(t->plane, t->user);
        t->looks++;
    }
    return NULL;
}

static void test_whole_snapshots(void **state)
{
    struct plane *p = plane_new(10);
    static struct reader t[3];
    pthread_t threads[3];
    _Atomic bool stop = false;
    assert_non_null(p);
    for (unsigned i = 0; i < 3; i++) {
        t[i] = (struct reader){.plane = p, .user = 3 + i, .stop = &stop};
        assert_int_equal(pthread_create(&threads[i], NULL, read_many, &t[i]), 0);
    }
    for (uint32_t k = 1; k <= 20000; k++) {
        struct lane *l[2] = {lane_at(101, 0), lane_at(102, 0)};
        for (uint32_t i = 0; i < 2; i++) {
            struct plane_route r = route_with(l[i], k);
            assert_int_equal(plane_route_set(p, 1 + i, &r), 0);
            lane_drop(l[i]);
        }
        const struct plane_net net = {.party_ref = 1, .tag = k, .mtu = 1400};
        assert_int_equal(plane_net_set(p, &net), 0);
        publish(p);
    }
    atomic_store(&stop, true);
    for (unsigned i = 0; i < 3; i++) {
        pthread_join(threads[i], NULL);
        assert_false(t[i].bad);
    }
    plane_free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_before_publish),
        cmocka_unit_test(test_many_sessions),
        cmocka_unit_test(test_pins),
        cmocka_unit_test(test_same),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_counts),
        cmocka_unit_test(test_news),
        cmocka_unit_test(test_active),
        cmocka_unit_test(test_no_wake_up_is_lost),
        cmocka_unit_test(test_whole_snapshots),
    };
    crypto_init(); /* before there are threads, as the programs do */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
