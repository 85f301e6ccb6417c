/* One daemon in several parties: each its own LAN. */
#include "sim/scenario.h"

SCENARIO(work_and_play_do_not_mix)
{
    char text[INVITE_CAP];
    struct node_host *ann = founder("ann"), *bob = machine("bob"), *cid = machine("cid");
    create(ann, "work");
    invite(ann, 5, text);
    join(bob, text);
    create(ann, "play");
    invite(ann, 5, text);
    join(bob, text);
    join(cid, text);
    speak_of("work");
    WITHIN(2 * SEC, sees(ann, bob) && sees(bob, ann));
    EXPECT(!device_of(cid));
    speak_of("play");
    WITHIN(2 * SEC, everybody_sees_everybody());

    /* Traffic stays where it was sent. */
    uint64_t at_play = device_of(bob)->frames_in;
    speak_of("work");
    for (int i = 0; i < 20; i++)
        say(ann, bob, 100);
    device_broadcast(device_of(ann), 1);
    node_host_pump(ann);
    RUN(500 * MSEC);
    EXPECT(frames_got(ann, bob) == 20);
    EXPECT(heard(bob, ann)->broadcasts == 1);
    speak_of("play");
    EXPECT(heard(bob, ann)->count == 0 && heard(bob, ann)->broadcasts == 0 &&
           heard(cid, ann)->broadcasts == 0);
    EXPECT(device_of(bob)->frames_in <= at_play + 20); /* pings under way */

    /* Out of one, still in the other: the session between them stays. */
    speak_of("work");
    int64_t handshakes = metric(ann, "warren_node_sessions_up_total");
    kick(ann, "bob");
    RUN(1 * SEC);
    EXPECT(!device_of(bob));
    speak_of("play");
    WITHIN(200 * MSEC, sees(ann, bob) && sees(bob, cid));
    STAYS(2 * SEC, sees(ann, bob) && sees(bob, cid));
    EXPECT(metric(ann, "warren_node_sessions_up_total") == handshakes);
}

SCENARIO(both_after_a_restart)
{
    char text[INVITE_CAP];
    struct node_host *ann = founder("ann"), *bob = machine("bob");
    static const char *const names[] = {"one", "two", "three"};
    for (size_t i = 0; i < 3; i++) {
        create(ann, names[i]);
        invite(ann, 5, text);
        join(bob, text);
    }
    node_host_kill(bob);
    hub_host_restart(world->hub);
    RUN(2 * SEC);
    node_host_start(bob);
    for (size_t i = 0; i < 3; i++) {
        speak_of(names[i]);
        WITHIN(5 * SEC, sees(ann, bob) && sees(bob, ann));
    }
    EXPECT(world->parties[0].net4 != world->parties[1].net4 &&
           world->parties[1].net4 != world->parties[2].net4);
}

int main(void)
{
    const struct CMUnitTest stories[] = {
        STORY(work_and_play_do_not_mix),
        STORY(both_after_a_restart),
    };
    return cmocka_run_group_tests(stories, NULL, NULL);
}
