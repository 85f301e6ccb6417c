/* The hub goes away and comes back. Nobody touches a node. */
#include "sim/scenario.h"

static struct node_host *ann, *bob, *cid;

static void three_friends(void)
{
    ann = founder("ann"), bob = machine("bob"), cid = machine("cid");
    create(ann, "lan");
    everybody_joins(ann);
    WITHIN(2 * SEC, everybody_sees_everybody());
}

static int64_t all_of(const char *name)
{
    return metric(ann, name) + metric(bob, name) + metric(cid, name);
}

SCENARIO(sessions_outlive_the_hub)
{
    three_friends();
    int64_t handshakes = all_of("warren_node_sessions_up_total");
    EXPECT(handshakes > 0);
    talk(ann, bob, 10 * MSEC, 200);
    talk(bob, cid, 10 * MSEC, 200);
    RUN(2 * SEC);
    hub_host_restart(world->hub);
    WITHIN(1 * SEC, !connected(ann, cid));
    WITHIN(6 * SEC, everybody_connected()); /* ann and cid, too, who say nothing to each other */
    WITHIN(1 * SEC, everybody_sees_everybody());
    EXPECT(all_of("warren_node_sessions_up_total") == handshakes); /* resumed, not made anew */
    EXPECT(all_of("warren_node_resumes_proven_total") > 0);
    int64_t lost = frames_lost(ann, bob);
    RUN(10 * SEC);
    EXPECT(frames_lost(ann, bob) <= lost + 10);
    EXPECT(peer_number(ann, bob, "session_age_s") >= 10);
}

SCENARIO(ten_minutes_without_a_hub)
{
    three_friends();
    int64_t handshakes = all_of("warren_node_sessions_up_total");
    hub_host_kill(world->hub);
    RUN(10 * MINUTE);
    EXPECT(!sees(ann, bob));
    uint64_t tries = ann->hub_connects;
    RUN(5 * MINUTE);
    tries = ann->hub_connects - tries;
    EXPECT(tries >= 8 && tries <= 20); /* every 30 s, more or less */
    hub_host_start(world->hub);
    WITHIN(45 * SEC, everybody_sees_everybody());
    EXPECT(all_of("warren_node_sessions_up_total") == handshakes);
    EXPECT(member_count(cid) == 3);
}

SCENARIO(a_polite_shutdown)
{
    three_friends();
    hub_host_shutdown(world->hub);
    RUN(3 * SEC);
    hub_host_start(world->hub);
    WITHIN(10 * SEC, everybody_sees_everybody());
}

/* The line to the hub swallows everything: only time tells. */
SCENARIO(a_silent_hole)
{
    three_friends();
    world->hub->host->up.config.blackhole = true;
    RUN(3 * MINUTE);
    EXPECT(!connected(ann, bob));
    world->hub->host->up.config.blackhole = false;
    WITHIN(60 * SEC, everybody_sees_everybody());
}

SCENARIO(work_goes_on_where_it_stopped)
{
    char text[INVITE_CAP];
    three_friends();
    invite(ann, 5, text);
    hub_host_restart(world->hub);
    struct node_host *dan = machine("dan");
    WITHIN(5 * SEC, at_hub(ann));
    join(dan, text);
    WITHIN(2 * SEC, sees(dan, ann));
    kick(ann, "dan");
    WITHIN(1 * SEC, member_count(cid) == 3);
}

int main(void)
{
    const struct CMUnitTest stories[] = {
        STORY(sessions_outlive_the_hub),
        STORY(ten_minutes_without_a_hub),
        STORY(a_polite_shutdown),
        STORY(a_silent_hole),
        STORY(work_goes_on_where_it_stopped),
    };
    return cmocka_run_group_tests(stories, NULL, NULL);
}
