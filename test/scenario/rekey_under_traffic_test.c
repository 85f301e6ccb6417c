/* Keys rotate while frames fly, and nobody notices. */
#include "sim/scenario.h"

static struct node_host *with_limits(const char *name, bool first, usec_t after, uint64_t packets)
{
    struct node_host_config c;
    node_host_config_default(&c);
    c.session.rekey_after = after;
    c.session.rekey_packets = packets;
    c.have_hub = first;
    c.hub = world->hub->address;
    struct node_host *n = machine_at(NULL, name, &c);
    if (first)
        WITHIN(5 * SEC, at_hub(n));
    return n;
}

static void busy_minute(usec_t after, uint64_t packets, int64_t least)
{
    struct node_host *ann = with_limits("ann", true, after, packets),
                     *bob = with_limits("bob", false, after, packets);
    create(ann, "lan");
    everybody_joins(ann);
    WITHIN(2 * SEC, sees(ann, bob) && sees(bob, ann));
    talk(ann, bob, 3 * MSEC, 900);
    talk(bob, ann, 4 * MSEC, 300);
    RUN(1 * MINUTE);
    hush();
    RUN(1 * SEC);
    EXPECT(frames_sent(ann, bob) > 19000);
    EXPECT(frames_lost(ann, bob) == 0);
    EXPECT(frames_lost(bob, ann) == 0);
    EXPECT(peer_number(ann, bob, "rekeys") >= least);
    EXPECT(peer_number(bob, ann, "rekeys") >= least);
}

SCENARIO(by_time)
{
    busy_minute(2 * SEC, UINT64_C(1) << 32, 20);
}

SCENARIO(by_volume)
{
    busy_minute(300 * SEC, 1000, 15);
}

/* A line that loses delays the rekey's messages, too; the old keys must live long enough. */
SCENARIO(over_a_line_that_stalls)
{
    struct node_host *ann = with_limits("ann", true, 2 * SEC, UINT64_C(1) << 32);
    struct node_host *bob = with_limits("bob", false, 2 * SEC, UINT64_C(1) << 32);
    create(ann, "lan");
    everybody_joins(ann);
    WITHIN(2 * SEC, sees(ann, bob));
    line(bob, (struct link_config){.delay = 60 * MSEC, .jitter = 30 * MSEC, .loss = 0.02});
    talk(ann, bob, 20 * MSEC, 300);
    talk(bob, ann, 20 * MSEC, 300);
    RUN(1 * MINUTE);
    hush();
    RUN(10 * SEC);
    EXPECT(frames_lost(ann, bob) == 0);
    EXPECT(frames_lost(bob, ann) == 0);
    EXPECT(peer_number(ann, bob, "rekeys") >= 10);
}
/* Frames under the old keys come in after the first under the new ones. */
SCENARIO(while_frames_overtake_each_other)
{
    struct node_host *ann = with_limits("ann", true, 2 * SEC, UINT64_C(1) << 32);
    struct node_host *bob = with_limits("bob", false, 2 * SEC, UINT64_C(1) << 32);
    create(ann, "lan");
    everybody_joins(ann);
    WITHIN(2 * SEC, sees(ann, bob));
    world->reordering_allowed = true;
    struct hostile *hub = turn_hostile(bob);
    hub->hold = 0.3;
    talk(ann, bob, 5 * MSEC, 300);
    talk(bob, ann, 5 * MSEC, 300);
    RUN(30 * SEC);
    hub->hold = 0;
    RUN(1 * SEC); /* what was held back goes out with the next */
    turn_hostile(ann)->hold = 0.3;
    RUN(30 * SEC);
    hub->hold = 0;
    RUN(1 * SEC);
    hush();
    RUN(1 * SEC);
    EXPECT(hub->held_back > 1000);
    EXPECT(frames_lost(ann, bob) == 0);
    EXPECT(frames_lost(bob, ann) == 0);
    EXPECT(peer_number(ann, bob, "rekeys") >= 20);
}

int main(void)
{
    const struct CMUnitTest stories[] = {
        STORY(by_time),
        STORY(by_volume),
        STORY(over_a_line_that_stalls),
        STORY(while_frames_overtake_each_other),
    };
    return cmocka_run_group_tests(stories, NULL, NULL);
}
