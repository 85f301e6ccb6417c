/* Up to three members in a row, chosen by a person or found by offers; each knows its neighbours only. */
#include "test/scenario/relaying.h"

static struct node_host *ann, *bob, *hop[3];

/* A chain: everybody reaches its neighbours directly, and all others through the hub alone. */
static void chain(void)
{
    static const char *const names[] = {"one", "two", "three"};
    wires_in_hand();
    ann = founder("ann");
    bob = machine("bob");
    for (int i = 0; i < 3; i++)
        hop[i] = relaying(names[i]);
    between(ann, bob, false);
    between(ann, hop[1], false);
    between(ann, hop[2], false);
    between(hop[0], hop[2], false);
    between(hop[0], bob, false);
    between(hop[1], bob, false);
    create(ann, "lan");
    everybody_joins(ann);
    WITHIN(20 * SEC, everybody_sees_everybody());
    WITHIN(20 * SEC, is_direct(ann, hop[0]) && is_direct(hop[0], hop[1]) && is_direct(hop[1], hop[2]) &&
                         is_direct(hop[2], bob));
    EXPECT(!is_direct(ann, bob) && !is_direct(ann, hop[1]) && !is_direct(hop[0], hop[2]));
}

static json_t *the_chain(void)
{
    return json_pack("[s, s, s]", "one", "two", "three");
}

SCENARIO(three_hops_by_command)
{
    chain();
    EXPECT(!route(ann, bob, the_chain()));
    WITHIN(5 * SEC, on(ann, bob) == PATH_MULTI_HOP);
    assert_string_equal(peer_text(ann, bob, "relay"), "one > two > three");
    WITHIN(1 * SEC, both_see(ann, bob));
    KEEPS(20 * SEC, both_see(ann, bob) && on(ann, bob) == PATH_MULTI_HOP);
    /* Each relays one circuit; Bob only knows whom it comes from. */
    for (int i = 0; i < 3; i++)
        EXPECT(circuits_number(hop[i], "relayed_now") == 1 && circuits_number(hop[i], "open") == 0);
    assert_string_equal(circuit_hops(ann), "one > two > three > bob");
    assert_string_equal(circuit_hops(bob), "three");
    EXPECT(metric(hop[1], "warren_node_cells_relayed_total") > 100);
    EXPECT(!route(ann, bob, json_string("off")));
    WITHIN(1 * SEC, on(ann, bob) != PATH_MULTI_HOP);
    WITHIN(1 * SEC, circuits_number(hop[0], "relayed_now") == 0 &&
                        circuits_number(hop[1], "relayed_now") == 0 &&
                        circuits_number(hop[2], "relayed_now") == 0);
    KEEPS(5 * SEC, both_see(ann, bob));
}

SCENARIO(built_again_when_a_hop_comes_back)
{
    chain();
    EXPECT(!route(ann, bob, the_chain()));
    WITHIN(5 * SEC, on(ann, bob) == PATH_MULTI_HOP);
    node_host_kill(hop[1]);
    WITHIN(5 * SEC, on(ann, bob) != PATH_MULTI_HOP && both_see(ann, bob));
    RUN(20 * SEC);
    node_host_start(hop[1]);
    WITHIN(60 * SEC, on(ann, bob) == PATH_MULTI_HOP);
    KEEPS(10 * SEC, both_see(ann, bob));
}

/* Nobody chooses: the ends of a chain meet, for each member that is reached tells of the next. */
SCENARIO(a_chain_finds_itself)
{
    chain();
    RUN(5 * SEC);
    hub_host_kill(world->hub);
    WITHIN(30 * SEC, both_see(ann, bob));
    WITHIN(5 * SEC, both_on(ann, bob, PATH_MULTI_HOP));
    WITHIN(30 * SEC, everybody_sees_everybody());
    KEEPS(30 * SEC, both_see(ann, bob));
}

SCENARIO(chosen_by_itself_on_request)
{
    chain();
    RUN(5 * SEC);
    EXPECT(!route(ann, bob, json_string("auto")));
    WITHIN(5 * SEC, on(ann, bob) == PATH_MULTI_HOP);
    KEEPS(10 * SEC, both_see(ann, bob) && on(ann, bob) == PATH_MULTI_HOP);
}

SCENARIO(routes_that_cannot_be)
{
    chain();
    assert_string_equal(route(ann, bob, json_pack("[s, s]", "one", "one")), "bad_request");
    assert_string_equal(route(ann, bob, json_pack("[s]", "bob")), "bad_request");
    assert_string_equal(route(ann, bob, json_pack("[s]", "ann")), "bad_request");
    assert_string_equal(route(ann, bob, json_pack("[s]", "nobody")), "no_peer");
    assert_string_equal(route(ann, bob, json_array()), "bad_request");
    assert_string_equal(route(ann, bob, json_string("perhaps")), "bad_request");
    assert_string_equal(route(ann, ann, json_string("auto")), "bad_request");
    assert_string_equal(route(ann, bob, json_pack("[s, s, s, s]", "one", "two", "three", "one")),
                        "bad_request");
    EXPECT(circuits_number(ann, "open") == 0);
    /* A member that does not relay: the hub's relay goes on. */
    EXPECT(!route(ann, hop[2], json_pack("[s]", "bob")));
    STAYS(10 * SEC, on(ann, hop[2]) != PATH_MULTI_HOP && sees(ann, hop[2]));
    EXPECT(circuits_number(bob, "relayed_now") == 0);
}

int main(void)
{
    const struct CMUnitTest stories[] = {
        STORY(three_hops_by_command), STORY(built_again_when_a_hop_comes_back),
        STORY(a_chain_finds_itself),  STORY(chosen_by_itself_on_request),
        STORY(routes_that_cannot_be),
    };
    return cmocka_run_group_tests(stories, NULL, NULL);
}
