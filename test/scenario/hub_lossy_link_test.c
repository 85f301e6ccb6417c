/* Bad lines to the hub. */
#include "sim/scenario.h"

static struct node_host *ann, *bob, *cid;

static void three_friends(void)
{
    ann = founder("ann"), bob = machine("bob"), cid = machine("cid");
    create(ann, "lan");
    everybody_joins(ann);
    WITHIN(2 * SEC, everybody_sees_everybody());
}

/* A slow line gets what it can carry; the rest of what was meant for it is dropped, it is told so, and nobody
 * else pays. */
SCENARIO(the_slow_one_loses_its_own_frames_only)
{
    three_friends();
    bob->host->down.config.bits_per_s = 1000000;
    talk(ann, bob, 2 * MSEC, 1000); /* 4 Mbit/s into 1 */
    talk(ann, cid, 2 * MSEC, 1000);
    talk(cid, ann, 10 * MSEC, 100);
    RUN(30 * SEC);
    hush();
    RUN(20 * SEC);
    EXPECT(frames_lost(ann, cid) == 0);
    EXPECT(frames_lost(cid, ann) == 0);
    EXPECT(frames_lost(ann, bob) > (int64_t)frames_sent(ann, bob) / 2);
    EXPECT(frames_got(ann, bob) > 2000); /* 30 s of most of a megabit */
    /* What the hub dropped it was told; the rest ann held back while the line did not answer in time. */
    EXPECT(metric(bob, "warren_node_relay_dropped_total") > frames_lost(ann, bob) * 8 / 10);
    bob->host->down.config.bits_per_s = 0;
    WITHIN(5 * SEC, sees(ann, bob) && sees(bob, ann));
}

SCENARIO(loss_is_delay_not_loss)
{
    three_friends();
    line(bob, (struct link_config){.delay = 40 * MSEC,
                                   .jitter = 20 * MSEC,
                                   .loss = 0.01,
                                   .duplicate = 0.01,
                                   .reorder = 0.02,
                                   .reorder_by = 20 * MSEC});
    talk(ann, bob, 20 * MSEC, 300);
    talk(bob, ann, 20 * MSEC, 300);
    RUN(1 * MINUTE);
    hush();
    RUN(10 * SEC);
    EXPECT(frames_lost(ann, bob) == 0);
    EXPECT(frames_lost(bob, ann) == 0);
    WITHIN(5 * SEC, connected(ann, bob));
}

SCENARIO(a_whole_party_on_bad_lines)
{
    ann = founder("ann");
    create(ann, "lan");
    for (int i = 0; i < 5; i++) {
        char name[16];
        snprintf(name, sizeof name, "n%d", i);
        line(machine(name), (struct link_config){.delay = 50 * MSEC, .jitter = 50 * MSEC, .loss = 0.03});
    }
    everybody_joins(ann);
    WITHIN(20 * SEC, everybody_connected());
}

int main(void)
{
    const struct CMUnitTest stories[] = {
        STORY(the_slow_one_loses_its_own_frames_only),
        STORY(loss_is_delay_not_loss),
        STORY(a_whole_party_on_bad_lines),
    };
    return cmocka_run_group_tests(stories, NULL, NULL);
}
