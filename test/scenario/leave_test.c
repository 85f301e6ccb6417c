/* Going away on one's own. */
#include "sim/scenario.h"

SCENARIO(a_guest_goes_home)
{
    struct node_host *ann = founder("ann"), *bob = machine("bob"), *cid = machine("cid");
    create(ann, "lan");
    everybody_joins(ann);
    WITHIN(2 * SEC, everybody_sees_everybody());
    talk(ann, cid, 10 * MSEC, 100);
    EXPECT(!try_leave(bob));
    WITHIN(1 * SEC, member_count(ann) == 2 && member_count(cid) == 2);
    EXPECT(!device_of(bob));
    EXPECT(!node_host_file(bob, "party-")); /* nothing of it stays behind */
    WITHIN(1 * SEC, !sees(ann, bob));
    STAYS(2 * SEC, !sees(ann, bob));
    hush();
    RUN(1 * SEC);
    EXPECT(frames_lost(ann, cid) == 0);
}

SCENARIO(the_last_owner_may_not_leave_others_alone)
{
    struct node_host *ann = founder("ann"), *bob = machine("bob");
    create(ann, "lan");
    everybody_joins(ann);
    const char *refused = try_leave(ann);
    EXPECT(refused && strcmp(refused, "last_owner") == 0);
    WITHIN(1 * SEC, sees(ann, bob));
    EXPECT(!try_role(ann, "bob", "owner"));
    WITHIN(1 * SEC, strcmp(peer_text(ann, bob, "role"), "owner") == 0);
    EXPECT(!try_leave(ann));
    WITHIN(1 * SEC, member_count(bob) == 1);
}

int main(void)
{
    const struct CMUnitTest stories[] = {
        STORY(a_guest_goes_home),
        STORY(the_last_owner_may_not_leave_others_alone),
    };
    return cmocka_run_group_tests(stories, NULL, NULL);
}
