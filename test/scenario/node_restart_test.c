/* A node's process ends, one way or the other, and starts again. */
#include "sim/scenario.h"

static struct node_host *ann, *bob, *cid;

static void three_friends(void)
{
    ann = founder("ann"), bob = machine("bob"), cid = machine("cid");
    create(ann, "lan");
    everybody_joins(ann);
    WITHIN(2 * SEC, everybody_sees_everybody());
}

SCENARIO(killed_and_back)
{
    three_friends();
    uint32_t ip = device_of(bob)->ip4;
    talk(ann, cid, 10 * MSEC, 100);
    node_host_kill(bob);
    WITHIN(2 * SEC, !connected(ann, bob));
    RUN(5 * SEC);
    node_host_start(bob);
    WITHIN(3 * SEC, everybody_sees_everybody());
    EXPECT(device_of(bob)->ip4 == ip);
    hush();
    RUN(1 * SEC);
    EXPECT(frames_lost(ann, cid) == 0);
}

SCENARIO(stopped_politely)
{
    three_friends();
    node_host_stop(bob);
    WITHIN(1 * SEC, !connected(ann, bob) && !connected(cid, bob));
    EXPECT(member_count(ann) == 3); /* gone, not removed */
    node_host_start(bob);
    WITHIN(3 * SEC, everybody_sees_everybody());
}

/* What happened meanwhile is learnt before it is acted upon. */
SCENARIO(kicked_while_off)
{
    three_friends();
    node_host_kill(bob);
    RUN(1 * SEC);
    kick(ann, "bob");
    RUN(10 * SEC);
    node_host_start(bob);
    STAYS(5 * SEC, !sees(bob, ann) && !sees(ann, bob));
    EXPECT(!device_of(bob));
}

SCENARIO(the_hub_is_down_when_it_starts)
{
    three_friends();
    node_host_kill(bob);
    hub_host_kill(world->hub);
    RUN(1 * MINUTE);
    node_host_start(bob);
    RUN(10 * SEC);
    EXPECT(member_count(bob) == 3); /* by its own copy of the log */
    EXPECT(device_of(bob) != NULL);
    hub_host_start(world->hub);
    WITHIN(45 * SEC, everybody_sees_everybody());
}

SCENARIO(a_full_disk)
{
    three_friends();
    bob->saves_fail = 1;
    EXPECT(!try_role(ann, "cid", "admin"));
    RUN(2 * SEC);
    EXPECT(strcmp(peer_text(bob, cid, "role"), "admin") == 0);
    RUN(1 * MINUTE); /* it tries again */
    node_host_kill(bob);
    node_host_start(bob);
    EXPECT(strcmp(peer_text(bob, cid, "role"), "admin") == 0);
}

SCENARIO(everybody_at_once)
{
    three_friends();
    node_host_kill(ann);
    node_host_kill(bob);
    node_host_kill(cid);
    hub_host_restart(world->hub);
    RUN(5 * SEC);
    node_host_start(cid);
    node_host_start(ann);
    node_host_start(bob);
    WITHIN(5 * SEC, everybody_sees_everybody());
}

int main(void)
{
    const struct CMUnitTest stories[] = {
        STORY(killed_and_back),  STORY(stopped_politely),
        STORY(kicked_while_off), STORY(the_hub_is_down_when_it_starts),
        STORY(a_full_disk),      STORY(everybody_at_once),
    };
    return cmocka_run_group_tests(stories, NULL, NULL);
}
