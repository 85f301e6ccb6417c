/* Twenty-four hours of ordinary life: what is used and given back does not grow. */
#include "sim/scenario.h"

#include "base/log.h"

#define GROWTH (1024 * 1024)

SCENARIO(a_day_and_a_night)
{
    struct node_host *ann = founder("ann"), *bob = machine("bob"), *cid = machine("cid");
    create(ann, "lan");
    everybody_joins(ann);
    size_t early = 0;
    for (int hour = 0; hour < 24; hour++) {
        WITHIN(45 * SEC, everybody_sees_everybody());
        talk(ann, bob, 50 * MSEC, 400);
        talk(cid, ann, 50 * MSEC, 400);
        RUN(1 * MINUTE);
        hush();
        if (hour % 3 == 1)
            hub_host_restart(world->hub);
        if (hour % 4 == 2) {
            node_host_kill(cid);
            RUN(5 * MINUTE);
            node_host_start(cid);
        }
        RUN(50 * MINUTE);
        if (hour == 4)
            early = sim_heap_bytes();
    }
    EXPECT(sim_heap_bytes() < early + GROWTH);
    EXPECT(everybody_connected());
    EXPECT(peer_number(ann, bob, "rekeys") > 20);
    EXPECT(ann->logs[LOG_ERROR] == 0 && bob->logs[LOG_ERROR] == 0);
}

int main(void)
{
    const struct CMUnitTest stories[] = {
        STORY(a_day_and_a_night),
    };
    return cmocka_run_group_tests(stories, NULL, NULL);
}
