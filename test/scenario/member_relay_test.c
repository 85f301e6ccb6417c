/* Any member may relay for its party: used when nothing else reaches a peer, left when something does. */
#include "test/scenario/relaying.h"

static struct node_host *ann, *bob, *mia;

static void hub_dies(void)
{
    hub_host_kill(world->hub);
}

/* Ann and Bob cannot reach each other but through the hub; Mia reaches both. */
static void three(bool mia_relays)
{
    wires_in_hand();
    ann = founder("ann");
    bob = machine("bob");
    mia = mia_relays ? relaying("mia") : machine("mia");
    between(ann, bob, false);
    create(ann, "lan");
    everybody_joins(ann);
    WITHIN(10 * SEC, both_see(ann, bob) && both_see(ann, mia) && both_see(bob, mia));
    WITHIN(10 * SEC,
           is_direct(ann, mia) && is_direct(mia, ann) && is_direct(bob, mia) && is_direct(mia, bob));
    EXPECT(!is_direct(ann, bob));
    RUN(2 * SEC);
}

static bool all_see(void)
{
    bool pair = both_see(ann, bob), mias = both_see(ann, mia);
    return pair && mias;
}

static bool either_sees(struct node_host *a, struct node_host *b)
{
    bool there = sees(a, b), back = sees(b, a);
    return there || back;
}

SCENARIO(a_member_relays_when_the_hub_is_gone)
{
    three(true);
    hub_dies();
    WITHIN(5 * SEC, both_see(ann, bob));
    EXPECT(both_on(ann, bob, PATH_MULTI_HOP));
    assert_string_equal(peer_text(ann, bob, "relay"), "mia");
    assert_string_equal(peer_text(bob, ann, "relay"), "mia");
    assert_string_equal(peer_text(ann, bob, "endpoint"), "");
    EXPECT(circuits_number(mia, "relayed_now") >= 1);
    KEEPS(60 * SEC, all_see());
    EXPECT(metric(mia, "warren_node_cells_relayed_total") > 1000);
}

SCENARIO(back_to_the_hub_when_it_returns)
{
    three(true);
    hub_dies();
    WITHIN(5 * SEC, both_see(ann, bob));
    hub_host_start(world->hub);
    WITHIN(60 * SEC, on(ann, bob) == PATH_UDP_RELAY || on(ann, bob) == PATH_WS_RELAY);
    KEEPS(10 * SEC, both_see(ann, bob));
}

SCENARIO(back_to_a_direct_path)
{
    three(true);
    hub_dies();
    WITHIN(5 * SEC, both_see(ann, bob));
    between(ann, bob, true);
    WITHIN(120 * SEC, is_direct(ann, bob) && is_direct(bob, ann));
    /* What nobody needs any more is given up. */
    WITHIN(120 * SEC, circuits_number(ann, "open") == 0 && circuits_number(bob, "open") == 0);
    EXPECT(circuits_number(mia, "relayed_now") == 0);
    KEEPS(5 * SEC, both_see(ann, bob));
}

SCENARIO(who_does_not_offer_does_not_relay)
{
    three(false);
    hub_dies();
    RUN(2 * SEC);
    STAYS(30 * SEC, !sees(ann, bob) && !sees(bob, ann));
    WITHIN(1 * SEC, both_see(ann, mia));
    /* Not even when asked to. */
    EXPECT(!route(ann, bob, json_pack("[s]", "mia")));
    STAYS(10 * SEC, !sees(ann, bob));
    EXPECT(circuits_number(mia, "relayed_now") == 0);
}

SCENARIO(a_handshake_through_a_member)
{
    three(true);
    hub_dies();
    WITHIN(5 * SEC, both_see(ann, bob));
    node_host_kill(bob);
    RUN(1 * SEC);
    node_host_start(bob);
    /* Bob knows nobody's addresses any more but what the party's LAN tells; Mia finds him there or not at
     * all, so he is given the hub for a moment that Ann does not see. */
    hub_mute[ann->number] = true;
    hub_host_start(world->hub);
    WITHIN(60 * SEC, both_see(bob, mia));
    WITHIN(60 * SEC, both_see(ann, bob));
    EXPECT(both_on(ann, bob, PATH_MULTI_HOP));
}

SCENARIO(the_kicked_lose_their_circuits)
{
    three(true);
    struct node_host *eve = machine("eve");
    between(ann, eve, false);
    everybody_joins(ann);
    WITHIN(10 * SEC, both_see(ann, eve) && both_see(mia, eve));
    EXPECT(!route(ann, eve, json_pack("[s]", "mia")));
    WITHIN(5 * SEC, on(ann, eve) == PATH_MULTI_HOP);
    EXPECT(circuits_number(mia, "relayed_now") == 1);
    kick(ann, "eve");
    WITHIN(1 * SEC, circuits_number(mia, "relayed_now") == 0 && circuits_number(ann, "open") == 0);
    RUN(1 * SEC);
    STAYS(10 * SEC, !either_sees(eve, ann));
    EXPECT(circuits_number(mia, "relayed_now") == 0);
    WITHIN(1 * SEC, both_see(ann, bob));
}

SCENARIO(a_kicked_relay_relays_no_more)
{
    three(true);
    EXPECT(!route(ann, bob, json_pack("[s]", "mia")));
    WITHIN(5 * SEC, on(ann, bob) == PATH_MULTI_HOP);
    kick(ann, "mia");
    WITHIN(1 * SEC, on(ann, bob) != PATH_MULTI_HOP && circuits_number(ann, "open") == 0);
    KEEPS(10 * SEC, both_see(ann, bob));
}

SCENARIO(another_relay_takes_over)
{
    wires_in_hand();
    ann = founder("ann");
    bob = machine("bob");
    mia = relaying("mia");
    struct node_host *max = relaying("max");
    between(ann, bob, false);
    create(ann, "lan");
    everybody_joins(ann);
    WITHIN(20 * SEC,
           is_direct(ann, mia) && is_direct(bob, mia) && is_direct(ann, max) && is_direct(bob, max));
    RUN(5 * SEC);
    hub_dies();
    WITHIN(5 * SEC, both_see(ann, bob));
    for (int i = 0; i < 3; i++) {
        struct node_host *first = strcmp(peer_text(ann, bob, "relay"), "mia") == 0 ? mia : max,
                         *other = first == mia ? max : mia;
        between(ann, first, false);
        between(bob, first, false);
        WITHIN(5 * SEC, both_see(ann, bob));
        WITHIN(10 * SEC, strcmp(peer_text(ann, bob, "relay"), other->name) == 0);
        KEEPS(5 * SEC, both_see(ann, bob));
        between(ann, first, true);
        between(bob, first, true);
        WITHIN(120 * SEC, is_direct(ann, first) && is_direct(bob, first));
        RUN(30 * SEC);
    }
}

SCENARIO(so_many_bytes_and_no_more)
{
    wires_in_hand();
    ann = founder("ann");
    bob = machine("bob");
    struct node_host_config c;
    node_host_config_default(&c);
    c.limits.relay_for_members = 1;
    c.limits.relay_kib_per_s = 128;
    mia = machine_at(NULL, "mia", &c);
    between(ann, bob, false);
    create(ann, "lan");
    everybody_joins(ann);
    WITHIN(10 * SEC, is_direct(ann, mia) && is_direct(bob, mia) && both_see(ann, bob));
    EXPECT(!route(ann, bob, json_pack("[s]", "mia")));
    WITHIN(5 * SEC, on(ann, bob) == PATH_MULTI_HOP);
    talk(ann, bob, 2 * MSEC, 900); /* 450 kB/s */
    RUN(5 * SEC);
    int64_t before = metric(mia, "warren_node_cell_bytes_relayed_total");
    RUN(20 * SEC);
    int64_t rate = (metric(mia, "warren_node_cell_bytes_relayed_total") - before) / 20;
    hush();
    EXPECT(rate <= 128 * 1024 * 11 / 10);
    EXPECT(rate >= 128 * 1024 / 2);
}

/* A member in the middle, and a hub far away: what passes the hub moves over to the member. */
SCENARIO(a_nearer_member_is_a_second_way)
{
    wires_in_hand();
    world->hub->host->up.config.delay = world->hub->host->down.config.delay = 150 * MSEC;
    ann = founder("ann");
    bob = machine("bob");
    mia = relaying("mia");
    between(ann, bob, false);
    create(ann, "lan");
    everybody_joins(ann);
    WITHIN(20 * SEC, is_direct(ann, mia) && is_direct(bob, mia) && both_see(ann, bob));
    talk(ann, bob, 50 * MSEC, 300);
    talk(bob, ann, 50 * MSEC, 300);
    WITHIN(60 * SEC, both_on(ann, bob, PATH_MULTI_HOP));
    /* And back to the hub when she leaves. */
    node_host_kill(mia);
    WITHIN(3 * SEC, on(ann, bob) == PATH_UDP_RELAY || on(ann, bob) == PATH_WS_RELAY);
    KEEPS(10 * SEC, both_see(ann, bob));
}

int main(void)
{
    const struct CMUnitTest stories[] = {
        STORY(a_member_relays_when_the_hub_is_gone),
        STORY(back_to_the_hub_when_it_returns),
        STORY(back_to_a_direct_path),
        STORY(who_does_not_offer_does_not_relay),
        STORY(a_handshake_through_a_member),
        STORY(the_kicked_lose_their_circuits),
        STORY(a_kicked_relay_relays_no_more),
        STORY(another_relay_takes_over),
        STORY(so_many_bytes_and_no_more),
        STORY(a_nearer_member_is_a_second_way),
    };
    return cmocka_run_group_tests(stories, NULL, NULL);
}
