/* Circuits when memory fails at one member: at the builder, at a relay, at the end. What fails is a circuit,
 * which its builder is told of; nothing is carried wrongly, nothing is left, and with memory the next circuit
 * stands. */
#include "torture.h"

#include "path/circuit.h"

static struct circuits *ill; /* the member whose memory fails; the others' and the kit's own does not */

static void sick(const struct circuits *c, bool on)
{
    if (c && c == ill)
        on ? torture_on() : torture_off();
}

static int sick_open(struct circuits *c, uint32_t party, const uint8_t hops[][NODE_ID_LEN], size_t count,
                     usec_t now, uint32_t *id)
{
    sick(c, true);
    int rc = circuit_open(c, party, hops, count, now, id);
    sick(c, false);
    return rc;
}

static int sick_send(struct circuits *c, uint32_t id, struct bytes datagram, usec_t now)
{
    sick(c, true);
    int rc = circuit_send(c, id, datagram, now);
    sick(c, false);
    return rc;
}

static void sick_input(struct circuits *c, const uint8_t from[NODE_ID_LEN], uint8_t *p, size_t n, usec_t now)
{
    sick(c, true);
    circuits_input(c, from, p, n, now);
    sick(c, false);
}

static bool sick_output(struct circuits *c, usec_t now, struct circuit_out *out)
{
    sick(c, true);
    bool more = circuits_output(c, now, out);
    sick(c, false);
    return more;
}

static bool sick_event(struct circuits *c, struct circuit_event *ev)
{
    sick(c, true);
    bool more = circuits_event(c, ev);
    sick(c, false);
    return more;
}

static void sick_tick(struct circuits *c, usec_t now)
{
    sick(c, true);
    circuits_tick(c, now);
    sick(c, false);
}

#define circuit_open    sick_open
#define circuit_send    sick_send
#define circuits_input  sick_input
#define circuits_output sick_output
#define circuits_event  sick_event
#define circuits_tick   sick_tick
#include "path/circuit_kit_int.h"

#define RELAYS 2
#define END    (RELAYS + 1)

static size_t who;

static void bad_nothing(const struct kit *k)
{
    for (size_t i = 0; i < KIT_NODES; i++)
        assert_int_equal(k->node[i].bad, 0);
}

/* A circuit over all of them, and a datagram each way. */
static void well_again(struct kit *k)
{
    struct kit_node *n = &k->node[0], *end = &k->node[END];
    size_t ups = n->ups, there = end->datagrams, back = n->datagrams;
    torture_heal();
    kit_for(k, 130 * SEC); /* whatever was half built is forgotten */
    uint32_t id = kit_open(k, RELAYS);
    kit_for(k, 5 * SEC);
    assert_int_equal(n->ups, ups + 1);
    assert_int_equal(kit_send(k, 0, id, 1001, 500), 0);
    kit_for(k, SEC);
    assert_int_equal(end->datagrams, there + 1);
    assert_int_equal(kit_send(k, END, end->in_id, 1002, 500), 0);
    kit_for(k, SEC);
    assert_int_equal(n->datagrams, back + 1);
    circuit_close(n->c, id, k->now);
    kit_for(k, 130 * SEC);
    bad_nothing(k);
    assert_true(kit_empty(k));
}

static void lives(void)
{
    uint8_t hops[END][NODE_ID_LEN];
    uint32_t id = 0;
    struct kit *k = kit_new(5);
    ill = k->node[who].c;
    for (size_t i = 0; i < END; i++)
        memcpy(hops[i], k->node[i + 1].id, NODE_ID_LEN);
    int rc = circuit_open(k->node[0].c, KIT_PARTY, (const uint8_t(*)[NODE_ID_LEN])hops, END, k->now, &id);
    assert_true(rc == 0 || (rc == -ENOMEM && torture_hit()));
    kit_for(k, 20 * SEC);
    /* The builder knows what came of it. */
    const struct kit_node *n = &k->node[0];
    if (rc == 0)
        assert_true(n->ups + n->failed + n->downs > 0);
    if (n->ups == 0 || n->downs > 0)
        assert_true(torture_hit());
    for (uint32_t i = 0; i < 4 && n->ups > 0 && n->downs == 0; i++) {
        kit_send(k, 0, id, i, 300);
        if (k->node[END].incoming > 0)
            kit_send(k, END, k->node[END].in_id, 100 + i, 300);
        kit_for(k, SEC);
    }
    if (rc == 0)
        circuit_close(k->node[0].c, id, k->now);
    kit_for(k, SEC);
    bad_nothing(k);
    well_again(k);
    ill = NULL;
    kit_free(k);
}

static void test_lives(void **state)
{
    static const char *const names[] = {"the builder", "a relay", "the second relay", "the end"};
    for (who = 0; who <= END; who++)
        torture(names[who], TORTURE_MEMORY, 1, lives);
}

static struct kit *shared;

static void births(void)
{
    const struct kit_node *n = &shared->node[0];
    struct rng_seeded state;
    struct circuits_config c = {.key = n->key,
                                .rng = rng_seeded(&state, 4),
                                .member = kit_member,
                                .relays = kit_relays,
                                .arg = shared->node};
    memcpy(c.self, n->id, NODE_ID_LEN);
    torture_on();
    struct circuits *made = circuits_new(&c, KIT_START);
    torture_off();
    assert_true(made || torture_hit());
    circuits_free(made);
}

static void test_birth(void **state)
{
    shared = kit_new(6);
    torture("circuits_new", TORTURE_MEMORY, 1, births);
    kit_free(shared);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_birth, torture_report),
        cmocka_unit_test_teardown(test_lives, torture_report),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
