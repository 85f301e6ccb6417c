/* Lids are closed and opened; machines move from one network to another. */
#include "sim/scenario.h"

static struct node_host *ann, *bob;

static void two_friends(void)
{
    ann = founder("ann"), bob = machine("bob");
    create(ann, "lan");
    everybody_joins(ann);
    WITHIN(2 * SEC, sees(ann, bob) && sees(bob, ann));
}

SCENARIO(an_hour_with_the_lid_closed)
{
    two_friends();
    node_host_sleep(bob);
    RUN(1 * HOUR);
    EXPECT(!connected(ann, bob));
    node_host_wake(bob);
    WITHIN(8 * SEC, sees(ann, bob) && sees(bob, ann)); /* the daemon needs 5 s at most to notice */
}

SCENARIO(a_short_nap)
{
    two_friends();
    talk(ann, bob, 100 * MSEC, 100);
    node_host_sleep(bob);
    RUN(20 * SEC);
    node_host_wake(bob);
    WITHIN(8 * SEC, sees(ann, bob) && sees(bob, ann));
}

SCENARIO(both_sleep)
{
    two_friends();
    node_host_sleep(bob);
    RUN(10 * SEC);
    node_host_sleep(ann);
    RUN(1 * HOUR);
    node_host_wake(ann);
    node_host_wake(bob);
    WITHIN(8 * SEC, sees(ann, bob) && sees(bob, ann));
}

SCENARIO(from_wifi_to_mobile)
{
    static const struct nat_config box = {
        .mapping = NAT_ADDRESS_PORT, .filtering = NAT_ADDRESS_PORT, .ports = NAT_PORT_RANDOM};
    two_friends();
    struct site *mobile = site_home(world->net, NULL, "mobile", &box);
    int64_t handshakes = metric(ann, "warren_node_sessions_up_total");
    node_host_move(bob, mobile, true);
    WITHIN(4 * SEC, sees(ann, bob) && sees(bob, ann));
    EXPECT(metric(ann, "warren_node_sessions_up_total") == handshakes); /* the session moved along */
}

/* Nobody tells the daemon: it finds out by silence. */
SCENARIO(a_move_that_nobody_noticed)
{
    static const struct nat_config box = {.mapping = NAT_ENDPOINT, .filtering = NAT_ADDRESS_PORT};
    two_friends();
    node_host_move(bob, site_home(world->net, NULL, "elsewhere", &box), false);
    RUN(5 * SEC);
    WITHIN(100 * SEC, sees(ann, bob) && sees(bob, ann));
}

SCENARIO(the_box_at_home_reboots)
{
    static const struct nat_config box = {.mapping = NAT_ENDPOINT, .filtering = NAT_ADDRESS_PORT};
    ann = founder("ann");
    create(ann, "lan");
    struct site *home = site_home(world->net, NULL, "home", &box);
    bob = machine_at(home, "bob", NULL);
    everybody_joins(ann);
    WITHIN(2 * SEC, sees(ann, bob));
    site_reboot(home, true);
    WITHIN(40 * SEC, sees(ann, bob) && sees(bob, ann));
}

int main(void)
{
    const struct CMUnitTest stories[] = {
        STORY(an_hour_with_the_lid_closed),
        STORY(a_short_nap),
        STORY(both_sleep),
        STORY(from_wifi_to_mobile),
        STORY(a_move_that_nobody_noticed),
        STORY(the_box_at_home_reboots),
    };
    return cmocka_run_group_tests(stories, NULL, NULL);
}
