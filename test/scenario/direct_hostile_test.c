/* Direct paths and circuits where somebody is no friend: removed members, and traffic in the worst mixture.
 */
#include "test/scenario/relaying.h"

static struct node_host *ann, *bob, *eve;

static void three(bool direct)
{
    if (direct)
        wires_in_hand();
    ann = founder("ann");
    bob = machine("bob");
    eve = relaying("eve");
    create(ann, "lan");
    everybody_joins(ann);
    WITHIN(10 * SEC, both_see(ann, bob) && both_see(ann, eve) && both_see(bob, eve));
}

/* Bob has no hub any more, and hears it from Ann; Eve hears nothing and goes on. */
SCENARIO(the_removed_are_out_without_the_hub)
{
    three(true);
    WITHIN(10 * SEC, is_direct(ann, bob) && is_direct(bob, eve) && is_direct(eve, bob));
    hub_mute[bob->number] = hub_mute[eve->number] = true;
    RUN(120 * SEC);
    between(ann, eve, false);
    EXPECT(is_direct(bob, eve) && is_direct(eve, bob));
    talk(eve, bob, 10 * MSEC, 200);
    talk(bob, eve, 10 * MSEC, 200);
    RUN(2 * SEC);
    uint64_t before = frames_got(eve, bob);
    RUN(1 * SEC);
    EXPECT(frames_got(eve, bob) > before);
    kick(ann, "eve");
    RUN(1 * SEC);
    uint64_t at_bob = frames_got(eve, bob), at_eve = frames_got(bob, eve);
    RUN(10 * SEC);
    EXPECT(frames_got(eve, bob) == at_bob && frames_got(bob, eve) == at_eve);
    EXPECT(member_count(bob) == 2);
}

/* Cells and ordinary frames share the hub's messages: each arrives as it was sent. */
SCENARIO(cells_over_the_hub)
{
    three(false);
    RUN(10 * SEC);
    EXPECT(!route(ann, bob, json_pack("[s]", "eve")));
    WITHIN(5 * SEC, on(ann, bob) == PATH_MULTI_HOP);
    talk(ann, bob, 3 * MSEC, 1300);
    talk(bob, ann, 3 * MSEC, 1300);
    talk(eve, bob, 2 * MSEC, 1000);
    talk(eve, ann, 2 * MSEC, 700);
    talk(bob, eve, 5 * MSEC, 100);
    RUN(10 * SEC);
    EXPECT(on(ann, bob) == PATH_MULTI_HOP && on(ann, eve) == PATH_WS_RELAY);
    hush();
    RUN(2 * SEC);
    EXPECT(frames_got(ann, bob) > 1000 && frames_got(bob, ann) > 1000);
    EXPECT(frames_got(eve, bob) > 1000 && frames_got(eve, ann) > 1000);
    EXPECT(metric(eve, "warren_node_cells_relayed_total") > 1000);
}

int main(void)
{
    const struct CMUnitTest stories[] = {
        STORY(the_removed_are_out_without_the_hub),
        STORY(cells_over_the_hub),
    };
    return cmocka_run_group_tests(stories, NULL, NULL);
}
