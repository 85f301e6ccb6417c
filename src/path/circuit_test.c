#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <errno.h>
#include <stdio.h>

#include <cmocka.h>

#include "path/circuit_kit_int.h"

static void all_up(struct kit *k, size_t relays)
{
    assert_int_equal(k->node[0].ups, 1);
    assert_int_equal(k->node[0].failed, 0);
    assert_int_equal(k->node[relays + 1].incoming, 1);
    for (size_t i = 1; i <= relays; i++)
        assert_int_equal(k->node[i].incoming, 0);
}

static void test_up(void **state)
{
    static const size_t sizes[] = {4, 100, 1280, CIRCUIT_PAYLOAD_MAX};
    for (size_t relays = 1; relays <= CIRCUIT_HOPS_MAX; relays++) {
        struct kit *k = kit_new(relays);
        uint32_t id = kit_open(k, relays);
        struct circuit_info info;
        struct circuits_counts n;
        assert_true(circuit_info(k->node[0].c, id, &info));
        assert_false(info.up);
        assert_int_equal(kit_send(k, 0, id, 0, 100), -ENOTCONN);
        kit_for(k, 1 * SEC);
        all_up(k, relays);
        assert_true(circuit_info(k->node[0].c, id, &info));
        assert_true(info.up && info.ours);
        assert_int_equal(info.hops, relays + 1);
        assert_memory_equal(info.hop[relays], k->node[relays + 1].id, NODE_ID_LEN);
        /* Forth and back one hop more each time, each over that many links. */
        assert_int_equal(info.since, KIT_START + (relays + 1) * (relays + 2) * 10 * MSEC);
        uint32_t in = k->node[relays + 1].in_id;
        assert_true(circuit_info(k->node[relays + 1].c, in, &info));
        assert_true(info.up && !info.ours);
        assert_memory_equal(info.hop[0], k->node[relays].id, NODE_ID_LEN);
        for (uint32_t i = 0; i < 4; i++) {
            assert_int_equal(kit_send(k, 0, id, i, sizes[i]), 0);
            assert_int_equal(kit_send(k, relays + 1, in, i, sizes[i]), 0);
        }
        uint8_t large[CIRCUIT_PAYLOAD_MAX + 1] = {0};
        assert_int_equal(circuit_send(k->node[0].c, id, bytes_of(large, sizeof large), k->now), -EMSGSIZE);
        assert_int_equal(circuit_send(k->node[0].c, id + 1, bytes_of(large, 1), k->now), -ENOTCONN);
        kit_for(k, 1 * SEC);
        assert_int_equal(k->node[0].datagrams, 4);
        assert_int_equal(k->node[relays + 1].datagrams, 4);
        assert_int_equal(k->node[0].bad + k->node[relays + 1].bad, 0);
        for (size_t i = 0; i <= relays + 1; i++) {
            circuits_counts(k->node[i].c, &n);
            assert_int_equal(n.dropped, 0);
            assert_int_equal(n.built, i == 0);
            assert_int_equal(n.incoming, i == relays + 1);
            assert_int_equal(n.open, i == 0 || i == relays + 1);
            assert_int_equal(n.relayed_now, i > 0 && i <= relays);
            /* What was kept for building is gone, secrets first. */
            const struct circuit *c = k->node[i].c->all;
            assert_true(!c->offer && !c->answer && !c->ext);
        }
        kit_free(k);
    }
}

/* Nobody sees more than its two neighbours: every cell and every layer that a relay can open is looked
 * through. */
static void test_knowledge(void **state)
{
    for (size_t relays = 1; relays <= CIRCUIT_HOPS_MAX; relays++) {
        struct kit *k = kit_new(10 + relays);
        size_t end = relays + 1;
        uint8_t there[64], back[64];
        k->spy = true;
        uint32_t id = kit_open(k, relays);
        kit_for(k, 1 * SEC);
        all_up(k, relays);
        rng_fill(&k->rng, there, sizeof there);
        rng_fill(&k->rng, back, sizeof back);
        assert_int_equal(circuit_send(k->node[0].c, id, bytes_of(there, sizeof there), k->now), 0);
        assert_int_equal(
            circuit_send(k->node[end].c, k->node[end].in_id, bytes_of(back, sizeof back), k->now), 0);
        kit_for(k, 1 * SEC);
        for (size_t i = 0; i <= end; i++) {
            const struct kit_node *n = &k->node[i];
            bool is_end = i == 0 || i == end;
            assert_int_equal(kit_saw(n, there + 4, sizeof there - 4), is_end && i == end);
            assert_int_equal(kit_saw(n, back + 4, sizeof back - 4), is_end && i == 0);
            /* A relay is told the next node's id, the end nobody's. The builder's is in no message at all. */
            for (size_t j = 0; j < KIT_NODES; j++)
                assert_int_equal(i > 0 && kit_saw(n, k->node[j].id, NODE_ID_LEN),
                                 i > 0 && i < end && j == i + 1);
            /* Nor is anybody's public key. */
            for (size_t j = 0; j < KIT_NODES; j++)
                assert_false(kit_saw(n, sign_key_public(k->node[j].key)->ed25519, ED25519_PUBLIC_LEN));
        }
        kit_free(k);
    }
}

/* No two links carry the same bytes, but what a relay must show the next: its CREATE. Counters are not the
 * same either. */
static void test_links_differ(void **state)
{
    struct kit *k = kit_new(20);
    uint32_t id = kit_open(k, 3);
    kit_for(k, 1 * SEC);
    k->spy = true;
    assert_int_equal(kit_send(k, 0, id, 1, 500), 0);
    kit_for(k, 1 * SEC);
    for (size_t i = 1; i <= 3; i++) {
        /* Came in and went out: the counter of the cell that came in stands once in what the relay saw. */
        const struct kit_node *n = &k->node[i];
        assert_true(n->seen_n > 500);
        assert_null(memmem(n->seen + 16, n->seen_n - 16, n->seen + 5, CIRCUIT_COUNTER_LEN));
        const struct circuit *c = n->c->all;
        assert_int_not_equal(c->prev.id, c->next.id);
    }
    /* So does where the counters stand, in both directions. */
    const struct circuit *ours = k->node[0].c->all;
    for (size_t i = 0; i < 4; i++)
        for (size_t j = 0; j < i; j++) {
            const struct layer *a = k->node[i + 1].c->all->layer, *b = k->node[j + 1].c->all->layer;
            assert_true(ours->layer[i].next + 1000 < ours->layer[j].next ||
                        ours->layer[j].next + 1000 < ours->layer[i].next);
            assert_true(a->next + 1000 < b->next || b->next + 1000 < a->next);
        }
    kit_free(k);
}

static bool sizes_seen(struct kit *k, size_t from, size_t *to, uint8_t *p, size_t n)
{
    size_t *max = k->arg;
    bool layered = p[0] == CIRCUIT_FORTH || p[0] == CIRCUIT_BACK;
    assert_int_equal(layered ? (n - CIRCUIT_HEADER_LEN) % CIRCUIT_LAYER_LEN : 0, 0);
    assert_true(n <= CIRCUIT_CELL_MAX ? p[0] != CIRCUIT_CREATE : n > CIRCUIT_ANSWER_LEN);
    if (n > *max)
        *max = n;
    return true;
}

static void test_sizes(void **state)
{
    for (size_t layers = 2; layers <= CIRCUIT_HOPS_MAX + 1; layers++) {
        struct kit *k = kit_new(30 + layers);
        size_t max = 0;
        k->tamper = sizes_seen;
        k->arg = &max;
        uint32_t id = kit_open(k, layers - 1);
        kit_for(k, 1 * SEC);
        assert_true(max > CIRCUIT_ANSWER_LEN && max < CIRCUIT_BUILD_MAX);
        for (size_t n = 4; n <= CIRCUIT_PAYLOAD_MAX; n += 17) {
            max = 0;
            assert_int_equal(kit_send(k, 0, id, 0, n), 0);
            kit_run(k, k->now); /* the builder's own link alone: the longest */
            assert_int_equal(max, circuit_cell_len(n, layers));
            size_t room = circuit_payload(max, layers);
            assert_true(room >= n || n == CIRCUIT_PAYLOAD_MAX);
            assert_true(circuit_cell_len(room, layers) == max);
            assert_true(room == CIRCUIT_PAYLOAD_MAX || circuit_cell_len(room + 1, layers) > max);
            assert_true(circuit_payload(max - 1, layers) < n);
        }
        assert_true(circuit_cell_len(CIRCUIT_PAYLOAD_MAX, layers) <= CIRCUIT_CELL_MAX);
        for (size_t n = 0; n < circuit_cell_len(0, layers); n++)
            assert_int_equal(circuit_payload(n, layers), 0);
        kit_free(k);
    }
}

/* Questions and answers that build are about as long as each other, and none is always the same. */
static void test_build_sizes(void **state)
{
    struct kit *k = kit_new(39);
    size_t low = SIZE_MAX, high = 0;
    for (int i = 0; i < 200; i++) {
        size_t n = build_least(k->node[0].c);
        assert_int_equal((n - CIRCUIT_ANSWER_LEN) % CIRCUIT_LAYER_LEN, 0);
        low = n < low ? n : low;
        high = n > high ? n : high;
    }
    assert_int_equal(low, CIRCUIT_ANSWER_LEN);
    assert_int_equal(high, CIRCUIT_ANSWER_LEN + 15 * CIRCUIT_LAYER_LEN);
    /* The longest, with all layers, is still one control message. */
    assert_true(circuit_cell_len(high, CIRCUIT_HOPS_MAX + 1) < CIRCUIT_BUILD_MAX);
    size_t max = 0;
    k->tamper = sizes_seen;
    k->arg = &max;
    kit_open(k, 3);
    kit_run(k, KIT_START + 50 * MSEC); /* CREATE, CREATED, EXTEND, CREATE, CREATED, EXTENDED: all large */
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(k->node[i].cells, k->node[i].reliable);
    assert_true(k->node[0].cells >= 2);
    kit_free(k);
}

static void test_lossy(void **state)
{
    for (size_t relays = 1; relays <= CIRCUIT_HOPS_MAX; relays++)
        for (uint64_t seed = 0; seed < 6; seed++) {
            struct kit *k = kit_new(40 + seed * 4 + relays);
            size_t end = relays + 1;
            k->loss = k->twice = 50;
            k->jitter = 30 * MSEC;
            uint32_t id = kit_open(k, relays);
            kit_for(k, 12 * SEC);
            all_up(k, relays);
            for (uint32_t i = 0; i < 400; i++) {
                kit_send(k, 0, id, i, 4 + i * 3);
                kit_send(k, end, k->node[end].in_id, i, 4 + i * 3);
                kit_for(k, 5 * MSEC);
            }
            kit_for(k, 1 * SEC);
            /* Each once at most, unchanged, and not fewer than the links' losses explain. */
            assert_int_equal(k->node[0].bad + k->node[end].bad, 0);
            assert_in_range(k->node[0].datagrams, 280, 400);
            assert_in_range(k->node[end].datagrams, 280, 400);
            circuit_close(k->node[0].c, id, k->now);
            kit_for(k, CIRCUIT_IDLE + 10 * SEC); /* whoever missed the end forgets it by itself */
            assert_true(kit_empty(k));
            kit_free(k);
        }
}

/* Fragments lose more: as if one of five large cells did not arrive. */
static bool large_lost(struct kit *k, size_t from, size_t *to, uint8_t *p, size_t n)
{
    return n <= CIRCUIT_CELL_MAX || rng_below(&k->rng, 5) > 0;
}

static void test_build_lossy(void **state)
{
    size_t up = 0;
    for (uint64_t seed = 0; seed < 10; seed++) {
        struct kit *k = kit_new(70 + seed);
        k->tamper = large_lost;
        kit_open(k, 3);
        kit_for(k, 11 * SEC);
        up += k->node[0].ups;
        assert_int_equal(k->node[0].ups + k->node[0].failed, 1);
        kit_free(k);
    }
    assert_true(up >= 8);
}

static void test_keepalive(void **state)
{
    struct kit *k = kit_new(80);
    struct circuit_info info;
    uint32_t id = kit_open(k, 2);
    kit_for(k, 1 * SEC);
    size_t before = k->node[0].cells;
    kit_for(k, 600 * SEC);
    assert_int_equal(k->node[0].downs + k->node[3].downs, 0);
    assert_in_range(k->node[0].cells - before, 18, 21);
    assert_true(circuit_info(k->node[0].c, id, &info) && info.up);
    /* With traffic both ways there is none. */
    before = k->node[0].cells;
    for (uint32_t i = 0; i < 60; i++) {
        kit_send(k, 0, id, i, 50);
        kit_send(k, 3, k->node[3].in_id, i, 50);
        kit_for(k, 5 * SEC);
    }
    assert_int_equal(k->node[0].cells - before, 60);
    /* The end falls silent without a word. */
    k->node[3].deaf = true;
    kit_for(k, CIRCUIT_IDLE - 10 * SEC);
    assert_int_equal(k->node[0].downs, 0);
    kit_for(k, 11 * SEC);
    assert_int_equal(k->node[0].downs, 1);
    assert_string_equal(k->node[0].why, circuit_reason_text(CIRCUIT_TIMEOUT));
    assert_false(circuit_info(k->node[0].c, id, &info));
    kit_for(k, CIRCUIT_IDLE + SEC);
    assert_int_equal(k->node[3].downs, 1);
    assert_true(kit_empty(k));
    kit_free(k);
}

/* The first message to the end is lost: nobody has anything to say, and it learns of the circuit
 * nevertheless. */
static bool to_end_lost(struct kit *k, size_t from, size_t *to, uint8_t *p, size_t n)
{
    int *left = k->arg;
    return *to != 2 || p[0] != CIRCUIT_FORTH || --*left < 0;
}

static void test_first_word_lost(void **state)
{
    struct kit *k = kit_new(90);
    int left = 3;
    k->tamper = to_end_lost;
    k->arg = &left;
    kit_open(k, 1);
    kit_for(k, 1 * SEC);
    assert_int_equal(k->node[0].ups, 1);
    assert_int_equal(k->node[2].incoming, 0);
    kit_for(k, 5 * SEC);
    assert_int_equal(k->node[2].incoming, 1);
    kit_for(k, 60 * SEC);
    assert_int_equal(k->node[0].downs + k->node[2].downs, 0);
    kit_free(k);
}

static void test_close(void **state)
{
    for (int who = 0; who < 2; who++) {
        struct kit *k = kit_new(100);
        uint32_t id = kit_open(k, 3);
        kit_for(k, 1 * SEC);
        size_t other = who == 0 ? 4 : 0;
        circuit_close(k->node[4 - other].c, who == 0 ? id : k->node[4].in_id, k->now);
        kit_for(k, 100 * MSEC);
        assert_int_equal(k->node[other].downs, 1);
        assert_int_equal(k->node[4 - other].downs, 0);
        assert_string_equal(k->node[other].why, circuit_reason_text(CIRCUIT_CLOSED));
        assert_true(kit_empty(k));
        kit_free(k);
    }
    /* Before it is built. */
    for (usec_t after = 0; after < 200 * MSEC; after += 15 * MSEC) {
        struct kit *k = kit_new(101);
        uint32_t id = kit_open(k, 3);
        kit_for(k, after);
        circuit_close(k->node[0].c, id, k->now);
        kit_for(k, 500 * MSEC);
        assert_int_equal(k->node[0].downs + k->node[0].failed, 0);
        assert_true(kit_empty(k));
        kit_free(k);
    }
}

static void test_death(void **state)
{
    for (size_t dead = 1; dead <= 4; dead++) {
        struct kit *k = kit_new(110);
        kit_open(k, 3);
        kit_for(k, 1 * SEC);
        k->node[dead].deaf = true;
        circuits_neighbour_gone(k->node[dead - 1].c, k->node[dead].id, k->now);
        if (dead < 4)
            circuits_neighbour_gone(k->node[dead + 1].c, k->node[dead].id, k->now);
        kit_for(k, 100 * MSEC);
        assert_int_equal(k->node[0].downs, 1);
        assert_string_equal(k->node[0].why, circuit_reason_text(CIRCUIT_GONE));
        assert_int_equal(k->node[4].downs, dead < 4);
        for (size_t i = 0; i <= 4; i++)
            assert_true(i == dead || !k->node[i].c->all);
        kit_free(k);
    }
}

static void test_party_gone(void **state)
{
    struct kit *k = kit_new(120);
    kit_open(k, 2);
    kit_for(k, 1 * SEC);
    circuits_party_gone(k->node[1].c, KIT_PARTY + 1, k->now);
    kit_for(k, 1 * SEC);
    assert_int_equal(k->node[0].downs, 0);
    circuits_party_gone(k->node[1].c, KIT_PARTY, k->now);
    kit_for(k, 1 * SEC);
    assert_int_equal(k->node[0].downs, 1);
    assert_int_equal(k->node[3].downs, 1);
    assert_true(kit_empty(k));
    /* Somebody on the way is a member no more: the builder notices when it next asks after the circuit. */
    kit_open(k, 2);
    kit_for(k, 1 * SEC);
    assert_int_equal(k->node[0].ups, 2);
    k->node[2].member = false;
    kit_for(k, 2 * CIRCUIT_KEEPALIVE);
    assert_int_equal(k->node[0].downs, 2);
    assert_true(kit_empty(k));
    kit_free(k);
}

static void test_window(void **state)
{
    struct window w = {0};
    window_mark(&w, 1000000);
    assert_false(window_fresh(&w, 1000000));
    assert_true(window_fresh(&w, 1000001 - WINDOW));
    assert_false(window_fresh(&w, 1000000 - WINDOW));
    /* Against a plain memory of all, with leaps of every size. */
    struct rng_seeded rs;
    struct rng rng = rng_seeded(&rs, 3);
    static bool seen[400000];
    memset(&w, 0, sizeof w);
    uint64_t top = 5000;
    for (int i = 0; i < 60000; i++) {
        uint64_t leap = rng_below(&rng, 100) == 0 ? rng_below(&rng, 3 * WINDOW / 2) : rng_below(&rng, 4);
        uint64_t counter = rng_below(&rng, 2) && w.next > 0 ? w.next - 1 - rng_below(&rng, 5000) : top + leap;
        if (counter >= sizeof seen / sizeof seen[0] - 2 * WINDOW)
            break;
        bool fresh = w.next == 0 || counter >= w.next || (w.next - counter <= WINDOW && !seen[counter]);
        assert_int_equal(window_fresh(&w, counter), fresh);
        if (!fresh)
            continue;
        window_mark(&w, counter);
        seen[counter] = true;
        top = w.next;
    }
    assert_true(top > 50000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_up),
                                       cmocka_unit_test(test_knowledge),
                                       cmocka_unit_test(test_links_differ),
                                       cmocka_unit_test(test_sizes),
                                       cmocka_unit_test(test_build_sizes),
                                       cmocka_unit_test(test_lossy),
                                       cmocka_unit_test(test_build_lossy),
                                       cmocka_unit_test(test_keepalive),
                                       cmocka_unit_test(test_first_word_lost),
                                       cmocka_unit_test(test_close),
                                       cmocka_unit_test(test_death),
                                       cmocka_unit_test(test_party_gone),
                                       cmocka_unit_test(test_window)};
    return cmocka_run_group_tests_name("circuit", tests, NULL, NULL);
}
