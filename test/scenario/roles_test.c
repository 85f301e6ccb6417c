/* Who may do what, as every member's node judges it. */
#include "sim/scenario.h"

SCENARIO(a_member_is_no_admin_until_made_one)
{
    struct node_host *ann = founder("ann"), *bob = machine("bob"), *cid = machine("cid");
    create(ann, "lan");
    everybody_joins(ann);
    WITHIN(1 * SEC, member_count(bob) == 3);
    const char *refused = try_kick(bob, "cid");
    EXPECT(refused && strcmp(refused, "not_allowed") == 0);
    EXPECT(try_role(bob, "bob", "admin") != NULL);
    EXPECT(member_count(ann) == 3);
    EXPECT(!try_role(ann, "bob", "admin"));
    WITHIN(1 * SEC, strcmp(peer_text(cid, bob, "role"), "admin") == 0);
    EXPECT(try_kick(bob, "ann") != NULL); /* not above him */
    kick(bob, "cid");
    WITHIN(1 * SEC, member_count(ann) == 2);
    EXPECT(!device_of(cid));
}

SCENARIO(a_guest_may_only_be_there)
{
    char text[INVITE_CAP];
    struct node_host *ann = founder("ann"), *bob = machine("bob");
    create(ann, "lan");
    everybody_joins(ann);
    EXPECT(!try_role(ann, "bob", "guest"));
    WITHIN(1 * SEC, sees(bob, ann) && sees(ann, bob));
    const char *refused = try_invite(bob, 1, "1h", text);
    EXPECT(refused && strcmp(refused, "not_allowed") == 0);
}

int main(void)
{
    const struct CMUnitTest stories[] = {
        STORY(a_member_is_no_admin_until_made_one),
        STORY(a_guest_may_only_be_there),
    };
    return cmocka_run_group_tests(stories, NULL, NULL);
}
