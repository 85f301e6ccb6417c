/* What those who do not mean well, or have nothing to give, can and cannot do with circuits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <errno.h>
#include <stdio.h>

#include <cmocka.h>

#include "path/circuit_kit_int.h"

/* ---- Who answers */

struct flip {
    size_t from, at;
    uint8_t kind;
    int times;
};

static bool flip(struct kit *k, size_t from, size_t *to, uint8_t *p, size_t n)
{
    struct flip *f = k->arg;
    if (from == f->from && p[0] == f->kind && f->at < n && f->times > 0) {
        f->times--;
        p[f->at] ^= 4;
    }
    return true;
}

static void test_wrong_signature(void **state)
{
    /* X25519, ML-KEM, ML-DSA, Ed25519: of the first hop's answer, of the second's on its way to the first. */
    static const size_t offset[] = {5, 36, 37, 1000, 1604, 1605, 4000, 6231, 6232, 6295};
    for (size_t hop = 1; hop <= 2; hop++)
        for (size_t i = 0; i < sizeof offset / sizeof offset[0]; i++) {
            struct kit *k = kit_new(1);
            struct flip f = {.from = hop, .at = offset[i], .kind = CIRCUIT_CREATED, .times = 1};
            k->tamper = flip;
            k->arg = &f;
            kit_open(k, 2);
            kit_for(k, 1 * SEC);
            assert_int_equal(f.times, 0);
            assert_int_equal(k->node[0].failed, 1);
            assert_int_equal(k->node[0].ups, 0);
            assert_string_equal(k->node[0].why, "a member on the way did not prove who it is");
            assert_memory_equal(k->node[0].failed_at, k->node[hop].id, NODE_ID_LEN);
            kit_for(k, 20 * SEC);
            assert_true(kit_empty(k));
            kit_free(k);
        }
}

static void test_changed_offer(void **state)
{
    /* The builder's half is signed, too: the cipher, its X25519 and its ML-KEM key. */
    static const size_t offset[] = {10, 11, 42, 44, 900, 1610};
    for (size_t i = 0; i < sizeof offset / sizeof offset[0]; i++) {
        struct kit *k = kit_new(2);
        struct flip f = {.from = 1, .at = offset[i], .kind = CIRCUIT_CREATE, .times = 1000};
        k->tamper = flip;
        k->arg = &f;
        kit_open(k, 1);
        kit_for(k, 12 * SEC);
        assert_true(f.times < 1000);
        assert_int_equal(k->node[0].ups, 0);
        assert_int_equal(k->node[0].failed, 1);
        kit_free(k);
    }
}

/* The relay sends to somebody else than it was told. */
static bool reroute(struct kit *k, size_t from, size_t *to, uint8_t *p, size_t n)
{
    if (from == 1 && *to == 2)
        *to = 3;
    return true;
}

static void test_wrong_member(void **state)
{
    struct kit *k = kit_new(3);
    struct circuit_cell cell;
    struct circuit_out out;
    uint32_t id = kit_open(k, 1);
    assert_true(circuits_output(k->node[0].c, k->now, &out));
    /* Member 3 answers what 1 should have; 1's number on the link is the builder's, so it can pass it on as
     * its own. */
    circuits_input(k->node[3].c, k->node[0].id, out.p, out.n, k->now);
    assert_true(circuits_output(k->node[3].c, k->now, &out));
    assert_int_equal(circuit_cell_read(&cell, bytes_of(out.p, out.n)), 0);
    assert_int_equal(cell.kind, CIRCUIT_CREATED);
    circuits_input(k->node[0].c, k->node[1].id, out.p, out.n, k->now);
    kit_events(&k->node[0]);
    assert_int_equal(k->node[0].failed, 1);
    assert_false(circuit_info(k->node[0].c, id, &(struct circuit_info){0}));
    kit_free(k);
    /* As a relay that builds to somebody else: the answers come from a neighbour that was not asked. */
    k = kit_new(4);
    k->tamper = reroute;
    kit_open(k, 1);
    kit_for(k, 12 * SEC);
    assert_int_equal(k->node[0].ups, 0);
    assert_int_equal(k->node[0].failed, 1);
    assert_int_equal(k->node[3].incoming, 0);
    kit_free(k);
}

/* Answers for another party, by the right member, are no answers. */
static void test_party_is_signed(void **state)
{
    struct kit *k = kit_new(5);
    struct secret_offer offer;
    struct circuit_offer read = {0};
    struct circuit_answer answer = {0};
    uint8_t text[CIRCUIT_ANSWER_LEN];
    struct layer a = {0}, b = {0};
    const struct sign_public *pub = sign_key_public(k->node[1].key);
    for (int alg = 0; alg < AEAD_ALG_COUNT; alg++) {
        assert_int_equal(offer_make(&offer, alg, &k->rng), 0);
        read = (struct circuit_offer){.cipher = offer.text[1],
                                      .dh = offer.text + 2,
                                      .kem = offer.text + 2 + X25519_LEN,
                                      .all = bytes_of(offer.text, sizeof offer.text)};
        assert_int_equal(offer_answer(&k->node[1].c->cfg, KIT_PARTY, &read, text, &a), 0);
        answer = (struct circuit_answer){.dh = text,
                                         .ct = text + X25519_LEN,
                                         .sig = text + X25519_LEN + KEM_CT_LEN,
                                         .all = bytes_of(text, sizeof text)};
        assert_int_equal(offer_finish(&offer, KIT_PARTY + 1, k->node[1].id, pub, &answer, &b, &k->rng),
                         -EBADMSG);
        assert_int_equal(offer_finish(&offer, KIT_PARTY, k->node[2].id, pub, &answer, &b, &k->rng), -EBADMSG);
        assert_int_equal(offer_finish(&offer, KIT_PARTY, k->node[1].id, pub, &answer, &b, &k->rng), 0);
        /* Both ends have the same two keys, and they are two. */
        uint8_t buf[64] = {0};
        struct wr w = wr_of(buf, sizeof buf);
        struct bytes opened;
        memcpy(wr_take(&w, 16) + 6, "0123456789", 10);
        assert_int_equal(layer_seal(&b, b.forth, &w, 6), 0);
        assert_int_equal(layer_open(&a, a.back, wr_done(&w), &opened), -EBADMSG);
        w = wr_of(buf, sizeof buf);
        memcpy(wr_take(&w, 16) + 6, "0123456789", 10);
        assert_int_equal(layer_seal(&b, b.forth, &w, 6), 0);
        assert_int_equal(layer_open(&a, a.forth, wr_done(&w), &opened), 0);
        assert_memory_equal(opened.p, "0123456789", 10);
        /* The last counter is the last cell. */
        b.next = CIRCUIT_COUNTER_MAX;
        w = wr_of(buf, sizeof buf);
        wr_take(&w, 16);
        assert_int_equal(layer_seal(&b, b.forth, &w, 6), 0);
        w = wr_of(buf, sizeof buf);
        wr_take(&w, 16);
        assert_int_equal(layer_seal(&b, b.forth, &w, 6), -EPIPE);
        layer_done(&a);
        layer_done(&b);
    }
    kit_free(k);
}

/* ---- Cells */

#define TAPE 512
struct tape {
    size_t n;
    struct {
        size_t from, to, n;
        uint8_t p[CIRCUIT_BUILD_MAX];
    } cell[TAPE];
};

static bool record(struct kit *k, size_t from, size_t *to, uint8_t *p, size_t n)
{
    struct tape *t = k->arg;
    assert_true(t->n < TAPE);
    t->cell[t->n].from = from;
    t->cell[t->n].to = *to;
    t->cell[t->n].n = n;
    memcpy(t->cell[t->n++].p, p, n);
    return true;
}

/* Every cell of a circuit's life, once more: nothing arrives twice, and nothing breaks. */
static void test_replay(void **state)
{
    struct kit *k = kit_new(6);
    struct tape *t = calloc(1, sizeof *t);
    assert_non_null(t);
    k->tamper = record;
    k->arg = t;
    uint32_t id = kit_open(k, 2);
    kit_for(k, 1 * SEC);
    for (uint32_t i = 0; i < 20; i++) {
        kit_send(k, 0, id, i, 100);
        kit_send(k, 3, k->node[3].in_id, i, 100);
    }
    kit_for(k, 1 * SEC);
    assert_int_equal(k->node[0].datagrams + k->node[3].datagrams, 40);
    k->tamper = NULL;
    for (int round = 0; round < 2; round++)
        for (size_t i = 0; i < t->n; i++) {
            uint8_t copy[CIRCUIT_BUILD_MAX];
            memcpy(copy, t->cell[i].p, t->cell[i].n);
            circuits_input(k->node[t->cell[i].to].c, k->node[t->cell[i].from].id, copy, t->cell[i].n, k->now);
            kit_for(k, 20 * MSEC);
        }
    assert_int_equal(k->node[0].datagrams + k->node[3].datagrams, 40);
    assert_int_equal(k->node[0].bad + k->node[3].bad, 0);
    assert_int_equal(k->node[0].ups, 1);
    assert_int_equal(k->node[3].incoming, 1);
    kit_send(k, 0, id, 50, 100);
    kit_for(k, 1 * SEC);
    assert_int_equal(k->node[3].datagrams, 21);
    circuit_close(k->node[0].c, id, k->now);
    kit_for(k, 1 * SEC);
    assert_true(kit_empty(k));
    free(t);
    kit_free(k);
}

/* A cell with any byte changed, on any link, in either direction, gets no further than the next who has a
 * key. */
static void test_tamper(void **state)
{
    struct kit *k = kit_new(7);
    struct tape *t = calloc(1, sizeof *t);
    assert_non_null(t);
    uint32_t id = kit_open(k, 2);
    kit_for(k, 1 * SEC);
    uint32_t in = k->node[3].in_id, number = 0;
    for (size_t link = 0; link < 6; link++) {
        size_t from = link < 3 ? link : link - 2, to = link < 3 ? link + 1 : link - 3;
        t->n = 0;
        k->tamper = record;
        k->arg = t;
        assert_int_equal(link < 3 ? kit_send(k, 0, id, number, 20) : kit_send(k, 3, in, number, 20), 0);
        number++;
        /* Up to the link, and no further. */
        k->node[to].deaf = true;
        kit_for(k, 100 * MSEC);
        k->node[to].deaf = false;
        assert_int_equal(t->cell[t->n - 1].to, to);
        size_t n = t->cell[t->n - 1].n, last = t->n - 1;
        uint8_t cell[512];
        assert_true(n < sizeof cell);
        size_t before = k->node[0].datagrams + k->node[3].datagrams;
        k->tamper = NULL;
        for (size_t at = 0; at < n; at++)
            for (int bit = 0; bit < 8; bit += 3) {
                memcpy(cell, t->cell[last].p, n);
                cell[at] ^= (uint8_t)(1 << bit);
                bool ends = cell[0] == CIRCUIT_DESTROY_FORTH || cell[0] == CIRCUIT_DESTROY_BACK;
                assert_false(ends && n == CIRCUIT_DESTROY_LEN);
                circuits_input(k->node[to].c, k->node[from].id, cell, n, k->now);
                /* Those for circuits that nobody knows are answered to a neighbour who would have sent them.
                 */
                kit_for(k, 30 * MSEC);
            }
        assert_int_equal(k->node[0].datagrams + k->node[3].datagrams, before);
        for (size_t cut = 0; cut < n; cut++) {
            memcpy(cell, t->cell[last].p, n);
            circuits_input(k->node[to].c, k->node[from].id, cell, cut, k->now);
        }
        kit_for(k, 100 * MSEC);
        /* Backwards a relay has no key to what comes: it puts its layer on, and the builder drops it. */
        assert_int_equal(k->node[0].datagrams + k->node[3].datagrams, before);
        circuits_input(k->node[to].c, k->node[from].id, t->cell[last].p, n, k->now);
        kit_for(k, 100 * MSEC);
        assert_int_equal(k->node[0].datagrams + k->node[3].datagrams, before + 1);
        assert_int_equal(k->node[0].bad + k->node[3].bad, 0);
    }
    assert_int_equal(k->node[0].downs + k->node[3].downs, 0);
    free(t);
    kit_free(k);
}

/* Two circuits over the same members: cells of one under the number of the other. */
static bool crossed(struct kit *k, size_t from, size_t *to, uint8_t *p, size_t n)
{
    uint32_t *ids = k->arg;
    if (from == 1 && *to == 2 && p[0] == CIRCUIT_FORTH) {
        struct rd r = rd_of(bytes_of(p + 1, 4));
        uint32_t id = rd_u32(&r);
        struct wr w = wr_of(p + 1, 4);
        wr_u32(&w, id == ids[0] ? ids[1] : ids[0]);
    }
    return true;
}

static void test_crossed(void **state)
{
    struct kit *k = kit_new(8);
    uint32_t id[2] = {kit_open(k, 2), kit_open(k, 2)}, link[2];
    kit_for(k, 1 * SEC);
    assert_int_equal(k->node[0].ups, 2);
    assert_int_equal(k->node[3].incoming, 2);
    link[0] = k->node[1].c->all->next.id;
    link[1] = k->node[1].c->all->next_c->next.id;
    assert_int_not_equal(link[0], link[1]);
    k->tamper = crossed;
    k->arg = link;
    for (uint32_t i = 0; i < 10; i++)
        kit_send(k, 0, id[i % 2], i, 100);
    kit_for(k, 1 * SEC);
    assert_int_equal(k->node[3].datagrams, 0);
    k->tamper = NULL;
    for (uint32_t i = 10; i < 20; i++)
        kit_send(k, 0, id[i % 2], i, 100);
    kit_for(k, 1 * SEC);
    assert_int_equal(k->node[3].datagrams, 10);
    /* A number is a neighbour's own: another's cells and ends under it are for nobody. */
    uint8_t destroy[CIRCUIT_DESTROY_LEN];
    for (int kind = CIRCUIT_DESTROY_FORTH; kind <= CIRCUIT_DESTROY_BACK; kind++)
        for (size_t from = 0; from < KIT_NODES; from++) {
            struct wr w = wr_of(destroy, sizeof destroy);
            circuit_cell_write(&w, &(struct circuit_cell){.kind = kind, .circuit = link[0]});
            if (from != 1 || kind == CIRCUIT_DESTROY_BACK)
                circuits_input(k->node[2].c, k->node[from].id, destroy, sizeof destroy, k->now);
        }
    kit_for(k, 1 * SEC);
    assert_int_equal(k->node[0].downs + k->node[3].downs, 0);
    kit_free(k);
}

static void test_unknown(void **state)
{
    struct kit *k = kit_new(9);
    struct circuit_out out;
    struct circuit_cell cell;
    uint8_t p[CIRCUIT_CREATED_LEN] = {0, 0, 0, 0, 9};
    static const uint8_t kinds[] = {CIRCUIT_FORTH, CIRCUIT_BACK, CIRCUIT_CREATED};
    for (size_t i = 0; i < sizeof kinds; i++) {
        p[0] = kinds[i];
        size_t n = p[0] == CIRCUIT_CREATED ? sizeof p : CIRCUIT_HEADER_LEN + 2 * CIRCUIT_LAYER_LEN;
        circuits_input(k->node[1].c, k->node[0].id, p, n, k->now);
        assert_true(circuits_output(k->node[1].c, k->now, &out));
        assert_true(out.reliable);
        assert_int_equal(circuit_cell_read(&cell, bytes_of(out.p, out.n)), 0);
        assert_int_equal(cell.kind, p[0] == CIRCUIT_FORTH ? CIRCUIT_DESTROY_BACK : CIRCUIT_DESTROY_FORTH);
        assert_int_equal(cell.reason, CIRCUIT_UNKNOWN);
        circuits_input(k->node[0].c, k->node[1].id, out.p, out.n, k->now);
        assert_false(circuits_output(k->node[0].c, k->now, &out)); /* no echo */
    }
    kit_free(k);
}

/* ---- Who may */

static void fails(struct kit *k, size_t relays, enum circuit_reason reason, size_t at, usec_t within)
{
    kit_open(k, relays);
    kit_for(k, within);
    assert_int_equal(k->node[0].ups, 0);
    assert_int_equal(k->node[0].failed, 1);
    assert_string_equal(k->node[0].why, circuit_reason_text(reason));
    assert_memory_equal(k->node[0].failed_at, k->node[at].id, NODE_ID_LEN);
    kit_for(k, 12 * SEC);
    assert_true(kit_empty(k));
}

static const struct sign_public *stale_member(void *arg, uint32_t party, const uint8_t id[NODE_ID_LEN])
{
    struct kit_node *me = arg;
    return sign_key_public(me->kit->node[kit_index(me->kit, id)].key);
}

static uint64_t refused(const struct kit *k, size_t i, enum circuit_reason reason)
{
    struct circuits_counts n;
    circuits_counts(k->node[i].c, &n);
    return n.refused[reason];
}

static void test_refusals(void **state)
{
    struct kit *k = kit_new(20);
    k->node[1].relays = false;
    fails(k, 1, CIRCUIT_NO_RELAY, 2, 1 * SEC);
    assert_int_equal(refused(k, 1, CIRCUIT_NO_RELAY), 1);
    kit_free(k);
    k = kit_new(21);
    k->node[2].relays = false;
    fails(k, 3, CIRCUIT_NO_RELAY, 3, 1 * SEC);
    kit_free(k);
    k = kit_new(22); /* nobody relays where nobody was asked */
    k->node[1].c->cfg.relays = NULL;
    fails(k, 1, CIRCUIT_NO_RELAY, 2, 1 * SEC);
    kit_free(k);
    /* The builder knows an older log: the relay refuses to go to who is a member no more. */
    k = kit_new(23);
    k->node[0].c->cfg.member = stale_member;
    k->node[2].member = false;
    fails(k, 1, CIRCUIT_NO_MEMBER, 2, 1 * SEC);
    kit_free(k);
    /* The builder itself is a member no more. */
    k = kit_new(24);
    k->node[0].member = false;
    fails(k, 1, CIRCUIT_NO_MEMBER, 1, 1 * SEC);
    kit_free(k);
}

static bool no_destroy(struct kit *k, size_t from, size_t *to, uint8_t *p, size_t n)
{
    return *to != 0 || p[0] != CIRCUIT_DESTROY_BACK;
}

/* What the next hop says in the clear to the one before it reaches the builder sealed by that one. */
static void test_refusal_is_sealed(void **state)
{
    struct kit *k = kit_new(60);
    k->tamper = no_destroy;
    k->node[0].c->cfg.member = k->node[1].c->cfg.member = stale_member;
    k->node[1].member = false;
    fails(k, 1, CIRCUIT_NO_MEMBER, 2, 1 * SEC);
    assert_int_equal(refused(k, 2, CIRCUIT_NO_MEMBER), 1);
    assert_int_equal(refused(k, 1, CIRCUIT_NO_MEMBER), 0);
    kit_free(k);
}

/* A relay that speaks as if it were the end, or the last hop so far. */
static void test_relay_speaks(void **state)
{
    uint8_t p[100];
    struct kit *k = kit_new(61);
    kit_open(k, 2);
    kit_for(k, 75 * MSEC); /* the first relay has extended, the second is asked to */
    struct circuit *relay = k->node[1].c->all, *ours = k->node[0].c->all;
    assert_int_equal(ours->built, 2);
    assert_int_equal(hop_send(k->node[1].c, relay, &(struct circuit_text){.command = CIRCUIT_REFUSE}, 0), 0);
    kit_for(k, 1 * SEC);
    assert_int_equal(k->node[0].failed, 0);
    assert_int_equal(k->node[0].ups, 1);
    for (size_t i = 1; i <= 2; i++) {
        struct circuit_text t = {.command = CIRCUIT_DATA, .data = bytes_of(p, kit_datagram(p, 1, sizeof p))};
        assert_int_equal(hop_send(k->node[i].c, k->node[i].c->all, &t, 0), 0);
        t.command = CIRCUIT_EXTENDED;
        t.answer =
            (struct circuit_answer){.dh = p, .ct = k->node[0].c->scratch, .sig = k->node[0].c->scratch};
        assert_int_equal(hop_send(k->node[i].c, k->node[i].c->all, &t, 0), 0);
        kit_for(k, 1 * SEC);
    }
    assert_int_equal(k->node[0].datagrams, 0);
    assert_int_equal(k->node[0].downs, 0);
    struct circuits_counts n;
    circuits_counts(k->node[0].c, &n);
    assert_int_equal(n.dropped, 5);
    kit_free(k);
}

static void test_open_arguments(void **state)
{
    struct kit *k = kit_new(25);
    uint32_t id = 77;
    uint8_t h[5][NODE_ID_LEN];
    for (size_t i = 0; i < 5; i++)
        memcpy(h[i], k->node[i + 1].id, NODE_ID_LEN);
    const uint8_t(*hops)[NODE_ID_LEN] = (const uint8_t(*)[NODE_ID_LEN])h;
    struct circuits *c = k->node[0].c;
    assert_int_equal(circuit_open(c, KIT_PARTY, hops, 0, k->now, &id), -EINVAL);
    assert_int_equal(circuit_open(c, KIT_PARTY, hops, 1, k->now, &id), -EINVAL);
    assert_int_equal(circuit_open(c, KIT_PARTY, hops, 5, k->now, &id), -EINVAL);
    assert_int_equal(circuit_open(c, KIT_PARTY + 1, hops, 2, k->now, &id), -EINVAL);
    k->node[2].member = false;
    assert_int_equal(circuit_open(c, KIT_PARTY, hops, 2, k->now, &id), -EINVAL);
    k->node[2].member = true;
    memcpy(h[2], h[0], NODE_ID_LEN);
    assert_int_equal(circuit_open(c, KIT_PARTY, hops, 3, k->now, &id), -EINVAL);
    memcpy(h[2], k->node[0].id, NODE_ID_LEN);
    assert_int_equal(circuit_open(c, KIT_PARTY, hops, 3, k->now, &id), -EINVAL);
    assert_int_equal(id, 77);
    assert_true(kit_empty(k));
    assert_int_equal(circuit_open(c, KIT_PARTY, hops, 2, k->now, &id), 0);
    assert_int_not_equal(id, 77);
    kit_free(k);
}

/* A builder that does not play by its own rules: back to the builder, and to the relay itself. */
static void test_loops(void **state)
{
    for (size_t target = 0; target < 2; target++) {
        struct kit *k = kit_new(26);
        kit_open(k, 1);
        memcpy(k->node[0].c->all->hop[1], k->node[target].id, NODE_ID_LEN);
        kit_for(k, 1 * SEC);
        assert_int_equal(k->node[0].failed, 1);
        assert_string_equal(k->node[0].why, circuit_reason_text(CIRCUIT_PROTOCOL));
        assert_int_equal(refused(k, 1, CIRCUIT_PROTOCOL), 1);
        kit_free(k);
    }
}

static void test_other_version(void **state)
{
    struct kit *k = kit_new(27);
    kit_open(k, 1);
    struct flip f = {.from = 0, .at = 9, .kind = CIRCUIT_CREATE, .times = 1};
    k->tamper = flip;
    k->arg = &f;
    kit_for(k, 1 * SEC);
    assert_int_equal(k->node[0].failed, 1);
    assert_string_equal(k->node[0].why, circuit_reason_text(CIRCUIT_PROTOCOL));
    kit_free(k);
}

static void test_next_hop_dead(void **state)
{
    /* It never answers: the builder's own time is over first. */
    struct kit *k = kit_new(28);
    k->node[2].deaf = true;
    kit_open(k, 1);
    kit_for(k, CIRCUIT_BUILD - 1);
    assert_int_equal(k->node[0].failed, 0);
    kit_for(k, 1);
    assert_int_equal(k->node[0].failed, 1);
    assert_string_equal(k->node[0].why, circuit_reason_text(CIRCUIT_TIMEOUT));
    assert_memory_equal(k->node[0].failed_at, k->node[2].id, NODE_ID_LEN);
    kit_for(k, CIRCUIT_BUILD);
    assert_true(kit_empty(k));
    kit_free(k);
    /* The relay's owner has no session with it and says so. */
    k = kit_new(29);
    k->node[2].deaf = true;
    kit_open(k, 1);
    kit_for(k, 100 * MSEC);
    circuits_neighbour_gone(k->node[1].c, k->node[2].id, k->now);
    kit_for(k, 100 * MSEC);
    assert_int_equal(k->node[0].failed, 1);
    assert_string_equal(k->node[0].why, circuit_reason_text(CIRCUIT_GONE));
    assert_true(kit_empty(k));
    kit_free(k);
}

/* ---- Limits */

static void test_per_neighbour(void **state)
{
    struct kit *k = kit_new(40);
    for (size_t i = 0; i < CIRCUITS_PER_NEIGHBOUR; i++) {
        kit_open(k, 1);
        kit_for(k, 500 * MSEC);
    }
    assert_int_equal(k->node[0].ups, CIRCUITS_PER_NEIGHBOUR);
    assert_int_equal(k->node[2].incoming, CIRCUITS_PER_NEIGHBOUR);
    uint32_t last = k->node[0].last_id;
    kit_open(k, 1);
    kit_for(k, 500 * MSEC);
    assert_int_equal(k->node[0].failed, 1);
    assert_string_equal(k->node[0].why, circuit_reason_text(CIRCUIT_BUSY));
    assert_int_equal(refused(k, 1, CIRCUIT_BUSY), 1);
    /* With one closed there is room for one. */
    circuit_close(k->node[0].c, last, k->now);
    kit_for(k, 500 * MSEC);
    kit_open(k, 1);
    kit_for(k, 500 * MSEC);
    assert_int_equal(k->node[0].ups, CIRCUITS_PER_NEIGHBOUR + 1);
    kit_free(k);
}

/* Full of others' circuits, of one party or of many. */
static void test_full(void **state)
{
    for (int parties = 0; parties < 2; parties++) {
        struct kit *k = kit_new(62);
        size_t limit = parties ? CIRCUITS_RELAYED : CIRCUITS_PER_PARTY;
        for (size_t i = 0; i < limit - 1; i++)
            assert_non_null(
                circuit_new(k->node[1].c, parties ? (uint32_t)i : KIT_PARTY, ROLE_RELAY, 1, k->now));
        kit_open(k, 1);
        kit_for(k, 1 * SEC);
        assert_int_equal(k->node[0].ups, 1);
        kit_open(k, 1);
        kit_for(k, 1 * SEC);
        assert_int_equal(k->node[0].ups, 1);
        assert_int_equal(k->node[0].failed, 1);
        assert_string_equal(k->node[0].why, circuit_reason_text(CIRCUIT_BUSY));
        assert_memory_equal(k->node[0].failed_at, k->node[parties ? 2 : 1].id, NODE_ID_LEN);
        kit_free(k);
    }
}

static void test_ours_and_ended(void **state)
{
    struct kit *k = kit_new(41);
    uint32_t id;
    uint8_t h[2][NODE_ID_LEN];
    for (size_t i = 0; i < CIRCUITS_MAX; i++) {
        memcpy(h[0], k->node[1 + i % 4].id, NODE_ID_LEN);
        memcpy(h[1], k->node[5].id, NODE_ID_LEN);
        assert_int_equal(
            circuit_open(k->node[0].c, KIT_PARTY, (const uint8_t(*)[NODE_ID_LEN])h, 2, k->now, &id), 0);
    }
    assert_int_equal(circuit_open(k->node[0].c, KIT_PARTY, (const uint8_t(*)[NODE_ID_LEN])h, 2, k->now, &id),
                     -ENOSPC);
    kit_for(k, CIRCUIT_BUILD);
    /* The end takes so many and keeps the rest of its room for its own; the builder hears of it. */
    assert_int_equal(k->node[5].incoming, CIRCUITS_ENDED_MAX);
    assert_int_equal(k->node[0].ups, CIRCUITS_MAX);
    assert_int_equal(k->node[0].downs, CIRCUITS_MAX - CIRCUITS_ENDED_MAX);
    assert_string_equal(k->node[0].why, circuit_reason_text(CIRCUIT_BUSY));
    kit_free(k);
}

static const struct sign_public *everybody(void *arg, uint32_t party, const uint8_t id[NODE_ID_LEN])
{
    return sign_key_public(((struct kit_node *)arg)->key);
}

/* CREATEs as fast as can be, from one and from many neighbours: signatures, memory and circuits stay bounded,
 * and pass. */
static void test_flood(void **state)
{
    struct kit *k = kit_new(42);
    struct kit_node *n = &k->node[1];
    struct circuit_out out;
    size_t created[2] = {0}, peak = 0;
    n->c->cfg.member = everybody;
    uint8_t p[CIRCUIT_CREATE_LEN];
    struct secret_offer offer;
    assert_int_equal(offer_make(&offer, AEAD_AES256GCM, &k->rng), 0);
    for (int many = 0; many < 2; many++) {
        for (uint32_t i = 1; i <= 2000; i++) {
            uint8_t from[NODE_ID_LEN] = {(uint8_t)(many ? i : 0), (uint8_t)(many ? i >> 8 : 0), 1};
            struct wr w = wr_of(p, sizeof p);
            circuit_cell_write(&w, &(struct circuit_cell){
                                       .kind = CIRCUIT_CREATE,
                                       .circuit = i,
                                       .party = KIT_PARTY,
                                       .offer = {.dh = offer.text + 2, .kem = offer.text + 2 + X25519_LEN}});
            circuits_input(n->c, from, p, sizeof p, k->now);
            while (circuits_output(n->c, k->now, &out))
                created[many] += out.p[0] == CIRCUIT_CREATED;
            peak = n->c->opened > peak ? n->c->opened : peak;
            assert_true(map_count(n->c->neighbours) <= CIRCUITS_NEIGHBOURS_MAX);
            k->now += 1 * MSEC;
        }
        kit_for(k, CIRCUIT_BUILD + SEC);
        assert_true(kit_empty(k));
    }
    assert_in_range(created[0], CIRCUIT_CREATES_BURST, CIRCUIT_CREATES_BURST + 2 * CIRCUIT_CREATES_PER_S);
    assert_in_range(created[1], 1, CIRCUIT_CREATES_ALL_BURST + 2 * CIRCUIT_CREATES_ALL_PER_S);
    assert_int_equal(peak, CIRCUITS_OPEN_MAX);
    /* Whoever waits a while is served. */
    n->c->cfg.member = kit_member;
    kit_open(k, 1);
    kit_for(k, 1 * SEC);
    assert_int_equal(k->node[0].ups, 1);
    kit_free(k);
}

/* The same CREATE again and again costs one signature, and is answered with the same bytes. */
static void test_create_again(void **state)
{
    struct kit *k = kit_new(43);
    struct circuit_out out;
    uint8_t create[CIRCUIT_CREATE_LEN], copy[CIRCUIT_CREATE_LEN], first[CIRCUIT_CREATED_LEN];
    kit_open(k, 1);
    assert_true(circuits_output(k->node[0].c, k->now, &out));
    assert_int_equal(out.n, sizeof create);
    assert_true(out.reliable);
    memcpy(create, out.p, out.n);
    for (int i = 0; i < 30; i++) {
        memcpy(copy, create, sizeof copy);
        circuits_input(k->node[1].c, k->node[0].id, copy, sizeof copy, k->now);
        assert_true(circuits_output(k->node[1].c, k->now, &out));
        assert_true(out.n <= sizeof create); /* no answer is longer than its question */
        assert_int_equal(out.n, sizeof first);
        if (i == 0)
            memcpy(first, out.p, out.n);
        assert_memory_equal(out.p, first, sizeof first);
    }
    /* Another offer under the same number is none. */
    copy[40] ^= 1;
    circuits_input(k->node[1].c, k->node[0].id, copy, sizeof copy, k->now);
    assert_false(circuits_output(k->node[1].c, k->now, &out));
    assert_int_equal(k->node[1].c->opened, 1);
    kit_free(k);
}

static void test_rate(void **state)
{
    struct kit *k = kit_new(44);
    struct circuits_counts n;
    k->node[1].rate = 20000;
    uint32_t id = kit_open(k, 1);
    kit_for(k, 1 * SEC);
    assert_int_equal(k->node[0].ups, 1);
    for (uint32_t i = 0; i < 1000; i++) {
        kit_send(k, 0, id, i, 1000);
        kit_for(k, 5 * MSEC);
    }
    circuits_counts(k->node[1].c, &n);
    assert_in_range(n.relayed_bytes, CIRCUIT_RATE_BURST + 90000, CIRCUIT_RATE_BURST + 125000);
    assert_in_range(k->node[2].datagrams, 130, 190);
    assert_int_equal(k->node[2].bad, 0);
    kit_free(k);
}

/* Large cells are for building: no bulk over them. */
static void test_big_cells(void **state)
{
    struct kit *k = kit_new(45);
    kit_open(k, 1);
    kit_for(k, 1 * SEC);
    struct circuit *c = k->node[0].c->all;
    size_t before = k->node[1].reliable;
    for (int i = 0; i < 200; i++) {
        build_send(k->node[0].c, c, &(struct circuit_text){.command = CIRCUIT_KEEP}, 2, 5000, k->now);
        kit_for(k, 10 * MSEC);
    }
    assert_in_range(k->node[1].reliable - before, CIRCUIT_BIG_CELLS - 5, CIRCUIT_BIG_CELLS);
    kit_free(k);
}

/* An owner that never pulls loses cells and events, not memory. */
static void test_queues(void **state)
{
    struct kit *k = kit_new(46);
    uint32_t id = kit_open(k, 1);
    kit_for(k, 1 * SEC);
    struct circuits *c = k->node[0].c;
    int rc = 0;
    uint32_t sent = 0;
    for (; rc == 0 && sent < 4000; sent++)
        rc = kit_send(k, 0, id, sent, 1400);
    assert_int_equal(rc, -ENOBUFS);
    assert_in_range(sent, 500, 700);
    assert_true(c->data.bytes <= CIRCUIT_QUEUE_BYTES);
    /* For who is gone nothing waits. */
    circuits_neighbour_gone(c, k->node[1].id, k->now);
    assert_int_equal(c->data.bytes + c->reliable.bytes, 0);
    assert_false(circuits_output(c, k->now, &(struct circuit_out){0}));
    kit_pull(k, 0);
    assert_int_equal(k->node[0].downs, 1);
    /* Circuits that begin and fail, unheard. */
    for (int i = 0; i < 3000; i++) {
        kit_open(k, 1);
        circuits_neighbour_gone(c, k->node[1].id, k->now);
    }
    assert_int_equal(c->events_n, CIRCUIT_EVENTS_MAX);
    assert_true(kit_empty(k) || c->all == NULL);
    kit_free(k);
}

static void test_datagrams_unheard(void **state)
{
    struct kit *k = kit_new(47);
    uint32_t id = kit_open(k, 1);
    kit_for(k, 1 * SEC);
    struct circuits *end = k->node[2].c;
    struct circuit_out out;
    for (uint32_t i = 0; i < 600; i++) {
        kit_send(k, 0, id, i, 100);
        while (circuits_output(k->node[0].c, k->now, &out))
            circuits_input(k->node[1].c, k->node[0].id, out.p, out.n, k->now);
        while (circuits_output(k->node[1].c, k->now, &out))
            circuits_input(end, k->node[1].id, out.p, out.n, k->now);
    }
    assert_int_equal(end->datagrams_n, CIRCUIT_DATAGRAMS_MAX);
    kit_pull(k, 2);
    assert_int_equal(k->node[2].datagrams, CIRCUIT_DATAGRAMS_MAX);
    assert_int_equal(end->datagrams_n, 0);
    kit_free(k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_wrong_signature),
                                       cmocka_unit_test(test_changed_offer),
                                       cmocka_unit_test(test_wrong_member),
                                       cmocka_unit_test(test_party_is_signed),
                                       cmocka_unit_test(test_replay),
                                       cmocka_unit_test(test_tamper),
                                       cmocka_unit_test(test_crossed),
                                       cmocka_unit_test(test_unknown),
                                       cmocka_unit_test(test_refusals),
                                       cmocka_unit_test(test_open_arguments),
                                       cmocka_unit_test(test_refusal_is_sealed),
                                       cmocka_unit_test(test_relay_speaks),
                                       cmocka_unit_test(test_full),
                                       cmocka_unit_test(test_loops),
                                       cmocka_unit_test(test_other_version),
                                       cmocka_unit_test(test_next_hop_dead),
                                       cmocka_unit_test(test_per_neighbour),
                                       cmocka_unit_test(test_ours_and_ended),
                                       cmocka_unit_test(test_flood),
                                       cmocka_unit_test(test_create_again),
                                       cmocka_unit_test(test_rate),
                                       cmocka_unit_test(test_big_cells),
                                       cmocka_unit_test(test_queues),
                                       cmocka_unit_test(test_datagrams_unheard)};
    return cmocka_run_group_tests_name("circuit abuse", tests, NULL, NULL);
}
