/* The table of streams against those who fill it: bounds, garbage, and what belongs to whom. */
#include "node/engine_harness.h"

#include "node/underlay_int.h"

#define LISTENER 7777

static struct node *node;
static struct rng_seeded chance;
static struct sign_seed seed;
static usec_t now;

/* What the edge was asked for since it was last looked. */
static struct {
    unsigned listens, dials, sends, closes;
    uint32_t closed[16384], dialled;
    uint16_t port;
    struct net_addr to;
} asked;

static void pull(void)
{
    struct node_out o;
    memset(&asked, 0, sizeof asked);
    while (node_output(node, now, &o)) {
        asked.listens += o.kind == NODE_STREAM_LISTEN;
        asked.sends += o.kind == NODE_STREAM_SEND;
        if (o.kind == NODE_STREAM_LISTEN)
            asked.port = o.port;
        if (o.kind == NODE_STREAM_DIAL) {
            assert_non_null(o.key);
            asked.dials++;
            asked.dialled = o.stream;
            asked.to = o.to;
        }
        if (o.kind == NODE_STREAM_CLOSE && asked.closes < 16384)
            asked.closed[asked.closes++] = o.stream;
    }
}

static void ticks(usec_t t)
{
    for (usec_t until = now + t; now < until;) {
        usec_t wake = node_wake(node);
        now = wake < until ? (wake > now ? wake : now + 1) : until;
        node_tick(node, now);
    }
}

static struct node *make(bool direct)
{
    struct node_config c = {.seed = &seed, .no_device = true};
    now = 1000 * SEC;
    c.rng = rng_seeded(&chance, 7);
    c.unix_s = LAB_UNIX;
    node_limits_default(&c.limits);
    c.limits.direct = direct;
    c.limits.port = LISTENER;
    memset(&seed, 5, sizeof seed);
    snprintf(c.name, sizeof c.name, "anna");
    node = node_new(&c, now);
    assert_non_null(node);
    node_start(node, now);
    return node;
}

static int begin(void **state)
{
    make(true);
    return 0;
}

static int end(void **state)
{
    node_free(node);
    node = NULL;
    return 0;
}

static struct net_addr from(uint32_t i)
{
    return net_addr4(0x0a000000 + i, (uint16_t)(1024 + i % 60000));
}

static bool was_closed(uint32_t stream)
{
    for (unsigned i = 0; i < asked.closes; i++)
        if (asked.closed[i] == stream)
            return true;
    return false;
}

static void the_listener_is_asked_for_and_its_port_is_told(void **state)
{
    pull();
    assert_int_equal(asked.listens, 1);
    assert_int_equal(asked.port, LISTENER);
    uint16_t revision = node->underlay->revision;
    node_stream_listening(node, 4433, NULL, now);
    assert_int_equal(node->underlay->tcp_port, 4433);
    assert_true((uint16_t)(node->underlay->revision - revision) > 0);
}

static void a_listener_that_failed_is_asked_for_again(void **state)
{
    pull();
    node_stream_listening(node, 0, "address in use", now);
    assert_int_equal(node->underlay->tcp_port, 0);
    ticks(59 * SEC);
    pull();
    assert_int_equal(asked.listens, 0);
    ticks(2 * SEC);
    pull();
    assert_int_equal(asked.listens, 1);
}

static void without_direct_paths_there_is_neither_listener_nor_stream(void **state)
{
    node_free(node);
    make(false);
    pull();
    assert_int_equal(asked.listens, 0);
    struct net_addr a = from(1);
    node_stream_up(node, NODE_STREAM_ACCEPTED + 1, &a, now);
    pull();
    assert_true(was_closed(NODE_STREAM_ACCEPTED + 1));
    assert_int_equal(streams_count(node), 0);
}

static void ten_thousand_come_and_say_nothing(void **state)
{
    pull();
    for (uint32_t i = 0; i < 10000; i++) {
        struct net_addr a = from(i);
        node_stream_up(node, NODE_STREAM_ACCEPTED + i, &a, now);
        assert_true(streams_count(node) <= STREAMS_UNCLAIMED);
        if (i % 500 == 0) {
            pull();
            now += 100 * MSEC;
        }
    }
    assert_int_equal(streams_count(node), STREAMS_UNCLAIMED);
    assert_true(node->counts[COUNT_STREAMS_REFUSED] >= 10000 - STREAMS_UNCLAIMED);
    pull();
    /* The last ones are those that stay, for as long as a claim may take. */
    assert_false(was_closed(NODE_STREAM_ACCEPTED + 9999));
    ticks(STREAM_CLAIM - 100 * MSEC);
    assert_int_equal(streams_count(node), STREAMS_UNCLAIMED);
    ticks(200 * MSEC);
    assert_int_equal(streams_count(node), 0);
    pull();
    assert_int_equal(asked.closes, STREAMS_UNCLAIMED);
    assert_true(was_closed(NODE_STREAM_ACCEPTED + 9999));
}

/* Where the edge does not keep up the closes are still all given. */
static void ten_thousand_in_one_breath(void **state)
{
    pull();
    for (uint32_t i = 0; i < 2 * DATAGRAMS_OUT_MAX; i++) {
        struct net_addr a = from(i);
        node_stream_up(node, NODE_STREAM_ACCEPTED + i, &a, now);
    }
    pull();
    assert_true(asked.closes >= DATAGRAMS_OUT_MAX);
    assert_true(streams_count(node) <= STREAMS_UNCLAIMED);
}

static const struct {
    const char *what;
    size_t n;
    uint8_t p[12];
} malformed[] = {
    {"nothing", 0, {0}},
    {"half a length", 1, {0}},
    {"a length and no bytes", 2, {0, 4}},
    {"an empty datagram", 2, {0, 0}},
    {"an empty one behind a good one", 6, {0, 2, 9, 9, 0, 0}},
    {"one byte short", 5, {0, 4, 1, 2, 3}},
    {"one byte over", 7, {0, 4, 1, 2, 3, 4, 0}},
};

static void malformed_messages_end_a_stream(void **state)
{
    for (size_t i = 0; i < sizeof malformed / sizeof *malformed; i++) {
        uint32_t stream = NODE_STREAM_ACCEPTED + (uint32_t)i;
        struct net_addr a = from(1);
        uint8_t copy[12];
        node_stream_up(node, stream, &a, now);
        pull();
        memcpy(copy, malformed[i].p, sizeof copy);
        uint64_t before = node->counts[COUNT_STREAMS_MALFORMED], bad = node->counts[COUNT_BAD_DATAGRAM];
        node_stream_message(node, stream, copy, malformed[i].n, now);
        pull();
        if (!was_closed(stream) || node->counts[COUNT_STREAMS_MALFORMED] != before + 1)
            fail_msg("%s was taken", malformed[i].what);
        assert_int_equal(node->counts[COUNT_BAD_DATAGRAM], bad); /* none of it was acted upon */
        assert_int_equal(streams_count(node), 0);
    }
}

static void garbage_in_good_frames_is_counted_and_answered_by_nothing(void **state)
{
    struct net_addr a = from(1);
    struct rng rng = rng_seeded(&chance, 11);
    uint8_t p[600];
    node_stream_up(node, NODE_STREAM_ACCEPTED, &a, now);
    pull();
    for (int i = 0; i < 10000; i++) {
        size_t n = 1 + rng_below(&rng, sizeof p - 2);
        rng_fill(&rng, p, n + 2);
        p[0] = (uint8_t)(n >> 8);
        p[1] = (uint8_t)n;
        if (i % 2)
            p[2] = (uint8_t)(4 + i / 2 % 3); /* a type of ours */
        node_stream_message(node, NODE_STREAM_ACCEPTED, p, n + 2, now);
    }
    pull();
    assert_int_equal(asked.sends, 0);
    assert_int_equal(streams_count(node), 1);
    assert_true(node->counts[COUNT_BAD_DATAGRAM] > 4000);
    ticks(STREAM_CLAIM + 1);
    assert_int_equal(streams_count(node), 0);
}

static void unknown_streams_are_ignored_or_closed(void **state)
{
    struct net_addr a = from(1);
    uint8_t p[4] = {0, 2, 5, 5};
    pull();
    node_stream_message(node, 17, p, sizeof p, now);
    node_stream_message(node, NODE_STREAM_ACCEPTED + 17, p, sizeof p, now);
    pull();
    assert_true(asked.closes == 1 && was_closed(NODE_STREAM_ACCEPTED + 17));
    node_stream_down(node, 17, "gone", now);
    node_stream_down(node, NODE_STREAM_ACCEPTED + 17, "gone", now);
    node_stream_up(node, 17, &a, now); /* none of ours */
    pull();
    assert_true(was_closed(17));
    node_stream_up(node, NODE_STREAM_ACCEPTED + 1, &a, now);
    node_stream_up(node, NODE_STREAM_ACCEPTED + 1, &a, now);
    assert_int_equal(streams_count(node), 1);
    node_stream_down(node, NODE_STREAM_ACCEPTED + 1, "gone", now);
    assert_int_equal(streams_count(node), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_listener_is_asked_for_and_its_port_is_told, begin, end),
        cmocka_unit_test_setup_teardown(a_listener_that_failed_is_asked_for_again, begin, end),
        cmocka_unit_test_setup_teardown(without_direct_paths_there_is_neither_listener_nor_stream, begin,
                                        end),
        cmocka_unit_test_setup_teardown(ten_thousand_come_and_say_nothing, begin, end),
        cmocka_unit_test_setup_teardown(ten_thousand_in_one_breath, begin, end),
        cmocka_unit_test_setup_teardown(malformed_messages_end_a_stream, begin, end),
        cmocka_unit_test_setup_teardown(garbage_in_good_frames_is_counted_and_answered_by_nothing, begin,
                                        end),
        cmocka_unit_test_setup_teardown(unknown_streams_are_ignored_or_closed, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
