/* A member is removed: at once for everybody who is there, and for good. */
#include "sim/scenario.h"

static struct node_host *ann, *bob, *eve;

static void three_friends(void)
{
    ann = founder("ann"), bob = machine("bob"), eve = machine("eve");
    create(ann, "lan");
    everybody_joins(ann);
    WITHIN(2 * SEC, everybody_sees_everybody());
}

SCENARIO(within_a_second_while_others_go_on)
{
    three_friends();
    talk(eve, ann, 10 * MSEC, 200);
    talk(eve, bob, 10 * MSEC, 200);
    talk(ann, eve, 10 * MSEC, 200);
    talk(ann, bob, 10 * MSEC, 200);
    talk(bob, ann, 10 * MSEC, 200);
    RUN(2 * SEC);
    kick(ann, "eve");
    RUN(1 * SEC);
    uint64_t at_ann = frames_got(eve, ann), at_bob = frames_got(eve, bob), at_eve = frames_got(ann, eve);
    RUN(5 * SEC);
    EXPECT(frames_got(eve, ann) == at_ann && frames_got(eve, bob) == at_bob &&
           frames_got(ann, eve) == at_eve);
    EXPECT(member_count(ann) == 2 && member_count(bob) == 2);
    hush();
    RUN(1 * SEC);
    EXPECT(frames_lost(ann, bob) == 0 && frames_lost(bob, ann) == 0);
    EXPECT(!device_of(eve)); /* she knows, too */
}

/* The hub tells eve nothing: she believes herself a member and goes on. The others do not listen. */
static bool keep_from_eve(void *arg, struct hub_host *h, const uint8_t *node, bool binary,
                          struct buf *message)
{
    return binary || !node || memcmp(node, eve->id, NODE_ID_LEN) != 0;
}

SCENARIO(one_who_is_not_told_is_out_as_well)
{
    three_friends();
    talk(eve, ann, 10 * MSEC, 200);
    talk(eve, bob, 10 * MSEC, 200);
    RUN(1 * SEC);
    world->hub->hooks.says = keep_from_eve;
    kick(ann, "eve");
    RUN(1 * SEC);
    uint64_t at_ann = frames_got(eve, ann), at_bob = frames_got(eve, bob);
    STAYS(5 * SEC, !sees(eve, ann) && !sees(eve, bob));
    EXPECT(frames_got(eve, ann) == at_ann && frames_got(eve, bob) == at_bob);
    WITHIN(1 * SEC, sees(ann, bob));
}

SCENARIO(an_old_invite_does_not_bring_her_back)
{
    char text[INVITE_CAP];
    three_friends();
    invite(ann, 10, text);
    kick(ann, "eve");
    RUN(1 * SEC);
    const char *refused = try_join(eve, text);
    EXPECT(refused && strcmp(refused, "was_removed") == 0);
    EXPECT(member_count(ann) == 2);
}

SCENARIO(she_was_asleep_when_it_happened)
{
    three_friends();
    node_host_sleep(eve);
    RUN(10 * SEC);
    kick(ann, "eve");
    RUN(1 * MINUTE);
    node_host_wake(eve);
    /* The hub's word alone ends no membership, but she is told what it says; and the others do not know her
     * any more. */
    WITHIN(15 * SEC, !device_of(eve));
    STAYS(2 * SEC, !sees(eve, ann) && !sees(eve, bob));
    EXPECT(member_count(bob) == 2);
}

int main(void)
{
    const struct CMUnitTest stories[] = {
        STORY(within_a_second_while_others_go_on),
        STORY(one_who_is_not_told_is_out_as_well),
        STORY(an_old_invite_does_not_bring_her_back),
        STORY(she_was_asleep_when_it_happened),
    };
    return cmocka_run_group_tests(stories, NULL, NULL);
}
